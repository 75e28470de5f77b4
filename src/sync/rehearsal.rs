//! Picking a spread of contacts for a rehearsal: some of every kind that there are. Pure.
//!
//! A contact has features: which mapped fields it has and lacks, how many e-mails and phones, what is odd about it. Those
//! who bring the rarest features that nobody has brought yet are picked first.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use crate::domain::contact::Contact;
use crate::domain::ids::LiveDeskId;
use crate::domain::outcome::SetAside;
use crate::domain::record::{Desired, DesiredRecord};
use crate::mapping::Mapping;

/// Reasons that are told of one pick.
const REASONS: usize = 4;
/// What a feature that everybody has is worth, times the number of contacts.
const SCALE: u64 = 1 << 20;

/// A contact of a rehearsal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rehearsed {
    /// The contact.
    pub livedesk_id: i64,
    /// Its record after the run, if it has one.
    pub firstline_id: Option<i64>,
    /// Why it was picked.
    pub why: Vec<String>,
}

/// What is told apart of one contact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Candidate {
    /// Its features, in words.
    pub features: BTreeSet<String>,
    /// Its e-mails and phones, for what is shared. Values of a person: never shown.
    keys: Vec<String>,
    /// Letters of its name.
    name_length: usize,
}

/// A contact that was picked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Its place among the candidates.
    pub place: usize,
    /// What it brings, rarest first.
    pub why: Vec<String>,
}

/// What is told apart of a contact. `labels` are the tags that its labels stand for.
pub fn candidate<'a>(mapping: &Mapping, contact: &Contact, labels: impl Iterator<Item = &'a str>) -> Candidate {
    let mut found = Candidate::default();
    let mut has = |feature: String| {
        found.features.insert(feature);
    };
    match contact.text("name") {
        None => has(String::from("no name")),
        Some(name) => {
            found.name_length = name.chars().count();
            if name.chars().any(is_odd) {
                has(String::from("odd characters in its name"));
            }
        }
    }
    if contact.fields.get("blocked").and_then(serde_json::Value::as_bool) == Some(true) {
        has(String::from("blocked"));
    }
    for tag in labels {
        has(format!("a label for the tag \"{tag}\""));
    }
    match mapping.map(contact) {
        Ok(None) => has(String::from("not selected")),
        Err(SetAside { field, .. }) => has(format!("to be set aside{}", of(field.as_deref()))),
        Ok(Some(record)) => {
            for feature in mapped(mapping, &record) {
                has(feature);
            }
            let emails = record.emails.items().iter().map(crate::domain::record::DesiredEmail::canonical);
            let phones = record.phones.items().iter().map(|phone| phone.number.clone());
            found.keys = emails.chain(phones).collect();
        }
    }
    found
}

/// Features of what the mapping makes of a contact.
fn mapped(mapping: &Mapping, record: &DesiredRecord) -> Vec<String> {
    let mut features = Vec::new();
    for (field, wished) in &record.fields {
        let name = mapping.field_name(*field);
        features.push(match &wished.value {
            Desired::Value(_) => format!("has {name}"),
            Desired::Empty => format!("lacks {name}"),
            Desired::Unknown => format!("{name} cannot be converted"),
        });
    }
    let lists = [
        ("e-mail", record.emails.value != Desired::Unknown, record.emails.items().len()),
        ("phone", record.phones.value != Desired::Unknown, record.phones.items().len()),
    ];
    for (list, _, count) in lists.into_iter().filter(|(_, known, _)| *known) {
        features.push(match count {
            0 => format!("no {list}"),
            1 => format!("one {list}"),
            _ => format!("several {list}s"),
        });
    }
    if let Desired::Value(_) = record.company {
        features.push(String::from("has a company"));
    }
    features
}

fn of(field: Option<&str>) -> String {
    field.map(|field| format!(" for its {field}")).unwrap_or_default()
}

fn is_odd(letter: char) -> bool {
    !letter.is_alphanumeric() && !matches!(letter, ' ' | '.' | ',' | '-' | '\'' | '’' | '·')
}

