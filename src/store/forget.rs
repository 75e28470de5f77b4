//! Forgetting a person: what the state holds about a contact is erased, and a keyed hash of its LiveDesk id keeps it from
//! being carried again.
//!
//! The rows go in one transaction, overwritten with zeros (`secure_delete`). Then the file is written anew and the
//! write-ahead log cut to nothing ([`Store::compact`]): ids also stand as keys inside the file's tree, where no row
//! is. A crash in between leaves the rows erased, and forgetting the same person again finishes the rest.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;
use sqlx::{AssertSqlSafe, SqliteConnection};

use crate::clock::Timestamp;
use crate::domain::hash::Digest;
use crate::domain::ids::{FirstLineId, LiveDeskId};

use super::Store;
use super::error::StoreError;
use super::profile::UPDATE_TRIAL;
use super::rows::{batch, hex};

/// What the state holds about a contact.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traced {
    /// Its record at the target.
    pub target: Option<FirstLineId>,
    /// Rows per table, those of none left out.
    pub rows: Vec<(&'static str, u64)>,
    /// Whether something that was sent, or the trial of an update, is not settled: until it is, nobody else could find what
    /// came of it. A create that is proven absent is none of this.
    pub in_doubt: bool,
    /// Whether a create of the contact itself is not settled, or proven absent.
    pub to_be_made: bool,
    /// When it was forgotten, if it was.
    pub forgotten_at: Option<Timestamp>,
}

impl Traced {
    /// Whether the state knows the contact at all.
    pub fn is_known(&self) -> bool {
        !self.rows.is_empty()
    }
}

/// What was erased.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Rows per table, those of none left out.
    pub rows: Vec<(&'static str, u64)>,
    /// Runs whose options or counts named the contact.
    pub runs: u64,
}

/// Keys under which documents of runs name a contact, and lists of contacts.
const NAMING: [&str; 2] = ["livedesk_id", "contact"];
const LISTING: [&str; 7] = ["only", "ids", "samples", "parked_ids", "conflict_ids", "set_aside_ids", "unknown_ids"];

