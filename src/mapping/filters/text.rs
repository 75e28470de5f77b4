//! Filters for plain values: `number`, `boolean`, `digits`, `squeeze`, `truncate_text`, `email_name`.
//!
//! The readers of numbers and yes/no are also what a field's own type uses (`mapping/convert.rs`).

use minijinja::value::{Value, ValueKind};
use serde_json::{Number, Value as Json};
use unicode_normalization::UnicodeNormalization;
use unicode_segmentation::UnicodeSegmentation;

use super::super::context::from_json;
use super::{FilterError, FilterResult, Settings, arguments, scalar_text, word};

/// Digits that a float keeps exactly.
const EXACT_DIGITS: usize = 15;

/// Reads `12`, `-4`, `3.50`: plain decimal forms and no other, so that nothing is guessed.
pub(in crate::mapping) fn read_number(text: &str) -> Result<Number, &'static str> {
    const NOT_A_NUMBER: &str = "is not a plain number; the filter `number` reads other forms";

    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) {
        return Err(NOT_A_NUMBER);
    }
    let text = text.strip_prefix('+').unwrap_or(text);
    if !text.contains('.') {
        let int = text.parse::<i64>().map(Number::from).or_else(|_| text.parse::<u64>().map(Number::from));
        return int.map_err(|_| "has more digits than a number can hold");
    }
    if whole.trim_start_matches('0').len() + fraction.trim_end_matches('0').len() > EXACT_DIGITS {
        return Err("has more digits than a number can hold");
    }
    text.parse().ok().and_then(Number::from_f64).ok_or(NOT_A_NUMBER)
}

/// Reads yes and no in the spellings that people and forms use.
pub(in crate::mapping) fn read_boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "yes" | "y" | "1" | "on" | "是" => Some(true),
        "false" | "no" | "n" | "0" | "off" | "否" => Some(false),
        _ => None,
    }
}

/// `number(decimal='.')`: reads full-width digits, thousands separators, spaces and a currency sign.
pub(super) fn number(_: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    let [decimal] = arguments(given, ["decimal"])?;
    let decimal = word(decimal.as_ref(), "decimal", [".", ","])?;
    if value.kind() == ValueKind::Number {
        return Ok(value.clone());
    }
    let not_a_number = || FilterError::Value(String::from("is not a number"));
    if value.kind() == ValueKind::Bool {
        return Err(not_a_number());
    }
    let Some(text) = scalar_text(value)? else { return Ok(Value::UNDEFINED) };
    let folded: String = text.nfkc().filter(|sign| !sign.is_whitespace()).collect();
    let bare = folded.trim_start_matches("NT").trim_start_matches(['$', '€', '¥', '£']);
    let (thousands, point) = if decimal == "." { (',', '.') } else { ('.', ',') };
    let (whole, fraction) = bare.split_once(point).map_or((bare, None), |(whole, part)| (whole, Some(part)));
    let groups: Vec<&str> = whole.split(thousands).collect();
    // 1,23 is no thousand: it is another decimal sign, and guessing would be wrong by a factor of a hundred.
    let grouped = groups.len() == 1
        || (groups[1..].iter().all(|group| group.len() == 3)
            && (1..=3).contains(&groups[0].trim_start_matches('-').len()));
    if !grouped {
        return Err(not_a_number());
    }
    let plain = fraction.map_or_else(|| groups.concat(), |part| format!("{}.{part}", groups.concat()));
    let number = read_number(&plain).map_err(|_| not_a_number())?;
    Ok(from_json(&Json::Number(number)))
}

/// `boolean`: true and false, 1 and 0, yes and no, on and off, 是 and 否.
pub(super) fn boolean(_: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    arguments::<0>(given, [])?;
    let Some(text) = scalar_text(value)? else { return Ok(Value::UNDEFINED) };
    read_boolean(&text).map(Value::from).ok_or_else(|| FilterError::Value(String::from("is neither yes nor no")))
}

/// `digits`: only the digits, full-width ones made plain.
pub(super) fn digits(_: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    arguments::<0>(given, [])?;
    let Some(text) = scalar_text(value)? else { return Ok(Value::UNDEFINED) };
    Ok(Value::from(text.nfkc().filter(char::is_ascii_digit).collect::<String>()))
}

