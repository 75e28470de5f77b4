//! From the value of an expression to the typed value of its target field.
//!
//! Exact or not at all: nothing is rounded, guessed or cut without a word. A problem is said without the value.

use minijinja::value::{Value, ValueKind};
use serde_json::{Number, Value as Json};

use super::filters::Settings;
use super::filters::date::Moment;
use super::filters::names::seen;
use super::filters::text::{cut, read_boolean, read_number};
use super::spec::Translation;
use super::target::TargetKind;
use crate::domain::field::{ChoiceOption, FieldKind};
use crate::domain::record::{Desired, FieldValue};

/// Characters that a standard text field is trusted to hold (Laravel's usual column; notes FIRST LINE 3.2: unknown).
pub(super) const LINE_LENGTH: usize = 255;
/// Characters that a text of a custom field may have, unless its line says another `max`: what FIRST LINE holds is
/// unknown, and nobody reads more in a form.
pub(super) const TEXT_LENGTH: usize = 2000;
/// The smallest `max`: the mark of a cut needs room, and something before it.
pub(super) const SHORTEST_MAX: usize = 100;

/// A converted value, and a remark when it is not quite what the source holds.
#[derive(Debug, PartialEq)]
pub(super) struct Converted {
    /// The typed value; never *unknown*.
    pub(super) value: Desired<FieldValue>,
    /// A warning without the value.
    pub(super) remark: Option<String>,
}

type Problem = String;

/// Converts `value` for a field of `kind`.
pub(super) fn convert(
    value: &Value,
    kind: &TargetKind,
    translation: &Translation,
    settings: &Settings,
) -> Result<Converted, Problem> {
    let json = translate(to_json(value)?, translation);
    let mut remark = None;
    let value = match kind {
        TargetKind::Line => one_line(&json).map(|text| {
            let (kept, cut) = line(&text);
            remark = cut;
            FieldValue::Text(kept)
        }),
        TargetKind::WholeLine => match one_line(&json) {
            Some(text) if line(&text).1.is_some() => {
                return Err(format!("is longer than {LINE_LENGTH} characters, and cut it would be another one"));
            }
            text => text.map(FieldValue::Text),
        },
        TargetKind::Gender => gender(&json)?,
        TargetKind::Untyped => untyped(&json)?,
        TargetKind::Custom(FieldKind::Text, _) => text(&json).map(FieldValue::Text),
        TargetKind::Custom(FieldKind::MultipleChoice, options) => choices(&json, options)?,
        TargetKind::Custom(kind, options) => match scalar(&json)? {
            None => None,
            Some(text) => Some(typed(*kind, &json, &text, options, settings)?),
        },
    };
    let value = value.map_or(Desired::Empty, Desired::Value);
    Ok(Converted { value, remark })
}

/// A text as a standard field holds it: what is too long ends in `…`, with a remark.
pub(super) fn line(text: &str) -> (String, Option<Problem>) {
    if cut(text, LINE_LENGTH).len() == text.len() {
        return (text.to_owned(), None);
    }
    let kept = cut(text, LINE_LENGTH - 1).trim_end();
    (format!("{kept}…"), Some(format!("was cut to {LINE_LENGTH} characters")))
}

/// A text of at most `max` characters, with a mark at its end that says how many are missing.
pub(super) fn limited(converted: Converted, max: usize) -> Converted {
    let Converted { value: Desired::Value(FieldValue::Text(text)), .. } = &converted else { return converted };
    let length = if text.len() <= max { 0 } else { text.chars().count() };
    if length <= max {
        return converted;
    }
    let mark = |missing: usize| format!("… [cut, {} more characters]", grouped(missing));
    let kept = cut(text, max.saturating_sub(mark(length).chars().count())).trim_end();
    let text = format!("{kept}{}", mark(length - kept.chars().count()));
    let remark = Some(format!("was cut to {} characters", grouped(max)));
    Converted { value: Desired::Value(FieldValue::Text(text)), remark }
}

