//! The lines of a mapping file that are no expressions over a row: which tag a LiveDesk label stands for, and whether
//! companies are linked.
//!
//! They are no part of the mapping's version: a label that comes or goes is seen by each contact's fingerprint, so a new
//! line costs requests only for the contacts that have its label.

use std::collections::BTreeMap;

use super::MappingProblem;
use super::expression::nearest;
use super::spec::MappingSpec;
use crate::domain::record::Owner;

/// How the line of the company is called.
pub(super) const COMPANY: &str = "company";
/// Where LiveDesk keeps a company's name, under both keys that it is known to use.
pub(super) const COMPANY_VALUE: &str = "additional_attributes.company_name or additional_attributes.company";

/// A tag of FIRST LINE, and the labels of LiveDesk that stand for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagLine {
    /// The tag.
    pub tag: String,
    /// Whoever has one of these labels has the tag.
    pub labels: Vec<String>,
    /// `Union`: it is only ever added. `Source`: what we added goes with its label.
    pub owner: Owner,
}

/// The tags of a mapping file, in its order; what is wrong with its lines goes into `problems`.
pub(super) fn tag_lines(spec: &MappingSpec, problems: &mut Vec<MappingProblem>) -> Vec<TagLine> {
    let mut lines: Vec<TagLine> = Vec::new();
    let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
    for (at, line) in spec.tags.iter().enumerate() {
        let mut problem = |key: &str, message: String, help: Option<String>| {
            let place = if key.is_empty() { format!("tags[{at}]") } else { format!("tags[{at}].{key}") };
            problems.push(MappingProblem { place, column: None, message, help });
        };
        let label = line.label.trim();
        let tag = line.tag.as_deref().unwrap_or(label).trim();
        if label.is_empty() {
            problem("label", String::from("the label has no name"), None);
        }
        if line.tag.is_some() && tag.is_empty() {
            problem(
                "tag",
                String::from("the tag has no name"),
                Some(String::from("leave `tag` out to use the label's")),
            );
        }
        if let Some(first) = taken.insert(label, at) {
            problem("label", format!("the label is already read by tags[{first}]"), None);
        }
        let owner = match line.owner.as_deref() {
            None => None,
            Some("union") => Some(Owner::Union),
            Some("source") => Some(Owner::Source),
            Some(other) => {
                let help = nearest(other, ["union", "source"]);
                let help = help.unwrap_or_else(|| String::from("write `union` or `source`"));
                problem("owner", format!("tags cannot be owned by `{other}`"), Some(help));
                None
            }
        };
        match lines.iter_mut().find(|known| known.tag == tag) {
            Some(known) => {
                if known.owner != owner.unwrap_or(Owner::Union) {
                    problem("owner", format!("another label makes the tag `{tag}` and names another owner"), None);
                }
                known.labels.push(label.to_owned());
            }
            None => lines.push(TagLine {
                tag: tag.to_owned(),
                labels: vec![label.to_owned()],
                owner: owner.unwrap_or(Owner::Union),
            }),
        }
    }
    lines
}

/// The tags of a file, and whether companies are linked, as far as its lines are right: what can be checked of a file
/// that does not compile.
pub fn lists_of(spec: &MappingSpec) -> (Vec<TagLine>, bool) {
    let mut problems = Vec::new();
    let mut lines = tag_lines(spec, &mut problems);
    lines.retain(|line| !line.tag.is_empty());
    for line in &mut lines {
        line.labels.retain(|label| !label.is_empty());
    }
    (lines, company_policy(spec, &mut problems))
}

