//! What an undo asks of the state and leaves in it: which contacts a run touched, which later runs built upon that, and
//! the hold that keeps everything from being carried again.

use serde_json::{Value, json};

use crate::clock::Timestamp;
use crate::domain::ids::{LiveDeskId, RunId};

use super::Store;
use super::checkpoints::ABANDONED;
use super::conflicts::TWINS;
use super::error::StoreError;

/// Profile key of the hold.
const HOLD: &str = "hold";

/// Since a run was taken back nothing is carried, until somebody says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The undo that set it.
    pub undo: RunId,
    /// The run that it took back.
    pub of: RunId,
    /// When.
    pub at: Timestamp,
}

impl std::fmt::Display for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "held since undo {} took back run {}: nothing is carried until `deskferry undo --release` or a new `deskferry \
             backfill`",
            self.undo, self.of
        )
    }
}

/// What the journal holds of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunTraces {
    /// Contacts with changes that stand, per action.
    pub actions: Vec<(String, u64)>,
    /// Contacts with changes that stand.
    pub contacts: u64,
    /// The undos that took changes of it back, the latest first.
    pub undone_by: Vec<RunId>,
}

/// A later run that changed records which a run had changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltUpon {
    /// The later run.
    pub run: RunId,
    /// Its kind.
    pub kind: String,
    /// How many of the contacts.
    pub contacts: u64,
}

impl Store {
    /// The hold, if there is one.
    pub async fn hold(&self) -> Result<Option<Hold>, StoreError> {
        let Some(hold) = self.profile_get(HOLD).await? else { return Ok(None) };
        let number = |key: &str| hold.get(key).and_then(Value::as_i64);
        Ok(match (number("undo"), number("of"), number("at")) {
            (Some(undo), Some(of), Some(at)) => Some(Hold { undo: RunId(undo), of: RunId(of), at: Timestamp(at) }),
            _ => None,
        })
    }

    /// Lifts the hold; which one it was.
    pub async fn release_hold(&self) -> Result<Option<Hold>, StoreError> {
        let hold = self.hold().await?;
        if hold.is_some() {
            self.profile_put(HOLD, &Value::Null).await?;
        }
        Ok(hold)
    }

    /// Sets the hold before the first change is taken back. What says "carried up to here" goes with it: an open sweep, the
    /// mark of the quick cycle, and the index of the target.
    pub async fn begin_undo(&self, hold: Hold) -> Result<(), StoreError> {
        let value = json!({ "undo": hold.undo.0, "of": hold.of.0, "at": hold.at.0 }).to_string();
        self.transact(move |conn| {
            Box::pin(async move {
                sqlx::query!(
                    "INSERT INTO profile (key, value, at) VALUES (?1, ?2, ?3)
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value, at = excluded.at",
                    HOLD,
                    value,
                    hold.at.0
                )
                .execute(&mut *conn)
                .await?;
                sqlx::query!(
                    "UPDATE sweep SET ended_at = ?1, verdict = ?2 WHERE ended_at IS NULL",
                    hold.at.0,
                    ABANDONED
                )
                .execute(&mut *conn)
                .await?;
                sqlx::query!("DELETE FROM checkpoint").execute(&mut *conn).await?;
                sqlx::query!("DELETE FROM lane").execute(&mut *conn).await?;
                sqlx::query!("UPDATE target_walk SET finished_at = NULL").execute(conn).await?;
                Ok(())
            })
        })
        .await
    }

    /// Forgets what a run set aside or left in doubt of identity. Twins stay: their records are there; so does a doubt that says
    /// whom an earlier decision left behind: the contact's stamp is there.
    pub async fn forget_left_over_by(&self, run: RunId) -> Result<(u64, u64), StoreError> {
        self.transact(move |conn| {
            Box::pin(async move {
                let letters = sqlx::query!("DELETE FROM dead_letter WHERE run = ?1", run.0).execute(&mut *conn).await?;
                let conflicts = sqlx::query!(
                    "DELETE FROM conflict WHERE run = ?1 AND decision IS NULL AND kind <> ?2 AND left_behind IS NULL",
                    run.0,
                    TWINS
                )
                .execute(conn)
                .await?;
                Ok((letters.rows_affected(), conflicts.rows_affected()))
            })
        })
        .await
    }

    /// What the journal holds of a run.
    pub async fn traces_of_run(&self, run: RunId) -> Result<RunTraces, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT action, count(DISTINCT livedesk_id) AS "contacts!: i64" FROM journal
               WHERE run = ?1 AND undone_by IS NULL AND action <> 'trial' GROUP BY action ORDER BY action"#,
            run.0
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        let contacts = sqlx::query_scalar!(
            r#"SELECT count(DISTINCT livedesk_id) AS "contacts!: i64" FROM journal
               WHERE run = ?1 AND undone_by IS NULL AND action <> 'trial'"#,
            run.0
        )
        .fetch_one(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        let undos = sqlx::query_scalar!(
            r#"SELECT DISTINCT undone_by AS "undo!: i64" FROM journal
               WHERE run = ?1 AND undone_by IS NOT NULL AND action <> 'trial' ORDER BY undone_by DESC"#,
            run.0
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(RunTraces {
            actions: rows.into_iter().map(|row| (row.action, row.contacts.unsigned_abs())).collect(),
            contacts: contacts.unsigned_abs(),
            undone_by: undos.into_iter().map(RunId).collect(),
        })
    }

    /// Rows of a run that stand, newest first, below `before`: their numbers and contacts.
    pub async fn standing_rows(
        &self,
        run: RunId,
        before: i64,
        limit: u32,
    ) -> Result<Vec<(i64, LiveDeskId)>, StoreError> {
        let rows = sqlx::query!(
            "SELECT id, livedesk_id FROM journal
             WHERE run = ?1 AND id < ?2 AND undone_by IS NULL AND action <> 'trial' ORDER BY id DESC LIMIT ?3",
            run.0,
            before,
            limit
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().map(|row| (row.id, LiveDeskId(row.livedesk_id))).collect())
    }

    /// Runs whose changes stand and came after this run's own on the same contacts, newest first. What other undos took back
    /// is no change; only of an undo they count, its own takings-back excepted.
    pub async fn built_upon(&self, run: RunId, is_undo: bool) -> Result<Vec<BuiltUpon>, StoreError> {
        let rows = sqlx::query!(
            r#"SELECT later.run, run.kind, count(DISTINCT later.livedesk_id) AS "contacts!: i64"
               FROM journal later JOIN run ON run.id = later.run
               WHERE later.id > (SELECT min(id) FROM journal WHERE run = ?1)
                   AND later.run <> ?1 AND later.undone_by IS NULL AND later.action NOT IN ('trial', 'tag')
                   AND (run.kind <> 'undo' OR (?2 AND coalesce(run.options ->> 'of', 0) <> ?1))
                   AND later.id > (SELECT max(mine.id) FROM journal mine
                                   WHERE mine.run = ?1 AND mine.livedesk_id = later.livedesk_id
                                       AND mine.undone_by IS NULL AND mine.action <> 'trial')
               GROUP BY later.run, run.kind ORDER BY later.run DESC"#,
            run.0,
            is_undo
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(rows
            .into_iter()
            .map(|row| BuiltUpon { run: RunId(row.run), kind: row.kind, contacts: row.contacts.unsigned_abs() })
            .collect())
    }
}
