//! Reading an export back: into an empty state, all of it or nothing.
//!
//! Every line is read twice: once to see that all of them are sound, before anything is opened to write; and once more, in one
//! transaction, to store it. A line that is damaged, or that a rule of the schema refuses, is named by its number; what
//! stands in it is not, because it may be a person's.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use sqlx::sqlite::SqliteArguments;
use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use crate::clock::Timestamp;

use super::account::Accounts;
use super::error::StoreError;
use super::export::{Column, ColumnKind, Header, JOURNAL, LAST, NUMBERS, TABLES, columns, unhex};
use super::journal::SINCE;
use super::open::MIGRATOR;
use super::{Store, writer};

/// A line longer than this is none of ours: the longest are before-images of one customer.
const LONGEST: u64 = 64 << 20;

/// Why an export was not imported. Nothing was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// It cannot be read.
    #[error("{} cannot be read", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// A line is damaged, missing, or fits no state.
    #[error("{} line {line}: {problem}; nothing was imported", .path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Its number, from 1.
        line: u64,
        /// What is wrong, without what stands there.
        problem: String,
    },
    /// The state holds something.
    #[error(
        "the state {} is not empty (it has rows in {table}); an export goes into a new one: name a file that is not there \
         as state.path. Nothing was imported", .path.display()
    )]
    NotEmpty {
        /// The state.
        path: PathBuf,
        /// A table with rows.
        table: &'static str,
    },
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An export whose every line was found sound.
#[derive(Clone)]
pub struct Inspected {
    path: PathBuf,
    header: Header,
    schema: Arc<Schema>,
    /// Rows per table, those of none left out.
    pub rows: Vec<(String, u64)>,
}

impl std::fmt::Debug for Inspected {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inspected").field("path", &self.path).field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl Inspected {
    /// The accounts that the exported state was bound to, if it was.
    pub fn accounts(&self) -> Option<Accounts> {
        let (livedesk, firstline) = (self.header.livedesk.clone(), self.header.firstline.clone());
        livedesk.zip(firstline).map(|(livedesk, firstline)| Accounts { livedesk, firstline })
    }

    /// When it was exported.
    pub fn exported_at(&self) -> Timestamp {
        Timestamp(self.header.exported_at)
    }

    /// Whether it has the before-images.
    pub fn has_journal(&self) -> bool {
        self.header.journal
    }
}

type Schema = HashMap<&'static str, Vec<Column>>;

/// Reads every line of an export, and says which is damaged and how.
pub async fn inspect(path: &Path) -> Result<Inspected, ImportError> {
    let schema = Arc::new(schema().await?);
    let mut reader = LineReader::open(path, Arc::clone(&schema))?;
    let mut rows: Vec<(String, u64)> = Vec::new();
    while let Some(row) = reader.next()? {
        match rows.last_mut() {
            Some((table, count)) if *table == row.table => *count += 1,
            _ => rows.push((row.table.to_owned(), 1)),
        }
    }
    Ok(Inspected { path: path.to_owned(), header: reader.header, schema, rows })
}

/// The schema as this program makes it, read from a state in memory.
async fn schema() -> Result<Schema, StoreError> {
    let failed = |source| StoreError::Sql { source: Arc::new(source) };
    let mut conn = SqliteConnection::connect("sqlite::memory:").await.map_err(failed)?;
    MIGRATOR.run(&mut conn).await.map_err(|source| failed(source.into()))?;
    let mut schema = Schema::new();
    for table in TABLES.into_iter().chain(LAST) {
        schema.insert(table, columns(&mut conn, table).await.map_err(failed)?);
    }
    conn.close().await.map_err(failed)?;
    Ok(schema)
}

impl Store {
    /// Stores an export in this state, which must be empty, in one transaction; the state takes the export's key and accounts.
    /// Close the store afterwards: it was opened with another key.
    pub async fn import(&self, export: &Inspected) -> Result<u64, ImportError> {
        let (export, path) = (export.clone(), self.path().to_owned());
        self.on_writer(move |conn| {
            Box::pin(async move {
                let failed = |source| StoreError::from_sql(&path, source);
                writer::begin(conn).await.map_err(failed)?;
                match store_all(conn, &export, &path).await {
                    Ok(rows) => writer::end(conn, Ok(rows)).await.map_err(|source| failed(source).into()),
                    Err(error) => {
                        let _error = writer::end::<()>(conn, Err(sqlx::Error::RowNotFound)).await;
                        Err(error)
                    }
                }
            })
        })
        .await?
    }
}