/// `squeeze`: trimmed, and every run of white space made one space.
pub(super) fn squeeze(_: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    arguments::<0>(given, [])?;
    let Some(text) = scalar_text(value)? else { return Ok(Value::UNDEFINED) };
    Ok(Value::from(squeezed(&text)))
}

/// White space trimmed and made single.
pub(super) fn squeezed(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `truncate_text(length)`: at most so many characters, never cutting one in two.
pub(super) fn truncate_text(_: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    let [length] = arguments(given, ["length"])?;
    let length = length
        .and_then(|length| length.as_usize())
        .filter(|length| *length > 0)
        .ok_or_else(|| FilterError::Argument(String::from("truncate_text needs a length, as in truncate_text(100)")))?;
    let Some(text) = scalar_text(value)? else { return Ok(Value::UNDEFINED) };
    Ok(Value::from(cut(&text, length)))
}

/// The longest beginning of `text` that has at most `length` code points and ends between two characters as
/// people see them.
pub(in crate::mapping) fn cut(text: &str, length: usize) -> &str {
    let mut used = 0;
    for (at, cluster) in text.grapheme_indices(true) {
        used += cluster.chars().count();
        if used > length {
            return &text[..at];
        }
    }
    text
}

/// `email_name`: what stands before the @.
pub(super) fn email_name(_: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    arguments::<0>(given, [])?;
    let Some(text) = scalar_text(value)? else { return Ok(Value::UNDEFINED) };
    Ok(text
        .split_once('@')
        .filter(|(name, _)| !name.is_empty())
        .map_or(Value::UNDEFINED, |(name, _)| Value::from(name)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{check, run};
    use super::{cut, read_number};

    #[test]
    fn plain_numbers_are_read_exactly_and_no_others() {
        for (text, expected) in [
            ("12", json!(12)),
            ("-4", json!(-4)),
            ("+7", json!(7)),
            ("007", json!(7)),
            ("3.50", json!(3.5)),
            ("9007199254740993", json!(9_007_199_254_740_993_i64)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
        ] {
            assert_eq!(read_number(text).map(serde_json::Value::from), Ok(expected), "{text}");
        }
        for text in [
            "",
            "1,234",
            "1e5",
            "0x1f",
            ".5",
            "5.",
            "--1",
            "1 2",
            "NaN",
            "inf",
            "１２",
            "99999999999999999999",
            "0.1234567890123456",
        ] {
            assert!(read_number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_number_filter_reads_what_people_write() {
        check([
            ("name | number", json!("1,234"), json!(1234)),
            ("name | number", json!("NT$ 1,234.50"), json!(1234.5)),
            ("name | number", json!("１２"), json!(12)),
            ("name | number(decimal=',')", json!("1.234,5"), json!(1234.5)),
            ("name | number", json!(3.5), json!(3.5)),
            ("name | number", json!(""), json!(null)),
        ]);
        for input in [json!("1,23"), json!("twelve"), json!(true), json!([1])] {
            assert!(run("name | number", &input).is_err(), "{input}");
        }
    }

    #[test]
    fn the_other_text_filters_do_what_they_say() {
        check([
            ("name | boolean", json!("Yes"), json!(true)),
            ("name | boolean", json!(0), json!(false)),
            ("name | boolean", json!("否"), json!(false)),
            ("name | digits", json!("(02) 2345-６７"), json!("02234567")),
            ("name | squeeze", json!("  a \t b\n c "), json!("a b c")),
            ("name | truncate_text(2)", json!("abc"), json!("ab")),
            ("name | email_name", json!("amy.lin@example.com"), json!("amy.lin")),
            ("name | email_name", json!("@x"), json!(null)),
        ]);
        assert!(run("name | boolean", &json!("maybe")).is_err());
    }

    #[test]
    fn a_cut_never_splits_a_character() {
        assert_eq!(cut("a👨‍👩‍👧b", 3), "a");
        assert_eq!(cut("a👨‍👩‍👧b", 6), "a👨‍👩‍👧");
        assert_eq!(cut("abc", 3), "abc");
    }
}
