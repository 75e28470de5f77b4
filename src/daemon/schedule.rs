//! The schedule: says "due" at the times of two cron expressions. The only place that knows the cron crate.
//!
//! The crate keeps the offset from UTC that the zone had when a job was made, so the jobs are made anew when the zone
//! changes its offset (summer time), and those of before say nothing more. And should its own task ever die, nobody would hear of it: [`Schedule::look`]
//! compares what was said with what should have been said.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chrono_tz::Tz;
use jiff::tz::{Offset, TimeZone};
use tokio_cron_scheduler::{Job, JobScheduler, JobSchedulerError};

use super::due::{Due, Kind};
use crate::clock::{Clock, Timestamp};
use crate::config::cron;
use crate::config::settings;

/// An activation that is later than this did not happen.
const LATE_MS: i64 = 90_000;

/// The schedule cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// The cron crate knows the zone by another name, or not at all.
    #[error("schedule.time_zone \"{0}\" is not known to the scheduler; write an IANA name such as \"Asia/Taipei\"")]
    Zone(String),
    /// The cron crate's own.
    #[error("the schedule could not be set up")]
    Cron(#[from] JobSchedulerError),
}

/// Says "due" for as long as it lives.
pub struct Schedule {
    plan: settings::Schedule,
    zone: Tz,
    due: Due,
    clock: Arc<dyn Clock>,
    jobs: JobScheduler,
    offset: Offset,
    /// When each kind was last said to be due, and when it should be next.
    said: [Arc<AtomicI64>; 2],
    next: [Option<i64>; 2],
}

impl Schedule {
    /// Begins to say "due".
    pub async fn start(plan: &settings::Schedule, due: Due, clock: Arc<dyn Clock>) -> Result<Self, ScheduleError> {
        let zone = zone(&plan.time_zone)?;
        let said: [Arc<AtomicI64>; 2] = Default::default();
        let jobs = jobs(plan, zone, &due, &clock, &said).await?;
        let now = clock.now();
        let offset = offset(&plan.time_zone, now);
        let next = Kind::ALL.map(|kind| next(plan, kind, now.0));
        Ok(Self { plan: plan.clone(), zone, due, clock, jobs, offset, said, next })
    }

    /// When each kind is due next.
    pub fn next(&self, kind: Kind) -> Option<Timestamp> {
        self.next[index(kind)].map(Timestamp)
    }

    /// Looks after itself: to be called every few seconds. Makes up for an activation that did not happen.
    pub async fn look(&mut self) -> Result<(), ScheduleError> {
        let now = self.clock.now();
        let offset = offset(&self.plan.time_zone, now);
        let set_back = self.set_back(now);
        if set_back {
            tracing::warn!("the clock was set back; the schedule goes on from the time that it shows now");
            for kind in Kind::ALL {
                self.said[index(kind)].store(0, Ordering::Relaxed);
                self.next[index(kind)] = next(&self.plan, kind, now.0);
            }
        }
        let moved = offset != self.offset;
        if set_back || moved {
            let jobs = jobs(&self.plan, self.zone, &self.due, &self.clock, &self.said).await?;
            let mut old = std::mem::replace(&mut self.jobs, jobs);
            old.shutdown().await?;
            self.offset = offset;
        }
        for kind in Kind::ALL {
            let Some(expected) = self.next[index(kind)] else { continue };
            let said = self.said[index(kind)].load(Ordering::Relaxed);
            if said >= expected - 1_000 {
                self.next[index(kind)] = next(&self.plan, kind, said.max(expected));
            } else if now.0 > expected.saturating_add(if moved { 0 } else { LATE_MS }) {
                // With the offset the jobs changed: for those of before it was another hour, for the new ones it is past.
                if !moved {
                    tracing::error!(
                        kind = kind.as_str(),
                        "an activation of the schedule did not happen; it is made up for"
                    );
                }
                self.due.ask(kind);
                self.next[index(kind)] = next(&self.plan, kind, now.0);
            }
        }
        Ok(())
    }

