//! One canonical form of a phone number, for comparing; never for writing.

use phonenumber::{Mode, country};

/// Country that numbers without a country code belong to, as an ISO 3166 code ("TW").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country(country::Id);

impl Country {
    /// Taiwan: FIRST LINE's samples hold its local numbers (platform notes FIRST LINE 6).
    pub const TAIWAN: Self = Self(country::Id::TW);

    /// A country from its two letters.
    pub fn parse(code: &str) -> Option<Self> {
        code.to_ascii_uppercase().parse().ok().map(Self)
    }
}

/// A number that is one, by the national numbering plans.
#[derive(Clone, Debug)]
pub struct Phone(phonenumber::PhoneNumber);

impl Phone {
    /// Parses `text` as a number of `home` unless it names its country, and checks it against the plan of its
    /// country. `None` when it is not a possible number.
    pub fn parse(text: &str, home: Country) -> Option<Self> {
        let number = phonenumber::parse(Some(home.0), text).ok()?;
        phonenumber::is_valid(&number).then_some(Self(number))
    }

    /// `+886912345678`.
    pub fn e164(&self) -> String {
        self.0.format().mode(Mode::E164).to_string()
    }

    /// The national form without spaces or signs: `0912345678`.
    pub fn national_digits(&self) -> String {
        digits(&self.0.format().mode(Mode::National).to_string())
    }

    /// Whether it belongs to this country.
    pub fn belongs_to(&self, country: Country) -> bool {
        self.0.country().id() == Some(country.0)
    }
}

/// The form in which two spellings of one number are equal: E.164 when it is a number, else its digits
/// (with a leading plus kept), else the trimmed text.
pub fn canonical(text: &str, home: Country) -> String {
    if let Some(phone) = Phone::parse(text, home) {
        return phone.e164();
    }
    let trimmed = text.trim();
    let digits = digits(trimmed);
    match (digits.is_empty(), trimmed.starts_with('+')) {
        (true, _) => trimmed.to_lowercase(),
        (false, true) => format!("+{digits}"),
        (false, false) => digits,
    }
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

#[cfg(test)]
mod tests {
    use super::{Country, canonical};

    #[test]
    fn spellings_of_one_number_have_one_canonical_form() {
        for text in ["+886912345678", "0912345678", "0912-345-678", " 0912 345 678 ", "886912345678"] {
            assert_eq!(canonical(text, Country::TAIWAN), "+886912345678", "{text}");
        }
    }

    #[test]
    fn what_is_no_number_is_compared_by_its_digits_or_text() {
        assert_eq!(canonical("+12", Country::TAIWAN), "+12");
        assert_eq!(canonical("ext. 12", Country::TAIWAN), "12");
        assert_eq!(canonical(" None ", Country::TAIWAN), "none");
    }
}
