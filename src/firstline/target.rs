//! The engine's door to FIRST LINE.
//!
//! Turns the engine's words into calls and answers into domain types. Every answer is a set of candidates: what a
//! filter is worth is for the engine to find out.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::de::IgnoredAny;

use super::api::Api;
use super::auth::BadToken;
use super::definitions::{CategoryRow, ColumnRow, merged};
use super::error::Failure;
use super::fields::{ContactBody, EmailBody, PhoneBody, TagBody, json_filter};
use super::profile::{PhoneOwner, Profile};
use super::settings::FirstLineSettings;
use super::wire::{ContactRow, Created, EmailRow, List, Meta, NamedRow, NewContactRow, PartsSeen, PhoneRow};
use crate::clock::Clock;
use crate::domain::field::FieldDefinition;
use crate::domain::ids::{ChildId, FirstLineId};
use crate::domain::target::{ContactWrite, NewContact, Shown, TargetContact, TargetEmail, TargetPhone};
use crate::http::HttpClient;
use crate::sync::ports::{ChildFilter, ContactFilter, ContactTarget, FilterEncoding, Named, PortError, TargetPage};

/// FIRST LINE.
pub struct FirstLine {
    pub(super) api: Api,
    seen: PartsSeen,
}

impl FirstLine {
    /// The adapter of one tenant. Sends nothing.
    pub fn new(http: HttpClient, settings: FirstLineSettings, clock: Arc<dyn Clock>) -> Result<Self, BadToken> {
        let seen = PartsSeen::from(settings.profile.shown);
        Ok(Self { api: Api::new(http, settings, clock)?, seen })
    }

    /// What has been found out about the tenant so far; worth storing for the next run.
    pub fn profile(&self) -> Profile {
        self.api.learned.get()
    }

    pub(super) async fn read_contact(&self, id: FirstLineId) -> Result<Option<TargetContact>, Failure> {
        match self.api.get::<ContactRow>(&format!("/contact/{id}")).await {
            Ok(row) => Ok(Some(row.noted(&self.seen).completed(&self.seen).into_contact())),
            // 410 says the same of a record that was there once.
            Err(failure) if matches!(failure.status(), Some(404 | 410)) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// Writes a phone by the key that this tenant is known to take, or else by the other one.
    async fn write_phone(&self, phone: &PhoneWrite<'_>) -> Result<ChildId, Failure> {
        let known = self.api.learned.get().phone_owner;
        let (other, complaint) = match known {
            PhoneOwner::Contact => (PhoneOwner::Profile, "profile_id"),
            PhoneOwner::Profile => (PhoneOwner::Contact, "contact_id"),
        };
        let refusal = match self.write_phone_on(known, phone).await {
            Ok(id) => {
                self.api.learned.phone_works(known);
                return Ok(id);
            }
            Err(failure) => failure,
        };
        let names_the_other = refusal.complains_of(complaint);
        if !names_the_other && (!refusal.is_mute() || self.api.learned.phone_owner_is_proven()) {
            return Err(refusal);
        }
        // A 422 applied nothing, so the other key may be tried even where this creates.
        match self.write_phone_on(other, phone).await {
            Ok(id) => {
                self.api.learned.phone_works(other);
                Ok(id)
            }
            // Neither key helps: it was the phone itself that was refused, and not for want of a profile.
            Err(Failure::NoProfile) if !names_the_other => Err(refusal),
            Err(failure) => Err(failure),
        }
    }

    async fn write_phone_on(&self, owner: PhoneOwner, phone: &PhoneWrite<'_>) -> Result<ChildId, Failure> {
        let (contact_id, profile_id) = match owner {
            PhoneOwner::Contact => (Some(phone.contact.0), None),
            PhoneOwner::Profile => (None, Some(self.profile_of(phone).await?)),
        };
        let content = PhoneBody { contact_id, profile_id, kind: phone.kind, number: phone.number };
        match phone.row {
            None => self.api.create("/phone-number", &content).await.map(|created: Created| created.child()),
            Some(id) => {
                self.api.update::<IgnoredAny>(&format!("/phone-number/{id}"), &content).await?;
                Ok(id)
            }
        }
    }

    async fn profile_of(&self, phone: &PhoneWrite<'_>) -> Result<i64, Failure> {
        if let Some(id) = phone.profile_id {
            return Ok(id);
        }
        let contact = self.read_contact(phone.contact).await?;
        contact.and_then(|contact| contact.profile_id).ok_or(Failure::NoProfile)
    }
}

impl FirstLine {
    /// Rows of a list beside the contacts whose name may be this one. A list that is refused to this account, or with
    /// this filter, concerns what rests on it, not the run.
    async fn named(&self, path: &'static str, name: &str) -> Result<Option<Vec<Named>>, PortError> {
        let rows = self.api.whole_list(path, &[("name", name.to_owned())], NamedRow::id).await;
        match rows.map_err(refused_list) {
            Ok(rows) => Ok(rows.map(|rows| rows.into_iter().map(NamedRow::into_named).collect())),
            Err(error) => Err(error),
        }
    }
}

fn refused_list(failure: Failure) -> PortError {
    match failure {
        Failure::List { source, .. } | Failure::Page { source, .. } => Failure::Api(source).into(),
        Failure::Api(error) if error.status() == Some(403) => {
            PortError::Refused { status: 403, fields: error.fields() }
        }
        // A list without an end is no reason to carry nothing.
        Failure::Tenant(_) => PortError::Refused { status: 200, fields: BTreeSet::new() },
        failure => failure.into(),
    }
}

/// A phone to be created (no `row`) or changed.
struct PhoneWrite<'a> {
    row: Option<ChildId>,
    contact: FirstLineId,
    profile_id: Option<i64>,
    number: &'a str,
    kind: i64,
}

impl ContactTarget for FirstLine {
    async fn contacts(
        &self,
        filter: Option<&ContactFilter>,
        page: u32,
    ) -> Result<TargetPage<TargetContact>, PortError> {
        let filter = filter.map(contact_query).unwrap_or_default();
        let list = self.api.list("/contact", &filter, page).await?;
        Ok(target_page(list, |row: ContactRow| row.noted(&self.seen).into_contact()))
    }

