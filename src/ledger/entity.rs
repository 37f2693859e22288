//! The pure core: `C = Σ over buckets of the highest value that was reported for that bucket`, for the numbers of one
//! agent, campaign, queue or account. The total is kept beside the open buckets and grows by what a bucket grows, so
//! that a bucket can be forgotten once it can change no more.

use jiff::civil::Date;
use smallvec::SmallVec;

use super::slot::Slot;
use crate::amount::Amount;
use crate::catalogue::Family;

/// An open bucket, as the ledger keeps it: call ids only as keyed hashes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// The current sign-in session.
    Session,
    /// A local day.
    Day(Date),
    /// One leg or call of a day.
    Call(Date, u64),
}

/// What is known of one bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cell {
    /// The highest figure per slot.
    pub highest: Vec<(Slot, Amount)>,
    /// The lowest figure per slot that came back below the highest, so that a fall is counted once.
    pub fallen: Vec<(Slot, Amount)>,
}

/// Cells by key, in order. A list: most have one or two, and new ones come last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cells(SmallVec<[(Key, Cell); 2]>);

/// The last good reading of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// The figures as they came.
    pub last: Vec<(Slot, Amount)>,
    /// When, in seconds since the epoch.
    pub at: i64,
}

/// All numbers of one entity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EntityState {
    /// When the vendor last mentioned it, in seconds since the epoch; kept to the day.
    pub seen: i64,
    /// The exported counters.
    pub totals: Vec<(Slot, Amount)>,
    /// The day of each counter's first bucket, as runs along `totals`: so many in a row have this day. None for sign-in
    /// sessions, which do not say when they began, and where the state does not know.
    pub since: Vec<(Option<Date>, u32)>,
    /// The buckets that may still change.
    pub cells: Cells,
    /// The last reading, where the vendor counts since sign-in.
    pub session: Option<Session>,
}

/// What taking figures in did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Taken {
    /// Whether anything is other than before.
    pub changed: bool,
    /// Figures lower than what had been counted, and lower than at any fall before.
    pub revisions: u64,
}

/// A session's talk time may run this far ahead of the time since the last reading: clocks, and the call in progress.
const SESSION_SLACK: i64 = 60;

// === impl Cell ===

impl Cell {
    /// Takes in one figure, and has its total grow. `place` is where the lists probably have its slot: the next one after the
    /// last figure's.
    fn record(
        &mut self,
        totals: &mut Vec<(Slot, Amount)>,
        place: &mut [usize; 2],
        slot: Slot,
        amount: Amount,
        taken: &mut Taken,
    ) {
        let known = self.highest.len();
        let highest = entry_near(&mut self.highest, &mut place[0], slot);
        if amount >= *highest {
            let growth = amount.above(*highest);
            *highest = amount;
            if growth > Amount::ZERO && !self.fallen.is_empty() {
                self.fallen.retain(|(fallen, _)| *fallen != slot);
            }
            *entry_near(totals, &mut place[1], slot) += growth;
            taken.changed |= growth > Amount::ZERO || self.highest.len() > known;
            return;
        }
        match self.fallen.iter_mut().find(|(fallen, _)| *fallen == slot) {
            Some((_, lowest)) if amount >= *lowest => return,
            Some((_, lowest)) => *lowest = amount,
            None => self.fallen.push((slot, amount)),
        }
        taken.changed = true;
        taken.revisions += 1;
    }
}

// === impl Cells ===

impl Cells {
    /// The keys, lowest first.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.0.iter().map(|(key, _)| key)
    }

    /// The cells, lowest key first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &(Key, Cell)> {
        self.0.iter()
    }

    fn entry(&mut self, key: Key) -> &mut Cell {
        let place = self.0.binary_search_by(|(known, _)| known.cmp(&key)).unwrap_or_else(|place| {
            self.0.insert(place, (key, Cell::default()));
            place
        });
        &mut self.0[place].1
    }
}

impl FromIterator<(Key, Cell)> for Cells {
    fn from_iter<T: IntoIterator<Item = (Key, Cell)>>(cells: T) -> Self {
        let mut cells = SmallVec::from_iter(cells);
        cells.sort_by_key(|(key, _)| *key);
        Self(cells)
    }
}

// === impl EntityState ===

impl EntityState {
    /// Takes in figures of one bucket.
    pub fn record_all(&mut self, key: Key, figures: impl IntoIterator<Item = (Slot, Amount)>) -> Taken {
        let cell = self.cells.entry(key);
        let (mut place, mut taken) = ([0, 0], Taken::default());
        for (slot, amount) in figures {
            cell.record(&mut self.totals, &mut place, slot, amount, &mut taken);
        }
        taken
    }

    /// Takes in one observation, unless this bucket has made one of that family before; says whether it had not.
    pub fn observe(&mut self, key: Key, family: Family, amount: Amount) -> bool {
        let Some(bucket) = Slot::bucket_of(family, amount.as_f64()) else { return false };
        let cell = self.cells.entry(key);
        if cell.highest.iter().any(|(slot, _)| slot.family == family) {
            return false;
        }
        for (slot, amount) in [(Slot { family, part: super::slot::Part::Whole }, amount), (bucket, Amount::ONE)] {
            cell.highest.push((slot, amount));
            *entry(&mut self.totals, slot) += amount;
        }
        *entry(&mut self.totals, Slot::native_of(family, amount.as_f64())) += Amount::ONE;
        true
    }

