//! What a comparison says: findings, the reasons that explain them, and their count.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

macro_rules! words {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal, $text:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$doc])* #[serde(rename = $word)] $variant,)* }

        impl $name {
            /// All of them, in the order of reports.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The stable word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// What it means, for people.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

words! {
    /// What is not as the mapping wants it.
    Class {
        /// No customer for a contact.
        Missing = "missing", "no customer in FIRST LINE for this contact";
        /// Several.
        Duplicate = "duplicate", "more than one customer carries this contact's stamp";
        /// The stamp is another's, or none of ours.
        ForeignStamp = "foreign_stamp", "the customer carries another contact's stamp, or something that is no stamp";
        /// A customer for no contact.
        Extra = "extra", "stamped for a contact that LiveDesk does not have";
        /// A value.
        Field = "field", "a field holds another value than the mapping makes of the contact";
        /// An e-mail is not there.
        LostEmail = "lost_email", "an e-mail of the contact does not stand on its customer";
        /// A phone is not there.
        LostPhone = "lost_phone", "a phone of the contact does not stand on its customer";
        /// It is on another customer.
        WrongOwner = "wrong_owner", "an e-mail or phone of the contact stands on another customer";
        /// It is there twice.
        Twice = "twice", "an e-mail or phone stands on the customer more than once";
        /// A tag.
        Tag = "tag", "a tag that the contact's labels stand for is not there";
        /// A company.
        Company = "company", "the contact's company is not linked";
        /// FIRST LINE would not show the record.
        Unread = "unread", "FIRST LINE would not show the customer, so it could not be compared";
        /// Not to be carried.
        Unmapped = "unmapped", "the contact cannot be read, or the mapping rejects it: it is set aside";
        /// `[select]`, or a person's word.
        NotSelected = "not_selected", "[select], or a person, does not want this contact carried";
    }
}

words! {
    /// Why something differs without being a fault.
    Reason {
        /// `owner = "target"`.
        OwnerTarget = "owner_target", "the mapping says owner = \"target\": agents keep it once it was written";
        /// `owner = "fill_blank"`.
        FillBlank = "fill_blank", "the mapping says owner = \"fill_blank\": only blanks are filled";
        /// The record was there before.
        Adopted = "adopted", "the customer was there before the migration: what it held is kept";
        /// Changed at FIRST LINE since.
        EditedAtTarget = "edited_at_target", "changed in FIRST LINE since it was last in step";
        /// Changed at LiveDesk since.
        NotCarriedYet = "not_carried_yet", "new or changed in LiveDesk since the last run: the next one carries it";
        /// `clear_form = "leave"`.
        NotCleared = "not_cleared", "emptied in LiveDesk; firstline.clear_form says that nothing is cleared";
        /// An earlier decision.
        KeptApart = "kept_apart", "differed already when the two were last in step, by an earlier rule of the mapping";
        /// Could not be converted.
        SkippedValue = "skipped_value", "LiveDesk's value could not be converted: the field was left out";
        /// The tenant does not show it.
        NotShown = "not_shown", "this tenant, or this role, does not show that part of a customer";
        /// Set aside.
        SetAside = "set_aside", "set aside: the state has the reason, `deskferry retry` tries again";
        /// Identity in doubt.
        Conflict = "conflict", "identity in doubt: waits in `deskferry conflicts list`";
        /// A person said skip.
        Decided = "decided", "a person decided not to carry it";
        /// In doubt.
        InDoubt = "in_doubt", "the outcome of its create is in doubt: a later run settles it";
        /// Deleted at FIRST LINE.
        DeletedAtTarget = "deleted_at_target", "its customer was deleted in FIRST LINE, and an earlier run noticed";
        /// Merged at FIRST LINE.
        MergedAtTarget = "merged_at_target", "its customer was merged into another one in FIRST LINE";
        /// Gone at LiveDesk.
        GoneAtSource = "gone_at_source", "carried by an earlier run, and gone from LiveDesk since: [deletes] says what follows";
        /// No such company.
        NoSuchCompany = "no_such_company", "FIRST LINE has no company, or several, of that name";
        /// `[select]`.
        NotSelected = "not_selected", "[select] does not carry it";
    }
}

/// One thing that is not as the mapping wants it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What.
    pub class: Class,
    /// The contact, where one is concerned.
    pub livedesk_id: Option<i64>,
    /// The customers concerned.
    pub firstline_ids: Vec<i64>,
    /// The field or list.
    pub field: Option<String>,
    /// Why it is no fault; `None` where nothing explains it.
    pub reason: Option<Reason>,
    /// One sentence more, without any value.
    pub detail: String,
    /// What LiveDesk's side makes of it; only where values were asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub livedesk_value: Option<String>,
    /// What FIRST LINE holds; only where values were asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub firstline_value: Option<String>,
}

impl Finding {
    /// A finding about a contact.
    pub fn new(class: Class, livedesk_id: i64, reason: Option<Reason>, detail: impl Into<String>) -> Self {
        Self {
            class,
            livedesk_id: Some(livedesk_id),
            firstline_ids: Vec::new(),
            field: None,
            reason,
            detail: detail.into(),
            livedesk_value: None,
            firstline_value: None,
        }
    }

