//! Promise 4: what is gone from LiveDesk, and what vanished from FIRST LINE. Nothing is deleted that was not proven gone,
//! nothing that an agent touched or that was not ours, never more than the ceiling; and nothing is made again by itself.

use std::collections::BTreeSet;
use std::sync::Arc;

use deskferry::app;
use deskferry::clock::{SystemClock, Timestamp};
use deskferry::config::settings::I_UNDERSTAND;
use deskferry::domain::ids::{FirstLineId, LiveDeskId, RunId};
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::{Fault, FaultFilter, NextFault, RetryAfter};
use deskferry::sandbox::firstline::FirstLineSwitches;
use deskferry::store::{Absence, Deletion, Finding, Intent, IntentKind, IntentState, Link, Mark, Standing, WriteOp};
use deskferry::sync::absence::DeleteCeiling;
use deskferry::sync::pipeline::{Entrants, RunEnd};
use deskferry::sync::summary::Summary;
use serde_json::{Value, json};

use crate::cli_support::Desk;
use crate::world::World;

const MAPPING: &str = r#"
[contact]
first_name = "name"
[[emails]]
value = "email"
[[phones]]
value = "phone_number"
type = "mobile"
"#;

/// The policy under test, without a grace period and with a ceiling that is not in the way.
fn policy(policy: &str) -> String {
    format!("[deletes]\npolicy = \"{policy}\"\nceiling_percent = 100.0\ngrace = \"0s\"\n")
}

fn deletion() -> String {
    format!("{}i_understand = \"{I_UNDERSTAND}\"\n", policy("delete"))
}

fn tagging() -> String {
    format!("{}tag = \"gone from LiveDesk\"\n", policy("tag"))
}

/// An account of so many people, carried into an empty tenant by one proven sweep.
struct Scene {
    world: World,
    ids: Vec<u64>,
}

impl Scene {
    async fn before(people: u64, deletes: &str, firstline: FirstLineSwitches) -> Self {
        let config = SandboxConfig { contacts: 0, edge_cases: false, firstline, ..SandboxConfig::default() };
        let mut world = World::start(config).await;
        MAPPING.clone_into(&mut world.mapping);
        let desk = world.sandbox.livedesk();
        let ids = (0..people).map(|at| {
            desk.add_contact(json!({
                "name": format!("Person {at}"),
                "email": format!("person{at}@example.com"),
                "phone_number": format!("+8869{at:08}"),
                "created_at": 1_700_000_000 + at,
            }))
        });
        let ids = ids.collect();
        let mut scene = Self { world, ids };
        scene.set(deletes);
        scene
    }

    async fn with(people: u64, deletes: &str) -> Self {
        let scene = Self::before(people, deletes, FirstLineSwitches::default()).await;
        assert_eq!(scene.run().await.created, people);
        scene
    }

    fn set(&mut self, deletes: &str) {
        self.world.choices.instead = vec![("[http]", format!("{deletes}[http]"))];
    }

    /// A sweep that must end well and proven.
    async fn run(&self) -> Summary {
        let RunEnd { summary, failure } = self.world.run(Entrants::All).await.unwrap().1;
        assert!(failure.is_none(), "{failure:?}");
        assert_eq!(summary.sweep.as_ref().unwrap().verdict.to_string(), "proven");
        summary
    }

    async fn sweeps(&self, sweeps: u32) -> Summary {
        let mut last = Summary::default();
        for _ in 0..sweeps {
            last = self.run().await;
        }
        last
    }

    fn delete(&self, at: usize) {
        assert!(self.world.sandbox.livedesk().delete(self.ids[at]));
    }

    fn edit(&self, at: usize, key: &str, value: Value) {
        let desk = self.world.sandbox.livedesk();
        assert!(desk.edit(self.ids[at], |contact| drop(contact.insert(key.to_owned(), value))));
    }

    /// Without e-mail, phone and identifier a contact is not listed any more.
    fn hide(&self, at: usize) {
        self.edit(at, "email", Value::Null);
        self.edit(at, "phone_number", Value::Null);
    }

    fn id(&self, at: usize) -> LiveDeskId {
        LiveDeskId(i64::try_from(self.ids[at]).unwrap())
    }

    async fn link(&self, at: usize) -> Option<Link> {
        let store = self.world.store().await;
        let link = store.links_for(&[self.id(at)]).await.unwrap().remove(&self.id(at));
        store.close().await;
        link
    }

    async fn target(&self, at: usize) -> u64 {
        u64::try_from(self.link(at).await.unwrap().target.0).unwrap()
    }

    /// The customer that carries a contact's stamp.
    fn customer(&self, at: usize) -> Value {
        let stamp = json!(format!("LD-{}", self.ids[at]));
        let dump = self.world.sandbox.firstline().dump();
        let mut found = dump.as_array().unwrap().iter().filter(|customer| customer["membership_no"] == stamp);
        let customer = found.next().cloned().unwrap_or(Value::Null);
        assert!(found.next().is_none(), "{stamp} is there twice");
        customer
    }

    fn customers(&self) -> usize {
        self.world.sandbox.firstline().len()
    }

    fn deletions(&self) -> u64 {
        self.world.sandbox.firstline().tally().contact_delete
    }

    fn by_id(&self, exists: bool) {
        let desk = self.world.sandbox.livedesk();
        let mut switches = desk.switches();
        switches.by_id = exists;
        desk.set_switches(switches);
    }

