//! Gauges about the board, the state and the disk, made from the facts of one scrape.

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::clock::Timestamp;
use crate::ops::Platform;
use crate::ops::look::Facts;
use crate::ops::trigger::Kind;
use crate::store::Vitals;

use super::{KINDS, Labels, kind_label};

/// What the facts say, and nothing about what they do not know.
pub(super) fn registry(facts: &Facts) -> Registry {
    let mut gauges = Gauges { registry: Registry::with_prefix("deskferry") };
    let board = &facts.board;
    let answered =
        Platform::ALL.into_iter().filter_map(|of| Some((of.as_str(), seconds(board.reach(of).answered_at?))));
    gauges.family("platform_last_answer_timestamp_seconds", "When a platform last answered", "platform", answered);
    let running = KINDS.into_iter().map(|kind| (kind, i64::from(board.is_running(kind))));
    gauges.family("run_in_progress", "1 while a run is under way", "kind", running);
    let next = Kind::ALL.into_iter().filter_map(|kind| {
        let overdue = facts.now.and_then(|now| board.overdue(kind, now));
        Some((kind.as_str(), seconds(overdue.or_else(|| board.next.get(&kind).copied())?)))
    });
    let help = "When a run is due next; in the past: it was due and has not begun";
    gauges.family("next_activation_timestamp_seconds", help, "kind", next);
    if let (Some(now), Some(until)) = (facts.now, board.carried_until) {
        let lag = (now.0 - until.0).max(0) / 1000;
        gauges.one(
            "sync_lag_seconds",
            "Age of the oldest change of an active contact that may not be carried yet",
            lag,
        );
    }
    gauges.one("state_readable", "Whether the state could be read for this scrape", i64::from(facts.vitals.is_some()));
    if let Some(bytes) = facts.state_bytes {
        gauges.one("state_bytes", "Size of the state's files", signed(bytes));
    }
    if let Some(bytes) = facts.disk_free {
        gauges.one("disk_free_bytes", "Free space on the disk of the state", signed(bytes));
    }
    if let Some(vitals) = &facts.vitals {
        gauges.vitals(vitals);
    }
    gauges.registry
}

struct Gauges {
    registry: Registry,
}

impl Gauges {
    fn vitals(&mut self, vitals: &Vitals) {
        let ended = vitals.last_runs.iter().map(|run| (kind_label(&run.kind), seconds(run.ended_at)));
        let mut latest: Vec<(String, i64)> = Vec::new();
        for (kind, at) in ended {
            // Several kinds of an old state share the label `other`; the first is the latest.
            if !latest.iter().any(|(known, _)| *known == kind) {
                latest.push((kind.into_owned(), at));
            }
        }
        let help = "When a run of this kind last ended";
        self.family(
            "run_last_end_timestamp_seconds",
            help,
            "kind",
            latest.iter().map(|(kind, at)| (kind.as_str(), *at)),
        );
        if let Some(sweep) = &vitals.last_complete_sweep {
            let help = "When a sweep last ended complete: proven or counted";
            self.one("sweep_last_complete_timestamp_seconds", help, seconds(sweep.ended_at));
        }
        if let Some(sweep) = &vitals.last_sweep {
            self.one("sweep_unseen", "Contacts that the last sweep may have missed", signed(unseen(&sweep.verdict)));
        }
        let letters = [("waiting", vitals.dead_letters_waiting), ("poisoned", vitals.dead_letters_poisoned)];
        let letters = letters.into_iter().map(|(state, count)| (state, signed(count)));
        self.family("dead_letters", "Contacts that are set aside", "state", letters);
        self.one("conflicts", "Contacts that wait for a person's decision", signed(vitals.conflicts));
        self.one("parked", "Contacts with a create in doubt", signed(vitals.parked));
        let links =
            [("live", vitals.links_live), ("alias", vitals.links_alias), ("gone", vitals.links_gone)].into_iter();
        self.family("links", "Contacts with a record in FIRST LINE", "standing", links.map(|(of, n)| (of, signed(n))));
        self.one("absent_contacts", "Contacts that LiveDesk does not show any more", signed(vitals.absent));
    }

