//! The door through which every request comes. One is let in at a time, and only when nothing else can happen any more: no
//! task is ready, and nothing is asked of the state. So what happens next depends on the seed alone, not on SQLite's
//! threads, and a failure happens again.

use std::sync::{Arc, Mutex};

use deskferry::clock::Clock;
use deskferry::http::observe::{HttpObserver, Watch};
use deskferry::store::Store;
use deskferry::sync::ports::PortError;
use std::time::Duration;
use tokio::sync::oneshot;

use super::operations::{Moment, Side};
use super::world::{Inner, World, stop, unavailable};

/// How long a request takes.
const REQUEST_MS: i64 = 300;
/// The same while a platform throttles: the client waits and asks again.
const THROTTLED_MS: i64 = 5_000;
/// How often a client looks whether a platform is there again.
const PROBE_MS: i64 = 60_000;
/// Rounds over all tasks in which nothing happens, until nothing can happen any more.
const CALM: u32 = 8;

/// Those who wait outside.
#[derive(Default)]
pub(super) struct Door {
    waiting: Mutex<Vec<Ticket>>,
    /// Tickets given out, and requests let in.
    turns: Mutex<(u64, u64)>,
    /// Who hears of answers: the service's own ears.
    ears: Mutex<Option<[Arc<dyn HttpObserver>; 2]>>,
}

struct Ticket {
    what: (Side, &'static str, i64),
    come_in: oneshot::Sender<()>,
}

/// A request that was let in.
pub(super) struct Request {
    dies_after: bool,
}

impl World {
    /// A process begins, with ears of its own.
    pub(super) fn begin_process(&self, watch: Option<&dyn Watch>) {
        *self.door.ears.lock().unwrap() = watch.map(|watch| [watch.of("LiveDesk"), watch.of("FIRST LINE")]);
        self.door.waiting.lock().unwrap().clear();
        let mut inner = self.now();
        inner.dying = None;
        inner.failing_since = [None; 2];
        inner.refused = [None; 2];
    }

    /// Waits until nothing can happen any more but that a request is let in.
    pub(super) async fn calm(&self, store: &Store) {
        let given_out = || self.door.turns.lock().unwrap().0;
        let (mut calm, mut before) = (0, given_out());
        while calm < CALM {
            tokio::task::yield_now().await;
            let now = given_out();
            calm = if store.is_idle() && now == before { calm + 1 } else { 0 };
            before = now;
        }
    }

    /// Lets one request in; `false` when nobody waits.
    pub(super) fn let_in(&self) -> bool {
        let mut waiting = self.door.waiting.lock().unwrap();
        waiting.retain(|ticket| !ticket.come_in.is_closed());
        if waiting.is_empty() {
            return false;
        }
        waiting.sort_by_key(|ticket| ticket.what);
        let mut turns = self.door.turns.lock().unwrap();
        turns.1 += 1;
        // Any order may come, but the same one each time.
        let place = turns.1.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33;
        let place = usize::try_from(place).unwrap() % waiting.len();
        let _left_meanwhile = waiting.remove(place).come_in.send(());
        true
    }

    async fn turn(&self, what: (Side, &'static str, i64)) {
        let (come_in, turn) = oneshot::channel();
        self.door.waiting.lock().unwrap().push(Ticket { what, come_in });
        self.door.turns.lock().unwrap().0 += 1;
        if turn.await.is_err() {
            // Nobody is let in any more.
            std::future::pending::<()>().await;
        }
    }

    /// Waits for its turn; then time goes by, what was due happens, and the weather is what it is.
    pub(super) async fn enter(&self, side: Side, what: &'static str, id: i64) -> Result<Request, PortError> {
        self.turn((side, what, id)).await;
        let (dies_after, dies_before) = {
            let mut inner = self.inner.lock().unwrap();
            let throttled = inner.weather[side as usize].throttled_until > inner.now;
            self.clock.advance_ms(if throttled { THROTTLED_MS } else { REQUEST_MS });
            inner.now = self.clock.now().0;
            inner.requests += 1;
            inner.happen();
            inner.count_down()
        };
        if dies_before {
            std::future::pending::<()>().await;
        }
        loop {
            let weather = self.now().weather[side as usize];
            let left = weather.down_until - self.now().now();
            if left <= 0 {
                let refused = weather.locked_until > self.now().now();
                self.heard(side, Some(if refused { 401 } else { 200 }));
                return if refused { Err(stop()) } else { Ok(Request { dies_after }) };
            }
            self.heard(side, None);
            if !weather.patient {
                return Err(unavailable());
            }
            if self.now().token.is_cancelled() {
                return Err(PortError::Interrupted);
            }
            self.turn((side, what, id)).await;
            self.clock.advance_ms(left.min(PROBE_MS));
            drop(self.now());
        }
    }

    fn heard(&self, side: Side, status: Option<u16>) {
        let mut inner = self.now();
        let now = inner.now();
        match status {
            None => drop(inner.failing_since[side as usize].get_or_insert(now)),
            Some(status) => {
                inner.failing_since[side as usize] = None;
                inner.refused[side as usize] = Some(status == 401);
            }
        }
        if let Some(ears) = &*self.door.ears.lock().unwrap() {
            ears[side as usize].answered("/", status, Duration::from_millis(REQUEST_MS.unsigned_abs()));
        }
    }

    /// The answer is on its way; some processes do not live to see it.
    pub(super) async fn leave(&self, request: Request) {
        if request.dies_after && !matches!(self.now().dying, Some(Moment::Commits(_))) {
            std::future::pending::<()>().await;
        }
    }
}

impl Inner {
    /// Counts a request down to the one at which the process dies: after it, before it.
    fn count_down(&mut self) -> (bool, bool) {
        if let Some(left) = self.stop {
            self.stop = left.checked_sub(1);
            if left == 0 {
                self.token.cancel();
            }
        }
        match &mut self.kill {
            _ if self.dying.is_some() => (false, false),
            Some((0, moment)) => {
                self.dying = Some(*moment);
                let before = *moment == Moment::Before;
                self.kill = None;
                (!before, before)
            }
            Some((left, _)) => {
                *left -= 1;
                (false, false)
            }
            None => (false, false),
        }
    }
}
