//! The `phone` filter: a number in the form that the target wants.
//!
//! Only a text that is one number, and nothing else but an extension, is read as one; a doubtful one is left to `invalid`.

use minijinja::value::Value;

use super::names::seen;
use super::{FilterError, FilterResult, Settings, arguments, scalar_text, word};
use crate::domain::phone::{Country, Phone};

/// What announces an extension, in small letters; the longer before what they contain.
const EXTENSION: [&str; 10] = ["extension", "分機", "分机", "內線", "内线", "ext.", "ext", "轉", "#", "x"];
/// Digits that an extension has at most.
const EXTENSION_DIGITS: usize = 5;

/// `phone(country, form='e164' | 'national' | 'as_is', invalid='error' | 'keep' | 'drop', extension='keep' | 'drop')`.
pub(super) fn phone(settings: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    let [country, form, invalid, extension] = arguments(given, ["country", "form", "invalid", "extension"])?;
    let home = match country {
        None => settings.country,
        Some(code) => code.as_str().and_then(Country::parse).ok_or_else(|| {
            FilterError::Argument(String::from("`country` must be an ISO code of two letters, as in 'TW'"))
        })?,
    };
    let form = word(form.as_ref(), "form", ["e164", "national", "as_is"])?;
    let invalid = word(invalid.as_ref(), "invalid", ["error", "keep", "drop"])?;
    let keep_extension = word(extension.as_ref(), "extension", ["keep", "drop"])? == "keep";
    let Some(text) = scalar_text(value)? else { return Ok(Value::UNDEFINED) };
    let Some((phone, extension)) = read(&text, home) else {
        return match invalid {
            "keep" => Ok(Value::from(text)),
            "drop" => Ok(Value::UNDEFINED),
            _ => Err(FilterError::Value(String::from("is not a possible phone number"))),
        };
    };
    let number = match form {
        "as_is" => return Ok(Value::from(text)),
        // A foreign number in its own national form would be dialled as one of ours.
        "national" if phone.belongs_to(home) => national(&phone, home),
        _ => phone.e164(),
    };
    Ok(Value::from(match extension {
        Some(extension) if keep_extension => format!("{number}#{extension}"),
        _ => number,
    }))
}

/// The national form, if it can be told from every other number: some are dialled without the prefix that tells it.
fn national(phone: &Phone, home: Country) -> String {
    let (national, e164) = (phone.national_digits(), phone.e164());
    if Phone::parse(&national, home).is_some_and(|read| read.e164() == e164) { national } else { e164 }
}

/// The number that the whole of `text` is, and its extension.
fn read(text: &str, home: Country) -> Option<(Phone, Option<String>)> {
    // Phones and spreadsheets put marks around a number that nobody sees.
    let seen = seen(text).to_lowercase();
    let (number, extension) = split_extension(&seen)?;
    Phone::parse(number, home).map(|phone| (phone, extension))
}

/// A number and its extension, when it has one; `None` when what follows the word is no extension.
fn split_extension(text: &str) -> Option<(&str, Option<String>)> {
    let found = EXTENSION.iter().filter_map(|word| text.split_once(word)).min_by_key(|(number, _)| number.len());
    let Some((number, extension)) = found else { return Some((text, None)) };
    let extension = EXTENSION.iter().find_map(|word| extension.strip_prefix(word)).unwrap_or(extension);
    let extension = extension.trim_matches(|sign: char| sign.is_whitespace() || ".:：)）".contains(sign));
    let plain =
        (1..=EXTENSION_DIGITS).contains(&extension.len()) && extension.bytes().all(|byte| byte.is_ascii_digit());
    let number = number.trim_end_matches(|sign: char| sign.is_whitespace() || ",，;(（".contains(sign));
    if plain { Some((number, Some(extension.to_owned()))) } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::testing::{check, run};

    #[test]
    fn a_number_gets_the_form_that_is_asked_for() {
        check([
            ("name | phone", json!("0912-345-678"), json!("+886912345678")),
            ("name | phone('TW')", json!("+886912345678"), json!("+886912345678")),
            ("name | phone('TW')", json!(886_912_345_678_i64), json!("+886912345678")),
            ("name | phone('TW', form='national')", json!("+886 912 345 678"), json!("0912345678")),
            ("name | phone('TW', form='national')", json!("+819012345678"), json!("+819012345678")),
            ("name | phone('JP', 'national')", json!("+819012345678"), json!("09012345678")),
            ("name | phone('TW', form='as_is')", json!(" 0912-345-678 "), json!("0912-345-678")),
            ("name | phone('TW', invalid='keep')", json!("+123456789"), json!("+123456789")),
            ("name | phone('TW', invalid='drop')", json!("none"), json!(null)),
            ("name | phone", json!(" "), json!(null)),
        ]);
    }

    #[test]
    fn what_is_no_number_is_an_error_that_does_not_quote_it() {
        for input in [json!("+123456789"), json!("call me"), json!("12"), json!(true)] {
            assert_eq!(run("name | phone", &input), Err(String::from("is not a possible phone number")));
        }
    }

    #[test]
    fn an_extension_is_kept_behind_the_number_or_left_out() {
        check([
            ("name | phone", json!("02-2345-6789 分機 12"), json!("+886223456789#12")),
            ("name | phone(extension='drop')", json!("02-2345-6789 #12"), json!("+886223456789")),
            ("name | phone(form='national')", json!("02-2345-6789 ext. 12"), json!("0223456789#12")),
        ]);
    }

    #[test]
    fn several_numbers_are_split_before_they_are_read() {
        let expression = "name | split('/') | map('phone', 'TW') | list";
        check([(expression, json!("0912345678/02-2345-6789"), json!(["+886912345678", "+886223456789"]))]);
    }

    proptest! {
        #[test]
        fn a_number_in_its_form_stays_as_it_is(text in "[+0(]{0,2}[0-9 ()#x-]{2,16}", country in "TW|JP|CN|US|VN") {
            for form in ["e164", "national", "as_is"] {
                let expression = format!("name | phone('{country}', form='{form}')");
                if let Ok(once) = run(&expression, &json!(text)) {
                    prop_assert_eq!(run(&expression, &once), Ok(once.clone()), "{} {}", text, form);
                }
            }
        }
    }
}
