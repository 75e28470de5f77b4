//! The state file, if there is one: sound, of this version, of these accounts, free. It is only read.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::Arc;

use super::findings::Findings;
use crate::app::{self, AppError};
use crate::beside;
use crate::cli::{Context, Failure};
use crate::config::settings::Settings;
use crate::domain::tenant::TenantReport;
use crate::store::{Accounts, Side, Store, StoreError, holder};

const STATE: &str = "state";

/// Looks at the state; gives what the latest probe found out.
pub(super) async fn check(settings: &Settings, context: &Context, findings: &mut Findings) -> Option<TenantReport> {
    let path = &settings.state.path;
    let can_write = can_write(path, findings);
    if let Some(holder) = holder(path) {
        findings.warning(STATE, format!("in use by {holder}"), "a backfill has to wait until it is done");
    }
    let store = match app::read_state(path, Arc::clone(&context.clock)).await {
        Ok(store) => store,
        Err(AppError::Store(StoreError::Missing { .. })) if !can_write => return None,
        Err(AppError::Store(StoreError::Missing { .. })) => {
            findings.good(STATE, format!("{} is not there yet; the first run makes it", path.display()));
            return None;
        }
        Err(AppError::Store(error @ StoreError::Older { .. })) => {
            findings.warning(STATE, error.to_string(), "");
            return None;
        }
        Err(error) => {
            findings.problem(STATE, Failure::chain(&error).to_string(), "");
            return None;
        }
    };
    if let Err(error) = opened(&store, &app::accounts(settings), findings).await {
        findings.problem(STATE, Failure::chain(&error).to_string(), "");
    }
    let probed = app::probe::stored(&store).await.ok().flatten();
    store.close().await;
    probed
}

async fn opened(store: &Store, ours: &Accounts, findings: &mut Findings) -> Result<(), StoreError> {
    let report = store.check().await?;
    let problems = report.problems();
    for problem in &problems {
        findings.problem(STATE, problem.as_str(), "`deskferry state check` shows more");
    }
    if let Some(bound) = store.bound_accounts().await? {
        for (side, bound, given) in
            [(Side::LiveDesk, bound.livedesk, &ours.livedesk), (Side::FirstLine, bound.firstline, &ours.firstline)]
        {
            if bound != *given {
                let error = StoreError::OtherAccount { side, bound, given: given.clone() };
                findings.problem(STATE, error.to_string(), "");
            }
        }
    }
    if problems.is_empty() {
        let links = store.link_count().await?;
        findings.good(STATE, format!("{} is sound; {links} contacts are linked", store.path().display()));
    }
    Ok(())
}

/// Whether the state could be written: its folder, where other files of it are made, and its file, if there is one. The folder
/// is not made, because a path with a mistake in it would be; and nothing stays in it.
fn can_write(path: &Path, findings: &mut Findings) -> bool {
    let folder = beside::folder(path);
    if !folder.is_dir() {
        let remedy = "make the folder, or check [state] path";
        findings.problem(STATE, format!("{} is not a folder", folder.display()), remedy);
        return false;
    }
    let file = if path.is_file() { OpenOptions::new().write(true).open(path).err() } else { None };
    let file = file.map(|error| format!("{} cannot be written: {error}", path.display()));
    let beside = || tempfile::tempfile_in(folder).err();
    let text =
        file.or_else(|| beside().map(|error| format!("nothing can be written in {}: {error}", folder.display())));
    let can_write = text.is_none();
    if let Some(text) = text {
        findings.problem(STATE, text, "every run needs that: check owner and permissions, or [state] path");
    }
    can_write
}
