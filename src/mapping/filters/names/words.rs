//! The word lists of the rule for names: surnames, titles, and what looks like a name and is none.
//!
//! Traditional and simplified characters side by side. Latin words are in lower case and without dots.

/// Surnames of two characters, traditional and simplified.
pub(super) const COMPOUND: &str = "歐陽 欧阳 司馬 司马 上官 諸葛 诸葛 司徒 東方 东方 獨孤 独孤 南宮 南宫 夏侯 皇甫 尉遲 尉迟 公孫 公孙 \
    軒轅 轩辕 令狐 鍾離 钟离 宇文 長孫 长孙 慕容 鮮于 鲜于 閭丘 闾丘 司空 亓官 司寇 仉督 子車 子车 顓孫 颛孙 端木 巫馬 巫马 公西 \
    漆雕 樂正 乐正 壤駟 壤驷 公良 拓跋 夾谷 夹谷 宰父 穀梁 谷梁 晉楚 百里 呼延 東郭 东郭 南門 南门 羊舌 微生 公戶 公户 公玉 公儀 公仪 \
    公仲 公上 公門 公门 公山 公堅 公坚 公伯 西門 西门 公祖 第五 公乘 貫丘 贯丘 公皙 南榮 南荣 東里 东里 東宮 东宫 仲長 仲长 \
    子書 子书 子桑 即墨 達奚 达奚 褚師 褚师 万俟 萬俟 聞人 闻人 赫連 赫连 澹臺 澹台 公冶 濮陽 濮阳 淳于 單于 单于 太叔 申屠 \
    仲孫 仲孙 闕門 叔孫 叔孙 賀蘭 贺兰 完顏 完颜 納蘭 纳兰 哥舒";
/// Double surnames of Taiwan. Each is also a single surname and a beginning of a given name, so they count
/// only in a name of four characters.
pub(super) const DOUBLE: &str = "張簡 张简 范姜 張廖 张廖 張李 张李 陳李 江謝 徐辜 葉劉 叶刘 姜林 張許";
/// Surnames of one character in common use, traditional and simplified.
pub(super) const SINGLE: &str = "陳林黃張李王吳劉蔡楊許鄭謝郭洪曾邱廖賴周徐蘇葉莊呂江何蕭羅高潘簡朱鍾彭游詹胡施沈余趙盧梁顏柯翁魏孫戴范方宋\
    鄧杜傅侯曹薛丁卓馬阮董唐溫藍石蔣田歐康鄒尤古姚程汪白馮連姜涂湯俞童韓袁夏邵凌關尹倪龔嚴鐘柳韋紀金湛萬向甘池武章伍甄錢段史\
    賀任陸陶龍孔毛崔魯常賈申賓閻譚梅駱葛管熊秦霍尚岳費利商歸祝辛祁喬凃巫粘辜官邢樊裘霞饒房塗褚花佘阎于於包左齊盛冉易鄔宗闕屈應\
    柴耿肖付孟雷黎郝顾顧覃莫畢毕龐庞竇窦殷焦鮑鲍聶聂符臧\
    陈黄张吴刘杨许郑谢赖苏叶庄吕萧罗简钟卢颜赵孙邓马温蓝蒋欧邹冯连汤韩关龚严韦纪万钱贺陆龙鲁贾宾阎谭骆费归乔饶邬阙应齐闫";
/// Japanese surnames of two or three characters that begin like a Chinese one.
pub(super) const JAPANESE: &str = "金城 高橋 高田 高木 高野 高島 高山 高井 高松 高村 高瀬 田中 田村 田口 田島 田辺 田代 田原 石川 石井 石田 石原 \
    石橋 石黒 石塚 池田 池上 池内 江口 江藤 江川 金子 金田 金井 金田一 古川 古賀 古田 古谷 向井 白石 白井 白川 武田 武井 武藤 柳田 柳沢 \
    秦野 岳野 梅田 梅原 梅津 花田 常盤 関 福田 古屋 花岡 馬場 馬渕 宗像 利根 利根川 黒木 姜尾 藤原 星野 森田 片岡 宋木 林田 林原 杉山 \
    丁子 安藤 安田 池谷 児玉 柏木 夏目 千葉 須藤 毛利 章子 葉山 葉月 程島 連城 施田 湯川 湯浅 湯本 堀田 房野 岡田 向田 甘利 易田 官野";
