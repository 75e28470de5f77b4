//! Every reading of FIRST LINE's documents that updates depend on: the same end state, and nothing of others is lost.

use std::collections::BTreeMap;

use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::{Fault, FaultFilter};
use deskferry::sandbox::firstline::{
    ColumnFilter, ErrorBody, FilterMode, FirstLineSwitches, ListSync, MethodOverride, PhoneOwner, TagsShown,
    UnsetColumns,
};
use futures::stream::{self, StreamExt};
use serde_json::{Value, json};

use crate::world::World;

/// A change of the switches.
type Reading = fn(&mut FirstLineSwitches);

/// What the documents leave open, one reading each. Beside them the defaults.
const READINGS: [(&str, Reading); 30] = [
    ("as documented", |_| {}),
    ("a real put", |s| (s.update_put, s.update_override) = (true, MethodOverride::Nowhere)),
    ("_method in the body", |s| s.update_override = MethodOverride::Body),
    ("_method in the query", |s| s.update_override = MethodOverride::Query),
    ("updates reset what they leave out", |s| s.update_replaces = true),
    ("updates reset columns", |s| s.update_replaces_cz_cols = true),
    ("updates reset, tags shown as tag_ids", |s| (s.update_replaces, s.tags_shown) = (true, TagsShown::TagIds)),
    ("updates reset, tags shown as tag_id", |s| (s.update_replaces, s.tags_shown) = (true, TagsShown::TagId)),
    ("updates reset, nulls left out", |s| (s.update_replaces, s.nulls_left_out) = (true, true)),
    ("updates reset, numbers as numbers", |s| (s.update_replaces, s.numbers_as_text) = (true, false)),
    ("updates reset, dates with a time", |s| (s.update_replaces, s.birth_at_with_time) = (true, true)),
    ("updates reset, by a real put", |s| {
        (s.update_replaces, s.update_put, s.update_override) = (true, true, MethodOverride::Nowhere);
    }),
    ("lists add on update", |s| (s.tags_on_update, s.companies_on_update) = (ListSync::Union, ListSync::Union)),
    ("unset columns left out", |s| s.unset_cz_cols = UnsetColumns::LeftOut),
    ("nulls left out", |s| s.nulls_left_out = true),
    ("lists without columns and children", |s| (s.list_omits_cz_cols, s.list_omits_children) = (true, true)),
    ("writes answer without columns and children", |s| (s.write_omits_cz_cols, s.write_omits_children) = (true, true)),
    ("membership_no filter ignored", |s| s.filter_membership_no = FilterMode::Ignored),
    ("all filters ignored", |s| {
        s.filter_membership_no = FilterMode::Ignored;
        s.filter_cz_cols = ColumnFilter::Ignored;
        s.filter_address = FilterMode::Ignored;
        s.filter_number = FilterMode::Ignored;
        s.filter_contact_id = FilterMode::Ignored;
    }),
    ("filters refused", |s| {
        (s.filter_membership_no, s.filter_cz_cols) = (FilterMode::Rejected, ColumnFilter::Rejected);
    }),
    ("phones hang on profiles", |s| s.phone_owner = PhoneOwner::ProfileId),
    ("national numbers", |s| s.phone_stored_national = true),
    ("creates answer 200", |s| s.create_status = 200),
    ("small pages", |s| s.per_page_max = 7),
    ("updates reset lists alone", |s| s.update_resets_lists = true),
    ("updates reset lists alone, nulls left out", |s| (s.update_resets_lists, s.nulls_left_out) = (true, true)),
    ("children in lists of their own", |s| s.get_omits_children = true),
    ("children in lists of their own, without meta", |s| (s.get_omits_children, s.meta_left_out) = (true, true)),
    ("children in lists of their own, phones by profile", |s| {
        (s.get_omits_children, s.phone_rows_name_contact) = (true, false);
    }),
    ("refusals without a body", |s| s.error_body = ErrorBody::Empty),
];

const MAPPING: &str = r#"
[contact]
first_name = "name | family_name"
last_name = "name | given_name"
birth_at = "custom_attributes.birthday | date"

[[cz_cols]]
id = 33
value = "custom_attributes.points"
[[cz_cols]]
id = 34
value = "custom_attributes.newsletter"
[[cz_cols]]
id = 35
value = "custom_attributes.interests"
owner = "union"
[[cz_cols]]
id = 42
value = "custom_attributes.city"
[[emails]]
value = "email"
[[phones]]
value = "phone_number"
"#;