/// `12,345`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A non-blank scalar as the typed value of a kind that takes one.
fn typed(
    kind: FieldKind,
    json: &Json,
    text: &str,
    options: &[ChoiceOption],
    settings: &Settings,
) -> Result<FieldValue, Problem> {
    let moment = || match json {
        Json::String(_) => Moment::read(text),
        _ => Err("is not a text; the filters `date`, `time`, `datetime` and `epoch` read numbers"),
    };
    Ok(match kind {
        FieldKind::Number => match json {
            Json::Number(number) => FieldValue::Number(number.clone()),
            Json::Bool(_) => return Err(String::from("is yes or no, not a number")),
            _ => FieldValue::Number(read_number(text)?),
        },
        FieldKind::Boolean => FieldValue::Boolean(read_boolean(text).ok_or("is neither yes nor no")?),
        FieldKind::Date => FieldValue::Date(moment()?.date(&settings.zone)?),
        FieldKind::Time => FieldValue::Time(moment()?.time(&settings.zone)?),
        FieldKind::DateTime => FieldValue::DateTime(moment()?.date_time(&settings.zone)?),
        FieldKind::SingleChoice => FieldValue::Choice(option(text, options)?),
        FieldKind::Text => FieldValue::Text(text.to_owned()),
        FieldKind::MultipleChoice => FieldValue::Choices(vec![option(text, options)?]),
    })
}

/// The expression's result as JSON, with integers exact.
pub(super) fn to_json(value: &Value) -> Result<Json, Problem> {
    const UNUSABLE: &str = "is not a value that a field can hold";

    match value.kind() {
        ValueKind::Undefined | ValueKind::None => return Ok(Json::Null),
        ValueKind::String => return Ok(Json::from(value.as_str().unwrap_or_default())),
        ValueKind::Bool => return Ok(Json::Bool(value.is_true())),
        ValueKind::Number if !value.is_integer() => {
            let float = f64::try_from(value.clone()).map_err(|_| UNUSABLE)?;
            return Ok(Number::from_f64(float).map(Json::Number).ok_or(UNUSABLE)?);
        }
        _ => {}
    }
    serde_json::to_value(value).map_err(|_| String::from(UNUSABLE))
}

fn translate(json: Json, translation: &Translation) -> Json {
    if translation.is_empty() {
        return json;
    }
    match json {
        Json::Array(items) => items.into_iter().map(|item| translate(item, translation)).collect(),
        Json::Object(_) | Json::Null => json,
        scalar => {
            let word = plain(&scalar);
            let word = word.trim();
            let folded = word.to_lowercase();
            let mut alike = translation.iter().filter(|(key, _)| key.to_lowercase() == folded);
            let found = translation.get(word).or_else(|| {
                let one = alike.next();
                if alike.next().is_some() { None } else { one.map(|(_, value)| value) }
            });
            match (found, &scalar) {
                (Some(found), _) => found.clone(),
                // "a, b" for a multiple choice: each part may have its own translation.
                (None, Json::String(text)) if text.contains(SEPARATORS) => {
                    let parts: Vec<&str> = text.split(SEPARATORS).map(str::trim).collect();
                    let known = |part: &&str| translation.keys().any(|key| key.eq_ignore_ascii_case(part));
                    if parts.iter().any(known) { translate(Json::from(parts), translation) } else { scalar }
                }
                (None, _) => scalar,
            }
        }
    }
}

/// What separates several values in one text.
const SEPARATORS: [char; 5] = [',', ';', '，', '；', '、'];

/// A scalar as text: whole numbers without a point, yes and no as `true` and `false`.
pub(super) fn plain(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        Json::Number(_) => FieldValue::Choice(json.clone()).canonical(),
        other => other.to_string(),
    }
}

fn is_word(value: &Json, word: &str) -> bool {
    value.as_str().map_or_else(|| plain(value) == word, |text| text == word)
}

