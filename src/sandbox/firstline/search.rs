//! Filters of `GET /contact`: reading them from the query string in the forms that the switches allow, and matching.
//!
//! A filter that is not supported is ignored, as the platform notes assume: the answer is then the unfiltered list.

use jiff::Timestamp;
use jiff::civil::DateTime;
use serde_json::Value;

use super::index::scalar_text;
use super::model::Model;
use super::records::Contact;
use super::switches::{ColumnFilter, FilterMode, FirstLineSwitches};
use super::wire::{Call, Refusal};

/// Taiwan is eight hours ahead; zone-less times are its local time (platform notes 2.3).
pub(super) const TAIPEI_OFFSET_MS: i64 = 8 * 3_600_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    MembershipNo,
    IdentityNo,
    Email,
    Phone,
    Name,
    Search,
}

#[derive(Clone, Debug)]
enum Test {
    Text { field: Field, mode: FilterMode, value: String },
    Ids(Vec<u64>),
    Created { from: i64, to: i64 },
    Updated { from: i64, to: i64 },
    Born { from: String, to: String },
    BirthMonths(Vec<u64>),
    Gender(i64),
    Tags(Vec<u64>),
    Companies(Vec<u64>),
    Column { id: i64, op: Op, values: Vec<String> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Equal,
    Different,
    Above,
    AtLeast,
    Below,
    AtMost,
    In,
    NotIn,
    Null,
    NotNull,
}

impl Op {
    fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "=" => Self::Equal,
            "<>" => Self::Different,
            ">" => Self::Above,
            ">=" => Self::AtLeast,
            "<" => Self::Below,
            "<=" => Self::AtMost,
            "in" => Self::In,
            "not_in" => Self::NotIn,
            "is_null" => Self::Null,
            "is_not_null" => Self::NotNull,
            _ => return None,
        })
    }
}

/// Makes a test of a list of ids.
type IdTest = fn(Vec<u64>) -> Test;

/// The filters of a list request that are in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    tests: Vec<Test>,
}

/// Whether a list request asks for a filter, in force or not.
pub(super) fn is_lookup(call: &Call) -> bool {
    call.query.iter().any(|(key, _)| !matches!(key.as_str(), "page" | "per_page" | "token" | "_method"))
}

/// Whether a filter is in force; 422 when the tenant rejects it.
pub(super) fn in_force(mode: FilterMode, name: &str) -> Result<bool, Refusal> {
    match mode {
        FilterMode::Rejected => Err(Refusal::field(name, "is not a filter")),
        mode => Ok(mode != FilterMode::Ignored),
    }
}

/// Compares a stored value with the one asked for.
pub(super) fn compare(mode: FilterMode, stored: &str, asked: &str, ignore_case: bool) -> bool {
    match mode {
        FilterMode::Exact if ignore_case => stored.to_lowercase() == asked.to_lowercase(),
        FilterMode::Exact => stored == asked,
        FilterMode::Prefix => stored.to_lowercase().starts_with(&asked.to_lowercase()),
        FilterMode::Substring => stored.to_lowercase().contains(&asked.to_lowercase()),
        FilterMode::Ignored | FilterMode::Rejected => true,
    }
}

impl Search {
    pub(super) fn of(call: &Call) -> Result<Self, Refusal> {
        let s = &call.switches;
        let mut tests = Vec::new();
        let texts = [
            ("membership_no", Field::MembershipNo, s.filter_membership_no),
            ("identity_no", Field::IdentityNo, s.filter_others),
            ("email", Field::Email, s.filter_email),
            ("phone_number", Field::Phone, s.filter_phone_number),
            ("name", Field::Name, s.filter_name),
            ("search", Field::Search, s.filter_search),
        ];
        for (name, field, mode) in texts {
            if let Some(value) = call.param(name)
                && in_force(mode, name)?
            {
                tests.push(Test::Text { field, mode, value: value.to_owned() });
            }
        }
        let lists: [(&str, FilterMode, IdTest); 4] = [
            ("id", s.filter_id, Test::Ids),
            ("birth_months", s.filter_others, Test::BirthMonths),
            ("tag_ids", s.filter_others, Test::Tags),
            ("company_ids", s.filter_others, Test::Companies),
        ];
        for (name, mode, test) in lists {
            let ids = id_list(call, name);
            if !ids.is_empty() && in_force(mode, name)? {
                tests.push(test(ids));
            }
        }
        if let Some(gender) = call.param("gender").and_then(|text| text.parse().ok())
            && in_force(s.filter_others, "gender")?
        {
            tests.push(Test::Gender(gender));
        }
        if let Some((from, to)) = time_range(call, "created_at", s.filter_created_at)? {
            tests.push(Test::Created { from, to });
        }
        if let Some((from, to)) = time_range(call, "updated_at", s.filter_created_at)? {
            tests.push(Test::Updated { from, to });
        }
        let (from, to) = (call.param("birth_at__start"), call.param("birth_at__end"));
        if (from.is_some() || to.is_some()) && in_force(s.filter_others, "birth_at__start")? {
            let text = |bound: Option<&str>, default: &str| bound.unwrap_or(default).to_owned();
            tests.push(Test::Born { from: text(from, ""), to: text(to, "9999") });
        }
        tests.extend(column_tests(call)?);
        Ok(Self { tests })
    }

