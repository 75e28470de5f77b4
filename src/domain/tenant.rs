//! What a probe found out about a tenant of FIRST LINE: questions, their answers, and the scratch records it made.
//!
//! A *question* is settled by one word, number or yes and no, or it is *unknown* with the reason; never a guess. Pure: who
//! asks is `firstline::probe`, who keeps the answers is the store's profile, who lives by them are the runs.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

macro_rules! questions {
    ($($variant:ident, $key:literal, $title:literal;)*) => {
        /// What a probe settles, in the order of its report.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Question { $(#[doc = $title] $variant,)* }

        impl Question {
            /// Every question.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable key in reports and in the state.
            pub fn key(self) -> &'static str {
                match self { $(Self::$variant => $key,)* }
            }

            /// What it asks, for people.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }
        }
    };
}

questions! {
    UpdateMethod, "update_method", "how an update is sent";
    UpdateSemantics, "update_semantics", "fields that an update leaves out";
    TagsOnCreate, "tags_on_create", "tags in a create";
    TagsOnUpdate, "tags_on_update", "tags in an update";
    BooleanForm, "boolean_form", "how yes and no are written";
    ClearForm, "clear_form", "how a field is emptied";
    PerPageMax, "per_page_max", "most rows a page";
    FilterMembershipNo, "filter_membership_no", "contacts by membership_no";
    FilterColumn, "filter_cz_cols", "contacts by a custom field";
    FilterEmail, "filter_email", "contacts by e-mail";
    FilterAddress, "filter_address", "e-mail rows by address";
    FilterCreatedAt, "filter_created_at", "contacts by created_at__start";
    MembershipNoUnique, "membership_no_unique", "a membership_no is unique";
    EmailUnique, "email_unique", "an e-mail is unique";
    CreateStatus, "create_status", "status of a create";
    ErrorBody, "error_body", "body of a refusal";
    SearchLagMs, "search_lag_ms", "search finds a contact within (ms)";
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// Settled: a word, a number, or yes and no.
    Known(Value),
    /// Not settled, and why.
    Unknown(String),
}

/// Everything that one probe found out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TenantReport {
    readings: BTreeMap<Question, Reading>,
    details: BTreeMap<Question, String>,
}

impl TenantReport {
    /// Settles a question.
    pub fn settle(&mut self, question: Question, value: impl Into<Value>) {
        self.readings.insert(question, Reading::Known(value.into()));
    }

    /// Says why a question is not settled.
    pub fn unknown(&mut self, question: Question, reason: impl Into<String>) {
        self.readings.insert(question, Reading::Unknown(reason.into()));
    }

    /// Says more than the answer alone; never a value of a person.
    pub fn detail(&mut self, question: Question, text: impl Into<String>) {
        self.details.insert(question, text.into());
    }

    /// The answer to a question, when it was asked.
    pub fn reading(&self, question: Question) -> Option<&Reading> {
        self.readings.get(&question)
    }

    /// What more is known.
    pub fn detail_of(&self, question: Question) -> Option<&str> {
        self.details.get(&question).map(String::as_str)
    }

    /// A settled answer that is a word.
    pub fn word(&self, question: Question) -> Option<&str> {
        self.known(question).and_then(Value::as_str)
    }

    /// A settled answer that is a number.
    pub fn number(&self, question: Question) -> Option<u64> {
        self.known(question).and_then(Value::as_u64)
    }

    fn known(&self, question: Question) -> Option<&Value> {
        match self.reading(question)? {
            Reading::Known(value) => Some(value),
            Reading::Unknown(_) => None,
        }
    }

    /// Gives every question that was never reached a reason.
    pub fn close(&mut self, reason: &str) {
        for question in Question::ALL {
            self.readings.entry(*question).or_insert_with(|| Reading::Unknown(reason.to_owned()));
        }
    }

    /// As one JSON object: `profile` (null where unknown), `unknown` (reasons), `details`.
    pub fn json(&self) -> Value {
        let mut profile = Map::new();
        let mut unknown = Map::new();
        for (question, reading) in &self.readings {
            let key = question.key().to_owned();
            match reading {
                Reading::Known(value) => drop(profile.insert(key, value.clone())),
                Reading::Unknown(reason) => {
                    profile.insert(key.clone(), Value::Null);
                    unknown.insert(key, json!(reason));
                }
            }
        }
        let details: Map<String, Value> =
            self.details.iter().map(|(question, text)| (question.key().to_owned(), json!(text))).collect();
        json!({ "profile": profile, "unknown": unknown, "details": details })
    }

    /// Reads what [`Self::json`] wrote; what an older or newer version wrote beside it is passed over.
    pub fn from_json(stored: &Value) -> Self {
        let mut report = Self::default();
        for question in Question::ALL {
            match &stored["profile"][question.key()] {
                Value::Null => {
                    if let Some(reason) = stored["unknown"][question.key()].as_str() {
                        report.unknown(*question, reason);
                    }
                }
                value => report.settle(*question, value.clone()),
            }
            if let Some(text) = stored["details"][question.key()].as_str() {
                report.detail(*question, text);
            }
        }
        report
    }
}

/// Profile key under which the latest report is kept in the state.
pub const PROFILE_KEY: &str = "probe";