/// Control characters out, line ends plain, ends trimmed; `None` when nothing is left.
fn text(json: &Json) -> Option<String> {
    let raw = match json {
        Json::Null => return None,
        Json::Array(items) if items.is_empty() => return None,
        Json::Object(map) if map.is_empty() => return None,
        other => plain(other),
    };
    if !raw.contains(char::is_control) {
        let trimmed = raw.trim();
        return if trimmed.is_empty() { None } else { Some(trimmed.to_owned()) };
    }
    let kept: String =
        raw.replace("\r\n", "\n").chars().filter(|sign| !sign.is_control() || matches!(sign, '\n' | '\t')).collect();
    let trimmed = kept.trim();
    if trimmed.is_empty() { None } else { Some(trimmed.to_owned()) }
}

fn one_line(json: &Json) -> Option<String> {
    // A name of zero-width signs alone is not seen by anybody: it is none.
    let text = text(json).filter(|text| !seen(text).is_empty())?;
    if text.contains(['\n', '\t']) { Some(text.replace(['\n', '\t'], " ")) } else { Some(text) }
}

/// The text of a scalar; `None` when blank; lists and objects are a problem.
fn scalar(json: &Json) -> Result<Option<String>, Problem> {
    match json {
        Json::Array(items) if items.is_empty() => Ok(None),
        Json::Array(_) => Err(String::from("is a list, but the field holds one value")),
        Json::Object(_) => Err(String::from("is an object, but the field holds one value")),
        other => Ok(text(other)),
    }
}

fn gender(json: &Json) -> Result<Option<FieldValue>, Problem> {
    match scalar(json)?.as_deref() {
        None => Ok(None),
        Some("0") => Ok(Some(FieldValue::Number(0.into()))),
        Some("1") => Ok(Some(FieldValue::Number(1.into()))),
        Some(_) => Err(String::from("is neither 0 nor 1; translate it with `options`")),
    }
}

/// Without a definition the value keeps the shape it has.
fn untyped(json: &Json) -> Result<Option<FieldValue>, Problem> {
    Ok(match json {
        Json::Bool(yes) => Some(FieldValue::Boolean(*yes)),
        Json::Number(number) => Some(FieldValue::Number(number.clone())),
        Json::Array(items) if items.is_empty() => None,
        Json::Array(items) if items.iter().all(|item| item.is_string() || item.is_number()) => {
            Some(FieldValue::Choices(items.clone()))
        }
        Json::Array(_) => return Err(String::from("is a list of things that are no options")),
        other => text(other).map(FieldValue::Text),
    })
}

fn choices(json: &Json, options: &[ChoiceOption]) -> Result<Option<FieldValue>, Problem> {
    let words: Vec<String> = match json {
        Json::Array(items) => items.iter().map(scalar).collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect(),
        other => match scalar(other)? {
            None => Vec::new(),
            // An option may hold a comma itself, so the whole text is tried first.
            Some(whole) if option(&whole, options).is_ok() => vec![whole],
            // Clients have stored JSON as text (notes LiveDesk 8).
            Some(whole) if whole.starts_with('[') => match serde_json::from_str::<Json>(&whole) {
                Ok(list @ Json::Array(_)) => return choices(&list, options),
                _ => vec![whole],
            },
            Some(whole) => {
                whole.split(SEPARATORS).map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
            }
        },
    };
    let mut chosen: Vec<Json> = Vec::with_capacity(words.len());
    for word in &words {
        let value = option(word, options)?;
        if !chosen.contains(&value) {
            chosen.push(value);
        }
    }
    Ok(if chosen.is_empty() { None } else { Some(FieldValue::Choices(chosen)) })
}

