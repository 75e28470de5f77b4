//! What people decided about conflicts: every decision in its order, with who and when. It outlives the conflict.

use crate::clock::Timestamp;
use crate::domain::ids::{FirstLineId, LiveDeskId};

use super::Store;
use super::conflicts::{Conflict, Decision};
use super::error::StoreError;
use super::rows::{batch, json, word};

/// What was done about a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// It is this record.
    Link(FirstLineId),
    /// It is to be created.
    Create,
    /// It is not to be carried.
    Skip,
    /// An earlier decision was taken back.
    Reopened,
}

impl Made {
    /// As it is stored.
    fn word(self) -> (&'static str, Option<i64>) {
        match self {
            Self::Link(target) => ("link", Some(target.0)),
            Self::Create => ("create", None),
            Self::Skip => ("skip", None),
            Self::Reopened => ("reopened", None),
        }
    }

    fn parse(word: &str, target: Option<i64>) -> Option<Self> {
        Some(match (word, target) {
            ("link", Some(target)) => Self::Link(FirstLineId(target)),
            ("create", None) => Self::Create,
            ("skip", None) => Self::Skip,
            ("reopened", None) => Self::Reopened,
            _ => return None,
        })
    }

    fn of(decision: Option<Decision>) -> Self {
        match decision {
            Some(Decision::Link(target)) => Self::Link(target),
            Some(Decision::Create) => Self::Create,
            Some(Decision::Skip) => Self::Skip,
            None => Self::Reopened,
        }
    }
}

/// A decision as it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionMade {
    /// About whom.
    pub livedesk_id: LiveDeskId,
    /// What.
    pub made: Made,
    /// The doubt as it was then.
    pub kind: String,
    /// The records that it could be then.
    pub candidates: Vec<FirstLineId>,
    /// Login of the person, where it is known.
    pub by: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl Store {
    /// Records decisions, all of them or none: `decision` of each conflict is what was decided, `None` that the earlier
    /// decision is taken back.
    pub async fn decide(&self, conflicts: Vec<Conflict>, by: Option<&str>) -> Result<(), StoreError> {
        let (by, now) = (by.map(str::to_owned), self.now().0);
        self.transact(move |conn| {
            Box::pin(async move {
                for conflict in conflicts {
                    let id = conflict.livedesk_id.0;
                    let (decision, target) = Made::of(conflict.decision).word();
                    let standing = conflict.decision.map(|_| decision);
                    let candidates = batch(conflict.candidates.iter().map(|id| id.0));
                    sqlx::query!(
                        "UPDATE conflict SET decision = ?2, decision_target = ?3, carried_to = NULL WHERE livedesk_id = ?1",
                        id,
                        standing,
                        target
                    )
                    .execute(&mut *conn)
                    .await?;
                    // What an earlier decision came to keeps nobody from carrying this one out.
                    sqlx::query!("DELETE FROM dead_letter WHERE livedesk_id = ?1", id).execute(&mut *conn).await?;
                    sqlx::query!(
                        "INSERT INTO decision (livedesk_id, decision, target, kind, candidates, decided_by, at)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                        id,
                        decision,
                        target,
                        conflict.kind,
                        candidates,
                        by,
                        now
                    )
                    .execute(&mut *conn)
                    .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Every decision about a contact, the oldest first.
    pub async fn decisions_of(&self, id: LiveDeskId) -> Result<Vec<DecisionMade>, StoreError> {
        let rows = sqlx::query!("SELECT * FROM decision WHERE livedesk_id = ?1 ORDER BY id", id.0)
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        rows.into_iter()
            .map(|row| {
                let made = word(Made::parse(&row.decision, row.target), "decision.decision")?;
                let candidates: Vec<i64> = json(&row.candidates, "decision.candidates")?;
                Ok(DecisionMade {
                    livedesk_id: id,
                    made,
                    kind: row.kind,
                    candidates: candidates.into_iter().map(FirstLineId).collect(),
                    by: row.decided_by,
                    at: Timestamp(row.at),
                })
            })
            .collect()
    }
}
