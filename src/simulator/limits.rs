//! The vendors' rate limits: at most so many requests in any minute.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// No less than the vendors say: a client that spaces its requests to the very limit may be punished by the network.
const WINDOW: Duration = Duration::from_mins(1);

#[derive(Debug)]
pub(super) struct Limiter {
    /// None: no limit.
    most: Option<usize>,
    window: Duration,
    seen: Mutex<VecDeque<Instant>>,
}

impl Limiter {
    /// `per_minute` as documented, `times` as in [`super::Options::limits`].
    pub(super) fn new(per_minute: u32, times: Option<f64>) -> Self {
        Self { most: times.map(|times| scaled(per_minute, times)), window: WINDOW, seen: Mutex::default() }
    }

    /// The same per hour.
    pub(super) fn hourly(per_hour: u32, times: Option<f64>) -> Self {
        Self { window: Duration::from_hours(1), ..Self::new(per_hour, times) }
    }

    /// Whether one more may be asked now; if so it is counted.
    pub(super) fn allow(&self) -> bool {
        let Some(most) = self.most else { return true };
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        while seen.front().is_some_and(|first| now.duration_since(*first) >= self.window) {
            seen.pop_front();
        }
        let free = seen.len() < most;
        if free {
            seen.push_back(now);
        }
        free
    }
}

/// `count` times `times`, at least one.
pub(super) fn scaled(count: u32, times: f64) -> usize {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is at least one")]
    let scaled = (f64::from(count) * times).max(1.0) as usize;
    scaled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_minute_holds_so_many_and_then_frees() {
        let limiter = Limiter::new(2, Some(1.0));
        assert_eq!([limiter.allow(), limiter.allow(), limiter.allow()], [true, true, false]);
        tokio::time::advance(Duration::from_mins(1)).await;
        assert!(limiter.allow());
        let none = Limiter::new(2, None);
        assert!((0..100).all(|_| none.allow()));
        let tenfold = Limiter::new(2, Some(10.0));
        assert_eq!((0..100).filter(|_| tenfold.allow()).count(), 20);
    }
}
