//! Removes what probes have made. Customers' records are deleted nowhere but in `sync::absence` and `sync::undo` (docs/adr/0012, 0013), tags only here.
//!
//! Nothing is deleted that was not read a moment before and found to carry the stamp of a scratch record that was written
//! down. What cannot be removed is named with its id and the way to do it by hand, and stays written down.

use std::fmt;

use serde_json::Value;

use super::calls::{Said, int};
use super::{Ledger, Probe, ProbeError, email_of, numbers};
use crate::domain::ids::FirstLineId;
use crate::domain::record::FieldKey;
use crate::domain::target::TargetContact;
use crate::domain::tenant::{Scratch, ScratchKind};
use crate::firstline::error::Failure;
use crate::firstline::target::FirstLine;
use crate::http::Request;

/// How often what does not show yet is looked at.
pub(super) const LOOKS: u32 = 3;

/// A scratch record that is still there, or may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOver {
    /// What it is.
    pub scratch: Scratch,
    /// Why it could not be removed.
    pub reason: String,
}

impl fmt::Display for LeftOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.scratch.kind {
            ScratchKind::Contact => "customer",
            ScratchKind::Tag => "tag",
        };
        let stamp = &self.scratch.stamp;
        match self.scratch.id {
            Some(id) => write!(
                f,
                "{what} {id}: {}; delete it by hand in FIRST LINE's back office (it is named {stamp}), or run `deskferry \
                 probe` again",
                self.reason
            ),
            None => write!(
                f,
                "a {what} named {stamp} may exist: {}; search FIRST LINE's back office for that name, or run `deskferry \
                 probe` again",
                self.reason
            ),
        }
    }
}

/// Whose scratch records are removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Those of a probe that was cut off.
    Earlier,
    /// Those of this one.
    Now,
}

/// What became of one scratch record.
enum Removal {
    Gone,
    Kept(String),
}

impl<L: Ledger> Probe<'_, L> {
    /// Removes everything that is written down, contacts before tags, and strikes out what is gone.
    pub(super) async fn clean_up(&mut self, door: &FirstLine, origin: Origin) -> Vec<LeftOver> {
        let mut rows = std::mem::take(&mut self.scratches);
        rows.sort_by_key(|row| row.kind == ScratchKind::Tag);
        let mut kept = Vec::new();
        for (at, row) in rows.iter().enumerate() {
            let stamps: Vec<&str> = rows.iter().map(|row| row.stamp.as_str()).collect();
            let removal = match row.kind {
                ScratchKind::Contact => self.remove_contact(door, row, &stamps, origin).await,
                ScratchKind::Tag => remove_tag(door, row).await,
            };
            let reason = match removal {
                Ok(Removal::Gone) => None,
                Ok(Removal::Kept(reason)) => Some(reason),
                Err(error) => Some(error.to_string()),
            };
            if let Some(reason) = reason {
                kept.push(LeftOver { scratch: row.clone(), reason });
            }
            self.scratches =
                kept.iter().map(|left| left.scratch.clone()).chain(rows[at + 1..].iter().cloned()).collect();
            if let Err(error) = self.write_down().await
                && at + 1 == rows.len()
            {
                tracing::warn!(%error, "what a probe has removed could not be struck out");
            }
        }
        kept
    }

    async fn remove_contact(
        &self,
        door: &FirstLine,
        row: &Scratch,
        stamps: &[&str],
        origin: Origin,
    ) -> Result<Removal, ProbeError> {
        let Some(id) = row.id.map(FirstLineId) else { return self.remove_unanswered(door, row, stamps, origin).await };
        let mut record = door.probe_read(id).await?;
        for _ in 1..LOOKS {
            if record.is_none() {
                // A read may lag behind the create.
                tokio::time::sleep(self.settings.settle).await;
                record = door.probe_read(id).await?;
            }
        }
        match record {
            None => Ok(Removal::Gone),
            Some(record) => self.remove_read(door, &record, stamps).await,
        }
    }

    /// A create that was never answered: looked for by its name, wherever a name can be looked for.
    async fn remove_unanswered(
        &self,
        door: &FirstLine,
        row: &Scratch,
        stamps: &[&str],
        origin: Origin,
    ) -> Result<Removal, ProbeError> {
        let stamp = row.stamp.as_str();
        let numbers = numbers(stamp).map(|number| ("membership_no", number.of(0)));
        let others = [("membership_no", stamp), ("name", stamp), ("search", stamp), ("page", "1")];
        let lists = numbers.into_iter().chain(others.map(|(key, value)| (key, value.to_owned())));
        let mut last_page = None;
        for (key, value) in lists {
            let request = Request::get("/contact").query(key, &value);
            let Said::Yes { body, .. } = door.probe_ask(request).await? else { continue };
            if let Some(removal) = self.remove_listed(door, &body, row, stamps).await? {
                return Ok(removal);
            }
            last_page = int(&body["meta"]["last_page"]);
        }
        if let Some(last) = last_page.filter(|last| *last > 1) {
            let request = Request::get("/contact").query("page", &last.to_string());
            if let Said::Yes { body, .. } = door.probe_ask(request).await?
                && let Some(removal) = self.remove_listed(door, &body, row, stamps).await?
            {
                return Ok(removal);
            }
        }
        if origin == Origin::Earlier {
            // What has not shown until now was not made.
            return Ok(Removal::Gone);
        }
        Ok(Removal::Kept(String::from("its create was not answered, and it does not show")))
    }

    async fn remove_listed(
        &self,
        door: &FirstLine,
        body: &Value,
        row: &Scratch,
        stamps: &[&str],
    ) -> Result<Option<Removal>, ProbeError> {
        let named = |found: &&Value| {
            ["first_name", "membership_no"].iter().any(|key| found[*key].as_str() == Some(row.stamp.as_str()))
        };
        let Some(id) = body["data"].as_array().into_iter().flatten().find(named).and_then(|found| int(&found["id"]))
        else {
            return Ok(None);
        };
        let Some(record) = door.probe_read(FirstLineId(id)).await? else { return Ok(None) };
        Ok(Some(self.remove_read(door, &record, stamps).await?))
    }

    /// Deletes a record that was just read, with the e-mails that a probe gave it, if it carries a stamp of ours.
    async fn remove_read(
        &self,
        door: &FirstLine,
        record: &TargetContact,
        stamps: &[&str],
    ) -> Result<Removal, ProbeError> {
        if !is_scratch(record, stamps) {
            return Ok(Removal::Kept(String::from("it does not carry the stamp of a scratch contact any more")));
        }
        let ours: Vec<String> = stamps.iter().map(|stamp| email_of(stamp)).collect();
        for email in record.emails.iter().flatten().filter(|email| ours.contains(&email.address)) {
            // What hangs on a contact should go with it; whether it does is not known (notes FIRST LINE 3.8).
            door.probe_delete(&format!("/email-contact/{}", email.id.0)).await?;
        }
        let said = door.probe_delete(&format!("/contact/{}", record.id)).await?;
        for look in 0..LOOKS {
            if door.probe_read(record.id).await?.is_none() {
                return Ok(Removal::Gone);
            }
            if matches!(said, Said::No(_)) {
                break;
            }
            if look + 1 < LOOKS {
                tokio::time::sleep(self.settings.settle).await;
            }
        }
        Ok(Removal::Kept(match &said {
            Said::Yes { .. } => String::from("its deletion was accepted and it is still there"),
            said => format!("its deletion was {}", said.why_not()),
        }))
    }
}

