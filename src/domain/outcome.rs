//! What became of one contact in one run, and why. No variant holds a value of the contact.

use std::fmt;

/// Digits that make a number look like an id.
const LONG_NUMBER: usize = 4;

/// Why a contact was set aside.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SetAside {
    /// A stable word for grouping.
    pub kind: SetAsideKind,
    /// The field concerned, when one is.
    pub field: Option<String>,
    /// HTTP status, when the target refused it.
    pub status: Option<u16>,
    /// One sentence for people, without any value of the contact.
    pub detail: String,
}

/// The kinds of reasons for which a contact is set aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SetAsideKind {
    /// The row from LiveDesk could not be read.
    Unreadable,
    /// A value could not be mapped and its field says `reject`.
    Mapping,
    /// FIRST LINE refused the record (4xx).
    Refused,
    /// FIRST LINE refused one of its e-mails or phones.
    ChildRefused,
    /// Its absence at the target could not be proven, so nothing was created.
    Unproven,
    /// The linked record is gone from the target.
    Gone,
}

impl SetAside {
    /// The same reason with long numbers left out, so that those which differ in an id alone are one.
    #[must_use]
    pub fn without_numbers(mut self) -> Self {
        let mut plain = String::with_capacity(self.detail.len());
        for part in self.detail.split_inclusive(|letter: char| !letter.is_ascii_digit()) {
            let digits = part.trim_end_matches(|letter: char| !letter.is_ascii_digit());
            plain.push_str(if digits.len() >= LONG_NUMBER { "#" } else { digits });
            plain.push_str(&part[digits.len()..]);
        }
        self.detail = plain;
        self
    }
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        if let Some(field) = &self.field {
            write!(f, " {field}")?;
        }
        if let Some(status) = self.status {
            write!(f, " ({status})")?;
        }
        write!(f, ": {}", self.detail)
    }
}

impl SetAsideKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Unreadable, Self::Mapping, Self::Refused, Self::ChildRefused, Self::Unproven, Self::Gone];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::Mapping => "mapping",
            Self::Refused => "refused",
            Self::ChildRefused => "child_refused",
            Self::Unproven => "unproven",
            Self::Gone => "gone",
        }
    }

    /// Reads the stable word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for SetAsideKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a run did with one contact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A record was created.
    Created,
    /// An existing record was linked, and its blanks filled.
    Adopted,
    /// The linked record was changed.
    Updated,
    /// Nothing to do.
    Unchanged,
    /// `[select]` does not carry it.
    NotSelected,
    /// Rejected; waits for `retry`.
    SetAside(SetAside),
    /// The outcome of a create is in doubt; a later look settles it.
    Parked,
    /// Identity in doubt; waits for a person.
    Conflict,
    /// The linked record answered 404; judged at the end of the run.
    Vanished,
    /// The linked record was merged into another one: nothing is written through it.
    Alias,
    /// The linked record is gone from the target: it is not made again by itself.
    Gone,
    /// The person was forgotten: nothing is carried, and nothing written down.
    Forgotten,
    /// What is to be done is not what the plan says: nothing was done.
    Moved(Vec<String>),
}

impl Outcome {
    /// The stable word.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Adopted => "adopted",
            Self::Updated => "updated",
            Self::Unchanged => "unchanged",
            Self::NotSelected => "not_selected",
            Self::SetAside(_) => "set_aside",
            Self::Parked => "parked",
            Self::Conflict => "conflict",
            Self::Vanished => "vanished",
            Self::Alias => "alias",
            Self::Gone => "gone",
            Self::Forgotten => "forgotten",
            Self::Moved(_) => "moved",
        }
    }
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RunVerdict {
    /// Everything is done.
    Done,
    /// Done, but something is left over: dead letters, conflicts, doubts, an incomplete sweep.
    LeftOver,
    /// It could not go on.
    Failed,
    /// It was asked to stop, and goes on next time.
    Interrupted,
}

impl RunVerdict {
    /// Every verdict.
    pub const ALL: [Self; 4] = [Self::Done, Self::LeftOver, Self::Failed, Self::Interrupted];

    /// The stable word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::LeftOver => "left_over",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }

    /// What an exit code means (design, section 6).
    pub fn of_exit(code: i32) -> Self {
        match code {
            0 => Self::Done,
            1 => Self::LeftOver,
            130 => Self::Interrupted,
            _ => Self::Failed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SetAside, SetAsideKind};

    #[test]
    fn reasons_that_differ_in_an_id_alone_are_one() {
        let reason = |detail: &str| SetAside {
            kind: SetAsideKind::Gone,
            field: Some("email".into()),
            status: Some(404),
            detail: detail.into(),
        };
        assert_eq!(reason("record 10501 is gone, 24 letters").without_numbers().detail, "record # is gone, 24 letters");
        assert_eq!(reason("record 77123").without_numbers(), reason("record 88456").without_numbers());
        assert_eq!(reason("").without_numbers().to_string(), "gone email (404): ");
    }
}
