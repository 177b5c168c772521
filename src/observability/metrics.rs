//! What is counted and timed, for those who run the service: every metric once, with its labels and what it means.
//!
//! Each instance of the service counts for itself. All series are there from the start, at zero, so that the first event
//! of a kind is a change that an alert can see; and counting is one atomic step, with no lock and no memory taken.
//! No label holds anything that came from outside.

mod instruments;
mod labels;

use std::fmt;

use prometheus_client::encoding::prometheus_text;
use prometheus_client::registry::Registry;

pub use instruments::{Counts, Held, Kind, Levels, Metric, Seconds};
pub use labels::{
    Connection, EntraCall, EntraOutcome, ForwardAuth, GraphCall, GraphList, GroupKind, Label, Limit, Lookup, Part,
    Route, Row, SessionEnd, SignIn, StatusClass, StoreRefusal, Unknown,
};

use instruments::Listing;

/// The `Content-Type` of [`Metrics::text`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// All metrics of one instance of the service.
pub struct Metrics {
    registry: Registry,
    list: Vec<Metric>,
    pub sign_ins_begun: Counts<()>,
    pub sign_ins: Counts<SignIn>,
    pub sign_in_seconds: Seconds<()>,
    pub sign_in_part_seconds: Seconds<Part>,
    pub rows_written: Counts<Row>,
    pub groups_refused: Counts<GroupKind>,
    pub sync_retries: Counts<()>,
    pub lists_unknown: Counts<(GraphList, Unknown)>,
    pub graph_calls: Counts<(GraphList, GraphCall)>,
    pub graph_retries: Counts<GraphList>,
    pub entra_calls: Counts<(EntraCall, EntraOutcome)>,
    pub sessions_opened: Counts<()>,
    pub sessions_ended: Counts<SessionEnd>,
    pub session_lookups: Counts<Lookup>,
    pub session_lookups_waiting: Levels<()>,
    pub sessions_listening: Levels<()>,
    pub sessions_remembered: Levels<()>,
    pub requests: Counts<(Route, StatusClass)>,
    pub forward_auth: Counts<ForwardAuth>,
    pub limits_refused: Counts<Limit>,
    pub connections_open: Levels<()>,
    pub connections_most: Levels<()>,
    pub connections_waited: Counts<()>,
    pub postgres_connections: Levels<Connection>,
    pub postgres_most: Levels<()>,
    pub postgres_waiting: Levels<()>,
    pub postgres_refusals: Counts<StoreRefusal>,
    pub postgres_seconds: Seconds<()>,
    pub postgres_wait_seconds: Seconds<()>,
    pub credential_usable: Levels<()>,
    pub credential_ends: Levels<()>,
    pub start: Levels<()>,
}

