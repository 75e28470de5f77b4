//! Definitions of custom fields: what a column is, the default set, the two list endpoints, and the check of a value.
//!
//! Definitions are read only over the API, as at the vendor; tests replace them with a verb.

use std::sync::Arc;

use jiff::civil::{Date, DateTime};
use serde_json::{Value, json};

use super::FirstLine;
use super::switches::{BooleanForm, FirstLineSwitches, Types};
use super::wire::{Answer, Call, Paging, Refusal};

/// Type of a column, with the code that the API uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnKind {
    /// 0
    Number = 0,
    /// 1
    Text = 1,
    /// 2
    Boolean = 2,
    /// 3
    Date = 3,
    /// 4
    Time = 4,
    /// 5
    DateTime = 5,
    /// 6
    SingleChoice = 6,
    /// 7
    MultipleChoice = 7,
}

/// A custom field.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its id.
    pub id: i64,
    /// Its name; not unique.
    pub name: String,
    /// Its type.
    pub kind: ColumnKind,
    /// `is_allowed_null`.
    pub allows_null: bool,
    /// Text and value of each option.
    pub options: Vec<(String, Value)>,
}

impl Column {
    /// A column without options that allows null.
    pub fn new(id: i64, name: &str, kind: ColumnKind) -> Self {
        Self { id, name: name.to_owned(), kind, allows_null: true, options: Vec::new() }
    }

    /// The same with options whose text is the value with a capital.
    #[must_use]
    pub fn options(mut self, values: &[&str]) -> Self {
        self.options = values.iter().map(|value| (capital(value), json!(value))).collect();
        self
    }
}

/// A category of custom fields.
#[derive(Clone, Debug)]
pub struct Category {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// 0 customer form, 1 customer table, 2 ticket form, 3 ticket table.
    pub kind: u8,
    /// Its columns.
    pub columns: Vec<Column>,
}