/// Whether a record carries the stamp of a scratch contact where a probe writes it.
pub(super) fn is_scratch(record: &TargetContact, stamps: &[&str]) -> bool {
    let text = |key| record.value(key).and_then(Value::as_str).unwrap_or_default();
    let (name, number) = (text(FieldKey::FirstName), text(FieldKey::MembershipNo));
    stamps.iter().any(|stamp| name == *stamp || (name.is_empty() && number == *stamp))
}

async fn remove_tag(door: &FirstLine, row: &Scratch) -> Result<Removal, ProbeError> {
    let id = match row.id {
        Some(id) => id,
        None => match tag_by_name(door, &row.stamp).await? {
            Some(id) => id,
            None => return Ok(Removal::Gone),
        },
    };
    let path = format!("/contact-tag/{id}");
    match door.probe_ask(Request::get(&path)).await? {
        Said::Yes { body, .. } if body["data"]["name"].as_str() == Some(row.stamp.as_str()) => {}
        Said::Yes { .. } => {
            return Ok(Removal::Kept(String::from("it does not carry the name of a scratch tag any more")));
        }
        Said::No(refusal) if matches!(refusal.status, 404 | 410) => return Ok(Removal::Gone),
        said => return Ok(Removal::Kept(format!("it cannot be read: {}", said.why_not()))),
    }
    let said = door.probe_delete(&path).await?;
    Ok(match door.probe_ask(Request::get(&path)).await? {
        Said::No(refusal) if matches!(refusal.status, 404 | 410) => Removal::Gone,
        _ => Removal::Kept(match said {
            Said::Yes { .. } => String::from("its deletion was accepted and it is still there"),
            said => format!("its deletion was {}", said.why_not()),
        }),
    })
}

async fn tag_by_name(door: &FirstLine, name: &str) -> Result<Option<i64>, Failure> {
    let Said::Yes { body, .. } = door.probe_ask(Request::get("/contact-tag").query("name", name)).await? else {
        return Ok(None);
    };
    let rows = body["data"].as_array();
    Ok(rows.into_iter().flatten().find(|row| row["name"].as_str() == Some(name)).and_then(|row| int(&row["id"])))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::is_scratch;
    use crate::domain::ids::FirstLineId;
    use crate::domain::record::FieldKey;
    use crate::domain::target::TargetContact;

    fn record(name: &str, number: Option<&str>) -> TargetContact {
        TargetContact {
            id: FirstLineId(1),
            profile_id: None,
            standard: [(FieldKey::FirstName, json!(name)), (FieldKey::MembershipNo, json!(number))].into(),
            custom: None,
            custom_unreadable: false,
            emails: None,
            phones: None,
            tag_ids: None,
            company_ids: None,
        }
    }

    #[test]
    fn a_customer_is_never_taken_for_a_scratch_contact() {
        let stamps = ["deskferry-probe-0123456789abcdef"];
        assert!(is_scratch(&record(stamps[0], None), &stamps));
        assert!(is_scratch(&record("", Some(stamps[0])), &stamps), "made without a name");
        for (name, number) in [
            ("陳", None),
            ("", None),
            ("deskferry-probe-0123456789abcdee", None),
            ("deskferry-probe-0123456789abcdef Ltd", None),
            // A scratch contact that a person has turned into a customer since.
            ("Amy", Some("deskferry-probe-0123456789abcdef")),
        ] {
            assert!(!is_scratch(&record(name, number), &stamps), "{name}");
        }
    }
}
