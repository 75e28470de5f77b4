//! `verify`: the same faults are the same findings at every tenant, with a state and without one, of all contacts and of a
//! sample.
//!
//! `DESKFERRY_VERIFY_TENANTS` says at how many of the tenants below this is tried (1).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use deskferry::domain::record::FieldKey::{BirthAt, Custom, FirstName, LastName};
use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::firstline::{
    ColumnFilter, FilterMode, FirstLineSwitches, ListsShownIn, Sort, TagsShown, UnsetColumns,
};
use serde_json::{Value, json};

use crate::verify::{Customer, Told, customers, verified};
use crate::world::World;

type Found = BTreeMap<Told, Option<String>>;

/// Tenants, each with what sets it apart.
fn tenants() -> Vec<(&'static str, FirstLineSwitches)> {
    let usual = FirstLineSwitches::default;
    let apart = || FirstLineSwitches { list_omits_children: true, get_omits_children: true, ..usual() };
    let unfiltered = |switches: FirstLineSwitches| FirstLineSwitches {
        filter_membership_no: FilterMode::Ignored,
        filter_cz_cols: ColumnFilter::Ignored,
        filter_address: FilterMode::Ignored,
        filter_number: FilterMode::Ignored,
        filter_contact_id: FilterMode::Ignored,
        ..switches
    };
    let bare = |switches: FirstLineSwitches| FirstLineSwitches {
        nulls_left_out: true,
        unset_cz_cols: UnsetColumns::LeftOut,
        ..switches
    };
    vec![
        ("empty keys left out, no filter, nothing embedded", bare(unfiltered(apart()))),
        ("as documented", usual()),
        ("nothing embedded, no filter", unfiltered(apart())),
        ("nothing embedded, no filter, small pages", FirstLineSwitches { per_page_max: 4, ..unfiltered(apart()) }),
        ("no filter, small pages", FirstLineSwitches { per_page_max: 7, ..unfiltered(usual()) }),
        ("empty keys left out", bare(usual())),
        ("empty keys left out, nothing embedded", bare(apart())),
        ("rows without columns, empty keys left out", FirstLineSwitches { list_omits_cz_cols: true, ..bare(usual()) }),
        ("newest first", FirstLineSwitches { sort: Sort::IdDesc, per_page_max: 5, ..usual() }),
        ("no order", FirstLineSwitches { sort: Sort::UnstableTies, per_page_max: 30, ..usual() }),
        ("no meta", FirstLineSwitches { meta_left_out: true, ..usual() }),
        ("no meta, empty keys left out", FirstLineSwitches { meta_left_out: true, ..bare(usual()) }),
        ("phones name a profile", FirstLineSwitches { phone_rows_name_contact: false, ..apart() }),
        (
            "prefixes",
            FirstLineSwitches {
                filter_membership_no: FilterMode::Prefix,
                filter_address: FilterMode::Substring,
                filter_number: FilterMode::Substring,
                ..usual()
            },
        ),
        (
            "stored otherwise",
            FirstLineSwitches {
                phone_stored_national: true,
                email_stored_lowercase: true,
                numbers_as_text: false,
                birth_at_with_time: true,
                ..usual()
            },
        ),
        ("tags in rows", FirstLineSwitches { lists_shown_in: ListsShownIn::Rows, ..usual() }),
        ("tags in reads", FirstLineSwitches { lists_shown_in: ListsShownIn::Reads, ..usual() }),
        ("tag ids", FirstLineSwitches { tags_shown: TagsShown::TagIds, ..bare(usual()) }),
    ]
}

/// How the command is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mode {
    state: bool,
    /// There is none at all.
    lost: bool,
    sample: bool,
}

const MODES: [Mode; 6] = [
    Mode { state: true, lost: false, sample: false },
    Mode { state: false, lost: false, sample: false },
    Mode { state: true, lost: false, sample: true },
    Mode { state: false, lost: false, sample: true },
    Mode { state: false, lost: true, sample: false },
    Mode { state: false, lost: true, sample: true },
];

