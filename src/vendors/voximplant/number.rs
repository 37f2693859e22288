//! Figures as Voximplant writes them: JSON numbers. What else may stand in their place is told apart here, so that it
//! costs its row and not the whole answer.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::amount::Amount;
use crate::vendors::parse::{Parsed, is_nothing};

/// A JSON number from 0, nothing, or something wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number(pub Parsed<Amount>);

// === impl Number ===

impl Default for Number {
    fn default() -> Self {
        Self(Parsed::Absent)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            #[expect(clippy::cast_precision_loss, reason = "what exceeds 2^53 is refused")]
            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Number, E> {
                self.visit_f64(n as f64)
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Number, E> {
                // Only negative numbers come this way.
                Ok(Number(u64::try_from(n).map_or(Parsed::Wrong, |n| Parsed::Value(Amount::whole(n)))))
            }

            fn visit_f64<E: de::Error>(self, n: f64) -> Result<Number, E> {
                Ok(Number(Amount::from_f64(n).map_or(Parsed::Wrong, Parsed::Value)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Number, E> {
                Ok(Number(if is_nothing(text) { Parsed::Absent } else { Parsed::Wrong }))
            }

            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Number, E> {
                Ok(Number(Parsed::Wrong))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Number, E> {
                Ok(Number(Parsed::Absent))
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Number, S::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Number(Parsed::Wrong))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Number, M::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Number(Parsed::Wrong))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_are_figures() {
        let numbers: Vec<Number> = serde_json::from_str(
            r#"[0, 7, 7.0, 1.25, null, "", "-", "None", -1, -0.5, "7", true, {"sum": 7}, [7], 1e18, 9007199254740994]"#,
        )
        .unwrap();
        let figures: Vec<_> = numbers[..4].iter().filter_map(|number| number.0.value()).map(Amount::as_f64).collect();
        assert_eq!(figures, [0.0, 7.0, 7.0, 1.25]);
        assert!(numbers[4..8].iter().all(|number| number.0 == Parsed::Absent));
        assert!(numbers[8..].iter().all(|number| number.0 == Parsed::Wrong), "{numbers:?}");
    }
}
