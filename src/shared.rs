//! Something read from afar, shared by everybody who needs it at the same moment and for a while after.

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::Mutex;

use crate::clock::Clock;

/// The last reading of one thing. Whoever finds it too old reads anew, while the others wait for that one reading.
#[derive(Debug)]
pub struct Shared<T, E> {
    clock: Clock,
    cell: Mutex<Cell<T, E>>,
}

#[derive(Debug)]
struct Cell<T, E> {
    good: Option<(DateTime<Utc>, T)>,
    failed: Option<(DateTime<Utc>, E)>,
}

impl<T: Clone, E: Clone> Shared<T, E> {
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, cell: Mutex::new(Cell { good: None, failed: None }) }
    }

    /// Gives the last reading if `still_good` says so of it and of the moment it was made, else the outcome of `read`.
    ///
    /// A reading that ended after this call began counts whatever its age, be it good or failed: so many callers at one
    /// moment cause one reading, also when nothing may be kept, and a failing server is not asked once for each of
    /// them in turn. Where there was a good reading once, a failed one counts for `pause`: there is something to go on with.
    pub async fn get(
        &self,
        still_good: impl FnOnce(DateTime<Utc>, &T) -> bool,
        pause: TimeDelta,
        read: impl AsyncFnOnce() -> Result<T, E>,
    ) -> Result<T, E> {
        let asked = self.clock.now();
        let mut cell = self.cell.lock().await;
        if let Some((at, value)) = &cell.good
            && (*at > asked || still_good(*at, value))
        {
            return Ok(value.clone());
        }
        if let Some((at, error)) = &cell.failed
            && (*at > asked || (cell.good.is_some() && *at + pause > asked))
        {
            return Err(error.clone());
        }
        let outcome = read().await;
        let at = self.clock.now();
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

    /// Stores a reading that was made elsewhere.
    pub async fn put(&self, value: T) {
        let at = self.clock.now();
        *self.cell.lock().await = Cell { good: Some((at, value)), failed: None };
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn everybody_who_asks_at_the_same_moment_shares_one_reading_good_or_bad() {
        for outcome in [Ok(7), Err("down")] {
            let shared = Arc::new(Shared::<i32, &str>::new(Clock::system()));
            let readings = Arc::new(AtomicUsize::new(0));
            let callers: Vec<_> = (0..20)
                .map(|_| {
                    let (shared, readings) = (shared.clone(), readings.clone());
                    tokio::spawn(async move {
                        shared
                            .get(
                                |_, _| false,
                                TimeDelta::zero(),
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
        let shared = Shared::<i32, &str>::new(Clock::system());
        let gone = shared.get(|_, _| false, TimeDelta::zero(), async || std::future::pending().await);
        assert!(tokio::time::timeout(Duration::from_millis(20), gone).await.is_err());
        assert_eq!(shared.get(|_, _| false, TimeDelta::zero(), async || Ok(1)).await, Ok(1));
    }
}
