//! The mapping: a pure function from a LiveDesk contact to the record that FIRST LINE should hold.
//!
//! Read in this order: [`spec`] (the file as data), [`compile()`] (every problem at once), [`apply`] (one contact),
//! then [`fixture`] and [`explain`] for people. No I/O, no clock, no async. The file's text is parsed by
//! `config`, which also adds file and line to a [`MappingProblem`]. The guide for users is `docs/mapping.md`.

pub mod apply;
pub mod compile;
mod context;
mod convert;
pub mod drift;
pub mod explain;
mod expression;
mod filters;
pub mod fixture;
mod lists;
mod reads;
mod scan;
pub mod spec;
pub mod tags;
mod target;

use std::fmt;

use jiff::tz::TimeZone;

pub use apply::Mapping;
pub use compile::compile;
pub use spec::MappingSpec;

use crate::domain::field::FieldDefinition;
use crate::domain::phone::Country;

/// Fields that the stamp writes; a mapping line for one of them is a mistake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StampFields {
    /// The stamp is a prefixed `membership_no`.
    pub membership_no: bool,
    /// The stamp is this text custom field.
    pub cz_col: Option<i64>,
}

/// What a mapping is compiled against.
#[derive(Clone, Debug)]
pub struct CompileContext<'a> {
    /// The tenant's custom fields of customers; `None` offline, when nothing about them is checked.
    pub definitions: Option<&'a [FieldDefinition]>,
    /// What the stamp writes.
    pub stamp: StampFields,
    /// The tenant's time zone.
    pub time_zone: TimeZone,
    /// Country of phone numbers that do not name theirs.
    pub phone_country: Country,
}

/// Something in the mapping file that cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappingProblem {
    /// Where: `contact.birth_at`, `cz_cols[2].value`, `select.when`.
    pub place: String,
    /// Column inside the text at that place, in characters from 1.
    pub column: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl fmt::Display for MappingProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)?;
        if let Some(column) = self.column {
            write!(f, " (at column {column})")?;
        }
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}
