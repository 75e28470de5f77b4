//! Promise 5, and 1 beside it: the real program, killed again and again at random points while answers are lost, and
//! started again until it is done. Nothing is lost, doubled or wrong.
//!
//! `DESKFERRY_KILL_RUNS` says how many such runs (`just kill-200`), `DESKFERRY_KILL_FIRST` the number of the first (1).
//! Run N is the same plan every time; a failure names its N.

use std::time::Duration;

use deskferry::sandbox::faults::{Fault, FaultFilter, FaultSettings};
use deskferry::sandbox::firstline::FirstLineSwitches;
use deskferry::sandbox::{Sandbox, SandboxConfig};
use futures::stream::{self, StreamExt};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::time::timeout;

use crate::world::process::Ended;
use crate::world::{Choices, World};

/// Runs when nothing else is asked for.
const RUNS: u64 = 6;
/// Runs at a time: most of a run is waiting for a doubt horizon.
const AT_ONCE: usize = 3;
/// Contacts of one run.
const CONTACTS: u32 = 300;
/// Starts that are let run to their end, after the last kill, until the run counts as one that never ends.
const RESTARTS: u32 = 5;

/// When a process is killed.
#[derive(Clone, Copy, Debug)]
enum Point {
    /// So long after its start.
    Time(Duration),
    /// After so many requests to FIRST LINE since its start.
    Requests(u64),
    /// After so many contact creates since its start.
    Creates(u64),
}

/// Everything that is drawn for one run.
struct Course {
    config: SandboxConfig,
    choices: Choices,
    kills: Vec<Point>,
}

