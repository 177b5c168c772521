//! Records sign-ins that failed before the user was known: canceled at Microsoft, not assigned, no valid token.

use std::net::IpAddr;

use crate::db::FailedSignIn;
use crate::http::error::WebError;
use crate::http::middleware::RequestId;
use crate::http::state::App;
use crate::util::sanitize::error_chain;

/// Records a failure with its code, the time and the request ID, and nothing about the user or the client. `aadsts` is
/// the number of Entra's error. Beyond the limits of `RequestLimits::may_record`, only the log and the metrics show it.
pub(super) async fn record(
    app: &App,
    error: &WebError,
    aadsts: Option<String>,
    request_id: &RequestId,
    client: Option<IpAddr>,
) {
    if !app.limits.may_record(client) {
        return;
    }
    let failed = FailedSignIn {
        failed_at: app.clock.now(),
        code: error.code(),
        // Anyone can put a number into the address. Real numbers are no longer than this.
        aadsts: aadsts.filter(|number| number.len() <= 10),
        request_id: request_id.0.to_string(),
    };
    if let Err(error) = app.db.record_failed_sign_in(&failed).await {
        tracing::warn!(error = %error_chain(&error), "failed to record a failed sign-in");
    }
}
