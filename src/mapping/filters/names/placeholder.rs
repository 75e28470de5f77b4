//! Names that are none: what a platform, a form or a person in a hurry writes where the name should be.

use super::clean::without_pictures;
use super::words::{HONORIFICS, among};

/// Words that stand for "somebody", in lower case; several words of one entry are joined by `_`.
const SOMEBODY: &str = "guest visitor user customer client contact member unknown anonymous anon somebody someone nobody unnamed noname no_name \
    none null nil undefined nan n/a n.a n.a. #n/a tbd test tests testing tester test_user test_name test_test demo example sample \
    default deleted deleted_user deleted_account asdf asdfg asdfgh qwer qwert qwerty abc abcd xyz name my_name your_name full_name \
    first_name last_name first_last first_name_last_name john_doe jane_doe new_user new_visitor new_customer new_contact new_guest \
    anonymous_visitor anonymous_user anonymous_guest unknown_user unknown_visitor unknown_customer unknown_contact unknown_caller \
    no_name_given not_provided not_available private_caller website_visitor web_visitor chat_user line_user facebook_user \
    instagram_user telegram_user whatsapp_user wechat_user \
    訪客 访客 匿名 匿名訪客 匿名访客 匿名用戶 匿名用户 匿名者 遊客 游客 客戶 客户 客人 顧客 顾客 用戶 用户 使用者 會員 会员 無名 无名 無名氏 无名氏 \
    路人 路人甲 未知 未知用戶 未知用户 未命名 未提供 未填 未填寫 不明 無 无 沒有 没有 測試 测试 測試用 測試帳號 测试账号 測試用戶 测试用户 新用戶 新用户 \
    新客戶 新客户 新訪客 新访客 微信用戶 微信用户 姓名 名字 暱稱 昵称 已刪除 先生/小姐 先生小姐 \
    ゲスト お客様 名無し 名無しさん 名無しさん@ 不明な連絡先 テスト 未設定 匿名希望 \
    손님 방문자 고객 익명 게스트 테스트 사용자 \
    khách khách_hàng khách_vãng_lai ẩn_danh không_tên người_dùng \
    invitado visitante cliente usuario anónimo anonimo desconocido convidado anônimo sem_nome sin_nombre \
    gast besucher kunde unbekannt visiteur invité utilisateur inconnu anonyme гость посетитель пользователь аноним";
/// Channels: beside a word for somebody they name nobody, in two words or as `LINE用戶`.
const CHANNELS: &str =
    "line facebook fb instagram ig telegram tg whatsapp wechat messenger web website app 網站 网站 線上 线上 微信";
/// How a form letter begins.
const DEAR: [&str; 6] = ["尊敬的", "親愛的", "亲爱的", "尊貴的", "尊贵的", "dear "];
/// Words that make a name none only with a number behind them.
const NUMBERED: &str = "id no kunde contact lead person caller livechat chat webuser";
/// The first words of the names that Chatwoot makes for visitors (its generator's list).
const ADJECTIVES: &str = "aged ancient autumn billowing bitter black blue bold broad broken calm cold cool crimson curly damp dark dawn delicate \
    divine dry empty falling fancy flat floral fragrant frosty gentle green hidden holy icy jolly late lingering little lively long \
    lucky misty morning muddy mute nameless noisy odd old orange patient plain polished proud purple quiet rapid raspy red restless \
    rough round royal shiny shrill shy silent small snowy soft solitary sparkling spring square steep still summer super sweet \
    throbbing tight tiny twilight wandering weathered white wild winter wispy withered yellow young";
/// Their second words.
const NOUNS: &str = "art band bar base bird block boat bonus bread breeze brook bush butterfly cake cell cherry cloud credit darkness dawn dew \
    disk dream dust feather field fire firefly flower fog forest frog frost glade glitter grass hall hat haze heart hill king lab \
    lake leaf limit math meadow mode moon morning mountain mouse mud night paper pine poetry pond queen rain recipe resonance rice \
    river salad scene sea shadow shape silence sky smoke snow snowflake sound star sun sunset surf term thunder tooth tree truth \
    union unit violet voice water waterfall wave wildflower wind wood";

