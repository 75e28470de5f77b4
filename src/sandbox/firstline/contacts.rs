//! `/contact`: list, get, create, update, delete, and the wire form of a contact.
//!
//! The plain list costs a page, not a table. Every reading that makes it dearer (another order, a lag, a role that
//! sees a part) takes the long way over all ids.

use serde_json::{Map, Value, json};

use super::FirstLine;
use super::children::{render_email, render_phone};
use super::definitions::{ColumnKind, contact_column};
use super::index::scalar_text;
use super::lag::Lag;
use super::model::{Model, mix};
use super::records::Contact;
use super::search::{Search, TAIPEI_OFFSET_MS, full_name};
use super::switches::{FirstLineSwitches, ListsShownIn, Sort, TagsShown, TimesShown, UnsetColumns};
use super::validate;
use super::wire::{Answer, Call, Paging, Refusal};

/// What a contact is shown in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    List,
    Single,
    Write,
}

/// `GET /contact`
pub(super) fn list(world: &FirstLine, call: &Call) -> Result<Answer, Refusal> {
    let paging = Paging::of(call)?;
    let search = Search::of(call)?;
    if call.switches.list_empty {
        return Ok(paging.answer(call, Vec::new(), 0));
    }
    for column in search.equal_columns() {
        index_column(world, column);
    }
    let model = world.read();
    let lag = if search.works() { Lag::of_search(&call.switches) } else { Lag::of_list(&call.switches) };
    let plain = !search.works()
        && lag == Lag::NONE
        && call.switches.hidden_share <= 0.0
        && matches!(call.switches.sort, Sort::IdAsc | Sort::IdDesc);
    let long_way = if plain { None } else { Some(select(world, &model, call, &search, lag)) };
    let ids = long_way.as_deref().unwrap_or_else(|| model.order());
    let newest_first = plain && call.switches.sort == Sort::IdDesc;
    let rows = paging.range(ids.len()).filter_map(|at| {
        let id = if newest_first { ids[ids.len() - 1 - at] } else { ids[at] };
        model.seen(id, lag, call.now_ms)
    });
    let rows = rows.map(|contact| render(contact, &model, &call.switches, Place::List)).collect();
    Ok(paging.answer(call, rows, ids.len()))
}

/// Ids of all hits in the order of the list.
fn select(world: &FirstLine, model: &Model, call: &Call, search: &Search, lag: Lag) -> Vec<u64> {
    let mut ids = search.candidates(model).unwrap_or_else(|| model.order().to_vec());
    ids.extend(model.recent.unseen(lag, call.now_ms));
    ids.sort_unstable();
    ids.dedup();
    let seen = |id: u64| model.seen(id, lag, call.now_ms);
    ids.retain(|id| {
        seen(*id).is_some_and(|contact| world.visible(contact, call) && search.matches(contact, &call.switches))
    });
    let time = |id: u64, of: fn(&Contact) -> i64| seen(id).map_or(0, |contact| of(contact));
    match call.switches.sort {
        Sort::IdAsc => {}
        Sort::IdDesc => ids.reverse(),
        Sort::Updated => ids.sort_by_cached_key(|id| std::cmp::Reverse((time(*id, |c| c.updated_ms), *id))),
        Sort::UnstableTies => {
            ids.sort_by_cached_key(|id| (time(*id, |c| c.created_ms.div_euclid(1000)), mix(*id ^ mix(call.nonce))));
        }
    }
    ids
}

fn index_column(world: &FirstLine, column: i64) {
    let model = world.read();
    let list = contact_column(&model.definitions, column).is_some_and(|(_, c)| c.kind == ColumnKind::MultipleChoice);
    let known = model.column(column).is_some();
    drop(model);
    if !known && !list {
        world.write().index_column(column);
    }
}

