//! Routes, and counts of the requests that reached them: what tests of request economy assert.
//!
//! A request that a fault in front of the router swallows is not counted here.

use std::collections::BTreeMap;

use serde::Serialize;

use super::wire::{Refusal, Verb};

macro_rules! routes {
    ($($name:ident: $doc:literal;)*) => {
        /// What a request is for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[expect(non_camel_case_types, reason = "variants are named as the fields of Counts")]
        pub(super) enum Route { $($name,)* }

        /// Requests by what they were for, whatever the answer.
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
        pub struct Counts {
            $(#[doc = $doc] pub $name: u64,)*
            /// All requests.
            pub total: u64,
            /// Lists of contacts, e-mails or phones with any filter, whether it worked or not.
            pub lookups: u64,
            /// Requests that carried the token in the address.
            pub token_in_query: u64,
            /// Requests by method, before `_method` is taken into account.
            pub by_method: BTreeMap<String, u64>,
            /// Answers by status.
            pub by_status: BTreeMap<u16, u64>,
        }

        impl Counts {
            pub(super) fn add(&mut self, route: Route) {
                match route { $(Route::$name => self.$name += 1,)* }
            }
        }
    };
}

routes! {
    contact_list: "`GET /contact`";
    contact_get: "`GET /contact/{id}`";
    contact_create: "`POST /contact`";
    contact_update: "`PUT /contact/{id}`";
    contact_delete: "`DELETE /contact/{id}`";
    email_list: "`GET /email-contact`";
    email_get: "`GET /email-contact/{id}`";
    email_create: "`POST /email-contact`";
    email_update: "`PUT /email-contact/{id}`";
    email_delete: "`DELETE /email-contact/{id}`";
    phone_list: "`GET /phone-number`";
    phone_get: "`GET /phone-number/{id}`";
    phone_create: "`POST /phone-number`";
    phone_update: "`PUT /phone-number/{id}`";
    phone_delete: "`DELETE /phone-number/{id}`";
    tag_list: "`GET /contact-tag`";
    tag_get: "`GET /contact-tag/{id}`";
    tag_create: "`POST /contact-tag`";
    tag_update: "`PUT /contact-tag/{id}`";
    tag_delete: "`DELETE /contact-tag/{id}`";
    company_list: "`GET /company`";
    company_get: "`GET /company/{id}`";
    definitions: "`GET /cz-col-category` and `GET /cz-col`";
    auth: "any `/auth` request";
    table: "reading and writing rows of a customer table, below `/contact/{id}/`";
    table_delete: "`DELETE` below `/contact/{id}/`";
    method_refused: "requests with a method that the path does not have (405)";
    unknown: "requests for a path that does not exist (404)";
}

impl Counts {
    /// Requests that wrote, or tried to: creates, updates and deletions of contacts, e-mails, phones and tags.
    pub fn writes(&self) -> u64 {
        self.contact_create
            + self.contact_update
            + self.contact_delete
            + self.email_create
            + self.email_update
            + self.email_delete
            + self.phone_create
            + self.phone_update
            + self.phone_delete
            + self.tag_create
            + self.tag_update
            + self.tag_delete
    }
}

/// Finds the route, and the id in the path (0 where the path has none).
pub(super) fn route(verb: Verb, segments: &[&str]) -> Result<(Route, u64), Refusal> {
    let (resource, id) = match segments {
        [resource] => (*resource, None),
        [resource, id] => (*resource, Some(id.parse().map_err(|_| Refusal::not_found())?)),
        ["contact", id, _, ..] => {
            let route = if verb == Verb::Delete { Route::table_delete } else { Route::table };
            return Ok((route, id.parse().map_err(|_| Refusal::not_found())?));
        }
        _ => return Err(Refusal::not_found()),
    };
    let found = match (resource, verb, id.is_some()) {
        ("contact", Verb::Get, false) => Route::contact_list,
        ("contact", Verb::Post, false) => Route::contact_create,
        ("contact", Verb::Get, true) => Route::contact_get,
        ("contact", Verb::Put, true) => Route::contact_update,
        ("contact", Verb::Delete, true) => Route::contact_delete,
        ("email-contact", Verb::Get, false) => Route::email_list,
        ("email-contact", Verb::Post, false) => Route::email_create,
        ("email-contact", Verb::Get, true) => Route::email_get,
        ("email-contact", Verb::Put, true) => Route::email_update,
        ("email-contact", Verb::Delete, true) => Route::email_delete,
        ("phone-number", Verb::Get, false) => Route::phone_list,
        ("phone-number", Verb::Post, false) => Route::phone_create,
        ("phone-number", Verb::Get, true) => Route::phone_get,
        ("phone-number", Verb::Put, true) => Route::phone_update,
        ("phone-number", Verb::Delete, true) => Route::phone_delete,
        ("contact-tag", Verb::Get, false) => Route::tag_list,
        ("contact-tag", Verb::Post, false) => Route::tag_create,
        ("contact-tag", Verb::Get, true) => Route::tag_get,
        ("contact-tag", Verb::Put, true) => Route::tag_update,
        ("contact-tag", Verb::Delete, true) => Route::tag_delete,
        ("company", Verb::Get, false) => Route::company_list,
        ("company", Verb::Get, true) => Route::company_get,
        ("cz-col-category" | "cz-col", Verb::Get, false) => Route::definitions,
        ("contact" | "email-contact" | "phone-number" | "contact-tag" | "company", _, _) => {
            return Err(Refusal::method());
        }
        ("cz-col-category" | "cz-col", _, false) => return Err(Refusal::method()),
        _ => return Err(Refusal::not_found()),
    };
    Ok((found, id.unwrap_or(0)))
}
