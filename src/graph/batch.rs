//! Reads many objects in JSON batches: <https://learn.microsoft.com/graph/json-batching>.
//!
//! A batch answers each request on its own, in any order. Only failed requests are sent again.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use backon::BackoffBuilder as _;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use secrecy::{ExposeSecret as _, SecretString};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Graph, GraphError, Priority, backoff, parse, retry_delay, wire};
use crate::observability::metrics::GraphRead;
use crate::observability::spans::Step;

/// Graph's maximum number of requests in a batch.
const BATCH_SIZE: usize = 20;
/// Maximum number of concurrent batches. Their pages are in memory at the same time: up to 2 MB for each batch.
const CONCURRENT_BATCHES: usize = 4;
/// Maximum number of retries of one request. With the backoff, they take about six seconds, plus Graph's `Retry-After`.
const MAX_RETRIES: usize = 5;
/// Time limit for one batch. Graph answers when all of its requests are done, each of which may return 999 members.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads objects of one kind, until the deadline.
pub(super) struct BatchReader<'a> {
    pub(super) graph: &'a Graph,
    pub(super) token: &'a SecretString,
    pub(super) read: GraphRead,
    pub(super) deadline: Instant,
}

/// A GET request, to a URL relative to the version.
struct Job<K> {
    key: K,
    url: String,
    retries: usize,
}

/// The requests that are to be sent.
struct Queue<K> {
    ready: VecDeque<Job<K>>,
    /// Requests to be repeated, not before this time.
    waiting: Vec<(Instant, Job<K>)>,
    /// Graph asked for a pause with `Retry-After`: nothing is sent before.
    paused_until: Instant,
}

impl<K> Queue<K> {
    /// Requests for the next batch, if one is to be sent now. A batch that is not full waits while others are in flight,
    /// because their next pages may fill it.
    fn next_batch(&mut self, now: Instant, idle: bool) -> Option<Vec<Job<K>>> {
        let (due, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|(at, _)| *at <= now);
        self.waiting = waiting;
        self.ready.extend(Vec::into_iter(due).map(|(_, job)| job));
        let enough = self.ready.len() >= BATCH_SIZE || (idle && !self.ready.is_empty());
        let size = self.ready.len().min(BATCH_SIZE);
        (enough && self.paused_until <= now).then(|| self.ready.drain(..size).collect())
    }

    /// When a request that may not be sent now may be. `None` if the queue waits only for batches in flight.
    fn wake(&self, now: Instant) -> Option<Instant> {
        let paused = Some(self.paused_until).filter(|_| !self.ready.is_empty());
        self.waiting.iter().map(|(at, _)| *at).chain(paused).filter(|at| *at > now).min()
    }

    fn drain(&mut self) -> impl Iterator<Item = Job<K>> {
        self.ready.drain(..).chain(self.waiting.drain(..).map(|(_, job)| job))
    }
}

