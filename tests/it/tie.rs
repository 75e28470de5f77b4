//! No contact missed in silence (design, promise 2), over HTTP with the real adapter.
//!
//! The sweep alone first (no target): quiet accounts whose ties come out anyhow, then accounts that change between any
//! two pages. Larger runs of the same code: `DESKFERRY_TIE_CONTACTS=20000`, `DESKFERRY_DRIFT_SEEDS=200`,
//! `DESKFERRY_DRIFT_CONTACTS=2000`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use deskferry::clock::SystemClock;
use deskferry::domain::ids::LiveDeskId;
use deskferry::domain::sweep::{SweepReport, Verdict};
use deskferry::http::observe::Silent;
use deskferry::http::retry::RetryPolicy;
use deskferry::http::{HttpClient, HttpSettings, Secret};
use deskferry::livedesk::api::LiveDeskSettings;
use deskferry::livedesk::source::LiveDesk;
use deskferry::sandbox::drift::DriftSwitches;
use deskferry::sandbox::faults::{FaultSettings, RetryAfter};
use deskferry::sandbox::livedesk::{DirectionStyle, LiveDeskSwitches, Spelling, Ties};
use deskferry::sandbox::{Sandbox, SandboxConfig};
use deskferry::sync::engine::RunError;
use deskferry::sync::pipeline::{Entrants, RunEnd};
use deskferry::sync::scan::{Goal, ScanError, Sweep, SweepPlan, SweepStep};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// A number from the environment, for larger runs of the same code.
fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().expect("a number"))
}

fn say(what: &str) {
    eprintln!("{what}");
}

/// How the client asks.
#[derive(Clone, Copy, Debug)]
struct Asking {
    concurrency: usize,
    page_size: Option<u32>,
}

const ONE_BY_ONE: Asking = Asking { concurrency: 1, page_size: None };
const AHEAD: Asking = Asking { concurrency: 8, page_size: None };

/// The real adapter in front of the sandbox, without pauses worth waiting for.
fn source(sandbox: &Sandbox, asking: Asking) -> Arc<LiveDesk> {
    let http = HttpSettings {
        requests_per_second: 0.0,
        concurrency: asking.concurrency,
        timeout: Duration::from_secs(5),
        throttle_wait: Duration::from_millis(1),
        max_wait: Duration::from_millis(5),
        retry: RetryPolicy::new(Duration::from_millis(1), Duration::from_millis(5), 5).unwrap(),
        jitter_seed: Some(1),
        ..HttpSettings::new("LiveDesk", sandbox.livedesk_url().parse().unwrap())
    };
    let client = HttpClient::new(&http, Arc::new(SystemClock), Arc::new(Silent), CancellationToken::new()).unwrap();
    let settings = LiveDeskSettings {
        api_key: Secret::new("sandbox-key"),
        api_secret: Secret::new("sandbox-secret"),
        include_contact_inboxes: false,
        page_size: asking.page_size,
    };
    Arc::new(LiveDesk::new(client, &settings).unwrap())
}

/// A whole sweep: what it handed out, and what it says of itself.
struct Walk {
    seen: BTreeSet<u64>,
    report: SweepReport,
}

/// Walks a sweep; `between` is called after every page with its number.
async fn walk(sandbox: &Sandbox, asking: Asking, mut between: impl FnMut(u64)) -> Result<Walk, ScanError> {
    let mut sweep = Sweep::start(source(sandbox, asking), SweepPlan::new(Goal::Proven), None).await?;
    let mut seen = BTreeSet::new();
    let mut pages = 0;
    loop {
        match sweep.next().await? {
            SweepStep::Page(page) => {
                let unreadable = page.malformed.iter().filter_map(|row| row.id);
                for id in page.fresh.iter().map(|contact| contact.id).chain(unreadable) {
                    assert!(seen.insert(id.0.unsigned_abs()), "{id} was handed out twice");
                }
                pages += 1;
                between(pages);
            }
            SweepStep::Finished(report) => return Ok(Walk { seen, report }),
        }
    }
}

fn passes(report: &SweepReport) -> String {
    let passes = report.passes.iter().map(|pass| format!("{} +{}", pass.order, pass.added));
    format!("{} after {} passes ({})", report.verdict, report.passes.len(), passes.collect::<Vec<_>>().join(", "))
}

