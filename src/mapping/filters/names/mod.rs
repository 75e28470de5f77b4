//! The filters `family_name`, `given_name` and `real_name`: one rule that splits a name, or leaves it whole.
//!
//! FIRST LINE's `first_name` is the family name and is required; LiveDesk has one name. A wrong split is worse
//! than none, so a name is split only where the rule is sure: what is not split is all family name. Here is
//! what holds in every writing; `han.rs` and `latin.rs` have the rest. The whole rule is in `docs/mapping.md`.

mod clean;
mod han;
mod latin;
mod placeholder;
#[cfg(test)]
mod tests;
mod words;

use minijinja::value::Value;

pub(in crate::mapping) use clean::seen;

use self::words::{COMPANY, COMPANY_ENDS, SUFFIXES, TITLES, among, folded};
use super::{FilterError, FilterResult, Settings, arguments, scalar_text, word};

/// Signs that no name of one person has: of addresses, notes, lists of people, and kaomoji.
const NO_NAME: &str =
    "@＠#＃&＆+＋=＝/／\\|｜<>＜＞《》〈〉()（）[]［］【】「」『』〔〕{}\"“”„«»:：;；*＊_＿~～^!！?？%％$＄、。…§©®™";

/// A name in its two parts; `given` is empty when it is not split.
#[derive(Debug, PartialEq)]
struct Split {
    family: String,
    given: String,
}

/// Which part comes first.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    /// As the writing and the words tell.
    Auto,
    /// Given name first.
    Western,
    /// Family name first.
    FamilyFirst,
}

#[derive(Clone, Copy, PartialEq)]
enum Script {
    Han,
    Kana,
    Hangul,
    /// Any other one.
    Other,
    /// East Asian and other letters in one word.
    Mixed,
}

/// `family_name(order='auto' | 'western' | 'family_first')`.
pub(super) fn family_name(_: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    part(value, given, |split| split.family)
}

/// `given_name(order=...)`; missing when the name is not split.
pub(super) fn given_name(_: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    part(value, given, |split| split.given)
}

/// `real_name`: the name as it is seen; missing when it names nobody.
pub(super) fn real_name(_: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    arguments::<0>(given, [])?;
    let Some(name) = name_of(value)? else { return Ok(Value::UNDEFINED) };
    Ok(if placeholder::is_placeholder(&name) { Value::UNDEFINED } else { Value::from(name) })
}

fn part(value: &Value, given: &[Value], pick: fn(Split) -> String) -> FilterResult {
    let [order] = arguments(given, ["order"])?;
    let order = match word(order.as_ref(), "order", ["auto", "western", "family_first"])? {
        "western" => Order::Western,
        "family_first" => Order::FamilyFirst,
        _ => Order::Auto,
    };
    let Some(name) = name_of(value)? else { return Ok(Value::UNDEFINED) };
    let part = pick(split(&name, order));
    Ok(if part.is_empty() { Value::UNDEFINED } else { Value::from(part) })
}

/// The name as it is seen; `None` when nothing is.
fn name_of(value: &Value) -> Result<Option<String>, FilterError> {
    let text = scalar_text(value).map_err(|_| FilterError::Value(String::from("is not a text")))?;
    Ok(text.map(|text| seen(&text)).filter(|name| !name.is_empty()))
}

fn split(name: &str, order: Order) -> Split {
    // A picture is no part of a name that can be split, and the last thing to take from one that can not.
    let (family, given) = parts(&clean::without_pictures(name), order).unwrap_or((name.to_owned(), String::new()));
    Split { family, given }
}

fn parts(name: &str, order: Order) -> Option<(String, String)> {
    let doubtful = |sign: char| sign.is_numeric() || NO_NAME.contains(sign);
    if name.contains(doubtful) || placeholder::is_placeholder(name) {
        return None;
    }
    if name.contains([',', '，']) {
        return at_comma(name, order);
    }
    let words: Vec<&str> = name.split(' ').collect();
    match (words.as_slice(), order) {
        ([one], _) => han::full_name(one),
        _ if !words.iter().all(|word| has_letter(word)) => None,
        (_, Order::FamilyFirst) => latin::family_first(&words),
        (_, Order::Western) => latin::western(&words),
        (_, Order::Auto) => {
            let scripts: Vec<Script> = words.iter().map(|word| script(word)).collect();
            if scripts.iter().all(|script| *script == Script::Other) {
                latin::by_itself(&words)
            } else if scripts.iter().all(|script| !matches!(script, Script::Other | Script::Mixed)) {
                han::two_words(&words)
            } else {
                None // "Amy 王", "王小明 Amy": two names, or one and a note
            }
        }
    }
}

/// `Family, Given`: one comma, one writing, and no company or title after it.
fn at_comma(name: &str, order: Order) -> Option<(String, String)> {
    let (family, given) = name.split_once([',', '，'])?;
    let (family, given) = (family.trim(), given.trim());
    let more = given.contains([',', '，']);
    let listed = |list, word| among(list, &folded(word));
    let after = [SUFFIXES, COMPANY, COMPANY_ENDS];
    let title = given.split(' ').any(|word| after.iter().any(|list| listed(list, word)))
        || given.split(' ').all(|word| listed(TITLES, word));
    let western = |part: &str| part.split(' ').all(|word| script(word) == Script::Other);
    // "王小明, Amy" is a name and another one; "王小明，老師" a name and a note.
    let alike = order != Order::Auto || western(family) == western(given);
    let whole = han::full_name(family).is_some() || han::is_no_pair(family, given);
    if more || title || whole || !alike || !has_letter(family) || !has_letter(given) {
        return None;
    }
    Some((family.into(), given.into()))
}

fn script(word: &str) -> Script {
    let mut signs = word.chars().map(script_of);
    let Some(first) = signs.next() else { return Script::Other };
    signs.fold(first, |seen, next| match (seen, next) {
        _ if seen == next => seen,
        (Script::Han, Script::Kana) | (Script::Kana, Script::Han) => Script::Kana,
        _ => Script::Mixed,
    })
}

fn script_of(sign: char) -> Script {
    match u32::from(sign) {
        0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x2_0000..=0x3_FFFF | 0x3005 => Script::Han,
        0x3040..=0x30FF | 0x31F0..=0x31FF | 0xFF66..=0xFF9F => Script::Kana,
        0x1100..=0x11FF | 0xAC00..=0xD7AF => Script::Hangul,
        _ => Script::Other,
    }
}

fn has_letter(word: &str) -> bool {
    word.chars().any(char::is_alphabetic)
}
