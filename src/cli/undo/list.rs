//! The list of an undo: what was done, kept or left, as it comes. Ids, parts and reasons, no values.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::cli::output::{Failure, note};
use crate::config::template;
use crate::domain::ids::RunId;
use crate::sync::undo::UndoLine;

/// Lines that the text shows of what was kept or left, or is not confirmed.
const SHOWN: usize = 20;

/// The file beside the state; only its owner can read it.
pub(super) struct List {
    path: PathBuf,
    inner: Mutex<Lines>,
}

struct Lines {
    file: csv::Writer<File>,
    kept: Vec<UndoLine>,
    failed: Option<csv::Error>,
}

impl List {
    pub(super) fn create(state: &Path, run: RunId) -> Result<Self, Failure> {
        let path = state.with_file_name(format!("deskferry-undo-{run}.csv"));
        let failed =
            |error: &dyn std::fmt::Display| Failure::new(format!("{} could not be written: {error}", path.display()));
        template::create(&path, "", 0o600).map_err(|error| failed(&error))?;
        let file = OpenOptions::new().append(true).open(&path).map_err(|error| failed(&error))?;
        let mut file = csv::Writer::from_writer(file);
        file.write_record(["livedesk_id", "firstline_id", "part", "done", "why"]).map_err(|error| failed(&error))?;
        Ok(Self { path, inner: Mutex::new(Lines { file, kept: Vec::new(), failed: None }) })
    }

    pub(super) fn add(&self, line: &UndoLine) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let ids = [line.livedesk_id.to_string(), line.firstline_id.to_string()];
        let row = [ids[0].as_str(), ids[1].as_str(), line.part.as_str(), line.done, line.why.as_str()];
        if let Err(error) = inner.file.write_record(row) {
            inner.failed.get_or_insert(error);
        }
        if matches!(line.done, "kept" | "unconfirmed" | "left") && inner.kept.len() < SHOWN {
            inner.kept.push(line.clone());
        }
    }

    /// Nothing was begun, so there is nothing to list.
    pub(super) fn discard(self) {
        drop(self.inner);
        if let Err(error) = fs::remove_file(&self.path) {
            note(format_args!("{} stays, without a line: {error}", self.path.display()));
        }
    }

    pub(super) fn finish(self) -> (PathBuf, Vec<UndoLine>) {
        let mut inner = self.inner.into_inner().unwrap_or_else(PoisonError::into_inner);
        let flushed = inner.file.flush().err().map(csv::Error::from);
        if let Some(error) = inner.failed.or(flushed) {
            note(format_args!("error: the list {} is not complete: {error}", self.path.display()));
        }
        (self.path, inner.kept)
    }
}
