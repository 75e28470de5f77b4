//! `deskferry conflicts show ID`: what speaks for each candidate, as both platforms have it now.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{as_json, as_line, made_json, made_text, one};
use crate::app;
use crate::cli::live::{Live, say_unreachable};
use crate::cli::mask::mask;
use crate::cli::output::{DONE, Failure, LEFT_OVER, note, say};
use crate::cli::{Context, runs::moment};
use crate::config::load::Loaded;
use crate::domain::contact::Contact;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::domain::record::{FieldKey, is_blank};
use crate::store::{Conflict, DecisionMade, Link};
use crate::sync::evidence::{Evidence, Held};
use crate::sync::stamp::StampReading;

/// Arguments of `conflicts show`.
#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The contact (LiveDesk id)
    id: i64,
    /// Show values too: personal data
    #[arg(long)]
    show_values: bool,
}

/// What both platforms say.
struct Looked {
    contact: Option<Contact>,
    candidates: Vec<(FirstLineId, Evidence)>,
}

/// Runs the command.
pub(super) async fn run(args: &Show, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load()?;
    let store = app::read_state(&loaded.settings.state.path, Arc::clone(&context.clock)).await?;
    let id = LiveDeskId(args.id);
    let read = async {
        let conflict = one(&store, id).await?;
        let link = store.links_for(&[id]).await?.remove(&id);
        let holders = store.source_of(&conflict.candidates).await?;
        Ok::<_, Failure>((conflict, link, holders, store.decisions_of(id).await?))
    }
    .await;
    store.close().await;
    let (conflict, link, holders, decisions) = read?;
    let looked = look(context, &loaded, &conflict).await;
    let pen = Pen { show_values: args.show_values };
    let told = Told { conflict, link, decisions, pen };
    match &looked {
        Ok(looked) if context.json => say(told.json(Some(looked))),
        Ok(looked) => told.lines(Some(looked)).into_iter().for_each(say),
        Err(failure) => {
            say_unreachable(failure);
            if context.json {
                say(told.json(None));
            } else {
                told.lines(None).into_iter().for_each(say);
                for (target, holder) in &holders {
                    say(format_args!("customer {target} is linked to contact {holder}"));
                }
            }
        }
    }
    if looked.is_ok() && !args.show_values && !context.json {
        note("values are masked; --show-values shows them");
    }
    Ok(if looked.is_ok() { DONE } else { LEFT_OVER })
}

async fn look(context: &Context, loaded: &Loaded, conflict: &Conflict) -> Result<Looked, Failure> {
    let live = Live::open(context, loaded).await?;
    let result = async {
        let contact = live.contact(conflict.livedesk_id).await?;
        // A contact that cannot be mapped has no keys, but its candidates can be shown.
        let wished = contact.as_ref().and_then(|contact| live.mapping.apply(contact).ok());
        let engine = live.engine().await?;
        let mut candidates = Vec::new();
        for id in &conflict.candidates {
            let evidence = engine.candidate(wished.as_ref(), *id).await.map_err(Failure::from)?;
            candidates.push((*id, evidence));
        }
        Ok(Looked { contact, candidates })
    }
    .await;
    live.close().await;
    result
}

/// How values are written.
#[derive(Clone, Copy)]
struct Pen {
    show_values: bool,
}

impl Pen {
    fn value(self, value: &str) -> String {
        if self.show_values { value.to_owned() } else { mask(value) }
    }

    fn name(self, evidence: &Evidence) -> String {
        let Some(record) = &evidence.record else { return String::new() };
        let parts = [FieldKey::FirstName, FieldKey::LastName].into_iter().filter_map(|field| record.value(field));
        let parts = parts.filter(|value| !is_blank(value)).filter_map(Value::as_str).map(|value| self.value(value));
        parts.collect::<Vec<_>>().join(" ")
    }