    async fn contact(&self, id: FirstLineId) -> Result<Option<TargetContact>, PortError> {
        Ok(self.read_contact(id).await?)
    }

    fn shown(&self) -> Shown {
        self.seen.shown()
    }

    async fn emails(&self, filter: &ChildFilter, page: u32) -> Result<TargetPage<TargetEmail>, PortError> {
        let list = self.api.list("/email-contact", &child_query(filter, "address"), page).await?;
        Ok(target_page(list, EmailRow::into_email))
    }

    async fn phones(&self, filter: &ChildFilter, page: u32) -> Result<TargetPage<TargetPhone>, PortError> {
        let list = self.api.list("/phone-number", &child_query(filter, "number"), page).await?;
        Ok(target_page(list, PhoneRow::into_phone))
    }

    async fn definitions(&self) -> Result<Vec<FieldDefinition>, PortError> {
        let by_category = self.api.whole_list("/cz-col-category", &[], CategoryRow::id).await?;
        let filter = [("types", String::from("0"))];
        let columns = self.api.whole_list("/cz-col", &filter, ColumnRow::id);
        if let Some(categories) = by_category {
            if !categories.iter().any(CategoryRow::lacks_columns) {
                return Ok(categories.into_iter().flat_map(CategoryRow::into_definitions).collect());
            }
            let columns = match columns.await {
                Ok(columns) => columns.unwrap_or_default(),
                // A category may just be empty, so a list that this account cannot read is no reason to stop.
                Err(failure)
                    if failure.status() == Some(403)
                        || matches!(failure, Failure::List { .. })
                        || matches!(&failure, Failure::Page { source, .. } if source.is_unanswered()) =>
                {
                    tracing::warn!("a category of custom fields shows none, and /cz-col cannot be read");
                    Vec::new()
                }
                Err(failure) => return Err(failure.into()),
            };
            return Ok(merged(categories, columns));
        }
        let columns = columns.await?.ok_or_else(|| {
            Failure::Tenant(String::from(
                "FIRST LINE has neither /cz-col-category nor /cz-col (status 404): check firstline.base_url",
            ))
        })?;
        Ok(columns.into_iter().filter_map(ColumnRow::into_own_definition).collect())
    }

