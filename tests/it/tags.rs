//! Tags from LiveDesk's labels, and companies: what is put on, what stays, and what a run that cannot know leaves alone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deskferry::config::template;
use deskferry::domain::ids::{FirstLineId, LiveDeskId, RunId};
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::{Fault, FaultFilter};
use deskferry::sandbox::firstline::{FirstLine, FirstLineSwitches, ListSync, ListsShownIn, TagNames, TagsShown};
use deskferry::sandbox::livedesk::{LabelFilter, LiveDeskSwitches};
use deskferry::store::Link;
use deskferry::sync::directory::LazyDirectory;
use deskferry::sync::engine::RunError;
use deskferry::sync::interlude::{Interlude, Played};
use deskferry::sync::pipeline::{Entrants, RunEnd};
use deskferry::sync::summary::Summary;
use futures::future::LocalBoxFuture;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::cli_support::Desk;
use crate::world::World;

const MAPPING: &str = r#"
[contact]
first_name = "name"
[[emails]]
value = "email"
"#;
const UNION: &str = "[[tags]]\nlabel = \"vip\"\ntag = \"VIP\"\n[[tags]]\nlabel = \"news\"\n";
const SOURCE: &str =
    "[[tags]]\nlabel = \"vip\"\ntag = \"VIP\"\nowner = \"source\"\n[[tags]]\nlabel = \"news\"\nowner = \"source\"\n";
/// Everybody; every third is "vip", every fourth "news", the first one has another label that is not mapped.
const PEOPLE: u64 = 36;

/// A quick cycle that is always due.
struct AlwaysDue {
    firstline: FirstLine,
    /// How often it was let in before the first contact was made.
    early: AtomicUsize,
}

impl Interlude for AlwaysDue {
    fn due(&self) -> bool {
        true
    }

