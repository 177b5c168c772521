//! Middleware around every route.

mod access_log;
mod client_ip;
mod errors;
mod rate_limit;
mod request_id;
mod security_headers;
mod size_limits;

pub(super) use access_log::{access_log, is_debug_enabled};
#[cfg(any(test, feature = "fuzzing"))]
pub(super) use client_ip::forwarded_for;
pub(super) use client_ip::{ClientIp, FromProxy, client_ip};
pub(super) use errors::errors;
pub(super) use rate_limit::rate_limit;
#[cfg(any(test, feature = "fuzzing"))]
pub(super) use request_id::sent_request_id;
pub(super) use request_id::{RequestId, X_REQUEST_ID, request_id, request_id_for};
pub(super) use security_headers::{restrict_to_same_origin, security_headers};
pub(super) use size_limits::size_limits;
