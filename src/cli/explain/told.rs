//! What is told of one contact, for people and as JSON.

use serde_json::{Map, Value, json};

use super::known::Known;
use crate::cli::conflicts::{as_json as conflict_json, as_line as conflict_line, made_json, made_text, stamp_json};
use crate::cli::live::{Foreseen, Live};
use crate::cli::output::Failure;
use crate::cli::plan::view;
use crate::cli::runs::moment;
use crate::domain::ids::RunId;
use crate::domain::record::{FieldKey, FieldValue};
use crate::store::{ChildKind, Journalled, Link, Standing};
use crate::sync::stamp::StampReading;

/// What the next run does while a hold stands.
const HELD: &str = "nothing";

/// What both platforms say now.
pub(super) struct Now {
    /// Whether LiveDesk shows it; `None` where that cannot be told.
    listed: Option<bool>,
    /// The stamp on the linked customer; `None` where there is no link, or no customer any more.
    stamp: Option<StampReading>,
    there: bool,
    next: Option<Foreseen>,
}

impl Now {
    pub(super) async fn look(live: &Live, known: &Known, show_values: bool) -> Result<Self, Failure> {
        let listed = live.is_listed(known.id).await?;
        let (mut stamp, mut there) = (None, false);
        if let Some(link) = &known.link {
            let evidence = live.engine().await?.candidate(None, link.target).await?;
            there = evidence.record.is_some();
            stamp = there.then_some(evidence.stamp);
        }
        let next = if listed == Some(false) { None } else { Some(live.foresee(known.id, show_values).await?) };
        Ok(Self { listed, stamp, there, next })
    }

    pub(super) fn is_listed(&self) -> bool {
        self.listed == Some(true)
    }
}

/// Everything that is told.
pub(super) struct Told {
    pub(super) known: Known,
    pub(super) now: Option<Now>,
    pub(super) stamp: Vec<(FieldKey, FieldValue)>,
    pub(super) offline: bool,
}

impl Told {
    /// Whether values stand in it, masked or not.
    pub(super) fn has_values(&self) -> bool {
        let line = self.now.as_ref().and_then(|now| now.next.as_ref()).and_then(|next| next.line.as_ref());
        line.is_some_and(|line| !(line.fields.is_empty() && line.emails.is_empty() && line.phones.is_empty()))
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let known = &self.known;
        let id = known.id;
        if let Some(at) = known.forgotten_at {
            return vec![format!(
                "contact {id} was forgotten at {}: it is not carried, and nothing else is known of it \
                 (`deskferry state forget {id} --take-back` lets it be carried again)",
                moment(at)
            )];
        }
        let mut lines = vec![format!("contact {id}")];
        lines.push(known.link.as_ref().map_or_else(|| String::from("link        none"), |link| self.link_line(link)));
        lines.push(self.stamp_line());
        lines.push(match known.seen {
            None => String::from("last seen   by no sweep"),
            Some((sweep, None)) => format!("last seen   by sweep {sweep}, of which nothing more is known"),
            Some((sweep, Some(at))) => format!("last seen   by sweep {sweep}, which began {}", moment(at)),
        });
        lines.extend(self.trouble());
        for run in known.runs.keys() {
            lines.extend(self.run_lines(*run));
        }
        lines.extend(self.next_lines());
        lines
    }

    fn link_line(&self, link: &Link) -> String {
        let standing = match (link.standing, link.alias_of) {
            (Standing::Live, _) => String::new(),
            (Standing::Alias, Some(other)) => format!("; merged into customer {other}, nothing is written to it"),
            (Standing::Alias, None) => String::from("; merged into another customer"),
            (Standing::Gone, _) => String::from("; gone from FIRST LINE, not made again by itself"),
        };
        let settled = if link.fingerprint.is_some() { "settled" } else { "not settled" };
        let maker = self.known.maker().map(|run| format!(" by run {run}")).unwrap_or_default();
        format!(
            "link        customer {}, {} at {}{maker}, last written {}, {settled}; {} e-mails and {} phones are ours{standing}",
            link.target,
            link.origin.as_str(),
            moment(link.linked_at),
            moment(link.updated_at),
            self.known.children(ChildKind::Email),
            self.known.children(ChildKind::Phone)
        )
    }

