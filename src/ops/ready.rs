//! Is the service fit for its work? Pure: facts in, reasons out; no reason means ready.
//!
//! Ready is not the same as free of alarms: a set-aside contact is for a person, not for a load balancer.

use serde_json::{Value, json};

use crate::clock::{Timestamp, millis};

use super::alerts::judge::Limits;
use super::look::Facts;
use super::{Platform, moment};

/// Why the service is not ready; stable words with what belongs to them.
pub fn reasons(facts: &Facts, limits: &Limits, now: Timestamp) -> Vec<Value> {
    let mut reasons = Vec::new();
    if let Some(why) = &facts.board.held {
        reasons.push(json!({ "reason": "held", "detail": why }));
    }
    for platform in Platform::ALL {
        let reach = facts.board.reach(platform);
        let late = |since: Timestamp| now.0 - since.0 > millis(limits.reached_within);
        match (reach.answered_at, reach.failing_since) {
            (None, _) => reasons.push(json!({ "reason": "platform_not_reached", "platform": platform.as_str() })),
            // Nothing is asked of a platform while nothing changes: silence alone is no trouble.
            (Some(answered), Some(since)) if late(since) => reasons.push(json!({
                "reason": "platform_down",
                "platform": platform.as_str(),
                "since": moment(since),
                "last_answer": moment(answered),
            })),
            _ => {}
        }
    }
    let Some(vitals) = &facts.vitals else {
        reasons.push(json!({ "reason": "state_unreadable" }));
        return reasons;
    };
    if let Some(within) = limits.sweep_within {
        match vitals.last_complete_sweep.as_ref().map(|sweep| sweep.ended_at) {
            None => reasons.push(json!({ "reason": "no_complete_sweep" })),
            Some(at) if now.0 - at.0 > millis(within) || at.unless_ahead_of(now).is_none() => {
                reasons.push(json!({ "reason": "sweep_overdue", "last_complete": moment(at) }));
            }
            Some(_) => {}
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Facts, Limits, Platform, Timestamp, reasons};
    use crate::domain::ids::RunId;
    use crate::ops::board::Board;
    use crate::store::{FinishedSweep, Vitals};

    const LIMITS: Limits = Limits {
        reached_within: Duration::from_mins(1),
        sweep_within: Some(Duration::from_mins(10)),
        dead_letters_above: 0,
        disk_low: 0,
    };

    fn swept(at: i64) -> Vitals {
        let sweep = FinishedSweep {
            sweep: 1,
            run: RunId(1),
            started_at: Timestamp(0),
            ended_at: Timestamp(at),
            verdict: String::from("proven"),
        };
        Vitals { last_complete_sweep: Some(sweep), ..Vitals::default() }
    }

    fn words(board: &Board, vitals: Option<Vitals>, now: i64) -> Vec<String> {
        let facts = Facts { board: board.snapshot(), vitals, ..Facts::default() };
        let found = reasons(&facts, &LIMITS, Timestamp(now));
        found.iter().map(|reason| reason["reason"].as_str().unwrap().to_owned()).collect()
    }

    fn reached(at: i64) -> Board {
        let board = Board::new(Timestamp(0));
        for platform in Platform::ALL {
            board.answered(platform, Timestamp(at), false);
        }
        board
    }

    #[test]
    fn it_is_ready_once_both_platforms_answered_and_a_sweep_was_complete() {
        assert_eq!(words(&Board::new(Timestamp(0)), Some(swept(0)), 1), ["platform_not_reached"; 2]);
        assert_eq!(words(&reached(5), Some(Vitals::default()), 6), ["no_complete_sweep"]);
        assert_eq!(words(&reached(5), Some(swept(5)), 6), [""; 0]);
    }

    #[test]
    fn a_platform_that_nobody_asked_is_not_down_and_one_that_fails_for_too_long_is() {
        let board = reached(0);
        assert_eq!(words(&board, Some(swept(500_000)), 500_000), [""; 0]);
        board.unanswered(Platform::FirstLine, Timestamp(500_000));
        assert_eq!(words(&board, Some(swept(500_000)), 560_000), [""; 0]);
        assert_eq!(words(&board, Some(swept(500_000)), 560_001), ["platform_down"]);
    }

    #[test]
    fn an_old_sweep_and_an_unreadable_state_are_named() {
        assert_eq!(words(&reached(0), Some(swept(0)), 600_001), ["sweep_overdue"]);
        let ahead = swept(1_000 * 3_600_000);
        assert_eq!(words(&reached(0), Some(ahead), 1), ["sweep_overdue"], "the clock was set back since");
        assert_eq!(words(&reached(0), None, 1), ["state_unreadable"]);
    }
}