    async fn only(&self, at: usize) -> Summary {
        let (_, end) = self.world.run(Entrants::Only(BTreeSet::from([self.id(at)]))).await.unwrap();
        assert!(end.failure.is_none(), "{:?}", end.failure);
        end.summary
    }

    async fn write(&self, ops: Vec<WriteOp>) {
        let store = self.world.store().await;
        store.write(ops).await.unwrap();
        store.close().await;
    }
}

#[tokio::test]
async fn a_contact_is_absent_only_after_as_many_proven_sweeps_as_the_settings_say() {
    let scene = Scene::with(20, &deletion()).await;
    scene.delete(3);
    let first = scene.run().await;
    assert_eq!((first.absence.absent, first.absence.deleted, scene.customers()), (0, 0, 20), "{first:?}");
    let second = scene.run().await;
    assert_eq!((second.absence.new, second.absence.deleted, scene.customers()), (1, 1, 19), "{second:?}");
    assert_eq!(second.exit_code(), 0, "{second:?}");
    // Nothing is left to be said.
    let third = scene.run().await;
    assert_eq!((third.absence.absent, scene.customers(), scene.deletions()), (0, 19, 1), "{third:?}");
}

#[tokio::test]
async fn by_default_an_absent_contact_is_counted_and_listed_and_costs_no_request_to_first_line() {
    let scene = Scene::with(20, "").await;
    scene.delete(3);
    scene.hide(4);
    scene.run().await;
    scene.world.sandbox.firstline().reset_counts();
    let summary = scene.run().await;
    let absence = &summary.absence;
    assert_eq!((absence.absent, absence.new, absence.hidden), (2, 2, 1), "{absence:?}");
    let rows: Vec<_> = absence.rows.iter().map(|row| (row.livedesk_id, row.finding, row.outcome.as_str())).collect();
    assert_eq!(rows, [(scene.id(3).0, "missing", "ignored"), (scene.id(4).0, "hidden", "ignored")]);
    assert_eq!((summary.exit_code(), summary.delete_ceiling), (0, None));
    // The witness of the tenant, and its total.
    let tally = scene.world.sandbox.firstline().tally();
    assert_eq!((tally.writes(), tally.contact_get), (0, 1), "{tally:?}");
    let again = scene.run().await.absence;
    assert_eq!((again.absent, again.new, again.hidden), (2, 0, 1), "{again:?}");
    // Who was hidden is listed again, and carried like anybody else.
    scene.edit(4, "email", json!("back@example.com"));
    let back = scene.run().await;
    assert_eq!((back.absence.back, back.absence.absent, back.updated), (1, 1, 1), "{back:?}");
}

#[tokio::test]
async fn only_untouched_records_of_our_own_whose_contact_is_proven_gone_are_deleted() {
    let scene = Scene::before(20, &deletion(), FirstLineSwitches::default()).await;
    let firstline = scene.world.sandbox.firstline();
    // 0 was there before us.
    firstline.add_contact(&json!({ "first_name": "Prior" }), &["person0@example.com"], &[], &[]);
    let summary = scene.run().await;
    assert_eq!((summary.adopted, summary.created), (1, 19));
    let [email, phone, named, tagged, fewer] = [2, 3, 4, 5, 6].map(|at| scene.customer(at)["id"].as_u64().unwrap());
    firstline.add_email(email, "private@example.com");
    firstline.add_phone(phone, "0911222333");
    firstline.edit(named, "last_name", json!("Chen"));
    let tag = firstline.add_tag("VIP");
    firstline.edit(tagged, "tag_ids", json!([tag]));
    firstline.remove_email(scene.customer(6)["emails"][0]["id"].as_u64().unwrap());
    let column = scene.customer(7)["id"].as_u64().unwrap();
    firstline.edit(column, "cz_cols.42", json!("Taipei"));
    (0..8).for_each(|at| scene.delete(at));
    scene.hide(8);
    let before: Vec<Value> = (0..20).map(|at| scene.customer(at)).collect();
    let whole = scene.customer(1);
    let target = scene.target(1).await;

    let summary = scene.sweeps(2).await;
    let absence = &summary.absence;
    assert_eq!((absence.absent, absence.deleted, absence.hidden), (9, 1, 1), "{absence:?}");
    assert_eq!(absence.resting.get("not_ours"), Some(&1), "{absence:?}");
    assert_eq!((absence.resting.get("changed"), summary.exit_code()), (Some(&6), 0), "{absence:?}");
    assert_eq!((scene.customer(1), scene.deletions()), (Value::Null, 1));
    for at in (0..20).filter(|at| *at != 1) {
        assert_eq!(scene.customer(at), before[at], "customer of contact {at}");
    }
    assert!(firstline.contact(fewer).is_some());
    // The journal holds all that was there, and the link is gone.
    let store = scene.world.store().await;
    let journal = store.journal_of_contact(scene.id(1)).await.unwrap();
    let entry = journal.iter().find(|entry| entry.action == "delete").unwrap();
    let image: Value = serde_json::from_str(&entry.before).unwrap();
    assert_eq!((entry.target, &image["first_name"]), (FirstLineId(i64::try_from(target).unwrap()), &json!("Person 1")));
    assert_eq!(image["emails"][0]["address"], "person1@example.com");
    assert_eq!(image["phones"][0]["number"], whole["phones"][0]["number"]);
    store.close().await;
    assert_eq!(scene.link(1).await, None);
    // What was kept is not asked about again.
    scene.world.sandbox.firstline().reset_counts();
    let again = scene.run().await;
    assert_eq!((again.absence.resting.get("changed"), again.exit_code()), (Some(&6), 0), "{again:?}");
    assert_eq!((scene.deletions(), scene.customers()), (0, 19));
}

