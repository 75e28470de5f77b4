//! The stamp: the LiveDesk id written into the FIRST LINE record itself, and how it is read back.

use crate::domain::ids::LiveDeskId;
use crate::domain::record::{FieldKey, FieldValue, is_blank};
use crate::domain::target::TargetContact;
use crate::sync::ports::{ContactFilter, FilterEncoding};
use serde_json::Value;

/// Where the stamp is written. At least one of the two is set (config refuses neither).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StampScheme {
    /// `membership_no`, behind this prefix.
    pub membership_prefix: Option<String>,
    /// A text custom field of its own.
    pub custom_field: Option<i64>,
}

/// What a record's stamp says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StampReading {
    /// The answer lacks the parts that would hold it; read the record by id.
    NotSaid,
    /// No stamp.
    None,
    /// The stamp of this contact.
    Of(LiveDeskId),
    /// Something stands where our stamp would, and it is not ours.
    Foreign,
}

impl StampScheme {
    /// The fields to write for a contact.
    pub fn fields(&self, id: LiveDeskId) -> Vec<(FieldKey, FieldValue)> {
        let membership = self
            .membership_prefix
            .as_ref()
            .map(|prefix| (FieldKey::MembershipNo, FieldValue::Text(format!("{prefix}{id}"))));
        let custom = self.custom_field.map(|field| (FieldKey::Custom(field), FieldValue::Text(id.to_string())));
        membership.into_iter().chain(custom).collect()
    }

    /// Whether a field holds the stamp.
    pub fn holds(&self, field: FieldKey) -> bool {
        match field {
            FieldKey::MembershipNo => self.membership_prefix.is_some(),
            FieldKey::Custom(id) => self.custom_field == Some(id),
            _ => false,
        }
    }

    /// The stamp as one text, for the intent.
    pub fn text(&self, id: LiveDeskId) -> String {
        match &self.membership_prefix {
            Some(prefix) => format!("{prefix}{id}"),
            None => id.to_string(),
        }
    }

    /// The filters that could find a contact's stamp, most trustworthy first.
    pub fn filters(&self, id: LiveDeskId) -> Vec<ContactFilter> {
        let membership =
            self.membership_prefix.as_ref().map(|prefix| ContactFilter::MembershipNo(format!("{prefix}{id}")));
        let custom = self.custom_field.into_iter().flat_map(move |field| {
            [FilterEncoding::Brackets, FilterEncoding::Json].map(|encoding| ContactFilter::CustomField {
                field,
                value: id.to_string(),
                encoding,
            })
        });
        membership.into_iter().chain(custom).collect()
    }

    /// Reads the stamp of a record. With both places configured, the first that holds something of ours speaks;
    /// two different ids are foreign.
    pub fn read(&self, record: &TargetContact) -> StampReading {
        let membership = self.membership_prefix.as_ref().map(|prefix| match record.value(FieldKey::MembershipNo) {
            None => StampReading::NotSaid,
            Some(value) => read_membership(prefix, value),
        });
        let custom = self.custom_field.map(|field| match record.value(FieldKey::Custom(field)) {
            None => StampReading::NotSaid,
            Some(value) => read_custom(value),
        });
        match (membership, custom) {
            (Some(reading), None) | (None, Some(reading)) => reading,
            (Some(StampReading::Of(one)), Some(StampReading::Of(other))) if one != other => StampReading::Foreign,
            (Some(StampReading::Of(id)), _) | (_, Some(StampReading::Of(id))) => StampReading::Of(id),
            (Some(StampReading::Foreign), _) | (_, Some(StampReading::Foreign)) => StampReading::Foreign,
            (Some(StampReading::NotSaid), _) => StampReading::NotSaid,
            // A record of ours has the prefix there, unless an adopted one kept its own number: then the field decides.
            (Some(StampReading::None), Some(StampReading::NotSaid)) if has_own_number(record) => StampReading::NotSaid,
            (Some(StampReading::None), Some(_)) | (None, None) => StampReading::None,
        }
    }
}

