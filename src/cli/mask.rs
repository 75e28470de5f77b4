//! Masking: enough of a person's value to tell two apart and to see what kind it is, too little to know it.

/// Lengths up to which a value is told exactly; longer ones are told by the step below.
const SHORT: usize = 8;
/// Steps in which longer lengths are told.
const STEP: usize = 4;

/// The first letter and about how long it is: `A…(12)`. Of an e-mail the top-level domain stays: `a…@….com`.
pub fn mask(value: &str) -> String {
    let value = value.trim();
    let Some(first) = value.chars().next() else { return String::new() };
    if let Some((_, domain)) = value.rsplit_once('@')
        && !value.contains(char::is_whitespace)
    {
        let top = domain.rsplit_once('.').map_or("", |(_, top)| top);
        return format!("{first}…@….{top}");
    }
    match value.chars().count() {
        // The first letter would be all of it.
        1 => String::from("…(1)"),
        characters => format!("{first}…({})", length(characters)),
    }
}

/// A class of lengths, by its upper end.
fn length(characters: usize) -> usize {
    if characters <= SHORT { characters } else { characters.div_ceil(STEP) * STEP }
}

#[cfg(test)]
mod tests {
    use super::mask;

    #[test]
    fn a_masked_value_keeps_its_first_letter_and_a_class_of_lengths() {
        assert_eq!(mask("Alice Example"), "A…(16)");
        assert_eq!(mask("王小明"), "王…(3)");
        assert_eq!(mask("2001-02-03"), "2…(12)");
        assert_eq!((mask(" "), mask("A")), (String::new(), String::from("…(1)")));
    }

    #[test]
    fn a_masked_email_keeps_its_top_level_domain_only() {
        assert_eq!(mask("alice@mail.example.com"), "a…@….com");
        assert_eq!(mask("alice@localhost"), "a…@….");
    }

    #[test]
    fn a_phone_number_shows_nothing_but_its_plus() {
        assert_eq!(mask("+886912345678"), "+…(16)");
    }
}