#[tokio::test]
async fn a_deletion_that_had_to_wait_is_not_sent_to_a_record_that_an_agent_changed_meanwhile() {
    let mut scene = Scene::with(20, &deletion()).await;
    let settings = [
        ("concurrency = 8\ntimeout = \"5s\"", "concurrency = 8\ntimeout = \"500ms\""),
        ("max_wait = \"50ms\"", "max_wait = \"2s\""),
    ];
    scene.world.choices.instead.extend(settings.map(|(from, to)| (from, to.to_owned())));
    (1..3).for_each(|at| scene.delete(at));
    scene.run().await;
    let firstline = scene.world.sandbox.firstline();
    let (edited, whole) = (scene.target(1).await, scene.target(2).await);
    let only = FaultFilter::on("DELETE", &format!("/contact/{edited}"));
    let faults = scene.world.sandbox.firstline_faults();
    faults.change(|settings| {
        settings.retry_after = RetryAfter::Seconds;
        settings.retry_after_seconds = 1;
        settings.next = vec![NextFault { fault: Fault::Throttled, times: 1, skip: 0, only }];
    });
    let journalled = async {
        let store = app::read_state(&scene.world.state_path(), Arc::new(SystemClock)).await.unwrap();
        while store.journal_of_contact(scene.id(1)).await.unwrap().iter().all(|entry| entry.action != "delete") {
            tokio::task::yield_now().await;
        }
        store.close().await;
        firstline.edit(edited, "last_name", json!("Chen"));
    };
    let (summary, ()) = tokio::join!(scene.run(), journalled);
    assert_eq!((scene.customer(1)["last_name"].as_str(), firstline.contact(whole)), (Some("Chen"), None));
    assert_eq!((summary.absence.deleted, summary.absence.resting.get("changed")), (1, Some(&1)), "{summary:?}");
}

#[tokio::test]
async fn a_deletion_waits_for_its_grace_period_and_a_contact_that_is_back_within_it_is_safe() {
    let waiting = deletion().replace("grace = \"0s\"", "grace = \"1h\"");
    let mut scene = Scene::with(20, &waiting).await;
    scene.delete(3);
    scene.delete(4);
    let summary = scene.sweeps(3).await;
    assert_eq!(summary.absence.resting.get("waiting"), Some(&2), "{summary:?}");
    assert_eq!((summary.exit_code(), scene.customers()), (0, 20));
    assert!(scene.world.sandbox.livedesk().restore(scene.ids[4]));
    let summary = scene.run().await;
    assert_eq!((summary.absence.back, summary.absence.absent), (1, 1), "{summary:?}");
    scene.set(&deletion());
    let summary = scene.run().await;
    assert_eq!((summary.absence.deleted, scene.customers()), (1, 19), "{summary:?}");
    assert_ne!(scene.customer(4), Value::Null);
}

#[tokio::test]
async fn above_the_ceiling_nothing_at_all_is_done_until_somebody_allows_it_for_a_run() {
    // 1 % of 30 is less than one, which counts as one.
    for (deletes, what) in [(deletion(), "deleted"), (tagging(), "tagged")] {
        let strict = deletes.replace("ceiling_percent = 100.0\n", "");
        let mut scene = Scene::with(30, &strict).await;
        scene.delete(3);
        scene.delete(4);
        scene.hide(5);
        let before = scene.world.sandbox.firstline().dump();
        let summary = scene.sweeps(2).await;
        assert_eq!(summary.delete_ceiling, Some(DeleteCeiling { candidates: 2, ceiling: 1 }), "{summary:?}");
        assert_eq!((summary.exit_code(), scene.world.sandbox.firstline().dump()), (1, before), "{what}");
        scene.set(&format!("{deletes}ceiling = 2\n"));
        let summary = scene.run().await;
        assert_eq!((summary.delete_ceiling, summary.absence.deleted + summary.absence.marked), (None, 2), "{what}");
        assert_eq!(summary.absence.hidden, 1, "{summary:?}");
    }
}

#[tokio::test]
async fn without_a_read_by_id_that_can_be_believed_nothing_is_deleted() {
    // There is none at all, or there was one, and now it says 404 to everything.
    for learned_before in [false, true] {
        let scene = Scene::before(20, &deletion(), FirstLineSwitches::default()).await;
        scene.by_id(learned_before);
        scene.run().await;
        if learned_before {
            scene.only(7).await;
            scene.by_id(false);
        }
        scene.delete(3);
        scene.hide(4);
        let summary = scene.sweeps(3).await;
        assert_eq!(summary.absence.resting.get("unproven"), Some(&2), "{learned_before} {summary:?}");
        assert_eq!((summary.absence.deleted, scene.deletions(), scene.customers()), (0, 0, 20), "{learned_before}");
    }
}

