//! The 40 edge cases of the LiveDesk notes (section 11), in their order, as the first rows of the account.
//!
//! A shape names only the fields that matter; the rest is filled in by `People`. `"hidden": true` keeps a contact out
//! of the list by leaving it without e-mail, phone and identifier. Cases that are about the answer and not about a
//! contact say which switch shows them.

use serde_json::{Value, json};

use super::id_of;

/// One row of the notes' table: the contacts that show it, and the switch where a contact alone cannot.
#[derive(Clone, Debug)]
pub struct EdgeCase {
    /// Its number in the notes.
    pub number: u8,
    /// Ids of the contacts that show it, in an account of at least 2,000.
    pub ids: Vec<u64>,
    /// The switch that shows (more of) it; empty when the contacts are enough.
    pub shown_by: &'static str,
}

/// The table of all 40.
pub fn edge_cases() -> Vec<EdgeCase> {
    let shapes = shapes();
    (1..=40)
        .map(|number| {
            let rows = (0u32..).zip(&shapes).filter(|(_, (of, _))| *of == number).map(|(row, _)| row);
            let mut ids: Vec<u64> = rows.map(id_of).collect();
            let shown_by = match number {
                15 => {
                    ids.extend((1_000..2_000).map(id_of));
                    ""
                }
                17 => {
                    ids.extend([id_of(1_000)]);
                    "livedesk.ids"
                }
                18 => "livedesk.current_page, livedesk.count_offset",
                19 => "livedesk.blocked_as_text",
                36 => "livedesk.presence_flips",
                37 => "livedesk.drift",
                _ => "",
            };
            EdgeCase { number, ids, shown_by }
        })
        .collect()
}

/// Number of the case and what is special about the contact.
pub(super) fn shapes() -> Vec<(u8, Value)> {
    [names_and_keys(), times_and_attributes(), channels_and_text()].concat()
}

fn names_and_keys() -> Vec<(u8, Value)> {
    vec![
        (1, json!({ "name": "T 🏠 🔥 Test", "phone_number": "+123456" })),
        (2, json!({ "name": "Jhn De", "email": "jhn.de@example.com" })),
        (3, json!({ "name": "" })),
        (3, json!({ "name": null })),
        (3, json!({ "name": "   " })),
        (3, json!({ "name": "Sojan " })),
        (4, json!({ "name": "長".repeat(255) })),
        (4, json!({ "name": "𠮷".repeat(255) })),
        (5, json!({ "name": "Tina O'Lunney", "email": "tina@example.org" })),
        (5, json!({ "name": "歐陽小明" })),
        (5, json!({ "name": "+886912000111", "phone_number": "+886912000111" })),
        (5, json!({ "name": "support", "first_name": "support", "last_name": "" })),
        (6, json!({ "name": "Identifier Only", "identifier": "only-identifier" })),
        (7, json!({ "name": "Mail Only", "email": "mail.only@example.com" })),
        (7, json!({ "name": "Phone Only", "phone_number": "+886912000112" })),
        (
            7,
            json!({ "name": "All Three", "email": "all.three@example.com", "phone_number": "+886912000113",
            "identifier": "all-three" }),
        ),
        (8, json!({ "name": "Anonymous Visitor", "hidden": true })),
        (9, json!({ "name": "Empty Phone", "email": "empty.phone@example.com", "phone_number": "" })),
        (9, json!({ "name": "Gained A Phone", "email": "gained@example.com", "phone_number": "+886912000114" })),
        (10, json!({ "phone_number": "+918080808080" })),
        (10, json!({ "phone_number": "+886912345678" })),
        (10, json!({ "phone_number": "+123456789" })),
        (10, json!({ "phone_number": "+123456789012345" })),
        (10, json!({ "phone_number": "+12" })),
        (10, json!({ "phone_number": "ext 5 +886912000115" })),
        (11, json!({ "name": "João Exemplo", "phone_number": "+5511912345678" })),
        (11, json!({ "name": "João Exemplo", "phone_number": "+551112345678" })),
        (12, json!({ "email": "mixed.case@example.com" })),
        (12, json!({ "email": "Mixed.Case@example.com" })),
        (12, json!({ "email": "tagged+news@example.com" })),
        (12, json!({ "email": "under_score@example.com" })),
        (13, json!({ "identifier": "TestIdentifier" })),
        (13, json!({ "identifier": "testidentifier" })),
        (14, json!({ "identifier": "000123" })),
        (14, json!({ "identifier": "3f2b8c1e-7d54-4a6b-9c0d-1e2f3a4b5c6d" })),
        (14, json!({ "identifier": "1234567890" })),
    ]
}

