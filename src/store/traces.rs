//! What the state knows of some contacts at all, in one look: of most contacts of a first backfill that is nothing.

use std::collections::HashSet;

use crate::domain::ids::LiveDeskId;

use super::Store;
use super::error::StoreError;
use super::rows::{batch, json};

/// Where contacts left traces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traces {
    /// Some of them have a link.
    pub linked: bool,
    /// Some of them have a dead letter.
    pub set_aside: bool,
    /// Some of them have a conflict, decided or not.
    pub in_conflict: bool,
    /// Those that have something in doubt.
    pub in_doubt: HashSet<LiveDeskId>,
}

impl Store {
    /// The traces of these contacts.
    pub async fn traces_of(&self, ids: &[LiveDeskId]) -> Result<Traces, StoreError> {
        let ids = batch(ids.iter().map(|id| id.0));
        let row = sqlx::query!(
            r#"SELECT
                   EXISTS (SELECT 1 FROM link WHERE livedesk_id IN (SELECT value FROM jsonb_each(?1))) AS "linked!: bool",
                   EXISTS (SELECT 1 FROM dead_letter WHERE livedesk_id IN (SELECT value FROM jsonb_each(?1)))
                       AS "set_aside!: bool",
                   EXISTS (SELECT 1 FROM conflict WHERE livedesk_id IN (SELECT value FROM jsonb_each(?1)))
                       AS "in_conflict!: bool",
                   (SELECT json_group_array(DISTINCT livedesk_id) FROM intent
                       WHERE state <> 'audit' AND livedesk_id IN (SELECT value FROM jsonb_each(?1)))
                       AS "in_doubt!: String""#,
            ids
        )
        .fetch_one(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        let in_doubt: Vec<i64> = json(&row.in_doubt, "intent.livedesk_id")?;
        Ok(Traces {
            linked: row.linked,
            set_aside: row.set_aside,
            in_conflict: row.in_conflict,
            in_doubt: in_doubt.into_iter().map(LiveDeskId).collect(),
        })
    }
}
