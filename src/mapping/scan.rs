//! Finds the names of filters and tests in an expression, with their columns.
//!
//! minijinja looks these names up only while it evaluates, and a value that is missing may keep it from ever
//! getting there. Reading them here lets a typo be reported before the first contact. It is no parser: what is
//! no valid expression was already refused by minijinja.

/// What an expression mentions.
#[derive(Debug, Default)]
pub(super) struct Mentions<'a> {
    /// Filters: name and column.
    pub(super) filters: Vec<(&'a str, usize)>,
    /// Tests (`is ...`): name and column.
    pub(super) tests: Vec<(&'a str, usize)>,
    /// Column of a comparison of something with `none`.
    pub(super) none_comparison: Option<usize>,
    /// The filter that makes the result, when the expression is one chain of filters.
    pub(super) last_filter: Option<&'a str>,
}

/// What an expression does with an object of attributes.
#[derive(Debug, PartialEq)]
pub(super) enum Read {
    /// Reads one key of it.
    Key(&'static str, String),
    /// Reads it in a way that may reach every key.
    Whole(&'static str),
    /// Asks for its rest; the column.
    Rest(&'static str, usize),
    /// Asks for the rest of something else; the column.
    NoRest(usize),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    /// A text with its quotes, or a number.
    Literal(&'a str),
    Sign(&'a str),
}

/// Reads `expression`, which minijinja has accepted.
pub(super) fn mentions(expression: &str) -> Mentions<'_> {
    let tokens = tokens(expression);
    let mut found = Mentions::default();
    for (at, (token, column)) in tokens.iter().enumerate() {
        let before = |steps: usize| at.checked_sub(steps).map(|at| tokens[at].0);
        let Token::Word(word) = *token else { continue };
        if before(1) == Some(Token::Sign(".")) {
            continue;
        }
        let after_is = |steps| before(steps) == Some(Token::Word("is")) && before(steps + 1) != Some(Token::Sign("."));
        if before(1) == Some(Token::Sign("|")) {
            found.filters.push((word, *column));
        } else if (after_is(1) && word != "not") || (before(1) == Some(Token::Word("not")) && after_is(2)) {
            found.tests.push((word, *column));
        } else if matches!(word, "none" | "None") {
            let compares = |token: Option<Token<'_>>| matches!(token, Some(Token::Sign("==" | "!=")));
            if compares(before(1)) || compares(tokens.get(at + 1).map(|(token, _)| *token)) {
                found.none_comparison = Some(*column);
            }
        }
    }
    found.last_filter = last_filter(&tokens);
    found
}

/// Column (from 1) of a top-level name.
pub(super) fn column_of(expression: &str, name: &str) -> Option<usize> {
    tokens(expression).windows(2).find_map(|pair| match pair {
        [(before, _), (Token::Word(word), column)] if *word == name && *before != Token::Sign(".") => Some(*column),
        _ => None,
    })
}

/// What `expression` does with `objects`, which are keys of the row.
pub(super) fn reads<const N: usize>(expression: &str, objects: [&'static str; N]) -> Vec<Read> {
    let tokens: Vec<(Token<'_>, usize)> = tokens(expression);
    let token = |at: usize| tokens.get(at).map(|(token, _)| *token);
    let object = |word: &str| objects.into_iter().find(|object| *object == word);
    let mut found = Vec::new();
    for (at, (this, column)) in tokens.iter().enumerate().skip(1) {
        let Token::Word(word) = *this else { continue };
        match (word, token(at - 1)) {
            (_, Some(Token::Sign("." | "|"))) => {}
            ("rest", _) => {
                let named = match (token(at + 1), token(at + 2), token(at + 3)) {
                    (Some(Token::Sign("(")), Some(Token::Word(word)), Some(Token::Sign(")" | ","))) => object(word),
                    _ => None,
                };
                found.push(named.map_or(Read::NoRest(*column), |object| Read::Rest(object, *column)));
            }
            (super::context::WHOLE_ROW, _) => match key_after(&tokens, at) {
                Some((key, end)) => found.extend(object(&key).map(|object| read_of(object, &tokens, end))),
                None => found.extend(objects.map(Read::Whole)),
            },
            (_, Some(Token::Sign("("))) if matches!(found.last(), Some(Read::Rest(_, column)) if token(at - 2) == Some(Token::Word("rest")) && *column == tokens[at - 2].1) =>
                {}
            _ => found.extend(object(word).map(|object| read_of(object, &tokens, at))),
        }
    }
    found
}

/// What is read of an object whose name ends at `at`.
fn read_of(object: &'static str, tokens: &[(Token<'_>, usize)], at: usize) -> Read {
    key_after(tokens, at).map_or(Read::Whole(object), |(key, _)| Read::Key(object, key))
}

/// The key that `.key`, `['key']` or `| attr('key')` after `at` names, and where that ends.
fn key_after(tokens: &[(Token<'_>, usize)], at: usize) -> Option<(String, usize)> {
    let token = |steps: usize| tokens.get(at + steps).map(|(token, _)| *token);
    let text = |literal: &str| {
        let inner = literal.strip_prefix(['\'', '"'])?.strip_suffix(['\'', '"'])?;
        if inner.contains('\\') { None } else { Some(inner.to_owned()) }
    };
    match (token(1)?, token(2)?, token(3), token(4), token(5)) {
        (Token::Sign("."), Token::Word(key), ..) => Some((key.to_owned(), at + 2)),
        (Token::Sign("["), Token::Literal(key), Some(Token::Sign("]")), ..) => Some((text(key)?, at + 3)),
        (
            Token::Sign("|"),
            Token::Word("attr"),
            Some(Token::Sign("(")),
            Some(Token::Literal(key)),
            Some(Token::Sign(")")),
        ) => Some((text(key)?, at + 5)),
        _ => None,
    }
}

fn last_filter<'a>(tokens: &[(Token<'a>, usize)]) -> Option<&'a str> {
    let mut depth = 0;
    let mut last = None;
    for (at, (token, _)) in tokens.iter().enumerate() {
        match token {
            Token::Sign("(" | "[" | "{") => depth += 1,
            Token::Sign(")" | "]" | "}") => depth -= 1,
            Token::Word("if" | "else" | "or" | "and" | "not" | "in" | "is") if depth == 0 => return None,
            Token::Word(word) if depth == 0 && at > 0 && tokens[at - 1].0 == Token::Sign("|") => last = Some(*word),
            Token::Sign("|" | "." | "") => {}
            Token::Sign(_) if depth == 0 => return None,
            _ => {}
        }
    }
    last
}

/// The tokens with their columns (characters, from 1), after one empty sign that stands for the beginning.
fn tokens(expression: &str) -> Vec<(Token<'_>, usize)> {
    let mut tokens = vec![(Token::Sign(""), 0)];
    let mut rest = expression.char_indices().peekable();
    let mut column = 0;
    while let Some((start, first)) = rest.next() {
        column += 1;
        let begin = column;
        let mut end = start + first.len_utf8();
        let mut take_while = |accept: &mut dyn FnMut(char) -> bool, column: &mut usize| {
            while let Some((at, next)) = rest.next_if(|(_, next)| accept(*next)) {
                *column += 1;
                end = at + next.len_utf8();
            }
        };
        let token = match first {
            _ if first.is_whitespace() => continue,
            '"' | '\'' => {
                let (mut escaped, mut closed) = (false, false);
                let mut inside = |next: char| {
                    if closed {
                        return false;
                    }
                    closed = next == first && !escaped;
                    escaped = next == '\\' && !escaped;
                    true
                };
                take_while(&mut inside, &mut column);
                Token::Literal(&expression[start..end])
            }
            _ if first.is_ascii_digit() => {
                take_while(&mut |next| next.is_alphanumeric() || next == '_', &mut column);
                Token::Literal(&expression[start..end])
            }
            _ if first.is_alphabetic() || first == '_' => {
                take_while(&mut |next| next.is_alphanumeric() || next == '_', &mut column);
                Token::Word(&expression[start..end])
            }
            '=' | '!' | '<' | '>' => {
                take_while(&mut |next| next == '=', &mut column);
                Token::Sign(&expression[start..end])
            }
            _ => Token::Sign(&expression[start..end]),
        };
        tokens.push((token, begin));
    }
    tokens
}

#[cfg(test)]
mod tests {
    use super::{Read, column_of, mentions, reads};

    #[test]
    fn filters_and_tests_are_found_with_their_columns_but_not_inside_texts() {
        let found = mentions("name | trim if 'a | b is c' is not odd else x.is | phone('TW')");
        assert_eq!(found.filters, [("trim", 8), ("phone", 52)]);
        assert_eq!(found.tests, [("odd", 36)]);
        assert_eq!(found.last_filter, None);
        assert_eq!(column_of("a.name ~ '姓' ~ name", "name"), Some(16));
    }

    #[test]
    fn the_filter_that_makes_the_result_is_known_only_for_a_plain_chain() {
        assert_eq!(mentions("custom_attributes['a b'].c | trim | date('%d/%m/%Y')").last_filter, Some("date"));
        assert_eq!(mentions("'x' ~ created_at | date").last_filter, None);
        assert_eq!(mentions("(a or b) | number").last_filter, Some("number"));
        assert_eq!(mentions("name").last_filter, None);
    }

    #[test]
    fn what_an_expression_reads_of_an_object_is_found_in_every_spelling() {
        let of = |expression| reads(expression, ["a", "b"]);
        let key = |key: &str| Read::Key("a", key.to_owned());
        assert_eq!(of("a.x | trim ~ a['y z'].deep or a | attr('q')"), [key("x"), key("y z"), key("q")]);
        assert_eq!(of("contact.a.x ~ contact['a'].y ~ contact.other ~ 'a.z' ~ other.a"), [key("x"), key("y")]);
        assert_eq!(of("a | items"), [Read::Whole("a")]);
        assert_eq!(of("a[name]"), [Read::Whole("a")]);
        assert_eq!(of("contact | items"), [Read::Whole("a"), Read::Whole("b")]);
        assert_eq!(of("rest(a) ~ rest(b, system=true)"), [Read::Rest("a", 1), Read::Rest("b", 11)]);
        assert_eq!(of("rest(a.x)"), [Read::NoRest(1), key("x")]);
        assert_eq!(of("rest ~ name"), [Read::NoRest(1)]);
        assert_eq!(of("rest()"), [Read::NoRest(1)]);
    }

    #[test]
    fn a_comparison_with_none_is_seen_from_both_sides() {
        assert_eq!(mentions("email != none").none_comparison, Some(10));
        assert_eq!(mentions("none == email").none_comparison, Some(1));
        assert_eq!(mentions("email is none and name == 'none'").none_comparison, None);
    }
}
