//! Customers that a decision led away from: whatever becomes of the doubt, they lose the contact's stamp, and a search that still
//! names them is not believed.

use deskferry::domain::ids::FirstLineId;
use deskferry::sandbox::faults::{Fault, FaultFilter};
use deskferry::sandbox::firstline::FirstLineSwitches;
use deskferry::store::Decision;
use serde_json::{Value, json};

use super::{Doubt, Word};

impl Doubt {
    /// The run that carries the present decision out is killed before the stamp is off the stranger.
    async fn die_before_it_is_off(&self) {
        let faults = self.world.sandbox.firstline_faults();
        let methods = vec![String::from("POST"), String::from("PUT")];
        faults.next(Fault::Outage, 10_000, FaultFilter { methods, path: format!("/contact/{}", self.stranger) });
        let id = self.id.to_string();
        loop {
            let before = faults.injected(Fault::Outage);
            let mut process = self.world.spawn(&["retry", &id]);
            if process.until(|| faults.injected(Fault::Outage) > before).await {
                process.kill().await;
                break;
            }
        }
        faults.clear();
        assert_eq!(self.stamped(), [self.stranger]);
    }

    /// The stranger got the contact by one decision, and is to lose it by the next one.
    async fn half_carried() -> Self {
        let doubt = Self::new().await;
        doubt.decide(Word::Stranger).await;
        doubt.retry().await;
        doubt.decide(Word::One).await;
        doubt.die_before_it_is_off().await;
        assert_eq!(doubt.target().await, Some(doubt.one));
        doubt
    }

    fn stamp_one(&self, stamp: Value) {
        assert!(self.world.sandbox.firstline().edit(self.one, "membership_no", stamp));
    }

    pub(super) async fn last_run(&self) -> i64 {
        let store = self.world.store().await;
        let run = store.runs(1).await.unwrap().remove(0).id.0;
        store.close().await;
        run
    }

