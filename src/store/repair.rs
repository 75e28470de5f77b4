//! Putting right what can be put right without guessing, by whoever holds the lock: leavings of processes that died, and
//! rows that nothing points at or that point at nothing.
//!
//! What is not here is on purpose. A damaged file, an intent for a linked contact, a run that a row names and that is not
//! there: each of these needs a look at FIRST LINE, or a copy.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sqlx::SqliteConnection;

use super::Store;
use super::copy::BACKUP_PART;
use super::error::StoreError;
use super::lock::beside;
use super::runs::DIED;

/// One thing that was put right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// A stable word.
    pub what: &'static str,
    /// How many rows or files.
    pub count: u64,
    /// What it was and what was done, in words.
    pub done: &'static str,
}

/// Exit code of a run that can be gone on with.
const RESUMABLE: i64 = 130;

/// Proven sweeps whose sightings are kept: as many as `deletes.absences` may ask for.
const KEPT_SWEEPS: i64 = 100;

impl Store {
    /// Puts right what is safe, in one transaction, and says what that was; the file's own faults are not touched.
    pub async fn repair(&self) -> Result<Vec<Repaired>, StoreError> {
        let mut repaired = self.transact(|conn| Box::pin(repair_rows(conn))).await?;
        let mut file = |what, done, was: bool| {
            if was {
                repaired.push(Repaired { what, count: 1, done });
            }
        };
        let part = beside(self.path(), BACKUP_PART);
        let removed = part.exists() && fs::remove_file(&part).is_ok();
        file("half_copy", "half a copy from before a migration that was broken off: removed", removed);
        Ok(repaired)
    }

    /// Shuts others out of the copies that lie beside the state; of the state's own files, opening does it. Gives how many.
    pub fn shut_copies(&self) -> Result<u64, StoreError> {
        let failed = |source| StoreError::from_io(self.path(), source);
        let mut shut = 0;
        for version in 1..=super::export::schema() {
            let copy = beside(self.path(), &format!(".backup-v{version}"));
            let Ok(found) = fs::metadata(&copy) else { continue };
            if found.permissions().mode() & 0o077 != 0 {
                fs::set_permissions(&copy, fs::Permissions::from_mode(0o600)).map_err(failed)?;
                shut += 1;
            }
        }
        Ok(shut)
    }
}

async fn repair_rows(conn: &mut SqliteConnection) -> sqlx::Result<Vec<Repaired>> {
    let mut repaired = Vec::new();
    let mut note = |what, count: u64, done| {
        if count > 0 {
            repaired.push(Repaired { what, count, done });
        }
    };
    // Whoever ran it is dead: this process holds the lock. It ended no earlier than its last trace.
    let runs = sqlx::query!(
        "UPDATE run SET exit_code = ?1, counts = json_set(counts, '$.' || ?2, json('true')), ended_at = max(started_at,
             coalesce((SELECT max(updated_at) FROM link WHERE link.run = run.id), 0),
             coalesce((SELECT max(at) FROM journal WHERE journal.run = run.id), 0),
             coalesce((SELECT max(last_at) FROM dead_letter WHERE dead_letter.run = run.id), 0),
             coalesce((SELECT max(opened_at) FROM intent), 0))
         WHERE ended_at IS NULL",
        RESUMABLE,
        DIED
    )
    .execute(&mut *conn)
    .await?;
    note("dead_runs", runs.rows_affected(), "runs whose process died: ended as interrupted, at their last trace");
    let children = sqlx::query!("DELETE FROM link_child WHERE livedesk_id NOT IN (SELECT livedesk_id FROM link)")
        .execute(&mut *conn)
        .await?;
    note("stray_children", children.rows_affected(), "e-mails and phones of contacts that have no link: removed");
    let absences = sqlx::query!("DELETE FROM absence WHERE livedesk_id NOT IN (SELECT livedesk_id FROM link)")
        .execute(&mut *conn)
        .await?;
    note("stray_absences", absences.rows_affected(), "absences of contacts that have no link: removed");
    let checkpoints =
        sqlx::query!("DELETE FROM checkpoint WHERE sweep NOT IN (SELECT id FROM sweep WHERE ended_at IS NULL)")
            .execute(&mut *conn)
            .await?;
    note("old_checkpoints", checkpoints.rows_affected(), "checkpoints of sweeps that are over: removed");
    let keys = sqlx::query!(
        "DELETE FROM target_index WHERE NOT EXISTS (SELECT 1 FROM target_walk WHERE finished_at IS NOT NULL)"
    )
    .execute(&mut *conn)
    .await?;
    note(
        "half_index",
        keys.rows_affected(),
        "keys of a walk over FIRST LINE that did not come to its end: removed, the next run reads it anew",
    );
    // Whether a contact is absent goes by the latest proven sweeps: what lies before them says nothing more.
    let sightings = sqlx::query!(
        "DELETE FROM sighting WHERE sweep NOT IN (SELECT id FROM sweep)
             AND sweep < (SELECT id FROM sweep WHERE verdict = 'proven' AND ended_at IS NOT NULL
                          ORDER BY id DESC LIMIT 1 OFFSET ?1)",
        KEPT_SWEEPS
    )
    .execute(&mut *conn)
    .await?;
    note("old_sightings", sightings.rows_affected(), "sightings by sweeps that are gone: removed");
    Ok(repaired)
}