    fn play<'a>(&'a self, _: &'a Arc<LazyDirectory>) -> LocalBoxFuture<'a, Result<Played, RunError>> {
        let none_yet = self.firstline.tally().contact_create == 0;
        self.early.fetch_add(usize::from(none_yet), Ordering::SeqCst);
        Box::pin(async { Ok(Played { highest: FirstLineId(0) }) })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reading_who_has_a_label_lets_the_quick_cycle_in_between_two_pages() {
    let mut scene = Scene::with(UNION, FirstLineSwitches::default()).await;
    let cycle = Arc::new(AlwaysDue { firstline: scene.world.sandbox.firstline().clone(), early: AtomicUsize::new(0) });
    scene.world.interlude = Some(Arc::clone(&cycle) as Arc<dyn Interlude>);
    let end = scene.world.backfill().await;
    assert_eq!(end.summary.created, PEOPLE, "{:?}", end.summary);
    let early = cycle.early.load(Ordering::SeqCst);
    assert!(early >= 4, "let in {early} times while two labels were read");
}

/// An account with labels, in front of an empty tenant.
struct Scene {
    world: World,
    /// LiveDesk ids, in order.
    ids: Vec<u64>,
}

impl Scene {
    async fn with(tags: &str, firstline: FirstLineSwitches) -> Self {
        let config = SandboxConfig { contacts: 0, edge_cases: false, firstline, ..SandboxConfig::default() };
        let mut world = World::start(config).await;
        world.mapping = format!("{MAPPING}{tags}");
        let desk = world.sandbox.livedesk();
        let ids: Vec<u64> = (0..PEOPLE)
            .map(|at| {
                let email = format!("person{at}@example.com");
                let row = json!({ "name": format!("Person {at}"), "email": email, "created_at": 1_700_000_000 + at });
                desk.add_contact(row)
            })
            .collect();
        for (at, id) in ids.iter().enumerate() {
            let mut labels = Vec::new();
            labels.extend((at == 0).then_some("other"));
            labels.extend(at.is_multiple_of(3).then_some("vip"));
            labels.extend(at.is_multiple_of(4).then_some("news"));
            desk.set_labels(*id, &labels);
        }
        Self { world, ids }
    }

    async fn start(tags: &str) -> Self {
        Self::with(tags, FirstLineSwitches::default()).await
    }

    /// The customer of a LiveDesk contact.
    fn customer(&self, id: u64) -> Value {
        let stamp = json!(format!("LD-{id}"));
        let dump = self.world.sandbox.firstline().dump();
        let found: Vec<&Value> =
            dump.as_array().unwrap().iter().filter(|customer| customer["membership_no"] == stamp).collect();
        assert_eq!(found.len(), 1, "{stamp}");
        found[0].clone()
    }

    /// The names of the tags of a LiveDesk contact's customer.
    fn tags(&self, id: u64) -> BTreeSet<String> {
        let names: BTreeMap<u64, String> = self.world.sandbox.firstline().tags().into_iter().collect();
        let ids = self.customer(id)["tag_ids"].clone();
        ids.as_array().unwrap().iter().map(|id| names[&id.as_u64().unwrap()].clone()).collect()
    }

    /// The tags that the labels stand for.
    fn wished(&self, id: u64) -> BTreeSet<String> {
        let labels = self.world.sandbox.livedesk().labels(id).into_iter().filter(|label| label != "other");
        labels.map(|label| if label == "vip" { String::from("VIP") } else { label }).collect()
    }

    /// Every customer has exactly the tags of its labels, and those that agents gave.
    fn assert_tagged(&self, agents: impl Fn(u64) -> BTreeSet<String>) {
        for id in &self.ids {
            let expected: BTreeSet<String> = self.wished(*id).union(&agents(*id)).cloned().collect();
            assert_eq!(self.tags(*id), expected, "contact {id}");
        }
    }

    /// Gives a customer a tag, as an agent would.
    fn agent_tags(&self, id: u64, tag: u64) {
        let customer = self.customer(id);
        let mut tags = customer["tag_ids"].as_array().unwrap().clone();
        tags.push(json!(tag));
        assert!(self.world.sandbox.firstline().edit(customer["id"].as_u64().unwrap(), "tag_ids", json!(tags)));
    }

    fn set_switches(&self, change: impl FnOnce(&mut LiveDeskSwitches)) {
        let desk = self.world.sandbox.livedesk();
        let mut switches = desk.switches();
        change(&mut switches);
        desk.set_switches(switches);
    }

    async fn run(&self) -> Summary {
        self.world.backfill().await.summary
    }

    async fn only(&self, ids: &[u64]) -> RunEnd {
        let ids = ids.iter().map(|id| LiveDeskId(i64::try_from(*id).unwrap())).collect();
        let (_, end) = self.world.run(Entrants::Only(ids)).await.unwrap();
        assert!(end.failure.is_none(), "{:?}", end.failure);
        end
    }

    /// Fingerprints and bases of everybody.
    async fn links(&self) -> Vec<Link> {
        let store = self.world.store().await;
        let mut links = store.links_page(LiveDeskId(-1), u32::MAX).await.unwrap();
        store.close().await;
        for link in &mut links {
            // When it was written and by which run is no part of what it says.
            (link.updated_at, link.run) = (link.linked_at, RunId(0));
        }
        links
    }

    /// Requests to FIRST LINE about customers since the counts were reset: reads by id and updates.
    fn touched(&self) -> (u64, u64) {
        let tally = self.world.sandbox.firstline().tally();
        (tally.contact_get, tally.contact_update)
    }

    fn reset_counts(&self) {
        self.world.sandbox.firstline().reset_counts();
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn labels_become_tags_that_are_made_once_and_matched_exactly() {
    let scene = Scene::start(UNION).await;
    let firstline = scene.world.sandbox.firstline();
    // The search for a name finds these too.
    for near in ["VIP gold", "old VIP", "vip", "newsletter"] {
        firstline.add_tag(near);
    }
    let news = firstline.add_tag("news");
    let summary = scene.run().await;
    assert_eq!((summary.created, summary.exit_code()), (PEOPLE, 0), "{summary:?}");
    assert_eq!(summary.tags.added, PEOPLE / 3 + PEOPLE / 4);
    scene.assert_tagged(|_| BTreeSet::new());
    let names: Vec<String> = firstline.tags().into_iter().map(|(_, name)| name).collect();
    assert_eq!(names, ["VIP gold", "old VIP", "vip", "newsletter", "news", "VIP"]);
    assert!(scene.customer(scene.ids[4])["tag_ids"].as_array().unwrap().contains(&json!(news)));
}

#[tokio::test]
async fn only_contacts_whose_labels_changed_cost_requests() {
    let scene = Scene::start(UNION).await;
    scene.run().await;
    scene.reset_counts();
    let again = scene.run().await;
    // The read is of the witness that the tenant is the same one.
    assert_eq!((again.unchanged, again.tags.added, scene.touched()), (PEOPLE, 0, (1, 0)));

    let desk = scene.world.sandbox.livedesk();
    desk.set_labels(scene.ids[1], &["vip"]);
    desk.set_labels(scene.ids[2], &["news", "vip"]);
    scene.reset_counts();
    let changed = scene.run().await;
    assert_eq!((changed.updated, changed.unchanged, changed.tags.added), (2, PEOPLE - 2, 3));
    assert_eq!(scene.touched(), (3, 2));
    scene.assert_tagged(|_| BTreeSet::new());
}

#[tokio::test]
async fn no_tag_of_an_agent_is_lost_however_the_tenant_behaves() {
    for (tags_on_update, tags_shown, update_replaces, nulls_left_out) in [
        (ListSync::Replace, TagsShown::Tags, false, false),
        (ListSync::Union, TagsShown::TagIds, false, false),
        (ListSync::Replace, TagsShown::TagId, true, false),
        (ListSync::Replace, TagsShown::Tags, true, true),
        (ListSync::Union, TagsShown::Tags, true, true),
    ] {
        let switches = FirstLineSwitches {
            tags_on_update,
            tags_shown,
            update_replaces,
            nulls_left_out,
            update_put: true,
            ..FirstLineSwitches::default()
        };
        let what = format!("{tags_on_update:?} {tags_shown:?} {update_replaces} {nulls_left_out}");
        let scene = Scene::with(UNION, switches).await;
        let firstline = scene.world.sandbox.firstline();
        let [theirs, later] = ["theirs", "later"].map(|name| firstline.add_tag(name));
        // Shows that the tenant has the key, where a record leaves out what is empty.
        firstline.add_contact(&json!({ "first_name": "Other", "membership_no": "M-1" }), &[], &[], &[]);
        // Two were there before, found by their addresses.
        for at in [3, 5] {
            let fields = json!({ "first_name": "Prior", "last_name": "Kept", "tag_ids": [theirs] });
            firstline.add_contact(&fields, &[&format!("person{at}@example.com")], &[], &[]);
        }
        let summary = scene.run().await;
        assert_eq!((summary.adopted, summary.created, summary.exit_code()), (2, PEOPLE - 2, 0), "{what} {summary:?}");
        for at in [0, 1, 3, 8] {
            scene.agent_tags(scene.ids[at], later);
        }
        for at in [1, 3, 5, 8] {
            scene.world.sandbox.livedesk().set_labels(scene.ids[at], &["vip", "news"]);
        }
        let changed = scene.run().await;
        assert_eq!((changed.updated, changed.exit_code()), (4, 0), "{what} {changed:?}");
        let agents = |id: u64| {
            let at = scene.ids.iter().position(|known| *known == id).unwrap();
            let mut tags = BTreeSet::new();
            tags.extend([3, 5].contains(&at).then(|| String::from("theirs")));
            tags.extend([0, 1, 3, 8].contains(&at).then(|| String::from("later")));
            tags
        };
        scene.assert_tagged(agents);
        assert_eq!(scene.customer(scene.ids[3])["last_name"], "Kept", "{what}");
        assert_eq!(scene.run().await.unchanged, PEOPLE, "{what}");
        scene.assert_tagged(agents);
    }
}

#[tokio::test]
async fn a_quick_cycle_that_does_not_read_labels_leaves_all_tags_and_fingerprints_as_they_are() {
    for tags in [UNION, SOURCE] {
        let scene = Scene::start(tags).await;
        scene.run().await;
        let (before, dump) = (scene.links().await, scene.world.sandbox.firstline().dump());
        let desk = scene.world.sandbox.livedesk();
        desk.set_labels(scene.ids[0], &[]);
        desk.set_labels(scene.ids[1], &["vip", "news"]);
        desk.set_labels(scene.ids[3], &["news"]);
        scene.reset_counts();
        let end = scene.only(&scene.ids).await;
        assert_eq!((end.summary.unchanged, scene.touched().1), (PEOPLE, 0), "{end:?}");
        assert_eq!(scene.links().await, before);
        assert_eq!(scene.world.sandbox.firstline().dump(), dump);

        // A change of another kind is carried, and what is known of the tags stays known.
        desk.edit(scene.ids[3], |contact| drop(contact.insert("name".into(), json!("Renamed"))));
        let end = scene.only(&scene.ids).await;
        assert_eq!((end.summary.updated, end.summary.unchanged), (1, PEOPLE - 1), "{end:?}");
        assert_eq!(
            (scene.customer(scene.ids[3])["first_name"].clone(), scene.tags(scene.ids[3])),
            (json!("Renamed"), set(&["VIP"]))
        );

        // The next run that reads labels does what they say, and no more.
        scene.reset_counts();
        let full = scene.run().await;
        assert_eq!((full.updated + full.unchanged, scene.touched().0), (PEOPLE, 4), "{full:?}");
        let expected = if tags == SOURCE { set(&["news"]) } else { set(&["VIP", "news"]) };
        assert_eq!((scene.tags(scene.ids[1]), scene.tags(scene.ids[3])), (set(&["VIP", "news"]), expected));
    }
}

#[tokio::test]
async fn contacts_made_without_labels_get_their_tags_from_the_next_run_that_reads_them() {
    let scene = Scene::start(UNION).await;
    let end = scene.only(&scene.ids[..12]).await;
    assert_eq!((end.summary.created, end.summary.tags.added), (12, 0), "{end:?}");
    assert!(scene.ids[..12].iter().all(|id| scene.tags(*id).is_empty()));
    let summary = scene.run().await;
    assert_eq!((summary.created, summary.unchanged + summary.updated), (PEOPLE - 12, 12), "{summary:?}");
    scene.assert_tagged(|_| BTreeSet::new());
}

#[tokio::test]
async fn a_label_that_goes_takes_our_tag_with_it_only_where_the_source_owns_it() {
    for (tags, left) in [(SOURCE, set(&["theirs"])), (UNION, set(&["theirs", "VIP"]))] {
        let scene = Scene::start(tags).await;
        let firstline = scene.world.sandbox.firstline();
        let [theirs, vip] = ["theirs", "VIP"].map(|name| firstline.add_tag(name));
        // Person 3 had the tag before; that it has the label too does not make it ours.
        let prior = json!({ "first_name": "Prior", "tag_ids": [vip] });
        firstline.add_contact(&prior, &["person3@example.com"], &[], &[]);
        scene.run().await;
        scene.agent_tags(scene.ids[6], theirs);
        for at in [3, 6] {
            scene.world.sandbox.livedesk().set_labels(scene.ids[at], &[]);
        }
        let summary = scene.run().await;
        assert_eq!(summary.tags.removed, u64::from(tags == SOURCE), "{summary:?}");
        assert_eq!((scene.tags(scene.ids[6]), scene.tags(scene.ids[3])), (left, set(&["VIP"])));
        assert_eq!(scene.run().await.unchanged, PEOPLE);
    }
}

#[tokio::test]
async fn a_tag_that_an_agent_took_off_stays_off() {
    let scene = Scene::start(SOURCE).await;
    scene.run().await;
    let id = scene.ids[3];
    let customer = scene.customer(id)["id"].as_u64().unwrap();
    assert!(scene.world.sandbox.firstline().edit(customer, "tag_ids", json!([])));
    scene.world.sandbox.livedesk().edit(id, |contact| drop(contact.insert("name".into(), json!("Renamed"))));
    scene.run().await;
    assert_eq!((scene.customer(id)["first_name"].clone(), scene.tags(id)), (json!("Renamed"), BTreeSet::new()));
}

#[tokio::test]
async fn a_tag_that_an_agent_put_on_after_ours_was_refused_is_theirs() {
    let scene = Scene::start(SOURCE).await;
    scene.run().await;
    let (firstline, desk) = (scene.world.sandbox.firstline(), scene.world.sandbox.livedesk());
    let vip = firstline.tags().into_iter().find(|(_, name)| name == "VIP").map(|(id, _)| id).unwrap();
    // Label and name change together, and the name is refused: the tag is not put on either.
    firstline.set_switches(FirstLineSwitches { name_max: 20, ..FirstLineSwitches::default() });
    desk.set_labels(scene.ids[1], &["vip"]);
    let rename = |name: &str| {
        let name = json!(name);
        desk.edit(scene.ids[1], |contact| drop(contact.insert("name".into(), name)));
    };
    rename("Person with a name that is too long");
    assert_eq!(scene.run().await.set_aside, 1);
    assert_eq!(scene.tags(scene.ids[1]), set(&[]));
    scene.agent_tags(scene.ids[1], vip);
    desk.set_labels(scene.ids[1], &[]);
    rename("Person One");
    let mended = scene.run().await;
    assert_eq!((mended.updated, mended.tags.removed, scene.tags(scene.ids[1])), (1, 0, set(&["VIP"])), "{mended:?}");
}

#[tokio::test]
async fn a_label_that_nobody_has_is_named_once_and_takes_nothing_away() {
    let mut scene = Scene::start(SOURCE).await;
    scene.run().await;
    // Misspelt, or renamed in LiveDesk: everybody would lose the tag.
    scene.world.mapping = scene.world.mapping.replace("\"vip\"", "\"vipp\"");
    let summary = scene.run().await;
    assert_eq!(summary.tags.labels_empty, ["vipp"]);
    assert_eq!((summary.unchanged, summary.exit_code(), summary.tags.removed), (PEOPLE, 0, 0), "{summary:?}");
    scene.assert_tagged(|_| BTreeSet::new());
}

#[tokio::test]
async fn a_filter_that_is_ignored_tags_nobody() {
    for (labels, unknown) in [
        (LabelFilter::Both, &[][..]),
        (LabelFilter::List, &[]),
        (LabelFilter::Text, &[]),
        (LabelFilter::UnknownIgnored, &["nosuch"]),
        (LabelFilter::Ignored, &["news", "nosuch", "vip"]),
        (LabelFilter::Refused, &["news", "nosuch", "vip"]),
    ] {
        let scene = Scene::start(&format!("{UNION}[[tags]]\nlabel = \"nosuch\"\n")).await;
        scene.set_switches(|switches| switches.labels = labels);
        let summary = scene.run().await;
        let found: Vec<&str> = summary.tags.labels_unknown.keys().map(String::as_str).collect();
        assert_eq!(found, unknown, "{labels:?} {summary:?}");
        assert_eq!((summary.created, summary.exit_code()), (PEOPLE, u8::from(!unknown.is_empty())), "{labels:?}");
        for id in &scene.ids {
            let expected = if unknown.len() < 3 { scene.wished(*id) } else { BTreeSet::new() };
            assert_eq!(scene.tags(*id), expected, "{labels:?}");
        }
        let tags = scene.world.sandbox.firstline().tags().len();
        assert_eq!(tags, if unknown.len() < 3 { 2 } else { 0 }, "{labels:?}: no tag is made for nobody");
    }
}

#[tokio::test]
async fn a_label_that_cannot_be_read_whole_changes_nothing() {
    let scene = Scene::start(SOURCE).await;
    scene.run().await;
    let before = scene.links().await;
    scene.world.sandbox.livedesk().set_labels(scene.ids[0], &[]);
    scene.world.sandbox.livedesk().set_labels(scene.ids[1], &["vip"]);
    // Every list says that it holds three more contacts than it shows.
    scene.set_switches(|switches| switches.count_offset = 3);
    let summary = scene.run().await;
    assert_eq!(summary.tags.labels_unknown.len(), 2, "{summary:?}");
    assert!(summary.tags.labels_unknown["vip"].contains("short by"), "{summary:?}");
    assert_eq!((summary.unchanged, summary.exit_code()), (PEOPLE, 1));
    assert_eq!(scene.links().await, before);
    assert_eq!(scene.tags(scene.ids[0]), set(&["VIP", "news"]));

    scene.set_switches(|switches| switches.count_offset = 0);
    scene.run().await;
    scene.assert_tagged(|_| BTreeSet::new());
}

#[tokio::test]
async fn a_tag_whose_create_got_no_answer_is_not_made_twice() {
    for (fault, times) in [(Fault::LostAck, 1), (Fault::ResetAfter, 2), (Fault::Html, 1), (Fault::Error, 1)] {
        let scene = Scene::start(UNION).await;
        let creates = FaultFilter::on("POST", "/contact-tag");
        scene.world.sandbox.firstline_faults().next(fault, times, creates);
        scene.run().await;
        assert!(scene.world.sandbox.firstline_faults().injected(fault) > 0, "{fault:?}");
        let mut names: Vec<String> = scene.world.sandbox.firstline().tags().into_iter().map(|(_, name)| name).collect();
        names.sort();
        assert_eq!(names, ["VIP", "news"], "{fault:?}");
        scene.run().await;
        scene.assert_tagged(|_| BTreeSet::new());
    }
}

/// Answers to writes name tags and companies, or list rows do, and the record itself never does: that it names none does not
/// mean that it has none.
#[tokio::test]
async fn lists_named_in_write_answers_or_list_rows_only_no_foreign_tag_lost() {
    for (lists_shown_in, tags_shown) in [
        (ListsShownIn::Writes, TagsShown::TagId),
        (ListsShownIn::Writes, TagsShown::Tags),
        (ListsShownIn::Rows, TagsShown::Tags),
    ] {
        let switches =
            FirstLineSwitches { lists_shown_in, tags_shown, companies_shown: true, ..FirstLineSwitches::default() };
        let mut scene = Scene::with(UNION, switches).await;
        scene.world.mapping = format!("companies = \"link\"\n{}", scene.world.mapping);
        let (firstline, desk) = (scene.world.sandbox.firstline().clone(), scene.world.sandbox.livedesk().clone());
        let theirs = firstline.add_tag("theirs");
        let [company, _] = ["Somebody's", "Alpha"].map(|name| firstline.add_company(name, None, &[]));
        scene.run().await;
        // An agent works on everybody; then the labels of everybody change, and with them the record.
        for id in &scene.ids {
            scene.agent_tags(*id, theirs);
            let customer = scene.customer(*id)["id"].as_u64().unwrap();
            assert!(firstline.edit(customer, "company_ids", json!([company])));
        }
        for round in 0..2 {
            for (at, id) in scene.ids.iter().enumerate() {
                desk.set_labels(*id, if (at + round) % 2 == 0 { &["vip", "news"] } else { &["vip"] });
                desk.edit(*id, |contact| {
                    contact.insert("name".into(), json!(format!("Person {at} of round {round}")));
                    contact.insert("additional_attributes".into(), json!({ "company": "Alpha" }));
                });
            }
            scene.run().await;
            for id in &scene.ids {
                let (tags, customer) = (scene.tags(*id), scene.customer(*id));
                let what = format!("{lists_shown_in:?} {tags_shown:?}, round {round}, contact {id}: {customer}");
                assert!(tags.contains("theirs"), "{what}");
                assert!(customer["company_ids"].as_array().unwrap().contains(&json!(company)), "{what}");
                assert!(customer["first_name"].as_str().unwrap().ends_with(&format!("round {round}")), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_tag_whose_name_first_line_alters_is_made_once_and_known_again() {
    for (tag_names, stored) in
        [(TagNames::AsSent, "Very Important"), (TagNames::LowerCase, "very important"), (TagNames::Cut, "Very Imp")]
    {
        let switches = FirstLineSwitches { tag_names, ..FirstLineSwitches::default() };
        let tags = SOURCE.replace("\"VIP\"", "\"Very Important\"");
        let scene = Scene::with(&tags, switches).await;
        let firstline = scene.world.sandbox.firstline();
        // Somebody else's, found by the same search.
        firstline.add_tag("Not Very Important");
        for run in 0..3 {
            let summary = scene.run().await;
            assert_eq!(summary.exit_code(), 0, "{tag_names:?} {summary:?}");
            assert_eq!(summary.tags.added, if run == 0 { PEOPLE / 3 + PEOPLE / 4 } else { 0 }, "{tag_names:?}");
            let names: Vec<String> = firstline.tags().into_iter().map(|(_, name)| name).collect();
            assert_eq!(names, ["Not Very Important", stored, "news"], "{tag_names:?} run {run}");
        }
        // It is put on and taken off like any other.
        scene.world.sandbox.livedesk().set_labels(scene.ids[3], &[]);
        scene.world.sandbox.livedesk().set_labels(scene.ids[1], &["vip"]);
        let summary = scene.run().await;
        assert_eq!((summary.tags.added, summary.tags.removed), (1, 1), "{tag_names:?}");
        assert_eq!((scene.tags(scene.ids[3]), scene.tags(scene.ids[1])), (BTreeSet::new(), set(&[stored])));
    }
}

#[tokio::test]
async fn a_tag_that_is_renamed_in_first_line_stays_the_tag_of_its_label() {
    let scene = Scene::start(SOURCE).await;
    let firstline = scene.world.sandbox.firstline();
    scene.run().await;
    let vip = firstline.tags().iter().find(|(_, name)| name == "VIP").unwrap().0;
    assert!(firstline.rename_tag(vip, "Gold"));
    scene.world.sandbox.livedesk().set_labels(scene.ids[1], &["vip"]);
    scene.world.sandbox.livedesk().set_labels(scene.ids[3], &[]);
    let summary = scene.run().await;
    assert_eq!((summary.tags.added, summary.tags.removed, firstline.tags().len()), (1, 1, 2), "{summary:?}");
    assert_eq!((scene.tags(scene.ids[1]), scene.tags(scene.ids[3])), (set(&["Gold"]), BTreeSet::new()));

    // Somebody makes a tag of the name that the mapping means: that one it is from now on.
    firstline.add_tag("VIP");
    scene.world.sandbox.livedesk().set_labels(scene.ids[2], &["vip"]);
    scene.run().await;
    assert_eq!((scene.tags(scene.ids[2]), firstline.tags().len()), (set(&["VIP"]), 3));
}

#[tokio::test]
async fn a_tag_whose_create_got_no_answer_is_known_by_an_altered_name_too() {
    for fault in [Fault::LostAck, Fault::ResetAfter] {
        let switches = FirstLineSwitches { tag_names: TagNames::LowerCase, ..FirstLineSwitches::default() };
        let scene = Scene::with(UNION, switches).await;
        scene.world.sandbox.firstline_faults().next(fault, 1, FaultFilter::on("POST", "/contact-tag"));
        for _ in 0..2 {
            scene.run().await;
            let mut names: Vec<String> =
                scene.world.sandbox.firstline().tags().into_iter().map(|(_, name)| name).collect();
            names.sort();
            assert_eq!(names, ["news", "vip"], "{fault:?}");
        }
        assert_eq!(scene.tags(scene.ids[0]), set(&["news", "vip"]), "{fault:?}");
    }
}

#[tokio::test]
async fn contacts_are_carried_without_a_tag_that_is_refused() {
    let switches = FirstLineSwitches { tag_name_unique: true, ..FirstLineSwitches::default() };
    let scene = Scene::with(UNION, switches).await;
    // Unique without regard to case, and not the same name.
    scene.world.sandbox.firstline().add_tag("vip");
    let summary = scene.run().await;
    assert_eq!((summary.created, summary.set_aside, summary.exit_code()), (PEOPLE, 0, 1), "{summary:?}");
    assert_eq!(summary.tags.refused.keys().collect::<Vec<_>>(), ["VIP"]);
    assert_eq!(summary.tags.left_out, [(String::from("VIP"), PEOPLE / 3)].into());
    assert_eq!(scene.tags(scene.ids[0]), set(&["news"]));

    // Once it can be had, they get it.
    scene.world.sandbox.firstline().add_tag("VIP");
    assert_eq!(scene.run().await.tags.added, PEOPLE / 3);
    scene.assert_tagged(|_| BTreeSet::new());
}

#[tokio::test]
async fn records_that_do_not_show_their_tags_get_none_and_lose_none() {
    let switches = FirstLineSwitches { tags_shown: TagsShown::LeftOut, ..FirstLineSwitches::default() };
    let scene = Scene::with(UNION, switches).await;
    let theirs = scene.world.sandbox.firstline().add_tag("theirs");
    let prior = json!({ "first_name": "Prior", "tag_ids": [theirs] });
    scene.world.sandbox.firstline().add_contact(&prior, &["person3@example.com"], &[], &[]);
    let summary = scene.run().await;
    assert_eq!((summary.adopted, summary.tags.not_shown, summary.exit_code()), (1, 1, 1), "{summary:?}");
    assert_eq!(scene.tags(scene.ids[3]), set(&["theirs"]));
    // A record that was just made has no tags but ours.
    assert_eq!(scene.tags(scene.ids[0]), set(&["VIP", "news"]));
    // It stays owed, and is told again, but costs no request.
    let (before, again) = (scene.world.sandbox.firstline_faults().requests(), scene.run().await);
    assert_eq!((again.unchanged, again.tags.not_shown, again.exit_code()), (PEOPLE, 1, 1), "{again:?}");
    let idle = scene.world.sandbox.firstline_faults().requests() - before;
    assert!(idle < PEOPLE, "{idle} requests for nothing new");
}

#[tokio::test]
async fn a_tag_that_is_owed_comes_once_the_tenant_shows_tags() {
    let switches = FirstLineSwitches { tags_shown: TagsShown::LeftOut, ..FirstLineSwitches::default() };
    let scene = Scene::with(UNION, switches).await;
    let firstline = scene.world.sandbox.firstline();
    let theirs = firstline.add_tag("theirs");
    let prior = json!({ "first_name": "Prior", "tag_ids": [theirs] });
    firstline.add_contact(&prior, &["person3@example.com"], &[], &[]);
    assert_eq!(scene.run().await.tags.not_shown, 1);
    firstline.set_switches(FirstLineSwitches::default());
    // Something is read, and shows its tags; the run after it knows that they are shown.
    scene.world.sandbox.livedesk().edit(scene.ids[0], |contact| drop(contact.insert("name".into(), json!("Renamed"))));
    scene.run().await;
    scene.run().await;
    assert_eq!(scene.tags(scene.ids[3]), set(&["theirs", "VIP"]));
    assert_eq!(scene.run().await.exit_code(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_interrupted_between_records_and_their_tags_is_completed_by_the_next() {
    let mut scene = Scene::start(SOURCE).await;
    scene.world.sandbox.firstline_faults().change(|faults| faults.latency_ms = 1);
    for upto in [12, 25, 40, 70] {
        scene.world.stop = CancellationToken::new();
        let upto = scene.world.sandbox.firstline_faults().requests() + upto;
        let run = scene.world.run(Entrants::All);
        tokio::pin!(run);
        while tokio::time::timeout(std::time::Duration::from_millis(1), &mut run).await.is_err() {
            if scene.world.sandbox.firstline_faults().requests() >= upto {
                scene.world.stop.cancel();
            }
        }
    }
    scene.world.stop = CancellationToken::new();
    let summary = scene.run().await;
    assert_eq!(summary.exit_code(), 0, "{summary:?}");
    scene.assert_tagged(|_| BTreeSet::new());
    // What was sent before an interruption is ours all the same.
    for id in &scene.ids {
        scene.world.sandbox.livedesk().set_labels(*id, &[]);
    }
    scene.world.sandbox.livedesk().set_labels(scene.ids[0], &["vip", "news"]);
    scene.run().await;
    scene.assert_tagged(|_| BTreeSet::new());
}

/// Companies of people: of every second person, one of four.
async fn companies(switches: FirstLineSwitches) -> Scene {
    let scene = Scene::with("", switches).await;
    let mut scene = scene;
    scene.world.mapping = format!("companies = \"link\"\n{MAPPING}");
    for (at, id) in scene.ids.iter().enumerate().filter(|(at, _)| at % 2 == 0) {
        let company = ["Alpha", "Beta Ltd", "Gamma", "Delta"][at / 2 % 4];
        let key = if at % 3 == 0 { "company" } else { "company_name" };
        let attributes = json!({ key: company });
        scene
            .world
            .sandbox
            .livedesk()
            .edit(*id, |contact| drop(contact.insert("additional_attributes".into(), attributes)));
    }
    scene
}

#[tokio::test]
async fn contacts_are_linked_to_the_company_of_exactly_their_name() {
    let switches = FirstLineSwitches { companies_shown: true, ..FirstLineSwitches::default() };
    let scene = companies(switches).await;
    let firstline = scene.world.sandbox.firstline();
    let theirs = firstline.add_company("Somebody's", None, &[]);
    let alpha = firstline.add_company("Alpha", None, &[]);
    for near in ["Alpha Beta", "alpha", "Beta", "Gamma", "Gamma"] {
        firstline.add_company(near, None, &[]);
    }
    let prior = json!({ "first_name": "Prior", "company_ids": [theirs] });
    firstline.add_contact(&prior, &["person8@example.com"], &[], &[]);
    let summary = scene.run().await;
    let of = |at: usize| scene.customer(scene.ids[at])["company_ids"].clone();
    assert_eq!((of(0), of(8), of(1)), (json!([alpha]), json!([theirs, alpha]), json!([])));
    assert_eq!((of(2), of(4), of(6)), (json!([]), json!([]), json!([])), "Beta Ltd, Gamma (two), Delta");
    let found = &summary.companies;
    assert_eq!((found.linked, found.not_found, found.several, summary.exit_code()), (5, 9, 4, 0), "{summary:?}");
    assert_eq!(firstline.tally().company_list, 4, "one look-up for each name");

    scene.reset_counts();
    let again = scene.run().await;
    assert_eq!((again.unchanged, scene.touched()), (PEOPLE, (1, 0)), "{again:?}");
    // A company that is made later is found by the next run; another one than before is added beside it.
    let beta = firstline.add_company("Beta Ltd", None, &[]);
    scene.world.sandbox.livedesk().edit(scene.ids[0], |contact| {
        drop(contact.insert("additional_attributes".into(), json!({ "company": "Beta Ltd" })));
    });
    let later = scene.run().await;
    assert_eq!((later.companies.linked, of(2), of(0)), (6, json!([beta]), json!([alpha, beta])), "{later:?}");
}

#[tokio::test]
async fn companies_that_a_record_does_not_show_are_never_overwritten() {
    let scene = companies(FirstLineSwitches::default()).await;
    let firstline = scene.world.sandbox.firstline();
    let [theirs, alpha] = ["Somebody's", "Alpha"].map(|name| firstline.add_company(name, None, &[]));
    let prior = json!({ "first_name": "Prior", "company_ids": [theirs] });
    firstline.add_contact(&prior, &["person8@example.com"], &[], &[]);
    let summary = scene.run().await;
    assert_eq!((summary.companies.linked, summary.companies.not_shown), (4, 1), "{summary:?}");
    let of = |at: usize| scene.customer(scene.ids[at])["company_ids"].clone();
    assert_eq!((of(0), of(8)), (json!([alpha]), json!([theirs])));
    let again = scene.run().await;
    assert_eq!((again.unchanged, again.companies.not_shown), (PEOPLE, 1), "still owed: {again:?}");
}

#[tokio::test]
async fn a_tenant_without_companies_costs_one_request_and_carries_everybody() {
    let scene = companies(FirstLineSwitches { company_missing: true, ..FirstLineSwitches::default() }).await;
    let summary = scene.run().await;
    assert_eq!(
        (summary.created, summary.companies.unknown, summary.exit_code()),
        (PEOPLE, PEOPLE / 2, 0),
        "{summary:?}"
    );
    assert_eq!(scene.world.sandbox.firstline().tally().company_list, 1);
}

#[tokio::test]
async fn check_names_labels_that_nobody_has_tags_that_would_be_made_and_a_missing_list_of_companies() {
    let desk = Desk::new().await;
    let ids = desk.sandbox.livedesk().listed_ids();
    for (at, id) in ids.iter().enumerate() {
        desk.sandbox.livedesk().set_labels(*id, if at < 3 { &["vip"] } else { &[] });
    }
    desk.sandbox.firstline().add_tag("Regular");
    desk.sandbox.firstline().add_tag("gold");
    let lines = "[[tags]]\nlabel = \"vip\"\n[[tags]]\nlabel = \"usual\"\ntag = \"Regular\"\n\
                 [[tags]]\nlabel = \"vip2\"\ntag = \"Gold\"\n";
    desk.write("mapping.toml", &format!("companies = \"link\"\n{}\n{lines}", template::MAPPING));
    let ended = desk.run(&["check"]).await.expect(0);
    ended.says("labels: \"vip\" on 3 contacts");
    ended.says("no contact has the label \"usual\"");
    ended.says("tags that are there: \"Regular\"");
    ended.says("tags that a backfill would make: \"vip\"");
    ended.says("write tag = \"gold\" if that one is meant");
    ended.says("companies can be looked up");

    let switches = FirstLineSwitches { company_missing: true, ..FirstLineSwitches::default() };
    desk.sandbox.firstline().set_switches(switches);
    let mut desk_switches = desk.sandbox.livedesk().switches();
    desk_switches.labels = LabelFilter::Ignored;
    desk.sandbox.livedesk().set_switches(desk_switches);
    let ended = desk.run(&["check"]).await.expect(0);
    ended.says("there is no /company (status 404)");
    ended.says("the label \"vip\" cannot be read: LiveDesk answers with everybody");
    assert_eq!(desk.sandbox.firstline().tally().writes(), 0);

    let wrong = template::MAPPING.to_owned() + "\n[[tags]]\nlabel = \"vip\"\nowner = \"target\"\n";
    desk.write("mapping.toml", &format!("companies = \"create\"\n{wrong}"));
    let ended = desk.run(&["check"]).await.expect(2);
    ended.says("mapping.toml:1: companies: companies cannot be created: FIRST LINE does not document");
    ended.says("tags[0].owner: tags cannot be owned by `target`");
    ended.says("5 of 5 tests could be run and pass");
}

#[tokio::test]
async fn the_summary_tells_what_became_of_labels_and_tags() {
    let desk = Desk::new().await;
    for id in desk.sandbox.livedesk().listed_ids() {
        desk.sandbox.livedesk().set_labels(id, &["vip"]);
    }
    let lines = "[[tags]]\nlabel = \"vip\"\n[[tags]]\nlabel = \"gone\"\n";
    desk.write("mapping.toml", &format!("{}\n{lines}", template::MAPPING));
    let ended = desk.run(&["--json", "backfill"]).await;
    let report = ended.json();
    assert_eq!(report["tags"]["added"], report["created"], "{report}");
    assert_eq!(report["tags"]["labels_empty"], json!(["gone"]), "{report}");
    let ended = desk.run(&["backfill"]).await;
    ended.says("label \"gone\": no contact has it");

    let switches = FirstLineSwitches { tag_names: TagNames::LowerCase, ..desk.sandbox.firstline().switches() };
    desk.sandbox.firstline().set_switches(switches);
    desk.write("mapping.toml", &format!("{}\n[[tags]]\nlabel = \"vip\"\ntag = \"Gold\"\n", template::MAPPING));
    desk.run(&["backfill"]).await.says("FIRST LINE keeps the tag \"Gold\" as \"gold\"; it is used under that name");
}