#[tokio::test]
async fn a_mark_is_put_on_beside_what_is_there_and_taken_off_when_the_contact_is_back() {
    let scene = Scene::with(20, &tagging()).await;
    let firstline = scene.world.sandbox.firstline();
    scene.by_id(false);
    let theirs = firstline.add_tag("VIP");
    let customer = scene.customer(3)["id"].as_u64().unwrap();
    firstline.edit(customer, "tag_ids", json!([theirs]));
    scene.hide(3);
    scene.hide(4);
    let summary = scene.sweeps(2).await;
    assert_eq!((summary.absence.marked, summary.absence.absent), (2, 2), "{summary:?}");
    let mark = firstline.tags().into_iter().find(|(_, name)| name == "gone from LiveDesk").unwrap().0;
    assert_eq!(scene.customer(3)["tag_ids"], json!([theirs, mark]));
    // It is put there once, and an agent may take it off.
    firstline.edit(scene.customer(4)["id"].as_u64().unwrap(), "tag_ids", json!([]));
    let summary = scene.run().await;
    assert_eq!((summary.absence.marked, summary.absence.resting.get("marked")), (0, Some(&2)), "{summary:?}");
    assert_eq!(scene.customer(4)["tag_ids"], json!([]));
    for at in [3, 4] {
        scene.edit(at, "email", json!(format!("back{at}@example.com")));
    }
    let summary = scene.run().await;
    assert_eq!((summary.absence.back, summary.absence.unmarked, summary.absence.absent), (2, 1, 0), "{summary:?}");
    assert_eq!(scene.customer(3)["tag_ids"], json!([theirs]));
    let store = scene.world.store().await;
    let actions = store.journal_of_contact(scene.id(3)).await.unwrap();
    let actions: Vec<&str> = actions.iter().map(|entry| entry.action.as_str()).collect();
    assert!(actions.contains(&"mark") && actions.contains(&"unmark"), "{actions:?}");
    assert_eq!(store.absence_counts().await.unwrap().absent, 0);
    store.close().await;
}

#[tokio::test]
async fn a_field_can_be_the_mark_and_what_an_agent_wrote_there_stays() {
    // 41 is a text; 42 too.
    let deletes = format!("{}field = 42\n", policy("tag"));
    let scene = Scene::with(20, &deletes).await;
    scene.by_id(false);
    let firstline = scene.world.sandbox.firstline();
    firstline.edit(scene.customer(4)["id"].as_u64().unwrap(), "cz_cols.42", json!("Taipei"));
    scene.hide(3);
    scene.hide(4);
    let summary = scene.sweeps(2).await;
    assert_eq!((summary.absence.marked, summary.absence.failed.len()), (1, 1), "{summary:?}");
    let text = scene.customer(3)["cz_cols"]["42"].as_str().unwrap().to_owned();
    assert!(text.starts_with("not in LiveDesk any more ("), "{text}");
    assert_eq!(scene.customer(4)["cz_cols"]["42"], "Taipei");
    scene.edit(3, "email", json!("back@example.com"));
    assert_eq!(scene.run().await.absence.unmarked, 1);
    assert!(scene.customer(3)["cz_cols"]["42"].is_null());
}

#[tokio::test]
async fn a_deletion_that_died_half_way_ends_the_same() {
    // Killed between the journal and the request, and between the request and its record.
    for sent in [false, true] {
        let scene = Scene::with(20, &deletion()).await;
        scene.delete(3);
        scene.run().await;
        let link = scene.link(3).await.unwrap();
        scene.write(under_way(&link)).await;
        if sent {
            scene.world.sandbox.firstline().delete(u64::try_from(link.target.0).unwrap());
        }
        let summary = scene.run().await;
        assert_eq!((summary.absence.deleted, scene.customers()), (1, 19), "{sent} {summary:?}");
        assert_eq!((scene.link(3).await, summary.exit_code()), (None, 0), "{sent}");
        // Whoever comes back is created anew, once.
        assert!(scene.world.sandbox.livedesk().restore(scene.ids[3]));
        assert_eq!(scene.run().await.created, 1, "{sent}");
        scene.world.assert_right().await;
        assert_eq!(scene.customers(), 20, "{sent}");
    }
}

#[tokio::test]
async fn a_contact_that_is_back_before_its_deletion_was_recorded_is_created_anew() {
    let scene = Scene::with(20, &deletion()).await;
    scene.delete(3);
    scene.sweeps(1).await;
    let link = scene.link(3).await.unwrap();
    let store = scene.world.store().await;
    store.write(vec![about_to_delete(&link), unsettled(&link)]).await.unwrap();
    store.close().await;
    scene.world.sandbox.firstline().delete(u64::try_from(link.target.0).unwrap());
    assert!(scene.world.sandbox.livedesk().restore(scene.ids[3]));
    let noticed = scene.run().await;
    assert_eq!((noticed.set_aside, noticed.vanished.gone), (1, 0), "{noticed:?}");
    let anew = scene.run().await;
    assert_eq!((anew.created, anew.exit_code()), (1, 0), "{anew:?}");
    scene.world.assert_right().await;
}

/// What stands in the state until a deletion that was sent is recorded.
fn under_way(link: &Link) -> Vec<WriteOp> {
    let absence = Absence {
        livedesk_id: link.livedesk_id,
        since: Timestamp(link.updated_at.0 + 1),
        finding: Finding::Missing,
        asked_at: None,
        mark: Mark::None,
        place: None,
        deletion: Deletion::UnderWay,
        why: None,
        run: RunId(1),
    };
    vec![unsettled(link), WriteOp::PutAbsence(absence)]
}