impl BatchReader<'_> {
    /// Sends a GET request for each key. Calls `accept` with each answer, or with the error if retries do not help or the
    /// time is over. `accept` returns the URL of the key's next page, relative to the version, to read that too.
    pub(super) async fn read<K: Copy, T: DeserializeOwned>(
        &self,
        requests: impl IntoIterator<Item = (K, String)>,
        mut accept: impl FnMut(K, Result<T, GraphError>) -> Option<String>,
    ) {
        let job = |(key, url)| Job { key, url, retries: 0 };
        let ready = requests.into_iter().map(job).collect();
        let mut queue = Queue { ready, waiting: Vec::new(), paused_until: Instant::now() };
        let mut in_flight = FuturesUnordered::new();
        loop {
            let now = Instant::now();
            if now >= self.deadline {
                for job in queue.drain() {
                    accept(job.key, Err(GraphError::Timeout));
                }
            }
            while in_flight.len() < CONCURRENT_BATCHES
                && let Some(jobs) = queue.next_batch(now, in_flight.is_empty())
            {
                in_flight.push(self.send(jobs));
            }
            let wake = queue.wake(now);
            let answers = tokio::select! {
                Some(answers) = in_flight.next() => answers,
                () = sleep_until(wake.unwrap_or(now)), if wake.is_some() => continue,
                else => break,
            };
            for (job, answer) in answers {
                match answer {
                    Err(error) if self.retry(&mut queue, &job, &error) => {}
                    answer => {
                        let next = accept(job.key, answer);
                        queue.ready.extend(next.map(|url| Job { key: job.key, url, retries: 0 }));
                    }
                }
            }
        }
    }

    /// Queues the request again, if a retry may help and is before the deadline. Returns whether it did.
    fn retry<K: Copy>(&self, queue: &mut Queue<K>, job: &Job<K>, error: &GraphError) -> bool {
        if !error.is_transient() || job.retries >= MAX_RETRIES {
            return false;
        }
        let now = Instant::now();
        let delay = backoff().build().nth(job.retries).and_then(|delay| retry_delay(delay, error));
        let Some(at) = delay.and_then(|delay| now.checked_add(delay)).filter(|at| *at < self.deadline) else {
            return false;
        };
        if let Some(pause) = error.retry_after() {
            queue.paused_until = queue.paused_until.max(now + pause);
        }
        queue.waiting.push((at, Job { key: job.key, url: job.url.clone(), retries: job.retries + 1 }));
        self.graph.metrics.graph_retries.add(self.read);
        tracing::debug!(code = error.code(), request_id = error.request_id(), "retrying Graph request of a batch");
        true
    }

    /// Sends one batch. Returns each request with its answer.
    async fn send<K, T: DeserializeOwned>(&self, jobs: Vec<Job<K>>) -> Vec<(Job<K>, Result<T, GraphError>)> {
        let urls: Vec<&str> = jobs.iter().map(|job| job.url.as_str()).collect();
        let call = async { timeout_at(self.deadline, self.call(&urls)).await.map_err(|_| GraphError::Timeout)? };
        let outcome = Step::GraphBatch.run(call, GraphError::code).await;
        let answers = outcome.unwrap_or_else(|error| urls.iter().map(|_| Err(error.clone())).collect());
        for answer in &answers {
            self.graph.count(self.read, answer);
        }
        jobs.into_iter().zip(answers).collect()
    }

    /// Sends one batch. Returns one answer for each URL, in their order.
    async fn call<T: DeserializeOwned>(&self, urls: &[&str]) -> Result<Vec<Result<T, GraphError>>, GraphError> {
        let priority = Priority::Low.as_str();
        let requests = urls.iter().enumerate().map(|(index, url)| wire::BatchRequestItem {
            id: index.to_string(),
            method: "GET",
            url,
            headers: BTreeMap::from([(Priority::HEADER, priority)]),
        });
        let batch = wire::BatchRequest { requests: requests.collect() };
        let body = serde_json::to_vec(&batch).map_err(|_| GraphError::Malformed)?;
        let request_id = uuid::Uuid::new_v4().to_string();
        let request = self
            .graph
            .http
            .post(self.graph.at("$batch"))
            .timeout(BATCH_TIMEOUT)
            .bearer_auth(self.token.expose_secret())
            .header("client-request-id", &request_id)
            .header("content-type", "application/json")
            .header(Priority::HEADER, priority)
            .body(body);
        let response = self.graph.http.send(request).await?;
        if !response.status.is_success() {
            return Err(GraphError::from_response(&response, &request_id));
        }
        let batch: wire::BatchResponse<'_> = parse(&response.body)?;
        let mut answers: Vec<Option<Result<T, GraphError>>> = urls.iter().map(|_| None).collect();
        for item in batch.responses {
            let index: Option<usize> = item.id.parse().ok();
            if let Some(slot) = index.and_then(|index| answers.get_mut(index)) {
                let twice = slot.is_some();
                *slot = Some(if twice { Err(GraphError::Malformed) } else { answer(&item, &request_id) });
            }
        }
        Ok(answers.into_iter().map(|answer| answer.unwrap_or(Err(GraphError::MissingItem))).collect())
    }
}

fn answer<T: DeserializeOwned>(item: &wire::BatchResponseItem<'_>, request_id: &str) -> Result<T, GraphError> {
    match item.status {
        200 => parse(item.body.map_or(&[][..], |body| body.get().as_bytes())),
        status => Err(GraphError::from_status(status, |name| item.header(name), request_id)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jobs(count: usize) -> impl Iterator<Item = Job<usize>> {
        (0..count).map(|key| Job { key, url: String::new(), retries: 0 })
    }

    #[test]
    fn due_request_waits_for_a_full_batch_without_waking() {
        let now = Instant::now();
        let waiting = jobs(1).map(|job| (now, job)).collect();
        let mut queue = Queue { ready: jobs(18).collect(), waiting, paused_until: now };
        assert_eq!(queue.wake(now), None, "sleeping until a time that is over would loop");
        assert!(queue.next_batch(now, false).is_none(), "19 requests wait for the answer of another batch");
        queue.ready.extend(jobs(2));
        assert_eq!(queue.next_batch(now, false).map(|batch| batch.len()), Some(BATCH_SIZE));
        assert_eq!(queue.next_batch(now, true).map(|batch| batch.len()), Some(1), "nothing else is in flight");
    }

    #[test]
    fn pause_holds_all_requests_until_it_is_over() {
        let now = Instant::now();
        let later = now + Duration::from_secs(2);
        let mut queue = Queue { ready: jobs(20).collect(), waiting: Vec::new(), paused_until: later };
        assert!(queue.next_batch(now, true).is_none());
        assert_eq!(queue.wake(now), Some(later));
        assert!(queue.next_batch(later, true).is_some());
    }
}
