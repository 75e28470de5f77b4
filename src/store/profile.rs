//! What is known about the tenant: the profile that probes and runs found out, and its field definitions.

use serde_json::{Value, json};

use crate::domain::field::{ChoiceOption, FieldDefinition, FieldKind};

use super::Store;
use super::error::StoreError;
use super::rows;

/// Profile key of the trial of an update that has begun: on which record, for whom; no values. Null when none has.
pub const UPDATE_TRIAL: &str = "update_trial";

impl Store {
    /// One finding.
    pub async fn profile_get(&self, key: &str) -> Result<Option<Value>, StoreError> {
        let value = sqlx::query_scalar!("SELECT value FROM profile WHERE key = ?1", key)
            .fetch_optional(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        value.map(|value| rows::json(&value, "profile.value")).transpose()
    }

    /// Stores a finding, or replaces it.
    pub async fn profile_put(&self, key: &str, value: &Value) -> Result<(), StoreError> {
        let (key, value, now) = (key.to_owned(), value.to_string(), self.now().0);
        self.transact(move |conn| {
            Box::pin(async move {
                sqlx::query!(
                    "INSERT INTO profile (key, value, at) VALUES (?1, ?2, ?3)
                     ON CONFLICT (key) DO UPDATE SET value = excluded.value, at = excluded.at",
                    key,
                    value,
                    now
                )
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// Replaces the stored field definitions.
    pub async fn save_definitions(&self, definitions: &[FieldDefinition]) -> Result<(), StoreError> {
        let definitions = rows::batch(definitions.iter().map(|field| {
            let options: Vec<Value> =
                field.options.iter().map(|option| json!({ "text": option.text, "value": option.value })).collect();
            (
                field.id,
                field.category_id,
                &field.category,
                &field.name,
                field.kind.code(),
                i64::from(field.required),
                Value::from(options).to_string(),
                field.default.as_ref().map(Value::to_string),
            )
        }));
        self.transact(move |conn| {
            Box::pin(async move {
                sqlx::query!("DELETE FROM field_definition").execute(&mut *conn).await?;
                sqlx::query!(
                    "INSERT INTO field_definition (id, category_id, category, name, kind, required, options, fallback)
                     SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3, value ->> 4, value ->> 5, value ->> 6,
                         value ->> 7
                     FROM jsonb_each(?1)",
                    definitions
                )
                .execute(conn)
                .await?;
                Ok(())
            })
        })
        .await
    }

    /// The stored field definitions, ascending by id.
    pub async fn definitions(&self) -> Result<Vec<FieldDefinition>, StoreError> {
        let rows = sqlx::query!("SELECT * FROM field_definition ORDER BY id")
            .fetch_all(&mut *self.reader().await?)
            .await
            .map_err(|source| self.failed(source))?;
        rows.into_iter()
            .map(|row| {
                Ok(FieldDefinition {
                    id: row.id,
                    category_id: row.category_id,
                    category: row.category,
                    name: row.name,
                    kind: rows::word(FieldKind::from_code(row.kind), "field_definition.kind")?,
                    required: row.required != 0,
                    options: options(&row.options)?,
                    default: row
                        .fallback
                        .map(|fallback| rows::json(&fallback, "field_definition.fallback"))
                        .transpose()?,
                })
            })
            .collect()
    }
}

fn options(text: &str) -> Result<Vec<ChoiceOption>, StoreError> {
    let place = "field_definition.options";
    let stored: Vec<Value> = rows::json(text, place)?;
    stored
        .into_iter()
        .map(|mut option| {
            let value = option.get_mut("value").map(Value::take);
            let text = option.get("text").and_then(Value::as_str);
            match (text, value) {
                (Some(text), Some(value)) => Ok(ChoiceOption { text: text.to_owned(), value }),
                _ => Err(StoreError::Unexpected { place }),
            }
        })
        .collect()
}
