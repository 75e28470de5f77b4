//! What is in a name without being seen, and what is seen without being a letter.

use super::super::text::squeezed;

/// A name as it is seen: nothing invisible, full-width letters and digits plain, white space single.
///
/// Signs that only steer how text runs, and blanks in the guise of letters, are gone. A joiner stays where it
/// shapes what is beside it: in pictures of several parts, and in the scripts that write with it.
pub(in crate::mapping) fn seen(name: &str) -> String {
    let mut kept = String::with_capacity(name.len());
    let mut rest = name.chars().peekable();
    while let Some(sign) = rest.next() {
        match sign {
            '\u{200C}' | '\u{200D}' => {
                let joined =
                    |side: Option<char>| side.is_some_and(|sign| is_picture(sign) || writes_with_joiners(sign));
                if joined(kept.chars().next_back()) && joined(rest.peek().copied()) {
                    kept.push(sign);
                }
            }
            // Control characters and blanks that are no white space to Unicode, but are to people.
            '\u{3164}' | '\u{115F}' | '\u{1160}' | '\u{FFA0}' | '\u{2800}' => kept.push(' '),
            _ if sign.is_control() => kept.push(' '),
            _ if is_invisible(sign) => {}
            _ => kept.push(narrow(sign)),
        }
    }
    squeezed(&kept)
}

/// A name without its pictures (emoji, hearts, stars): what is left is read as a name. A picture is no space: 小🌸明 is 小明.
pub(super) fn without_pictures(name: &str) -> String {
    if !name.contains(is_picture) {
        return name.to_owned();
    }
    squeezed(&name.chars().filter(|sign| !is_picture(*sign) && !is_joiner(*sign)).collect::<String>())
}

/// Signs that are not seen: zero-width, direction marks, variation selectors out of place, soft hyphens, tags.
pub(in crate::mapping) fn is_invisible(sign: char) -> bool {
    matches!(u32::from(sign),
        0xAD | 0x34F | 0x61C | 0x180E | 0x200B | 0x200E | 0x200F | 0x202A..=0x202E | 0x2060..=0x2069 | 0x206A..=0x206F
        | 0xFEFF | 0xFFF9..=0xFFFB)
}

fn is_joiner(sign: char) -> bool {
    matches!(sign, '\u{200C}' | '\u{200D}')
}

/// Emoji and other pictures, with what modifies them; never a letter.
pub(super) fn is_picture(sign: char) -> bool {
    let picture = matches!(u32::from(sign),
        0x20E3 | 0x2190..=0x24FF | 0x2580..=0x27BF | 0x2900..=0x297F | 0x2B00..=0x2BFF | 0x3030 | 0x303D | 0x3297
        | 0x3299 | 0xFE00..=0xFE0F | 0x1F000..=0x1FAFF | 0xE0020..=0xE007F);
    picture && !sign.is_alphanumeric()
}

/// Arabic, the scripts of India and their neighbours.
fn writes_with_joiners(sign: char) -> bool {
    matches!(u32::from(sign), 0x600..=0x8FF | 0x900..=0xDFF | 0x1000..=0x109F | 0x1780..=0x18AF | 0xFB50..=0xFDFF)
}

/// A full-width letter or digit as a plain one; they come from an input method, not from the person.
fn narrow(sign: char) -> char {
    match sign {
        '０'..='９' | 'Ａ'..='Ｚ' | 'ａ'..='ｚ' => char::from_u32(u32::from(sign) - 0xFEE0).unwrap_or(sign),
        _ => sign,
    }
}
