//! Word lists for invented people. No list holds a real person's full name on purpose; combinations are by hash.

/// Chinese family names of one character.
pub(super) const SURNAMES: &[&str] = &[
    "陳", "林", "黃", "張", "李", "王", "吳", "劉", "蔡", "楊", "許", "鄭", "謝", "洪", "郭", "邱", "曾", "廖", "賴",
    "徐", "周", "葉", "蘇", "莊", "呂", "江", "何", "蕭", "羅", "高", "潘", "簡", "朱", "鍾", "游", "彭", "詹", "胡",
    "施", "沈",
];
/// Chinese family names of two characters.
pub(super) const COMPOUND_SURNAMES: &[&str] =
    &["歐陽", "司馬", "諸葛", "上官", "司徒", "東方", "夏侯", "皇甫", "尉遲", "公孫", "慕容", "令狐", "張簡", "范姜"];
/// Chinese given names.
pub(super) const GIVEN: &[&str] = &[
    "怡君", "志明", "淑芬", "家豪", "雅婷", "俊傑", "美玲", "建宏", "佳穎", "冠宇", "欣怡", "宗翰", "詩涵", "承恩",
    "品妤", "柏翰", "宜蓁", "子晴", "宥廷", "語彤", "小明", "明", "玉", "大同", "思妤", "育誠", "惠雯", "國華", "麗華",
    "文雄", "秀英", "志偉", "婉婷", "智翔", "靜怡", "彥廷", "筱涵", "信宏", "鈺婷", "哲瑋",
];
/// Japanese family names.
pub(super) const JAPANESE_FAMILY: &[&str] =
    &["佐藤", "鈴木", "高橋", "田中", "伊藤", "渡辺", "山本", "中村", "小林", "加藤", "長谷川", "五十嵐"];
/// Japanese given names.
pub(super) const JAPANESE_GIVEN: &[&str] =
    &["太郎", "花子", "健一", "美咲", "翔太", "さくら", "陽菜", "大輔", "直樹", "優子", "あかり", "蓮"];
/// Vietnamese family names.
pub(super) const VIETNAMESE_FAMILY: &[&str] =
    &["Nguyễn", "Trần", "Lê", "Phạm", "Hoàng", "Phan", "Vũ", "Đặng", "Bùi", "Đỗ"];
/// Vietnamese middle names.
pub(super) const VIETNAMESE_MIDDLE: &[&str] = &["Thị", "Văn", "Ngọc", "Minh", "Thanh", "Quốc"];
/// Vietnamese given names.
pub(super) const VIETNAMESE_GIVEN: &[&str] =
    &["Mai", "Hùng", "Linh", "Tuấn", "Hương", "Dũng", "Lan", "Phúc", "Trang", "Sơn"];
/// Western given names.
pub(super) const WESTERN_GIVEN: &[&str] = &[
    "Ann", "Ben", "Chloé", "David", "Erin", "Frank", "Grace", "Hugo", "Iris", "Jürgen", "Karen", "Liam", "Mia", "Noah",
    "Olga", "Paul", "Ruth", "Søren", "Tina", "Zoë",
];
/// Western family names.
pub(super) const WESTERN_FAMILY: &[&str] = &[
    "Smith",
    "Jones",
    "O'Brien",
    "Müller",
    "García",
    "van den Berg",
    "Dubois",
    "Rossi",
    "Novák",
    "Silva",
    "Kowalska",
    "Smith-Jones",
    "MacDonald",
    "de la Cruz",
    "Andersson",
    "Weber",
];
/// Words for the local part of an e-mail address.
pub(super) const MAIL_WORDS: &[&str] =
    &["sunny", "river", "maple", "ocean", "cloud", "tiger", "lotus", "pixel", "amber", "delta", "mango", "violet"];
/// Domains that belong to nobody (RFC 2606).
pub(super) const DOMAINS: &[&str] = &["example.com", "example.org", "example.net"];
/// Cities.
pub(super) const CITIES: &[&str] = &["台北市", "新北市", "桃園市", "台中市", "台南市", "高雄市", "新竹市", "Taipei"];
/// Company names.
pub(super) const COMPANIES: &[&str] = &["範例科技", "樣品商行", "Sample Ltd", "測試貿易", "Placeholder Inc"];
/// Values of the `vip_level` choice.
pub(super) const VIP_LEVELS: &[&str] = &["bronze", "silver", "gold", "platinum"];
/// Members of the `interests` list.
pub(super) const INTERESTS: &[&str] = &["sports", "music", "travel", "food"];
/// Labels, which the list filters by and never returns.
pub(super) const LABELS: &[&str] = &["vip", "newsletter", "wholesale", "follow-up"];