/// What a field holds.
type Held = fn() -> Value;

/// What agents keep in fields that no line writes, beside tags and companies.
const FOREIGN: [(&str, Held); 8] = [
    ("identity_no", || json!("A123456789")),
    ("gender", || json!(1)),
    ("tag_ids", || json!([101, 102])),
    ("company_ids", || json!([1])),
    ("cz_cols.32", || json!("gold")),
    ("cz_cols.37", || json!("08:30")),
    ("cz_cols.38", || json!("2024-02-01 08:30:00")),
    ("cz_cols.40", || json!("an agent's note")),
];

fn person(number: u64, version: &str) -> Value {
    // No digits: a name with digits is not split.
    let family =
        ["Able", "Baker", "Charles", "Dover", "Easton", "Fox", "George", "Howe"][usize::try_from(number).unwrap() % 8];
    json!({ "name": format!("Given{version} {family}"), "email": format!("p{number}{version}@example.com"),
        "phone_number": format!("+8869{}{number:07}", if version.is_empty() { 1 } else { 2 }),
        "custom_attributes": { "birthday": format!("19{}0-05-17", if version.is_empty() { 8 } else { 9 }),
            "points": number, "newsletter": version.is_empty(), "interests": ["music"], "city": format!("City{version}") } })
}

/// The tenant without what it alone decides: ids, and the spelling of numbers.
fn end_state(world: &World) -> BTreeMap<String, Value> {
    let home = deskferry::domain::phone::Country::TAIWAN;
    let dump = world.sandbox.firstline().dump();
    let records = dump.as_array().unwrap().iter().map(|record| {
        let mut record = record.clone();
        let rows = |list: &str, key: &str| {
            let mut values: Vec<String> =
                record[list].as_array().unwrap().iter().map(|row| row[key].as_str().unwrap().to_owned()).collect();
            values.iter_mut().filter(|_| list == "phones").for_each(|number| {
                *number = deskferry::domain::phone::canonical(number, home);
            });
            values.sort();
            values
        };
        let (emails, phones) = (rows("emails", "address"), rows("phones", "number"));
        record["emails"] = json!(emails);
        record["phones"] = json!(phones);
        // Written back as it is read, a number may become text, a boolean a number: the value is the same.
        let columns = record["cz_cols"].as_object_mut().unwrap();
        for value in columns.values_mut().filter(|value| value.is_number() || value.is_boolean()) {
            *value = json!(value.as_bool().map_or_else(|| value.to_string(), |yes| u8::from(yes).to_string()));
        }
        let fields = record.as_object_mut().unwrap();
        fields.remove("id");
        fields.remove("profile_id");
        (fields["membership_no"].as_str().unwrap().to_owned(), record)
    });
    records.collect()
}

