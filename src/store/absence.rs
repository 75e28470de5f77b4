//! Absence: linked contacts that proven sweeps did not see any more, what was found out about each, and what was done.
//!
//! A row is made when a contact is first judged absent and goes with its link. What is about to be sent is written down
//! before it is sent (`putting`, `under_way`), so that a run that died is gone on with and never guessed at.

use crate::clock::Timestamp;
use crate::domain::ids::{FirstLineId, LiveDeskId, RunId};

use super::Store;
use super::error::StoreError;
use super::links::{Origin, Standing};
use super::op::WriteOp;
use super::rows::{Statement, statement, word, words};

/// What a read by id said of a contact that is not listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Not asked yet.
    Unasked,
    /// It is not there (404), and a known contact was at that moment.
    Missing,
    /// It is there: hidden from the list, not deleted.
    Hidden,
    /// Nothing that counts: there is no read by id, or its control failed.
    Unknown,
}
words!(Finding { Unasked = "unasked", Missing = "missing", Hidden = "hidden", Unknown = "unknown" });

/// Our mark (a tag, or a field) on the record of an absent contact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// None.
    None,
    /// About to be put there; whether it arrived, the record says.
    Putting,
    /// We put it there, and take it off when the contact comes back.
    Ours,
    /// It was there before us: never taken off.
    Found,
}
words!(Mark { None = "none", Putting = "putting", Ours = "ours", Found = "found" });

/// How far the deletion of a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// Not begun.
    None,
    /// Journalled; its request may have been sent.
    UnderWay,
    /// Never: somebody changed the record.
    Kept,
}
words!(Deletion { None = "none", UnderWay = "under_way", Kept = "kept" });

/// A linked contact that is absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absence {
    /// Which.
    pub livedesk_id: LiveDeskId,
    /// When it was first judged absent.
    pub since: Timestamp,
    /// What a read by id said last.
    pub finding: Finding,
    /// When that was.
    pub asked_at: Option<Timestamp>,
    /// Our mark on its record.
    pub mark: Mark,
    /// Where our mark is: `tag 7` or `cz_col 33`.
    pub place: Option<String>,
    /// The deletion of its record.
    pub deletion: Deletion,
    /// Why the last attempt did nothing: a stable word.
    pub why: Option<String>,
    /// The run that wrote this.
    pub run: RunId,
}

impl Absence {
    /// Whether the last attempt came to nothing, for reasons of the record.
    pub fn has_failed(&self) -> bool {
        self.why.is_some() && self.deletion != Deletion::Kept
    }
}

/// A sweep that proved its completeness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenSweep {
    /// Its number.
    pub sweep: i64,
    /// When it began.
    pub started_at: Timestamp,
}

/// A link, and when its contact was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The contact.
    pub livedesk_id: LiveDeskId,
    /// Its record.
    pub target: FirstLineId,
    /// How the link came to be.
    pub origin: Origin,
    /// Whether the record is still there.
    pub standing: Standing,
    /// Whether the record and all its children were settled when it was last written.
    pub settled: bool,
    /// Whether something of it is in doubt, set aside or in conflict, or another contact's record was merged into its own.
    pub in_trouble: bool,
    /// When it was linked or last written, whichever is later: it was read from LiveDesk then.
    pub touched_at: Timestamp,
    /// The last sweep that saw it.
    pub last_sweep: Option<i64>,
    /// When that sweep began.
    pub sighted_at: Option<Timestamp>,
    /// What is known of its absence, if it was judged absent before.
    pub absence: Option<Absence>,
}

/// Absent contacts in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AbsenceCounts {
    /// All that were judged absent and have not come back.
    pub absent: u64,
    /// Of these, found by their id: hidden from the list.
    pub hidden: u64,
    /// Of these, not found by their id.
    pub missing: u64,
    /// Of these, marked by us.
    pub marked: u64,
    /// Of these, whose record stays because somebody changed it.
    pub kept: u64,
}

