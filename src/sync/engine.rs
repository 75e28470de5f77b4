//! The engine's shared parts: what every stage needs, handed around as one value.
//!
//! `Engine` belongs to one run. It holds no contact and no list; what grows with the account lives in the store.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{Mutex, OnceCell};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, millis};
use crate::domain::base::Base;
use crate::domain::ids::{FirstLineId, LiveDeskId, RunId};
use crate::domain::phone::Country;
use crate::domain::record::FieldKey;
use crate::domain::target::Shown;
use crate::domain::tenant::{PROFILE_KEY, TenantReport};
use crate::mapping::Mapping;
use crate::store::{Link, Origin, Standing, Store, StoreError};
use crate::sync::absence::DeleteRules;
use crate::sync::brake::Brake;
use crate::sync::companies::Companies;
use crate::sync::decide::Kinds;
use crate::sync::failures::FailurePolicy;
use crate::sync::gate::WriteGate;
use crate::sync::overseer::Overseer;
use crate::sync::ports::{ContactTarget, PortError};
use crate::sync::progress::{Progress, ProgressEvent};
use crate::sync::stamp::StampScheme;
use crate::sync::tags::{TagMemory, TagTable};
use crate::sync::vanished::Vanished;

/// A key by which an existing record may be recognised, after link and stamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchKey {
    /// Any of the contact's wished e-mails.
    Email,
    /// Any of the contact's wished phones.
    Phone,
}

/// What to do when a match key leads only to records that belong to other contacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedKeys {
    /// Families share a phone: create a record of its own.
    Create,
    /// Ask a person.
    Conflict,
}

/// Settings of the engine, checked by `config`.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// Match keys in their order; may be empty.
    pub match_keys: Vec<MatchKey>,
    /// Policy for shared keys.
    pub shared_keys: SharedKeys,
    /// Pause between looks at a doubtful create.
    pub settle: Duration,
    /// How long a request may still be applied after it was given up.
    pub doubt_horizon: Duration,
    /// How many ids one doubt may be looked for by reading them one by one.
    pub id_walk_limit: usize,
    /// Creates in a row without an answer after which they go one at a time; after so many more a run creates nothing.
    pub doubts_in_a_row: u32,
    /// Country of phone numbers without a country code.
    pub phone_country: Country,
    /// Whether what the source emptied is cleared at the target.
    pub clears: bool,
    /// When a contact that was set aside is tried again.
    pub failures: FailurePolicy,
    /// Contacts worked on at once.
    pub jobs: usize,
    /// Whether a one-shot run waits for its parked creates at its end.
    pub wait: bool,
    /// What is done about contacts that are gone from LiveDesk.
    pub deletes: DeleteRules,
}

/// What is known about updates that leave fields out (notes FIRST LINE 3.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdateSemantics {
    /// Not tried yet.
    Unknown,
    /// Fields that are not sent survive.
    Partial,
    /// Fields that are not sent are reset: send the whole merged record.
    Replace,
}

/// Profile key of the parts of a contact that this tenant was seen to show.
const SHOWN: &str = "shown_parts";

/// The parts of a contact that earlier runs saw shown.
pub async fn shown(store: &Store) -> Result<Shown, StoreError> {
    let bits = store.profile_get(SHOWN).await?.and_then(|bits| bits.as_u64());
    Ok(Shown::from_bits(bits.and_then(|bits| u16::try_from(bits).ok()).unwrap_or_default()))
}

/// Keeps the parts of a contact that were seen shown, by a run or a probe, for the next run.
pub async fn keep_shown(store: &Store, shown: Shown) -> Result<(), StoreError> {
    store.profile_put(SHOWN, &shown.bits().into()).await
}

/// Profile key under which the update semantics are remembered.
pub const UPDATE_SEMANTICS: &str = "update_semantics";

/// Why a run had to end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A platform said stop, stayed away, or we were interrupted.
    #[error(transparent)]
    Port(#[from] PortError),
    /// The state could not be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The sweep could not go on.
    #[error(transparent)]
    Scan(#[from] crate::sync::scan::ScanError),
    /// The run must not begin, or not go on, for a reason that a person has to settle.
    #[error("{0}")]
    Refused(String),
    /// Creates are sent and not answered, one after the other.
    #[error(
        "FIRST LINE answers no create (POST {route}), though it answers reads: {in_doubt} contacts are in doubt, and nothing \
         more is created. Nothing is lost, and nothing is sent twice: the next run looks for them, then sends one create ahead, \
         and the others follow once that is answered. Ask FIRST LINE why POST {route} fails"
    )]
    Unanswered {
        /// Where creates go.
        route: &'static str,
        /// Contacts in doubt.
        in_doubt: usize,
    },
    /// The definitions that the mapping was compiled against have changed: the run is begun anew.
    #[error("the custom fields of FIRST LINE have changed; the run is begun anew with a mapping that fits")]
    Drifted,
}

