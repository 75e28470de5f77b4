//! The fast lane: how far its last whole cycle came. Stored at the end of a cycle and not before, so that a cycle that
//! died is walked again.

use std::collections::HashSet;

use crate::clock::Timestamp;
use crate::domain::hash::Digest;
use crate::domain::ids::{LiveDeskId, RunId};
use crate::domain::sweep::DirectionStyle;

use super::Store;
use super::error::StoreError;
use super::rows::{batch, json, maybe_digest, word};

/// Where the lane stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneMark {
    /// Newest activity that was carried, epoch seconds by LiveDesk's clock.
    pub activity: Option<i64>,
    /// Newest creation that was carried, as above.
    pub created: Option<i64>,
    /// Digest of what the first pages showed.
    pub heads: Option<Digest>,
    /// How descending order is spelled.
    pub style: DirectionStyle,
    /// Whether the order that is asked for is followed.
    pub sorted: bool,
    /// What happened before this, and the lane can see, was carried: our clock.
    pub carried_until: Option<Timestamp>,
    /// The run that came this far.
    pub run: RunId,
}

impl LaneMark {
    /// Whether the last cycle could see what is new: it was walked to its end.
    pub fn sees(&self) -> bool {
        self.sorted || self.heads.is_some()
    }
}

const STYLES: [(DirectionStyle, &str); 2] =
    [(DirectionStyle::Parameter, "parameter"), (DirectionStyle::Minus, "minus")];

impl Store {
    /// Where the lane stands; `None` before its first whole cycle.
    pub async fn lane(&self) -> Result<Option<LaneMark>, StoreError> {
        let row = sqlx::query!("SELECT activity, created, heads, style, sorted, carried_until, run FROM lane")
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        row.map(|row| {
            let style = STYLES.into_iter().find(|(_, text)| *text == row.style).map(|(style, _)| style);
            Ok(LaneMark {
                activity: row.activity,
                created: row.created,
                heads: maybe_digest(row.heads, "lane.heads")?,
                style: word(style, "lane.style")?,
                sorted: row.sorted != 0,
                carried_until: row.carried_until.map(Timestamp),
                run: RunId(row.run),
            })
        })
        .transpose()
    }

    /// Stores where the lane stands now.
    pub async fn put_lane(&self, mark: LaneMark) -> Result<(), StoreError> {
        self.transact(move |conn| {
            Box::pin(async move {
                let style = STYLES.into_iter().find(|(style, _)| *style == mark.style).map(|(_, text)| text);
                let heads = mark.heads.map(|digest| digest.0.to_vec());
                let (sorted, until, run) = (i64::from(mark.sorted), mark.carried_until.map(|at| at.0), mark.run.0);
                sqlx::query!(
                    "INSERT INTO lane (id, activity, created, heads, style, sorted, carried_until, run)
                     VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)
                     ON CONFLICT (id) DO UPDATE SET activity = excluded.activity, created = excluded.created,
                         heads = excluded.heads, style = excluded.style, sorted = excluded.sorted,
                         carried_until = excluded.carried_until, run = excluded.run",
                    mark.activity,
                    mark.created,
                    heads,
                    style,
                    sorted,
                    until,
                    run
                )
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Those of these contacts that are recorded in some way: seen by a sweep, linked, set aside, in conflict or in doubt.
    pub async fn recorded_among(&self, ids: &[LiveDeskId]) -> Result<HashSet<LiveDeskId>, StoreError> {
        let ids = batch(ids.iter().map(|id| id.0));
        let known = sqlx::query_scalar!(
            r#"SELECT json_group_array(value) AS "known!: String" FROM jsonb_each(?1) WHERE
                   EXISTS (SELECT 1 FROM sighting WHERE livedesk_id = value)
                   OR EXISTS (SELECT 1 FROM link WHERE livedesk_id = value)
                   OR EXISTS (SELECT 1 FROM dead_letter WHERE livedesk_id = value)
                   OR EXISTS (SELECT 1 FROM conflict WHERE livedesk_id = value)
                   OR EXISTS (SELECT 1 FROM intent WHERE livedesk_id = value AND state <> 'audit')"#,
            ids
        )
        .fetch_one(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        let known: Vec<i64> = json(&known, "livedesk_id")?;
        Ok(known.into_iter().map(LiveDeskId).collect())
    }
}
