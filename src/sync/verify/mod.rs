//! Verify: reads both platforms afresh and says what is not as the mapping wants it. Writes to neither, and not to the state.
//!
//! What differs is judged without the state; the state explains. `customers` walks FIRST LINE's list into a notebook on disk,
//! `contacts` sweeps LiveDesk and compares page by page, `again` looks once more at what differs, so that what changed
//! meanwhile is no fault (`live` reads one contact's customers in full), `extra` asks about customers that belong to nobody. `judge` (one contact against one customer) and
//! `finding` are pure. What is kept in memory does not grow with the account, but for a bitmap of ids.

mod again;
mod contacts;
mod customers;
mod extra;
mod facts;
pub mod finding;
mod held;
mod judge;
mod live;
mod look;
pub mod sample;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use roaring::RoaringTreemap;

use crate::clock::Timestamp;
use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::{SweepReport, Verdict};
use crate::store::{Scratch, StoreError};
use crate::sync::engine::{Engine, RunError};
use crate::sync::ports::{ContactSource, ContactTarget};
use crate::sync::tags::{TagSummary, TagTable};

use self::finding::{Finding, Tally};
use self::held::HeldRecord;
use self::sample::at_most;

/// Findings that are read from the notebook at once.
const PAGE: u32 = 1_000;

/// What is asked of a comparison.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Compare so many contacts, drawn at random, instead of all.
    pub sample: Option<usize>,
    /// What the sample is drawn from.
    pub seed: u64,
    /// Contacts that are looked at a second time, at most.
    pub again: u64,
    /// Whether values are kept, to be shown.
    pub values: bool,
    /// Rounds through all orders after which a sweep says *short*.
    pub max_rounds: u32,
}

/// How FIRST LINE's list was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CustomersRead {
    /// Distinct customers seen.
    pub distinct: u64,
    /// What the list says that there are.
    pub total: Option<u64>,
    /// Whether that is all of them.
    pub proven: bool,
    /// Whether the lists of e-mails and phones, where customers do not say theirs, were read to their end.
    pub children_proven: bool,
    /// Customers read by their id, because the list does not say enough of them.
    pub by_id: u64,
    /// Linked customers that a read by id shows and the list does not name: whatever its total, it is not all of them.
    pub overlooked: u64,
}

/// What the second look came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Again {
    /// Contacts that were looked at again.
    pub looked: u64,
    /// Contacts of these that were right by then.
    pub settled: u64,
    /// Contacts that were not, because there were too many.
    pub left: u64,
}

/// A sample, and what it says of the others.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampled {
    /// Contacts that were drawn.
    pub drawn: u64,
    /// From so many.
    pub of: u64,
    /// The seed.
    pub seed: u64,
    /// With 95 % confidence, no larger share of all contacts is faulty.
    pub at_most: f64,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Verification {
    /// Whether there was a state to explain differences.
    pub with_state: bool,
    /// The sweep of LiveDesk.
    pub sweep: SweepReport,
    /// FIRST LINE's list; `None` in a sample that could do without.
    pub customers: Option<CustomersRead>,
    /// Contacts that were compared, or found not to be carried.
    pub checked: u64,
    /// Contacts whose customer is known by its link alone: it kept its own number in the stamp's place.
    pub unstamped: u64,
    /// Contacts that exist and that LiveDesk's list does not show, met by their customer's stamp.
    pub hidden: u64,
    /// People whom a person had forgotten, met on either side: neither compared nor named.
    pub forgotten: u64,
    /// The findings, counted.
    pub tally: Tally,
    /// The second look.
    pub again: Again,
    /// The sample, if it was one.
    pub sample: Option<Sampled>,
    /// Fields that were not compared, because their definition changed; one sentence each.
    pub stopped: Vec<String>,
    /// Labels and tags that could not be read.
    pub tags: TagSummary,
}

impl Verification {
    /// Contacts for which both sides hold the same.
    pub fn same(&self) -> u64 {
        let Tally { faulty_contacts, explained, not_carried, .. } = &self.tally;
        self.checked.saturating_sub(faulty_contacts + explained + not_carried)
    }

    /// Whether both lists were read to their proven end.
    pub fn is_proven(&self) -> bool {
        self.sweep.verdict == Verdict::Proven && self.customers.is_none_or(|customers| customers.proven)
    }

    /// Fields and labels that were left out of the comparison.
    pub fn not_compared(&self) -> u64 {
        (self.stopped.len() + self.tags.labels_unknown.len()) as u64
    }

    /// Whether everything was compared, and nothing is left unexplained.
    pub fn is_clean(&self) -> bool {
        let left_out = self.not_compared() + self.tags.refused.len() as u64 + self.tally.children_not_compared;
        self.is_proven() && self.tally.faults() == 0 && left_out == 0
    }
}

