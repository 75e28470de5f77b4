//! The `channels` filter: how a contact can be reached in LiveDesk, from `contact_inboxes`.
//!
//! FIRST LINE has no way to create channel identities, so they go into a text or a multiple choice. Only four
//! named parts are ever read: an inbox may hold settings and secrets (platform notes LiveDesk 3.2).

use std::collections::BTreeSet;

use minijinja::value::{Value, ValueKind};

use super::text::squeezed;
use super::{FilterError, FilterResult, Settings, arguments, scalar_text, word};

/// `channels(part='all' | 'channel' | 'source_id' | 'inbox' | 'provider' | 'object')`: a sorted list without repeats.
///
/// `all` gives texts such as `Line: U4af49806 (Shop)`; `object` gives objects with the four parts.
pub(super) fn channels(_: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    let [part] = arguments(given, ["part"])?;
    let part = word(part.as_ref(), "part", ["all", "channel", "source_id", "inbox", "provider", "object"])?;
    let inboxes = match value.kind() {
        ValueKind::Undefined | ValueKind::None => return Ok(Value::UNDEFINED),
        ValueKind::Seq | ValueKind::Iterable => value.try_iter().ok(),
        _ => None,
    };
    let inboxes = inboxes.ok_or_else(|| FilterError::Value(String::from("is not a list of contact inboxes")))?;
    // LiveDesk gives them in no order; a sorted set keeps the fingerprint still.
    let channels: BTreeSet<Channel> =
        inboxes.filter(|inbox| inbox.kind() == ValueKind::Map).map(|inbox| Channel::of(&inbox)).collect();
    if part == "object" {
        return Ok(channels.iter().map(Channel::object).collect());
    }
    let texts: BTreeSet<String> = channels.iter().filter_map(|channel| channel.part(part)).collect();
    Ok(texts.into_iter().map(Value::from).collect())
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Channel {
    kind: Option<String>,
    source_id: Option<String>,
    inbox: Option<String>,
    provider: Option<String>,
}

impl Channel {
    fn of(contact_inbox: &Value) -> Self {
        let text = |of: &Value, key: &str| {
            let value = of.get_attr(key).ok()?;
            scalar_text(&value).ok().flatten().map(|text| squeezed(&text))
        };
        let inbox = contact_inbox.get_attr("inbox").unwrap_or(Value::UNDEFINED);
        let kind = text(&inbox, "channel_type");
        Self {
            kind: kind.map(|name| name.strip_prefix("Channel::").unwrap_or(&name).to_owned()),
            source_id: text(contact_inbox, "source_id"),
            inbox: text(&inbox, "name"),
            provider: text(&inbox, "provider"),
        }
    }

    fn part(&self, part: &str) -> Option<String> {
        match part {
            "channel" => self.kind.clone(),
            "source_id" => self.source_id.clone(),
            "inbox" => self.inbox.clone(),
            "provider" => self.provider.clone(),
            _ => self.line(),
        }
    }

    /// `Line: U4af49806 (Shop)`, as far as its parts are known.
    fn line(&self) -> Option<String> {
        let head: Vec<&str> = [&self.kind, &self.source_id].into_iter().flatten().map(String::as_str).collect();
        match (head.join(": "), &self.inbox) {
            (head, None) => Some(head).filter(|head| !head.is_empty()),
            (head, Some(inbox)) if head.is_empty() => Some(inbox.clone()),
            (head, Some(inbox)) => Some(format!("{head} ({inbox})")),
        }
    }

    fn object(&self) -> Value {
        let parts = [
            ("channel", &self.kind),
            ("source_id", &self.source_id),
            ("inbox", &self.inbox),
            ("provider", &self.provider),
        ];
        Value::from_pairs(
            parts.into_iter().filter_map(|(key, part)| part.as_deref().map(|part| (key, Value::from(part)))),
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::super::testing::{check, run};

    fn inboxes() -> Json {
        json!([
            { "source_id": "U4af49806", "inbox": { "id": 2, "name": "Shop ", "channel_type": "Channel::Line", "hmac_token": "hush" } },
            { "source_id": 1234, "inbox": { "id": 3, "name": null, "channel_type": "Channel::FacebookPage", "provider": null } },
            { "source_id": "amy@example.com", "inbox": { "id": 1, "name": "邮箱", "channel_type": "Channel::Email" } },
            { "source_id": "U4af49806", "inbox": { "id": 2, "name": "Shop", "channel_type": "Channel::Line" } },
            { "source_id": null, "inbox": null },
            "not an object",
        ])
    }

    #[test]
    fn channels_are_a_sorted_list_of_texts_without_repeats() {
        check([
            (
                "name | channels | join('; ')",
                inboxes(),
                json!("Email: amy@example.com (邮箱); FacebookPage: 1234; Line: U4af49806 (Shop)"),
            ),
            ("name | channels('channel')", inboxes(), json!(["Email", "FacebookPage", "Line"])),
            ("name | channels('source_id')", inboxes(), json!(["1234", "U4af49806", "amy@example.com"])),
            ("name | channels('inbox')", inboxes(), json!(["Shop", "邮箱"])),
            ("name | channels('provider')", inboxes(), json!([])),
            ("name | channels", json!([]), json!([])),
            (
                "name | channels('object') | selectattr('channel', 'eq', 'Line') | map(attribute='source_id') | list",
                inboxes(),
                json!(["U4af49806"]),
            ),
        ]);
        assert!(run("name | channels", &json!("x")).is_err());
    }

    #[test]
    fn nothing_of_an_inbox_but_its_named_parts_is_ever_given() {
        for part in ["all", "channel", "source_id", "inbox", "provider", "object"] {
            let given = run(&format!("name | channels('{part}')"), &inboxes()).expect("a list").to_string();
            assert!(!given.contains("hush"), "{part}");
        }
    }
}
