//! All metrics, with labels and help texts.
//!
//! Each instance of the service has its own values. All series exist from the start, at zero, so that an alert sees the first
//! event of a kind. Recording is one atomic operation, without a lock or an allocation. No label value comes from outside.

mod instruments;
mod labels;

use std::fmt;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;

pub use instruments::{Counter, Gauge, GaugeGuard, Histogram, Kind, Metric, Series};
pub use labels::{
    AccountAction, Connection, EntraCall, EntraOutcome, ForwardAuth, GraphCall, GraphList, GraphRead, GroupKind, Kept,
    Label, Limit, Lookup, NotificationResult, Part, Route, Row, RunResult, SessionEnd, SignIn, StatusClass,
    StoreRefusal, Unknown,
};

use crate::config::NotificationType;
use instruments::Registrar;

/// The `Content-Type` of [`Metrics::text`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// All metrics of one instance of the service.
pub struct Metrics {
    registry: Registry,
    list: Vec<Metric>,
    pub sign_ins_begun: Counter<()>,
    pub sign_ins: Counter<SignIn>,
    pub sign_in_seconds: Histogram<()>,
    pub sign_in_part_seconds: Histogram<Part>,
    pub rows_written: Counter<Row>,
    pub memberships_removed: Counter<GroupKind>,
    pub removals_kept: Counter<Kept>,
    pub keys_blocked: Counter<()>,
    pub accounts: Counter<AccountAction>,
    pub groups_refused: Counter<GroupKind>,
    pub sync_retries: Counter<()>,
    pub lists_unknown: Counter<(GraphList, Unknown)>,
    pub graph_calls: Counter<(GraphRead, GraphCall)>,
    pub graph_retries: Counter<GraphRead>,
    pub entra_calls: Counter<(EntraCall, EntraOutcome)>,
    pub sessions_opened: Counter<()>,
    pub sessions_ended: Counter<SessionEnd>,
    pub session_lookups: Counter<Lookup>,
    pub session_lookups_waiting: Gauge<()>,
    pub sessions_listening: Gauge<()>,
    pub sessions_remembered: Gauge<()>,
    pub requests: Counter<(Route, StatusClass)>,
    pub forward_auth: Counter<ForwardAuth>,
    pub limits_refused: Counter<Limit>,
    pub connections_open: Gauge<()>,
    pub connections_most: Gauge<()>,
    pub connections_waited: Counter<()>,
    pub postgres_connections: Gauge<Connection>,
    pub postgres_most: Gauge<()>,
    pub postgres_waiting: Gauge<()>,
    pub postgres_refusals: Counter<StoreRefusal>,
    pub postgres_seconds: Histogram<()>,
    pub postgres_wait_seconds: Histogram<()>,
    pub credential_usable: Gauge<()>,
    pub credential_ends: Gauge<()>,
    pub reconciliation_runs: Counter<RunResult>,
    pub reconciliation_seconds: Histogram<()>,
    pub reconciliation_last_complete: Gauge<()>,
    pub reconciliation_interval: Gauge<()>,
    pub reconciliation_held: Gauge<()>,
    pub reconciliation_incomplete: Gauge<()>,
    pub notifications: Counter<(NotificationType, NotificationResult)>,
    pub start: Gauge<()>,
}

