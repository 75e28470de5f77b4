//! The protocol of a comparison: one page that needs nothing but itself, neither network nor script, to be read, printed and
//! filed. It names ids and counts, never a value of a person.

mod markup;

use super::Occasion;
use super::groups::{Group, Groups, Kind, whom};
use super::text::{children_text, confidence, overlooked_text, verdict};
use crate::cli::pending::Ours;
use crate::domain::sweep::Verdict;
use crate::sync::verify::finding::{Class, FieldTally, Reason};
use crate::sync::verify::{CustomersRead, Verification};

use markup::{bar, escaped, put};

/// How it looks.
const STYLE: &str = include_str!("report/style.css");
/// What a page begins with, and an earlier one is known by.
pub(super) const BEGINS: Ours = &["<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
    <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
    <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none';style-src 'unsafe-inline'\">\n\
    <meta name=\"robots\" content=\"noindex\">\n<title>Comparison of "];

/// The page.
pub(super) fn page(found: &Verification, groups: &Groups, occasion: &Occasion) -> String {
    let mut html = String::with_capacity(32 * 1024);
    let title = format!("{} and {}", occasion.livedesk, occasion.firstline);
    put(&mut html, BEGINS[0]);
    put(&mut html, format_args!("{}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n", escaped(&title)));
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
    format!("{} read, {total}{}; {proven}{}", read.distinct, overlooked_text(read), children_text(read))
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
    if found.forgotten > 0 {
        put(
            html,
            format_args!(
                "<p class=\"soft\"><span id=\"forgotten\">{}</span> people were forgotten on somebody's word: they are neither \
                 carried nor compared, and named nowhere.</p>\n",
                found.forgotten
            ),
        );
    }
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
    for (tag, why) in &found.tags.refused {
        put(html, format_args!("<p>Not compared: FIRST LINE's tag {}: {}</p>\n", escaped(tag), escaped(why)));
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
    if found.customers.is_some_and(|customers| !customers.proven) {
        put(
            html,
            "<li>FIRST LINE's list was not read completely: customers that are there twice, or belong to nobody, may not be \
             named.</li>\n",
        );
    }
    if found.tally.children_not_compared > 0 {
        put(
            html,
            "<li>FIRST LINE did not show the e-mails or phones of some customers: whether any is lost there is not known.</li>\n",
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

#[cfg(test)]
mod tests {
    use super::{STYLE, sentence};

    #[test]
    fn a_finding_becomes_a_sentence_and_the_style_can_stand_in_a_page() {
        assert_eq!(sentence("nothing unexplained"), "Nothing unexplained.");
        assert!(!STYLE.contains('<') && STYLE.matches('{').count() == STYLE.matches('}').count());
    }
}
