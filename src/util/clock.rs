//! The time as a parameter: the system's clocks, or ones that a test moves.
//!
//! Two clocks, as POSIX has them. The wall clock gives calendar times, which are compared with those of other machines and
//! of stored rows; it can be stepped in either direction. The monotonic clock gives ages, and only goes forward.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// Tells the time. Copies share one clock.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Instant,
    moved: Arc<Moved>,
}

/// How far a test has moved the clocks, in milliseconds.
#[derive(Debug, Default)]
struct Moved {
    both: AtomicU64,
    wall: AtomicI64,
}

/// A reading of the monotonic clock. Only readings of one [`Clock`] and its copies can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(Duration);

impl Moment {
    /// How old this moment is at `now`; zero where it is later than that.
    #[must_use]
    pub fn age(self, now: Self) -> Duration {
        now.0.saturating_sub(self.0)
    }

    /// So much later.
    #[must_use]
    pub fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }
}

impl Clock {
    /// The system's clocks.
    #[must_use]
    pub fn system() -> Self {
        Self { start: Instant::now(), moved: Arc::default() }
    }

    /// The wall clock: for times that are compared with another machine's or a stored row's. Never for an age.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let both = i64::try_from(self.moved.both.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
        let wall = self.moved.wall.load(Ordering::Relaxed);
        Utc::now() + TimeDelta::milliseconds(both.saturating_add(wall))
    }

    /// The monotonic clock: for the age of what is kept in memory. Stepping the system's time does not change it.
    #[must_use]
    pub fn moment(&self) -> Moment {
        Moment(self.running())
    }

    /// How long this clock and its copies have been running, on the monotonic clock.
    #[must_use]
    pub fn running(&self) -> Duration {
        self.start.elapsed() + Duration::from_millis(self.moved.both.load(Ordering::Relaxed))
    }

    /// Lets time pass on both clocks, for a test that cannot wait for ten minutes. A negative time is a step of the wall
    /// clock alone: no time goes back.
    pub fn advance(&self, by: TimeDelta) {
        match u64::try_from(by.num_milliseconds()) {
            Ok(by) => _ = self.moved.both.fetch_add(by, Ordering::Relaxed),
            Err(_) => self.step_wall_clock(by),
        }
    }

    /// Steps the wall clock alone, forward or back, as an operator or NTP does.
    pub fn step_wall_clock(&self, by: TimeDelta) {
        self.moved.wall.fetch_add(by.num_milliseconds(), Ordering::Relaxed);
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
        assert!(before.age(clock.moment()) < Duration::from_mins(1), "still none");
        clock.advance(TimeDelta::minutes(2));
        assert!(before.age(clock.moment()) >= Duration::from_mins(2), "this moves both");
        assert!(clock.now() > wall + TimeDelta::days(1));
    }
}