impl RunError {
    /// Whether this is a shutdown rather than a failure.
    pub fn is_interruption(&self) -> bool {
        matches!(self.port(), Some(PortError::Interrupted))
    }

    /// What a platform said, if it is that.
    pub fn port(&self) -> Option<&PortError> {
        match self {
            Self::Port(error) | Self::Scan(crate::sync::scan::ScanError::Source(error)) => Some(error),
            _ => None,
        }
    }

    /// Whether a person has to act before another run can do better: a wrong account, credentials that are refused.
    pub fn is_for_a_person(&self) -> bool {
        matches!(self, Self::Refused(_)) || matches!(self.port(), Some(PortError::Stop { .. }))
    }
}

/// What every stage of a run needs.
pub struct Engine<T> {
    /// FIRST LINE.
    pub target: Arc<T>,
    /// The state.
    pub store: Store,
    /// The compiled mapping.
    pub mapping: Arc<Mapping>,
    /// Where the stamp is written.
    pub scheme: StampScheme,
    /// Settings.
    pub settings: EngineSettings,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Who watches.
    pub progress: Arc<dyn Progress>,
    /// Cancelled at the first signal: finish what is in flight, begin nothing new.
    pub stop: CancellationToken,
    /// This run.
    pub run: RunId,
    highest: AtomicI64,
    semantics: AtomicU8,
    /// What a probe found out about the tenant; empty without one.
    pub(super) tenant: TenantReport,
    /// Held while the update semantics are being tried, so that one record is enough.
    pub(super) experiment: Mutex<()>,
    /// Whether it was said what whole records cannot bring back.
    pub(super) unseen_told: AtomicBool,
    /// What creates came to lately.
    pub(super) brake: Brake,
    /// Held while an existing record is linked, so that it is linked to one contact only.
    pub(super) linking: Mutex<()>,
    /// The kinds of all fields that are known, mapped or not.
    pub(super) kinds: Kinds,
    /// The parts of a contact that the tenant had shown when the run began. What could not be done for want of one is
    /// looked at again once it shows.
    pub(super) shown: Shown,
    /// The tags of this run; unset where no labels are read.
    pub(super) tags: OnceLock<TagTable>,
    /// What is known of companies in this run.
    pub(super) companies: Companies,
    /// Records that answered 404 in this run; no more of them than make the run stop.
    pub(super) vanishing: std::sync::Mutex<Vec<Vanished>>,
    /// What is known of tags from earlier runs of this process.
    pub(super) tag_memory: Option<TagMemory>,
    /// Asked before the first write, where somebody keeps the definitions for longer than a run.
    gate: Option<Arc<dyn WriteGate>>,
    /// Whether the gate was found open in this run.
    passed: OnceCell<()>,
    /// Asked before the first write of each contact.
    pub(super) overseer: Option<Arc<dyn Overseer>>,
}

impl<T: ContactTarget> Engine<T> {
    /// Puts the parts of a run together.
    #[expect(clippy::too_many_arguments, reason = "called once, by app; a builder would only rename the fields")]
    pub async fn new(
        target: Arc<T>,
        store: Store,
        mapping: Arc<Mapping>,
        scheme: StampScheme,
        settings: EngineSettings,
        clock: Arc<dyn Clock>,
        progress: Arc<dyn Progress>,
        stop: CancellationToken,
        run: RunId,
    ) -> Result<Self, StoreError> {
        let highest = store.max_target_id().await?.map_or(0, |id| id.0);
        let semantics = match store.profile_get(UPDATE_SEMANTICS).await?.as_ref().and_then(|value| value.as_str()) {
            Some("partial") => UpdateSemantics::Partial,
            Some("replace") => UpdateSemantics::Replace,
            _ => UpdateSemantics::Unknown,
        };
        let tenant = store.profile_get(PROFILE_KEY).await?.as_ref().map(TenantReport::from_json).unwrap_or_default();
        let definitions = store.definitions().await?;
        let mut kinds: Kinds = definitions.into_iter().map(|field| (FieldKey::Custom(field.id), field.kind)).collect();
        kinds.extend(mapping.kinds());
        // What a field that drifted means now is not known: it is sent back as it was read.
        kinds.retain(|field, _| !mapping.is_stopped(*field));
        let shown = shown(&store).await?;
        let brake = Brake::of(&store, settings.doubts_in_a_row, clock.now()).await?;
        Ok(Self {
            target,
            store,
            mapping,
            scheme,
            settings,
            clock,
            progress,
            stop,
            run,
            highest: AtomicI64::new(highest),
            semantics: AtomicU8::new(semantics as u8),
            tenant,
            experiment: Mutex::new(()),
            unseen_told: AtomicBool::new(false),
            brake,
            linking: Mutex::new(()),
            kinds,
            shown,
            tags: OnceLock::new(),
            companies: Companies::default(),
            vanishing: std::sync::Mutex::default(),
            tag_memory: None,
            gate: None,
            passed: OnceCell::new(),
            overseer: None,
        })
    }

