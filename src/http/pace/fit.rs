//! What a platform's limit must be, where it counts in windows of a known length: from which requests it served and refused.
//!
//! One refusal soon after the start says little: what was let through may be one window's worth, or the ends of two. But the windows go on by the
//! same clock, so that the next refusal, together with the first, leaves few ways to lay them. Every way is tried and those that contradict
//! least are kept; the lowest and the highest limit among them are the answer. Where even the best contradicts what
//! was seen (a sliding window, a bucket), there is none. It knows neither rates nor what is to be done.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Requests that are remembered: some windows of what is paced at all.
const KEPT: usize = 512;
/// Ways to lay the windows, over one length of them.
const WAYS: u32 = 200;
/// Requests that may contradict: what arrives beside a window's edge may have been a little faster or slower than reckoned.
const NOISE: u32 = 2;

/// The latest requests of one platform: when each arrived there, and whether it was served.
#[derive(Debug, Default)]
pub(super) struct Seen(VecDeque<(Instant, bool)>);

/// What is known of a limit, in requests per window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fit {
    /// It is hardly less ..
    pub(super) least: f64,
    /// .. and hardly more.
    pub(super) most: f64,
    /// How long requests were served before the first refusal.
    pub(super) lasted: Duration,
}

impl Seen {
    /// A request was served or refused.
    pub(super) fn note(&mut self, arrived: Instant, served: bool) {
        if self.0.len() >= KEPT {
            self.0.pop_front();
        }
        self.0.push_back((arrived, served));
    }

    /// What comes from now on has nothing to do with what was.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// What the limit is, if it is counted in windows of this length.
    pub(super) fn fit(&self, window: Duration) -> Option<Fit> {
        let mut seen: Vec<(Instant, bool)> = self.0.iter().copied().collect();
        seen.sort_by_key(|(arrived, _)| *arrived);
        let first = seen.first()?.0;
        let ways: Vec<Way> = (0..WAYS).filter_map(|nth| laid(&seen, first + window * nth / WAYS, window)).collect();
        let best = ways.iter().map(|way| way.contradictions).min().filter(|best| *best <= NOISE)?;
        let likely = || ways.iter().filter(|way| way.contradictions <= best + 1).map(|way| way.limit);
        let lasted = seen.iter().find(|(_, served)| !served)?.0 - first;
        Some(Fit { least: f64::from(likely().min()?), most: f64::from(likely().max()?), lasted })
    }
}

/// One way to lay the windows.
struct Way {
    limit: u32,
    /// Requests that it does not explain.
    contradictions: u32,
}

/// What is to be thought of windows that begin at `begin` and every `window` before and after it; `None` if none of them was full.
fn laid(seen: &[(Instant, bool)], begin: Instant, window: Duration) -> Option<Way> {
    let (mut contradictions, mut busiest) = (0, 0);
    let (mut least, mut most, mut full, mut sum) = (u32::MAX, 0, 0, 0);
    let mut rest = seen;
    let number = |at: Instant| (at + window - begin).as_nanos() / window.as_nanos();
    while let Some((at, _)) = rest.first() {
        let nth = number(*at);
        let (of_this, later) = rest.split_at(rest.partition_point(|(at, _)| number(*at) <= nth));
        rest = later;
        let served = |some: &[(Instant, bool)]| u32::try_from(some.iter().filter(|(_, served)| *served).count());
        let until_refused = of_this.iter().position(|(_, served)| !served);
        let (before, after) = of_this.split_at(until_refused.unwrap_or(of_this.len()));
        let let_through = served(before).unwrap_or(u32::MAX);
        contradictions += served(after).unwrap_or(u32::MAX);
        if until_refused.is_none() {
            busiest = busiest.max(let_through);
        } else {
            (least, most) = (least.min(let_through), most.max(let_through));
            (full, sum) = (full + 1, sum + let_through);
        }
    }
    contradictions += most.checked_sub(least)? + busiest.saturating_sub(least);
    Some(Way { limit: (sum / full).max(1), contradictions })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Fit, Seen};

    const SECOND: Duration = Duration::from_secs(1);

    /// Requests of these spells (from, to and distance, in milliseconds) at a platform that serves so many in each second of its clock,
    /// which is `ahead` of ours.
    fn seen(limit: u32, ahead: u64, spells: &[(u64, u64, usize)]) -> Seen {
        let (start, mut seen, mut window) = (Instant::now(), Seen::default(), (0, 0));
        for (from, to, distance) in spells {
            for at in (*from..*to).step_by(*distance) {
                let second = (at + ahead) / 1000;
                window = if window.0 == second { (second, window.1 + 1) } else { (second, 1) };
                seen.note(start + Duration::from_millis(at), window.1 <= limit);
            }
        }
        seen
    }

    #[test]
    fn one_refusal_after_a_fast_start_leaves_a_factor_of_two() {
        let fit = seen(50, 0, &[(0, 520, 10)]).fit(SECOND).unwrap();
        assert!((24.0..=26.0).contains(&fit.least) && (49.9..50.1).contains(&fit.most), "{fit:?}");
    }

    #[test]
    fn a_second_refusal_tells_how_the_windows_lie_and_with_it_the_limit() {
        for ahead in [0, 100, 350, 600, 850] {
            // 100 a second until the first refusals, then 70 a second after the pause.
            let fit = seen(50, ahead, &[(0, 1100, 10), (2300, 4100, 14)]).fit(SECOND).unwrap();
            assert!((47.0..=50.0).contains(&fit.least) && (50.0..=53.0).contains(&fit.most), "{ahead}: {fit:?}");
        }
    }

    #[test]
    fn without_a_refusal_there_is_nothing_to_know() {
        assert_eq!(seen(50, 0, &[(0, 400, 10)]).fit(SECOND), None);
        assert_eq!(Seen::default().fit(SECOND), None);
    }

    #[test]
    fn what_no_windows_explain_is_not_explained() {
        // Every third one is refused.
        let (start, mut seen) = (Instant::now(), Seen::default());
        (0..300_u32).for_each(|nth| seen.note(start + SECOND * nth / 60, nth % 3 != 0));
        assert_eq!(seen.fit(SECOND), None);
    }

    #[test]
    fn what_was_forgotten_counts_no_more_and_it_does_not_grow() {
        let mut seen = seen(50, 0, &[(0, 60_000, 10)]);
        assert_eq!(seen.0.len(), super::KEPT);
        seen.forget();
        assert_eq!(seen.fit(SECOND), None::<Fit>);
    }
}
