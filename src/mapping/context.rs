//! A contact as expressions see it.
//!
//! A missing key and a null are the same, *undefined*, however deep: only so do `default(...)`, `~` and the text
//! filters do what they say (minijinja writes null as the text `none`). Only keys that some expression reads are
//! converted, once per contact.

use std::sync::Arc;

use minijinja::State;
use minijinja::value::{Enumerator, Object, Value};
use serde_json::{Map, Value as Json};

use super::filters::Settings;
use super::reads::OBJECTS;

/// The name under which the whole row is visible.
pub(super) const WHOLE_ROW: &str = "contact";
/// The key of the row that is only there when it was asked for.
pub(super) const INBOXES: &str = "contact_inboxes";
/// The name under which filters find their settings; no expression can spell it.
const SETTINGS: &str = "\0settings";
/// The name that says whether the row has its inboxes.
const HAS_INBOXES: &str = "\0inboxes";

/// What filters need to know of this mapping.
pub(super) fn settings(state: &State<'_, '_>) -> Arc<Settings> {
    state.lookup(SETTINGS).and_then(|value| value.downcast_object::<Settings>()).unwrap_or_default()
}

/// Whether the row of a view has its inboxes: where it has not, they are unknown, not none.
pub(super) fn has_inboxes(view: &Value) -> bool {
    view.get_attr(HAS_INBOXES).is_ok_and(|has| has.is_true())
}

/// A contact as expressions see it: only the keys that some expression reads are converted.
#[derive(Debug)]
struct View {
    names: Arc<[String]>,
    values: Vec<Value>,
    settings: Arc<Settings>,
    has_inboxes: bool,
}

impl Object for View {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.get_value_by_str(key.as_str()?)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        if key == SETTINGS {
            return Some(Value::from_dyn_object(Arc::clone(&self.settings)));
        }
        if key == HAS_INBOXES {
            return Some(Value::from(self.has_inboxes));
        }
        let at = self.names.iter().position(|name| name == key)?;
        Some(self.values[at].clone())
    }
}

/// The evaluation context of one contact, shared by all expressions.
pub(super) fn view(row: &Map<String, Json>, names: &Arc<[String]>, settings: &Arc<Settings>) -> Value {
    let values = names.iter().map(|name| match name.as_str() {
        WHOLE_ROW => from_map(row),
        key => row.get(key).map_or(Value::UNDEFINED, |json| attributes(key, json)),
    });
    let has_inboxes = row.get(INBOXES).is_some_and(|inboxes| !inboxes.is_null());
    let (values, names, settings) = (values.collect(), Arc::clone(names), Arc::clone(settings));
    Value::from_object(View { names, values, settings, has_inboxes })
}

/// An object of attributes, which knows its name: `rest(...)` must know whose rest is meant.
#[derive(Debug)]
pub(super) struct Attributes {
    name: &'static str,
    values: Value,
}

impl Attributes {
    /// Its key in the row.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }
}

impl Object for Attributes {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.values.get_item(key).ok().filter(|value| !value.is_undefined())
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.values.try_iter().map_or(Enumerator::NonEnumerable, |keys| Enumerator::Values(keys.collect()))
    }
}

fn attributes(key: &str, json: &Json) -> Value {
    match (json, OBJECTS.into_iter().find(|object| *object == key)) {
        (Json::Object(map), Some(name)) => Value::from_object(Attributes { name, values: from_map(map) }),
        _ => from_json(json),
    }
}

/// A JSON value as expressions see it: null is undefined.
pub(super) fn from_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::UNDEFINED,
        Json::Bool(yes) => Value::from(*yes),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(int), _) => Value::from(int),
            (None, Some(int)) => Value::from(int),
            (None, None) => number.as_f64().map_or(Value::UNDEFINED, Value::from),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(from_json).collect(),
        Json::Object(map) => from_map(map),
    }
}

fn from_map(map: &Map<String, Json>) -> Value {
    let known = map.iter().filter(|(_, value)| !value.is_null());
    Value::from_pairs(known.map(|(key, value)| (key.as_str(), from_json(value))))
}
