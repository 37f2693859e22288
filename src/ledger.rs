//! The ledger: what vendors report in buckets becomes counters that only grow, over restarts too. A book holds the
//! counters of one report (the two call reports of Ozonetel share one); one poll is one transaction, on disk before
//! anybody sees it. Nothing outside knows about buckets.

pub mod calendar;
mod calls;
mod change;
mod codec;
pub mod entity;
pub mod names;
pub mod redb;
pub mod slot;
pub mod store;
pub mod windows;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::amount::Amount;
use crate::reading::{Entity, Reading};
use crate::settings::{AgentLabel, ReportSettings};
use calendar::Calendar;
pub use calls::CallQueue;
use calls::Calls;
use change::{Touched, chunk_of};
use codec::Codes;
use entity::EntityState;
use names::{AgentNames, HashKey};
use slot::Slot;
use store::{Store, StoreError, Writes};
use windows::Windows;

/// The format of the file; a newer one is refused.
const FORMAT: u32 = 1;
/// Entities that the vendor has not mentioned for this long are dropped, in seconds.
const FORGET_SECONDS: i64 = 30 * 86_400;
/// Legs and calls are kept apart for this many days: no vendor gives them any longer.
const CALL_DAYS: i64 = 17;
/// Entities of a book are stored in this many values, so that a change of one rewrites few others.
const CHUNKS: usize = 64;
const DAY_SECONDS: i64 = 86_400;
const HOUR_SECONDS: i64 = 3600;

/// The store and what all books share. Clones share it.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Mutex<Shared>>,
    key: HashKey,
}

struct Shared {
    store: Box<dyn Store>,
    codes: Codes,
}

/// The counters of one report.
pub struct Book {
    ledger: Ledger,
    prefix: String,
    vendor: &'static str,
    account: String,
    names: AgentNames,
    entities: BTreeMap<Entity, EntityState>,
    /// The entities as they are stored, by key. A disk that takes no transaction may not give the states back either.
    stored: BTreeMap<String, Vec<u8>>,
    /// A transaction is under way, or ended in a panic.
    unsaved: bool,
    /// The hour and the last closed day when entities were last folded.
    folded: Option<(i64, Option<Date>)>,
    meta: Meta,
    calls: Calls,
    turn: Turn,
    /// When past days were last asked for, in seconds since the epoch.
    tried: BTreeMap<Date, i64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Meta {
    days: calendar::Days,
    /// In milliseconds since the epoch.
    last_success: Option<i64>,
    /// How its agents are named.
    naming: u64,
}

/// Which report counts the calls of an account, and what it has read of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Turn {
    /// Empty in states of before there were two.
    report: String,
    windows: Windows,
}

/// An exported counter.
#[derive(Debug, Clone, Copy)]
pub struct Total {
    /// Which one.
    pub slot: Slot,
    /// Its value.
    pub amount: Amount,
    /// The day of its first bucket.
    pub since: Option<Date>,
}

/// What a transaction found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Figures that came back lower.
    pub revisions: u64,
    /// Days that were lost.
    pub lost_days: u64,
}

// === impl Ledger ===

impl Ledger {
    /// A ledger over `store`; refuses what a newer version wrote. `path` is for messages.
    pub fn open(mut store: Box<dyn Store>, path: &str) -> Result<Self, StoreError> {
        let damaged =
            |what: &str| StoreError::Damaged { path: path.to_owned(), cause: format!("{what} cannot be read") };
        let meta: BTreeMap<String, Vec<u8>> = store.read("meta/")?.into_iter().collect();
        let Some(format) = meta.get("meta/format") else {
            if !store.read("")?.is_empty() {
                return Err(damaged("its format"));
            }
            let key: [u8; 32] = rand::random();
            store.commit(&vec![
                ("meta/format".to_owned(), Some(FORMAT.to_be_bytes().to_vec())),
                ("meta/key".to_owned(), Some(key.to_vec())),
            ])?;
            tracing::info!(
                path,
                "no state found: counters begin with the current day; if state was lost, today may be counted twice"
            );
            let shared = Arc::new(Mutex::new(Shared { store, codes: Codes::default() }));
            return Ok(Self { shared, key: HashKey::new(&key) });
        };
        let found = format.as_slice().try_into().map(u32::from_be_bytes).map_err(|_| damaged("its format"))?;
        if found > FORMAT {
            return Err(StoreError::Newer { path: path.to_owned(), found, known: FORMAT });
        }
        let key = meta.get("meta/key").ok_or_else(|| damaged("its key"))?;
        let codes = meta.get("meta/slots").map_or(Ok(Codes::default()), |bytes| Codes::decode(bytes));
        let codes = codes.map_err(|_| damaged("its slots"))?;
        Ok(Self { shared: Arc::new(Mutex::new(Shared { store, codes })), key: HashKey::new(key) })
    }