/// Picks so many of the candidates, or all if there are not more; in the order in which they are most worth a look.
pub fn pick(candidates: &[Candidate], wanted: usize) -> Vec<Pick> {
    let (names, features) = numbered(candidates);
    let mut frequency = vec![0_u64; names.len()];
    for feature in features.iter().flatten() {
        frequency[*feature] += 1;
    }
    let mut left: Vec<usize> = (0..candidates.len()).collect();
    let mut covered = vec![false; names.len()];
    let mut picks = Vec::new();
    while picks.len() < wanted && !left.is_empty() {
        let worth = |place: usize| -> u64 {
            let new = features[place].iter().filter(|feature| !covered[**feature]);
            new.map(|feature| SCALE / frequency[*feature].max(1)).sum()
        };
        let best = left.iter().copied().max_by_key(|place| (worth(*place), std::cmp::Reverse(*place)));
        let Some(best) = best else { break };
        if worth(best) == 0 && covered.iter().any(|covered| *covered) {
            // Everything that there is was picked once: round again.
            covered.fill(false);
            continue;
        }
        let mut new: Vec<usize> = features[best].iter().copied().filter(|feature| !covered[*feature]).collect();
        new.sort_by_key(|feature| (frequency[*feature], *feature));
        for feature in &new {
            covered[*feature] = true;
        }
        left.retain(|place| *place != best);
        let why = new.iter().take(REASONS).map(|feature| names[*feature].clone()).collect();
        picks.push(Pick { place: best, why });
    }
    picks
}

/// Every feature once, and per candidate the numbers of its own; with those that only the whole shows.
fn numbered(candidates: &[Candidate]) -> (Vec<String>, Vec<Vec<usize>>) {
    let mut holders: HashMap<&str, usize> = HashMap::new();
    for key in candidates.iter().flat_map(|candidate| &candidate.keys) {
        *holders.entry(key).or_default() += 1;
    }
    let longest = candidates.iter().map(|candidate| candidate.name_length).max().unwrap_or_default();
    let mut longest = Some(longest).filter(|longest| *longest > 0);
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    let mut features = Vec::new();
    for candidate in candidates {
        let mut own = candidate.features.clone();
        if longest.is_some_and(|longest| candidate.name_length == longest) {
            longest = None;
            own.insert(String::from("the longest name"));
        }
        if candidate.keys.iter().any(|key| holders[key.as_str()] > 1) {
            own.insert(String::from("an e-mail or phone that others have, too"));
        }
        let mut mine = Vec::new();
        for feature in own {
            let next = numbers.len();
            mine.push(*numbers.entry(feature).or_insert(next));
        }
        features.push(mine);
    }
    let mut names = vec![String::new(); numbers.len()];
    for (name, number) in numbers {
        names[number] = name;
    }
    (names, features)
}

/// Pages spread evenly over a list of so many, the first and the last among them.
pub fn spread(pages: u32, at_most: u32) -> Vec<u32> {
    if pages <= at_most {
        return (1..=pages).collect();
    }
    let step =
        |nth: u32| 1 + u32::try_from(u64::from(nth) * u64::from(pages - 1) / u64::from(at_most - 1)).unwrap_or(pages);
    (0..at_most).map(step).collect()
}

impl Rehearsed {
    /// A contact that is about to be carried.
    pub fn new(id: LiveDeskId, why: Vec<String>) -> Self {
        Self { livedesk_id: id.0, firstline_id: None, why }
    }
}

#[cfg(test)]
mod tests {
    use super::{Candidate, pick, spread};

    fn with(features: &[&str]) -> Candidate {
        Candidate { features: features.iter().map(|feature| (*feature).to_owned()).collect(), ..Candidate::default() }
    }

    #[test]
    fn every_kind_that_there_is_comes_before_a_second_of_any_kind() {
        let mut all = vec![with(&["plain"]); 50];
        all[17] = with(&["plain", "blocked"]);
        all[31] = with(&["no name"]);
        all[44] = with(&["plain", "label"]);
        let picks = pick(&all, 4);
        let places: Vec<usize> = picks.iter().map(|pick| pick.place).collect();
        assert_eq!(places, [17, 31, 44, 0]);
        assert_eq!(picks[0].why, ["blocked", "plain"]);
    }

    #[test]
    fn as_many_are_picked_as_are_wanted_or_as_there_are() {
        let all = vec![with(&[]), with(&["a"]), with(&["a"])];
        assert_eq!((pick(&all, 2).len(), pick(&all, 9).len(), pick(&[], 3).len()), (2, 3, 0));
        assert_eq!(pick(&all, 3), pick(&all, 3));
    }

    #[test]
    fn the_longest_name_and_shared_keys_are_seen_in_the_whole() {
        let named =
            |name_length, key: &str| Candidate { name_length, keys: vec![key.to_owned()], ..Candidate::default() };
        let all = [named(3, "x"), named(9, "y"), named(9, "x"), named(4, "z")];
        let why: Vec<Vec<String>> = pick(&all, 2).into_iter().map(|pick| pick.why).collect();
        assert_eq!(why, [["the longest name"], ["an e-mail or phone that others have, too"]]);
    }

    #[test]
    fn pages_are_spread_from_the_first_to_the_last() {
        assert_eq!(spread(3, 30), [1, 2, 3]);
        assert_eq!(spread(1_000, 4), [1, 334, 667, 1_000]);
        assert_eq!(spread(0, 4), Vec::<u32>::new());
    }
}
