//! Many decisions from a file: every line is looked at first, every problem told with its line, and nothing is decided
//! unless all of them are fine.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use crate::cli::output::Failure;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::store::{Conflict, Decision, Store};

/// The columns, in any order.
const HEAD: &str = "id,decision,target";

/// The decisions of a file, each with the conflict that it is about.
pub(super) async fn decide(store: &Store, file: &Path) -> Result<Vec<Conflict>, Failure> {
    let failed = |error: csv::Error| Failure::new(format!("{} cannot be read: {error}", file.display()));
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).flexible(true).from_path(file).map_err(failed)?;
    let head = reader.headers().map_err(failed)?.clone();
    let column = |name: &str| head.iter().position(|found| found.trim_start_matches('\u{feff}') == name);
    let (Some(id), Some(decision), target) = (column("id"), column("decision"), column("target")) else {
        return Err(Failure::new(format!("{}:1: the first line must be {HEAD}; nothing was decided", file.display())));
    };
    let known: HashMap<LiveDeskId, Conflict> =
        store.conflicts().await?.into_iter().map(|conflict| (conflict.livedesk_id, conflict)).collect();
    let mut check = Check { store, known, contacts: HashMap::new(), targets: BTreeMap::new() };
    let (mut decided, mut problems) = (Vec::new(), Vec::new());
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                problems.push(format!("{}:{line}: it is no text in UTF-8", file.display()));
                continue;
            }
        };
        let line = record.position().map_or(0, csv::Position::line);
        let cell = |place: Option<usize>| place.and_then(|place| record.get(place)).unwrap_or_default();
        match check.line(line, cell(Some(id)), cell(Some(decision)), cell(target)).await? {
            Ok(conflict) => decided.push(conflict),
            Err(problem) => problems.push(format!("{}:{line}: {problem}", file.display())),
        }
    }
    for (target, line) in &check.targets {
        let others = check.known.values().filter(|other| !check.contacts.contains_key(&other.livedesk_id));
        if let Some(other) = super::given(others.cloned(), *target) {
            problems.push(format!("{}:{line}: customer {target} was given to contact {other} already", file.display()));
        }
    }
    if !problems.is_empty() {
        problems.push(String::from("nothing was decided"));
        return Err(Failure::new(problems.join("\n")));
    }
    if decided.is_empty() {
        return Err(Failure::new(format!("{} has no line but the first; nothing was decided", file.display())));
    }
    Ok(decided)
}

struct Check<'a> {
    store: &'a Store,
    known: HashMap<LiveDeskId, Conflict>,
    /// Lines by whom they are about, and by the customer that they link.
    contacts: HashMap<LiveDeskId, u64>,
    targets: BTreeMap<FirstLineId, u64>,
}

impl Check<'_> {
    async fn line(
        &mut self,
        line: u64,
        id: &str,
        decision: &str,
        target: &str,
    ) -> Result<Result<Conflict, String>, Failure> {
        let Ok(number) = id.parse::<i64>() else {
            return Ok(Err(String::from("id is no LiveDesk id")));
        };
        let id = LiveDeskId(number);
        let decision = match (decision, target.parse::<i64>()) {
            ("link", Ok(target)) => Decision::Link(FirstLineId(target)),
            ("link", Err(_)) if target.is_empty() => return Ok(Err(String::from("link needs a target"))),
            ("link", Err(_)) => return Ok(Err(String::from("target is no FIRST LINE id"))),
            ("create" | "skip", _) if !target.is_empty() => {
                return Ok(Err(format!("{decision} takes no target")));
            }
            ("create", _) => Decision::Create,
            ("skip", _) => Decision::Skip,
            _ => return Ok(Err(String::from("decision is none of link, create, skip"))),
        };
        let Some(conflict) = self.known.get(&id).cloned() else {
            let known: Vec<Conflict> = self.known.values().cloned().collect();
            return Ok(Err(super::unknown(number, &known)));
        };
        if let Some(before) = self.contacts.insert(id, line) {
            return Ok(Err(format!("contact {id} is decided in line {before} already")));
        }
        if let Decision::Link(target) = decision {
            if let Some(other) = super::taken(self.store, id, target).await? {
                return Ok(Err(format!("customer {target} is linked to contact {other} already")));
            }
            if let Some(before) = self.targets.insert(target, line) {
                return Ok(Err(format!("customer {target} is given to another contact in line {before} already")));
            }
        }
        Ok(Ok(Conflict { decision: Some(decision), ..conflict }))
    }
}
