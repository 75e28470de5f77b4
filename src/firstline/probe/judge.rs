//! What the answers mean. Pure: everything that a probe concludes is concluded here, so that it can be tested by table.
//!
//! `Err` is the reason why nothing can be concluded; it goes into the report as it stands.

use crate::firstline::profile::UpdateMethod;

/// What a filter answered to one question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// It was refused.
    Refused(u16),
    /// It was answered: is our record among the rows, and are there any?
    Rows {
        /// The scratch record is among them.
        ours: bool,
        /// There is at least one.
        any: bool,
    },
}

/// What a filter is worth. `positive` asked for our record, `negative` for a value that nobody has. `None`: nothing was
/// found yet, look again.
pub(super) fn filter(positive: Look, negative: Look) -> Option<&'static str> {
    match (positive, negative) {
        (Look::Refused(_), _) | (_, Look::Refused(_)) => Some("refused"),
        // Rows for a value that nobody has: whatever was asked, the unfiltered list came back.
        (_, Look::Rows { any: true, .. }) => Some("ignored"),
        (Look::Rows { ours: true, .. }, _) => Some("works"),
        _ => None,
    }
}

/// The two encodings of the filter on custom fields as one word.
pub(super) fn encodings(brackets: Option<&str>, json: Option<&str>) -> Result<&'static str, String> {
    let works = |word: Option<&str>| word.is_some_and(|word| matches!(word, "works" | "fuzzy"));
    match (works(brackets), works(json)) {
        (true, true) => Ok("both"),
        (true, false) => Ok("brackets"),
        (false, true) => Ok("json"),
        (false, false) => match (brackets, json) {
            (Some("refused"), Some("refused")) => Ok("refused"),
            (Some(_), Some(_)) => Ok("ignored"),
            _ => Err(String::from("neither encoding found the scratch contact in time")),
        },
    }
}

/// The method to use, out of those that changed the scratch contact.
pub(super) fn update_method(worked: &[UpdateMethod], statuses: &[String]) -> Result<UpdateMethod, String> {
    let first = UpdateMethod::ALL.into_iter().find(|method| worked.contains(method));
    first.ok_or_else(|| format!("no known method changed the scratch contact ({})", statuses.join(", ")))
}

/// What survived of the fields that an update left out; `None` where it could not be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Survived {
    /// A standard field.
    pub(super) standard: Option<bool>,
    /// A column, when no column was sent.
    pub(super) column: Option<bool>,
    /// A column, when another column was sent.
    pub(super) other_column: Option<bool>,
    /// A tag, when no tags were sent.
    pub(super) tags: Option<bool>,
}

/// Partial or replacing. A single loss is enough for *replace*; *partial* needs every answer.
pub(super) fn semantics(survived: Survived) -> Result<&'static str, String> {
    let Survived { standard, column, other_column, tags } = survived;
    let all = [standard, column, other_column, tags];
    if all.contains(&Some(false)) {
        Ok("replace")
    } else if all.iter().all(Option::is_some) {
        Ok("partial")
    } else if standard.is_none() {
        Err(String::from("the updates that would show it did not go through"))
    } else if column.is_some() && other_column.is_some() {
        Err(String::from("fields survive, but no tag could be set to try it on"))
    } else {
        Err(String::from("standard fields survive, but two custom fields to try it on could not be written"))
    }
}

/// What is lost, in words.
pub(super) fn losses(survived: Survived) -> String {
    let Survived { standard, column, other_column, tags } = survived;
    let mut lost = Vec::new();
    if standard == Some(false) {
        lost.push("standard fields are reset");
    }
    if column == Some(false) {
        lost.push("custom fields are reset");
    } else if other_column == Some(false) {
        lost.push("custom fields are reset where another one is sent");
    }
    if tags == Some(false) {
        lost.push("tags are taken away");
    }
    if lost.is_empty() { String::from("nothing is lost") } else { lost.join(", ") }
}

/// What became of tags: the first was set, then only the second was sent. The two say which of them the contact has now.
pub(super) fn tags_on_update(first: bool, second: bool) -> Result<&'static str, String> {
    match (first, second) {
        (false, true) => Ok("replace"),
        (true, true) => Ok("union"),
        (_, false) => Err(String::from("the contact does not show the tag that was sent")),
    }
}

