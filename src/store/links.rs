//! Links: the stored pairs of LiveDesk id and FIRST LINE id, and the ids of their e-mail and phone rows.
//!
//! `base` is opaque here: the engine packs keyed hashes into it. A target has one contact at most; a second
//! claim on it is refused by the schema.

use std::collections::HashMap;

use crate::clock::Timestamp;
use crate::domain::hash::Digest;
use crate::domain::ids::{ChildId, FirstLineId, LiveDeskId, RunId};

use super::Store;
use super::error::StoreError;
use super::op::WriteOp;
use super::rows::{Statement, batch, digest, hex, hex_digest, maybe_digest, statement, word, words};

/// How a link came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// We created the record.
    Created,
    /// The record was there; its match keys fitted.
    Adopted,
    /// Found again from the stamp after the state was lost.
    Rebuilt,
    /// A person decided.
    Decided,
}
words!(Origin { Created = "created", Adopted = "adopted", Rebuilt = "rebuilt", Decided = "decided" });

/// Whether the record of a link is still there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It is, as far as known.
    #[default]
    Live,
    /// It was merged into another one: nothing is written through it.
    Alias,
    /// It is not, and nobody knows where it went: it is not made again by itself.
    Gone,
}
words!(Standing { Live = "live", Alias = "alias", Gone = "gone" });

/// The stored pair.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The source's id.
    pub livedesk_id: LiveDeskId,
    /// The target's id; of one link only.
    pub target: FirstLineId,
    /// How it came to be.
    pub origin: Origin,
    /// Fingerprint of what was last written; `None` until the record and all its children are settled.
    pub fingerprint: Option<Digest>,
    /// What was last written, as hashes; opaque here.
    pub base: Vec<u8>,
    /// Version of the mapping that wrote it.
    pub mapping_version: Option<String>,
    /// Number of the intent that created the record.
    pub intent_seq: Option<i64>,
    /// When it was linked; of a record that we created: a moment before which it was not there.
    pub linked_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// The run that last wrote it.
    pub run: RunId,
    /// Whether its record is still there.
    pub standing: Standing,
    /// The record that took its place; of an alias alone.
    pub alias_of: Option<FirstLineId>,
}

/// Kind of a row that hangs on a contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChildKind {
    /// E-mail.
    Email,
    /// Phone.
    Phone,
}
words!(ChildKind { Email = "email", Phone = "phone" });

/// An e-mail or phone row that we hung on a linked record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkChild {
    /// Whose.
    pub livedesk_id: LiveDeskId,
    /// E-mail or phone.
    pub kind: ChildKind,
    /// Digest of its canonical value.
    pub key: Digest,
    /// The row's id at the target.
    pub child: ChildId,
}

pub(super) struct LinkRow {
    pub(super) livedesk_id: i64,
    pub(super) target: i64,
    pub(super) origin: String,
    pub(super) fingerprint: Option<Vec<u8>>,
    pub(super) base: Vec<u8>,
    pub(super) mapping_version: Option<String>,
    pub(super) intent_seq: Option<i64>,
    pub(super) linked_at: i64,
    pub(super) updated_at: i64,
    pub(super) run: i64,
    pub(super) standing: String,
    pub(super) alias_of: Option<i64>,
}

impl LinkRow {
    pub(super) fn link(self) -> Result<Link, StoreError> {
        Ok(Link {
            livedesk_id: LiveDeskId(self.livedesk_id),
            target: FirstLineId(self.target),
            origin: word(Origin::parse(&self.origin), "link.origin")?,
            fingerprint: maybe_digest(self.fingerprint, "link.fingerprint")?,
            base: self.base,
            mapping_version: self.mapping_version,
            intent_seq: self.intent_seq,
            linked_at: Timestamp(self.linked_at),
            updated_at: Timestamp(self.updated_at),
            run: RunId(self.run),
            standing: word(Standing::parse(&self.standing), "link.standing")?,
            alias_of: self.alias_of.map(FirstLineId),
        })
    }
}

