//! `/contact-tag` and `/company`: the lists beside the contacts.
//!
//! Companies are read only: the documents do not say how one is made (platform notes 9).

use serde_json::{Value, json};

use super::FirstLine;
use super::model::Model;
use super::records::{Company, Tag};
use super::search::compare;
use super::switches::{FilterMode, TagNames};
use super::validate::{Check, Sent};
use super::wire::{Answer, Call, Paging, Refusal};

fn render_tag(model: &Model, tag: &Tag) -> Value {
    json!({
        "id": tag.id, "name": tag.name, "description": tag.description, "contacts_count": model.tag_use(tag.id),
    })
}

fn render_company(model: &Model, company: &Company) -> Value {
    json!({
        "id": company.id, "name": company.name, "sn": company.sn, "domains": company.domains, "description": null,
        "contacts_count": model.company_use(company.id), "creater_id": 1, "creater": null,
    })
}

/// `GET /contact-tag`: the name is searched as a part.
pub(super) fn list_tags(world: &FirstLine, call: &Call) -> Result<Answer, Refusal> {
    if call.switches.tags_missing {
        return Err(Refusal::not_found());
    }
    let paging = Paging::of(call)?;
    let model = world.read();
    let wanted = call.param("name").unwrap_or_default();
    let hits: Vec<&Tag> =
        model.tags.iter().filter(|tag| compare(FilterMode::Substring, &tag.name, wanted, true)).collect();
    let rows = hits[paging.range(hits.len())].iter().map(|tag| render_tag(&model, tag)).collect();
    Ok(paging.answer(call, rows, hits.len()))
}

/// `GET /contact-tag/{id}`
pub(super) fn get_tag(world: &FirstLine, id: u64) -> Result<Answer, Refusal> {
    let model = world.read();
    let tag = model.tags.iter().find(|tag| tag.id == id).ok_or_else(Refusal::not_found)?;
    Ok(Answer::data(render_tag(&model, tag)))
}

/// `POST /contact-tag`
pub(super) fn create_tag(world: &FirstLine, call: &Call) -> Result<Answer, Refusal> {
    let mut model = world.write();
    let (name, description) = tag_body(&model, call, None)?;
    let mut text = None;
    description.fill(&mut text);
    let id = model.add_tag(name, text);
    drop(model);
    get_tag(world, id).map(|answer| Answer { status: call.switches.create_status, ..answer })
}

/// `PUT /contact-tag/{id}`
pub(super) fn update_tag(world: &FirstLine, call: &Call, id: u64) -> Result<Answer, Refusal> {
    let mut model = world.write();
    let (name, description) = tag_body(&model, call, Some(id))?;
    let tag = model.tags.iter_mut().find(|tag| tag.id == id).ok_or_else(Refusal::not_found)?;
    tag.name = name;
    description.fill(&mut tag.description);
    drop(model);
    get_tag(world, id)
}

/// `DELETE /contact-tag/{id}`: contacts lose it, too.
pub(super) fn delete_tag(world: &FirstLine, call: &Call, id: u64) -> Result<Answer, Refusal> {
    let write = world.api_write(call);
    world.write().remove_tag(id, write).ok_or_else(Refusal::not_found)?;
    Ok(Answer::nothing())
}

fn stored_name(name: &str, form: TagNames) -> String {
    match form {
        TagNames::AsSent => name.to_owned(),
        TagNames::LowerCase => name.to_lowercase(),
        TagNames::Squeezed => name.split_whitespace().collect::<Vec<_>>().join(" "),
        TagNames::Cut => name.chars().take(8).collect(),
    }
}

fn tag_body(model: &Model, call: &Call, own: Option<u64>) -> Result<(String, Sent<String>), Refusal> {
    let mut check = Check::new(call);
    let name = stored_name(&check.required_text("name"), call.switches.tag_names);
    let description = check.text("description");
    let ignore_case = call.switches.exact_ignores_case;
    let same = |tag: &Tag| Some(tag.id) != own && compare(FilterMode::Exact, &tag.name, &name, ignore_case);
    if call.switches.tag_name_unique && model.tags.iter().any(same) {
        check.fail("name", "has already been taken");
    }
    check.finish()?;
    Ok((name, description))
}

/// `GET /company`
pub(super) fn list_companies(world: &FirstLine, call: &Call) -> Result<Answer, Refusal> {
    if call.switches.company_missing {
        return Err(Refusal::not_found());
    }
    let paging = Paging::of(call)?;
    let model = world.read();
    let part = |stored: &str, asked: &str| compare(FilterMode::Substring, stored, asked, true);
    let hits: Vec<&Company> = (model.companies.iter())
        .filter(|company| {
            let sn = company.sn.as_deref().unwrap_or_default();
            let anywhere = |asked: &str| {
                part(&company.name, asked) || part(sn, asked) || company.domains.iter().any(|d| part(d, asked))
            };
            call.param("search").is_none_or(anywhere)
                && call.param("name").is_none_or(|asked| part(&company.name, asked))
                && call.param("sn").is_none_or(|asked| sn == asked)
        })
        .collect();
    let rows = hits[paging.range(hits.len())].iter().map(|company| render_company(&model, company)).collect();
    Ok(paging.answer(call, rows, hits.len()))
}

/// `GET /company/{id}`
pub(super) fn get_company(world: &FirstLine, call: &Call, id: u64) -> Result<Answer, Refusal> {
    let model = world.read();
    let company = model.companies.iter().find(|company| company.id == id && !call.switches.company_missing);
    Ok(Answer::data(render_company(&model, company.ok_or_else(Refusal::not_found)?)))
}