/// Words that begin with a surname and are none: places, and what people like to call themselves.
pub(super) const NO_NAMES: &str = "高雄 金門 金门 馬祖 马祖 花蓮 花莲 林口 石門 石门 金山 江蘇 江苏 江西 江南 溫州 温州 蘇州 苏州 徐州 常州 \
    鄭州 郑州 梅州 池上 左營 左营 古坑 白河 連江 连江 莫名 方便 方案 高手 高興 高兴 高鐵 高铁 白色 黃色 黄色 金色 白金 黃金 黄金 石頭 石头 \
    江湖 馬上 马上 馬路 马路 田園 田园 武器 常見 常见 左右 連線 连线 連絡 莊園 葉子 叶子 梅花 梅子 梅西 管理 管家 溫暖 温暖 溫柔 温柔 湯包 \
    湯圓 汤圆 游泳 程式 付款 付費 付费 雷射 雷神 石榴 柳橙 花生 花店 花花 花兒 花儿 夏天 夏日 龍貓 龙猫 龍蝦 龙虾 熊貓 熊猫 熊大 包子 包包 \
    馬桶 馬來 马来 金幣 金币 金牌 向日葵 康乃馨 馬卡龍 白日夢 馬鈴薯 高麗菜 花椰菜 白開水 高爾夫 高尔夫 金針菇 馬拉松 马拉松 康是美 金石堂 \
    白雪 百里香 第五名 第五代 第五章 石門區 方塊 方块 尚品 盛大 齊全 齐全 易付 利息 商品 商家 任何 歸零 應該 应该 何時 何时 何必 萬事 萬一 \
    万一 萬能 万能 史上 常用 關於 关于 關閉 关闭 連結 连接 于是 於是 尤其 成功 陶瓷 藍天 蓝天 藍色 蓝色 蓝牙 藍牙 范例 范本 施工 申請 申请 \
    李子 小白 毛毛 方方 圓圓 丁丁 安安 官方 官網 官网 房東 房东 房客 房仲 房屋 房間 房间 房產 房产 包裹 包裝 包装 程序 方向 方法 方式 高級 高级 高中 \
    高層 高层 高度 高端 金融 金額 金额 金錢 金钱 溫馨 温馨 溫泉 温泉 溫度 温度 白天 石油 江山 周末 周年 章魚 章鱼 管道 管制 向上 向前 常客 史料 \
    關係 关系 關心 关心 關懷 关怀 應用 应用 應徵 应征 商務 商务 商場 商场 商標 商标 利率 利用 成人 成員 成员 成交 成立 雷達 雷达 黃昏 黄昏 黃牛 黄牛 \
    童裝 童装 童年 童話 童话 馬達 马达 馬力 马力 馬車 马车 顧客 顾客 顧問 顾问 紀念 纪念 紀錄 纪录 尚未 尚無 尚无 齊心 甘草 武術 武术 花園 花园 \
    花束 花藝 花艺 曾經 曾经 許多 许多 許願 许愿 何處 何处 宋朝 唐朝 元朝 孔雀 毛巾 毛衣 毛孩 熊本 熊本熊 謝啦 谢啦 謝了 谢了 謝謝你 谢谢你 謝謝您 \
    谢谢您 左岸 \
    馬克 马克 馬丁 马丁 馬可 马可 馬修 马修 湯姆 汤姆 湯米 汤米 溫蒂 温蒂 莫妮卡 戴安娜 賈斯汀 贾斯汀 史蒂芬 史蒂夫 史蒂文 羅伯特 罗伯特 羅賓 罗宾 \
    羅拉 罗拉 喬治 乔治 喬安娜 乔安娜 司馬庫斯 司马库斯 羅東 罗东 蘇澳 苏澳 楊梅 杨梅 萬華 万华 萬里 万里 萬巒 萬丹 龍潭 龙潭 林園 林园 馬公 马公 \
    古亭 石牌 石碇 關西 关西 關山 关山 關渡 关渡 武陵 林邊 林內 花壇 溫哥華 温哥华 馬德里 马德里 馬尼拉 马尼拉 金邊 金边";