    /// Takes in one reading of numbers that the vendor counts since sign-in; says how many were revisions.
    pub fn record_session(&mut self, figures: &[(Slot, Amount)], at: i64) -> u64 {
        let fresh = self.session.as_ref().is_some_and(|last| is_new_session(last, figures, at));
        if fresh {
            self.cells.0.retain(|(key, _)| *key != Key::Session);
        }
        let taken = self.record_all(Key::Session, figures.iter().copied());
        self.session = Some(Session { last: figures.to_vec(), at });
        taken.revisions
    }

    /// The counters with the day of each one's first bucket.
    pub fn totals_since(&self) -> impl Iterator<Item = (Slot, Amount, Option<Date>)> {
        let days = self.since.iter().flat_map(|(day, run)| std::iter::repeat_n(*day, *run as usize));
        self.totals.iter().zip(days.chain(std::iter::repeat(None))).map(|((slot, amount), day)| (*slot, *amount, day))
    }

    /// Notes when the counters that are new began: with the first day that has a figure of them.
    pub fn date(&mut self) {
        let dated: usize = self.since.iter().map(|(_, run)| *run as usize).sum();
        for (slot, _) in self.totals.iter().skip(dated) {
            let mut cells = self.cells.iter().filter(|(_, cell)| cell.highest.iter().any(|(known, _)| known == slot));
            let day = cells.find_map(|(key, _)| match key {
                Key::Session => None,
                Key::Day(day) | Key::Call(day, _) => Some(*day),
            });
            push_day(&mut self.since, day);
        }
    }

    /// Takes over the counters of another one that is dropped.
    pub fn inherit(&mut self, counters: impl IntoIterator<Item = (Slot, Amount, Option<Date>)>) {
        let mut own: Vec<_> = self.totals_since().collect();
        for (slot, amount, day) in counters {
            match own.iter_mut().find(|(known, ..)| *known == slot) {
                Some((_, total, since)) => {
                    *total += amount;
                    *since = since.and_then(|since| Some(since.min(day?)));
                }
                None => own.push((slot, amount, day)),
            }
        }
        self.totals = own.iter().map(|(slot, amount, _)| (*slot, *amount)).collect();
        self.since.clear();
        for (.., day) in own {
            push_day(&mut self.since, day);
        }
    }

    /// Forgets the buckets that can change no more.
    pub fn fold(&mut self, settled: impl Fn(&Key) -> bool) {
        self.cells.0.retain(|(key, _)| !settled(key));
    }
}

/// A lower number means a new sign-in if the talk time fits into the time since the last reading; else a node
/// behind the gateway is stale.
fn is_new_session(last: &Session, figures: &[(Slot, Amount)], at: i64) -> bool {
    let of =
        |figures: &[(Slot, Amount)], slot| figures.iter().find(|(known, _)| *known == slot).map(|(_, amount)| *amount);
    let fell = figures.iter().any(|(slot, amount)| of(&last.last, *slot).is_some_and(|before| *amount < before));
    let elapsed = u64::try_from((at - last.at).max(0) + SESSION_SLACK).unwrap_or(0);
    let talk =
        figures.iter().find(|(slot, _)| slot.family == Family::AgentTalk).map_or(Amount::ZERO, |(_, talk)| *talk);
    fell && talk <= Amount::whole(elapsed)
}

fn push_day(runs: &mut Vec<(Option<Date>, u32)>, day: Option<Date>) {
    match runs.last_mut() {
        Some((last, run)) if *last == day => *run += 1,
        _ => runs.push((day, 1)),
    }
}

/// The number of a slot, made zero at first use. Entities have a dozen slots: a scan beats a map.
fn entry(slots: &mut Vec<(Slot, Amount)>, slot: Slot) -> &mut Amount {
    entry_near(slots, &mut 0, slot)
}

