//! What the tenant holds: contacts with their rows, tags, companies. Plain data; the rules are elsewhere.

use serde_json::Value;

/// Distance of a contact's profile id from its own id: different numbers, so that a mix-up shows.
const PROFILE_OFFSET: u64 = 3_000_000;

/// An e-mail row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Email {
    /// Its id.
    pub id: u64,
    /// Address as stored.
    pub address: String,
    /// Label.
    pub name: Option<String>,
    /// Remark.
    pub description: Option<String>,
}

/// A phone row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Phone {
    /// Its id.
    pub id: u64,
    /// 0 home, 1 company, 2 mobile, 3 fax, 4 other.
    pub kind: i64,
    /// Number as stored.
    pub number: String,
    /// Extension.
    pub extension: Option<String>,
    /// Remark.
    pub description: Option<String>,
}

/// A row of a customer table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TableRow {
    /// Its id.
    pub id: u64,
    /// Category of the table.
    pub category_id: i64,
    /// Column id and value.
    pub values: Vec<(i64, Value)>,
    /// When it was made.
    pub created_ms: i64,
    /// When it was last written.
    pub updated_ms: i64,
}

/// A customer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contact {
    /// Its id.
    pub id: u64,
    /// Family name.
    pub first_name: String,
    /// Given name.
    pub last_name: Option<String>,
    /// Customer number.
    pub membership_no: Option<String>,
    /// National id.
    pub identity_no: Option<String>,
    /// 0 or 1.
    pub gender: Option<i64>,
    /// `YYYY-MM-DD`.
    pub birth_at: Option<String>,
    /// Column id and value as sent, in id order; no nulls.
    pub cz_cols: Vec<(i64, Value)>,
    /// Tags.
    pub tag_ids: Vec<u64>,
    /// Companies.
    pub company_ids: Vec<u64>,
    /// Its e-mails.
    pub emails: Vec<Email>,
    /// Its phones.
    pub phones: Vec<Phone>,
    /// Its rows in customer tables.
    pub table_rows: Vec<TableRow>,
    /// When it was made.
    pub created_ms: i64,
    /// When it was last written.
    pub updated_ms: i64,
    /// Made over the API, so that a restricted role sees it.
    pub own: bool,
}

impl Contact {
    /// The profile that its phones hang on.
    pub fn profile_id(&self) -> u64 {
        self.id + PROFILE_OFFSET
    }

    /// The contact that a profile belongs to; an id that no contact has when there is none.
    pub(super) fn of_profile(profile: u64) -> u64 {
        profile.saturating_sub(PROFILE_OFFSET)
    }

    /// Value of a column.
    pub fn cz_col(&self, id: i64) -> Option<&Value> {
        let at = self.cz_cols.binary_search_by_key(&id, |(id, _)| *id).ok()?;
        Some(&self.cz_cols[at].1)
    }

    /// Sets or (with `None`) clears a column.
    pub(super) fn set_cz_col(&mut self, id: i64, value: Option<Value>) {
        match (self.cz_cols.binary_search_by_key(&id, |(id, _)| *id), value) {
            (Ok(at), Some(value)) => self.cz_cols[at].1 = value,
            (Err(at), Some(value)) => {
                self.cz_cols.reserve_exact(1);
                self.cz_cols.insert(at, (id, value));
            }
            (Ok(at), None) => drop(self.cz_cols.remove(at)),
            (Err(_), None) => {}
        }
    }
}

/// A tag.
#[derive(Clone, Debug)]
pub(super) struct Tag {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) description: Option<String>,
}

/// A company.
#[derive(Clone, Debug)]
pub(super) struct Company {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) sn: Option<String>,
    pub(super) domains: Vec<String>,
}
