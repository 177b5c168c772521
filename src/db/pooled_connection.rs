//! A connection while it is used: for how long, and with which permits.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

use tokio::sync::SemaphorePermit;

use super::connection::DbConnection;
use crate::observability::metrics::Metrics;

/// A connection, and the place in the line that goes with it.
pub(super) struct Connection<'a> {
    pub(super) inner: DbConnection,
    pub(super) used: Use<'a>,
}

/// Counts how long a connection is used.
pub(super) struct Use<'a> {
    /// `None` while it is held for the next use.
    pub(super) begin: Option<Instant>,
    pub(super) metrics: &'a Metrics,
    pub(super) _place: SemaphorePermit<'a>,
    pub(super) _turn: Option<SemaphorePermit<'a>>,
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        self.ends();
    }
}

impl Use<'_> {
    fn ends(&mut self) {
        if let Some(begin) = self.begin.take() {
            self.metrics.postgres_seconds.observe((), begin.elapsed());
        }
    }
}

impl Connection<'_> {
    /// What it was used for is over, and nothing else begins yet.
    pub(super) fn rests(&mut self) {
        self.used.ends();
    }

    pub(super) fn used_again(mut self) -> Self {
        self.used.begin = Some(Instant::now());
        self
    }
}

impl Deref for Connection<'_> {
    type Target = DbConnection;
    fn deref(&self) -> &DbConnection {
        &self.inner
    }
}

impl DerefMut for Connection<'_> {
    fn deref_mut(&mut self) -> &mut DbConnection {
        &mut self.inner
    }
}
