//! A checked-out connection with its permits and its usage metric.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

use tokio::sync::SemaphorePermit;

use super::connection::DbConnection;
use crate::observability::metrics::Metrics;

/// A connection with its permits.
pub(super) struct Connection<'a> {
    pub(super) inner: DbConnection,
    pub(super) usage: Usage<'a>,
}

/// Measures how long a connection is used.
pub(super) struct Usage<'a> {
    /// `None` while the connection is held between two uses.
    pub(super) started_at: Option<Instant>,
    pub(super) metrics: &'a Metrics,
    pub(super) _queue_permit: SemaphorePermit<'a>,
    pub(super) _write_permit: Option<SemaphorePermit<'a>>,
}

impl Drop for Usage<'_> {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Usage<'_> {
    fn stop(&mut self) {
        if let Some(started_at) = self.started_at.take() {
            self.metrics.postgres_seconds.observe((), started_at.elapsed());
        }
    }
}

impl Connection<'_> {
    /// Ends the measured use; the connection is held for the next one.
    pub(super) fn pause(&mut self) {
        self.usage.stop();
    }

    pub(super) fn resume(mut self) -> Self {
        self.usage.started_at = Some(Instant::now());
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