/// The same, and the row of the journal that was written before it was sent.
fn begun(link: &Link) -> Vec<WriteOp> {
    [about_to_delete(link)].into_iter().chain(under_way(link)).collect()
}

/// The row of the journal of a deletion that is about to be sent.
fn about_to_delete(link: &Link) -> WriteOp {
    WriteOp::Journal(deskferry::store::JournalEntry {
        run: RunId(1),
        livedesk_id: link.livedesk_id,
        target: link.target,
        action: String::from("delete"),
        before: String::from("{}"),
        after: None,
        link_before: None,
        why: String::new(),
        at: link.updated_at,
    })
}

/// The link as it is while something is left to do.
fn unsettled(link: &Link) -> WriteOp {
    WriteOp::PutLink(Link { fingerprint: None, ..link.clone() })
}

#[tokio::test]
async fn a_deletion_that_never_took_place_does_not_make_a_customer_again_that_an_agent_deletes_later() {
    for case in ["refused", "kept", "back"] {
        let scene = Scene::with(20, &deletion()).await;
        let firstline = scene.world.sandbox.firstline();
        let (link, target) = (scene.link(3).await.unwrap(), scene.target(3).await);
        if case == "refused" {
            let mut switches = firstline.switches();
            switches.delete_contact_status = 403;
            firstline.set_switches(switches);
            scene.delete(3);
            assert_eq!(scene.sweeps(2).await.absence.failed.get("refused (403)"), Some(&1));
        } else {
            // A run died as it was about to send it, and it never arrived.
            scene.delete(3);
            scene.run().await;
            scene.write(begun(&link)).await;
        }
        if case == "kept" {
            assert!(firstline.edit(target, "last_name", json!("Chen")));
            assert_eq!(scene.run().await.absence.resting.get("changed"), Some(&1), "{case}");
        }
        assert!(scene.world.sandbox.livedesk().restore(scene.ids[3]));
        assert_eq!(scene.run().await.absence.back, 1, "{case}");
        let store = scene.world.store().await;
        let journal = store.journal_of_contact(scene.id(3)).await.unwrap();
        store.close().await;
        assert!(journal.iter().all(|row| row.action != "delete"), "{case}: {journal:?}");

        assert!(firstline.delete(target));
        scene.edit(3, "name", json!("Renamed"));
        let summary = scene.run().await;
        assert_eq!((summary.vanished.new_gone, scene.customers()), (1, 19), "{case}: {summary:?}");
        let again = scene.run().await;
        assert_eq!((again.created, scene.customers()), (0, 19), "{case}: {again:?}");
    }
}

#[tokio::test]
async fn a_tenant_that_does_not_delete_keeps_its_records_and_their_links() {
    for status in [403, 405, 422] {
        let switches = FirstLineSwitches { delete_contact_status: status, ..FirstLineSwitches::default() };
        let scene = Scene::before(20, &deletion(), switches).await;
        scene.run().await;
        scene.delete(3);
        let summary = scene.sweeps(2).await;
        assert_eq!((summary.absence.deleted, summary.exit_code()), (0, 1), "{status} {summary:?}");
        assert_eq!(summary.absence.failed.get(&format!("refused ({status})")), Some(&1), "{summary:?}");
        assert!(scene.link(3).await.unwrap().fingerprint.is_some());
        assert_ne!(scene.customer(3), Value::Null);
    }
}

#[tokio::test]
async fn what_first_line_will_not_delete_or_mark_rests_and_leaves_the_ceiling_to_the_others() {
    let strict = format!("{}ceiling = 2\n", deletion());
    let scene = Scene::with(20, &strict).await;
    let firstline = scene.world.sandbox.firstline();
    let refusing =
        |status| firstline.set_switches(FirstLineSwitches { delete_contact_status: status, ..firstline.switches() });
    refusing(422);
    scene.delete(3);
    scene.delete(4);
    let summary = scene.sweeps(2).await;
    assert_eq!(summary.absence.failed.get("refused (422)"), Some(&2), "{summary:?}");
    let tried = scene.deletions();
    refusing(200);
    for gone in [5, 6] {
        scene.delete(gone);
    }
    let summary = scene.sweeps(2).await;
    // Four are gone, and two are above the ceiling of none: those that were refused do not count.
    assert_eq!((summary.delete_ceiling, summary.absence.deleted), (None, 2), "{summary:?}");
    assert_eq!(
        (summary.absence.resting.get("refused"), summary.exit_code()),
        (Some(&2), 0),
        "an operator sees them: {summary:?}"
    );
    assert!(summary.absence.rows.iter().any(|row| row.livedesk_id == scene.id(3).0 && row.outcome == "refused"));
    assert_eq!(scene.deletions(), tried + 2, "and they are left alone for a while");
    assert_ne!(scene.customer(3), Value::Null);
}