fn times_and_attributes() -> Vec<(u8, Value)> {
    let keys: serde_json::Map<String, Value> = (0..200).map(|n| (format!("key_{n:03}"), json!(n))).collect();
    let at = 1_640_000_000;
    vec![
        (15, json!({ "name": "Never Active" })),
        (16, json!({ "last_activity_at": at - 86_400 })),
        (16, json!({ "created_at": at, "last_activity_at": at })),
        (16, json!({ "last_activity_at": 0 })),
        (16, json!({ "last_activity_at": 32_503_680_000_i64 })),
        (16, json!({ "last_activity_at": null })),
        (16, json!({ "last_activity_at": "1700000000" })),
        (17, json!({ "name": "Narrow Id" })),
        (18, json!({ "name": "Counted" })),
        (19, json!({ "blocked": true })),
        (19, json!({ "blocked": "false" })),
        (20, json!({ "custom_attributes": {} })),
        (20, json!({ "custom_attributes": null })),
        (20, json!({ "custom_attributes": "" })),
        (20, json!({ "custom_attributes": "{\"vip_level\":\"gold\"}" })),
        (
            21,
            json!({ "custom_attributes": { "Endereço de casa": "Rua Exemplo 1", "CPF": "000.000.000-00", "Cpf": "111",
            "id": "77", "gender": "female" } }),
        ),
        (22, json!({ "custom_attributes": { "vip_level": "", "points": "12" } })),
        (22, json!({ "custom_attributes": { "points": 12, "birthday": "2022-01-19" } })),
        (22, json!({ "custom_attributes": { "points": 3.0, "newsletter": true, "birthday": null } })),
        (
            22,
            json!({ "custom_attributes": { "birthday": "2024-02-01T00:00:00.000Z", "website": "https://example.com/a?b=c" } }),
        ),
        (22, json!({ "custom_attributes": { "vip_level": "platinum", "birthday": "19/01/2022" } })),
        (23, json!({ "custom_attributes": { "note": "長文".repeat(10_001) } })),
        (23, json!({ "custom_attributes": keys })),
        (
            23,
            json!({ "custom_attributes": { "nested": { "deep": { "list": [1, [2, { "three": 3 }]] } },
            "points": 9_007_199_254_740_993_u64 } }),
        ),
        (24, json!({ "additional_attributes": {} })),
        (24, json!({ "additional_attributes": { "source_id": "email:CAF0001@mail.example.com" } })),
        (
            24,
            json!({ "additional_attributes": { "city": "", "country": "", "country_code": "", "company_name": "",
            "description": "", "telegram": "", "social_profiles": { "facebook": "", "github": "", "instagram": "",
            "linkedin": "", "twitter": "" } } }),
        ),
        (24, json!({ "additional_attributes": { "company_name": null, "country_code": null } })),
        (
            25,
            json!({ "additional_attributes": { "company": "Import Ltd", "company_name": "Form Ltd", "country": "India",
            "country_code": "" } }),
        ),
        (26, json!({ "additional_attributes": { "description": "Loves 🍜 and it’s @handle\nsecond line" } })),
        (
            27,
            json!({ "additional_attributes": { "social_profiles": { "facebook": "someone", "tiktok": "@someone",
            "telegram": "someone", "social_profiles": { "twitter": "nested" } } } }),
        ),
    ]
}