/// Links by standing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standings {
    /// Records that are there.
    pub live: u64,
    /// Records that were merged into others.
    pub alias: u64,
    /// Records that are gone.
    pub gone: u64,
}

struct SeenRow {
    livedesk_id: i64,
    target: i64,
    origin: String,
    standing: String,
    settled: bool,
    in_trouble: bool,
    touched_at: i64,
    last_sweep: Option<i64>,
    sighted_at: Option<i64>,
    since: Option<i64>,
    finding: Option<String>,
    asked_at: Option<i64>,
    mark: Option<String>,
    place: Option<String>,
    deletion: Option<String>,
    why: Option<String>,
    run: Option<i64>,
}

impl SeenRow {
    fn seen(self) -> Result<Seen, StoreError> {
        let livedesk_id = LiveDeskId(self.livedesk_id);
        let absence = match (self.since, self.run) {
            (Some(since), Some(run)) => Some(Absence {
                livedesk_id,
                since: Timestamp(since),
                finding: word(self.finding.as_deref().and_then(Finding::parse), "absence.finding")?,
                asked_at: self.asked_at.map(Timestamp),
                mark: word(self.mark.as_deref().and_then(Mark::parse), "absence.mark")?,
                place: self.place,
                deletion: word(self.deletion.as_deref().and_then(Deletion::parse), "absence.deletion")?,
                why: self.why,
                run: RunId(run),
            }),
            _ => None,
        };
        Ok(Seen {
            livedesk_id,
            target: FirstLineId(self.target),
            origin: word(Origin::parse(&self.origin), "link.origin")?,
            standing: word(Standing::parse(&self.standing), "link.standing")?,
            settled: self.settled,
            in_trouble: self.in_trouble,
            touched_at: Timestamp(self.touched_at),
            last_sweep: self.last_sweep,
            sighted_at: self.sighted_at.map(Timestamp),
            absence,
        })
    }
}

pub(super) fn put(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::PutAbsence(absence) => (
        absence.livedesk_id.0,
        absence.since.0,
        absence.finding.as_str(),
        absence.asked_at.map(|at| at.0),
        absence.mark.as_str(),
        &absence.place,
        absence.deletion.as_str(),
        &absence.why,
        absence.run.0,
    );
        "INSERT INTO absence (livedesk_id, since, finding, asked_at, mark, place, deletion, why, run)
         SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6, value ->> 7,
             value ->> 8
         FROM jsonb_each(?) WHERE true
         ON CONFLICT (livedesk_id) DO UPDATE SET since = min(absence.since, excluded.since),
             finding = excluded.finding, asked_at = excluded.asked_at, mark = excluded.mark,
             place = excluded.place, deletion = excluded.deletion, why = excluded.why, run = excluded.run"
    )
}

pub(super) fn clear(ops: &[&WriteOp]) -> Statement {
    statement!(ops, WriteOp::ClearAbsence(id) => id.0;
        "DELETE FROM absence WHERE livedesk_id IN (SELECT value FROM jsonb_each(?))"
    )
}

