//! Dead letters in groups: five thousand contacts that were refused for one reason are one line.

use std::collections::BTreeMap;

use crate::domain::hash::HashKey;
use crate::domain::ids::LiveDeskId;
use crate::domain::outcome::{SetAside, SetAsideKind};

use super::Store;
use super::error::StoreError;
use super::rows::{json, number, word};

/// Contacts that a group names.
const SAMPLES: usize = 5;

/// Contacts that were set aside for the same reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureGroup {
    /// Eight hexadecimal digits that the reason has in every log, answer and state.
    pub code: String,
    /// The reason; no value of a contact is in it.
    pub reason: SetAside,
    /// Contacts that are tried again.
    pub waiting: u64,
    /// Contacts that were tried so often that only a person or a change helps.
    pub poisoned: u64,
    /// The lowest ids among them, at most five.
    pub samples: Vec<LiveDeskId>,
}

impl FailureGroup {
    /// One line for people.
    pub fn line(&self) -> String {
        let total = self.waiting + self.poisoned;
        let ids: Vec<String> = self.samples.iter().map(ToString::to_string).collect();
        let more = if total > self.samples.len() as u64 { ", ..." } else { "" };
        let poisoned = match self.poisoned {
            0 => String::new(),
            count => format!(", {count} of them given up"),
        };
        format!("{total} x {}{poisoned} (contacts {}{more})", self.reason, ids.join(", "))
    }
}

/// The code of a reason. Not keyed: it is about the reason, and no person is in it.
fn code(reason: &SetAside) -> String {
    let mut code = HashKey::new([0; 32]).digest("reason", reason.to_string()).to_string();
    code.truncate(8);
    code
}

impl Store {
    /// What was set aside, grouped by reason; the largest group first.
    pub async fn failure_groups(&self) -> Result<Vec<FailureGroup>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT kind, field, status, detail, count(*) AS "total!: i64", count(poisoned_at) AS "poisoned!: i64",
                   json_group_array(livedesk_id) FILTER (WHERE place <= 5) AS "samples!: String"
               FROM (SELECT kind, field, status, detail, poisoned_at, livedesk_id,
                         row_number() OVER (PARTITION BY kind, field, status, detail ORDER BY livedesk_id) AS place
                     FROM dead_letter)
               GROUP BY kind, field, status, detail"#
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        // Reasons that differ in a number alone are one.
        let mut groups: BTreeMap<SetAside, FailureGroup> = BTreeMap::new();
        for row in rows {
            let reason = SetAside {
                kind: word(SetAsideKind::parse(&row.kind), "dead_letter.kind")?,
                field: row.field,
                status: row.status.map(|status| number(status, "dead_letter.status")).transpose()?,
                detail: row.detail,
            };
            let reason = reason.without_numbers();
            let group = groups.entry(reason.clone()).or_insert_with(|| FailureGroup {
                code: code(&reason),
                reason,
                waiting: 0,
                poisoned: 0,
                samples: Vec::new(),
            });
            group.waiting += (row.total - row.poisoned).unsigned_abs();
            group.poisoned += row.poisoned.unsigned_abs();
            let samples: Vec<i64> = json(&row.samples, "dead_letter.livedesk_id")?;
            group.samples.extend(samples.into_iter().map(LiveDeskId));
            group.samples.sort_unstable();
            group.samples.truncate(SAMPLES);
        }
        let mut groups: Vec<FailureGroup> = groups.into_values().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(group.waiting + group.poisoned));
        Ok(groups)
    }

    /// How many dead letters wait for another try, and how many are poisoned.
    pub async fn dead_letter_counts(&self) -> Result<(u64, u64), StoreError> {
        let row = sqlx::query!(
            r#"SELECT count(*) AS "total!: i64", count(poisoned_at) AS "poisoned!: i64" FROM dead_letter"#
        )
        .fetch_one(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(((row.total - row.poisoned).unsigned_abs(), row.poisoned.unsigned_abs()))
    }
}
