//! A vendor's daily quota, shared by the reports of one account. While half of it is left, or what is left suffices for all,
//! nobody waits. After that the least important report is slowed first: it gets what the others will not need until the
//! day ends, evenly spread, and nothing if they need all of it. So what is left lasts for the day, and is never used up.
//!
//! Whatever was used before the start, or by others, is not known until the vendor says so ([`Share::tell`]). The operation
//! has one quota and each of its tokens may have a limit beside it: what is left is the less of both.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use tokio::time::Instant;

use crate::amount::Amount;
use crate::clock::Clock;
use crate::failure::{Failure, Reason};
use crate::health::Day;
use crate::settings::ReportSettings;

/// Whoever waits looks again after this: the vendor may have said something new, or a new day begun.
const LOOK: Duration = Duration::from_mins(1);
/// A report that tells how much is left goes at least so often.
const TOLD_EVERY: Duration = Duration::from_hours(1);
const DAY: f64 = 86_400.0;

/// The quota of one account.
#[derive(Debug)]
pub struct Quota {
    zone: TimeZone,
    limit: f64,
    state: Mutex<State>,
}

/// One report's part of a quota.
#[derive(Debug, Clone)]
pub struct Share {
    quota: Arc<Quota>,
    rank: usize,
    /// Nobody waits longer than his last values stay on the page.
    patience: Duration,
}

#[derive(Debug, Default)]
struct State {
    day: Date,
    /// By the whole operation.
    used: f64,
    /// By our token.
    token_used: f64,
    /// What the vendor says that our token may.
    token_limit: Option<f64>,
    /// The most important one first.
    claims: Vec<Claim>,
}

/// What a vendor says of today's quota.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Told {
    /// Requests that our token may send.
    pub token_limit: Amount,
    /// Requests that it has sent, if the vendor says so.
    pub token_used: Option<Amount>,
    /// Requests of the whole operation, if the vendor says so.
    pub used: Option<Amount>,
}

/// What one report needs.
#[derive(Debug, Clone)]
struct Claim {
    interval: f64,
    /// Requests per day for past days, and the part of the day in which they come.
    rereads: f64,
    settle: f64,
    /// Whether it tells how much is left.
    tells: bool,
    last: Option<Instant>,
}

// === impl Quota ===

impl Quota {
    /// A quota of so many requests per local day of `zone`.
    #[expect(clippy::cast_precision_loss, reason = "requests per day stay far below 2^53")]
    pub fn new(limit: u64, zone: TimeZone) -> Arc<Self> {
        Arc::new(Self { zone, limit: limit as f64, state: Mutex::default() })
    }

    /// The part of the next report, which is less important than all before it. `rereads` are its requests per day beside
    /// those of its polls.
    #[expect(clippy::cast_precision_loss, reason = "requests per day stay far below 2^53")]
    pub fn share(self: &Arc<Self>, settings: &ReportSettings, rereads: u64, tells: bool) -> Share {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.claims.push(Claim {
            interval: settings.interval.as_secs_f64(),
            rereads: rereads as f64,
            settle: settings.settle.as_secs_f64().clamp(1.0, DAY),
            tells,
            last: None,
        });
        Share { quota: Arc::clone(self), rank: state.claims.len() - 1, patience: settings.stale_after }
    }

    /// Seconds since the day began, and until it ends.
    fn place(&self, now: Timestamp) -> (Date, f64, f64) {
        let here = now.to_zoned(self.zone.clone());
        let next = here.date().checked_add(1.day()).and_then(|date| date.to_zoned(self.zone.clone()));
        let left = next.map_or(DAY, |next| next.timestamp().duration_since(now).as_secs_f64().max(1.0));
        (here.date(), (DAY - left).max(0.0), left)
    }

    /// How long the report of that rank has to wait; nothing if its request is counted and may go out.
    fn turn(&self, rank: usize, now: Timestamp) -> Option<Duration> {
        let (day, passed, left) = self.place(now);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.begin(day);
        let limit = state.token_limit.map_or(self.limit, |limit| limit.min(self.limit));
        let rest = self.limit - state.used;
        let rest = state.token_limit.map_or(rest, |limit| rest.min(limit - state.token_used));
        let plenty = rest >= limit / 2.0;
        let reserved: f64 = state.claims.iter().take(rank).map(|claim| claim.needs(passed, left)).sum();
        let claim = state.claims.get_mut(rank)?;
        let spacing = if plenty { Some(Duration::ZERO) } else { claim.spacing(rest, reserved, passed, left) };
        let Some(spacing) = spacing else { return Some(Duration::MAX) };
        let since = claim.last.map_or(Duration::MAX, |last| last.elapsed());
        if let Some(wait) = spacing.checked_sub(since).filter(|wait| !wait.is_zero()) {
            return Some(wait);
        }
        claim.last = Some(Instant::now());
        state.used += 1.0;
        state.token_used += 1.0;
        None
    }
}

