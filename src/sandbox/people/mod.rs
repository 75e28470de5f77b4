//! Invented contacts, each a pure function of the seed and its row number.
//!
//! A million of them cost no memory: the model keeps only what differs from here (edits, inserts and the edge cases of
//! `edge`). Half of the rows are import batches that share one `created_at`, because that is where paging loses rows.

mod edge;
mod names;

pub use edge::{EdgeCase, edge_cases};

use serde_json::{Map, Value, json};

use crate::sandbox::rng::{Permutation, below, fraction, mix, pick};

/// A contact as the model keeps it: the documented JSON, with numbers for ids and times.
pub type ContactObject = Map<String, Value>;

/// Creation time of row 0: 2021-12-20; every later row is a minute younger unless it shares its batch's time.
const FIRST_CREATED_AT: i64 = 1_640_000_000;
/// Ids are handed out with gaps, as a busy shared server does.
const ID_STEP: u64 = 3;
const FIRST_ID: u64 = 318_763;
/// Rows from here on have ids above 2^32 (edge case 17).
const FIRST_WIDE_ROW: u32 = 1_000;
const WIDE: u64 = 1 << 32;
/// The importer of the real server writes batches of this size.
const BATCH: u32 = 1_000;

/// What to generate.
#[derive(Clone, Copy, Debug)]
pub struct People {
    /// The seed of everything.
    pub seed: u64,
    /// How many contacts exist at the start.
    pub count: u32,
    /// Without e-mail and phone: one request per contact at the target (for benchmarks). Switches edge cases off.
    pub without_children: bool,
    /// Whether the first rows are the edge cases.
    pub edge_cases: bool,
}

/// One invented contact, before it is rendered.
pub(crate) struct Person {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) email: Option<String>,
    pub(crate) phone: Option<String>,
    pub(crate) identifier: Option<String>,
    pub(crate) created_at: i64,
    pub(crate) last_activity_at: Option<i64>,
    pub(crate) company: Option<&'static str>,
    pub(crate) city: Option<&'static str>,
}

impl People {
    /// `count` contacts with the edge cases among the first.
    pub fn new(seed: u64, count: u32) -> Self {
        Self { seed, count, without_children: false, edge_cases: true }
    }

    /// The rows that are edge cases, whole.
    pub(crate) fn edge_rows(self) -> impl Iterator<Item = (u32, ContactObject)> {
        let shapes = if self.edge_cases && !self.without_children { edge::shapes() } else { Vec::new() };
        (0..self.count).zip(shapes).map(move |(row, (_, shape))| (row, self.edge_contact(row, shape)))
    }

    /// The contact of `row`, rendered.
    pub(crate) fn contact(self, row: u32) -> ContactObject {
        let person = self.person(row);
        let hash = |what| self.hash(row, what);
        let mut object = object(json!({
            "id": person.id,
            "name": person.name,
            "email": person.email,
            "phone_number": person.phone,
            "identifier": person.identifier,
            "blocked": hash(20) % 50 == 0,
            "thumbnail": "",
            "availability_status": "offline",
            "additional_attributes": self.additional_attributes(row, &person),
            "custom_attributes": self.custom_attributes(row),
            "created_at": person.created_at,
            "contact_inboxes": inboxes(&person, hash(21)),
        }));
        // The real server leaves the key out when there is no value.
        if let Some(at) = person.last_activity_at {
            object.insert("last_activity_at".to_owned(), at.into());
        }
        object
    }

    pub(crate) fn person(self, row: u32) -> Person {
        let hash = |what| self.hash(row, what);
        let children = !self.without_children;
        let email = (children && fraction(&[hash(1)]) >= 0.3)
            .then(|| format!("{}.{row}@{}", pick(names::MAIL_WORDS, hash(2)), pick(names::DOMAINS, hash(3))));
        let phone = (children && fraction(&[hash(4)]) >= 0.2).then(|| self.phone(row));
        let known = email.is_some() || phone.is_some();
        let identifier = (!known || hash(5) % 4 == 0).then(|| format!("user-{row:07}"));
        let created_at = self.created_at(row);
        let idle = i64::try_from(hash(6) % 9_000_000).unwrap_or(0);
        Person {
            id: id_of(row),
            name: self.name(row),
            email,
            phone,
            identifier,
            created_at,
            last_activity_at: (fraction(&[hash(7)]) >= 0.6).then_some(created_at + idle),
            company: (hash(8) % 10 == 0).then(|| pick(names::COMPANIES, hash(9))),
            city: (hash(10) % 2 == 0).then(|| pick(names::CITIES, hash(11))),
        }
    }

