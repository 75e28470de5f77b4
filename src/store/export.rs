//! The state as JSON lines: a header, one line per row, and a last line that says how many there were and what they add up
//! to. What `state export` writes and `state import` reads.
//!
//! An export holds the key of the state's hashes, because without it no stored hash means anything: it is as secret as the
//! state itself. The columns are taken from the schema as it is, so a table that gets a column is exported with it.

use std::io::{self, Write};

use futures::TryStreamExt;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, SqliteConnection};

use super::Store;
use super::error::StoreError;
use super::open::MIGRATOR;
use super::rows::hex;

/// Form of the lines. It grows when a reader of before would misunderstand them.
pub(super) const FORMAT: i64 = 1;
/// What the header calls itself.
pub(super) const NAME: &str = "deskferry state";
/// The table with values of people; exported on request.
pub(super) const JOURNAL: &str = "journal";
/// `SQLite`'s own table of the numbers that were ever given out: an intent's number never means two intents.
pub(super) const NUMBERS: &str = "sqlite_sequence";

/// Every table that is exported, those that others point at first. `account` is in the header.
pub(super) const TABLES: [&str; 15] = [
    "run",
    "sweep",
    "checkpoint",
    "sighting",
    "lane",
    "link",
    "link_child",
    "intent",
    JOURNAL,
    "dead_letter",
    "conflict",
    "decision",
    "absence",
    "forgotten",
    "field_definition",
];
/// The last ones: small, and read by nobody's foreign key.
pub(super) const LAST: [&str; 2] = ["profile", NUMBERS];
/// Left out: what the next run reads from FIRST LINE again.
#[cfg(test)]
pub(super) const LEFT_OUT: [&str; 3] = ["account", "target_index", "target_walk"];

/// What was exported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Rows per table.
    pub rows: Vec<(&'static str, u64)>,
    /// Lines, the first and the last among them.
    pub lines: u64,
}

/// Why an export came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The place that it is written to.
    #[error("the export could not be written")]
    Io(#[from] io::Error),
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: ColumnKind,
    pub(super) nullable: bool,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ColumnKind {
    Integer,
    Text,
    Blob,
}

/// The columns of a table, as the schema has them.
pub(super) async fn columns(conn: &mut SqliteConnection, table: &str) -> sqlx::Result<Vec<Column>> {
    if table == NUMBERS {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind, nullable: false };
        return Ok(vec![column("name", ColumnKind::Text), column("seq", ColumnKind::Integer)]);
    }
    let found: Vec<(String, String, i64)> =
        sqlx::query_as("SELECT name, type, \"notnull\" FROM pragma_table_info(?1)").bind(table).fetch_all(conn).await?;
    let kind = |text: &str| match text {
        "INTEGER" => ColumnKind::Integer,
        "BLOB" => ColumnKind::Blob,
        _ => ColumnKind::Text,
    };
    Ok(found.into_iter().map(|(name, text, set)| Column { name, kind: kind(&text), nullable: set == 0 }).collect())
}

/// The version of the schema that this program knows.
pub(super) fn schema() -> i64 {
    MIGRATOR.iter().map(|migration| migration.version).max().unwrap_or(0)
}

impl Store {
    /// Writes the state as it is at one moment to `out`, with the before-images if asked for. Works while another process
    /// writes.
    pub async fn export(&self, out: impl Write, journal: bool, program: &str) -> Result<Exported, ExportError> {
        let mut guard = self.reader().await?;
        let conn = &mut *guard;
        let failed = |source| StoreError::from_sql(self.path(), source);
        // One transaction, so that all tables are of one moment.
        sqlx::query("BEGIN").execute(&mut *conn).await.map_err(failed)?;
        let result = self.export_all(conn, out, journal, program).await;
        let _ended = sqlx::query("ROLLBACK").execute(conn).await;
        result
    }

