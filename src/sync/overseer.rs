//! The seam between deciding and doing: what a run is about to do with one contact, and whoever is asked first.
//!
//! `plan` writes it down, `backfill --plan` holds it against what was planned. Runs without an overseer build no proposal.

use futures::future::BoxFuture;

use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::outcome::Outcome;
use crate::domain::record::{FieldKey, Owner};
use crate::sync::decide::Why;
use crate::sync::engine::RunError;

/// What is to be done with one contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// A record is made.
    Create,
    /// A record that is there is linked, and its blanks are filled.
    Adopt,
    /// A linked record is changed.
    Update,
    /// The record of a contact that is gone from the source is marked.
    Mark,
    /// The mark is taken off: the contact is back.
    Unmark,
    /// The record of a contact that is gone from the source is deleted.
    Delete,
    /// What a record lost to a trial of an update that did not end is written back.
    Repair,
}

/// When in a run an action comes. One contact may have one of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Before anybody is carried.
    Before,
    /// When the contact comes by.
    Contact,
    /// After the sweep.
    After,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 7] =
        [Self::Create, Self::Adopt, Self::Update, Self::Mark, Self::Unmark, Self::Delete, Self::Repair];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Adopt => "adopt",
            Self::Update => "update",
            Self::Mark => "mark",
            Self::Unmark => "unmark",
            Self::Delete => "delete",
            Self::Repair => "repair",
        }
    }

    /// Reads the stable word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == text)
    }

    /// When it comes.
    pub fn stage(self) -> Stage {
        match self {
            Self::Repair => Stage::Before,
            Self::Create | Self::Adopt | Self::Update => Stage::Contact,
            Self::Mark | Self::Unmark | Self::Delete => Stage::After,
        }
    }
}

/// One field: what it holds, what is wished, and whether that is written.
#[derive(Clone, PartialEq, Eq)]
pub struct FieldStep {
    /// Which.
    pub field: FieldKey,
    /// Whether it is written; else it stays, and `why` says why.
    pub written: bool,
    /// What FIRST LINE holds, in its canonical form.
    pub old: Option<String>,
    /// What is wished.
    pub new: Option<String>,
    /// Who decides.
    pub owner: Option<Owner>,
    /// Why.
    pub why: Why,
}

/// One e-mail, phone, tag or company: added where there is no old one, removed where there is no new one.
#[derive(Clone, PartialEq, Eq)]
pub struct RowStep {
    /// What FIRST LINE holds.
    pub old: Option<String>,
    /// What it will hold.
    pub new: Option<String>,
}

/// What a run is about to do with one contact. Holds values of a person, so it does not print itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The contact.
    pub id: LiveDeskId,
    /// What is done.
    pub action: Action,
    /// The record; none where one is made.
    pub target: Option<FirstLineId>,
    /// By which key the record was found, in words; where it is adopted.
    pub matched: Option<&'static str>,
    /// Fields that are written, and those that differ and stay.
    pub fields: Vec<FieldStep>,
    /// E-mails.
    pub emails: Vec<RowStep>,
    /// Phones.
    pub phones: Vec<RowStep>,
    /// Tags.
    pub tags: Vec<RowStep>,
    /// The company that is linked.
    pub company: Option<String>,
    /// The record that a person's decision leads away from: the contact's stamp is taken off there.
    pub leaves: Option<FirstLineId>,
}

impl Proposal {
    /// A proposal without any part yet.
    pub fn new(id: LiveDeskId, action: Action, target: Option<FirstLineId>) -> Self {
        Self {
            id,
            action,
            target,
            matched: None,
            fields: Vec::new(),
            emails: Vec::new(),
            phones: Vec::new(),
            tags: Vec::new(),
            company: None,
            leaves: None,
        }
    }

    /// Whether nothing at all is sent for it.
    pub fn sends_nothing(&self) -> bool {
        let lists = [&self.emails, &self.phones, &self.tags];
        !self.fields.iter().any(|step| step.written)
            && lists.iter().all(|list| list.is_empty())
            && self.company.is_none()
            && self.leaves.is_none()
    }
}

/// The answer to a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Approval {
    /// Do it.
    Granted,
    /// It is not what was planned: leave the contact alone. What is different, without values.
    Moved(Vec<String>),
}

/// Asked before the first write of each contact, and told how each contact ended.
pub trait Overseer: Send + Sync + 'static {
    /// May this be done?
    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<Approval, RunError>>;

    /// A contact came to its end. What it answers is counted.
    fn ended(&self, id: LiveDeskId, outcome: Outcome) -> BoxFuture<'_, Result<Outcome, RunError>>;

    /// For which contact a record is set aside, although it is not linked yet: to all others it is taken. Without that, which of
    /// a family is linked to a record that all of them match would be a matter of the order in which they come by.
    fn reserved_for(&self, target: FirstLineId) -> Option<LiveDeskId> {
        let _ = target;
        None
    }

    /// Whether this contact was refused: then it is not looked at again in this run.
    fn has_refused(&self, id: LiveDeskId) -> bool {
        let _ = id;
        false
    }

    /// May this tag be made?
    fn may_make_tag(&self, name: &str) -> bool;
}