    /// The labels of a row. The list filters by them and never shows them.
    pub(crate) fn labels(self, row: u32) -> Vec<&'static str> {
        let hash = self.hash(row, 30);
        names::LABELS
            .iter()
            .enumerate()
            .filter(|(bit, _)| (hash >> (bit * 3)).is_multiple_of(8))
            .map(|(_, label)| *label)
            .collect()
    }

    /// A contact that drift inserts: as `row`, but made now.
    pub(crate) fn newcomer(self, row: u32, now: i64) -> ContactObject {
        let mut contact = self.contact(row);
        contact.insert("created_at".to_owned(), now.into());
        contact.insert("last_activity_at".to_owned(), now.into());
        contact
    }

    fn edge_contact(self, row: u32, shape: Value) -> ContactObject {
        let mut contact = object(json!({
            "id": id_of(row), "name": "Edge Case", "email": null, "phone_number": null, "identifier": null,
            "blocked": false, "thumbnail": "", "availability_status": "offline", "additional_attributes": {},
            "custom_attributes": {}, "created_at": self.created_at(row), "contact_inboxes": [],
        }));
        for (key, value) in object(shape) {
            contact.insert(key, value);
        }
        // Most shapes are about one field; they stay visible in the list through an identifier of their own.
        if contact.remove("hidden").is_none() && !is_listed(&contact) {
            contact.insert("identifier".to_owned(), format!("edge-{row}").into());
        }
        contact
    }

    /// Rows alternate between a run of one-a-minute contacts and an import batch, so half of them are ties.
    fn created_at(self, row: u32) -> i64 {
        let batch = if self.count >= 2 * BATCH { BATCH } else { (self.count / 20).max(1) };
        let imported = (row / batch) % 2 == 1;
        let at = if imported { row - row % batch } else { row };
        FIRST_CREATED_AT + 60 * i64::from(at)
    }

    fn phone(self, row: u32) -> String {
        // One in thirty shares the phone of the row before: a household.
        let owner = if row > 0 && self.hash(row, 12).is_multiple_of(30) { row - 1 } else { row };
        let number = Permutation::new(self.seed, 100_000_000).at(u64::from(owner));
        format!("+8869{number:08}")
    }

    fn name(self, row: u32) -> String {
        let (first, second) = (self.hash(row, 13), self.hash(row, 14));
        match self.hash(row, 15) % 20 {
            0..=9 => format!("{}{}", pick(names::SURNAMES, first), pick(names::GIVEN, second)),
            10..=11 => format!("{}{}", pick(names::COMPOUND_SURNAMES, first), pick(names::GIVEN, second)),
            12..=13 => format!("{} {}", pick(names::JAPANESE_FAMILY, first), pick(names::JAPANESE_GIVEN, second)),
            14..=15 => {
                let middle = pick(names::VIETNAMESE_MIDDLE, self.hash(row, 16));
                format!("{} {middle} {}", pick(names::VIETNAMESE_FAMILY, first), pick(names::VIETNAMESE_GIVEN, second))
            }
            _ => format!("{} {}", pick(names::WESTERN_GIVEN, first), pick(names::WESTERN_FAMILY, second)),
        }
    }

    fn additional_attributes(self, row: u32, person: &Person) -> Value {
        let hash = self.hash(row, 17);
        if hash.is_multiple_of(3) {
            return json!({});
        }
        let mut all = json!({
            "city": person.city.unwrap_or_default(), "country": "Taiwan", "country_code": "TW",
            "company_name": person.company.unwrap_or_default(), "description": "",
            "social_profiles": { "facebook": "", "github": "", "instagram": "", "linkedin": "", "twitter": "" },
        });
        if hash % 7 == 1 {
            all["created_at_ip"] = format!("192.0.2.{}", hash % 250).into();
        }
        all
    }

    fn custom_attributes(self, row: u32) -> Value {
        let hash = |what| self.hash(row, what);
        if hash(18).is_multiple_of(4) {
            return json!({});
        }
        let birthday = format!("{}-{:02}-{:02}", 1950 + hash(22) % 55, 1 + hash(23) % 12, 1 + hash(24) % 28);
        let interests: Vec<_> =
            names::INTERESTS.iter().enumerate().filter(|(bit, _)| hash(25) >> bit & 1 == 1).map(|(_, it)| it).collect();
        json!({
            "vip_level": pick(names::VIP_LEVELS, hash(26)),
            "birthday": birthday,
            "points": hash(27) % 20_000,
            "newsletter": hash(28) % 2 == 0,
            "interests": interests,
            "city": pick(names::CITIES, hash(11)),
        })
    }

    fn hash(self, row: u32, what: u64) -> u64 {
        mix(&[self.seed, u64::from(row), what])
    }
}

/// The id of a row: ascending with gaps, above 2^32 from row 1,000 on.
pub(crate) fn id_of(row: u32) -> u64 {
    let wide = if row >= FIRST_WIDE_ROW { WIDE } else { 0 };
    wide + FIRST_ID + ID_STEP * u64::from(row)
}