pub(super) fn put(ops: &[&WriteOp]) -> Statement {
    statement!(ops, bases, WriteOp::PutLink(link) => {
        let before = bases.len();
        bases.extend_from_slice(&link.base);
        (
            link.livedesk_id.0,
            link.target.0,
            link.origin.as_str(),
            hex_digest(link.fingerprint),
            before + 1,
            link.base.len(),
            &link.mapping_version,
            link.intent_seq,
            link.linked_at.0,
            link.updated_at.0,
            link.run.0,
            link.standing.as_str(),
            link.alias_of.map(|id| id.0),
        )
    };
        "INSERT INTO link (livedesk_id, target, origin, fingerprint, base, mapping_version, intent_seq, linked_at,
             updated_at, run, standing, alias_of)
         SELECT value ->> 0, value ->> 1, value ->> 2, unhex(value ->> 3),
             substr(?, value ->> 4, value ->> 5), value ->> 6, value ->> 7, value ->> 8, value ->> 9, value ->> 10,
             value ->> 11, value ->> 12
         FROM jsonb_each(?) WHERE true
         ON CONFLICT (livedesk_id) DO UPDATE SET target = excluded.target, origin = excluded.origin,
             fingerprint = excluded.fingerprint, base = excluded.base, mapping_version = excluded.mapping_version,
             intent_seq = excluded.intent_seq, linked_at = excluded.linked_at, updated_at = excluded.updated_at,
             run = excluded.run, standing = excluded.standing, alias_of = excluded.alias_of"
    )
}

pub(super) fn remove(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::RemoveLink(id) => id.0;
        "DELETE FROM link WHERE livedesk_id IN (SELECT value FROM jsonb_each(?))"
    )
}

pub(super) fn put_child(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::PutChild(child) => (
        child.livedesk_id.0,
        child.kind.as_str(),
        hex(&child.key.0),
        child.child.0,
    );
        "INSERT INTO link_child (livedesk_id, kind, key, child)
         SELECT value ->> 0, value ->> 1, unhex(value ->> 2), value ->> 3 FROM jsonb_each(?) WHERE true
         ON CONFLICT (livedesk_id, kind, key) DO UPDATE SET child = excluded.child"
    )
}

pub(super) fn remove_child(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::RemoveChild { livedesk_id, kind, key } => (
        livedesk_id.0,
        kind.as_str(),
        hex(&key.0),
    );
        "DELETE FROM link_child WHERE (livedesk_id, kind, key) IN
             (SELECT value ->> 0, value ->> 1, unhex(value ->> 2) FROM jsonb_each(?))"
    )
}

impl Store {
    /// The links of these contacts.
    pub async fn links_for(&self, ids: &[LiveDeskId]) -> Result<HashMap<LiveDeskId, Link>, StoreError> {
        let ids = batch(ids.iter().map(|id| id.0));
        let rows =
            sqlx::query_as!(LinkRow, "SELECT * FROM link WHERE livedesk_id IN (SELECT value FROM jsonb_each(?1))", ids)
                .fetch_all(&mut *self.reader().await?)
                .await
                .map_err(|source| self.failed(source))?;
        rows.into_iter().map(|row| row.link().map(|link| (link.livedesk_id, link))).collect()
    }

