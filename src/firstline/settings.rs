//! What the adapter is built from. A plain struct: `app` fills it from the configuration.

use std::time::Duration;

use super::profile::Profile;
use super::shared::SharedLogin;
use crate::http::Secret;

/// Who we are at FIRST LINE. A second login with the same account kills the first one's token (notes FIRST LINE
/// 1.2), so the account should be ours alone.
#[derive(Clone, Debug)]
pub enum Credentials {
    /// A permanent token from System > Employee.
    Token(Secret),
    /// Login over the API.
    Login {
        /// Name of the account.
        name: Secret,
        /// Its password.
        password: Secret,
        /// Lifetime to ask for.
        ttl: Duration,
    },
}

/// How yes and no are written (notes FIRST LINE 4.3: the JSON form is unknown).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BooleanForm {
    /// 1 and 0.
    #[default]
    OneZero,
    /// `true` and `false`.
    TrueFalse,
    /// `"1"` and `"0"`.
    Text,
}

/// How a field is emptied (notes FIRST LINE 4.3: unknown).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClearForm {
    /// `null`.
    #[default]
    Null,
    /// An empty text.
    EmptyText,
    /// It is not sent, which resets it at a tenant where an update replaces the record. Of use nowhere else.
    LeftOut,
}

/// Settings of the adapter. The base URL belongs to the HTTP client's settings.
#[derive(Clone, Debug)]
pub struct FirstLineSettings {
    /// Who we are.
    pub credentials: Credentials,
    /// Where commands beside this one find the token of a login; `None`: they are not there, or have a fixed one.
    pub shared: Option<SharedLogin>,
    /// Rows to ask for per page; what comes back is read from `meta`.
    pub per_page: u32,
    /// How yes and no are written.
    pub boolean_form: BooleanForm,
    /// How a field is emptied.
    pub clear_form: ClearForm,
    /// What is known about the tenant: from the configuration, or found out by an earlier run.
    pub profile: Profile,
}

impl FirstLineSettings {
    /// The defaults for an account.
    pub fn new(credentials: Credentials) -> Self {
        Self {
            credentials,
            shared: None,
            per_page: 50,
            boolean_form: BooleanForm::default(),
            clear_form: ClearForm::default(),
            profile: Profile::default(),
        }
    }
}
