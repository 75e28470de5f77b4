//! Look-ups beside the table of contacts: ids by text value, and owners of rows by row id.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use super::model::push_one;

/// Contact ids by a text value, whatever its case.
#[derive(Debug, Default)]
pub(super) struct Index(HashMap<Box<str>, Vec<u64>>);

impl Index {
    pub(super) fn add(&mut self, value: &str, id: u64) {
        push_one(self.0.entry(value.to_lowercase().into()).or_default(), id);
    }

    pub(super) fn remove(&mut self, value: &str, id: u64) {
        let key = value.to_lowercase();
        if let Some(ids) = self.0.get_mut(key.as_str()) {
            if let Some(at) = ids.iter().position(|&known| known == id) {
                ids.swap_remove(at);
            }
            if ids.is_empty() {
                self.0.remove(key.as_str());
            }
        }
    }

    /// Contacts with this value; one that has it twice occurs twice.
    pub(super) fn get(&self, value: &str) -> &[u64] {
        self.0.get(value.to_lowercase().as_str()).map_or(&[], Vec::as_slice)
    }
}

/// Child id and contact id, in the order of child ids.
#[derive(Debug, Default)]
pub(super) struct Owners {
    rows: Vec<(u64, u64)>,
    last: u64,
}

impl Owners {
    pub(super) fn all(&self) -> &[(u64, u64)] {
        &self.rows
    }

    pub(super) fn owner(&self, child: u64) -> Option<u64> {
        let at = self.rows.binary_search_by_key(&child, |(child, _)| *child).ok()?;
        Some(self.rows[at].1)
    }

    pub(super) fn push(&mut self, contact: u64) -> u64 {
        // Never an id that was used before.
        self.last += 1;
        let child = self.last;
        self.rows.push((child, contact));
        child
    }

    pub(super) fn remove(&mut self, child: u64) {
        if let Ok(at) = self.rows.binary_search_by_key(&child, |(child, _)| *child) {
            self.rows.remove(at);
        }
    }

    /// Gives a row to a contact, whether it hung on another or on none.
    pub(super) fn give(&mut self, child: u64, contact: u64) {
        match self.rows.binary_search_by_key(&child, |(child, _)| *child) {
            Ok(at) => self.rows[at].1 = contact,
            Err(at) => self.rows.insert(at, (child, contact)),
        }
    }
}

/// A value that is no list, as text.
pub(super) fn scalar_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) => Some(Cow::Owned(number.to_string())),
        Value::Bool(flag) => Some(Cow::Borrowed(if *flag { "1" } else { "0" })),
        _ => None,
    }
}
