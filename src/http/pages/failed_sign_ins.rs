//! `GET /syncs/failed`: sign-ins that failed before the user was known, for operators.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Html;
use chrono::{DateTime, Utc};
use http::HeaderMap;

use crate::db::{FailedSignInFilter, FailedSignInRow, Page};
use crate::http::App;
use crate::http::current_user::CurrentUser;
use crate::http::error::WebError;
use crate::http::layout::Layout;
use crate::http::list_query::{ListQuery, Pager};
use crate::http::query::QueryError;

/// The list's own filters.
const FILTERS: [&str; 2] = ["code", "request"];

/// Why a sign-in failed, for operators.
struct Reason {
    /// The error code, or its prefix.
    code: &'static str,
    what: &'static str,
    remedy: &'static str,
}

const fn reason(code: &'static str, what: &'static str, remedy: &'static str) -> Reason {
    Reason { code, what, remedy }
}

/// All recorded reasons, in the order of the filter.
const REASONS: &[Reason] = &[
    reason("canceled", "The user canceled at Microsoft", "Nothing to do."),
    reason(
        "consent_declined",
        "The user canceled, or did not accept the permissions",
        "To stop Microsoft from asking users, grant admin consent in Enterprise applications > Permissions.",
    ),
    reason("consent_required", "Consent is missing", "Grant admin consent in Enterprise applications > Permissions."),
    reason(
        "not_assigned",
        "The user is not assigned to the application",
        "Assign the user or one of their groups in Enterprise applications > Users and groups.",
    ),
    reason(
        "interaction_required",
        "Microsoft requires another step",
        "A Conditional Access policy requires it. If users cannot complete it, see the sign-in logs in Entra.",
    ),
    reason(
        "entra_refused",
        "Microsoft refused the sign-in",
        "Look up the Entra error. The sign-in logs in Entra name the user and the policy.",
    ),
    reason(
        "tenant_not_allowed",
        "The account is of a tenant that is not allowed",
        "If its users may sign in, add the tenant to entra.allowed_tenants.",
    ),
    reason("code_missing", "Microsoft sent no authorization code", "If it repeats, search the log for the request ID."),
    reason(
        "code_refused",
        "Microsoft refused the authorization code",
        "Usually a page that was loaded twice. If it repeats, search the log for the request ID.",
    ),
    reason(
        "app_refused",
        "Microsoft refused the app's credentials or scopes",
        "Run entraway check: it names the setting and the remedy.",
    ),
    reason(
        "credential_unusable",
        "The app's credentials cannot be read",
        "Run entraway check: it names the file and the remedy.",
    ),
    reason(
        "entra_unavailable",
        "Microsoft was not available",
        "If it repeats, check the network to Microsoft and Microsoft's service health.",
    ),
    reason(
        "id_token",
        "The ID token was rejected",
        "Check the clock of the server and entra.tenant. The log names the claim, by request ID.",
    ),
];

#[derive(Template)]
#[template(path = "failed_sign_ins.html")]
struct FailedSignInsPage {
    layout: Layout,
    now: DateTime<Utc>,
    query: ListQuery,
    failed: Vec<FailedSignInRow>,
    pager: Pager,
}

pub(in crate::http) async fn page(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    let (query, listed) = read(&app, &current, query.as_deref()).await?;
    let pager = query.pager(&listed);
    let (layout, now) = (Layout::for_user(&app, &current, "/syncs"), current.now);
    super::page(&FailedSignInsPage { layout, now, query, failed: listed.rows, pager })
}

/// Reads the list. Only operators see these records, since they belong to no known user.
pub(in crate::http) async fn read(
    app: &App,
    current: &CurrentUser,
    query: Option<&str>,
) -> Result<(ListQuery, Page<FailedSignInRow>), WebError> {
    if !current.permissions.operator {
        return Err(WebError::NotFound);
    }
    let query = ListQuery::read(query, &FILTERS)?;
    let code = query.filter("code");
    if code.is_some_and(|code| !REASONS.iter().any(|reason| reason.code == code)) {
        return Err(
            QueryError::Value { name: "code", allowed: "a reason that the page offers, such as canceled" }.into()
        );
    }
    let filter = FailedSignInFilter {
        code: code.map(ToOwned::to_owned),
        request_id: query.filter("request").map(ToOwned::to_owned),
    };
    let listed = app.db.failed_sign_ins(&filter, &query.sync_page_request()?).await?;
    Ok((query, listed))
}

impl FailedSignInsPage {
    fn reasons() -> &'static [Reason] {
        REASONS
    }

    fn chosen(&self, reason: &Reason) -> bool {
        self.query.filter("code") == Some(reason.code)
    }

    fn reason(row: &FailedSignInRow) -> Option<&'static Reason> {
        REASONS.iter().find(|reason| row.code.starts_with(reason.code))
    }
}
