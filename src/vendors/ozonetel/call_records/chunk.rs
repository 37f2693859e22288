//! Which windows are read in one go, and how far a request reaches beyond them. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use jiff::SignedDuration;
use jiff::civil::{Date, DateTime, Time};

use crate::ledger::windows::{DueWindows, MINUTES, PER_DAY, Window, window_at};

/// A request reaches at least so many windows beyond those that it is for: legs of most calls begin within that.
pub(super) const MARGIN: u8 = 2;
/// It reaches back further where callers wait long, but not more than this.
const MOST_BACK: u8 = 8;
/// The same for the end of a wait: one wrong row must not have all its neighbours read.
const MOST_AHEAD: u8 = 8;
/// Rows that a chunk is made for, margins aside.
const ROWS: u64 = 2000;
/// More rows than this are better read in parts.
pub(super) const MOST_ROWS: u64 = 4000;
/// What is due of today is read together with what fits into the same page.
const ALONG: u64 = 400;
/// Rows of a page.
pub(super) const PAGE: u64 = 500;

/// Windows of one day that are read in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chunk {
    pub(super) day: Date,
    /// The windows that are read for their own sake.
    pub(super) core: Range<u8>,
    /// Those that are asked for.
    pub(super) span: Range<u8>,
    /// The present.
    pub(super) tail: bool,
    /// Whether more is read along than is due.
    along: bool,
    /// Whether it says nothing of calls.
    pub(super) hurried: bool,
    /// Windows that are asked for before and after the core.
    back: u8,
    ahead: u8,
}

/// What is read of the present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Present {
    /// What is due, and what fits into the same page.
    Along,
    /// What is due.
    Alone,
    /// What is due, and nothing of what was before.
    Hurried,
}

/// How many rows windows had when they were last read.
#[derive(Debug, Default)]
pub(super) struct Density {
    rows: BTreeMap<Window, u64>,
    /// Of windows that were not read yet.
    guess: u64,
    /// The longest wait in a queue that lay in each window, in windows.
    waits: BTreeMap<Window, u8>,
}

/// Whether calls with a leg in this window may have begun on the day before. A call is counted on the day of its first leg:
/// whoever sees only the later ones would count it twice.
pub(super) fn needs_yesterday(place: u8) -> bool {
    place < MOST_BACK
}

/// What is due, as chunks: the present first, then the oldest. A poll has room for so many requests.
pub(super) fn plan(due: &DueWindows, density: &Density, requests: u64, present: Present) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let past = |(day, core): (Date, Range<u8>)| {
        let back = density.back_of(day, &core);
        Chunk::new(day, core, false, back)
    };
    if let Some((first, last)) = due.tail.first().zip(due.tail.last()) {
        let hurried = present == Present::Hurried;
        let back = if hurried { 0 } else { density.back() };
        let tail = Chunk { hurried, ..Chunk::new(first.0, first.1..last.1 + 1, true, back) };
        let tail = if present == Present::Along { tail.extended(density) } else { tail };
        chunks.push(tail.without_yesterday());
    }
    let tail = chunks.first().cloned();
    let room = requests.saturating_sub(tail.as_ref().map_or(0, |tail| density.pages(tail)) + density.spare()).max(1);
    let fits = |day, core: Range<u8>| density.sum(day, &core) <= ROWS && density.pages(&past((day, core))) <= room;
    let rest = due.rest.iter().filter(|window| !tail.as_ref().is_some_and(|tail| tail.holds(**window)));
    let mut group: Option<(Date, Range<u8>)> = None;
    for (day, place) in rest.copied() {
        match &mut group {
            Some((last, core)) if *last == day && core.end == place && fits(day, core.start..place + 1) => {
                core.end = place + 1;
            }
            _ => {
                chunks.extend(group.take().map(past));
                group = Some((day, place..place + 1));
            }
        }
    }
    chunks.extend(group.map(past));
    chunks
}

// === impl Chunk ===

impl Chunk {
    /// These windows, with the margins that are asked for along with them.
    fn new(day: Date, core: Range<u8>, tail: bool, back: u8) -> Self {
        Self { day, span: core.clone(), core, tail, along: false, hurried: false, back, ahead: 0 }.wider(back, MARGIN)
    }