// ---- quiet accounts ------------------------------------------------------------------------------------------------

fn tie_contacts() -> u32 {
    u32::try_from(number("DESKFERRY_TIE_CONTACTS", 4_000)).unwrap()
}

fn quiet(ties: Ties, contacts: u32) -> SandboxConfig {
    SandboxConfig {
        contacts,
        livedesk: LiveDeskSwitches { ties, ..LiveDeskSwitches::default() },
        ..SandboxConfig::default()
    }
}

/// A single pass loses contacts, the sweep none.
async fn assert_sweep_makes_good(what: &str, sandbox: &Sandbox, asking: Asking) -> usize {
    let listed: BTreeSet<u64> = sandbox.livedesk().listed_ids().into_iter().collect();
    let walk = walk(sandbox, asking, |_| {}).await.unwrap();
    let report = &walk.report;
    let lost = listed.len() as u64 - report.passes[0].added;
    say(&format!("{what}: {} listed, a single pass lost {lost}; {}", listed.len(), passes(report)));
    assert!(lost > 0, "{what}: a single pass lost nothing, so this shows nothing");
    assert_eq!(report.verdict, Verdict::Proven, "{what}: {report:?}");
    assert_eq!(report.distinct, listed.len() as u64);
    assert_eq!(walk.seen, listed);
    report.passes.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_loses_nobody_where_a_single_pass_loses_whole_families() {
    for ties in [Ties::Kept, Ties::Anew] {
        let sandbox = Sandbox::start(quiet(ties, tie_contacts())).await.unwrap();
        // Rows alternate between singles and batches of 1,000; with an even number of thousands a batch is newest.
        let newest = sandbox.livedesk().contacts().filter_map(|contact| contact["created_at"].as_i64()).max();
        let batch = sandbox.livedesk().contacts().filter(|contact| contact["created_at"].as_i64() == newest).count();
        assert!(batch >= 1_000, "an import batch lies at the very head: {batch}");
        assert_sweep_makes_good(&format!("{ties:?}, one by one"), &sandbox, ONE_BY_ONE).await;
        assert_sweep_makes_good(&format!("{ties:?}, read ahead"), &sandbox, AHEAD).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_loses_nobody_when_all_contacts_were_made_in_one_instant() {
    for ties in [Ties::Kept, Ties::Anew] {
        let sandbox = Sandbox::start(quiet(ties, tie_contacts() / 2)).await.unwrap();
        for id in sandbox.livedesk().listed_ids() {
            sandbox.livedesk().edit(id, |contact| drop(contact.insert("created_at".into(), 1_700_000_000.into())));
        }
        assert_sweep_makes_good(&format!("{ties:?}, one instant"), &sandbox, AHEAD).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_loses_nobody_when_no_contact_has_an_email_or_a_phone() {
    for ties in [Ties::Kept, Ties::Anew] {
        let config = SandboxConfig { without_children: true, ..quiet(ties, tie_contacts() / 2) };
        let sandbox = Sandbox::start(config).await.unwrap();
        assert_sweep_makes_good(&format!("{ties:?}, no children"), &sandbox, AHEAD).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contacts_that_differ_in_nothing_are_found_or_named_as_missing() {
    for ties in [Ties::Kept, Ties::Anew] {
        let sandbox = Sandbox::start(SandboxConfig { edge_cases: false, ..quiet(ties, 600) }).await.unwrap();
        for id in sandbox.livedesk().listed_ids() {
            sandbox.livedesk().edit(id, |contact| {
                contact.remove("last_activity_at");
                contact.extend(object(&json!({
                    "created_at": 1_700_000_000, "name": "訪客", "email": null, "phone_number": null,
                    "identifier": format!("u{id}"),
                })));
            });
        }
        let listed: BTreeSet<u64> = sandbox.livedesk().listed_ids().into_iter().collect();
        let walk = walk(&sandbox, ONE_BY_ONE, |_| {}).await.unwrap();
        say(&format!("{ties:?}, all alike: {} of {}; {}", walk.seen.len(), listed.len(), passes(&walk.report)));
        let missing = (listed.len() - walk.seen.len()) as u64;
        match walk.report.verdict {
            Verdict::Proven => assert_eq!(missing, 0),
            Verdict::Short { missing: said } => assert_eq!(missing, said),
            Verdict::Counted => panic!("not asked for"),
        }
    }
}

fn object(value: &serde_json::Value) -> serde_json::Map<String, serde_json::Value> {
    value.as_object().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_account_with_stable_ties_is_proven_by_two_passes() {
    for contacts in [0, 1, 15, 2_000, 4_000] {
        let sandbox = Sandbox::start(quiet(Ties::Stable, contacts)).await.unwrap();
        let walk = walk(&sandbox, AHEAD, |_| {}).await.unwrap();
        assert_eq!(walk.report.verdict, Verdict::Proven);
        assert_eq!(walk.report.passes.len(), 2, "{contacts} contacts: {}", passes(&walk.report));
        assert_eq!(walk.seen.len(), sandbox.livedesk().listed_ids().len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_count_that_is_wrong_never_proves_what_is_not() {
    let (mut proven, mut all) = (0, 0);
    for seed in 0..number("DESKFERRY_COUNT_SEEDS", 8) {
        for (ties, count_offset) in [
            (Ties::Kept, -1),
            (Ties::Anew, -1),
            (Ties::Anew, -3),
            (Ties::Anew, 2),
            (Ties::Stable, -2),
            (Ties::Stable, 2),
        ] {
            let mut config = SandboxConfig { seed, ..quiet(ties, 120) };
            config.livedesk.count_offset = count_offset;
            let sandbox = Sandbox::start(config).await.unwrap();
            for id in sandbox.livedesk().listed_ids() {
                sandbox.livedesk().edit(id, |contact| drop(contact.insert("created_at".into(), 1_700_000_000.into())));
            }
            let listed: BTreeSet<u64> = sandbox.livedesk().listed_ids().into_iter().collect();
            let walk = walk(&sandbox, ONE_BY_ONE, |_| {}).await.unwrap();
            let what = format!("seed {seed}, {ties:?}, count {count_offset:+}: {}", passes(&walk.report));
            all += 1;
            match (walk.report.verdict, count_offset) {
                (Verdict::Proven, ..=0) => {
                    proven += 1;
                    assert_eq!(walk.seen, listed, "{what}");
                }
                (Verdict::Short { missing }, _) => {
                    assert!(missing > 0, "{what}");
                    assert!(
                        ties != Ties::Stable || count_offset > 0,
                        "without losses two clean passes suffice: {what}"
                    );
                }
                _ => panic!("more than the list can show is never reached: {what}"),
            }
        }
    }
    say(&format!("wrong counts: {proven} of {all} proven"));
}

// ---- accounts that change ------------------------------------------------------------------------------------------

/// Small draws from a seed (splitmix64).
fn draw(seed: u64, what: u64) -> u64 {
    let mut z = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(what.wrapping_mul(0xD1B5_4A32_D192_ED03));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn pick<T: Copy>(seed: u64, what: u64, choices: &[T]) -> T {
    choices[usize::try_from(draw(seed, what) % choices.len() as u64).unwrap()]
}

/// One hostile world per seed.
fn drifting(seed: u64, every: u64) -> (SandboxConfig, Asking) {
    let sized = pick(seed, 1, &[None, None, Some(50), Some(100)]);
    let contacts = number("DESKFERRY_DRIFT_CONTACTS", 240) * if sized.is_some() { 2 } else { 1 };
    let livedesk = LiveDeskSwitches {
        ties: pick(seed, 2, &[Ties::Stable, Ties::Kept, Ties::Anew]),
        direction: pick(seed, 3, &[DirectionStyle::Both, DirectionStyle::Minus, DirectionStyle::Parameter]),
        ids: pick(seed, 4, &[Spelling::Number, Spelling::Text, Spelling::Mixed]),
        honour_page_size: sized.is_some(),
        presence_flips: draw(seed, 5).is_multiple_of(2),
        count_offset: pick(seed, 6, &[0, 0, 0, 0, 0, -2, 2]),
        drift: DriftSwitches {
            every,
            limit: pick(seed, 7, &[0, 0, 30]),
            swap: pick(seed, 8, &[1, 6]),
            delete: pick(seed, 9, &[1, 6]),
            ..DriftSwitches::default()
        },
        ..LiveDeskSwitches::default()
    };
    let faults = FaultSettings {
        error_rate: 0.01,
        reset_rate: 0.01,
        truncated_rate: 0.01,
        cut_off_rate: 0.01,
        html_rate: 0.01,
        empty_rate: 0.01,
        throttle_rate: 0.01,
        retry_after: RetryAfter::None,
        ..FaultSettings::default()
    };
    let config = SandboxConfig {
        seed,
        contacts: u32::try_from(contacts).unwrap(),
        livedesk,
        livedesk_faults: if draw(seed, 10).is_multiple_of(2) { faults } else { FaultSettings::default() },
        ..SandboxConfig::default()
    };
    (config, Asking { concurrency: pick(seed, 11, &[1, 8]), page_size: sized })
}

/// Walks worlds and answers how many were proven. *Proven* must be true; *short* must be above nothing.
async fn proven_of(every: u64, seeds: std::ops::Range<u64>, visitors: bool) -> (usize, usize, usize) {
    let (mut proven, mut all, mut walked) = (0, 0, 0);
    for seed in seeds {
        let (config, asking) = drifting(seed, every);
        let what = format!("seed {seed}, {asking:?}, {:?}", config.livedesk);
        let sandbox = Sandbox::start(config).await.unwrap();
        let desk = sandbox.livedesk().clone();
        // Visitors: contacts that exist, are not listed, and say who they are while the sweep goes on.
        let mut hidden = Vec::new();
        for id in desk.listed_ids().into_iter().filter(|id| visitors && draw(seed, *id).is_multiple_of(12)) {
            hidden.push((id, desk.contact(id).unwrap()["identifier"].clone()));
            desk.edit(id, |contact| {
                contact.extend(object(&json!({ "email": null, "phone_number": null, "identifier": null })));
            });
        }
        let listed = desk.listed_ids();
        let walk = walk(&sandbox, asking, |page| {
            if page % (every + draw(seed, 12) % 7) == 0
                && let Some((id, _)) = hidden.pop()
            {
                desk.edit(id, |contact| drop(contact.insert("identifier".into(), format!("v{id}").into())));
            }
        })
        .await
        .unwrap_or_else(|error| panic!("{what}: {error:?}"));
        let missed: Vec<u64> = desk.survivors(&listed).into_iter().filter(|id| !walk.seen.contains(id)).collect();
        all += 1;
        walked += walk.report.passes.len();
        match walk.report.verdict {
            Verdict::Proven => {
                proven += 1;
                assert!(missed.is_empty(), "{what}: proven, but {missed:?} were missed; {}", passes(&walk.report));
            }
            Verdict::Short { missing } => assert!(missing > 0, "{what}"),
            Verdict::Counted => panic!("not asked for"),
        }
    }
    (proven, all, walked)
}

fn drift_seeds() -> u64 {
    number("DESKFERRY_DRIFT_SEEDS", 50)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_stayed_is_missed_when_the_verdict_is_proven() {
    let part = drift_seeds().div_ceil(5);
    for (nth, every) in (0..).zip([60, 25, 10, 4, 2]) {
        let (proven, all, walked) = proven_of(every, nth * part..(nth + 1) * part, false).await;
        say(&format!("a write in {every} pages: {proven} of {all} proven, {walked} passes"));
        assert!(every < 25 || proven * 2 > all, "a write in {every} pages: {proven} of {all}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_stayed_is_missed_while_visitors_become_contacts() {
    let part = drift_seeds().div_ceil(5);
    for (nth, every) in (0..).zip([25, 6]) {
        let (proven, all, walked) = proven_of(every, 1_000 + nth * part..1_000 + (nth + 1) * part, true).await;
        say(&format!("visitors, a write in {every} pages: {proven} of {all} proven, {walked} passes"));
        assert!(every < 25 || proven > 0, "visitors alone are no reason to end short");
    }
}

// ---- the whole backfill --------------------------------------------------------------------------------------------

/// A world whose LiveDesk is set by `set`.
async fn world(seed: u64, contacts: u32, set: impl FnOnce(&mut LiveDeskSwitches)) -> World {
    let mut config = SandboxConfig { seed, contacts, ..SandboxConfig::default() };
    set(&mut config.livedesk);
    World::start(config).await
}

fn change(world: &World, change: impl FnOnce(&mut LiveDeskSwitches)) {
    let mut switches = world.sandbox.livedesk().switches();
    change(&mut switches);
    world.sandbox.livedesk().set_switches(switches);
}

fn lists(world: &World) -> u64 {
    world.sandbox.livedesk_faults().requests_to("GET /contacts")
}

fn verdict(end: &RunEnd) -> Verdict {
    end.summary.sweep.as_ref().unwrap().verdict
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_of_an_account_that_changes_carries_everyone_who_stayed_exactly_once() {
    for seed in 0..number("DESKFERRY_DRIFT_WORLDS", 6) {
        let world = world(seed, 300, |desk| {
            desk.ties = pick(seed, 1, &[Ties::Kept, Ties::Anew]);
            desk.drift = DriftSwitches { every: pick(seed, 2, &[2, 4, 8]), limit: 80, ..DriftSwitches::default() };
            desk.drift.merge = pick(seed, 3, &[1, 8]);
            desk.drift.delete = pick(seed, 4, &[1, 8]);
        })
        .await;
        let desk = world.sandbox.livedesk();
        let listed = desk.listed_ids();
        let end = world.backfill().await;
        let stayed: BTreeSet<i64> = desk.survivors(&listed).into_iter().map(u64::cast_signed).collect();
        let found = world.compare().await;
        let missing = found.missing.iter().filter(|id| stayed.contains(id)).count();
        assert!(found.duplicated.is_empty(), "seed {seed}: {:?}", found.duplicated);
        match verdict(&end) {
            Verdict::Proven => assert_eq!(missing, 0, "seed {seed}: {:?}", end.summary.sweep),
            _ => assert_eq!(end.summary.exit_code(), 1, "seed {seed}"),
        }
        // Quiet again: whatever changed behind the cursor is made good, and nobody is there twice.
        change(&world, |desk| desk.drift.every = 0);
        let end = world.backfill().await;
        assert_eq!(verdict(&end), Verdict::Proven, "seed {seed}");
        world.assert_right().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_cannot_be_proven_complete_is_exit_1_and_says_by_how_much() {
    let world = world(1, 60, |desk| desk.count_offset = 2).await;
    let end = world.backfill().await;
    assert_eq!(verdict(&end), Verdict::Short { missing: 2 });
    assert_eq!(end.summary.exit_code(), 1);
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_sort_fails_the_run_before_anything_is_written() {
    let world = world(1, 200, |desk| desk.ignore_sort = true).await;
    let (_, end) = world.run(Entrants::All).await.unwrap();
    assert!(matches!(end.failure, Some(RunError::Scan(ScanError::DirectionIgnored))), "{:?}", end.failure);
    assert_eq!(world.sandbox.firstline().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stuck_server_fails_the_run_which_goes_on_when_it_is_mended() {
    for ties in [Ties::Stable, Ties::Anew] {
        let world = world(1, 200, |desk| (desk.stuck_page, desk.ties) = (4, ties)).await;
        let (_, end) = world.run(Entrants::All).await.unwrap();
        let stuck = matches!(end.failure, Some(RunError::Scan(ScanError::Stuck { .. } | ScanError::Endless { .. })));
        assert!(stuck, "{ties:?}: {:?}", end.failure);
        let before = world.sandbox.firstline().len();
        assert!(before > 0, "what was read is carried");
        change(&world, |desk| desk.stuck_page = 0);
        assert_eq!(verdict(&world.backfill().await), Verdict::Proven);
        world.assert_right().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_read_by_id_one_contact_is_found_by_a_pass_and_that_is_remembered() {
    let world = world(1, 300, |desk| (desk.by_id, desk.ties) = (false, Ties::Anew)).await;
    let desk = world.sandbox.livedesk();
    let ids: Vec<LiveDeskId> =
        desk.listed_ids().into_iter().rev().step_by(40).map(|id| LiveDeskId(id.cast_signed())).collect();
    let (_, end) = world.run(Entrants::Only(ids[..3].iter().copied().collect())).await.unwrap();
    assert!(end.failure.is_none(), "{:?}", end.failure);
    assert_eq!(end.summary.handled(), 3, "{:?}", end.summary);
    assert_eq!(end.summary.created, 3, "{:?}", end.summary);
    let store = world.store().await;
    assert_eq!(store.profile_get("livedesk_by_id").await.unwrap(), Some(json!("unsupported")));
    store.close().await;
    let probes = world.sandbox.livedesk_faults().requests_to("GET /contacts/{id}");
    assert!(probes > 0);
    let gone = LiveDeskId(i64::from(u32::MAX));
    let (_, end) = world.run(Entrants::Only([ids[4], gone].into())).await.unwrap();
    // Of whom a proven sweep shows nothing, and the state never had, it is said that nobody is meant.
    let told = (end.summary.created, end.summary.set_aside, end.summary.unknown, end.summary.exit_code());
    assert_eq!(told, (1, 0, 1, 1), "{:?}", end.summary);
    assert_eq!(end.summary.unknown_ids, [gone.0]);
    assert_eq!(world.sandbox.livedesk_faults().requests_to("GET /contacts/{id}"), probes, "it is not tried again");
    // The state knows four links and no sweep; it is the right account all the same.
    assert_eq!(verdict(&world.backfill().await), Verdict::Proven);
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_is_not_called_gone_by_a_list_that_is_not_complete() {
    let world = world(1, 60, |desk| (desk.by_id, desk.count_offset) = (false, 1)).await;
    let (_, end) = world.run(Entrants::Only([LiveDeskId(7)].into())).await.unwrap();
    assert_eq!(end.summary.set_aside, 1);
    assert!(
        end.summary.reasons.groups().all(|(reason, _)| reason.to_string().starts_with("unproven")),
        "{:?}",
        end.summary.reasons
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_whose_first_page_shows_others_today_is_still_the_same_account() {
    let world = world(1, 400, |desk| (desk.by_id, desk.ties) = (false, Ties::Kept)).await;
    let desk = world.sandbox.livedesk();
    for id in desk.listed_ids() {
        desk.edit(id, |contact| drop(contact.insert("created_at".into(), 1_700_000_000.into())));
    }
    let (_, end) = world.run(Entrants::First(10)).await.unwrap();
    assert!(end.failure.is_none());
    change(&world, |desk| desk.ties = Ties::Stable);
    assert_eq!(verdict(&world.backfill().await), Verdict::Proven);
    world.assert_right().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_state_of_another_account_is_refused() {
    let world = world(1, 60, |desk| desk.by_id = false).await;
    world.backfill().await;
    for id in world.sandbox.livedesk().listed_ids() {
        world.sandbox.livedesk().delete(id);
    }
    for nth in 0..60 {
        world.sandbox.livedesk().add_contact(json!({ "name": "Other", "identifier": format!("other-{nth}") }));
    }
    assert!(matches!(world.run(Entrants::All).await, Err(RunError::Refused(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_stopped_anywhere_goes_on_where_it_was() {
    const CONTACTS: u32 = 450;
    let pass = u64::from(CONTACTS.div_ceil(15)) + 3;
    let quiet = world(1, CONTACTS, |_| {}).await;
    quiet.backfill().await;
    let undisturbed = lists(&quiet);
    for stop_at in [3, 9, 24, 34, 50, 64] {
        let world = world(1, CONTACTS, |_| {}).await;
        // The key expires: the run ends at once, wherever it is.
        world.sandbox.livedesk_faults().change(|faults| faults.expire_from = stop_at);
        if let Ok((_, end)) = world.run(Entrants::All).await {
            assert!(end.failure.is_some(), "stopped at {stop_at}");
        }
        world.sandbox.livedesk_faults().clear();
        world.sandbox.livedesk_faults().reset_counts();
        let end = world.backfill().await;
        assert_eq!(verdict(&end), Verdict::Proven, "stopped at {stop_at}");
        world.assert_right().await;
        let again = lists(&world);
        say(&format!("stopped at {stop_at}: {again} list requests to end, {undisturbed} undisturbed"));
        // What is left of its pass, the pages since the last checkpoint, those read ahead, and two whole passes:
        // half a pass proves nothing.
        let left = if stop_at < pass { pass.saturating_sub(stop_at) } else { (2 * pass).saturating_sub(stop_at) };
        assert!(again <= left + 2 * pass + 16 + 8 + 6, "stopped at {stop_at}: {again} requests");
    }
}
