//! The target's own list, read once: which records have which stamp, e-mail or phone, as digests.
//!
//! It may be believed only when a walk came to its end ([`Store::index_state`]): the silence of half a list proves
//! nothing. A walk that was broken off begins anew.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::domain::hash::Digest;
use crate::domain::ids::FirstLineId;

use super::Store;
use super::error::StoreError;
use super::op::WriteOp;
use super::rows::{Statement, batch, digest, hex, statement, word, words};

/// What a key of the index is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum IndexKind {
    /// A stamp.
    Stamp,
    /// An e-mail address.
    Email,
    /// A phone number.
    Phone,
    /// A profile, which phones hang on.
    Profile,
}
words!(IndexKind { Stamp = "stamp", Email = "email", Phone = "phone", Profile = "profile" });

/// A walk over the target's list that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexState {
    /// Grows with every walk.
    pub generation: i64,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Distinct records seen.
    pub distinct: u64,
    /// The total that the target gave, if it gave one.
    pub total: Option<u64>,
}

pub(super) fn add(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::IndexAdd { kind, key, target } => (kind.as_str(), hex(&key.0), target.0);
        "INSERT INTO target_index (kind, key, target)
         SELECT value ->> 0, unhex(value ->> 1), value ->> 2 FROM jsonb_each(?) WHERE true
         ON CONFLICT (kind, key, target) DO NOTHING"
    )
}

impl Store {
    /// The records that have these keys. Keys that no record has are absent.
    pub async fn index_lookup(
        &self,
        keys: &[(IndexKind, Digest)],
    ) -> Result<HashMap<(IndexKind, Digest), Vec<FirstLineId>>, StoreError> {
        let keys = batch(keys.iter().map(|(kind, key)| (kind.as_str(), hex(&key.0))));
        let rows = sqlx::query!(
            r#"SELECT t.kind AS "kind!: String", t.key AS "key!: Vec<u8>", t.target AS "target!: i64"
               FROM jsonb_each(?1) AS wanted CROSS JOIN target_index t
               WHERE t.kind = wanted.value ->> 0 AND t.key = unhex(wanted.value ->> 1)"#,
            keys
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        let mut found: HashMap<(IndexKind, Digest), Vec<FirstLineId>> = HashMap::new();
        for row in rows {
            let kind = word(IndexKind::parse(&row.kind), "target_index.kind")?;
            let targets = found.entry((kind, digest(&row.key, "target_index.key")?)).or_default();
            let target = FirstLineId(row.target);
            // A key that was asked for twice answers twice.
            if !targets.contains(&target) {
                targets.push(target);
            }
        }
        Ok(found)
    }

    /// Empties the index and begins a walk; gives its generation.
    pub async fn index_clear(&self) -> Result<i64, StoreError> {
        let now = self.now().0;
        self.transact(move |conn| {
            Box::pin(async move {
                sqlx::query!("DELETE FROM target_index").execute(&mut *conn).await?;
                let row = sqlx::query!(
                    r#"INSERT INTO target_walk (id, generation, started_at) VALUES (1, 1, ?1)
                       ON CONFLICT (id) DO UPDATE SET generation = generation + 1, started_at = excluded.started_at,
                           finished_at = NULL, distinct_ids = NULL, total = NULL
                       RETURNING generation AS "generation!: i64""#,
                    now
                )
                .fetch_one(conn)
                .await?;
                Ok(row.generation)
            })
        })
        .await
    }

    /// Ends the walk: from now on the index may be believed as far as its numbers go.
    pub async fn index_finish(&self, distinct: u64, total: Option<u64>) -> Result<(), StoreError> {
        let now = self.now().0;
        let (distinct, total) = (distinct.cast_signed(), total.map(u64::cast_signed));
        self.transact(move |conn| {
            Box::pin(async move {
                sqlx::query!(
                    "UPDATE target_walk SET finished_at = ?1, distinct_ids = ?2, total = ?3 WHERE id = 1",
                    now,
                    distinct,
                    total
                )
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// The walk that filled the index; `None` when there was none or it did not come to its end.
    pub async fn index_state(&self) -> Result<Option<IndexState>, StoreError> {
        let row = sqlx::query!(
            r#"SELECT generation, started_at, finished_at AS "finished_at!", distinct_ids AS "distinct_ids!", total
               FROM target_walk WHERE finished_at IS NOT NULL AND distinct_ids IS NOT NULL"#
        )
        .fetch_optional(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(row.map(|row| IndexState {
            generation: row.generation,
            started_at: Timestamp(row.started_at),
            finished_at: Timestamp(row.finished_at),
            distinct: row.distinct_ids.unsigned_abs(),
            total: row.total.map(i64::unsigned_abs),
        }))
    }
}
