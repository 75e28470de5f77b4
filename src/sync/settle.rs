//! Settling doubt: what became of creates whose answer never came, from this run or from one that died.
//!
//! *Found* settles a doubt at once. *Absent* counts only after the doubt horizon, and only when reading the ids one by
//! one shows it, or, where there are too many, a form of query that finds a record created after that horizon: a
//! late request may have been applied up to then, and an index takes writes in by their order. What is neither stays
//! parked (design, section 4, Apply).

mod audit;

use std::collections::BTreeMap;

use futures::stream::{self, StreamExt, TryStreamExt};

use crate::clock::Timestamp;
use crate::domain::base::Base;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::store::{
    ChildKind, Conflict, Intent, IntentKind, IntentState, JournalEntry, Link, LinkChild, Origin, TWINS, WriteOp,
};
use crate::sync::carry::elapsed_ms;
use crate::sync::engine::{Engine, RunError};
use crate::sync::finder::{FilterForm, QueryAnswer, Sight, Walk};
use crate::sync::journal::ChildrenAfter;
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::stamp::StampReading;

/// Doubts that a run looks at which does not see everybody; a sweep looks at all.
pub const DOUBTS_A_RUN: usize = 100;
/// How many of the records that we created last are tried as a control.
const CONTROLS: u32 = 10;

/// What a look at all open doubts brought.
#[derive(Debug, Default)]
pub struct Settlement {
    /// Contacts to be carried again now; with the intent that their new create supersedes, where the absence of the
    /// first one was proven.
    pub again: BTreeMap<LiveDeskId, Option<Intent>>,
    /// Contacts that stay in doubt.
    pub parked: Vec<LiveDeskId>,
    /// Contacts found on more than one record.
    pub twins: Vec<LiveDeskId>,
    /// When the next doubt horizon passes.
    pub next_horizon: Option<Timestamp>,
}

/// What vouches for an absence in this look.
struct Evidence {
    /// Filter forms that find `control`.
    trusted: Vec<FilterForm>,
    /// The newest record that we created and that is still what it was.
    control: Option<Link>,
    /// What the ids above the lowest high-water mark in question hold.
    walked: Walk,
    /// How many absences the walk may vouch for.
    vouches: usize,
}

impl<T: ContactTarget> Engine<T> {
    /// Looks at every open doubt once.
    pub async fn settle(&self) -> Result<Settlement, RunError> {
        self.settle_newest(usize::MAX).await
    }

    /// Looks once at the newest open doubts, at so many at most; the others stay as they are.
    pub async fn settle_newest(&self, most: usize) -> Result<Settlement, RunError> {
        let mut settlement = Settlement::default();
        let mut doubts = self.store.open_intents().await?;
        doubts.retain(|intent| intent.state != IntentState::Audit);
        let newest = doubts.split_off(doubts.len().saturating_sub(most));
        settlement.parked.extend(doubts.into_iter().map(|intent| intent.livedesk_id));
        self.settle_these(newest, &mut settlement).await?;
        Ok(settlement)
    }

    /// Looks for one contact's create, for one that was proven absent too: nobody will look later.
    pub async fn settle_for_good(&self, id: LiveDeskId) -> Result<Settlement, RunError> {
        let mut settlement = Settlement::default();
        self.store.park_left_overs(self.clock.now()).await?;
        let mut doubts = self.store.open_intents().await?;
        doubts.retain(|intent| {
            intent.livedesk_id == id && intent.kind == IntentKind::Contact && intent.state != IntentState::Audit
        });
        for intent in &mut doubts {
            intent.state = IntentState::Parked;
        }
        self.settle_these(doubts, &mut settlement).await?;
        Ok(settlement)
    }

    async fn settle_these(&self, doubts: Vec<Intent>, settlement: &mut Settlement) -> Result<(), RunError> {
        let mut unfound = Vec::new();
        let looked: Vec<(Intent, Vec<FirstLineId>, bool)> = stream::iter(doubts)
            .map(|intent| async move {
                let (found, readable) = match intent.kind {
                    IntentKind::Contact if matches!(intent.state, IntentState::Parked | IntentState::Open) => {
                        self.stamped_now(intent.livedesk_id).await?
                    }
                    _ => (Vec::new(), true),
                };
                Ok::<_, RunError>((intent, found, readable))
            })
            .buffered(self.settings.jobs.max(1))
            .try_collect()
            .await?;
        for (intent, found, readable) in looked {
            match (intent.kind, intent.state) {
                (_, IntentState::Audit) => {}
                (IntentKind::Email | IntentKind::Phone, _) => self.settle_child(intent, settlement).await?,
                (IntentKind::Contact, IntentState::Absent) => {
                    settlement.again.insert(intent.livedesk_id, Some(intent));
                }
                (IntentKind::Contact, _) if !found.is_empty() && !readable => {
                    self.leave_parked(&intent, settlement);
                }
                (IntentKind::Contact, _) if !found.is_empty() => {
                    self.settle_found(&intent, found, settlement).await?;
                }
                (IntentKind::Contact, _) => unfound.push(intent),
            }
        }
        self.settle_by_links(settlement).await?;
        let (ripe, young): (Vec<Intent>, Vec<Intent>) =
            unfound.into_iter().partition(|intent| self.horizon_of(intent) <= self.clock.now());
        for intent in young {
            self.leave_parked(&intent, settlement);
        }
        if !ripe.is_empty() {
            self.settle_ripe(ripe, settlement).await?;
        }
        Ok(())
    }

