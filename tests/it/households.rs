//! Households: contacts that share an e-mail or a phone end the same way whether or not the run was killed between them.

use std::time::Duration;

use deskferry::sandbox::SandboxConfig;
use deskferry::sandbox::faults::FaultSettings;
use deskferry::sync::pipeline::Entrants;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::world::World;

/// Pairs of contacts that share something.
const PAIRS: u64 = 50;
/// Ways in which a scenario is interrupted or killed; more with `DESKFERRY_KILL_RUNS`.
const WAYS: u64 = 2;
/// Kills of one backfill.
const KILLS: u64 = 3;

/// What is there before the migration, and what the settings say.
#[derive(Clone, Copy, Debug)]
struct Scene {
    existing: bool,
    shared_keys: &'static str,
}

const SCENES: [Scene; 4] = [
    Scene { existing: false, shared_keys: "create" },
    Scene { existing: true, shared_keys: "create" },
    Scene { existing: false, shared_keys: "conflict" },
    Scene { existing: true, shared_keys: "conflict" },
];

impl Scene {
    async fn start(self) -> World {
        // Slow enough that something is always in flight.
        let firstline_faults = FaultSettings { latency_ms: 1, ..FaultSettings::default() };
        let mut world = World::start(SandboxConfig {
            contacts: 0,
            edge_cases: false,
            firstline_faults,
            ..SandboxConfig::default()
        })
        .await;
        world.choices.shared_keys = self.shared_keys;
        let contacts = (0..PAIRS).flat_map(|pair| [(pair, 0), (pair, 1)]);
        // Half of the pairs stand side by side, half of them far apart.
        let (near, far): (Vec<_>, Vec<_>) = contacts.partition(|(pair, _)| pair % 2 == 0);
        let mut far = far;
        far.sort_by_key(|(pair, member)| (*member, *pair));
        for (at, (pair, member)) in near.into_iter().chain(far).enumerate() {
            let mut contact = member_of(pair, member);
            contact["created_at"] = json!(1_700_000_000 + at);
            world.sandbox.livedesk().add_contact(contact);
        }
        if self.existing {
            for pair in 0..PAIRS {
                let (email, phone) = (shared_email(pair), shared_phone(pair));
                let (emails, phones): (Vec<&str>, Vec<&str>) = match (pair % 3, pair % 5) {
                    (0, _) | (2, 0) => (vec![&email], vec![]),
                    (1, _) => (vec![], vec![&phone]),
                    _ => (vec![&email], vec![&phone]),
                };
                let prior = json!({ "first_name": format!("Prior{pair}"), "last_name": "A" });
                world.sandbox.firstline().add_contact(&prior, &emails, &phones, &[]);
                if (pair % 3, pair % 5) == (2, 0) {
                    let prior = json!({ "first_name": format!("Prior{pair}"), "last_name": "B" });
                    world.sandbox.firstline().add_contact(&prior, &[], &[&phone], &[]);
                }
            }
        }
        world
    }
}

fn shared_email(pair: u64) -> String {
    format!("family{pair}@example.com")
}

fn shared_phone(pair: u64) -> String {
    format!("+8869120{pair:05}")
}

/// A pair shares its e-mail, its phone, or both; what it does not share, each has of its own.
fn member_of(pair: u64, member: u64) -> Value {
    let own_email = format!("member{member}.of{pair}@example.com");
    let own_phone = format!("+8869{:02}3{pair:05}", 30 + member);
    let (email, phone) = match pair % 3 {
        0 => (shared_email(pair), own_phone),
        1 => (own_email, shared_phone(pair)),
        _ => (shared_email(pair), shared_phone(pair)),
    };
    json!({ "name": format!("Member{member} Household{pair}"), "email": email, "phone_number": phone })
}

/// Everything that must be the same whatever happened on the way: records without the ids that FIRST LINE chose, and
/// who waits for a person.
async fn end_state(world: &World) -> (Vec<Value>, Vec<i64>) {
    let mut records: Vec<Value> = world.sandbox.firstline().dump().as_array().unwrap().iter().map(normal).collect();
    records.sort_by_key(Value::to_string);
    let store = world.store().await;
    let report = store.check().await.unwrap();
    let in_conflict: Vec<_> = store.conflicts().await.unwrap().iter().map(|conflict| conflict.livedesk_id).collect();
    // Who was found by one key, while the other sits on a third customer, is linked and waits for a person.
    let waiting = store.links_for(&in_conflict).await.unwrap().len() as u64;
    assert_eq!((report.problems(), report.open_intents, report.unsettled_links), (Vec::new(), 0, waiting));
    let conflicts = in_conflict.iter().map(|id| id.0).collect();
    store.close().await;
    (records, conflicts)
}

