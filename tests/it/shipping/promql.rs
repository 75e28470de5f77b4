//! Reads which metrics and labels a PromQL expression names, and holds them against what the service exports.
//!
//! It knows as much of the language as a list of words needs: which word is a function, which a label, which a metric.

use super::names::{METRICS, Metric};

/// Functions and aggregations that our expressions use. A word before a bracket that is not here is a mistake.
const FUNCTIONS: &[&str] =
    &["absent", "histogram_quantile", "increase", "max", "predict_linear", "rate", "sum", "time"];
/// Words that are followed by labels in brackets.
const GROUPING: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];
const OPERATORS: &[&str] = &["and", "or", "unless"];
/// Labels that the scrape adds.
const OF_THE_SCRAPE: &[&str] = &["instance", "job"];

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Mark(char),
}

fn tokens(expression: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = expression.chars().peekable();
    while let Some(first) = rest.next() {
        if first == '"' {
            found.push(Token::Text(rest.by_ref().take_while(|next| *next != '"').collect()));
        } else if first.is_ascii_alphanumeric() || matches!(first, '_' | '$') {
            let mut word = String::from(first);
            while let Some(next) = rest.next_if(|next| next.is_ascii_alphanumeric() || matches!(next, '_' | ':' | '.'))
            {
                word.push(next);
            }
            // Numbers, durations and Grafana's variables name nothing of ours.
            if !first.is_ascii_digit() && first != '$' {
                found.push(Token::Word(word));
            }
        } else if !first.is_whitespace() {
            found.push(Token::Mark(first));
        }
    }
    found
}

/// What is wrong with an expression; `shown` are the labels that its text shows beside it.
pub(super) fn complaints(expression: &str, shown: &[String]) -> Vec<String> {
    let tokens = tokens(expression);
    let (mut wrong, mut metrics, mut labels) = (Vec::new(), Vec::new(), shown.to_vec());
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        at += 1;
        let Token::Word(word) = token else { continue };
        let calls = match tokens.get(at) {
            Some(Token::Mark(mark)) => *mark == '(',
            Some(Token::Word(next)) => matches!(next.as_str(), "by" | "without"),
            _ => false,
        };
        if GROUPING.contains(&word.as_str()) {
            let inside = tokens[at..].iter().take_while(|token| **token != Token::Mark(')'));
            let words: Vec<&Token> = inside.filter(|token| matches!(token, Token::Word(_))).collect();
            at += words.len();
            labels.extend(words.into_iter().filter_map(|token| match token {
                Token::Word(label) => Some(label.clone()),
                _ => None,
            }));
            at = (at..tokens.len()).find(|index| tokens[*index] == Token::Mark(')')).unwrap_or(tokens.len());
        } else if calls {
            if !FUNCTIONS.contains(&word.as_str()) {
                wrong.push(format!("{word} is no function"));
            }
        } else if !OPERATORS.contains(&word.as_str()) && word != "up" {
            match known(word) {
                Some(metric) => {
                    metrics.push((metric, word.as_str()));
                    if tokens.get(at) == Some(&Token::Mark('{')) {
                        let end = (at..tokens.len()).find(|index| tokens[*index] == Token::Mark('}'));
                        let end = end.unwrap_or(tokens.len());
                        wrong.extend(matchers(metric, &tokens[at + 1..end]));
                        at = end;
                    }
                }
                None => wrong.push(format!("there is no metric {word}")),
            }
        } else if word == "up" && tokens.get(at) == Some(&Token::Mark('{')) {
            at = (at..tokens.len()).find(|index| tokens[*index] == Token::Mark('}')).unwrap_or(tokens.len());
        }
    }
    for label in labels {
        let of_bucket = label == "le" && metrics.iter().any(|(_, name)| name.ends_with("_bucket"));
        let of_metric =
            metrics.iter().any(|(metric, _)| metric.labels.iter().any(|(known, _)| *known == label.as_str()));
        if !of_bucket && !of_metric && !OF_THE_SCRAPE.contains(&label.as_str()) {
            wrong.push(format!("there is no label {label}"));
        }
    }
    wrong
}

/// The metrics that an expression names.
pub(super) fn metrics(expression: &str) -> Vec<&'static str> {
    let words = tokens(expression).into_iter().filter_map(|token| match token {
        Token::Word(word) => known(&word),
        _ => None,
    });
    words.map(|metric| metric.name).collect()
}

fn known(word: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| {
        if !metric.histogram {
            return metric.name == word;
        }
        let part = word.strip_prefix(metric.name);
        matches!(part, Some("_bucket" | "_sum" | "_count"))
    })
}

/// What is wrong between the braces: `label="value", ...`.
fn matchers(metric: &Metric, inside: &[Token]) -> Vec<String> {
    let mut wrong = Vec::new();
    for matcher in inside.split(|token| *token == Token::Mark(',')) {
        let (Some(Token::Word(label)), Some(Token::Text(value))) = (matcher.first(), matcher.last()) else {
            wrong.push(format!("{}: no matcher: {matcher:?}", metric.name));
            continue;
        };
        if OF_THE_SCRAPE.contains(&label.as_str()) {
            continue;
        }
        let exact = matcher.len() == 3;
        match metric.labels.iter().find(|(known, _)| known == label) {
            None => wrong.push(format!("{} has no label {label}", metric.name)),
            Some((_, values)) if exact && !values.is_empty() && !values.contains(&value.as_str()) => {
                wrong.push(format!("{label} of {} is never {value:?}", metric.name));
            }
            Some(_) => {}
        }
    }
    wrong
}

#[test]
fn a_wrong_metric_label_value_or_function_is_complained_of() {
    for (expression, complaint) in [
        ("deskferry_conflict > 0", "there is no metric deskferry_conflict"),
        (
            "rate(deskferry_http_request_duration_seconds[5m])",
            "there is no metric deskferry_http_request_duration_seconds",
        ),
        ("deskferry_alarm{alarm=\"run_fail\"} == 1", "alarm of deskferry_alarm is never \"run_fail\""),
        ("deskferry_parked{kind=\"sync\"}", "deskferry_parked has no label kind"),
        ("sum by (rout) (rate(deskferry_http_requests_total[5m]))", "there is no label rout"),
        ("sum by (le) (deskferry_conflicts)", "there is no label le"),
        ("rat(deskferry_http_throttled_total[5m])", "rat is no function"),
    ] {
        assert_eq!(complaints(expression, &[]), [complaint], "{expression}");
    }
    assert_eq!(complaints("deskferry_parked", &[String::from("kind")]), ["there is no label kind"]);
}

#[test]
fn a_right_expression_is_left_in_peace() {
    for expression in [
        "absent(deskferry_build_info)",
        "up{job=\"deskferry\"} == 0",
        "deskferry_alarm{instance=~\"$instance\", alarm=\"disk_low\"} == 1",
        "histogram_quantile(0.95, sum by (platform, le) (rate(deskferry_http_request_duration_seconds_bucket{platform=~\"x.*\"}[$__rate_interval])))",
        "(time() - (deskferry_next_activation_timestamp_seconds > 0) > 9e2) unless on (instance) (max by (instance) (deskferry_run_in_progress) == 1)",
    ] {
        assert_eq!(complaints(expression, &[]), Vec::<String>::new(), "{expression}");
    }
}
