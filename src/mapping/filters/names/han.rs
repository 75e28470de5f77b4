//! Names in Chinese, Japanese and Korean writing.

use std::collections::HashSet;
use std::sync::LazyLock;

use unicode_segmentation::UnicodeSegmentation;

use super::words::{COMPOUND, DOUBLE, HONORIFICS, JAPANESE, NO_NAMES, PLACE_ENDS, SINGLE, TRADES, among};
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
    // 莉莉, 方方: a pet name.
    let doubled = clusters.iter().all(|cluster| *cluster == one);
    let (family, given) = (clusters[..surname].concat(), clusters[surname..].concat());
    if japanese || doubled || is_no_given_name(&given) { None } else { Some((family, given)) }
}

/// Two words: the family name is the first, unless one of them is no such part of a name.
pub(super) fn two_words(words: &[&str]) -> Option<(String, String)> {
    // Three words of an East Asian name are a nickname or a company more often than a name.
    let [family, given] = words else { return None };
    let title = words.iter().any(|word| is_honorific(word) || is_trade(word));
    // "王小明 台北": the first word is a whole name already.
    let whole = family.chars().count() > 2 && full_name(family).is_some();
    let turned = is_surname(given) && !is_surname(family);
    if title || whole || turned || is_no_given_name(given) {
        return None;
    }
    Some(((*family).to_owned(), (*given).to_owned()))
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
