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
    Scaled { start: Timestamp, anchor: Instant, speed: f64 },
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The machine's own clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// Starts at `start` and runs `speed` times as fast as tokio's time; `speed` 0 stands still.
    pub fn scaled(start: Timestamp, speed: f64) -> Self {
        Self(Source::Scaled { start, anchor: Instant::now(), speed })
    }

    /// Stands at `start` until [`Clock::set`] moves it.
    pub fn manual(start: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(start.as_millisecond()))))
    }

    /// The present.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine")]
            Source::System => Timestamp::now(),
            Source::Scaled { start, anchor, speed } => {
                let passed = SignedDuration::from_secs_f64(anchor.elapsed().as_secs_f64() * speed);
                start.saturating_add(passed).unwrap_or(Timestamp::MAX)
            }
            Source::Manual(at) => Timestamp::from_millisecond(at.load(Ordering::SeqCst)).unwrap_or(Timestamp::MIN),
        }
    }

    /// Moves a manual clock; the others do not listen.
    pub fn set(&self, to: Timestamp) {
        if let Source::Manual(at) = &self.0 {
            at.store(to.as_millisecond(), Ordering::SeqCst);
        }
    }
}