// === impl State ===

impl State {
    fn begin(&mut self, day: Date) {
        if self.day != day {
            (self.day, self.used, self.token_used) = (day, 0.0, 0.0);
        }
    }
}

// === impl Claim ===

impl Claim {
    /// Requests until the end of a day of which so much has passed and so much is left.
    fn needs(&self, passed: f64, left: f64) -> f64 {
        left / self.interval + self.rereads * (self.settle - passed).max(0.0) / self.settle
    }

    /// The least time from one request to the next: none at all while `rest`, less what is reserved for others, is
    /// enough. `None`: nothing may go out. Whoever tells what is left goes all the same: nobody else could find out that a
    /// figure was wrong, and where it was right the vendor says so and is asked no more.
    fn spacing(&self, rest: f64, reserved: f64, passed: f64, left: f64) -> Option<Duration> {
        let free = rest - reserved;
        if rest < 1.0 {
            return self.tells.then_some(TOLD_EVERY);
        }
        if free >= self.needs(passed, left) {
            return Some(Duration::ZERO);
        }
        let even = (free >= 1.0).then(|| Duration::from_secs_f64(left / free));
        if self.tells { Some(even.map_or(TOLD_EVERY, |even| even.min(TOLD_EVERY))) } else { even }
    }
}

// === impl Share ===

impl Share {
    /// Waits for this report's next request; says how long that took. Fails where it would take longer than the report's
    /// last values stay.
    pub async fn take(&self, clock: &Clock) -> Result<Duration, Failure> {
        let start = Instant::now();
        while let Some(wait) = self.quota.turn(self.rank, clock.now()) {
            if start.elapsed().saturating_add(wait) > self.patience {
                return Err(Failure::new(
                    Reason::Quota,
                    "what is left of the daily quota is kept for more important reports: give longer intervals or fewer reports",
                ));
            }
            tokio::time::sleep(wait.min(LOOK)).await;
        }
        Ok(start.elapsed())
    }

    /// How the day stands: what is used of whichever limit has less left.
    pub fn day(&self, now: Timestamp) -> Day {
        let (day, _, left) = self.quota.place(now);
        let mut state = self.quota.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.begin(day);
        let (used, limit) = match state.token_limit {
            Some(limit) if limit - state.token_used < self.quota.limit - state.used => (state.token_used, limit),
            _ => (state.used, self.quota.limit),
        };
        let ends = now.saturating_add(SignedDuration::from_secs_f64(left)).unwrap_or(now);
        Day { used: whole(used), limit: whole(limit), ends }
    }

