//! Time as a parameter: the system's clocks, which a test can move.
//!
//! Two clocks, as in POSIX. The wall clock gives calendar times, to compare with other machines and stored rows; it can be
//! stepped in either direction. The monotonic clock gives ages and only goes forward.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// The wall clock and the monotonic clock. Copies share one clock.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    offsets: Arc<Offsets>,
}

/// How far a test has moved the clocks, in milliseconds.
#[derive(Debug, Default)]
struct Offsets {
    both: AtomicU64,
    wall: AtomicI64,
}

/// A reading of the monotonic clock. Comparable only with readings of the same [`Clock`] or its copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// Age of this moment at `now`; zero if it is later than `now`.
    #[must_use]
    pub fn age(self, now: Self) -> Duration {
        now.0.saturating_sub(self.0)
    }

    /// The moment `duration` later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }
}

impl Clock {
    /// The system's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self { start: Instant::now(), offsets: Arc::default() }
    }

    /// The wall clock: for times that are compared with other machines or stored rows, never for an age.
    #[expect(clippy::disallowed_methods, reason = "the only place that reads the system clock")]
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let both = i64::try_from(self.offsets.both.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let wall = self.offsets.wall.load(Ordering::Relaxed);
        Utc::now() + TimeDelta::milliseconds(both.saturating_add(wall))
    }

    /// The monotonic clock: for the age of data in memory. A step of the system's time does not change it.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment(self.elapsed())
    }

    /// Time since this clock was created, on the monotonic clock.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed() + Duration::from_millis(self.offsets.both.load(Ordering::Relaxed))
    }

    /// Advances both clocks, for tests. A negative `by` steps only the wall clock, because the monotonic clock cannot go
    /// back.
    pub fn advance(&self, by: TimeDelta) {
        match u64::try_from(by.num_milliseconds()) {
            Ok(by) => _ = self.offsets.both.fetch_add(by, Ordering::Relaxed),
            Err(_) => self.step_wall_clock(by),
        }
    }

    /// Steps only the wall clock, forward or back, as an operator or NTP does.
    pub fn step_wall_clock(&self, by: TimeDelta) {
        self.offsets.wall.fetch_add(by.num_milliseconds(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_clock_ignores_steps_of_the_wall_clock() {
        let clock = Clock::system();
        let (before, wall) = (clock.moment(), clock.now());
        clock.step_wall_clock(TimeDelta::days(-1));
        assert!(clock.now() < wall - TimeDelta::hours(23), "the wall clock went back");
        assert!(clock.moment() >= before);
        assert!(before.age(clock.moment()) < Duration::from_mins(1), "no time has passed");
        clock.step_wall_clock(TimeDelta::days(2));
        assert!(before.age(clock.moment()) < Duration::from_mins(1), "still no time has passed");
        clock.advance(TimeDelta::minutes(2));
        assert!(before.age(clock.moment()) >= Duration::from_mins(2), "both clocks advanced");
        assert!(clock.now() > wall + TimeDelta::days(1));
    }
}