    /// Whether any filter is in force.
    pub(super) fn works(&self) -> bool {
        !self.tests.is_empty()
    }

    /// Columns that are searched for equality.
    pub(super) fn equal_columns(&self) -> impl Iterator<Item = i64> {
        self.tests.iter().filter_map(|test| match test {
            Test::Column { id, op: Op::Equal, .. } => Some(*id),
            _ => None,
        })
    }

    /// Contacts among which all hits are, when an index can tell.
    pub(super) fn candidates(&self, model: &Model) -> Option<Vec<u64>> {
        self.tests.iter().find_map(|test| match test {
            Test::Ids(ids) => Some(ids.clone()),
            Test::Text { field, mode: FilterMode::Exact, value } => match field {
                Field::MembershipNo => Some(model.membership.get(value).to_vec()),
                Field::Email => Some(model.addresses.get(value).to_vec()),
                Field::Phone => Some(model.numbers.get(value).to_vec()),
                Field::IdentityNo | Field::Name | Field::Search => None,
            },
            Test::Column { id, op: Op::Equal, values } => {
                Some(model.column(*id)?.get(values.first().map_or("", String::as_str)).to_vec())
            }
            _ => None,
        })
    }

    pub(super) fn matches(&self, contact: &Contact, switches: &FirstLineSwitches) -> bool {
        self.tests.iter().all(|test| matches_one(test, contact, switches))
    }
}

fn matches_one(test: &Test, contact: &Contact, switches: &FirstLineSwitches) -> bool {
    match test {
        Test::Text { field, mode, value } => {
            let fits = |stored: &str| compare(*mode, stored, value, switches.exact_ignores_case);
            let member = || contact.membership_no.as_deref().is_some_and(fits);
            let identity = || contact.identity_no.as_deref().is_some_and(fits);
            let phone = || contact.phones.iter().any(|phone| fits(&phone.number));
            let name = || fits(&full_name(contact, switches));
            match field {
                Field::MembershipNo => member(),
                Field::IdentityNo => identity(),
                Field::Email => contact.emails.iter().any(|email| fits(&email.address)),
                Field::Phone => phone(),
                Field::Name => name(),
                Field::Search => name() || member() || identity() || phone(),
            }
        }
        Test::Ids(ids) => ids.contains(&contact.id),
        Test::Created { from, to } => (*from..=*to).contains(&contact.created_ms),
        Test::Updated { from, to } => (*from..=*to).contains(&contact.updated_ms),
        Test::Born { from, to } => contact.birth_at.as_ref().is_some_and(|date| date >= from && date <= to),
        Test::BirthMonths(months) => {
            let month = contact.birth_at.as_deref().and_then(|date| date.get(5..7)?.parse().ok());
            month.is_some_and(|month| months.contains(&month))
        }
        Test::Gender(gender) => contact.gender == Some(*gender),
        Test::Tags(ids) => ids.iter().any(|id| contact.tag_ids.contains(id)),
        Test::Companies(ids) => ids.iter().any(|id| contact.company_ids.contains(id)),
        Test::Column { id, op, values } => matches_column(contact.cz_col(*id), *op, values, switches),
    }
}

fn matches_column(stored: Option<&Value>, op: Op, values: &[String], switches: &FirstLineSwitches) -> bool {
    let texts: Vec<String> = match stored {
        None => Vec::new(),
        Some(Value::Array(items)) => items.iter().filter_map(scalar_text).map(Into::into).collect(),
        Some(value) => scalar_text(value).into_iter().map(Into::into).collect(),
    };
    let equal =
        |asked: &String| texts.iter().any(|text| compare(FilterMode::Exact, text, asked, switches.exact_ignores_case));
    let first = values.first().map_or("", String::as_str);
    let ordered = |fits: fn(std::cmp::Ordering) -> bool| texts.iter().any(|text| fits(order(text, first)));
    match op {
        Op::Null => texts.is_empty(),
        Op::NotNull => !texts.is_empty(),
        Op::Equal => values.first().is_some_and(equal),
        Op::Different => !texts.is_empty() && !values.first().is_some_and(equal),
        Op::In => values.iter().any(equal),
        Op::NotIn => !texts.is_empty() && !values.iter().any(equal),
        Op::Above => ordered(std::cmp::Ordering::is_gt),
        Op::AtLeast => ordered(std::cmp::Ordering::is_ge),
        Op::Below => ordered(std::cmp::Ordering::is_lt),
        Op::AtMost => ordered(std::cmp::Ordering::is_le),
    }
}

