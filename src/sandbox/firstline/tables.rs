//! Customer tables: the one-to-many rows below `/contact/{id}/` (platform notes 5).
//!
//! The client does not write them today; they are here so that it can be seen to leave them alone.

use serde_json::{Value, json};

use super::FirstLine;
use super::contacts::time;
use super::definitions::Category;
use super::index::scalar_text;
use super::lag::Lag;
use super::records::{Contact, TableRow};
use super::search::compare;
use super::switches::{FilterMode, TimesShown};
use super::validate::{Check, Columns, columns};
use super::wire::{Answer, Call, Paging, Refusal, Verb};

/// Anything below `/contact/{id}/`.
pub(super) fn handle(world: &FirstLine, call: &Call, contact: u64, rest: &[&str]) -> Result<Answer, Refusal> {
    let id = |text: &str| text.parse::<u64>().map_err(|_| Refusal::not_found());
    match (rest, call.verb) {
        (["contact-cz-relation"], Verb::Get) => list(world, call, contact),
        (["cz-col-category", category, "contact-cz-relation"], Verb::Post) => {
            create(world, call, contact, id(category)?)
        }
        (["contact-cz-relation", row], Verb::Put) => update(world, call, contact, id(row)?),
        (["contact-cz-relation", row], Verb::Delete) => {
            let row = id(row)?;
            remove(world, call, contact, |known| known.id == row)
        }
        (["cz-col-category", category], Verb::Delete) => {
            let category = id(category)?;
            remove(world, call, contact, |known| u64::try_from(known.category_id) == Ok(category))
        }
        (
            ["contact-cz-relation"]
            | ["contact-cz-relation" | "cz-col-category", _]
            | ["cz-col-category", _, "contact-cz-relation"],
            _,
        ) => Err(Refusal::method()),
        _ => Err(Refusal::not_found()),
    }
}

fn list(world: &FirstLine, call: &Call, contact: u64) -> Result<Answer, Refusal> {
    let paging = Paging::of(call)?;
    let model = world.read();
    let contact = model.seen(contact, Lag::of_get(&call.switches), call.now_ms);
    let contact = contact.filter(|contact| world.visible(contact, call)).ok_or_else(Refusal::not_found)?;
    let category: Option<i64> = call.param("cz_col_category_id").and_then(|text| text.parse().ok());
    let column: Option<i64> = call.param("relation_search_cz_col_id").and_then(|text| text.parse().ok());
    let wanted = call.param("relation_search_cz_col_value").unwrap_or_default();
    let like = |value: &Value| scalar_text(value).is_some_and(|t| compare(FilterMode::Substring, &t, wanted, true));
    let rows: Vec<&TableRow> = (contact.table_rows.iter())
        .filter(|row| category.is_none_or(|category| category == row.category_id))
        .filter(|row| column.is_none_or(|column| row.values.iter().any(|(id, value)| *id == column && like(value))))
        .collect();
    let shown = rows[paging.range(rows.len())].iter().map(|row| render(row, &model.definitions)).collect();
    Ok(paging.answer(call, shown, rows.len()))
}

fn create(world: &FirstLine, call: &Call, contact: u64, category: u64) -> Result<Answer, Refusal> {
    let mut model = world.write();
    owner(world, call, model.contact(contact).map(AsRef::as_ref))?;
    let definitions = model.definitions.clone();
    let category = table(&definitions, i64::try_from(category).unwrap_or(0)).ok_or_else(Refusal::not_found)?;
    let mut row =
        TableRow { category_id: category.id, created_ms: call.now_ms, updated_ms: call.now_ms, ..TableRow::default() };
    fill(&mut row, read(call, category)?);
    let id = model.add_table_row(contact, row.clone(), world.api_write(call)).ok_or_else(Refusal::not_found)?;
    row.id = id;
    Ok(Answer::with_status(call.switches.create_status, render(&row, &definitions)))
}

fn update(world: &FirstLine, call: &Call, contact: u64, id: u64) -> Result<Answer, Refusal> {
    let mut model = world.write();
    let known = owner(world, call, model.contact(contact).map(AsRef::as_ref))?;
    let mut row = known.table_rows.iter().find(|row| row.id == id).cloned().ok_or_else(Refusal::not_found)?;
    let definitions = model.definitions.clone();
    let category = table(&definitions, row.category_id).ok_or_else(Refusal::not_found)?;
    fill(&mut row, read(call, category)?);
    row.updated_ms = call.now_ms;
    model.edit(contact, world.api_write(call), |contact| {
        contact.table_rows.iter_mut().filter(|known| known.id == id).for_each(|known| *known = row.clone());
    });
    Ok(Answer::data(render(&row, &definitions)))
}

fn remove(world: &FirstLine, call: &Call, contact: u64, gone: impl Fn(&TableRow) -> bool) -> Result<Answer, Refusal> {
    let mut model = world.write();
    let known = owner(world, call, model.contact(contact).map(AsRef::as_ref))?;
    if !known.table_rows.iter().any(&gone) {
        return Err(Refusal::not_found());
    }
    model.edit(contact, world.api_write(call), |contact| contact.table_rows.retain(|row| !gone(row)));
    Ok(Answer::nothing())
}

fn owner<'a>(world: &FirstLine, call: &Call, contact: Option<&'a Contact>) -> Result<&'a Contact, Refusal> {
    contact.filter(|contact| world.visible(contact, call)).ok_or_else(Refusal::not_found)
}

fn table(definitions: &[Category], id: i64) -> Option<&Category> {
    definitions.iter().find(|category| category.kind == 1 && category.id == id)
}

fn read(call: &Call, category: &Category) -> Result<Columns, Refusal> {
    let mut check = Check::new(call);
    let read = columns(&mut check, |id| category.columns.iter().find(|column| column.id == id));
    if read.is_none() {
        check.fail("cz_cols", "field is required");
    }
    check.finish()?;
    Ok(read.unwrap_or_default())
}

/// Columns that are not sent stay (the documented sample shows it).
fn fill(row: &mut TableRow, columns: Columns) {
    for (id, value) in columns {
        row.values.retain(|(known, _)| *known != id);
        row.values.extend(value.map(|value| (id, value)));
    }
}

fn render(row: &TableRow, definitions: &[Category]) -> Value {
    let category = table(definitions, row.category_id);
    let name = |id: i64| category?.columns.iter().find(|column| column.id == id).map(|column| &column.name);
    let information = row.values.iter().map(|(id, value)| {
        json!({ "id": row.id * 1000 + id.unsigned_abs(), "value": value, "col_id": id, "col_name": name(*id) })
    });
    json!({
        "id": row.id, "relation_id": row.category_id, "relation_name": category.map(|category| &category.name),
        "information": information.collect::<Vec<Value>>(),
        "created_at": time(row.created_ms, TimesShown::Iso), "updated_at": time(row.updated_ms, TimesShown::Iso),
    })
}