    fn one(&mut self, name: &str, help: &str, value: i64) {
        let gauge: Gauge = Gauge::default();
        gauge.set(value);
        self.registry.register(name, help, gauge);
    }

    fn family<'v>(
        &mut self,
        name: &str,
        help: &str,
        label: &'static str,
        values: impl Iterator<Item = (&'v str, i64)>,
    ) {
        let family: Family<Labels<1>, Gauge> = Family::default();
        for (value, number) in values {
            family.get_or_create(&[(label, value.to_owned().into())]).set(number);
        }
        self.registry.register(name, help, family);
    }
}

/// Contacts that a sweep with this verdict may have missed.
pub(in crate::ops) fn unseen(verdict: &str) -> u64 {
    verdict.strip_prefix("short by ").and_then(|missing| missing.parse().ok()).unwrap_or(0)
}

fn seconds(at: Timestamp) -> i64 {
    at.0.div_euclid(1000)
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::unseen;
    use crate::clock::Timestamp;
    use crate::domain::ids::RunId;
    use crate::domain::sweep::Verdict;
    use crate::ops::board::{Board, HeldDeletes, Running};
    use crate::ops::look::Facts;
    use crate::ops::metrics::Metrics;
    use crate::ops::trigger::Kind;
    use crate::store::{EndedRun, Vitals};

    fn scraped(facts: &Facts) -> String {
        Metrics::new().scrape(facts, None).text
    }

    #[test]
    fn the_verdict_of_a_sweep_says_how_many_it_missed() {
        assert_eq!(unseen(&Verdict::Short { missing: 17 }.to_string()), 17);
        assert_eq!((unseen(&Verdict::Proven.to_string()), unseen(&Verdict::Counted.to_string())), (0, 0));
    }

    #[test]
    fn what_could_not_be_read_is_left_out_and_said_so() {
        let text = scraped(&Facts { disk_free: Some(7), ..Facts::default() });
        assert!(
            text.contains("deskferry_state_readable 0\n") && text.contains("deskferry_disk_free_bytes 7\n"),
            "{text}"
        );
        for name in ["deskferry_dead_letters", "deskferry_links", "deskferry_state_bytes", "deskferry_sync_lag_seconds"]
        {
            assert!(!text.lines().any(|line| line.starts_with(name)), "{name}\n{text}");
        }
    }

    #[test]
    fn lags_grow_with_the_clock_and_a_missed_activation_stays_in_the_past() {
        let board = Board::new(Timestamp(0));
        board.carried_until(Some(Timestamp(30_000)));
        board.next(BTreeMap::from([(Kind::Sync, Timestamp(60_000))]), Timestamp(0));
        board.next(BTreeMap::from([(Kind::Sync, Timestamp(120_000))]), Timestamp(61_000));
        board.running(vec![Running { run: RunId(4), kind: "sweep", since: Timestamp(40_000) }]);
        board.deletes(HeldDeletes::default());
        let text = scraped(&Facts { now: Some(Timestamp(95_000)), board: board.snapshot(), ..Facts::default() });
        for line in [
            "deskferry_sync_lag_seconds 65",
            "deskferry_next_activation_timestamp_seconds{kind=\"sync\"} 60",
            "deskferry_run_in_progress{kind=\"sweep\"} 1",
            "deskferry_run_in_progress{kind=\"sync\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn the_latest_end_of_each_kind_is_shown() {
        let ended = |id, kind: &str, at| EndedRun {
            id: RunId(id),
            kind: kind.to_owned(),
            started_at: Timestamp(0),
            ended_at: Timestamp(at),
            exit_code: 0,
        };
        let last_runs = vec![ended(9, "sync", 9_000), ended(8, "old-one", 8_000), ended(7, "older-one", 7_000)];
        let vitals = Vitals { last_runs, ..Vitals::default() };
        let text = scraped(&Facts { vitals: Some(vitals), ..Facts::default() });
        assert!(text.contains("deskferry_run_last_end_timestamp_seconds{kind=\"sync\"} 9\n"), "{text}");
        assert!(text.contains("deskferry_run_last_end_timestamp_seconds{kind=\"other\"} 8\n"), "{text}");
    }
}
