//! The protocol of a comparison: one page that needs nothing but itself, neither network nor script, to be read, printed and
//! filed. It names ids and counts, never a value of a person.

use std::fmt::Write;

use super::Occasion;
use super::groups::{Group, Groups, Kind, whom};
use super::text::{confidence, verdict};
use crate::domain::sweep::Verdict;
use crate::sync::verify::finding::{Class, FieldTally, Reason};
use crate::sync::verify::{CustomersRead, Verification};

/// How it looks. Colours are told apart by lightness too, so that a print in grey says the same.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--line:#d0d7de;--paper:#fff;--panel:#f6f8fa;\
--same:#2f8f5b;--explained:#d9a514;--bad:#c0392b;--apart:#8c96a1}\
@media (prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#9da7b1;--line:#3a434d;--paper:#14181d;--panel:#1d232a;\
--same:#4cb782;--explained:#e3b93d;--bad:#ef6a5b;--apart:#78828d}}\
*{box-sizing:border-box}\
body{margin:0 auto;max-width:60rem;padding:2rem 1.25rem 4rem;background:var(--paper);color:var(--ink);\
font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}\
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .25rem}h2{font-size:1.15rem;margin:2.25rem 0 .75rem}\
p{margin:.5rem 0}.soft{color:var(--soft)}small{color:var(--soft)}\
.verdict{margin:1.25rem 0;padding:.9rem 1.1rem;border-left:.4rem solid var(--bad);background:var(--panel);font-size:1.05rem}\
.verdict.clean{border-color:var(--same)}.verdict strong{display:block;font-size:1.25rem}\
dl{display:grid;grid-template-columns:minmax(9rem,max-content) 1fr;gap:.3rem 1.25rem;margin:0}\
dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}\
table{border-collapse:collapse;width:100%;font-size:.93rem}\
th,td{text-align:left;padding:.4rem .6rem;border-bottom:1px solid var(--line);vertical-align:top}\
th{color:var(--soft);font-weight:600}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
td.n.bad{color:var(--bad);font-weight:700}.zero{color:var(--soft)}.ids{overflow-wrap:anywhere}\
code{font:.9em ui-monospace,SFMono-Regular,Menlo,monospace}\
.key{display:flex;flex-wrap:wrap;gap:.35rem 1.5rem;margin:.6rem 0 0;padding:0;list-style:none}\
.key i{display:inline-block;width:.8rem;height:.8rem;border-radius:.15rem;margin-right:.45rem}\
.same{fill:var(--same);background:var(--same)}.explained{fill:var(--explained);background:var(--explained)}\
.fault{fill:var(--bad);background:var(--bad)}.apart{fill:var(--apart);background:var(--apart)}\
.none{fill:var(--line)}svg{display:block;width:100%}svg.mini{width:7rem;height:.7rem;margin-top:.4rem}\
.wide{overflow-x:auto}@media (max-width:40rem){dl{grid-template-columns:1fr;gap:0}dt{margin-top:.5rem}\
.sign{grid-template-columns:1fr}}\
.sign{display:grid;grid-template-columns:1fr 1fr 1fr;gap:2rem;margin-top:3rem}.sign div{border-top:1px solid var(--soft);\
padding-top:.3rem;color:var(--soft);font-size:.85rem}\
@media print{:root{--ink:#000;--soft:#444;--line:#bbb;--paper:#fff;--panel:#f2f2f2;--same:#2f8f5b;--explained:#d9a514;\
--bad:#c0392b;--apart:#8c96a1}body{max-width:none;padding:0;font-size:11pt}h2{break-after:avoid}tr,.verdict{break-inside:avoid}\
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}";

/// The page.
pub(super) fn page(found: &Verification, groups: &Groups, occasion: &Occasion) -> String {
    let mut html = String::with_capacity(32 * 1024);
    let title = format!("Comparison of {} and {}", occasion.livedesk, occasion.firstline);
    put(
        &mut html,
        format_args!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';style-src 'unsafe-inline'\">\n\
             <meta name=\"robots\" content=\"noindex\">\n<title>{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
            escaped(&title)
        ),
    );
    head(&mut html, found, occasion);
    glance(&mut html, found);
    findings(&mut html, found);
    grouped(&mut html, groups, false, "What nothing explains", "Nothing: whatever differs has a reason.");
    grouped(&mut html, groups, true, "What is explained", "There is nothing to explain.");
    fields(&mut html, found);
    sample(&mut html, found);
    notes(&mut html, found, occasion);
    put(
        &mut html,
        "<div class=\"sign\"><div>Place, date</div><div>Checked by</div><div>Accepted by</div></div>\n</body>\n</html>\n",
    );
    html
}

