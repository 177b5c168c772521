//! A remote read whose result concurrent callers share, and later callers for a while.

use std::time::Duration;

use tokio::sync::Mutex;

use crate::util::clock::{Clock, Moment};

/// Cache of one remote value. The first caller that finds it too old reads again; the others wait for that read.
#[derive(Debug)]
pub struct SingleFlight<T, E> {
    clock: Clock,
    state: Mutex<State<T, E>>,
}

/// The last good and the last failed read, with the time at which they ended.
#[derive(Debug)]
struct State<T, E> {
    good: Option<(Moment, T)>,
    failed: Option<(Moment, E)>,
}

impl<T: Clone, E: Clone> SingleFlight<T, E> {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, state: Mutex::new(State { good: None, failed: None }) }
    }

    /// Returns the last value if `is_fresh` accepts it and the time at which it was read, else the result of `read`.
    /// Ages are on the monotonic clock, so that a step of the wall clock neither retains nor drops a value.
    ///
    /// A result, good or failed, that arrived after this call began always counts. So concurrent callers cause one read,
    /// even if nothing may be cached, and a failing server is not queried once per caller. If there was ever a good
    /// value, a failure also counts for `retry_after`: the caller can continue with [`Self::last`].
    pub async fn get(
        &self,
        is_fresh: impl FnOnce(Moment, &T) -> bool,
        retry_after: Duration,
        read: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let called_at = self.clock.moment();
        let mut state = self.state.lock().await;
        if let Some((at, value)) = &state.good
            && (*at > called_at || is_fresh(*at, value))
        {
            return Ok(value.clone());
        }
        if let Some((at, error)) = &state.failed
            && (*at > called_at || (state.good.is_some() && at.age(called_at) < retry_after))
        {
            return Err(error.clone());
        }
        let outcome = read().await;
        let at = self.clock.moment();
        match &outcome {
            Ok(value) => *state = State { good: Some((at, value.clone())), failed: None },
            Err(error) => state.failed = Some((at, error.clone())),
        }
        outcome
    }

    /// The last good value, however old.
    pub async fn last(&self) -> Option<T> {
        self.state.lock().await.good.as_ref().map(|(_, value)| value.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use chrono::TimeDelta;

    use super::*;

    #[tokio::test]
    async fn concurrent_callers_share_one_read() {
        for outcome in [Ok(7), Err("down")] {
            let shared = Arc::new(SingleFlight::<i32, &str>::new(Clock::system()));
            let reads = Arc::new(AtomicUsize::new(0));
            let callers: Vec<_> = (0..20)
                .map(|_| {
                    let (shared, reads) = (shared.clone(), reads.clone());
                    tokio::spawn(async move {
                        shared
                            .get(
                                |_, _| false,
                                Duration::ZERO,
                                async || {
                                    reads.fetch_add(1, Ordering::SeqCst);
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
            assert_eq!(reads.load(Ordering::SeqCst), 1, "twenty callers, one read ({outcome:?})");
        }
    }

    #[tokio::test]
    async fn canceled_read_is_repeated_by_the_next_caller() {
        let shared = SingleFlight::<i32, &str>::new(Clock::system());
        let canceled = shared.get(|_, _| false, Duration::ZERO, async || std::future::pending().await);
        assert!(tokio::time::timeout(Duration::from_millis(20), canceled).await.is_err());
        assert_eq!(shared.get(|_, _| false, Duration::ZERO, async || Ok(1)).await, Ok(1));
    }

    #[tokio::test]
    async fn cache_retries_a_failure_after_wall_clock_steps_back() {
        let clock = Clock::system();
        clock.step_wall_clock(TimeDelta::days(1));
        let shared = SingleFlight::<i32, &str>::new(clock.clone());
        let read = async |outcome| shared.get(|_, _| false, Duration::ZERO, async || outcome).await;
        assert_eq!(read(Err("down")).await, Err("down"));
        clock.step_wall_clock(TimeDelta::days(-1));
        assert_eq!(read(Ok(1)).await, Ok(1), "the earlier failure does not count");
        clock.step_wall_clock(TimeDelta::hours(-1));
        assert_eq!(read(Ok(2)).await, Ok(2), "nor does a value that may not be cached");
    }

    #[tokio::test]
    async fn cache_ignores_wall_clock_steps() {
        let clock = Clock::system();
        let shared = SingleFlight::<i32, &str>::new(clock.clone());
        let read = async |value| {
            let now = clock.moment();
            shared.get(|at, _| at.age(now) < Duration::from_mins(1), Duration::ZERO, async || Ok(value)).await
        };
        assert_eq!(read(1).await, Ok(1));
        for step in [TimeDelta::days(1), TimeDelta::days(-2)] {
            clock.step_wall_clock(step);
            assert_eq!(read(2).await, Ok(1), "no time has passed");
        }
        clock.advance(TimeDelta::seconds(61));
        assert_eq!(read(3).await, Ok(3), "a minute has passed, although the wall clock is a day back");
    }
}
