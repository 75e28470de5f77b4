//! What the lines about tags and companies find on both sides: labels that nobody has, tags that would be made, a tenant
//! without companies.

use std::sync::Arc;

use super::findings::Findings;
use super::platforms::{FIRSTLINE, LIVEDESK, words};
use crate::mapping::tags::TagLine;
use crate::sync::companies::NO_SUCH_COMPANY;
use crate::sync::labels::LabelReader;
use crate::sync::ports::{ContactSource, ContactTarget, PortError};

/// Asks LiveDesk for one page of each label.
pub(super) async fn labels<S: ContactSource>(source: Arc<S>, tags: &[TagLine], findings: &mut Findings) {
    if tags.is_empty() {
        return;
    }
    let reader = match LabelReader::start(source).await {
        Ok(reader) => reader,
        Err(error) => return findings.problem(LIVEDESK, words(&error), ""),
    };
    let mut found = Vec::new();
    for label in tags.iter().flat_map(|line| &line.labels) {
        match reader.glance(label).await {
            Ok(Ok(0)) => findings.warning(
                LIVEDESK,
                format!("no contact has the label \"{label}\", if there is one of that name"),
                "check its spelling; its tag would be left as it is",
            ),
            Ok(Ok(contacts)) => found.push(format!("\"{label}\" on {contacts} contacts")),
            Ok(Err(why)) => {
                let text = format!("the label \"{label}\" cannot be read: {why}");
                findings.warning(LIVEDESK, text, "its tag would be left as it is");
            }
            Err(error) => return findings.problem(LIVEDESK, words(&error), ""),
        }
    }
    if !found.is_empty() {
        findings.good(LIVEDESK, format!("labels: {}", found.join(", ")));
    }
}

/// Looks for each tag.
pub(super) async fn tags<T: ContactTarget>(target: &T, tags: &[TagLine], findings: &mut Findings) {
    let (mut there, mut made) = (Vec::new(), Vec::new());
    for TagLine { tag, .. } in tags {
        let rows = match target.tags(tag).await {
            Ok(Some(rows)) => rows,
            Ok(None) => {
                let text = "there is no /contact-tag (status 404)";
                return findings.warning(FIRSTLINE, text, "contacts would be carried without tags");
            }
            Err(error @ PortError::Refused { .. }) => {
                let text = format!("tags cannot be read: {}", words(&error));
                return findings.warning(FIRSTLINE, text, "contacts would be carried without tags; check the role");
            }
            Err(error) => return findings.problem(FIRSTLINE, words(&error), ""),
        };
        let near = rows.iter().find(|row| row.name.to_lowercase() == tag.to_lowercase());
        match near {
            _ if rows.iter().any(|row| row.name == *tag) => there.push(format!("\"{tag}\"")),
            Some(near) => {
                let text = format!("the tag \"{tag}\" is not there, but \"{}\" is", near.name);
                let remedy = format!("write tag = \"{}\" if that one is meant", near.name);
                findings.warning(FIRSTLINE, text, &remedy);
            }
            None => made.push(format!("\"{tag}\"")),
        }
    }
    if !there.is_empty() {
        findings.good(FIRSTLINE, format!("tags that are there: {}", there.join(", ")));
    }
    if !made.is_empty() {
        findings.good(FIRSTLINE, format!("tags that a backfill would make: {}", made.join(", ")));
    }
}

/// Whether companies can be looked up.
pub(super) async fn companies<T: ContactTarget>(target: &T, wanted: bool, findings: &mut Findings) {
    if !wanted {
        return;
    }
    match target.companies(NO_SUCH_COMPANY).await {
        Ok(Some(rows)) if rows.is_empty() => findings.good(FIRSTLINE, "companies can be looked up"),
        Ok(Some(_)) => findings.warning(
            FIRSTLINE,
            "the search for a company ignores its name",
            "the whole list of companies would be read once in a run",
        ),
        Ok(None) => findings.warning(
            FIRSTLINE,
            "there is no /company (status 404), as on old tenants",
            "no company would be linked; write companies = \"off\" in the mapping file",
        ),
        Err(error @ PortError::Refused { .. }) => {
            let text = format!("companies cannot be read: {}", words(&error));
            findings.warning(FIRSTLINE, text, "no company would be linked; check the role of the account");
        }
        Err(error) => findings.problem(FIRSTLINE, words(&error), ""),
    }
}