fn head(html: &mut String, found: &Verification, occasion: &Occasion) {
    let clean = found.is_clean();
    put(
        html,
        format_args!(
            "<h1>Are both sides the same?</h1>\n<p class=\"soft\">LiveDesk and FIRST LINE, compared by deskferry on {}</p>\n\
             <div class=\"verdict{}\" id=\"verdict\"><strong>{}</strong>{}</div>\n<dl>\n",
            escaped(&occasion.ended),
            if clean { " clean" } else { "" },
            if clean { "Yes, as far as can be known" } else { "Not in everything" },
            escaped(&sentence(&verdict(found))),
        ),
    );
    let sweep = &found.sweep;
    let counted = sweep.count.map_or_else(|| String::from("it names no count"), |count| format!("it counts {count}"));
    let mut fact = |name: &str, id: &str, text: &str| {
        put(html, format_args!("<dt>{}</dt><dd id=\"{id}\">{}</dd>\n", escaped(name), escaped(text)));
    };
    fact("LiveDesk account", "livedesk", &occasion.livedesk);
    fact("FIRST LINE account", "firstline", &occasion.firstline);
    fact("From, until", "when", &format!("{} – {}", occasion.began, occasion.ended));
    fact(
        "LiveDesk's contacts",
        "contacts",
        &format!(
            "{} seen in {} passes, {counted}; sweep {}",
            sweep.distinct,
            sweep.passes.len(),
            match sweep.verdict {
                Verdict::Proven => String::from("proven complete"),
                other => other.to_string(),
            }
        ),
    );
    fact("FIRST LINE's customers", "customers", &customers(found.customers));
    fact("Mapping version", "mapping", &occasion.mapping_version);
    fact("Program version", "program", &format!("deskferry {}", env!("CARGO_PKG_VERSION")));
    fact(
        "The state",
        "state",
        &occasion.without_state.map_or_else(
            || String::from("was read to explain differences; it had no part in finding them"),
            |why| format!("explained nothing: {why}"),
        ),
    );
    fact(
        "Second look",
        "again",
        &format!(
            "{} contacts that differed were read again on both sides; {} of them were right by then{}",
            found.again.looked,
            found.again.settled,
            match found.again.left {
                0 => String::new(),
                left => format!("; {left} more were looked at once only"),
            }
        ),
    );
    fact(
        "Requests",
        "requests",
        &format!("{} to LiveDesk, {} to FIRST LINE", occasion.requests.0, occasion.requests.1),
    );
    put(html, "</dl>\n");
}

fn customers(read: Option<CustomersRead>) -> String {
    let Some(read) = read else {
        return String::from("asked for each contact of the sample; the list was not read");
    };
    let total = read.total.map_or_else(|| String::from("the list names no total"), |total| format!("of {total}"));
    let proven = if read.proven { "list proven complete" } else { "list not read completely" };
    format!("{} read, {total}; {proven}", read.distinct)
}

/// How all contacts came out, as one bar.
fn glance(html: &mut String, found: &Verification) {
    let parts = [
        ("same", "the same on both sides", "same", found.same()),
        ("explained", "different, and explained", "explained", found.tally.explained),
        ("fault", "different, and not explained", "faulty", found.tally.faulty_contacts),
        ("apart", "not carried: not selected, or cannot be mapped", "not-carried", found.tally.not_carried),
    ];
    put(
        html,
        format_args!(
            "<h2>Contacts</h2>\n<p><span id=\"compared\">{}</span> contacts were compared.</p>\n",
            found.checked
        ),
    );
    bar(html, "viewBox=\"0 0 1000 36\" height=\"36\"", 36, &parts.map(|(class, text, _, count)| (class, text, count)));
    put(html, "<ul class=\"key\">\n");
    for (class, text, id, count) in parts {
        put(
            html,
            format_args!("<li><i class=\"{class}\"></i><b id=\"contacts-{id}\">{count}</b> {}</li>\n", escaped(text)),
        );
    }
    put(html, "</ul>\n");
    if found.unstamped > 0 {
        put(
            html,
            format_args!(
                "<p class=\"soft\">{} customers were there before the migration and kept their own number where the stamp \
                 would stand: they are known by the state alone.</p>\n",
                found.unstamped
            ),
        );
    }
}

