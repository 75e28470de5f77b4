//! FIRST LINE's own lists, walked into the notebook: customers first, then the e-mails and phones that they do not embed.
//!
//! Rows of a list may lack what a read by id says (notes FIRST LINE 3.1): such a customer is read by its id, and what even
//! that never says of anybody is not asked for again.

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::held::print;
use super::{CustomersRead, Verifier};
use crate::domain::phone;
use crate::domain::record::canonical_email;
use crate::domain::target::{Part, Shown, TargetContact, TargetEmail, TargetPhone};
use crate::store::{ChildKind, NotedChild};
use crate::sync::engine::RunError;
use crate::sync::ports::{ChildFilter, ContactSource, ContactTarget, PortError};
use crate::sync::progress::{Phase, ProgressEvent};
use crate::sync::stamp::StampReading;
use crate::sync::survey::walk;

/// Reads by id for want of one part, after which it is held never to be said.
const ENOUGH: u32 = 25;
/// Customers that are read by their id because a list says their tags or companies, to see whether a read says them too: only
/// then is one that says none without any.
const CONTROLS: u32 = 5;

/// What reads by id brought: per part, how often it was asked for and how often it was said.
#[derive(Default)]
struct Completion {
    parts: BTreeMap<Part, (u32, u32)>,
    controls: BTreeMap<Part, u32>,
    by_id: u64,
}

impl Completion {
    /// Whether a row is to be read by its id, for want of these parts.
    fn is_worth(&self, lacking: &[Part], shown: Shown) -> bool {
        lacking.iter().any(|part| {
            let (asked, said) = self.parts.get(part).copied().unwrap_or_default();
            said > 0 || asked < ENOUGH || shown.has(*part)
        })
    }

    /// Whether it is to be read because it says these, which no read was seen to say.
    fn is_control(&mut self, said: &[Part], shown: Shown) -> bool {
        let mut is_control = false;
        for part in said.iter().filter(|part| !shown.has(**part)) {
            let read = self.controls.entry(*part).or_default();
            is_control |= *read < CONTROLS;
            *read += 1;
        }
        is_control
    }

    fn note(&mut self, lacking: &[Part], record: &TargetContact) {
        for part in lacking {
            let (asked, said) = self.parts.entry(*part).or_default();
            *asked += 1;
            *said += u32::from(record.says(*part));
        }
    }
}

impl<S: ContactSource, T: ContactTarget> Verifier<S, T> {
    /// Walks the list of customers, and where they do not say them, the lists of e-mails and phones.
    pub(super) async fn read_customers(&mut self) -> Result<CustomersRead, RunError> {
        let engine = &self.engine;
        let began = engine.clock.now();
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
        (self.listed, self.children_proven) = (Some(began), proven);
        Ok(CustomersRead {
            distinct: tally.distinct(),
            total: tally.total(),
            proven: tally.is_proven(),
            children_proven: proven,
            by_id: completion.by_id,
            overlooked: 0,
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
        let shown = engine.target.shown();
        let wanted: Vec<Part> = engine.mapping.written_fields().map(Part::Field).chain(self.wanted_lists()).collect();
        let rows = rows.into_iter().map(|row| {
            let lacking: Vec<Part> = wanted.iter().copied().filter(|part| !row.says(*part)).collect();
            let said: Vec<Part> = self.wanted_lists().filter(|part| row.says(*part)).collect();
            let read = engine.scheme.read(&row) == StampReading::NotSaid
                || completion.is_worth(&lacking, shown)
                || completion.is_control(&said, shown);
            (row, lacking, read)
        });
        let rows: Vec<_> = rows.collect();
        let completed: Vec<_> = stream::iter(rows)
            .map(|(row, lacking, read)| async move {
                if !read {
                    return Ok::<_, PortError>((Some(row), None));
                }
                match engine.target.contact(row.id).await {
                    Ok(record) => Ok((record.map(|record| record.or_as_listed(row)), Some(lacking))),
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

    /// The lists beside e-mails and phones that the mapping writes.
    fn wanted_lists(&self) -> impl Iterator<Item = Part> {
        let mapping = &self.engine.mapping;
        let tags = (!mapping.tags().is_empty()).then_some(Part::Tags);
        let companies = mapping.links_companies().then_some(Part::Companies);
        tags.into_iter().chain(companies)
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
