//! What one poll changes in a book, and the chunks that have to be written for it. States are changed in place: copies of ten
//! thousand of them would cost more than the disk does. Until the transaction is through the book counts as unsaved; if
//! it fails, the states go back to what is stored. Entities come in order everywhere, so that a poll of many agents
//! walks beside the book instead of looking each of them up.

use std::cmp::Ordering;
use std::iter::Peekable;
use std::sync::{Arc, PoisonError};

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use super::calendar::Calendar;
use super::codec::Chunk;
use super::entity::{EntityState, Key};
use super::slot::Slot;
use super::store::Writes;
use super::windows::Windows;
use super::{Book, CALL_DAYS, CHUNKS, DAY_SECONDS, FORGET_SECONDS, HOUR_SECONDS, Meta, calendar};
use crate::amount::Amount;
use crate::reading::{Bucket, Entity, Figure, Observation, Reading};

/// The chunks with something new in them.
#[derive(Debug, Default)]
pub(super) struct Touched {
    chunks: Vec<bool>,
    /// How many of them.
    count: usize,
}

/// A part of a reading that speaks of one entity.
enum Part<'a> {
    Figures(&'a [Figure]),
    Observations(&'a [Observation]),
    Mention,
}

/// Which buckets may still change.
struct Open<'a> {
    days: &'a calendar::Days,
    today: Option<Date>,
    /// Calls of this day and before are in the totals for good.
    last_settled: Option<Date>,
    windows: &'a Windows,
    /// Whether a day that is closed takes no more calls.
    by_day: bool,
}

/// A walk along entities in their order.
struct Walk<I: Iterator>(Peekable<I>);

impl Book {
    /// Takes `reading` in; says how many revisions it held.
    pub(super) fn count(
        &mut self,
        reading: &Reading,
        now: Timestamp,
        calendar: &Calendar,
        touched: &mut Touched,
    ) -> u64 {
        let today = now.as_second() - now.as_second().rem_euclid(DAY_SECONDS);
        let mut entities = std::mem::take(&mut self.entities);
        let open = Open::new(&self.meta.days, &self.turn.windows, now, calendar);
        let (mut fresh, mut revisions) = (Vec::new(), 0);
        let mut known = Walk::along(entities.iter_mut());
        let parts = self.parts(reading);
        for group in parts.chunk_by(|(a, _), (b, _)| order(a, b).is_eq()) {
            let Some((entity, _)) = group.first() else { continue };
            let mut new = EntityState::default();
            let before = known.find(entity);
            let is_known = before.is_some();
            let state = before.unwrap_or(&mut new);
            let (mut mentioned, mut changed, mut session) = (false, false, Vec::new());
            for (_, part) in group {
                match part {
                    // A bucket's figures come together, and finding its key may take a hash.
                    Part::Figures(figures) => {
                        for bucket in figures.chunk_by(|a, b| a.bucket == b.bucket) {
                            let Some(key) = bucket.first().and_then(|figure| self.key(&figure.bucket, &open)) else {
                                continue;
                            };
                            let counters =
                                bucket.iter().map(|figure| (Slot::counter(figure.family, figure.state), figure.amount));
                            mentioned = true;
                            if key == Key::Session {
                                session.extend(counters);
                            } else {
                                let taken = state.record_all(key, counters);
                                revisions += taken.revisions;
                                changed |= taken.changed;
                            }
                        }
                    }
                    Part::Observations(observations) => {
                        for one in *observations {
                            if let Some(key) = self.key(&one.bucket, &open) {
                                changed |= state.observe(key, one.family, one.amount);
                                mentioned = true;
                            }
                        }
                    }
                    Part::Mention => mentioned |= is_known,
                }
            }
            if !session.is_empty() {
                revisions += state.record_session(&session, now.as_second());
                changed = true;
            }
            if mentioned && state.seen != today {
                state.seen = today;
                changed = true;
            }
            state.date();
            // What came back as it was needs no write.
            if changed {
                touched.touch(entity);
                if !is_known {
                    fresh.push((entity.clone(), new));
                }
            }
        }
        entities.extend(fresh);
        self.entities = entities;
        revisions
    }

