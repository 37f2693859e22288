//! When a call is asked for, and when it is finished. The vendor moves a day's calls to its historical store from
//! midnight to 03:00, keeps them 15 days there, and has a hole in between. Pure functions of the account's zone and a
//! moment; nothing here asks or stores.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use crate::ledger::calendar::{self, day_of};
use crate::reading::{CallId, CallUpdate, PendingCall};
use crate::settings::RateLimit;

/// How many days back the vendor answers.
const KEPT_DAYS: i64 = 15;
/// The local hour from which yesterday can be read.
pub(super) const READY_HOUR: i8 = 3;
/// So long a second look stands back behind calls of which nothing is known. All of a day's come due at once, and take
/// hours at the vendor's pace, while today's calls would be on no page. But it must not wait for ever either.
const PATIENCE: i64 = 24 * 3600;
/// This part of a poll's interval is left for the last answer to come.
const ANSWER: u32 = 60;

/// What the vendor said about one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Nothing known, or nothing that could be read.
    NoData,
    /// The call, or its record, is not completed.
    Open,
    /// Its figures were counted; it ended on this local day or began its last leg then.
    Counted(Date),
}

/// How many requests one poll may send, and how far apart they go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pace {
    spacing: Duration,
    /// At least 1.
    pub(super) requests: u64,
}

// === impl Pace ===

impl Pace {
    /// As many requests as `limit` fits into `interval`, so that a backlog never overruns it: a poll that is only just too
    /// long costs the whole next one.
    pub(super) fn new(limit: RateLimit, interval: Duration) -> Self {
        let spacing = limit.spacing();
        let after_first = interval.saturating_sub(interval / ANSWER).as_nanos().checked_div(spacing.as_nanos());
        let after_first = u64::try_from(after_first.unwrap_or(u128::MAX)).unwrap_or(u64::MAX);
        Self { spacing, requests: after_first.saturating_add(1) }
    }

    /// About when the poll's request after `sent` others goes out: a slow poll may reach into the hole.
    pub(super) fn at(self, now: Timestamp, sent: u64) -> Timestamp {
        let wait = self.spacing.saturating_mul(u32::try_from(sent).unwrap_or(u32::MAX));
        now.checked_add(wait).unwrap_or(now)
    }
}

/// Calls to ask for, the longest due first, second looks a day later than they are due. Those that failed in the last poll
/// come last, so that a few that fail for ever do not hold up the others.
pub(super) fn due<'a>(
    calls: &'a [PendingCall],
    failed: &BTreeSet<CallId>,
    zone: &TimeZone,
    now: Timestamp,
) -> Vec<&'a PendingCall> {
    let mut due: Vec<_> =
        calls.iter().filter(|call| call.due_at <= now.as_second() && !is_over(call, zone, now)).collect();
    let patience = |call: &PendingCall| if call.counted { PATIENCE } else { 0 };
    due.sort_by_key(|call| (failed.contains(&call.id), call.due_at.saturating_add(patience(call)), call.listed_at));
    due
}

/// The days on which to look for a call at this moment, likeliest first: its own, else the one on which it was listed
/// and the one before. None while its likeliest day cannot be read.
pub(super) fn days(call: &PendingCall, zone: &TimeZone, at: Timestamp) -> Vec<Date> {
    let first = first_day(call, zone);
    if !is_readable(first, zone, at) {
        return Vec::new();
    }
    let before = call.day.is_none().then(|| first.saturating_sub(1.day())).filter(|day| is_readable(*day, zone, at));
    std::iter::once(first).chain(before).collect()
}

/// Whether the vendor cannot know the call any more.
pub(super) fn is_over(call: &PendingCall, zone: &TimeZone, now: Timestamp) -> bool {
    is_too_old(first_day(call, zone), day_of(now, zone))
}

/// What becomes of a call. `found_on` is the day with which it was found.
pub(super) fn after(
    call: &PendingCall,
    found_on: Option<Date>,
    outcome: Outcome,
    zone: &TimeZone,
    now: Timestamp,
) -> CallUpdate {
    let day = found_on.or(call.day);
    let (due, counted) = match outcome {
        Outcome::NoData | Outcome::Open => (next_ready_hour(zone, now), call.counted),
        Outcome::Counted(last_day) => {
            let settled = ready_hour(zone, last_day.saturating_add(1.day()));
            if settled <= now {
                return CallUpdate::Done(call.id.clone());
            }
            (settled, true)
        }
    };
    CallUpdate::Pending(PendingCall { day, due_at: due.as_second(), counted, ..call.clone() })
}

