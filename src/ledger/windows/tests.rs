//! Days of polls: what is due when, what closes a day, and that nothing is ever left unread.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::civil::date;
use proptest::prelude::*;

use super::*;
use crate::settings::{BACKFILL, SETTLE};

const READY: i8 = 3;
const TENTH: Date = date(2026, 3, 10);
const ELEVENTH: Date = date(2026, 3, 11);

fn settings() -> ReportSettings {
    ReportSettings::every(Duration::from_mins(5))
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn due(windows: &Windows, now: &str) -> DueWindows {
    windows.due(at(now), &TimeZone::UTC, READY, &settings())
}

/// Reads all that is due.
fn poll(windows: &mut Windows, now: Timestamp, zone: &TimeZone) -> DueWindows {
    let due = windows.due(now, zone, READY, &settings());
    let all: Vec<_> = due.tail.iter().chain(&due.rest).copied().collect();
    windows.keep(&all, now, zone, &settings());
    due
}

fn places(windows: &[Window]) -> Vec<u8> {
    windows.iter().map(|(_, place)| *place).collect()
}

#[test]
fn first_contact_reads_today_as_it_stands() {
    let mut windows = Windows::default();
    let first = poll(&mut windows, at("2026-03-10T02:20:00Z"), &TimeZone::UTC);
    assert_eq!((places(&first.tail), places(&first.rest)), (vec![8, 9], (0..8).collect()));
    assert_eq!((windows.since, windows.closed_through), (Some(TENTH), Some(date(2026, 3, 9))));
}

#[test]
fn windows_of_today_are_read_again_as_they_age_and_then_rest() {
    let mut windows = Windows::default();
    let mut reads = Vec::new();
    let start = at("2026-03-10T12:00:00Z");
    poll(&mut windows, start, &TimeZone::UTC);
    for minute in (5..12 * 60).step_by(5) {
        let due = poll(&mut windows, start + SignedDuration::from_mins(minute), &TimeZone::UTC);
        assert!(due.tail.len() <= 2);
        if due.rest.contains(&(TENTH, 48)) {
            reads.push(minute);
        }
    }
    // It ended after 15 minutes and was read at every poll for 15 more.
    assert_eq!(reads, [85, 155, 295, 375]);
}

#[test]
fn yesterday_is_a_hole_until_three_and_then_read_hourly_until_settled() {
    let mut windows = Windows::default();
    poll(&mut windows, at("2026-03-10T23:50:00Z"), &TimeZone::UTC);
    let mut past = |now: &str| {
        let due = poll(&mut windows, at(now), &TimeZone::UTC);
        due.rest.iter().filter(|(day, _)| *day == TENTH).count()
    };
    assert_eq!(past("2026-03-11T00:00:00Z"), 0);
    assert_eq!(past("2026-03-11T02:59:59Z"), 0);
    assert_eq!(past("2026-03-11T03:00:00Z"), 96, "all of it, once it is there");
    assert_eq!(past("2026-03-11T03:30:00Z"), 0);
    assert_eq!(past("2026-03-11T04:00:00Z"), 96);
    assert_eq!(past("2026-03-11T05:00:00Z"), 96);
    assert_eq!(past("2026-03-11T06:00:00Z"), 96, "at end + settle");
    assert_eq!(past("2026-03-11T09:00:00Z"), 0, "closed");
    assert!(!windows.is_open(TENTH) && windows.is_open(ELEVENTH));
}

#[test]
fn an_outage_is_filled_oldest_first_and_what_lies_beyond_is_lost() {
    let mut windows = Windows::default();
    poll(&mut windows, at("2026-03-01T12:00:00Z"), &TimeZone::UTC);
    let now = "2026-03-06T12:00:00Z";
    let days: Vec<_> = due(&windows, now).rest.iter().map(|(day, _)| day.day()).collect();
    assert!(days.is_sorted());
    assert_eq!(BTreeSet::from_iter(days), BTreeSet::from([3, 4, 5, 6]));
    assert_eq!(windows.keep(&[], at(now), &TimeZone::UTC, &settings()), 2, "the first and the second");
    assert_eq!(windows.closed_through, Some(date(2026, 3, 2)));
    assert_eq!(windows.keep(&[], at(now), &TimeZone::UTC, &settings()), 0, "counted once");
}

#[test]
fn a_day_with_one_unread_window_stays_open() {
    let mut windows = Windows::default();
    poll(&mut windows, at("2026-03-10T12:00:00Z"), &TimeZone::UTC);
    let now = at("2026-03-11T07:00:00Z");
    let all_but_one: Vec<_> = (0..PER_DAY).filter(|place| *place != 40).map(|place| (TENTH, place)).collect();
    windows.keep(&all_but_one, now, &TimeZone::UTC, &settings());
    assert!(windows.is_open(TENTH));
    let past: Vec<_> =
        due(&windows, "2026-03-11T07:05:00Z").rest.into_iter().filter(|(day, _)| *day == TENTH).collect();
    assert_eq!(past, [(TENTH, 40)]);
    windows.keep(&[(TENTH, 40)], now, &TimeZone::UTC, &settings());
    assert!(!windows.is_open(TENTH));
}

#[test]
fn another_report_begins_with_the_next_local_day() {
    let zone = TimeZone::get("Asia/Kolkata").unwrap();
    let mut windows = Windows::default();
    windows.hand_over(at("2026-03-10T20:00:00Z"), &zone);
    assert_eq!(windows.since, Some(date(2026, 3, 12)));
    assert_eq!(windows.due(at("2026-03-10T21:00:00Z"), &zone, READY, &settings()), DueWindows::default());
    let next = windows.due(at("2026-03-11T18:30:00Z"), &zone, READY, &settings());
    assert_eq!(next.tail, [(date(2026, 3, 12), 0)]);
}

#[test]
fn windows_fill_days_of_any_length() {
    for (zone, day) in [("America/Santiago", date(2026, 9, 6)), ("Australia/Lord_Howe", date(2026, 4, 5))] {
        let zone = TimeZone::get(zone).unwrap();
        let ends: Vec<_> = (0..PER_DAY).map(|place| window_end((day, place), &zone)).collect();
        assert!(ends.iter().all(|end| *end <= end_of(day, &zone)));
        assert_eq!(ends.last(), Some(&end_of(day, &zone)));
    }
    assert!((0..PER_DAY).all(|place| window_at(window_start(place)) == place));
}

proptest! {
    /// Whatever fails, whenever polls come and wherever the clock stands: no day closes before all of it was read at or after
    /// its end + settle, unless it is lost, and today's latest windows are always due.
    #[test]
    fn nothing_closes_unread(steps in prop::collection::vec((1_i64..20_000, 0_u8..100), 1..200)) {
        let zone = TimeZone::get("Asia/Kolkata").unwrap();
        let mut windows = Windows::default();
        let mut read: BTreeMap<Window, Timestamp> = BTreeMap::new();
        let mut now = at("2026-03-10T01:00:00Z");
        for (pause, share) in steps {
            now += SignedDuration::from_secs(pause);
            let due = windows.due(now, &zone, READY, &settings());
            prop_assert!(due.tail.contains(&(day_of(now, &zone), window_at(zone.to_datetime(now).time()))));
            let all = due.tail.len() + due.rest.len();
            let some: Vec<_> = due.tail.into_iter().chain(due.rest).take(all * usize::from(share) / 99).collect();
            read.extend(some.iter().map(|window| (*window, now)));
            let closed = windows.closed_through;
            let lost = windows.keep(&some, now, &zone, &settings());
            let mut unread = 0;
            let mut day = closed.unwrap_or(date(2026, 3, 9));
            while Some(day) != windows.closed_through {
                day = day.tomorrow().unwrap();
                let settled = end_of(day, &zone) + signed(SETTLE);
                let whole = |least| (0..PER_DAY).all(|place| read.get(&(day, place)).is_some_and(|at| *at >= least));
                let beyond = now.duration_since(end_of(day, &zone)) > signed(BACKFILL);
                prop_assert!(whole(settled) || beyond);
                unread += u64::from(beyond && !whole(end_of(day, &zone)));
            }
            prop_assert_eq!(lost, unread);
        }
    }
}
