//! `deskferry fields`: FIRST LINE's custom fields beside the LiveDesk attributes that a sample of contacts has, and
//! mapping lines to paste. Names, types and fill rates; never a value.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::Context;
use super::output::{DONE, Failure, note, say};
use super::progress::Bar;
use crate::app::{self, Learned, gate};
use crate::domain::contact::Contact;
use crate::domain::field::{FieldDefinition, FieldKind};
use crate::sync::lookup::OLDEST_FIRST;
use crate::sync::ports::{ContactSource, ContactTarget, PageRequest, PortError};
use crate::sync::progress::Progress;

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Look at the attributes of the first N contacts
    #[arg(long, value_name = "N", default_value_t = 150)]
    sample: u32,
    /// Take FIRST LINE's fields as they are now: fields that stopped because theirs changed go on
    #[arg(long)]
    accept: bool,
}

/// How alike an attribute's and a field's names must be (Jaro-Winkler) for one to be proposed for the other.
const ALIKE: f64 = 0.88;
/// Objects whose keys are attributes of their own.
const OPENED: [&str; 2] = ["custom_attributes", "additional_attributes"];
/// Options that a line names.
const OPTIONS: usize = 12;

/// What was seen of one attribute.
#[derive(Clone, Debug, Default, PartialEq)]
struct Seen {
    types: BTreeSet<&'static str>,
    filled: u32,
    /// Hashes of the different values; the values are not kept.
    distinct: HashSet<u64>,
}

/// Attributes by the expression that reads them.
type Attributes = BTreeMap<String, Seen>;

/// Runs the command.
pub async fn run(args: Args, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load_to_connect()?;
    let bar = Arc::new(Bar::on_stderr());
    let around = context.surroundings(Arc::clone(&bar) as Arc<dyn Progress>);
    // A mapping that does not compile yet is no reason to show nothing: this is where its lines come from.
    let offline = app::compile_mapping(&loaded.settings, &loaded.mapping, None).ok();
    let inboxes = offline.is_some_and(|mapping| mapping.needs_inboxes());
    let platforms = app::connect(&loaded.settings, inboxes, &Learned::default(), &around)?;
    let read = async {
        let definitions = platforms.firstline.definitions().await?;
        let contacts = sample(platforms.livedesk.as_ref(), args.sample).await?;
        Ok::<_, PortError>((definitions, contacts))
    }
    .await;
    bar.finish();
    let (definitions, contacts) = read?;
    if args.accept {
        let store = context.open_state(&loaded.settings, "fields").await?;
        gate::accept(&definitions, &store).await?;
        store.close().await;
        note("the fields of FIRST LINE are taken as they are now");
    }
    let mapped = app::compile_mapping(&loaded.settings, &loaded.mapping, Some(&definitions))
        .map(|mapping| mapping.used_definitions())
        .unwrap_or_default();
    let stamp = loaded.settings.identity.stamp.cz_col;
    let mut attributes = Attributes::new();
    for contact in &contacts {
        look(contact, &mut attributes);
    }
    let table = Table { definitions: &definitions, attributes: &attributes, mapped, stamp, sampled: contacts.len() };
    if context.json {
        say(table.json());
    } else {
        table.lines().into_iter().for_each(say);
        note(format_args!("attributes of {} contacts were looked at; --sample N looks at more", contacts.len()));
    }
    Ok(DONE)
}

/// The first contacts of the list, page by page.
async fn sample<S: ContactSource>(source: &S, most: u32) -> Result<Vec<Contact>, PortError> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut contacts: Vec<Contact> = Vec::new();
    let mut ids = BTreeSet::new();
    for page in 1.. {
        if contacts.len() >= most {
            break;
        }
        let found = source.page(PageRequest { page, ..OLDEST_FIRST }).await?.rows;
        let before = ids.len();
        let fresh = found.into_iter().filter(|row| ids.insert(row.id));
        contacts.extend(fresh.filter_map(|row| row.contact().ok()));
        // The end, or a server that repeats itself: a sample needs no proof.
        if ids.len() == before {
            break;
        }
    }
    contacts.truncate(most);
    Ok(contacts)
}

fn look(contact: &Contact, attributes: &mut Attributes) {
    note_fields("", &contact.fields, attributes);
    for outer in OPENED {
        if let Some(Value::Object(inner)) = contact.fields.get(outer) {
            note_fields(outer, inner, attributes);
        }
    }
}

