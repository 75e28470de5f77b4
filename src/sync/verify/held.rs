//! What a customer holds, in a form that many of can be kept: digests of what is compared, and nothing else.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::base::value_digest;
use crate::domain::field::FieldKind;
use crate::domain::hash::Digest;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::record::{FieldKey, canonical_choice};
use crate::domain::target::TargetContact;
use crate::store::{ChildKind, NotedChild, NotedCustomer};
use crate::sync::decide::{self, Held};
use crate::sync::engine::Engine;
use crate::sync::ports::ContactTarget;
use crate::sync::stamp::StampReading;

/// Word of a customer whose stamp is not ours.
pub(super) const FOREIGN: i64 = 2;
/// Word of one that does not say.
const NOT_SAID: i64 = 3;

/// The first half of a digest: enough to compare by, and small.
pub(super) fn print(digest: Digest) -> i64 {
    let mut half = [0; 8];
    half.copy_from_slice(&digest.0[..8]);
    i64::from_le_bytes(half)
}

/// One field of a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeldField {
    /// Its canonical value.
    pub(super) print: i64,
    /// Whether it holds nothing.
    pub(super) blank: bool,
    /// Its single options, where it may hold several.
    pub(super) parts: Vec<i64>,
    /// Its canonical value, of a customer that was read to be shown.
    pub(super) text: Option<String>,
}

/// A customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HeldRecord {
    pub(super) target: FirstLineId,
    pub(super) stamp: StampReading,
    /// Fields; what the answer does not say is absent.
    pub(super) fields: BTreeMap<FieldKey, HeldField>,
    /// E-mails and phones; `None` where not said.
    pub(super) emails: Option<Vec<i64>>,
    pub(super) phones: Option<Vec<i64>>,
    pub(super) tags: Option<Vec<i64>>,
    pub(super) companies: Option<Vec<i64>>,
    /// Those of its e-mails and phones that were put together from lists of their own.
    pub(super) listed: Vec<ChildKind>,
}

/// How it is written down.
#[derive(Serialize, Deserialize)]
struct Written {
    f: Vec<(String, i64, bool, Vec<i64>)>,
    e: Option<Vec<i64>>,
    p: Option<Vec<i64>>,
    t: Option<Vec<i64>>,
    c: Option<Vec<i64>>,
}

impl HeldRecord {
    pub(super) fn children(&self, kind: ChildKind) -> Option<&[i64]> {
        match kind {
            ChildKind::Email => self.emails.as_deref(),
            ChildKind::Phone => self.phones.as_deref(),
        }
    }

    /// Whether it does not say all that it could be compared by.
    pub(super) fn lacks_parts(&self) -> bool {
        [&self.emails, &self.phones, &self.tags, &self.companies].into_iter().any(Option::is_none)
    }

    /// Takes what it does not say from what the list said of it.
    pub(super) fn add_listed(&mut self, listed: Self) {
        for (key, field) in listed.fields {
            self.fields.entry(key).or_insert(field);
        }
        self.emails = self.emails.take().or(listed.emails);
        self.phones = self.phones.take().or(listed.phones);
        self.tags = self.tags.take().or(listed.tags);
        self.companies = self.companies.take().or(listed.companies);
    }

    /// Takes those of its e-mails and phones that it does not say from rows of lists of their own.
    pub(super) fn add_children(&mut self, emails: Vec<i64>, phones: Vec<i64>) {
        for (kind, mine, rows) in
            [(ChildKind::Email, &mut self.emails, emails), (ChildKind::Phone, &mut self.phones, phones)]
        {
            if mine.is_none() {
                *mine = Some(rows);
                self.listed.push(kind);
            }
        }
    }

    pub(super) fn note(&self, profile: Option<i64>) -> NotedCustomer {
        let fields = self.fields.iter();
        let body = Written {
            f: fields.map(|(key, held)| (key.to_string(), held.print, held.blank, held.parts.clone())).collect(),
            e: self.emails.clone(),
            p: self.phones.clone(),
            t: self.tags.clone(),
            c: self.companies.clone(),
        };
        let (stamp, word) = match self.stamp {
            StampReading::Of(id) => (Some(id), 1),
            StampReading::None => (None, 0),
            StampReading::Foreign => (None, FOREIGN),
            StampReading::NotSaid => (None, NOT_SAID),
        };
        let body = serde_json::to_string(&body).expect("numbers and texts always become JSON");
        NotedCustomer { target: self.target, stamp, word, profile, body }
    }

    /// Reads what [`Self::note`] wrote; `None` when it is not that.
    pub(super) fn from_note(note: &NotedCustomer) -> Option<Self> {
        let Written { f, e, p, t, c } = serde_json::from_str(&note.body).ok()?;
        let fields = f.into_iter().map(|(key, print, blank, parts)| {
            Some((FieldKey::parse(&key)?, HeldField { print, blank, parts, text: None }))
        });
        let stamp = match (note.stamp, note.word) {
            (Some(LiveDeskId(id)), _) => StampReading::Of(LiveDeskId(id)),
            (None, FOREIGN) => StampReading::Foreign,
            (None, NOT_SAID) => StampReading::NotSaid,
            (None, _) => StampReading::None,
        };
        let fields = fields.collect::<Option<_>>()?;
        let listed = Vec::new();
        Some(Self { target: note.target, stamp, fields, emails: e, phones: p, tags: t, companies: c, listed })
    }
}

impl<T: ContactTarget> Engine<T> {
    /// What a record holds of what the mapping writes. With `texts` the values are kept, to be shown.
    pub(super) fn hold(&self, record: &TargetContact, texts: bool) -> HeldRecord {
        let key = self.store.hash_key();
        let held = |field: FieldKey| {
            let answered = record.value(field)?;
            let kind = decide::kind_of(self.mapping.kinds(), field);
            let Held { canonical, digest } = Held::of(key, kind, answered);
            let parts = if kind == FieldKind::MultipleChoice {
                let options = decide::current_choices(kind, answered);
                options.iter().map(|option| print(value_digest(key, Some(&canonical_choice(option))))).collect()
            } else {
                Vec::new()
            };
            let blank = canonical.is_none();
            Some((field, HeldField { print: print(digest), blank, parts, text: canonical.filter(|_| texts) }))
        };
        let children = |kind| {
            let rows = self.current_children(record, kind)?;
            Some(rows.iter().map(|child| print(child.key)).collect())
        };
        HeldRecord {
            target: record.id,
            stamp: self.scheme.read(record),
            fields: self.mapping.written_fields().filter_map(held).collect(),
            emails: children(ChildKind::Email),
            phones: children(ChildKind::Phone),
            tags: record.tag_ids.clone(),
            companies: record.company_ids.clone(),
            listed: Vec::new(),
        }
    }

    /// The e-mail and phone rows that a record embeds.
    pub(super) fn hold_children(&self, record: &TargetContact) -> Vec<NotedChild> {
        let mut noted = Vec::new();
        for kind in [ChildKind::Email, ChildKind::Phone] {
            let rows = self.current_children(record, kind).unwrap_or_default();
            noted.extend(rows.into_iter().map(|row| NotedChild {
                kind,
                id: row.id,
                key: print(row.key),
                owner: Some(record.id),
                profile: None,
            }));
        }
        noted
    }
}