/// A stacked bar. What is there at all is wide enough to be seen.
fn bar(html: &mut String, size: &str, height: u32, parts: &[(&str, &str, u64)]) {
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

/// One row per class, those that were not found too: a page that says what was looked for.
fn findings(html: &mut String, found: &Verification) {
    put(
        html,
        "<h2>Findings</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>finding</th><th>what it means</th><th class=\"n\">not explained</th>\
         <th class=\"n\">explained</th></tr></thead>\n<tbody>\n",
    );
    for class in Class::ALL {
        let (explained, unexplained) = found.tally.of(*class);
        let word = class.as_str();
        put(
            html,
            format_args!(
                "<tr><td>{}</td><td>{}</td><td class=\"n{}\" id=\"unexplained-{word}\">{unexplained}</td>\
                 <td class=\"n{}\" id=\"explained-{word}\">{explained}</td></tr>\n",
                escaped(&word.replace('_', " ")),
                escaped(class.meaning()),
                if unexplained > 0 { " bad" } else { " zero" },
                if explained > 0 { "" } else { " zero" },
            ),
        );
    }
    put(
        html,
        format_args!(
            "</tbody>\n<tfoot><tr><th colspan=\"2\">all</th><th class=\"n\" id=\"unexplained\">{}</th><th class=\"n\" \
             id=\"explained\">{}</th></tr></tfoot>\n</table></div>\n",
            found.tally.faults(),
            found
                .tally
                .findings
                .iter()
                .filter(|((_, reason), _)| reason.is_some())
                .map(|(_, count)| count)
                .sum::<u64>(),
        ),
    );
}

fn grouped(html: &mut String, groups: &Groups, explained: bool, head: &str, nothing: &str) {
    put(html, format_args!("<h2>{head}</h2>\n"));
    let rows: Vec<(&Kind, &Group)> = groups.that_are(explained).collect();
    if rows.is_empty() {
        put(html, format_args!("<p>{nothing}</p>\n"));
        return;
    }
    let reason = if explained { "<th>reason</th>" } else { "" };
    put(
        html,
        format_args!(
            "<div class=\"wide\"><table>\n<thead><tr><th>finding</th>{reason}<th class=\"n\">count</th><th>contacts (LiveDesk ids), the \
             first of them</th></tr></thead>\n<tbody>\n"
        ),
    );
    for (kind, group) in rows {
        let field = kind.field.as_ref().map(|field| format!(": {field}")).unwrap_or_default();
        let reason = kind.reason.map(|reason| format!("<td>{}</td>", escaped(reason.meaning()))).unwrap_or_default();
        let ids: Vec<String> = group
            .samples
            .iter()
            .map(|finding| {
                let detail = if finding.detail.is_empty() { String::new() } else { format!(" ({})", finding.detail) };
                format!("{}{detail}", whom(finding))
            })
            .collect();
        let more = if group.count > ids.len() as u64 { ", …" } else { "" };
        put(
            html,
            format_args!(
                "<tr><td>{}{}</td>{reason}<td class=\"n\">{}</td><td class=\"ids\">{}{more}</td></tr>\n",
                escaped(&kind.class.as_str().replace('_', " ")),
                escaped(&field),
                group.count,
                escaped(&ids.join(", ")),
            ),
        );
    }
    put(html, "</tbody>\n</table></div>\n");
}

fn fields(html: &mut String, found: &Verification) {
    put(
        html,
        "<h2>Field by field</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>field</th><th class=\"n\">compared</th><th class=\"n\">same</th>\
         <th class=\"n\">explained</th><th class=\"n\">not explained</th><th class=\"n\">left out</th><th></th></tr></thead>\n\
         <tbody id=\"fields\">\n",
    );
    for (name, tally) in &found.tally.fields {
        let FieldTally { compared, explained, unexplained, left_out } = *tally;
        put(
            html,
            format_args!(
                "<tr><td>{}</td><td class=\"n\">{compared}</td><td class=\"n\">{}</td><td class=\"n{}\">{explained}</td>\
                 <td class=\"n{}\">{unexplained}</td><td class=\"n{}\">{left_out}</td><td>",
                escaped(name),
                tally.same(),
                if explained > 0 { "" } else { " zero" },
                if unexplained > 0 { " bad" } else { " zero" },
                if left_out > 0 { "" } else { " zero" },
            ),
        );
        let parts = [
            ("same", "same", tally.same()),
            ("explained", "explained", explained),
            ("fault", "not explained", unexplained),
        ];
        bar(html, "class=\"mini\" viewBox=\"0 0 1000 60\"", 60, &parts);
        put(html, "</td></tr>\n");
    }
    put(html, "</tbody>\n</table></div>\n");
    for stopped in &found.stopped {
        put(html, format_args!("<p>Not compared: {}</p>\n", escaped(stopped)));
    }
    for (label, why) in &found.tags.labels_unknown {
        put(html, format_args!("<p>Not compared: the label {}: {}</p>\n", escaped(label), escaped(why)));
    }
}

fn sample(html: &mut String, found: &Verification) {
    let Some(text) = confidence(found) else { return };
    put(
        html,
        format_args!(
            "<h2>The sample</h2>\n<p id=\"sample\">{}</p>\n<p class=\"soft\">Only contacts of the sample were compared. Customers \
             that belong to no contact, and duplicates of the others, were not looked for.</p>\n",
            escaped(&sentence(&text))
        ),
    );
}

fn notes(html: &mut String, found: &Verification, occasion: &Occasion) {
    put(
        html,
        "<h2>How to read this</h2>\n<p>Both sides were read afresh. Each contact of LiveDesk was put through the mapping, and what \
         came out was compared with the customer that carries the contact's stamp: values by their meaning (a number is equal to \
         the same number written as text), e-mails and phones as they are dialled and delivered. What agents added to a \
         customer — an e-mail, a phone, a tag — is no difference. <b>Not explained</b> means: nothing that is known says why. \
         <b>Explained</b> means: it differs, and should be expected to.</p>\n<dl>\n",
    );
    let used = |reason: &&Reason| found.tally.findings.keys().any(|(_, found)| *found == Some(**reason));
    for reason in Reason::ALL.iter().filter(used) {
        put(
            html,
            format_args!(
                "<dt>{}</dt><dd>{}</dd>\n",
                escaped(&reason.as_str().replace('_', " ")),
                escaped(reason.meaning())
            ),
        );
    }
    put(html, "</dl>\n<h2>What cannot be known</h2>\n<ul>\n");
    put(
        html,
        "<li>LiveDesk's list may hide contacts that have neither e-mail, phone nor identifier (visitors, contacts of LINE, \
         Telegram or Facebook). They are in no count of this page unless a customer carries their stamp.</li>\n\
         <li>FIRST LINE shows what the role of the key may see. Customers that it hides are in no count either.</li>\n\
         <li>Both sides go on living: this page says how they stood at the time above.</li>\n\
         <li>Conversations, messages, notes and channel identities are not carried and were not compared.</li>\n",
    );
    if found.sweep.verdict != Verdict::Proven {
        put(
            html,
            "<li>LiveDesk's list was not read completely: contacts may be missing that this page does not name.</li>\n",
        );
    }
    if occasion.without_state.is_some() {
        put(
            html,
            "<li>Without the state nobody knows who changed a value since: an agent's edit is not explained here.</li>\n",
        );
    }
    put(html, "</ul>\n");
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

fn put(html: &mut String, text: impl std::fmt::Display) {
    write!(html, "{text}").expect("a text takes whatever is written");
}

/// Text as it may stand in a page, between tags and in an attribute.
fn escaped(text: &str) -> String {
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

#[cfg(test)]
mod tests {
    use super::{bar, escaped, sentence};

    #[test]
    fn nothing_of_a_field_name_becomes_markup() {
        assert_eq!(escaped("<b a=\"1\" b='2'>&\u{7}"), "&lt;b a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;\u{fffd}");
        assert_eq!(sentence("nothing unexplained"), "Nothing unexplained.");
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