fn normal(record: &Value) -> Value {
    let sorted = |list: &Value, key: &str| {
        let mut values: Vec<String> =
            list.as_array().unwrap().iter().map(|row| row[key].as_str().unwrap().to_owned()).collect();
        values.sort();
        json!(values)
    };
    let mut plain = record.clone();
    plain["emails"] = sorted(&record["emails"], "address");
    plain["phones"] = sorted(&record["phones"], "number");
    let fields = plain.as_object_mut().unwrap();
    fields.remove("id");
    fields.remove("profile_id");
    plain
}

fn ways() -> u64 {
    std::env::var("DESKFERRY_KILL_RUNS").map_or(WAYS, |runs| runs.parse::<u64>().unwrap().div_ceil(10).max(WAYS))
}

async fn assert_same_end(scene: Scene, way: u64, world: &World, expected: &(Vec<Value>, Vec<i64>)) {
    let (records, conflicts) = end_state(world).await;
    for (found, expected) in records.iter().zip(&expected.0) {
        assert_eq!(found, expected, "{scene:?}, way {way}");
    }
    assert_eq!(records.len(), expected.0.len(), "{scene:?}, way {way}");
    assert_eq!(conflicts, expected.1, "{scene:?}, way {way}");
}

/// The end without any kill; and that it is the end that the policy promises.
async fn undisturbed(scene: Scene) -> (Vec<Value>, Vec<i64>) {
    let world = scene.start().await;
    world.backfill().await;
    let (records, conflicts) = end_state(&world).await;
    let stamped = records.iter().filter(|record| !record["membership_no"].is_null()).count() as u64;
    if scene.shared_keys == "create" {
        assert_eq!((stamped, conflicts.len()), (2 * PAIRS, 0), "{scene:?}");
    } else {
        // One prior customer has their e-mail and another one their phone: nobody takes it from there unasked.
        let between = (0..PAIRS).filter(|pair| scene.existing && (pair % 3, pair % 5) == (2, 0)).count() as u64;
        assert_eq!((stamped, conflicts.len() as u64), (PAIRS, PAIRS + between), "{scene:?}");
    }
    (records, conflicts)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn households_end_the_same_way_when_the_run_is_interrupted_between_them() {
    for (number, scene) in (0_u64..).zip(SCENES) {
        let expected = undisturbed(scene).await;
        for way in 0..ways() {
            let mut world = scene.start().await;
            let mut rng = StdRng::seed_from_u64(1_000 * number + way);
            for _ in 0..KILLS {
                world.stop = CancellationToken::new();
                let upto = requests(&world) + rng.random_range(5..150);
                let run = world.run(Entrants::All);
                tokio::pin!(run);
                while timeout(Duration::from_millis(1), &mut run).await.is_err() {
                    if requests(&world) >= upto {
                        world.stop.cancel();
                    }
                }
            }
            world.stop = CancellationToken::new();
            world.backfill().await;
            assert_same_end(scene, way, &world, &expected).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn households_end_the_same_way_when_the_process_is_killed_between_them() {
    for (number, scene) in (0_u64..).zip(SCENES) {
        let expected = undisturbed(scene).await;
        for way in 0..ways() {
            let world = scene.start().await;
            let mut rng = StdRng::seed_from_u64(2_000 * (number + 1) + way);
            for _ in 0..KILLS {
                let upto = requests(&world) + rng.random_range(5..150);
                let mut process = world.spawn(&["--json", "backfill"]);
                if process.until(|| requests(&world) >= upto).await {
                    process.kill().await;
                }
            }
            let end = world.command(&["--json", "backfill"]).await;
            let left_over = i32::from(scene.shared_keys == "conflict");
            assert_eq!(end.code(), Some(left_over), "{scene:?}, way {way}: {end:?}");
            assert_same_end(scene, way, &world, &expected).await;
        }
    }
}

fn requests(world: &World) -> u64 {
    world.sandbox.firstline_faults().requests()
}
