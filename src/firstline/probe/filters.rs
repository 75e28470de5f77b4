//! Which filters find a contact, and how long after its create.
//!
//! Every filter is asked for the scratch contact and for a value that nobody has; only the two answers together say
//! something. What finds nothing at all is asked again until the time is up: search may lag.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::calls::{Said, int};
use super::judge::{self, Look};
use super::{Ledger, Made, Probe, ProbeError};
use crate::clock::millis;
use crate::domain::tenant::Question;

/// Between two looks, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
const DAY_SECONDS: i64 = 86_400;

/// What is said of a search that did not show a contact at once; without it the time is that of the look itself.
pub const LATE: &str = "not there at the first look";

/// Which trial it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    MembershipNo,
    Brackets,
    Json,
    CreatedAt,
    Email,
    Address,
}

type Pairs = Vec<(String, String)>;

/// A filter on trial.
struct Trial {
    name: Name,
    path: &'static str,
    /// Asks for the scratch contact.
    positive: Pairs,
    /// Asks for what nobody has.
    negative: Pairs,
    /// Asks for a part of the scratch contact's value.
    part: Option<Pairs>,
}

fn pair(key: &str, value: impl Into<String>) -> Pairs {
    vec![(key.to_owned(), value.into())]
}

fn brackets(column: i64, value: &str) -> Pairs {
    [("id", column.to_string()), ("op", String::from("=")), ("val", value.to_owned())]
        .map(|(part, value)| (format!("cz_cols[0][{part}]"), value))
        .to_vec()
}

fn json_text(column: i64, value: &str) -> Pairs {
    pair("cz_cols", json!([{ "id": column, "op": "=", "val": value }]).to_string())
}

/// Without its last character.
fn part_of(value: &str) -> String {
    let mut part = value.to_owned();
    part.pop();
    part
}