fn note_fields(outer: &str, fields: &Map<String, Value>, attributes: &mut Attributes) {
    for (key, value) in fields {
        if outer.is_empty() && OPENED.contains(&key.as_str()) {
            continue;
        }
        let seen = attributes.entry(expression(outer, key)).or_default();
        let kind = match value {
            Value::Null => continue,
            Value::Bool(_) => "boolean",
            Value::Number(_) => "number",
            Value::String(_) => "text",
            Value::Array(_) => "list",
            Value::Object(_) => "object",
        };
        let empty = match value {
            Value::String(text) => text.trim().is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            _ => false,
        };
        seen.types.insert(kind);
        seen.filled += u32::from(!empty);
        if !empty {
            let mut hasher = DefaultHasher::new();
            value.to_string().hash(&mut hasher);
            seen.distinct.insert(hasher.finish());
        }
    }
}

/// The expression that reads an attribute.
fn expression(outer: &str, key: &str) -> String {
    let plain = key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && key.chars().next().is_some_and(|first| !first.is_ascii_digit());
    match (outer, plain) {
        ("", true) => key.to_owned(),
        (outer, true) => format!("{outer}.{key}"),
        (outer, false) => {
            let outer = if outer.is_empty() { "contact" } else { outer };
            format!("{outer}['{}']", key.replace('\\', "\\\\").replace('\'', "\\'"))
        }
    }
}

/// Both sides beside each other.
struct Table<'a> {
    definitions: &'a [FieldDefinition],
    attributes: &'a Attributes,
    mapped: BTreeSet<i64>,
    stamp: Option<i64>,
    sampled: usize,
}

impl Table<'_> {
    /// What the mapping file does with a field already.
    fn use_of(&self, definition: &FieldDefinition) -> Option<&'static str> {
        if self.stamp == Some(definition.id) {
            return Some("the stamp");
        }
        self.mapped.contains(&definition.id).then_some("mapped")
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![String::from("FIRST LINE custom fields of customers:")];
        for definition in self.definitions {
            let used = self.use_of(definition).map(|used| format!(" [{used}]")).unwrap_or_default();
            lines.push(format!("  {:>6}  {}{used}", definition.id, described(definition)));
            if let Some((name, seen)) =
                self.attribute_for(definition).and_then(|name| self.attributes.get_key_value(name))
            {
                lines.push(format!("          like {name}: {}", self.seen(seen)));
            }
        }
        lines.push(format!("LiveDesk attributes in {} contacts:", self.sampled));
        for (name, seen) in self.attributes {
            lines.push(format!("  {name}  {}", self.seen(seen)));
        }
        let new: Vec<String> = self
            .definitions
            .iter()
            .filter(|definition| self.use_of(definition).is_none())
            .map(|definition| self.mapping_line(definition))
            .collect();
        if !new.is_empty() {
            lines.push(String::from("Lines for the mapping file, for fields that it does not write yet:"));
            lines.extend(new);
        }
        lines
    }

    fn json(&self) -> Value {
        let fields: Vec<Value> = self
            .definitions
            .iter()
            .map(|definition| {
                json!({
                    "id": definition.id,
                    "category": definition.category,
                    "name": definition.name,
                    "type": definition.kind.as_str(),
                    "required": definition.required,
                    "options": definition.options.iter()
                        .map(|option| json!({ "text": option.text, "value": option.value }))
                        .collect::<Vec<_>>(),
                    "use": self.use_of(definition),
                    "attribute": self.attribute_for(definition),
                    "line": self.mapping_line(definition),
                })
            })
            .collect();
        let attributes: Vec<Value> = self
            .attributes
            .iter()
            .map(|(name, seen)| json!({ "expression": name, "types": seen.types, "filled": seen.filled, "distinct": seen.distinct.len() }))
            .collect();
        json!({ "fields": fields, "attributes": attributes, "sampled": self.sampled })
    }

    /// Types, fill rate and number of different values.
    fn seen(&self, seen: &Seen) -> String {
        let types: Vec<&str> = seen.types.iter().copied().collect();
        let types = if types.is_empty() { String::from("always null") } else { types.join(" or ") };
        let different = match seen.distinct.len() {
            0 => String::new(),
            1 => String::from(", 1 value"),
            many => format!(", {many} different values"),
        };
        format!("{types}, filled in {}{different}", self.rate(seen))
    }

    fn rate(&self, seen: &Seen) -> String {
        let percent = (u64::from(seen.filled) * 100).checked_div(self.sampled as u64).unwrap_or(0);
        if percent == 0 && seen.filled > 0 { String::from("under 1 %") } else { format!("{percent} %") }
    }

    /// The attribute whose name is most like the field's.
    fn attribute_for(&self, definition: &FieldDefinition) -> Option<&str> {
        let wanted = plain(&definition.name);
        let scored = self.attributes.keys().map(|name| {
            let own =
                name.rsplit(['.', '\'', '[']).find(|part| part.chars().any(char::is_alphanumeric)).unwrap_or(name);
            (strsim::jaro_winkler(&plain(own), &wanted), name.as_str())
        });
        let (score, best) = scored.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
        (score >= ALIKE).then_some(best)
    }

    fn mapping_line(&self, definition: &FieldDefinition) -> String {
        let filter = match definition.kind {
            FieldKind::Number => " | number",
            FieldKind::Boolean => " | boolean",
            FieldKind::Date => " | date",
            FieldKind::Time => " | time",
            FieldKind::DateTime => " | datetime",
            FieldKind::Text | FieldKind::SingleChoice | FieldKind::MultipleChoice => "",
        };
        let head = format!("[[cz_cols]]\nid = {} # {}\n", definition.id, described(definition));
        if let Some(attribute) = self.attribute_for(definition) {
            return format!("{head}value = {}\n", json!(format!("{attribute}{filter}")));
        }
        // Commented out: a line that guesses would be worse than none.
        format!("# {}value = \"custom_attributes.?{filter}\"\n", head.replace('\n', "\n# "))
    }
}

