//! A notebook for one command: compact facts about many records, on disk, private, and gone when it is closed.
//!
//! It lies beside the state, where there is room for as much again (a folder for temporary files may be memory), and loses
//! its name as soon as it is open, so that nothing is left behind whatever ends the process. It is no state: nothing in it
//! survives. What its owner keeps here are digests and ids, as in the state.

use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Row, SqliteConnection};
use tokio::sync::Mutex;

use crate::domain::ids::{ChildId, FirstLineId, LiveDeskId};

use super::error::StoreError;
use super::links::ChildKind;
use super::rows::batch;

/// What errors call it.
const NAME: &str = "(temporary file beside the state, or in TMPDIR)";

const SCHEMA: [&str; 11] = [
    "PRAGMA journal_mode = OFF",
    "PRAGMA synchronous = OFF",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA cache_size = -16384",
    "CREATE TABLE customer (
         target INTEGER PRIMARY KEY, stamp INTEGER, word INTEGER NOT NULL, profile INTEGER, body TEXT NOT NULL
     ) STRICT",
    "CREATE INDEX customer_stamp ON customer (stamp) WHERE stamp IS NOT NULL",
    "CREATE INDEX customer_profile ON customer (profile) WHERE profile IS NOT NULL",
    "CREATE TABLE child (
         kind TEXT NOT NULL, id INTEGER NOT NULL, key INTEGER NOT NULL, owner INTEGER NOT NULL, profile INTEGER,
         PRIMARY KEY (kind, key, owner, id)
     ) STRICT, WITHOUT ROWID",
    "CREATE INDEX child_owner ON child (owner, kind, key)",
    "CREATE TABLE note (contact INTEGER NOT NULL, seq INTEGER NOT NULL, open INTEGER NOT NULL, body TEXT NOT NULL,
         PRIMARY KEY (contact, seq)) STRICT, WITHOUT ROWID",
    "CREATE INDEX note_open ON note (contact) WHERE open",
];

/// A customer of FIRST LINE, as it is noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedCustomer {
    /// Its id.
    pub target: FirstLineId,
    /// The contact that it is stamped for.
    pub stamp: Option<LiveDeskId>,
    /// What else its stamp says; the owner's own code.
    pub word: i64,
    /// The profile that its phones hang on.
    pub profile: Option<i64>,
    /// What it holds, as its owner wrote it down.
    pub body: String,
}

/// An e-mail or phone row, as it is noted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedChild {
    /// E-mail or phone.
    pub kind: ChildKind,
    /// Its own id.
    pub id: ChildId,
    /// Its value's digest, shortened.
    pub key: i64,
    /// Whose it is; `None` where the row names nobody, or a profile alone.
    pub owner: Option<FirstLineId>,
    /// The profile that it hangs on.
    pub profile: Option<i64>,
}

/// One remark about a contact, or about a customer that belongs to none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The contact; `None` for a remark about a customer alone.
    pub contact: Option<LiveDeskId>,
    /// Whether it is to be looked at again.
    pub open: bool,
    /// The remark.
    pub body: String,
}

/// Stands for "no contact"; no contact has this id.
const NOBODY: i64 = -1;

/// The notebook.
pub struct Scratch {
    conn: Mutex<(SqliteConnection, i64)>,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

fn failed(source: sqlx::Error) -> StoreError {
    StoreError::from_sql(Path::new(NAME), source)
}

impl Scratch {
    /// An empty notebook in this folder; where that cannot be written, wherever SQLite keeps temporary files.
    pub async fn open(folder: &Path) -> Result<Self, StoreError> {
        // Its owner's alone; gone with this value, once the connection has it.
        let file = tempfile::Builder::new().prefix(".deskferry-").tempfile_in(folder).ok();
        let name = file.as_ref().map_or(Path::new(""), |file| file.path());
        let options = SqliteConnectOptions::new().filename(name).disable_statement_logging();
        let mut conn = options.connect().await.map_err(failed)?;
        for statement in SCHEMA {
            sqlx::query(statement).execute(&mut conn).await.map_err(failed)?;
        }
        drop(file);
        Ok(Self { conn: Mutex::new((conn, 0)) })
    }

    async fn run(&self, statement: &'static str, rows: String) -> Result<(), StoreError> {
        let mut guard = self.conn.lock().await;
        sqlx::query(statement).bind(rows).execute(&mut guard.0).await.map_err(failed)?;
        Ok(())
    }

