//! Doubts about identity: what a person is shown, what they decide, and that it stays decided.

use deskferry::config::template;
use deskferry::sandbox::{Sandbox, SandboxConfig};
use serde_json::{Value, json};

use crate::cli_support::Desk;

/// Five contacts whose e-mail is on two customers each, and a customer whom nobody looks for.
struct Doubts {
    desk: Desk,
    ids: Vec<u64>,
    /// The two candidates of each.
    candidates: Vec<[u64; 2]>,
    stranger: u64,
}

impl Doubts {
    async fn new() -> Self {
        let desk = Desk::new().await;
        let firstline = desk.sandbox.firstline();
        let mut candidates = Vec::new();
        let mut ids = Vec::new();
        for at in 0..5 {
            let email = format!("twofold{at}@example.com");
            let one = || {
                let fields = json!({ "first_name": "Ravel", "last_name": format!("Maurice{at}") });
                firstline.add_contact(&fields, &[&email], &[], &[])
            };
            candidates.push([one(), one()]);
            let name = format!("Ravel Maurice{at}");
            ids.push(desk.sandbox.livedesk().add_contact(json!({ "name": name, "email": email })));
        }
        let stranger = firstline.add_contact(&json!({ "first_name": "Stranger" }), &[], &[], &[]);
        let ended = desk.run(&["backfill", "--yes", "--json"]).await.expect(1);
        assert_eq!(ended.json()["conflicts"], 5);
        Self { desk, ids, candidates, stranger }
    }

    fn id(&self, at: usize) -> String {
        self.ids[at].to_string()
    }

    /// Decides all five, each in another way.
    async fn decide(&self) {
        let [first, second, ..] = &self.candidates[..] else { unreachable!() };
        let text = format!(
            "decision,id,target\nlink,{},{}\nlink, {} ,{}\nlink,{},{}\ncreate,{},\nskip,{},\n",
            self.ids[0], first[0], self.ids[1], second[1], self.ids[2], self.stranger, self.ids[3], self.ids[4]
        );
        self.desk.write("decisions.csv", &text);
        let file = self.desk.path("decisions.csv");
        let ended = self.desk.run(&["conflicts", "resolve", "--from", file.to_str().unwrap()]).await.expect(0);
        assert_eq!(ended.out.lines().count(), 5, "{}", ended.out);
    }

    /// Whose stamp a customer carries.
    fn stamp(&self, customer: u64) -> Option<String> {
        self.desk.sandbox.firstline().contact(customer).unwrap().membership_no.clone()
    }

    fn assert_decided(&self, context: &str) {
        let ours = |at: usize| Some(format!("LD-{}", self.ids[at]));
        let [first, second, third, fourth, fifth] = &self.candidates[..] else { unreachable!() };
        assert_eq!((self.stamp(first[0]), self.stamp(first[1])), (ours(0), None), "{context}");
        assert_eq!((self.stamp(second[0]), self.stamp(second[1])), (None, ours(1)), "{context}");
        assert_eq!(self.stamp(self.stranger), ours(2), "{context}");
        for untouched in [third, fourth, fifth].into_iter().flatten() {
            assert_eq!(self.stamp(*untouched), None, "{context}");
        }
        let customers = self.desk.sandbox.firstline().contacts();
        let made = |at: usize| customers.iter().filter(|row| row.membership_no == ours(at)).count();
        assert_eq!((made(3), made(4)), (1, 0), "{context}");
    }
}

#[tokio::test]
async fn a_customer_is_given_to_one_contact_alone() {
    let doubts = Doubts::new().await;
    let desk = &doubts.desk;
    let (first, second, target) = (doubts.id(0), doubts.id(1), doubts.candidates[0][0].to_string());
    let resolve = |id: &str| ["conflicts", "resolve", id, "--link", &target].map(str::to_owned);
    let run = async |words: &[String]| desk.run(&words.iter().map(String::as_str).collect::<Vec<_>>()).await;
    for _ in 0..2 {
        run(&resolve(&first)).await.expect(0);
    }
    let refused = format!("customer {target} was given to contact {first} already");
    run(&resolve(&second)).await.expect(2).says(&refused);
    let file = desk.path("decisions.csv").to_str().unwrap().to_owned();
    desk.write("decisions.csv", &format!("id,decision,target\n{second},link,{target}\n"));
    desk.run(&["conflicts", "resolve", "--from", &file]).await.expect(2).says(&format!("{file}:2: {refused}"));
    // One file may change both.
    desk.write("decisions.csv", &format!("id,decision,target\n{second},link,{target}\n{first},skip,\n"));
    desk.run(&["conflicts", "resolve", "--from", &file]).await.expect(0);
}