    /// Names for agents: by the operator's key, or by the state's own where none is shown.
    pub fn names(&self, mode: AgentLabel, operator_key: Option<&[u8]>) -> AgentNames {
        AgentNames::new(mode, operator_key.map_or_else(|| self.key.clone(), HashKey::new))
    }

    /// The book of that name, as it was left.
    pub fn book(&self, vendor: &'static str, account: &str, name: &str, names: AgentNames) -> Result<Book, StoreError> {
        let prefix = format!("book/{vendor}\u{1f}{account}\u{1f}{name}\u{1f}");
        let naming = names.fingerprint();
        let mut book = Book {
            ledger: self.clone(),
            vendor,
            account: account.to_owned(),
            names,
            entities: BTreeMap::new(),
            stored: BTreeMap::new(),
            unsaved: false,
            folded: None,
            meta: Meta { naming, ..Meta::default() },
            calls: Calls::new(self.key.clone()),
            turn: Turn::default(),
            tried: BTreeMap::new(),
            prefix,
        };
        book.load()?;
        if book.meta.naming != naming {
            book.rename(naming)?;
        }
        Ok(book)
    }
}

impl Ledger {
    /// Removes the books that nobody has used for 30 days, except those that are in use now: an account that was taken
    /// out of the configuration may come back within that time.
    pub fn forget_all_but(&self, in_use: &[String], now: Timestamp) -> Result<(), StoreError> {
        let oldest = now.as_millisecond() - FORGET_SECONDS * 1000;
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let pairs = shared.store.read("book/")?;
        let old: Vec<&str> = pairs
            .iter()
            .filter_map(|(key, value)| Some((key.strip_suffix("meta")?, codec::decode::<Meta>(value).ok()?)))
            .filter(|(prefix, meta)| {
                meta.last_success.is_some_and(|at| at < oldest) && !in_use.iter().any(|used| used == prefix)
            })
            .map(|(prefix, _)| prefix)
            .collect();
        if old.is_empty() {
            return Ok(());
        }
        let gone = pairs.iter().filter(|(key, _)| old.iter().any(|prefix| key.starts_with(prefix)));
        let writes: Writes = gone.map(|(key, _)| (key.clone(), None)).collect();
        tracing::info!(books = old.len(), "state of accounts that left the configuration 30 days ago is removed");
        shared.store.commit(&writes)
    }
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ledger")
    }
}

// === impl Book ===

impl Book {
    /// Reads all of it from the store.
    fn load(&mut self) -> Result<(), StoreError> {
        let mut shared = self.ledger.shared.lock().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in shared.store.read(&self.prefix)? {
            match &key[self.prefix.len()..] {
                "meta" => self.meta = codec::decode(&value).map_err(|_| self.damaged())?,
                "turn" => self.turn = codec::decode(&value).map_err(|_| self.damaged())?,
                "calls" => {
                    self.calls = Calls::decode(self.ledger.key.clone(), &value).map_err(|_| self.damaged())?;
                }
                _ => drop(self.stored.insert(key, value)),
            }
        }
        drop(shared);
        self.restore()
    }

    /// Takes the entities back to what is stored.
    fn restore(&mut self) -> Result<(), StoreError> {
        let mut entities = BTreeMap::new();
        let shared = self.ledger.shared.lock().unwrap_or_else(PoisonError::into_inner);
        for value in self.stored.values() {
            entities.extend(shared.codes.decode_entities(value).map_err(|_| self.damaged())?);
        }
        drop(shared);
        self.entities = entities;
        self.folded = None;
        self.unsaved = false;
        Ok(())
    }

    fn damaged(&self) -> StoreError {
        let path = format!("of {}/{}", self.vendor, self.account);
        StoreError::Damaged { path, cause: "a value cannot be read".to_owned() }
    }

    /// Remembers what a transaction has stored.
    fn keep(&mut self, writes: Writes) {
        for (key, value) in writes {
            match value {
                Some(value) if self.is_chunk(&key) => drop(self.stored.insert(key, value)),
                Some(_) => {}
                None => drop(self.stored.remove(&key)),
            }
        }
    }

