//! What the simulated LiveDesk does where its documents clash or say nothing. Each switch is one reading.
//!
//! The one-line descriptions for people are in `help`, and a test keeps both lists equal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::sandbox::drift::DriftSwitches;

/// Switches of the LiveDesk simulation; all can be changed while it runs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LiveDeskSwitches {
    /// User name of Basic authentication.
    pub api_key: String,
    /// Password of Basic authentication.
    pub api_secret: String,
    /// Rows per page.
    pub page_size: u32,
    /// Whether a `page_size` parameter is honoured (capped at 100).
    pub honour_page_size: bool,
    /// Which spelling of a descending order works.
    pub direction: DirectionStyle,
    /// Whether `sort` is ignored altogether, giving the unsorted scan.
    pub ignore_sort: bool,
    /// Order among equal sort keys.
    pub ties: Ties,
    /// JSON type of ids.
    pub ids: Spelling,
    /// JSON type of timestamps.
    pub timestamps: Spelling,
    /// Whether `blocked` is the text "true" or "false".
    pub blocked_as_text: bool,
    /// JSON type of `meta.current_page`.
    pub current_page: PageStyle,
    /// Added to `meta.count`: below zero the count is lower than the rows seen.
    pub count_offset: i64,
    /// Whether a search counts only the rows of its page, adds `has_more` and sees hidden contacts.
    pub search_counts_page: bool,
    /// What the filter by label does.
    pub labels: LabelFilter,
    /// Whether GET by id exists; without it every id is 404.
    pub by_id: bool,
    /// Contacts whose GET by id fails, each with its status.
    pub by_id_fails: BTreeMap<u64, u16>,
    /// Whether online contacts flip their presence from one answer to the next.
    pub presence_flips: bool,
    /// Pages above this one answer this one again (0 is off): a stuck server.
    pub stuck_page: u64,
    /// What changes between two pages.
    pub drift: DriftSwitches,
}

impl Default for LiveDeskSwitches {
    fn default() -> Self {
        Self {
            api_key: "sandbox-key".to_owned(),
            api_secret: "sandbox-secret".to_owned(),
            page_size: 15,
            honour_page_size: false,
            direction: DirectionStyle::Both,
            ignore_sort: false,
            ties: Ties::Kept,
            ids: Spelling::Number,
            timestamps: Spelling::Number,
            blocked_as_text: false,
            current_page: PageStyle::Echo,
            count_offset: 0,
            search_counts_page: false,
            labels: LabelFilter::Both,
            by_id: true,
            by_id_fails: BTreeMap::new(),
            presence_flips: false,
            stuck_page: 0,
            drift: DriftSwitches::default(),
        }
    }
}

/// What the filter by label does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelFilter {
    /// `labels[]=` and `labels=` filter.
    Both,
    /// Only `labels[]=` does; the other is ignored.
    List,
    /// Only `labels=` does; the other is ignored.
    Text,
    /// A label that does not exist is ignored: everybody comes.
    UnknownIgnored,
    /// Every label is ignored.
    Ignored,
    /// 422.
    Refused,
}

/// How a client asks for a descending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectionStyle {
    /// `direction=desc`; a minus makes the sort key unknown.
    Parameter,
    /// A minus before the key; `direction` is ignored.
    Minus,
    /// Either.
    Both,
}

/// Order among rows whose sort key is equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// The same on every page: nothing is lost.
    Stable,
    /// Another order on other pages, the same again when the pass is repeated.
    Kept,
    /// Another order on every request.
    Anew,
}

/// JSON type of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spelling {
    /// A number.
    Number,
    /// Numeric text.
    Text,
    /// One or the other, by contact.
    Mixed,
}

/// JSON type of `meta.current_page`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageStyle {
    /// What was sent, as text; the number 1 when nothing was sent.
    Echo,
    /// Always a number.
    Number,
}