/// Places that stand before or behind the name of a person; none begins with a surname.
pub(super) const PLACES: &str = "台北 臺北 台中 臺中 台南 臺南 台東 臺東 台東 台灣 臺灣 台湾 台东 新北 桃園 桃园 新竹 苗栗 彰化 南投 雲林 云林 嘉義 \
    嘉义 屏東 屏东 宜蘭 宜兰 基隆 澎湖 板橋 板桥 中壢 中坜 淡水 三重 香港 澳門 澳门 中國 中国 上海 北京 廣州 广州 深圳 日本 東京 东京 美國 美国";
/// What follows a surname without being a given name.
pub(super) const HONORIFICS: &str = "先生 小姐 女士 太太 夫人 老師 老师 經理 经理 醫師 医师 醫生 医生 董事 董 總 总 董事長 總監 总监 阿姨 \
    媽媽 妈妈 爸爸 媽咪 妈咪 媽 妈 爸 哥 姐 姊 姨 叔 伯 嫂 嬸 桑 太 大哥 大姐 大姊 哥哥 姐姐 姊姊 叔叔 伯伯 伯父 伯母 奶奶 爺爺 爷爷 阿嬤 \
    阿公 同學 同学 主任 店長 店长 老闆 老板 教授 博士 律師 律师 會計 会计 校長 校长 院長 院长 護士 护士 護理師 護理 師傅 师傅 師父 部長 部长 \
    處長 处长 科長 科长 課長 課长 組長 组长 副理 協理 專員 专员 助理 秘書 秘书 警官 議員 议员 立委 里長 村長 老總 老大 寶寶 宝宝 太太們 家長 \
    師兄 师兄 師姐 师姐 師姊 師弟 师弟 師妹 师妹 學長 学长 學姐 学姐 學姊 學弟 学弟 學妹 学妹 大叔 大媽 大妈 大嬸 大婶 牧師 牧师 神父 班長 \
    班长 大夫 主管 司機 司机 業務 业务 代表 會長 会长 社長 社长 局長 局长 市長 市长 鎮長 镇长 主席 主委 委員 委员 顧問 顾问 工程師 工程师 \
    設計師 设计师 教練 教练 老闆娘 老板娘 夫婦 夫妇 弟兄 姊妹 姐妹 弟弟 妹妹 公公 婆婆 舅舅 舅 嬤 董娘 頭家 头家 寶貝 宝贝 仔 生 家 氏 宅 府 記 记 \
    님 씨 様 さん さま ちゃん くん 殿";
/// What a company, a shop or a thing is called after a word that is also a surname.
pub(super) const TRADES: &str = "科技 美食 市場 市场 航空 大道 國際 国际 集團 集团 企業 企业 公司 商行 工作 工作室 實業 实业 貿易 贸易 餐廳 \
    餐厅 飯店 饭店 旅行 旅遊 旅游 旅行社 物流 電子 电子 文化 教育 醫院 医院 診所 诊所 銀行 银行 保險 保险 中心 客服 服務 服务 會員 会员 團購 团购 \
    粉絲 粉丝 購物 购物 商城 商店 百貨 百货 超市 書店 书店 咖啡 茶行 藥局 药局 設計 设计 建設 建设 工程 食品 牛排 火鍋 火锅 麵包 面包 小吃 \
    早餐 便當 便当 明珠 時尚 时尚 美容 美髮 美发 攝影 摄影 門市 门市 官方 小編 小编 小舖 小铺 小鋪 地產 地产 車行 车行 汽車 汽车 影業 娛樂 \
    补习班 補習班 人格 衛視 卫视 日報 日报 財經 财经 企業社 株式会社 株式會社 有限会社 事務所 事务所 ショップ 友達 朋友";
/// Characters that end the name of a place or an office, never a given name that is sure.
pub(super) const PLACE_ENDS: &str =
    "店站縣县區区街廠厂局處处所廳厅社部室組组隊队號号館馆院校班町市省村鎮镇幣币卡寺廟庙員员者";
/// Latin words of companies and offices, in any place of the name.
pub(super) const COMPANY: &str = "inc ltd llc llp co corp gmbh pte plc sdn bhd limited company corporation incorporated group store shop team \
    support service services hotel restaurant bank university school studio trading technology technologies solutions systems \
    international foundation association center centre clinic hospital cafe salon official online agency department office \
    admin taiwan sales marketing customer helpdesk reception newsletter noreply the";
