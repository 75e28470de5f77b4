//! The rule for names, in small; the long table is `tests/data/names.csv`.

use proptest::prelude::*;
use serde_json::json;

use super::super::testing::{check, run};
use super::words::COMPOUND;
use super::{Order, seen, split};

fn parts(name: &str, order: &str) -> (String, String) {
    let order = match order {
        "western" => Order::Western,
        "family_first" => Order::FamilyFirst,
        _ => Order::Auto,
    };
    let split = split(name, order);
    (split.family, split.given)
}

#[test]
fn a_name_is_split_where_the_rule_is_sure() {
    let rows = [
        ("王小明", "王", "小明"),
        ("王明", "王", "明"),
        ("歐陽小明", "歐陽", "小明"),
        ("欧阳明", "欧阳", "明"),
        ("張簡小明", "張簡", "小明"),
        ("張簡明", "張", "簡明"),
        ("王 小明", "王", "小明"),
        ("김 철수", "김", "철수"),
        ("山田 太郎", "山田", "太郎"),
        ("Amy Lin", "Lin", "Amy"),
        ("Tina O'Lunney", "O'Lunney", "Tina"),
        ("Anna Maria van der Berg", "van der Berg", "Anna Maria"),
        ("Martin King Jr.", "King Jr.", "Martin"),
        ("Lin, Amy", "Lin", "Amy"),
        ("王，小明", "王", "小明"),
        ("T 🏠 🔥 Test", "Test", "T"),
    ];
    for (name, family, given) in rows {
        assert_eq!(parts(name, "auto"), (family.to_owned(), given.to_owned()), "{name}");
    }
}

#[test]
fn a_name_is_left_whole_where_the_rule_is_not_sure() {
    for name in [
        "山田太郎",
        "김철수",
        "さくら",
        "小明",
        "歐陽",
        "王",
        "王先生",
        "陳小姐",
        "王陳美麗",
        "約翰·史密斯",
        "客服中心",
        "Amy",
        "Amy 王",
        "王小明 Amy",
        "+886912345678",
        "+1 415 555 2671",
        "amy.lin@example.com",
        "Acme Trading, Inc.",
        "patient snow 55",
        "Tina 🔥",
        "🔥",
        "quiet-river-123",
        "a, b, c",
        ", b",
    ] {
        assert_eq!(parts(name, "auto"), (name.to_owned(), String::new()), "{name}");
    }
}

#[test]
fn the_order_can_be_said() {
    assert_eq!(parts("Lin Amy", "family_first"), ("Lin".into(), "Amy".into()));
    assert_eq!(parts("太郎 山田", "western"), ("山田".into(), "太郎".into()));
    assert_eq!(parts("Nguyen Van Anh", "family_first"), ("Nguyen".into(), "Van Anh".into()));
}

#[test]
fn the_filters_give_the_parts() {
    check([
        ("name | family_name", json!("歐陽小明"), json!("歐陽")),
        ("name | given_name", json!("歐陽小明"), json!("小明")),
        ("name | given_name", json!("Amy"), json!(null)),
        ("name | family_name('family_first')", json!(" Lin  Amy "), json!("Lin")),
        ("name | family_name", json!("  "), json!(null)),
    ]);
    assert!(run("name | family_name", &json!(["x"])).is_err());
}

#[test]
fn every_compound_surname_has_two_characters() {
    assert!(COMPOUND.split_ascii_whitespace().all(|surname| surname.chars().count() == 2));
    assert!(COMPOUND.split_ascii_whitespace().count() > 80);
}

proptest! {
    #[test]
    fn no_letter_of_a_name_is_lost(name in "\\PC{0,20}") {
        let name = seen(&name);
        for order in ["auto", "western", "family_first"] {
            let (family, given) = parts(&name, order);
            let letters = |text: &str| {
                let mut letters: Vec<char> = text.chars().filter(|sign| sign.is_alphabetic()).collect();
                letters.sort_unstable();
                letters
            };
            prop_assert_eq!(letters(&name), letters(&format!("{family}{given}")));
            prop_assert!(!family.is_empty() || name.is_empty());
        }
    }
}
