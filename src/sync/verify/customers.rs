//! FIRST LINE's own lists, walked into the notebook: customers first, then the e-mails and phones that they do not embed.
//!
//! Rows of a list may lack what a read by id says (notes FIRST LINE 3.1): such a customer is read by its id, and what even
//! that never says of anybody is not asked for again.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::held::print;
use super::{CustomersRead, Verifier};
use crate::domain::phone;
use crate::domain::record::{FieldKey, canonical_email};
use crate::domain::target::{TargetContact, TargetEmail, TargetPhone};
use crate::store::{ChildKind, NotedChild};
use crate::sync::engine::RunError;
use crate::sync::ports::{ChildFilter, ContactSource, ContactTarget, PortError};
use crate::sync::progress::{Phase, ProgressEvent};
use crate::sync::stamp::StampReading;
use crate::sync::survey::walk;

/// Reads by id for want of one field, after which it is held never to be said.
const ENOUGH: u32 = 25;

/// What reads by id brought: per field, how often it was asked for and how often it was said.
#[derive(Default)]
struct Completion {
    fields: BTreeMap<FieldKey, (u32, u32)>,
    by_id: u64,
}

impl Completion {
    /// Whether a row is to be read by its id, for want of these fields.
    fn is_worth(&self, lacking: &[FieldKey]) -> bool {
        lacking.iter().any(|field| self.fields.get(field).is_none_or(|(asked, said)| *said > 0 || *asked < ENOUGH))
    }

    fn note(&mut self, lacking: &[FieldKey], record: &TargetContact) {
        for field in lacking {
            let (asked, said) = self.fields.entry(*field).or_default();
            *asked += 1;
            *said += u32::from(record.value(*field).is_some());
        }
    }
}

impl<S: ContactSource, T: ContactTarget> Verifier<S, T> {
    /// Walks the list of customers, and where they do not say them, the lists of e-mails and phones.
    pub(super) async fn read_customers(&mut self) -> Result<CustomersRead, RunError> {
        let engine = &self.engine;
        engine.progress.event(ProgressEvent::Phase(Phase::Customers));
        if let Some(total) = engine.target.contacts(None, 1).await?.total {
            engine.progress.event(ProgressEvent::Expect(total));
        }
        let mut completion = Completion::default();
        let mut embedded = (true, true);
        let tally = walk(
            engine.settings.jobs,
            |page| engine.target.contacts(None, page),
            |row: &TargetContact| row.id.0,
            async |rows| {
                self.engine.go_on()?;
                let many = rows.len() as u64;
                let rows = self.completed(rows, &mut completion).await?;
                embedded.0 &= rows.iter().all(|row| row.emails.is_some());
                embedded.1 &= rows.iter().all(|row| row.phones.is_some());
                let customers: Vec<_> = rows.iter().map(|row| engine.hold(row, false).note(row.profile_id)).collect();
                self.notes.put_customers(&customers).await?;
                let children: Vec<_> = rows.iter().flat_map(|row| engine.hold_children(row)).collect();
                self.notes.put_children(&children).await?;
                engine.progress.event(ProgressEvent::Advance(many));
                Ok(())
            },
        )
        .await?;
        let wanted = engine.mapping.writes_children();
        let mut proven = true;
        if wanted && !embedded.0 {
            proven &= self.read_emails().await?;
        }
        if wanted && !embedded.1 {
            proven &= self.read_phones().await?;
        }
        self.notes.settle_owners().await?;
        self.children_proven = proven;
        Ok(CustomersRead {
            distinct: tally.distinct(),
            total: tally.total(),
            proven: tally.is_proven(),
            by_id: completion.by_id,
        })
    }

    /// The rows, those that say too little read by their id. One that is gone by then is left out, one that FIRST LINE will
    /// not show stays as the list has it.
    async fn completed(
        &self,
        rows: Vec<TargetContact>,
        completion: &mut Completion,
    ) -> Result<Vec<TargetContact>, PortError> {
        let engine = &self.engine;
        let rows = rows.into_iter().map(|row| {
            let lacking: Vec<FieldKey> =
                engine.mapping.written_fields().filter(|field| row.value(*field).is_none()).collect();
            let read = engine.scheme.read(&row) == StampReading::NotSaid || completion.is_worth(&lacking);
            (row, lacking, read)
        });
        let rows: Vec<_> = rows.collect();
        let completed: Vec<_> = stream::iter(rows)
            .map(|(row, lacking, read)| async move {
                if !read {
                    return Ok::<_, PortError>((Some(row), None));
                }
                match engine.target.contact(row.id).await {
                    Ok(record) => Ok((record, Some(lacking))),
                    Err(PortError::Refused { .. }) => Ok((Some(row), Some(lacking))),
                    Err(error) => Err(error),
                }
            })
            .buffered(engine.settings.jobs.max(1))
            .try_collect()
            .await?;
        let mut rows = Vec::with_capacity(completed.len());
        for (record, lacked) in completed {
            completion.by_id += u64::from(lacked.is_some());
            if let (Some(record), Some(lacked)) = (&record, lacked) {
                completion.note(&lacked, record);
            }
            rows.extend(record);
        }
        Ok(rows)
    }

    async fn read_emails(&self) -> Result<bool, RunError> {
        let engine = &self.engine;
        let tally = walk(
            engine.settings.jobs,
            |page| engine.target.emails(&ChildFilter::All, page),
            |row: &TargetEmail| row.id.0,
            async |rows| {
                self.engine.go_on()?;
                let note = |row: &TargetEmail| NotedChild {
                    kind: ChildKind::Email,
                    id: row.id,
                    key: print(engine.email_digest(&canonical_email(&row.address))),
                    owner: row.contact,
                    profile: None,
                };
                Ok(self.notes.put_children(&rows.iter().map(note).collect::<Vec<_>>()).await?)
            },
        )
        .await?;
        Ok(tally.is_proven())
    }

    async fn read_phones(&self) -> Result<bool, RunError> {
        let engine = &self.engine;
        let home = engine.settings.phone_country;
        let tally = walk(
            engine.settings.jobs,
            |page| engine.target.phones(&ChildFilter::All, page),
            |row: &TargetPhone| row.id.0,
            async |rows| {
                self.engine.go_on()?;
                let note = |row: &TargetPhone| NotedChild {
                    kind: ChildKind::Phone,
                    id: row.id,
                    key: print(engine.phone_digest(&phone::canonical(&row.number, home))),
                    owner: row.contact,
                    profile: row.profile_id,
                };
                Ok(self.notes.put_children(&rows.iter().map(note).collect::<Vec<_>>()).await?)
            },
        )
        .await?;
        Ok(tally.is_proven())
    }
}
