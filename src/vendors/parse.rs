//! Readers of the notations that several vendors share: numbers in strings, `HH:MM:SS`, and the many spellings of
//! "nothing". Nothing is never zero: a figure is there, absent, or wrong.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::amount::Amount;

/// A JSON string, number or null as text, without passing through floating point: call ids exceed 2^53.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(pub String);

/// A value that is there, absent (the vendor says "nothing"), or cannot be what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed<T> {
    /// A figure.
    Value(T),
    /// `""`, `"-"`, `"None"`, `"null"`, null.
    Absent,
    /// Negative, non-numeric, or otherwise no figure.
    Wrong,
}

impl<T> Parsed<T> {
    /// The figure, if there is one.
    pub fn value(self) -> Option<T> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Wrong => None,
        }
    }
}

/// Whether a vendor's text says "nothing".
pub fn is_nothing(text: &str) -> bool {
    matches!(text.trim(), "" | "-" | "None" | "none" | "null" | "NULL")
}

/// A duration: `H:MM:SS` with any number of hours, or plain seconds.
pub fn duration(text: &str) -> Parsed<Amount> {
    let text = text.trim();
    if is_nothing(text) {
        return Parsed::Absent;
    }
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<u64>().ok()).flatten();
    let mut parts = text.split(':');
    let seconds = match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(seconds), None, None, None) => digits(seconds),
        (Some(h), Some(m), Some(s), None) if m.len() == 2 && s.len() == 2 => match (digits(h), digits(m), digits(s)) {
            (Some(h), Some(m), Some(s)) if m < 60 && s < 60 && h < 1_000_000 => Some(h * 3600 + m * 60 + s),
            _ => None,
        },
        _ => None,
    };
    seconds.filter(|seconds| *seconds <= 1 << 53).map_or(Parsed::Wrong, |seconds| Parsed::Value(Amount::whole(seconds)))
}

/// A count: a whole number from 0.
pub fn count(text: &str) -> Parsed<Amount> {
    let text = text.trim();
    if is_nothing(text) {
        return Parsed::Absent;
    }
    let whole = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    whole.filter(|n| *n <= 1 << 53).map_or(Parsed::Wrong, |n| Parsed::Value(Amount::whole(n)))
}

impl Text {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Text;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a number or null")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text, E> {
                Ok(Text(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<Text, E> {
                Ok(Text(n.to_string()))
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<Text, E> {
                Ok(Text(n.to_string()))
            }

            fn visit_f64<E: de::Error>(self, n: f64) -> Result<Text, E> {
                Ok(Text(n.to_string()))
            }

            fn visit_bool<E: de::Error>(self, yes: bool) -> Result<Text, E> {
                Ok(Text(yes.to_string()))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Text, E> {
                Ok(Text::default())
            }

            fn visit_none<E: de::Error>(self) -> Result<Text, E> {
                Ok(Text::default())
            }

            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Text, D::Error> {
                deserializer.deserialize_any(self)
            }
        }

        deserializer.deserialize_any(Any)
    }
}

/// A sum of what is there: a value that the vendor leaves out adds nothing, and is no zero.
pub fn add(sum: &mut Option<Amount>, figure: Option<Amount>) {
    *sum = sum.iter().copied().chain(figure).reduce(|sum, figure| sum + figure);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_any_number_of_hours() {
        for (text, seconds) in
            [("00:12:34", 754), ("4:38:08", 16_688), ("99:59:59", 359_999), ("123:00:01", 442_801), ("90", 90)]
        {
            assert_eq!(duration(text), Parsed::Value(Amount::whole(seconds)), "{text}");
        }
    }

    #[test]
    fn nothing_is_not_zero_and_nonsense_is_neither() {
        for text in ["", " ", "-", "None", "null"] {
            assert_eq!(duration(text), Parsed::Absent, "{text:?}");
            assert_eq!(count(text), Parsed::Absent, "{text:?}");
        }
        for text in ["-00:00:01", "00:61:00", "00:00", "1:2:3", "abc", "-5", "1.5", "00:00:60", "99999999999999999999"]
        {
            assert_eq!(duration(text), Parsed::Wrong, "{text:?}");
        }
        assert_eq!(count("00:12:34"), Parsed::Wrong);
    }

    #[test]
    fn large_ids_keep_their_digits() {
        let ids: Vec<Text> =
            serde_json::from_str(r#"[31571870688636584, "31571870688636585", null]"#).unwrap_or_default();
        assert_eq!(ids.iter().map(Text::as_str).collect::<Vec<_>>(), ["31571870688636584", "31571870688636585", ""]);
    }
}