/// `GET /contact/{id}`
pub(super) fn get(world: &FirstLine, call: &Call, id: u64) -> Result<Answer, Refusal> {
    if call.switches.unreadable_ids.contains(&id) {
        return Err(Refusal::field("id", "cannot be shown"));
    }
    let model = world.read();
    let contact = model.seen(id, Lag::of_get(&call.switches), call.now_ms).ok_or_else(Refusal::not_found)?;
    if !world.visible(contact, call) {
        return Err(Refusal::not_found());
    }
    Ok(Answer::data(render(contact, &model, &call.switches, Place::Single)))
}

/// `POST /contact`
pub(super) fn create(world: &FirstLine, call: &Call) -> Result<Answer, Refusal> {
    let switches = &call.switches;
    let mut model = world.write();
    let contact = validate::contact(call, &model, None)?.create();
    let id = model.insert(contact, switches.id_start, switches.id_gap, world.api_write(call));
    let mut data = written(&model, call, id);
    if switches.create_omits_id {
        data.as_object_mut().map(|data| data.remove("id"));
    }
    if let Some(other) = switches.create_answers_id {
        data = json!({ "id": other });
    }
    Ok(Answer::with_status(switches.create_status, data))
}

/// `PUT /contact/{id}`
pub(super) fn update(world: &FirstLine, call: &Call, id: u64) -> Result<Answer, Refusal> {
    let mut model = world.write();
    if !model.contact(id).is_some_and(|contact| world.visible(contact, call)) {
        return Err(Refusal::not_found());
    }
    let input = validate::contact(call, &model, Some(id))?;
    model.edit(id, world.api_write(call), |contact| input.update(contact, &call.switches));
    Ok(Answer::data(written(&model, call, id)))
}

/// `DELETE /contact/{id}`
pub(super) fn delete(world: &FirstLine, call: &Call, id: u64) -> Result<Answer, Refusal> {
    let mut model = world.write();
    if !model.contact(id).is_some_and(|contact| world.visible(contact, call)) {
        return Err(Refusal::not_found());
    }
    let status = call.switches.delete_contact_status;
    if status >= 400 {
        return Err(Refusal::new(status, "This action is unauthorized."));
    }
    model.remove(id, world.api_write(call));
    Ok(if status == 204 { Answer::nothing() } else { Answer::with_status(status, json!({ "status": status })) })
}

fn written(model: &Model, call: &Call, id: u64) -> Value {
    let contact = model.contact(id);
    contact.map_or(Value::Null, |contact| render(contact, model, &call.switches, Place::Write))
}

fn render(contact: &Contact, model: &Model, switches: &FirstLineSwitches, place: Place) -> Value {
    let mut row = standard(contact, switches);
    row.insert("name".to_owned(), json!(full_name(contact, switches)));
    row.insert("sponsor".to_owned(), Value::Null);
    row.insert("disturb_setting".to_owned(), Value::Null);
    for ignored in ["campaign_queues", "fbs", "lines"] {
        row.insert(ignored.to_owned(), Value::Array(Vec::new()));
    }
    let (no_columns, no_children) = match place {
        Place::List => (switches.list_omits_cz_cols, switches.list_omits_children),
        Place::Write => (switches.write_omits_cz_cols, switches.write_omits_children),
        Place::Single => (false, switches.get_omits_children),
    };
    if !no_columns {
        row.insert("cz_cols".to_owned(), Value::Array(render_columns(contact, model, switches)));
    }
    if !no_children {
        let emails = contact.emails.iter().map(|email| render_email(email, contact.id)).collect();
        let phones: Vec<Value> = contact.phones.iter().map(|p| render_phone(p, contact, switches)).collect();
        row.insert("email_contacts".to_owned(), Value::Array(emails));
        row.insert("profile".to_owned(), json!({ "id": contact.profile_id(), "phones": phones }));
    }
    let lists = match switches.lists_shown_in {
        ListsShownIn::Everywhere => true,
        ListsShownIn::Writes => place == Place::Write,
        ListsShownIn::Rows => place == Place::List,
        ListsShownIn::Reads => place == Place::Single,
    };
    let tags = || contact.tag_ids.iter().filter_map(|id| model.tags.iter().find(|tag| tag.id == *id));
    match switches.tags_shown {
        _ if !lists => {}
        TagsShown::Tags => {
            let tags = tags().map(|tag| json!({ "id": tag.id, "name": tag.name, "description": tag.description }));
            row.insert("tags".to_owned(), tags.collect());
        }
        TagsShown::TagIds => drop(row.insert("tag_ids".to_owned(), json!(contact.tag_ids))),
        TagsShown::TagId => drop(row.insert("tag_id".to_owned(), json!(contact.tag_ids))),
        TagsShown::LeftOut => {}
    }
    if lists && switches.companies_shown {
        let companies = model.companies.iter().filter(|company| contact.company_ids.contains(&company.id));
        let companies = companies.map(|company| json!({ "id": company.id, "name": company.name }));
        row.insert("companies".to_owned(), companies.collect());
    }
    if switches.nulls_left_out {
        row.retain(|_, value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty()));
    }
    Value::Object(row)
}

