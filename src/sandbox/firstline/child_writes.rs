//! Creating and changing rows of `/email-contact` and `/phone-number`.
//!
//! A phone hangs on the contact's profile; which key its body must hold is a switch, because the documents disagree.

use super::FirstLine;
use super::children::{Child, find, owner};
use super::model::Model;
use super::records::{Contact, Email, Phone};
use super::search::compare;
use super::switches::{FilterMode, PhoneCheck, PhoneOwner, Types};
use super::validate::Check;
use super::wire::{Answer, Call, Refusal};

/// `POST /email-contact`
pub(super) fn create_email(world: &FirstLine, call: &Call) -> Result<Answer, Refusal> {
    let mut model = world.write();
    let mut check = Check::new(call);
    let contact = owner_in_body(world, &model, call, &mut check, "contact_id");
    let mut email = Email::default();
    fill_email(&mut email, &mut check, &model, call);
    check.finish()?;
    let id = model.add_email(contact, email, world.api_write(call)).ok_or_else(Refusal::not_found)?;
    shown::<Email>(&model, call, id, call.switches.create_status)
}

/// `PUT /email-contact/{id}`
pub(super) fn update_email(world: &FirstLine, call: &Call, id: u64) -> Result<Answer, Refusal> {
    let mut model = world.write();
    let contact = owner::<Email>(world, &model, call, id)?;
    let mut email = find::<Email>(&contact, id).cloned().ok_or_else(Refusal::not_found)?;
    let mut check = Check::new(call);
    fill_email(&mut email, &mut check, &model, call);
    check.finish()?;
    model.edit(contact.id, world.api_write(call), |contact| {
        contact.emails.iter_mut().filter(|row| row.id == id).for_each(|row| *row = email.clone());
    });
    shown::<Email>(&model, call, id, 200)
}

/// `POST /phone-number`
pub(super) fn create_phone(world: &FirstLine, call: &Call) -> Result<Answer, Refusal> {
    let mut model = world.write();
    let mut check = Check::new(call);
    let contact = owner_in_body(world, &model, call, &mut check, owner_key(call));
    for required in ["type", "number"] {
        if !call.body.contains_key(required) {
            check.fail(required, "field is required");
        }
    }
    let mut phone = Phone::default();
    fill_phone(&mut phone, &mut check, &model, call);
    check.finish()?;
    let id = model.add_phone(contact, phone, world.api_write(call)).ok_or_else(Refusal::not_found)?;
    shown::<Phone>(&model, call, id, call.switches.create_status)
}

/// `PUT /phone-number/{id}`
pub(super) fn update_phone(world: &FirstLine, call: &Call, id: u64) -> Result<Answer, Refusal> {
    let mut model = world.write();
    let contact = owner::<Phone>(world, &model, call, id)?;
    let mut phone = find::<Phone>(&contact, id).cloned().ok_or_else(Refusal::not_found)?;
    let mut check = Check::new(call);
    let named = owner_in_body(world, &model, call, &mut check, owner_key(call));
    fill_phone(&mut phone, &mut check, &model, call);
    if named != contact.id {
        check.fail(owner_key(call), "is invalid");
    }
    check.finish()?;
    model.edit(contact.id, world.api_write(call), |contact| {
        contact.phones.iter_mut().filter(|row| row.id == id).for_each(|row| *row = phone.clone());
    });
    shown::<Phone>(&model, call, id, 200)
}

fn shown<C: Child>(model: &Model, call: &Call, id: u64, status: u16) -> Result<Answer, Refusal> {
    let contact = C::owners(model).owner(id).and_then(|owner| model.contact(owner)).ok_or_else(Refusal::not_found)?;
    let row = find::<C>(contact, id).ok_or_else(Refusal::not_found)?;
    Ok(Answer::with_status(status, row.render(contact, &call.switches)))
}

fn owner_key(call: &Call) -> &'static str {
    match call.switches.phone_owner {
        PhoneOwner::ContactId => "contact_id",
        PhoneOwner::ProfileId => "profile_id",
    }
}

/// The contact that the body names; 0 after a complaint.
fn owner_in_body(world: &FirstLine, model: &Model, call: &Call, check: &mut Check<'_>, key: &str) -> u64 {
    if !call.body.contains_key(key) {
        check.fail(key, "field is required");
        return 0;
    }
    let id = call.number(key).map(|id| if key == "profile_id" { Contact::of_profile(id) } else { id });
    let known = id.and_then(|id| model.contact(id)).filter(|contact| world.visible(contact, call));
    if known.is_none() {
        check.fail(key, "is invalid");
    }
    known.map_or(0, |contact| contact.id)
}

fn fill_email(email: &mut Email, check: &mut Check<'_>, model: &Model, call: &Call) {
    let s = &call.switches;
    let mut address = check.required_text("address");
    if s.email_stored_lowercase {
        address = address.to_lowercase();
    }
    let well_formed = address.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !domain.contains('@') && !address.contains(char::is_whitespace)
    });
    if !address.is_empty() && s.email_check && !well_formed {
        check.fail("address", "must be a valid email address");
    }
    if s.email_unique && taken::<Email>(model, call, &address, email.id) {
        check.fail("address", "has already been taken");
    }
    email.address = address;
    check.text("name").fill(&mut email.name);
    check.text("description").fill(&mut email.description);
}

fn fill_phone(phone: &mut Phone, check: &mut Check<'_>, model: &Model, call: &Call) {
    let s = &call.switches;
    if let Some(kind) = call.body.get("type") {
        let lenient = || kind.as_str().filter(|_| s.types == Types::Lenient)?.parse().ok();
        match kind.as_i64().or_else(lenient).filter(|kind| (0..=4).contains(kind)) {
            Some(kind) => phone.kind = kind,
            None => check.fail("type", "is invalid"),
        }
    }
    if call.body.contains_key("number") {
        let mut number = check.required_text("number");
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let accepted = match s.phone_check {
            PhoneCheck::Any => true,
            PhoneCheck::Digits => digits(&number),
            PhoneCheck::Taiwan => digits(&number) && number.starts_with('0') && (9..=10).contains(&number.len()),
        };
        if !number.is_empty() && !accepted {
            check.fail("number", "is invalid");
        }
        if s.phone_stored_national
            && let Some(national) = number.strip_prefix("+886")
        {
            number = format!("0{national}");
        }
        if s.phone_unique && taken::<Phone>(model, call, &number, phone.id) {
            check.fail("number", "has already been taken");
        }
        phone.number = number;
    }
    check.text("extension").fill(&mut phone.extension);
    check.text("description").fill(&mut phone.description);
}

/// Whether another row has this value.
fn taken<C: Child>(model: &Model, call: &Call, value: &str, own: u64) -> bool {
    let same =
        |row: &C| row.id() != own && compare(FilterMode::Exact, row.value(), value, call.switches.exact_ignores_case);
    let owners = C::index(model).get(value).iter().filter_map(|id| model.contact(*id));
    owners.into_iter().any(|contact| C::rows(contact).iter().any(same))
}
