//! The function `rest(custom_attributes)`: what no line of the mapping reads, as one text.
//!
//! Which keys are read is found when the mapping is compiled (`mapping/reads.rs`). Keys that a platform wrote
//! for itself and IP addresses stay behind unless they are asked for: they are no business of the new system.

use std::net::{IpAddr, SocketAddr};

use minijinja::value::Value;
use serde_json::{Map, Value as Json};

use super::super::context::Attributes;
use super::super::convert::{plain, to_json};
use super::text::squeezed;
use super::{FilterError, FilterResult, Settings, arguments};

/// Keys that LiveDesk's platform writes for itself, in lower case.
const SYSTEM_KEYS: [&str; 13] = [
    "initiated_at",
    "browser",
    "browser_language",
    "user_agent",
    "referer",
    "referrer",
    "ip",
    "ip_address",
    "created_at_ip",
    "updated_at_ip",
    "last_ip",
    "last_avatar_sync_at",
    "avatar_url_hash",
];

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
        Json::String(text) if text.trim().is_empty() || (!system && is_address(&text)) => None,
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

fn is_system_key(key: &str) -> bool {
    let key = key.trim().to_lowercase();
    SYSTEM_KEYS.contains(&key.as_str()) || key.ends_with("_ip")
}

/// An IP address, with or without a port, or a list of them as proxies write it.
fn is_address(text: &str) -> bool {
    let one = |part: &str| part.parse::<IpAddr>().is_ok() || part.parse::<SocketAddr>().is_ok();
    text.split([',', ' ']).filter(|part| !part.is_empty()).all(one)
}