    fn is_chunk(&self, key: &str) -> bool {
        key.strip_prefix(&self.prefix).is_some_and(|key| !matches!(key, "meta" | "turn" | "calls"))
    }

    /// The operator names agents in another way now. Plain keys become what they are to be, at once and on disk too; what was
    /// hashed cannot be turned back, so those agents begin anew under their new names.
    fn rename(&mut self, naming: u64) -> Result<(), StoreError> {
        let plain = self.meta.naming == 0;
        let entities = std::mem::take(&mut self.entities);
        let old: Writes = entities.keys().map(|entity| (self.chunk_key(chunk_of(entity)), None)).collect();
        // Under the account stand the sums of hidden agents.
        let kept =
            entities.into_iter().filter(|(entity, _)| plain || !matches!(entity, Entity::Agent(_) | Entity::Account));
        self.entities = kept.map(|(entity, state)| (self.name(&entity), state)).collect();
        let mut touched = Touched::default();
        self.entities.keys().for_each(|entity| touched.touch(entity));
        self.meta.naming = naming;
        let mut writes = old;
        writes.extend(self.encode(&touched));
        writes.push((format!("{}meta", self.prefix), Some(codec::encode(&self.meta))));
        let writes = self.ledger.commit(writes)?;
        self.keep(writes);
        tracing::info!(vendor = self.vendor, account = self.account, "agents are named in another way from now on");
        Ok(())
    }

    /// Says which report counts the calls from now on. Where another one did, it begins with the next local day: what that one
    /// has counted of today it may know by other names.
    pub fn take_turn(&mut self, report: &str, calendar: &Calendar, now: Timestamp) -> Result<(), StoreError> {
        let Some(zone) = calendar.calls() else { return Ok(()) };
        // States of before there were two are call_details'.
        let old = self.turn.report.is_empty() && self.meta.last_success.is_some();
        let before = if old { "call_details" } else { &self.turn.report };
        if before == report {
            return Ok(());
        }
        let first = before.is_empty();
        let mut turn = Turn { report: report.to_owned(), ..self.turn.clone() };
        if !first {
            turn.windows.hand_over(now, zone);
            self.ledger.commit(vec![(format!("{}turn", self.prefix), Some(codec::encode(&turn)))])?;
            let since = turn.windows.since.map(tracing::field::display);
            tracing::info!(
                vendor = self.vendor,
                account = self.account,
                report,
                since,
                "another report counts the calls from the next day on"
            );
        }
        self.turn = turn;
        Ok(())
    }

    fn chunk_key(&self, chunk: usize) -> String {
        format!("{}e{chunk:02x}", self.prefix)
    }

    /// The days that a poll at `now` has to read. A past day that is asked for in vain is asked for again in an hour, as one
    /// that was read is: a day that always fails must not cost as much as today.
    pub fn due(&mut self, now: Timestamp, calendar: &Calendar, settings: &ReportSettings) -> calendar::Due {
        let Some(zone) = calendar.days() else { return calendar::Due::default() };
        let mut due = calendar.without_moving(self.meta.days.due(now, zone, settings), now);
        let today = calendar::day_of(now, zone);
        let (tried, now) = (&mut self.tried, now.as_second());
        tried.retain(|_, at| (0..calendar::REREAD).contains(&(now - *at)));
        due.days.retain(|day| *day == today || !tried.contains_key(day));
        tried.extend(due.days.iter().filter(|day| **day != today).map(|day| (*day, now)));
        due
    }

    /// What the keys of this book begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The calls that are known.
    pub fn queue(&self) -> CallQueue {
        self.calls.queue(self.turn.windows.clone())
    }

    /// How many calls wait for their figures, and since when the oldest does.
    pub fn backlog(&self) -> (usize, Option<i64>) {
        self.calls.backlog()
    }

    /// When a poll last succeeded.
    pub fn last_success(&self) -> Option<Timestamp> {
        self.meta.last_success.and_then(|at| Timestamp::from_millisecond(at).ok())
    }

    /// The entity as the page may show it.
    pub fn name(&self, entity: &Entity) -> Entity {
        self.names.entity(self.vendor, &self.account, entity)
    }

    /// Whether agents are shown at all.
    pub fn shows_agents(&self) -> bool {
        self.names.mode != AgentLabel::None
    }

    /// Whether agents are shown by the vendor's own key.
    pub fn shows_plain_agents(&self) -> bool {
        self.names.mode == AgentLabel::Plain
    }

