//! A plan as a file: a header, a line per contact that something is done about, and an end. JSON, one object a line.
//!
//! Values may be masked; beside each stands its digest, keyed with the state's hash key, so that a plan is as good for
//! `backfill --plan` either way, and tells whoever has only the file nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::base::value_digest;
use crate::domain::hash::HashKey;
use crate::domain::outcome::Outcome;
use crate::domain::record::{FieldKey, Owner};
use crate::sync::decide::Why;
use crate::sync::overseer::{Action, FieldStep, Proposal, RowStep, Stage};

/// Version of the format.
pub const FORMAT: u32 = 1;

/// The first line: what the plan was made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Version of the format.
    pub deskferry_plan: u32,
    /// Version of the program.
    pub program: String,
    /// When.
    pub made_at: String,
    /// Which state, by a digest that only its key makes.
    pub state: String,
    /// The source's account.
    pub livedesk: String,
    /// The target's account.
    pub firstline: String,
    /// Version of the mapping.
    pub mapping: String,
    /// Its selection.
    pub selection: String,
    /// Its tags.
    pub tags: String,
    /// Owners that it names, per line.
    pub owners: BTreeMap<String, String>,
    /// Settings that decide what is done.
    pub settings: BTreeMap<String, String>,
    /// Fields that stood still, because their definition has drifted.
    pub stopped: Vec<String>,
    /// The verdict of the sweep.
    pub sweep: Option<String>,
    /// Whether values are masked.
    pub masked: bool,
}

impl Header {
    /// What keeps a plan from being carried out here: one sentence for each difference.
    pub fn differences(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        let mut hold = |what: &str, planned: &str, here: &str| {
            if planned != here {
                found.push(format!("{what}: the plan has `{planned}`, here it is `{here}`"));
            }
        };
        hold("LiveDesk account", &self.livedesk, &now.livedesk);
        hold("FIRST LINE account", &self.firstline, &now.firstline);
        hold("program version", &self.program, &now.program);
        hold("mapping version", &self.mapping, &now.mapping);
        hold("selection", &self.selection, &now.selection);
        hold("tags", &self.tags, &now.tags);
        for (what, planned, here) in
            [("owner of", &self.owners, &now.owners), ("setting", &self.settings, &now.settings)]
        {
            for key in planned.keys().chain(here.keys().filter(|key| !planned.contains_key(*key))) {
                let value = |of: &BTreeMap<String, String>| of.get(key).cloned().unwrap_or_default();
                hold(&format!("{what} {key}"), &value(planned), &value(here));
            }
        }
        hold("fields that stand still", &self.stopped.join("; "), &now.stopped.join("; "));
        if found.is_empty() && self.state != now.state {
            found.push(String::from("state: the plan was made with another state file, or before it was made anew"));
        }
        found
    }
}

/// One field of a contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldLine {
    /// Which: `first_name`, `cz_col 32`.
    pub field: String,
    /// What a custom field is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it is written; else it stays.
    pub written: bool,
    /// What FIRST LINE holds.
    pub old: Option<String>,
    /// What is wished.
    pub new: Option<String>,
    /// Digest of `old`.
    pub old_digest: Option<String>,
    /// Digest of `new`.
    pub new_digest: Option<String>,
    /// Who decides.
    pub owner: Option<String>,
    /// Why.
    pub why: String,
}

/// An e-mail, phone, tag or company: added where there is no old one, removed where there is no new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowLine {
    /// What FIRST LINE holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// What it will hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// Digest of `old`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_digest: Option<String>,
    /// Digest of `new`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_digest: Option<String>,
}

/// One contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// The contact.
    pub livedesk_id: i64,
    /// What is done with it.
    pub action: String,
    /// Its record, where there is one.
    pub firstline_id: Option<i64>,
    /// By which key the record was found, in words; where it is adopted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched: Option<String>,
    /// Fields that are written, and those that differ and stay.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldLine>,
    /// E-mails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub emails: Vec<RowLine>,
    /// Phones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phones: Vec<RowLine>,
    /// Tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<RowLine>,
    /// The company that is linked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub company: Vec<RowLine>,
    /// The customer that a decision leads away from: the contact's stamp is taken off there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaves: Option<i64>,
    /// Why nothing, or not all, can be done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_over: Option<String>,
    /// Shows whether the line is as it was written.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub check: String,
}

/// The last line: what there is in all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Lines between header and end.
    pub lines: u64,
    /// Contacts by what is done with them.
    pub contacts: BTreeMap<String, u64>,
    /// Requests to LiveDesk.
    pub livedesk_requests: u64,
    /// Requests to FIRST LINE.
    pub firstline_requests: u64,
    /// Of these, by kind: what is read and what is written.
    pub reads: BTreeMap<String, u64>,
    /// As `reads`.
    pub writes: BTreeMap<String, u64>,
    /// Tags that are made first.
    pub tags_made: Vec<String>,
    /// Seconds at the configured rates, at least; none where no rate is configured.
    pub seconds: Option<u64>,
}

/// How a value is shown.
pub type Show<'a> = &'a (dyn Fn(&str) -> String + Send + Sync);

/// What a line is made with.
#[derive(Clone, Copy)]
pub struct Pen<'a> {
    /// Key of the digests.
    pub key: &'a HashKey,
    /// Names of custom fields.
    pub names: &'a BTreeMap<i64, String>,
    /// How values are shown.
    pub show: Show<'a>,
}

