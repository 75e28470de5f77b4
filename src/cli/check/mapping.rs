//! The mapping file against the live definitions, and its own tests, as far as its lines can be understood.
//!
//! Lines that are wrong are reported and left out, so that the rest is still checked and the tests still run; an
//! expectation about a line that was left out is left out too.

use std::collections::BTreeSet;

use super::findings::{Findings, Level};
use crate::app::{self, gate};
use crate::config::mapping_file::{MappingSource, Partly};
use crate::config::settings::Settings;
use crate::domain::field::FieldDefinition;
use crate::mapping::drift::Gate;
use crate::mapping::spec::MappingSpec;
use crate::mapping::tags::{TagLine, lists_of};
use crate::mapping::{Mapping, compile};
use crate::store::Store;

const MAPPING: &str = "mapping";
const TESTS: &str = "mapping tests";

/// A mapping file as far as it could be read.
pub(super) struct Draft<'a> {
    source: &'a MappingSource,
    read: Partly<MappingSpec>,
    gate: Option<Gate>,
}

impl<'a> Draft<'a> {
    /// Reads it and reports what cannot be read.
    pub(super) fn read(source: &'a MappingSource, findings: &mut Findings) -> Self {
        let mut read = source.parse_partly::<MappingSpec>();
        for problem in read.problems.drain(..) {
            findings.in_file(Level::Problem, MAPPING, problem);
        }
        Self { source, read, gate: None }
    }

    /// Compares the definitions with those of the last run.
    pub(super) async fn pass_gate(&mut self, definitions: &[FieldDefinition], store: &Store) {
        if let Some(spec) = &self.read.value {
            // A state that cannot be read is reported where the state is looked at.
            self.gate = gate::examine(spec, definitions, store).await.ok();
        }
    }

    /// Its tags, and whether it links companies.
    pub(super) fn lists(&self) -> (Vec<TagLine>, bool) {
        self.read.value.as_ref().map(lists_of).unwrap_or_default()
    }

    /// Compiles it, and runs its tests.
    pub(super) fn check(self, settings: &Settings, definitions: Option<&[FieldDefinition]>, findings: &mut Findings) {
        let before = findings.count(Level::Problem);
        let gate = self.gate.as_ref();
        for drift in gate.iter().flat_map(|gate| &gate.drifts) {
            let place = self.read.original(&drift.place);
            let remedy = "the field is left out of every run until it is as it was, or you mend the line and run \
                          `deskferry fields --accept`";
            findings.in_file(Level::Warning, MAPPING, self.source.problem(&place, &drift.difference, remedy));
        }
        let definitions = gate.map(|gate| gate.definitions.as_slice()).or(definitions);
        for check in [app::stamp_problem, app::deletes::field_problem] {
            if let Some(problem) = definitions.and_then(|definitions| check(settings, definitions)) {
                findings.in_file(Level::Problem, "configuration", problem);
            }
        }
        let Some(spec) = gate.map(|gate| &gate.spec).or(self.read.value.as_ref()) else {
            return findings.not_checked(MAPPING, "too little of the file can be read to compile it");
        };
        let context = app::compile_context(settings, definitions);
        let (rest, mapping) = match compile(spec, &context) {
            Ok(mapping) => (spec.clone(), Some(mapping)),
            Err(problems) => {
                let places: Vec<String> = problems.iter().map(|problem| problem.place.clone()).collect();
                for problem in problems {
                    let place = self.read.original(&problem.place);
                    findings.in_file(Level::Problem, MAPPING, app::placed(self.source, &place, problem));
                }
                let rest = without(spec, &places);
                let mapping = compile(&rest, &context).ok();
                (rest, mapping)
            }
        };
        let lines = spec.contact.len() + spec.cz_cols.len() + spec.emails.len() + spec.phones.len();
        match definitions {
            Some(_) if findings.count(Level::Problem) == before && self.read.taken.is_empty() => {
                findings.good(MAPPING, format!("{lines} lines fit the custom fields of FIRST LINE"));
            }
            Some(_) => {}
            None => findings.not_checked(MAPPING, "against FIRST LINE's custom fields, which could not be read"),
        }
        let Some(mapping) = mapping else {
            return findings.not_checked(TESTS, "the mapping does not compile without the wrong lines either");
        };
        if let Some(problem) = settings.inboxes_problem(mapping.needs_inboxes()) {
            findings.in_file(Level::Problem, "configuration", problem);
        }
        if let Some(definitions) = definitions {
            required(settings, spec, &mapping, definitions, findings);
        }
        self.tests(&rest, &mapping, findings);
    }