/// A form of filter by which a stamp is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StampFilter {
    /// `membership_no=`
    MembershipNo,
    /// `cz_cols[0][id]=...`
    Brackets,
    /// `cz_cols=[...]`
    Json,
}

impl TenantReport {
    /// Whether a form of filter is known to say nothing: refused, or ignored by the tenant. Asking it is in vain.
    pub fn is_useless(&self, filter: StampFilter) -> bool {
        let (question, fine): (_, &[&str]) = match filter {
            StampFilter::MembershipNo => (Question::FilterMembershipNo, &["works", "fuzzy"]),
            StampFilter::Brackets => (Question::FilterColumn, &["brackets", "both"]),
            StampFilter::Json => (Question::FilterColumn, &["json", "both"]),
        };
        self.word(question).is_some_and(|word| !fine.contains(&word))
    }
}

/// What kind of thing a scratch record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScratchKind {
    /// A contact.
    Contact,
    /// A tag.
    Tag,
}

/// A record that a probe makes, written down before it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scratch {
    /// A contact or a tag.
    pub kind: ScratchKind,
    /// The text that nothing else at the tenant carries: its name.
    pub stamp: String,
    /// Its id, once the create has answered.
    pub id: Option<i64>,
}

impl Scratch {
    /// For the state.
    pub fn json(&self) -> Value {
        let kind = match self.kind {
            ScratchKind::Contact => "contact",
            ScratchKind::Tag => "tag",
        };
        json!({ "kind": kind, "stamp": self.stamp, "id": self.id })
    }

    /// Reads what [`Self::json`] wrote. A row without a stamp of the right form is none: nothing is deleted by it.
    pub fn from_json(row: &Value) -> Option<Self> {
        let kind = match row["kind"].as_str()? {
            "contact" => ScratchKind::Contact,
            "tag" => ScratchKind::Tag,
            _ => return None,
        };
        let stamp = row["stamp"].as_str().filter(|stamp| is_scratch_stamp(stamp))?.to_owned();
        Some(Self { kind, stamp, id: row["id"].as_i64() })
    }
}

/// How every scratch record's name begins.
pub const SCRATCH_PREFIX: &str = "deskferry-probe-";
/// Hexadecimal digits behind it: nobody types them by chance.
pub const SCRATCH_DIGITS: usize = 16;

/// Whether a text is the stamp of a scratch record: the prefix and the digits, and nothing else.
pub fn is_scratch_stamp(text: &str) -> bool {
    text.strip_prefix(SCRATCH_PREFIX).is_some_and(|rest| {
        rest.len() == SCRATCH_DIGITS && rest.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Question, Reading, Scratch, ScratchKind, StampFilter, TenantReport, is_scratch_stamp};

    #[test]
    fn a_report_comes_back_from_the_state_as_it_was() {
        let mut report = TenantReport::default();
        report.settle(Question::PerPageMax, 100);
        report.settle(Question::EmailUnique, false);
        report.settle(Question::FilterColumn, "json");
        report.unknown(Question::BooleanForm, "there is no boolean custom field");
        report.detail(Question::PerPageMax, "more is cut to it");
        assert_eq!(TenantReport::from_json(&report.json()), report);
        assert_eq!(report.json()["profile"]["boolean_form"], json!(null));
        report.close("not reached");
        assert_eq!(report.reading(Question::ErrorBody), Some(&Reading::Unknown(String::from("not reached"))));
        assert_eq!(report.number(Question::PerPageMax), Some(100));
    }

    #[test]
    fn only_a_filter_that_is_known_to_say_nothing_is_useless() {
        let mut report = TenantReport::default();
        assert!(!report.is_useless(StampFilter::MembershipNo));
        report.unknown(Question::FilterMembershipNo, "found nothing in time");
        assert!(!report.is_useless(StampFilter::MembershipNo));
        for (word, useless) in [("works", false), ("fuzzy", false), ("ignored", true), ("refused", true)] {
            report.settle(Question::FilterMembershipNo, word);
            assert_eq!(report.is_useless(StampFilter::MembershipNo), useless, "{word}");
        }
        for (word, brackets, other) in
            [("brackets", false, true), ("json", true, false), ("both", false, false), ("ignored", true, true)]
        {
            report.settle(Question::FilterColumn, word);
            let useless = (report.is_useless(StampFilter::Brackets), report.is_useless(StampFilter::Json));
            assert_eq!(useless, (brackets, other), "{word}");
        }
    }

    #[test]
    fn a_row_of_the_state_without_an_unmistakable_stamp_deletes_nothing() {
        let scratch = Scratch {
            kind: ScratchKind::Contact,
            stamp: String::from("deskferry-probe-0123456789abcdef"),
            id: Some(7),
        };
        assert_eq!(Scratch::from_json(&scratch.json()), Some(scratch));
        for stamp in
            ["", "deskferry-probe-", "Amy Lin", "deskferry-probe-0123456789ABCDEF", "deskferry-probe-0123456789abcdef "]
        {
            assert!(!is_scratch_stamp(stamp), "{stamp}");
            assert_eq!(Scratch::from_json(&json!({ "kind": "contact", "stamp": stamp, "id": 7 })), None);
        }
    }
}
