//! How much is too much: the sizes of a request, sign-ins at the same time, requests from one address, sign-ins of one user.

mod rate;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use governor::Quota;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::App;
use super::error::WebError;
use super::middleware::ClientAddress;
use crate::config::Config;
use crate::domain::Identity;
use crate::util::clock::Clock;
use rate::Rate;

/// Of a path with its query. What Entra sends a browser back with is a code and a state, some 2 KB; proxies allow 8 KB.
const LONGEST_TARGET: usize = 8 * 1024;
/// Of all headers together. nginx lets through 32 KB, and asks here with the headers that another application was sent.
const LONGEST_HEADERS: usize = 32 * 1024;
/// Of all cookies together. Ours are 6 KB at the most, the others are those of other applications on the same host.
const LONGEST_COOKIES: usize = 16 * 1024;
/// No route reads one. What has no length that it tells beforehand is bounded where it is read, and nothing reads it.
pub(super) const LONGEST_BODY: usize = 16 * 1024;

/// Failed sign-ins of unknown users that are recorded per client address and hour: anybody can cause them, without an
/// account.
const RECORDS_PER_ADDRESS: u32 = 10;
/// The same for all addresses together, in each replica: at most 432,000 rows in 90 days.
const RECORDS: u32 = 200;

/// What is counted.
pub(super) struct Limits {
    sign_ins: Semaphore,
    per_address: Option<Rate>,
    per_user: Option<Rate>,
    records_per_address: Option<Rate>,
    records: Rate,
}

impl Limits {
    pub(super) fn new(config: &Config, clock: &Clock) -> Self {
        let known = config.server.knows_client_addresses();
        let quota = config.limits.sign_ins_per_address.filter(|_| known);
        let a_minute =
            |quota: Option<NonZeroU32>| quota.map(|quota| Rate::new(Quota::per_minute(quota), clock.clone()));
        let an_hour = |records: u32| {
            let quota = NonZeroU32::new(records).map_or(Quota::per_hour(NonZeroU32::MIN), Quota::per_hour);
            Rate::new(quota, clock.clone())
        };
        Self {
            sign_ins: Semaphore::new(config.limits.concurrent_sign_ins),
            per_address: a_minute(quota),
            per_user: a_minute(config.limits.sign_ins_per_user),
            records_per_address: known.then(|| an_hour(RECORDS_PER_ADDRESS)),
            records: an_hour(RECORDS),
        }
    }

    /// Whether one more failed sign-in from this address may be recorded; it counts if so.
    pub(super) fn may_record(&self, address: Option<IpAddr>) -> bool {
        // The address first, so that one address does not take what all addresses share.
        let own = match (&self.records_per_address, address) {
            (Some(limit), Some(address)) => limit.count_address(address, "").is_ok(),
            _ => true,
        };
        own && self.records.count(&()).is_ok()
    }

    /// Counts a sign-in of an authenticated user. Each writes a record and a session, so that one account
    /// could fill the tables.
    pub(super) fn count_user(&self, identity: Identity) -> Result<(), WebError> {
        let counted = self.per_user.as_ref().map_or(Ok(()), |rate| rate.count(&identity));
        counted.map_err(|seconds| WebError::TooManySignInsOfUser { seconds })
    }

    /// The right to finish a sign-in, until it is dropped.
    pub(super) fn enter(&self) -> Result<SemaphorePermit<'_>, WebError> {
        self.sign_ins.try_acquire().map_err(|_| WebError::TooManySignIns)
    }
}

/// Refuses what is larger than anything that belongs here, before anybody looks at it.
pub(super) async fn sizes(request: Request, next: Next) -> Result<Response, WebError> {
    match too_large(&request) {
        Some(error) => Err(error),
        None => Ok(next.run(request).await),
    }
}

/// What of a request is larger than anything that belongs here.
pub(super) fn too_large<B: HttpBody>(request: &http::Request<B>) -> Option<WebError> {
    let uri = request.uri();
    if uri.path().len() + uri.query().map_or(0, |query| 1 + query.len()) > LONGEST_TARGET {
        return Some(WebError::TargetTooLong);
    }
    let headers = request.headers();
    if headers.get_all(COOKIE).iter().map(HeaderValue::len).sum::<usize>() > LONGEST_COOKIES {
        return Some(WebError::CookiesTooLong);
    }
    if written(headers) > LONGEST_HEADERS {
        return Some(WebError::HeadersTooLong);
    }
    (request.body().size_hint().lower() > LONGEST_BODY as u64).then_some(WebError::BodyTooLong)
}

/// As they stood in the request: each with a colon, a blank and a line's end.
fn written(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Refuses those who come too often from one address to one route.
pub(super) async fn per_address(
    State(app): State<Arc<App>>,
    request: Request,
    next: Next,
) -> Result<Response, WebError> {
    let client = request.extensions().get::<ClientAddress>();
    if let (Some(limit), Some(ClientAddress { address: Some(address), passed_over })) =
        (&app.limits.per_address, client)
        && let Err(seconds) = limit.count_address(*address, request.uri().path())
    {
        return Err(WebError::TooManyRequests { seconds, passed_over: *passed_over });
    }
    Ok(next.run(request).await)
}
