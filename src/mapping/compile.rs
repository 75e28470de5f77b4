//! Compiles a mapping against the tenant's definitions, and reports every problem of the file at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::apply::{FieldLine, ListLine, Mapping, OnError, Parts};
use super::convert::{convert, option, plain};
use super::expression::{Compiled, nearest};
use super::filters::Settings;
use super::reads::{Reads, Used};
use super::spec::{MappingSpec, Translation};
use super::tags::{COMPANY_VALUE, company_policy, tag_lines};
use super::target::{Target, TargetKind};
use super::{CompileContext, MappingProblem};
use crate::domain::field::FieldKind;
use crate::domain::hash::HashKey;
use crate::domain::record::{FieldKey, Owner};

/// Raised when the meaning of filters or conversions changes, so that records are looked at again.
const LANGUAGE: u32 = 3;

const OWNERS: [(&str, Owner); 4] =
    [("source", Owner::Source), ("fill_blank", Owner::FillBlank), ("target", Owner::Target), ("union", Owner::Union)];
const PHONE_TYPES: [(&str, i64); 5] = [("home", 0), ("company", 1), ("mobile", 2), ("fax", 3), ("other", 4)];

/// Compiles `spec`, or says everything that is wrong with it.
pub fn compile(spec: &MappingSpec, context: &CompileContext<'_>) -> Result<Mapping, Vec<MappingProblem>> {
    let settings = Settings { zone: context.time_zone.clone(), country: context.phone_country, used: Used::new() };
    let mut compiler = Compiler {
        context,
        settings: Arc::new(settings),
        problems: Vec::new(),
        canonical: Vec::new(),
        owner: None,
        reads: Reads::default(),
    };
    compiler.owner = compiler.default_owner(spec.owner.as_deref());
    let parts = compiler.parts(spec);
    let used = compiler.reads.settle().unwrap_or_else(|problems| {
        compiler.problems.extend(problems);
        Used::new()
    });
    if compiler.problems.is_empty() {
        let settings = Arc::new(Settings { used, ..Settings::clone(&compiler.settings) });
        return Ok(Mapping::assemble(parts, settings, compiler.canonical, spec.tests.clone()));
    }
    Err(compiler.problems)
}

struct Compiler<'a> {
    context: &'a CompileContext<'a>,
    settings: Arc<Settings>,
    problems: Vec<MappingProblem>,
    /// The meaning of each line, for the version.
    canonical: Vec<Json>,
    /// Owner of the lines that name none.
    owner: Option<Owner>,
    /// What the lines read of the attributes.
    reads: Reads,
}

/// The parts that all kinds of lines share.
struct Line<'a> {
    place: &'a str,
    value: &'a str,
    on_error: Option<&'a str>,
    owner: Option<&'a str>,
}