    /// With so much asked for beyond the core. The tail goes to the end of the day: the vendor's clock may be ahead.
    fn wider(self, back: u8, ahead: u8) -> Self {
        let end = if self.tail { PER_DAY } else { self.core.end.saturating_add(ahead).min(PER_DAY) };
        let wider = Self { back, ahead, ..self };
        Self { span: wider.core.start.saturating_sub(wider.reach())..end, ..wider }
    }

    /// Windows that are asked for before the core: all that may matter where some of them are yesterday's.
    fn reach(&self) -> u8 {
        if !self.tail && needs_yesterday(self.core.start) { MOST_BACK } else { self.back }
    }

    /// How the chunk must be widened so that calls that ended then, or began to wait so much earlier, are seen whole; none if
    /// they are.
    pub(super) fn widened(&self, last_end: Option<DateTime>, back: u8) -> Option<Self> {
        let windows = |end: DateTime| {
            let core_end = self
                .day
                .to_datetime(Time::midnight())
                .saturating_add(SignedDuration::from_mins(i64::from(self.core.end) * MINUTES));
            // The next leg begins a moment later.
            let minutes = end.duration_since(core_end).as_mins().max(0) + 1;
            u8::try_from(minutes / MINUTES + 1).unwrap_or(MOST_AHEAD).min(MOST_AHEAD)
        };
        let ahead = last_end.filter(|_| !self.tail).map_or(0, windows).max(self.ahead);
        let back = back.max(self.back);
        ((back, ahead) != (self.back, self.ahead)).then(|| self.clone().wider(back, ahead))
    }

    /// With as much of the day as fits into the same page.
    fn extended(self, density: &Density) -> Self {
        let fits = |start: &u8| density.sum(self.day, &(start.saturating_sub(self.back)..self.core.end)) <= ALONG;
        let start = (0..self.core.start).rev().take_while(fits).last().unwrap_or(self.core.start);
        let along = start < self.core.start;
        Self { along, core: start..self.core.end, span: start.saturating_sub(self.back)..PER_DAY, ..self }
    }

    /// The tail asks for no other day: calls whose first leg may stand on yesterday are left to others.
    fn without_yesterday(self) -> Self {
        let end = self.core.end;
        Self { core: self.core.start.max(MOST_BACK).min(end)..end, ..self }
    }

    /// Whether it is worth while to read it in parts. A tail has one smaller part, what is due alone; that one is read
    /// however long it is.
    pub(super) fn may_split(&self) -> bool {
        if self.tail { self.along } else { self.core.len() > 1 }
    }

    /// The windows that rows can stand in: what has not begun yet is asked for, and empty.
    pub(super) fn filled(&self) -> Range<u8> {
        self.span.start..if self.tail { self.core.end } else { self.span.end }
    }

    pub(super) fn halves(&self) -> [Self; 2] {
        let middle = self.core.start.midpoint(self.core.end);
        [self.core.start..middle, middle..self.core.end].map(|core| Self::new(self.day, core, false, self.back))
    }

    pub(super) fn holds(&self, (day, place): Window) -> bool {
        day == self.day && self.core.contains(&place)
    }

    /// Whether a call with legs in these windows is this chunk's.
    pub(super) fn is_inner(&self, windows: &[Window]) -> bool {
        windows.iter().any(|window| self.holds(*window))
    }

    /// What to ask for: the windows with their margins but for those that were asked for, a day at a time, their own first.
    pub(super) fn queries(&self, today: Date, asked: &BTreeSet<Window>) -> Vec<(Date, Range<u8>)> {
        let mut parts: Vec<(Date, Range<u8>)> = Vec::new();
        for (day, span) in self.days(today) {
            for place in span.filter(|place| !asked.contains(&(day, *place))) {
                match parts.last_mut() {
                    Some((last, part)) if *last == day && part.end == place => part.end = place + 1,
                    _ => parts.push((day, place..place + 1)),
                }
            }
        }
        parts
    }

