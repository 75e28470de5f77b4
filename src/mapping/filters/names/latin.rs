//! Names whose words stand apart: Latin writing above all, and every other one that is not East Asian.

use super::words::{
    AND, COMPANY, COMPANY_ENDS, PARTICLES, ROMANISED, SMALL_PARTICLES, SUFFIXES, TITLES, VIETNAMESE, VIETNAMESE_BARE,
    VIETNAMESE_MIDDLE, VIETNAMESE_NEVER_GIVEN, VIETNAMESE_OR_GIVEN, VIETNAMESE_PLAIN, among, folded,
};

type Parts = Option<(String, String)>;

/// Words of a name; more of them are a sentence.
const MOST_WORDS: usize = 6;

/// Splits where the words tell the order: Vietnamese begins with the family, the others end with it.
pub(super) fn by_itself(words: &[&str]) -> Parts {
    match vietnamese(words) {
        Order::FamilyFirst => return family_first(words),
        Order::Doubtful => return None,
        Order::GivenFirst => {}
    }
    if is_in_doubt(&words[titles(words)..]) { None } else { western(words) }
}

/// The first word (after a title) is the family name.
pub(super) fn family_first(words: &[&str]) -> Parts {
    let (titles, body) = words.split_at(titles(words));
    let (family, given) = body.split_first()?;
    if given.is_empty() || is_no_person(body) {
        return None;
    }
    Some(((*family).to_owned(), [titles, given].concat().join(" ")))
}

/// The last word is the family name, with small words before it and titles after it.
pub(super) fn western(words: &[&str]) -> Parts {
    let titles = titles(words);
    let body = &words[titles..];
    let first = *body.first()?;
    if is_no_person(body) || (is_particle(first) && first.chars().all(char::is_lowercase)) {
        return None;
    }
    let mut end = body.len();
    while end > 1 && among(SUFFIXES, &folded(body[end - 1])) {
        end -= 1;
    }
    let mut start = end - 1;
    while start > 1 && is_particle(body[start - 1]) {
        start -= 1;
    }
    // "Ortega y Gasset" is one family name of two.
    if start > 0 && body[start] == "y" {
        start -= 1;
    }
    if start == 0 || (start == 1 && body[1] == "y") || is_initial(body[end - 1]) {
        return None;
    }
    Some((body[start..].join(" "), words[..titles + start].join(" ")))
}

/// How many of the first words are titles.
fn titles(words: &[&str]) -> usize {
    words.iter().take_while(|word| among(TITLES, &folded(word))).count()
}

/// A company, two people, or a sentence.
fn is_no_person(words: &[&str]) -> bool {
    let listed = |list, word: &&str| among(list, &folded(word));
    let inner = words.get(1..words.len().saturating_sub(1)).unwrap_or_default();
    words.len() > MOST_WORDS
        || words.iter().any(|word| listed(COMPANY, word))
        || words[1..].last().is_some_and(|word| listed(COMPANY_ENDS, word))
        || inner.iter().any(|word| listed(AND, word))
}

fn is_particle(word: &str) -> bool {
    among(PARTICLES, &folded(word)) || among(SMALL_PARTICLES, word)
}

fn is_initial(word: &str) -> bool {
    word.chars().filter(|sign| sign.is_alphabetic()).count() == 1
}

/// What the words say about their order.
#[derive(PartialEq)]
enum Order {
    FamilyFirst,
    GivenFirst,
    Doubtful,
}

/// Whether the name is a Vietnamese one, which begins with the family name.
fn vietnamese(words: &[&str]) -> Order {
    let body: Vec<String> = words[titles(words)..].iter().map(|word| folded(word)).collect();
    let ([first, .., last], 2..=5) = (body.as_slice(), body.len()) else { return Order::GivenFirst };
    let own_spelling = |word: &str| among(VIETNAMESE, word);
    let signed = || body[1..].iter().any(|word| own_spelling(word) || word.contains(is_vietnamese));
    let surname = own_spelling(first) || (among(VIETNAMESE_PLAIN, first) && signed());
    let never_given = |word: &str| among(VIETNAMESE_NEVER_GIVEN, word);
    let both = own_spelling(last) && body.len() == 2;
    if (surname && both) || (surname && never_given(last) && !never_given(first)) || (first == "mai" && signed()) {
        return Order::Doubtful; // "Hoàng Nguyễn", "Mai Anh Trần": the first may be the given name
    }
    // "Mai Van Hoa" is no Dutch "Mai van Hoa".
    let middle = among(VIETNAMESE_OR_GIVEN, first) && body.len() > 2 && among(VIETNAMESE_MIDDLE, &body[1]);
    if surname {
        Order::FamilyFirst
    } else if middle || among(VIETNAMESE_BARE, first) {
        Order::Doubtful // "Nguyen Van An" and "Tran Smith" look alike without the signs
    } else {
        Order::GivenFirst
    }
}

/// Letters that only Vietnamese has.
fn is_vietnamese(sign: char) -> bool {
    matches!(u32::from(sign), 0x1EA0..=0x1EF9) || matches!(sign, 'ơ' | 'ư')
}

/// Whether the order of the words can not be told.
fn is_in_doubt(body: &[&str]) -> bool {
    let (Some(first), Some(last)) = (body.first(), body.last()) else { return true };
    let (head, tail) = (folded(first), folded(last));
    // "Lin Yu-Chen", "Wang Xiaoming", "Tan Wei Ming", "Kim Minsu": such names keep their own order or turn it.
    let romanised = among(ROMANISED, &head);
    // "DUPONT Jean" has its family name in capitals; "VIP Amy" has none.
    let capitals =
        |word: &str| word.chars().filter(|sign| sign.is_alphabetic()).count() > 2 && !word.contains(char::is_lowercase);
    let cased = |word: &str| word.contains(char::is_lowercase);
    let shouted = capitals(first) && first.contains(char::is_uppercase) && body[1..].iter().any(|word| cased(word));
    // "Иванов Иван Иванович" ends with the father's name, "Дмитрий Шостакович" with the family's.
    let patronymic = ["ович", "евич", "овна", "евна", "ична"].iter().any(|end| tail.ends_with(end));
    romanised || shouted || patronymic
}
