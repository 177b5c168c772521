//! Microsoft Graph client: the groups assigned to the enterprise app and the groups of a user; for a reconciliation run,
//! members of groups and states of accounts.
//!
//! A list is read completely or the result is an error, never a partial list. Knows neither Postgres nor axum.

mod batch;
mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod reconcile;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;

use crate::observability::metrics::{GraphCall, GraphRead, Label as _, Metrics};
use crate::observability::spans::Step;
use crate::plan::Groups;
use crate::util::http_client::HttpClient;

pub use error::GraphError;
pub use reconcile::RUN_BUDGET;

/// Time limit for reading one list, including all pages and retries.
pub const TOTAL_BUDGET: Duration = Duration::from_secs(10);
/// Graph's maximum page size.
const PAGE_SIZE: &str = "999";
/// Maximum number of pages of one list: more than any list has. Stops `nextLink`s that never end.
const MAX_PAGES: usize = 1_000;

/// Microsoft Graph in one cloud.
#[derive(Clone, Debug)]
pub struct Graph {
    http: HttpClient,
    base: Url,
    budget: Duration,
    priority: Priority,
    metrics: Arc<Metrics>,
}

/// Throttling priority. If the app exceeds its quota, Graph rejects requests of lower priority first.
/// Source: <https://learn.microsoft.com/graph/throttling-limits#identity-and-access-service-limits>.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Priority {
    /// For sign-ins: a user is waiting.
    High,
    /// For background jobs.
    Low,
}

impl Priority {
    const HEADER: &str = "x-ms-throttle-priority";

    fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Low => "low",
        }
    }
}

/// How to address the enterprise app's service principal in Graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServicePrincipal {
    /// By its object ID, which differs from tenant to tenant.
    ObjectId(String),
    /// By the app's client ID, in the tenant that issued the token.
    AppId(String),
}

impl ServicePrincipal {
    /// Path below the version.
    fn path(&self) -> String {
        match self {
            Self::ObjectId(id) => format!("servicePrincipals/{id}"),
            Self::AppId(id) => format!("servicePrincipals(appId='{id}')"),
        }
    }
}

impl Graph {
    /// `base` includes the version, such as `https://graph.microsoft.com/v1.0`; `budget` limits the time for one list.
    #[must_use]
    pub fn new(http: HttpClient, base: Url, budget: Duration) -> Self {
        Self { http, base, budget, priority: Priority::High, metrics: Arc::default() }
    }

    /// Records its calls in these metrics.
    #[must_use]
    pub fn with_metrics(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// Sends its requests with low throttling priority, so that Graph throttles them before those of sign-ins.
    #[must_use]
    pub fn in_background(self) -> Self {
        Self { priority: Priority::Low, ..self }
    }

    /// The groups of the token's user: direct memberships, or with `nested` also those through other groups. Directory
    /// roles and administrative units are left out.
    ///
    /// Called without `ConsistencyLevel: eventual`, whose index may still list a member that was removed.
    pub async fn member_of(&self, token: &SecretString, nested: bool) -> Result<Groups, GraphError> {
        let path = if nested { "me/transitiveMemberOf" } else { "me/memberOf" };
        let objects: Vec<wire::DirectoryObject> =
            self.list(GraphRead::MemberOf, Step::MemberOf, path, Some("id,displayName"), token).await?;
        Ok(objects.into_iter().filter_map(wire::DirectoryObject::into_group).collect())
    }

    /// The groups assigned to the enterprise app. A group with several app roles is listed once.
    pub async fn assigned_groups(
        &self,
        token: &SecretString,
        service_principal: &ServicePrincipal,
    ) -> Result<Groups, GraphError> {
        let path = format!("{}/appRoleAssignedTo", service_principal.path());
        let assignments: Vec<wire::AppRoleAssignment> =
            self.list(GraphRead::Assigned, Step::AssignedGroups, &path, None, token).await?;
        Ok(assignments.into_iter().filter_map(wire::AppRoleAssignment::into_group).collect())
    }

    /// Reads all pages of a list, within the budget.
    async fn list<T: DeserializeOwned>(
        &self,
        list: GraphRead,
        step: Step,
        path: &str,
        select: Option<&str>,
        token: &SecretString,
    ) -> Result<Vec<T>, GraphError> {
        let mut first = self.at(path);
        first.query_pairs_mut().extend_pairs(select.map(|select| ("$select", select))).append_pair("$top", PAGE_SIZE);
        let deadline = Instant::now() + self.budget;
        let read_all = async {
            tokio::time::timeout_at(deadline, self.pages(list, first, token, deadline))
                .await
                .map_err(|_| GraphError::Timeout)?
        };
        step.run(read_all, GraphError::code).await
    }

    /// URL of a path below the version.
    fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        url
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        list: GraphRead,
        first: Url,
        token: &SecretString,
        deadline: Instant,
    ) -> Result<Vec<T>, GraphError> {
        let mut items = Vec::new();
        let mut seen = BTreeSet::new();
        let mut next = Some(first);
        while let Some(url) = next {
            if !seen.insert(url.to_string()) || seen.len() > MAX_PAGES {
                return Err(GraphError::PageLoop);
            }
            let page: wire::Page<T> = self.read_with_retries(list, &url, token, deadline).await?;
            items.extend(page.value);
            next = page.next_link.map(|link| check_link(&self.base, &link)).transpose()?;
        }
        Ok(items)
    }

