//! How a book stands in the store: compact binary values, slots by a code from a table that is stored with them.

use serde::{Deserialize, Serialize};

use super::entity::{Cell, EntityState, Key, Session};
use super::slot::Slot;
use crate::amount::Amount;
use crate::reading::Entity;

/// Slot names by code. A code, once given, keeps its name for the life of the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Codes {
    names: Vec<String>,
    /// Since it was last stored.
    pub(super) grown: bool,
}

type Numbers = Vec<(u16, Amount)>;

#[derive(Serialize, Deserialize)]
enum StoredKey {
    Session,
    Day(i32),
    Call(i32, u64),
}

#[derive(Serialize, Deserialize)]
struct StoredEntity {
    kind: u8,
    key: String,
    seen: i64,
    totals: Numbers,
    cells: Vec<(StoredKey, Numbers, Numbers)>,
    session: Option<(Numbers, i64)>,
}

/// Why a stored value cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("a stored value cannot be read")]
pub(super) struct Unreadable;

// === impl Codes ===

impl Codes {
    /// The table as it was stored.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, Unreadable> {
        Ok(Self { names: postcard::from_bytes(bytes).map_err(|_| Unreadable)?, grown: false })
    }

    /// The table, to be stored.
    pub(super) fn encode(&self) -> Vec<u8> {
        encode(&self.names)
    }

    fn code(&mut self, slot: Slot) -> u16 {
        let name = slot.name();
        let index = self.names.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.names.push(name);
            self.grown = true;
            self.names.len() - 1
        });
        u16::try_from(index).unwrap_or(u16::MAX)
    }

    fn numbers(&mut self, slots: &[(Slot, Amount)]) -> Numbers {
        slots.iter().map(|(slot, amount)| (self.code(*slot), *amount)).collect()
    }

    /// Slots that this version does not know are left out.
    fn slots(&self, numbers: Numbers) -> Vec<(Slot, Amount)> {
        let known = |code: u16| self.names.get(usize::from(code)).and_then(|name| Slot::parse(name));
        numbers.into_iter().filter_map(|(code, amount)| Some((known(code)?, amount))).collect()
    }

    /// Some entities in one value.
    pub(super) fn encode_entities<'a>(
        &mut self,
        entities: impl Iterator<Item = (&'a Entity, &'a EntityState)>,
    ) -> Vec<u8> {
        let stored: Vec<StoredEntity> = entities
            .map(|(entity, state)| {
                let (kind, key) = match entity {
                    Entity::Account => (0, ""),
                    Entity::Agent(key) => (1, &**key),
                    Entity::Campaign(key) => (2, &**key),
                    Entity::Queue(key) => (3, &**key),
                };
                StoredEntity {
                    kind,
                    key: key.to_owned(),
                    seen: state.seen,
                    totals: self.numbers(&state.totals),
                    cells: state
                        .cells
                        .iter()
                        .map(|(key, cell)| (store_key(*key), self.numbers(&cell.highest), self.numbers(&cell.fallen)))
                        .collect(),
                    session: state.session.as_ref().map(|session| (self.numbers(&session.last), session.at)),
                }
            })
            .collect();
        encode(&stored)
    }

    /// The entities of one value.
    pub(super) fn decode_entities(&self, bytes: &[u8]) -> Result<Vec<(Entity, EntityState)>, Unreadable> {
        let stored: Vec<StoredEntity> = postcard::from_bytes(bytes).map_err(|_| Unreadable)?;
        stored
            .into_iter()
            .map(|stored| {
                let entity = match stored.kind {
                    0 => Entity::Account,
                    1 => Entity::Agent(stored.key.into()),
                    2 => Entity::Campaign(stored.key.into()),
                    3 => Entity::Queue(stored.key.into()),
                    _ => return Err(Unreadable),
                };
                let cells = stored.cells.into_iter().map(|(key, highest, fallen)| {
                    let cell = Cell { highest: self.slots(highest), fallen: self.slots(fallen) };
                    Ok((load_key(&key)?, cell))
                });
                let state = EntityState {
                    seen: stored.seen,
                    totals: self.slots(stored.totals),
                    cells: cells.collect::<Result<_, Unreadable>>()?,
                    session: stored.session.map(|(last, at)| Session { last: self.slots(last), at }),
                };
                Ok((entity, state))
            })
            .collect()
    }
}

/// Any value that serde knows.
pub(super) fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    // Writing plain data into memory does not fail.
    postcard::to_stdvec(value).unwrap_or_default()
}

/// The value again.
pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Unreadable> {
    postcard::from_bytes(bytes).map_err(|_| Unreadable)
}

fn store_key(key: Key) -> StoredKey {
    match key {
        Key::Session => StoredKey::Session,
        Key::Day(day) => StoredKey::Day(day_number(day)),
        Key::Call(day, id) => StoredKey::Call(day_number(day), id),
    }
}

fn load_key(key: &StoredKey) -> Result<Key, Unreadable> {
    Ok(match *key {
        StoredKey::Session => Key::Session,
        StoredKey::Day(day) => Key::Day(day_from(day)?),
        StoredKey::Call(day, id) => Key::Call(day_from(day)?, id),
    })
}

/// `YYYYMMDD`, so that a dump of the state can be read.
fn day_number(day: jiff::civil::Date) -> i32 {
    i32::from(day.year()) * 10_000 + i32::from(day.month()) * 100 + i32::from(day.day())
}

fn day_from(number: i32) -> Result<jiff::civil::Date, Unreadable> {
    let part = |n: i32| i8::try_from(n % 100).map_err(|_| Unreadable);
    let year = i16::try_from(number / 10_000).map_err(|_| Unreadable)?;
    jiff::civil::Date::new(year, part(number / 100)?, part(number)?).map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::catalogue::Family;
    use crate::ledger::slot::Part;

    #[test]
    fn entities_come_back_as_they_went() {
        let slot = |family| Slot { family, part: Part::Whole };
        let mut state = EntityState { seen: 1_790_000_000, ..EntityState::default() };
        state.record(Key::Day(date(2026, 2, 28)), slot(Family::AgentTalk), Amount::whole(77));
        state.record(Key::Day(date(2026, 2, 28)), slot(Family::AgentTalk), Amount::whole(70));
        state.observe(Key::Call(date(2026, 3, 1), u64::MAX), Family::CampaignTalkTime, Amount::whole(4));
        state.record_session(&[(slot(Family::AgentTalk), Amount::whole(3))], 1_790_000_001);
        let entity = Entity::Campaign("Übersee \"1\"".into());
        let mut codes = Codes::default();
        let bytes = codes.encode_entities([(&entity, &state)].into_iter());
        let codes = Codes::decode(&codes.encode()).unwrap();
        assert_eq!(codes.decode_entities(&bytes).unwrap(), [(entity, state)]);
        assert!(codes.decode_entities(&bytes[..bytes.len() - 1]).is_err());
    }
}