async fn compared(world: &World, mode: Mode) -> (Option<i32>, Value, Found) {
    let (here, away) = (world.state_path(), world.folder().join("away.db"));
    let ends = ["", "-wal", "-shm"];
    let put = |from: &Path, to: &Path| {
        for end in ends {
            let name = |path: &Path| std::path::PathBuf::from(format!("{}{end}", path.display()));
            drop(std::fs::rename(name(from), name(to)));
        }
    };
    let mut arguments = Vec::new();
    if mode.lost {
        put(&here, &away);
    } else if !mode.state {
        arguments.push("--ignore-state");
    }
    if mode.sample {
        arguments.extend(["--sample", "10000"]);
    }
    let found = verified(world, &arguments).await;
    if mode.lost {
        put(&away, &here);
    }
    found
}

/// The faults as (word, contact, field), those that only the state knows, and those that only its absence makes.
#[derive(Default)]
struct Planted {
    always: BTreeSet<Told>,
    with_state: BTreeSet<Told>,
    without: BTreeSet<Told>,
    /// Not of a contact: a sample does not say them.
    strangers: BTreeSet<Told>,
}

async fn plant(world: &World, vip: u64) -> Planted {
    let firstline = world.sandbox.firstline();
    let mapping = world.compiled().await;
    let mut planted = Planted::default();
    let mut rest = customers(&world.sandbox);
    rest.retain(|customer| customer.contact > 0 && customer.email().is_some() && customer.phone().is_some());
    let mut next = |fits: &dyn Fn(&Customer) -> bool| {
        let place = rest.iter().position(fits).unwrap_or_else(|| panic!("nobody left"));
        rest.remove(place)
    };
    let anybody = |_: &Customer| true;
    let told = |class: &str, contact: u64, field: &str| (class.to_owned(), contact.cast_signed(), field.to_owned());
    for (name, key, value) in [
        ("first_name", FirstName, json!("Wrong")),
        ("last_name", LastName, Value::Null),
        ("birth_at", BirthAt, Value::Null),
        ("cz_cols.38", Custom(38), Value::Null),
        ("cz_cols.33", Custom(33), json!(-77)),
        ("cz_cols.39", Custom(39), Value::Null),
    ] {
        let customer = next(&|customer| {
            let held = match key {
                Custom(id) => customer.column(u32::try_from(id).unwrap()),
                _ => customer.field(name),
            };
            !held.is_null() && held.as_str() != Some("")
        });
        assert!(firstline.edit(customer.id, name, value));
        planted.always.insert(told("field", customer.contact, &mapping.field_name(key)));
    }
    let customer = next(&|customer| firstline.contact(customer.id).unwrap().tag_ids.contains(&vip));
    assert!(firstline.edit(customer.id, "tag_ids", json!([])));
    planted.always.insert(told("tag", customer.contact, "tag VIP"));
    let customer = next(&anybody);
    assert!(firstline.delete(customer.id));
    planted.always.insert(told("missing", customer.contact, ""));
    let customer = next(&anybody);
    let twin = json!({ "first_name": "Twin", "membership_no": format!("LD-{}", customer.contact) });
    firstline.add_contact(&twin, &[], &[], &[]);
    planted.always.insert(told("duplicate", customer.contact, ""));
    let customer = next(&anybody);
    assert!(firstline.remove_email(customer.email().unwrap().0));
    planted.always.insert(told("lost_email", customer.contact, "emails"));
    let customer = next(&anybody);
    assert!(firstline.edit_phone(customer.id, customer.phone().unwrap(), "+886911999888"));
    planted.always.insert(told("lost_phone", customer.contact, "phones"));
    let (customer, other) = (next(&anybody), next(&anybody));
    let (row, address) = customer.email().unwrap();
    assert!(firstline.remove_email(row) && firstline.add_email(other.id, &address).is_some());
    planted.always.insert(told("wrong_owner", customer.contact, "emails"));
    let customer = next(&anybody);
    assert!(firstline.add_email(customer.id, &customer.email().unwrap().1).is_some());
    planted.always.insert(told("twice", customer.contact, "emails"));
    let customer = next(&anybody);
    assert!(firstline.edit(customer.id, "membership_no", json!("LD-GOLD")));
    planted.with_state.insert(told("foreign_stamp", customer.contact, ""));
    planted.without.insert(told("missing", customer.contact, ""));
    planted.strangers.insert(told("foreign_stamp", 0, ""));
    let stranger = json!({ "first_name": "X", "membership_no": "LD-9000000000" });
    firstline.add_contact(&stranger, &[], &[], &[]);
    planted.strangers.insert(told("extra", 9_000_000_000, ""));
    planted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_faults_are_found_at_every_tenant_and_in_every_way_of_asking() {
    let many = std::env::var("DESKFERRY_VERIFY_TENANTS").ok().and_then(|many| many.parse().ok()).unwrap_or(1);
    let mut wrong = Vec::new();
    for (what, firstline) in tenants().into_iter().take(many) {
        let mut world =
            World::start(SandboxConfig { contacts: 90, edge_cases: false, firstline, ..SandboxConfig::default() })
                .await;
        world.mapping.push_str("\n[[tags]]\nlabel = \"vip\"\ntag = \"VIP\"\n");
        let livedesk = world.sandbox.livedesk();
        for id in livedesk.listed_ids().into_iter().skip(10) {
            livedesk.set_labels(id, &["vip"]);
            assert!(livedesk.edit(id, |row| {
                row.insert("custom_attributes".into(), json!({ "birthday": "1990-05-17", "points": 12 }));
                row.insert("additional_attributes".into(), json!({ "company": "Example Ltd" }));
            }));
        }
        world.backfill().await;
        let mut clean = Vec::new();
        for mode in MODES {
            let (code, document, found) = compared(&world, mode).await;
            if (code, &document["unexplained"]) != (Some(0), &json!(0)) {
                wrong.push(format!("{what} {mode:?}: not clean: {} {}", document["verdict"], document["groups"]));
            }
            clean.push(found);
        }
        let vip = world.sandbox.firstline().tags().into_iter().find(|(_, name)| name == "VIP").unwrap().0;
        let planted = plant(&world, vip).await;
        for (mode, clean) in MODES.into_iter().zip(clean) {
            let (_, _, found) = compared(&world, mode).await;
            let mut expected = planted.always.clone();
            expected.extend(if mode.state { planted.with_state.clone() } else { planted.without.clone() });
            if !mode.sample {
                let nobodys = |told: &&Told| !mode.state || told.0 == "extra";
                expected.extend(planted.strangers.iter().filter(nobodys).cloned());
            }
            // A sample that asks FIRST LINE for single stamps does not know on whom else an e-mail stands.
            // Nor does it see the tags of a customer without its stamp where only rows of the list name them.
            let unseen = |told: &Told| mode.sample && found[told].as_deref() == Some("not_shown");
            let new = found.keys().filter(|told| !clean.contains_key(*told) && !unseen(told));
            let new: BTreeSet<Told> = new.cloned().collect();
            let alike = |told: &Told| match told.0.as_str() {
                "wrong_owner" if mode.sample => (String::from("lost_email"), told.1, told.2.clone()),
                _ => told.clone(),
            };
            let (new, expected): (BTreeSet<Told>, BTreeSet<Told>) =
                (new.iter().map(alike).collect(), expected.iter().map(alike).collect());
            for told in new.difference(&expected) {
                wrong.push(format!("{what} {mode:?}: found and not planted: {told:?}"));
            }
            for told in expected.difference(&new) {
                wrong.push(format!("{what} {mode:?}: planted and not found: {told:?}"));
            }
            let explained = |told: &&Told| found.get(*told).is_some_and(Option::is_some);
            let allowed = |told: &&Told| mode.state || told.0 == "field" && told.2 == "birth_at";
            for told in planted.always.iter().filter(explained).filter(|told| !allowed(told)) {
                wrong.push(format!("{what} {mode:?}: explained without a state: {told:?} {:?}", found[told]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