fn has_own_number(record: &TargetContact) -> bool {
    record.value(FieldKey::MembershipNo).is_some_and(|value| !is_blank(value))
}

/// `LD-12` is ours; `LD-GOLD` and `LD-012` look like ours and are not; anything else is a number of the tenant.
fn read_membership(prefix: &str, value: &Value) -> StampReading {
    let Some(text) = value.as_str() else {
        return StampReading::None;
    };
    match text.strip_prefix(prefix) {
        None => StampReading::None,
        Some(rest) => parse_id(rest).map_or(StampReading::Foreign, StampReading::Of),
    }
}

fn read_custom(value: &Value) -> StampReading {
    if is_blank(value) {
        return StampReading::None;
    }
    let id = match value {
        Value::Number(number) => number.as_i64().map(LiveDeskId),
        Value::String(text) => parse_id(text),
        _ => None,
    };
    id.map_or(StampReading::Foreign, StampReading::Of)
}

fn parse_id(text: &str) -> Option<LiveDeskId> {
    let id = text.parse::<i64>().ok()?;
    (id >= 0 && id.to_string() == text).then_some(LiveDeskId(id))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::{Value, json};

    use super::{StampReading, StampScheme};
    use crate::domain::ids::{FirstLineId, LiveDeskId};
    use crate::domain::record::FieldKey;
    use crate::domain::target::TargetContact;

    fn record(membership: Option<Value>, custom: Option<Value>) -> TargetContact {
        TargetContact {
            id: FirstLineId(1),
            profile_id: None,
            standard: membership.map(|value| (FieldKey::MembershipNo, value)).into_iter().collect(),
            custom: custom.map(|value| BTreeMap::from([(31, value)])),
            custom_unreadable: false,
            emails: None,
            phones: None,
            tag_ids: None,
            company_ids: None,
        }
    }

    #[test]
    fn a_stamp_is_read_only_when_it_is_exactly_ours() {
        let scheme = StampScheme { membership_prefix: Some("LD-".into()), custom_field: None };
        let rows = [
            (Some(json!("LD-12")), StampReading::Of(LiveDeskId(12))),
            (Some(json!("LD-012")), StampReading::Foreign),
            (Some(json!("LD-GOLD")), StampReading::Foreign),
            (Some(json!("LD-")), StampReading::Foreign),
            (Some(json!("A-12")), StampReading::None),
            (Some(json!(null)), StampReading::None),
            (None, StampReading::NotSaid),
        ];
        for (stored, reading) in rows {
            assert_eq!(scheme.read(&record(stored.clone(), None)), reading, "{stored:?}");
        }
    }

    #[test]
    fn a_custom_field_stamp_needs_the_custom_fields() {
        let scheme = StampScheme { membership_prefix: None, custom_field: Some(31) };
        assert_eq!(scheme.read(&record(None, None)), StampReading::NotSaid);
        assert_eq!(scheme.read(&record(None, Some(json!("12")))), StampReading::Of(LiveDeskId(12)));
        assert_eq!(scheme.read(&record(None, Some(json!(12)))), StampReading::Of(LiveDeskId(12)));
        assert_eq!(scheme.read(&record(None, Some(json!("")))), StampReading::None);
        assert_eq!(scheme.read(&record(None, Some(json!("x")))), StampReading::Foreign);
    }

    #[test]
    fn two_stamps_that_disagree_are_foreign() {
        let scheme = StampScheme { membership_prefix: Some("LD-".into()), custom_field: Some(31) };
        assert_eq!(scheme.read(&record(Some(json!("LD-1")), Some(json!("2")))), StampReading::Foreign);
        assert_eq!(scheme.read(&record(Some(json!("LD-1")), None)), StampReading::Of(LiveDeskId(1)));
        assert_eq!(scheme.read(&record(Some(json!("M-1")), Some(json!("2")))), StampReading::Of(LiveDeskId(2)));
        assert_eq!(scheme.read(&record(Some(json!("M-1")), None)), StampReading::NotSaid);
        assert_eq!(scheme.read(&record(Some(json!(null)), None)), StampReading::None);
    }
}
