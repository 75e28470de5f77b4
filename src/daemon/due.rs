//! What is due: one flag per kind of work, so that ten activations missed during one long run are one.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

pub use crate::ops::trigger::Kind;

/// What was asked for and has not begun. Cheap to clone; schedule and triggers hold one each.
#[derive(Clone, Debug, Default)]
pub struct Due(Arc<Asked>);

#[derive(Debug, Default)]
struct Asked {
    flags: Mutex<Flags>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    sync: bool,
    sweep: bool,
    /// Whether a person asked for the sweep.
    proof: bool,
    /// What was begun last.
    last: Option<Kind>,
}

impl Flags {
    fn of(&mut self, kind: Kind) -> &mut bool {
        match kind {
            Kind::Sync => &mut self.sync,
            Kind::Sweep => &mut self.sweep,
        }
    }
}

impl Due {
    /// Asks for one. Answers whether it was new: what is asked for already runs once.
    pub fn ask(&self, kind: Kind) -> bool {
        let was = std::mem::replace(self.flags().of(kind), true);
        self.0.changed.notify_one();
        !was
    }

    /// Asks for one on a person's word. Who asks for a sweep wants to know: it is to be proven.
    pub fn ask_for_proof(&self, kind: Kind) -> bool {
        if kind == Kind::Sweep {
            self.flags().proof = true;
        }
        self.ask(kind)
    }

    /// Takes a person's wish for proof, with the sweep that fulfils it.
    pub fn take_proof(&self) -> bool {
        std::mem::take(&mut self.flags().proof)
    }

    /// Whether one is due.
    pub fn is_due(&self, kind: Kind) -> bool {
        *self.flags().of(kind)
    }

    /// Takes one that is due, to begin it.
    pub fn take(&self, kind: Kind) -> bool {
        std::mem::take(self.flags().of(kind))
    }

    /// Takes what is to be begun next: the quick one first, unless that was the last one as well. Cycles that take longer than
    /// their period are always due again, and would starve the sweep.
    pub fn take_next(&self) -> Option<Kind> {
        let mut flags = self.flags();
        let last = flags.last;
        let (of_another, again) = Kind::ALL.into_iter().partition::<Vec<_>, _>(|kind| Some(*kind) != last);
        let next = of_another.into_iter().chain(again).find(|kind| std::mem::take(flags.of(*kind)))?;
        flags.last = Some(next);
        Some(next)
    }

    /// Waits for something to be due, and takes it. Cancel-safe.
    pub async fn next(&self) -> Kind {
        loop {
            let changed = self.0.changed.notified();
            if let Some(kind) = self.take_next() {
                return kind;
            }
            changed.await;
        }
    }

    fn flags(&self) -> std::sync::MutexGuard<'_, Flags> {
        self.0.flags.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_activations_of_one_kind_run_once_and_the_quick_one_goes_first() {
        let due = Due::default();
        assert!(due.ask(Kind::Sweep));
        for first in [true, false, false] {
            assert_eq!(due.ask(Kind::Sync), first);
        }
        assert_eq!((due.next().await, due.next().await, due.take_next()), (Kind::Sync, Kind::Sweep, None));
    }

    #[tokio::test]
    async fn a_sweep_that_is_due_begins_however_soon_the_next_cycle_is_due() {
        let due = Due::default();
        due.ask(Kind::Sweep);
        let mut begun = Vec::new();
        for _ in 0..4 {
            // The cycle took longer than its period: at its end it is due again.
            due.ask(Kind::Sync);
            begun.push(due.next().await);
        }
        assert_eq!(begun, [Kind::Sync, Kind::Sweep, Kind::Sync, Kind::Sync]);
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_by_an_activation() {
        let due = Due::default();
        let waits = due.next();
        tokio::pin!(waits);
        assert!(futures::poll!(&mut waits).is_pending());
        due.ask(Kind::Sweep);
        assert_eq!(waits.await, Kind::Sweep);
    }
}