/// The fields that an e-mail row embeds, too.
pub(super) fn standard(contact: &Contact, switches: &FirstLineSwitches) -> Map<String, Value> {
    let suffix = if switches.birth_at_with_time { " 00:00:00" } else { "" };
    let birth_at = contact.birth_at.as_ref().map(|date| format!("{date}{suffix}"));
    let mut row = Map::new();
    let mut put = |key: &str, value: Value| row.insert(key.to_owned(), value);
    put("id", json!(contact.id));
    put("first_name", json!(contact.first_name));
    put("last_name", json!(contact.last_name));
    put("membership_no", json!(contact.membership_no));
    put("identity_no", json!(contact.identity_no));
    put("gender", json!(contact.gender));
    put("birth_at", json!(birth_at));
    put("profile_id", json!(contact.profile_id()));
    put("sponsor_id", Value::Null);
    if switches.times_shown != TimesShown::LeftOut {
        put("created_at", json!(time(contact.created_ms, switches.times_shown)));
        put("updated_at", json!(time(contact.updated_ms, switches.times_shown)));
    }
    row
}

/// An instant in the form of the tenant.
pub(super) fn time(ms: i64, form: TimesShown) -> Option<String> {
    let (offset, format) = match form {
        TimesShown::Iso => (0, "%Y-%m-%dT%H:%M:%S.000000Z"),
        TimesShown::Local => (TAIPEI_OFFSET_MS, "%Y-%m-%d %H:%M:%S"),
        TimesShown::LeftOut => return None,
    };
    let instant = jiff::Timestamp::from_millisecond(ms + offset).ok()?;
    Some(instant.strftime(format).to_string())
}

fn render_columns(contact: &Contact, model: &Model, switches: &FirstLineSwitches) -> Vec<Value> {
    let forms = model.definitions.iter().filter(|category| category.kind == 0);
    let columns = forms.flat_map(|category| category.columns.iter().map(move |column| (category.id, column)));
    let rows = columns.filter_map(|(category, column)| {
        let value = match contact.cz_col(column.id) {
            None if switches.unset_cz_cols == UnsetColumns::LeftOut => return None,
            None => Value::Null,
            Some(value) => shown(value, column.kind, switches),
        };
        Some(json!({ "id": column.id, "value": value, "category_id": category }))
    });
    rows.collect()
}

/// Samples show numbers as text (platform notes 3.1).
fn shown(value: &Value, kind: ColumnKind, switches: &FirstLineSwitches) -> Value {
    let numeric = matches!(kind, ColumnKind::Number | ColumnKind::Boolean);
    match scalar_text(value) {
        Some(text) if numeric && switches.numbers_as_text => json!(text),
        _ => value.clone(),
    }
}
