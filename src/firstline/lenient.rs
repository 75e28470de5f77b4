//! The leaves of what FIRST LINE answers: numbers that may be text, texts that may be numbers, parts that may be
//! missing (notes FIRST LINE 2.1, 3.1). None of them puts what it read into an error.

use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A whole number, also as text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Int(pub(super) i64);

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntVisitor;
        impl Visitor<'_> for IntVisitor {
            type Value = Int;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Int, E> {
                Ok(Int(number))
            }

            fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<Int, E> {
                i64::try_from(number).map(Int).map_err(E::custom)
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Int, E> {
                // The text itself may be anything, so it is not put into the error.
                text.trim().parse().map(Int).map_err(|_| E::custom("not a whole number"))
            }
        }
        deserializer.deserialize_any(IntVisitor)
    }
}

/// A text, also as number; nothing is an empty text.
#[derive(Default)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(Self(text)),
            Value::Number(number) => Ok(Self(number.to_string())),
            Value::Null => Ok(Self::default()),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => Err(D::Error::custom("not a text")),
        }
    }
}

/// Yes or no, also as 0 and 1, also as text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Flag(pub(super) bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        match (value.as_bool(), value.as_i64(), value.as_str()) {
            (Some(yes), _, _) => Ok(Self(yes)),
            (_, Some(0), _) | (_, _, Some("0" | "false")) => Ok(Self(false)),
            (_, Some(1), _) | (_, _, Some("1" | "true")) => Ok(Self(true)),
            _ => Err(D::Error::custom("neither yes nor no")),
        }
    }
}

/// A row that may be unreadable: one odd row must not take the others with it.
pub(super) struct Row<T>(pub(super) Option<T>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Row<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        soft(deserializer).map(Self)
    }
}

impl<T> Row<T> {
    /// The row; one that is unreadable is left out, with a warning that holds nothing of it. `what` names its kind.
    pub(super) fn or_warn(self, what: &'static str) -> Option<T> {
        if self.0.is_none() {
            tracing::warn!(what, "an unreadable row of FIRST LINE's definitions is left out");
        }
        self.0
    }
}

/// A key that is there, `null` included.
pub(super) fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Whether a key is there, `null` included.
pub(super) fn there<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

/// Whether a part is a list, without keeping any of it.
pub(super) fn is_list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    struct ListVisitor;
    impl<'de> Visitor<'de> for ListVisitor {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("anything")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<bool, A::Error> {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            Ok(true)
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<bool, A::Error> {
            while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(false)
        }

        fn visit_unit<E>(self) -> Result<bool, E> {
            Ok(false)
        }

        fn visit_bool<E>(self, _: bool) -> Result<bool, E> {
            Ok(false)
        }

        fn visit_i64<E>(self, _: i64) -> Result<bool, E> {
            Ok(false)
        }

        fn visit_u64<E>(self, _: u64) -> Result<bool, E> {
            Ok(false)
        }

        fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
            Ok(false)
        }

        fn visit_str<E>(self, _: &str) -> Result<bool, E> {
            Ok(false)
        }
    }
    deserializer.deserialize_any(ListVisitor)
}

/// A part that may be missing, `null` or of another shape: all of them mean that it was not said.
pub(super) fn soft<'de, D: Deserializer<'de>, T: DeserializeOwned>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(serde_json::from_value(Value::deserialize(deserializer)?).ok())
}

/// What an answer says of a part.
#[derive(Default)]
pub(super) enum Said<T> {
    /// Its key is missing, or `null`.
    #[default]
    Nothing,
    /// Its key is there, with something that cannot be read.
    Unreadable,
    /// The part.
    This(T),
}

impl<T> Said<T> {
    /// The part, where it was said.
    pub(super) fn this(self) -> Option<T> {
        match self {
            Self::This(part) => Some(part),
            Self::Nothing | Self::Unreadable => None,
        }
    }
}

impl<'de, T: serde::de::DeserializeOwned> Deserialize<'de> for Said<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Value::deserialize(deserializer)? {
            Value::Null => Self::Nothing,
            value => serde_json::from_value(value).map_or(Self::Unreadable, Self::This),
        })
    }
}
