//! Which parts of which local days have to be read, where a vendor lists its calls by the day and a day is too long to be
//! read at every poll. A day has [`PER_DAY`] windows of local time.
//!
//! - The *tail*, the running window of today and the one before, is read at every poll.
//! - An older window of today is read once after its end, and again when its age has doubled since the last
//!   read, at least an hour later, and last at or after its end + `settle`. It then rests.
//! - A past day is read hourly, every window of it, until each was read at or after the day's end + `settle`: only that
//!   closes the day. Missed days come back to `backfill`, oldest first; yesterday not before the vendor's ready hour.
//!
//! A window counts as read only if the report vouches for it: that the whole of it was seen. So every row is seen at
//! least once after it has settled, and how often it is seen does not matter to its bucket. Pure.

use std::collections::BTreeMap;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::calendar::{REREAD, day_of, end_of, ready_at, signed};
use crate::settings::ReportSettings;

/// Windows of a day.
pub const PER_DAY: u8 = 96;
/// Length of a window, in minutes.
pub const MINUTES: i64 = 15;
/// A window may still bring new rows at every poll until so long after its end.
const TAIL: SignedDuration = SignedDuration::from_mins(MINUTES);

/// A part of a local day, by its place from 0.
pub type Window = (Date, u8);

/// What is known of an account's days and their windows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// The first day that counts; none before the first contact.
    pub since: Option<Date>,
    /// This day and all before it are closed.
    pub closed_through: Option<Date>,
    /// When each window was last read whole, in seconds since the epoch.
    read: BTreeMap<Date, BTreeMap<u8, i64>>,
}

/// What a poll has to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DueWindows {
    /// Today's latest windows; none where today is closed.
    pub tail: Vec<Window>,
    /// The others, oldest first.
    pub rest: Vec<Window>,
}

/// The instant at which a window of `day` ends: where clocks are set back, the later one.
pub fn window_end((day, place): Window, zone: &TimeZone) -> Timestamp {
    if place + 1 >= PER_DAY {
        return end_of(day, zone);
    }
    let end = zone.to_ambiguous_timestamp(day.to_datetime(window_start(place + 1)));
    end.later().unwrap_or(Timestamp::MAX)
}

/// The local time at which a window begins.
pub fn window_start(place: u8) -> Time {
    let minutes = i64::from(place.min(PER_DAY - 1)) * MINUTES;
    Time::midnight().wrapping_add(SignedDuration::from_mins(minutes))
}

/// The window into which a local time falls.
pub fn window_at(time: Time) -> u8 {
    let minutes = i64::from(time.hour()) * 60 + i64::from(time.minute());
    u8::try_from(minutes / MINUTES).unwrap_or(0)
}

impl Windows {
    /// From the next local day on another report counts the same calls.
    pub fn hand_over(&mut self, now: Timestamp, zone: &TimeZone) {
        let today = day_of(now, zone);
        *self = Self { since: today.tomorrow().ok(), closed_through: Some(today), read: BTreeMap::new() };
    }

    /// What to read at `now`.
    pub fn due(&self, now: Timestamp, zone: &TimeZone, ready_hour: i8, settings: &ReportSettings) -> DueWindows {
        let (today, settle) = (day_of(now, zone), signed(settings.settle).as_secs());
        let mut due = DueWindows::default();
        let ready = now >= ready_at(today, ready_hour, zone);
        for day in self.open_days(today) {
            let in_hole = !ready && day.tomorrow().is_ok_and(|next| next == today);
            if day < today && (in_hole || is_beyond(day, now, zone, settings)) {
                continue;
            }
            for place in 0..PER_DAY {
                let last = self.read.get(&day).and_then(|read| read.get(&place)).copied();
                if day < today {
                    let end = end_of(day, zone).as_second();
                    let settled = end.saturating_add(settle);
                    let again = |at| at < end || at < settled && now.as_second() - at >= REREAD;
                    if last.is_none_or(again) {
                        due.rest.push((day, place));
                    }
                    continue;
                }
                if place > window_at(zone.to_datetime(now).time()) {
                    break;
                }
                let end = window_end((day, place), zone);
                if now.duration_since(end) < TAIL {
                    due.tail.push((day, place));
                    continue;
                }
                let end = end.as_second();
                let settled = end.saturating_add(settle);
                let aged = |at: i64| now.as_second() >= settled || now.as_second() - at >= REREAD.max(at - end);
                let again = |at| at < end || at < settled && aged(at);
                if last.is_none_or(again) {
                    due.rest.push((day, place));
                }
            }
        }
        due
    }

    /// Keeps that `windows` were read whole by a poll that began at `now`, and closes what can be closed. Says how many days
    /// can be read no more and were not read after their end.
    pub fn keep(&mut self, windows: &[Window], now: Timestamp, zone: &TimeZone, settings: &ReportSettings) -> u64 {
        let (today, settle) = (day_of(now, zone), signed(settings.settle).as_secs());
        let mut closed = self.closed_through.or_else(|| today.yesterday().ok()).unwrap_or(Date::MIN);
        self.since.get_or_insert(today);
        for (day, place) in windows.iter().filter(|(day, _)| *day > closed) {
            let last = self.read.entry(*day).or_default().entry(*place).or_insert(i64::MIN);
            *last = now.as_second().max(*last);
        }
        let mut lost = 0;
        for day in self.open_days(today).filter(|day| *day < today) {
            let end = end_of(day, zone).as_second();
            let beyond = is_beyond(day, now, zone, settings);
            let least = if beyond { end } else { end.saturating_add(settle) };
            let read = self.read.get(&day);
            let whole = (0..PER_DAY).all(|place| read.and_then(|read| read.get(&place)).is_some_and(|at| *at >= least));
            if !whole && !beyond {
                break;
            }
            lost += u64::from(!whole);
            closed = day;
        }
        self.read.retain(|day, _| *day > closed);
        self.closed_through = Some(closed);
        lost
    }

    /// Whether figures of calls of `day` may still be counted.
    pub fn is_open(&self, day: Date) -> bool {
        self.since.is_none_or(|since| day >= since) && self.closed_through.is_none_or(|closed| day > closed)
    }

    /// The days that are not closed, oldest first and today last.
    fn open_days(&self, today: Date) -> impl Iterator<Item = Date> + use<> {
        let first = self.closed_through.map_or(Some(today), |closed| closed.tomorrow().ok());
        std::iter::successors(first, |day| day.tomorrow().ok()).take_while(move |day| *day <= today)
    }
}

fn is_beyond(day: Date, now: Timestamp, zone: &TimeZone, settings: &ReportSettings) -> bool {
    now.duration_since(end_of(day, zone)) > signed(settings.backfill)
}

#[cfg(test)]
mod tests;
