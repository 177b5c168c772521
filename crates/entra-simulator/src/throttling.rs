//! Graph's throttling headers: <https://learn.microsoft.com/graph/throttling-limits#identity-and-access-service-limits>.

use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::Response;

use crate::call::Params;
use crate::request_log::Endpoint;

/// Cost of a request in resource units: a base per endpoint, one less with `$select`, one less with `$top` below 20, but
/// at least one.
pub(crate) fn resource_units(endpoint: Endpoint, uri: &Uri) -> u64 {
    let base: u64 = match endpoint {
        Endpoint::MemberOf => 2,
        Endpoint::GroupMembers if uri.path().ends_with("/transitiveMembers") => 5,
        Endpoint::GroupMembers => 3,
        _ => 1,
    };
    let params = Params::parse(uri.query().unwrap_or_default().as_bytes());
    let few = params.get("$top").and_then(|top| top.parse::<u64>().ok()).is_some_and(|top| top < 20);
    let saved = u64::from(params.get("$select").is_some()) + u64::from(few);
    base.saturating_sub(saved).max(1)
}

/// Adds the cost, and to a 429 the limit that was exceeded.
pub(crate) fn mark(response: &mut Response, cost: u64) {
    let throttled = response.status() == StatusCode::TOO_MANY_REQUESTS;
    let headers = response.headers_mut();
    headers.insert("x-ms-resource-unit", HeaderValue::from(cost));
    if throttled {
        headers.insert("x-ms-throttle-limit-percentage", HeaderValue::from_static("1.0"));
        headers.insert("x-ms-throttle-scope", HeaderValue::from_static("Tenant_Application/ReadWrite"));
        headers.insert("x-ms-throttle-information", HeaderValue::from_static("ResourceUnitLimitExceeded"));
    }
}