/// The same, looked for at `place` first; moves it behind what was found.
fn entry_near<'a>(slots: &'a mut Vec<(Slot, Amount)>, place: &mut usize, slot: Slot) -> &'a mut Amount {
    let index = match slots.get(*place) {
        Some((known, _)) if *known == slot => *place,
        _ => slots.iter().position(|(known, _)| *known == slot).unwrap_or_else(|| {
            slots.push((slot, Amount::ZERO));
            slots.len() - 1
        }),
    };
    *place = index + 1;
    &mut slots[index].1
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::civil::date;
    use proptest::prelude::*;

    use super::*;
    use crate::ledger::slot::Part;

    const TALK: Slot = Slot { family: Family::AgentTalk, part: Part::Whole };
    const CALLS: Slot = Slot { family: Family::AgentAnsweredCalls, part: Part::Whole };

    fn total(state: &EntityState, slot: Slot) -> Amount {
        state.totals.iter().find(|(known, _)| *known == slot).map_or(Amount::ZERO, |(_, amount)| *amount)
    }

    proptest! {
        /// Whatever arrives in whatever order, the counter is the sum of the highest per bucket, and never falls.
        #[test]
        fn the_total_is_the_sum_of_the_highest(readings in prop::collection::vec((0_usize..4, 0_u64..1000), 0..60), fold_at in 0_usize..60) {
            let mut state = EntityState::default();
            let mut highest = [0_u64; 4];
            let mut folded = false;
            let mut last = Amount::ZERO;
            for (index, (day, value)) in readings.into_iter().enumerate() {
                if index == fold_at {
                    state.fold(|key| *key == Key::Day(date(2026, 1, 1)));
                    folded = true;
                }
                if folded && day == 0 {
                    continue; // a settled day is never read again
                }
                state.record_all(Key::Day(date(2026, 1, 1 + i8::try_from(day).unwrap())), [(TALK, Amount::whole(value))]);
                let slot = &mut highest[day];
                *slot = (*slot).max(value);
                prop_assert!(total(&state, TALK) >= last);
                last = total(&state, TALK);
                prop_assert_eq!(last, Amount::whole(highest.iter().sum()));
            }
        }

        /// Observations count once per call, however often the call is read.
        #[test]
        fn a_call_is_observed_once(calls in prop::collection::vec((0_u64..10, 0_u64..5000), 0..60)) {
            let mut state = EntityState::default();
            let mut first = BTreeMap::new();
            for (id, talk) in calls {
                state.observe(Key::Call(date(2026, 1, 1), id), Family::CampaignTalkTime, Amount::whole(talk));
                first.entry(id).or_insert(talk);
            }
            let sum = total(&state, Slot { family: Family::CampaignTalkTime, part: Part::Whole });
            prop_assert_eq!(sum, Amount::whole(first.values().sum()));
            let count: Amount = state.totals.iter().filter(|(slot, _)| matches!(slot.part, Part::Bucket(_))).map(|(_, n)| *n).sum();
            prop_assert_eq!(count, Amount::whole(first.len() as u64));
        }
    }

    #[test]
    fn a_counter_remembers_its_first_day() {
        let mut state = EntityState::default();
        state.record_all(Key::Day(date(2026, 1, 2)), [(CALLS, Amount::ONE)]);
        state.record_all(Key::Day(date(2026, 1, 1)), [(CALLS, Amount::ONE)]);
        state.date();
        state.record_all(Key::Day(date(2026, 1, 3)), [(CALLS, Amount::ONE)]);
        state.record_all(Key::Day(date(2026, 1, 3)), [(TALK, Amount::ONE)]);
        state.date();
        state.fold(|_| true);
        state.date();
        let days = |state: &EntityState| state.totals_since().map(|(slot, _, day)| (slot, day)).collect::<Vec<_>>();
        assert_eq!(days(&state), [(CALLS, Some(date(2026, 1, 1))), (TALK, Some(date(2026, 1, 3)))]);
        let mut heir = EntityState::default();
        heir.record_session(&[(TALK, Amount::whole(3))], 0);
        heir.date();
        assert_eq!(days(&heir), [(TALK, None)]);
        heir.inherit(state.totals_since());
        assert_eq!(days(&heir), [(TALK, None), (CALLS, Some(date(2026, 1, 1)))]);
        assert_eq!((total(&heir, TALK), total(&heir, CALLS)), (Amount::whole(4), Amount::whole(3)));
    }

    #[test]
    fn a_fall_is_counted_once_and_once_more_when_it_falls_further() {
        let mut state = EntityState::default();
        let day = Key::Day(date(2026, 1, 1));
        let falls: Vec<_> = [100, 90, 90, 95, 80, 80, 100, 120, 110]
            .into_iter()
            .map(|value| state.record_all(day, [(TALK, Amount::whole(value))]).revisions == 1)
            .collect();
        assert_eq!(falls, [false, true, false, false, true, false, false, false, true]);
        assert_eq!(total(&state, TALK), Amount::whole(120));
    }

    #[test]
    fn sessions_add_up_and_stale_nodes_do_not() {
        let mut state = EntityState::default();
        let mut read =
            |talk, calls, at| state.record_session(&[(TALK, Amount::whole(talk)), (CALLS, Amount::whole(calls))], at);
        assert_eq!(read(4000, 20, 1_000_000), 0, "first contact takes the session as it stands");
        assert_eq!(read(4100, 21, 1_000_030), 0);
        assert_eq!(read(4000, 20, 1_000_060), 2, "4000 s cannot have been talked since: a stale node");
        assert_eq!(read(4000, 20, 1_000_090), 0, "and is not counted twice");
        assert_eq!(read(4130, 22, 1_000_120), 0);
        assert_eq!(read(20, 1, 1_030_000), 0, "a new sign-in");
        assert_eq!(read(0, 0, 1_030_500), 0, "and another");
        assert_eq!(read(7, 1, 1_030_530), 0);
        assert_eq!(total(&state, TALK), Amount::whole(4130 + 20 + 7));
        assert_eq!(total(&state, CALLS), Amount::whole(22 + 1 + 1));
    }
}