/// Forms of companies that are too short to mean one elsewhere than at the end.
pub(super) const COMPANY_ENDS: &str = "ag sa nv bv ab pty kk srl spa sarl oy oyj aps kg lda ltda";
/// Surnames of Vietnam in their own spelling, which no other language shares.
pub(super) const VIETNAMESE: &str = "nguyễn trần lê phạm hoàng huỳnh võ vũ đặng bùi đỗ hồ ngô dương lý đinh đoàn trịnh trương lâm đào lương tô tạ \
    quách thái vương phùng đàm kiều hà hứa tống lưu tăng từ đồng đậu nghiêm triệu";
/// Surnames of Vietnam that are spelled without a sign above or below.
pub(super) const VIETNAMESE_PLAIN: &str = "phan cao chu";
/// Surnames of Vietnam that are no given name: at the end they tell of Western order.
pub(super) const VIETNAMESE_NEVER_GIVEN: &str = "nguyễn trần phạm huỳnh đặng bùi đỗ ngô võ";
/// Surnames of Vietnam typed without their signs, and no given name elsewhere: what follows may be in either order.
pub(super) const VIETNAMESE_BARE: &str = "nguyen tran pham huynh hoang truong trinh phan dinh doan ngo duong phung luong bui dang le vo vu \
    do ly dao dam luu kieu vuong";
/// The same, but given names elsewhere: in doubt only before a Vietnamese middle name.
pub(super) const VIETNAMESE_OR_GIVEN: &str = "mai lam thai ha to ta trieu dong";
/// Vietnamese middle names; the first is a small word of the Dutch.
pub(super) const VIETNAMESE_MIDDLE: &str = "van thi";
/// Romanised surnames of China, Taiwan, Hong Kong, Singapore and Korea. In front they may be the family name or not, even
/// those that are given names elsewhere (Lee, Kim): a name that stays whole is never wrong.
pub(super) const ROMANISED: &str = "wang zhang chang liu chen huang zhao wu zhou chou xu hsu sun zhu hu guo kuo lin luo zheng liang xie hsieh \
    song tang deng feng cao tsao peng zeng tseng xiao hsiao tian yuan cai tsai jiang chiang ye yeh cheng qiu chiu hung hong \
    chuang tsou shen zhong chung liao lai yang li tan lim goh ong teo chua ng koh lau chan cheung leung wong kwok yeung shih \
    chien chu weng wei fang pan lu ma xi mao yen tu du gao ding ku kung tung shi yan ren meng qian dai su ho han he lo kao yu \
    jin yao jia shao lei hou bai qin xue hao gong cui yip ip tam lam kwan kwong leong loh yap soh tay toh chew chia chin choo \
    chong foo low mok ooi phua quek seah seow yeo yong tsang tse tsui fung fong poon siu yuen mak lui luk shum tong tsoi yau \
    yung wan lee kim park choi jung kang yoon jang seo shin kwon bae baek ahn hwang oh cho yun ryu yoo";
/// Words before a name.
pub(super) const TITLES: &str =
    "mr mrs ms miss mx dr prof professor sir madam herr frau mme mlle señor señora chị cô ông bà bác";
/// Small words that belong to the family name after them, in any case of letters.
pub(super) const PARTICLES: &str = "van von der den de del della di da das dos du la le el ter ten st";
/// The same, only in small letters: with a capital they are names.
pub(super) const SMALL_PARTICLES: &str = "do al bin binti ibn ben zu af y";
/// Words between two people.
pub(super) const AND: &str = "and und et or oder";
/// Words after the family name that belong to it.
pub(super) const SUFFIXES: &str = "jr sr ii iii iv phd md esq";

/// Whether `word` is one of the words of `list`.
pub(super) fn among(list: &str, word: &str) -> bool {
    !word.is_empty() && list.split_ascii_whitespace().any(|known| known == word)
}

/// A Latin word as the lists have it: lower case, composed, without dots.
pub(super) fn folded(word: &str) -> String {
    use unicode_normalization::UnicodeNormalization;

    word.nfc().filter(|sign| *sign != '.').flat_map(char::to_lowercase).collect()
}