fn first_day(call: &PendingCall, zone: &TimeZone) -> Date {
    call.day.unwrap_or_else(|| day_of(Timestamp::from_second(call.listed_at).unwrap_or_default(), zone))
}

fn is_readable(day: Date, zone: &TimeZone, at: Timestamp) -> bool {
    let today = day_of(at, zone);
    let in_hole = day.saturating_add(1.day()) == today && at < ready_hour(zone, today);
    day <= today && !is_too_old(day, today) && !in_hole
}

fn is_too_old(day: Date, today: Date) -> bool {
    day.saturating_add(KEPT_DAYS.days()) < today
}

fn next_ready_hour(zone: &TimeZone, now: Timestamp) -> Timestamp {
    let today = day_of(now, zone);
    let hour = ready_hour(zone, today);
    if hour > now { hour } else { ready_hour(zone, today.saturating_add(1.day())) }
}

pub(super) fn ready_hour(zone: &TimeZone, day: Date) -> Timestamp {
    calendar::ready_at(day, READY_HOUR, zone)
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn india() -> TimeZone {
        TimeZone::get("Asia/Kolkata").expect("a known zone")
    }

    /// A moment of November 2026 in India.
    fn at(day: i8, hour: i8, minute: i8) -> Timestamp {
        date(2026, 11, day).at(hour, minute, 0, 0).to_zoned(india()).expect("a moment").timestamp()
    }

    fn call(day: Option<i8>, listed: Timestamp) -> PendingCall {
        PendingCall {
            id: CallId::new("100200300"),
            day: day.map(|day| date(2026, 11, day)),
            listed_at: listed.as_second(),
            due_at: listed.as_second(),
            counted: false,
        }
    }

    #[test]
    fn yesterday_is_a_hole_until_three() {
        let undated = call(None, at(19, 14, 0));
        for (what, call, now, expected) in [
            ("own day", call(Some(20), at(20, 9, 0)), at(20, 9, 0), vec![20]),
            ("own day, just after midnight", call(Some(20), at(20, 0, 1)), at(20, 0, 1), vec![20]),
            ("yesterday before three", call(Some(19), at(19, 9, 0)), at(20, 2, 59), vec![]),
            ("yesterday at three", call(Some(19), at(19, 9, 0)), at(20, 3, 0), vec![19]),
            ("before yesterday in the hole", call(Some(18), at(19, 9, 0)), at(20, 1, 0), vec![18]),
            ("tomorrow", call(Some(21), at(20, 9, 0)), at(20, 9, 0), vec![]),
            ("undated, by day", undated.clone(), at(19, 14, 0), vec![19, 18]),
            ("undated, listed in the hole", call(None, at(19, 1, 0)), at(19, 1, 0), vec![19]),
            ("undated, in the hole after", undated.clone(), at(20, 1, 0), vec![]),
            ("undated, after three", undated.clone(), at(20, 3, 0), vec![19, 18]),
            ("undated, the day before too old", call(None, at(4, 9, 0)), at(19, 9, 0), vec![4]),
            ("too old", call(Some(4), at(4, 9, 0)), at(20, 9, 0), vec![]),
        ] {
            let expected: Vec<_> = expected.into_iter().map(|day| date(2026, 11, day)).collect();
            assert_eq!(days(&call, &india(), now), expected, "{what}");
        }
    }

    #[test]
    fn no_data_waits_for_the_next_three_oclock() {
        for (now, due) in [
            (at(20, 9, 0), at(21, 3, 0)),
            (at(20, 23, 59), at(21, 3, 0)),
            (at(20, 0, 30), at(20, 3, 0)),
            (at(20, 3, 0), at(21, 3, 0)),
            (at(20, 3, 1), at(21, 3, 0)),
        ] {
            for outcome in [Outcome::NoData, Outcome::Open] {
                let CallUpdate::Pending(next) = after(&call(None, now), None, outcome, &india(), now) else {
                    panic!("finished at {now}");
                };
                assert_eq!((next.due_at, next.counted, next.day), (due.as_second(), false, None), "{now}");
            }
        }
    }

    #[test]
    fn a_call_read_before_it_settles_is_read_once_more() {
        for (what, last_day, now, again) in [
            ("on its own day", 20, at(20, 9, 0), Some(at(21, 3, 0))),
            ("in the hole", 19, at(20, 2, 0), Some(at(20, 3, 0))),
            ("when it has settled", 19, at(20, 3, 0), None),
            ("long after", 10, at(20, 9, 0), None),
        ] {
            let day = Some(date(2026, 11, last_day));
            let update = after(&call(None, now), day, Outcome::Counted(date(2026, 11, last_day)), &india(), now);
            let expected = again.map_or(CallUpdate::Done(CallId::new("100200300")), |due| {
                CallUpdate::Pending(PendingCall { day, due_at: due.as_second(), counted: true, ..call(None, now) })
            });
            assert_eq!(update, expected, "{what}");
        }
    }

    #[test]
    fn the_second_look_keeps_that_it_was_counted() {
        let counted = PendingCall { counted: true, ..call(Some(19), at(19, 9, 0)) };
        let now = at(20, 3, 5);
        let update = after(&counted, None, Outcome::NoData, &india(), now);
        assert!(matches!(update, CallUpdate::Pending(PendingCall { counted: true, .. })));
    }

    #[test]
    fn fifteen_days_are_kept() {
        for (day, now, over) in [(5, at(20, 23, 59), false), (5, at(21, 0, 0), true), (4, at(20, 0, 0), true)] {
            assert_eq!(is_over(&call(Some(day), now), &india(), now), over, "{day}");
            assert_eq!(is_over(&call(None, at(day, 12, 0)), &india(), now), over, "{day}, undated");
        }
    }

    #[test]
    fn the_longest_due_come_first_and_the_failed_last() {
        let named = |id: &str, due: Timestamp| PendingCall {
            id: CallId::new(id),
            due_at: due.as_second(),
            ..call(None, at(19, 9, 0))
        };
        let calls = [
            named("1", at(20, 8, 0)),
            named("2", at(20, 7, 0)),
            named("3", at(20, 6, 0)),
            named("4", at(20, 9, 1)),
            PendingCall { day: Some(date(2026, 11, 1)), ..named("5", at(20, 5, 0)) },
        ];
        let failed = BTreeSet::from([CallId::new("3")]);
        let order: Vec<_> = due(&calls, &failed, &india(), at(20, 9, 0)).iter().map(|c| c.id.expose()).collect();
        assert_eq!(order, ["2", "1", "3"]);
    }

    #[test]
    fn second_looks_stand_back_for_a_day() {
        let named = |id: &str, due: Timestamp, counted| PendingCall {
            id: CallId::new(id),
            due_at: due.as_second(),
            counted,
            ..call(None, at(19, 9, 0))
        };
        let calls = [
            named("today's", at(20, 8, 0), false),
            named("second look", at(20, 3, 0), true),
            named("old second look", at(18, 3, 0), true),
            named("yesterday's", at(20, 3, 0), false),
        ];
        let order: Vec<_> =
            due(&calls, &BTreeSet::new(), &india(), at(20, 9, 0)).iter().map(|call| call.id.expose()).collect();
        assert_eq!(order, ["old second look", "yesterday's", "today's", "second look"]);
    }

    #[test]
    fn a_poll_sends_what_its_interval_holds() {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        for (limit, interval, requests) in [
            (RateLimit::per_minute(2), minutes(5), 10),
            (RateLimit::per_minute(50), minutes(5), 242),
            (RateLimit::per_minute(20), minutes(5), 97),
            (RateLimit::per_minute(2), Duration::from_secs(1), 1),
            (RateLimit { count: 1, per: minutes(10) }, minutes(5), 1),
        ] {
            let pace = Pace::new(limit, interval);
            assert_eq!(pace.requests, requests, "{limit} {interval:?}");
            let end = at(20, 9, 0) + interval;
            assert!(pace.at(at(20, 9, 0), requests - 1) < end, "{limit} {interval:?}");
        }
        let pace = Pace::new(RateLimit::per_minute(2), minutes(5));
        assert_eq!(pace.at(at(20, 23, 58), 4), at(21, 0, 0) + jiff::SignedDuration::from_secs(2));
    }

    #[test]
    fn the_zone_is_the_accounts() {
        let zone = TimeZone::get("America/Bogota").expect("a known zone");
        let noon_in_india = at(20, 12, 0); // 01:30 in Bogota
        assert!(days(&call(Some(19), noon_in_india), &zone, noon_in_india).is_empty());
    }
}