    fn days(&self, today: Date) -> Vec<(Date, Range<u8>)> {
        let mut queries = vec![(self.day, self.span.clone())];
        if self.tail {
            return queries;
        }
        let over = self.reach().saturating_sub(self.core.start);
        if over > 0
            && let Ok(before) = self.day.yesterday()
        {
            queries.push((before, PER_DAY - over..PER_DAY));
        }
        let over = self.core.end.saturating_add(self.ahead).saturating_sub(PER_DAY);
        if over > 0
            && self.day < today
            && let Ok(after) = self.day.tomorrow()
        {
            queries.push((after, 0..over));
        }
        queries
    }
}

// === impl Density ===

impl Density {
    fn sum(&self, day: Date, span: &Range<u8>) -> u64 {
        span.clone().map(|place| self.rows.get(&(day, place)).copied().unwrap_or(self.guess)).sum()
    }

    /// Requests that the chunk is likely to take.
    pub(super) fn pages(&self, chunk: &Chunk) -> u64 {
        let of_one = |(day, span): (Date, Range<u8>)| {
            let span = if day == chunk.day { chunk.filled() } else { span };
            self.sum(day, &span).div_ceil(PAGE).max(1)
        };
        chunk.days(Date::MAX).into_iter().map(of_one).sum()
    }

    /// Keeps how many of `legs` fell into each of the windows that were asked for.
    pub(super) fn learn(&mut self, asked: &BTreeSet<Window>, legs: impl Iterator<Item = (Date, Time)>) {
        self.rows.extend(asked.iter().map(|window| (*window, 0)));
        let mut all = 0;
        for (day, time) in legs {
            all += 1;
            if let Some(rows) = self.rows.get_mut(&(day, window_at(time))) {
                *rows += 1;
            }
        }
        self.guess = self.guess.max(all / asked.len().max(1) as u64);
    }

    /// The same from the vendor's own total.
    pub(super) fn learn_total(&mut self, day: Date, span: &Range<u8>, total: u64) {
        let each = total.div_ceil(span.len().max(1) as u64);
        self.guess = self.guess.max(each);
        self.rows.extend(span.clone().map(|place| ((day, place), each)));
    }

    /// Keeps how long somebody waited: his next leg begins where the wait ends. Whoever did so for longer than a request may
    /// reach back was not there.
    pub(super) fn learn_wait(&mut self, from: DateTime, to: DateTime) {
        let step = SignedDuration::from_mins(MINUTES);
        let windows = u8::try_from(to.duration_since(from).as_mins() / MINUTES).unwrap_or(u8::MAX);
        if windows > MOST_BACK {
            return;
        }
        for number in 0..=i32::from(windows) {
            self.waited(from.saturating_add(step * number), windows);
        }
        self.waited(to, windows);
    }

    fn waited(&mut self, at: DateTime, windows: u8) {
        let longest = self.waits.entry((at.date(), window_at(at.time()))).or_default();
        *longest = windows.max(*longest);
    }

    /// How far back the first legs of calls may stand, as far as anybody has waited in these days.
    pub(super) fn back(&self) -> u8 {
        Self::reach(self.waits.values())
    }

    /// The same for the calls of windows that were read before: their waits are known.
    pub(super) fn back_of(&self, day: Date, core: &Range<u8>) -> u8 {
        if core.clone().all(|place| self.rows.contains_key(&(day, place))) {
            Self::reach(core.clone().filter_map(|place| self.waits.get(&(day, place))))
        } else {
            self.back()
        }
    }

    /// Requests for chunks that have to be widened: where callers wait long, most of them.
    pub(super) fn spare(&self) -> u64 {
        if self.back() > MARGIN { 2 } else { 1 }
    }

