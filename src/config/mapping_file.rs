//! The mapping file as text whose lines can be found again.
//!
//! What its lines mean is the business of `mapping`; this module parses the TOML, turns serde's complaints into
//! problems with file and line, and finds the line of a place such as `cz_cols[2].value` for complaints that
//! only the compiler can make.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::tree::{line_at, syntax_problems};
use super::{Problem, Problems};

/// How many problems are looked for in one file; far more than anyone mends in one go.
const MOST_PROBLEMS: usize = 100;

/// A mapping file whose syntax is right.
#[derive(Clone, Debug)]
pub struct MappingSource {
    path: PathBuf,
    text: String,
    places: Vec<Entry>,
}

/// A key or an element of a list, and the text it covers.
#[derive(Clone, Debug)]
struct Entry {
    place: String,
    key: Range<usize>,
    value: Range<usize>,
}

/// What could be read of a file, and what is wrong with the rest.
#[derive(Clone, Debug)]
pub struct Partly<T> {
    /// Everything but the places that are wrong; `None` when not even that can be read.
    pub value: Option<T>,
    /// What is wrong.
    pub problems: Vec<Problem>,
    /// What was taken out.
    pub taken: Vec<String>,
}

impl<T> Partly<T> {
    /// Where a place of `value` stands in the file: entries of a list that were taken out are counted again.
    pub fn original(&self, place: &str) -> String {
        let Some((list, rest)) = place.split_once('[') else { return place.to_owned() };
        let Some((number, rest)) = rest.split_once(']') else { return place.to_owned() };
        let Ok(number) = number.parse::<usize>() else { return place.to_owned() };
        let kept = |at: &usize| !self.taken.contains(&format!("{list}[{at}]"));
        let at = (0..).filter(kept).nth(number).unwrap_or(number);
        format!("{list}[{at}]{rest}")
    }
}

impl MappingSource {
    /// Reads a file. The outer error is about reading, the inner one about syntax.
    pub fn read(path: &Path) -> io::Result<Result<Self, Problems>> {
        fs::read_to_string(path).map(|text| Self::from_text(path, text))
    }

    /// Takes text as if it stood in the file `path`.
    pub fn from_text(path: &Path, text: String) -> Result<Self, Problems> {
        let (document, errors) = DeTable::parse_recoverable(&text);
        let problems = syntax_problems(path, &text, &errors);
        if !problems.is_empty() {
            return Err(Problems::sorted(problems));
        }
        let mut places = Vec::new();
        index_table("", document.get_ref(), &mut places);
        Ok(Self { path: path.to_owned(), text, places })
    }

    /// Where it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The line of a place such as `contact.birth_at` or `cz_cols[2].value` (counted from 0), or of the nearest
    /// thing around it that the file holds.
    pub fn line_of(&self, place: &str) -> Option<usize> {
        let mut place = place;
        loop {
            if let Some(entry) = self.places.iter().find(|entry| entry.place == place) {
                return Some(line_at(&self.text, entry.key.start));
            }
            place = &place[..place.rfind(['.', '['])?];
        }
    }

    /// A problem at a place.
    pub fn problem(&self, place: &str, message: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem {
            file: self.path.clone(),
            line: self.line_of(place),
            key: place.to_owned(),
            message: message.into(),
            remedy: remedy.into(),
        }
    }

    /// Reads the whole file as a `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Problems> {
        match self.parse_partly() {
            Partly { value: Some(value), problems, .. } if problems.is_empty() => Ok(value),
            partly => Err(Problems::sorted(partly.problems)),
        }
    }

    /// Reads as much of the file as a `T` as can be. serde stops at the first complaint, so what it complains of is
    /// taken out and the rest is read again, until there is nothing left to complain of.
    pub fn parse_partly<T: DeserializeOwned>(&self) -> Partly<T> {
        let mut problems: Vec<Problem> = Vec::new();
        let mut taken: Vec<&Entry> = Vec::new();
        let mut value = None;
        while problems.len() < MOST_PROBLEMS {
            let (document, _) = DeTable::parse_recoverable(&self.text);
            let span = document.span();
            let rest = Spanned::new(span, without("", document.into_inner(), &taken));
            let error = match T::deserialize(toml::Deserializer::from(rest)) {
                Ok(read) => {
                    value = Some(read);
                    break;
                }
                Err(error) => error,
            };
            let culprit = error.span().and_then(|span| self.smallest_around(&span));
            let place = culprit.map_or("", |entry| entry.place.as_str());
            // What we took out ourselves must not be reported as missing.
            let ours = error.message().starts_with("missing field")
                && taken.iter().any(|entry| is_inside(&entry.place, place));
            if !ours {
                let (message, remedy) = in_our_words(error.message());
                problems.push(self.problem(place, message, remedy));
            }
            match culprit {
                Some(culprit) if !taken.iter().any(|entry| entry.place == culprit.place) => taken.push(culprit),
                _ => break,
            }
        }
        Partly { value, problems, taken: taken.into_iter().map(|entry| entry.place.clone()).collect() }
    }

    fn smallest_around(&self, span: &Range<usize>) -> Option<&Entry> {
        let covers = |range: &Range<usize>| range.start <= span.start && span.end <= range.end;
        let around = self.places.iter().filter(|entry| covers(&entry.key) || covers(&entry.value));
        around.min_by_key(|entry| if covers(&entry.key) { entry.key.len() } else { entry.value.len() })
    }
}

fn index_table(prefix: &str, table: &DeTable<'_>, places: &mut Vec<Entry>) {
    for (key, value) in table {
        index(dotted(prefix, key.get_ref()), key.span(), value, places);
    }
}

