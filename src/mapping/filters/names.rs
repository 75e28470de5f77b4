//! The filters `family_name` and `given_name`: one rule that splits a name, or leaves it whole.
//!
//! FIRST LINE's `first_name` is the family name and is required; LiveDesk has one name. A wrong split is worse
//! than none, so a name is split only where the rule is sure: what is not split is all family name. The whole
//! rule is in `docs/mapping.md`.

use std::collections::HashSet;
use std::sync::LazyLock;

use minijinja::value::Value;
use unicode_segmentation::UnicodeSegmentation;

use super::text::squeezed;
use super::{FilterError, FilterResult, Settings, arguments, scalar_text, word};

/// Surnames of two characters, traditional and simplified.
const COMPOUND: &str = "歐陽 欧阳 司馬 司马 上官 諸葛 诸葛 司徒 東方 东方 獨孤 独孤 南宮 南宫 夏侯 皇甫 尉遲 尉迟 公孫 公孙 \
    軒轅 轩辕 令狐 鍾離 钟离 宇文 長孫 长孙 慕容 鮮于 鲜于 閭丘 闾丘 司空 亓官 司寇 仉督 子車 子车 顓孫 颛孙 端木 巫馬 巫马 公西 \
    漆雕 樂正 乐正 壤駟 壤驷 公良 拓跋 夾谷 夹谷 宰父 穀梁 谷梁 晉楚 百里 呼延 東郭 东郭 南門 南门 羊舌 微生 公戶 公户 公玉 公儀 公仪 \
    公仲 公上 公門 公门 公山 公堅 公坚 公伯 西門 西门 公祖 第五 公乘 貫丘 贯丘 公皙 南榮 南荣 東里 东里 東宮 东宫 仲長 仲长 \
    子書 子书 子桑 即墨 達奚 达奚 褚師 褚师 万俟 萬俟 聞人 闻人 赫連 赫连 澹臺 澹台 公冶 濮陽 濮阳 淳于 單于 单于 太叔 申屠 \
    仲孫 仲孙 闕門 叔孫 叔孙 賀蘭 贺兰 完顏 完颜 納蘭 纳兰 哥舒";
static COMPOUND_SET: LazyLock<HashSet<&str>> = LazyLock::new(|| COMPOUND.split_ascii_whitespace().collect());
/// Double surnames of Taiwan. Each is also a single surname and a beginning of a given name, so they count
/// only in a name of four characters.
const DOUBLE: &str = "張簡 张简 范姜 張廖 张廖 張李 张李 陳李 江謝 徐辜 葉劉 叶刘 姜林 張許";
/// Surnames of one character in common use, traditional and simplified.
const SINGLE: &str = "陳林黃張李王吳劉蔡楊許鄭謝郭洪曾邱廖賴周徐蘇葉莊呂江何蕭羅高潘簡朱鍾彭游詹胡施沈余趙盧梁顏柯翁魏孫戴范方宋\
    鄧杜傅侯曹薛丁卓馬阮董唐溫藍石蔣田歐康鄒尤古姚程汪白馮連姜涂湯俞童韓袁夏邵凌關尹倪龔嚴鐘柳韋紀金湛萬向甘池武章伍甄錢段史\
    賀任陸陶龍孔毛崔魯常賈申賓閻譚梅駱葛管熊秦霍尚岳費利商歸祝辛祁喬凃巫粘辜官邢樊裘霞饒房塗褚花佘阎于於包左齊盛冉易鄔宗闕屈應\
    柴耿\
    陈黄张吴刘杨许郑谢赖苏叶庄吕萧罗简钟卢颜赵孙邓马温蓝蒋欧邹冯连汤韩关龚严韦纪万钱贺陆龙鲁贾宾阎谭骆费归乔饶邬阙应齐闫";
/// What follows a surname without being a given name.
const HONORIFICS: [&str; 12] =
    ["先生", "小姐", "女士", "太太", "老師", "老师", "經理", "经理", "醫師", "医师", "董事", "阿姨"];
/// Small words that belong to the family name after them.
const PARTICLES: [&str; 26] = [
    "van", "von", "der", "den", "de", "del", "della", "di", "da", "das", "do", "dos", "du", "la", "le", "el", "al",
    "bin", "binti", "ibn", "ben", "ter", "ten", "zu", "af", "y",
];
/// Words after the family name (or after a comma) that are no name.
const SUFFIXES: [&str; 14] =
    ["jr", "sr", "ii", "iii", "iv", "phd", "md", "esq", "inc", "ltd", "llc", "co", "corp", "gmbh"];

