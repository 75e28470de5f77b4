//! What can be learned about both platforms by reading a little of each: is it there, is the key accepted, may it read
//! what a backfill reads.

use std::sync::Arc;

use super::findings::Findings;
use crate::cli::Failure;
use crate::domain::field::FieldDefinition;
use crate::sync::lookup::OLDEST_FIRST;
use crate::sync::ports::{ChildFilter, ContactSource, ContactTarget, PortError, SourcePage, TargetPage};
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
