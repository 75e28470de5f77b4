//! Making a plan: every proposal is granted and becomes a line.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use roaring::RoaringTreemap;

use super::format::{Line, Pen, left_over};
use crate::domain::hash::HashKey;
use crate::domain::ids::LiveDeskId;
use crate::domain::outcome::Outcome;
use crate::sync::engine::RunError;
use crate::sync::overseer::{Approval, Overseer, Proposal, Stage};

/// How values are shown, whoever asks.
pub type Shown = Box<dyn Fn(&str) -> String + Send + Sync>;
/// Told of every line.
pub type Listener = Box<dyn FnMut(&Line) + Send>;

/// Writes a plan down, line by line, as the run comes by. In memory are only the contacts under way, and which ones it has
/// told.
pub struct Draft {
    key: HashKey,
    names: BTreeMap<i64, String>,
    show: Shown,
    path: PathBuf,
    written: Mutex<Written>,
}

struct Written {
    out: BufWriter<File>,
    listener: Listener,
    pending: HashMap<LiveDeskId, Proposal>,
    told: RoaringTreemap,
    lines: u64,
    contacts: BTreeMap<String, u64>,
}

impl Draft {
    /// A plan whose lines go to a new file at `path`.
    pub fn begin(
        path: &Path,
        key: HashKey,
        names: BTreeMap<i64, String>,
        show: Shown,
        listener: Listener,
    ) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        let written = Written {
            out: BufWriter::new(file),
            listener,
            pending: HashMap::new(),
            told: RoaringTreemap::new(),
            lines: 0,
            contacts: BTreeMap::new(),
        };
        Ok(Self { key, names, show, path: path.to_owned(), written: Mutex::new(written) })
    }

    /// Everything is written: how many lines, and the contacts by what is done with them.
    pub fn finish(&self) -> io::Result<(u64, BTreeMap<String, u64>)> {
        let mut written = self.written();
        written.out.flush()?;
        Ok((written.lines, written.contacts.clone()))
    }

    /// Where the lines are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn written(&self) -> std::sync::MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn line(&self, proposal: &Proposal) -> Line {
        Line::of(proposal, Pen { key: &self.key, names: &self.names, show: &*self.show })
    }

    fn note(&self, proposal: Proposal) -> Result<(), RunError> {
        let mut written = self.written();
        if proposal.action.stage() != Stage::Contact {
            let line = self.line(&proposal);
            return written.put(line, &self.key);
        }
        written.pending.insert(proposal.id, proposal);
        Ok(())
    }

    fn end(&self, id: LiveDeskId, outcome: &Outcome) -> Result<(), RunError> {
        let mut written = self.written();
        let proposal = written.pending.remove(&id);
        // A contact can come by twice: what was done first is what is done.
        if !written.told.insert(id.0.unsigned_abs()) {
            return Ok(());
        }
        let line = match proposal {
            Some(proposal) => Line { left_over: left_over(outcome), ..self.line(&proposal) },
            None => Line::bare(id.0, outcome),
        };
        written.put(line, &self.key)
    }
}

impl Written {
    fn put(&mut self, line: Line, key: &HashKey) -> Result<(), RunError> {
        *self.contacts.entry(line.action.clone()).or_default() += 1;
        if line.action == "nothing" {
            return Ok(());
        }
        let line = line.sealed(key);
        (self.listener)(&line);
        self.lines += 1;
        let text = serde_json::to_string(&line).expect("texts and numbers always become JSON");
        writeln!(self.out, "{text}").map_err(|error| RunError::Refused(format!("the plan cannot be written: {error}")))
    }
}

impl Overseer for Draft {
    fn propose(&self, proposal: Proposal) -> BoxFuture<'_, Result<Approval, RunError>> {
        std::future::ready(self.note(proposal).map(|()| Approval::Granted)).boxed()
    }

    fn ended(&self, id: LiveDeskId, outcome: Outcome) -> BoxFuture<'_, Result<Outcome, RunError>> {
        std::future::ready(self.end(id, &outcome).map(|()| outcome)).boxed()
    }

    fn may_make_tag(&self, _name: &str) -> bool {
        true
    }
}
