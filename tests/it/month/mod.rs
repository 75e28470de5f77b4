//! A month in one test: the service itself, with its loop turned by hand; both platforms behind the ports in process, a real
//! state, time as a parameter, the cron crate bypassed, a kill is drop and reopen. Thousands of drawn operations on both
//! sides, after which both sides agree by every owner's rule.
//!
//! What is a failure: a second record or row for one contact, at any moment (`judge`); a write that an owner's rule does not
//! allow, when it arrives; a deletion or a mark that is not proven, or one that is missing at the end (`absent`); a record that
//! disagrees after a sweep that saw its contact and began after the last change; a run that fails although nothing was wrong
//! outside; an alarm that is missing or false (`alarms`); a month that does not come to rest. What is none: contacts in the
//! care of somebody (hidden, blocked, rejected, refused, their record removed by agents), doubts younger than their horizon.
//!
//! Requests are let in one by one, when nothing else can happen (`door`), so a seed is the same month each time. A failure
//! names its seed and prints the shrunk operations, which are kept in `regressions.rs`.
//!
//! `DESKFERRY_MONTH_SEEDS` (how many months), `DESKFERRY_MONTH_FIRST` (the first seed), `DESKFERRY_MONTH_OPERATIONS` (per
//! month), `DESKFERRY_MONTH_SHRINK` (runs spent on shrinking), `DESKFERRY_MONTH_WATCH` (the id of a contact whose whole story
//! is printed).

mod absent;
mod alarms;
mod desk;
mod door;
mod driver;
mod events;
mod judge;
mod line;
mod operations;
mod process;
mod regressions;
mod shrink;
mod world;

use driver::{Plan, Report, simulate};
use world::{Lane, Switches};

/// Months when nothing else is asked for, and the first of them: one marks what is gone, one deletes it.
const SEEDS: u64 = 2;
const FIRST: u64 = 9;
/// Operations of one.
const OPERATIONS: usize = 2_000;

/// The contact that is watched.
static WATCHED: std::sync::LazyLock<Option<i64>> =
    std::sync::LazyLock::new(|| std::env::var("DESKFERRY_MONTH_WATCH").ok()?.parse().ok());

fn asked(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

fn month(seed: u64, operations: usize) -> Report {
    let switches = Switches::draw(seed);
    let plan = Plan { seed, switches, days: operations::DAYS, operations: operations::draw(seed, operations) };
    let failure = match simulate(&plan) {
        Ok(report) => return report,
        Err(failure) => failure,
    };
    eprintln!("seed {seed} fails, and is being shrunk: {failure}");
    let tries = usize::try_from(asked("DESKFERRY_MONTH_SHRINK", 10)).unwrap();
    let kind = shrink::kind(&failure);
    let fails = |list: &[operations::Operation]| {
        let failure = simulate(&Plan { operations: list.to_vec(), ..plan.clone() }).err();
        failure.filter(|failure| shrink::kind(failure) == kind)
    };
    // What was still to come has nothing to do with it.
    let minute = failure.split("at minute ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<i64>().ok());
    let before = |operation: &&operations::Operation| minute.is_none_or(|minute| operation.at <= (minute + 10) * 60);
    let list = plan.operations.iter().filter(before).copied().collect();
    let (short, failure) = shrink::shrink(list, failure, tries, fails);
    panic!("seed {seed}, {switches:?}\n{}\n{failure}", shrink::print(&short));
}

/// A report in one paragraph.
fn told(report: &Report) -> String {
    let Report { contacts, customers, syncs, between, sweeps, proven, failed, refused, kills, .. } = report;
    let Report { processes, disk_full, deleted, requests, looks, raised, cleared, tally, .. } = report;
    format!(
        "{contacts} contacts, {customers} customers; {syncs} syncs ({between} of them within sweeps), {sweeps} sweeps \
         ({proven} proven), {failed} cut off or failed, {refused} refused; {kills} kills, {processes} starts, {disk_full} \
         on a full disk; {deleted} customers deleted; {requests} requests; {looks} looks at alarms, raised {raised:?}, \
         cleared {cleared:?}; {tally:?}"
    )
}

/// Median and longest latency of a lane, in minutes.
fn latency(reports: &[Report], lane: Lane) -> (usize, i64, i64) {
    let all = reports.iter().flat_map(|report| &report.latencies);
    let mut minutes: Vec<i64> = all.filter(|(of, _)| *of == lane).map(|(_, ms)| ms / 60_000).collect();
    minutes.sort_unstable();
    let median = minutes.get(minutes.len() / 2).copied().unwrap_or_default();
    (minutes.len(), median, minutes.last().copied().unwrap_or_default())
}

#[test]
fn after_a_month_of_work_faults_and_kills_both_sides_agree_by_every_owners_rule() {
    let first = asked("DESKFERRY_MONTH_FIRST", FIRST);
    let operations = usize::try_from(asked("DESKFERRY_MONTH_OPERATIONS", OPERATIONS as u64)).unwrap();
    let mut reports = Vec::new();
    for seed in first..first + asked("DESKFERRY_MONTH_SEEDS", SEEDS) {
        let began = std::time::Instant::now();
        let report = month(seed, operations);
        eprintln!("month {seed} in {} s: {}", began.elapsed().as_secs(), told(&report));
        reports.push(report);
    }
    for lane in [Lane::Sync, Lane::Sweep] {
        let (count, median, longest) = latency(&reports, lane);
        eprintln!(
            "{count} changes owed by the next {lane:?} arrived after {median} minutes (median), {longest} at most"
        );
        assert!(count > 0);
    }
    for report in &reports {
        let full = report.tally.contains_key("disk full");
        assert!(report.kills > 0 && report.between > 0 && report.proven > 1 && (!full || report.disk_full > 0));
        assert!(report.raised.values().sum::<u32>() > 0 && report.cleared.values().sum::<u32>() > 0);
    }
}
