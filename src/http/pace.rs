//! The law of the pace: how fast one platform is asked, below the ceiling that the operator set.
//!
//! A pure state machine that is told the time. It is *free* until the platform refuses for the first time (429), and begins with no more requests
//! under way than it can afford to see refused at once. How many requests were let through until then, when the next are refused ([`settle`]), and
//! for how long it asks us to wait, gives an estimate of its limit. It then *holds* a rate a little below that, and after many requests without a refusal *searches*: small steps above, each kept for a while, larger ones as
//! long as nothing is refused. The first refusal of a search ends it at the last rate that was proven. So a refusal costs
//! one pause in about forty windows, and one request in about two hundred, whatever the limit is and however it is counted. A rise of the
//! answers' latency slows it as well ([`super::latency`]). It does not wait and does not send.

use std::time::Duration;

use tokio::time::Instant;

use super::latency::Latency;
use fit::Seen;
use settle::Fitted;

mod fit;
mod settle;

/// Part of an estimated limit that is used.
const BELOW: f64 = 0.97;
/// Part of a proven rate that is used.
const BELOW_PROVEN: f64 = 0.99;
/// A refusal after a long calm lowers the rate to this part; one after a short calm to the other.
const LOWER: f64 = 0.97;
const LOWER_SOON: f64 = 0.95;
/// A window of the platform is taken to last as long as the pause that it asks for, and at least this long.
const WINDOW_MIN: Duration = Duration::from_secs(1);
/// A pause that is longer than this ends where a window of the platform begins, if it was asked for by the platform: `Retry-After`
/// is in whole seconds, and below that the rounding is too much of it.
const ROUNDED: Duration = Duration::from_millis(1500);
/// Longest window that is reckoned with.
const WINDOW_MAX: Duration = Duration::from_mins(1);
/// Windows without a refusal that make a calm.
const CALM: u32 = 8;
/// A search begins after this many windows without a refusal, ..
const HOLD_WINDOWS: f64 = 40.0;
/// .. or this many where the limit is only a guess, ..
const GUESS_WINDOWS: f64 = 4.0;
/// .. and after this many requests for each one that was refused the last time.
const REQUESTS_PER_REFUSAL: f64 = 180.0;
/// First step of a search, and the first one where the limit is only a guess. Steps double.
const STEP: f64 = 0.03;
const STEP_GUESS: f64 = 0.06;
/// A step of a search is proven after this many windows and requests.
const PROOF_WINDOWS: f64 = 2.0;
const PROOF_REQUESTS: f64 = 30.0;
/// .. unless they took longer than this, in parts of the time that the rate gives them: then others had nothing to send.
const PROOF_SLACK: f64 = 1.5;
/// Fewer requests than this between two refusals are no base for an estimate.
const HANDFUL: f64 = 8.0;
/// A refused and a proven rate that are this near to each other end a search.
const NEAR: f64 = 1.09;
/// The rate never falls below this part of the ceiling, nor below one request in this many seconds.
const FLOOR_PART: f64 = 0.01;
const FLOOR_SECONDS: f64 = 20.0;

/// Requests that may be under way at the start, and one more for each of so many answers: all of them are refused when a limit is met.
const START: f64 = 8.0;
const START_ANSWERS: f64 = 40.0;
/// Requests that go at the ceiling's pace before anything is known: as many as may be under way.
const START_SENT: u64 = 8;
/// How long answers take until the first has come, in seconds; and the weight of one answer.
const START_TOOK: f64 = 0.25;
const TOOK_WEIGHT: f64 = 1.0 / 8.0;
/// Refusals soon after one another in which the limit is still being found.
const SETTLING: u32 = 4;

/// A request that was sent, for the law to recognise its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    at: Instant,
    nth: u64,
    episode: u64,
}

/// Where the law is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// No refusal yet, or a search has come to the ceiling.
    Free,
    /// A rate that is believed to be below the limit; `left` answers until a search, which need not go as far as `top`.
    Hold { rate: f64, left: f64, step: f64, top: Option<f64> },
    /// `rate` is being tried; `good` was proven, `refused` was refused in this search.
    Search { good: f64, rate: f64, refused: Option<f64>, step: f64, tried: Try },
}

