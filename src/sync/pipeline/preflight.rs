//! The looks before the first write: are these the accounts of this state, and how much is there to do?

use super::{Entrants, Pipeline};
use crate::domain::ids::LiveDeskId;
use crate::store::{IntentKind, Standing};
use crate::sync::engine::RunError;
use crate::sync::lookup::OLDEST_FIRST;
use crate::sync::ports::{ByIdAnswer, ContactSource, ContactTarget, PageRequest, PortError, SourceRow};
use crate::sync::witness::Testimony;

/// Pages on which a contact of the state is looked for before the source is refused. An import stamps a thousand contacts
/// with one time, and which of them come first may be another matter tomorrow.
const RECOGNISED_BY: u32 = 100;
/// Links that are tried as witnesses of the account before it is refused.
const WITNESSES: u32 = 8;

/// What is known before the first write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preflight {
    /// Contacts that LiveDesk says it lists.
    pub source_count: Option<u64>,
    /// Customers that FIRST LINE shows to this key.
    pub target_total: u64,
    /// Customers that were there before this program made any: one number, or a range while creates are in doubt.
    pub earlier_customers: std::ops::RangeInclusive<u64>,
    /// Contacts that are linked already.
    pub linked: u64,
    /// Contacts that this run is expected to carry.
    pub expected: u64,
    /// Requests to FIRST LINE that are expected, at least.
    pub target_requests: u64,
    /// Requests to LiveDesk that are expected, at least.
    pub source_requests: u64,
}

impl<S: ContactSource, T: ContactTarget> Pipeline<S, T> {
    /// Looks at both sides without writing: are these the accounts of this state, and how much is there to do?
    pub async fn preflight(&self, entrants: &Entrants) -> Result<Preflight, RunError> {
        let first = self.source.page(OLDEST_FIRST).await?;
        let total = self.engine.target.contacts(None, 1).await?;
        for row in &total.rows {
            self.engine.saw(row.id);
        }
        self.recognise_source(&first.rows).await?;
        self.recognise_target().await?;
        let linked = self.engine.store.link_count().await?;
        let made = self.engine.store.made_count().await?;
        let doubtful = self.engine.store.open_intents().await?;
        let doubtful = doubtful.iter().filter(|intent| intent.kind == IntentKind::Contact).count() as u64;
        let unsettled = self.engine.store.unsettled_count(self.engine.mapping.version()).await?;
        let listed = first.count.unwrap_or_default();
        let expected = match entrants {
            Entrants::All => listed.saturating_sub(linked),
            Entrants::First(limit) => listed.saturating_sub(linked).min(*limit),
            Entrants::Only(ids) => ids.len() as u64,
            Entrants::Recent => 0,
        };
        let again = match entrants {
            Entrants::All => unsettled,
            Entrants::First(limit) => unsettled.min(*limit),
            Entrants::Only(_) | Entrants::Recent => 0,
        };
        let target_total = total.total.unwrap_or(total.rows.len() as u64);
        let lists = 1 + self.engine.settings.match_keys.len() as u64;
        let survey = target_total.div_ceil(total.rows.len().max(1) as u64) * lists;
        let children = u64::from(self.engine.mapping.writes_children());
        Ok(Preflight {
            source_count: first.count,
            target_total,
            earlier_customers: target_total.saturating_sub(made + doubtful)..=target_total.saturating_sub(made),
            linked,
            expected,
            target_requests: survey + again + expected * (1 + children),
            source_requests: 2 * listed.div_ceil(first.len().max(1) as u64),
        })
    }

    /// Is this the LiveDesk account of the state? One of the contacts that it shows early must be known.
    pub(super) async fn recognise_source(&self, shown: &[SourceRow]) -> Result<(), RunError> {
        let store = &self.engine.store;
        let Some(witness) = store.links_page(LiveDeskId(-1), 1).await?.pop() else { return Ok(()) };
        let Some(known) = shown.first().map(|row| row.id) else { return Ok(()) };
        if self.knows_any(shown).await? {
            return Ok(());
        }
        match self.source.by_id(witness.livedesk_id, known).await {
            Ok(ByIdAnswer::Found(_)) => return Ok(()),
            // One that cannot be shown says nothing about the account; the list may.
            Ok(_) | Err(PortError::Refused { .. } | PortError::NotFound | PortError::Unavailable { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        for page in 2..=RECOGNISED_BY {
            let answer = self.source.page(PageRequest { page, ..OLDEST_FIRST }).await?;
            if self.knows_any(&answer.rows).await? {
                return Ok(());
            }
            if answer.is_empty() {
                break;
            }
        }
        Err(RunError::Refused(
            "LiveDesk shows none of the contacts that this state knows: it belongs to another account; use another \
             state.path for this one"
                .into(),
        ))
    }

    /// Whether the state has seen, linked or forgotten one of these. `--only` and `state rebuild` link without a sweep.
    pub(super) async fn knows_any(&self, shown: &[SourceRow]) -> Result<bool, RunError> {
        let store = &self.engine.store;
        let ids: Vec<LiveDeskId> = shown.iter().map(|row| row.id).collect();
        Ok(store.sighted_among(&ids).await? > 0
            || !store.links_for(&ids).await?.is_empty()
            || !store.forgotten_among(&ids).await?.is_empty())
    }

    /// Is this the FIRST LINE of the state? A linked record must be there. Where one bears another contact's stamp, another must
    /// bear its own: an agent who types over a stamp makes no other tenant.
    pub(super) async fn recognise_target(&self) -> Result<(), RunError> {
        let engine = &self.engine;
        let mut witnesses = engine.store.links_page(LiveDeskId(-1), WITNESSES * WITNESSES).await?;
        // What agents deleted or merged says nothing about the account.
        witnesses.retain(|link| link.standing == Standing::Live);
        witnesses.truncate(WITNESSES as usize);
        witnesses.extend(engine.store.latest_created_link().await?);
        let (mut accepted, mut others) = (witnesses.is_empty(), false);
        let mut unread = None;
        for link in &witnesses {
            let record = match engine.target.contact(link.target).await {
                // A record that FIRST LINE cannot show says nothing about the account.
                Err(error @ PortError::Refused { .. }) => {
                    unread = Some(error);
                    continue;
                }
                answer => answer?,
            };
            if let Some(record) = record {
                match engine.testimony(link, &record) {
                    Testimony::Same => return Ok(()),
                    Testimony::Other => others = true,
                    Testimony::Doubtful => {}
                    Testimony::Nothing => accepted = true,
                }
            }
        }
        match unread {
            _ if others => {}
            _ if accepted => return Ok(()),
            Some(error) => return Err(error.into()),
            None => {}
        }
        Err(RunError::Refused(
            "FIRST LINE does not hold the records that this state links to: it belongs to another tenant, or they were \
             deleted; use another state.path for another tenant. For this one, `deskferry state rebuild` finds links again by \
             their stamps, and says how to go on where all customers were deleted"
                .into(),
        ))
    }
}
