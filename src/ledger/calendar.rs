//! Which local days have to be read: today at every poll, a past day hourly until a read at or after its end + `settle`
//! has closed it, missed days back to `backfill`, oldest first. Pure; the zone database knows how long a day is.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use crate::settings::ReportSettings;

/// How a report's past figures come back, and so which parts of them the poll has to ask for.
#[derive(Debug, Clone)]
pub enum Calendar {
    /// Nothing but the present can be asked for.
    Present,
    /// Totals of local days, today's still growing.
    Days {
        /// Where the vendor's day begins.
        zone: TimeZone,
    },
    /// The same of a vendor that moves yesterday's figures elsewhere after midnight.
    MovedDays {
        /// Where the vendor's day begins.
        zone: TimeZone,
        /// Yesterday is not asked for before this hour.
        ready_hour: i8,
    },
    /// Single calls, by id.
    Calls {
        /// Where the vendor's day begins.
        zone: TimeZone,
    },
    /// All calls, in windows of local days ([`super::windows`]).
    Records {
        /// Where the vendor's day begins.
        zone: TimeZone,
    },
}

/// What is known of an account's past days.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Days {
    /// This day and all before it are closed; none before the first contact.
    pub closed_through: Option<Date>,
    /// Open days that were read, with the time of the last read in seconds since the epoch.
    pub last_read: BTreeMap<Date, i64>,
}

/// What a poll has to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// Days to read, oldest first, today last.
    pub days: Vec<Date>,
    /// Days that can be read no more and were not read after their end.
    pub lost: Vec<Date>,
    /// Days before this one are beyond `backfill`.
    pub horizon: Option<Date>,
}

/// A past day is read again after this, in seconds.
pub(super) const REREAD: i64 = 3600;

/// How often the days before today are read in one day, if nothing fails: each hourly from its end until it has settled, at
/// the polls that are there.
pub fn rereads(settings: &ReportSettings) -> u64 {
    let interval = settings.interval.as_secs().max(1);
    let step = interval * REREAD.unsigned_abs().div_ceil(interval);
    settings.settle.as_secs().div_ceil(step) + 1
}

/// The local day at `now`.
pub fn day_of(now: Timestamp, zone: &TimeZone) -> Date {
    zone.to_datetime(now).date()
}

/// The instant at which `day` ends in `zone`; where midnight does not exist, the first instant of the next day.
pub fn end_of(day: Date, zone: &TimeZone) -> Timestamp {
    day.tomorrow()
        .ok()
        .and_then(|next| next.to_zoned(zone.clone()).ok())
        .map_or(Timestamp::MAX, |next| next.timestamp())
}

/// The instant of a local hour; where it does not exist, the one after the gap.
pub fn ready_at(day: Date, hour: i8, zone: &TimeZone) -> Timestamp {
    zone.to_ambiguous_timestamp(day.at(hour, 0, 0, 0)).compatible().unwrap_or(Timestamp::MAX)
}

impl Calendar {
    /// The zone of daily totals.
    pub fn days(&self) -> Option<&TimeZone> {
        match self {
            Self::Days { zone } | Self::MovedDays { zone, .. } => Some(zone),
            Self::Present | Self::Calls { .. } | Self::Records { .. } => None,
        }
    }

    /// The zone of the days of single calls.
    pub fn calls(&self) -> Option<&TimeZone> {
        match self {
            Self::Calls { zone } | Self::Records { zone } => Some(zone),
            Self::Present | Self::Days { .. } | Self::MovedDays { .. } => None,
        }
    }

    /// The day that cannot be asked for yet, if there is one.
    pub(super) fn moving(&self, now: Timestamp) -> Option<Date> {
        let Self::MovedDays { zone, ready_hour } = self else { return None };
        let today = day_of(now, zone);
        today.yesterday().ok().filter(|_| now < ready_at(today, *ready_hour, zone))
    }

    /// Takes out what cannot be asked for yet.
    pub(super) fn without_moving(&self, mut due: Due, now: Timestamp) -> Due {
        let moving = self.moving(now);
        due.days.retain(|day| Some(*day) != moving);
        due
    }
}