    fn stamp_line(&self) -> String {
        let wanted: Vec<String> =
            self.stamp.iter().map(|(field, value)| format!("{field} {}", value.canonical())).collect();
        let wanted = wanted.join(" and ");
        let now = match &self.now {
            Some(now) if self.known.link.is_some() && !now.there => "; its customer is not there",
            Some(Now { stamp: Some(StampReading::Of(id)), .. }) if *id == self.known.id => "; it is there",
            Some(Now { stamp: Some(StampReading::Of(_)), .. }) => "; its customer carries another contact's",
            Some(Now { stamp: Some(StampReading::None), .. }) => "; its customer carries none",
            Some(Now { stamp: Some(StampReading::Foreign), .. }) => "; something else stands there",
            Some(Now { stamp: Some(StampReading::NotSaid), .. }) => "; FIRST LINE does not show that place",
            Some(_) | None => "",
        };
        format!("stamp       {wanted}{now}")
    }

    /// What keeps it from being carried, and what people decided.
    fn trouble(&self) -> Vec<String> {
        let known = &self.known;
        let mut lines = Vec::new();
        for intent in &known.intents {
            lines.push(format!(
                "in doubt    {} {}, sent {}: {}",
                intent.kind.as_str(),
                intent.seq,
                moment(intent.opened_at),
                intent.state.as_str()
            ));
        }
        if let Some(letter) = &known.dead_letter {
            let next = match letter.poisoned_at {
                Some(at) => format!("given up {}: `deskferry retry {}`", moment(at), known.id),
                None => format!("tried again from {}", moment(letter.next_at)),
            };
            let times = format!("{} attempts since {}", letter.attempts, moment(letter.first_at));
            lines.push(format!("set aside   {}; {times}, {next}", letter.reason()));
        }
        if let Some(conflict) = &known.conflict {
            lines.push(format!("conflict    {}", conflict_line(conflict, known.link.as_ref())));
        }
        lines.extend(known.decisions.iter().map(|made| format!("decision    {}", made_text(made))));
        if let Some(absence) = &known.absence {
            lines.push(format!(
                "absent      since {}: read by id {}, mark {}, deletion {}{}",
                moment(absence.since),
                absence.finding.as_str(),
                absence.mark.as_str(),
                absence.deletion.as_str(),
                absence.why.as_ref().map(|why| format!(" ({why})")).unwrap_or_default()
            ));
        }
        lines
    }

    fn run_lines(&self, run: RunId) -> Vec<String> {
        let mut lines = vec![match self.known.runs.get(&run) {
            Some(Some(row)) => format!("run {run}  {} of {}", row.kind, moment(row.started_at)),
            _ => format!("run {run}  of which nothing more is known"),
        }];
        for row in self.known.changes(run) {
            let entry = &row.entry;
            let why = if entry.why.is_empty() { String::new() } else { format!(" ({})", entry.why) };
            let parts = parts(row);
            let parts = if parts.is_empty() { String::new() } else { format!(": {}", parts.join(", ")) };
            let undone = row.undone_by.map(|by| format!("; taken back by run {by}")).unwrap_or_default();
            lines.push(format!(
                "    {} {} customer {}{parts}{why}{undone}",
                moment(entry.at),
                entry.action,
                entry.target
            ));
        }
        lines.extend(self.known.marks(run).into_iter().map(|mark| format!("    {mark}")));
        lines
    }