    /// What the vendor says: it may allow less than was thought, and others may use it too. What it leaves out goes on as it
    /// was counted here.
    pub fn tell(&self, told: Told, now: Timestamp) {
        let (day, ..) = self.quota.place(now);
        let mut state = self.quota.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.begin(day);
        state.token_limit = Some(told.token_limit.as_f64());
        state.token_used = told.token_used.map_or(state.token_used, Amount::as_f64);
        state.used = told.used.map_or(state.used.max(state.token_used), Amount::as_f64);
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "requests per day, never below 0")]
fn whole(requests: f64) -> u64 {
    requests.round().max(0.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIDNIGHT: &str = "2026-11-20T00:00:00Z";

    fn settings(seconds: u64) -> ReportSettings {
        let interval = Duration::from_secs(seconds);
        ReportSettings::every(interval)
    }

    fn told(token_limit: u64, token_used: u64, used: u64) -> Told {
        let [token_limit, token_used, used] = [token_limit, token_used, used].map(Amount::whole);
        Told { token_limit, token_used: Some(token_used), used: Some(used) }
    }

    /// Requests that each report gets in a day, polled on its interval from `start` on, and those that it was refused.
    async fn day(quota: u64, start: &str, intervals: &[u64], say: Option<Told>) -> Vec<(u64, u64)> {
        let clock = Clock::scaled(start.parse().unwrap(), 1.0);
        let quota = Quota::new(quota, TimeZone::UTC);
        let end = Instant::now() + Duration::from_secs_f64(quota.place(clock.now()).2);
        let shares: Vec<_> = intervals.iter().map(|seconds| quota.share(&settings(*seconds), 0, false)).collect();
        if let Some(told) = say {
            shares[0].tell(told, clock.now());
        }
        let polls = shares.iter().zip(intervals).map(|(share, seconds)| {
            let clock = clock.clone();
            async move {
                let (mut went, mut refused) = (0, 0);
                let mut ticks = tokio::time::interval(Duration::from_secs(*seconds));
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
                loop {
                    ticks.tick().await;
                    if Instant::now() >= end {
                        return (went, refused);
                    }
                    let asked = tokio::time::timeout_at(end, share.take(&clock)).await;
                    match asked {
                        Ok(Ok(_)) => went += 1,
                        Ok(Err(failure)) => {
                            assert_eq!(failure.reason, Reason::Quota);
                            refused += 1;
                        }
                        Err(_) => return (went, refused),
                    }
                }
            }
        });
        futures_util::future::join_all(polls).await
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_while_there_is_enough_for_all() {
        let went = day(1000, MIDNIGHT, &[300, 300, 300, 3600], None).await;
        assert_eq!(went, [(288, 0), (288, 0), (288, 0), (24, 0)]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_least_important_report_is_slowed_and_the_quota_never_used_up() {
        // 1440 would be needed. After a third of the day half is used up: from then on the first report gets its 313, the
        // second what is left of the other 500, and the last one nothing.
        let went = day(1000, MIDNIGHT, &[180, 180, 180], None).await;
        assert_eq!(went[0], (480, 0));
        assert!((340..=355).contains(&went[1].0) && (165..=168).contains(&went[2].0) && went[2].1 > 0, "{went:?}");
        // A little too much: the last one comes a little later each time.
        let went = day(850, MIDNIGHT, &[300, 300, 300], None).await;
        assert_eq!((went[0], went[1]), ((288, 0), (288, 0)));
        assert!((260..=274).contains(&went[2].0) && went[2].1 < 5, "{went:?}");
        // One report that needs more than all.
        let went = day(1000, MIDNIGHT, &[60], None).await;
        assert!((950..=1000).contains(&went[0].0), "{went:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_have_used_is_not_used_again() {
        // Of the operation's, or of the token's own.
        for told in [told(5000, 0, 830), told(500, 330, 400), Told { used: None, ..told(500, 330, 0) }] {
            let went = day(1000, "2026-11-20T12:00:00Z", &[300, 300], Some(told)).await;
            assert_eq!(went[0], (144, 0));
            assert!((20..=26).contains(&went[1].0), "{told:?}: {went:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_use_is_not_taken_off_the_token_s_own_limit() {
        // Two licences: others have used more than our token may, and 1400 are left for all.
        for told in [told(500, 20, 600), Told { token_used: None, ..told(500, 0, 600) }] {
            let went = day(2000, "2026-11-20T12:00:00Z", &[300, 300], Some(told)).await;
            assert_eq!(went, [(144, 0), (144, 0)], "{told:?}");
        }
    }

    #[test]
    fn a_day_stands_by_the_limit_that_has_less_left_and_begins_with_nothing() {
        let quota = Quota::new(1000, TimeZone::UTC);
        let share = quota.share(&settings(300), 0, false);
        let now: Timestamp = "2026-11-20T12:00:00Z".parse().unwrap();
        let ends = "2026-11-21T00:00:00Z".parse().unwrap();
        assert_eq!((quota.turn(0, now), share.day(now)), (None, Day { used: 1, limit: 1000, ends }));
        share.tell(told(500, 20, 600), now);
        assert_eq!(share.day(now), Day { used: 600, limit: 1000, ends });
        share.tell(told(500, 450, 600), now);
        assert_eq!(share.day(now), Day { used: 450, limit: 500, ends });
        assert_eq!(share.day(ends).used, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_tells_how_much_is_left_goes_hourly_whatever_was_told() {
        let clock = Clock::scaled("2026-11-20T01:00:00Z".parse().unwrap(), 1.0);
        let quota = Quota::new(1000, TimeZone::UTC);
        let first = quota.share(&settings(300), 0, false);
        let teller = quota.share(&settings(1200), 0, true);
        first.tell(told(1000, 40, 950), clock.now());
        for _ in 0..3 {
            let waited = teller.take(&clock).await;
            assert!(waited.is_ok(), "{waited:?}");
        }
        assert_eq!(clock.now(), "2026-11-20T03:00:00Z".parse().unwrap());
        // The vendor's day begins later than ours, or it has more licences than we were told.
        teller.tell(told(1000, 40, 1600), clock.now());
        assert_eq!(first.take(&clock).await.map_err(|failure| failure.reason), Err(Reason::Quota));
        assert!(teller.take(&clock).await.is_ok(), "or nobody would ever know");
        assert_eq!(clock.now(), "2026-11-20T04:00:00Z".parse().unwrap());
        teller.tell(told(1000, 0, 0), clock.now());
        assert_eq!(first.take(&clock).await, Ok(Duration::ZERO));
    }
}
