//! What stands in a source of GUIDs: which entries can be used, and what is said of those that cannot. Where the text
//! comes from is not decided here.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use http::HeaderValue;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::failure::{Failure, Reason};

/// What one agent is asked with. Both never print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The header `Guid`.
    pub guid: HeaderValue,
    /// The header `Cookie`, for gateways behind a load balancer; never shared between agents.
    pub cookie: Option<HeaderValue>,
}

/// What a source gave.
#[derive(Debug, Default)]
pub struct Guids {
    /// The agents that can be asked.
    pub agents: BTreeMap<u32, Credentials>,
    /// All agents that the source names, those with an unusable GUID too.
    pub named: BTreeSet<u32>,
    /// The entries that cannot be used.
    pub failures: Vec<Failure>,
}

/// The entries in the order of the source, not yet looked into: a bad one must not spoil the others.
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Guid(String),
    WithCookie { guid: String, cookie: Option<String> },
}

// === impl Guids ===

/// Reads `{"101":"<guid>"}` or `{"101":{"guid":"…","cookie":"…"}}`.
pub fn parse(bytes: &[u8]) -> Result<Guids, Failure> {
    let Entries(entries) = serde_json::from_slice(bytes)
        .map_err(|_| Failure::new(Reason::Config, "the GUID source is no JSON object of agent ids and GUIDs"))?;
    let mut guids = Guids::default();
    for (index, (id, raw)) in entries.iter().enumerate() {
        let bad = |detail| Failure::new(Reason::Config, detail).at(format!("entry {}", index + 1));
        let Some(id) = agent_id(id) else {
            guids.failures.push(bad("an agent id of the GUID source is no number from 101 to 999999"));
            continue;
        };
        // An agent that is named twice could be asked twice at once.
        if !guids.named.insert(id) {
            guids.failures.push(bad("the GUID source names an agent twice"));
            continue;
        }
        match serde_json::from_str(raw.get()).ok().and_then(Entry::credentials) {
            Some(credentials) => {
                guids.agents.insert(id, credentials);
            }
            None => guids.failures.push(bad("an agent of the GUID source has no usable GUID")),
        }
    }
    Ok(guids)
}

/// 101 to 999999; one spelling only, because it becomes part of a URL.
fn agent_id(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|id| plain && (101..=999_999).contains(id))
}

impl Entry {
    fn credentials(self) -> Option<Credentials> {
        let (guid, cookie) = match self {
            Self::Guid(guid) => (guid, None),
            Self::WithCookie { guid, cookie } => (guid, cookie),
        };
        let guid = guid.trim();
        let guid = guid.strip_prefix("JSESSIONID=").unwrap_or(guid);
        let cookie = cookie.as_deref().map(str::trim).filter(|cookie| !cookie.is_empty());
        Some(Credentials {
            guid: sensitive(guid).filter(|_| !guid.is_empty())?,
            cookie: match cookie {
                Some(cookie) => Some(sensitive(cookie)?),
                None => None,
            },
        })
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Entries<'de>, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_entry_are_read_and_never_print() {
        let guids = parse(include_bytes!("../../../../tests/fixtures/huawei/guids.json")).unwrap();
        let read: Vec<_> = guids
            .agents
            .iter()
            .map(|(id, Credentials { guid, cookie })| {
                (*id, guid.to_str().unwrap(), cookie.as_ref().map(|c| c.to_str().unwrap()))
            })
            .collect();
        assert_eq!(
            read,
            [
                (101, "5b1f7a20-3c4d-4e5f-8a9b-0c1d2e3f4a5b.AgentGateway0", None),
                (4402, "7d2c9b31-1a2b-4c3d-9e8f-6a5b4c3d2e1f.AgentGateway1", Some("route=gw1")),
                (999_999, "9e3d8c42-2b3c-4d4e-8f7a-5b4c3d2e1f0a.AgentGateway0", None),
            ]
        );
        let shown = format!("{guids:?}");
        assert!(!shown.contains("AgentGateway") && !shown.contains("route"), "{shown}");
    }

    #[test]
    fn a_bad_entry_is_told_by_its_place_and_the_others_go_on() {
        let text = include_str!("../../../../tests/fixtures/huawei/guids_bad_entries.json");
        let guids = parse(text.as_bytes()).unwrap();
        assert_eq!(guids.agents.keys().copied().collect::<Vec<_>>(), [102, 103]);
        // An agent whose GUID is empty is still named.
        assert_eq!(guids.named.iter().copied().collect::<Vec<_>>(), [102, 103, 104, 105, 106, 107, 108]);
        let places: Vec<_> = guids.failures.iter().map(|failure| failure.place.clone().unwrap_or_default()).collect();
        let expected: Vec<_> = [1, 2, 3, 4, 7, 8, 9, 10, 11, 12].iter().map(|n| format!("entry {n}")).collect();
        assert_eq!(places, expected);
        assert!(guids.failures.iter().all(|failure| failure.reason == Reason::Config));
        let shown = format!("{:?}", guids.failures);
        assert!(!shown.contains("CANARY") && !shown.contains("1000000"), "{shown}");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "\"x\"", "{\"101\":", "{\"101\":\"a\"} x", "<html>", "null"] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().reason, Reason::Config, "{text}");
        }
        assert!(parse(b"{}").unwrap().agents.is_empty());
    }
}
