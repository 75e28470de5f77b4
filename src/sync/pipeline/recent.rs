//! The quick cycle as a run plays it: what the lane shows is fed to the carrier; the mark moves when all of it is recorded.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Pipeline;
use crate::clock::Timestamp;
use crate::domain::ids::LiveDeskId;
use crate::domain::sweep::DirectionStyle;
use crate::store::{Intent, LaneMark};
use crate::sync::carrier::{Carrier, Waiting};
use crate::sync::directory::LazyDirectory;
use crate::sync::engine::RunError;
use crate::sync::lane::{Floors, Lane, Reached, Want};
use crate::sync::ports::{ContactSource, ContactTarget};
use crate::sync::progress::ProgressEvent;
use crate::sync::scan::{self, ScanError, Spelling};
use crate::sync::summary::{LaneReport, Summary};

/// What is said where LiveDesk does not sort.
const UNSORTED: &str = "LiveDesk does not list contacts by their latest activity or creation when it is asked to: a sync sees \
                        only its first pages, so changes arrive with the sweeps; let them come more often";

/// What is said where it cannot be told whether it sorts.
const UNTOLD: &str = "all contacts that LiveDesk shows were created, and were active, at one time, so how it wants descending order \
                      spelled cannot be told: until that changes, new contacts arrive with the sweeps";

impl<S: ContactSource, T: ContactTarget> Pipeline<S, T> {
    /// Walks the lane. Creates that are to be repeated are, as it comes by them.
    pub(super) async fn recent(
        &self,
        directory: &Arc<LazyDirectory>,
        left_over: BTreeMap<LiveDeskId, Option<Intent>>,
        summary: &mut Summary,
    ) -> Result<(), RunError> {
        let engine = &self.engine;
        let began = engine.clock.now();
        let mark = engine.store.lane().await?;
        let spelling = match self.spelling(mark).await {
            Ok(spelling) => spelling,
            Err(ScanError::DirectionIgnored) => return self.not_walked(mark, UNSORTED, summary).await,
            Err(error) => return Err(error.into()),
        };
        let style = match spelling {
            Spelling::Told(style) => style,
            Spelling::OnePage => DirectionStyle::Parameter,
            Spelling::Untold => return self.not_walked(mark, UNTOLD, summary).await,
        };
        let mut carrier = Carrier::new(Arc::clone(engine), Arc::clone(directory), Waiting::Respect, None);
        carrier.summary = std::mem::take(summary);
        for (id, intent) in left_over {
            if let Some(intent) = intent {
                carrier.supersede(id, intent);
            }
        }
        let result = self.walk_lane(Lane::new(style), mark, &mut carrier, began).await;
        let drained = carrier.drain().await;
        *summary = std::mem::take(&mut carrier.summary);
        let (reached, now, heads) = match (result, drained) {
            (Ok(walked), Ok(())) => walked,
            (Err(error), Ok(())) | (_, Err(error)) => return Err(error),
        };
        summary.lane = Some(LaneReport { pages: reached.pages, sorted: reached.sorted });
        if !reached.sorted {
            return self.unsorted(mark, style, UNSORTED).await;
        }
        let capped = |before: Option<i64>, reached: Option<i64>| before.map(|time| time.min(now)).max(reached);
        let mark = LaneMark {
            activity: capped(mark.and_then(|mark| mark.activity), reached.activity),
            created: capped(mark.and_then(|mark| mark.created), reached.created),
            heads: Some(engine.store.hash_key().digest("lane", heads)),
            style,
            // What was not seen to have its effect is not remembered: the next cycle asks again.
            sorted: spelling != Spelling::OnePage,
            carried_until: Some(began),
            run: engine.run,
        };
        Ok(engine.store.put_lane(mark).await?)
    }

    /// How descending order is spelled: as the last cycle knew it, found out where that is not known.
    async fn spelling(&self, mark: Option<LaneMark>) -> Result<Spelling, ScanError> {
        match mark.filter(|mark| mark.sorted) {
            Some(mark) => Ok(Spelling::Told(mark.style)),
            None => scan::spelling(self.source.as_ref()).await,
        }
    }