/// `Category / Name, type: options`, on one line.
fn described(definition: &FieldDefinition) -> String {
    let options: Vec<String> = definition
        .options
        .iter()
        .take(OPTIONS)
        .map(|option| option.value.as_str().map_or_else(|| option.value.to_string(), str::to_owned))
        .collect();
    let more = if definition.options.len() > OPTIONS { ", ..." } else { "" };
    let options = if options.is_empty() { String::new() } else { format!(": {}{more}", options.join(", ")) };
    let required = if definition.required { ", required" } else { "" };
    let text =
        format!("{} / {}, {}{required}{options}", definition.category, definition.name, definition.kind.as_str());
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::LiveDeskId;

    fn contact(fields: Value) -> Contact {
        let Value::Object(fields) = fields else { panic!("an object") };
        Contact { id: LiveDeskId(1), created_at: None, last_activity_at: None, fields }
    }

    fn definition(id: i64, name: &str, kind: FieldKind) -> FieldDefinition {
        let category = String::from("Form");
        FieldDefinition {
            id,
            category_id: 1,
            category,
            name: name.to_owned(),
            kind,
            required: false,
            options: Vec::new(),
            default: None,
        }
    }

    #[test]
    fn attributes_are_shown_by_name_type_and_rate_and_never_by_value() {
        let mut attributes = Attributes::new();
        look(
            &contact(json!({ "name": "Secret", "custom_attributes": { "vip level": "x", "points": 1 } })),
            &mut attributes,
        );
        look(&contact(json!({ "name": " ", "custom_attributes": { "points": "2" } })), &mut attributes);
        let definitions = [definition(1, "Points", FieldKind::Number), definition(2, "Town", FieldKind::Text)];
        let table = Table {
            definitions: &definitions,
            attributes: &attributes,
            mapped: BTreeSet::new(),
            stamp: None,
            sampled: 2,
        };
        let text = table.lines().join("\n");
        assert!(text.contains("name  text, filled in 50 %, 1 value"), "{text}");
        assert!(
            text.contains("like custom_attributes.points: number or text, filled in 100 %, 2 different values"),
            "{text}"
        );
        assert!(text.contains("custom_attributes.points  number or text, filled in 100 %"), "{text}");
        assert!(text.contains("custom_attributes['vip level']"), "{text}");
        assert!(
            text.contains("id = 1 # Form / Points, number\nvalue = \"custom_attributes.points | number\""),
            "{text}"
        );
        assert!(text.contains("# id = 2"), "{text}");
        assert!(!text.contains("Secret"));
    }
}