/// One step of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Try {
    since: Option<Instant>,
    first: u64,
    answered: f64,
}

/// A mark in the row of requests.
#[derive(Clone, Copy, Debug)]
struct Mark {
    at: Instant,
    nth: u64,
}

/// The law of one platform's pace.
#[derive(Debug)]
pub(super) struct Pace {
    ceiling: f64,
    stage: Stage,
    latency: Latency,
    /// The last turn that was taken.
    last: Option<Instant>,
    paused_until: Option<Instant>,
    /// Requests sent so far.
    sent: u64,
    /// Pauses so far: a refusal of a request that was sent before the last pause is a part of it.
    episode: u64,
    /// Refusals that belong to the last pause; of the very first one, made at the ceiling's pace, only one counts.
    refused: f64,
    was_free: bool,
    /// Pauses without a calm between them.
    row: u32,
    window: Duration,
    /// The first request after the last pause.
    resumed: Option<Mark>,
    /// Answers until the first refusal, and the seconds that they take.
    answered: f64,
    took: f64,
    /// What was served and refused lately; whether the limit is still being found, and what the last refusal waits for.
    seen: Seen,
    settling: bool,
    fitted: Option<Fitted>,
    /// Later marks, a few windows apart: what came before them is too long ago to count.
    recent: Option<(Mark, Mark)>,
}

impl Pace {
    /// A pace below `ceiling` requests per second.
    pub(super) fn new(ceiling: f64) -> Self {
        Self {
            ceiling,
            stage: Stage::Free,
            latency: Latency::default(),
            last: None,
            paused_until: None,
            sent: 0,
            episode: 0,
            refused: 0.0,
            was_free: true,
            row: 0,
            window: WINDOW_MIN,
            resumed: None,
            answered: 0.0,
            took: START_TOOK,
            seen: Seen::default(),
            settling: false,
            fitted: None,
            recent: None,
        }
    }

    /// The ceiling changed: quiet hours began or ended.
    pub(super) fn set_ceiling(&mut self, ceiling: f64) {
        self.ceiling = ceiling;
    }

    /// Requests per second, now.
    pub(super) fn rate(&self) -> f64 {
        let rate = match self.stage {
            // The first few need no answer to go by.
            Stage::Free if self.sent < START_SENT => self.ceiling,
            Stage::Free if self.episode == 0 && self.ceiling.is_finite() => {
                self.ceiling.min((START + self.answered / START_ANSWERS) / self.took)
            }
            Stage::Free => self.ceiling,
            Stage::Hold { rate, .. } | Stage::Search { rate, .. } => rate.min(self.ceiling),
        };
        (rate * self.latency.ease()).max(self.floor())
    }

    fn floor(&self) -> f64 {
        (self.ceiling * FLOOR_PART).max(1.0 / FLOOR_SECONDS).min(self.ceiling)
    }

    /// When a request that waits at the head of the queue since `asked` may be sent.
    pub(super) fn turn(&self, asked: Instant) -> Instant {
        let distance = Duration::from_secs_f64((1.0 / self.rate()).min(3600.0));
        let after_last = self.last.map_or(asked, |last| last + distance);
        asked.max(after_last).max(self.paused_until.unwrap_or(asked))
    }

    /// A request is sent, in its turn.
    pub(super) fn on_sent(&mut self, turn: Instant) -> Ticket {
        self.last = Some(turn);
        let ticket = Ticket { at: turn, nth: self.sent, episode: self.episode };
        self.sent += 1;
        let mark = Mark { at: turn, nth: ticket.nth };
        if self.resumed.is_none()
            && let Some(fitted) = self.fitted.take()
        {
            self.stage = self.fit(fitted.most).unwrap_or(fitted.otherwise);
        }
        self.resumed.get_or_insert(mark);
        let (_, latest) = *self.recent.get_or_insert((mark, mark));
        if turn - latest.at >= self.window * (CALM / 2) {
            self.recent = Some((latest, mark));
        }
        ticket
    }