impl Days {
    /// The days to read at `now`.
    pub fn due(&self, now: Timestamp, zone: &TimeZone, settings: &ReportSettings) -> Due {
        let today = day_of(now, zone);
        let Some(closed) = self.closed_through else { return Due { days: vec![today], ..Due::default() } };
        let mut due = Due::default();
        let mut day = closed;
        loop {
            let Ok(next) = day.checked_add(1.day()) else { break };
            day = next;
            if day >= today {
                break;
            }
            let end = end_of(day, zone);
            let last_read = self.last_read.get(&day).copied();
            let read_after_end = last_read.is_some_and(|at| at >= end.as_second());
            if now.duration_since(end) > signed(settings.backfill) {
                if !read_after_end {
                    due.lost.push(day);
                }
                due.horizon = Some(day);
            } else if !read_after_end || last_read.is_none_or(|at| now.as_second() - at >= REREAD) {
                due.days.push(day);
            }
        }
        if today > closed {
            due.days.push(today);
        }
        due
    }

    /// Keeps that `days` were read by a poll that began at `now`; closes what can be closed.
    pub fn read(&mut self, days: &[Date], due: &Due, now: Timestamp, zone: &TimeZone, settings: &ReportSettings) {
        let today = day_of(now, zone);
        for day in days {
            self.last_read.insert(*day, now.as_second());
        }
        let mut closed = self.closed_through.or_else(|| today.yesterday().ok()).unwrap_or(Date::MIN);
        if let Some(horizon) = due.horizon {
            closed = closed.max(horizon);
        }
        while let Ok(next) = closed.tomorrow() {
            let settled = end_of(next, zone).checked_add(signed(settings.settle)).unwrap_or(Timestamp::MAX);
            if self.last_read.get(&next).is_none_or(|at| *at < settled.as_second()) {
                break;
            }
            closed = next;
        }
        self.last_read.retain(|day, _| *day > closed);
        self.closed_through = Some(closed);
    }

    /// Whether figures of `day` may still be counted.
    pub fn is_open(&self, day: Date, today: Date) -> bool {
        let tomorrow = today.tomorrow().unwrap_or(today);
        day <= tomorrow && self.closed_through.map_or(day >= today, |closed| day > closed)
    }
}

