//! The lists that runs leave beside the state (`deskferry-WHAT-RUN.csv`), and a person's rows in them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::app::plan::copy;
use crate::beside;
use crate::cli::output::Failure;
use crate::domain::ids::LiveDeskId;

/// The column that says whose row it is.
const CONTACT: &str = "livedesk_id";

/// What lies beside the state.
#[derive(Debug, Default)]
pub(super) struct Lists {
    /// Lists of ours with rows of the person.
    pub(super) naming: Vec<PathBuf>,
    /// Files that may hold the person and are left as they are: copies of the state, and what is no list of ours.
    pub(super) others: Vec<PathBuf>,
}

/// Looks through the folder of the state.
pub(super) fn find(state: &Path, id: LiveDeskId) -> Result<Lists, Failure> {
    let folder = beside::folder(state);
    let name = state.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let own = beside::OWN.map(|suffix| format!("{name}{suffix}"));
    let mut lists = Lists::default();
    let mut files: Vec<PathBuf> = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    for file in files {
        let beside = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if file.is_dir() && beside.strip_prefix(&name).is_some_and(|rest| rest.starts_with(copy::MARK)) {
            // Somebody looks at a copy of the state just now.
            lists.others.push(file);
            continue;
        }
        if own.contains(&beside) || !file.is_file() {
            continue;
        }
        let is_list = beside.starts_with("deskferry-") && file.extension().is_some_and(|kind| kind == "csv");
        match is_list.then(|| rows_without(&file, id)).flatten() {
            Some((_, 0)) => {}
            Some(_) => lists.naming.push(file),
            // A copy of the state, half a copy, a list that cannot be read, a report.
            None if beside.starts_with(&name) || is_list || is_report(&beside) => lists.others.push(file),
            None => {}
        }
    }
    Ok(lists)
}

fn is_report(name: &str) -> bool {
    name.starts_with("deskferry-") && [".html", ".json", ".jsonl"].iter().any(|end| name.ends_with(end))
}

/// Takes the person's rows out of its lists. Says how many they were.
pub(super) fn erase(lists: &Lists, id: LiveDeskId) -> Result<u64, Failure> {
    let mut erased = 0;
    for list in &lists.naming {
        let failed = |error: &dyn std::fmt::Display| {
            Failure::new(format!(
                "contact {id} is erased from the state, but its rows in {} could not be taken out: {error}; delete that file",
                list.display()
            ))
        };
        let Some((text, rows)) = rows_without(list, id) else { return Err(failed(&"it cannot be read any more")) };
        // Written over, then cut: what the file held is not left in a file that was renamed away.
        fs::write(list, text).map_err(|error| failed(&error))?;
        erased += rows;
    }
    Ok(erased)
}

/// The list without the rows of a contact, and how many these were; `None` when it is no list of contacts.
fn rows_without(list: &Path, id: LiveDeskId) -> Option<(Vec<u8>, u64)> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).has_headers(false).from_path(list).ok()?;
    let mut records = reader.records();
    let head = records.next()?.ok()?;
    let place = head.iter().position(|name| name == CONTACT)?;
    let id = id.to_string();
    let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(Vec::new());
    writer.write_record(&head).ok()?;
    let mut left_out = 0;
    for record in records {
        let record = record.ok()?;
        if record.get(place) == Some(id.as_str()) {
            left_out += 1;
        } else {
            writer.write_record(&record).ok()?;
        }
    }
    Some((writer.into_inner().ok()?, left_out))
}
