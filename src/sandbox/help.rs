//! One line for people on every switch of the sandbox: what `deskferry sandbox --help` prints.
//!
//! A test compares the names with the fields of the settings, so that neither list can fall behind.

/// The sandbox as a whole.
pub const SANDBOX: &[(&str, &str)] = &[
    ("seed", "everything random comes from here"),
    ("contacts", "how many contacts LiveDesk holds at the start, up to a million"),
    ("without_children", "contacts without e-mail and phone, for benchmarks; no edge cases"),
    ("edge_cases", "the first contacts are the edge cases of the platform notes"),
    ("livedesk", "switches of the LiveDesk side"),
    ("firstline", "switches of the FIRST LINE side"),
    ("livedesk_faults", "faults of the LiveDesk side"),
    ("firstline_faults", "faults of the FIRST LINE side"),
    ("listen", "address to listen on; the control API asks for no credentials, so no open network"),
    ("livedesk_port", "port of the LiveDesk side (0: a free one)"),
    ("firstline_port", "port of the FIRST LINE side (0: a free one)"),
    ("control_port", "port of the control API (0: a free one)"),
];

/// Switches of the LiveDesk simulation.
pub const LIVEDESK: &[(&str, &str)] = &[
    ("api_key", "user name of Basic authentication (sandbox-key)"),
    ("api_secret", "password of Basic authentication (sandbox-secret)"),
    ("page_size", "rows per page (15)"),
    ("honour_page_size", "a page_size parameter is honoured, up to 100"),
    ("direction", "how to ask for a descending order: parameter, minus, both"),
    ("ignore_sort", "sort is ignored: every list is unsorted"),
    ("ties", "order among equal sort keys: stable, kept (other pages, other order), anew (every request)"),
    ("ids", "JSON type of ids: number, text, mixed"),
    ("timestamps", "JSON type of timestamps: number, text, mixed"),
    ("blocked_as_text", "blocked is the text \"true\" or \"false\""),
    ("current_page", "meta.current_page: echo (text when page was sent) or number"),
    ("count_offset", "added to meta.count; below zero the count is lower than the rows"),
    ("search_counts_page", "a search counts the rows of its page only, adds has_more and sees hidden contacts"),
    ("labels", "filter by label: both, list (labels[]), text (labels), unknown_ignored, ignored, refused"),
    ("by_id", "GET by id exists; without it every id is 404"),
    ("by_id_fails", "contacts whose GET by id fails, each with its status"),
    ("presence_flips", "online contacts flip their presence from answer to answer"),
    ("stuck_page", "pages above this one answer this one again (0: off)"),
    ("drift", "what changes between two pages; see the drift switches"),
];

/// Switches of the drift, below `livedesk.drift`.
pub const DRIFT: &[(&str, &str)] = &[
    ("every", "something changes before every k-th list request (0: off)"),
    ("limit", "at most this many changes (0: without end)"),
    ("insert", "weight of a new contact"),
    ("edit", "weight of an edited attribute (no timestamp moves)"),
    ("delete", "weight of a deletion"),
    ("merge", "weight of a merge of two contacts"),
    ("message", "weight of a message: last_activity_at becomes now"),
    ("swap", "weight of a deletion hidden by an insert: the count does not change"),
];

/// Faults of either platform.
pub const FAULTS: &[(&str, &str)] = &[
    ("latency_ms", "every request waits this long before it is handled"),
    ("slow_rate", "share handled at once and answered late"),
    ("slow_ms", "how late a slow answer comes"),
    ("error_rate", "share of 5xx without effect"),
    ("lost_ack_rate", "share of 5xx after the request was applied"),
    ("reset_rate", "share of connections closed without effect"),
    ("reset_after_rate", "share of connections closed after the request was applied"),
    ("truncated_rate", "share applied and answered with half of the JSON under 200"),
    ("cut_off_rate", "share applied whose connection dies in the middle of the body"),
    ("html_rate", "share applied and answered with an HTML page under 200"),
    ("empty_rate", "share applied and answered with an empty body under 200"),
    ("throttle_rate", "share of 429 without effect"),
    ("retry_after", "what a 429 says about when to come back: none, seconds, date"),
    ("retry_after_seconds", "the wait that a 429 names"),
    ("late_rate", "share applied only after the connection was given up"),
    ("late_ms", "how long after its arrival a late request is applied"),
    ("late_hold_ms", "how long a late request's connection is held before it is closed (0: closed at once)"),
    ("outage", "503 for everything"),
    ("expire_from", "401 from this request on, counted from when it was set (0: never)"),
    ("window_limit", "most requests per window, above it 429 (0: no limit)"),
    ("window_ms", "length of the fixed window"),
    (
        "only",
        "which requests the rates apply to: { methods, path }, path with * at its end for a prefix, and ?text for a query that holds it",
    ),
    ("next", "faults for exactly the next requests: [{ fault, times, skip, only }]"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::sandbox::drift::DriftSwitches;
    use crate::sandbox::faults::FaultSettings;
    use crate::sandbox::livedesk::LiveDeskSwitches;

    #[track_caller]
    fn describes(lines: &[(&str, &str)], settings: &impl serde::Serialize) {
        let value = serde_json::to_value(settings).unwrap();
        let fields: BTreeSet<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(lines.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>(), fields);
        assert!(lines.iter().all(|(_, text)| !text.is_empty() && !text.contains('\n')));
    }

    #[test]
    fn every_switch_has_its_line_and_every_line_its_switch() {
        describes(SANDBOX, &crate::sandbox::SandboxConfig::default());
        describes(LIVEDESK, &LiveDeskSwitches::default());
        describes(DRIFT, &DriftSwitches::default());
        describes(FAULTS, &FaultSettings::default());
    }
}