fn channels_and_text() -> Vec<(u8, Value)> {
    let inbox = |source: &str, name: Value, channel: &str, provider: Value| {
        json!({ "source_id": source,
            "inbox": { "id": 21, "channel_id": 9, "name": name, "channel_type": channel, "provider": provider } })
    };
    vec![
        (
            28,
            json!({ "name": "小花🌸", "hidden": true, "thumbnail": "https://example.com/avatar.png",
            "additional_attributes": { "social_line_user_id": "U4af4980629" },
            "contact_inboxes": [inbox("U4af4980629", json!("LINE"), "Channel::Line", Value::Null)] }),
        ),
        (
            29,
            json!({ "name": "Telegram ", "hidden": true, "additional_attributes": { "username": "someone",
            "language_code": "en", "social_telegram_user_id": 23_423_423 } }),
        ),
        (
            29,
            json!({ "name": "Telegram Group", "hidden": true, "additional_attributes": { "username": "group",
            "social_telegram_user_id": -1_001_234_567_890_i64 },
            "contact_inboxes": [inbox("-1001234567890", json!("TG"), "Channel::Telegram", Value::Null)] }),
        ),
        (
            30,
            json!({ "phone_number": "+886912000130",
            "contact_inboxes": [inbox("886912000130", json!("WA"), "Channel::Whatsapp", json!("whatsapp_cloud"))] }),
        ),
        (
            30,
            json!({ "phone_number": "+886912000131",
            "contact_inboxes": [inbox("886912000131", json!("WA"), "Channel::Whatsapp", json!("engagelab_whatsapp"))] }),
        ),
        (
            30,
            json!({ "phone_number": "+886912000132",
            "contact_inboxes": [inbox("whatsapp:+886912000132", json!("WA"), "Channel::TwilioSms", json!("twilio"))] }),
        ),
        (
            30,
            json!({ "name": "User Id Only", "hidden": true,
            "contact_inboxes": [inbox("wa-user-1", json!("WA"), "Channel::Whatsapp", json!("whatsapp_cloud"))] }),
        ),
        (
            31,
            json!({ "name": "John Doe",
            "contact_inboxes": [inbox("24601000000001", json!("FB"), "Channel::FacebookPage", Value::Null)] }),
        ),
        (
            31,
            json!({ "name": "insta.person", "additional_attributes": { "social_instagram_follower_count": 3369,
            "social_instagram_is_user_follow_business": true, "social_instagram_user_name": "insta.person" } }),
        ),
        (
            32,
            json!({ "email": "mailbox.born@example.com",
            "contact_inboxes": [inbox("mailbox.born@example.com", json!("邮箱"), "Channel::Email", Value::Null)] }),
        ),
        (
            33,
            json!({ "name": "Two Uuids", "contact_inboxes": [
            inbox("0b6f5a9c-0000-4000-8000-000000000001", json!("API"), "Channel::Api", Value::Null),
            inbox("0b6f5a9c-0000-4000-8000-000000000002", json!("API"), "Channel::Api", Value::Null)] }),
        ),
        (33, json!({ "name": "No Inbox", "contact_inboxes": [] })),
        (
            34,
            json!({ "name": "Odd Inbox", "contact_inboxes": [
            inbox("odd", Value::Null, "Channel::Unheard", Value::Null)] }),
        ),
        (
            35,
            json!({ "name": "+1 415 555 0100", "phone_number": "+14155550100",
            "additional_attributes": { "from_state": null, "from_zip_code": null } }),
        ),
        (36, json!({ "name": "Online Now", "availability_status": "online" })),
        (37, json!({ "name": "Merged Later", "email": "merged.later@example.com" })),
        (37, json!({ "name": "Merged Later", "phone_number": "+886912000137" })),
        (38, json!({ "additional_attributes": { "created_at_ip": "192.0.2.17", "updated_at_ip": "2001:db8::17" } })),
        (39, json!({ "first_name": "Extra", "last_name": "Fields", "group_type": "private_chat" })),
        (40, json!({ "name": "<script>alert(1)</script>" })),
        (40, json!({ "name": "Bell\u{7}Tab\tEsc\u{1b}[31m" })),
        (40, json!({ "name": "\u{202e}שלום עולם" })),
        (40, json!({ "name": "Fam👨\u{200d}👩\u{200d}👧ily\u{200b}" })),
    ]
}
