//! What the adapter learns about a tenant while it works, so that it need not learn it again.
//!
//! Two things: how an update is sent (real PUT is said not to work, notes FIRST LINE 1.4), and which key a phone
//! hangs on (notes 6). What only an experiment can settle belongs to `probe`, not here.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::domain::target::Shown;

/// How an update is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpdateMethod {
    /// POST with `_method` in the JSON body.
    PostBody,
    /// POST with `_method` in the query.
    PostQuery,
    /// A real PUT.
    Put,
}

impl UpdateMethod {
    /// Every method, in the order in which they are tried.
    pub const ALL: [Self; 3] = [Self::PostBody, Self::PostQuery, Self::Put];

    /// The word in the configuration and in the state.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PostBody => "post_body",
            Self::PostQuery => "post_query",
            Self::Put => "put",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }
}

impl fmt::Display for UpdateMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The update method as far as it is settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpdateChoice {
    /// `auto`, nothing found out yet.
    #[default]
    Open,
    /// `auto`, and this one worked; another is looked for should it be refused with 405.
    Found(UpdateMethod),
    /// The operator says so: no other is tried.
    Fixed(UpdateMethod),
}

impl UpdateChoice {
    /// The methods to try, in order.
    pub(super) fn candidates(self) -> Vec<UpdateMethod> {
        match self {
            Self::Fixed(method) => vec![method],
            Self::Open => UpdateMethod::ALL.to_vec(),
            Self::Found(first) => {
                let others = UpdateMethod::ALL.into_iter().filter(|method| *method != first);
                std::iter::once(first).chain(others).collect()
            }
        }
    }
}

/// Which key a phone hangs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PhoneOwner {
    /// `contact_id`, as the current documentation says.
    #[default]
    Contact,
    /// `profile_id`, as the oldest one says.
    Profile,
}

/// What is known about a tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// How updates are sent.
    pub update: UpdateChoice,
    /// What phones hang on.
    pub phone_owner: PhoneOwner,
    /// Which parts of a contact it was seen to show.
    pub shown: Shown,
}

/// A profile that grows while many requests read it.
#[derive(Debug)]
pub(super) struct Learned(Mutex<Known>);

#[derive(Debug)]
struct Known {
    profile: Profile,
    /// A phone has been accepted by `profile.phone_owner`, in this run or, when it is not the default, in an earlier one.
    phone_owner_proven: bool,
}

impl Learned {
    pub(super) fn new(profile: Profile) -> Self {
        let phone_owner_proven = profile.phone_owner != PhoneOwner::default();
        Self(Mutex::new(Known { profile, phone_owner_proven }))
    }

    pub(super) fn get(&self) -> Profile {
        self.known().profile
    }

    /// Whether any phone has been accepted by the key that phones are known to hang on.
    pub(super) fn phone_owner_is_proven(&self) -> bool {
        self.known().phone_owner_proven
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An update succeeded this way.
    pub(super) fn update_works(&self, method: UpdateMethod) {
        let mut known = self.known();
        let choice = known.profile.update;
        if !matches!(choice, UpdateChoice::Fixed(_)) && choice != UpdateChoice::Found(method) {
            known.profile.update = UpdateChoice::Found(method);
            tracing::info!(method = %method, "found out how FIRST LINE takes updates");
        }
    }

    /// A phone was accepted this way.
    pub(super) fn phone_works(&self, owner: PhoneOwner) {
        let mut known = self.known();
        known.phone_owner_proven = true;
        if known.profile.phone_owner != owner {
            known.profile.phone_owner = owner;
            tracing::info!(?owner, "found out what a phone hangs on at FIRST LINE");
        }
    }
}