#[tokio::test]
async fn five_ambiguous_identities_resolved_in_five_ways_stay_resolved_over_three_runs() {
    let doubts = Doubts::new().await;
    let desk = &doubts.desk;
    doubts.decide().await;
    desk.run(&["conflicts", "list"]).await.expect(0).says("(not carried out yet)");
    let mut after_the_first = Value::Null;
    for run in 1..=3 {
        if run == 3 {
            // Another mapping: everybody is looked at again, and nobody is asked again.
            desk.write("mapping.toml", &template::MAPPING.replace("name | given_name", "name | given_name | trim"));
        }
        let ended = desk.run(&["backfill", "--yes", "--json"]).await.expect(0).json();
        assert_eq!((&ended["conflicts"], &ended["not_selected"]), (&json!(0), &json!(1)), "run {run}: {ended}");
        assert_eq!(ended["created"], json!(u32::from(run == 1)), "run {run}: {ended}");
        doubts.assert_decided(&format!("run {run}"));
        let dump = desk.sandbox.firstline().dump();
        if run == 1 {
            after_the_first = dump;
        } else {
            assert_eq!(dump, after_the_first, "run {run}");
        }
    }
    let listed = desk.run(&["conflicts", "list"]).await.expect(0);
    listed.says("no conflicts");
    listed.says("5 more were decided");
    let all = desk.run(&["conflicts", "list", "--all", "--json"]).await.expect(0);
    assert_eq!(all.out.lines().count(), 5);

    // A person's word is told with who and when; it goes along with an export, too.
    let export = desk.path("export");
    desk.run(&["state", "export", "-o", export.to_str().unwrap()]).await.expect(0);
    desk.replace("path = \"state.db\"", "path = \"other.db\"");
    desk.run(&["state", "import", export.to_str().unwrap()]).await.expect(0);
    let ended = desk.run(&["backfill", "--yes", "--json"]).await.expect(0).json();
    assert_eq!((&ended["conflicts"], &ended["created"]), (&json!(0), &json!(0)), "{ended}");
    doubts.assert_decided("after an import");
    let words = [json!({ "link": doubts.candidates[0][0] }), json!({ "link": doubts.candidates[1][1] })];
    let words = words.into_iter().chain([json!({ "link": doubts.stranger }), json!("create"), json!("skip")]);
    for (at, word) in words.enumerate() {
        let told = desk.run(&["explain", &doubts.id(at), "--json"]).await.expect(0).json();
        let decision = &told["decisions"][0];
        assert_eq!(decision["decision"], word, "{told}");
        assert!(decision["by"].as_str().is_some_and(|by| by.starts_with("user ")), "{told}");
        assert_eq!(told["conflict"]["waiting"], json!(at == 4), "{told}");
        let next = if at == 4 { "not_selected" } else { "nothing" };
        assert_eq!(told["next"]["action"], next, "{told}");
    }
}

#[tokio::test]
async fn a_new_decision_is_carried_out_though_an_earlier_one_came_to_nothing() {
    let doubts = Doubts::new().await;
    let desk = &doubts.desk;
    let (id, chosen) = (doubts.id(0), doubts.candidates[0][0]);
    desk.run(&["conflicts", "resolve", &id, "--link", &chosen.to_string()]).await.expect(0);
    assert!(desk.sandbox.firstline().delete(chosen));
    desk.run(&["backfill", "--yes"]).await.expect(1);
    desk.run(&["conflicts", "resolve", &id, "--create"]).await.expect(0);
    let ended = desk.run(&["backfill", "--yes", "--json"]).await.expect(1).json();
    assert_eq!(
        (&ended["created"], &ended["set_aside"], &ended["conflicts"]),
        (&json!(1), &json!(0), &json!(4)),
        "{ended}"
    );
}

#[tokio::test]
async fn the_evidence_names_which_key_hit_and_shows_values_on_request_alone() {
    let doubts = Doubts::new().await;
    let desk = &doubts.desk;
    let id = doubts.id(0);
    let [one, other] = doubts.candidates[0];
    let before = desk.files();
    let masked = desk.run(&["conflicts", "show", &id]).await.expect(0);
    masked.says(&format!("customer {one}: "));
    masked.says("t…@….com (the contact's)");
    masked.says("no stamp; linked to nobody");
    masked.says("--show-values shows them");
    for value in ["twofold0", "Maurice", "Ravel"] {
        assert!(!masked.out.contains(value) && !masked.err.contains(value), "{}", masked.out);
    }
    desk.run(&["conflicts", "show", &id, "--show-values"]).await.expect(0).says("twofold0@example.com (the contact's)");
    let told = desk.run(&["conflicts", "show", &id, "--json"]).await.expect(0).json();
    let rows = told["evidence"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["firstline_id"].clone()).collect::<Vec<_>>(), [json!(one), json!(other)]);
    assert!(rows.iter().all(|row| row["emails"][0]["hit"] == true && row["stamp"] == "none"), "{told}");
    // A reader leaves what SQLite makes beside the file.
    let mut after = desk.files();
    after.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
    assert_eq!(after, before, "nothing is left of the look");
    let writes = desk.sandbox.firstline().tally().writes();
    desk.run(&["conflicts", "show", &id]).await.expect(0);
    assert_eq!(desk.sandbox.firstline().tally().writes(), writes);

    desk.sandbox.firstline().delete(other);
    desk.run(&["conflicts", "show", &id]).await.expect(0).says(&format!("customer {other}: not there any more"));
    desk.run(&["conflicts", "show", "987654"]).await.expect(2).says("is not in conflict; did you mean ");
}