    /// The lane would be of no use.
    async fn not_walked(
        &self,
        mark: Option<LaneMark>,
        why: &'static str,
        summary: &mut Summary,
    ) -> Result<(), RunError> {
        summary.lane = Some(LaneReport { pages: 0, sorted: false });
        self.unsorted(mark, DirectionStyle::Parameter, why).await
    }

    /// Says once that the lane is of little use here, and keeps its marks where they were.
    async fn unsorted(&self, mark: Option<LaneMark>, style: DirectionStyle, why: &'static str) -> Result<(), RunError> {
        if mark.is_none_or(|mark| mark.sees()) {
            self.engine.notice(why);
        }
        let nothing = LaneMark {
            activity: None,
            created: None,
            heads: None,
            style,
            sorted: false,
            carried_until: None,
            run: self.engine.run,
        };
        let mark = LaneMark { sorted: false, heads: None, run: self.engine.run, ..mark.unwrap_or(nothing) };
        Ok(self.engine.store.put_lane(mark).await?)
    }

    async fn walk_lane(
        &self,
        mut lane: Lane,
        mark: Option<LaneMark>,
        carrier: &mut Carrier<T>,
        began: Timestamp,
    ) -> Result<(Reached, i64, String), RunError> {
        let engine = &self.engine;
        let mut now = began.0 / 1000;
        let mut heads = String::new();
        loop {
            engine.go_on()?;
            if carrier.failed() {
                // The failure itself comes from the carrier's end.
                return Ok((Reached::default(), now, heads));
            }
            let request = match lane.want() {
                Want::Page(request) => request,
                Want::Heads(text) => {
                    let nothing_new =
                        mark.and_then(|mark| mark.heads) == Some(engine.store.hash_key().digest("lane", &text));
                    // Whoever is to be created again lies behind the first pages.
                    if nothing_new && !carrier.repeats_any() {
                        lane.rest();
                    }
                    heads = text;
                    continue;
                }
                Want::End(reached) => return Ok((reached, now, heads)),
            };
            let answer = self.source.page(request).await.map_err(ScanError::Source)?;
            engine.progress.event(ProgressEvent::PageRead);
            if lane.is_timeless() {
                now = answer.server_date.unwrap_or(now);
                lane.set_floors(now, self.floors(mark, now, began).await?);
            }
            let ids: Vec<LiveDeskId> =
                answer.rows.iter().map(|row| row.id).chain(answer.malformed.iter().filter_map(|row| row.id)).collect();
            let known = engine.store.recorded_among(&ids).await?;
            let mut page = lane.take(request, answer, &known)?;
            // What cannot be read was told of once; a sweep looks again.
            page.malformed.retain(|row| row.id.is_some_and(|id| !known.contains(&id)));
            if !page.contacts.is_empty() || !page.malformed.is_empty() {
                carrier.feed(page.contacts, page.malformed, None).await?;
            }
        }
    }

    /// How far down this cycle looks: to the last one, or to where a sweep began that saw, or is to see, everything else.
    async fn floors(&self, mark: Option<LaneMark>, now: i64, began: Timestamp) -> Result<Floors, RunError> {
        let store = &self.engine.store;
        let overlap = i64::try_from(self.overlap.as_secs()).unwrap_or(i64::MAX);
        let (activity, created) = mark.map_or((None, None), |mark| (mark.activity, mark.created));
        let first = if activity.is_none() || created.is_none() {
            let whole = store.last_whole_sweep().await?.map(|sweep| sweep.started_at);
            let open = store.open_sweep().await?.map(|sweep| sweep.started_at);
            // By our clock, which may differ from LiveDesk's.
            whole.or(open).map_or(now, |at| now.saturating_sub((began.0 - at.0).max(0) / 1000))
        } else {
            now
        };
        let floor = |mark: Option<i64>| mark.unwrap_or(first).min(now).saturating_sub(overlap);
        Ok(Floors { activity: floor(activity), created: floor(created), dated: activity.is_some() })
    }
}