/// As numbers when both are numbers, else as text.
fn order(stored: &str, asked: &str) -> std::cmp::Ordering {
    match (stored.parse::<f64>(), asked.parse::<f64>()) {
        (Ok(stored), Ok(asked)) => stored.total_cmp(&asked),
        _ => stored.cmp(asked),
    }
}

/// The read-only `name`.
pub(super) fn full_name(contact: &Contact, switches: &FirstLineSwitches) -> String {
    let Some(last) = &contact.last_name else { return contact.first_name.clone() };
    let ascii = last.is_ascii() || contact.first_name.is_ascii();
    let space = if switches.cjk_name_joined && !ascii { "" } else { " " };
    format!("{}{space}{last}", contact.first_name)
}

/// `x=1,2`, `x=[1,2]`, `x[]=1&x[]=2`
fn id_list(call: &Call, name: &str) -> Vec<u64> {
    let named = |key: &str| key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('['));
    let texts = call.query.iter().filter(|(key, _)| named(key)).map(|(_, value)| value);
    texts.flat_map(|text| text.split(|c: char| !c.is_ascii_digit())).filter_map(|digits| digits.parse().ok()).collect()
}

fn time_range(call: &Call, name: &str, mode: FilterMode) -> Result<Option<(i64, i64)>, Refusal> {
    let (start, end) = (format!("{name}__start"), format!("{name}__end"));
    let bound = |key: &str| match call.param(key) {
        None => Ok(None),
        Some(text) => parse_time(text).map(Some).ok_or_else(|| Refusal::field(key, "is not a date")),
    };
    if call.param(&start).is_none() && call.param(&end).is_none() || !in_force(mode, &start)? {
        return Ok(None);
    }
    Ok(Some((bound(&start)?.unwrap_or(i64::MIN), bound(&end)?.unwrap_or(i64::MAX))))
}

/// An instant with zone, or Taiwan local time.
fn parse_time(text: &str) -> Option<i64> {
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Some(instant.as_millisecond());
    }
    let local: DateTime = text.parse().ok()?;
    let utc = jiff::tz::TimeZone::UTC.to_timestamp(local).ok()?;
    Some(utc.as_millisecond() - TAIPEI_OFFSET_MS)
}

fn column_tests(call: &Call) -> Result<Vec<Test>, Refusal> {
    let form = call.switches.filter_cz_cols;
    let keys: Vec<&(String, String)> = call.query.iter().filter(|(key, _)| key.starts_with("cz_cols")).collect();
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    if form == ColumnFilter::Rejected {
        return Err(Refusal::field("cz_cols", "is not a filter"));
    }
    let mut tests = Vec::new();
    if matches!(form, ColumnFilter::Json | ColumnFilter::Both)
        && let Some(text) = call.param("cz_cols")
    {
        let Ok(Value::Array(items)) = serde_json::from_str(text) else {
            return Err(Refusal::field("cz_cols", "must be an array"));
        };
        for item in &items {
            let text = |key: &str| item.get(key).and_then(scalar_text).unwrap_or_default().into_owned();
            let values = match item.get("val") {
                Some(Value::Array(values)) => values.iter().filter_map(scalar_text).map(Into::into).collect(),
                Some(value) => scalar_text(value).into_iter().map(Into::into).collect(),
                None => Vec::new(),
            };
            tests.push(column_test(&text("id"), &text("op"), values)?);
        }
    }
    if matches!(form, ColumnFilter::Brackets | ColumnFilter::Both) {
        for number in 0..keys.len() {
            let part = |name: &str| {
                let wanted = format!("cz_cols[{number}][{name}]");
                let fits =
                    move |key: &str| key.strip_prefix(&wanted).is_some_and(|r| r.is_empty() || r.starts_with('['));
                keys.iter().filter(move |(key, _)| fits(key)).map(|(_, value)| value.clone())
            };
            let Some(id) = part("id").next() else { continue };
            tests.push(column_test(&id, &part("op").next().unwrap_or_default(), part("val").collect())?);
        }
    }
    Ok(tests)
}

fn column_test(id: &str, op: &str, mut values: Vec<String>) -> Result<Test, Refusal> {
    let id = id.parse().map_err(|_| Refusal::field("cz_cols.0.id", "must be an integer"))?;
    let op = Op::parse(op).ok_or_else(|| Refusal::field("cz_cols.0.op", "is not an operator"))?;
    if matches!(op, Op::In | Op::NotIn) {
        values = values.iter().flat_map(|value| value.split(',')).map(str::to_owned).collect();
    }
    Ok(Test::Column { id, op, values })
}
