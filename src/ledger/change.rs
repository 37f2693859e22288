//! What one poll changes in a book, before anything is stored: the states of all entities that it touches, whom it drops, and
//! the chunks to be written. Entities come in order everywhere, so that a poll of ten thousand agents walks beside the
//! book instead of looking each of them up.

use std::iter::Peekable;
use std::sync::PoisonError;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};

use super::calendar::Calendar;
use super::entity::{EntityState, Key};
use super::slot::Slot;
use super::store::Writes;
use super::{Book, CALL_DAYS, CHUNKS, DAY_SECONDS, FORGET_SECONDS, Meta, calendar};
use crate::amount::Amount;
use crate::reading::{Bucket, Entity, Figure, Observation, Reading};

/// Entities with new states, in order.
pub(super) type Changed = Vec<(Entity, EntityState)>;

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
}

/// A walk along entities in their order.
struct Walk<I: Iterator>(Peekable<I>);

impl Book {
    /// The states after `reading`, and how many revisions it held.
    pub(super) fn count(&self, reading: &Reading, now: Timestamp, calendar: &Calendar) -> (Changed, u64) {
        let today = now.as_second() - now.as_second().rem_euclid(DAY_SECONDS);
        let open = Open::new(&self.meta.days, now, calendar);
        let mut parts: Vec<(Entity, Part<'_>)> = Vec::new();
        for run in reading.figures.chunk_by(|a, b| a.entity == b.entity) {
            parts.extend(run.first().map(|figure| (self.name(&figure.entity), Part::Figures(run))));
        }
        for run in reading.observations.chunk_by(|a, b| a.entity == b.entity) {
            parts.extend(run.first().map(|one| (self.name(&one.entity), Part::Observations(run))));
        }
        for run in reading.gauges.chunk_by(|a, b| a.entity == b.entity) {
            parts.extend(run.first().map(|gauge| (self.name(&gauge.entity), Part::Mention)));
        }
        // Stable: what was read later stays later.
        parts.sort_by(|(a, _), (b, _)| a.cmp(b));

        let (mut changed, mut revisions) = (Vec::with_capacity(parts.len()), 0);
        let mut known = Walk::along(self.entities.iter());
        for group in parts.chunk_by(|(a, _), (b, _)| a == b) {
            let Some((entity, _)) = group.first() else { continue };
            let before = known.find(entity);
            let mut state = before.cloned().unwrap_or_default();
            let mut touched = false;
            let mut session = Vec::new();
            for (_, part) in group {
                match part {
                    // A bucket's figures come together, and finding its key may take a hash.
                    Part::Figures(figures) => {
                        for bucket in figures.chunk_by(|a, b| a.bucket == b.bucket) {
                            let Some(key) = bucket.first().and_then(|figure| self.key(&figure.bucket, &open)) else {
                                continue;
                            };
                            let counters = bucket.iter().filter_map(|figure| {
                                Some((Slot::counter(figure.family, figure.label)?, figure.amount))
                            });
                            touched = true;
                            if key == Key::Session {
                                session.extend(counters);
                            } else {
                                revisions += state.record_all(key, counters);
                            }
                        }
                    }
                    Part::Observations(observations) => {
                        for one in *observations {
                            if let Some(key) = self.key(&one.bucket, &open) {
                                state.observe(key, one.family, one.amount);
                                touched = true;
                            }
                        }
                    }
                    Part::Mention => touched |= before.is_some_and(|state| state.seen < today),
                }
            }
            if !session.is_empty() {
                revisions += state.record_session(&session, now.as_second());
            }
            state.seen = today;
            // What came back as it was needs no write.
            if touched && before != Some(&state) {
                changed.push((entity.clone(), state));
            }
        }
        (changed, revisions)
    }

    /// The bucket's key, unless it can change no more: a settled bucket is in the total already.
    fn key(&self, bucket: &Bucket, open: &Open<'_>) -> Option<Key> {
        match bucket {
            Bucket::Session => Some(Key::Session),
            Bucket::Day(day) => open.today.filter(|today| open.days.is_open(*day, *today)).map(|_| Key::Day(*day)),
            Bucket::Call { day, id } => open
                .last_settled
                .filter(|settled| open.today.is_none() && day > settled)
                .map(|_| Key::Call(*day, self.ledger.key.call(id.expose()))),
        }
    }

    /// Folds what is settled and drops whom the vendor has forgotten; says who was dropped, in order.
    pub(super) fn fold(&self, now: Timestamp, calendar: &Calendar, meta: &Meta, changed: &mut Changed) -> Vec<Entity> {
        let open = Open::new(&meta.days, now, calendar);
        let closed = meta.days.closed_through;
        let settled = |key: &Key| match key {
            Key::Session => false,
            Key::Day(day) => closed.is_some_and(|closed| *day <= closed),
            Key::Call(day, _) => open.last_settled.is_some_and(|settled| *day <= settled),
        };
        let (mut dropped, mut opened) = (Vec::new(), Vec::new());
        let mut hidden: Vec<(Slot, Amount)> = Vec::new();
        let mut news = Walk::along(changed.iter().map(|(entity, state)| (entity, state)));
        for (entity, state) in &self.entities {
            let new = news.find(entity);
            let current = new.unwrap_or(state);
            if now.as_second() - current.seen > FORGET_SECONDS && *entity != Entity::Account {
                if matches!(entity, Entity::Agent(_)) && !self.shows_agents() {
                    hidden.extend_from_slice(&current.totals);
                }
                dropped.push(entity.clone());
            } else if new.is_none() && state.cells.keys().any(settled) {
                opened.push((entity.clone(), state.clone()));
            }
        }
        changed.retain(|(entity, _)| dropped.binary_search(entity).is_err());
        changed.extend(opened);
        for (_, state) in changed.iter_mut() {
            state.fold(settled);
        }
        // The sum over agents must not fall because one of them was dropped.
        if !hidden.is_empty() {
            let place = changed.iter().position(|(entity, _)| *entity == Entity::Account).unwrap_or_else(|| {
                let before = self.entities.get(&Entity::Account).cloned().unwrap_or_default();
                changed.push((Entity::Account, before));
                changed.len() - 1
            });
            let account = &mut changed[place].1;
            for (slot, amount) in hidden {
                match account.totals.iter_mut().find(|(known, _)| *known == slot) {
                    Some((_, total)) => *total += amount,
                    None => account.totals.push((slot, amount)),
                }
            }
        }
        changed.sort_by(|(a, _), (b, _)| a.cmp(b));
        dropped
    }

    /// The chunks that hold a changed or dropped entity, whole.
    pub(super) fn encode(&self, changed: &[(Entity, EntityState)], dropped: &[Entity]) -> Writes {
        let mut chunks: Vec<Option<Vec<(&Entity, &EntityState)>>> = vec![None; CHUNKS];
        for (entity, state) in changed {
            chunks[chunk_of(entity)].get_or_insert_default().push((entity, state));
        }
        for entity in dropped {
            chunks[chunk_of(entity)].get_or_insert_default();
        }
        if chunks.iter().all(Option::is_none) {
            return Vec::new();
        }
        let mut news = Walk::along(changed.iter().map(|(entity, state)| (entity, state)));
        for (entity, state) in &self.entities {
            if news.find(entity).is_none()
                && dropped.binary_search(entity).is_err()
                && let Some(chunk) = &mut chunks[chunk_of(entity)]
            {
                chunk.push((entity, state));
            }
        }
        let mut shared = self.ledger.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let codes = &mut shared.codes;
        let written = chunks.into_iter().enumerate().filter_map(|(chunk, entities)| Some((chunk, entities?)));
        written
            .map(|(chunk, entities)| {
                let value = (!entities.is_empty()).then(|| codes.encode_entities(&entities));
                (self.chunk_key(chunk), value)
            })
            .collect()
    }

    /// Takes over the states that are stored by now.
    pub(super) fn adopt(&mut self, changed: Changed, dropped: &[Entity]) {
        let mut fresh = Vec::new();
        let mut known = Walk::along(self.entities.iter_mut());
        for (entity, state) in changed {
            match known.find(&entity) {
                Some(before) => *before = state,
                None => fresh.push((entity, state)),
            }
        }
        self.entities.extend(fresh);
        for entity in dropped {
            self.entities.remove(entity);
        }
    }
}

impl<'a> Open<'a> {
    fn new(days: &'a calendar::Days, now: Timestamp, calendar: &Calendar) -> Self {
        let of = |zone| calendar::day_of(now, zone);
        let (today, last_settled) = match calendar {
            Calendar::Days { zone } => (Some(of(zone)), Some(of(zone))),
            Calendar::Calls { zone } => (None, Some(of(zone))),
            Calendar::Present => (None, None),
        };
        let last_settled = last_settled.map(|day| day.checked_sub(CALL_DAYS.days()).unwrap_or(Date::MIN));
        Self { days, today, last_settled }
    }
}

impl<'a, S, I: Iterator<Item = (&'a Entity, S)>> Walk<I> {
    fn along(entities: I) -> Self {
        Self(entities.peekable())
    }

    /// The state of `entity`, which must not come before the one that was asked for last.
    fn find(&mut self, entity: &Entity) -> Option<S> {
        while self.0.next_if(|(known, _)| *known < entity).is_some() {}
        self.0.next_if(|(known, _)| *known == entity).map(|(_, state)| state)
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