fn course(seed: u64) -> Course {
    let mut rng = StdRng::seed_from_u64(seed);
    let firstline_faults = FaultSettings {
        latency_ms: pick(&mut rng, &[0, 1, 4]),
        lost_ack_rate: 0.05,
        reset_after_rate: 0.02,
        error_rate: 0.02,
        reset_rate: 0.01,
        truncated_rate: 0.005,
        late_rate: pick(&mut rng, &[0.0, 0.02]),
        late_ms: 150,
        late_hold_ms: 10,
        ..FaultSettings::default()
    };
    let livedesk_faults =
        FaultSettings { lost_ack_rate: 0.02, reset_rate: 0.01, error_rate: 0.02, ..FaultSettings::default() };
    let firstline = FirstLineSwitches {
        list_omits_cz_cols: rng.random_bool(0.3),
        list_omits_children: rng.random_bool(0.2),
        search_lag_ms: pick(&mut rng, &[0, 0, 100]),
        id_gap: pick(&mut rng, &[0, 0, 5]),
        ..FirstLineSwitches::default()
    };
    let stamp = pick(
        &mut rng,
        &[r#"{ membership_no = "LD-" }"#, "{ cz_col = 31 }", r#"{ membership_no = "LD-", cz_col = 31 }"#],
    );
    let concurrency = pick(&mut rng, &[1, 4, 8, 16]);
    let kills = (0..rng.random_range(2..=6)).map(|_| point(&mut rng)).collect();
    Course {
        config: SandboxConfig {
            seed,
            contacts: CONTACTS,
            firstline,
            livedesk_faults,
            firstline_faults,
            ..SandboxConfig::default()
        },
        choices: Choices {
            stamp,
            settle: "20ms",
            // Longer than any write is late.
            doubt_horizon: "500ms",
            instead: vec![("concurrency = 8", format!("concurrency = {concurrency}"))],
            ..Choices::default()
        },
        kills,
    }
}

fn point(rng: &mut StdRng) -> Point {
    match rng.random_range(0..3) {
        0 => Point::Time(Duration::from_millis(rng.random_range(5..900))),
        1 => Point::Requests(rng.random_range(1..400)),
        _ => Point::Creates(rng.random_range(1..120)),
    }
}

fn pick<T: Copy>(rng: &mut StdRng, items: &[T]) -> T {
    items[rng.random_range(0..items.len())]
}

/// What one run came to.
#[derive(Default)]
struct Tally {
    kills: u32,
    starts: u32,
    lost_answers: u64,
    recreated: u64,
}

/// One run from its first start to its last comparison. Everything that goes wrong panics with its seed.
async fn run(seed: u64) -> Tally {
    let course = course(seed);
    let mut world = World::start(course.config).await;
    world.choices = course.choices;
    let mut tally = Tally::default();
    let mut ended = None;
    for point in &course.kills {
        tally.starts += 1;
        let mut process = world.spawn(&["--json", "backfill"]);
        let (requests, creates) = (requests(&world.sandbox), creates(&world.sandbox));
        let reached = match *point {
            Point::Time(time) => process.run_for(time).await,
            Point::Requests(count) => process.until(|| self::requests(&world.sandbox) >= requests + count).await,
            Point::Creates(count) => process.until(|| self::creates(&world.sandbox) >= creates + count).await,
        };
        if reached {
            tally.kills += 1;
            process.kill().await;
        } else {
            let end = process.end().await;
            tally.recreated += end.json()["recreated"].as_u64().unwrap();
            ended = Some(end).filter(|end| is_done(seed, end));
        }
    }
    while ended.is_none() {
        assert!(tally.kills + RESTARTS >= tally.starts, "run {seed} is not done after {} starts", tally.starts);
        tally.starts += 1;
        let end = world.command(&["--json", "backfill"]).await;
        tally.recreated += end.json()["recreated"].as_u64().unwrap();
        ended = Some(end).filter(|end| is_done(seed, end));
    }
    let faults = world.sandbox.firstline_faults().counts();
    tally.lost_answers = ["lost_ack", "reset_after", "truncated", "late"]
        .iter()
        .filter_map(|kind| faults["by_fault"][*kind].as_u64())
        .sum();
    judge(seed, &world, &ended.unwrap()).await;
    tally
}

fn requests(sandbox: &Sandbox) -> u64 {
    sandbox.firstline_faults().requests()
}

fn creates(sandbox: &Sandbox) -> u64 {
    sandbox.firstline().tally().contact_create
}

/// Done is 0, or 1 for nothing but contacts that FIRST LINE or the mapping refuses.
fn is_done(seed: u64, end: &Ended) -> bool {
    match end.code() {
        Some(0) => true,
        Some(1) => {
            let counts = end.json();
            assert_eq!(counts["conflicts"], 0, "run {seed}: {end:?}");
            counts["parked"] == 0
        }
        _ => panic!("run {seed}: {end:?}"),
    }
}

/// 0 lost, 0 duplicated, 0 wrong, a sound state that agrees, and nothing left to do.
async fn judge(seed: u64, world: &World, last: &Ended) {
    // What is still to be applied late counts too. (Reads can be late as well, so there may be something.)
    let faults = world.sandbox.firstline_faults();
    let settled = async {
        while !faults.is_settled() {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(5), settled).await.unwrap();
    let found = world.compare().await;
    assert!(found.is_right() && found.strangers.is_empty(), "run {seed}: {found:?}");
    let store = world.store().await;
    let report = store.check().await.unwrap();
    assert_eq!(report.problems(), [""; 0], "run {seed}");
    assert_eq!(report.open_intents + report.parked_intents, 0, "run {seed}");
    let set_aside: Vec<_> = store.dead_letters().await.unwrap().iter().map(|letter| letter.livedesk_id).collect();
    assert!(report.unsettled_links <= set_aside.len() as u64, "run {seed}: {report:?}");
    let links = store.link_count().await.unwrap();
    assert_eq!(links, world.sandbox.firstline().len() as u64, "run {seed}: every record is linked");
    let left_over = last.json()["set_aside"].as_u64().unwrap();
    assert!(
        left_over >= set_aside.len() as u64,
        "run {seed}: {left_over} named, {} there: {set_aside:?}",
        set_aside.len()
    );
    store.close().await;
    world.sandbox.firstline_faults().clear();
    world.sandbox.livedesk_faults().clear();
    world.sandbox.firstline().reset_counts();
    let end = world.backfill().await;
    let counts = world.sandbox.firstline().tally();
    assert_eq!(counts.writes(), 0, "run {seed}: a run with nothing to do wrote: {counts:?} {:?}", end.summary);
}

fn runs() -> u64 {
    std::env::var("DESKFERRY_KILL_RUNS").map_or(RUNS, |runs| runs.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_that_is_killed_at_random_points_and_restarted_loses_doubles_and_mistakes_nothing() {
    let first: u64 = std::env::var("DESKFERRY_KILL_FIRST").map_or(1, |seed| seed.parse().unwrap());
    let mut all = Tally::default();
    let mut results = stream::iter(first..first + runs()).map(run).buffer_unordered(AT_ONCE);
    let mut done = 0;
    while let Some(tally) = results.next().await {
        done += 1;
        all.kills += tally.kills;
        all.starts += tally.starts;
        all.lost_answers += tally.lost_answers;
        all.recreated += tally.recreated;
        if done % 20 == 0 {
            eprintln!("{done} runs: {} kills", all.kills);
        }
    }
    eprintln!(
        "{done} runs of {CONTACTS} contacts: {} starts, {} killed, {} answers lost, {} creates proven absent and \
         repeated; 0 lost, 0 duplicated, 0 wrong",
        all.starts, all.kills, all.lost_answers, all.recreated
    );
    assert!(all.kills > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trial_of_a_partial_update_that_is_killed_costs_nobody_a_field() {
    for kill in [true, false] {
        let firstline = FirstLineSwitches { update_replaces: true, ..FirstLineSwitches::default() };
        let world =
            World::start(SandboxConfig { contacts: 12, edge_cases: false, firstline, ..SandboxConfig::default() })
                .await;
        world.backfill().await;
        let tenant = world.sandbox.firstline();
        let record = tenant.contacts()[0].id;
        assert!(tenant.edit(record, "identity_no", "an agent wrote this".into()));
        let stamp = tenant.contact(record).unwrap().membership_no.clone().unwrap();
        let contact = stamp.strip_prefix("LD-").unwrap().parse().unwrap();
        assert!(world.sandbox.livedesk().edit(contact, |contact| {
            contact.insert("identifier".into(), "renumbered".into());
        }));
        // The update is applied; its answer keeps the client waiting.
        let faults = world.sandbox.firstline_faults();
        faults.change(|settings| settings.slow_ms = 60_000);
        faults.next(Fault::Slow, u64::from(kill), FaultFilter::on("POST", "/contact/*"));
        let mut process = world.spawn(&["backfill"]);
        assert_eq!(process.until(|| kill && tenant.tally().contact_update > 0).await, kill);
        if kill {
            process.kill().await;
            assert_eq!(tenant.contact(record).unwrap().identity_no, None, "the trial did what it is feared for");
        }
        let end = world.command(&["backfill"]).await;
        assert_eq!(end.code(), Some(0), "{end:?}");
        assert_eq!(tenant.contact(record).unwrap().identity_no.as_deref(), Some("an agent wrote this"), "{end:?}");
        world.assert_right().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fills_up_stops_the_run_and_the_next_one_goes_on_where_the_data_is() {
    let mut world = World::with(300).await;
    let Some(disk) = SmallDisk::mount(&world, "2m") else { return };
    world
        .choices
        .instead
        .push(("[livedesk]", format!("[state]\npath = \"{}\"\n[livedesk]", disk.0.join("deskferry.db").display())));
    let mut process = world.spawn(&["--json", "backfill"]);
    assert!(process.until(|| creates(&world.sandbox) >= 60).await, "{:?}", process.stderr());
    disk.fill();
    let end = process.end().await;
    assert_eq!(end.code(), Some(2), "{end:?}");
    assert!(end.says("full"), "{end:?}");
    let end = world.command(&["--json", "backfill"]).await;
    assert_eq!(end.code(), Some(2), "still full: {end:?}");
    assert!(end.says("full"), "{end:?}");
    disk.empty();
    let end = world.command(&["--json", "state", "check"]).await;
    assert_eq!(end.json()["problems"], Value::Array(Vec::new()), "{end:?}");
    let end = world.command(&["--json", "backfill"]).await;
    assert!(matches!(end.code(), Some(0 | 1)), "{end:?}");
    assert_eq!(end.json()["parked"], 0);
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_folder_that_turned_read_only_is_named_and_nothing_is_written() {
    let mut world = World::with(60).await;
    let Some(disk) = SmallDisk::mount(&world, "8m") else { return };
    world
        .choices
        .instead
        .push(("[livedesk]", format!("[state]\npath = \"{}\"\n[livedesk]", disk.0.join("deskferry.db").display())));
    let end = world.command(&["backfill", "--limit", "20"]).await;
    assert!(matches!(end.code(), Some(0 | 1)), "{end:?}");
    world.sandbox.firstline().reset_counts();
    assert!(disk.remount("ro"));
    let end = world.command(&["backfill"]).await;
    assert_eq!(end.code(), Some(2), "{end:?}");
    assert!(end.err.contains("deskferry.db") && end.err.to_lowercase().contains("read-only"), "{end:?}");
    assert_eq!(world.sandbox.firstline().tally().writes(), 0);
    assert!(disk.remount("rw"));
    let end = world.command(&["backfill"]).await;
    assert!(matches!(end.code(), Some(0 | 1)), "{end:?}");
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_the_state_for_which_there_is_no_room_is_refused_and_leaves_nothing() {
    let world = World::with(60).await;
    let Some(disk) = SmallDisk::mount(&world, "1m") else { return };
    world.backfill().await;
    disk.fill();
    let (copy, export) = (disk.0.join("copy.db"), disk.0.join("export"));
    let commands =
        [vec!["state", "backup", copy.to_str().unwrap()], vec!["state", "export", "-o", export.to_str().unwrap()]];
    for command in &commands {
        let end = world.command(command).await;
        assert_eq!(end.code(), Some(2), "{end:?}");
        assert!(end.says("full") || end.says("No space left"), "{end:?}");
        let left: Vec<_> = std::fs::read_dir(&disk.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["ballast"], "{command:?}");
    }
    disk.empty();
    for command in &commands {
        assert_eq!(world.command(command).await.code(), Some(0), "{command:?}");
    }
}

/// A disk of its own for the state: a small tmpfs, where the test may mount one.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(world: &World, size: &str) -> Option<Self> {
        let folder = world.folder().join("disk");
        std::fs::create_dir(&folder).unwrap();
        let size = format!("size={size}");
        let mounted = command("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", folder.to_str().unwrap()]);
        if !mounted {
            eprintln!("skipped: this user may not mount a tmpfs, so no disk can be filled here");
            return None;
        }
        Some(Self(folder))
    }

    /// Leaves no byte free.
    fn fill(&self) {
        use std::io::Write;
        let mut ballast = std::fs::File::create(self.0.join("ballast")).unwrap();
        let mut size = 1 << 20;
        while size > 0 {
            if ballast.write_all(&vec![0; size]).is_err() {
                size /= 2;
            }
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
        assert!(self.remount("size=64m"));
    }

    fn remount(&self, how: &str) -> bool {
        command("mount", &["-o", &format!("remount,{how}"), self.0.to_str().unwrap()])
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        command("umount", &["-l", self.0.to_str().unwrap()]);
    }
}

fn command(program: &str, args: &[&str]) -> bool {
    let output = std::process::Command::new(program).args(args).output();
    output.is_ok_and(|output| output.status.success())
}
