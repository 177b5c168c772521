//! `GET /syncs/failed`: sign-ins that failed before the user was known, for operators.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Html;
use chrono::{DateTime, Utc};

use crate::db::{DbError, FailedSignInFilter, FailedSignInRow, Page};
use crate::http::error::{ErrorCode, WebError};
use crate::http::extract::{Operator, Params};
use crate::http::layout::{Layout, html};
use crate::http::list_query::{List, ListQuery, Pager};
use crate::http::query::QueryError;
use crate::http::state::App;

/// The list, newest first.
pub(in crate::http) struct FailedSignIns;

impl List for FailedSignIns {
    const NAMES: &'static [&'static str] = &["code", "request", "after", "before", "limit"];
    const UUIDS: bool = true;

    fn check(name: &'static str, value: &str) -> Result<(), QueryError> {
        if name == "code" && !REASONS.iter().any(|reason| reason.code.as_str() == value) {
            return Err(QueryError::Value { name, allowed: "a reason that the page offers, such as canceled" });
        }
        Ok(())
    }
}

/// Why a sign-in failed, for operators.
struct Reason {
    /// The error code. Records of rejected ID tokens have a more specific one that begins with it.
    code: ErrorCode,
    what: &'static str,
    remedy: &'static str,
}

const fn reason(code: ErrorCode, what: &'static str, remedy: &'static str) -> Reason {
    Reason { code, what, remedy }
}

/// All recorded reasons, in the order of the filter.
const REASONS: &[Reason] = &[
    reason(ErrorCode::Canceled, "The user canceled at Microsoft", "Nothing to do."),
    reason(
        ErrorCode::ConsentDeclined,
        "The user canceled, or did not accept the permissions",
        "To stop Microsoft from asking users, grant admin consent in Enterprise applications > Permissions.",
    ),
    reason(
        ErrorCode::ConsentRequired,
        "Consent is missing",
        "Grant admin consent in Enterprise applications > Permissions.",
    ),
    reason(
        ErrorCode::NotAssigned,
        "The user is not assigned to the application",
        "Assign the user or one of their groups in Enterprise applications > Users and groups.",
    ),
    reason(
        ErrorCode::InteractionRequired,
        "Microsoft requires another step",
        "A Conditional Access policy requires it. If users cannot complete it, see the sign-in logs in Entra.",
    ),
    reason(
        ErrorCode::EntraRefused,
        "Microsoft refused the sign-in",
        "Look up the Entra error. The sign-in logs in Entra name the user and the policy.",
    ),
    reason(
        ErrorCode::TenantNotAllowed,
        "The account is of a tenant that is not allowed",
        "If its users may sign in, add the tenant to entra.allowed_tenants.",
    ),
    reason(
        ErrorCode::CodeMissing,
        "Microsoft sent no authorization code",
        "If it repeats, search the log for the request ID.",
    ),
    reason(
        ErrorCode::CodeRefused,
        "Microsoft refused the authorization code",
        "Usually a page that was loaded twice. If it repeats, search the log for the request ID.",
    ),
    reason(
        ErrorCode::AppRefused,
        "Microsoft refused the app's credentials or scopes",
        "Run entraway check: it names the setting and the remedy.",
    ),
    reason(
        ErrorCode::CredentialUnusable,
        "The app's credentials cannot be read",
        "Run entraway check: it names the file and the remedy.",
    ),
    reason(
        ErrorCode::EntraUnavailable,
        "Microsoft was not available",
        "If it repeats, check the network to Microsoft and Microsoft's service health.",
    ),
    reason(
        ErrorCode::IdToken,
        "The ID token was rejected",
        "Check the clock of the server and entra.tenant. The log names the claim, by request ID.",
    ),
];

#[derive(Template)]
#[template(path = "failed_sign_ins.html")]
struct FailedSignInsPage {
    layout: Layout,
    now: DateTime<Utc>,
    query: ListQuery<FailedSignIns>,
    failed: Vec<FailedSignInRow>,
    pager: Pager,
}

/// Only operators see these records, since they belong to no known user.
pub(in crate::http) async fn page(
    State(app): State<Arc<App>>,
    Operator(current): Operator,
    Params(query): Params<ListQuery<FailedSignIns>>,
) -> Result<Html<String>, WebError> {
    let listed = read(&app, &query).await?;
    let pager = query.pager(&listed);
    let (layout, now) = (Layout::for_user(&app, &current, "/syncs"), current.now);
    html(&FailedSignInsPage { layout, now, query, failed: listed.rows, pager })
}

/// Reads the list.
pub(in crate::http) async fn read(
    app: &App,
    query: &ListQuery<FailedSignIns>,
) -> Result<Page<FailedSignInRow>, DbError> {
    let filter = |name| query.filter(name).map(ToOwned::to_owned);
    let filter = FailedSignInFilter { code: filter("code"), request_id: filter("request") };
    app.db.failed_sign_ins(&filter, &query.request).await
}

impl FailedSignInsPage {
    fn reasons() -> &'static [Reason] {
        REASONS
    }

    fn chosen(&self, reason: &Reason) -> bool {
        self.query.filter("code") == Some(reason.code.as_str())
    }

    fn reason(row: &FailedSignInRow) -> Option<&'static Reason> {
        REASONS.iter().find(|reason| row.code.starts_with(reason.code.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observability::metrics::{Label as _, SignIn};

    #[test]
    fn recorded_reasons_are_sign_in_outcomes_of_metrics() {
        for reason in REASONS {
            assert!(SignIn::named(reason.code.as_str()).is_some(), "{}", reason.code);
        }
    }
}