    /// What a reading says, entity by entity, under the names that the book has.
    fn parts<'a>(&self, reading: &'a Reading) -> Vec<(Entity, Part<'a>)> {
        let mut parts: Vec<(Entity, Part<'_>)> = Vec::new();
        for run in reading.figures.chunk_by(|a, b| order(&a.entity, &b.entity).is_eq()) {
            parts.extend(run.first().map(|figure| (self.name(&figure.entity), Part::Figures(run))));
        }
        for run in reading.observations.chunk_by(|a, b| order(&a.entity, &b.entity).is_eq()) {
            parts.extend(run.first().map(|one| (self.name(&one.entity), Part::Observations(run))));
        }
        for run in reading.gauges.chunk_by(|a, b| order(&a.entity, &b.entity).is_eq()) {
            parts.extend(run.first().map(|gauge| (self.name(&gauge.entity), Part::Mention)));
        }
        // Stable: what was read later stays later.
        parts.sort_by(|(a, _), (b, _)| order(a, b));
        parts
    }

    /// The bucket's key, unless it can change no more: a settled bucket is in the total already.
    fn key(&self, bucket: &Bucket, open: &Open<'_>) -> Option<Key> {
        match bucket {
            Bucket::Session => Some(Key::Session),
            Bucket::Day(day) => open.today.filter(|today| open.days.is_open(*day, *today)).map(|_| Key::Day(*day)),
            Bucket::Call { day, id } => {
                open.takes_calls_of(*day).then(|| Key::Call(*day, self.ledger.key.call(id.expose())))
            }
        }
    }

    /// Folds what is settled and drops whom the vendor has forgotten. All of it is walked through only if an hour has begun
    /// or something was closed since the last time; nothing that is closed is added to meanwhile.
    pub(super) fn fold(
        &mut self,
        now: Timestamp,
        calendar: &Calendar,
        meta: &Meta,
        windows: &Windows,
        touched: &mut Touched,
    ) {
        let closed = meta.days.closed_through;
        let walk = (now.as_second().div_euclid(HOUR_SECONDS), closed);
        if self.folded.replace(walk) == Some(walk) && *windows == self.turn.windows {
            return;
        }
        let open = Open::new(&meta.days, windows, now, calendar);
        let settled = |key: &Key| match key {
            Key::Session => false,
            Key::Day(day) => closed.is_some_and(|closed| *day <= closed),
            Key::Call(day, _) => open.last_settled.is_some() && !open.takes_calls_of(*day),
        };
        let hides = !self.shows_agents();
        let mut hidden: Vec<(Slot, Amount, Option<Date>)> = Vec::new();
        self.entities.retain(|entity, state| {
            if now.as_second() - state.seen > FORGET_SECONDS && *entity != Entity::Account {
                if hides && matches!(entity, Entity::Agent(_)) {
                    hidden.extend(state.totals_since());
                }
                touched.touch(entity);
                return false;
            }
            if state.cells.keys().any(settled) {
                state.fold(settled);
                touched.touch(entity);
            }
            true
        });
        // The sum over agents must not fall because one of them was dropped.
        if !hidden.is_empty() {
            touched.touch(&Entity::Account);
            self.entities.entry(Entity::Account).or_default().inherit(hidden);
        }
    }

    /// The chunks that were touched, whole. States are read in the order in which they lie in memory: chunk by chunk, most of
    /// the time would go into waiting for it.
    pub(super) fn encode(&self, touched: &Touched) -> Writes {
        if touched.chunks.is_empty() {
            return Vec::new();
        }
        let room = self.entities.len() / CHUNKS + 1;
        let mut chunks: Vec<_> = touched.chunks.iter().map(|touched| touched.then(|| Chunk::with_room(room))).collect();
        let mut shared = self.ledger.shared.lock().unwrap_or_else(PoisonError::into_inner);
        for (entity, state) in &self.entities {
            if let Some(chunk) = &mut chunks[chunk_of(entity)] {
                chunk.push(&mut shared.codes, entity, state);
            }
        }
        let written = chunks.into_iter().enumerate().filter_map(|(number, chunk)| Some((number, chunk?)));
        written.map(|(number, chunk)| (self.chunk_key(number), chunk.value())).collect()
    }
}

impl Touched {
    pub(super) fn touch(&mut self, entity: &Entity) {
        // A large poll has touched all of them soon.
        if self.count < CHUNKS {
            self.chunks.resize(CHUNKS, false);
            let chunk = &mut self.chunks[chunk_of(entity)];
            self.count += usize::from(!*chunk);
            *chunk = true;
        }
    }
}

impl<'a> Open<'a> {
    fn new(days: &'a calendar::Days, windows: &'a Windows, now: Timestamp, calendar: &Calendar) -> Self {
        let of = |zone| calendar::day_of(now, zone);
        let last_settled =
            calendar.days().or_else(|| calendar.calls()).map(of).map(|day| day.saturating_sub(CALL_DAYS.days()));
        let by_day = matches!(calendar, Calendar::Records { .. });
        Self { days, today: calendar.days().map(of), last_settled, windows, by_day }
    }

    /// Calls of a day that is closed, or that another report counts, are in the totals for good.
    fn takes_calls_of(&self, day: Date) -> bool {
        let kept = self.today.is_none() && self.last_settled.is_some_and(|settled| day > settled);
        let turn = self.windows.since.is_none_or(|since| day >= since);
        kept && turn && (!self.by_day || self.windows.is_open(day))
    }
}

impl<'a, S, I: Iterator<Item = (&'a Entity, S)>> Walk<I> {
    fn along(entities: I) -> Self {
        Self(entities.peekable())
    }

    /// The state of `entity`, which must not come before the one that was asked for last.
    fn find(&mut self, entity: &Entity) -> Option<S> {
        loop {
            match order(self.0.peek()?.0, entity) {
                Ordering::Less => self.0.next(),
                Ordering::Equal => return self.0.next().map(|(_, state)| state),
                Ordering::Greater => return None,
            };
        }
    }
}

/// As `Ord`, without reading what two copies of one name share.
fn order(a: &Entity, b: &Entity) -> Ordering {
    match (a, b) {
        (Entity::Agent(one), Entity::Agent(other))
        | (Entity::Campaign(one), Entity::Campaign(other))
        | (Entity::Queue(one), Entity::Queue(other))
            if Arc::ptr_eq(one, other) =>
        {
            Ordering::Equal
        }
        _ => a.cmp(b),
    }
}

/// FNV-1a: the same in every version, as the file outlives them.
pub(super) fn chunk_of(entity: &Entity) -> usize {
    let key = entity.label().map_or("", |(_, key)| key);
    let hash = key
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // Below CHUNKS, so that it fits.
    usize::try_from(hash % CHUNKS as u64).unwrap_or_default()
}
