//! Makes a list of operations that fails as short as it gets: leaves parts out for as long as it fails all the same.

use super::operations::Operation;

/// The shortest list found with at most `tries` runs, and how it fails.
pub(super) fn shrink(
    list: Vec<Operation>,
    failure: String,
    tries: usize,
    fails: impl Fn(&[Operation]) -> Option<String>,
) -> (Vec<Operation>, String) {
    let (mut list, mut failure, mut left) = (list, failure, tries);
    let mut chunk = list.len().div_ceil(2);
    while chunk > 0 && left > 0 {
        let mut at = 0;
        let mut shorter = false;
        while at < list.len() && left > 0 {
            let mut rest = list.clone();
            rest.drain(at..(at + chunk).min(list.len()));
            left -= 1;
            match fails(&rest) {
                Some(other) => {
                    (list, failure, shorter) = (rest, other, true);
                }
                None => at += chunk,
            }
        }
        if chunk == 1 && !shorter {
            break;
        }
        chunk = if chunk == 1 { 1 } else { chunk.div_ceil(2) };
    }
    (list, failure)
}

/// What sort of failure it is: its first finding without numbers and names. Another one is not what is being looked for.
pub(super) fn kind(failure: &str) -> String {
    let finding = failure.lines().nth(1).unwrap_or(failure);
    let words = finding.split(['(', '"', '[', '{']).next().unwrap_or_default();
    words.chars().filter(|letter| letter.is_alphabetic() || *letter == ' ').collect()
}

/// The list as it is kept in `regressions.rs`.
pub(super) fn print(list: &[Operation]) -> String {
    let rows: Vec<String> =
        list.iter().map(|operation| format!("    ({}, {:?}),", operation.at, operation.op)).collect();
    format!("[\n{}\n]", rows.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::super::operations::{Op, Operation};
    use super::shrink;

    #[test]
    fn a_list_shrinks_to_the_two_operations_that_fail_together() {
        let list: Vec<Operation> = (0..200).map(|at| Operation { at, op: Op::Import(1) }).collect();
        let fails = |list: &[Operation]| {
            let has = |at| list.iter().any(|operation| operation.at == at);
            (has(17) && has(140)).then(|| String::from("both"))
        };
        let (short, _) = shrink(list, String::new(), 1_000, fails);
        assert_eq!(short.iter().map(|operation| operation.at).collect::<Vec<_>>(), [17, 140]);
    }
}