    async fn read_with_retries<T: DeserializeOwned>(
        &self,
        list: GraphRead,
        url: &Url,
        token: &SecretString,
        deadline: Instant,
    ) -> Result<T, GraphError> {
        (|| self.record(list, self.read(url, token)))
            .retry(backoff())
            .when(GraphError::is_transient)
            // Retries only if the delay, which includes Graph's `Retry-After`, ends before the deadline.
            .adjust(|error: &GraphError, delay| {
                let delay = retry_delay(delay?, error)?;
                Instant::now().checked_add(delay).filter(|at| *at < deadline).map(|_| delay)
            })
            .notify(|error, delay| {
                self.metrics.graph_retries.add(list);
                tracing::debug!(code = error.code(), ?delay, "retrying Graph request");
            })
            .await
    }

    /// Runs one call and records its outcome.
    async fn record<T>(
        &self,
        list: GraphRead,
        call: impl Future<Output = Result<T, GraphError>>,
    ) -> Result<T, GraphError> {
        let outcome = Step::GraphRequest.run(call, GraphError::code).await;
        self.count(list, &outcome);
        outcome
    }

    /// Counts one request by its outcome.
    fn count<T>(&self, list: GraphRead, outcome: &Result<T, GraphError>) {
        let label = match outcome {
            Ok(_) => GraphCall::Ok,
            // All other errors concern a whole list and not one call.
            Err(error) => GraphCall::named(error.code()).unwrap_or(GraphCall::Malformed),
        };
        self.metrics.graph_calls.add((list, label));
    }

    async fn read<T: DeserializeOwned>(&self, url: &Url, token: &SecretString) -> Result<T, GraphError> {
        let request_id = uuid::Uuid::new_v4().to_string();
        let request = self
            .http
            .get(url.clone())
            .bearer_auth(token.expose_secret())
            .header("client-request-id", &request_id)
            .header(Priority::HEADER, self.priority.as_str());
        let response = self.http.send(request).await?;
        if !response.status.is_success() {
            return Err(GraphError::from_response(&response, &request_id));
        }
        parse(&response.body)
    }
}

/// Backoff without a maximum number of retries: the budget ends them.
fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(3))
        .without_max_times()
}

/// Delay before the next retry: Graph's `Retry-After` plus the jittered backoff. Graph gives all callers that it throttles
/// the same `Retry-After`; the jitter spreads their retries. `None` if the sum overflows.
fn retry_delay(backoff: Duration, error: &GraphError) -> Option<Duration> {
    backoff.checked_add(error.retry_after().unwrap_or_default())
}

/// Checks that a `nextLink` points to Graph's own origin, so that the token is sent to no other host, and to the same
/// version, which a batch needs.
fn check_link(base: &Url, link: &str) -> Result<Url, GraphError> {
    let url = Url::parse(link).map_err(|_| GraphError::Malformed)?;
    let no_userinfo = url.username().is_empty() && url.password().is_none();
    let same_place = url.origin() == base.origin() && below(base, &url).is_some();
    if no_userinfo && same_place { Ok(url) } else { Err(GraphError::ForeignLink) }
}

/// The path below the base, beginning with `/`; `None` if the URL is not below it.
fn below<'u>(base: &Url, url: &'u Url) -> Option<&'u str> {
    url.path().strip_prefix(base.path().trim_end_matches('/')).filter(|rest| rest.starts_with('/'))
}

/// Parses a JSON object.
fn parse<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, GraphError> {
    // serde_json alone would accept invalid UTF-8 in an ignored field, and the array `[[], null]` as a page.
    let text = std::str::from_utf8(body).map_err(|_| GraphError::Malformed)?;
    if !text.trim_ascii_start().starts_with('{') {
        return Err(GraphError::Malformed);
    }
    serde_json::from_str(text).map_err(|_| GraphError::Malformed)
}

#[cfg(test)]
mod tests {
    use backon::BackoffBuilder as _;

    use super::*;

    #[test]
    fn retry_backoff_differs_for_each_caller() {
        let delays: BTreeSet<Duration> = (0..100)
            .map(|_| backoff().build().take(3).sum())
            .inspect(|all| assert!(*all >= Duration::from_millis(200)))
            .collect();
        assert_eq!(delays.len(), 100, "a hundred sign-ins retry after only these delays: {delays:?}");
    }

    #[test]
    fn retry_delay_adds_jitter_to_retry_after() {
        let throttled = |seconds| GraphError::Throttled {
            request_id: String::new(),
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let delays = [201, 300, 399].map(|jitter| retry_delay(Duration::from_millis(jitter), &throttled(2)).unwrap());
        assert!(delays.iter().all(|delay| *delay >= Duration::from_secs(2)), "Retry-After counts: {delays:?}");
        assert_eq!(delays.iter().collect::<BTreeSet<_>>().len(), 3, "each jitter gives another delay: {delays:?}");
        assert_eq!(retry_delay(Duration::from_secs(1), &throttled(u64::MAX)), None, "the sum overflows");
    }
}