    /// Takes in what a poll that began at `now` read: all of it, durably, or nothing.
    pub fn apply(
        &mut self,
        reading: &Reading,
        now: Timestamp,
        calendar: &Calendar,
        settings: &ReportSettings,
        due: &calendar::Due,
    ) -> Result<Applied, StoreError> {
        if self.unsaved {
            self.restore()?;
        }
        let mut applied = Applied::default();
        let mut meta = self.meta.clone();
        meta.last_success = Some(now.as_millisecond());
        self.unsaved = true;
        let mut touched = Touched::default();
        applied.revisions = self.count(reading, now, calendar, &mut touched);
        if let Some(zone) = calendar.days() {
            meta.days.read(&reading.days, due, now, zone, settings);
            applied.lost_days = due.lost.len() as u64;
        }
        let mut turn = self.turn.clone();
        if let Calendar::Records { zone } = calendar {
            applied.lost_days = turn.windows.keep(&reading.windows, now, zone, settings);
        }
        self.fold(now, calendar, &meta, &turn.windows, &mut touched);
        let mut calls = self.calls.clone();
        let calls_changed = calls.update(&reading.calls, &reading.listed, now.as_second());

        let mut writes = self.encode(&touched);
        if calls_changed {
            writes.push((format!("{}calls", self.prefix), Some(calls.encode())));
        }
        if turn != self.turn {
            writes.push((format!("{}turn", self.prefix), Some(codec::encode(&turn))));
        }
        writes.push((format!("{}meta", self.prefix), Some(codec::encode(&meta))));
        match self.ledger.commit(writes) {
            Ok(writes) => self.keep(writes),
            Err(error) => {
                self.restore()?;
                return Err(error);
            }
        }
        self.unsaved = false;
        self.turn = turn;
        self.meta = meta;
        self.calls = calls;
        Ok(applied)
    }

    /// Keeps the calls that a poll listed although it failed: since when a call waits must outlive a restart.
    pub fn keep_calls(&mut self, reading: &Reading, now: Timestamp) -> Result<(), StoreError> {
        let mut calls = self.calls.clone();
        if calls.update(&reading.calls, &reading.listed, now.as_second()) {
            self.ledger.commit(vec![(format!("{}calls", self.prefix), Some(calls.encode()))])?;
            self.calls = calls;
        }
        Ok(())
    }

    /// Tells the exported counters of each entity, in their order. Where agents are not shown theirs come added up, under
    /// the account.
    pub fn each_total(&self, mut tell: impl FnMut(&Entity, &[Total])) {
        if self.unsaved {
            return;
        }
        let mut totals = Vec::new();
        let hidden = |entity: &Entity| matches!(entity, Entity::Agent(_)) && !self.shows_agents();
        if !self.shows_agents() {
            let mut sum = EntityState::default();
            let summed = self.entities.iter().filter(|(entity, _)| hidden(entity) || **entity == Entity::Account);
            summed.for_each(|(_, state)| sum.inherit(state.totals_since()));
            if !sum.totals.is_empty() {
                sum.tell(&Entity::Account, &mut totals, &mut tell);
            }
        }
        for (entity, state) in &self.entities {
            if self.shows_agents() || !hidden(entity) && *entity != Entity::Account {
                state.tell(entity, &mut totals, &mut tell);
            }
        }
    }

    /// The exported counters, by entity.
    pub fn totals(&self) -> BTreeMap<Entity, Vec<(Slot, Amount)>> {
        let mut all = BTreeMap::new();
        self.each_total(|entity, totals| {
            all.insert(entity.clone(), totals.iter().map(|total| (total.slot, total.amount)).collect());
        });
        all
    }
}

impl EntityState {
    fn tell(&self, entity: &Entity, totals: &mut Vec<Total>, tell: &mut impl FnMut(&Entity, &[Total])) {
        totals.clear();
        totals.extend(self.totals_since().map(|(slot, amount, since)| Total { slot, amount, since }));
        totals.sort_unstable_by_key(|total| total.slot);
        tell(entity, totals);
    }
}

impl Ledger {
    /// Stores `writes` and gives them back.
    fn commit(&self, mut writes: Writes) -> Result<Writes, StoreError> {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let Shared { store, codes } = &mut *shared;
        if codes.grown {
            writes.push(("meta/slots".to_owned(), Some(codes.encode())));
        }
        store.commit(&writes)?;
        codes.grown = false;
        Ok(writes)
    }
}

#[cfg(test)]
mod tests;