    async fn ask(&self, statement: &'static str, rows: String) -> Result<Vec<sqlx::sqlite::SqliteRow>, StoreError> {
        let mut guard = self.conn.lock().await;
        sqlx::query(statement).bind(rows).fetch_all(&mut guard.0).await.map_err(failed)
    }

    /// Notes customers; one that is noted already is replaced.
    pub async fn put_customers(&self, customers: &[NotedCustomer]) -> Result<(), StoreError> {
        let rows = customers
            .iter()
            .map(|row| (row.target.0, row.stamp.map(|id| id.0), row.word, row.profile, row.body.as_str()));
        self.run(
            "INSERT OR REPLACE INTO customer (target, stamp, word, profile, body)
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?)",
            batch(rows),
        )
        .await
    }

    /// The customers that are stamped for one of these contacts.
    pub async fn stamped_for(&self, ids: &[LiveDeskId]) -> Result<Vec<NotedCustomer>, StoreError> {
        let rows = self
            .ask(
                "SELECT * FROM customer WHERE stamp IN (SELECT value FROM json_each(?)) ORDER BY target",
                batch(ids.iter().map(|id| id.0)),
            )
            .await?;
        rows.iter().map(customer).collect()
    }

    /// These customers, as far as they are noted.
    pub async fn customers(&self, targets: &[FirstLineId]) -> Result<Vec<NotedCustomer>, StoreError> {
        let rows = self
            .ask(
                "SELECT * FROM customer WHERE target IN (SELECT value FROM json_each(?))",
                batch(targets.iter().map(|id| id.0)),
            )
            .await?;
        rows.iter().map(customer).collect()
    }

    /// Up to `limit` customers above `after` that are stamped for a contact, or carry this word.
    pub async fn marked_page(
        &self,
        after: FirstLineId,
        word: i64,
        limit: u32,
    ) -> Result<Vec<NotedCustomer>, StoreError> {
        let mut guard = self.conn.lock().await;
        let rows = sqlx::query(
            "SELECT * FROM customer WHERE target > ? AND (stamp IS NOT NULL OR word = ?) ORDER BY target LIMIT ?",
        )
        .bind(after.0)
        .bind(word)
        .bind(limit)
        .fetch_all(&mut guard.0)
        .await
        .map_err(failed)?;
        rows.iter().map(customer).collect()
    }

    /// Notes e-mail and phone rows.
    pub async fn put_children(&self, children: &[NotedChild]) -> Result<(), StoreError> {
        let rows = children
            .iter()
            .map(|row| (row.kind.as_str(), row.id.0, row.key, row.owner.map_or(0, |owner| owner.0), row.profile));
        self.run(
            "INSERT OR REPLACE INTO child (kind, id, key, owner, profile)
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4 FROM json_each(?)",
            batch(rows),
        )
        .await
    }

    /// Gives rows that name a profile alone to the customer who has it.
    pub async fn settle_owners(&self) -> Result<(), StoreError> {
        let mut guard = self.conn.lock().await;
        sqlx::query(
            "UPDATE OR REPLACE child SET owner = (SELECT min(target) FROM customer WHERE customer.profile = child.profile)
             WHERE owner = 0 AND EXISTS (SELECT 1 FROM customer WHERE customer.profile = child.profile)",
        )
        .execute(&mut guard.0)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// The rows of these customers: owner, kind, and the shortened digest of the value.
    pub async fn children_of(&self, owners: &[FirstLineId]) -> Result<Vec<(FirstLineId, ChildKind, i64)>, StoreError> {
        let rows = self
            .ask(
                "SELECT owner, kind, key FROM child WHERE owner IN (SELECT value FROM json_each(?))",
                batch(owners.iter().map(|id| id.0)),
            )
            .await?;
        rows.iter()
            .map(|row| {
                let kind: String = row.try_get(1).map_err(failed)?;
                let kind = ChildKind::parse(&kind).ok_or(StoreError::Unexpected { place: "child.kind" })?;
                Ok((FirstLineId(row.try_get(0).map_err(failed)?), kind, row.try_get(2).map_err(failed)?))
            })
            .collect()
    }

    /// The customers, a few of them, on whom a value stands.
    pub async fn holders(&self, kind: ChildKind, key: i64) -> Result<Vec<FirstLineId>, StoreError> {
        let mut guard = self.conn.lock().await;
        let owners: Vec<i64> = sqlx::query_scalar(
            "SELECT DISTINCT owner FROM child WHERE kind = ? AND key = ? AND owner <> 0 ORDER BY owner LIMIT 5",
        )
        .bind(kind.as_str())
        .bind(key)
        .fetch_all(&mut guard.0)
        .await
        .map_err(failed)?;
        Ok(owners.into_iter().map(FirstLineId).collect())
    }

    /// Whether a value stands on a row that nobody knows the customer of.
    pub async fn is_ownerless(&self, kind: ChildKind, key: i64) -> Result<bool, StoreError> {
        let mut guard = self.conn.lock().await;
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM child WHERE kind = ? AND key = ? AND owner = 0)")
            .bind(kind.as_str())
            .bind(key)
            .fetch_one(&mut guard.0)
            .await
            .map_err(failed)
    }