impl Metrics {
    /// All at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let mut r = Listing { registry: &mut registry, list: Vec::new() };
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        r.fact("entraway_build_info", "Always 1; the label tells the version", version);
        Self {
            sign_ins_begun: r.counts("entraway_sign_ins_begun", "Browsers that were sent to Entra"),
            sign_ins: r.counts(
                "entraway_sign_ins",
                "Browsers that came back from Entra, by what became of them: signed_in, or the code that the page and the log show",
            ),
            sign_in_seconds: r.seconds(
                "entraway_sign_in_seconds",
                "How long finishing a sign-in that succeeded took, from coming back to the session",
            ),
            sign_in_part_seconds: r.seconds(
                "entraway_sign_in_part_seconds",
                "How long its parts took, also of one that was refused: redeeming the code at Entra, reading the groups from Graph, planning, reading and writing in Postgres",
            ),
            rows_written: r.counts("entraway_rows_written", "Rows that syncs wrote: made, or for person_change changed"),
            groups_refused: r.counts(
                "entraway_groups_refused",
                "Organizations and teams that the database refused; each is tried again at each sign-in",
            ),
            sync_retries: r.counts(
                "entraway_sync_retries",
                "Transactions of syncs that lost a race with another one and were tried again",
            ),
            lists_unknown: r.counts(
                "entraway_lists_unknown",
                "Lists of groups that a sign-in could not read, by the code in its sync record: nothing was created from them",
            ),
            graph_calls: r.counts("entraway_graph_calls", "Requests to Graph, one for each page and try, by how they ended"),
            graph_retries: r.counts("entraway_graph_retries", "Requests to Graph that were repeated after a passing failure"),
            entra_calls: r.counts(
                "entraway_entra_calls",
                "Requests to Entra; refused: Entra answered that it will not; failed: there was no sound answer",
            ),
            sessions_opened: r.counts("entraway_sessions_opened", "Sessions that were opened"),
            sessions_ended: r.counts(
                "entraway_sessions_ended",
                "Sessions that were ended before their time; by a new sign-in, one for each person however many those were",
            ),
            session_lookups: r.counts(
                "entraway_session_lookups",
                "Questions of proxies who is signed in, where a cookie came: answered from memory, read from the database, no such session, or failed",
            ),
            session_lookups_waiting: r.levels(
                "entraway_session_lookups_waiting",
                "Questions of proxies that wait for what the database says; many are asked with one statement",
            ),
            sessions_listening: r.levels(
                "entraway_sessions_listening",
                "1 while the database tells of changes, so that sessions are answered from memory",
            ),
            sessions_remembered: r.levels("entraway_sessions_remembered", "Sessions in memory"),
            requests: r.counts("entraway_requests", "Answered requests, by what was asked for and the class of the status"),
            forward_auth: r.counts("entraway_forward_auth_answers", "Answers to proxies at /auth/verify"),
            limits_refused: r.counts("entraway_limits_refused", "Requests that were refused because they were too many or too large"),
            connections_open: r.levels("entraway_connections_open", "Connections of clients that are open"),
            connections_most: r.levels("entraway_connections_most", "How many may be open: limits.connections"),
            connections_waited: r.counts(
                "entraway_connections_waited",
                "Connections that had to wait because as many were open as may be",
            ),
            postgres_connections: r.levels("entraway_postgres_connections", "Connections to the database in the pool"),
            postgres_most: r.levels("entraway_postgres_connections_most", "How many there may be: database.max_connections"),
            postgres_waiting: r.levels("entraway_postgres_waiting", "Requests that wait for a connection to the database"),
            postgres_refusals: r.counts(
                "entraway_postgres_refusals",
                "Requests that were refused for want of the database: it was unavailable, or too many waited for it",
            ),
            postgres_seconds: r.seconds(
                "entraway_postgres_seconds",
                "How long a connection to the database was used at a time: a statement, or a transaction",
            ),
            postgres_wait_seconds: r.seconds(
                "entraway_postgres_wait_seconds",
                "How long was waited for a connection to the database, or in vain",
            ),
            credential_usable: r.levels(
                "entraway_credential_usable",
                "1 if what the app authenticates with can be read; a secret always can",
            ),
            credential_ends: r.levels(
                "entraway_credential_end_timestamp_seconds",
                "When the certificate ends that the app authenticates with, in Unix time; 0 where it uses none",
            ),
            start: r.levels("entraway_start_time_seconds", "When the service was started, in Unix time"),
            list: r.list,
            registry,
        }
    }

    /// What there is, in the order of the text.
    #[must_use]
    pub fn list(&self) -> &[Metric] {
        &self.list
    }

    /// All of it in Prometheus's text format.
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
    fn every_series_is_there_from_the_start_with_its_own_place() {
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
        metrics.graph_calls.add((GraphList::Assigned, GraphCall::Throttled));
        metrics.lists_unknown.add((GraphList::MemberOf, Unknown::Other));
        let text = metrics.text().unwrap();
        let counted = |line: &&str| line.ends_with("} 1") && !line.starts_with("entraway_build_info");
        let mut lines: Vec<&str> = text.lines().filter(counted).collect();
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
    fn a_level_that_is_held_falls_when_the_holder_goes() {
        let metrics = Metrics::new();
        let level =
            |text: &str| text.lines().find(|line| line.starts_with("entraway_postgres_waiting ")).map(str::to_owned);
        let held = metrics.postgres_waiting.hold(());
        assert_eq!(level(&metrics.text().unwrap()).as_deref(), Some("entraway_postgres_waiting 1"));
        drop(held);
        assert_eq!(level(&metrics.text().unwrap()).as_deref(), Some("entraway_postgres_waiting 0"));
    }
}
