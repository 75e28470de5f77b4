//! What can be learned about both platforms by reading a little of each: is it there, is the key accepted, may it read
//! what a backfill reads.

use std::sync::Arc;

use super::findings::Findings;
use crate::cli::Failure;
use crate::config::settings::{MatchKey, Settings};
use crate::domain::field::FieldDefinition;
use crate::domain::tenant::{Question, TenantReport};
use crate::sync::lookup::OLDEST_FIRST;
use crate::sync::ports::{
    ChildFilter, ContactFilter, ContactSource, ContactTarget, FilterEncoding, PortError, SourcePage, TargetPage,
};
use crate::sync::scan::{Goal, ScanError, Sweep, SweepPlan};

pub(super) const LIVEDESK: &str = "LiveDesk";
pub(super) const FIRSTLINE: &str = "FIRST LINE";

/// Reads a page, and looks at the order in both directions.
pub(super) async fn livedesk<S: ContactSource>(source: Arc<S>, findings: &mut Findings) {
    let page = match source.page(OLDEST_FIRST).await {
        Ok(page) => page,
        Err(error) => return findings.problem(LIVEDESK, words(&error), ""),
    };
    let count = page.count.map_or_else(|| String::from("an unknown number of"), |count| count.to_string());
    findings.good(LIVEDESK, format!("reached, the key is accepted; {count} contacts listed, {} a page", page.len()));
    if page.count.is_none() {
        findings.warning(LIVEDESK, "the list has no count", "a sweep is proven by a second pass alone");
    }
    let unreadable = page.malformed.len() + page.rows.iter().filter(|row| (*row).clone().contact().is_err()).count();
    if unreadable > 0 {
        let text = format!("{unreadable} rows of the first page cannot be read as contacts");
        findings.warning(LIVEDESK, text, "they would be set aside");
    }
    if !ascends(&page) {
        return findings.problem(
            LIVEDESK,
            "the list does not follow sort=created_at",
            "nothing can be proven without an order; check that no proxy drops query parameters",
        );
    }
    // Its start reads the newest contacts, in the spellings of descending order that there are.
    match Sweep::start(source, SweepPlan::new(Goal::Counted), None).await {
        Ok(_) => findings.good(LIVEDESK, "sorts by created_at in both directions"),
        Err(ScanError::Source(error)) => findings.problem(LIVEDESK, words(&error), ""),
        Err(error) => findings.problem(LIVEDESK, error.to_string(), "check that no proxy drops query parameters"),
    }
}

fn ascends(page: &SourcePage) -> bool {
    let times: Vec<i64> = page.rows.iter().filter_map(|row| row.created_at).collect();
    times.is_sorted()
}

/// Reads a page of everything that a backfill reads; gives the definitions.
pub(super) async fn firstline<T: ContactTarget>(target: &T, findings: &mut Findings) -> Option<Vec<FieldDefinition>> {
    let contacts = target.contacts(None, 1).await;
    if let Err(error @ (PortError::Unavailable { .. } | PortError::Interrupted)) = &contacts {
        findings.problem(FIRSTLINE, words(error), "");
        return None;
    }
    let definitions = target.definitions().await;
    if let (Err(first), Err(_)) = (&contacts, &definitions) {
        // One refusal of everything is one problem: the key, not four permissions.
        findings.problem(FIRSTLINE, words(first), "");
        findings.not_checked(FIRSTLINE, "e-mails, phones and custom fields: see above");
        return None;
    }
    match &contacts {
        Ok(page) => {
            let text = format!("reached, the key is accepted; it shows {} customers", total(page));
            findings.good(FIRSTLINE, text);
            if page.total.is_none() {
                findings.warning(FIRSTLINE, "the list of customers has no total", "absence cannot be proven by it");
            }
        }
        Err(error) => {
            findings.problem(FIRSTLINE, format!("customers cannot be read: {}", words(error)), "");
        }
    }
    rows("e-mails", &target.emails(&ChildFilter::All, 1).await, findings);
    rows("phones", &target.phones(&ChildFilter::All, 1).await, findings);
    match definitions {
        Ok(definitions) => {
            findings.good(FIRSTLINE, format!("{} custom fields of customers", definitions.len()));
            Some(definitions)
        }
        Err(error) => {
            findings.problem(FIRSTLINE, format!("custom fields cannot be read: {}", words(&error)), "");
            None
        }
    }
}

/// A value that nobody has.
const NOBODY: &str = "deskferry-check-nobody";

/// Which of the filters that this configuration needs answer with somebody when asked for nobody: they are ignored. Silence
/// says nothing, so what is not ignored is left out. Only reads.
pub(super) async fn ignored_filters<T: ContactTarget>(target: &T, settings: &Settings) -> TenantReport {
    let mut seen = TenantReport::default();
    let stamp = &settings.identity.stamp;
    if stamp.membership_no.is_some() {
        let filter = ContactFilter::MembershipNo(String::from(NOBODY));
        if let Some(word) = useless(&target.contacts(Some(&filter), 1).await) {
            seen.settle(Question::FilterMembershipNo, word);
        }
    }
    if let Some(field) = stamp.cz_col {
        let mut words = Vec::new();
        for encoding in [FilterEncoding::Brackets, FilterEncoding::Json] {
            let filter = ContactFilter::CustomField { field, value: String::from(NOBODY), encoding };
            words.extend(useless(&target.contacts(Some(&filter), 1).await));
        }
        // One encoding that works is enough.
        if let [one, other] = words[..] {
            seen.settle(Question::FilterColumn, if one == other { one } else { "ignored" });
        }
    }
    if settings.identity.match_keys.contains(&MatchKey::Email) {
        let filter = ChildFilter::Value(format!("{NOBODY}@example.com"));
        if let Some(word) = useless(&target.emails(&filter, 1).await) {
            seen.settle(Question::FilterAddress, word);
        }
    }
    seen
}

fn useless<R>(answer: &Result<TargetPage<R>, PortError>) -> Option<&'static str> {
    match answer {
        Ok(page) if !page.rows.is_empty() => Some("ignored"),
        Err(PortError::Refused { status: 400 | 422, .. }) => Some("refused"),
        _ => None,
    }
}

fn rows<R>(name: &str, page: &Result<TargetPage<R>, PortError>, findings: &mut Findings) {
    match page {
        Ok(page) => findings.good(FIRSTLINE, format!("{name} can be read: {} rows", total(page))),
        Err(error) => findings.problem(FIRSTLINE, format!("{name} cannot be read: {}", words(error)), ""),
    }
}

fn total<R>(page: &TargetPage<R>) -> String {
    page.total.map_or_else(|| format!("at least {}", page.rows.len()), |total| total.to_string())
}

pub(super) fn words(error: &PortError) -> String {
    Failure::chain(error).to_string()
}
