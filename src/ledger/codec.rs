//! How a book stands in the store: compact binary values, slots by a code from a table that is stored with them.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::entity::{Cell, EntityState, Key, Session};
use super::slot::Slot;
use crate::amount::Amount;
use crate::reading::Entity;

/// Slot names by code. A code, once given, keeps its name for the life of the file.
#[derive(Debug, Default)]
pub(super) struct Codes {
    names: Vec<String>,
    /// The code of each slot that was asked for, by [`Slot::index`]; [`UNKNOWN`] of all others.
    known: Vec<u16>,
    /// Since it was last stored.
    pub(super) grown: bool,
}

/// Bytes of the longest number.
const LONGEST: usize = 10;
/// Numbers below this have at most eight bytes, so that they fit into one again.
const SPREAD: u64 = 1 << 56;
/// No slot has this code.
const UNKNOWN: u16 = u16::MAX;

/// The entities of one value, encoded.
#[derive(Debug)]
pub(super) struct Chunk {
    count: u64,
    /// Behind room for their number.
    entities: Vec<u8>,
    /// [`EntityState::since`] of each of them.
    days: Vec<u8>,
}

type Numbers = Vec<(u16, Amount)>;

/// As in [`EntityState::since`]; 0 is no day.
type StoredDays = Vec<(i32, u32)>;

/// What serde makes of it is what [`put_key`] writes, and so on.
#[derive(Deserialize)]
enum StoredKey {
    Session,
    Day(i32),
    Call(i32, u64),
}

#[derive(Deserialize)]
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
        Ok(Self { names: postcard::from_bytes(bytes).map_err(|_| Unreadable)?, ..Self::default() })
    }

    /// The table, to be stored.
    pub(super) fn encode(&self) -> Vec<u8> {
        encode(&self.names)
    }

    fn code(&mut self, slot: Slot) -> u16 {
        let index = slot.index();
        match self.known.get(index) {
            None | Some(&UNKNOWN) => self.give_code(slot, index),
            Some(code) => *code,
        }
    }

    #[cold]
    fn give_code(&mut self, slot: Slot, index: usize) -> u16 {
        let name = slot.name();
        let place = self.names.iter().position(|known| *known == name).unwrap_or_else(|| {
            self.names.push(name);
            self.grown = true;
            self.names.len() - 1
        });
        let code = u16::try_from(place).unwrap_or(UNKNOWN);
        if self.known.len() <= index {
            self.known.resize(index + 1, UNKNOWN);
        }
        self.known[index] = code;
        code
    }

    /// One entity. Written by hand, in postcard's format: there are many of them in a poll.
    fn put_entity(&mut self, out: &mut Vec<u8>, entity: &Entity, state: &EntityState) {
        let (kind, key) = match entity {
            Entity::Account => (0, ""),
            Entity::Agent(key) => (1, &**key),
            Entity::Campaign(key) => (2, &**key),
            Entity::Queue(key) => (3, &**key),
        };
        out.push(kind);
        put(out, key.len() as u64);
        out.extend_from_slice(key.as_bytes());
        put_signed(out, state.seen);
        self.put_numbers(out, &state.totals);
        put(out, state.cells.iter().len() as u64);
        for (key, cell) in state.cells.iter() {
            put_key(out, *key);
            self.put_numbers(out, &cell.highest);
            self.put_numbers(out, &cell.fallen);
        }
        out.push(u8::from(state.session.is_some()));
        if let Some(session) = &state.session {
            self.put_numbers(out, &session.last);
            put_signed(out, session.at);
        }
    }

    /// Most of a state is numbers: each goes out with its code in one piece.
    fn put_numbers(&mut self, out: &mut Vec<u8>, numbers: &[(Slot, Amount)]) {
        put(out, numbers.len() as u64);
        for (slot, amount) in numbers {
            let (code, amount) = (self.code(*slot), amount.thousandths());
            match u8::try_from(code) {
                Ok(code @ 0..0x80) if amount < SPREAD => {
                    let (amount, length) = spread(amount);
                    let mut both = [code; 9];
                    both[1..].copy_from_slice(&amount.to_le_bytes());
                    push(out, both, 1 + length);
                }
                _ => {
                    put(out, code.into());
                    put(out, amount);
                }
            }
        }
    }

    /// The entities of one value.
    pub(super) fn decode_entities(&self, bytes: &[u8]) -> Result<Vec<(Entity, EntityState)>, Unreadable> {
        let (stored, rest): (Vec<StoredEntity>, _) = postcard::take_from_bytes(bytes).map_err(|_| Unreadable)?;
        // Older versions wrote no days.
        let days: Vec<StoredDays> =
            if rest.is_empty() { Vec::new() } else { postcard::from_bytes(rest).map_err(|_| Unreadable)? };
        let slots: Vec<Option<Slot>> = self.names.iter().map(|name| Slot::parse(name)).collect();
        let slot = |code: u16| slots.get(usize::from(code)).copied().flatten();
        // Slots that this version does not know are left out.
        let load = |numbers: Numbers| -> Vec<(Slot, Amount)> {
            numbers.into_iter().filter_map(|(code, amount)| Some((slot(code)?, amount))).collect()
        };
        stored
            .into_iter()
            .zip(days.into_iter().map(Some).chain(std::iter::repeat(None)))
            .map(|(stored, days)| {
                let entity = match stored.kind {
                    0 => Entity::Account,
                    1 => Entity::Agent(stored.key.into()),
                    2 => Entity::Campaign(stored.key.into()),
                    3 => Entity::Queue(stored.key.into()),
                    _ => return Err(Unreadable),
                };
                let cells = stored.cells.into_iter().map(|(key, highest, fallen)| {
                    let cell = Cell { highest: load(highest), fallen: load(fallen) };
                    Ok((load_key(&key)?, cell))
                });
                // A slot that is not known any more takes its day along.
                let known: Vec<bool> = stored.totals.iter().map(|(code, _)| slot(*code).is_some()).collect();
                let state = EntityState {
                    seen: stored.seen,
                    totals: load(stored.totals),
                    since: load_days(days.unwrap_or_default(), &known)?,
                    cells: cells.collect::<Result<_, Unreadable>>()?,
                    session: stored.session.map(|(last, at)| Session { last: load(last), at }),
                };
                Ok((entity, state))
            })
            .collect()
    }
}

