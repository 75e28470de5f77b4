//! The e-mails and phones of one contact of a run that is taken back: removed, changed, hung on again.

use std::sync::PoisonError;

use serde_json::{Map, Value};

use super::Undo;
use super::contact::{Case, Sent, WHY, open};
use super::link::Parts;
use super::net::{self, ChildBack, NOT_SHOWN, RowTask};
use crate::domain::hash::Digest;
use crate::domain::ids::ChildId;
use crate::domain::phone;
use crate::domain::record::canonical_email;
use crate::domain::target::TargetContact;
use crate::store::{ChildKind, Intent, IntentKind, IntentState, JournalEntry, Link, LinkChild, WriteOp};
use crate::sync::carry::is_refused_by;
use crate::sync::children::{images, list_name};
use crate::sync::engine::RunError;
use crate::sync::journal::{ChildrenAfter, action};
use crate::sync::ports::{ContactTarget, PortError};

/// Kind of a phone whose kind was not shown: other.
const OTHER_PHONE: i64 = 4;

impl<T: ContactTarget> Undo<'_, T> {
    /// What is done about e-mails and phones, `parts` notes it; and what stays, with the reason.
    pub(super) fn rows(
        &self,
        case: &Case,
        record: &TargetContact,
        parts: &mut Parts,
    ) -> (Vec<RowTask>, Vec<(&'static str, &'static str)>) {
        let (mut tasks, mut stays) = (Vec::new(), Vec::new());
        for ((kind, child), steps) in &case.net.children {
            let name = list_name(*kind);
            let child = case.renumbered.get(&(*kind, *child)).unwrap_or(child);
            let Some(held) = self.engine.current_children(record, *kind) else {
                parts.rows.insert((*kind, *child));
                stays.push((name, NOT_SHOWN));
                continue;
            };
            let now = held.iter().find(|row| row.id == *child).map(|row| row.key);
            let key = |image: &Value| self.row_key(*kind, image);
            let (back, why) = net::child(steps, now, key);
            if let Some(why) = why {
                parts.rows.insert((*kind, *child));
                stays.push((name, why));
            }
            tasks.push((*kind, *child, back));
        }
        let held = |kind: ChildKind| self.engine.current_children(record, kind).unwrap_or_default();
        let tasks = net::rows(tasks, held, |kind, image| self.row_key(kind, image));
        parts.lists.extend(tasks.iter().map(|(kind, ..)| *kind));
        (tasks, stays)
    }

    /// Changes and removes rows, and hangs on what was removed, each under an intent.
    pub(super) async fn send_rows(
        &self,
        case: &Case,
        record: &TargetContact,
        tasks: Vec<RowTask>,
        link: Option<&Link>,
    ) -> Result<Sent, RunError> {
        if tasks.is_empty() {
            return Ok(Sent::Done);
        }
        if !self.order.dry_run {
            self.open_rows(case, record, &tasks, link).await?;
        }
        let mut sent = Sent::Done;
        for (kind, child, back) in tasks {
            let (ahead, again) = self.known(case, kind, child, &back);
            if !self.order.dry_run && !ahead.is_empty() {
                self.engine.store.write(ahead).await?;
            }
            let result = match &back {
                _ if self.order.dry_run => Ok(Sent::Done),
                ChildBack::Hang(image) => self.hang(case, record, kind, image).await?,
                ChildBack::Change(image) => self.change(case, kind, child, image).await,
                ChildBack::Remove | ChildBack::Nothing => match kind {
                    ChildKind::Email => self.engine.target.delete_email(child).await,
                    ChildKind::Phone => self.engine.target.delete_phone(child).await,
                }
                .map(|()| Sent::Done),
            };
            match result {
                Ok(Sent::Done) => {
                    let removed = back == ChildBack::Remove;
                    self.count(|summary| {
                        summary.rows_removed += u64::from(removed);
                        summary.rows_restored += u64::from(!removed);
                    });
                    let done = if removed { "removed" } else { "restored" };
                    self.tell(case.id, case.target, list_name(kind), done, "");
                }
                Ok(_) => {
                    self.tell(case.id, case.target, list_name(kind), "left", "a create is in doubt");
                    sent = Sent::Left;
                }
                Err(PortError::Refused { status, .. }) => {
                    if is_refused_by(status) {
                        self.engine.store.write(again).await?;
                    }
                    self.tell(case.id, case.target, list_name(kind), "left", &format!("refused with status {status}"));
                    sent = Sent::Left;
                }
                Err(PortError::NotFound) => {
                    self.tell(case.id, case.target, list_name(kind), "left", "it vanished meanwhile");
                    sent = Sent::Left;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(sent)
    }

    /// Writes down what rows hold that are about to be changed or removed.
    async fn open_rows(
        &self,
        case: &Case,
        record: &TargetContact,
        tasks: &[RowTask],
        link: Option<&Link>,
    ) -> Result<(), RunError> {
        let (mut after, mut before) = (ChildrenAfter::default(), Map::new());
        for kind in [ChildKind::Email, ChildKind::Phone] {
            let mut ids = Vec::new();
            for (of, child, back) in tasks.iter().filter(|(of, ..)| *of == kind) {
                match back {
                    ChildBack::Change(image) => match self.row_key(*of, image) {
                        Some(key) => after.change(*of, *child, key),
                        None => continue,
                    },
                    ChildBack::Remove => after.remove(*of, *child),
                    ChildBack::Hang(_) | ChildBack::Nothing => continue,
                }
                ids.push(*child);
            }
            let images = images(record, kind, &ids);
            if !images.is_empty() {
                before.insert(list_name(kind).to_owned(), Value::Array(images));
            }
        }
        let entry = JournalEntry {
            before: Value::Object(before).to_string(),
            after: Some(after.json().to_string()),
            link_before: case.link_before.clone(),
            ..self.engine.entry(case.id, case.target, action::CHILDREN, WHY)
        };
        let ops = [WriteOp::Journal(entry)].into_iter().chain(open(link));
        Ok(self.engine.store.write(ops.collect()).await?)
    }

    /// What is known of a row of ours once its request has arrived, which goes ahead of it; and what is where it is refused. A
    /// row that is not there, or holds something else, would be taken for an agent's doing by whoever comes in between.
    fn known(&self, case: &Case, kind: ChildKind, child: ChildId, back: &ChildBack) -> (Vec<WriteOp>, Vec<WriteOp>) {
        let key = match back {
            ChildBack::Change(image) => self.row_key(kind, image),
            ChildBack::Remove => None,
            ChildBack::Hang(_) | ChildBack::Nothing => return Default::default(),
        };
        let ours = case.ours.iter().find(|row| row.kind == kind && row.child == child);
        let Some(row) = ours.filter(|row| case.link.is_some() && key != Some(row.key)) else {
            return Default::default();
        };
        let gone = |key| WriteOp::RemoveChild { livedesk_id: case.id, kind, key };
        let there = key.map(|key| WriteOp::PutChild(LinkChild { key, ..row.clone() }));
        let ahead = [gone(row.key)].into_iter().chain(there).collect();
        (ahead, key.map(gone).into_iter().chain([WriteOp::PutChild(row.clone())]).collect())
    }

    async fn change(&self, case: &Case, kind: ChildKind, child: ChildId, image: &Value) -> Result<Sent, PortError> {
        let target = &self.engine.target;
        match kind {
            ChildKind::Email => target.update_email(child, text(image, "address")).await,
            ChildKind::Phone => target.update_phone(child, case.target, text(image, "number"), phone_kind(image)).await,
        }
        .map(|()| Sent::Done)
    }

    /// Hangs on what was removed, as any child is: intent first, and a doubt is read back, never resent.
    async fn hang(
        &self,
        case: &Case,
        record: &TargetContact,
        kind: ChildKind,
        image: &Value,
    ) -> Result<Result<Sent, PortError>, RunError> {
        let engine = self.engine;
        let Some(key) = self.row_key(kind, image) else { return Ok(Ok(Sent::Done)) };
        let intent_kind = match kind {
            ChildKind::Email => IntentKind::Email,
            ChildKind::Phone => IntentKind::Phone,
        };
        // It may be on its way already: a create in doubt is never sent again.
        if case.open.iter().any(|intent| intent.kind == intent_kind && intent.key == Some(key)) {
            return Ok(Ok(Sent::Left));
        }
        let seq = engine.store.next_intent_seq();
        let intent = Intent {
            seq,
            livedesk_id: case.id,
            kind: intent_kind,
            stamp: engine.scheme.text(case.id),
            key: Some(key),
            target: Some(case.target),
            high_water: 0,
            opened_at: engine.clock.now(),
            parked_at: None,
            state: IntentState::Open,
            recreated: false,
            base: Vec::new(),
        };
        engine.store.write(vec![WriteOp::OpenIntent(intent)]).await?;
        let made = match kind {
            ChildKind::Email => engine.target.create_email(case.target, text(image, "address")).await,
            ChildKind::Phone => {
                let number = text(image, "number");
                engine.target.create_phone(case.target, record.profile_id, number, phone_kind(image)).await
            }
        };
        let found = match made {
            Err(PortError::Doubt { .. }) => {
                engine.store.write(vec![WriteOp::ParkIntent { seq, at: engine.clock.now() }]).await?;
                match engine.find_child(case.target, kind, key).await {
                    Ok(Some(child)) => child,
                    Ok(None) | Err(PortError::Refused { .. } | PortError::NotFound) => return Ok(Ok(Sent::Left)),
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(child) => child,
            Err(error) => {
                engine.store.write(vec![WriteOp::CloseIntent { seq }]).await?;
                return Ok(Err(error));
            }
        };
        let mut after = ChildrenAfter::default();
        after.add(kind, found, key);
        let mut ops = vec![
            WriteOp::CloseIntent { seq },
            WriteOp::Journal(engine.hung(case.id, case.target, &after, case.link_before.clone(), WHY)),
        ];
        let row = LinkChild { livedesk_id: case.id, kind, key, child: found };
        ops.extend(case.link.as_ref().map(|_| WriteOp::PutChild(row)));
        engine.store.write(ops).await?;
        case.hung.lock().unwrap_or_else(PoisonError::into_inner).insert((kind, key), found);
        Ok(Ok(Sent::Done))
    }

    fn row_key(&self, kind: ChildKind, image: &Value) -> Option<Digest> {
        let engine = self.engine;
        Some(match kind {
            ChildKind::Email => engine.email_digest(&canonical_email(image["address"].as_str()?)),
            ChildKind::Phone => {
                engine.phone_digest(&phone::canonical(image["number"].as_str()?, engine.settings.phone_country))
            }
        })
    }
}

fn text<'a>(image: &'a Value, key: &str) -> &'a str {
    image[key].as_str().unwrap_or_default()
}

fn phone_kind(image: &Value) -> i64 {
    image["type"].as_i64().unwrap_or(OTHER_PHONE)
}