    /// Writes remarks down.
    pub async fn put_notes(&self, notes: &[Note]) -> Result<(), StoreError> {
        if notes.is_empty() {
            return Ok(());
        }
        let mut guard = self.conn.lock().await;
        let (conn, seq) = &mut *guard;
        let rows = notes.iter().map(|note| {
            *seq += 1;
            (note.contact.map_or(NOBODY, |id| id.0), *seq, i64::from(note.open), note.body.as_str())
        });
        sqlx::query(
            "INSERT INTO note (contact, seq, open, body)
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?)",
        )
        .bind(batch(rows))
        .execute(conn)
        .await
        .map_err(failed)?;
        Ok(())
    }

    /// Strikes every remark about these contacts out.
    pub async fn drop_notes(&self, contacts: &[LiveDeskId]) -> Result<(), StoreError> {
        self.run(
            "DELETE FROM note WHERE contact IN (SELECT value FROM json_each(?))",
            batch(contacts.iter().map(|id| id.0)),
        )
        .await
    }

    /// Strikes one remark out.
    pub async fn drop_note(&self, seq: i64) -> Result<(), StoreError> {
        self.run("DELETE FROM note WHERE seq IN (SELECT value FROM json_each(?))", batch([seq].into_iter())).await
    }

    /// Up to `limit` contacts above `after` with a remark that is to be looked at again; with any remark if `all`.
    pub async fn open_contacts(&self, after: LiveDeskId, all: bool, limit: u32) -> Result<Vec<LiveDeskId>, StoreError> {
        let mut guard = self.conn.lock().await;
        let ids: Vec<i64> = sqlx::query_scalar(
            "SELECT DISTINCT contact FROM note WHERE contact > ? AND (open OR ?) ORDER BY contact LIMIT ?",
        )
        .bind(after.0)
        .bind(all)
        .bind(limit)
        .fetch_all(&mut guard.0)
        .await
        .map_err(failed)?;
        Ok(ids.into_iter().map(LiveDeskId).collect())
    }

    /// Up to `limit` remarks after this place, by contact; those about customers alone come first. `None` begins.
    pub async fn notes_page(
        &self,
        after: Option<(Option<LiveDeskId>, i64)>,
        limit: u32,
    ) -> Result<Vec<(i64, Note)>, StoreError> {
        let (contact, seq) = after.map_or((NOBODY - 1, 0), |(id, seq)| (id.map_or(NOBODY, |id| id.0), seq));
        let mut guard = self.conn.lock().await;
        let rows = sqlx::query(
            "SELECT contact, seq, open, body FROM note WHERE (contact, seq) > (?, ?) ORDER BY contact, seq LIMIT ?",
        )
        .bind(contact)
        .bind(seq)
        .bind(limit)
        .fetch_all(&mut guard.0)
        .await
        .map_err(failed)?;
        rows.iter()
            .map(|row| {
                let contact: i64 = row.try_get(0).map_err(failed)?;
                let open: i64 = row.try_get(2).map_err(failed)?;
                let contact = (contact != NOBODY).then_some(LiveDeskId(contact));
                let body = row.try_get(3).map_err(failed)?;
                Ok((row.try_get(1).map_err(failed)?, Note { contact, open: open != 0, body }))
            })
            .collect()
    }
}