    /// Which contact each of these records is linked to.
    pub async fn source_of(&self, targets: &[FirstLineId]) -> Result<HashMap<FirstLineId, LiveDeskId>, StoreError> {
        let targets = batch(targets.iter().map(|id| id.0));
        let rows = sqlx::query!(
            "SELECT target, livedesk_id FROM link WHERE target IN (SELECT value FROM jsonb_each(?1))",
            targets
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(rows.into_iter().map(|row| (FirstLineId(row.target), LiveDeskId(row.livedesk_id))).collect())
    }

    /// Up to `limit` links of contacts above `after`, ascending by contact.
    pub async fn links_page(&self, after: LiveDeskId, limit: u32) -> Result<Vec<Link>, StoreError> {
        let rows = sqlx::query_as!(
            LinkRow,
            "SELECT * FROM link WHERE livedesk_id > ?1 ORDER BY livedesk_id LIMIT ?2",
            after.0,
            limit
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        rows.into_iter().map(LinkRow::link).collect()
    }

    /// The newest record that we created by an intent with a number above `seq`: the positive control for a
    /// look that finds nothing.
    pub async fn created_after(&self, seq: i64) -> Result<Option<Link>, StoreError> {
        let row = sqlx::query_as!(
            LinkRow,
            "SELECT * FROM link WHERE origin = 'created' AND intent_seq > ?1 AND standing = 'live'
             ORDER BY intent_seq DESC LIMIT 1",
            seq
        )
        .fetch_optional(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        row.map(LinkRow::link).transpose()
    }

    /// The newest record that we created.
    pub async fn latest_created_link(&self) -> Result<Option<Link>, StoreError> {
        self.created_after(0).await
    }

    /// The newest records that we created, the newest first.
    pub async fn newest_created(&self, limit: u32) -> Result<Vec<Link>, StoreError> {
        let rows = sqlx::query_as!(
            LinkRow,
            "SELECT * FROM link WHERE origin = 'created' AND intent_seq IS NOT NULL AND standing = 'live'
             ORDER BY intent_seq DESC LIMIT ?1",
            limit
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        rows.into_iter().map(LinkRow::link).collect()
    }

    /// How many links there are.
    pub async fn link_count(&self) -> Result<u64, StoreError> {
        let count = sqlx::query_scalar!("SELECT count(*) FROM link")
            .fetch_one(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(count.unsigned_abs())
    }

    /// Contacts that this sweep has seen and that are linked but not settled, although nothing of theirs is in doubt,
    /// set aside, in conflict or left out: whoever carried them died in the middle.
    pub async fn unsettled(&self, sweep: i64) -> Result<Vec<LiveDeskId>, StoreError> {
        let ids = sqlx::query_scalar!(
            "SELECT l.livedesk_id FROM link l JOIN sighting s ON s.livedesk_id = l.livedesk_id AND s.sweep = ?1
             WHERE l.fingerprint IS NULL AND l.standing = 'live'
                 AND NOT EXISTS (SELECT 1 FROM intent i WHERE i.livedesk_id = l.livedesk_id AND i.state <> 'audit')
                 AND NOT EXISTS (SELECT 1 FROM dead_letter d WHERE d.livedesk_id = l.livedesk_id)
                 AND NOT EXISTS (SELECT 1 FROM conflict c WHERE c.livedesk_id = l.livedesk_id
                                 AND coalesce(c.decision, 'skip') = 'skip')
             ORDER BY l.livedesk_id",
            sweep
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(ids.into_iter().map(LiveDeskId).collect())
    }

    /// How many linked records we made ourselves and that are still there.
    pub async fn made_count(&self) -> Result<u64, StoreError> {
        let count = sqlx::query_scalar!(
            "SELECT count(*) FROM link WHERE origin IN ('created', 'rebuilt') AND standing = 'live'"
        )
        .fetch_one(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(count.unsigned_abs())
    }

    /// Live links that were last settled with another version of the mapping, or never: each is read again by the next sweep.
    pub async fn unsettled_count(&self, version: &str) -> Result<u64, StoreError> {
        let count = sqlx::query_scalar!(
            "SELECT count(*) FROM link WHERE standing = 'live' AND coalesce(instr(mapping_version, ?1), 0) <> 1",
            version
        )
        .fetch_one(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(count.unsigned_abs())
    }

    /// The highest linked id at the target.
    pub async fn max_target_id(&self) -> Result<Option<FirstLineId>, StoreError> {
        let max = sqlx::query_scalar!(r#"SELECT max(target) AS "max: i64" FROM link"#)
            .fetch_one(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        Ok(max.map(FirstLineId))
    }

    /// The e-mail and phone rows of a contact.
    pub async fn children_of(&self, id: LiveDeskId) -> Result<Vec<LinkChild>, StoreError> {
        let rows = sqlx::query!("SELECT kind, key, child FROM link_child WHERE livedesk_id = ?1", id.0)
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        rows.into_iter()
            .map(|row| {
                Ok(LinkChild {
                    livedesk_id: id,
                    kind: word(ChildKind::parse(&row.kind), "link_child.kind")?,
                    key: digest(&row.key, "link_child.key")?,
                    child: ChildId(row.child),
                })
            })
            .collect()
    }
}
