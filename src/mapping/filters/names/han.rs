//! Names in Chinese, Japanese and Korean writing.

use std::collections::HashSet;
use std::sync::LazyLock;

use unicode_segmentation::UnicodeSegmentation;

use super::words::{COMPOUND, DOUBLE, HONORIFICS, JAPANESE, NO_NAMES, PLACE_ENDS, PLACES, SINGLE, TRADES, among};
use super::{Script, script};

static COMPOUND_SET: LazyLock<HashSet<&str>> = LazyLock::new(|| COMPOUND.split_ascii_whitespace().collect());

/// A Chinese name without a space, when its surname is a known one.
pub(super) fn full_name(name: &str) -> Option<(String, String)> {
    if script(name) != Script::Han || among(NO_NAMES, name) {
        return None;
    }
    let clusters: Vec<&str> = name.graphemes(true).collect();
    let two: String = clusters.iter().take(2).copied().collect();
    let one = *clusters.first()?;
    let surname = match clusters.len() {
        3..=4 if COMPOUND_SET.contains(two.as_str()) => 2,
        4 if among(DOUBLE, &two) => 2,
        2 | 3 if !COMPOUND_SET.contains(two.as_str()) && SINGLE.contains(one) => 1,
        _ => return None,
    };
    // 田中誠 is 田中 and 誠: a longer Japanese surname may begin with a Chinese one.
    let japanese = surname == 1 && (among(JAPANESE, &two) || among(JAPANESE, name));
    // 申請人 and 任何人 are 申請 and 任何 with 人, 管理員 is 管理 with 員.
    let role = clusters.len() == 3 && among(NO_NAMES, &two) && clusters[2].contains(['人', '員', '员', '者']);
    // 莉莉, 方方: a pet name.
    let doubled = clusters.iter().all(|cluster| *cluster == one);
    let (family, given) = (clusters[..surname].concat(), clusters[surname..].concat());
    if japanese || doubled || role || is_no_given_name(&given) { None } else { Some((family, given)) }
}

/// Two words: the family name is the first, unless one of them is no such part of a name.
pub(super) fn two_words(words: &[&str]) -> Option<(String, String)> {
    // Three words of an East Asian name are a nickname or a company more often than a name.
    let [family, given] = words else { return None };
    let turned = is_surname(given) && !is_surname(family);
    if turned || is_no_pair(family, given) {
        return None;
    }
    Some(((*family).to_owned(), (*given).to_owned()))
}

/// Whether two words are not the two parts of a name: one is a whole name, a title, a place or a trade.
pub(super) fn is_no_pair(family: &str, given: &str) -> bool {
    // "王小明 台北" and "台中 王小明": a whole name already.
    let whole = |word: &str| word.chars().count() > 2 && full_name(word).is_some();
    let title = is_honorific(family) || among(NO_NAMES, family) || among(PLACES, family) || is_trade(family);
    title || whole(family) || whole(given) || among(PLACES, given) || is_titled(given) || is_no_given_name(given)
}

/// 陳先生, 王小明老師, 陳董: what ends in a title. Titles of one character end given names too, so they need a surname alone.
fn is_titled(word: &str) -> bool {
    let long = |title: &&str| title.chars().count() > 1;
    HONORIFICS.split_ascii_whitespace().filter(long).any(|title| word.ends_with(title))
        || word.char_indices().nth(1).is_some_and(|(at, _)| is_surname(&word[..at]) && is_honorific(&word[at..]))
}

/// 先生, 老師, 님 and the like, alone.
pub(super) fn is_honorific(word: &str) -> bool {
    among(HONORIFICS, word)
}

fn is_surname(word: &str) -> bool {
    COMPOUND_SET.contains(word) || (word.chars().count() == 1 && SINGLE.contains(word))
}

fn is_no_given_name(word: &str) -> bool {
    is_honorific(word)
        || is_trade(word)
        || (script(word) == Script::Han && word.ends_with(|end| PLACE_ENDS.contains(end)))
}

fn is_trade(word: &str) -> bool {
    TRADES
        .split_ascii_whitespace()
        .any(|trade| word.ends_with(trade) || (trade.chars().count() > 2 && word.contains(trade)))
}