/// Four contacts are created, two adopted; agents fill what nobody maps; the source changes everything; agents and the
/// source change one field each.
async fn migrate(name: &str, reading: Reading) -> BTreeMap<String, Value> {
    let mut switches = FirstLineSwitches { companies_shown: true, ..FirstLineSwitches::default() };
    reading(&mut switches);
    let config = SandboxConfig { contacts: 0, edge_cases: false, firstline: switches, ..SandboxConfig::default() };
    let mut world = World::start(config).await;
    MAPPING.clone_into(&mut world.mapping);
    let (firstline, livedesk) = (world.sandbox.firstline().clone(), world.sandbox.livedesk().clone());
    for tag in ["vip", "old"] {
        firstline.add_tag(tag);
    }
    firstline.add_company("Example Ltd", None, &[]);
    let foreign = |record: u64| {
        for (field, value) in FOREIGN {
            assert!(firstline.edit(record, field, value()), "{field}");
        }
    };
    for number in [4, 5] {
        let theirs = json!({ "first_name": "Theirs", "birth_at": "1970-01-02" });
        let record = firstline.add_contact(
            &theirs,
            &[&format!("p{number}@example.com")],
            &[],
            &[(33, json!(7)), (34, json!(1))],
        );
        foreign(record);
    }
    // A customer of nobody's at LiveDesk.
    let bystander = json!({ "first_name": "Theirs", "membership_no": "M1" });
    foreign(firstline.add_contact(&bystander, &["by@example.com"], &[], &[]));
    let ids: Vec<u64> = (0..6).map(|number| livedesk.add_contact(person(number, ""))).collect();
    let end = world.backfill().await;
    assert_eq!(
        (end.summary.created, end.summary.adopted, end.summary.exit_code()),
        (4, 2, 0),
        "{name}: {:?}",
        end.summary
    );
    for record in firstline.contacts() {
        foreign(record.id);
        firstline.edit(record.id, "cz_cols.35", json!(["food"]));
    }
    for (number, id) in (0..).zip(&ids) {
        let new = person(number, "new");
        livedesk.edit(*id, |contact| contact.extend(new.as_object().unwrap().clone()));
    }
    let end = world.backfill().await;
    assert_eq!((end.summary.updated, end.summary.exit_code()), (6, 0), "{name}: {:?}", end.summary);
    // A small change of its own: the whole of a record hangs on one field.
    for id in &ids {
        livedesk.edit(*id, |contact| drop(contact.insert("phone_number".into(), Value::Null)));
        livedesk.edit(*id, |contact| contact["custom_attributes"]["city"] = json!("Tainan"));
    }
    let end = world.backfill().await;
    assert_eq!((end.summary.set_aside, end.summary.exit_code()), (0, 0), "{name}: {:?}", end.summary);
    firstline.reset_counts();
    let end = world.backfill().await;
    assert_eq!((firstline.tally().writes(), end.summary.unchanged), (0, 6), "{name}: a further run writes nothing");
    end_state(&world)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_reading_of_the_documents_ends_in_the_same_state_and_loses_nothing_of_others() {
    let mut expected = None;
    let ends = stream::iter(READINGS).map(async |(name, reading)| (name, Box::pin(migrate(name, reading)).await));
    // In their order, but many at once: each waits more than it works.
    let ends: Vec<_> = ends.buffered(9).collect().await;
    for (name, found) in ends {
        for (stamp, record) in &found {
            for (field, value) in FOREIGN {
                let held = match field.strip_prefix("cz_cols.") {
                    Some(column) => &record["cz_cols"][column],
                    None => &record[field],
                };
                assert_eq!(*held, value(), "{name}: {field} of {stamp}");
            }
        }
        let expected = expected.get_or_insert_with(|| found.clone());
        assert_eq!(&found, expected, "{name}");
    }
    let all = expected.unwrap();
    let ours = all.values().filter(|record| record["first_name"] != "Theirs").collect::<Vec<_>>();
    assert_eq!((all.len(), ours.len()), (7, 4));
    for record in ours {
        let columns = &record["cz_cols"];
        assert_eq!(
            (&record["last_name"], &record["birth_at"], &columns["42"]),
            (&json!("Givennew"), &json!("1990-05-17"), &json!("Tainan"))
        );
        assert_eq!((&record["phones"], record["emails"].as_array().map(Vec::len)), (&json!([]), Some(1)), "{record}");
    }
}

/// A world with so many people of LiveDesk, and the mapping of the readings.
async fn people(count: u64, switches: FirstLineSwitches) -> (World, Vec<u64>) {
    let config = SandboxConfig { contacts: 0, edge_cases: false, firstline: switches, ..SandboxConfig::default() };
    let mut world = World::start(config).await;
    MAPPING.clone_into(&mut world.mapping);
    let ids = (0..count).map(|number| world.sandbox.livedesk().add_contact(person(number, ""))).collect();
    (world, ids)
}

/// The record that shows that fields survive has no tags, so it cannot show that tags do.
#[tokio::test]
async fn tags_and_companies_survive_what_was_learned_from_a_record_without_any() {
    for update_resets_lists in [false, true] {
        let switches = FirstLineSwitches { companies_shown: true, update_resets_lists, ..FirstLineSwitches::default() };
        let (world, ids) = people(3, switches).await;
        let (firstline, livedesk) = (world.sandbox.firstline().clone(), world.sandbox.livedesk().clone());
        let (tag, company) = (firstline.add_tag("vip"), firstline.add_company("Example Ltd", None, &[]));
        world.backfill().await;
        livedesk.edit(ids[0], |contact| contact["custom_attributes"]["city"] = json!("Tainan"));
        assert_eq!(world.backfill().await.summary.updated, 1);
        let store = world.store().await;
        assert_eq!(store.profile_get("update_semantics").await.unwrap(), Some(json!("partial")));
        store.close().await;

        let customer = |id: u64| {
            let stamp = format!("LD-{id}");
            let contacts = firstline.contacts();
            contacts.into_iter().find(|contact| contact.membership_no.as_deref() == Some(stamp.as_str())).unwrap()
        };
        for id in &ids {
            firstline.edit(customer(*id).id, "tag_ids", json!([tag]));
            firstline.edit(customer(*id).id, "company_ids", json!([company]));
            livedesk.edit(*id, |contact| contact["custom_attributes"]["city"] = json!("Keelung"));
        }
        let end = world.backfill().await;
        assert_eq!((end.summary.updated, end.summary.exit_code()), (3, 0), "{:?}", end.summary);
        for id in &ids {
            let now = customer(*id);
            let lists = (now.tag_ids.clone(), now.company_ids.clone());
            assert_eq!((now.cz_col(42), lists), (Some(&json!("Keelung")), (vec![tag], vec![company])));
        }
    }
}

#[tokio::test]
async fn a_trial_on_a_record_that_loses_its_tags_gives_them_back_and_sends_whole_records_from_then_on() {
    let switches = FirstLineSwitches { update_resets_lists: true, ..FirstLineSwitches::default() };
    let (world, ids) = people(1, switches).await;
    let (firstline, livedesk) = (world.sandbox.firstline().clone(), world.sandbox.livedesk().clone());
    let tag = firstline.add_tag("vip");
    world.backfill().await;
    firstline.edit(firstline.contacts()[0].id, "tag_ids", json!([tag]));
    livedesk.edit(ids[0], |contact| contact["custom_attributes"]["city"] = json!("Tainan"));
    assert_eq!(world.backfill().await.summary.updated, 1);
    assert_eq!(firstline.contacts()[0].tag_ids, [tag]);
    let store = world.store().await;
    assert_eq!(store.profile_get("update_semantics").await.unwrap(), Some(json!("replace")));
    store.close().await;
}

/// Children in lists of their own, whose rows do not say whose they are: nothing is concluded from them.
#[tokio::test]
async fn an_email_whose_create_got_no_answer_is_not_added_twice_where_rows_name_no_owner() {
    let switches =
        FirstLineSwitches { get_omits_children: true, email_rows_name_contact: false, ..FirstLineSwitches::default() };
    let (world, _) = people(1, switches).await;
    let firstline = world.sandbox.firstline();
    world.sandbox.firstline_faults().next(Fault::LostAck, 1, FaultFilter::on("POST", "/email-contact"));
    for _ in 0..3 {
        let end = world.backfill().await;
        assert_eq!(end.summary.exit_code(), 1, "{:?}", end.summary);
        assert_eq!(firstline.contacts()[0].emails.len(), 1);
    }
    // Once the rows say whose they are, the one that is there is taken for what it is.
    firstline.set_switches(FirstLineSwitches { email_rows_name_contact: true, ..firstline.switches() });
    let end = world.backfill().await;
    assert_eq!((end.summary.exit_code(), firstline.contacts()[0].emails.len()), (0, 1), "{:?}", end.summary);
}

/// POST changes parts of a record and PUT replaces it: what was seen of one says nothing of the other.
#[tokio::test]
async fn what_runs_saw_of_updates_by_post_is_not_believed_of_put() {
    let switches = FirstLineSwitches { update_put: true, put_replaces: true, ..FirstLineSwitches::default() };
    let (mut world, ids) = people(3, switches).await;
    let (firstline, livedesk) = (world.sandbox.firstline().clone(), world.sandbox.livedesk().clone());
    let learned = async |world: &World| {
        let store = world.store().await;
        let word = store.profile_get("update_semantics").await.unwrap();
        store.close().await;
        word
    };
    world.backfill().await;
    livedesk.edit(ids[0], |contact| contact["custom_attributes"]["city"] = json!("Tainan"));
    assert_eq!(world.backfill().await.summary.updated, 1);
    assert_eq!(learned(&world).await, Some(json!("partial")));

    let fixed = "token = \"sandbox-token\"\nupdate_method = \"put\"";
    world.choices.instead.push(("token = \"sandbox-token\"", String::from(fixed)));
    for record in firstline.contacts() {
        firstline.edit(record.id, "identity_no", json!("A123456789"));
    }
    for id in &ids {
        livedesk.edit(*id, |contact| contact["custom_attributes"]["city"] = json!("Keelung"));
    }
    let end = world.backfill().await;
    assert_eq!((end.summary.updated, end.summary.exit_code()), (3, 0), "{:?}", end.summary);
    for record in firstline.contacts() {
        assert_eq!((record.identity_no.as_deref(), record.cz_col(42)), (Some("A123456789"), Some(&json!("Keelung"))));
    }
    assert_eq!(learned(&world).await, Some(json!("replace")));
}