    /// Asks `gate` before the first write of this run.
    #[must_use]
    pub fn guarded_by(mut self, gate: Arc<dyn WriteGate>) -> Self {
        self.gate = Some(gate);
        self
    }

    /// Asks `overseer` before the first write of each contact.
    #[must_use]
    pub fn overseen_by(mut self, overseer: Arc<dyn Overseer>) -> Self {
        self.overseer = Some(overseer);
        self
    }

    /// Takes the ids of tags from earlier runs of this process, and leaves its own there.
    #[must_use]
    pub fn remembering(mut self, tags: TagMemory) -> Self {
        self.tag_memory = Some(tags);
        self
    }

    /// Asks the gate, once.
    pub(super) async fn pass_gate(&self) -> Result<(), RunError> {
        let Some(gate) = &self.gate else { return Ok(()) };
        self.passed
            .get_or_try_init(async || if gate.is_open().await? { Ok(()) } else { Err(RunError::Drifted) })
            .await?;
        Ok(())
    }

    /// Learns what another run of this process found out meanwhile.
    pub(super) async fn catch_up(&self, highest: FirstLineId) -> Result<(), StoreError> {
        self.saw(highest);
        let found = match self.store.profile_get(UPDATE_SEMANTICS).await?.as_ref().and_then(|value| value.as_str()) {
            Some("partial") => UpdateSemantics::Partial,
            Some("replace") => UpdateSemantics::Replace,
            _ => return Ok(()),
        };
        self.semantics.store(found as u8, Ordering::Relaxed);
        Ok(())
    }

    /// The highest target id seen so far: a create that is sent from now on gets a higher one.
    pub fn highest(&self) -> i64 {
        self.highest.load(Ordering::Relaxed)
    }

    /// Notes that a target id exists.
    pub fn saw(&self, id: FirstLineId) {
        self.highest.fetch_max(id.0, Ordering::Relaxed);
    }

    /// Keeps what the tenant was seen to show for the next run.
    pub(super) async fn keep_shown(&self) -> Result<(), StoreError> {
        let shown = self.target.shown();
        if shown == self.shown { Ok(()) } else { keep_shown(&self.store, shown).await }
    }

    /// What is known about partial updates.
    pub fn update_semantics(&self) -> UpdateSemantics {
        match self.semantics.load(Ordering::Relaxed) {
            value if value == UpdateSemantics::Partial as u8 => UpdateSemantics::Partial,
            value if value == UpdateSemantics::Replace as u8 => UpdateSemantics::Replace,
            _ => UpdateSemantics::Unknown,
        }
    }

    /// Remembers how updates behave, in this run and in the state.
    pub async fn learn_update_semantics(&self, semantics: UpdateSemantics) -> Result<(), StoreError> {
        self.semantics.store(semantics as u8, Ordering::Relaxed);
        let word = match semantics {
            UpdateSemantics::Unknown => return Ok(()),
            UpdateSemantics::Partial => "partial",
            UpdateSemantics::Replace => "replace",
        };
        self.store.profile_put(UPDATE_SEMANTICS, &word.into()).await
    }

    /// Milliseconds since the epoch.
    pub fn now_ms(&self) -> i64 {
        self.clock.now().0
    }

    /// A link whose fields and children are still to be settled: no base, no fingerprint.
    pub(super) fn unsettled_link(&self, livedesk_id: LiveDeskId, target: FirstLineId, origin: Origin) -> Link {
        let now = self.clock.now();
        Link {
            livedesk_id,
            target,
            origin,
            fingerprint: None,
            base: Base::default().encode(),
            mapping_version: None,
            intent_seq: None,
            linked_at: now,
            updated_at: now,
            run: self.run,
            standing: Standing::Live,
            alias_of: None,
        }
    }

    /// The doubt horizon in milliseconds.
    pub fn horizon_ms(&self) -> i64 {
        millis(self.settings.doubt_horizon)
    }

    /// An interruption, if the run is to stop.
    pub fn go_on(&self) -> Result<(), PortError> {
        if self.stop.is_cancelled() { Err(PortError::Interrupted) } else { Ok(()) }
    }

    /// Tells the watcher something for people.
    pub fn notice(&self, text: impl Into<String>) {
        self.progress.event(ProgressEvent::Notice(text.into()));
    }

    /// Waits, unless the run is interrupted first.
    pub async fn pause(&self, why: &str, wait: Duration) -> Result<(), PortError> {
        self.progress.event(ProgressEvent::Waiting { why: why.to_owned(), wait: Some(wait) });
        tokio::select! {
            () = tokio::time::sleep(wait) => {
                self.progress.event(ProgressEvent::Resumed);
                Ok(())
            }
            () = self.stop.cancelled() => Err(PortError::Interrupted),
        }
    }

    /// The digest under which the index keeps a contact's stamp.
    pub fn stamp_digest(&self, id: LiveDeskId) -> crate::domain::hash::Digest {
        self.store.hash_key().digest("stamp", id.to_string())
    }
}
