//! How much of what a vendor allows is used: the requests of an API within its limit's period, and those of the day
//! within an account's quota. The client tells of each request; who looks decides nothing by it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::settings::RateLimit;

/// What one report may ask for.
#[derive(Debug, Clone, Default)]
pub struct Allowance {
    /// Its APIs, with their limits where there are some.
    pub apis: Vec<(&'static str, Option<RateLimit>)>,
    /// Requests per day, over all reports of the account.
    pub quota: Option<u64>,
}

/// Requests to one API of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Usage {
    /// The API.
    pub api: &'static str,
    /// Since the start, or since the account came.
    pub sent: u64,
    /// Within the limit's period until now, and the limit.
    pub of: Option<(u64, RateLimit)>,
}

/// How a daily quota stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Requests of the day, as far as they are known.
    pub used: u64,
    /// Requests that are allowed.
    pub limit: u64,
    /// When the next day begins, with nothing used.
    pub ends: Timestamp,
}

/// The requests that were sent to one API.
#[derive(Debug, Default)]
pub(super) struct Sent {
    total: AtomicU64,
    recent: Mutex<Recent>,
}

/// When requests were sent, as far back as the longest period of a limit.
#[derive(Debug, Default)]
struct Recent {
    period: Duration,
    times: VecDeque<Instant>,
}

// === impl Sent ===

impl Sent {
    /// A request goes out. Without a limit only their number is kept: there may be many.
    pub(super) fn note(&self, period: Option<Duration>) {
        self.total.fetch_add(1, Ordering::Relaxed);
        let Some(period) = period else { return };
        let now = Instant::now();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.period = recent.period.max(period);
        recent.times.push_back(now);
        while recent.times.front().is_some_and(|sent| now.duration_since(*sent) >= recent.period) {
            recent.times.pop_front();
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(super) fn usage(&self, api: &'static str, limit: Option<RateLimit>) -> Usage {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let within = |limit: RateLimit| recent.times.iter().rev().take_while(|sent| sent.elapsed() < limit.per).count();
        Usage { api, sent: self.total(), of: limit.map(|limit| (within(limit) as u64, limit)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_count_until_the_period_is_over() {
        let (sent, limit) = (Sent::default(), RateLimit::per_minute(50));
        for _ in 0..3 {
            sent.note(Some(limit.per));
            tokio::time::advance(Duration::from_secs(25)).await;
        }
        // 75, 50 and 25 seconds ago.
        assert_eq!(sent.usage("x", Some(limit)), Usage { api: "x", sent: 3, of: Some((2, limit)) });
        assert_eq!(sent.usage("x", None), Usage { api: "x", sent: 3, of: None });
        tokio::time::advance(Duration::from_mins(1)).await;
        sent.note(Some(limit.per));
        assert_eq!(sent.usage("x", Some(limit)).of, Some((1, limit)));
        assert_eq!(sent.recent.lock().unwrap().times.len(), 1, "what is over is forgotten");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_only_the_number_is_kept() {
        let sent = Sent::default();
        for _ in 0..1000 {
            sent.note(None);
        }
        assert_eq!(sent.usage("x", None), Usage { api: "x", sent: 1000, of: None });
        assert!(sent.recent.lock().unwrap().times.is_empty());
    }
}
