//! The words of the problem (docs: design, section 3): contacts, records, fingerprints, verdicts.
//!
//! Everything here is plain data and pure functions. No I/O, no async, no clock, no knowledge of HTTP,
//! SQL or of either platform's wire format.

pub mod base;
pub mod causes;
pub mod contact;
pub mod field;
pub mod hash;
pub mod ids;
pub mod outcome;
pub mod phone;
pub mod record;
pub mod sweep;
pub mod target;
pub mod tenant;