    /// Whether an activation comes round well before the one that is waited for: that one was reckoned from a later time.
    fn set_back(&self, now: Timestamp) -> bool {
        Kind::ALL.into_iter().any(|kind| {
            let sooner = next(&self.plan, kind, now.0.saturating_add(LATE_MS));
            sooner.zip(self.next[index(kind)]).is_some_and(|(sooner, expected)| sooner < expected)
        })
    }

    /// Says nothing more.
    pub async fn end(mut self) -> Result<(), ScheduleError> {
        Ok(self.jobs.shutdown().await?)
    }
}

/// Whether an activation came round between two moments; yes, where the first lies ahead and so says nothing.
pub fn came_round(plan: &settings::Schedule, kind: Kind, since: Timestamp, now: Timestamp) -> bool {
    since.unless_ahead_of(now).is_none_or(|since| next(plan, kind, since.0).is_some_and(|next| next <= now.0))
}

fn expression(plan: &settings::Schedule, kind: Kind) -> Option<&str> {
    match kind {
        Kind::Sync => plan.sync.as_deref(),
        Kind::Sweep => plan.sweep.as_deref(),
    }
}

fn next(plan: &settings::Schedule, kind: Kind, after_ms: i64) -> Option<i64> {
    cron::next_after(expression(plan, kind)?, &plan.time_zone, after_ms)
}

fn index(kind: Kind) -> usize {
    usize::from(kind == Kind::Sweep)
}

fn offset(zone: &TimeZone, at: Timestamp) -> Offset {
    jiff::Timestamp::from_millisecond(at.0).map_or(Offset::UTC, |at| zone.to_offset(at))
}

fn zone(zone: &TimeZone) -> Result<Tz, ScheduleError> {
    let name = zone.iana_name().unwrap_or("UTC");
    name.parse().map_err(|_| ScheduleError::Zone(name.to_owned()))
}

/// What a job does at its time.
struct Teller {
    kind: Kind,
    due: Due,
    clock: Arc<dyn Clock>,
    said: Arc<AtomicI64>,
    zone: TimeZone,
    /// The offset from UTC that its times are reckoned with.
    made_for: Offset,
}

impl Teller {
    fn say(&self) {
        let now = self.clock.now();
        if offset(&self.zone, now) == self.made_for {
            self.said.store(now.0, Ordering::Relaxed);
            self.due.ask(self.kind);
        }
    }
}

