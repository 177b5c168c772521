//! The time, as a thing that is handed over: the system's, or one that a test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// Tells the time. Copies share one clock.
#[derive(Clone, Debug)]
pub struct Clock {
    begun: Instant,
    ahead_ms: Arc<AtomicI64>,
}

impl Clock {
    /// The system's time.
    #[must_use]
    pub fn system() -> Self {
        Self { begun: Instant::now(), ahead_ms: Arc::default() }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::milliseconds(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// How long this clock and its copies have been running: it never goes back, whatever is done to the system's time.
    #[must_use]
    pub fn running(&self) -> Duration {
        let ahead = u64::try_from(self.ahead_ms.load(Ordering::Relaxed)).unwrap_or_default();
        self.begun.elapsed() + Duration::from_millis(ahead)
    }

    /// Moves this clock and all its copies on, as a test does that cannot wait for ten minutes.
    pub fn advance(&self, by: TimeDelta) {
        self.ahead_ms.fetch_add(by.num_milliseconds(), Ordering::Relaxed);
    }
}
