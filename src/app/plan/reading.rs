//! Reading a plan: every line is checked before anything is done; what is kept of it is 48 bytes a line.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::format::{End, FORMAT, Header, Line};
use crate::domain::hash::{Digest, HashKey};
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::store::StoreError;
use crate::sync::overseer::{Action, Stage};

/// Why a plan is not carried out.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file cannot be read.
    #[error("the plan {} cannot be read", .path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no plan, or one of another format.
    #[error("{} is no plan that this program can carry out: {why}; nothing was done", .path.display())]
    NotOurs {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// It was made for something else.
    #[error("the plan {} was made for something else; nothing was done. Make a new one. The differences:\n  {}", .path.display(), .differences.join("\n  "))]
    Other {
        /// Which.
        path: PathBuf,
        /// One sentence each.
        differences: Vec<String>,
    },
    /// A line is not as it was written.
    #[error("the plan {} is damaged in line {line}: {why}; nothing was done. Make a new one", .path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// Line number, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One line of the plan.
pub(super) struct Entry {
    pub(super) id: i64,
    pub(super) stage: Stage,
    pub(super) deed: Digest,
    pub(super) is_deed: bool,
    pub(super) offset: u64,
    /// The contact came by.
    pub(super) met: bool,
    /// It was as planned when it was asked for.
    pub(super) granted: bool,
}

/// What a plan holds.
pub(super) struct Read {
    pub(super) entries: Vec<Entry>,
    pub(super) adopted: HashMap<FirstLineId, LiveDeskId>,
    pub(super) end: End,
    /// What it is known by.
    pub(super) mark: String,
}

/// Every line, checked; the end; and what this plan is known by.
pub(super) fn read(path: &Path, now: &Header, key: &HashKey) -> Result<Read, PlanError> {
    let unreadable = |source| PlanError::Unreadable { path: path.to_owned(), source };
    let not_ours = |why: &str| PlanError::NotOurs { path: path.to_owned(), why: why.to_owned() };
    let damaged = |line: u64, why: &str| PlanError::Damaged { path: path.to_owned(), line, why: why.to_owned() };
    let mut reader = BufReader::new(File::open(path).map_err(unreadable)?);
    let mut text = Vec::new();
    let mut offset = reader.read_until(b'\n', &mut text).map_err(unreadable)? as u64;
    let head: Value = serde_json::from_slice(&text).map_err(|_| not_ours("its first line is no header"))?;
    match head.get("deskferry_plan").and_then(Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => return Err(not_ours(&format!("it has format {format}, this program knows {FORMAT}"))),
        None => return Err(not_ours("its first line is no header")),
    }
    let mark = blake_of(key, &text);
    let header: Header = serde_json::from_value(head).map_err(|_| damaged(1, "it is no whole header"))?;
    let differences = header.differences(now);
    if !differences.is_empty() {
        return Err(PlanError::Other { path: path.to_owned(), differences });
    }
    let (mut entries, mut adopted): (Vec<Entry>, _) = (Vec::new(), HashMap::new());
    for number in 2_u64.. {
        text.clear();
        let length = reader.read_until(b'\n', &mut text).map_err(unreadable)? as u64;
        if length == 0 {
            return Err(damaged(number, "the file ends before the plan does"));
        }
        let line: Value = serde_json::from_slice(&text).map_err(|_| damaged(number, "it is no JSON object"))?;
        if let Some(end) = line.get("end") {
            let end: End = serde_json::from_value(end.clone()).map_err(|_| damaged(number, "it is no whole end"))?;
            if end.lines != entries.len() as u64 {
                let why = format!("the plan had {} lines of contacts, here are {}", end.lines, entries.len());
                return Err(damaged(number, &why));
            }
            entries.sort_unstable_by_key(|entry| (entry.id, entry.stage));
            let same = |pair: &&[Entry]| (pair[0].id, pair[0].stage) == (pair[1].id, pair[1].stage);
            if let Some(pair) = entries.windows(2).find(same) {
                return Err(damaged(number, &format!("contact {} stands in it twice", pair[0].id)));
            }
            return Ok(Read { entries, adopted, end, mark });
        }
        let line: Line = serde_json::from_value(line).map_err(|_| damaged(number, "it is no whole line"))?;
        if !line.is_whole(key) {
            return Err(damaged(number, "it was changed since it was written"));
        }
        if let Some(target) = line.firstline_id.filter(|_| line.action == Action::Adopt.as_str()) {
            adopted.insert(FirstLineId(target), LiveDeskId(line.livedesk_id));
        }
        entries.push(Entry {
            id: line.livedesk_id,
            stage: line.stage(),
            deed: line.deed(key),
            is_deed: line.is_deed(),
            offset,
            met: false,
            granted: false,
        });
        offset += length;
    }
    unreachable!("a file has an end")
}

fn blake_of(key: &HashKey, text: &[u8]) -> String {
    key.digest("plan header", text).to_string()
}

/// The line at this place in the file.
pub(super) fn line_at(path: &Path, offset: u64) -> Result<Line, std::io::Error> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut text = String::new();
    BufReader::new(file).read_line(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}