    fn reach<'a>(waits: impl Iterator<Item = &'a u8>) -> u8 {
        waits.max().copied().unwrap_or_default().saturating_add(MARGIN).min(MOST_BACK)
    }

    /// The last closed day is still asked for, beside the first windows of the next.
    pub(super) fn forget_before(&mut self, closed: Option<Date>) {
        if let Some(closed) = closed {
            self.rows.retain(|(day, _), _| *day >= closed);
            self.waits.retain(|(day, _), _| *day >= closed);
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    const TODAY: Date = date(2026, 11, 20);
    const YESTERDAY: Date = date(2026, 11, 19);

    const ROOM: u64 = 9;

    fn due(tail: Range<u8>, rest: &[(Date, Range<u8>)]) -> DueWindows {
        let windows = |day: Date, places: Range<u8>| places.map(move |place| (day, place));
        let rest = rest.iter().flat_map(|(day, places)| windows(*day, places.clone())).collect();
        DueWindows { tail: windows(TODAY, tail).collect(), rest }
    }

    fn tail(core: Range<u8>) -> Chunk {
        Chunk::new(TODAY, core, true, MARGIN)
    }

    #[test]
    fn a_quiet_day_is_one_request_and_its_first_windows_another_with_yesterdays_last() {
        let chunks = plan(&due(38..40, &[(TODAY, 0..38)]), &Density::default(), ROOM, Present::Along);
        assert_eq!(chunks, [Chunk { along: true, span: 0..96, ..tail(8..40) }, Chunk::new(TODAY, 0..8, false, MARGIN)]);
        assert_eq!(chunks[0].queries(TODAY, &BTreeSet::new()), [(TODAY, 0..96)]);
        assert_eq!(chunks[1].queries(TODAY, &BTreeSet::new()), [(TODAY, 0..10), (YESTERDAY, 88..96)]);
        let midnight = plan(&due(0..1, &[]), &Density::default(), ROOM, Present::Along);
        assert_eq!(midnight, [Chunk { span: 0..96, ..tail(1..1) }], "legs count, calls wait");
        let later = plan(&due(0..0, &[(TODAY, 5..6)]), &Density::default(), ROOM, Present::Along);
        assert_eq!(
            later[0].queries(TODAY, &BTreeSet::new()),
            [(TODAY, 0..8), (YESTERDAY, 93..96)],
            "a window read again alone"
        );
    }

    #[test]
    fn a_busy_day_is_read_in_parts_that_follow_each_other() {
        let mut density = Density::default();
        density.learn_total(TODAY, &(0..96), 96 * 300);
        let chunks = plan(&due(38..40, &[(YESTERDAY, 90..96), (TODAY, 20..28)]), &density, 11, Present::Along);
        let parts: Vec<_> = chunks.iter().map(|chunk| (chunk.day, chunk.core.clone(), chunk.span.clone())).collect();
        assert_eq!(
            parts,
            [(TODAY, 38..40, 36..96), (YESTERDAY, 90..96, 88..96), (TODAY, 20..26, 18..28), (TODAY, 26..28, 24..30),]
        );
        assert_eq!(chunks.iter().map(|chunk| density.pages(chunk)).collect::<Vec<_>>(), [3, 7, 6, 4]);
        assert_eq!(chunks[1].queries(TODAY, &BTreeSet::new()), [(YESTERDAY, 88..96), (TODAY, 0..2)]);
        assert_eq!(chunks[1].halves().map(|half| half.core), [90..93, 93..96]);
        assert!(!chunks[0].may_split());
    }

    #[test]
    fn what_is_due_is_read_exactly_once() {
        for each in [0, 3, 40, 700, 5000] {
            let mut density = Density::default();
            density.learn_total(TODAY, &(0..96), each * 96);
            for now in 1..96 {
                let due = due(now - 1..now + 1, &[(YESTERDAY, 5..96), (TODAY, 0..now - 1)]);
                let chunks = plan(&due, &density, ROOM, Present::Along);
                for window in due.tail.iter().chain(&due.rest) {
                    let held = chunks.iter().filter(|chunk| chunk.holds(*window)).count();
                    let waits = due.tail.contains(window) && needs_yesterday(window.1);
                    assert_eq!(held, usize::from(!waits), "{window:?} at {now} with {each}");
                    let asked = |chunk: &Chunk| chunk.day == window.0 && chunk.span.contains(&window.1);
                    assert!(chunks.iter().any(asked));
                }
            }
        }
    }
}