fn index(place: String, key: Range<usize>, value: &Spanned<DeValue<'_>>, places: &mut Vec<Entry>) {
    match value.get_ref() {
        DeValue::Table(table) => index_table(&place, table, places),
        DeValue::Array(items) => {
            for (number, item) in items.iter().enumerate() {
                index(format!("{place}[{number}]"), item.span(), item, places);
            }
        }
        _ => {}
    }
    places.push(Entry { place, key, value: value.span() });
}

/// The table without what has been taken out of it. Places, not spans, say what that is: a list of tables and
/// its first table have the same span.
fn without<'i>(prefix: &str, table: DeTable<'i>, taken: &[&Entry]) -> DeTable<'i> {
    let kept = table.into_iter().filter_map(|(key, value)| {
        let place = dotted(prefix, key.get_ref());
        thinned(&place, value, taken).map(|value| (key, value))
    });
    kept.collect()
}

fn thinned<'i>(place: &str, value: Spanned<DeValue<'i>>, taken: &[&Entry]) -> Option<Spanned<DeValue<'i>>> {
    if taken.iter().any(|entry| entry.place == place) {
        return None;
    }
    let span = value.span();
    let inner = match value.into_inner() {
        DeValue::Table(table) => DeValue::Table(without(place, table, taken)),
        DeValue::Array(items) => {
            let items = items.into_iter().enumerate();
            DeValue::Array(items.filter_map(|(at, item)| thinned(&format!("{place}[{at}]"), item, taken)).collect())
        }
        scalar => scalar,
    };
    Some(Spanned::new(span, inner))
}

fn is_inside(place: &str, outer: &str) -> bool {
    place.strip_prefix(outer).is_some_and(|rest| rest.starts_with(['.', '[']))
}

fn dotted(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

/// serde's complaint about an unknown key lists the known ones; the nearest is what people want to read.
fn in_our_words(message: &str) -> (String, String) {
    let Some(rest) = message.strip_prefix("unknown field ") else { return (message.to_owned(), String::new()) };
    let mut names = rest.split('`').skip(1).step_by(2);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    let remedy = match super::schema::nearest(&known, unknown) {
        Some(name) => format!("did you mean \"{name}\"?"),
        None => format!("known here: {}", known.join(", ")),
    };
    (String::from("unknown key"), remedy)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde::Deserialize;

    use super::MappingSource;

    const TEXT: &str = r#"# a comment
[select]
when = "not blocked"

[contact]
first_name = "name"
birth_at = { value = "x", on_error = "skip" }

[[cz_cols]]
id = 31
value = "a"

[[cz_cols]]
id = 32
value = "b"
"#;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Spec {
        select: Option<Select>,
        #[serde(default)]
        cz_cols: Vec<Column>,
        contact: Option<toml::Table>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Select {
        when: String,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its shape matters")]
    struct Column {
        id: i64,
        value: String,
    }

    fn source(text: &str) -> MappingSource {
        MappingSource::from_text(Path::new("mapping.toml"), text.to_owned()).unwrap()
    }

    fn complaints(text: &str) -> Vec<String> {
        let problems = source(text).parse::<Spec>().unwrap_err();
        problems.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_place_has_the_line_of_itself_or_of_what_holds_it() {
        let source = source(TEXT);
        for (place, line) in [
            ("select.when", Some(3)),
            ("contact", Some(5)),
            ("contact.birth_at", Some(7)),
            ("contact.birth_at.on_error", Some(7)),
            ("contact.first_name.value", Some(6)),
            ("cz_cols[0].value", Some(11)),
            ("cz_cols[1]", Some(13)),
            ("cz_cols[1].value", Some(15)),
            ("cz_cols[1].owner", Some(13)),
            ("phones[0]", None),
        ] {
            assert_eq!(source.line_of(place), line, "{place}");
        }
    }

    #[test]
    fn a_right_file_is_read() {
        let spec: Spec = source(TEXT).parse().unwrap();
        assert_eq!(spec.cz_cols.len(), 2);
    }

    #[test]
    fn all_complaints_come_together_each_with_its_line() {
        let text = "[select]\nwhen = 3\n\n[[cz_cols]]\nid = \"x\"\nvalu = \"a\"\n\n[[cz_cols]]\nid = 4\n\n[contcat]\n";
        assert_eq!(
            complaints(text),
            [
                "mapping.toml:2: select.when: invalid type: integer `3`, expected a string",
                "mapping.toml:5: cz_cols[0].id: invalid type: string \"x\", expected i64",
                "mapping.toml:6: cz_cols[0].valu: unknown key; did you mean \"value\"?",
                "mapping.toml:8: cz_cols[1]: missing field `value`",
                "mapping.toml:11: contcat: unknown key; did you mean \"contact\"?",
            ]
        );
    }

    #[test]
    fn what_is_left_of_a_file_knows_where_it_stood() {
        let text = "[[cz_cols]]\nid = 1\n\n[[cz_cols]]\nid = 2\nvalue = \"a\"\nvalu = \"b\"\n";
        let partly = source(text).parse_partly::<Spec>();
        assert_eq!(partly.problems.len(), 2);
        let ids: Vec<i64> = partly.value.as_ref().unwrap().cz_cols.iter().map(|column| column.id).collect();
        assert_eq!(ids, [2]);
        assert_eq!(partly.original("cz_cols[0].value"), "cz_cols[1].value");
        assert_eq!(partly.original("select.when"), "select.when");
    }

    #[test]
    fn broken_syntax_is_reported_line_by_line() {
        let problems = MappingSource::from_text(Path::new("m.toml"), "a = \nb = 1\nc = = 2\n".to_owned()).unwrap_err();
        let lines: Vec<_> = problems.0.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [Some(1), Some(3)]);
    }
}