// === impl Chunk ===

impl Chunk {
    /// An empty one, with room for so many entities of the usual size.
    pub(super) fn with_room(entities: usize) -> Self {
        const USUAL: usize = 256;
        let mut room = Vec::with_capacity(LONGEST + entities * USUAL);
        room.resize(LONGEST, 0);
        Self { count: 0, entities: room, days: Vec::new() }
    }

    pub(super) fn push(&mut self, codes: &mut Codes, entity: &Entity, state: &EntityState) {
        self.count += 1;
        codes.put_entity(&mut self.entities, entity, state);
        put(&mut self.days, state.since.len() as u64);
        for (day, run) in &state.since {
            put_signed(&mut self.days, day.map_or(0, day_number).into());
            put(&mut self.days, u64::from(*run));
        }
    }

    /// What is stored; none if it is empty.
    pub(super) fn value(self) -> Option<Vec<u8>> {
        let (mut count, mut value) = (Vec::new(), self.entities);
        put(&mut count, self.count);
        let unused = LONGEST - count.len();
        value[unused..LONGEST].copy_from_slice(&count);
        value.drain(..unused);
        // Behind all entities: versions that do not know of it read what they know, and stop there.
        value.extend_from_slice(&count);
        value.extend_from_slice(&self.days);
        (self.count > 0).then_some(value)
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

/// Seven bits to a byte, the lowest first; and how many bytes that makes. Without a branch: half a million of them are
/// written in a large poll, of lengths that no predictor can tell.
#[inline]
fn spread(mut number: u64) -> (u64, usize) {
    let length = (70 - (number | 1).leading_zeros() as usize) / 7;
    number = (number & 0x0000_0000_0fff_ffff) | ((number & 0x00ff_ffff_f000_0000) << 4);
    number = (number & 0x0000_3fff_0000_3fff) | ((number & 0x0fff_c000_0fff_c000) << 2);
    number = (number & 0x007f_007f_007f_007f) | ((number & 0x3f80_3f80_3f80_3f80) << 1);
    let more = 0x8080_8080_8080_8080 & ((1 << (8 * (length - 1))) - 1);
    (number | more, length)
}

/// The first `length` of these bytes. A copy of known size is an instruction, one of unknown size a call.
#[inline]
fn push<const N: usize>(out: &mut Vec<u8>, bytes: [u8; N], length: usize) {
    let end = out.len() + length;
    out.extend_from_slice(&bytes);
    out.truncate(end);
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits, and what is left is fewer")]
fn put(out: &mut Vec<u8>, mut number: u64) {
    if number < SPREAD {
        let (bytes, length) = spread(number);
        return push(out, bytes.to_le_bytes(), length);
    }
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Small numbers stay small on both sides of zero.
fn put_signed(out: &mut Vec<u8>, number: i64) {
    put(out, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

fn put_key(out: &mut Vec<u8>, key: Key) {
    match key {
        Key::Session => put(out, 0),
        Key::Day(day) => {
            put(out, 1);
            put_signed(out, day_number(day).into());
        }
        Key::Call(day, id) => {
            put(out, 2);
            put_signed(out, day_number(day).into());
            put(out, id);
        }
    }
}

/// A day for each slot that is known; none at all if none were stored.
fn load_days(runs: StoredDays, known: &[bool]) -> Result<Vec<(Option<Date>, u32)>, Unreadable> {
    let mut known = known.iter();
    let mut days = Vec::with_capacity(runs.len());
    for (number, run) in runs {
        let day = if number == 0 { None } else { Some(day_from(number)?) };
        let run = known.by_ref().take(run as usize).filter(|known| **known).count();
        days.push((day, u32::try_from(run).map_err(|_| Unreadable)?));
    }
    // What no run covers has no day.
    let rest = known.filter(|known| **known).count();
    days.push((None, u32::try_from(rest).map_err(|_| Unreadable)?));
    days.retain(|(_, run)| *run > 0);
    Ok(days)
}

fn load_key(key: &StoredKey) -> Result<Key, Unreadable> {
    Ok(match *key {
        StoredKey::Session => Key::Session,
        StoredKey::Day(day) => Key::Day(day_from(day)?),
        StoredKey::Call(day, id) => Key::Call(day_from(day)?, id),
    })
}

/// `YYYYMMDD`, so that a dump of the state can be read.
fn day_number(day: Date) -> i32 {
    i32::from(day.year()) * 10_000 + i32::from(day.month()) * 100 + i32::from(day.day())
}

fn day_from(number: i32) -> Result<Date, Unreadable> {
    let part = |n: i32| i8::try_from(n % 100).map_err(|_| Unreadable);
    let year = i16::try_from(number / 10_000).map_err(|_| Unreadable)?;
    Date::new(year, part(number / 100)?, part(number)?).map_err(|_| Unreadable)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::catalogue::Family;
    use crate::ledger::slot::Part;

    #[test]
    fn numbers_are_written_as_postcard_writes_them() {
        let edges = (0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit, (1 << bit) + 1]).chain([u64::MAX]);
        for number in edges {
            let mut bytes = Vec::new();
            put(&mut bytes, number);
            assert_eq!(bytes, encode(&number), "{number}");
        }
    }

    #[test]
    fn entities_come_back_as_they_went() {
        let slot = |family| Slot { family, part: Part::Whole };
        let mut state = EntityState { seen: 1_790_000_000, ..EntityState::default() };
        state.record_all(Key::Day(date(2026, 2, 28)), [(slot(Family::AgentTalk), Amount::whole(77))]);
        state.record_all(Key::Day(date(2026, 2, 28)), [(slot(Family::AgentTalk), Amount::whole(70))]);
        state.observe(Key::Call(date(2026, 3, 1), u64::MAX), Family::CampaignTalkTime, Amount::whole(4));
        state.record_session(&[(slot(Family::AgentTalk), Amount::whole(3))], 1_790_000_001);
        state.date();
        let entity = Entity::Campaign("Übersee \"1\"".into());
        let mut codes = Codes::default();
        assert_eq!(Chunk::with_room(1).value(), None);
        let mut chunk = Chunk::with_room(1);
        chunk.push(&mut codes, &entity, &state);
        let bytes = chunk.value().unwrap();
        let codes = Codes::decode(&codes.encode()).unwrap();
        assert_eq!(codes.decode_entities(&bytes).unwrap(), [(entity.clone(), state.clone())]);
        assert!(codes.decode_entities(&bytes[..bytes.len() - 1]).is_err());
        // As it was written before there were days: what follows the entities is not there.
        state.since.clear();
        let (mut codes, mut chunk) = (codes, Chunk::with_room(0));
        chunk.push(&mut codes, &entity, &state);
        let bytes = chunk.value().unwrap();
        let before = codes.decode_entities(&bytes[..bytes.len() - 2]).unwrap();
        state.since = vec![(None, u32::try_from(state.totals.len()).unwrap())];
        assert_eq!(before, [(entity, state)]);
    }
}