impl Compiler<'_> {
    fn parts(&mut self, spec: &MappingSpec) -> Parts {
        let select = spec.select.as_ref().and_then(|select| self.expression("select.when", &select.when));
        let fields = self.fields(spec);
        let (emails, emails_owner) = self.emails(spec);
        let (phones, phones_owner) = self.phones(spec);
        let tags = tag_lines(spec, &mut self.problems);
        let company = self.company(spec);
        Parts { select, fields, emails, emails_owner, phones, phones_owner, tags, company }
    }

    fn problem(&mut self, place: impl Into<String>, message: impl Into<String>, help: Option<String>) {
        self.problems.push(MappingProblem { place: place.into(), column: None, message: message.into(), help });
    }

    fn fields(&mut self, spec: &MappingSpec) -> Vec<FieldLine> {
        let mut lines = Vec::new();
        let mut taken: BTreeMap<FieldKey, String> = BTreeMap::new();
        for (name, field) in &spec.contact {
            let place = format!("contact.{name}");
            let line = Line::new(&place, &field.value, field.on_error.as_deref(), field.owner.as_deref());
            let target = Target::standard(name);
            lines.extend(self.field(&line, &field.options, target, &mut taken));
        }
        if !spec.contact.contains_key("first_name") {
            let help = String::from("add `first_name = \"name | family_name\"` to [contact]");
            self.problem("contact.first_name", "FIRST LINE requires first_name (the family name)", Some(help));
        }
        for (at, column) in spec.cz_cols.iter().enumerate() {
            let place = format!("cz_cols[{at}]");
            let line = Line::new(&place, &column.value, column.on_error.as_deref(), column.owner.as_deref());
            let target = Target::custom(column, at, self.context.definitions);
            lines.extend(self.field(&line, &column.options, target, &mut taken));
        }
        lines.sort_by_key(|line| line.target.key);
        lines
    }

    fn field(
        &mut self,
        line: &Line<'_>,
        options: &Translation,
        target: Result<Target, (String, Option<String>)>,
        taken: &mut BTreeMap<FieldKey, String>,
    ) -> Option<FieldLine> {
        let expression = self.expression(&line.value_place(), line.value);
        let on_error = self.on_error(line);
        let owner = self.owner(line).or(self.owner);
        let target = match target {
            Ok(target) => target,
            Err((message, help)) => {
                self.problem(line.place, message, help);
                return None;
            }
        };
        if let Some(first) = taken.insert(target.key, line.place.to_owned()) {
            self.problem(line.place, format!("{} is already written by {first}", target.label), None);
        }
        if self.is_stamp(target.key) {
            let help = String::from("take the line out, or choose another stamp in [identity]");
            self.problem(
                line.place,
                format!("{} holds the stamp and is written by deskferry itself", target.label),
                Some(help),
            );
        }
        let holds_list = matches!(target.kind, TargetKind::Custom(FieldKind::MultipleChoice, _) | TargetKind::Untyped);
        if owner == Some(Owner::Union) && !holds_list {
            let message = "`union` is for lists: multiple choices, e-mails and phones";
            self.problem(format!("{}.owner", line.place), message, None);
        }
        self.check_options(line.place, options, &target);
        let expression = expression?;
        self.check_type(line, &expression, &target, options);
        self.canonical.push(json!({
            "field": target.key.to_string(), "kind": target.kind_name(), "max": target.max, "value": expression.text(),
            "on_error": on_error.as_str(), "owner": owner.map(owner_name), "options": options,
        }));
        Some(FieldLine { target, expression, on_error, owner, options: options.clone() })
    }

    fn is_stamp(&self, key: FieldKey) -> bool {
        match key {
            FieldKey::MembershipNo => self.context.stamp.membership_no,
            FieldKey::Custom(id) => self.context.stamp.cz_col == Some(id),
            _ => false,
        }
    }

    fn check_options(&mut self, place: &str, translation: &Translation, target: &Target) {
        for (word, value) in translation {
            let place = format!("{place}.options.{word}");
            if value.is_array() || value.is_object() || value.is_null() {
                self.problem(place, "the translation must be one text, number or boolean", None);
                continue;
            }
            let plain = plain(value);
            match &target.kind {
                TargetKind::Custom(FieldKind::SingleChoice | FieldKind::MultipleChoice, options)
                    if option(&plain, options).is_err() =>
                {
                    let values: Vec<String> = options.iter().map(|option| option.value.to_string()).collect();
                    let help = format!("its options are {}", values.join(", "));
                    self.problem(place, format!("{} has no option `{plain}`", target.label), Some(help));
                }
                TargetKind::Gender if plain != "0" && plain != "1" => {
                    self.problem(place, "gender is 0 or 1", None);
                }
                _ => {}
            }
        }
    }

    /// What the expression must give, whatever the contact, against what the field takes.
    fn check_type(&mut self, line: &Line<'_>, expression: &Compiled, target: &Target, options: &Translation) {
        if let Some(constant) = expression.constant(&self.settings) {
            let converted = constant.and_then(|value| convert(&value, &target.kind, options, &self.settings));
            if let Err(problem) = converted {
                let message =
                    format!("the constant does not fit {} ({}): it {problem}", target.label, target.kind_name());
                self.problem(line.value_place(), message, None);
            }
            return;
        }
        let (TargetKind::Custom(kind, _), Some(filter)) = (&target.kind, expression.last_filter()) else { return };
        let Some(gives) = kinds_of(filter) else { return };
        if options.is_empty() && !gives.contains(kind) {
            let message = format!("the filter `{filter}` never gives a {} for {}", kind.as_str(), target.label);
            self.problem(line.value_place(), message, None);
        }
    }

    fn emails(&mut self, spec: &MappingSpec) -> (Vec<ListLine<()>>, Option<Owner>) {
        let mut lines = Vec::new();
        let mut owners = Vec::new();
        for (at, email) in spec.emails.iter().enumerate() {
            let place = format!("emails[{at}]");
            let line = Line::new(&place, &email.value, email.on_error.as_deref(), email.owner.as_deref());
            owners.push(self.owner(&line));
            lines.extend(self.list_line(&line, ()));
        }
        (lines, self.list_owner("emails", &owners))
    }

    fn phones(&mut self, spec: &MappingSpec) -> (Vec<ListLine<i64>>, Option<Owner>) {
        let mut lines = Vec::new();
        let mut owners = Vec::new();
        for (at, phone) in spec.phones.iter().enumerate() {
            let place = format!("phones[{at}]");
            let line = Line::new(&place, &phone.value, phone.on_error.as_deref(), phone.owner.as_deref());
            owners.push(self.owner(&line));
            let kind = self.phone_type(&place, phone.kind.as_ref());
            lines.extend(self.list_line(&line, kind));
        }
        (lines, self.list_owner("phones", &owners))
    }

    /// The expression of the company's name, where companies are linked. It is no part of the version: whose company
    /// changes is seen by the fingerprint.
    fn company(&mut self, spec: &MappingSpec) -> Option<Compiled> {
        let links = company_policy(spec, &mut self.problems);
        let text = spec.company.as_ref().map_or(COMPANY_VALUE, |company| &company.value);
        let expression = self.expression("company.value", text);
        expression.filter(|_| links)
    }

    fn list_line<T: Copy + serde::Serialize>(&mut self, line: &Line<'_>, kind: T) -> Option<ListLine<T>> {
        let expression = self.expression(&line.value_place(), line.value);
        let on_error = self.on_error(line);
        let expression = expression?;
        self.canonical.push(json!({
            "list": line.place, "kind": kind, "value": expression.text(), "on_error": on_error.as_str(),
            "owner": line.owner.or(self.owner.map(owner_name)),
        }));
        Some(ListLine { label: line.place.to_owned(), expression, on_error, kind })
    }

    fn list_owner(&mut self, list: &str, owners: &[Option<Owner>]) -> Option<Owner> {
        let mut said = owners.iter().enumerate().filter_map(|(at, owner)| owner.map(|owner| (at, owner)));
        let Some((_, first)) = said.next() else { return self.owner };
        if let Some((at, _)) = said.find(|(_, owner)| *owner != first) {
            let message = format!("all lines of {list} make one list, which has one owner");
            self.problem(
                format!("{list}[{at}].owner"),
                message,
                Some(format!("write `{}` here too", owner_name(first))),
            );
        }
        Some(first)
    }

    fn expression(&mut self, place: &str, text: &str) -> Option<Compiled> {
        match Compiled::new(text, &self.settings) {
            Ok(expression) => {
                self.reads.note(place, expression.text());
                Some(expression)
            }
            Err(problems) => {
                self.problems.extend(problems.into_iter().map(|problem| MappingProblem {
                    place: place.to_owned(),
                    column: problem.column,
                    message: problem.message,
                    help: problem.help,
                }));
                None
            }
        }
    }

    fn on_error(&mut self, line: &Line<'_>) -> OnError {
        match line.on_error {
            None | Some("skip") => OnError::Skip,
            Some("reject") => OnError::Reject,
            Some(other) => {
                let help =
                    nearest(other, ["skip", "reject"]).unwrap_or_else(|| String::from("write `skip` or `reject`"));
                self.problem(format!("{}.on_error", line.place), format!("unknown on_error `{other}`"), Some(help));
                OnError::Skip
            }
        }
    }

    fn owner(&mut self, line: &Line<'_>) -> Option<Owner> {
        let word = line.owner?;
        let found = OWNERS.iter().find(|(name, _)| *name == word).map(|(_, owner)| *owner);
        if found.is_none() {
            let names = OWNERS.map(|(name, _)| name);
            let help = nearest(word, names).unwrap_or_else(|| format!("write one of {}", names.join(", ")));
            self.problem(format!("{}.owner", line.place), format!("unknown owner `{word}`"), Some(help));
        }
        found
    }

    /// The file's own `owner`. A union is for lists alone, so it says nothing about the other lines.
    fn default_owner(&mut self, word: Option<&str>) -> Option<Owner> {
        let word = word?;
        let found =
            OWNERS.iter().find(|(name, owner)| *name == word && *owner != Owner::Union).map(|(_, owner)| *owner);
        if found.is_none() {
            let names = ["source", "fill_blank", "target"];
            let help = nearest(word, names).unwrap_or_else(|| format!("write one of {}", names.join(", ")));
            self.problem("owner", format!("`{word}` is no owner for all lines"), Some(help));
        }
        found
    }

    fn phone_type(&mut self, place: &str, given: Option<&Json>) -> i64 {
        const MOBILE: i64 = 2;
        let Some(given) = given else { return MOBILE };
        let found = match given {
            Json::String(word) => PHONE_TYPES.iter().find(|(name, _)| name == word).map(|(_, code)| *code),
            other => other.as_i64().filter(|code| PHONE_TYPES.iter().any(|(_, known)| known == code)),
        };
        found.unwrap_or_else(|| {
            let names = PHONE_TYPES.map(|(name, _)| name);
            let near = given.as_str().and_then(|word| nearest(word, names));
            let help = near.unwrap_or_else(|| format!("write one of {}, or its code 0 to 4", names.join(", ")));
            self.problem(format!("{place}.type"), format!("unknown phone type {given}"), Some(help));
            MOBILE
        })
    }
}

