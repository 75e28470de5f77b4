//! The files of a comparison: whole or not there, and their owner's alone.

use std::io::Write;
use std::path::PathBuf;

use super::{Args, report};
use crate::cli::output::{Failure, not_over_ours};
use crate::cli::pending::{Ours, Pending};
use crate::config::settings::Settings;
use crate::sync::verify::finding::Finding;

/// The findings as rows, ..
const CSV: Ours = &["livedesk_id,firstline_ids,finding,field,explained_by,detail"];
/// .. and as lines; nothing found is an empty file.
const LIST: Ours = &["{\"class\":\""];

/// What was asked for.
pub(super) struct Files {
    csv: Option<Pending>,
    list: Option<Pending>,
    report: Option<Pending>,
    values: bool,
}

impl Files {
    /// Opens all of them.
    pub(super) fn open(args: &Args, settings: &Settings) -> Result<Self, Failure> {
        let all: Vec<&PathBuf> = [&args.csv, &args.list, &args.report].into_iter().flatten().collect();
        for (place, path) in all.iter().enumerate() {
            not_over_ours(path, settings)?;
            if all[..place].contains(path) {
                return Err(Failure::new(format!("{} is named twice: one file for each list", path.display())));
            }
        }
        let open = |path: &Option<PathBuf>, kind| path.as_deref().map(|path| Pending::open(path, kind)).transpose();
        let mut files = Self {
            csv: open(&args.csv, CSV)?,
            list: open(&args.list, LIST)?,
            report: open(&args.report, report::BEGINS)?,
            values: args.show_values,
        };
        let mut head = vec!["livedesk_id", "firstline_ids", "finding", "field", "explained_by", "detail"];
        if files.values {
            head.extend(["livedesk_value", "firstline_value"]);
        }
        if let Some(file) = &mut files.csv {
            put(file, &csv_line(head)?)?;
        }
        Ok(files)
    }

    /// One finding.
    pub(super) fn row(&mut self, finding: &Finding) -> Result<(), Failure> {
        if let Some(file) = &mut self.list {
            let mut line = serde_json::to_vec(finding).map_err(|error| Failure::new(error.to_string()))?;
            line.push(b'\n');
            put(file, &line)?;
        }
        let Some(file) = &mut self.csv else { return Ok(()) };
        let customers: Vec<String> = finding.firstline_ids.iter().map(ToString::to_string).collect();
        let mut cells = vec![
            finding.livedesk_id.map(|id| id.to_string()).unwrap_or_default(),
            customers.join(" "),
            finding.class.as_str().to_owned(),
            finding.field.clone().unwrap_or_default(),
            finding.reason.map_or("", |reason| reason.as_str()).to_owned(),
            finding.detail.clone(),
        ];
        if self.values {
            cells.push(inert(finding.livedesk_value.as_deref()));
            cells.push(inert(finding.firstline_value.as_deref()));
        }
        put(file, &csv_line(cells)?)
    }

    /// Puts them in their places; `page` makes the report.
    pub(super) fn finish(mut self, page: impl FnOnce() -> String) -> Result<Vec<PathBuf>, Failure> {
        if let Some(file) = &mut self.report {
            put(file, page().as_bytes())?;
        }
        [self.csv, self.list, self.report].into_iter().flatten().map(Pending::finish).collect()
    }
}

fn put(file: &mut Pending, bytes: &[u8]) -> Result<(), Failure> {
    file.write_all(bytes).map_err(|error| file.failed(&error))
}

fn csv_line<C: AsRef<[u8]>>(cells: impl IntoIterator<Item = C>) -> Result<Vec<u8>, Failure> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |error: &dyn std::fmt::Display| Failure::new(format!("a row cannot be written as CSV: {error}"));
    writer.write_record(cells).map_err(|error| failed(&error))?;
    writer.into_inner().map_err(|error| failed(&error))
}

/// A value that a spreadsheet does not take for a formula.
fn inert(value: Option<&str>) -> String {
    let value = value.unwrap_or_default();
    let mut letters = value.chars();
    let formula = match letters.next() {
        Some('=' | '@' | '\t' | '\r') => true,
        Some('+' | '-') => !letters.all(|letter| letter.is_ascii_digit() || letter == '.'),
        _ => false,
    };
    if formula { format!("'{value}") } else { value.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::inert;

    #[test]
    fn a_value_that_looks_like_a_formula_is_made_a_text_and_a_phone_number_is_not() {
        for (value, cell) in [
            ("=1+1", "'=1+1"),
            ("@x", "'@x"),
            ("+1+2", "'+1+2"),
            ("+886912345678", "+886912345678"),
            ("-3.5", "-3.5"),
            ("a", "a"),
        ] {
            assert_eq!(inert(Some(value)), cell);
        }
        assert_eq!(inert(None), "");
    }
}
