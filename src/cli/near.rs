//! Ids that a person may have meant, for messages about one that is not known.

use std::fmt::Display;

use super::output::Failure;
use crate::domain::ids::{FirstLineId, LiveDeskId};
use crate::store::Store;

/// Ids that are named.
const NAMED: usize = 3;

/// `; did you mean 12, 13?`, of contacts; empty where the state knows none.
pub async fn contacts(store: &Store, id: LiveDeskId) -> Result<String, Failure> {
    Ok(phrase(&store.contacts_near(id, NAMED).await?))
}

/// The same, of linked customers.
pub async fn customers(store: &Store, id: FirstLineId) -> Result<String, Failure> {
    Ok(phrase(&store.customers_near(id, NAMED).await?))
}

fn phrase(near: &[impl Display]) -> String {
    if near.is_empty() {
        return String::new();
    }
    let near: Vec<String> = near.iter().map(ToString::to_string).collect();
    format!("; did you mean {}?", near.join(", "))
}
