//! A rate limit as an even spacing: no bursts, so that a vendor that counts in any window of its own never sees more
//! than it allows, also when the network delivers a request a little later than the next ones. Runs on tokio's time, so
//! that paused tests move it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::settings::RateLimit;

/// The next moment at which a request may go out.
#[derive(Debug)]
pub struct Budget {
    spacing: Duration,
    next: Mutex<Option<Instant>>,
}

impl Budget {
    /// A budget with this limit, or with waits only.
    pub fn new(limit: Option<RateLimit>) -> Self {
        Self { spacing: limit.map_or(Duration::ZERO, RateLimit::spacing), next: Mutex::new(None) }
    }

    /// Waits for this request's turn; says how long that took.
    pub async fn take(&self) -> Duration {
        let now = Instant::now();
        let turn = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let turn = next.map_or(now, |next| next.max(now));
            *next = Some(turn + self.spacing);
            turn
        };
        if turn > now {
            tokio::time::sleep_until(turn).await;
        }
        turn - now
    }

    /// Takes a turn if one is due at this moment.
    pub fn take_now(&self) -> bool {
        let now = Instant::now();
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let due = next.is_none_or(|next| next <= now);
        if due {
            *next = Some(now + self.spacing);
        }
        due
    }

    /// Nobody goes before `wait` has passed.
    pub fn hold(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next = Some(next.map_or(until, |next| next.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn fifty_a_minute_are_spread_evenly() {
        let budget = Budget::new(Some(RateLimit::per_minute(50)));
        let start = Instant::now();
        for turn in 0..100_u32 {
            budget.take().await;
            let expected = Duration::from_millis(1220) * turn;
            let off = (start.elapsed().as_secs_f64() - expected.as_secs_f64()).abs();
            assert!(off < 0.01, "turn {turn} came {off} s off");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_period_sees_more_than_the_limit_though_the_network_is_uneven() {
        let period = Duration::from_mins(1);
        for count in [2, 50] {
            let budget = Budget::new(Some(RateLimit { count, per: period }));
            let mut arrived = Vec::new();
            for turn in 0..300_u64 {
                budget.take().await;
                // Under way for up to 0.9 s, and longest where a connection is made.
                arrived.push(Instant::now() + Duration::from_millis(if turn == 0 { 900 } else { turn * 7919 % 900 }));
            }
            arrived.sort();
            for (first, next) in arrived.iter().zip(&arrived[count as usize..]) {
                assert!(*next - *first >= period, "{count}: {:?}", *next - *first);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_moves_the_next_turn_only() {
        let budget = Budget::new(None);
        let start = Instant::now();
        budget.hold(Duration::from_secs(7));
        assert_eq!(budget.take().await, Duration::from_secs(7));
        assert_eq!(budget.take().await, Duration::ZERO);
        assert!(start.elapsed() < Duration::from_millis(7100));
    }
}
