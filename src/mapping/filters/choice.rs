//! The `choice` filter: a value translated by a table in the expression itself.

use minijinja::value::{Value, ValueKind};

use super::{FilterError, FilterResult, Settings, arguments, scalar_text};

/// `choice({'gold': 1, 'silver': 2}, default)`: the entry of the value, first exactly, then in any case.
///
/// A list is translated item by item. Without `default`, a value that the table lacks is an error.
pub(super) fn choice(_: &Settings, value: &Value, given: &[Value]) -> FilterResult {
    let [table, default] = arguments(given, ["table", "default"])?;
    let table = table.filter(|table| table.kind() == ValueKind::Map).ok_or_else(|| {
        FilterError::Argument(String::from("choice needs a table, as in choice({'gold': 1, 'silver': 2})"))
    })?;
    let translate = |item: &Value| -> FilterResult {
        let Some(word) = scalar_text(item)? else { return Ok(Value::UNDEFINED) };
        let found = find(&table, &word).or_else(|| default.clone());
        found.ok_or_else(|| FilterError::Value(String::from("is not in the table of `choice`")))
    };
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            let items =
                value.try_iter().map_err(|_| FilterError::Value(String::from("is a list that cannot be read")))?;
            Ok(Value::from(items.map(|item| translate(&item)).collect::<Result<Vec<_>, _>>()?))
        }
        _ => translate(value),
    }
}

fn find(table: &Value, word: &str) -> Option<Value> {
    let keys: Vec<Value> = table.try_iter().ok()?.collect();
    let exact = keys.iter().find(|key| key.to_string() == word);
    let folded = word.to_lowercase();
    let mut alike = keys.iter().filter(|key| key.to_string().to_lowercase() == folded);
    let key = exact.or_else(|| alike.next().filter(|_| alike.next().is_none()))?;
    table.get_item(key).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{check, run};

    #[test]
    fn a_value_is_translated_by_the_table() {
        check([
            ("name | choice({'gold': 1, 'silver': 2})", json!("gold"), json!(1)),
            ("name | choice({'gold': 1, 'silver': 2})", json!(" Silver "), json!(2)),
            ("name | choice({1: 'one'})", json!("1"), json!("one")),
            ("name | choice({'a': 'x', 'A': 'y'})", json!("A"), json!("y")),
            ("name | choice({'gold': 1}, default=0)", json!("tin"), json!(0)),
            ("name | choice({'a': 1, 'b': 2})", json!(["b", "a"]), json!([2, 1])),
        ]);
        assert!(run("name | choice({'gold': 1})", &json!("tin")).is_err());
    }
}
