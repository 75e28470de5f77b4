//! One canonical form of a phone number, for comparing; never for writing.

use std::fmt;
use std::net::Ipv4Addr;

use phonenumber::metadata::DATABASE;
use phonenumber::{Mode, country};

/// Digits that a number has at least where it stands beside a note; an extension has fewer.
const FEWEST_DIGITS: usize = 6;
/// Numbers that are whole without the prefix of national calls: country code, digits, and what the first of them may be.
/// Mobiles of Taiwan lose their zero to spreadsheets; those of China and India are dialled without, as all numbers of +1.
const WHOLE_WITHOUT_PREFIX: [(&str, usize, &[char]); 4] = [
    ("886", 9, &['9']),
    ("86", 11, &['1']),
    ("91", 10, &['6', '7', '8', '9']),
    ("1", 10, &['2', '3', '4', '5', '6', '7', '8', '9']),
];

/// Country that numbers without a country code belong to, as an ISO 3166 code ("TW").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country(country::Id);

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The platform of these codes knows them by no other text.
        write!(f, "{:?}", self.0)
    }
}

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
    /// Reads a text that is one number and nothing else: of `home`, unless it names its country. `None` when it is no
    /// possible number, or could be more than one.
    pub fn parse(text: &str, home: Country) -> Option<Self> {
        let plain: String = text.chars().map(plain_sign).collect::<Option<_>>()?;
        let plain = plain.trim();
        let groups: Vec<&str> =
            plain.split(|sign: char| !sign.is_ascii_digit()).filter(|group| !group.is_empty()).collect();
        // "02-2345678-9": a last digit that stands apart is an extension or a range, no part of the number.
        let apart = groups.len() > 1 && groups.last().is_some_and(|group| group.len() == 1);
        if apart || plain.parse::<Ipv4Addr>().is_ok() {
            return None;
        }
        let number = groups.concat();
        match plain.matches('+').count() {
            0 => Self::dialled(&number, home),
            1 if plain.trim_start_matches(['(', ' ']).starts_with('+') => Self::international(&number),
            _ => None,
        }
    }

    /// A number that begins with its country, perhaps with the zero behind it that is dialled at home.
    fn international(number: &str) -> Option<Self> {
        // Without a home, the plan of the number's own country is the only one that is asked.
        let read = phonenumber::parse(None, format!("+{number}")).ok().filter(phonenumber::is_valid)?;
        let given = number.strip_prefix(&read.country().code().to_string())?;
        let national = read.national().to_string();
        (given == national || given.strip_prefix('0') == Some(national.as_str())).then_some(Self(read))
    }

    /// A number without a plus, as it is dialled at home. A local number without its area is the number of another area
    /// as often as not, so the prefix of national calls must be there.
    fn dialled(number: &str, home: Country) -> Option<Self> {
        let plan = DATABASE.by_id(home.0.as_ref())?;
        let code = plan.country_code().to_string();
        let at_home = |national: &str| {
            let whole = format!("{code}{national}");
            Self::international(&whole).filter(|phone| phone.e164()[1..] == whole)
        };
        let national = match plan.national_prefix() {
            None => at_home(number),
            Some(prefix) => number.strip_prefix(prefix).and_then(at_home),
        };
        let bare = WHOLE_WITHOUT_PREFIX
            .iter()
            .any(|(of, length, first)| *of == code && number.len() == *length && number.starts_with(*first));
        // 00 is what most of the world dials before a country; some countries dial more.
        let exit = plan.international_prefix().and_then(|exit| exit.find(number)).filter(|found| found.start() == 0);
        let readings = [
            national,
            if bare { at_home(number) } else { None },
            number.strip_prefix("00").and_then(Self::international),
            exit.and_then(|found| Self::international(&number[found.end()..])),
            if number.starts_with(&code) { Self::international(number) } else { None },
        ];
        let mut readings = readings.into_iter().flatten();
        let first = readings.next()?;
        readings.all(|other| other.e164() == first.e164()).then_some(first)
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

/// The form in which two spellings of one number are equal: E.164 when it is a number (perhaps with a note or an
/// extension beside it), else its digits (with a leading plus kept), else the trimmed text.
pub fn canonical(text: &str, home: Country) -> String {
    let digit = |sign| plain_sign(sign).is_some_and(|sign| sign.is_ascii_digit());
    let enough = |part: &&str| part.chars().filter(|sign| digit(*sign)).count() >= FEWEST_DIGITS;
    let mut numbers = text.split(|sign| plain_sign(sign).is_none()).filter(enough);
    if let (Some(only), None) = (numbers.next(), numbers.next())
        && let Some(phone) = Phone::parse(only, home)
    {
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

/// A sign that may stand in a number, in its plain form.
fn plain_sign(sign: char) -> Option<char> {
    Some(match sign {
        '0'..='9' | '+' | '(' | ')' | '-' | '.' => sign,
        '０'..='９' => char::from_u32(u32::from(sign) - 0xFEE0)?,
        '＋' => '+',
        '（' => '(',
        '）' => ')',
        '－' | '‐' | '‑' | '‒' | '–' | '—' | '−' | 'ー' | '─' => '-',
        _ if sign.is_whitespace() => ' ',
        _ => return None,
    })
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

    #[test]
    fn a_local_number_is_not_the_number_of_another_city() {
        for (local, elsewhere) in
            [("6636-1234", "06-636-1234"), ("8712-3456", "08-712-3456"), ("3765-1234", "037-651-234")]
        {
            assert_ne!(canonical(local, Country::TAIWAN), canonical(elsewhere, Country::TAIWAN), "{local}");
        }
    }

    #[test]
    fn a_number_beside_a_note_or_an_extension_is_that_number() {
        for text in ["0912-345-678 (Amy)", "Tel: 0912345678", "0912345678 #12", "０９１２３４５６７８"] {
            assert_eq!(canonical(text, Country::TAIWAN), "+886912345678", "{text}");
        }
        assert_eq!(canonical("0912345678/0987654321", Country::TAIWAN), "09123456780987654321", "two numbers");
    }

    #[test]
    fn the_country_of_a_number_says_how_it_is_read_wherever_home_is() {
        let home = |code| Country::parse(code).expect("a country");
        for (text, expected) in [
            ("+39 0331 234567", "+390331234567"),
            ("+241 06 03 12 34", "+24106031234"),
            ("+8613912345678", "+8613912345678"),
            ("+886 0912345678", "+886912345678"),
        ] {
            for code in ["TW", "US", "JP", "IT", "CN", "GB"] {
                assert_eq!(canonical(text, home(code)), expected, "{text} at home in {code}");
            }
        }
    }
}
