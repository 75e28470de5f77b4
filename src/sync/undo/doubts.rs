//! Creates whose outcome the journal does not have: they are settled before a run is taken back, and told.

use std::collections::BTreeMap;

use serde_json::json;

use super::UndoLine;
use crate::domain::ids::{LiveDeskId, RunId};
use crate::store::{IntentState, Store, StoreError};
use crate::sync::engine::{Engine, RunError};
use crate::sync::ports::ContactTarget;
use crate::sync::progress::{Phase, ProgressEvent};

/// Creates of one run whose outcome is not in the journal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Doubts {
    /// How many are still in doubt.
    pub parked: u64,
    /// Contacts whose create surely never arrived.
    pub absent: Vec<LiveDeskId>,
}

impl Doubts {
    /// As the state has them: what the run sent, and what was sent to take it back.
    pub async fn of(store: &Store, run: RunId) -> Result<Self, StoreError> {
        let mut doubts = Self::default();
        let mut senders: BTreeMap<RunId, bool> = BTreeMap::new();
        for intent in store.open_intents().await? {
            let Some(sender) = store.run_at(intent.opened_at).await? else { continue };
            let is_of_it = match senders.get(&sender) {
                Some(known) => *known,
                None => {
                    sender == run || store.run(sender).await?.is_some_and(|sender| sender.options["of"] == json!(run.0))
                }
            };
            senders.insert(sender, is_of_it);
            match intent.state {
                _ if !is_of_it => {}
                IntentState::Absent => doubts.absent.push(intent.livedesk_id),
                IntentState::Open | IntentState::Parked => doubts.parked += 1,
                IntentState::Audit => {}
            }
        }
        Ok(doubts)
    }

    /// The lines that say which creates never arrived.
    pub fn lines(&self) -> impl Iterator<Item = UndoLine> {
        self.absent.iter().map(|id| UndoLine {
            livedesk_id: id.0,
            firstline_id: 0,
            part: String::from("customer"),
            done: "never arrived",
            why: String::from("its create is sent again when contacts are carried again"),
        })
    }
}

impl<T: ContactTarget> Engine<T> {
    /// Settles what is in doubt, whoever sent it, so that what arrived after all is in the journal of the run that sent it.
    pub async fn settle_before_undo(&self) -> Result<(), RunError> {
        self.progress.event(ProgressEvent::Phase(Phase::LeftOvers));
        self.store.park_left_overs(self.clock.now()).await?;
        self.finish_trial().await?;
        loop {
            let settlement = self.settle().await?;
            match settlement.next_horizon {
                Some(horizon) if self.settings.wait => {
                    self.wait_for_doubt(Some(horizon), settlement.parked.len()).await?;
                }
                _ => return Ok(()),
            }
        }
    }
}