/// The option that `word` means: its value, its text, or either in another case if that leaves one only.
pub(super) fn option(word: &str, options: &[ChoiceOption]) -> Result<Json, &'static str> {
    let word = word.trim();
    let by_value = options.iter().find(|option| is_word(&option.value, word));
    if let Some(option) = by_value {
        return Ok(option.value.clone());
    }
    let mut by_text = options.iter().filter(|option| option.text.trim() == word);
    match (by_text.next(), by_text.next()) {
        (Some(option), None) => return Ok(option.value.clone()),
        (Some(_), Some(_)) => return Err("is the text of more than one option"),
        (None, _) => {}
    }
    let folded = word.to_lowercase();
    let mut alike = options
        .iter()
        .filter(|option| plain(&option.value).to_lowercase() == folded || option.text.trim().to_lowercase() == folded);
    match (alike.next(), alike.next()) {
        (Some(option), None) => Ok(option.value.clone()),
        (Some(_), Some(_)) => Err("fits more than one option when its case is ignored"),
        (None, _) => Err("is none of the field's options"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::{Converted, TEXT_LENGTH, grouped, limited};
    use crate::domain::record::{Desired, FieldValue};
    use crate::mapping::compile::testing::{compile, definitions};

    fn cut(text: &str, max: usize) -> (String, Option<String>) {
        let value = Desired::Value(FieldValue::Text(text.to_owned()));
        match limited(Converted { value, remark: None }, max) {
            Converted { value: Desired::Value(FieldValue::Text(text)), remark } => (text, remark),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_long_text_is_cut_with_a_mark_that_says_how_much_is_missing() {
        assert_eq!(cut(&"字".repeat(TEXT_LENGTH), TEXT_LENGTH), ("字".repeat(TEXT_LENGTH), None));
        let (text, remark) = cut(&"字".repeat(7_282), TEXT_LENGTH);
        assert!(text.ends_with("字… [cut, 5,312 more characters]"), "{text}");
        assert_eq!((text.chars().count(), remark.as_deref()), (TEXT_LENGTH, Some("was cut to 2,000 characters")));
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn a_name_that_nobody_sees_is_no_name() {
        for hidden in ["\u{200B}\u{2060}", "\u{3164}", " \u{FEFF} "] {
            assert_eq!(super::one_line(&json!(hidden)), None);
        }
        assert_eq!(
            super::one_line(&json!("Amy\u{200B} Lin")).as_deref(),
            Some("Amy\u{200B} Lin"),
            "else it is as it is"
        );
    }

    #[test]
    fn a_line_may_say_its_own_limit_if_its_field_is_a_text() {
        let definitions = definitions();
        let with = |column: Json, definitions| {
            compile(json!({ "contact": { "first_name": "name" }, "cz_cols": [column] }), definitions)
                .map_err(|problems| problems[0].to_string())
        };
        let version = |column| with(column, Some(&definitions)).expect("compiles").version().to_owned();
        assert_ne!(
            version(json!({ "id": 40, "value": "name" })),
            version(json!({ "id": 40, "value": "name", "max": 500 }))
        );
        assert_eq!(
            with(json!({ "id": 33, "value": "id", "max": 500 }), Some(&definitions)).map(|_| ()),
            Err(String::from("cz_cols[0]: `max` is for texts, and cz_col 33 is a number"))
        );
        assert_eq!(
            with(json!({ "id": 40, "value": "name", "max": 5 }), None).map(|_| ()),
            Err(String::from(
                "cz_cols[0]: `max = 5` leaves no room for the mark of a cut; write 100 or more; the filter truncate_text cuts shorter, without a mark"
            ))
        );
    }

    proptest! {
        #[test]
        fn a_cut_text_fits_and_is_a_beginning_of_the_whole(text in "\\PC{0,400}", max in 100_usize..300) {
            let (kept, remark) = cut(&text, max);
            prop_assert!(kept.chars().count() <= max);
            if remark.is_none() {
                prop_assert_eq!(kept, text);
            } else {
                let (beginning, missing) = kept.rsplit_once("… [cut, ").expect("a mark");
                prop_assert!(text.starts_with(beginning));
                let missing: usize = missing.split(' ').next().and_then(|digits| digits.parse().ok()).expect("a number");
                prop_assert_eq!(beginning.chars().count() + missing, text.chars().count());
            }
        }
    }
}
