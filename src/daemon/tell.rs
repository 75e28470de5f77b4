//! How the runs of the service show themselves: in the log.

use std::sync::{Mutex, PoisonError};

use crate::sync::progress::{Progress, ProgressEvent};

/// Writes what an operator should know to the log.
#[derive(Debug, Default)]
pub struct Log {
    /// Why the run waits, so that it is said once.
    waits: Mutex<Option<String>>,
}

impl Progress for Log {
    fn event(&self, event: ProgressEvent) {
        match event {
            ProgressEvent::Notice(text) => tracing::warn!("{text}"),
            ProgressEvent::Phase(phase) => tracing::debug!(phase = phase.as_str()),
            ProgressEvent::Waiting { why, .. } => {
                let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
                if waits.as_deref() != Some(why.as_str()) {
                    tracing::debug!("waiting: {why}");
                    *waits = Some(why);
                }
            }
            ProgressEvent::Resumed => {
                *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = None;
            }
            ProgressEvent::Expect(_) | ProgressEvent::Advance(_) | ProgressEvent::PageRead => {}
        }
    }
}
