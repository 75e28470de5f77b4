//! What is remembered of alarms: which stand, since when, and which news has not been delivered yet.
//!
//! One row of the state (profile key `alarms`), so that a restart neither repeats an alarm nor forgets its end. The
//! outbox holds the newest news of each alarm: nine at most, however long the webhook is away.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::clock::Timestamp;
use crate::ops::moment;

use super::alarm::Alarm;
use super::judge::Finding;

/// An alarm that stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Since when.
    pub since: Timestamp,
    /// What happened.
    pub text: String,
    /// The same for machines.
    pub details: Value,
}

/// News of one alarm.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// Whether it was raised, else it is over.
    pub raised: bool,
    /// When that was.
    pub at: Timestamp,
    /// What it is about.
    pub standing: Standing,
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// Which alarm.
    pub alarm: Alarm,
    /// What is new.
    pub news: News,
}

/// What is remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// When this state was first watched.
    pub watched_since: Timestamp,
    /// Alarms that stand.
    pub standing: BTreeMap<Alarm, Standing>,
    /// News that was not delivered.
    pub outbox: BTreeMap<Alarm, News>,
}

impl Memory {
    /// Nothing stands; watching begins now.
    pub fn new(now: Timestamp) -> Self {
        Self { watched_since: now, standing: BTreeMap::new(), outbox: BTreeMap::new() }
    }

    /// Takes in what was found and says what changed. `deliver`: whether there is somebody to deliver news to.
    pub fn learn(&mut self, findings: Vec<(Alarm, Finding)>, now: Timestamp, deliver: bool) -> Vec<Change> {
        let mut changes = Vec::new();
        for (alarm, finding) in findings {
            let news = match (finding, self.standing.get_mut(&alarm)) {
                (Finding::Raised { text, details, .. }, Some(standing)) => {
                    // It stands already: what it says of itself goes on, nobody is told again.
                    (standing.text, standing.details) = (text, details);
                    continue;
                }
                (Finding::Raised { since, text, details }, None) => {
                    let standing = Standing { since: since.unwrap_or(now), text, details };
                    self.standing.insert(alarm, standing.clone());
                    News { raised: true, at: now, standing }
                }
                (Finding::Fine, Some(_)) => match self.standing.remove(&alarm) {
                    Some(standing) => News { raised: false, at: now, standing },
                    None => continue,
                },
                (Finding::Fine, None) | (Finding::Unknown, _) => continue,
            };
            if deliver {
                self.outbox.insert(alarm, news.clone());
            }
            changes.push(Change { alarm, news });
        }
        if !deliver {
            self.outbox.clear();
        }
        changes
    }

    /// News was delivered; what is newer stays.
    pub fn delivered(&mut self, alarm: Alarm, news: &News) {
        if self.outbox.get(&alarm) == Some(news) {
            self.outbox.remove(&alarm);
        }
    }

    /// In the form that is stored.
    pub fn to_json(&self) -> Value {
        let standing = |of: &Standing| json!({ "since": of.since.0, "text": of.text, "details": of.details });
        let alarms = self.standing.iter().map(|(alarm, of)| (alarm.as_str().to_owned(), standing(of)));
        let outbox = self.outbox.iter().map(|(alarm, news)| {
            let stored = json!({ "raised": news.raised, "at": news.at.0, "standing": standing(&news.standing) });
            (alarm.as_str().to_owned(), stored)
        });
        json!({
            "watched_since": self.watched_since.0,
            "standing": alarms.collect::<Map<String, Value>>(),
            "outbox": outbox.collect::<Map<String, Value>>(),
        })
    }

    /// What was stored; what another version stored and this one does not know is left out.
    pub fn from_json(stored: &Value, now: Timestamp) -> Self {
        let standing = |of: &Value| {
            Some(Standing {
                since: Timestamp(of.get("since")?.as_i64()?),
                text: of.get("text")?.as_str()?.to_owned(),
                details: of.get("details")?.clone(),
            })
        };
        let news = |of: &Value| {
            Some(News {
                raised: of.get("raised")?.as_bool()?,
                at: Timestamp(of.get("at")?.as_i64()?),
                standing: standing(of.get("standing")?)?,
            })
        };
        Self {
            watched_since: stored.get("watched_since").and_then(Value::as_i64).map_or(now, Timestamp),
            standing: entries(stored, "standing", standing),
            outbox: entries(stored, "outbox", news),
        }
    }
}

fn entries<T>(stored: &Value, key: &str, read: impl Fn(&Value) -> Option<T>) -> BTreeMap<Alarm, T> {
    let entries = stored.get(key).and_then(Value::as_object).into_iter().flatten();
    entries.filter_map(|(alarm, value)| Some((Alarm::parse(alarm)?, read(value)?))).collect()
}

/// News as it is sent: what, since when, what it means, what to do. Nothing of a person, and no secret.
pub fn notice(alarm: Alarm, news: &News, accounts: &Value) -> Value {
    let standing = &news.standing;
    json!({
        "program": "deskferry",
        "version": env!("CARGO_PKG_VERSION"),
        "alarm": alarm.as_str(),
        "state": if news.raised { "raised" } else { "recovered" },
        // The same for both ends of one alarm, and for a notice that is sent a second time.
        "id": format!("{}-{}", alarm.as_str(), standing.since.0),
        "since": moment(standing.since),
        "at": moment(news.at),
        "text": if news.raised { standing.text.clone() } else { format!("over: {}", standing.text) },
        "remedy": news.raised.then(|| alarm.remedy()),
        "details": standing.details,
        "accounts": accounts,
    })
}
