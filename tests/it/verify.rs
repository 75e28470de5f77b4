//! `verify`: what is not as the mapping wants it is found, all of it and nothing else; nothing is written anywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use deskferry::app::Surroundings;
use deskferry::app::verify::Comparison;
use deskferry::clock::{Clock, SystemClock};
use deskferry::config::load::Loaded;
use deskferry::domain::ids::LiveDeskId;
use deskferry::domain::outcome::SetAsideKind;
use deskferry::domain::record::FieldKey;
use deskferry::sandbox::firstline::{FirstLineSwitches, UnsetColumns};
use deskferry::sandbox::livedesk::LiveDeskSwitches;
use deskferry::sandbox::{Sandbox, SandboxConfig};
use deskferry::store::{DeadLetter, WriteOp};
use deskferry::sync::progress::{Phase, Progress, ProgressEvent};
use deskferry::sync::verify::finding::{Class, Finding};
use deskferry::sync::verify::{Options, Verification};
use serde_json::{Value, json};

use crate::world::World;

/// A customer, as the dump shows it.
#[derive(Clone, Debug)]
pub(crate) struct Customer {
    pub(crate) contact: u64,
    pub(crate) id: u64,
    row: Value,
}

impl Customer {
    pub(crate) fn field(&self, name: &str) -> &Value {
        &self.row[name]
    }

    pub(crate) fn column(&self, id: u32) -> &Value {
        &self.row["cz_cols"][id.to_string()]
    }

    pub(crate) fn email(&self) -> Option<(u64, String)> {
        let email = self.row["emails"].get(0)?;
        Some((email["id"].as_u64()?, email["address"].as_str()?.to_owned()))
    }

    pub(crate) fn phone(&self) -> Option<u64> {
        self.row["phones"].get(0)?["id"].as_u64()
    }
}

/// Every customer that carries a stamp, by id.
pub(crate) fn customers(sandbox: &Sandbox) -> Vec<Customer> {
    let dump = sandbox.firstline().dump();
    let rows = dump.as_array().unwrap().iter().filter_map(|row| {
        let contact = row["membership_no"].as_str()?.strip_prefix("LD-")?.parse().ok()?;
        Some(Customer { contact, id: row["id"].as_u64()?, row: row.clone() })
    });
    rows.collect()
}

/// What is told of a finding: its word, the contact (or 0), the field.
pub(crate) type Told = (String, i64, String);

fn told(finding: &Finding) -> Told {
    (
        finding.class.as_str().to_owned(),
        finding.livedesk_id.unwrap_or_default(),
        finding.field.clone().unwrap_or_default(),
    )
}

/// The findings of a list file, with the reason of each.
fn listed(world: &World, name: &str) -> BTreeMap<Told, Option<String>> {
    let text = std::fs::read_to_string(world.folder().join(name)).unwrap();
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let finding: Finding = serde_json::from_str(line).unwrap();
        let again = all.insert(told(&finding), finding.reason.map(|reason| reason.as_str().to_owned()));
        assert!(again.is_none(), "said twice: {line}");
    }
    all
}

/// Runs `verify` on the world; gives the exit code, the document and the findings.
pub(crate) async fn verified(
    world: &World,
    arguments: &[&str],
) -> (Option<i32>, Value, BTreeMap<Told, Option<String>>) {
    let list = world.folder().join("findings.jsonl");
    let mut all = vec!["--json", "verify", "--list", list.to_str().unwrap()];
    all.extend(arguments);
    let end = world.command(&all).await;
    assert!(matches!(end.code(), Some(0 | 1)), "{end:?}");
    (end.code(), end.json(), listed(world, "findings.jsonl"))
}

/// Takes the next customer for which `make` can plant something.
fn plant<T>(rest: &mut Vec<Customer>, mut make: impl FnMut(&Customer) -> Option<T>) -> (Customer, T) {
    let (place, made) = rest
        .iter()
        .enumerate()
        .find_map(|(place, customer)| Some((place, make(customer)?)))
        .expect("a customer on whom it can be planted");
    (rest.remove(place), made)
}

