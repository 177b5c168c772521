//! Logs, metrics and traces.

pub mod metrics;
pub mod spans;
pub(crate) mod telemetry;