    /// Nobody is created again for whom a link stands: a state that was restored, or an undo, brought it back.
    async fn settle_by_links(&self, settlement: &mut Settlement) -> Result<(), RunError> {
        let absent = settlement.again.iter().filter_map(|(id, intent)| Some((*id, intent.as_ref()?)));
        let absent: BTreeMap<LiveDeskId, &Intent> = absent.collect();
        let ids: Vec<LiveDeskId> = absent.keys().copied().collect();
        let links = self.store.links_for(&ids).await?;
        let ops: Vec<WriteOp> = links.values().map(|link| settled_by_link(absent[&link.livedesk_id], link)).collect();
        settlement.again.retain(|id, _| !links.contains_key(id));
        if ops.is_empty() { Ok(()) } else { Ok(self.store.write(ops).await?) }
    }

    /// The moment from which an absence may count.
    fn horizon_of(&self, intent: &Intent) -> Timestamp {
        let from = intent.parked_at.unwrap_or(intent.opened_at);
        from.later_by(self.settings.doubt_horizon)
    }

    fn leave_parked(&self, intent: &Intent, settlement: &mut Settlement) {
        settlement.parked.push(intent.livedesk_id);
        let horizon = self.horizon_of(intent);
        if horizon > self.clock.now() {
            settlement.next_horizon = Some(settlement.next_horizon.map_or(horizon, |next| next.min(horizon)));
        }
    }

    async fn settle_ripe(&self, ripe: Vec<Intent>, settlement: &mut Settlement) -> Result<(), RunError> {
        let mut evidence = self.evidence(&ripe).await?;
        for intent in ripe {
            let id = intent.livedesk_id;
            let found: Vec<FirstLineId> = evidence.walked.stamps.get(&id).into_iter().flatten().copied().collect();
            let walked = evidence.walked.complete && evidence.vouches > 0;
            if !found.is_empty() {
                self.settle_found(&intent, found, settlement).await?;
            } else if walked || self.absent_by_query(&intent, &evidence).await? {
                evidence.vouches -= usize::from(walked);
                self.store.write(vec![WriteOp::AbsentIntent { seq: intent.seq }]).await?;
                settlement.again.insert(id, Some(intent));
            } else {
                self.leave_parked(&intent, settlement);
            }
        }
        Ok(())
    }

    async fn evidence(&self, ripe: &[Intent]) -> Result<Evidence, RunError> {
        let from = ripe.iter().map(|intent| intent.high_water).min().unwrap_or_default();
        let walked = self.walk_ids(from).await?;
        // Reading by id vouches for nothing where a list shows something newer that a read does not.
        let is_behind = match walked.newest {
            Some(newest) => !matches!(self.sight(newest).await?, Sight::Record(_)),
            None => false,
        };
        let links = self.store.newest_created(CONTROLS).await?;
        let control = self.control(&links).await?;
        // Nor where it does not find a record that is known to be there. Where nothing that we created is known yet,
        // one contact goes ahead; it is the control for the others.
        let vouches = match &control {
            _ if is_behind => 0,
            Some(_) => usize::MAX,
            None => usize::from(links.is_empty()),
        };
        let trusted = match &control {
            Some(link) if !walked.complete || vouches == 0 => {
                self.trusted_filters(link.livedesk_id, link.target).await?
            }
            _ => Vec::new(),
        };
        Ok(Evidence { trusted, control, walked, vouches })
    }

    /// The newest of these that is still ours to read. Agents delete and merge records, so one that is gone does not
    /// end the search; but one that was created just now and is not to be seen says that reads are late.
    async fn control(&self, links: &[Link]) -> Result<Option<Link>, RunError> {
        for link in links {
            match self.sight(link.target).await? {
                Sight::Record(record) if self.scheme.read(&record) == StampReading::Of(link.livedesk_id) => {
                    return Ok(Some(link.clone()));
                }
                Sight::Nothing if !self.is_hopeless(link.linked_at) => return Ok(None),
                Sight::Record(_) | Sight::Nothing | Sight::Unreadable => {}
            }
        }
        Ok(None)
    }