impl Line {
    /// The line of a proposal.
    pub fn of(proposal: &Proposal, pen: Pen<'_>) -> Self {
        let rows = |steps: &[RowStep]| steps.iter().map(|step| row(step, pen)).collect();
        let company = proposal.company.iter().map(|name| RowStep { old: None, new: Some(name.clone()) });
        let plain = Pen { show: &str::to_owned, ..pen };
        Self {
            livedesk_id: proposal.id.0,
            action: proposal.action.as_str().to_owned(),
            firstline_id: proposal.target.map(|id| id.0),
            matched: proposal.matched.map(str::to_owned),
            fields: proposal.fields.iter().map(|step| field(step, pen)).collect(),
            emails: rows(&proposal.emails),
            phones: rows(&proposal.phones),
            // The name of a tag is nobody's.
            tags: proposal.tags.iter().map(|step| row(step, plain)).collect(),
            company: company.map(|step| row(&step, pen)).collect(),
            leaves: proposal.leaves.map(|id| id.0),
            left_over: None,
            check: String::new(),
        }
    }

    /// The line of a contact that nothing is proposed for.
    pub fn bare(id: i64, outcome: &Outcome) -> Self {
        Self {
            livedesk_id: id,
            action: action_of(outcome).to_owned(),
            firstline_id: None,
            matched: None,
            fields: Vec::new(),
            emails: Vec::new(),
            phones: Vec::new(),
            tags: Vec::new(),
            company: Vec::new(),
            leaves: None,
            left_over: left_over(outcome),
            check: String::new(),
        }
    }

    /// Whether something is to be done.
    pub fn is_deed(&self) -> bool {
        Action::parse(&self.action).is_some()
    }

    /// When it comes. What is only told comes with its contact.
    pub fn stage(&self) -> Stage {
        Action::parse(&self.action).map_or(Stage::Contact, Action::stage)
    }

    /// As text, with its check.
    #[must_use]
    pub fn sealed(mut self, key: &HashKey) -> Self {
        self.check = self.seal(key);
        self
    }

    /// Whether it is as it was written.
    pub fn is_whole(&self, key: &HashKey) -> bool {
        self.check == self.seal(key)
    }

    fn seal(&self, key: &HashKey) -> String {
        let plain = Self { check: String::new(), ..self.clone() };
        key.digest("plan line", bytes(&plain)).to_string()
    }
}

pub(super) fn bytes(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("texts and numbers always become JSON")
}

fn digest(value: Option<&String>, pen: Pen<'_>) -> Option<String> {
    value.map(|value| value_digest(pen.key, Some(value)).to_string())
}

fn row(step: &RowStep, pen: Pen<'_>) -> RowLine {
    let show = |value: &String| (pen.show)(value);
    RowLine {
        old: step.old.as_ref().map(show),
        new: step.new.as_ref().map(show),
        old_digest: digest(step.old.as_ref(), pen),
        new_digest: digest(step.new.as_ref(), pen),
    }
}

fn field(step: &FieldStep, pen: Pen<'_>) -> FieldLine {
    let name = match step.field {
        FieldKey::Custom(id) => pen.names.get(&id).cloned(),
        _ => None,
    };
    let show = |value: &String| (pen.show)(value);
    FieldLine {
        field: step.field.to_string(),
        name,
        written: step.written,
        old: step.old.as_ref().map(show),
        new: step.new.as_ref().map(show),
        old_digest: digest(step.old.as_ref(), pen),
        new_digest: digest(step.new.as_ref(), pen),
        owner: step.owner.map(|owner| owner_word(owner).to_owned()),
        why: why_text(step.why).to_owned(),
    }
}

/// The word for what an outcome does.
pub fn action_of(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Created => "create",
        Outcome::Adopted => "adopt",
        Outcome::Updated => "update",
        Outcome::Unchanged => "nothing",
        Outcome::SetAside(_) => "reject",
        other => other.as_str(),
    }
}

/// What is left over of a contact, in words and without values.
pub fn left_over(outcome: &Outcome) -> Option<String> {
    Some(match outcome {
        Outcome::SetAside(reason) => reason.to_string(),
        Outcome::Parked => String::from("a create is in doubt; a run settles that first"),
        Outcome::Conflict => String::from("waits for a decision: `deskferry conflicts list`"),
        Outcome::Vanished => String::from("the linked customer answers 404"),
        Outcome::Alias => String::from("the linked customer was merged into another one"),
        Outcome::Gone => String::from("the linked customer is gone"),
        _ => return None,
    })
}

/// An owner as the mapping file names it.
pub fn owner_word(owner: Owner) -> &'static str {
    match owner {
        Owner::Source => "source",
        Owner::FillBlank => "fill_blank",
        Owner::Target => "target",
        Owner::Union => "union",
    }
}

/// Why a field is written or stays, for people.
pub fn why_text(why: Why) -> &'static str {
    match why {
        Why::New => "the record is new",
        Why::Stamp => "the stamp",
        Why::Changed => "changed in LiveDesk",
        Why::BothChanged => "changed on both sides",
        Why::Filled => "blank in FIRST LINE, filled",
        Why::Claimed => "its owner takes it over",
        Why::Edited => "edited in FIRST LINE, stays",
        Why::Owned => "its owner leaves it as it is",
        Why::NotCleared => "emptied in LiveDesk, not to be cleared",
        Why::NotShown => "FIRST LINE does not show it, stays",
        Why::Unknown => "unknown in this run, stays",
        Why::Stopped => "stopped: its definition has drifted",
        Why::Gone => "gone from LiveDesk",
        Why::Back => "back in LiveDesk",
        Why::Lost => "lost to a trial that did not end",
    }
}