impl Metrics {
    /// All values are zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let mut r = Registrar { registry: &mut registry, list: Vec::new() };
        r.info("entraway_build_info", "Always 1; the label has the version", ("version", env!("CARGO_PKG_VERSION")));
        Self {
            sign_ins_begun: r.counter("entraway_sign_ins_begun", "Sign-ins that were started"),
            sign_ins: r.counter(
                "entraway_sign_ins",
                "Callbacks from Entra by outcome: signed_in, or the error code as on the page and in the log",
            ),
            sign_in_seconds: r.histogram(
                "entraway_sign_in_seconds",
                "Duration of successful sign-ins, from the callback to the session",
            ),
            sign_in_part_seconds: r.histogram(
                "entraway_sign_in_part_seconds",
                "Duration of the parts of sign-ins, including denied ones: redeeming the code at Entra, reading groups from Graph, planning, reading and writing in Postgres",
            ),
            rows_written: r.counter("entraway_rows_written", "Rows that syncs created, or updated for person_change"),
            memberships_removed: r.counter(
                "entraway_memberships_removed",
                "Memberships that syncs removed because the user left the group",
            ),
            removals_kept: r.counter(
                "entraway_removals_kept",
                "Memberships that syncs kept although the user left the group; counted at each sign-in",
            ),
            keys_blocked: r.counter(
                "entraway_keys_blocked",
                "LiteLLM keys that syncs blocked because their user was removed from the team",
            ),
            accounts: r.counter(
                "entraway_account_changes",
                "Accounts that reconciliation runs disabled or restored, and those that changed since the plan and were skipped",
            ),
            groups_refused: r.counter(
                "entraway_groups_refused",
                "Organizations and teams that could not be created; retried at each sign-in",
            ),
            sync_retries: r.counter(
                "entraway_sync_retries",
                "Sync transactions that were retried after a conflict with another one",
            ),
            lists_unknown: r.counter(
                "entraway_lists_unknown",
                "Lists of groups that a sign-in could not read, by the code in its sync record",
            ),
            graph_calls: r.counter("entraway_graph_calls", "Requests to Graph by outcome, one for each page and attempt; in a batch, each request counts"),
            graph_retries: r.counter("entraway_graph_retries", "Requests to Graph that were retried after a temporary failure"),
            entra_calls: r.counter(
                "entraway_entra_calls",
                "Requests to Entra by outcome; refused: Entra sent an error; failed: no valid response",
            ),
            sessions_opened: r.counter("entraway_sessions_opened", "Sessions opened"),
            sessions_ended: r.counter(
                "entraway_sessions_ended",
                "Sessions revoked before they expired; new_sign_in counts users",
            ),
            session_lookups: r.counter(
                "entraway_session_lookups",
                "Session lookups by result: from memory, from the database, no such session, or failed",
            ),
            session_lookups_waiting: r.gauge(
                "entraway_session_lookups_waiting",
                "Session lookups that wait for the database, which loads them in batches",
            ),
            sessions_listening: r.gauge(
                "entraway_sessions_listening",
                "1 while session changes are received from the database, so that cached sessions count",
            ),
            sessions_remembered: r.gauge("entraway_sessions_remembered", "Cached sessions"),
            requests: r.counter("entraway_requests", "Requests by route group and status class"),
            forward_auth: r.counter("entraway_forward_auth_answers", "Responses of /auth/verify by status"),
            limits_refused: r.counter("entraway_limits_refused", "Requests rejected by a limit"),
            connections_open: r.gauge("entraway_connections_open", "Open client connections"),
            connections_most: r.gauge("entraway_connections_most", "Maximum number of client connections: limits.connections"),
            connections_waited: r.counter(
                "entraway_connections_waited",
                "Client connections that waited because the limit was reached",
            ),
            postgres_connections: r.gauge("entraway_postgres_connections", "Database connections in the pool"),
            postgres_most: r.gauge("entraway_postgres_connections_most", "Maximum number of database connections: database.max_connections"),
            postgres_waiting: r.gauge("entraway_postgres_waiting", "Requests that wait for a database connection"),
            postgres_refusals: r.counter(
                "entraway_postgres_refusals",
                "Requests that failed because the database was unavailable or too many requests waited for it",
            ),
            postgres_seconds: r.histogram(
                "entraway_postgres_seconds",
                "Time for which a statement or transaction used a database connection",
            ),
            postgres_wait_seconds: r.histogram(
                "entraway_postgres_wait_seconds",
                "Time for which a request waited for a database connection, including timeouts",
            ),
            credential_usable: r.gauge(
                "entraway_credential_usable",
                "1 if the app's credential can be read; always 1 for a client secret",
            ),
            credential_ends: r.gauge(
                "entraway_credential_end_timestamp_seconds",
                "Expiry of the client certificate in Unix time; 0 without a certificate",
            ),
            reconciliation_runs: r.counter(
                "entraway_reconciliation_runs",
                "Reconciliation runs of this replica by how they ended; incomplete: groups could not be compared",
            ),
            reconciliation_seconds: r.histogram(
                "entraway_reconciliation_duration_seconds",
                "Duration of reconciliation runs, including failed ones",
            ),
            reconciliation_last_complete: r.gauge(
                "entraway_reconciliation_last_complete_timestamp_seconds",
                "End of the last reconciliation run of any replica that compared all groups, in Unix time; 0 before the first",
            ),
            reconciliation_interval: r.gauge(
                "entraway_reconciliation_interval_seconds",
                "Interval of reconciliation runs: sync.reconcile.interval; 0 if they are off",
            ),
            reconciliation_held: r.gauge(
                "entraway_reconciliation_held_changes",
                "Changes that the circuit breaker held in the last reconciliation run of any replica",
            ),
            reconciliation_incomplete: r.gauge(
                "entraway_reconciliation_incomplete_groups",
                "Groups that the last reconciliation run of any replica could not compare",
            ),
            notifications: r.counter(
                "entraway_notifications",
                "Notifications by type and result; retried counts attempts, failed: given up, dropped: never sent",
            ),
            start: r.gauge("entraway_start_time_seconds", "Start time of the service in Unix time"),
            list: r.list,
            registry,
        }
    }

    /// All metrics, in the order of the text format.
    #[must_use]
    pub fn list(&self) -> &[Metric] {
        &self.list
    }

    /// All values in Prometheus's text format.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_exists_and_labels_select_their_series() {
        let metrics = Metrics::new();
        let text = metrics.text().unwrap();
        for metric in metrics.list() {
            let kind = match metric.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram => "histogram",
            };
            assert!(text.contains(&format!("# TYPE {} {kind}\n", metric.name)), "{} in {text}", metric.name);
        }
        metrics.graph_calls.add((GraphRead::Assigned, GraphCall::Throttled));
        metrics.lists_unknown.add((GraphList::MemberOf, Unknown::Other));
        let text = metrics.text().unwrap();
        let has_one = |line: &&str| line.ends_with("} 1") && !line.starts_with("entraway_build_info");
        let mut lines: Vec<&str> = text.lines().filter(has_one).collect();
        lines.sort_unstable();
        assert_eq!(
            lines,
            [
                r#"entraway_graph_calls_total{list="assigned_groups",outcome="graph_throttled"} 1"#,
                r#"entraway_lists_unknown_total{list="member_of",why="other"} 1"#,
            ]
        );
    }

    #[test]
    fn gauge_falls_when_guard_is_dropped() {
        let metrics = Metrics::new();
        let line =
            |text: &str| text.lines().find(|line| line.starts_with("entraway_postgres_waiting ")).map(str::to_owned);
        let guard = metrics.postgres_waiting.guard(());
        assert_eq!(line(&metrics.text().unwrap()).as_deref(), Some("entraway_postgres_waiting 1"));
        drop(guard);
        assert_eq!(line(&metrics.text().unwrap()).as_deref(), Some("entraway_postgres_waiting 0"));
    }
}