    /// The same, naming customers.
    #[must_use]
    pub fn with(mut self, customers: impl IntoIterator<Item = i64>) -> Self {
        self.firstline_ids = customers.into_iter().collect();
        self
    }

    /// Whether it says of an e-mail or a phone only that FIRST LINE does not show them.
    pub fn is_of_unread_children(&self) -> bool {
        matches!(self.class, Class::LostEmail | Class::LostPhone) && self.reason == Some(Reason::NotShown)
    }

    /// Whether nothing explains it.
    pub fn is_fault(&self) -> bool {
        self.reason.is_none()
    }
}

/// How one field came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FieldTally {
    /// Contacts for which it was compared.
    pub compared: u64,
    /// Differences with a reason.
    pub explained: u64,
    /// Differences without.
    pub unexplained: u64,
    /// Contacts whose value could not be converted, so that there was nothing to compare.
    pub left_out: u64,
}

impl FieldTally {
    /// Contacts for which both sides hold the same.
    pub fn same(&self) -> u64 {
        self.compared.saturating_sub(self.explained + self.unexplained)
    }
}

/// All findings, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Per class and reason.
    pub findings: BTreeMap<(Class, Option<Reason>), u64>,
    /// Per field and list, by the name that people know.
    pub fields: BTreeMap<String, FieldTally>,
    /// Contacts with an unexplained finding.
    pub faulty_contacts: u64,
    /// Customers that belong to no contact, unexplained.
    pub faulty_customers: u64,
    /// Contacts with explained findings alone.
    pub explained: u64,
    /// Contacts that are not carried: by `[select]`, or because they cannot be mapped.
    pub not_carried: u64,
    /// Contacts whose e-mails or phones FIRST LINE did not show, so that they could not be compared.
    pub children_not_compared: u64,
}

impl Tally {
    /// Counts the findings about one contact, or one about a customer alone.
    pub fn count(&mut self, findings: &[Finding]) {
        for finding in findings {
            *self.findings.entry((finding.class, finding.reason)).or_default() += 1;
            if let Some(field) = &finding.field {
                let tally = self.fields.entry(field.clone()).or_default();
                match finding.reason {
                    None => tally.unexplained += 1,
                    Some(Reason::SkippedValue) => tally.left_out += 1,
                    Some(_) => tally.explained += 1,
                }
            }
        }
        if findings.iter().any(|finding| finding.class == Class::Extra || finding.livedesk_id.is_none()) {
            self.faulty_customers += findings.iter().filter(|finding| finding.is_fault()).count() as u64;
            return;
        }
        self.children_not_compared += u64::from(findings.iter().any(Finding::is_of_unread_children));
        let apart = |finding: &Finding| matches!(finding.class, Class::NotSelected | Class::Unmapped);
        if findings.iter().any(Finding::is_fault) {
            self.faulty_contacts += 1;
        } else if findings.iter().any(apart) {
            self.not_carried += 1;
        } else if !findings.is_empty() {
            self.explained += 1;
        }
    }

    /// How many findings of a class there are, explained and not.
    pub fn of(&self, class: Class) -> (u64, u64) {
        let (mut explained, mut unexplained) = (0, 0);
        for ((found, reason), count) in &self.findings {
            match (*found == class, reason) {
                (false, _) => {}
                (true, Some(_)) => explained += count,
                (true, None) => unexplained += count,
            }
        }
        (explained, unexplained)
    }

    /// Findings that nothing explains.
    pub fn faults(&self) -> u64 {
        self.findings.iter().filter(|((_, reason), _)| reason.is_none()).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{Class, Finding, Reason, Tally};

    #[test]
    fn a_contact_is_faulty_once_however_much_of_it_differs() {
        let mut tally = Tally::default();
        let field = |reason| Finding { field: Some("birth_at".into()), ..Finding::new(Class::Field, 1, reason, "") };
        tally.count(&[field(None), field(Some(Reason::Adopted)), Finding::new(Class::LostEmail, 1, None, "")]);
        tally.count(&[field(Some(Reason::Adopted)), field(Some(Reason::SkippedValue))]);
        tally.count(&[Finding::new(Class::NotSelected, 3, Some(Reason::NotSelected), "")]);
        tally.count(&[]);
        let unread = |class| Finding::new(class, 4, Some(Reason::NotShown), "");
        assert_eq!(tally.children_not_compared, 0);
        let mut other = tally.clone();
        other.count(&[unread(Class::LostEmail), unread(Class::LostPhone), unread(Class::Tag)]);
        other.count(&[unread(Class::Tag)]);
        assert_eq!(other.children_not_compared, 1);
        assert_eq!((tally.faulty_contacts, tally.explained, tally.not_carried), (1, 1, 1));
        assert_eq!((tally.of(Class::Field), tally.faults()), ((3, 1), 2));
        let field = tally.fields["birth_at"];
        assert_eq!((field.explained, field.unexplained, field.left_out), (2, 1, 1));
    }

    #[test]
    fn a_finding_survives_its_written_form() {
        let finding = Finding::new(Class::Extra, 7, Some(Reason::GoneAtSource), "404").with([5, 6]);
        let text = serde_json::to_string(&finding).expect("becomes JSON");
        assert!(!text.contains("value"), "{text}");
        assert_eq!(serde_json::from_str::<Finding>(&text).expect("comes back"), finding);
    }
}
