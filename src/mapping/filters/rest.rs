//! The function `rest(custom_attributes)`: what no line of the mapping reads, as one text.
//!
//! Which keys are read is found when the mapping is compiled (`mapping/reads.rs`). Keys that a platform wrote
//! for itself and IP addresses stay behind unless they are asked for: they are no business of the new system.

use std::net::{Ipv4Addr, Ipv6Addr};

use minijinja::value::Value;
use serde_json::{Map, Value as Json};

use super::super::context::Attributes;
use super::super::convert::{plain, to_json};
use super::text::squeezed;
use super::{FilterError, FilterResult, Settings, arguments};

/// Keys that LiveDesk's platform writes for itself, in lower case and without what separates their words.
const SYSTEM_KEYS: [&str; 15] = [
    "initiatedat",
    "browserlanguage",
    "useragent",
    "referer",
    "referrer",
    "clientip",
    "userip",
    "remoteip",
    "lastip",
    "remoteaddr",
    "ipaddress",
    "ipaddr",
    "xforwardedfor",
    "lastavatarsyncat",
    "avatarurlhash",
];
/// Words that make the key with them one of the platform's.
const SYSTEM_WORDS: [&str; 2] = ["ip", "browser"];

/// `rest(object, system=false)`: one `key: value` per line, sorted; missing when nothing is left.
pub(super) fn rest(settings: &Settings, given: &[Value]) -> FilterResult {
    let [object, system] = arguments(given, ["object", "system"])?;
    let wrong = || FilterError::Argument(String::from("rest takes custom_attributes or additional_attributes"));
    let object = object.ok_or_else(wrong)?;
    let system = match system {
        None => false,
        Some(word) => {
            bool::try_from(word).map_err(|_| FilterError::Argument(String::from("`system` must be true or false")))?
        }
    };
    let json = to_json(&object).map_err(FilterError::Value)?;
    let used = object.downcast_object_ref::<Attributes>().and_then(|attributes| settings.used.get(attributes.name()));
    // Clients have stored JSON as text (notes LiveDesk 8); no line can have read a key of that.
    let json = match json {
        Json::String(text) => serde_json::from_str::<Map<String, Json>>(&text).map_or(Json::String(text), Json::Object),
        other => other,
    };
    let text = match json {
        Json::Object(map) => {
            let left = map.into_iter().filter(|(key, _)| !used.is_some_and(|used| used.contains(key)));
            lines(left.collect(), system)
        }
        other => carried(other, system).map(|left| text_of(&left)).unwrap_or_default(),
    };
    Ok(if text.is_empty() { Value::UNDEFINED } else { Value::from(text) })
}

fn lines(left: Map<String, Json>, system: bool) -> String {
    let mut lines: Vec<String> = Vec::with_capacity(left.len());
    for (key, value) in left {
        if !system && is_system_key(&key) {
            continue;
        }
        let text = carried(value, system).map(|value| text_of(&value)).unwrap_or_default();
        if !text.is_empty() {
            lines.push(format!("{}: {text}", squeezed(&key)));
        }
    }
    lines.sort_unstable();
    lines.join("\n")
}

/// A value on one line.
fn text_of(value: &Json) -> String {
    squeezed(&plain(value))
}

/// The value without what stays behind; `None` when nothing is left of it.
fn carried(value: Json, system: bool) -> Option<Json> {
    match value {
        Json::Null => None,
        Json::String(text) if text.trim().is_empty() => None,
        Json::String(text) if system => Some(Json::String(text)),
        Json::String(text) => match nested(&text) {
            // JSON in a text: its keys and values are judged as all others, and the text kept if nothing stays behind.
            Some(inner) => {
                let left = carried(inner.clone(), system)?;
                Some(if left == inner { Json::String(text) } else { left })
            }
            None if holds_address(&text) => None,
            None => Some(Json::String(text)),
        },
        Json::Array(items) => {
            let left: Vec<Json> = items.into_iter().filter_map(|item| carried(item, system)).collect();
            if left.is_empty() { None } else { Some(Json::Array(left)) }
        }
        Json::Object(map) => {
            let left = map.into_iter().filter(|(key, _)| system || !is_system_key(key));
            let left: Map<String, Json> =
                left.filter_map(|(key, value)| carried(value, system).map(|value| (key, value))).collect();
            if left.is_empty() { None } else { Some(Json::Object(left)) }
        }
        other => Some(other),
    }
}

/// The list or object that a text holds.
fn nested(text: &str) -> Option<Json> {
    text.trim_start().starts_with(['{', '[']).then(|| serde_json::from_str(text).ok()).flatten()
}

/// `clientIP`, `user_ip_address`, `User-Agent`: a key of the platform, however its words are put together; `ship` is none.
fn is_system_key(key: &str) -> bool {
    let mut words: Vec<String> = vec![String::new()];
    let mut small = false;
    for sign in key.chars() {
        if !sign.is_alphanumeric() || (sign.is_uppercase() && small) {
            words.push(String::new());
        }
        small = sign.is_lowercase();
        if let Some(word) = words.last_mut().filter(|_| sign.is_alphanumeric()) {
            word.extend(sign.to_lowercase());
        }
    }
    words.iter().any(|word| SYSTEM_WORDS.contains(&word.as_str())) || SYSTEM_KEYS.contains(&words.concat().as_str())
}

/// Whether an IP address stands anywhere in a text: with a port or a mask, in a list, an address of the web or a sentence.
fn holds_address(text: &str) -> bool {
    let part = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '.' | ':');
    text.split(|sign| !part(sign)).any(|token| {
        let token = token.trim_matches('.');
        let behind = token.split_once(':').map_or("", |(_, rest)| rest);
        let six = |text: &str| text.trim_end_matches('.').parse::<Ipv6Addr>().is_ok();
        six(token) || six(behind) || token.split(':').any(|part| part.trim_matches('.').parse::<Ipv4Addr>().is_ok())
    })
}
