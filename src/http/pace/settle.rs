//! The first rates after a platform refused for the first time: from how its windows must lie ([`super::fit`]).
//!
//! A fit is made at once, and again when the pause is over: what was under way tells where a window began. Where it leaves much open the rate is
//! a guess, kept for a few windows and then searched from, up to the highest limit that is possible. What no windows explain is left to the law.

use super::fit::Fit;
use super::{BELOW, GUESS_WINDOWS, PROOF_REQUESTS, Pace, STEP_GUESS, Stage};

/// Where a limit was fitted to what was seen: how much of the way from the least to the most is believed, after the first refusal and later.
const BELIEVED_FIRST: f64 = 0.75;
const BELIEVED: f64 = 0.7;
/// Part of a window; the first refusals after less than that leave less open.
const ACROSS: f64 = 0.4;
/// A fit is tight if its least and its most are this near; the parts of either kind that are used.
const TIGHT: f64 = 0.08;
const BELOW_TIGHT: f64 = 0.98;
const BELOW_WIDE: f64 = 0.96;
/// A limit that was fitted is surely below this part of the highest that is possible.
const TOP: f64 = 1.02;

/// A refusal whose limit is fitted anew when all that was under way has been answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fitted {
    /// The rate is at most this.
    pub(super) most: f64,
    /// What holds if nothing fits.
    pub(super) otherwise: Stage,
}

impl Pace {
    /// The stage until all that is under way has been answered, and what is to be done then.
    pub(super) fn first_fit(&self, lowered: Stage, most: f64) -> (Stage, Fitted) {
        let fit = self.seen.fit(self.window);
        let highest = fit.map(|fit| self.hold((self.per_second(fit.most) * BELOW).min(most).min(self.ceiling)));
        let otherwise = highest.filter(|_| self.was_free).unwrap_or(lowered);
        let stage = fit.map_or(lowered, |fit| self.fitted(fit, most));
        (stage, Fitted { most, otherwise })
    }

    /// The stage that windows explain, if they explain what was seen.
    pub(super) fn fit(&self, most: f64) -> Option<Stage> {
        self.seen.fit(self.window).map(|fit| self.fitted(fit, most))
    }

    fn fitted(&self, fit: Fit, most: f64) -> Stage {
        let tight = fit.most - fit.least <= TIGHT * fit.most;
        // A short burst hardly lay across two windows.
        let across = (fit.lasted.as_secs_f64() / self.window.as_secs_f64() / ACROSS).min(1.0);
        let believed = if self.was_free { 1.0 - (1.0 - BELIEVED_FIRST) * across } else { BELIEVED };
        let limit = self.per_second(fit.least + (fit.most - fit.least) * believed);
        let rate = |part: f64| (limit * part).min(most).min(self.ceiling);
        if tight {
            self.hold(rate(BELOW_TIGHT))
        } else {
            let rate = rate(BELOW_WIDE).max(self.floor());
            let left = (GUESS_WINDOWS * self.window.as_secs_f64() * rate).max(PROOF_REQUESTS);
            Stage::Hold { rate, left, step: STEP_GUESS, top: Some(self.per_second(fit.most) * TOP) }
        }
    }

    fn per_second(&self, per_window: f64) -> f64 {
        per_window / self.window.as_secs_f64()
    }
}