/// The boolean form to use, out of those that were stored as they were meant.
pub(super) fn boolean(accepted: &[&str]) -> Result<&'static str, String> {
    ["number", "bool", "text"].into_iter().find(|form| accepted.contains(form)).ok_or_else(|| {
        String::from("neither 1 and 0, nor true and false, nor \"1\" and \"0\" were stored as they were meant")
    })
}

/// Whether one way of clearing emptied a standard field and a column; `None` where it could not be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cleared {
    pub(super) standard: Option<bool>,
    pub(super) column: Option<bool>,
}

impl Cleared {
    fn both(self) -> bool {
        self.standard == Some(true) && self.column == Some(true)
    }
}

/// How a field is emptied. `replaces`: leaving it out does, too.
pub(super) fn clearing(null: Cleared, empty: Cleared, replaces: Option<bool>) -> Result<&'static str, String> {
    if null.both() {
        return Ok("null");
    }
    if empty.both() {
        return Ok("empty");
    }
    if [null, empty].iter().any(|form| form.standard.is_none() || form.column.is_none()) {
        return Err(String::from("it could not be tried on both a standard field and a text custom field"));
    }
    if replaces == Some(true) {
        return Ok("left_out");
    }
    Err(String::from("neither null nor an empty text empties both standard fields and custom fields"))
}

/// What a list made of a wish for `asked` rows a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageSize {
    /// 4xx.
    Refused,
    /// It says so many a page.
    Says(u64),
    /// It does not say.
    Silent,
}

/// What to ask next to find the most rows a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask for so many.
    Ask(u64),
    /// Found.
    Found(u64),
}

/// The search for the largest page: `good` is taken, `bad` is not. Where more is cut to a maximum, the answer to too much
/// says it; where it is refused or ignored, the interval is halved.
#[derive(Clone, Copy, Debug)]
pub(super) struct LargestPage {
    good: u64,
    bad: u64,
}

impl LargestPage {
    /// `good` is known to be taken; more than `most` is not of interest.
    pub(super) fn new(good: u64, most: u64) -> Self {
        Self { good, bad: most + 1 }
    }

    /// What to ask first.
    pub(super) fn first(&self) -> u64 {
        self.bad - 1
    }

    /// Takes an answer in.
    pub(super) fn answered(&mut self, asked: u64, size: PageSize) -> Next {
        match size {
            PageSize::Says(said) if said == asked => self.good = self.good.max(asked),
            // Cut to its maximum, or fallen back to its default: the next question tells them apart.
            PageSize::Says(said) if said > self.good && said < asked => {
                self.bad = self.bad.min(asked);
                self.good = said;
                return if self.bad == said + 1 { Next::Found(said) } else { Next::Ask(said + 1) };
            }
            _ => self.bad = self.bad.min(asked),
        }
        if self.good + 1 >= self.bad { Next::Found(self.good) } else { Next::Ask(self.good.midpoint(self.bad)) }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Cleared, LargestPage, Look, Next, PageSize, Survived, boolean, clearing, encodings, filter, semantics,
        tags_on_update, update_method,
    };
    use crate::firstline::profile::UpdateMethod;

    const OURS: Look = Look::Rows { ours: true, any: true };
    const OTHERS: Look = Look::Rows { ours: false, any: true };
    const NONE: Look = Look::Rows { ours: false, any: false };

    #[test]
    fn a_filter_works_only_when_it_finds_what_is_there_and_nothing_else() {
        for (positive, negative, expected) in [
            (OURS, NONE, Some("works")),
            // An ignored filter finds everything, ours included.
            (OURS, OTHERS, Some("ignored")),
            (OURS, OURS, Some("ignored")),
            (OTHERS, OTHERS, Some("ignored")),
            (NONE, OTHERS, Some("ignored")),
            (Look::Refused(422), NONE, Some("refused")),
            // A search that lags, or a filter that finds nothing: that is not known yet.
            (NONE, NONE, None),
            (OTHERS, NONE, None),
        ] {
            assert_eq!(filter(positive, negative), expected, "{positive:?} {negative:?}");
        }
    }