/// The row that has this id, if any row can have it.
pub(crate) fn row_of(id: u64) -> Option<u32> {
    let narrow = if id >= WIDE { id - WIDE } else { id };
    let row = u32::try_from(narrow.checked_sub(FIRST_ID)? / ID_STEP).ok()?;
    (id_of(row) == id).then_some(row)
}

/// Whether the list shows a contact: it has an e-mail, a phone or an identifier.
pub(crate) fn is_listed(contact: &ContactObject) -> bool {
    ["email", "phone_number", "identifier"]
        .iter()
        .any(|key| contact.get(*key).and_then(Value::as_str).is_some_and(|text| !text.is_empty()))
}

fn inboxes(person: &Person, hash: u64) -> Value {
    let email = person.email.as_ref().map(|address| {
        json!({ "source_id": address, "inbox": { "id": 11, "channel_id": 4, "name": "邮箱",
            "channel_type": "Channel::Email", "provider": null } })
    });
    let phone = person.phone.as_ref().filter(|_| below(hash, 3) == 0).map(|number| {
        json!({ "source_id": number.trim_start_matches('+'), "inbox": { "id": 12, "channel_id": 7, "name": "WhatsApp",
            "channel_type": "Channel::Whatsapp", "provider": "engagelab_whatsapp" } })
    });
    email.into_iter().chain(phone).collect()
}

/// The members of a JSON object; none of anything else.
pub(crate) fn object(value: Value) -> ContactObject {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_same_seed_gives_the_same_people_and_another_seed_others() {
        let people = People::new(1, 2_000);
        assert_eq!(people.contact(1_500), people.contact(1_500));
        assert_ne!(people.contact(1_500)["name"], People::new(2, 2_000).contact(1_501)["name"]);
    }

    #[test]
    fn ids_ascend_and_lead_back_to_their_row() {
        for row in [0, 1, 999, 1_000, 1_001, 900_000] {
            assert_eq!(row_of(id_of(row)), Some(row));
            assert!(id_of(row) < id_of(row + 1));
            assert_eq!(row_of(id_of(row) + 1), None);
        }
        assert_eq!(row_of(5), None);
        assert_eq!(row_of(WIDE + FIRST_ID), None, "row 0 is narrow");
    }

    #[test]
    fn half_of_the_contacts_are_import_batches_and_emails_never_repeat() {
        let people = People::new(3, 20_000);
        let rows: Vec<_> = (0..20_000).map(|row| people.person(row)).collect();
        let times: HashSet<_> = rows.iter().map(|person| person.created_at).collect();
        assert_eq!(times.len(), 10_000 + 10);
        let emails: Vec<_> = rows.iter().filter_map(|person| person.email.as_ref()).collect();
        assert!((13_500..14_500).contains(&emails.len()));
        assert_eq!(emails.iter().collect::<HashSet<_>>().len(), emails.len());
        let phones: Vec<_> = rows.iter().filter_map(|person| person.phone.as_ref()).collect();
        assert!(phones.iter().collect::<HashSet<_>>().len() < phones.len(), "households share a phone");
    }

    #[test]
    fn without_children_there_is_only_an_identifier() {
        let people = People { without_children: true, ..People::new(1, 100) };
        assert_eq!(people.edge_rows().count(), 0);
        assert!((0..100).map(|row| people.contact(row)).all(|it| it["email"].is_null()
            && it["phone_number"].is_null()
            && it["identifier"].is_string()
            && is_listed(&it)));
    }

    #[test]
    fn every_documented_edge_case_has_its_contacts_or_its_switch() {
        let cases = edge_cases();
        let numbers: Vec<u8> = cases.iter().map(|case| case.number).collect();
        assert_eq!(numbers, (1..=40).collect::<Vec<_>>());
        let people = People::new(1, 2_000);
        let rows: HashSet<u64> = people.edge_rows().map(|(row, _)| id_of(row)).collect();
        for case in &cases {
            assert!(!case.ids.is_empty() || !case.shown_by.is_empty(), "case {}", case.number);
            assert!(case.ids.iter().all(|id| row_of(*id).is_some_and(|row| row < 2_000)), "case {}", case.number);
        }
        let of_shapes = cases.iter().flat_map(|case| &case.ids).filter(|id| rows.contains(id)).count();
        assert_eq!(of_shapes, rows.len(), "every edge row belongs to a case");
    }

    #[test]
    fn contacts_without_email_phone_and_identifier_exist_and_are_not_listed() {
        let rows: Vec<_> = People::new(1, 2_000).edge_rows().collect();
        for number in [8, 28, 29] {
            let case = &edge_cases()[number - 1];
            let hidden = rows.iter().filter(|(row, it)| case.ids.contains(&id_of(*row)) && !is_listed(it)).count();
            assert!(hidden > 0, "case {number}");
        }
        assert!(rows.iter().filter(|(_, it)| is_listed(it)).count() > 80);
    }
}
