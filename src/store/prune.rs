//! What the state forgets: runs that nothing refers to, old sweeps, and sightings of contacts that are nowhere any more.
//!
//! Each call is one transaction over a bounded number of rows, so that a reader or a run never waits long; the caller calls
//! until nothing is left. Before-images go by their own retention (`journal`); a run that has some stays with them.

use crate::clock::Timestamp;

use super::Store;
use super::error::StoreError;

/// Rows that one transaction deletes.
pub(super) const AT_ONCE: i64 = 500;
/// Latest runs that stay whatever their age: what is shown of each kind is looked for among them (`vitals`).
const RUNS_KEPT: i64 = 1_000;
/// Latest sweeps of each verdict that stay: absence and both lags are judged by them.
const SWEEPS_KEPT: i64 = 20;
/// Proven sweeps that must have missed a contact of which nothing else is known before its sighting goes.
const MISSED_BY: i64 = 3;

/// The columns that refer to a run. A new one belongs here and into the query of [`Store::prune_runs`].
#[cfg(test)]
pub(super) const REFERRING: [&str; 8] = [
    "absence.run",
    "conflict.run",
    "dead_letter.run",
    "journal.run",
    "journal.undone_by",
    "lane.run",
    "link.run",
    "sweep.run",
];

impl Store {
    /// Forgets some runs that ended before `before` and that nothing refers to, and says how many; 0 when none is left.
    pub async fn prune_runs(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.transact(move |conn| {
            Box::pin(async move {
                let done = sqlx::query!(
                    "DELETE FROM run WHERE id IN (
                         SELECT id FROM run WHERE ended_at < ?1 AND id <= (SELECT max(id) FROM run) - ?2
                             AND NOT EXISTS (SELECT 1 FROM link WHERE link.run = run.id)
                             AND NOT EXISTS (SELECT 1 FROM sweep WHERE sweep.run = run.id)
                             AND NOT EXISTS (SELECT 1 FROM journal WHERE journal.run = run.id)
                             AND NOT EXISTS (SELECT 1 FROM journal WHERE journal.undone_by = run.id)
                             AND NOT EXISTS (SELECT 1 FROM dead_letter WHERE dead_letter.run = run.id)
                             AND NOT EXISTS (SELECT 1 FROM conflict WHERE conflict.run = run.id)
                             AND NOT EXISTS (SELECT 1 FROM lane WHERE lane.run = run.id)
                             AND NOT EXISTS (SELECT 1 FROM absence WHERE absence.run = run.id)
                         ORDER BY id LIMIT ?3)",
                    before.0,
                    RUNS_KEPT,
                    AT_ONCE
                )
                .execute(conn)
                .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }

    /// Forgets some sweeps that ended before `before` and that nothing is judged by, and says how many; 0 when none is left.
    pub async fn prune_sweeps(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.transact(move |conn| {
            Box::pin(async move {
                let done = sqlx::query!(
                    "DELETE FROM sweep WHERE id IN (
                         SELECT id FROM sweep WHERE ended_at < ?1 AND id NOT IN (SELECT sweep FROM sighting)
                             AND id NOT IN (SELECT id FROM sweep WHERE ended_at IS NOT NULL ORDER BY id DESC LIMIT ?2)
                             AND id NOT IN (SELECT id FROM sweep WHERE verdict = 'proven' ORDER BY id DESC LIMIT ?2)
                             AND id NOT IN (SELECT id FROM sweep WHERE verdict = 'counted' ORDER BY id DESC LIMIT ?2)
                         ORDER BY id LIMIT ?3)",
                    before.0,
                    SWEEPS_KEPT,
                    AT_ONCE
                )
                .execute(conn)
                .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }

    /// Forgets that some contacts were seen that the last proven sweeps did not see any more, and of which nothing else is known; says how
    /// many; 0 when none is left. Sightings of linked contacts stay: their absence is judged by them.
    pub async fn prune_sightings(&self) -> Result<u64, StoreError> {
        self.transact(move |conn| {
            Box::pin(async move {
                let done = sqlx::query!(
                    "DELETE FROM sighting WHERE livedesk_id IN (
                         SELECT s.livedesk_id FROM sighting s
                         WHERE s.sweep < (SELECT id FROM sweep WHERE verdict = 'proven' ORDER BY id DESC LIMIT 1 OFFSET ?1)
                             AND NOT EXISTS (SELECT 1 FROM link WHERE link.livedesk_id = s.livedesk_id)
                             AND NOT EXISTS (SELECT 1 FROM dead_letter WHERE dead_letter.livedesk_id = s.livedesk_id)
                             AND NOT EXISTS (SELECT 1 FROM conflict WHERE conflict.livedesk_id = s.livedesk_id)
                             AND NOT EXISTS (SELECT 1 FROM intent WHERE intent.livedesk_id = s.livedesk_id)
                         LIMIT ?2)",
                    MISSED_BY - 1,
                    AT_ONCE
                )
                .execute(conn)
                .await?;
                Ok(done.rows_affected())
            })
        })
        .await
    }
}
