//! Witnesses: whether a record at FIRST LINE is the one that a link means, so that a state is not used with another
//! tenant that happens to have customers under the same ids.

use crate::domain::base::{Base, value_digest};
use crate::domain::record::canonical_current;
use crate::domain::target::TargetContact;
use crate::store::Link;
use crate::sync::absence::authorship;
use crate::sync::decide::{self, Rules};
use crate::sync::engine::Engine;
use crate::sync::ports::ContactTarget;
use crate::sync::stamp::StampReading;

/// What a record says about the link that leads to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Testimony {
    /// It is the record that was linked.
    Same,
    /// It is somebody else's: it carries another contact's stamp, or none of ours.
    Other,
    /// It carries no stamp, and not what was last written to it: an agent may have changed it, or it is another.
    Doubtful,
    /// Nothing is known of it that could be compared.
    Nothing,
}

impl<T: ContactTarget> Engine<T> {
    /// Compares a record with what is known of the link's: its stamp, and where it has none, its fields.
    pub(super) fn testimony(&self, link: &Link, record: &TargetContact) -> Testimony {
        match self.scheme.read(record) {
            StampReading::Of(id) if id == link.livedesk_id => return Testimony::Same,
            StampReading::Of(_) | StampReading::Foreign => return Testimony::Other,
            StampReading::None | StampReading::NotSaid => {}
        }
        let key = self.store.hash_key();
        let nothing = value_digest(key, None);
        let authorship = authorship(link.origin);
        let rules = Rules { authorship, kinds: self.mapping.kinds(), key, clears: self.settings.clears };
        let base = decide::arrived(Base::decode(&link.base).unwrap_or_default(), record, rules);
        let known: Vec<bool> = base
            .fields
            .iter()
            .filter(|(_, entry)| entry.target != nothing)
            .map(|(field, entry)| {
                let kind = decide::kind_of(self.mapping.kinds(), *field);
                let held = record.value(*field).and_then(|value| canonical_current(kind, value));
                value_digest(key, held.as_deref()) == entry.target
            })
            .collect();
        let same = known.iter().filter(|same| **same).count();
        match known.len() {
            0 => Testimony::Nothing,
            all if 2 * same > all => Testimony::Same,
            _ => Testimony::Doubtful,
        }
    }
}
