//! Decide, for lists of children: which e-mail or phone rows are added, changed, removed or given up.

use crate::domain::hash::Digest;
use crate::domain::ids::ChildId;
use crate::domain::record::Owner;

/// What is to be done with one list of children (e-mails or phones).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChildDecision {
    /// Wished children (by their place in the wished list) that the contact does not have.
    pub add: Vec<usize>,
    /// A child of ours whose value is no longer wished, and the wished one that takes its place.
    pub change: Vec<(ChildId, usize)>,
    /// Children of ours, as we left them, that are no longer wished.
    pub remove: Vec<ChildId>,
    /// Wished children that are there already, with their ids.
    pub present: Vec<(ChildId, usize)>,
    /// Rows of ours that hold another wished value now: what they were made with, and what they hold.
    pub renamed: Vec<(Digest, Digest, ChildId)>,
    /// Values of rows that are ours no more: gone, edited by somebody, or of a line that changed.
    pub forget: Vec<Digest>,
    /// Rows of ours that somebody removed or edited while the source still wishes them: they stay so.
    pub kept: u64,
    /// Whether somebody removed or edited a row of ours that the source changed as well.
    pub both_changed: bool,
}

/// A child as it stands at the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CurrentChild {
    /// Its id.
    pub id: ChildId,
    /// Digest of its canonical value.
    pub key: Digest,
}

/// Compares children by the digests of their canonical values. Asked only when the wished list has changed.
///
/// `ours` are the children that this program made on this contact (value digest and id). One that is no longer wished is
/// changed to a wished one that is missing, or removed; only `source` does either, and only where `takes`: the list's
/// lines are those that made the rows. A row that somebody else made is never touched; one of ours that somebody edited
/// takes the source's new value, but is not removed. One of ours that is not there any more is not made again.
pub fn children(
    wished: &[Digest],
    current: &[CurrentChild],
    ours: &[(Digest, ChildId)],
    owner: Owner,
    takes: bool,
) -> ChildDecision {
    let mut decision = ChildDecision::default();
    let (mut free, mut edited) = (Vec::new(), Vec::new());
    for (key, id) in ours {
        let held = current.iter().find(|child| child.id == *id).map(|child| child.key);
        match (wished.contains(key), held) {
            (_, Some(held)) if held != *key && wished.contains(&held) => decision.renamed.push((*key, held, *id)),
            (true, Some(held)) if held == *key => {}
            (true, _) => decision.kept += 1,
            (false, Some(held)) if held == *key => free.push((*key, *id)),
            (false, Some(_)) => edited.push((*key, *id)),
            (false, None) => {
                decision.both_changed = true;
                decision.forget.push(*key);
            }
        }
    }
    decision.both_changed |= !edited.is_empty();
    let leaves = owner == Owner::Target || (owner == Owner::FillBlank && !current.is_empty());
    let mut spare = free.iter().chain(&edited).filter(|_| owner == Owner::Source && takes).copied();
    for (place, key) in wished.iter().enumerate() {
        match current.iter().find(|child| child.key == *key) {
            Some(child) => decision.present.push((child.id, place)),
            None if leaves || ours.iter().any(|(made, _)| made == key) => {}
            None => match spare.next() {
                Some((_, child)) => decision.change.push((child, place)),
                None => decision.add.push(place),
            },
        }
    }
    if owner == Owner::Source {
        let changed = |id: ChildId| decision.change.iter().any(|(child, _)| *child == id);
        decision.remove = free.iter().filter(|(_, id)| takes && !changed(*id)).map(|(_, id)| *id).collect();
        let given_up = free.iter().filter(|_| !takes).chain(edited.iter().filter(|(_, id)| !changed(*id)));
        decision.forget.extend(given_up.map(|(key, _)| *key));
    }
    decision
}