/// The account has no dates and times of its own beside those of creation.
fn give_every_type_a_value(sandbox: &Sandbox) {
    let livedesk = sandbox.livedesk();
    for id in livedesk.listed_ids().into_iter().skip(2_000).take(100) {
        let attributes = json!({ "last_order": "2024-02-01", "call_time": "8:30", "vip_level": "gold", "points": 12 });
        assert!(livedesk.edit(id, |row| drop(row.insert("custom_attributes".into(), attributes))));
    }
}

/// The 60 faults, as (word, contact, field); and what a comparison without the state says of those that it cannot tell.
struct Planted {
    with_state: BTreeSet<Told>,
    without: BTreeSet<Told>,
}

async fn plant_sixty(world: &World) -> Planted {
    let firstline = world.sandbox.firstline();
    let mapping = world.compiled().await;
    let mut rest = customers(&world.sandbox);
    // Those without the edge cases of the account, and in an order that spreads them.
    rest.retain(|customer| customer.contact > 0 && customer.email().is_some() && customer.phone().is_some());
    rest.sort_by_key(|customer| (customer.id * 7_919) % 3_001);
    let (mut with_state, mut without) = (BTreeSet::new(), BTreeSet::new());
    let mut both = |class: &str, contact: u64, field: &str| {
        let told = (class.to_owned(), contact.cast_signed(), field.to_owned());
        assert!(with_state.insert(told.clone()) && without.insert(told));
    };
    // 8 missing.
    for _ in 0..8 {
        let (customer, ()) = plant(&mut rest, |customer| firstline.delete(customer.id).then_some(()));
        both("missing", customer.contact, "");
    }
    // 6 duplicates.
    for _ in 0..6 {
        let (customer, ()) = plant(&mut rest, |_| Some(()));
        firstline.add_contact(
            &json!({ "first_name": "Twin", "membership_no": format!("LD-{}", customer.contact) }),
            &[],
            &[],
            &[],
        );
        both("duplicate", customer.contact, "");
    }
    // 22 wrong values: 2 of each field's type.
    let wrong: [(&str, FieldKey, Value); 11] = [
        ("first_name", FieldKey::FirstName, json!("Wrong")),
        ("last_name", FieldKey::LastName, json!("Wrong")),
        ("birth_at", FieldKey::BirthAt, json!("1901-01-01")),
        ("cz_cols.32", FieldKey::Custom(32), json!("platinum")),
        ("cz_cols.33", FieldKey::Custom(33), json!(-77)),
        ("cz_cols.34", FieldKey::Custom(34), Value::Null),
        ("cz_cols.35", FieldKey::Custom(35), json!(["food"])),
        ("cz_cols.36", FieldKey::Custom(36), json!("1999-12-31")),
        ("cz_cols.37", FieldKey::Custom(37), json!("23:59")),
        ("cz_cols.38", FieldKey::Custom(38), json!("1999-12-31 23:59:59")),
        ("cz_cols.39", FieldKey::Custom(39), json!("Wrong Ltd")),
    ];
    for (name, key, value) in wrong {
        for _ in 0..2 {
            let (customer, ()) = plant(&mut rest, |customer| {
                let held = match key {
                    FieldKey::Custom(id) => customer.column(u32::try_from(id).unwrap()),
                    _ => &customer.row[name],
                };
                (!held.is_null() && *held != value && held.as_str() != Some("")).then_some(())
            });
            assert!(firstline.edit(customer.id, name, value.clone()));
            both("field", customer.contact, &mapping.field_name(key));
        }
    }
    // 6 lost e-mails, 4 lost phones.
    for _ in 0..6 {
        let (customer, ()) = plant(&mut rest, |customer| firstline.remove_email(customer.email()?.0).then_some(()));
        both("lost_email", customer.contact, "emails");
    }
    for _ in 0..4 {
        let (customer, ()) = plant(&mut rest, |customer| {
            firstline.edit_phone(customer.id, customer.phone()?, "+886911999888").then_some(())
        });
        both("lost_phone", customer.contact, "phones");
    }
    // 5 e-mails on somebody else.
    for _ in 0..5 {
        let (other, ()) = plant(&mut rest, |_| Some(()));
        let (customer, (row, address)) = plant(&mut rest, Customer::email);
        assert!(firstline.remove_email(row) && firstline.add_email(other.id, &address).is_some());
        both("wrong_owner", customer.contact, "emails");
    }
    // 3 e-mails that stand there twice.
    for _ in 0..3 {
        let (customer, (_, address)) = plant(&mut rest, Customer::email);
        assert!(firstline.add_email(customer.id, &address.to_uppercase()).is_some());
        both("twice", customer.contact, "emails");
    }
    // 3 customers of nobody.
    for stranger in 0..3 {
        let contact = 9_000_000_000_u64 + stranger;
        firstline.add_contact(&json!({ "first_name": "X", "membership_no": format!("LD-{contact}") }), &[], &[], &[]);
        both("extra", contact, "");
    }
    // 3 stamps: another contact's, none of ours, and none at all. Without the state nobody knows whose they are.
    let mut stamp = |class: &str, contact: u64, with: bool, alone: bool| {
        let told = (class.to_owned(), contact.cast_signed(), String::new());
        assert!(!with || with_state.insert(told.clone()));
        assert!(!alone || without.insert(told));
    };
    let (other, ()) = plant(&mut rest, |_| Some(()));
    for number in [format!("LD-{}", other.contact), String::from("LD-GOLD"), String::new()] {
        let (customer, ()) = plant(&mut rest, |_| Some(()));
        let number = if number.is_empty() { Value::Null } else { json!(number) };
        assert!(firstline.edit(customer.id, "membership_no", number));
        stamp("foreign_stamp", customer.contact, true, false);
        stamp("missing", customer.contact, false, true);
    }
    stamp("duplicate", other.contact, false, true);
    stamp("foreign_stamp", 0, false, true);
    assert_eq!(with_state.len(), 60);
    Planted { with_state, without }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_planted_faults_among_3000_contacts_are_found_and_nothing_else() {
    let livedesk = LiveDeskSwitches { page_size: 60, ..LiveDeskSwitches::default() };
    let world = World::start(SandboxConfig { contacts: 3_000, livedesk, ..SandboxConfig::default() }).await;
    give_every_type_a_value(&world.sandbox);
    world.backfill().await;
    let state = std::fs::read(world.state_path()).unwrap();
    let before = world.sandbox.firstline().tally().writes();

    let (code, document, clean) = verified(&world, &[]).await;
    assert_eq!(code, Some(0), "{document:#}");
    assert_eq!((&document["clean"], &document["unexplained"]), (&json!(true), &json!(0)));
    assert_eq!(document["contacts"]["compared"], document["livedesk"]["contacts"]);

    let planted = plant_sixty(&world).await;
    let (code, document, found) = verified(&world, &[]).await;
    assert_eq!(code, Some(1), "{document:#}");
    let new: BTreeSet<Told> = found.keys().filter(|told| !clean.contains_key(*told)).cloned().collect();
    let gone: Vec<&Told> = clean.keys().filter(|told| !found.contains_key(*told)).collect();
    assert_eq!(new.difference(&planted.with_state).collect::<Vec<_>>(), Vec::<&Told>::new(), "found and not planted");
    assert_eq!(planted.with_state.difference(&new).collect::<Vec<_>>(), Vec::<&Told>::new(), "planted and not found");
    // A contact without a customer has no values that were skipped.
    let lost = |told: &Told| found.contains_key(&(String::from("missing"), told.1, String::new()));
    assert!(gone.iter().all(|told| lost(told)), "{gone:?}");
    for told in &planted.with_state {
        let expected = match (told.0.as_str(), told.2.as_str()) {
            ("field", "birth_at") => Some("fill_blank"),
            ("field" | "lost_email" | "lost_phone" | "wrong_owner", _) => Some("edited_at_target"),
            _ => None,
        };
        assert_eq!(found[told].as_deref(), expected, "{told:?}");
    }

    let (code, document, alone) = verified(&world, &["--ignore-state"]).await;
    assert_eq!(code, Some(1), "{document:#}");
    let new: BTreeSet<Told> = alone.keys().filter(|told| !clean.contains_key(*told)).cloned().collect();
    assert_eq!(new, planted.without);
    let unexplained = |told: &&Told| alone[*told].is_none() || told.2 == "birth_at";
    assert!(planted.without.iter().all(|told| unexplained(&told)), "without the state there are fewer reasons");

    assert_eq!(world.sandbox.firstline().tally().writes(), before, "nothing was written");
    assert_eq!(std::fs::read(world.state_path()).unwrap(), state, "not to the state either");
}

/// Every reading of the documents under which a list says less, or a filter is not to be trusted.
fn readings() -> Vec<(&'static str, FirstLineSwitches)> {
    use deskferry::sandbox::firstline::{ColumnFilter, FilterMode};
    let usual = FirstLineSwitches::default;
    vec![
        ("rows without custom fields", FirstLineSwitches { list_omits_cz_cols: true, ..usual() }),
        ("rows without e-mails and phones", FirstLineSwitches { list_omits_children: true, ..usual() }),
        (
            "no answer with e-mails and phones",
            FirstLineSwitches { list_omits_children: true, get_omits_children: true, ..usual() },
        ),
        (
            "phones that name their profile alone",
            FirstLineSwitches {
                list_omits_children: true,
                get_omits_children: true,
                phone_rows_name_contact: false,
                ..usual()
            },
        ),
        (
            "filters that are ignored",
            FirstLineSwitches {
                filter_membership_no: FilterMode::Ignored,
                filter_cz_cols: ColumnFilter::Ignored,
                filter_address: FilterMode::Ignored,
                filter_number: FilterMode::Ignored,
                ..usual()
            },
        ),
        (
            "empty keys that are left out",
            FirstLineSwitches { nulls_left_out: true, unset_cz_cols: UnsetColumns::LeftOut, ..usual() },
        ),
        ("a list without a total", FirstLineSwitches { total_left_out: true, ..usual() }),
        ("numbers as numbers", FirstLineSwitches { numbers_as_text: false, birth_at_with_time: true, ..usual() }),
        ("phones in their national form", FirstLineSwitches { phone_stored_national: true, ..usual() }),
        ("addresses in small letters", FirstLineSwitches { email_stored_lowercase: true, ..usual() }),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_the_tenant_leaves_out_a_clean_pair_is_clean_and_three_faults_are_three() {
    for (what, switches) in readings() {
        let config = SandboxConfig { contacts: 90, firstline: switches, ..SandboxConfig::default() };
        let world = World::start(config).await;
        world.backfill().await;
        let (code, document, clean) = verified(&world, &[]).await;
        assert_eq!(code, Some(0), "{what}: {document:#}");
        let firstline = world.sandbox.firstline();
        let mut rest = customers(&world.sandbox);
        let (missing, ()) = plant(&mut rest, |customer| firstline.delete(customer.id).then_some(()));
        let (wrong, ()) = plant(&mut rest, |customer| (!customer.column(38).is_null()).then_some(()));
        assert!(firstline.edit(wrong.id, "cz_cols.38", json!("1999-12-31 23:59:59")));
        let (lost, ()) = plant(&mut rest, |customer| firstline.remove_email(customer.email()?.0).then_some(()));
        let (_, document, found) = verified(&world, &[]).await;
        let new: BTreeSet<(String, u64)> = found
            .keys()
            .filter(|told| !clean.contains_key(*told))
            .map(|told| (told.0.clone(), told.1.unsigned_abs()))
            .collect();
        let expected = [("missing", &missing), ("field", &wrong), ("lost_email", &lost)];
        let expected = expected.map(|(class, customer)| (class.to_owned(), customer.contact));
        assert_eq!(new, BTreeSet::from(expected), "{what}: {document:#}");
    }
}

/// Does something once, when a stretch of the work begins.
struct At {
    phase: Phase,
    deed: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Progress for At {
    fn event(&self, event: ProgressEvent) {
        if event == ProgressEvent::Phase(self.phase)
            && let Some(deed) = self.deed.lock().unwrap().take()
        {
            deed();
        }
    }
}

const USUAL: Options = Options { sample: None, seed: 7, again: 1_000, values: false, max_rounds: 4 };

/// A comparison in this process, during which something happens; its findings that nothing explains.
async fn compared(
    world: &World,
    phase: Phase,
    deed: impl FnOnce() + Send + 'static,
) -> Result<(Verification, Vec<Finding>), deskferry::sync::engine::RunError> {
    let loaded = Loaded { settings: world.settings(), mapping: world.mapping_source(), warnings: Vec::new() };
    let progress = Arc::new(At { phase, deed: Mutex::new(Some(Box::new(deed))) });
    let around = Surroundings { progress, ..world.surroundings() };
    let mut comparison = Comparison::prepare(&loaded, &around, USUAL, false).await.unwrap();
    let found = comparison.verifier.run().await?;
    let mut findings = Vec::new();
    comparison
        .verifier
        .findings::<deskferry::store::StoreError>(|finding| {
            findings.extend(finding.is_fault().then(|| finding.clone()));
            Ok(())
        })
        .await
        .unwrap();
    comparison.close().await;
    Ok((found, findings))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_on_both_sides_meanwhile_is_no_fault() {
    let world = World::with(120).await;
    world.backfill().await;
    let all = customers(&world.sandbox);
    let (edited, deleted, odd) = (all[70].clone(), all[80].clone(), all[90].clone());
    let (livedesk, firstline) = (world.sandbox.livedesk().clone(), world.sandbox.firstline().clone());
    assert!(firstline.delete(odd.id));
    let new = Arc::new(Mutex::new(0));
    let made = Arc::clone(&new);
    // FIRST LINE's list has been read, LiveDesk's has not.
    let deed = move || {
        assert!(livedesk.edit(edited.contact, |row| drop(row.insert("name".into(), json!("王大明")))));
        assert!(
            firstline.edit(edited.id, "first_name", json!("王"))
                && firstline.edit(edited.id, "last_name", json!("大明"))
        );
        assert!(livedesk.delete(deleted.contact) && firstline.delete(deleted.id));
        let id =
            livedesk.add_contact(json!({ "name": "陳小華", "email": "hua@example.com", "created_at": 1_600_000_000 }));
        firstline.add_contact(
            &json!({ "first_name": "陳", "last_name": "小華", "membership_no": format!("LD-{id}") }),
            &["hua@example.com"],
            &[],
            &[(38, json!("2020-09-13 20:26:40"))],
        );
        *made.lock().unwrap() = id;
    };
    let (found, faults) = compared(&world, Phase::Compare, deed).await.unwrap();
    assert!(*new.lock().unwrap() > 0, "it happened");
    let told: Vec<(Class, Option<i64>)> = faults.iter().map(|finding| (finding.class, finding.livedesk_id)).collect();
    assert_eq!(told, [(Class::Missing, Some(odd.contact.cast_signed()))], "only what is still so: {faults:?}");
    assert!(found.again.settled >= 2, "{:?}", found.again);
    assert!(found.is_proven());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_livedesk_changed_since_the_last_run_waits_for_the_next_one_and_is_no_fault() {
    let world = World::with(60).await;
    world.backfill().await;
    let all = customers(&world.sandbox);
    let contact = all[50].contact;
    assert!(world.sandbox.livedesk().edit(contact, |row| drop(row.insert("name".into(), json!("王大明")))));
    let gone = all[51].contact;
    assert!(world.sandbox.livedesk().delete(gone));
    // As a service would hold it.
    let held = world.store().await;
    let (code, document, found) = verified(&world, &[]).await;
    assert_eq!(code, Some(0), "{document:#}");
    let reason =
        |class: &str, id: u64, field: &str| found[&(class.to_owned(), id.cast_signed(), field.to_owned())].clone();
    assert_eq!(reason("field", contact, "last_name").as_deref(), Some("not_carried_yet"));
    assert_eq!(reason("extra", gone, "").as_deref(), Some("gone_at_source"));
    held.close().await;
    let (code, _, found) = verified(&world, &["--ignore-state"]).await;
    assert_eq!(code, Some(1));
    assert_eq!(found[&(String::from("extra"), gone.cast_signed(), String::new())], None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn customers_that_were_there_before_are_compared_by_their_link_and_keep_their_values() {
    let mut world = World::with(60).await;
    world.choices.match_keys = r#"["email"]"#;
    let livedesk = world.sandbox.livedesk().clone();
    let adopted = livedesk.add_contact(json!({ "name": "陳小華", "email": "hua@example.com" }));
    world.sandbox.firstline().add_contact(
        &json!({ "first_name": "林", "membership_no": "M-1" }),
        &["hua@example.com"],
        &[],
        &[],
    );
    world.backfill().await;
    let (code, document, found) = verified(&world, &[]).await;
    assert_eq!(code, Some(0), "{document:#}");
    assert_eq!(document["contacts"]["known_by_link_alone"], 1);
    let told = (String::from("field"), adopted.cast_signed(), String::from("first_name"));
    assert_eq!(found[&told].as_deref(), Some("adopted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tags_and_hidden_contacts_are_looked_at_too() {
    let mut world = World::with(60).await;
    world.mapping.push_str("\n[[tags]]\nlabel = \"vip\"\ntag = \"VIP\"\n");
    let listed = world.sandbox.livedesk().listed_ids();
    for id in &listed[50..54] {
        world.sandbox.livedesk().set_labels(*id, &["vip"]);
    }
    world.backfill().await;
    assert_eq!(verified(&world, &[]).await.0, Some(0));
    let tagged: Vec<Customer> =
        customers(&world.sandbox).into_iter().filter(|customer| customer.contact == listed[51]).collect();
    assert!(world.sandbox.firstline().edit(tagged[0].id, "tag_ids", json!([])));
    // A contact that lost what LiveDesk lists it by is there all the same.
    let hidden = customers(&world.sandbox).into_iter().find(|customer| customer.contact == listed[55]).unwrap();
    assert!(world.sandbox.livedesk().edit(hidden.contact, |row| {
        for key in ["email", "phone_number", "identifier"] {
            row.insert(key.into(), Value::Null);
        }
    }));
    let (code, document, found) = verified(&world, &[]).await;
    assert_eq!(code, Some(0), "{document:#}");
    assert_eq!(document["contacts"]["hidden"], 1, "{document:#}");
    let told = (String::from("tag"), listed[51].cast_signed(), String::from("tag VIP"));
    assert_eq!(found[&told].as_deref(), Some("edited_at_target"));
    let (code, _, found) = verified(&world, &["--ignore-state"]).await;
    assert_eq!((code, found[&told].clone()), (Some(1), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sample_says_how_sure_it_is_and_can_be_drawn_again() {
    let world = World::with(400).await;
    world.backfill().await;
    let before = world.sandbox.firstline().tally();
    let (code, document, _) = verified(&world, &["--sample", "60"]).await;
    assert_eq!(code, Some(0), "{document:#}");
    let sample = &document["sample"];
    assert_eq!((&sample["drawn"], &document["contacts"]["compared"]), (&json!(60), &json!(60)));
    let bound = sample["faulty_at_most"].as_f64().unwrap();
    assert!((0.048..0.049).contains(&bound), "{bound}");
    let after = world.sandbox.firstline().tally();
    assert_eq!(after.writes(), before.writes());
    assert!(after.contact_list - before.contact_list < 80, "the list was not walked");

    for customer in customers(&world.sandbox) {
        assert!(world.sandbox.firstline().edit(customer.id, "first_name", json!("Wrong")));
    }
    let seed = sample["seed"].to_string();
    let again = ["--sample", "60", "--seed", &seed, "--ignore-state"];
    let (code, document, found) = verified(&world, &again).await;
    assert_eq!((code, &document["sample"]["seed"]), (Some(1), &sample["seed"]));
    assert_eq!(verified(&world, &again).await.2, found, "the same contacts");
    let end = world.command(&["verify", "--sample", "60", "--seed", &seed]).await;
    assert!(end.says(&format!("(seed {seed}): with 95 % confidence fewer than 4.9 % of all are faulty")), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_filters_are_ignored_a_sample_reads_the_list() {
    use deskferry::sandbox::firstline::FilterMode;
    let firstline = FirstLineSwitches { filter_membership_no: FilterMode::Ignored, ..FirstLineSwitches::default() };
    let world = World::start(SandboxConfig { contacts: 450, firstline, ..SandboxConfig::default() }).await;
    world.backfill().await;
    let (code, document, _) = verified(&world, &["--sample", "20"]).await;
    assert_eq!(code, Some(0), "{document:#}");
    assert_eq!(document["firstline"]["proven"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_is_lost_is_not_explained_by_what_was_refused_of_it_before() {
    let world = World::with(20).await;
    world.backfill().await;
    let Customer { contact, id, .. } = customers(&world.sandbox).remove(0);
    let store = world.store().await;
    let (run, at) = (store.runs(1).await.unwrap()[0].id, SystemClock.now());
    let letter = DeadLetter {
        livedesk_id: LiveDeskId(i64::try_from(contact).unwrap()),
        kind: SetAsideKind::Refused,
        field: Some(String::from("birth_at")),
        status: Some(422),
        detail: String::from("FIRST LINE refused it"),
        fingerprint: None,
        attempts: 9,
        first_at: at,
        last_at: at,
        run,
        next_at: at,
        poisoned_at: Some(at),
        mapping_version: None,
    };
    store.write(vec![WriteOp::PutDeadLetter(letter)]).await.unwrap();
    store.close().await;
    assert!(world.sandbox.firstline().delete(id));
    let (code, _, listed) = verified(&world, &[]).await;
    let missing = listed.iter().find(|(told, _)| told.0 == "missing").unwrap();
    assert_eq!((code, missing.0.1, missing.1), (Some(1), i64::try_from(contact).unwrap(), &None), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_firstline_will_not_show_is_named_and_not_taken_for_right() {
    let world = World::with(60).await;
    world.backfill().await;
    let odd = customers(&world.sandbox)[50].clone();
    let switches =
        FirstLineSwitches { list_omits_cz_cols: true, unreadable_ids: vec![odd.id], ..FirstLineSwitches::default() };
    world.sandbox.firstline().set_switches(switches);
    let (code, document, found) = verified(&world, &[]).await;
    assert_eq!(code, Some(1), "{document:#}");
    let faults: Vec<&Told> = found.iter().filter(|(_, reason)| reason.is_none()).map(|(told, _)| told).collect();
    assert_eq!(faults, [&(String::from("unread"), odd.contact.cast_signed(), String::new())]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_livedesk_has_no_read_by_id_the_second_look_is_a_sweep() {
    let livedesk = LiveDeskSwitches { by_id: false, ..LiveDeskSwitches::default() };
    let world = World::start(SandboxConfig { contacts: 60, livedesk, ..SandboxConfig::default() }).await;
    world.backfill().await;
    let all = customers(&world.sandbox);
    assert!(world.sandbox.firstline().delete(all[50].id));
    assert!(world.sandbox.livedesk().delete(all[51].contact));
    let end = world.command(&["verify", "--ignore-state"]).await;
    assert_eq!(end.code(), Some(1), "{end:?}");
    assert!(end.says(&format!("missing (no customer in FIRST LINE for this contact): {}", all[50].contact)), "{end:?}");
    let detail = "[LiveDesk's list does not show it, and LiveDesk has no read by id]";
    assert!(end.says(&format!("{} {detail}", all[51].contact)), "{end:?}");
    assert!(end.says("verdict: 2 findings without an explanation, on 1 contact and 1 customer of nobody"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_cannot_be_proven_is_no_clean_comparison() {
    let livedesk = LiveDeskSwitches { count_offset: 3, ..LiveDeskSwitches::default() };
    let world = World::start(SandboxConfig { contacts: 60, livedesk, ..SandboxConfig::default() }).await;
    world.backfill().await;
    let (code, document, _) = verified(&world, &[]).await;
    assert_eq!((code, &document["unexplained"]), (Some(1), &json!(0)), "{document:#}");
    assert!(document["verdict"].as_str().unwrap().contains("LiveDesk's list was not read completely"), "{document:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_are_shown_only_on_demand_and_files_are_their_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let world = World::with(60).await;
    world.backfill().await;
    let all = customers(&world.sandbox);
    assert!(world.sandbox.firstline().edit(all[55].id, "first_name", json!("=Wrongest")));
    let path = |name: &str| world.folder().join(name).to_str().unwrap().to_owned();
    let (csv, list, report) = (path("a.csv"), path("a.jsonl"), path("a.html"));
    let files = ["--csv", &csv, "--list", &list, "--report", &report];
    let end = world.command(&[&["verify"][..], &files].concat()).await;
    assert_eq!(end.code(), Some(0), "{end:?}");
    let read = |name: &str| std::fs::read_to_string(name).unwrap();
    assert!(!end.says("Wrongest") && [&csv, &list, &report].iter().all(|name| !read(name).contains("Wrongest")));
    let end = world.command(&[&["verify", "--show-values"][..], &files].concat()).await;
    assert!(end.says("FIRST LINE \"=Wrongest\"") && read(&csv).contains(",'=Wrongest"), "{end:?}\n{}", read(&csv));
    assert!(read(&list).contains("=Wrongest") && !read(&report).contains("Wrongest"), "never in the report");
    for name in [&csv, &list, &report] {
        assert_eq!(std::fs::metadata(name).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
    }
    let folder = path("nowhere/a.csv");
    let end = world.command(&["verify", "--csv", &folder]).await;
    assert!(end.code() == Some(2) && end.says("nowhere/a.csv cannot be written"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_state_everything_is_still_compared_and_none_is_made() {
    let world = World::with(60).await;
    let (code, document, found) = verified(&world, &[]).await;
    assert_eq!((code, &document["with_state"]), (Some(1), &json!(false)));
    assert!(!world.state_path().exists());
    let missing = found.keys().filter(|told| told.0 == "missing").count() as u64;
    let carried =
        document["contacts"]["compared"].as_u64().unwrap() - document["contacts"]["not_carried"].as_u64().unwrap();
    assert_eq!(missing, carried);
    let state = world.state_path();
    world.backfill().await;
    std::fs::remove_file(state).unwrap();
    let (_, document, found) = verified(&world, &[]).await;
    assert!(found.keys().all(|told| told.0 != "field" || found[told].is_some()), "{document:#}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_of_another_account_explains_nothing_and_is_refused() {
    let mut world = World::with(60).await;
    world.backfill().await;
    let other = Sandbox::start(SandboxConfig { contacts: 60, ..SandboxConfig::default() }).await.unwrap();
    world.choices.instead.push((Box::leak(world.sandbox.firstline_url().into_boxed_str()), other.firstline_url()));
    let end = world.command(&["verify"]).await;
    assert_eq!(end.code(), Some(2), "{end:?}");
    assert!(end.says("FIRST LINE"), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_comparison_ends_with_130_and_leaves_nothing_behind() {
    let world = World::with(300).await;
    world.backfill().await;
    let temporary = tempfile::tempdir().unwrap();
    world.sandbox.livedesk_faults().change(|faults| faults.latency_ms = 30);
    let asked = || world.sandbox.livedesk_faults().counts()["requests"].as_u64().unwrap();
    let from = asked();
    let report = world.folder().join("protocol.html");
    let arguments = ["--json", "verify", "--report", report.to_str().unwrap()];
    let mut process = world.spawn_beside("x", &[("TMPDIR", temporary.path().to_str().unwrap())], &arguments);
    assert!(process.until(|| asked() > from + 5).await);
    process.signal("INT").await;
    let end = process.end().await;
    assert_eq!(end.code(), Some(130), "{end:?}");
    assert_eq!(end.json()["interrupted"], true);
    assert!(!report.exists());
    let hidden = std::fs::read_dir(world.folder()).unwrap().map(|entry| entry.unwrap().file_name());
    let hidden: Vec<_> = hidden.filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert!(hidden.is_empty(), "{hidden:?}");
    assert_eq!(std::fs::read_dir(temporary.path()).unwrap().count(), 0);
}