impl Category {
    /// A category.
    pub fn new(id: i64, name: &str, kind: u8, columns: Vec<Column>) -> Self {
        Self { id, name: name.to_owned(), kind, columns }
    }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// The set that the demo and the example mapping work with.
pub fn default_definitions() -> Vec<Category> {
    use ColumnKind::{Boolean, Date, DateTime, MultipleChoice, Number, SingleChoice, Text, Time};
    let form = vec![
        Column::new(31, "LiveDesk ID", Text),
        Column::new(32, "VIP level", SingleChoice).options(&["gold", "silver", "bronze", "platinum"]),
        Column::new(33, "Points", Number),
        Column::new(34, "Newsletter", Boolean),
        Column::new(35, "Interests", MultipleChoice).options(&["sports", "music", "travel", "food"]),
        Column::new(36, "Last order", Date),
        Column::new(37, "Call time", Time),
        Column::new(38, "First seen", DateTime),
        Column::new(39, "Company", Text),
        Column::new(40, "Notes", Text),
        Column::new(41, "Identifier", Text),
        Column::new(42, "City", Text),
    ];
    vec![
        Category::new(10, "Customer form", 0, form),
        Category::new(20, "Purchases", 1, vec![Column::new(51, "Article", Text)]),
        Category::new(30, "Ticket form", 2, vec![Column::new(61, "Severity", Text)]),
    ]
}

/// A column that `contact.cz_cols` may hold, with its category.
pub(super) fn contact_column(definitions: &[Category], id: i64) -> Option<(&Category, &Column)> {
    let forms = definitions.iter().filter(|category| category.kind == 0);
    forms.flat_map(|category| category.columns.iter().map(move |column| (category, column))).find(|(_, c)| c.id == id)
}

fn render_column(category: &Category, column: &Column, with_options: bool) -> Value {
    let mut row = json!({
        "id": column.id,
        "name": column.name,
        "description": null,
        "is_allowed_null": column.allows_null,
        "default": null,
        "type": column.kind as u8,
        "category_id": category.id,
        "creater_id": 1,
    });
    if with_options {
        let options: Vec<Value> =
            column.options.iter().map(|(text, value)| json!({ "text": text, "value": value })).collect();
        row["options"] = if options.is_empty() { Value::Null } else { Value::Array(options) };
    }
    row
}

/// `GET /cz-col-category`
pub(super) fn categories(world: &FirstLine, call: &Call) -> Result<Answer, Refusal> {
    let paging = Paging::of(call)?;
    let definitions = world.definitions();
    let shown = paging.range(definitions.len());
    let render = |category: &Category| {
        let columns: Vec<Value> = category.columns.iter().map(|c| render_column(category, c, true)).collect();
        json!({
            "id": category.id, "name": category.name, "type": category.kind, "description": null,
            "cols": columns, "creater_id": 1, "creater": null,
        })
    };
    Ok(paging.answer(call, definitions[shown].iter().map(render).collect(), definitions.len()))
}

/// `GET /cz-col`
pub(super) fn columns(world: &FirstLine, call: &Call) -> Result<Answer, Refusal> {
    let paging = Paging::of(call)?;
    let definitions: Arc<Vec<Category>> = world.definitions();
    let wanted = |name: &str, value: i64| call.param(name).is_none_or(|text| text.parse() == Ok(value));
    let categories = definitions.iter().filter(|c| wanted("category_id", c.id) && wanted("types", i64::from(c.kind)));
    let rows: Vec<(&Category, &Column)> = categories.flat_map(|c| c.columns.iter().map(move |col| (c, col))).collect();
    let with_options = !call.switches.cz_col_omits_options;
    let shown = rows[paging.range(rows.len())].iter().map(|(cat, col)| render_column(cat, col, with_options)).collect();
    Ok(paging.answer(call, shown, rows.len()))
}

/// What is wrong with a value for a column; `None` when nothing is.
pub(super) fn problem(column: &Column, value: &Value, switches: &FirstLineSwitches) -> Option<&'static str> {
    if switches.types == Types::Strict
        && let Some(problem) = type_problem(column.kind, value, switches)
    {
        return Some(problem);
    }
    let choice = matches!(column.kind, ColumnKind::SingleChoice | ColumnKind::MultipleChoice);
    if choice && switches.options_checked {
        let known = |value: &Value| column.options.iter().any(|(_, option)| option == value);
        let all_known = match value {
            Value::Array(values) => values.iter().all(known),
            value => known(value),
        };
        if !all_known {
            return Some("is not an option");
        }
    }
    None
}

fn type_problem(kind: ColumnKind, value: &Value, switches: &FirstLineSwitches) -> Option<&'static str> {
    let fine = match kind {
        ColumnKind::Number => value.is_number(),
        ColumnKind::Text => {
            let Value::String(text) = value else { return Some("must be a string") };
            if switches.cz_text_max.is_some_and(|max| text.chars().count() > max) {
                return Some("is too long");
            }
            true
        }
        ColumnKind::Boolean => {
            let number = value.as_i64().is_some_and(|number| number == 0 || number == 1);
            match switches.boolean_form {
                BooleanForm::Any => number || value.is_boolean(),
                BooleanForm::Number => number,
                BooleanForm::Bool => value.is_boolean(),
                BooleanForm::Text => matches!(value.as_str(), Some("0" | "1")),
            }
        }
        ColumnKind::Date => value.as_str().is_some_and(is_date),
        ColumnKind::Time => value.as_str().is_some_and(is_time),
        ColumnKind::DateTime => value.as_str().is_some_and(is_date_time),
        ColumnKind::SingleChoice => value.is_string() || value.is_number(),
        ColumnKind::MultipleChoice => value.is_array(),
    };
    (!fine).then_some("has the wrong type")
}

/// `YYYY-MM-DD`
pub(super) fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<Date>().is_ok()
}

/// `HH:MM`
fn is_time(text: &str) -> bool {
    let digits = |part: &str, below: u8| part.len() == 2 && part.parse::<u8>().is_ok_and(|number| number < below);
    text.split_once(':').is_some_and(|(hour, minute)| digits(hour, 24) && digits(minute, 60))
}

/// `YYYY-MM-DD HH:MM:SS`
pub(super) fn is_date_time(text: &str) -> bool {
    text.len() == 19 && text.as_bytes()[10] == b' ' && text.parse::<DateTime>().is_ok()
}
