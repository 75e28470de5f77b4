//! The pieces of a page: text that cannot become markup, and bars.

use std::fmt::Write;

/// Adds to a page.
pub(super) fn put(html: &mut String, text: impl std::fmt::Display) {
    write!(html, "{text}").expect("a text takes whatever is written");
}

/// Text as it may stand in a page, between tags and in an attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter if letter.is_control() && !matches!(letter, '\n' | '\t') => safe.push('\u{fffd}'),
            letter => safe.push(letter),
        }
    }
    safe
}

/// A stacked bar. What is there at all is wide enough to be seen.
pub(super) fn bar(html: &mut String, size: &str, height: u32, parts: &[(&str, &str, u64)]) {
    let all: u64 = parts.iter().map(|(.., count)| count).sum();
    let label: Vec<String> = parts.iter().map(|(_, text, count)| format!("{count} {text}")).collect();
    put(
        html,
        format_args!(
            "<svg {size} preserveAspectRatio=\"none\" role=\"img\" aria-label=\"{}\">",
            escaped(&label.join(", "))
        ),
    );
    put(html, format_args!("<rect class=\"none\" width=\"1000\" height=\"{height}\"/>"));
    let there = parts.iter().filter(|(.., count)| *count > 0).count() as u64;
    let (least, mut at) = (8, 0);
    for (class, text, count) in parts.iter().filter(|(.., count)| *count > 0) {
        let width = least + count.saturating_mul(1_000 - least * there) / all.max(1);
        put(
            html,
            format_args!(
                "<rect class=\"{class}\" x=\"{at}\" width=\"{width}\" height=\"{height}\"><title>{count} {}</title></rect>",
                escaped(text)
            ),
        );
        at += width;
    }
    put(html, "</svg>\n");
}

#[cfg(test)]
mod tests {
    use super::{bar, escaped};

    #[test]
    fn nothing_of_a_field_name_becomes_markup() {
        assert_eq!(escaped("<b a=\"1\" b='2'>&\u{7}"), "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;\u{fffd}");
    }

    #[test]
    fn a_bar_is_never_wider_than_its_picture_and_shows_the_smallest_part() {
        for counts in [[3_000_000, 1, 1, 1], [0, 0, 0, 0], [1, 0, 0, 0], [5, 5, 5, 5]] {
            let mut html = String::new();
            bar(&mut html, "", 10, &counts.map(|count| ("same", "x", count)));
            let widths: Vec<u64> = html
                .split("<rect class=\"same\"")
                .skip(1)
                .filter_map(|rect| rect.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
                .collect();
            assert_eq!(widths.len(), counts.iter().filter(|count| **count > 0).count(), "{html}");
            assert!(widths.iter().all(|width| *width >= 8) && widths.iter().sum::<u64>() <= 1_000, "{widths:?}");
        }
    }
}
