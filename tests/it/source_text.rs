//! Rust source reduced to what the architecture test looks at: no comments, no strings, no tests.
//!
//! A scanner of a few states, not a parser. Positions are kept, so that line numbers stay true.

/// A path such as `crate::sync::ports`, with the line it stands on.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PathUse {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

/// The source with comments, literals and `#[cfg(test)]` items blanked out.
pub(crate) fn production(source: &str) -> String {
    without_tests(&without_literals(source))
}

/// Every path that begins with `root::`, groups spelled out.
pub(crate) fn paths(code: &str, root: &str) -> Vec<PathUse> {
    let mut found = Vec::new();
    for start in words(code, root) {
        let rest = &code[start + root.len()..];
        if let Some(rest) = rest.trim_start().strip_prefix("::") {
            let line = line_at(code, start);
            let tails = tails(rest, &mut 0);
            found.extend(tails.into_iter().map(|segments| PathUse { line, segments }));
        }
    }
    found
}

/// Lines on which the crate `name` is named: `name::`, `use name;`, `use name as`.
pub(crate) fn crate_uses(code: &str, name: &str) -> Vec<usize> {
    let named = words(code, name).filter(|start| {
        let (before, after) = (code[..*start].trim_end(), code[start + name.len()..].trim_start());
        let used = before.ends_with("use") && (after.starts_with(';') || after.starts_with("as "));
        // `x::toml::` is a module of ours, `::toml::` is the crate.
        let inside = before.strip_suffix("::").is_some_and(|outer| outer.ends_with(in_word));
        used || (after.starts_with("::") && !inside)
    });
    named.map(|start| line_at(code, start)).collect()
}

/// Lines on which the word stands.
pub(crate) fn word_lines(code: &str, word: &str) -> Vec<usize> {
    words(code, word).map(|start| line_at(code, start)).collect()
}

fn words<'c>(code: &'c str, word: &'c str) -> impl Iterator<Item = usize> + 'c {
    code.match_indices(word)
        .map(|(start, _)| start)
        .filter(move |start| !code[..*start].ends_with(in_word) && !code[start + word.len()..].starts_with(in_word))
}

fn in_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text[..offset].matches('\n').count()
}

/// What follows `::`: one path, or a group of them. `at` is moved behind it.
fn tails(code: &str, at: &mut usize) -> Vec<Vec<String>> {
    skip_space(code, at);
    if code[*at..].starts_with('{') {
        *at += 1;
        let mut all = Vec::new();
        while *at < code.len() && !code[*at..].starts_with('}') {
            let before = *at;
            all.extend(tails(code, at));
            skip_space(code, at);
            if code[*at..].starts_with(',') || *at == before {
                *at += code[*at..].chars().next().map_or(1, char::len_utf8);
            }
            skip_space(code, at);
        }
        *at = (*at + 1).min(code.len());
        return all;
    }
    let name: String = code[*at..].chars().take_while(|c| in_word(*c) || *c == '*').collect();
    *at += name.len();
    let mut here = *at;
    skip_space(code, &mut here);
    if code[here..].starts_with("::") {
        *at = here + 2;
        let inner = tails(code, at);
        if inner.is_empty() {
            return vec![vec![name]];
        }
        return inner.into_iter().map(|tail| std::iter::once(name.clone()).chain(tail).collect()).collect();
    }
    if code[here..].starts_with("as ") {
        *at = here + code[here..].find([',', ';', '}']).unwrap_or(0);
    }
    if name.is_empty() { Vec::new() } else { vec![vec![name]] }
}

fn skip_space(code: &str, at: &mut usize) {
    *at += code[*at..].len() - code[*at..].trim_start().len();
}

fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect()
}

fn without_literals(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let length = literal(rest, code.ends_with(in_word));
        if let Some(length) = length {
            code.push_str(&blank(&rest[..length]));
            rest = &rest[length..];
        } else {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        }
    }
    code
}

/// Length of the comment or literal at the start of `rest`, if there is one.
fn literal(rest: &str, after_word: bool) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(rest.find("*/").map_or(rest.len(), |end| end + 2));
    }
    if rest.starts_with('"') {
        return Some(quoted(rest, '"'));
    }
    if !after_word && let Some(raw) = rest.strip_prefix('r') {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            let open = 1 + hashes + 1;
            return Some(rest[open..].find(&end).map_or(rest.len(), |at| open + at + end.len()));
        }
    }
    // A character, not a lifetime: closed within a few characters, or escaped.
    let tail = rest.strip_prefix('\'')?;
    let closed = tail.chars().nth(1) == Some('\'');
    (closed || tail.starts_with('\\')).then(|| quoted(rest, '\''))
}

fn quoted(rest: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == mark => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(start) = rest.find(MARK) {
        kept.push_str(&rest[..start]);
        let item = &rest[start..];
        let end = item_end(item);
        kept.push_str(&blank(&item[..end]));
        rest = &item[end..];
    }
    kept + rest
}

/// Where an item ends: at its semicolon, or at the brace that closes its body.
fn item_end(item: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in item.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' if depth <= 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    item.len()
}

#[test]
fn groups_are_spelled_out_and_strings_and_comments_are_not_code() {
    let source =
        "use crate::{a::{b, c as d}, e};\n// crate::no\nlet x = \"crate::no\"; let y = 'x'; crate::f::g::<u8>();\n";
    let found: Vec<String> = paths(&production(source), "crate")
        .into_iter()
        .map(|path| format!("{} {}", path.line, path.segments.join("::")))
        .collect();
    assert_eq!(found, ["1 a::b", "1 a::c", "1 e", "3 f::g"]);
}

#[test]
fn test_items_and_raw_strings_are_left_out() {
    let source = "fn f() { r#\"crate::no \" \"#; }\n#[cfg(test)]\nmod tests {\n    use crate::no;\n}\nuse crate::yes;\n#[cfg(test)]\nmod more;\n";
    let found = paths(&production(source), "crate");
    assert_eq!(found, [PathUse { line: 6, segments: vec![String::from("yes")] }]);
}

#[test]
fn a_crate_is_told_from_a_module_of_the_same_name() {
    let code = "use toml::de;\nuse crate::config::toml::x;\nuse toml;\nfn toml() {}\nlet a: ::toml::Value;\n";
    assert_eq!(crate_uses(code, "toml"), [1, 3, 5]);
}