impl<L: Ledger> Probe<'_, L> {
    /// The filters on what the create itself holds; the first that finds the contact tells the lag of search.
    pub(super) async fn search_filters(&mut self, made: &Made) -> Result<(), ProbeError> {
        let (stamp, nobody) = (made.stamp.as_str(), Self::stamp());
        let number = made.number.as_str();
        let mut trials = vec![Trial {
            name: Name::MembershipNo,
            path: "/contact",
            positive: pair("membership_no", number),
            negative: pair("membership_no", self.number_of(&nobody).of(0)),
            part: Some(pair("membership_no", part_of(number))),
        }];
        if let Some(column) = self.columns.text {
            for (name, form) in [(Name::Brackets, brackets as fn(i64, &str) -> Pairs), (Name::Json, json_text)] {
                trials.push(Trial {
                    name,
                    path: "/contact",
                    positive: form(column, stamp),
                    negative: form(column, &nobody),
                    part: None,
                });
            }
        }
        if let (Some(past), Some(future)) = (self.moment(made.at_ms, -1), self.moment(made.at_ms, 3650)) {
            trials.push(Trial {
                name: Name::CreatedAt,
                path: "/contact",
                positive: pair("created_at__start", past),
                negative: pair("created_at__start", future),
                part: None,
            });
        }
        let found = self.settle_filters(trials, made, made.at_ms).await?;
        let word = |name| found.iter().find(|(known, _)| *known == name).and_then(|(_, word)| *word);
        self.put_filter(Question::FilterMembershipNo, word(Name::MembershipNo));
        self.put_filter(Question::FilterCreatedAt, word(Name::CreatedAt));
        if self.columns.text.is_some() {
            match judge::encodings(word(Name::Brackets), word(Name::Json)) {
                Ok(word) => self.report.settle(Question::FilterColumn, word),
                Err(reason) => self.report.unknown(Question::FilterColumn, reason),
            }
        } else {
            self.report.unknown(Question::FilterColumn, "there is no text custom field to try it on");
        }
        if self.report.reading(Question::SearchLagMs).is_none() {
            self.report.unknown(Question::SearchLagMs, "no filter found the scratch contact in time");
        }
        Ok(())
    }

    /// The filters by e-mail, after the scratch contact has one.
    pub(super) async fn email_filters(&mut self, made: &Made) -> Result<(), ProbeError> {
        let address = made.email();
        let body = json!({ "contact_id": made.id.0, "address": address });
        let said = self.target.probe_create("/email-contact", &body).await?;
        self.note_shape(&said);
        if !matches!(said, Said::Yes { .. }) {
            let reason = format!("the scratch contact got no e-mail: {}", said.why_not());
            for question in [Question::FilterEmail, Question::FilterAddress, Question::EmailUnique] {
                self.report.unknown(question, reason.as_str());
            }
            return Ok(());
        }
        let nobody = super::email_of(&Self::stamp());
        let trial = |name, path, key| Trial {
            name,
            path,
            positive: pair(key, address.as_str()),
            negative: pair(key, nobody.as_str()),
            part: Some(pair(key, part_of(&address))),
        };
        let trials = vec![trial(Name::Email, "/contact", "email"), trial(Name::Address, "/email-contact", "address")];
        let found = self.settle_filters(trials, made, self.now_ms()).await?;
        for (name, word) in found {
            let question = if name == Name::Email { Question::FilterEmail } else { Question::FilterAddress };
            self.put_filter(question, word);
        }
        Ok(())
    }

    fn put_filter(&mut self, question: Question, word: Option<&'static str>) {
        if let Some(word) = word {
            return self.report.settle(question, word);
        }
        let wait = humantime::format_duration(self.settings.max_wait);
        self.report.unknown(question, format!("found nothing within {wait}, neither the scratch contact nor others"));
    }

    /// Asks every filter until it has shown what it is worth, or the time is up.
    async fn settle_filters(
        &mut self,
        mut trials: Vec<Trial>,
        made: &Made,
        since_ms: i64,
    ) -> Result<Vec<(Name, Option<&'static str>)>, ProbeError> {
        let mut found = Vec::new();
        let mut wait = FIRST_PAUSE;
        let limit = millis(self.settings.max_wait);
        let mut first_look = true;
        loop {
            let mut pending = Vec::new();
            for trial in trials {
                let positive = self.look(&trial, &trial.positive, made).await?;
                let elapsed = self.now_ms() - since_ms;
                let negative = self.look(&trial, &trial.negative, made).await?;
                let Some(mut word) = judge::filter(positive, negative) else {
                    pending.push(trial);
                    continue;
                };
                if word == "works" {
                    // Whoever was made today answers for a filter on the time; only a hit on the contact itself tells the lag.
                    if trial.name != Name::CreatedAt && self.report.reading(Question::SearchLagMs).is_none() {
                        // No less than it took to look: a first look may come a second after the create.
                        self.report.settle(Question::SearchLagMs, elapsed.max(0));
                        let when = if first_look { "found at the first look" } else { LATE };
                        self.report.detail(Question::SearchLagMs, when);
                    }
                    if let Some(part) = &trial.part
                        && matches!(self.look(&trial, part, made).await?, Look::Rows { ours: true, .. })
                    {
                        word = "fuzzy";
                    }
                }
                found.push((trial.name, Some(word)));
            }
            first_look = false;
            if pending.is_empty() || self.now_ms() - since_ms >= limit {
                found.extend(pending.iter().map(|trial| (trial.name, None)));
                return Ok(found);
            }
            trials = pending;
            self.pause(wait).await?;
            wait = (wait * 2).min(LONGEST_PAUSE);
        }
    }

    async fn look(&self, trial: &Trial, filter: &Pairs, made: &Made) -> Result<Look, ProbeError> {
        let (id, address, name) = (made.id.0, made.email(), trial.name);
        let look = self
            .target
            .probe_look(trial.path, filter, move |row: &Value| match name {
                Name::Address => row["address"].as_str().is_some_and(|stored| stored.eq_ignore_ascii_case(&address)),
                _ => int(&row["id"]) == Some(id),
            })
            .await?;
        Ok(match look {
            // Others may have been made today as well, on pages before ours.
            Look::Rows { any, .. } if name == Name::CreatedAt => Look::Rows { ours: any, any },
            look => look,
        })
    }

    /// A moment so many days from then, as the tenant writes it.
    fn moment(&self, ms: i64, days: i64) -> Option<String> {
        let at = Timestamp::from_second(ms.div_euclid(1000) + days * DAY_SECONDS).ok()?;
        Some(at.to_zoned(self.settings.time_zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string())
    }
}