    fn next_lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.known.hold.iter().map(|hold| format!("next run    {HELD}: {hold}")).collect();
        let when = if lines.is_empty() { "next run" } else { "after that" };
        let Some(now) = &self.now else {
            let why =
                if self.offline { "not asked (--offline)" } else { "not known: the platforms could not be asked" };
            lines.push(format!("{when:<12}{why}"));
            return lines;
        };
        let Some(next) = &now.next else {
            lines.push(format!("{when:<12}nothing is carried: LiveDesk does not show the contact"));
            return lines;
        };
        let why = next.problem.as_ref().map(|problem| format!(": {problem}")).unwrap_or_default();
        lines.push(format!("{when:<12}{}{why}", next.action.replace('_', " ")));
        if let Some(line) = &next.line {
            lines.extend(view::contact(line).lines().skip(1).map(str::to_owned));
            if next.problem.is_none() {
                lines.extend(line.left_over.iter().map(|why| format!("    {why}")));
            }
        }
        lines
    }

    pub(super) fn json(&self) -> Value {
        let known = &self.known;
        if known.forgotten_at.is_some() {
            return json!({ "livedesk_id": known.id.0, "forgotten_at": known.forgotten_at.map(moment) });
        }
        let stamp: Map<String, Value> =
            self.stamp.iter().map(|(field, value)| (field.to_string(), json!(value.canonical()))).collect();
        let mut document = json!({
            "livedesk_id": known.id.0,
            "forgotten_at": null,
            "link": known.link.as_ref().map(|link| self.link_json(link)),
            "stamp": { "expected": stamp },
            "last_seen": known.seen.map(|(sweep, at)| json!({ "sweep": sweep, "began": at.map(moment) })),
            "in_doubt": known.intents.iter().map(|intent| json!({
                "kind": intent.kind.as_str(),
                "intent": intent.seq,
                "state": intent.state.as_str(),
                "sent_at": moment(intent.opened_at),
            })).collect::<Vec<_>>(),
            "dead_letter": known.dead_letter.as_ref().map(|letter| json!({
                "kind": letter.kind.as_str(),
                "field": letter.field,
                "status": letter.status,
                "detail": letter.detail,
                "attempts": letter.attempts,
                "first_at": moment(letter.first_at),
                "last_at": moment(letter.last_at),
                "next_at": letter.poisoned_at.is_none().then(|| moment(letter.next_at)),
                "poisoned_at": letter.poisoned_at.map(moment),
            })),
            "conflict": known.conflict.as_ref().map(|conflict| conflict_json(conflict, known.link.as_ref())),
            "decisions": known.decisions.iter().map(made_json).collect::<Vec<_>>(),
            "absence": known.absence.as_ref().map(|absence| json!({
                "since": moment(absence.since),
                "finding": absence.finding.as_str(),
                "mark": absence.mark.as_str(),
                "deletion": absence.deletion.as_str(),
                "why": absence.why,
            })),
            "runs": known.runs.keys().map(|run| self.run_json(*run)).collect::<Vec<_>>(),
            "hold": known.hold.map(|hold| json!({ "undo": hold.undo.0, "of": hold.of.0, "at": moment(hold.at) })),
            "listed": self.now.as_ref().and_then(|now| now.listed),
        });
        if let Some(now) = &self.now {
            document["stamp"]["found"] = now.stamp.map_or(Value::Null, stamp_json);
            if known.link.is_some() {
                document["link"]["there"] = json!(now.there);
            }
            document["next"] = now.next.as_ref().map_or(
                Value::Null,
                |next| json!({ "action": next.action, "problem": next.problem, "plan": next.line }),
            );
        }
        if let Some(hold) = &known.hold {
            let nothing = json!({ "action": HELD, "problem": hold.to_string(), "plan": null });
            document["after_hold"] = std::mem::replace(&mut document["next"], nothing);
        }
        document
    }

    fn link_json(&self, link: &Link) -> Value {
        json!({
            "firstline_id": link.target.0,
            "origin": link.origin.as_str(),
            "linked_at": moment(link.linked_at),
            "updated_at": moment(link.updated_at),
            "made_by": self.known.maker().map(|run| run.0),
            "settled": link.fingerprint.is_some(),
            "standing": link.standing.as_str(),
            "alias_of": link.alias_of.map(|id| id.0),
            "emails": self.known.children(ChildKind::Email),
            "phones": self.known.children(ChildKind::Phone),
        })
    }

    fn run_json(&self, run: RunId) -> Value {
        let row = self.known.runs.get(&run).and_then(Option::as_ref);
        let changes: Vec<Value> = self
            .known
            .changes(run)
            .map(|row| {
                json!({
                    "at": moment(row.entry.at),
                    "action": row.entry.action,
                    "firstline_id": row.entry.target.0,
                    "parts": parts(row),
                    "why": row.entry.why,
                    "undone_by": row.undone_by.map(|run| run.0),
                })
            })
            .collect();
        json!({
            "run": run.0,
            "kind": row.map(|row| row.kind.clone()),
            "started_at": row.map(|row| moment(row.started_at)),
            "changes": changes,
            "notes": self.known.marks(run),
        })
    }
}

/// The names of what a change touched; never what stood there.
fn parts(row: &Journalled) -> Vec<String> {
    let names = |text: &str| match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => {
            let touched = fields.into_iter().filter(|(_, value)| value.as_array().is_none_or(|rows| !rows.is_empty()));
            touched.map(|(name, _)| name).collect()
        }
        _ => Vec::new(),
    };
    let mut parts: Vec<String> = names(&row.entry.before);
    parts.extend(row.entry.after.as_deref().map(names).unwrap_or_default());
    parts.sort_unstable();
    parts.dedup();
    parts
}