    /// A request was answered, with anything but a 429. `took` is the answer's latency, and `route` what was asked.
    pub(super) fn on_answer(&mut self, ticket: Ticket, now: Instant, route: u64, took: Duration) {
        self.latency.took(route, took, now);
        self.seen.note(ticket.at + took / 2, true);
        // While it goes slower for another reason, nothing is learned about the limit.
        if ticket.episode != self.episode || self.latency.ease() < 1.0 {
            return;
        }
        match &mut self.stage {
            Stage::Free => {
                let seconds = took.as_secs_f64().max(0.001);
                self.took += (seconds - self.took) * if self.answered < 1.0 { 1.0 } else { TOOK_WEIGHT };
                self.answered += 1.0;
            }
            Stage::Hold { rate, left, step, top } => {
                *left -= 1.0;
                let (good, step, top) = (*rate, *step, top.filter(|top| *top > *rate));
                if *left <= 0.0 && good < self.ceiling {
                    self.settling = false;
                    let next = top.map_or(good * (1.0 + step), |top| (good * top).sqrt());
                    let step = if top.is_some() { STEP } else { step };
                    self.stage = self.search(good, next.min(self.ceiling), top, step);
                }
            }
            Stage::Search { rate, tried, .. } => {
                if ticket.nth < tried.first {
                    return;
                }
                let since = *tried.since.get_or_insert(ticket.at);
                tried.answered += 1.0;
                let needed = (PROOF_WINDOWS * self.window.as_secs_f64() * *rate).max(PROOF_REQUESTS);
                if tried.answered < needed {
                    return;
                }
                if (now - since).saturating_sub(took).as_secs_f64() > PROOF_SLACK * needed / *rate + 1.0 {
                    *tried = Try { since: None, first: self.sent, answered: 0.0 };
                } else {
                    self.proven();
                }
            }
        }
    }

    /// The rate that is tried was kept without a refusal.
    fn proven(&mut self) {
        let Stage::Search { rate, refused, step, .. } = self.stage else { return };
        self.stage = match refused {
            _ if rate >= self.ceiling => Stage::Free,
            Some(refused) if refused < rate * NEAR => self.hold(rate * BELOW_PROVEN),
            Some(refused) => self.search(rate, (rate * refused).sqrt(), Some(refused), step),
            None => {
                let step = (2.0 * step).min(1.0);
                self.search(rate, (rate * (1.0 + step)).min(self.ceiling), None, step)
            }
        };
    }

    /// A request was refused (429); everything waits for `pause`, which the platform `named`, or else is ours.
    pub(super) fn on_throttled(&mut self, ticket: Ticket, now: Instant, pause: Duration, named: bool) {
        self.seen.note(ticket.at + now.saturating_duration_since(ticket.at) / 2, false);
        self.paused_until = Some(self.paused_until.map_or(now + pause, |until| until.max(now + pause)));
        if ticket.episode != self.episode {
            if self.was_free {
                return;
            }
            self.refused += 1.0;
            if let Stage::Hold { left, .. } = &mut self.stage {
                *left = left.max(REQUESTS_PER_REFUSAL * self.refused);
            }
            return;
        }
        let marked = std::mem::replace(&mut self.window, pause.clamp(WINDOW_MIN, WINDOW_MAX));
        self.refused = 1.0;
        let quiet = self.resumed.map_or(Duration::MAX, |mark| ticket.at.saturating_duration_since(mark.at));
        self.row = if quiet >= self.window * CALM { 1 } else { self.row + 1 };
        self.was_free = self.stage == Stage::Free;
        self.settling = self.was_free || (self.settling && self.row > 1 && self.row <= SETTLING);
        if !self.settling {
            self.seen.forget();
        }
        let lowered = self.lowered(ticket, pause, named, marked);
        // What names no time, or a long one, does not count in seconds.
        let most = match self.stage {
            Stage::Free => Some(f64::INFINITY),
            Stage::Hold { rate, .. } if self.settling && quiet < self.window * CALM => Some(rate * LOWER),
            Stage::Hold { .. } | Stage::Search { .. } => None,
        };
        let fitted = most.filter(|_| pause <= ROUNDED).map(|most| self.first_fit(lowered, most));
        (self.stage, self.fitted) = fitted.map_or((lowered, None), |(stage, fitted)| (stage, Some(fitted)));
        self.episode += 1;
        self.resumed = None;
        self.recent = None;
    }

