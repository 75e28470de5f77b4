//! Whether the platform's answers have become slow: each route against its own calm, no absolute limits.
//!
//! A long list takes longer than one record, so each route has a baseline of its own; what is smoothed is how many
//! times its baseline an answer took. The baseline follows a lasting change, slowly: a platform that is slower since its
//! last release is not asked less for ever.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// Routes that are told apart; the rest is not judged.
const ROUTES: usize = 64;
/// First answers of a route that only make its baseline, and the weight of later ones in it.
const FIRST: u32 = 16;
const BASELINE_WEIGHT: f64 = 1.0 / 256.0;
/// Weight of one answer in the smoothed ratio.
const WEIGHT: f64 = 1.0 / 16.0;
/// Answers, and time, between two changes of the pace.
const ANSWERS: u32 = 16;
const DISTANCE: Duration = Duration::from_secs(2);
/// A smoothed ratio above the first slows down, one below the second recovers.
const SLOW: f64 = 2.5;
const CALM: f64 = 1.5;
/// One answer counts as this many times its baseline at most: a single hang is no trend.
const RATIO_MAX: f64 = 8.0;
/// Differences below this are the network's noise.
const NOISE: Duration = Duration::from_millis(50);
/// Slowing down and recovering.
const DOWN: f64 = 0.7;
const UP: f64 = 1.1;
/// The most that latency alone slows down to.
const EASE_MIN: f64 = 0.1;

/// The latencies of one platform.
#[derive(Debug)]
pub(super) struct Latency {
    routes: HashMap<u64, Baseline>,
    ratio: f64,
    ease: f64,
    since_change: u32,
    changed: Option<Instant>,
}

#[derive(Debug)]
struct Baseline {
    seconds: f64,
    answers: u32,
}

impl Default for Latency {
    fn default() -> Self {
        Self { routes: HashMap::new(), ratio: 1.0, ease: 1.0, since_change: 0, changed: None }
    }
}

impl Latency {
    /// The part of the usual pace that is kept; 1 while all is well.
    pub(super) fn ease(&self) -> f64 {
        self.ease
    }

    /// An answer came after `took`.
    pub(super) fn took(&mut self, route: u64, took: Duration, now: Instant) {
        if self.routes.len() >= ROUTES && !self.routes.contains_key(&route) {
            return;
        }
        let seconds = took.as_secs_f64();
        let baseline = self.routes.entry(route).or_insert(Baseline { seconds, answers: 0 });
        baseline.answers = baseline.answers.saturating_add(1);
        if baseline.answers <= FIRST {
            baseline.seconds += (seconds - baseline.seconds) / f64::from(baseline.answers);
            return;
        }
        let above = seconds - baseline.seconds;
        let ratio =
            if above <= NOISE.as_secs_f64() { 1.0 } else { (seconds / baseline.seconds.max(1e-4)).min(RATIO_MAX) };
        baseline.seconds += above * BASELINE_WEIGHT;
        self.ratio += (ratio - self.ratio) * WEIGHT;
        self.since_change += 1;
        let long_ago = self.changed.is_none_or(|changed| now.saturating_duration_since(changed) >= DISTANCE);
        if self.since_change < ANSWERS || !long_ago {
            return;
        }
        let ease = match self.ratio {
            ratio if ratio > SLOW => (self.ease * DOWN).max(EASE_MIN),
            ratio if ratio < CALM => (self.ease * UP).min(1.0),
            _ => self.ease,
        };
        if (ease - self.ease).abs() > f64::EPSILON {
            self.ease = ease;
            self.since_change = 0;
            self.changed = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::Latency;

    const LIST: u64 = 1;
    const RECORD: u64 = 2;

    /// Answers of both routes, ten a second, for so many seconds; the list takes ten times as long.
    fn serve(latency: &mut Latency, now: &mut Instant, seconds: u32, record_ms: u64) {
        for nth in 0..seconds * 10 {
            *now += Duration::from_millis(100);
            let noise = u64::from(nth % 3) * record_ms / 5;
            let (route, ms) = if nth % 4 == 0 { (LIST, record_ms * 10) } else { (RECORD, record_ms + noise) };
            latency.took(route, Duration::from_millis(ms), *now);
        }
    }

    #[test]
    fn it_slows_down_while_answers_take_far_longer_than_usual_and_recovers_slowly() {
        let (mut latency, mut now) = (Latency::default(), Instant::now());
        serve(&mut latency, &mut now, 60, 80);
        assert!(latency.ease() >= 1.0, "calm: long lists among short records are no rise");
        serve(&mut latency, &mut now, 5, 400);
        assert!(latency.ease() < 0.8, "{}", latency.ease());
        serve(&mut latency, &mut now, 10, 400);
        let slow = latency.ease();
        assert!((0.1..0.5).contains(&slow), "{slow}");
        serve(&mut latency, &mut now, 6, 80);
        assert!(latency.ease() < 0.8, "not at once: {}", latency.ease());
        serve(&mut latency, &mut now, 60, 80);
        assert!(latency.ease() >= 1.0, "{}", latency.ease());
    }

    #[test]
    fn a_single_hang_and_a_few_milliseconds_change_nothing() {
        let (mut latency, mut now) = (Latency::default(), Instant::now());
        serve(&mut latency, &mut now, 30, 80);
        latency.took(RECORD, Duration::from_secs(19), now);
        serve(&mut latency, &mut now, 5, 80);
        assert!(latency.ease() >= 1.0);
        let mut near = Latency::default();
        serve(&mut near, &mut now, 30, 1);
        for _ in 0..300 {
            now += Duration::from_millis(100);
            near.took(RECORD, Duration::from_millis(30), now);
        }
        assert!(near.ease() >= 1.0, "thirty times a millisecond is still nothing");
    }

    #[test]
    fn what_stays_slow_becomes_the_new_calm() {
        let (mut latency, mut now) = (Latency::default(), Instant::now());
        serve(&mut latency, &mut now, 60, 80);
        serve(&mut latency, &mut now, 1800, 300);
        assert!(latency.ease() >= 1.0, "{}", latency.ease());
    }
}
