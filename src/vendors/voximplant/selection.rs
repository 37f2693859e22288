//! Which operators or queues a report asks for.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::settings::Problems;

/// `all`, or a list of ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Selection {
    /// Whatever the account has.
    #[default]
    All,
    /// These only.
    Ids(Vec<u64>),
}

// === impl Selection ===

impl Selection {
    /// How many different ids there are, if they are listed.
    pub(super) fn count(&self) -> Option<u64> {
        let Self::Ids(ids) = self else { return None };
        Some(ids.iter().collect::<BTreeSet<_>>().len() as u64)
    }

    /// Adds what is wrong; `at` is the key's path.
    pub(super) fn check(&self, at: &str, problems: &mut Problems) {
        let Self::Ids(ids) = self else { return };
        if ids.is_empty() {
            problems.add(at, "the list is empty: give ids from 1, or leave the key out for all");
        }
        if ids.contains(&0) {
            problems.add(at, "expected ids from 1");
        }
    }
}

/// As the vendor wants it: `all`, or ids joined by semicolons.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ids(ids) = self else { return f.write_str("all") };
        for (index, id) in ids.iter().enumerate() {
            write!(f, "{}{id}", if index == 0 { "" } else { ";" })?;
        }
        Ok(())
    }
}

impl JsonSchema for Selection {
    fn schema_name() -> Cow<'static, str> {
        "Selection".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1}]})
    }
}

impl<'de> Deserialize<'de> for Selection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AllOrIds;

        impl<'de> Visitor<'de> for AllOrIds {
            type Value = Selection;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all` or a list of ids")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Selection, E> {
                if text == "all" {
                    return Ok(Selection::All);
                }
                Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Selection, S::Error> {
                let mut ids = Vec::new();
                while let Some(id) = list.next_element()? {
                    ids.push(id);
                }
                Ok(Selection::Ids(ids))
            }
        }

        deserializer.deserialize_any(AllOrIds)
    }
}