async fn store_all(conn: &mut SqliteConnection, export: &Inspected, path: &Path) -> Result<u64, ImportError> {
    let failed = |source| StoreError::from_sql(path, source);
    for table in TABLES {
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {table})");
        let used: bool = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(&mut *conn).await.map_err(failed)?;
        if used {
            return Err(ImportError::NotEmpty { path: path.to_owned(), table });
        }
    }
    // A new state has findings of its own.
    sqlx::query("DELETE FROM profile").execute(&mut *conn).await.map_err(failed)?;
    let header = &export.header;
    sqlx::query!(
        "UPDATE account SET hash_key = ?1, created_at = ?2, livedesk = ?3, firstline = ?4",
        header.hash_key,
        header.created_at,
        header.livedesk,
        header.firstline
    )
    .execute(&mut *conn)
    .await
    .map_err(failed)?;
    let mut reader = LineReader::open(&export.path, Arc::clone(&export.schema))?;
    let mut stored = 0;
    let mut numbers_cleared = false;
    while let Some(row) = reader.next()? {
        if row.table == NUMBERS && !numbers_cleared {
            // The rows stored so far have made numbers of their own; those of the export are the ones that count.
            sqlx::query("DELETE FROM sqlite_sequence").execute(&mut *conn).await.map_err(failed)?;
            numbers_cleared = true;
        }
        let done = sqlx::query_with(AssertSqlSafe(row.sql.to_string()), row.cells).execute(&mut *conn).await;
        if let Err(source) = done {
            return Err(match StoreError::from_sql(path, source) {
                StoreError::Refused { source } => reader.wrong(format!("a rule of the state refuses it ({source})")),
                other => other.into(),
            });
        }
        stored += 1;
    }
    if reader.header != *header {
        return Err(reader.wrong("the file was changed while it was read"));
    }
    if !header.journal {
        // Runs without their before-images cannot be taken back.
        let since =
            "UPDATE profile SET value = CAST((SELECT coalesce(max(id), 0) + 1 FROM run) AS TEXT) WHERE key = ?1";
        sqlx::query(since).bind(SINCE).execute(conn).await.map_err(failed)?;
    }
    Ok(stored)
}

/// A row, ready to be stored.
struct Row {
    table: &'static str,
    sql: Arc<str>,
    cells: SqliteArguments,
}

/// Reads an export line by line, and holds each against the schema.
struct LineReader {
    path: PathBuf,
    lines: BufReader<File>,
    schema: Arc<Schema>,
    inserts: HashMap<&'static str, Arc<str>>,
    header: Header,
    digest: blake3::Hasher,
    /// The line that was read last.
    number: u64,
    ended: bool,
}

