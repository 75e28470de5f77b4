//! From OpenMetrics to the plain format of Prometheus, which differ in how a counter is announced.

/// The same text for a scraper that knows the plain format alone: there a counter is announced with its `_total`.
pub(super) fn from_open(text: &str) -> String {
    let mut plain = String::with_capacity(text.len() + 256);
    let mut help: Option<&str> = None;
    for line in text.lines() {
        if line.starts_with("# HELP ") {
            help = Some(line);
        } else if let Some(announced) = line.strip_prefix("# TYPE ") {
            let counter = announced.strip_suffix(" counter");
            for (mark, rest) in
                [("# HELP ", help.take().and_then(|help| help.strip_prefix("# HELP "))), ("# TYPE ", Some(announced))]
            {
                let Some(rest) = rest else { continue };
                plain.push_str(mark);
                match (counter, rest.split_once(' ')) {
                    (Some(name), Some((_, rest))) => {
                        plain.push_str(name);
                        plain.push_str("_total ");
                        plain.push_str(rest);
                    }
                    _ => plain.push_str(rest),
                }
                plain.push('\n');
            }
        } else if !line.starts_with("# EOF") && !line.starts_with("# UNIT ") {
            plain.push_str(line);
            plain.push('\n');
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::from_open;

    #[test]
    fn counters_are_announced_under_the_name_of_their_samples() {
        let open = "# HELP a_requests Requests sent.\n# TYPE a_requests counter\na_requests_total{x=\"y\"} 1\n\
                    # HELP a_up Up.\n# TYPE a_up gauge\na_up 1\n# EOF\n";
        assert_eq!(
            from_open(open),
            "# HELP a_requests_total Requests sent.\n# TYPE a_requests_total counter\na_requests_total{x=\"y\"} 1\n\
             # HELP a_up Up.\n# TYPE a_up gauge\na_up 1\n"
        );
    }
}