#[tokio::test]
async fn a_platform_that_is_not_there_leaves_what_the_state_knows() {
    let mut doubts = Doubts::new().await;
    let id = doubts.id(0);
    let elsewhere = Sandbox::start(SandboxConfig { contacts: 0, ..SandboxConfig::default() }).await.unwrap();
    std::mem::replace(&mut doubts.desk.sandbox, elsewhere).shut_down().await;
    for command in [["conflicts", "show"].as_slice(), &["explain"]] {
        let ended = doubts.desk.run(&[command, &[&id]].concat()).await.expect(1);
        ended.says("what the platforms say now is missing here");
        ended.says(&format!("candidates {}, {}", doubts.candidates[0][0], doubts.candidates[0][1]));
    }
    let offline = doubts.desk.run(&["explain", &id, "--offline"]).await.expect(0);
    offline.says("next run    not asked (--offline)");
}

#[tokio::test]
async fn a_file_of_decisions_is_taken_whole_or_not_at_all_and_every_problem_is_told_with_its_line() {
    let doubts = Doubts::new().await;
    let desk = &doubts.desk;
    let linked = desk.sandbox.livedesk().listed_ids()[0];
    let theirs = desk.run(&["explain", &linked.to_string(), "--offline", "--json"]).await.expect(0).json();
    let theirs = &theirs["link"]["firstline_id"];
    let (id, other, candidate) = (doubts.ids[0], doubts.ids[1], doubts.candidates[0][0]);
    desk.write(
        "decisions.csv",
        &format!(
            "id,decision,target\n{id},link,{candidate}\nx,skip,\n987654,skip,\n{id},create,\n{other},adopt,\n{other},link,\n\
             {other},link,y\n{other},create,5\n{},link,{candidate}\n{},link,{theirs}\n",
            doubts.ids[2], doubts.ids[3]
        ),
    );
    let file = desk.path("decisions.csv");
    let from = ["conflicts", "resolve", "--from", file.to_str().unwrap()];
    let refused = desk.run(&from).await.expect(2);
    for said in [
        "csv:3: id is no LiveDesk id",
        "csv:4: contact 987654 is not in conflict; did you mean",
        &format!("csv:5: contact {id} is decided in line 2 already"),
        "csv:6: decision is none of link, create, skip",
        "csv:7: link needs a target",
        "csv:8: target is no FIRST LINE id",
        "csv:9: create takes no target",
        &format!("csv:10: customer {candidate} is given to another contact in line 2 already"),
        &format!("csv:11: customer {theirs} is linked to contact {linked} already"),
        "nothing was decided",
    ] {
        refused.says(said);
    }
    let listed = desk.run(&["conflicts", "list"]).await.expect(0);
    assert_eq!(listed.out.matches("undecided").count(), 5, "{}", listed.out);
    desk.write("decisions.csv", "contact,what\n1,skip\n");
    desk.run(&from).await.expect(2).says("the first line must be id,decision,target");
    desk.write("decisions.csv", "id,decision,target\n");
    desk.run(&from).await.expect(2).says("has no line but the first");
    desk.run(&["conflicts", "resolve", "--from", "/none"]).await.expect(2).says("/none cannot be read");
    desk.run(&["conflicts", "resolve", "1", "--from", "x"]).await.expect(2);
    desk.run(&["conflicts", "resolve", "--skip"]).await.expect(2);
}

#[tokio::test]
async fn a_decision_that_was_carried_out_can_be_taken_back_and_made_anew() {
    let doubts = Doubts::new().await;
    let desk = &doubts.desk;
    let id = doubts.id(0);
    let [one, other] = doubts.candidates[0];
    desk.run(&["conflicts", "reopen", &id]).await.expect(2).says("was not decided");
    desk.run(&["conflicts", "resolve", &id, "--link", &one.to_string()]).await.expect(0);
    desk.run(&["retry", &id]).await.expect(0);
    let reopened = desk.run(&["conflicts", "reopen", &id]).await.expect(0);
    reopened.says(&format!("it stays linked to customer {one}"));
    desk.run(&["conflicts", "list"]).await.expect(0).says("undecided");
    desk.run(&["conflicts", "resolve", &id, "--link", &other.to_string()]).await.expect(0);
    desk.run(&["retry", &id]).await.expect(0);
    assert_eq!(doubts.stamp(other), Some(format!("LD-{id}")));
    let told = desk.run(&["explain", &id]).await.expect(0);
    told.says("taken back");
    assert_eq!(told.out.matches("decision    ").count(), 3, "{}", told.out);
    desk.run(&["conflicts", "reopen", "987654"]).await.expect(2).says("is not in conflict; did you mean ");
}
