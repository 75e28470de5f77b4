//! The form in which many rows travel to SQLite as one parameter, and values come back.
//!
//! A batch is one JSON array of arrays that a statement unfolds with `jsonb_each`: one statement per kind of write,
//! and one round trip to SQLite's thread for all of them. A digest goes as hexadecimal text and through `unhex`, longer
//! bytes in one blob that the rows point into.

use serde::Serialize;

use crate::domain::hash::Digest;

use super::error::StoreError;

/// A batch for `jsonb_each`.
pub(super) fn batch<R: Serialize>(rows: impl Iterator<Item = R>) -> String {
    let rows: Vec<R> = rows.collect();
    serde_json::to_string(&rows).expect("numbers and texts always become JSON")
}

/// Hexadecimal text.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}

/// Hexadecimal text of a digest that may be missing.
pub(super) fn hex_digest(digest: Option<Digest>) -> Option<String> {
    digest.map(|digest| hex(&digest.0))
}

/// A stored digest.
pub(super) fn digest(bytes: &[u8], place: &'static str) -> Result<Digest, StoreError> {
    bytes.try_into().map(Digest).map_err(|_| StoreError::Unexpected { place })
}

/// A stored digest that may be missing.
pub(super) fn maybe_digest(bytes: Option<Vec<u8>>, place: &'static str) -> Result<Option<Digest>, StoreError> {
    bytes.map(|bytes| digest(&bytes, place)).transpose()
}

/// A stored number in its narrower type.
pub(super) fn number<T: TryFrom<i64>>(value: i64, place: &'static str) -> Result<T, StoreError> {
    T::try_from(value).map_err(|_| StoreError::Unexpected { place })
}

/// A stored word, read by `parse`.
pub(super) fn word<T>(parsed: Option<T>, place: &'static str) -> Result<T, StoreError> {
    parsed.ok_or(StoreError::Unexpected { place })
}

/// Stored JSON.
pub(super) fn json<T: serde::de::DeserializeOwned>(text: &str, place: &'static str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Unexpected { place })
}

/// An enum that is stored as a word: `words!(Kind { Variant = "word", .. })` adds `as_str` and `parse`.
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $name {
            /// The word under which it is stored.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }

            /// Reads that word.
            pub fn parse(word: &str) -> Option<Self> {
                Some(match word {
                    $($word => Self::$variant,)+
                    _ => return None,
                })
            }
        }
    };
}

/// A write of many rows at once: SQL with one parameter, the batch that it unfolds, after one for bytes that its rows
/// share, where they have some.
pub(super) struct Statement {
    pub(super) sql: &'static str,
    pub(super) bytes: Option<Vec<u8>>,
    pub(super) rows: String,
}

/// The statement for those ops that match a pattern: `statement!(ops, WriteOp::PutLink(link) => (..row..); "INSERT ..")`.
///
/// With a name after `ops` the rows may append bytes to a buffer of that name, and say where they are.
macro_rules! statement {
    ($ops:expr, $pattern:pat => $row:expr; $sql:tt) => {{
        // Never called: it has sqlx check the text against the schema when this is compiled.
        let _checked = |rows: String| sqlx::query!($sql, rows);
        let rows = crate::store::rows::statement!(rows $ops, $pattern => $row);
        crate::store::rows::Statement { sql: $sql, bytes: None, rows }
    }};
    ($ops:expr, $bytes:ident, $pattern:pat => $row:expr; $sql:tt) => {{
        let _checked = |bytes: Vec<u8>, rows: String| sqlx::query!($sql, bytes, rows);
        let mut $bytes: Vec<u8> = Vec::new();
        let rows = crate::store::rows::statement!(rows $ops, $pattern => $row);
        crate::store::rows::Statement { sql: $sql, bytes: Some($bytes), rows }
    }};
    (rows $ops:expr, $pattern:pat => $row:expr) => {
        crate::store::rows::batch($ops.iter().filter_map(|op| match op {
            $pattern => Some($row),
            _ => None,
        }))
    };
}

pub(super) use {statement, words};
