//! Page requests in flight: the wanted page, and a few ahead of it.
//!
//! Requests run as tasks of a `JoinSet`, not inside `read`, so that they go on while the caller works on a page:
//! a request that nobody polls would run into its own time-out. At most `ContactSource::concurrency` pages
//! are held, so memory stays bounded. What a page means is not decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::sync::ports::{ContactSource, PageRequest, PortError, SourcePage};

/// Reads pages of one pass, in order, some ahead.
#[derive(Debug)]
pub(super) struct Reader<S> {
    source: Arc<S>,
    window: u32,
    tasks: JoinSet<(u32, Result<SourcePage, PortError>)>,
    in_flight: BTreeSet<u32>,
    ready: BTreeMap<u32, Result<SourcePage, PortError>>,
}

impl<S: ContactSource> Reader<S> {
    pub(super) fn new(source: Arc<S>) -> Self {
        let window = u32::try_from(source.concurrency().max(1)).unwrap_or(1);
        Self { source, window, tasks: JoinSet::new(), in_flight: BTreeSet::new(), ready: BTreeMap::new() }
    }

    /// The wanted page. A page is handed out once; asking again sends a new request. Pages up to `until` may be
    /// asked for ahead. Cancel-safe: what arrives meanwhile is kept.
    pub(super) async fn read(&mut self, wanted: PageRequest, until: u32) -> Result<SourcePage, PortError> {
        loop {
            if let Some(answer) = self.ready.remove(&wanted.page) {
                return answer;
            }
            self.ask(wanted);
            for page in wanted.page.saturating_add(1)..=until.min(wanted.page.saturating_add(self.window - 1)) {
                self.ask(PageRequest { page, ..wanted });
            }
            match self.tasks.join_next().await {
                Some(Ok((page, answer))) => {
                    self.in_flight.remove(&page);
                    self.ready.insert(page, answer);
                }
                Some(Err(failure)) => match failure.try_into_panic() {
                    Ok(panic) => std::panic::resume_unwind(panic),
                    // Only the runtime's own end cancels a task of this set.
                    Err(_cancelled) => return Err(PortError::Interrupted),
                },
                None => return Err(PortError::Interrupted),
            }
        }
    }

    /// Forgets everything read or asked for ahead.
    pub(super) fn discard(&mut self) {
        self.tasks = JoinSet::new();
        self.in_flight.clear();
        self.ready.clear();
    }

    fn ask(&mut self, request: PageRequest) {
        if self.ready.contains_key(&request.page) || !self.in_flight.insert(request.page) {
            return;
        }
        let source = Arc::clone(&self.source);
        self.tasks.spawn(async move { (request.page, source.page(request).await) });
    }
}