impl Store {
    /// The latest sweeps that were proven, newest first.
    pub async fn proven_sweeps(&self, limit: u32) -> Result<Vec<ProvenSweep>, StoreError> {
        let rows = sqlx::query!(
            "SELECT id, started_at FROM sweep WHERE verdict = 'proven' AND ended_at IS NOT NULL ORDER BY id DESC LIMIT ?1",
            limit
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        let sweep = |id, started_at| ProvenSweep { sweep: id, started_at: Timestamp(started_at) };
        Ok(rows.into_iter().map(|row| sweep(row.id, row.started_at)).collect())
    }

    /// Up to `limit` links above `after` whose contact was last seen before the sweep `cut`, or was judged absent before;
    /// ascending by contact. Without a cut only the latter.
    pub async fn maybe_absent(
        &self,
        cut: Option<ProvenSweep>,
        after: LiveDeskId,
        limit: u32,
    ) -> Result<Vec<Seen>, StoreError> {
        let (sweep, started_at) = cut.map_or((i64::MIN, i64::MIN), |cut| (cut.sweep, cut.started_at.0));
        let rows = sqlx::query_as!(
            SeenRow,
            r#"SELECT l.livedesk_id, l.target, l.origin, l.standing, l.fingerprint IS NOT NULL AS "settled!: bool",
                   (EXISTS (SELECT 1 FROM intent i WHERE i.livedesk_id = l.livedesk_id)
                       OR EXISTS (SELECT 1 FROM dead_letter d WHERE d.livedesk_id = l.livedesk_id)
                       OR EXISTS (SELECT 1 FROM conflict c WHERE c.livedesk_id = l.livedesk_id AND c.carried_to IS NULL)
                       OR EXISTS (SELECT 1 FROM link o WHERE o.standing <> 'live' AND o.alias_of = l.target)
                   ) AS "in_trouble!: bool",
                   max(l.linked_at, l.updated_at) AS "touched_at!: i64", s.sweep AS "last_sweep?: i64",
                   w.started_at AS "sighted_at?: i64",
                   a.since AS "since?: i64", a.finding AS "finding?: String", a.asked_at AS "asked_at?: i64",
                   a.mark AS "mark?: String", a.place AS "place?: String",
                   a.deletion AS "deletion?: String", a.why AS "why?: String",
                   a.run AS "run?: i64"
               FROM link l LEFT JOIN sighting s ON s.livedesk_id = l.livedesk_id
                   LEFT JOIN sweep w ON w.id = s.sweep
                   LEFT JOIN absence a ON a.livedesk_id = l.livedesk_id
               WHERE l.livedesk_id > ?1 AND (a.livedesk_id IS NOT NULL
                   OR (coalesce(s.sweep, 0) < ?2 AND max(l.linked_at, l.updated_at) < ?3))
               ORDER BY l.livedesk_id LIMIT ?4"#,
            after.0,
            sweep,
            started_at,
            limit
        )
        .fetch_all(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        rows.into_iter().map(SeenRow::seen).collect()
    }

    /// What is known of the absence of one contact.
    pub async fn absence_of(&self, id: LiveDeskId) -> Result<Option<Absence>, StoreError> {
        let row = sqlx::query!("SELECT * FROM absence WHERE livedesk_id = ?1", id.0)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        row.map(|row| {
            Ok(Absence {
                livedesk_id: id,
                since: Timestamp(row.since),
                finding: word(Finding::parse(&row.finding), "absence.finding")?,
                asked_at: row.asked_at.map(Timestamp),
                mark: word(Mark::parse(&row.mark), "absence.mark")?,
                place: row.place,
                deletion: word(Deletion::parse(&row.deletion), "absence.deletion")?,
                why: row.why,
                run: RunId(row.run),
            })
        })
        .transpose()
    }

    /// Absent contacts in numbers.
    pub async fn absence_counts(&self) -> Result<AbsenceCounts, StoreError> {
        let row = sqlx::query!(
            r#"SELECT count(*) AS "absent!: i64", count(*) FILTER (WHERE finding = 'hidden') AS "hidden!: i64",
                   count(*) FILTER (WHERE finding = 'missing') AS "missing!: i64",
                   count(*) FILTER (WHERE mark = 'ours') AS "marked!: i64",
                   count(*) FILTER (WHERE deletion = 'kept') AS "kept!: i64"
               FROM absence"#
        )
        .fetch_one(&mut *self.reader().await?)
        .await
        .map_err(|source| self.failed(source))?;
        Ok(AbsenceCounts {
            absent: row.absent.unsigned_abs(),
            hidden: row.hidden.unsigned_abs(),
            missing: row.missing.unsigned_abs(),
            marked: row.marked.unsigned_abs(),
            kept: row.kept.unsigned_abs(),
        })
    }
}