impl<'a> Line<'a> {
    fn new(place: &'a str, value: &'a str, on_error: Option<&'a str>, owner: Option<&'a str>) -> Self {
        Self { place, value, on_error, owner }
    }

    /// The place of the expression: `[contact]` lines are often the expression alone.
    fn value_place(&self) -> String {
        if self.place.starts_with("contact.") { self.place.to_owned() } else { format!("{}.value", self.place) }
    }
}

fn owner_name(owner: Owner) -> &'static str {
    OWNERS.iter().find(|(_, known)| *known == owner).map_or("source", |(name, _)| name)
}

/// Kinds that can take the result of a filter; `None` when the filter says nothing about it.
fn kinds_of(filter: &str) -> Option<&'static [FieldKind]> {
    use FieldKind::{Boolean, Date, DateTime, MultipleChoice, Number, SingleChoice, Text, Time};
    Some(match filter {
        "date" => &[Date, DateTime, Text, SingleChoice, MultipleChoice],
        "time" => &[Time, Text, SingleChoice, MultipleChoice],
        "datetime" | "epoch" => &[Date, Time, DateTime, Text],
        "boolean" => &[Boolean, Text, SingleChoice, MultipleChoice],
        "number" | "int" | "float" | "length" | "count" => &[Number, Text, Boolean, SingleChoice, MultipleChoice],
        "phone" | "family_name" | "given_name" | "real_name" | "email_name" => &[Text, SingleChoice, MultipleChoice],
        "channels" => &[Text, MultipleChoice],
        _ => return None,
    })
}

