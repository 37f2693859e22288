//! Durations (`30s`, `5m`) and rate limits (`50/1m`) as they are written in exporter.yml.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// The limit's period is taken for longer by this part of it, a second of a minute: spaced to the very limit, one request
/// too many would arrive within a period whenever the first of them was under way longer than the last.
const SLACK: u32 = 60;

/// No duration is longer: multiples of it, and moments that far ahead, stay within what time types hold.
const LONGEST: Duration = Duration::from_hours(366 * 24);

/// A duration such as `30s`, `5m` or `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// So many requests in so much time, spread evenly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests.
    pub count: u32,
    /// In this time.
    pub per: Duration,
}

impl RateLimit {
    /// So many requests per minute.
    pub const fn per_minute(count: u32) -> Self {
        Self { count, per: Duration::from_mins(1) }
    }

    /// The time between two requests, with some slack.
    pub fn spacing(self) -> Duration {
        let spacing = self.per / self.count;
        spacing + spacing / SLACK
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.count, humantime::format_duration(self.per))
    }
}

impl std::str::FromStr for RateLimit {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a rate such as 50/1m: a whole number from 1, a slash, a duration";
        let (count, per) = text.split_once('/').ok_or(EXPECTED)?;
        let count = count.trim().parse().ok().filter(|count| *count > 0).ok_or(EXPECTED)?;
        let per = humantime::parse_duration(per.trim())
            .ok()
            .filter(|per| !per.is_zero() && *per <= LONGEST)
            .ok_or(EXPECTED)?;
        Ok(Self { count, per })
    }
}

struct Text<T>(fn(&str) -> Result<T, &'static str>, &'static str);

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.1)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.0)(text).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a duration such as 30s, 5m or 3d";
        fn parse(text: &str) -> Result<Span, &'static str> {
            let span = humantime::parse_duration(text).map_err(|_| "expected a duration such as 30s, 5m or 3d")?;
            if span <= LONGEST { Ok(Span(span)) } else { Err("expected a duration of at most a year") }
        }
        deserializer.deserialize_str(Text(parse, EXPECTED))
    }
}

impl<'de> Deserialize<'de> for RateLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text(str::parse, "a rate such as 50/1m"))
    }
}

impl JsonSchema for Span {
    fn schema_name() -> Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The units of humantime.
        let unit = "(nanos|nsec|ns|usec|us|µs|millis|msec|ms|\
            (sec|second|min|minute|hr|hour|day|wk|week|month|yr|year)s?|[smhdwMy])";
        json_schema!({"type": "string", "pattern": format!("^( *[0-9]+(\\.[0-9]+)? *{unit})+ *$")})
    }
}

impl JsonSchema for RateLimit {
    fn schema_name() -> Cow<'static, str> {
        "RateLimit".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": "^ *[0-9]*[1-9][0-9]* */ *[0-9]"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_a_count_and_a_time() {
        assert_eq!("50/1m".parse(), Ok(RateLimit::per_minute(50)));
        assert_eq!("2 / 30s".parse(), Ok(RateLimit { count: 2, per: Duration::from_secs(30) }));
        for wrong in ["50", "0/1m", "-1/1m", "50/0s", "50/", "/1m", "x/1m"] {
            assert!(wrong.parse::<RateLimit>().is_err(), "{wrong}");
        }
        assert_eq!(RateLimit::per_minute(50).spacing(), Duration::from_millis(1220));
    }
}
