//! An undo whose requests are seen late, or arrive late: what it cannot see it does not call kept, and what comes to light after
//! it is named.

use deskferry::sandbox::faults::{Fault, FaultFilter};
use deskferry::store::Standing;
use serde_json::{Value, json};

use super::{Scene, content};

impl Scene {
    /// From now on a read by id does not see writes that are younger than this.
    fn reads_lag(&self, ms: i64) {
        let firstline = self.world.sandbox.firstline();
        let mut switches = firstline.switches();
        switches.get_lag_ms = ms;
        firstline.set_switches(switches);
        if ms == 0 {
            firstline.settle();
        }
    }

    async fn record(&self, at: usize) -> Value {
        content(&self.dump())[&self.target(at).await].clone()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_put_back_and_is_not_shown_yet_is_unconfirmed_and_nobodys_word() {
    for agent in [None, Some("Agentnamed")] {
        let scene = Scene::new(2, 1).await;
        scene.backfill().await;
        // One was there before, the other was made.
        for at in 0..2 {
            scene.edit(at, "name", json!(format!("Renamed {at}")));
        }
        scene.backfill().await;
        scene.reads_lag(600_000);
        let end = scene.undo(&["2"]).await;
        let told = end.json();
        let counts = (&told["unconfirmed"], &told["kept"], &told["left"], &told["restored"]);
        assert_eq!((end.code(), counts), (Some(1), (&json!(2), &json!(0), &json!(0), &json!(0))), "{end:?}");
        let list = std::fs::read_to_string(told["list_file"].as_str().unwrap()).unwrap();
        let line = format!("{},{},first_name,unconfirmed,", scene.ids[0], scene.target(0).await);
        assert!(list.contains(&line) && !list.contains("Person") && !list.contains("Renamed"), "{list}");
        scene.reads_lag(0);
        // It had arrived.
        assert_eq!(scene.record(0).await["first_name"], json!("Person 0"));
        for at in 0..2 {
            let target = scene.target(at).await;
            assert!(agent.is_none_or(|name| scene.world.sandbox.firstline().edit(target, "first_name", json!(name))));
        }
        scene.backfill().await;
        for at in 0..2 {
            let name = agent.map_or_else(|| format!("Renamed {at}"), str::to_owned);
            assert_eq!(scene.record(at).await["first_name"], json!(name), "{at}");
        }
        for at in 0..2 {
            scene.edit(at, "name", json!("Third"));
        }
        scene.backfill().await;
        assert_eq!(scene.record(0).await["first_name"], json!("Third"), "{agent:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_was_taken_off_and_is_still_shown_is_put_on_again_by_the_next_backfill() {
    let mut scene = Scene::new(3, 1).await;
    scene.world.mapping.push_str("\n[[tags]]\nlabel = \"gold\"\ntag = \"VIP\"\n");
    scene.world.sandbox.firstline().add_tag("VIP");
    scene.backfill().await;
    scene.world.sandbox.livedesk().set_labels(scene.ids[1], &["gold"]);
    scene.backfill().await;
    let tagged = scene.record(1).await["tag_ids"].clone();
    assert_ne!(tagged, json!([]));
    scene.reads_lag(600_000);
    let told = scene.undo(&["2"]).await.json();
    assert_eq!((&told["unconfirmed"], &told["kept"]), (&json!(1), &json!(0)), "{told}");
    scene.reads_lag(0);
    assert_eq!(scene.record(1).await["tag_ids"], json!([]));
    scene.backfill().await;
    assert_eq!(scene.record(1).await["tag_ids"], tagged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_shown_a_moment_later_is_restored_and_nothing_is_left_to_tell() {
    let mut scene = Scene::new(3, 1).await;
    scene.backfill().await;
    let carried = scene.dump();
    scene.edit(1, "name", json!("Renamed"));
    scene.backfill().await;
    (scene.world.choices.settle, scene.world.choices.doubt_horizon) = ("800ms", "5s");
    scene.reads_lag(400);
    let end = scene.undo(&["2"]).await;
    let told = end.json();
    let counts = (&told["restored"], &told["kept"], &told["unconfirmed"]);
    assert_eq!((end.code(), counts), (Some(0), (&json!(1), &json!(0), &json!(0))), "{end:?}");
    assert_eq!(scene.dump(), carried);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_undo_right_after_its_run_does_not_go_by_reads_that_are_older_than_that_run() {
    let mut scene = Scene::new(4, 2).await;
    // How updates behave is known already.
    scene.backfill().await;
    scene.edit(3, "name", json!("Renamed once"));
    scene.backfill().await;
    let carried = scene.dump();
    for at in 0..2 {
        scene.edit(at, "name", json!("Renamed"));
    }
    scene.world.sandbox.livedesk().add_contact(json!({ "name": "New", "email": "new@example.com" }));
    scene.reads_lag(1_500);
    scene.backfill().await;
    (scene.world.choices.settle, scene.world.choices.doubt_horizon) = ("2s", "5s");
    let end = scene.undo(&["3", "--delete-created"]).await;
    let told = end.json();
    let counts = (&told["restored"], &told["deleted"], &told["gone"]);
    assert_eq!((end.code(), counts), (Some(0), (&json!(2), &json!(1), &json!(0))), "{end:?}");
    assert_eq!(scene.dump(), carried);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_that_arrives_after_its_run_was_taken_back_is_named_beside_a_customer_that_is_gone() {
    let mut scene = Scene::new(6, 0).await;
    scene.backfill().await;
    let firstline = scene.world.sandbox.firstline();
    let gone = scene.target(2).await;
    assert!(firstline.delete(gone));
    scene.edit(2, "name", json!("Renamed"));
    assert_eq!(scene.world.command(&["backfill", "--yes"]).await.code(), Some(1));
    scene.world.choices.doubt_horizon = "1h";
    scene.world.sandbox.firstline_faults().next(Fault::Reset, 1, FaultFilter::on("POST", "/contact"));
    let id = scene.ids[2].to_string();
    let end = scene.world.command(&["--json", "--no-wait", "retry", &id, "--recreate"]).await;
    assert_eq!(end.json()["parked"], json!(1), "{end:?}");
    scene.world.choices.doubt_horizon = "100ms";
    let end = scene.undo(&["3"]).await;
    assert_eq!((end.code(), scene.link(2).await.unwrap().standing), (Some(0), Standing::Gone), "{end:?}");
    let late = json!({ "first_name": "Renamed", "membership_no": format!("LD-{id}") });
    let late = scene.world.sandbox.firstline().add_contact(&late, &[], &[], &[]);
    let end = scene.world.command(&["--json", "backfill", "--yes"]).await;
    assert_eq!(
        (end.code(), &end.json()["conflicts"], &end.json()["created"]),
        (Some(1), &json!(1), &json!(0)),
        "{end:?}"
    );
    let listed = scene.world.command(&["conflicts", "list"]).await;
    assert!(listed.says(&format!("candidates {gone}, {late}")), "{listed:?}");
    // A person says that it is the late one.
    let decided = scene.world.command(&["conflicts", "resolve", &id, "--link", &late.to_string()]).await;
    assert_eq!(decided.code(), Some(0), "{decided:?}");
    scene.backfill().await;
    assert_eq!((scene.target(2).await, scene.link(2).await.unwrap().standing), (late, Standing::Live));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_was_created_again_and_deleted_by_an_undo_is_no_twin_of_the_next_one() {
    let mut scene = Scene::new(3, 1).await;
    scene.backfill().await;
    let new = json!({ "name": "New", "email": "new@example.com" });
    scene.ids.push(scene.world.sandbox.livedesk().add_contact(new));
    let faults = scene.world.sandbox.firstline_faults();
    faults.next(Fault::Reset, 1, FaultFilter::on("POST", "/contact"));
    faults.next(Fault::Outage, 10_000, FaultFilter::on("POST", "/email-contact"));
    // It is created again, and the run dies before it is looked at for a twin.
    let mut process = scene.world.spawn(&["backfill", "--yes"]);
    assert!(process.until(|| faults.injected(Fault::Outage) > 0).await, "{}", process.stderr());
    process.kill().await;
    faults.clear();
    let first = scene.target(3).await;
    let end = scene.undo(&["2", "--delete-created"]).await;
    assert_eq!((end.code(), &end.json()["deleted"]), (Some(0), &json!(1)), "{end:?}");
    let end = scene.world.command(&["--json", "backfill", "--yes"]).await;
    let told = end.json();
    assert_eq!((end.code(), &told["created"], &told["conflicts"]), (Some(0), &json!(1), &json!(0)), "{end:?}");
    assert_ne!(scene.target(3).await, first);
}
