//! Links whose record is not there any more, and those that can vouch for one that is not.

use crate::clock::Timestamp;
use crate::domain::ids::LiveDeskId;

use super::Store;
use super::absence::Standings;
use super::error::StoreError;
use super::links::{Link, LinkRow};

/// Places in the range of ids from which witnesses are taken: neighbours are often deleted together.
const WITNESSES: i64 = 8;

impl Store {
    /// How many links have which standing.
    pub async fn standings(&self) -> Result<Standings, StoreError> {
        let row = sqlx::query!(
            r#"SELECT (SELECT count(*) FROM link) AS "all!: i64",
                   count(*) FILTER (WHERE standing = 'alias') AS "alias!: i64",
                   count(*) FILTER (WHERE standing = 'gone') AS "gone!: i64"
               FROM link WHERE standing <> 'live'"#
        )
        .fetch_one(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        let live = row.all - row.alias - row.gone;
        let count = i64::unsigned_abs;
        Ok(Standings { live: count(live), alias: count(row.alias), gone: count(row.gone) })
    }

    /// Up to `limit` links whose record is an alias or gone, ascending by contact.
    pub async fn vanished(&self, limit: u32) -> Result<Vec<Link>, StoreError> {
        let rows = sqlx::query_as!(
            LinkRow,
            "SELECT * FROM link WHERE standing <> 'live' ORDER BY livedesk_id LIMIT ?1",
            limit
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        rows.into_iter().map(LinkRow::link).collect()
    }

    /// Up to `limit` links that were found to lead nowhere between these moments, the latest first.
    pub async fn vanished_between(
        &self,
        since: Timestamp,
        until: Timestamp,
        limit: u32,
    ) -> Result<Vec<Link>, StoreError> {
        let rows = sqlx::query_as!(
            LinkRow,
            "SELECT * FROM link WHERE standing <> 'live' AND updated_at >= ?1 AND updated_at < ?2
             ORDER BY updated_at DESC LIMIT ?3",
            since.0,
            until.0,
            limit
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        rows.into_iter().map(LinkRow::link).collect()
    }

    /// How many links were found to lead nowhere since this moment; not those of a time that lies ahead because the clock was
    /// set back.
    pub async fn vanished_since(&self, moment: Timestamp) -> Result<u64, StoreError> {
        let not_ahead = self.now().not_ahead().0;
        let count = sqlx::query_scalar!(
            "SELECT count(*) FROM link WHERE standing <> 'live' AND updated_at BETWEEN ?1 AND ?2",
            moment.0,
            not_ahead
        )
        .fetch_one(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(count.unsigned_abs())
    }

    /// A few live links from all over the range of contacts, those of records that we `made` or of the others; never
    /// that of `not`.
    pub async fn live_witnesses(&self, made: bool, not: LiveDeskId) -> Result<Vec<Link>, StoreError> {
        let mut links: Vec<Link> = Vec::new();
        for place in 0..WITNESSES {
            let row = sqlx::query_as!(
                LinkRow,
                "SELECT * FROM link WHERE standing = 'live' AND (origin = 'created') = ?1 AND livedesk_id <> ?2
                     AND livedesk_id >= (SELECT min(livedesk_id) + (max(livedesk_id) - min(livedesk_id)) / ?3 * ?4
                         FROM link)
                 ORDER BY livedesk_id LIMIT 1",
                made,
                not.0,
                WITNESSES,
                place
            )
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
            if let Some(link) = row.map(LinkRow::link).transpose()?
                && links.iter().all(|known| known.livedesk_id != link.livedesk_id)
            {
                links.push(link);
            }
        }
        Ok(links)
    }
}