    /// Whether a form of query that finds something newer does not find this stamp.
    async fn absent_by_query(&self, intent: &Intent, evidence: &Evidence) -> Result<bool, RunError> {
        let newer = evidence
            .control
            .as_ref()
            .is_some_and(|link| link.intent_seq > Some(intent.seq) && link.linked_at > self.horizon_of(intent));
        if !newer || evidence.trusted.is_empty() {
            return Ok(false);
        }
        let filters = self.scheme.filters(intent.livedesk_id);
        for form in &evidence.trusted {
            match self.query_stamp(intent.livedesk_id, &filters[form.0]).await? {
                QueryAnswer::NotFound => {}
                QueryAnswer::Found(_) | QueryAnswer::Unusable => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Links what was found. Several records with one stamp are twins: linked to the first, and a person decides.
    async fn settle_found(
        &self,
        intent: &Intent,
        mut found: Vec<FirstLineId>,
        settlement: &mut Settlement,
    ) -> Result<(), RunError> {
        found.sort_unstable();
        self.creates_arrive(IntentKind::Contact).await?;
        let id = intent.livedesk_id;
        let (link, companies) = self.link_of(intent, found[0]);
        let made = self.made(id, found[0], &companies, "its answer was lost, and its stamp found");
        let made = JournalEntry { run: self.sender(intent.opened_at).await?, ..made };
        let carried = WriteOp::DecisionCarried { livedesk_id: id, carried_to: Some(found[0]), left_behind: None };
        let mut ops = vec![link, WriteOp::Journal(made), carried];
        ops.push(if intent.recreated && found.len() == 1 {
            WriteOp::AuditIntent { seq: intent.seq, target: found[0] }
        } else {
            WriteOp::CloseIntent { seq: intent.seq }
        });
        if found.len() > 1 {
            ops.push(self.twin_conflict(id, found));
            settlement.twins.push(id);
        } else {
            settlement.again.insert(id, None);
        }
        Ok(self.store.write(ops).await?)
    }

    /// The link with what was sent as its base, since then both sides may have changed; and the companies that went along.
    fn link_of(&self, intent: &Intent, target: FirstLineId) -> (WriteOp, Vec<i64>) {
        let unsettled = self.unsettled_link(intent.livedesk_id, target, Origin::Created);
        let sent = Base::decode(&intent.base);
        let companies = sent.iter().filter_map(|base| base.company_sent).collect();
        let base = sent.map(|base| Base { company_sent: None, ..base }.encode());
        let base = base.unwrap_or_else(|| unsettled.base.clone());
        let link = Link { intent_seq: Some(intent.seq), linked_at: intent.opened_at, base, ..unsettled };
        (WriteOp::PutLink(link), companies)
    }

    pub(super) fn twin_conflict(&self, id: LiveDeskId, candidates: Vec<FirstLineId>) -> WriteOp {
        WriteOp::PutConflict(Conflict {
            livedesk_id: id,
            kind: TWINS.to_owned(),
            candidates,
            keys: String::from("stamp"),
            run: self.run,
            at: self.clock.now(),
            decision: None,
            carried_to: None,
            left_behind: None,
        })
    }

    async fn settle_child(&self, intent: Intent, settlement: &mut Settlement) -> Result<(), RunError> {
        let (Some(target), Some(key)) = (intent.target, intent.key) else {
            return Ok(self.store.write(vec![WriteOp::CloseIntent { seq: intent.seq }]).await?);
        };
        let kind = match intent.kind {
            IntentKind::Phone => ChildKind::Phone,
            IntentKind::Email | IntentKind::Contact => ChildKind::Email,
        };
        let livedesk_id = intent.livedesk_id;
        let mut ops = vec![WriteOp::CloseIntent { seq: intent.seq }];
        match self.find_child(target, kind, key).await {
            Ok(Some(child)) => {
                let link = self.store.links_for(&[livedesk_id]).await?.remove(&livedesk_id);
                let mut after = ChildrenAfter::default();
                after.add(kind, child, key);
                let why = "its answer was lost, and it was found";
                let hung = self.hung(livedesk_id, target, &after, self.link_before(link.as_ref()).await?, why);
                let run = self.sender(intent.opened_at).await?;
                ops.push(WriteOp::Journal(JournalEntry { run, ..hung }));
                // Its run may have been taken back meanwhile, the link with it.
                let there = link.filter(|link| link.target == target);
                ops.extend(there.map(|_| WriteOp::PutChild(LinkChild { livedesk_id, kind, key, child })));
            }
            // The contact itself is read, not a filter: after the horizon its silence is enough.
            Ok(None) if self.horizon_of(&intent) <= self.clock.now() => {}
            // A contact that cannot be read says nothing; the other doubts are not held up by it.
            Ok(None) | Err(PortError::Refused { .. } | PortError::NotFound) => {
                self.leave_parked(&intent, settlement);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        }
        settlement.again.entry(livedesk_id).or_insert(None);
        Ok(self.store.write(ops).await?)
    }

    /// Whether a doubt is so old that waiting for it any longer is pointless: twice its horizon.
    pub fn is_hopeless(&self, parked_since: Timestamp) -> bool {
        elapsed_ms(parked_since, self.clock.now()) > self.horizon_ms().saturating_mul(2)
    }
}

/// What becomes of a create that never arrived where a link stands: it is not repeated, and the contact is looked at for a twin.
pub(in crate::sync) fn settled_by_link(absent: &Intent, link: &Link) -> WriteOp {
    WriteOp::AuditIntent { seq: absent.seq, target: link.target }
}