    fn tests(&self, rest: &MappingSpec, mapping: &Mapping, findings: &mut Findings) {
        let reports = mapping.run_fixtures();
        for (at, report) in reports.iter().enumerate().filter(|(_, report)| !report.passed()) {
            // The tests that are left are named by where they stood in the file.
            let name = &report.name;
            let found = self.read.value.iter().flat_map(|spec| &spec.tests).position(|test| test.name == *name);
            let place = self.read.original(&format!("tests[{}]", found.unwrap_or(at)));
            let message = format!("the test \"{name}\" fails: {}", report.differences.join("; "));
            let problem = self.source.problem(&place, message, "mend the mapping or the test");
            findings.in_file(Level::Problem, TESTS, problem);
        }
        let passed = reports.iter().filter(|report| report.passed()).count();
        let written = self.read.value.as_ref().map_or(0, |spec| spec.tests.len());
        match (written, rest.tests.len()) {
            (0, _) => findings.warning(TESTS, "there are none", "a few invented contacts keep a later change honest"),
            (written, run) if passed == run => {
                findings.good(TESTS, format!("{run} of {written} tests could be run and pass"));
            }
            _ => {}
        }
    }
}

/// A field that FIRST LINE requires and no line writes makes every create fail, unless it has a default.
fn required(
    settings: &Settings,
    spec: &MappingSpec,
    mapping: &Mapping,
    definitions: &[FieldDefinition],
    findings: &mut Findings,
) {
    let written = mapping.used_definitions();
    let named: BTreeSet<i64> = spec.cz_cols.iter().filter_map(|line| line.id).collect();
    for definition in definitions {
        let id = definition.id;
        let stamp = settings.identity.stamp.cz_col == Some(id);
        if definition.required
            && definition.default.is_none()
            && !stamp
            && !written.contains(&id)
            && !named.contains(&id)
        {
            let text = format!(
                "FIRST LINE requires custom field {id} ({} / {}), and no line writes it",
                definition.category, definition.name
            );
            findings.warning(MAPPING, text, "creates may be refused with status 422; `deskferry fields` has a line");
        }
    }
}

/// The file without the lines at these places, and its tests without what they expect of those lines.
fn without(spec: &MappingSpec, places: &[String]) -> MappingSpec {
    let bad = |list: &str, at: usize| {
        let entry = format!("{list}[{at}]");
        places
            .iter()
            .any(|place| place.strip_prefix(&entry).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
    };
    let mut rest = spec.clone();
    let mut gone: BTreeSet<String> = BTreeSet::new();
    if places.iter().any(|place| place.starts_with("select")) {
        rest.select = None;
        gone.insert(String::from("selected"));
    }
    rest.contact.retain(|name, _| {
        let place = format!("contact.{name}");
        let keep = !places.iter().any(|bad| *bad == place || bad.starts_with(&format!("{place}.")));
        if !keep {
            gone.insert(name.clone());
        }
        keep
    });
    // The compiler insists on it; what it expects of it is gone already.
    rest.contact
        .entry(String::from("first_name"))
        .or_insert_with(|| crate::mapping::spec::FieldSpec { value: String::from("name"), ..Default::default() });
    let mut at = 0..;
    rest.cz_cols.retain(|line| {
        let keep = !at.next().is_some_and(|at| bad("cz_cols", at));
        if !keep {
            gone.extend(line.id.map(|id| format!("cz_col {id}")));
            gone.extend(line.field.clone());
        }
        keep
    });
    let mut at = 0..;
    rest.emails.retain(|_| !at.next().is_some_and(|at| bad("emails", at)));
    let mut at = 0..;
    rest.phones.retain(|_| !at.next().is_some_and(|at| bad("phones", at)));
    let mut at = 0..;
    rest.tags.retain(|_| !at.next().is_some_and(|at| bad("tags", at)));
    if places.iter().any(|place| place.starts_with("compan")) {
        rest.companies = None;
        rest.company = None;
    }
    for (list, before, after) in
        [("emails", spec.emails.len(), rest.emails.len()), ("phones", spec.phones.len(), rest.phones.len())]
    {
        if after < before {
            gone.insert(list.to_owned());
        }
    }
    // Whatever a line that is gone would have rejected or left out cannot be asked any more.
    let rejects = |test: &crate::mapping::spec::FixtureSpec| {
        test.expect.get("rejected").is_some_and(|expected| *expected != serde_json::Value::Bool(false))
    };
    rest.tests.retain(|test| !rejects(test));
    gone.insert(String::from("left_out"));
    // A line may be gone because it names the wrong field; then the tests know the right one.
    let fewer = rest.cz_cols.len() < spec.cz_cols.len();
    let written: BTreeSet<String> = rest
        .cz_cols
        .iter()
        .flat_map(|line| [line.id.map(|id| format!("cz_col {id}")), line.field.clone()])
        .flatten()
        .collect();
    let custom = |word: &str| word.starts_with("cz_col ") || word.contains('/');
    for test in &mut rest.tests {
        test.expect.retain(|word, _| {
            let of_a_line_that_is_gone = fewer && custom(word) && !written.contains(word);
            !gone.contains(word) && !of_a_line_that_is_gone
        });
    }
    rest.tests.retain(|test| !test.expect.is_empty());
    rest
}
