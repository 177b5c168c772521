//! Something read from afar, shared by everybody who needs it at the same moment and for a while after.

use std::time::Duration;

use tokio::sync::Mutex;

use crate::util::clock::{Clock, Moment};

/// The last reading of one thing. Whoever finds it too old reads anew, while the others wait for that one reading.
#[derive(Debug)]
pub struct SingleFlight<T, E> {
    clock: Clock,
    cell: Mutex<Cell<T, E>>,
}

#[derive(Debug)]
struct Cell<T, E> {
    good: Option<(Moment, T)>,
    failed: Option<(Moment, E)>,
}

impl<T: Clone, E: Clone> SingleFlight<T, E> {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, cell: Mutex::new(Cell { good: None, failed: None }) }
    }

    /// Gives the last reading if `still_good` says so of it and of the moment it was made, else the outcome of `read`.
    /// Ages are counted on the monotonic clock, so that a step of the wall clock neither keeps nor drops a reading.
    ///
    /// A reading that ended after this call began counts whatever its age, be it good or failed: so many callers at one
    /// moment cause one reading, also when nothing may be kept, and a failing server is not asked once for each of
    /// them in turn. Where there was a good reading once, a failed one counts for `pause`: there is something to go on with.
    pub async fn get(
        &self,
        still_good: impl FnOnce(Moment, &T) -> bool,
        pause: Duration,
        read: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let asked = self.clock.moment();
        let mut cell = self.cell.lock().await;
        if let Some((at, value)) = &cell.good
            && (*at > asked || still_good(*at, value))
        {
            return Ok(value.clone());
        }
        if let Some((at, error)) = &cell.failed
            && (*at > asked || (cell.good.is_some() && at.age(asked) < pause))
        {
            return Err(error.clone());
        }
        let outcome = read().await;
        let at = self.clock.moment();
        match &outcome {
            Ok(value) => *cell = Cell { good: Some((at, value.clone())), failed: None },
            Err(error) => cell.failed = Some((at, error.clone())),
        }
        outcome
    }

    /// The last good reading, however old.
    pub async fn last(&self) -> Option<T> {
        self.cell.lock().await.good.as_ref().map(|(_, value)| value.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chrono::TimeDelta;

    use super::*;

    #[tokio::test]
    async fn everybody_who_asks_at_the_same_moment_shares_one_reading_good_or_bad() {
        for outcome in [Ok(7), Err("down")] {
            let shared = Arc::new(SingleFlight::<i32, &str>::new(Clock::system()));
            let readings = Arc::new(AtomicUsize::new(0));
            let callers: Vec<_> = (0..20)
                .map(|_| {
                    let (shared, readings) = (shared.clone(), readings.clone());
                    tokio::spawn(async move {
                        shared
                            .get(
                                |_, _| false,
                                Duration::ZERO,
                                async || {
                                    readings.fetch_add(1, Ordering::SeqCst);
                                    tokio::time::sleep(Duration::from_millis(50)).await;
                                    outcome
                                },
                            )
                            .await
                    })
                })
                .collect();
            for caller in callers {
                assert_eq!(caller.await.unwrap(), outcome);
            }
            assert_eq!(readings.load(Ordering::SeqCst), 1, "twenty callers, one reading ({outcome:?})");
        }
    }

    #[tokio::test]
    async fn a_caller_who_goes_away_in_the_middle_leaves_the_reading_to_the_next() {
        let shared = SingleFlight::<i32, &str>::new(Clock::system());
        let gone = shared.get(|_, _| false, Duration::ZERO, async || std::future::pending().await);
        assert!(tokio::time::timeout(Duration::from_millis(20), gone).await.is_err());
        assert_eq!(shared.get(|_, _| false, Duration::ZERO, async || Ok(1)).await, Ok(1));
    }

    /// A server that fails, and a wall clock that was a day ahead when it did.
    #[tokio::test]
    async fn cache_retries_a_failure_after_wall_clock_steps_back() {
        let clock = Clock::system();
        clock.step_wall_clock(TimeDelta::days(1));
        let shared = SingleFlight::<i32, &str>::new(clock.clone());
        let read = async |outcome| shared.get(|_, _| false, Duration::ZERO, async || outcome).await;
        assert_eq!(read(Err("down")).await, Err("down"));
        clock.step_wall_clock(TimeDelta::days(-1));
        assert_eq!(read(Ok(1)).await, Ok(1), "the failure of a moment ago is no answer");
        clock.step_wall_clock(TimeDelta::hours(-1));
        assert_eq!(read(Ok(2)).await, Ok(2), "nor is a reading that may not be kept");
    }

    #[tokio::test]
    async fn cache_keeps_a_reading_for_its_age_alone() {
        let clock = Clock::system();
        let shared = SingleFlight::<i32, &str>::new(clock.clone());
        let read = async |value| {
            let now = clock.moment();
            shared.get(|at, _| at.age(now) < Duration::from_mins(1), Duration::ZERO, async || Ok(value)).await
        };
        assert_eq!(read(1).await, Ok(1));
        for step in [TimeDelta::days(1), TimeDelta::days(-2)] {
            clock.step_wall_clock(step);
            assert_eq!(read(2).await, Ok(1), "no time has passed, whatever the calendar says");
        }
        clock.advance(TimeDelta::seconds(61));
        assert_eq!(read(3).await, Ok(3), "a minute has passed, though the calendar says yesterday");
    }
}