/// One text per meaning of a mapping: comments, order of lines and layout of the file do not change it.
///
/// The selection is not part of it: it changes which contacts are looked at, never what is made of one.
pub(super) fn version(mut canonical: Vec<Json>, settings: &Settings) -> String {
    canonical.sort_by_cached_key(Json::to_string);
    let whole = json!({
        "language": LANGUAGE, "lines": canonical,
        "zone": settings.zone.iana_name(), "country": format!("{:?}", settings.country),
    });
    HashKey::new([0; 32]).digest("mapping", whole.to_string()).to_string()
}

#[cfg(test)]
pub(super) mod testing {
    use serde_json::{Value as Json, json};

    use crate::domain::field::{ChoiceOption, FieldDefinition, FieldKind};
    use crate::domain::phone::Country;
    use crate::mapping::{CompileContext, Mapping, MappingProblem, MappingSpec, StampFields};

    /// The sandbox's custom fields.
    pub(crate) fn definitions() -> Vec<FieldDefinition> {
        use FieldKind::{Boolean, Date, DateTime, MultipleChoice, Number, SingleChoice, Text, Time};
        let field = |id, name: &str, kind, options: &[&str]| FieldDefinition {
            id,
            category_id: 3,
            category: String::from("Customer form"),
            name: name.to_owned(),
            kind,
            required: false,
            options: options
                .iter()
                .map(|value| ChoiceOption { text: format!("{}!", value.to_uppercase()), value: json!(value) })
                .collect(),
            default: None,
        };
        let mut twin = field(43, "Notes", Text, &[]);
        twin.category = String::from("Second form");
        vec![
            field(31, "LiveDesk ID", Text, &[]),
            field(32, "VIP level", SingleChoice, &["gold", "silver", "bronze", "platinum"]),
            field(33, "Points", Number, &[]),
            field(34, "Newsletter", Boolean, &[]),
            field(35, "Interests", MultipleChoice, &["sports", "music", "travel", "food"]),
            field(36, "Last order", Date, &[]),
            field(37, "Call time", Time, &[]),
            field(38, "First seen", DateTime, &[]),
            field(39, "Company", Text, &[]),
            field(40, "Notes", Text, &[]),
            twin,
        ]
    }

