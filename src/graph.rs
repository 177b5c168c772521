//! Microsoft Graph: who is assigned to the enterprise app, and which groups a person is in. Every list is read to its
//! end or it is an error: there is no part of a list. Knows neither Postgres nor axum.

mod error;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable as _};
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use url::Url;

use crate::observability::metrics::{GraphCall, GraphList, Label as _, Metrics};
use crate::observability::spans::Step;
use crate::plan::Groups;
use crate::util::http_client::{Answer, HttpClient};

pub use error::GraphError;

/// All of one list, its pages and retries, takes no longer than this.
pub const TOTAL_BUDGET: Duration = Duration::from_secs(10);
/// Graph's largest page.
const PAGE_SIZE: &str = "999";
/// More pages than any list of ours has; an answer that goes on has lost its way.
const MAX_PAGES: usize = 1_000;

/// Microsoft Graph in one cloud.
#[derive(Clone, Debug)]
pub struct Graph {
    http: HttpClient,
    base: Url,
    budget: Duration,
    metrics: Arc<Metrics>,
}

/// How Graph is to find the enterprise app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServicePrincipal {
    /// By its object id, which is another one in each tenant.
    ObjectId(String),
    /// By the app's client id, in whichever tenant the token is of.
    AppId(String),
}

impl Graph {
    /// `base` holds the version, such as `https://graph.microsoft.com/v1.0`; `budget` bounds the reading of one list.
    #[must_use]
    pub fn new(http: HttpClient, base: Url, budget: Duration) -> Self {
        Self { http, base, budget, metrics: Arc::default() }
    }

    /// Counts its calls there.
    #[must_use]
    pub fn counted_by(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics, ..self }
    }

    /// The groups that the token's person is in: directly, or with `nested` through other groups too. Directory roles
    /// and administrative units in the answer are no groups.
    ///
    /// The plain call, without `ConsistencyLevel: eventual`: the index behind that one may still list a member who was
    /// taken out.
    pub async fn member_of(&self, token: &SecretString, nested: bool) -> Result<Groups, GraphError> {
        let path = if nested { "me/transitiveMemberOf" } else { "me/memberOf" };
        let objects: Vec<wire::DirectoryObject> =
            self.list(GraphList::MemberOf, path, Some("id,displayName"), token).await?;
        Ok(objects.into_iter().filter_map(wire::DirectoryObject::into_group).collect())
    }

    /// The groups assigned to the enterprise app, each once however many roles it was assigned.
    pub async fn assigned_groups(
        &self,
        token: &SecretString,
        service_principal: &ServicePrincipal,
    ) -> Result<Groups, GraphError> {
        let path = match service_principal {
            ServicePrincipal::ObjectId(id) => format!("servicePrincipals/{id}/appRoleAssignedTo"),
            ServicePrincipal::AppId(id) => format!("servicePrincipals(appId='{id}')/appRoleAssignedTo"),
        };
        let assignments: Vec<wire::AppRoleAssignment> = self.list(GraphList::Assigned, &path, None, token).await?;
        Ok(assignments.into_iter().filter_map(wire::AppRoleAssignment::into_group).collect())
    }

    /// Reads a list to its end, within the budget.
    async fn list<T: DeserializeOwned>(
        &self,
        list: GraphList,
        path: &str,
        select: Option<&str>,
        token: &SecretString,
    ) -> Result<Vec<T>, GraphError> {
        let mut first = self.base.clone();
        if let Ok(mut segments) = first.path_segments_mut() {
            segments.pop_if_empty().extend(path.split('/'));
        }
        first.query_pairs_mut().extend_pairs(select.map(|select| ("$select", select))).append_pair("$top", PAGE_SIZE);
        let deadline = Instant::now() + self.budget;
        let whole = async {
            tokio::time::timeout_at(deadline, self.pages(list, first, token, deadline))
                .await
                .map_err(|_| GraphError::Timeout)?
        };
        let step = match list {
            GraphList::Assigned => Step::AssignedGroups,
            GraphList::MemberOf => Step::MemberOf,
        };
        step.run(whole, GraphError::code).await
    }

    async fn pages<T: DeserializeOwned>(
        &self,
        list: GraphList,
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
            let page: wire::Page<T> = self.page_with_retries(list, &url, token, deadline).await?;
            items.extend(page.value);
            next = page.next_link.map(|link| own_link(&self.base, &link)).transpose()?;
        }
        Ok(items)
    }

    async fn page_with_retries<T: DeserializeOwned>(
        &self,
        list: GraphList,
        url: &Url,
        token: &SecretString,
        deadline: Instant,
    ) -> Result<wire::Page<T>, GraphError> {
        (|| self.counted(list, self.page(url, token)))
            .retry(backoff())
            .when(GraphError::is_transient)
            // Graph's own word on when to come back, if it leaves time to do so; else the failure stands now.
            .adjust(|error: &GraphError, delay| {
                let delay = pause(delay?, error)?;
                Instant::now().checked_add(delay).filter(|at| *at < deadline).map(|_| delay)
            })
            .notify(|error, delay| {
                self.metrics.graph_retries.add(list);
                tracing::debug!(code = error.code(), ?delay, "asking Graph again");
            })
            .await
    }

    /// Counts a call by how it ended.
    async fn counted<T>(
        &self,
        list: GraphList,
        call: impl Future<Output = Result<T, GraphError>>,
    ) -> Result<T, GraphError> {
        let outcome = Step::GraphRequest.run(call, GraphError::code).await;
        let label = match &outcome {
            Ok(_) => GraphCall::Ok,
            // A call ends in no other way: what else there is, is found out later.
            Err(error) => GraphCall::named(error.code()).unwrap_or(GraphCall::Malformed),
        };
        self.metrics.graph_calls.add((list, label));
        outcome
    }

    async fn page<T: DeserializeOwned>(&self, url: &Url, token: &SecretString) -> Result<wire::Page<T>, GraphError> {
        let request_id = uuid::Uuid::new_v4().to_string();
        let request = self
            .http
            .get(url.clone())
            .bearer_auth(token.expose_secret())
            .header("client-request-id", &request_id)
            // Somebody is waiting: when Graph sheds load, background work goes first.
            .header("x-ms-throttle-priority", "high");
        let answer = self.http.send(request).await?;
        if !answer.status.is_success() {
            return Err(GraphError::from_answer(&answer, &request_id));
        }
        read_page(&answer)
    }
}

