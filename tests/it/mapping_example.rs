//! `config/mapping.toml` compiles against the sandbox's custom fields and passes its own tests.

use deskferry::domain::contact::Contact;
use deskferry::domain::field::{ChoiceOption, FieldDefinition, FieldKind};
use deskferry::domain::ids::LiveDeskId;
use deskferry::domain::phone::Country;
use deskferry::mapping::{CompileContext, MappingSpec, StampFields, compile};
use serde_json::{Value, json};

fn definitions() -> Vec<FieldDefinition> {
    use FieldKind::{Boolean, Date, DateTime, MultipleChoice, Number, SingleChoice, Text, Time};
    let field = |(id, name, kind, options): (i64, &str, FieldKind, &[&str])| FieldDefinition {
        id,
        category_id: 1,
        category: String::from("Customer form"),
        name: name.to_owned(),
        kind,
        required: false,
        options: options.iter().map(|value| ChoiceOption { text: (*value).to_owned(), value: json!(value) }).collect(),
        default: None,
    };
    let rows: [(i64, &str, FieldKind, &[&str]); 12] = [
        (31, "LiveDesk ID", Text, &[]),
        (32, "VIP level", SingleChoice, &["gold", "silver", "bronze", "platinum"]),
        (33, "Points", Number, &[]),
        (34, "Newsletter", Boolean, &[]),
        (35, "Interests", MultipleChoice, &["sports", "music", "travel", "food"]),
        (36, "Last order", Date, &[]),
        (37, "Call time", Time, &[]),
        (38, "First seen", DateTime, &[]),
        (39, "Company", Text, &[]),
        (40, "Notes", Text, &[]),
        (41, "Identifier", Text, &[]),
        (42, "City", Text, &[]),
    ];
    rows.map(field).into()
}

fn context(definitions: Option<&[FieldDefinition]>) -> CompileContext<'_> {
    CompileContext {
        definitions,
        stamp: StampFields { membership_no: true, cz_col: Some(31) },
        time_zone: jiff::tz::TimeZone::get("Asia/Taipei").expect("bundled"),
        phone_country: Country::TAIWAN,
    }
}

fn example() -> MappingSpec {
    toml::from_str(include_str!("../../config/mapping.toml")).expect("the example is a mapping file")
}

#[test]
fn the_example_mapping_passes_its_own_tests_with_and_without_definitions() {
    let definitions = definitions();
    for definitions in [Some(definitions.as_slice()), None] {
        let mapping = compile(&example(), &context(definitions)).expect("compiles");
        for report in mapping.run_fixtures() {
            assert!(report.passed(), "{}: {:#?}", report.name, report.differences);
        }
    }
}

/// Prints how long one contact takes; run with `--nocapture`. Not asserted: machines differ.
#[expect(clippy::print_stderr, reason = "the measurement is this test's result")]
#[test]
fn applying_the_example_is_fast() {
    let definitions = definitions();
    let mapping = compile(&example(), &context(Some(&definitions))).expect("compiles");
    let Value::Object(fields) = json!({
        "id": 64_464_046, "name": "歐陽小明", "email": "support@example.com", "phone_number": "+886912345678",
        "identifier": "u-1", "blocked": false, "thumbnail": "", "availability_status": "offline",
        "created_at": 1_706_745_600, "last_activity_at": 1_706_745_700,
        "custom_attributes": { "birthday": "1990-05-17", "vip_level": "gold", "points": "1234", "newsletter": true,
            "interests": ["music", "travel"], "last_order": "2024-02-01T20:00:00Z", "call_time": "8:30" },
        "additional_attributes": { "company_name": "Example Ltd", "city": "Taipei", "country": "TW", "description": "x",
            "social_profiles": { "facebook": "", "github": "", "instagram": "", "linkedin": "", "twitter": "" } },
        "contact_inboxes": [{ "source_id": "a", "inbox": { "id": 1, "name": "x" } }],
    }) else {
        unreachable!("an object")
    };
    let contact = Contact { id: LiveDeskId(1), created_at: None, last_activity_at: None, fields };
    mapping.apply(&contact).expect("carried");
    let rounds = 500_u32;
    let begin = std::time::Instant::now();
    for _ in 0..rounds {
        std::hint::black_box(mapping.apply(&contact)).expect("carried");
    }
    let each = begin.elapsed() / rounds;
    eprintln!("one contact through config/mapping.toml: {each:?}");
}