    async fn create(&self, write: &ContactWrite) -> Result<NewContact, PortError> {
        let content = ContactBody { write, forms: self.api.forms };
        match self.api.create::<NewContactRow>("/contact", &content).await {
            Ok(row) => Ok(row.noted(&self.seen)),
            Err(failure) if failure.status() == Some(404) => Err(Failure::Tenant(String::from(
                "FIRST LINE has no /contact (status 404): firstline.base_url must be https://<tenant host>/api/v1",
            ))
            .into()),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn update(&self, id: FirstLineId, write: &ContactWrite) -> Result<TargetContact, PortError> {
        let content = ContactBody { write, forms: self.api.forms };
        match self.api.update::<ContactRow>(&format!("/contact/{id}"), &content).await? {
            Some(row) if row.id() == id => Ok(row.noted(&self.seen).into_contact()),
            // The answer does not show the contact, or shows another one: look.
            _ => self.read_contact(id).await?.ok_or(PortError::NotFound),
        }
    }

    async fn delete_contact(&self, id: FirstLineId) -> Result<(), PortError> {
        // A role that may not delete may still do everything else.
        self.api.delete(&format!("/contact/{id}")).await.map_err(refused_list)
    }

    async fn create_email(&self, contact: FirstLineId, address: &str) -> Result<ChildId, PortError> {
        let content = EmailBody { contact_id: Some(contact.0), address };
        let created: Created = self.api.create("/email-contact", &content).await?;
        Ok(created.child())
    }

    async fn update_email(&self, id: ChildId, address: &str) -> Result<(), PortError> {
        let content = EmailBody { contact_id: None, address };
        self.api.update::<IgnoredAny>(&format!("/email-contact/{id}"), &content).await?;
        Ok(())
    }

    async fn delete_email(&self, id: ChildId) -> Result<(), PortError> {
        Ok(self.api.delete(&format!("/email-contact/{id}")).await?)
    }

    async fn delete_phone(&self, id: ChildId) -> Result<(), PortError> {
        Ok(self.api.delete(&format!("/phone-number/{id}")).await?)
    }

    async fn create_phone(
        &self,
        contact: FirstLineId,
        profile_id: Option<i64>,
        number: &str,
        kind: i64,
    ) -> Result<ChildId, PortError> {
        Ok(self.write_phone(&PhoneWrite { row: None, contact, profile_id, number, kind }).await?)
    }

    async fn update_phone(&self, id: ChildId, contact: FirstLineId, number: &str, kind: i64) -> Result<(), PortError> {
        self.write_phone(&PhoneWrite { row: Some(id), contact, profile_id: None, number, kind }).await?;
        Ok(())
    }

    async fn tags(&self, name: &str) -> Result<Option<Vec<Named>>, PortError> {
        self.named("/contact-tag", name).await
    }

    async fn create_tag(&self, name: &str) -> Result<Named, PortError> {
        let made = self.api.create::<NamedRow>("/contact-tag", &TagBody { name }).await.map_err(refused_list)?;
        let made = made.into_named();
        // The name as it is stored, where the answer says it.
        Ok(if made.name.is_empty() { Named { name: name.to_owned(), ..made } } else { made })
    }

    async fn companies(&self, name: &str) -> Result<Option<Vec<Named>>, PortError> {
        self.named("/company", name).await
    }
}

fn target_page<R, T>(list: List<R>, convert: impl Fn(R) -> T) -> TargetPage<T> {
    TargetPage {
        total: list.meta.as_ref().and_then(Meta::total),
        last_page: list.meta.as_ref().and_then(Meta::last_page),
        rows: list.data.into_iter().map(convert).collect(),
    }
}

fn contact_query(filter: &ContactFilter) -> Vec<(&'static str, String)> {
    match filter {
        ContactFilter::MembershipNo(number) => vec![("membership_no", number.clone())],
        ContactFilter::CustomField { field, value, encoding: FilterEncoding::Brackets } => vec![
            ("cz_cols[0][id]", field.to_string()),
            ("cz_cols[0][op]", String::from("=")),
            ("cz_cols[0][val]", value.clone()),
        ],
        ContactFilter::CustomField { field, value, encoding: FilterEncoding::Json } => {
            vec![("cz_cols", json_filter(*field, value))]
        }
    }
}

fn child_query(filter: &ChildFilter, value_key: &'static str) -> Vec<(&'static str, String)> {
    match filter {
        ChildFilter::All => Vec::new(),
        ChildFilter::Value(value) => vec![(value_key, value.clone())],
        ChildFilter::Contact(id) => vec![("contact_id", id.to_string())],
    }
}