    /// The stage after a refusal. The marks were set by windows of the length `marked`.
    fn lowered(&self, ticket: Ticket, pause: Duration, named: bool, marked: Duration) -> Stage {
        let since = |mark: Option<Mark>| {
            mark.map_or((Duration::ZERO, 0.0), |mark| {
                (ticket.at.saturating_duration_since(mark.at), count(ticket.nth.saturating_sub(mark.nth)))
            })
        };
        let (quiet, _) = since(self.resumed);
        let exact = named && pause > ROUNDED;
        // All since the last pause, if that is less than a window of the platform.
        let at_once = quiet <= self.window;
        let base = if at_once { self.resumed } else { self.recent.map(|(earlier, _)| earlier) };
        let (lasted, let_through) = since(base);
        let window = match (at_once, exact) {
            (true, true) => lasted + pause,
            (true, false) => lasted.max(self.window),
            (false, _) => lasted.max(marked),
        };
        let estimate = let_through / window.as_secs_f64();
        let calm = quiet >= self.window * CALM;
        // Refused at once: the pause was too short, which says little about the rate.
        let least = if let_through < 3.0 { self.rate() / 2.0 } else { 0.0 };
        // In quiet hours the rate that was found may be far above the one that is kept.
        let stage = match self.stage {
            Stage::Hold { rate, left, step, top } => Stage::Hold { rate: rate.min(self.ceiling), left, step, top },
            stage => stage,
        };
        match stage {
            // The pause was too short, whatever the rate is: somebody else uses the limit, or the platform is busy with itself.
            Stage::Hold { .. } if let_through < 1.0 => stage,
            Stage::Free => {
                let rate = (estimate.min(self.ceiling) * BELOW).max(least).max(self.floor());
                let guess = !calm && (exact || pause > lasted * 8);
                if guess && rate < self.ceiling {
                    Self::guess(rate, GUESS_WINDOWS * self.window.as_secs_f64() * rate)
                } else {
                    self.hold(rate)
                }
            }
            Stage::Hold { rate, .. } if calm => self.hold(rate * LOWER),
            // Refused in each first whole window: how far the limit is below cannot be told from that.
            Stage::Hold { rate, .. } if self.row > 2 && (self.window..self.window * 3 / 2).contains(&lasted) => {
                let good = (let_through / (lasted + pause).as_secs_f64()).max(self.floor());
                self.search(good, (good * rate).sqrt(), Some(rate), STEP)
            }
            Stage::Hold { rate, .. } => {
                let rate = (estimate * BELOW).max(least).min(rate * LOWER_SOON).max(self.floor());
                // A handful says little, and in either direction.
                if let_through < HANDFUL && lasted < self.window {
                    Self::guess(rate, PROOF_REQUESTS)
                } else {
                    self.hold(rate)
                }
            }
            Stage::Search { good, .. } if quiet < self.window * (CALM / 2) && estimate < good * 0.8 => {
                self.hold((estimate * BELOW).max(least))
            }
            Stage::Search { good, rate, .. } if rate < good * NEAR => self.hold(good * BELOW_PROVEN),
            Stage::Search { good, rate, step, .. } => self.search(good, (good * rate).sqrt(), Some(rate), step),
        }
    }

    fn hold(&self, rate: f64) -> Stage {
        let rate = rate.max(self.floor());
        let left = HOLD_WINDOWS * self.window.as_secs_f64() * rate;
        Stage::Hold { rate, left: left.max(REQUESTS_PER_REFUSAL * self.refused), step: STEP, top: None }
    }

    fn guess(rate: f64, left: f64) -> Stage {
        Stage::Hold { rate, left, step: STEP_GUESS, top: None }
    }

    fn search(&self, good: f64, rate: f64, refused: Option<f64>, step: f64) -> Stage {
        Stage::Search { good, rate, refused, step, tried: Try { since: None, first: self.sent, answered: 0.0 } }
    }
}

#[expect(clippy::cast_precision_loss, reason = "requests within some windows, far below 2^52")]
fn count(requests: u64) -> f64 {
    requests as f64
}

#[cfg(test)]
mod tests;
