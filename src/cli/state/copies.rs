//! `deskferry state backup | export | import`: the state, copied or as JSON lines, and back.

use std::fs;
use std::io::{self, BufWriter};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;

use crate::app::{self, AppError};
use crate::cli::Context;
use crate::cli::output::{DONE, Failure, note, say};
use crate::cli::pending::Pending;
use crate::cli::runs::moment;
use crate::domain::causes::with_causes;
use crate::store::{ExportError, Exported, ImportError, Side, Store, StoreError, inspect};

/// Arguments of `state export`.
#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// Write to this file, for its owner alone; nothing is written over. Else to standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// With the before-images, which are values of people: what `undo` needs
    #[arg(long)]
    journal: bool,
}

impl From<ExportError> for Failure {
    fn from(error: ExportError) -> Self {
        Self::chain(&error)
    }
}

impl From<ImportError> for Failure {
    fn from(error: ImportError) -> Self {
        Self::chain(&error)
    }
}

async fn existing(context: &Context) -> Result<Store, Failure> {
    let loaded = context.load()?;
    Ok(app::read_state(&loaded.settings.state.path, Arc::clone(&context.clock)).await?)
}

/// `state backup`
pub(super) async fn backup(file: &Path, context: &Context) -> Result<u8, Failure> {
    let store = existing(context).await?;
    let file = in_folder(file, "state")?;
    let copied = store.copy_to(&file).await;
    store.close().await;
    copied?;
    let bytes = fs::metadata(&file)?.len();
    if context.json {
        say(json!({ "backup": file, "bytes": bytes }));
    } else {
        say(format_args!("the state was copied to {} ({bytes} bytes) and the copy checked", file.display()));
        note("it holds the key of the state's hashes and before-images of customers: keep it as the state itself");
    }
    Ok(DONE)
}

/// A file is asked for; of a folder the mistake is said at once.
fn in_folder(file: &Path, what: &str) -> Result<PathBuf, Failure> {
    if file.is_dir() {
        return Err(Failure::new(format!("{} is a folder; name the file that the {what} goes to", file.display())));
    }
    Ok(file.to_owned())
}

/// `state export`
pub(super) async fn export(args: &Export, context: &Context) -> Result<u8, Failure> {
    let store = existing(context).await?;
    let program = env!("CARGO_PKG_VERSION");
    let exported = match &args.output {
        Some(file) => export_to(&store, &in_folder(file, "export")?, args.journal, program).await,
        None => Ok(store.export(BufWriter::new(io::stdout()), args.journal, program).await?),
    };
    store.close().await;
    let exported = exported?;
    let rows: u64 = exported.rows.iter().map(|(_, rows)| rows).sum();
    match &args.output {
        Some(file) if context.json => {
            let tables: serde_json::Map<String, serde_json::Value> =
                exported.rows.iter().map(|(table, rows)| ((*table).to_owned(), json!(rows))).collect();
            say(json!({ "export": file, "rows": rows, "tables": tables, "journal": args.journal }));
        }
        Some(file) => say(format_args!("{rows} rows were exported to {}", file.display())),
        None => note(format_args!("{rows} rows were exported")),
    }
    let before_images = if args.journal { "and before-images of customers " } else { "" };
    note(format_args!("the export holds the key of the state's hashes {before_images}: keep it as the state itself"));
    Ok(DONE)
}

/// Whole at its place, for its owner alone, never over another file; or not there.
async fn export_to(store: &Store, file: &Path, journal: bool, program: &str) -> Result<Exported, Failure> {
    if fs::symlink_metadata(file).is_ok() {
        return Err(StoreError::Exists { path: file.to_owned() }.into());
    }
    let mut part = Pending::open(file, &[])?;
    let exported = store.export(&mut part, journal, program).await.map_err(|error| match error {
        ExportError::Io(error) => part.failed(&error),
        ExportError::Store(error) => error.into(),
    })?;
    part.finish()?;
    Ok(exported)
}

/// `state import`
pub(super) async fn import(file: &Path, context: &Context) -> Result<u8, Failure> {
    let loaded = context.load()?;
    let settings = &loaded.settings;
    let export = inspect(file).await?;
    if let Some(bound) = export.accounts() {
        let given = app::accounts(settings);
        let other = |side, bound, given| AppError::Store(StoreError::OtherAccount { side, bound, given });
        if bound.livedesk != given.livedesk {
            return Err(other(Side::LiveDesk, bound.livedesk, given.livedesk).into());
        }
        if bound.firstline != given.firstline {
            return Err(other(Side::FirstLine, bound.firstline, given.firstline).into());
        }
    }
    let path = &settings.state.path;
    let was_there = path.exists();
    let store = context.open_state(settings, "state import").await?;
    let imported = store.import(&export).await;
    store.close().await;
    let rows = match imported {
        Ok(rows) => rows,
        Err(error) => {
            if !was_there {
                remove_new(path);
            }
            return Err(error.into());
        }
    };
    let (journal, at) = (export.has_journal(), moment(export.exported_at()));
    if context.json {
        let tables: serde_json::Map<String, serde_json::Value> =
            export.rows.iter().map(|(table, rows)| (table.clone(), json!(rows))).collect();
        say(json!({ "state": path, "rows": rows, "tables": tables, "exported_at": at, "journal": journal }));
    } else {
        say(format_args!("{rows} rows of {at} were imported into {}", path.display()));
        note(
            "next: `deskferry state rebuild` finds what was created after the export, then `deskferry backfill` goes on",
        );
        if !journal {
            note("the export had no before-images: runs from before it cannot be undone");
        }
    }
    Ok(DONE)
}

/// The empty state that was made for an import which came to nothing.
fn remove_new(path: &Path) {
    for suffix in ["-wal", "-shm", ".lock", ""] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                note(format_args!("the empty state {} stays: {}", name.display(), with_causes(&error)));
            }
            _ => {}
        }
    }
}
