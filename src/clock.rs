//! Wall time as a value that is handed in. Monotonic time is `tokio::time` only, so that a test that pauses it
//! moves both; `clippy.toml` bans the other ways to ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// Where wall time comes from. Clones share it.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    /// Runs with tokio's time, at its own speed, and can be set.
    Own {
        start: Timestamp,
        anchor: Instant,
        speed: f64,
        shift_ms: Arc<AtomicI64>,
    },
}

impl Clock {
    /// The machine's own clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// Starts at `start` and runs `speed` times as fast as tokio's time.
    pub fn scaled(start: Timestamp, speed: f64) -> Self {
        Self(Source::Own { start, anchor: Instant::now(), speed, shift_ms: Arc::default() })
    }

    /// Stands at `start` until [`Clock::set`] moves it.
    pub fn manual(start: Timestamp) -> Self {
        Self::scaled(start, 0.0)
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
            Source::System => Timestamp::now(),
            Source::Own { start, anchor, speed, shift_ms } => {
                let passed = SignedDuration::from_secs_f64(anchor.elapsed().as_secs_f64() * speed);
                let shift = SignedDuration::from_millis(shift_ms.load(Ordering::SeqCst));
                start.saturating_add(passed + shift).unwrap_or(*start)
            }
        }
    }

    /// Steps to `to` and runs on from there. The machine's own clock does not listen.
    pub fn set(&self, to: Timestamp) {
        if let Source::Own { shift_ms, .. } = &self.0 {
            let step = to.as_millisecond() - self.now().as_millisecond();
            shift_ms.fetch_add(step, Ordering::SeqCst);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn runs_at_its_own_speed_and_can_be_set() {
        let start = Timestamp::UNIX_EPOCH;
        let clock = Clock::scaled(start, 60.0);
        tokio::time::advance(std::time::Duration::from_mins(1)).await;
        assert_eq!(clock.now(), start + SignedDuration::from_hours(1));
        clock.clone().set(start);
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(clock.now(), start + SignedDuration::from_mins(1));
        let still = Clock::manual(start);
        tokio::time::advance(std::time::Duration::from_secs(1)).await;
        assert_eq!(still.now(), start);
    }
}
