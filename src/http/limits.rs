//! Limits: request size, concurrent sign-ins, requests per client address, sign-ins per user.

mod rate;

use std::net::IpAddr;
use std::num::NonZeroU32;

use axum::body::HttpBody;
use governor::Quota;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::WebError;
use crate::config::Config;
use crate::domain::Identity;
use crate::util::clock::Clock;
use rate::KeyedLimit;

/// Maximum length of path and query. Entra's redirect is about 2 KB (code and state); proxies allow 8 KB.
const MAX_TARGET: usize = 8 * 1024;
/// Maximum size of all headers. nginx allows 32 KB, and forward auth receives the headers of another application.
const MAX_HEADERS: usize = 32 * 1024;
/// Maximum size of all cookies. Ours take at most 6 KB; the others belong to other applications on the host.
const MAX_COOKIES: usize = 16 * 1024;
/// Maximum size of a body. No route reads bodies. A body without a declared length is limited where it is read.
pub(super) const MAX_BODY: usize = 16 * 1024;

/// Maximum number of recorded failed sign-ins of unknown users per client address and hour. They can be caused without
/// an account.
const MAX_RECORDS_PER_ADDRESS: u32 = 10;
/// The same for all addresses, in each replica: at most 432,000 rows in 90 days.
const MAX_RECORDS: u32 = 200;

/// State of the limits.
pub(super) struct RequestLimits {
    sign_ins: Semaphore,
    per_address: Option<KeyedLimit>,
    per_user: Option<KeyedLimit>,
    records_per_address: Option<KeyedLimit>,
    records: KeyedLimit,
}

impl RequestLimits {
    pub(super) fn new(config: &Config, clock: &Clock) -> Self {
        let known = config.server.knows_client_addresses();
        let quota = config.limits.sign_ins_per_address.filter(|_| known);
        let per_minute =
            |quota: Option<NonZeroU32>| quota.map(|quota| KeyedLimit::new(Quota::per_minute(quota), clock.clone()));
        let per_hour = |records: u32| {
            let quota = NonZeroU32::new(records).map_or(Quota::per_hour(NonZeroU32::MIN), Quota::per_hour);
            KeyedLimit::new(quota, clock.clone())
        };
        Self {
            sign_ins: Semaphore::new(config.limits.concurrent_sign_ins),
            per_address: per_minute(quota),
            per_user: per_minute(config.limits.sign_ins_per_user),
            records_per_address: known.then(|| per_hour(MAX_RECORDS_PER_ADDRESS)),
            records: per_hour(MAX_RECORDS),
        }
    }

    /// Whether a failed sign-in from this address may be recorded. If so, it counts.
    pub(super) fn may_record(&self, address: Option<IpAddr>) -> bool {
        // The address first, so that one address cannot use up the shared limit.
        let own = match (&self.records_per_address, address) {
            (Some(limit), Some(address)) => limit.count_address(address, "").is_ok(),
            _ => true,
        };
        own && self.records.count(&()).is_ok()
    }

    /// Counts a request from an address. If the limit is exceeded, returns the seconds until the next one is allowed.
    pub(super) fn count_request(&self, address: IpAddr, path: &str) -> Result<(), u64> {
        self.per_address.as_ref().map_or(Ok(()), |limit| limit.count_address(address, path))
    }

    /// Counts a sign-in of an authenticated user. Each writes a record and a session, so without a limit one account
    /// could fill the tables.
    pub(super) fn count_user(&self, identity: Identity) -> Result<(), WebError> {
        let counted = self.per_user.as_ref().map_or(Ok(()), |rate| rate.count(&identity));
        counted.map_err(|seconds| WebError::TooManySignInsOfUser { seconds })
    }

    /// Permit to finish a sign-in, released on drop.
    pub(super) fn sign_in_permit(&self) -> Result<SemaphorePermit<'_>, WebError> {
        self.sign_ins.try_acquire().map_err(|_| WebError::TooManySignIns)
    }
}

/// The error for a request that is too large.
pub(super) fn too_large<B: HttpBody>(request: &http::Request<B>) -> Option<WebError> {
    let uri = request.uri();
    if uri.path().len() + uri.query().map_or(0, |query| 1 + query.len()) > MAX_TARGET {
        return Some(WebError::TargetTooLong);
    }
    let headers = request.headers();
    if headers.get_all(COOKIE).iter().map(HeaderValue::len).sum::<usize>() > MAX_COOKIES {
        return Some(WebError::CookiesTooLong);
    }
    if encoded_len(headers) > MAX_HEADERS {
        return Some(WebError::HeadersTooLong);
    }
    (request.body().size_hint().lower() > MAX_BODY as u64).then_some(WebError::BodyTooLong)
}

/// Size of the headers in HTTP/1.1, with `: ` and CRLF.
fn encoded_len(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}
