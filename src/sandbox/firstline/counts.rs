//! Counts of the requests that reached the simulated FIRST LINE: what tests of request economy assert.
//!
//! A request that a fault in front of the router swallows is not counted here.

use std::collections::BTreeMap;

use serde::Serialize;

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
    company_list: "`GET /company`";
    company_get: "`GET /company/{id}`";
    definitions: "`GET /cz-col-category` and `GET /cz-col`";
    auth: "any `/auth` request";
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
    }
}
