//! Which windows are read in one go, and how far a request reaches beyond them. Pure.

use std::collections::BTreeMap;
use std::ops::Range;

use jiff::civil::{Date, Time};

use crate::ledger::windows::{DueWindows, PER_DAY, Window, window_at};

/// A request reaches so many windows beyond those that it is for: legs of one call begin within that.
pub(super) const MARGIN: u8 = 2;
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
}

/// How many rows windows had when they were last read.
#[derive(Debug, Default)]
pub(super) struct Density {
    rows: BTreeMap<Window, u64>,
    /// Of windows that were not read yet.
    guess: u64,
}

/// Whether calls with a leg in this window may have begun on the day before.
pub(super) fn needs_yesterday(place: u8) -> bool {
    place < MARGIN
}

/// What is due, as chunks: the present first, then the oldest. A poll has room for so many requests. `along`: the present
/// may bring more than is due.
pub(super) fn plan(due: &DueWindows, density: &Density, requests: u64, along: bool) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    let tail = due.tail.first().zip(due.tail.last()).map(|(first, last)| Chunk::tail(first.0, first.1..last.1 + 1));
    if let Some(tail) = tail {
        chunks.push(if along { tail.extended(density) } else { tail });
    }
    let tail = chunks.first().cloned();
    let room = requests.saturating_sub(tail.as_ref().map_or(0, |tail| density.pages(tail))).max(1);
    let fits = |day, core: Range<u8>| density.sum(day, &core) <= ROWS && density.pages(&Chunk::past(day, core)) <= room;
    let rest = due.rest.iter().filter(|window| !tail.as_ref().is_some_and(|tail| tail.holds(**window)));
    let mut group: Option<(Date, Range<u8>)> = None;
    for (day, place) in rest.copied() {
        match &mut group {
            Some((last, core)) if *last == day && core.end == place && fits(day, core.start..place + 1) => {
                core.end = place + 1;
            }
            _ => {
                chunks.extend(group.take().map(|(day, core)| Chunk::past(day, core)));
                group = Some((day, place..place + 1));
            }
        }
    }
    chunks.extend(group.map(|(day, core)| Chunk::past(day, core)));
    chunks
}

// === impl Chunk ===

impl Chunk {
    fn tail(day: Date, core: Range<u8>) -> Self {
        // To the end of the day: the vendor's clock may be ahead.
        Self { day, span: core.start.saturating_sub(MARGIN)..PER_DAY, core, tail: true, along: false }
    }

    fn past(day: Date, core: Range<u8>) -> Self {
        let span = core.start.saturating_sub(MARGIN)..(core.end + MARGIN).min(PER_DAY);
        Self { day, core, span, tail: false, along: false }
    }

    /// With as much of the day as fits into the same page. The tail asks for no other day: calls whose first leg may stand on
    /// yesterday are left to others.
    fn extended(self, density: &Density) -> Self {
        let fits = |start: &u8| density.sum(self.day, &(start.saturating_sub(MARGIN)..self.core.end)) <= ALONG;
        let start = (MARGIN..self.core.start).rev().take_while(fits).last().unwrap_or(self.core.start).max(MARGIN);
        let end = self.core.end;
        let span = start.min(self.core.start).saturating_sub(MARGIN)..PER_DAY;
        Self { along: start < self.core.start, core: start.min(end)..end, span, ..self }
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
        [Self::past(self.day, self.core.start..middle), Self::past(self.day, middle..self.core.end)]
    }

    pub(super) fn holds(&self, (day, place): Window) -> bool {
        day == self.day && self.core.contains(&place)
    }

    /// What to ask for: the windows with their margins, a day at a time, their own first.
    pub(super) fn queries(&self, today: Date) -> Vec<(Date, Range<u8>)> {
        let mut queries = vec![(self.day, self.span.clone())];
        if self.tail {
            return queries;
        }
        if needs_yesterday(self.core.start)
            && let Ok(before) = self.day.yesterday()
        {
            queries.push((before, PER_DAY - (MARGIN - self.core.start)..PER_DAY));
        }
        let over = (self.core.end + MARGIN).saturating_sub(PER_DAY);
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
        let neighbours = u64::from(!chunk.tail && (chunk.core.start < MARGIN || chunk.core.end + MARGIN > PER_DAY));
        self.sum(chunk.day, &chunk.filled()).div_ceil(PAGE).max(1) + neighbours
    }

    /// Keeps how many of `legs` fell into each window.
    pub(super) fn learn(&mut self, day: Date, span: &Range<u8>, legs: impl Iterator<Item = (Date, Time)>) {
        self.rows.extend(span.clone().map(|place| ((day, place), 0)));
        for (_, time) in legs.filter(|(date, _)| *date == day) {
            *self.rows.entry((day, window_at(time))).or_default() += 1;
        }
    }

    /// The same from the vendor's own total.
    pub(super) fn learn_total(&mut self, day: Date, span: &Range<u8>, total: u64) {
        let each = total.div_ceil(span.len().max(1) as u64);
        self.guess = self.guess.max(each);
        self.rows.extend(span.clone().map(|place| ((day, place), each)));
    }

    pub(super) fn forget_before(&mut self, closed: Option<Date>) {
        if let Some(closed) = closed {
            self.rows.retain(|(day, _), _| *day > closed);
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

    #[test]
    fn a_quiet_day_is_one_request_and_its_first_windows_another_with_yesterdays_last() {
        let chunks = plan(&due(38..40, &[(TODAY, 0..38)]), &Density::default(), ROOM, true);
        assert_eq!(
            chunks,
            [Chunk { day: TODAY, core: 2..40, span: 0..96, tail: true, along: true }, Chunk::past(TODAY, 0..2)]
        );
        assert_eq!(chunks[0].queries(TODAY), [(TODAY, 0..96)]);
        assert_eq!(chunks[1].queries(TODAY), [(TODAY, 0..4), (YESTERDAY, 94..96)]);
        let midnight = plan(&due(0..1, &[]), &Density::default(), ROOM, true);
        assert_eq!(
            midnight,
            [Chunk { day: TODAY, core: 1..1, span: 0..96, tail: true, along: false }],
            "legs count, calls wait"
        );
    }

    #[test]
    fn a_busy_day_is_read_in_parts_that_follow_each_other() {
        let mut density = Density::default();
        density.learn_total(TODAY, &(0..96), 96 * 300);
        let chunks = plan(&due(38..40, &[(YESTERDAY, 90..96), (TODAY, 20..28)]), &density, 10, true);
        let parts: Vec<_> = chunks.iter().map(|chunk| (chunk.day, chunk.core.clone(), chunk.span.clone())).collect();
        assert_eq!(
            parts,
            [(TODAY, 38..40, 36..96), (YESTERDAY, 90..96, 88..96), (TODAY, 20..26, 18..28), (TODAY, 26..28, 24..30),]
        );
        assert_eq!(chunks.iter().map(|chunk| density.pages(chunk)).collect::<Vec<_>>(), [3, 6, 6, 4]);
        assert_eq!(chunks[1].queries(TODAY), [(YESTERDAY, 88..96), (TODAY, 0..2)]);
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
                let chunks = plan(&due, &density, ROOM, true);
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