pub(super) fn signed(duration: std::time::Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::civil::date;

    use super::*;

    fn settings() -> ReportSettings {
        ReportSettings::every(Duration::from_mins(5))
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn poll(days: &mut Days, now: &str, zone: &TimeZone) -> Due {
        let due = days.due(at(now), zone, &settings());
        days.read(&due.days, &due, at(now), zone, &settings());
        due
    }

    #[test]
    fn first_contact_reads_today_alone() {
        let mut days = Days::default();
        assert_eq!(poll(&mut days, "2026-03-10T10:00:00Z", &TimeZone::UTC).days, [date(2026, 3, 10)]);
        assert_eq!(days.closed_through, Some(date(2026, 3, 9)));
    }

    #[test]
    fn rereads_are_counted_as_they_come() {
        for (interval, settle, expected) in [(300, 6, 7), (420, 6, 7), (7200, 6, 4), (300, 0, 1), (300, 48, 49)] {
            let settings = ReportSettings {
                interval: Duration::from_secs(interval),
                settle: Duration::from_hours(settle),
                backfill: Duration::from_hours(200),
                ..settings()
            };
            assert_eq!(rereads(&settings), expected, "{interval} {settle}");
            let mut days = Days::default();
            let (mut now, mut read) = (at("2026-03-01T00:00:07Z"), 0);
            // The first days have no yesterday, or not all of them.
            let counted = at("2026-03-06T00:00:00Z")..at("2026-03-07T00:00:00Z");
            while now < counted.end {
                let due = days.due(now, &TimeZone::UTC, &settings);
                days.read(&due.days, &due, now, &TimeZone::UTC, &settings);
                if counted.contains(&now) {
                    read += due.days.len() as u64 - 1;
                }
                now += SignedDuration::from_secs(interval.cast_signed());
            }
            assert!(read <= expected && read + 2 > expected, "{interval} {settle}: {read}");
        }
    }

    #[test]
    fn yesterday_is_read_hourly_until_settled() {
        let mut days = Days::default();
        let (yesterday, today) = (date(2026, 3, 10), date(2026, 3, 11));
        poll(&mut days, "2026-03-10T23:59:00Z", &TimeZone::UTC);
        let mut reads = |now| poll(&mut days, now, &TimeZone::UTC).days;
        assert_eq!(reads("2026-03-11T00:04:00Z"), [yesterday, today], "at once after midnight");
        assert_eq!(reads("2026-03-11T00:30:00Z"), [today]);
        assert_eq!(reads("2026-03-11T01:05:00Z"), [yesterday, today]);
        assert_eq!(reads("2026-03-11T06:00:00Z"), [yesterday, today], "at end + settle");
        assert_eq!(reads("2026-03-11T09:00:00Z"), [today], "closed");
        assert!(!days.is_open(yesterday, today));
        assert!(days.is_open(today, today));
    }

    #[test]
    fn an_outage_is_filled_oldest_first_and_what_lies_beyond_is_lost() {
        let mut days = Days::default();
        poll(&mut days, "2026-03-01T12:00:00Z", &TimeZone::UTC);
        let due = poll(&mut days, "2026-03-06T12:00:00Z", &TimeZone::UTC);
        assert_eq!(due.lost, [date(2026, 3, 1), date(2026, 3, 2)]);
        assert_eq!(due.days, [date(2026, 3, 3), date(2026, 3, 4), date(2026, 3, 5), date(2026, 3, 6)]);
        assert_eq!(days.closed_through, Some(date(2026, 3, 5)), "all read after end + settle");
    }

    #[test]
    fn a_day_that_failed_is_asked_for_again() {
        let mut days = Days::default();
        poll(&mut days, "2026-03-10T12:00:00Z", &TimeZone::UTC);
        let now = at("2026-03-11T07:00:00Z");
        let due = days.due(now, &TimeZone::UTC, &settings());
        days.read(&[date(2026, 3, 11)], &due, now, &TimeZone::UTC, &settings());
        assert_eq!(days.due(at("2026-03-11T07:05:00Z"), &TimeZone::UTC, &settings()).days[0], date(2026, 3, 10));
    }

    #[test]
    fn yesterday_is_left_alone_while_the_vendor_moves_it() {
        let zone = TimeZone::get("Asia/Kolkata").unwrap();
        let calendar = Calendar::MovedDays { zone: zone.clone(), ready_hour: 3 };
        let mut days = Days::default();
        poll(&mut days, "2026-03-10T12:00:00Z", &zone);
        let (yesterday, today) = (date(2026, 3, 10), date(2026, 3, 11));
        for (now, due) in [
            ("2026-03-10T18:29:59Z", vec![yesterday]),
            ("2026-03-10T18:30:00Z", vec![today]),
            ("2026-03-10T21:29:59Z", vec![today]),
            ("2026-03-10T21:30:00Z", vec![yesterday, today]),
        ] {
            let found = calendar.without_moving(days.due(at(now), &zone, &settings()), at(now));
            assert_eq!(found.days, due, "{now}");
        }
    }

    #[test]
    fn days_with_a_clock_change_end_where_the_zone_says() {
        let zone = TimeZone::get("America/Santiago").unwrap();
        // Midnight does not exist on 6 September 2026: the clock goes from 23:59:59 to 01:00:00.
        assert_eq!(end_of(date(2026, 9, 5), &zone), at("2026-09-06T04:00:00Z"));
        assert_eq!(day_of(at("2026-09-06T03:59:59Z"), &zone), date(2026, 9, 5));
        let kathmandu = TimeZone::get("Asia/Kathmandu").unwrap();
        assert_eq!(end_of(date(2026, 1, 1), &kathmandu), at("2026-01-01T18:15:00Z"));
    }

    #[test]
    fn a_clock_that_steps_back_opens_nothing_again() {
        let mut days = Days::default();
        poll(&mut days, "2026-03-10T12:00:00Z", &TimeZone::UTC);
        poll(&mut days, "2026-03-11T07:00:00Z", &TimeZone::UTC);
        let due = poll(&mut days, "2026-03-10T23:00:00Z", &TimeZone::UTC);
        assert_eq!(due.days, [], "the tenth is closed");
        assert!(!days.is_open(date(2026, 3, 10), date(2026, 3, 10)));
    }
}