#[tokio::test]
async fn the_survivor_of_a_merge_is_carried_before_the_other_record_goes() {
    let scene = Scene::with(20, &deletion()).await;
    scene.edit(3, "phone_number", Value::Null);
    scene.run().await;
    let moved = scene.customer(4)["phones"][0]["number"].clone();
    assert!(scene.world.sandbox.livedesk().merge(scene.ids[3], scene.ids[4]));
    let first = scene.run().await;
    assert_eq!((first.updated, first.absence.deleted), (1, 0), "{first:?}");
    assert_eq!((&scene.customer(3)["phones"][0]["number"], scene.customers()), (&moved, 20));
    let second = scene.run().await;
    assert_eq!((second.absence.deleted, scene.customers()), (1, 19), "{second:?}");
    scene.world.assert_right().await;
}

#[tokio::test]
async fn a_merged_customer_becomes_an_alias_and_nothing_is_written_through_it() {
    let scene = Scene::with(20, "").await;
    let firstline = scene.world.sandbox.firstline();
    let (kept, merged) = (scene.target(3).await, scene.target(4).await);
    assert!(firstline.merge(kept, merged));
    // 6 was merged into a customer of theirs, which took over our stamp.
    let theirs = firstline.add_contact(&json!({ "first_name": "Prior" }), &[], &[], &[]);
    assert!(firstline.merge(theirs, scene.target(6).await));
    // Nobody notices what nobody writes to.
    assert_eq!(scene.run().await.vanished.aliases, 0);
    scene.edit(4, "name", json!("Another"));
    scene.edit(6, "name", json!("Another"));
    let before = firstline.dump();
    let summary = scene.run().await;
    assert_eq!(
        (summary.vanished.new_aliases, summary.vanished.aliases, summary.vanished.gone),
        (2, 2, 0),
        "{summary:?}"
    );
    assert_eq!((summary.exit_code(), firstline.dump()), (0, before.clone()), "{summary:?}");
    for (at, survivor) in [(4, kept), (6, theirs)] {
        let link = scene.link(at).await.unwrap();
        let survivor = FirstLineId(i64::try_from(survivor).unwrap());
        assert_eq!((link.standing, link.alias_of), (Standing::Alias, Some(survivor)));
        assert_ne!(link.target, survivor);
    }
    // From now on it is known, and costs nothing, whatever its contact does.
    scene.edit(4, "name", json!("Third"));
    firstline.reset_counts();
    let again = scene.run().await;
    let rows: Vec<_> = again.vanished.rows.iter().map(|row| (row.livedesk_id, row.alias_of)).collect();
    assert_eq!((again.vanished.aliases, again.vanished.new_aliases, again.exit_code()), (2, 0, 0), "{again:?}");
    assert_eq!(rows[0], (scene.id(4).0, Some(i64::try_from(kept).unwrap())));
    assert_eq!((firstline.tally().contact_get, firstline.dump()), (1, before));
    assert_eq!(again.handled(), 20);
    // A person says that it is to be carried anew: the customer that holds the stamp is linked, and only then written to.
    let id = scene.id(6).to_string();
    let relinked = scene.world.command(&["--json", "retry", &id, "--recreate"]).await;
    assert_eq!((relinked.code(), &relinked.json()["adopted"]), (Some(0), &json!(1)), "{relinked:?}");
    let after = scene.run().await;
    assert_eq!((after.created, after.vanished.aliases, scene.customers()), (0, 1, 19), "{after:?}");
    assert_eq!(scene.target(6).await, theirs);
}

#[tokio::test]
async fn a_deleted_customer_is_gone_and_not_made_again() {
    let scene = Scene::with(20, "").await;
    let firstline = scene.world.sandbox.firstline();
    firstline.delete(scene.target(4).await);
    scene.edit(4, "name", json!("Another"));
    let summary = scene.run().await;
    assert_eq!((summary.vanished.new_gone, summary.set_aside, summary.exit_code()), (1, 1, 1), "{summary:?}");
    assert_eq!(scene.link(4).await.unwrap().standing, Standing::Gone);
    firstline.reset_counts();
    scene.edit(4, "name", json!("Third"));
    let again = scene.run().await;
    assert_eq!((again.vanished.gone, again.vanished.new_gone, again.exit_code()), (1, 0, 0), "{again:?}");
    assert_eq!((firstline.tally().writes(), firstline.tally().contact_get, scene.customers()), (0, 1, 19));
    // Asked for by id it is looked at again, and is still gone.
    let asked = scene.only(4).await;
    assert_eq!((asked.vanished.gone, asked.created, scene.customers()), (1, 0, 19), "{asked:?}");
}

#[tokio::test]
async fn a_customer_that_was_taken_for_gone_and_is_there_is_carried_again() {
    let scene = Scene::with(20, "").await;
    let link = scene.link(4).await.unwrap();
    let hours_ago = |hours: i64| Timestamp(link.updated_at.0 - hours * 3_600_000);
    for (hours, found) in [(0, 0), (8 * 24, 0), (2, 1)] {
        let gone = Link { standing: Standing::Gone, updated_at: hours_ago(hours), ..link.clone() };
        scene.write(vec![WriteOp::PutLink(gone)]).await;
        scene.edit(4, "name", json!(format!("After {hours} hours")));
        let summary = scene.run().await;
        assert_eq!((summary.vanished.gone, summary.vanished.found_again), (1, found), "{hours}: {summary:?}");
    }
    assert_eq!(scene.run().await.updated, 1);
    scene.world.assert_right().await;
    // What is really gone stays so.
    scene.world.sandbox.firstline().delete(scene.target(5).await);
    let gone = Link { standing: Standing::Gone, updated_at: hours_ago(2), ..scene.link(5).await.unwrap() };
    scene.write(vec![WriteOp::PutLink(gone)]).await;
    let summary = scene.run().await;
    assert_eq!((summary.vanished.found_again, scene.link(5).await.unwrap().standing), (0, Standing::Gone));
}