    #[test]
    fn the_encodings_become_one_word() {
        for (brackets, json, expected) in [
            (Some("works"), Some("ignored"), Ok("brackets")),
            (Some("ignored"), Some("works"), Ok("json")),
            (Some("works"), Some("works"), Ok("both")),
            (Some("works"), None, Ok("brackets")),
            (Some("refused"), Some("refused"), Ok("refused")),
            (Some("refused"), Some("ignored"), Ok("ignored")),
            (Some("ignored"), None, Err(())),
            (None, None, Err(())),
        ] {
            assert_eq!(encodings(brackets, json).map_err(|_| ()), expected, "{brackets:?} {json:?}");
        }
    }

    #[test]
    fn the_method_that_changed_the_contact_is_taken() {
        use UpdateMethod::{PostBody, PostQuery, Put};
        assert_eq!(update_method(&[Put, PostQuery], &[]), Ok(PostQuery));
        assert_eq!(update_method(&[Put, PostBody], &[]), Ok(PostBody));
        assert!(update_method(&[], &[String::from("put: 405")]).is_err_and(|reason| reason.contains("put: 405")));
    }

    #[test]
    fn partial_is_said_only_when_everything_was_seen_to_survive() {
        let (yes, no) = (Some(true), Some(false));
        for ([standard, column, other_column, tags], expected) in [
            ([yes, yes, yes, yes], Ok("partial")),
            ([no, yes, yes, yes], Ok("replace")),
            ([yes, yes, no, yes], Ok("replace")),
            ([yes, no, None, None], Ok("replace")),
            ([yes, yes, yes, no], Ok("replace")),
            ([yes, yes, yes, None], Err(())),
            ([yes, yes, None, yes], Err(())),
            ([yes, None, None, yes], Err(())),
            ([None, None, None, None], Err(())),
        ] {
            let survived = Survived { standard, column, other_column, tags };
            assert_eq!(semantics(survived).map_err(|_| ()), expected, "{survived:?}");
        }
    }

    #[test]
    fn tags_and_booleans_are_judged_by_what_was_stored() {
        assert_eq!(tags_on_update(false, true), Ok("replace"));
        assert_eq!(tags_on_update(true, true), Ok("union"));
        assert!(tags_on_update(true, false).is_err() && tags_on_update(false, false).is_err());
        assert_eq!(boolean(&["text", "bool"]), Ok("bool"));
        assert_eq!(boolean(&["bool", "number"]), Ok("number"));
        assert!(boolean(&[]).is_err());
    }

    #[test]
    fn a_way_of_clearing_must_empty_standard_fields_and_columns() {
        let of = |standard: bool, column: bool| Cleared { standard: Some(standard), column: Some(column) };
        let unseen = Cleared { standard: Some(true), column: None };
        for (null, empty, replaces, expected) in [
            (of(true, true), of(true, true), None, Ok("null")),
            (of(true, true), of(false, false), None, Ok("null")),
            (of(false, false), of(true, true), None, Ok("empty")),
            (of(true, false), of(false, true), Some(false), Err(())),
            (of(false, false), of(false, false), Some(true), Ok("left_out")),
            (of(false, false), of(false, false), Some(false), Err(())),
            (unseen, unseen, Some(true), Err(())),
        ] {
            assert_eq!(clearing(null, empty, replaces).map_err(|_| ()), expected, "{null:?} {empty:?} {replaces:?}");
        }
    }

    fn largest(most: u64, server: impl Fn(u64) -> PageSize) -> (u64, usize) {
        let mut search = LargestPage::new(15, most);
        let mut asked = search.first();
        for questions in 1..100 {
            match search.answered(asked, server(asked)) {
                Next::Found(found) => return (found, questions),
                Next::Ask(next) => asked = next,
            }
        }
        panic!("it does not end")
    }

    #[test]
    fn the_largest_page_is_found_where_more_is_cut_ignored_or_refused() {
        for maximum in [15, 16, 40, 50, 99, 100, 500, 999, 1000, 4000] {
            let within = |asked: u64| asked <= maximum;
            let expected = maximum.min(1000);
            let cut = largest(1000, |asked| PageSize::Says(asked.min(maximum)));
            let ignored = largest(1000, |asked| PageSize::Says(if within(asked) { asked } else { 15 }));
            let refused = largest(1000, |asked| if within(asked) { PageSize::Says(asked) } else { PageSize::Refused });
            assert_eq!((cut.0, ignored.0, refused.0), (expected, expected, expected));
            assert!(cut.1 <= 2 || maximum == 15, "{cut:?}");
            assert!(ignored.1 < 14 && refused.1 < 14);
        }
    }
}