/// For as long as the budget lasts.
fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_jitter()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(3))
        .without_max_times()
}

/// When to ask again. Graph tells all whom it refuses together the same time, and they are not to come back together: the
/// backoff, which has chance in it, goes on top. `None`: longer than any time there is.
fn pause(backoff: Duration, error: &GraphError) -> Option<Duration> {
    backoff.checked_add(error.retry_after().unwrap_or_default())
}

/// The token goes to Graph's own host only, wherever a `nextLink` points.
fn own_link(base: &Url, link: &str) -> Result<Url, GraphError> {
    let url = Url::parse(link).map_err(|_| GraphError::Malformed)?;
    let plain = url.username().is_empty() && url.password().is_none();
    if plain && url.origin() == base.origin() { Ok(url) } else { Err(GraphError::ForeignLink) }
}

fn read_page<T: DeserializeOwned>(answer: &Answer) -> Result<wire::Page<T>, GraphError> {
    // What is no UTF-8 would pass in a field that nobody reads, and `[[], null]` as a page, by the order of its fields.
    let text = std::str::from_utf8(&answer.body).map_err(|_| GraphError::Malformed)?;
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
    fn no_two_of_many_who_were_refused_together_come_back_together() {
        let moments: BTreeSet<Duration> = (0..100)
            .map(|_| backoff().build().take(3).sum())
            .inspect(|all| assert!(*all >= Duration::from_millis(200)))
            .collect();
        assert_eq!(moments.len(), 100, "a hundred sign-ins ask again at these moments alone: {moments:?}");
    }

    #[test]
    fn those_whom_graph_tells_the_same_time_come_back_after_it_and_not_at_the_same_moment() {
        let told = |seconds| GraphError::Throttled {
            request_id: String::new(),
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let pauses = [201, 300, 399].map(|chance| pause(Duration::from_millis(chance), &told(2)).unwrap());
        assert!(pauses.iter().all(|pause| *pause >= Duration::from_secs(2)), "Graph's word counts: {pauses:?}");
        assert_eq!(pauses.iter().collect::<BTreeSet<_>>().len(), 3, "as many moments as chances: {pauses:?}");
        assert_eq!(pause(Duration::from_secs(1), &told(u64::MAX)), None, "longer than any time there is");
    }
}