async fn jobs(
    plan: &settings::Schedule,
    zone: Tz,
    due: &Due,
    clock: &Arc<dyn Clock>,
    said: &[Arc<AtomicI64>; 2],
) -> Result<JobScheduler, ScheduleError> {
    let jobs = JobScheduler::new().await?;
    for kind in Kind::ALL {
        let Some(expression) = expression(plan, kind) else { continue };
        let teller = Teller {
            kind,
            due: due.clone(),
            clock: Arc::clone(clock),
            said: Arc::clone(&said[index(kind)]),
            zone: plan.time_zone.clone(),
            made_for: offset(&plan.time_zone, clock.now()),
        };
        let job = Job::new_tz(expression, zone, move |_, _| teller.say())?;
        jobs.add(job).await?;
    }
    jobs.start().await?;
    Ok(jobs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    fn plan(sync: &str, sweep: &str, zone: &str) -> settings::Schedule {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        settings::Schedule { time_zone: TimeZone::get(zone).unwrap(), sync: some(sync), sweep: some(sweep) }
    }

    #[tokio::test]
    async fn what_the_expression_says_every_second_is_soon_due_and_an_empty_one_never() {
        let due = Due::default();
        let plan = plan("* * * * * *", "", "Asia/Taipei");
        let schedule = Schedule::start(&plan, due.clone(), Arc::new(SystemClock)).await.unwrap();
        assert!(schedule.next(Kind::Sync).is_some() && schedule.next(Kind::Sweep).is_none());
        let first = tokio::time::timeout(std::time::Duration::from_secs(5), due.next()).await.unwrap();
        assert_eq!((first, due.is_due(Kind::Sweep)), (Kind::Sync, false));
        schedule.end().await.unwrap();
    }

    #[tokio::test]
    async fn an_activation_that_did_not_happen_is_made_up_for_once() {
        let clock = crate::clock::TestClock::default();
        clock.advance_ms(1_772_323_200_000);
        let due = Due::default();
        // Far away by the real clock, so that the crate itself says nothing.
        let plan = plan("", "0 0 3 1 1 *", "UTC");
        let mut schedule = Schedule::start(&plan, due.clone(), Arc::new(clock.clone())).await.unwrap();
        schedule.look().await.unwrap();
        assert!(!due.is_due(Kind::Sweep));
        clock.advance_ms(366 * 24 * 3_600_000);
        schedule.look().await.unwrap();
        assert!(due.take(Kind::Sweep));
        schedule.look().await.unwrap();
        assert!(!due.is_due(Kind::Sweep));
        schedule.end().await.unwrap();
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_does_not_silence_the_schedule_until_it_has_caught_up() {
        let clock = crate::clock::TestClock::default();
        clock.advance_ms(1_772_323_200_000);
        let due = Due::default();
        let plan = plan("0 30 4 1 1 *", "0 0 3 1 1 *", "UTC");
        let mut schedule = Schedule::start(&plan, due.clone(), Arc::new(clock.clone())).await.unwrap();
        let expected = schedule.next(Kind::Sweep).unwrap();
        let year = 366 * 24 * 3_600_000;
        clock.advance_ms(-year);
        schedule.look().await.unwrap();
        assert!(schedule.next(Kind::Sweep).unwrap() < expected, "{:?}", schedule.next(Kind::Sweep));
        assert_eq!((due.is_due(Kind::Sweep), due.is_due(Kind::Sync)), (false, false));
        clock.advance_ms(year - 24 * 3_600_000);
        schedule.look().await.unwrap();
        assert!(due.take(Kind::Sweep) && due.take(Kind::Sync), "what came round since is made up for");
        // What was said before the clock was set back is not said again for it.
        schedule.said[1].store(clock.now().0 + 100 * year, Ordering::Relaxed);
        schedule.look().await.unwrap();
        schedule.look().await.unwrap();
        assert!(schedule.next(Kind::Sweep).unwrap().0 < clock.now().0 + year, "{:?}", schedule.next(Kind::Sweep));
        schedule.end().await.unwrap();
    }

    #[test]
    fn a_sweep_that_began_after_now_was_begun_by_another_clock_and_is_owed() {
        let plan = plan("", "0 0 3 * * *", "UTC");
        let evening = Timestamp(1_772_390_400_000);
        assert!(came_round(&plan, Kind::Sweep, Timestamp(evening.0 + 90 * 24 * 3_600_000), evening));
    }

    /// When Berlin goes to summer time and back, in 2026 and 2030; epoch seconds.
    const SPRING: [i64; 2] = [1_774_746_000, 1_901_149_200];
    const AUTUMN: [i64; 2] = [1_792_890_000, 1_919_293_200];
    const HOUR: i64 = 3_600;

    #[tokio::test]
    async fn a_night_in_which_the_clocks_change_has_its_sweep_once() {
        // 03:00 is the very moment of the change in spring, and an hour after it in autumn.
        for (change, after) in [(SPRING[0], 0), (AUTUMN[0], HOUR)] {
            let clock = crate::clock::TestClock::default();
            clock.advance_ms((change - 12 * HOUR) * 1000);
            let due = Due::default();
            let plan = plan("", "0 0 3 * * *", "Europe/Berlin");
            let mut schedule = Schedule::start(&plan, due.clone(), Arc::new(clock.clone())).await.unwrap();
            assert_eq!(schedule.next(Kind::Sweep), Some(Timestamp((change + after) * 1000)));
            schedule.look().await.unwrap();
            assert!(!due.is_due(Kind::Sweep));
            clock.advance_ms((12 * HOUR + 3) * 1000);
            schedule.look().await.unwrap();
            assert_eq!(due.take(Kind::Sweep), after == 0, "{change}: three seconds after the change");
            // The crate goes by the real clock, so the hour after is made up for.
            clock.advance_ms((HOUR + 120) * 1000);
            schedule.look().await.unwrap();
            assert_eq!(due.take(Kind::Sweep), after != 0, "{change}: an hour later");
            assert_eq!(schedule.next(Kind::Sweep), Some(Timestamp((change + after + 24 * HOUR) * 1000)));
            schedule.end().await.unwrap();
        }
    }

    #[test]
    fn a_job_says_nothing_once_its_zone_has_another_offset() {
        let clock = crate::clock::TestClock::default();
        clock.advance_ms((AUTUMN[0] - HOUR) * 1000);
        let (due, zone) = (Due::default(), TimeZone::get("Europe/Berlin").unwrap());
        let made_for = offset(&zone, clock.now());
        let shared: Arc<dyn Clock> = Arc::new(clock.clone());
        let teller =
            Teller { kind: Kind::Sweep, due: due.clone(), clock: shared, said: Arc::default(), zone, made_for };
        teller.say();
        assert!(due.take(Kind::Sweep));
        clock.advance_ms(HOUR * 1000);
        teller.say();
        assert!(!due.is_due(Kind::Sweep), "its three o'clock is two o'clock now");
    }

    #[tokio::test]
    async fn the_cron_crate_keeps_the_offset_that_a_job_was_made_with() {
        let mut job = Job::new_tz("0 0 3 * * *", chrono_tz::Europe::Berlin, |_, _| {}).unwrap();
        let cron = job.job_data().unwrap().schedule().unwrap();
        let mut jobs = JobScheduler::new().await.unwrap();
        let id = jobs.add(job).await.unwrap();
        // Some time of its own type, long before the changes of 2030.
        let some = jobs.next_tick_for_job(id).await.unwrap().unwrap();
        let at =
            |seconds: i64| some + std::time::Duration::from_secs(u64::try_from(seconds - some.timestamp()).unwrap());
        let made = |seconds, zone: Tz| {
            cron.find_next_occurrence(&at(seconds).with_timezone(&zone), false).unwrap().timestamp()
        };
        let then = |seconds, zone: Tz| cron.iter_after(at(seconds).with_timezone(&zone)).next().unwrap().timestamp();
        // As it reckons: in the zone when a job is made, later with the offset of then.
        let (winter, summer) = (Tz::Etc__GMTMinus1, Tz::Etc__GMTMinus2);
        let (spring, autumn) = (SPRING[1], AUTUMN[1]);
        assert_eq!(made(spring - 12 * HOUR, Tz::Europe__Berlin), spring);
        assert_eq!(then(spring - 12 * HOUR, winter), spring + HOUR, "an hour late: so jobs are made anew");
        assert_eq!(made(spring + 3, Tz::Europe__Berlin), spring + 24 * HOUR, "and what is past by then is made up for");
        assert_eq!(made(autumn - 12 * HOUR, Tz::Europe__Berlin), autumn + HOUR);
        assert_eq!(then(autumn - 12 * HOUR, summer), autumn, "an hour early: so the old job says nothing");
        assert_eq!(made(autumn + 3, Tz::Europe__Berlin), autumn + HOUR);
    }

    #[test]
    fn a_nightly_sweep_that_was_slept_through_is_known() {
        let plan = plan("", "0 0 3 * * *", "UTC");
        let evening = Timestamp(1_772_390_400_000);
        assert!(!came_round(&plan, Kind::Sweep, evening, Timestamp(evening.0 + 3_600_000)));
        assert!(came_round(&plan, Kind::Sweep, evening, Timestamp(evening.0 + 12 * 3_600_000)));
    }
}