    async fn export_all(
        &self,
        conn: &mut SqliteConnection,
        out: impl Write,
        journal: bool,
        program: &str,
    ) -> Result<Exported, ExportError> {
        let failed = |source| StoreError::from_sql(self.path(), source);
        let mut lines = Lines { out, digest: blake3::Hasher::new(), written: 0 };
        let account = sqlx::query!("SELECT created_at, livedesk, firstline FROM account")
            .fetch_one(&mut *conn)
            .await
            .map_err(failed)?;
        lines.put(
            &json!({
                "export": NAME,
                "format": FORMAT,
                "schema": schema(),
                "program": program,
                "exported_at": self.now().0,
                "created_at": account.created_at,
                "livedesk": account.livedesk,
                "firstline": account.firstline,
                "hash_key": hex(self.hash_key().as_bytes()),
                "journal": journal,
            })
            .to_string(),
        )?;
        let mut exported = Exported::default();
        for table in TABLES.into_iter().chain(LAST).filter(|table| journal || *table != JOURNAL) {
            let mut rows = 0;
            let sql = rows_as_json(table, &columns(&mut *conn, table).await.map_err(failed)?);
            let mut stream = sqlx::query_scalar::<_, String>(AssertSqlSafe(sql)).fetch(&mut *conn);
            while let Some(row) = stream.try_next().await.map_err(failed)? {
                lines.put(&row)?;
                rows += 1;
            }
            exported.rows.push((table, rows));
        }
        let end = json!({ "end": true, "lines": lines.written, "digest": lines.digest.finalize().to_hex().as_str() });
        lines.put(&end.to_string())?;
        lines.out.flush()?;
        exported.lines = lines.written;
        Ok(exported)
    }
}

/// A query that gives each row of a table as the line that it becomes.
fn rows_as_json(table: &str, columns: &[Column]) -> String {
    let fields: Vec<String> = columns
        .iter()
        .map(|Column { name, kind, .. }| match kind {
            ColumnKind::Blob => format!("'{name}', iif(\"{name}\" IS NULL, NULL, lower(hex(\"{name}\")))"),
            ColumnKind::Integer | ColumnKind::Text => format!("'{name}', \"{name}\""),
        })
        .collect();
    format!("SELECT json_object('table', '{table}', 'row', json_object({})) FROM {table}", fields.join(", "))
}

/// Lines on their way, and what they add up to.
struct Lines<W> {
    out: W,
    digest: blake3::Hasher,
    written: u64,
}

impl<W: Write> Lines<W> {
    fn put(&mut self, line: &str) -> io::Result<()> {
        self.out.write_all(line.as_bytes())?;
        self.out.write_all(b"\n")?;
        self.digest.update(line.as_bytes());
        self.digest.update(b"\n");
        self.written += 1;
        Ok(())
    }
}

/// The header of an export.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) created_at: i64,
    pub(super) livedesk: Option<String>,
    pub(super) firstline: Option<String>,
    pub(super) hash_key: Vec<u8>,
    pub(super) exported_at: i64,
    pub(super) journal: bool,
}

impl Header {
    /// Reads a header; says what keeps it from being one.
    pub(super) fn read(line: &Value) -> Result<Self, String> {
        if line.get("export").and_then(Value::as_str) != Some(NAME) {
            return Err(String::from("it is no header of `deskferry state export`"));
        }
        let number = |name: &str| {
            line.get(name).and_then(Value::as_i64).ok_or_else(|| format!("{name} is missing, or is no number"))
        };
        let text = |name: &str| line.get(name).and_then(Value::as_str).map(str::to_owned);
        let program = text("program").unwrap_or_else(|| String::from("an unknown version"));
        let (format, version) = (number("format")?, number("schema")?);
        if format != FORMAT || version != schema() {
            return Err(format!(
                "it was written by deskferry {program} from a state of version {version}, and this one takes version {}; import \
                 it with that deskferry and open the state with this one, which brings it up to date",
                schema()
            ));
        }
        let hash_key = text("hash_key").and_then(|key| unhex(&key)).filter(|key| key.len() == 32);
        Ok(Self {
            created_at: number("created_at")?,
            livedesk: text("livedesk"),
            firstline: text("firstline"),
            hash_key: hash_key.ok_or("hash_key is missing, or is no key")?,
            exported_at: number("exported_at")?,
            journal: line.get("journal").and_then(Value::as_bool).ok_or("journal is missing")?,
        })
    }
}

/// Bytes of hexadecimal text.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    bytes.chunks_exact(2).map(|pair| Some(digit(pair[0])? * 16 + digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection, SqliteConnection};

    use super::{LAST, LEFT_OUT, TABLES};
    use crate::store::MIGRATOR;

    #[tokio::test]
    async fn every_table_is_exported_or_left_out_on_purpose() {
        let mut conn = SqliteConnection::connect("sqlite::memory:").await.unwrap();
        MIGRATOR.run(&mut conn).await.unwrap();
        let mut tables: Vec<String> = sqlx::query_scalar(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> '_sqlx_migrations' ORDER BY name",
        )
        .fetch_all(&mut conn)
        .await
        .unwrap();
        let mut known: Vec<&str> = TABLES.into_iter().chain(LAST).chain(LEFT_OUT).collect();
        known.sort_unstable();
        tables.sort_unstable();
        assert_eq!(tables, known);
    }
}