/// A comparison that is ready to begin. The engine's state is read only, or a new and empty one.
pub struct Verifier<S, T> {
    source: Arc<S>,
    engine: Engine<T>,
    with_state: bool,
    options: Options,
    notes: Scratch,
    tags: TagTable,
    /// Contacts made after this moment (seconds) may not have been carried yet.
    since: Option<i64>,
    seen: RoaringTreemap,
    /// A contact that surely exists.
    known: Option<LiveDeskId>,
    compared: BTreeMap<String, u64>,
    checked: u64,
    unstamped: u64,
    hidden: u64,
    forgotten: u64,
    /// When the reading of FIRST LINE's list of customers began, once it was read.
    listed: Option<Timestamp>,
    /// Linked customers that the second look met and the list had not named.
    overlooked: u64,
    /// Whether FIRST LINE's e-mail and phone lists were read, and say whatever the customers themselves do not.
    children_proven: bool,
}

impl<S: ContactSource, T: ContactTarget> Verifier<S, T> {
    /// A comparison of these platforms. Its notebook is kept in `folder`.
    pub async fn new(
        source: Arc<S>,
        engine: Engine<T>,
        with_state: bool,
        options: Options,
        folder: &Path,
    ) -> Result<Self, StoreError> {
        let since = if with_state { engine.store.carried_since().await? } else { None };
        Ok(Self {
            source,
            with_state,
            options,
            notes: Scratch::open(folder).await?,
            tags: TagTable::default(),
            since: since.map(|at| at.0.div_euclid(1000)),
            seen: RoaringTreemap::new(),
            known: None,
            compared: BTreeMap::new(),
            checked: 0,
            unstamped: 0,
            hidden: 0,
            forgotten: 0,
            listed: None,
            overlooked: 0,
            children_proven: false,
            engine,
        })
    }

    /// Compares.
    pub async fn run(&mut self) -> Result<Verification, RunError> {
        let mut labels = TagSummary::default();
        self.tags = self.engine.look_up_tags(&self.source, self.options.max_rounds, &mut labels).await?;
        let (sweep, customers, drawn) = match self.options.sample {
            None => {
                let customers = self.read_customers().await?;
                (self.compare_contacts().await?, Some(customers), None)
            }
            Some(size) => {
                let (sweep, contacts) = self.draw(size).await?;
                let drawn = contacts.len() as u64;
                (sweep, self.compare_sample(contacts).await?, Some(drawn))
            }
        };
        let again = self.look_again().await?;
        if customers.is_some() && self.options.sample.is_none() {
            self.find_extra().await?;
        }
        let customers = customers.map(|read| CustomersRead {
            overlooked: self.overlooked,
            proven: read.proven && self.overlooked == 0,
            ..read
        });
        let tally = self.tally().await?;
        let sample = drawn.map(|drawn| Sampled {
            drawn,
            of: sweep.distinct.saturating_sub(self.forgotten),
            seed: self.options.seed,
            at_most: at_most(drawn, tally.faulty_contacts),
        });
        Ok(Verification {
            with_state: self.with_state,
            sweep,
            customers,
            checked: self.checked,
            unstamped: self.unstamped,
            hidden: self.hidden,
            forgotten: self.forgotten,
            tally,
            again,
            sample,
            stopped: self.engine.mapping.stopped(),
            tags: labels,
        })
    }

    /// Hands every finding to `take`, those about customers alone first, then by contact.
    pub async fn findings<E: From<StoreError>>(
        &self,
        mut take: impl FnMut(&Finding) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut after = None;
        loop {
            let page = self.notes.notes_page(after, PAGE).await?;
            let Some((seq, last)) = page.last() else { return Ok(()) };
            after = Some((last.contact, *seq));
            for (_, note) in &page {
                take(&finding_of(&note.body)?)?;
            }
        }
    }

    async fn tally(&self) -> Result<Tally, RunError> {
        let mut tally = Tally::default();
        for (field, compared) in &self.compared {
            tally.fields.entry(field.clone()).or_default().compared = *compared;
        }
        let mut together: Vec<Finding> = Vec::new();
        self.findings::<RunError>(|finding| {
            let same = together
                .first()
                .is_some_and(|first| first.livedesk_id.is_some() && first.livedesk_id == finding.livedesk_id);
            if !same {
                tally.count(&together);
                together.clear();
            }
            together.push(finding.clone());
            Ok(())
        })
        .await?;
        tally.count(&together);
        Ok(tally)
    }
}

fn finding_of(body: &str) -> Result<Finding, StoreError> {
    serde_json::from_str(body).map_err(|_| StoreError::Unexpected { place: "a finding" })
}

/// What a notebook says of customers.
fn held_of(notes: &[crate::store::NotedCustomer]) -> Vec<HeldRecord> {
    notes.iter().filter_map(HeldRecord::from_note).collect()
}
