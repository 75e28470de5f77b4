//! Rebuild: the links of a lost state, found again from the stamps in FIRST LINE.

mod gone;

use std::collections::BTreeSet;

use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::target::TargetContact;
use crate::store::{Link, Origin, TWINS, WriteOp};
use crate::sync::engine::{Engine, RunError};
use crate::sync::finder::Sight;
use crate::sync::ports::ContactTarget;
use crate::sync::progress::{Phase, ProgressEvent};

use crate::sync::stamp::StampReading;
use crate::sync::survey::walk;

/// What a rebuild found.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Rebuilt {
    /// Links stored.
    pub linked: u64,
    /// Links put on another record, because theirs is gone.
    pub relinked: u64,
    /// Links that the state had already.
    pub known: u64,
    /// Contacts whose stamp is on more than one record; a conflict is stored for each.
    pub twins: u64,
    /// Records that hold something else where our stamp would stand, or another contact's stamp than they are linked to.
    pub foreign: u64,
    /// Records of people who were forgotten: not linked.
    pub forgotten: u64,
    /// Records without any stamp.
    pub unstamped: u64,
    /// Whether the list was read completely: if not, links may be missing.
    pub proven: bool,
    /// Linked customers, where not one of them is there any more.
    pub all_gone: u64,
    /// Links marked gone, on a person's word.
    pub marked: u64,
}

impl<T: ContactTarget> Engine<T> {
    /// Reads every record of the target and stores a link for each stamp. Links have no base and no fingerprint: the
    /// next backfill reads each record, fills blanks, and writes nothing that an agent may have changed.
    pub async fn rebuild(&self) -> Result<Rebuilt, RunError> {
        self.progress.event(ProgressEvent::Phase(Phase::Survey));
        let mut rebuilt = Rebuilt::default();
        let mut unread = Vec::new();
        let tally = walk(
            self.settings.jobs,
            |page| self.target.contacts(None, page),
            |row: &TargetContact| row.id.0,
            async |rows| {
                self.progress.event(ProgressEvent::PageRead);
                let rows = self.with_stamps(rows, &mut unread).await?;
                self.link_rows(&rows, &mut rebuilt).await
            },
        )
        .await?;
        let (late, unread) = self.read_again(unread).await?;
        self.link_rows(&late, &mut rebuilt).await?;
        self.notice_unread(&unread);
        rebuilt.unstamped += unread.len() as u64;
        rebuilt.proven = tally.is_proven() && unread.is_empty();
        Ok(rebuilt)
    }

    async fn link_rows(&self, rows: &[TargetContact], rebuilt: &mut Rebuilt) -> Result<(), RunError> {
        for row in rows {
            let id = match self.scheme.read(row) {
                StampReading::Of(id) => id,
                StampReading::Foreign => {
                    rebuilt.foreign += 1;
                    continue;
                }
                StampReading::None => {
                    rebuilt.unstamped += 1;
                    continue;
                }
                // Read once more at the end, and counted then.
                StampReading::NotSaid => continue,
            };
            if !self.store.forgotten_among(&[id]).await?.is_empty() {
                rebuilt.forgotten += 1;
                continue;
            }
            // One row at a time: two records with one stamp may stand on one page.
            self.link_row(id, row.id, rebuilt).await?;
        }
        Ok(())
    }

    /// Takes a record for the contact that it is stamped for, unless it is known to be another's.
    async fn link_row(&self, id: LiveDeskId, row: FirstLineId, rebuilt: &mut Rebuilt) -> Result<(), RunError> {
        let holder = self.store.source_of(&[row]).await?.remove(&row);
        match self.store.links_for(&[id]).await?.remove(&id) {
            Some(link) if link.target == row || link.alias_of == Some(row) => rebuilt.known += 1,
            // A merge brought the stamp there, or an agent did.
            _ if holder.is_some() => rebuilt.foreign += 1,
            None => {
                rebuilt.linked += 1;
                self.store.write(self.found(id, row).await?).await?;
            }
            Some(link) => {
                let known = self.store.conflict_for(&[id]).await?.remove(&id);
                // A decision led away from it, and its stamp is still to be taken off.
                if known.as_ref().is_some_and(|known| known.left_behind == Some(row)) {
                    rebuilt.foreign += 1;
                    return Ok(());
                }
                let known = known.filter(|known| known.kind == TWINS);
                if self.is_gone(&link).await? {
                    rebuilt.relinked += 1;
                    let settled = known.filter(|known| known.left_behind.is_none());
                    let settled = settled.map(|_| WriteOp::ClearConflict(id));
                    let found = self.found(id, row).await?;
                    let ops = [WriteOp::RemoveLink(id)].into_iter().chain(found).chain(settled).collect();
                    return Ok(self.store.write(ops).await?);
                }
                // A third record with the stamp: still one contact.
                rebuilt.twins += u64::from(known.as_ref().is_none_or(|known| known.run != self.run));
                let mut candidates: BTreeSet<FirstLineId> = [link.target, row].into();
                candidates.extend(known.into_iter().flat_map(|known| known.candidates));
                self.store.write(vec![self.twin_conflict(id, candidates.into_iter().collect())]).await?;
            }
        }
        Ok(())
    }

    /// The link to a record that was found. What an undo left standing is known as it was known then.
    async fn found(&self, id: LiveDeskId, row: FirstLineId) -> Result<Vec<WriteOp>, RunError> {
        let (link, children) = self.link_for(id, row, Origin::Rebuilt).await?;
        Ok([WriteOp::PutLink(link)].into_iter().chain(children.into_iter().map(WriteOp::PutChild)).collect())
    }

    /// Whether a link's record is not there any more, as far as another one can vouch for that.
    async fn is_gone(&self, link: &Link) -> Result<bool, RunError> {
        Ok(matches!(self.sight(link.target).await?, Sight::Nothing) && self.stop_unless_vouched(link).await?)
    }
}
