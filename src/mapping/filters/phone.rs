//! The `phone` filter: a number in the form that the target wants.

use minijinja::value::Value;

use super::{FilterError, FilterResult, Settings, arguments, scalar_text, word};
use crate::domain::phone::{Country, Phone};

/// `phone(country, form='e164' | 'national' | 'as_is', invalid='error' | 'keep' | 'drop')`.
pub(super) fn phone(settings: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    let [country, form, invalid] = arguments(given, ["country", "form", "invalid"])?;
    let home = match country {
        None => settings.country,
        Some(code) => code.as_str().and_then(Country::parse).ok_or_else(|| {
            FilterError::Argument(String::from("`country` must be an ISO code of two letters, as in 'TW'"))
        })?,
    };
    let form = word(form.as_ref(), "form", ["e164", "national", "as_is"])?;
    let invalid = word(invalid.as_ref(), "invalid", ["error", "keep", "drop"])?;
    let Some(text) = scalar_text(value)? else { return Ok(Value::UNDEFINED) };
    match (Phone::parse(&text, home), invalid) {
        (Some(_), _) if form == "as_is" => Ok(Value::from(text)),
        // A foreign number in its own national form would be dialled as one of ours.
        (Some(phone), _) if form == "national" && phone.belongs_to(home) => Ok(Value::from(phone.national_digits())),
        (Some(phone), _) => Ok(Value::from(phone.e164())),
        (None, "keep") => Ok(Value::from(text)),
        (None, "drop") => Ok(Value::UNDEFINED),
        (None, _) => Err(FilterError::Value(String::from("is not a possible phone number"))),
    }
}

#[cfg(test)]
mod tests {
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
}