/// Whether companies are linked.
pub(super) fn company_policy(spec: &MappingSpec, problems: &mut Vec<MappingProblem>) -> bool {
    let mut problem = |place: &str, message: &str, help: Option<String>| {
        problems.push(MappingProblem { place: place.to_owned(), column: None, message: message.to_owned(), help });
    };
    match spec.companies.as_deref() {
        Some("link") => return true,
        Some("create") => problem(
            "companies",
            "companies cannot be created: FIRST LINE does not document an endpoint for it",
            Some(String::from("`link` links contacts to the companies that are there")),
        ),
        None if spec.company.is_some() => problem(
            "company",
            "the company's name is mapped, but companies are off",
            Some(String::from("write `companies = \"link\"` at the top of the file, before the first [table]")),
        ),
        None | Some("off") => {}
        Some(other) => {
            let help = nearest(other, ["link", "off"]).unwrap_or_else(|| String::from("write `link` or `off`"));
            problem("companies", "unknown policy for companies", Some(help));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::TagLine;
    use crate::domain::contact::Contact;
    use crate::domain::ids::LiveDeskId;
    use crate::domain::record::{Desired, Owner};
    use crate::mapping::MappingProblem;
    use crate::mapping::compile::testing::{compile, mapping};
    use crate::mapping::explain::{Outcome, explain};

    fn problems(file: Json) -> Vec<MappingProblem> {
        compile(file, None).expect_err("problems")
    }

    fn contact(fields: Json) -> Contact {
        let Json::Object(fields) = fields else { panic!("a row is an object") };
        Contact { id: LiveDeskId(7), created_at: None, last_activity_at: None, fields }
    }

    #[test]
    fn labels_of_one_tag_make_one_line_and_the_label_lends_its_name() {
        let compiled = mapping(json!({ "contact": { "first_name": "name" }, "tags": [
            { "label": "vip", "tag": "VIP" }, { "label": "gold", "tag": "VIP" },
            { "label": " news ", "owner": "source" } ] }));
        let line = |tag: &str, labels: &[&str], owner| TagLine {
            tag: tag.to_owned(),
            labels: labels.iter().map(|label| (*label).to_owned()).collect(),
            owner,
        };
        assert_eq!(
            compiled.tags(),
            [line("VIP", &["vip", "gold"], Owner::Union), line("news", &["news"], Owner::Source)]
        );
        assert!(!compiled.links_companies());
    }

    #[test]
    fn what_cannot_work_is_named_with_its_place() {
        let found = problems(json!({ "companies": "create", "contact": { "first_name": "name" }, "tags": [
            { "label": "vip", "owner": "target" }, { "label": "vip" }, { "label": " " },
            { "label": "a", "tag": "A" }, { "label": "b", "tag": "A", "owner": "source" } ] }));
        let places: Vec<&str> = found.iter().map(|problem| problem.place.as_str()).collect();
        assert_eq!(places, ["tags[0].owner", "tags[1].label", "tags[2].label", "tags[4].owner", "companies"]);
        assert!(found[4].message.contains("does not document"), "{}", found[4].message);
        let found = problems(json!({ "contact": { "first_name": "name" }, "company": { "value": "name" } }));
        assert_eq!(found[0].place, "company");
    }

    #[test]
    fn tags_and_companies_leave_the_version_of_the_mapping_as_it_is() {
        let version = |file| mapping(file).version().to_owned();
        let plain = json!({ "contact": { "first_name": "name" } });
        let more = json!({ "companies": "link", "contact": { "first_name": "name" }, "tags": [{ "label": "vip" }] });
        assert_eq!(version(plain), version(more));
    }

    #[test]
    fn a_company_is_read_from_both_keys_or_from_the_line() {
        let company = |file: Json, row: Json| mapping(file).apply(&contact(row)).expect("mapped").company;
        let linked = || json!({ "companies": "link", "contact": { "first_name": "name" } });
        for key in ["company_name", "company"] {
            let row = json!({ "name": "N", "additional_attributes": { key: " Example Ltd " } });
            assert_eq!(company(linked(), row), Desired::Value(String::from("Example Ltd")));
        }
        assert_eq!(company(linked(), json!({ "name": "N" })), Desired::Empty);
        let long = json!({ "name": "N", "additional_attributes": { "company": "x".repeat(300) } });
        assert_eq!(company(linked(), long), Desired::Unknown);
        let mut named = linked();
        named["company"] = json!({ "value": "custom_attributes.firm" });
        let row = json!({ "name": "N", "custom_attributes": { "firm": "B" } });
        assert_eq!(company(named, row), Desired::Value(String::from("B")));
        assert_eq!(company(json!({ "contact": { "first_name": "name" } }), json!({ "name": "N" })), Desired::Unknown);
    }

    #[test]
    fn tests_of_a_file_and_explanations_know_the_company() {
        let row = json!({ "id": 1, "name": "N", "additional_attributes": { "company": "Example Ltd" } });
        let file = |expected: &str| {
            json!({ "companies": "link", "contact": { "first_name": "name" }, "tests": [
                { "name": "t", "contact": row, "expect": { "company": expected } } ] })
        };
        assert!(mapping(file("Example Ltd")).run_fixtures()[0].passed());
        assert!(!mapping(file("Other")).run_fixtures()[0].passed());
        let told = explain(&mapping(file("x")), &contact(row.clone()), true);
        let line = told.lines.last().expect("a line");
        let shown = line.values.as_ref().map(|values| values.result.clone());
        assert_eq!((line.field.as_str(), line.outcome, shown), ("company", Outcome::Value, Some(json!("Example Ltd"))));
    }
}