impl Store {
    /// What the state holds about a contact.
    pub async fn traced(&self, id: LiveDeskId) -> Result<Traced, StoreError> {
        let key = self.forgotten_key(id);
        let key = key.0.as_slice();
        let row = sqlx::query!(
            r#"SELECT (SELECT target FROM link WHERE livedesk_id = ?1) AS "target?: i64",
                   (SELECT count(*) FROM link WHERE livedesk_id = ?1) AS "links!: i64",
                   (SELECT count(*) FROM link_child WHERE livedesk_id = ?1) AS "children!: i64",
                   (SELECT count(*) FROM journal WHERE livedesk_id = ?1) AS "journal!: i64",
                   (SELECT count(*) FROM dead_letter WHERE livedesk_id = ?1) AS "dead_letters!: i64",
                   (SELECT count(*) FROM conflict WHERE livedesk_id = ?1) AS "conflicts!: i64",
                   (SELECT count(*) FROM decision WHERE livedesk_id = ?1) AS "decisions!: i64",
                   (SELECT count(*) FROM absence WHERE livedesk_id = ?1) AS "absences!: i64",
                   (SELECT count(*) FROM sighting WHERE livedesk_id = ?1) AS "sightings!: i64",
                   (SELECT count(*) FROM intent WHERE livedesk_id = ?1) AS "intents!: i64",
                   (SELECT count(*) FROM intent WHERE livedesk_id = ?1 AND kind = 'contact' AND state <> 'audit')
                       AS "creates!: i64",
                   (SELECT count(*) FROM intent WHERE livedesk_id = ?1 AND kind = 'contact' AND state = 'absent')
                       AS "absent!: i64",
                   (SELECT EXISTS (SELECT 1 FROM profile WHERE key = ?2 AND value ->> 'livedesk_id' = ?1))
                       AS "trial!: bool",
                   (SELECT at FROM forgotten WHERE key = ?3) AS "forgotten_at?: i64""#,
            id.0,
            UPDATE_TRIAL,
            key
        )
        .fetch_one(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        let rows = [
            ("links", row.links),
            ("e-mails and phones", row.children),
            ("before-images", row.journal),
            ("dead letters", row.dead_letters),
            ("conflicts", row.conflicts),
            ("decisions", row.decisions),
            ("absences", row.absences),
            ("sightings", row.sightings),
            ("intents", row.intents),
        ];
        Ok(Traced {
            target: row.target.map(FirstLineId),
            rows: rows.into_iter().filter(|(_, count)| *count > 0).map(|(name, n)| (name, n.unsigned_abs())).collect(),
            in_doubt: row.intents > row.absent || row.trial,
            to_be_made: row.creates > 0,
            forgotten_at: row.forgotten_at.map(Timestamp),
        })
    }

    /// Erases a contact and remembers the keyed hash of its id. Nothing happens while something of it is in doubt; look at
    /// [`Traced`] first. A create that is proven absent goes with it and is never repeated: look for it once more before. The file still has to be made anew: [`Store::compact`].
    pub async fn forget(&self, id: LiveDeskId) -> Result<Forgotten, StoreError> {
        let traced = self.traced(id).await?;
        if traced.in_doubt {
            return Ok(Forgotten::default());
        }
        let (key, now) = (self.forgotten_key(id), self.now().0);
        let target = traced.target;
        let runs = self
            .transact(move |conn| {
                Box::pin(async move {
                    erase_rows(conn, id, target).await?;
                    let runs = scrub_documents(conn, id).await?;
                    let key = key.0.as_slice();
                    sqlx::query!("INSERT INTO forgotten (key, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING", key, now)
                        .execute(conn)
                        .await?;
                    Ok(runs)
                })
            })
            .await?;
        Ok(Forgotten { rows: traced.rows, runs })
    }

    /// Takes the keyed hash back: the contact may be carried again, as one that was never seen. Answers whether it was
    /// there.
    pub async fn unforget(&self, id: LiveDeskId) -> Result<bool, StoreError> {
        let key = self.forgotten_key(id);
        self.transact(move |conn| {
            Box::pin(async move {
                let key = key.0.as_slice();
                let done = sqlx::query!("DELETE FROM forgotten WHERE key = ?1", key).execute(conn).await?;
                Ok(done.rows_affected() > 0)
            })
        })
        .await
    }

    /// Writes the file anew without what was erased, and empties the write-ahead log. Answers whether the log could be
    /// emptied: a process that reads just then keeps it.
    ///
    /// Meanwhile what is kept stands in a file without a name, its owner's alone, beside the state: there is room for as
    /// much again, which memory may not have.
    pub async fn compact(&self) -> Result<bool, StoreError> {
        let folder = self.path().parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A folder whose name is no text cannot be named to SQLite: then in memory.
        let beside =
            folder.to_str().map(|folder| format!("PRAGMA temp_store_directory = '{}'", folder.replace('\'', "''")));
        let busy: Result<i64, sqlx::Error> = self
            .on_writer(|conn| {
                Box::pin(async move {
                    if let Some(beside) = beside {
                        sqlx::query(AssertSqlSafe(beside)).execute(&mut *conn).await?;
                        sqlx::query("PRAGMA temp_store = FILE").execute(&mut *conn).await?;
                    }
                    let written = sqlx::query("VACUUM").execute(&mut *conn).await;
                    sqlx::query("PRAGMA temp_store = MEMORY").execute(&mut *conn).await?;
                    sqlx::query("PRAGMA temp_store_directory = ''").execute(&mut *conn).await?;
                    written?;
                    sqlx::query_scalar("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(conn).await
                })
            })
            .await?;
        Ok(busy.map_err(|source| self.failed(source))? == 0)
    }

    /// Those of these contacts that were forgotten.
    pub async fn forgotten_among(&self, ids: &[LiveDeskId]) -> Result<HashSet<LiveDeskId>, StoreError> {
        if ids.is_empty() || !self.forgets_anybody().await? {
            return Ok(HashSet::new());
        }
        let keys: Vec<(Digest, LiveDeskId)> = ids.iter().map(|id| (self.forgotten_key(*id), *id)).collect();
        let wanted = batch(keys.iter().map(|(key, _)| hex(&key.0)));
        let found = sqlx::query_scalar!(
            "SELECT key FROM forgotten WHERE key IN (SELECT unhex(value) FROM jsonb_each(?1))",
            wanted
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        let found: HashSet<Vec<u8>> = found.into_iter().collect();
        Ok(keys.into_iter().filter(|(key, _)| found.contains(key.0.as_slice())).map(|(_, id)| id).collect())
    }

    /// How many people were forgotten.
    pub async fn forgotten_count(&self) -> Result<u64, StoreError> {
        let count = sqlx::query_scalar!("SELECT count(*) FROM forgotten")
            .fetch_one(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(count.unsigned_abs())
    }

    /// `document` without the forgotten people that it names.
    pub async fn without_forgotten(&self, mut document: Value) -> Result<Value, StoreError> {
        let mut named = Vec::new();
        numbers(&document, &mut named);
        for id in self.forgotten_among(&named).await? {
            scrub(&mut document, id.0);
        }
        Ok(document)
    }

    /// Forgetting needs the lock, so nobody is added while another process holds the state open.
    async fn forgets_anybody(&self) -> Result<bool, StoreError> {
        if self.inner.write.is_none() {
            return Ok(true);
        }
        let some = async || Ok::<bool, StoreError>(self.forgotten_count().await? > 0);
        self.inner.forgets.get_or_try_init(some).await.copied()
    }

    fn forgotten_key(&self, id: LiveDeskId) -> Digest {
        self.hash_key().digest("forgotten", id.to_string())
    }
}

async fn erase_rows(conn: &mut SqliteConnection, id: LiveDeskId, target: Option<FirstLineId>) -> sqlx::Result<()> {
    // Absence and children go with the link.
    sqlx::query!("DELETE FROM link WHERE livedesk_id = ?1", id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM intent WHERE livedesk_id = ?1", id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM journal WHERE livedesk_id = ?1", id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM dead_letter WHERE livedesk_id = ?1", id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM conflict WHERE livedesk_id = ?1", id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM decision WHERE livedesk_id = ?1", id.0).execute(&mut *conn).await?;
    sqlx::query!("DELETE FROM sighting WHERE livedesk_id = ?1", id.0).execute(&mut *conn).await?;
    let Some(target) = target else { return Ok(()) };
    let keys = sqlx::query!("DELETE FROM target_index WHERE target = ?1", target.0).execute(&mut *conn).await?;
    if keys.rows_affected() > 0 {
        // What is left is not the whole list any more: it may not be believed, and the next run reads it anew.
        sqlx::query!("UPDATE target_walk SET finished_at = NULL").execute(conn).await?;
    }
    Ok(())
}

/// Takes the id out of what runs were asked and counted. Answers how many of them named it.
async fn scrub_documents(conn: &mut SqliteConnection, id: LiveDeskId) -> sqlx::Result<u64> {
    let like = format!("%{id}%");
    let runs = sqlx::query!("SELECT id, options, counts FROM run WHERE options LIKE ?1 OR counts LIKE ?1", like)
        .fetch_all(&mut *conn)
        .await?;
    let mut changed = 0;
    for run in runs {
        let (options, counts) = (scrubbed(&run.options, id.0), scrubbed(&run.counts, id.0));
        if options.is_none() && counts.is_none() {
            continue;
        }
        let (options, counts) = (options.unwrap_or(run.options), counts.unwrap_or(run.counts));
        sqlx::query!("UPDATE run SET options = ?2, counts = ?3 WHERE id = ?1", run.id, options, counts)
            .execute(&mut *conn)
            .await?;
        changed += 1;
    }
    Ok(changed)
}

/// The document without the id; `None` when it does not name it.
fn scrubbed(text: &str, id: i64) -> Option<String> {
    let mut document: Value = serde_json::from_str(text).ok()?;
    scrub(&mut document, id).then(|| document.to_string())
}

/// Takes a contact out of lists of contacts, and out of rows that name it. A number that counts something stays.
fn scrub(value: &mut Value, id: i64) -> bool {
    let is_it = |value: &Value| value.as_i64() == Some(id);
    match value {
        Value::Array(items) => {
            let before = items.len();
            items.retain(|item| !item.get("livedesk_id").is_some_and(is_it));
            let changed = before > items.len();
            items.iter_mut().fold(changed, |changed, item| scrub(item, id) || changed)
        }
        Value::Object(fields) => fields.iter_mut().fold(false, |changed, (name, field)| {
            let now = match field {
                Value::Array(items) if LISTING.contains(&name.as_str()) => {
                    let before = items.len();
                    items.retain(|item| !is_it(item));
                    before > items.len()
                }
                Value::Number(_) if NAMING.contains(&name.as_str()) && is_it(field) => {
                    *field = Value::Null;
                    true
                }
                _ => scrub(field, id),
            };
            now || changed
        }),
        _ => false,
    }
}

/// Every number of a document that could be a contact.
fn numbers(value: &Value, found: &mut Vec<LiveDeskId>) {
    match value {
        Value::Number(number) => found.extend(number.as_i64().map(LiveDeskId)),
        Value::Array(items) => items.iter().for_each(|item| numbers(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| numbers(field, found)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use serde_json::json;

    use super::scrubbed;
    use crate::clock::{TestClock, Timestamp};
    use crate::domain::ids::{FirstLineId, LiveDeskId};
    use crate::store::{Access, JournalEntry, Store, WriteOp};

    /// The largest file without a name that this process holds in a folder.
    fn nameless_in(folder: &str) -> u64 {
        let opened = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let sizes = opened.filter_map(|file| {
            let name = fs::read_link(file.path()).ok()?.to_string_lossy().into_owned();
            let size = fs::metadata(file.path()).ok()?.len();
            (name.starts_with(folder) && name.ends_with("(deleted)")).then_some(size)
        });
        sizes.max().unwrap_or(0)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_file_is_written_anew_beside_the_state_and_not_in_memory() {
        let folder = tempfile::Builder::new().prefix("it's a folder").tempdir().expect("a folder");
        let path = folder.path().join("state.db");
        let access = Access::Exclusive { holder: String::from("a test") };
        let store = Store::open(&path, access, Arc::new(TestClock::default())).await.expect("a state");
        let run = store.begin_run("backfill", &json!({})).await.expect("a run");
        let before = json!({ "first_name": "x".repeat(200_000) }).to_string();
        for id in 1..=200 {
            let row = JournalEntry {
                run,
                livedesk_id: LiveDeskId(id),
                target: FirstLineId(id),
                action: String::from("update"),
                before: before.clone(),
                after: None,
                link_before: None,
                why: String::new(),
                at: Timestamp(0),
            };
            store.write(vec![WriteOp::Journal(row)]).await.expect("written");
        }
        let mut compacting = Box::pin(store.compact());
        let place = folder.path().to_str().expect("a text").to_owned();
        let mut largest = 0;
        let emptied = loop {
            tokio::select! {
                done = &mut compacting => break done,
                () = tokio::task::yield_now() => largest = nameless_in(&place).max(largest),
            }
        };
        drop(compacting);
        assert!(emptied.expect("it is written"), "the log is empty");
        if cfg!(target_os = "linux") {
            assert!(largest > 20_000_000, "{largest} of 40 MB were seen outside of memory");
        }
        store.close().await;
        let left: Vec<_> =
            fs::read_dir(folder.path()).expect("a folder").map(|file| file.unwrap().file_name()).collect();
        assert!(left.iter().all(|name| name.to_string_lossy().starts_with("state.db")), "{left:?}");
    }

    #[test]
    fn an_id_goes_out_of_lists_and_rows_and_counts_stay() {
        let text =
            json!({ "created": 12, "parked_ids": [11, 12], "unknown_ids": [12], "passes": [{ "added": 12 }], "row": { "livedesk_id": 12 },
                           "rows": [{ "livedesk_id": 12, "x": 1 }, { "livedesk_id": 13 }] })
            .to_string();
        let expected = json!({ "created": 12, "parked_ids": [11], "unknown_ids": [], "passes": [{ "added": 12 }], "row": { "livedesk_id": null },
                               "rows": [{ "livedesk_id": 13 }] });
        assert_eq!(scrubbed(&text, 12).map(|text| serde_json::from_str(&text).unwrap()), Some(expected));
        assert_eq!(scrubbed(r#"{"created": 12}"#, 12), None);
    }
}
