//! Making scratch contacts: what their creates say, and what a second one with the same number and address is told.

use serde_json::{Map, Value, json};

use super::calls::{Refusal, Said};
use super::cleanup::{LOOKS, is_scratch};
use super::{Ledger, Made, NUMBERS, Number, Probe, ProbeError, numbers, put_columns, shorter};
use crate::domain::ids::FirstLineId;
use crate::domain::record::FieldKey;
use crate::domain::target::TargetContact;
use crate::domain::tenant::{Question, Scratch, ScratchKind};
use crate::firstline::error::Failure;

impl<L: Ledger> Probe<'_, L> {
    pub(super) fn note_shape(&mut self, said: &Said) {
        if let Said::No(refusal) = said
            && matches!(refusal.status, 400 | 422)
        {
            self.shape = self.shape.or(refusal.shape);
        }
    }

    /// Makes a scratch record: written down, sent once, and its id written down. What surely was not made is struck out.
    pub(super) async fn make(
        &mut self,
        kind: ScratchKind,
        stamp: &str,
        path: &str,
        body: &Value,
    ) -> Result<Said, ProbeError> {
        self.scratches.push(Scratch { kind, stamp: stamp.to_owned(), id: None });
        self.write_down().await?;
        let said = self.target.probe_create(path, body).await;
        if let Ok(said) = &said {
            self.note_shape(said);
            match said {
                Said::No(_) => drop(self.scratches.pop()),
                _ => {
                    if let Some(row) = self.scratches.last_mut() {
                        row.id = said.made();
                    }
                }
            }
            self.write_down().await?;
        } else if matches!(said, Err(Failure::Account { .. } | Failure::Tenant(_))) {
            self.scratches.pop();
            self.write_down().await?;
        }
        Ok(said?)
    }

    /// The membership_no of a scratch contact, in the form that this tenant takes.
    pub(super) fn number_of<'s>(&self, stamp: &'s str) -> Number<'s> {
        numbers(stamp)[self.number]
    }

    /// The body of a scratch contact's create.
    fn new_body(&self, stamp: &str, membership_no: &str) -> Map<String, Value> {
        let mut columns = self.columns.required.clone();
        columns.extend(self.columns.text.map(|id| (id, json!(stamp))));
        let mut body = Map::from_iter([
            (String::from("first_name"), json!(stamp)),
            (String::from("last_name"), json!("probe")),
            (String::from("membership_no"), json!(membership_no)),
        ]);
        put_columns(&mut body, columns);
        body
    }

    /// The first scratch contact, with a tag where there is one; without it no question has an answer.
    pub(super) async fn first_contact(&mut self, tags: Option<(i64, i64)>) -> Result<Made, ProbeError> {
        let stamp = Self::stamp();
        let said = self.create_with(&stamp, tags.map(|(tag, _)| tag)).await?;
        match (said.made(), &said) {
            (Some(id), Said::Yes { status, .. }) => {
                let at_ms = self.now_ms();
                self.report.settle(Question::CreateStatus, u64::from(*status));
                let record = self.verified(FirstLineId(id), &stamp).await?;
                // As it is stored: what is too long may be cut without a word.
                let stored =
                    record.value(FieldKey::MembershipNo).and_then(Value::as_str).filter(|text| !text.is_empty());
                let stored = stored.map(str::to_owned);
                self.number = stored.as_ref().map_or(self.number, |stored| shorter(&stamp, self.number, stored));
                let number = stored.unwrap_or_else(|| self.number_of(&stamp).of(0));
                Ok(Made { id: FirstLineId(id), stamp, number, at_ms })
            }
            (_, Said::No(refusal)) if refusal.status == 403 => Err(ProbeError::Refused(String::from(
                "FIRST LINE does not let this account make a customer (status 403): its role only reads; nothing was made",
            ))),
            (_, said) => {
                Err(ProbeError::Refused(format!("FIRST LINE did not make the scratch contact: {}", said.why_not())))
            }
        }
    }

    /// A create with a tag, and with as long a membership_no as this tenant takes.
    async fn create_with(&mut self, stamp: &str, tag: Option<i64>) -> Result<Said, ProbeError> {
        loop {
            let mut body = self.new_body(stamp, &self.number_of(stamp).of(0));
            body.extend(tag.map(|tag| (String::from("tag_ids"), json!([tag]))));
            let mut said = self.make(ScratchKind::Contact, stamp, "/contact", &Value::Object(body.clone())).await?;
            if matches!(&said, Said::No(refusal) if refusal.may_be_about("tag_ids")) && body.remove("tag_ids").is_some()
            {
                said = self.make(ScratchKind::Contact, stamp, "/contact", &Value::Object(body)).await?;
                if said.made().is_some() {
                    self.report.settle(Question::TagsOnCreate, "rejected");
                }
            }
            let about_it =
                |refusal: &Refusal| refusal.may_be_about("membership_no") && !refusal.fields.contains("first_name");
            if !matches!(&said, Said::No(refusal) if about_it(refusal)) || self.number + 1 == NUMBERS {
                return Ok(said);
            }
            self.number += 1;
        }
    }

    /// Reads back what a create says that it made: nothing is written to a record that does not carry the stamp.
    async fn verified(&mut self, id: FirstLineId, stamp: &str) -> Result<TargetContact, ProbeError> {
        let mut record = self.target.probe_read(id).await?;
        for _ in 1..LOOKS {
            if record.is_none() {
                // A read may lag behind the create.
                self.pause(self.settings.settle).await?;
                record = self.target.probe_read(id).await?;
            }
        }
        let reason = match record {
            Some(record) if is_scratch(&record, &[stamp]) => return Ok(record),
            Some(_) => format!(
                "the answer to the create of a scratch contact names customer {id}, which is not the scratch contact; nothing \
                 was written to it"
            ),
            None => {
                format!("customer {id} of the answer to its create does not show, so that nothing can be tried on it")
            }
        };
        // What was made is looked for by its stamp.
        if let Some(row) = self.scratches.iter_mut().find(|row| row.stamp == stamp) {
            row.id = None;
        }
        self.write_down().await?;
        Err(ProbeError::Refused(reason))
    }

    /// A second contact with the same membership_no, and with the same e-mail: are they refused?
    pub(super) async fn second_contact(&mut self, first: &Made) -> Result<(), ProbeError> {
        let stamp = Self::stamp();
        let body = Value::Object(self.new_body(&stamp, &first.number));
        let mut said = self.make(ScratchKind::Contact, &stamp, "/contact", &body).await?;
        if let Said::No(refusal) = &said {
            let about_it = refusal.may_be_about("membership_no") || refusal.status == 409;
            let words = refusal.words();
            let body = Value::Object(self.new_body(&stamp, &self.number_of(&stamp).of(0)));
            said = self.make(ScratchKind::Contact, &stamp, "/contact", &body).await?;
            if about_it && said.made().is_some() {
                self.report.settle(Question::MembershipNoUnique, true);
                self.report.detail(Question::MembershipNoUnique, format!("a second one gets {words}"));
            } else {
                let reason = format!("a second contact was refused with {words}, and not for its membership_no");
                self.report.unknown(Question::MembershipNoUnique, reason);
            }
        } else if said.made().is_some() {
            self.report.settle(Question::MembershipNoUnique, false);
        } else {
            self.report.unknown(Question::MembershipNoUnique, said.why_not());
        }
        let Some(second) = said.made() else {
            self.report.unknown(Question::EmailUnique, format!("there is no second contact: {}", said.why_not()));
            return Ok(());
        };
        self.verified(FirstLineId(second), &stamp).await?;
        let body = json!({ "contact_id": second, "address": first.email() });
        let said = self.target.probe_create("/email-contact", &body).await?;
        self.note_shape(&said);
        if self.report.reading(Question::EmailUnique).is_some() {
            return Ok(());
        }
        match &said {
            Said::Yes { .. } => self.report.settle(Question::EmailUnique, false),
            Said::No(refusal) if refusal.may_be_about("address") || refusal.status == 409 => {
                self.report.settle(Question::EmailUnique, true);
                self.report.detail(Question::EmailUnique, format!("a second one gets {}", refusal.words()));
            }
            other => self.report.unknown(Question::EmailUnique, other.why_not()),
        }
        Ok(())
    }

    /// What a refusal looks like: a create without its one required field is refused, if nothing was before.
    pub(super) async fn error_body(&mut self) -> Result<(), ProbeError> {
        if self.shape.is_none() {
            let stamp = Self::stamp();
            let body = json!({ "membership_no": stamp });
            self.make(ScratchKind::Contact, &stamp, "/contact", &body).await?;
        }
        if let Some(shape) = self.shape {
            self.report.settle(Question::ErrorBody, shape.as_str());
        } else {
            let reason = "nothing was refused, not even a contact without a first_name";
            self.report.unknown(Question::ErrorBody, reason);
        }
        Ok(())
    }
}
