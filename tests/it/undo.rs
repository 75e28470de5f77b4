//! `deskferry undo`: what a run did is taken back, as far as nobody changed it since; what people did stays, and is listed.
//!
//! `DESKFERRY_UNDO_KILLS` says how many undos are killed at random points (3).

mod after;
mod doubt;
mod late;

use std::collections::BTreeMap;

use deskferry::config::settings::I_UNDERSTAND;
use deskferry::domain::ids::LiveDeskId;
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::FaultSettings;
use deskferry::sandbox::firstline::{FirstLineSwitches, ListSync};
use deskferry::store::Link;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::world::World;
use crate::world::process::Ended;

const MAPPING: &str = r#"
[contact]
first_name = { value = "name", owner = "source" }
last_name = "custom_attributes.given"
identity_no = "custom_attributes.passport"
[[cz_cols]]
id = 33
value = "custom_attributes.points | number"
owner = "source"
[[emails]]
value = "email"
owner = "source"
[[phones]]
value = "phone_number"
type = "mobile"
owner = "source"
"#;

/// People in LiveDesk, some of whom are customers already, among so many earlier customers.
struct Scene {
    world: World,
    ids: Vec<u64>,
    /// The tenant before anything was carried.
    before: Value,
}

const EARLIER: usize = 200;

impl Scene {
    async fn new(people: usize, known: usize) -> Self {
        let config = SandboxConfig { contacts: 0, edge_cases: false, ..SandboxConfig::default() };
        let mut world = World::start(config).await;
        MAPPING.clone_into(&mut world.mapping);
        let emails: Vec<String> = (0..known).map(|at| format!("person{at}@example.com")).collect();
        let emails: Vec<&str> = emails.iter().map(String::as_str).collect();
        world.sandbox.firstline().seed_customers(EARLIER, 7, &emails, &[]);
        let desk = world.sandbox.livedesk();
        let person = |at: usize| {
            desk.add_contact(json!({
                "name": format!("Person {at}"), "email": format!("person{at}@example.com"),
                "phone_number": format!("+8869{at:08}"), "created_at": 1_700_000_000 + at,
                "custom_attributes": { "given": format!("Given {at}"), "passport": format!("P{at}"), "points": at },
            }))
        };
        let ids = (0..people).map(person).collect();
        let before = world.sandbox.firstline().dump();
        Self { world, ids, before }
    }

    fn edit(&self, at: usize, field: &str, value: Value) {
        assert!(self.world.sandbox.livedesk().edit(self.ids[at], |contact| drop(contact.insert(field.into(), value))));
    }

    /// LiveDesk changes a name, moves an address, drops a number; one each third of the people.
    fn edits(&self) {
        for at in 0..self.ids.len() {
            match at % 3 {
                0 => self.edit(at, "name", json!(format!("Renamed {at}"))),
                1 => self.edit(at, "email", json!(format!("moved{at}@example.com"))),
                _ => self.edit(at, "phone_number", json!("")),
            }
        }
    }

    async fn backfill(&self) {
        let end = self.world.command(&["--json", "backfill", "--yes"]).await;
        assert_eq!(end.code(), Some(0), "{end:?}");
    }

    async fn undo(&self, args: &[&str]) -> Ended {
        let mut all = vec!["--json", "undo", "--yes", "--i-understand", I_UNDERSTAND];
        all.extend(args);
        self.world.command(&all).await
    }

    fn dump(&self) -> Value {
        self.world.sandbox.firstline().dump()
    }

    /// The record of a contact.
    async fn target(&self, at: usize) -> u64 {
        u64::try_from(self.link(at).await.unwrap().target.0).unwrap()
    }

    async fn link(&self, at: usize) -> Option<Link> {
        let store = self.world.store().await;
        let id = LiveDeskId(self.ids[at].cast_signed());
        let link = store.links_for(&[id]).await.unwrap().remove(&id);
        store.close().await;
        link
    }

    fn writes(&self) -> u64 {
        self.world.sandbox.firstline().tally().writes()
    }
}