#[tokio::test]
async fn a_deleted_customer_whose_only_key_is_the_familys_phone_is_gone_and_no_alias_of_the_relative() {
    for merged in [false, true] {
        let scene = Scene::with(20, "").await;
        let livedesk = scene.world.sandbox.livedesk();
        let family = |name: &str| json!({ "name": name, "phone_number": "+886955000111" });
        let (parent, child) = (livedesk.add_contact(family("Pat Lin")), livedesk.add_contact(family("Kit Lin")));
        assert_eq!(scene.run().await.created, 2);
        let firstline = scene.world.sandbox.firstline();
        let customer = |id: u64| {
            let found = firstline
                .contacts()
                .into_iter()
                .find(|contact| contact.membership_no.as_deref() == Some(&format!("LD-{id}")));
            found.unwrap().id
        };
        if merged {
            assert!(firstline.merge(customer(parent), customer(child)));
        } else {
            assert!(firstline.delete(customer(child)));
        }
        assert!(livedesk.edit(child, |contact| drop(contact.insert("name".into(), json!("Kim Lin")))));
        let summary = scene.run().await;
        let counts = &summary.vanished;
        let expected = if merged { (1, 0) } else { (0, 1) };
        assert_eq!((counts.new_aliases, counts.new_gone), expected, "merged: {merged} {summary:?}");
    }
}

#[tokio::test]
async fn a_404_is_not_believed_while_nobody_can_vouch_for_it() {
    // The only other record of theirs is gone as well; those that we made say nothing about what a role shows of others'.
    let scene = Scene::before(20, "", FirstLineSwitches::default()).await;
    let firstline = scene.world.sandbox.firstline();
    for at in 0..2 {
        let email = format!("person{at}@example.com");
        firstline.add_contact(&json!({ "first_name": "Prior" }), &[&email], &[], &[]);
    }
    assert_eq!(scene.run().await.adopted, 2);
    for at in 0..2 {
        firstline.delete(scene.target(at).await);
    }
    scene.edit(0, "name", json!("Another"));
    let summary = scene.run().await;
    assert_eq!((summary.set_aside, summary.vanished.gone, summary.exit_code()), (1, 0, 1), "{summary:?}");
    assert_eq!(scene.link(0).await.unwrap().standing, Standing::Live);
}

#[tokio::test]
async fn an_account_that_sees_less_than_before_stops_the_run_and_turns_nothing_into_gone() {
    for share in [1.0, 0.5] {
        let scene = Scene::before(80, "", FirstLineSwitches::default()).await;
        let firstline = scene.world.sandbox.firstline();
        for at in 0..60 {
            let email = format!("person{at}@example.com");
            firstline.add_contact(&json!({ "first_name": "Prior" }), &[&email], &[], &[]);
        }
        assert_eq!(scene.run().await.adopted, 60);
        let mut switches = firstline.switches();
        switches.hidden_share = share;
        firstline.set_switches(switches);
        (0..60).for_each(|at| scene.edit(at, "phone_number", json!(format!("+8869222{at:05}"))));
        let (_, end) = scene.world.run(Entrants::All).await.unwrap();
        let failure = end.failure.expect("it must not go on").to_string();
        assert!(failure.contains("check its role"), "{failure}");
        let store = scene.world.store().await;
        let standings = store.standings().await.unwrap();
        assert_eq!((standings.live, standings.gone + standings.alias), (80, 0), "{share}");
        store.close().await;
        // The role is mended: everything is as if nothing had been.
        let mut switches = firstline.switches();
        switches.hidden_share = 0.0;
        firstline.set_switches(switches);
        // The sweep that was stopped goes on first; what it had passed is looked at again by the next one.
        let summary = scene.sweeps(2).await;
        assert_eq!((summary.set_aside, summary.exit_code()), (0, 0), "{share} {summary:?}");
    }
}