/// Whether a name (as it is seen) names nobody.
pub(super) fn is_placeholder(name: &str) -> bool {
    let bare = without_pictures(name).to_lowercase();
    let bare = bare.trim_matches(|sign: char| !sign.is_alphanumeric() && !matches!(sign, '#' | '/' | '+' | '.'));
    let bare = bare.trim_start_matches('/').trim_end_matches('/').trim();
    if !bare.chars().any(char::is_alphabetic) {
        return true; // nothing, punctuation, pictures, or a number
    }
    is_somebody(bare) || is_generated(bare) || is_address(bare) || is_code(bare) || is_mashed(bare)
}

fn is_somebody(bare: &str) -> bool {
    let known = |text: &str| {
        let joined = text.split(' ').collect::<Vec<_>>().join("_");
        among(SOMEBODY, &joined) || among(HONORIFICS, &joined)
    };
    if known(bare) || known(bare.trim_end_matches('.')) {
        return true;
    }
    // "Guest User", "LINE 用戶", "LINE用戶", "尊敬的客戶".
    let one = |word: &str| among(SOMEBODY, word);
    let words = bare.split(' ').all(|word| one(word) || among(CHANNELS, word)) && bare.split(' ').any(one);
    let joined = CHANNELS.split_ascii_whitespace().chain(DEAR).filter_map(|start| bare.strip_prefix(start));
    if words || joined.map(str::trim).any(one) {
        return true;
    }
    // "Visitor 123", "訪客#12", "user_8f3a": the word, perhaps a separator, and a token with a digit in it.
    let Some(digit) = bare.find(|sign: char| sign.is_ascii_digit()) else { return false };
    let separator = |sign: char| sign.is_whitespace() || "#-_.:：(（№".contains(sign);
    let number = |text: &str| text.chars().all(|sign| sign.is_ascii_hexdigit() || "-)）號号".contains(sign));
    let word = |text: &str| {
        let text = text.trim_end_matches(separator);
        let text = [" no", " nr", " id"].iter().find_map(|end| text.strip_suffix(end)).unwrap_or(text);
        known(text) || among(NUMBERED, text)
    };
    let token = bare[..digit].char_indices().rfind(|(_, sign)| separator(*sign)).map(|(at, sign)| at + sign.len_utf8());
    [Some(digit), token].into_iter().flatten().any(|at| number(&bare[at..]) && word(&bare[..at]))
}

/// `summer-sun-123`, as Chatwoot calls visitors; some forks write it with spaces.
fn is_generated(bare: &str) -> bool {
    let mut parts = bare.split(['-', ' ', '_']);
    let (Some(first), Some(second), Some(number)) = (parts.next(), parts.next(), parts.next()) else { return false };
    let numbered = (1..=5).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit());
    parts.next().is_none() && numbered && among(ADJECTIVES, first) && among(NOUNS, second)
}

/// An e-mail address or a web address, and nothing beside it.
fn is_address(bare: &str) -> bool {
    if bare.contains(char::is_whitespace) {
        return false;
    }
    let email = bare.split_once('@').is_some_and(|(name, host)| !name.is_empty() && host.contains('.'));
    let web = ["http://", "https://", "www.", "line.me/", "t.me/", "wa.me/"];
    email || web.iter().any(|start| bare.starts_with(start)) || bare.contains("://")
}

/// Ids of machines: a UUID, a LINE user id, a long hexadecimal number, a number with the name of its channel.
fn is_code(bare: &str) -> bool {
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let groups: Vec<&str> = bare.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let uuid = lengths == [8, 4, 4, 4, 12] && groups.iter().all(|group| hex(group));
    let line = bare.len() == 33 && bare.starts_with(['u', 'c', 'r']) && bare.get(1..).is_some_and(hex);
    let long = bare.len() >= 16 && hex(bare) && bare.bytes().any(|byte| byte.is_ascii_digit());
    let channel = ["whatsapp:", "tel:", "tel.", "phone:", "sms:", "mobile:", "電話", "手機", "手机", "电话"];
    let number = channel
        .iter()
        .filter_map(|start| bare.strip_prefix(start))
        .any(|rest| rest.contains(|sign: char| sign.is_ascii_digit()) && !rest.contains(char::is_alphabetic));
    uuid || line || long || number
}

/// One letter over and over: `aaa`, `xxxx`.
fn is_mashed(bare: &str) -> bool {
    let first = bare.chars().next();
    bare.len() >= 3 && bare.is_ascii() && bare.chars().all(|sign| Some(sign) == first)
}
