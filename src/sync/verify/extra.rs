//! Customers that belong to no contact of LiveDesk's list: stamped for one that is not there, or with a stamp that is none.

use super::Verifier;
use super::contacts::note_of;
use super::finding::{Class, Finding, Reason};
use super::held::{FOREIGN, HeldRecord};
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::store::NotedCustomer;
use crate::sync::engine::RunError;
use crate::sync::ports::{ByIdAnswer, ContactSource, ContactTarget, PortError};
use crate::sync::stamp::StampReading;

/// Customers that are taken from the notebook at once.
const AT_ONCE: u32 = 500;

impl<S: ContactSource, T: ContactTarget> Verifier<S, T> {
    /// Judges every customer that no contact of the sweep claimed.
    pub(super) async fn find_extra(&mut self) -> Result<(), RunError> {
        let mut asked = 0;
        let mut after = FirstLineId(-1);
        loop {
            self.engine.go_on()?;
            let page = self.notes.marked_page(after, FOREIGN, AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.target;
            let stamps: Vec<LiveDeskId> = page.iter().filter_map(|row| row.stamp).collect();
            for id in self.forgotten(&stamps).await? {
                self.forgotten += u64::from(self.seen.insert(id.0.unsigned_abs()));
            }
            let claimed = |row: &NotedCustomer| row.stamp.is_some_and(|id| self.seen.contains(id.0.unsigned_abs()));
            let strangers: Vec<NotedCustomer> = page.into_iter().filter(|row| !claimed(row)).collect();
            let targets: Vec<FirstLineId> = strangers.iter().map(|row| row.target).collect();
            let holders = self.facts(&[], &targets).await?.holders;
            for row in strangers {
                let holder = holders.get(&row.target).copied();
                // Whoever is linked to it was told so already.
                if holder.is_some_and(|id| Some(id) != row.stamp && self.seen.contains(id.0.unsigned_abs())) {
                    continue;
                }
                asked += 1;
                self.judge_stranger(&row, holder, asked <= self.options.again).await?;
            }
        }
    }

    async fn judge_stranger(
        &mut self,
        row: &NotedCustomer,
        holder: Option<LiveDeskId>,
        ask: bool,
    ) -> Result<(), RunError> {
        let noted = HeldRecord::from_note(row).map(|held| held.stamp);
        let now = if ask { self.stamp_now(row.target, noted).await? } else { noted };
        let finding = match now {
            // It is another by now, or gone.
            _ if now != noted => return Ok(()),
            Some(StampReading::Of(id)) => match self.stranger_of(id, row.target, holder, ask).await? {
                Some(finding) => finding,
                None => return Ok(()),
            },
            Some(StampReading::Foreign) => {
                let detail = "something that is no stamp of ours stands in its place";
                Finding { livedesk_id: None, ..Finding::new(Class::ForeignStamp, 0, None, detail) }
            }
            _ => return Ok(()),
        };
        Ok(self.notes.put_notes(&[note_of(&finding.with([row.target.0]), false)]).await?)
    }

    /// What a customer's stamp says now; `noted` where FIRST LINE will not show it.
    async fn stamp_now(
        &self,
        target: FirstLineId,
        noted: Option<StampReading>,
    ) -> Result<Option<StampReading>, PortError> {
        match self.engine.target.contact(target).await {
            Ok(record) => Ok(record.map(|record| self.engine.scheme.read(&record))),
            Err(PortError::Refused { .. }) => Ok(noted),
            Err(error) => Err(error),
        }
    }

    /// A customer that is stamped for a contact that no page showed; `None` where that contact is there after all, and was
    /// compared.
    async fn stranger_of(
        &mut self,
        id: LiveDeskId,
        customer: FirstLineId,
        holder: Option<LiveDeskId>,
        ask: bool,
    ) -> Result<Option<Finding>, RunError> {
        let answer = match self.known {
            Some(known) if ask => self.source.by_id(id, known).await,
            _ => Ok(ByIdAnswer::Unsupported),
        };
        let detail = match answer {
            Ok(ByIdAnswer::Found(contact)) => {
                // LiveDesk's list hides it (notes LiveDesk 3.5), or it is newer than the sweep.
                if self.seen.insert(id.0.unsigned_abs()) {
                    self.hidden += 1;
                    let looked = self.look_live(&contact).await?;
                    self.take(looked).await?;
                }
                return Ok(None);
            }
            Ok(ByIdAnswer::Missing) => "LiveDesk answers 404 to its id",
            Ok(ByIdAnswer::Unsupported) if ask => "LiveDesk's list does not show it, and LiveDesk has no read by id",
            Ok(ByIdAnswer::Unsupported) => "LiveDesk's list does not show it; it was not asked for by id",
            Err(PortError::Refused { .. }) => "LiveDesk's list does not show it, and refuses to show it by its id",
            Err(error) => return Err(error.into()),
        };
        let carried = holder == Some(id) || self.came_with_a_merge(id, customer).await?;
        Ok(Some(Finding::new(Class::Extra, id.0, carried.then_some(Reason::GoneAtSource), detail)))
    }
}
