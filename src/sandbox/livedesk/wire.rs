//! How an answer is spelled: the documented JSON with the type clashes that the switches ask for.

use serde_json::{Value, json};

use super::switches::{LiveDeskSwitches, PageStyle, Spelling};
use super::{Page, People};
use crate::sandbox::people::ContactObject;

/// What of the request shows in the answer.
#[derive(Clone, Debug)]
pub(super) struct Echo {
    /// The raw `page` parameter.
    pub(super) page: Option<String>,
    /// Its meaning.
    pub(super) number: u64,
    pub(super) inboxes: bool,
    pub(super) searched: bool,
}

pub(super) fn list(page: &Page, people: People, size: u32, echo: &Echo) -> Value {
    let switches = &page.switches;
    let payload: Vec<_> =
        page.rows.iter().map(|row| contact(row.render(people), switches, page.served, echo.inboxes)).collect();
    let current = match (&echo.page, switches.current_page) {
        (Some(raw), PageStyle::Echo) => json!(raw),
        _ => json!(echo.number),
    };
    let search_style = echo.searched && switches.search_counts_page;
    let counted = if search_style { payload.len() } else { page.total };
    let count = i64::try_from(counted).unwrap_or(i64::MAX).saturating_add(switches.count_offset).max(0);
    let mut meta = json!({ "count": count, "current_page": current });
    if search_style {
        meta["has_more"] = (echo.number.saturating_mul(u64::from(size)) < page.total as u64).into();
    }
    json!({ "meta": meta, "payload": payload })
}

pub(super) fn contact(mut contact: ContactObject, switches: &LiveDeskSwitches, served: u64, inboxes: bool) -> Value {
    let id = contact.get("id").and_then(Value::as_u64).unwrap_or_default();
    for (key, spelling) in
        [("id", switches.ids), ("created_at", switches.timestamps), ("last_activity_at", switches.timestamps)]
    {
        if let Some(value) = contact.get_mut(key) {
            spell(value, spelling, id);
        }
    }
    if switches.blocked_as_text
        && let Some(blocked) = contact.get_mut("blocked")
        && let Some(flag) = blocked.as_bool()
    {
        *blocked = flag.to_string().into();
    }
    if switches.presence_flips && served % 2 == 1 && contact.get("availability_status").is_some_and(|it| it == "online")
    {
        contact.insert("availability_status".to_owned(), "offline".into());
    }
    if !inboxes {
        contact.remove("contact_inboxes");
    }
    Value::Object(contact)
}

fn spell(value: &mut Value, spelling: Spelling, id: u64) {
    let as_text = match spelling {
        Spelling::Number => false,
        Spelling::Text => true,
        Spelling::Mixed => id.is_multiple_of(2),
    };
    if as_text && value.is_number() {
        *value = value.to_string().into();
    }
}