impl LineReader {
    fn open(path: &Path, schema: Arc<Schema>) -> Result<Self, ImportError> {
        let unreadable = |source| ImportError::Unreadable { path: path.to_owned(), source };
        let mut lines = BufReader::with_capacity(1 << 16, File::open(path).map_err(unreadable)?);
        let wrong = |problem: String| ImportError::Line { path: path.to_owned(), line: 1, problem };
        let line = raw_line(&mut lines).map_err(unreadable)?;
        let line = line.ok_or_else(|| wrong(String::from("the file is empty")))?;
        let parsed = parse(&line).map_err(wrong)?;
        let header = Header::read(&parsed).map_err(wrong)?;
        let mut digest = blake3::Hasher::new();
        digest.update(&line);
        let insert = |(table, columns): (&&'static str, &Vec<Column>)| (*table, Arc::from(insert(table, columns)));
        let inserts = schema.iter().map(insert).collect();
        Ok(Self { path: path.to_owned(), lines, schema, inserts, header, digest, number: 1, ended: false })
    }

    fn wrong(&self, problem: impl Into<String>) -> ImportError {
        ImportError::Line { path: self.path.clone(), line: self.number, problem: problem.into() }
    }

    /// The next row; `None` behind the last line, once that was found right.
    fn next(&mut self) -> Result<Option<Row>, ImportError> {
        let unreadable = |source| ImportError::Unreadable { path: self.path.clone(), source };
        let line = raw_line(&mut self.lines).map_err(unreadable)?;
        let Some(line) = line else {
            if self.ended {
                return Ok(None);
            }
            return Err(
                self.wrong("it is the last one, and the line that ends an export is missing: the file was cut off")
            );
        };
        self.number += 1;
        if self.ended {
            return Err(self.wrong("it stands behind the line that ends the export"));
        }
        let parsed = parse(&line).map_err(|problem| self.wrong(problem))?;
        if parsed.get("end").is_some() {
            self.end(&parsed)?;
            return self.next();
        }
        self.digest.update(&line);
        self.row(&parsed).map(Some).map_err(|problem| self.wrong(problem))
    }

    fn end(&mut self, line: &Value) -> Result<(), ImportError> {
        let before = self.number - 1;
        let lines = line.get("lines").and_then(Value::as_u64);
        if lines != Some(before) {
            let said = lines.map_or_else(|| String::from("an unknown number of"), |lines| lines.to_string());
            return Err(self.wrong(format!("it says that {said} lines come before it, and there are {before}")));
        }
        let digest = self.digest.finalize().to_hex();
        if line.get("digest").and_then(Value::as_str) != Some(digest.as_str()) {
            return Err(self.wrong("one of the lines before it was changed since the export, and nobody can say which: their digest differs"));
        }
        self.ended = true;
        Ok(())
    }

    fn row(&self, line: &Value) -> Result<Row, String> {
        let named = line.get("table").and_then(Value::as_str).ok_or("it names no table")?;
        let Some((table, columns)) = self.schema.get_key_value(named) else {
            return Err(String::from("it names a table that a state does not have"));
        };
        if *table == JOURNAL && !self.header.journal {
            return Err(String::from("it is a before-image, and the header says that there are none"));
        }
        let fields = line.get("row").and_then(Value::as_object).ok_or("it has no row")?;
        if let Some(unknown) = fields.keys().find(|name| !columns.iter().any(|column| column.name == **name)) {
            let known: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let shown: String = unknown.chars().take(40).collect();
            return Err(format!("{table} has no column {shown:?}; it has {}", known.join(", ")));
        }
        let mut cells = SqliteArguments::default();
        for column in columns {
            let value = fields.get(&column.name).ok_or_else(|| format!("{table}.{} is missing", column.name))?;
            cell(&mut cells, column, value).map_err(|problem| format!("{table}.{} {problem}", column.name))?;
        }
        Ok(Row { table, sql: Arc::clone(&self.inserts[table]), cells })
    }
}

fn cell(cells: &mut SqliteArguments, column: &Column, value: &Value) -> Result<(), &'static str> {
    use sqlx::Arguments as _;
    let added = match (column.kind, value) {
        (_, Value::Null) if !column.nullable => return Err("is null, and must not be"),
        (ColumnKind::Integer, Value::Null) => cells.add(None::<i64>),
        (ColumnKind::Text, Value::Null) => cells.add(None::<String>),
        (ColumnKind::Blob, Value::Null) => cells.add(None::<Vec<u8>>),
        (ColumnKind::Integer, value) => cells.add(value.as_i64().ok_or("is no whole number")?),
        (ColumnKind::Text, value) => cells.add(value.as_str().ok_or("is no text")?.to_owned()),
        (ColumnKind::Blob, value) => cells.add(value.as_str().and_then(unhex).ok_or("is no hexadecimal text")?),
    };
    added.map_err(|_| "cannot be stored")
}

fn insert(table: &str, columns: &[Column]) -> String {
    let names: Vec<String> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    let places: Vec<String> = (1..=columns.len()).map(|place| format!("?{place}")).collect();
    format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), places.join(", "))
}

/// One line with its end; `None` behind the last.
fn raw_line(lines: &mut BufReader<File>) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = lines.by_ref().take(LONGEST).read_until(b'\n', &mut line)?;
    Ok((read > 0).then_some(line))
}

fn parse(line: &[u8]) -> Result<Value, String> {
    let Some(text) = line.strip_suffix(b"\n") else {
        return Err(String::from("it does not end: the file was cut off, or this is no export"));
    };
    // Its messages name places, never what stands there.
    serde_json::from_slice(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Eof => String::from("it is cut off in the middle"),
        _ => format!("it is no JSON from character {} on", error.column()),
    })
}