    async fn listed(&self) -> String {
        self.run(&["conflicts", "list"]).await.out
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_left_behind_loses_the_stamp_although_the_contact_came_into_doubt_anew() {
    for decided in [false, true] {
        let doubt = Doubt::half_carried().await;
        // A run notices that an agent typed another stamp, and a person has that put right.
        doubt.stamp_one(json!("LD-9999"));
        doubt.retry().await;
        assert!(doubt.listed().await.contains("undecided"));
        doubt.stamp_one(Value::Null);
        if decided {
            doubt.decide(Word::One).await;
        }
        doubt.retry().await;
        assert_eq!((doubt.target().await, doubt.stamped()), (Some(doubt.one), vec![doubt.one]), "decided: {decided}");
        assert!(doubt.listed().await.is_empty() || doubt.listed().await.contains("no conflicts"), "decided: {decided}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_left_behind_is_not_forgotten_with_the_doubt_of_a_run_that_is_taken_back() {
    let doubt = Doubt::half_carried().await;
    doubt.stamp_one(json!("LD-9999"));
    let other = doubt.world.sandbox.livedesk().listed_ids().into_iter().find(|id| *id != doubt.id.0.unsigned_abs());
    let renamed =
        |contact: &mut serde_json::Map<String, Value>| drop(contact.insert("name".into(), json!("Erik Satie")));
    assert!(doubt.world.sandbox.livedesk().edit(other.unwrap(), renamed));
    let end = doubt.run(&["--json", "backfill", "--yes"]).await.json();
    assert_eq!((&end["conflicts"], &end["updated"]), (&json!(1), &json!(1)), "{end}");
    doubt.undo(end["run"].as_i64().unwrap()).await;
    doubt.stamp_one(Value::Null);
    let listed = doubt.listed().await;
    assert!(listed.contains(&format!("contact {}", doubt.id)), "it waits for a person: {listed}");
    assert!(listed.contains(&format!("still to be taken off customer {}", doubt.stranger)), "{listed}");
    doubt.world.backfill().await;
    assert_eq!(doubt.stamped(), [doubt.stranger]);
    doubt.decide(Word::One).await;
    doubt.assert_settled(Word::One, "decided again").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_left_behind_twice_over_loses_the_stamp_after_an_undo() {
    let doubt = Doubt::half_carried().await;
    let store = doubt.world.store().await;
    let mut conflict = store.conflict_for(&[doubt.id]).await.unwrap().remove(&doubt.id).unwrap();
    conflict.decision = Some(Decision::Link(FirstLineId(doubt.other.cast_signed())));
    store.decide(vec![conflict], None).await.unwrap();
    store.close().await;
    doubt.die_before_it_is_off().await;
    assert_eq!(doubt.target().await, Some(doubt.other));
    doubt.undo(doubt.last_run().await).await;
    assert_eq!(doubt.target().await, Some(doubt.one));
    doubt.world.backfill().await;
    assert_eq!((doubt.target().await, doubt.stamped()), (Some(doubt.other), vec![doubt.other]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebuild_takes_a_customer_left_behind_for_nobodys() {
    let doubt = Doubt::half_carried().await;
    let end = doubt.run(&["state", "rebuild"]).await;
    assert!(!end.says("stamped on more than one customer"), "{end:?}");
    doubt.assert_settled(Word::One, "after a rebuild").await;
    assert_eq!(doubt.target().await, Some(doubt.one));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_that_still_names_the_customer_that_was_left_makes_no_twins() {
    let doubt = Doubt::new().await;
    doubt.decide(Word::One).await;
    doubt.retry().await;
    doubt.decide(Word::Create).await;
    let firstline = doubt.world.sandbox.firstline();
    firstline.set_switches(FirstLineSwitches { search_lag_ms: 600_000, ..firstline.switches() });
    // It never arrives, is created again, and then looked at for a twin.
    doubt.world.sandbox.firstline_faults().next(Fault::Reset, 1, FaultFilter::on("POST", "/contact"));
    let end = doubt.run(&["--json", "retry", &doubt.id.to_string()]).await;
    assert_eq!((end.code(), &end.json()["created"]), (Some(0), &json!(1)), "{end:?}");
    assert_eq!(doubt.world.sandbox.firstline_faults().injected(Fault::Reset), 1);
    assert!(doubt.listed().await.contains("no conflicts"), "{}", doubt.listed().await);
    assert_eq!(doubt.stamped(), [doubt.target().await.unwrap()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_that_still_names_the_customer_that_was_left_is_not_linked_when_the_stamp_is_refused() {
    let doubt = Doubt::new().await;
    doubt.decide(Word::One).await;
    doubt.retry().await;
    doubt.decide(Word::Create).await;
    let firstline = doubt.world.sandbox.firstline();
    let switches = firstline.switches();
    firstline.set_switches(FirstLineSwitches { search_lag_ms: 600_000, membership_no_max: Some(3), ..switches });
    let end = doubt.run(&["retry", &doubt.id.to_string()]).await;
    assert_eq!((end.code(), doubt.target().await, doubt.stamped()), (Some(1), None, vec![]), "{end:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_that_a_run_made_and_an_undo_left_is_no_second_copy_beside_the_one_decided_on() {
    let doubt = Doubt::new().await;
    doubt.decide(Word::Stranger).await;
    doubt.retry().await;
    doubt.decide(Word::Create).await;
    let run = doubt.retry().await;
    let made = doubt.target().await.unwrap();
    doubt.undo(run).await;
    assert_eq!((doubt.target().await, doubt.stamped()), (Some(doubt.stranger), vec![made]));
    doubt.decide(Word::Stranger).await;
    let end = doubt.world.backfill().await;
    let told = end.summary.set_aside_rows.iter().any(|row| row.reason.detail.contains("left as a second copy"));
    assert_eq!((told, doubt.stamped()), (true, vec![made]), "{:?}", end.summary);
    assert!(doubt.world.sandbox.firstline().merge(doubt.stranger, made));
    doubt.retry().await;
    assert_eq!((doubt.target().await, doubt.stamped()), (Some(doubt.stranger), vec![doubt.stranger]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_create_that_arrives_after_its_run_was_taken_back_is_named_beside_the_customer_that_the_contact_has() {
    let mut doubt = Doubt::new().await;
    doubt.decide(Word::Stranger).await;
    doubt.retry().await;
    doubt.decide(Word::Create).await;
    doubt.world.choices.doubt_horizon = "1h";
    doubt.world.sandbox.firstline_faults().next(Fault::Reset, 1, FaultFilter::on("POST", "/contact"));
    let end = doubt.run(&["--json", "--no-wait", "retry", &doubt.id.to_string()]).await;
    assert_eq!(end.json()["parked"], json!(1), "{end:?}");
    doubt.world.choices.doubt_horizon = "100ms";
    doubt.undo(end.json()["run"].as_i64().unwrap()).await;
    assert_eq!(doubt.target().await, Some(doubt.stranger));
    // Nobody looks for it any more: the first customer is the one.
    doubt.decide(Word::Stranger).await;
    let late = json!({ "first_name": "Ravel", "membership_no": doubt.stamp() });
    let late = doubt.world.sandbox.firstline().add_contact(&late, &[], &[], &[]);
    let end = doubt.world.backfill().await;
    assert_eq!(end.summary.conflict_ids, [doubt.id.0], "{:?}", end.summary);
    let listed = doubt.listed().await;
    assert!(listed.contains(&format!("candidates {}, {late}", doubt.stranger)), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_customer_decided_on_that_is_somebody_elses_leaves_the_contact_its_own() {
    let doubt = Doubt::new().await;
    doubt.decide(Word::Stranger).await;
    doubt.retry().await;
    doubt.decide(Word::One).await;
    doubt.stamp_one(json!("LD-9999"));
    doubt.retry().await;
    let listed = doubt.listed().await;
    assert!(listed.contains(&format!("candidates {}, {}; ", doubt.one, doubt.stranger)), "{listed}");
    // Nobody of those who hold the key: it stays where it is, and nobody is made.
    let end = doubt.run(&["conflicts", "resolve", &doubt.id.to_string(), "--create"]).await;
    assert!(end.says(&format!("customer {} stays its own", doubt.stranger)), "{end:?}");
    let customers = doubt.world.sandbox.firstline().len();
    doubt.assert_settled(Word::Create, "its own").await;
    assert_eq!((doubt.target().await, doubt.world.sandbox.firstline().len()), (Some(doubt.stranger), customers));
}