fn customer(row: &sqlx::sqlite::SqliteRow) -> Result<NotedCustomer, StoreError> {
    let stamp: Option<i64> = row.try_get("stamp").map_err(failed)?;
    Ok(NotedCustomer {
        target: FirstLineId(row.try_get("target").map_err(failed)?),
        stamp: stamp.map(LiveDeskId),
        word: row.try_get("word").map_err(failed)?,
        profile: row.try_get("profile").map_err(failed)?,
        body: row.try_get("body").map_err(failed)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(target: i64, stamp: Option<i64>, profile: Option<i64>) -> NotedCustomer {
        let stamp = stamp.map(LiveDeskId);
        NotedCustomer { target: FirstLineId(target), stamp, word: 0, profile, body: String::from("{}") }
    }

    #[tokio::test]
    async fn a_notebook_grows_on_disk_under_no_name_and_works_where_the_folder_cannot_be_written() {
        let folder = tempfile::tempdir().expect("a folder");
        for place in [folder.path(), Path::new("/nonexistent")] {
            let notes = Scratch::open(place).await.expect("a notebook");
            let body = "x".repeat(10_000);
            for page in 0..40 {
                let customer = |row: i64| NotedCustomer { body: body.clone(), ..seen(page * 100 + row, None, None) };
                notes.put_customers(&(1..=100).map(customer).collect::<Vec<_>>()).await.expect("noted");
            }
            assert_eq!(notes.customers(&[FirstLineId(1), FirstLineId(4_000)]).await.expect("found").len(), 2);
            assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
            let opened = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
            let sizes = opened.filter_map(|file| {
                let file = file.ok()?;
                let name = std::fs::read_link(file.path()).ok()?.to_string_lossy().into_owned();
                let size = std::fs::metadata(file.path()).ok()?.len();
                (name.ends_with("(deleted)")).then_some(size)
            });
            if cfg!(target_os = "linux") {
                assert!(sizes.max().is_some_and(|size| size > 10_000_000), "40 MB are not kept in memory");
            }
        }
    }

    #[tokio::test]
    async fn customers_are_found_by_their_stamp_and_phones_by_the_profile_of_their_owner() {
        let notes = Scratch::open(&std::env::temp_dir()).await.expect("a notebook");
        let all = [seen(7, Some(1), Some(70)), seen(8, Some(1), None), seen(9, None, Some(90))];
        notes.put_customers(&all).await.expect("noted");
        assert_eq!(notes.stamped_for(&[LiveDeskId(1), LiveDeskId(2)]).await.expect("found"), all[..2]);
        assert_eq!(notes.customers(&[FirstLineId(9)]).await.expect("found"), all[2..]);
        let phone =
            |id, owner, profile| NotedChild { kind: ChildKind::Phone, id: ChildId(id), key: -5, owner, profile };
        notes.put_children(&[phone(1, None, Some(90)), phone(2, None, Some(91))]).await.expect("noted");
        notes.settle_owners().await.expect("settled");
        assert_eq!(notes.holders(ChildKind::Phone, -5).await.expect("found"), [FirstLineId(9)]);
        for (kind, key, ownerless) in
            [(ChildKind::Phone, -5, true), (ChildKind::Phone, 5, false), (ChildKind::Email, -5, false)]
        {
            assert_eq!(notes.is_ownerless(kind, key).await.expect("found"), ownerless, "{kind:?} {key}");
        }
    }

    #[tokio::test]
    async fn remarks_come_by_contact_and_can_be_struck_out() {
        let notes = Scratch::open(&std::env::temp_dir()).await.expect("a notebook");
        let note = |contact: Option<i64>, open, body: &str| Note {
            contact: contact.map(LiveDeskId),
            open,
            body: body.to_owned(),
        };
        let all =
            [note(Some(5), true, "a"), note(None, true, "b"), note(Some(3), false, "c"), note(Some(5), false, "d")];
        notes.put_notes(&all).await.expect("noted");
        let first = notes.notes_page(None, 2).await.expect("read");
        assert_eq!(first.iter().map(|(_, note)| note.body.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        let (seq, last) = &first[1];
        let rest = notes.notes_page(Some((last.contact, *seq)), 9).await.expect("read");
        assert_eq!(rest.iter().map(|(_, note)| note.body.as_str()).collect::<Vec<_>>(), ["a", "d"]);
        assert_eq!(notes.open_contacts(LiveDeskId(-1), false, 9).await.expect("read"), [LiveDeskId(5)]);
        assert_eq!(notes.open_contacts(LiveDeskId(-1), true, 9).await.expect("read").len(), 2);
        notes.drop_notes(&[LiveDeskId(5)]).await.expect("struck out");
        notes.drop_note(first[0].0).await.expect("struck out");
        assert_eq!(notes.notes_page(None, 9).await.expect("read").len(), 1);
    }
}