/// A name in its two parts; `given` is empty when it is not split.
#[derive(Debug, PartialEq)]
struct Split {
    family: String,
    given: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Script {
    Han,
    Kana,
    Hangul,
    Other,
}

/// `family_name(order='auto' | 'western' | 'family_first')`.
pub(super) fn family_name(_: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    part(value, given, |split| split.family)
}

/// `given_name(order=...)`; missing when the name is not split.
pub(super) fn given_name(_: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    part(value, given, |split| split.given)
}

fn part(value: &Value, given: &[Value], pick: fn(Split) -> String) -> FilterResult {
    let [order] = arguments(given, ["order"])?;
    let order = word(order.as_ref(), "order", ["auto", "western", "family_first"])?;
    let name = scalar_text(value).map_err(|_| FilterError::Value(String::from("is not a text")))?;
    let Some(name) = name else { return Ok(Value::UNDEFINED) };
    let part = pick(split(&squeezed(&name), order));
    Ok(if part.is_empty() { Value::UNDEFINED } else { Value::from(part) })
}

fn split(name: &str, order: &str) -> Split {
    let parts = if name.contains('@') || !name.chars().any(char::is_alphabetic) {
        None
    } else if name.contains([',', '，']) {
        at_comma(name)
    } else if name.contains(' ') {
        at_space(name, order)
    } else {
        han_full_name(name)
    };
    let (family, given) = parts.unwrap_or((name.to_owned(), String::new()));
    Split { family, given }
}

/// `Family, Given`: one comma, and no company or title after it.
fn at_comma(name: &str) -> Option<(String, String)> {
    let (family, given) = name.split_once([',', '，'])?;
    let (family, given) = (family.trim(), given.trim());
    let more = given.contains([',', '，']);
    let title = is_suffix(given) || given.split(' ').next_back().is_some_and(is_suffix);
    if more || title || !has_letter(family) || !has_letter(given) { None } else { Some((family.into(), given.into())) }
}

/// Words with spaces: East Asian names begin with the family, the others end with it.
fn at_space(name: &str, order: &str) -> Option<(String, String)> {
    let words: Vec<&str> = name.split(' ').collect();
    let scripts: Vec<Script> = words.iter().map(|word| script(word)).collect();
    let western = scripts.iter().all(|script| *script == Script::Other);
    let eastern = scripts.iter().all(|script| *script != Script::Other);
    if order == "family_first" || (order == "auto" && eastern) {
        // Three words of an East Asian name are a nickname or a company more often than a name.
        let sure = order == "family_first" || words.len() == 2;
        let (family, given) = words.split_first()?;
        return if sure && given.iter().all(|word| has_letter(word)) && has_letter(family) {
            Some(((*family).into(), given.join(" ")))
        } else {
            None
        };
    }
    if order == "auto" && !western {
        return None; // "Amy 王", "王小明 Amy": two names, or one and a note
    }
    let mut end = words.len();
    while end > 1 && is_suffix(words[end - 1]) {
        end -= 1;
    }
    let mut start = end - 1;
    while start > 1 && PARTICLES.contains(&words[start - 1]) {
        start -= 1;
    }
    if start == 0 || !has_letter(words[end - 1]) || !words[..start].iter().any(|word| has_letter(word)) {
        return None;
    }
    Some((words[start..].join(" "), words[..start].join(" ")))
}

/// A Chinese name without a space, when its surname is a known one.
fn han_full_name(name: &str) -> Option<(String, String)> {
    if script(name) != Script::Han {
        return None;
    }
    let clusters: Vec<&str> = name.graphemes(true).collect();
    let two: String = clusters.iter().take(2).copied().collect();
    let one = *clusters.first()?;
    let surname = match clusters.len() {
        3..=4 if COMPOUND_SET.contains(two.as_str()) => 2,
        4 if DOUBLE.split_ascii_whitespace().any(|surname| surname == two) => 2,
        2 | 3 if !COMPOUND_SET.contains(two.as_str()) && SINGLE.contains(one) => 1,
        _ => return None,
    };
    let (family, given) = (clusters[..surname].concat(), clusters[surname..].concat());
    if HONORIFICS.contains(&given.as_str()) { None } else { Some((family, given)) }
}

fn script(word: &str) -> Script {
    let of = |sign: char| match u32::from(sign) {
        0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF | 0x2_0000..=0x3_FFFF | 0x3005 => Script::Han,
        0x3040..=0x30FF | 0x31F0..=0x31FF => Script::Kana,
        0x1100..=0x11FF | 0xAC00..=0xD7AF => Script::Hangul,
        _ => Script::Other,
    };
    let mut signs = word.chars().map(of);
    let Some(first) = signs.next() else { return Script::Other };
    signs.fold(first, |seen, next| match (seen, next) {
        _ if seen == next => seen,
        (Script::Han, Script::Kana) | (Script::Kana, Script::Han) => Script::Kana,
        _ => Script::Other,
    })
}

fn has_letter(word: &str) -> bool {
    word.chars().any(char::is_alphabetic)
}

fn is_suffix(word: &str) -> bool {
    let bare: String = word.chars().filter(|sign| *sign != '.').collect();
    SUFFIXES.contains(&bare.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::testing::{check, run};
    use super::{COMPOUND, split};

    fn parts(name: &str, order: &str) -> (String, String) {
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
            ("T 🏠 🔥 Test", "Test", "T 🏠 🔥"),
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
            let name = super::squeezed(&name);
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
}