#[tokio::test]
async fn an_operator_sees_what_is_gone_and_can_have_it_made_again() {
    let desk = Desk::new().await;
    desk.write("mapping.toml", MAPPING);
    desk.run(&["backfill", "--yes"]).await.expect(0);
    let livedesk = desk.sandbox.livedesk();
    let mut with_email =
        livedesk.listed_ids().into_iter().filter(|id| livedesk.contact(*id).unwrap()["email"].is_string());
    let mut one = || with_email.next().unwrap();
    let (kept, gone, absent, merged) = (one(), one(), one(), one());
    let customer = |id: u64| {
        let stamp = json!(format!("LD-{id}"));
        let dump = desk.sandbox.firstline().dump();
        let found = dump.as_array().unwrap().iter().find(|customer| customer["membership_no"] == stamp).cloned();
        found.map(|customer| customer["id"].as_u64().unwrap())
    };
    desk.sandbox.firstline().delete(customer(gone).unwrap());
    let survivor = customer(kept).unwrap();
    desk.sandbox.firstline().merge(survivor, customer(merged).unwrap());
    for id in [gone, merged] {
        livedesk.edit(id, |contact| drop(contact.insert("name".into(), json!("Another"))));
    }
    livedesk.delete(absent);
    desk.run(&["backfill", "--yes"]).await.expect(1).says("customer is gone from FIRST LINE");
    desk.run(&["backfill", "--yes"]).await.expect(0).says("1 linked contacts are not listed by LiveDesk any more");
    assert!(desk.files().contains(&String::from("deskferry-absent-3.csv")), "{:?}", desk.files());
    let csv = std::fs::read_to_string(desk.path("deskferry-vanished-3.csv")).unwrap();
    assert!(csv.contains(&format!("{merged},")) && csv.contains(&format!(",alias,{survivor}")), "{csv}");
    let status = desk.run(&["status", "--json"]).await.expect(0).json();
    assert_eq!(status["standings"], json!({ "live": 18, "alias": 1, "gone": 1 }));
    assert_eq!(status["absent"]["absent"], 1);
    desk.run(&["status"]).await.expect(0).says("1 customers were merged into others, 1 are gone");

    let live = kept.to_string();
    desk.run(&["retry", &live, "--recreate"]).await.expect(2).says("which is not known to be gone");
    let ids = [gone.to_string(), merged.to_string()];
    let made = desk.run(&["retry", &ids[0], &ids[1], "--recreate", "--json"]).await.expect(0).json();
    assert_eq!(made["created"], 2, "{made}");
    assert!(customer(gone).is_some() && customer(merged).is_some());
    let status = desk.run(&["status", "--json"]).await.expect(0).json();
    assert_eq!(status["standings"], json!({ "live": 20, "alias": 0, "gone": 0 }));
    // For one run the ceiling is what the operator says.
    let report = desk.run(&["backfill", "--yes", "--deletes-ceiling", "5", "--json"]).await.expect(0).json();
    assert_eq!((&report["delete_ceiling"], &report["absence"]["absent"]), (&Value::Null, &json!(1)), "{report}");
}

#[tokio::test]
async fn a_contact_that_did_not_change_is_looked_at_when_a_person_asks_for_it() {
    let scene = Scene::with(20, "").await;
    scene.world.sandbox.firstline().delete(scene.target(4).await);
    let id = scene.id(4).to_string();
    let looked = scene.world.command(&["--json", "retry", &id]).await;
    assert_eq!(looked.json()["vanished"]["new_gone"], 1, "{looked:?}");
    let made = scene.world.command(&["--json", "retry", &id, "--recreate"]).await;
    assert_eq!((made.code(), &made.json()["created"]), (Some(0), &json!(1)), "{made:?}");
    // Who has nothing to be done is read, and not written to.
    let (firstline, id) = (scene.world.sandbox.firstline(), scene.id(5).to_string());
    firstline.reset_counts();
    let looked = scene.world.command(&["--json", "retry", &id]).await;
    assert_eq!((looked.code(), &looked.json()["unchanged"]), (Some(0), &json!(1)), "{looked:?}");
    assert_eq!((firstline.tally().contact_get, firstline.tally().writes()), (2, 0), "a witness, and its record");
}

#[tokio::test]
async fn a_create_that_never_arrived_is_settled_by_the_link_that_stands() {
    let scene = Scene::with(20, "").await;
    let link = scene.link(3).await.unwrap();
    let store = scene.world.store().await;
    let intent = Intent {
        seq: store.next_intent_seq(),
        livedesk_id: link.livedesk_id,
        kind: IntentKind::Contact,
        stamp: format!("LD-{}", link.livedesk_id),
        key: None,
        target: None,
        high_water: 0,
        opened_at: link.linked_at,
        parked_at: None,
        state: IntentState::Absent,
        recreated: false,
        base: link.base.clone(),
    };
    store.write(vec![WriteOp::OpenIntent(intent)]).await.unwrap();
    store.close().await;
    let summary = scene.run().await;
    assert_eq!((summary.exit_code(), summary.parked, summary.created), (0, 0, 0), "{summary:?}");
    assert_eq!(scene.customers(), 20);
    let store = scene.world.store().await;
    let absent: Vec<_> = store.open_intents().await.unwrap();
    assert!(absent.iter().all(|intent| intent.state == IntentState::Audit), "{absent:?}");
    store.close().await;
}

#[tokio::test]
async fn a_process_that_is_killed_among_its_deletions_ends_the_same() {
    const GONE: usize = 12;
    let scene = Scene::with(30, &deletion()).await;
    (0..GONE).for_each(|at| scene.delete(at));
    scene.run().await;
    let firstline = scene.world.sandbox.firstline();
    for killed_at in [1, 4, 9] {
        let mut process = scene.world.spawn(&["backfill", "--yes"]);
        assert!(process.until(|| firstline.tally().contact_delete >= killed_at).await, "it ended before {killed_at}");
        process.kill().await;
    }
    assert!(30 - scene.customers() >= 9);
    scene.run().await;
    assert_eq!(scene.customers(), 30 - GONE);
    scene.world.assert_right().await;
    let store = scene.world.store().await;
    assert_eq!(store.standings().await.unwrap().live, 30 - GONE as u64);
    assert_eq!(store.absence_counts().await.unwrap().absent, 0);
    for at in 0..GONE {
        let journal = store.journal_of_contact(scene.id(at)).await.unwrap();
        assert!(journal.iter().any(|entry| entry.action == "delete"), "{at}");
    }
    store.close().await;
}