/// Records by their ids, without the numbers of their rows: a row that was removed comes back under another.
fn content(dump: &Value) -> BTreeMap<u64, Value> {
    let mut records = BTreeMap::new();
    for record in dump.as_array().unwrap() {
        let mut record = record.clone();
        for list in ["emails", "phones"] {
            for row in record[list].as_array_mut().unwrap() {
                row.as_object_mut().unwrap().remove("id");
            }
        }
        records.insert(record["id"].as_u64().unwrap(), record);
    }
    records
}

#[track_caller]
fn assert_same(now: &Value, before: &Value) {
    let (now, before) = (content(now), content(before));
    for (id, record) in &before {
        assert_eq!(now.get(id), Some(record), "customer {id}");
    }
    let more: Vec<_> = now.keys().filter(|id| !before.contains_key(id)).collect();
    assert!(more.is_empty(), "customers that were not there before: {more:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_among_200_earlier_customers_is_taken_back_to_what_stood_before() {
    let scene = Scene::new(60, 20).await;
    scene.backfill().await;
    let carried = scene.dump();
    scene.edits();
    scene.backfill().await;

    // The second run stands on the first.
    let end = scene.undo(&["1", "--delete-created"]).await;
    assert_eq!(end.code(), Some(2), "{end:?}");
    assert!(end.err.contains("deskferry undo 2   (backfill, 60 of the same contacts)"), "{end:?}");

    // A look writes nothing, and says what would be done.
    scene.world.sandbox.firstline().reset_counts();
    let look = scene.undo(&["2", "--dry-run"]).await.json();
    assert_eq!(scene.writes(), 0);
    let end = scene.undo(&["2"]).await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    let done = end.json();
    for count in ["contacts", "restored", "rows_removed", "rows_restored", "relinked", "kept"] {
        assert_eq!(look[count], done[count], "{count}: {look} {done}");
    }
    // Of the 20 addresses that moved 7 were hung on customers that had another one of their own.
    let rows = (&done["restored"], &done["rows_removed"], &done["rows_restored"], &done["relinked"]);
    assert_eq!(rows, (&json!(20), &json!(7), &json!(33), &json!(60)));
    assert_same(&scene.dump(), &carried);

    let look = scene.undo(&["1", "--delete-created", "--dry-run"]).await.json();
    let end = scene.undo(&["1", "--delete-created"]).await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    let done = end.json();
    assert_eq!((&done["deleted"], &done["unlinked"], &look["deleted"]), (&json!(40), &json!(60), &json!(40)), "{look}");
    assert_eq!(scene.dump(), scene.before);
    let store = scene.world.store().await;
    assert_eq!((store.link_count().await.unwrap(), store.check().await.unwrap().problems()), (0, Vec::new()));
    store.close().await;

    let again = scene.undo(&["1", "--delete-created"]).await;
    assert_eq!(again.code(), Some(0));
    assert!(again.out.contains("was taken back already"), "{again:?}");

    // Nothing is taken for done: a new backfill lifts the hold and carries everybody as if for the first time. The 7 whose
    // address moved are no longer known by it.
    let end = scene.world.command(&["--json", "backfill", "--yes"]).await;
    let counts = end.json();
    assert_eq!((end.code(), &counts["created"], &counts["adopted"]), (Some(0), &json!(47), &json!(13)), "{end:?}");
    assert!(end.err.contains("the hold of undo"), "{end:?}");
    assert_eq!(scene.world.command(&["--json", "sync"]).await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_people_changed_since_stays_and_is_listed_without_a_value() {
    let scene = Scene::new(12, 4).await;
    scene.backfill().await;
    let firstline = scene.world.sandbox.firstline();
    let [adopted, other, made, talked] =
        [scene.target(0).await, scene.target(1).await, scene.target(4).await, scene.target(5).await];
    assert!(firstline.edit(adopted, "identity_no", json!("Agentwrote")));
    assert!(firstline.edit(other, "tag_ids", json!([firstline.add_tag("VIP")])));
    assert!(firstline.edit(made, "last_name", json!("Agentnamed")));
    firstline.add_email(talked, "agent@example.com").unwrap();
    let (kept_made, kept_talked) = (content(&scene.dump())[&made].clone(), content(&scene.dump())[&talked].clone());
    let end = scene.undo(&["1", "--delete-created"]).await;
    assert_eq!(end.code(), Some(1), "{end:?}");
    let mut expected = content(&scene.before);
    expected.get_mut(&adopted).unwrap()["identity_no"] = json!("Agentwrote");
    expected.get_mut(&other).unwrap()["tag_ids"] = content(&scene.dump())[&other]["tag_ids"].clone();
    expected.extend([(made, kept_made), (talked, kept_talked)]);
    assert_eq!(content(&scene.dump()), expected);
    let told = end.json();
    assert_eq!((&told["kept"], &told["deleted"]), (&json!(3), &json!(6)), "{told}");
    let list = std::fs::read_to_string(told["list_file"].as_str().unwrap()).unwrap();
    for line in [
        format!("{},{adopted},identity_no,kept,changed since", scene.ids[0]),
        format!("{},{made},customer,kept,\"made by the run, and changed since: last_name\"", scene.ids[4]),
        format!("{},{talked},customer,kept,\"made by the run, and changed since: emails\"", scene.ids[5]),
    ] {
        assert!(list.lines().any(|listed| listed == line), "{line}\n{list}");
    }
    assert!(!list.contains("Agent") && !list.contains("example.com"), "{list}");
    // Nobody is linked, so whoever stays is found by its stamp by the next backfill, and not made twice.
    let end = scene.world.command(&["--json", "backfill", "--yes"]).await;
    assert_eq!(end.json()["created"], json!(6), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_word_about_deletions_what_a_run_made_is_tagged_and_the_undo_can_be_undone() {
    let scene = Scene::new(9, 3).await;
    scene.backfill().await;
    let carried = scene.dump();
    let links: Vec<Link> = futures::future::join_all([scene.link(0)]).await.into_iter().flatten().collect();
    let unsure = scene.world.command(&["undo", "1", "--delete-created", "--yes"]).await;
    assert_eq!(unsure.code(), Some(2));
    assert!(unsure.err.contains(I_UNDERSTAND) && unsure.err.contains("nothing was written"), "{unsure:?}");
    let unasked = scene.world.command(&["undo", "1"]).await;
    assert!(unasked.code() == Some(2) && unasked.err.contains("--dry-run"), "{unasked:?}");
    assert_eq!(scene.dump(), carried);

    let end = scene.undo(&["1"]).await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    assert_eq!((&end.json()["tagged"], &end.json()["deleted"]), (&json!(6), &json!(0)));
    let tags = scene.world.sandbox.firstline().tags();
    let [(tag, name)] = &tags[..] else { panic!("{tags:?}") };
    assert_eq!(name, "deskferry-undone-1");
    let tagged: Vec<_> =
        content(&scene.dump()).into_values().filter(|record| record["tag_ids"] == json!([tag])).collect();
    assert_eq!(tagged.len(), 6);
    assert!(tagged.iter().all(|record| record["membership_no"].as_str().unwrap().starts_with("LD-")));

    let undo = end.json()["run"].as_i64().unwrap().to_string();
    let end = scene.undo(&[undo.as_str()]).await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    assert_same(&scene.dump(), &carried);
    let back = scene.link(0).await.unwrap();
    assert_eq!((back.target, back.origin, back.base), (links[0].target, links[0].origin, links[0].base.clone()));
    // And now all the way.
    let end = scene.undo(&["1", "--delete-created"]).await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    assert_eq!(scene.dump(), scene.before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_first_line_says_it_put_back_and_did_not_is_listed_as_unconfirmed() {
    let mut scene = Scene::new(6, 3).await;
    scene.world.mapping.push_str("\n[[tags]]\nlabel = \"gold\"\ntag = \"VIP\"\n");
    let (livedesk, firstline) = (scene.world.sandbox.livedesk(), scene.world.sandbox.firstline());
    // The tags of an update are added to those that are there.
    let switches = FirstLineSwitches { tags_on_update: ListSync::Union, ..FirstLineSwitches::default() };
    firstline.set_switches(switches);
    firstline.add_tag("VIP");
    livedesk.set_labels(scene.ids[1], &["gold"]);
    scene.backfill().await;
    let customer = scene.target(1).await;
    let held = || {
        let dump = firstline.dump();
        dump.as_array().unwrap().iter().find(|row| row["id"] == customer).unwrap()["tag_ids"].clone()
    };
    let tags = held();
    assert_ne!(tags, json!([]));
    let done = scene.undo(&["1"]).await.json();
    assert_eq!((&done["unconfirmed"], &done["kept"], held()), (&json!(1), &json!(0), tags), "{done}");
    let line = &done["kept_lines"][0];
    assert_eq!((&line["part"], &line["done"]), (&json!("tag_ids"), &json!("unconfirmed")), "{line}");
    assert!(line["why"].as_str().unwrap().contains("still shows what stood there before"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_run_and_one_whose_before_images_are_gone_are_named_with_what_there_is() {
    let scene = Scene::new(3, 1).await;
    scene.backfill().await;
    let end = scene.undo(&["17"]).await;
    assert!(end.code() == Some(2) && end.err.contains("there is no run 17; did you mean 1 (backfill, "), "{end:?}");
    scene.backfill().await;
    let end = scene.undo(&["2"]).await;
    assert!(end.code() == Some(0) && end.out.contains("changed nothing in FIRST LINE"), "{end:?}");
    let store = scene.world.store().await;
    store.prune_journal(deskferry::clock::Timestamp(i64::MAX)).await.unwrap();
    store.close().await;
    scene.world.sandbox.firstline().reset_counts();
    let end = scene.undo(&["1"]).await;
    assert!(end.code() == Some(2) && end.err.contains("state.journal_retention is 90 days"), "{end:?}");
    assert_eq!(scene.writes(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_undo_nothing_is_carried_until_a_person_says_so() {
    let mut scene = Scene::new(5, 1).await;
    scene.world.choices.instead =
        vec![("[ops]", String::from("[schedule]\nsync = \"* * * * * *\"\nsweep = \"* * * * * *\"\n[ops]"))];
    scene.backfill().await;
    // While a service has the state, an undo is told who has it.
    let service = scene.world.spawn_beside("service-", &[], &["run"]);
    let mut service = service;
    let store = deskferry::store::holder(&scene.world.state_path());
    assert!(service.until(|| deskferry::store::holder(&scene.world.state_path()).is_some()).await, "{store:?}");
    let beside = scene.undo(&["1", "--delete-created"]).await;
    assert!(beside.code() == Some(2) && beside.says("run, the service"), "{beside:?}");
    service.signal("TERM").await;
    assert_eq!(service.end().await.code(), Some(0));

    assert_eq!(scene.undo(&["1", "--delete-created"]).await.code(), Some(0));
    scene.world.sandbox.firstline().reset_counts();
    let mut service = scene.world.spawn_beside("held-", &[], &["run"]);
    // It is due every second; two activations pass.
    assert!(service.until(|| service_says(&scene, "held since undo")).await);
    assert!(service.run_for(std::time::Duration::from_millis(2500)).await, "{}", service.stderr());
    let told = service.stderr();
    // The service says it once, and so does the alarm.
    assert!(told.matches("held since undo").count() <= 2, "no loop of errors: {told}");
    service.signal("TERM").await;
    assert_eq!(service.end().await.code(), Some(0));
    for command in [&["sync"][..], &["retry", "1"]] {
        let end = scene.world.command(command).await;
        assert!(end.code() == Some(2) && end.err.contains("deskferry undo --release"), "{end:?}");
    }
    assert_eq!(scene.writes(), 0);
    assert_eq!(scene.dump(), scene.before);
    let status = scene.world.command(&["--json", "status"]).await.json();
    assert_eq!(status["hold"]["of"], json!(1), "{status}");

    let end = scene.world.command(&["--json", "undo", "--release"]).await;
    assert!(end.code() == Some(0) && end.json()["released"]["of"] == json!(1), "{end:?}");
    let mut service = scene.world.spawn_beside("free-", &[], &["run"]);
    let tenant = scene.world.sandbox.firstline();
    assert!(service.until(|| tenant.len() == EARLIER + 4).await, "{}", service.stderr());
    service.signal("TERM").await;
    assert_eq!(service.end().await.code(), Some(0));
}

fn service_says(scene: &Scene, text: &str) -> bool {
    let told = std::fs::read_to_string(scene.world.folder().join("held-stderr")).unwrap_or_default();
    let out = std::fs::read_to_string(scene.world.folder().join("held-stdout")).unwrap_or_default();
    told.contains(text) || out.contains(text)
}

fn kills() -> u64 {
    std::env::var("DESKFERRY_UNDO_KILLS").map_or(3, |kills| kills.parse().unwrap())
}

/// One undo after the other, each killed at random points while answers are lost, until all of it is taken back.
async fn killed(seed: u64) -> u64 {
    let mut rng = StdRng::seed_from_u64(seed);
    let scene = Scene::new(40, 15).await;
    scene.backfill().await;
    let carried = scene.dump();
    scene.edits();
    scene.backfill().await;
    let faults = FaultSettings {
        latency_ms: rng.random_range(0..3),
        lost_ack_rate: 0.03,
        reset_after_rate: 0.02,
        error_rate: 0.02,
        ..FaultSettings::default()
    };
    scene.world.sandbox.firstline_faults().change(|settings| *settings = faults);
    let mut kills = 0;
    for (run, requests, expected) in [("2", 130, &carried), ("1", 150, &scene.before)] {
        let args = ["--json", "undo", run, "--delete-created", "--yes", "--i-understand", I_UNDERSTAND];
        for _ in 0..rng.random_range(1..=3) {
            let counts = scene.world.sandbox.firstline_faults();
            let until = counts.requests() + rng.random_range(1..requests);
            let mut process = scene.world.spawn(&args);
            if process.until(|| counts.requests() >= until).await {
                process.kill().await;
                kills += 1;
            }
        }
        let mut end = scene.world.command(&args).await;
        for _ in 0..5 {
            if end.code() == Some(0) {
                break;
            }
            end = scene.world.command(&args).await;
        }
        assert_eq!(end.code(), Some(0), "seed {seed}, undo {run}: {end:?}");
        assert_same(&scene.dump(), expected);
    }
    assert_eq!(scene.dump(), scene.before, "seed {seed}");
    let store = scene.world.store().await;
    let report = store.check().await.unwrap();
    assert_eq!((report.problems(), store.link_count().await.unwrap()), (Vec::new(), 0), "seed {seed}");
    store.close().await;
    kills
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backfill_that_was_killed_in_the_middle_is_taken_back_with_what_was_in_doubt() {
    for creates in [3, 20] {
        let scene = Scene::new(50, 10).await;
        let faults = FaultSettings { latency_ms: 2, lost_ack_rate: 0.05, ..FaultSettings::default() };
        scene.world.sandbox.firstline_faults().change(|settings| *settings = faults);
        let firstline = scene.world.sandbox.firstline();
        let mut process = scene.world.spawn(&["--json", "backfill", "--yes"]);
        assert!(process.until(|| firstline.tally().contact_create >= creates).await);
        process.kill().await;
        assert!(firstline.len() > EARLIER);
        let mut end = scene.undo(&["1", "--delete-created"]).await;
        for _ in 0..5 {
            if end.code() == Some(0) {
                break;
            }
            end = scene.undo(&["1", "--delete-created"]).await;
        }
        assert_eq!(end.code(), Some(0), "{end:?}");
        assert_eq!(scene.dump(), scene.before, "after {creates} creates: {end:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_that_is_killed_at_random_points_and_run_again_ends_the_same() {
    let (mut done, mut seed) = (0, 0);
    while done < kills() {
        seed += 1;
        done += killed(seed).await;
    }
    eprintln!("{seed} backfills taken back, {done} undos killed at random; each ended as it stood before");
}