    fn list(self, rows: Option<&Vec<Held>>) -> String {
        let Some(rows) = rows else { return String::from("not shown") };
        let row = |row: &Held| format!("{}{}", self.value(&row.value), if row.hit { " (the contact's)" } else { "" });
        if rows.is_empty() { String::from("none") } else { rows.iter().map(row).collect::<Vec<_>>().join(", ") }
    }

    fn rows(self, rows: Option<&Vec<Held>>) -> Value {
        let row = |row: &Held| json!({ "value": self.value(&row.value), "hit": row.hit });
        rows.map_or(Value::Null, |rows| rows.iter().map(row).collect())
    }
}

struct Told {
    conflict: Conflict,
    link: Option<Link>,
    decisions: Vec<DecisionMade>,
    pen: Pen,
}

fn stamp_text(stamp: StampReading) -> String {
    match stamp {
        StampReading::Of(id) => format!("stamped for contact {id}"),
        StampReading::None => String::from("no stamp"),
        StampReading::Foreign => String::from("something else stands where a stamp would"),
        StampReading::NotSaid => String::from("its stamp is not shown"),
    }
}

/// The stamp for machines: an id, or a stable word.
pub(in crate::cli) fn stamp_json(stamp: StampReading) -> Value {
    match stamp {
        StampReading::Of(id) => json!(id.0),
        StampReading::None => json!("none"),
        StampReading::Foreign => json!("foreign"),
        StampReading::NotSaid => json!("not_shown"),
    }
}

impl Told {
    fn lines(&self, looked: Option<&Looked>) -> Vec<String> {
        let Self { conflict, link, decisions, pen } = self;
        let mut lines = vec![as_line(conflict, link.as_ref())];
        lines.push(format!("found {}", moment(conflict.at)));
        if let Some(link) = link {
            lines.push(format!("linked to customer {} since {}", link.target, moment(link.linked_at)));
        }
        lines.extend(decisions.iter().map(made_text));
        let Some(looked) = looked else { return lines };
        lines.push(match &looked.contact {
            None => String::from("LiveDesk does not show the contact now"),
            Some(contact) => {
                let part = |key: &str| contact.text(key).map_or_else(|| String::from("none"), |text| pen.value(text));
                format!("in LiveDesk: {}; e-mail {}; phone {}", part("name"), part("email"), part("phone_number"))
            }
        });
        for (id, evidence) in &looked.candidates {
            if evidence.record.is_none() {
                lines.push(format!("customer {id}: not there any more"));
                continue;
            }
            let linked = evidence
                .linked_to
                .map_or_else(|| String::from("linked to nobody"), |other| format!("linked to contact {other}"));
            lines.push(format!(
                "customer {id}: {}; e-mails: {}; phones: {}; {}; {linked}",
                pen.name(evidence),
                pen.list(evidence.emails.as_ref()),
                pen.list(evidence.phones.as_ref()),
                stamp_text(evidence.stamp),
            ));
        }
        lines
    }

    fn json(&self, looked: Option<&Looked>) -> Value {
        let pen = self.pen;
        let mut document = as_json(&self.conflict, self.link.as_ref());
        document["link"] = json!(self.link.as_ref().map(|link| link.target.0));
        document["decisions"] = self.decisions.iter().map(made_json).collect();
        document["live"] = json!(looked.is_some());
        let Some(looked) = looked else { return document };
        document["contact"] = looked.contact.as_ref().map_or(Value::Null, |contact| {
            let part = |key: &str| contact.text(key).map(|text| pen.value(text));
            json!({ "name": part("name"), "email": part("email"), "phone_number": part("phone_number") })
        });
        let row = |(id, evidence): &(FirstLineId, Evidence)| {
            json!({
                "firstline_id": id.0,
                "there": evidence.record.is_some(),
                "name": pen.name(evidence),
                "emails": pen.rows(evidence.emails.as_ref()),
                "phones": pen.rows(evidence.phones.as_ref()),
                "stamp": stamp_json(evidence.stamp),
                "linked_to": evidence.linked_to.map(|id| id.0),
            })
        };
        document["evidence"] = looked.candidates.iter().map(row).collect();
        document
    }
}