    /// Compiles `spec` in Taipei, with the stamp in custom field 31.
    pub(crate) fn compile(spec: Json, definitions: Option<&[FieldDefinition]>) -> Result<Mapping, Vec<MappingProblem>> {
        let spec: MappingSpec = serde_json::from_value(spec).expect("a spec");
        let context = CompileContext {
            definitions,
            stamp: StampFields { membership_no: true, cz_col: Some(31) },
            time_zone: jiff::tz::TimeZone::get("Asia/Taipei").expect("bundled"),
            phone_country: Country::TAIWAN,
        };
        super::compile(&spec, &context)
    }

    /// The same, for specs that are right.
    pub(crate) fn mapping(spec: Json) -> Mapping {
        compile(spec, Some(&definitions())).expect("a valid mapping")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::testing::{compile, definitions, mapping};

    fn problems(spec: Json) -> Vec<String> {
        let definitions = definitions();
        compile(spec, Some(&definitions)).expect_err("problems").iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_problem_of_a_file_is_reported_at_once() {
        let found = problems(json!({
            "select": { "when": "not blockd" },
            "contact": {
                "last_nam": "name",
                "birth_at": { "value": "created_at | boolean", "on_error": "skp", "owner": "sorce" },
                "membership_no": "identifier",
            },
            "cz_cols": [
                { "id": 31, "value": "id" },
                { "id": 99, "value": "id" },
                { "field": "Customer form / VIP levl", "value": "name | famly_name" },
                { "field": "Notes", "value": "name" },
                { "id": 33, "value": "'many'" },
                { "id": 33, "value": "(1 +" },
                { "id": 32, "value": "name", "options": { "x": "golden" }, "owner": "union" },
                { "value": "name" },
                { "id": 34, "field": "Newsletter", "value": "email != none" },
                { "id": 36, "value": "name | date(form='x')" },
                { "id": 37, "value": "name is odd1" },
            ],
            "emails": [{ "value": "email", "owner": "union" }, { "value": "email", "owner": "target" }],
            "phones": [{ "value": "phone_number", "type": "mobil" }, { "value": "phone_number", "type": 9 }],
        }));
        let expected = [
            "select.when: a LiveDesk contact has no `blockd` at its top level (at column 5); did you mean `blocked`?",
            "contact.birth_at.on_error: unknown on_error `skp`; did you mean `skip`?",
            "contact.birth_at.owner: unknown owner `sorce`; did you mean `source`?",
            "contact.birth_at: the filter `boolean` never gives a date for birth_at",
            "contact.last_nam: FIRST LINE has no contact field `last_nam`; did you mean `last_name`?",
            "contact.membership_no: membership_no holds the stamp and is written by deskferry itself; take the line out, or choose another stamp in [identity]",
            "contact.first_name: FIRST LINE requires first_name (the family name); add `first_name = \"name | family_name\"` to [contact]",
            "cz_cols[0]: cz_col 31 holds the stamp and is written by deskferry itself; take the line out, or choose another stamp in [identity]",
            "cz_cols[1]: FIRST LINE has no customer field with the id 99; `deskferry fields` lists them; fields of tables and tickets cannot be mapped",
            "cz_cols[2].value: unknown filter `famly_name` (at column 8); did you mean `family_name`?",
            "cz_cols[2]: FIRST LINE has no customer field `Customer form / VIP levl`; did you mean `Customer form / VIP level`?",
            "cz_cols[3]: more than one field is called `Notes`; give the `id` of one of them: 40 (Customer form / Notes), 43 (Second form / Notes)",
            "cz_cols[4].value: the constant does not fit cz_col 33 (number): it is not a plain number; the filter `number` reads other forms",
            "cz_cols[5].value: syntax error: unexpected end of input, expected expression (at column 4)",
            "cz_cols[5]: cz_col 33 is already written by cz_cols[4]",
            "cz_cols[6].owner: `union` is for lists: multiple choices, e-mails and phones",
            "cz_cols[6].options.x: cz_col 32 has no option `golden`; its options are \"gold\", \"silver\", \"bronze\", \"platinum\"",
            "cz_cols[7]: the line names no custom field; give `id = 32` or `field = \"Category / Name\"`",
            "cz_cols[8].value: a missing value is undefined, so comparing with `none` never holds (at column 10); write `x is none` or `x is not none`",
            "cz_cols[8]: the line names its field twice; give `id` or `field`, not both",
            "cz_cols[9].value: the filter has no argument `form`; it has: format, calendar",
            "cz_cols[10].value: unknown test `odd1` (at column 9); did you mean `odd`?",
            "emails[1].owner: all lines of emails make one list, which has one owner; write `union` here too",
            "phones[0].type: unknown phone type \"mobil\"; did you mean `mobile`?",
            "phones[1].type: unknown phone type 9; write one of home, company, mobile, fax, other, or its code 0 to 4",
        ];
        for (found, expected) in found.iter().zip(expected) {
            assert_eq!(found, expected);
        }
        assert_eq!(found.len(), expected.len());
    }

    #[test]
    fn offline_only_what_needs_definitions_is_left_unchecked() {
        let spec = json!({
            "contact": { "first_name": "name" },
            "cz_cols": [{ "id": 99, "value": "id" }, { "field": "Any / Thing", "value": "id | phon" }],
        });
        let found = compile(spec, None).expect_err("the filter is still checked");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "cz_cols[1].value");
    }

    #[test]
    fn a_line_is_an_expression_or_a_table_and_nothing_else() {
        let read = |line: Json| {
            serde_json::from_value::<crate::mapping::MappingSpec>(json!({ "contact": { "first_name": line } }))
        };
        assert!(read(json!("name")).is_ok());
        assert!(read(json!({ "value": "name", "on_error": "skip" })).is_ok());
        let problem = read(json!(5)).expect_err("a number is no line").to_string();
        assert!(problem.contains("an expression in quotes, or a table"), "{problem}");
        assert!(read(json!({ "value": "name", "ownr": "x" })).is_err());
    }

    #[test]
    fn the_version_follows_the_meaning_and_not_the_layout() {
        let spec = |expression: &str, when: &str, columns: Json| {
            mapping(json!({ "contact": { "first_name": expression }, "select": { "when": when }, "cz_cols": columns,
                "emails": [{ "value": "email" }] }))
            .version()
            .to_owned()
        };
        let (points, company) = (json!({ "id": 33, "value": "id" }), json!({ "id": 39, "value": "name" }));
        let first = spec("name", "true", json!([points, company]));
        assert_eq!(first, spec(" name ", "not blocked", json!([company, points])));
        assert_ne!(first, spec("name | trim", "true", json!([points, company])));
        assert_ne!(first, spec("name", "true", json!([points, { "id": 39, "value": "name", "owner": "target" }])));
        assert_eq!(first.len(), 32);
    }

    #[test]
    fn what_a_mapping_needs_is_known_before_it_runs() {
        let plain = mapping(json!({ "contact": { "first_name": "name" }, "cz_cols": [{ "id": 33, "value": "id" }] }));
        assert_eq!(plain.used_definitions().into_iter().collect::<Vec<_>>(), [33]);
        assert!(!plain.needs_inboxes());
        assert_eq!(plain.field_name(crate::domain::record::FieldKey::Custom(33)), "Customer form / Points");
        for value in ["contact_inboxes | length", "contact.contact_inboxes[0].source_id", "contact | items | length"] {
            let mapping =
                mapping(json!({ "contact": { "first_name": "name" }, "cz_cols": [{ "id": 39, "value": value }] }));
            assert!(mapping.needs_inboxes(), "{value}");
        }
        let one_key = mapping(json!({ "contact": { "first_name": "contact.group_type" } }));
        assert!(!one_key.needs_inboxes());
    }
}
