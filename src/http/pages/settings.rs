//! `GET /settings`: the effective settings with their origins, and health checks.

mod troubleshooting;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Html;
use chrono::{DateTime, Utc};
use http::HeaderMap;

use super::page as write;
use crate::check::{self, Context, Finding, Severity};
use crate::config::{Config, Setting};
use crate::graph::{self, Graph};
use crate::http::App;
use crate::http::current_user::CurrentUser;
use crate::http::error::WebError;
use crate::http::layout::Layout;
use crate::http::query;
use crate::oidc::Entra;
use crate::util::clock::Clock;
use crate::util::http_client::HttpClient;
use crate::util::single_flight::SingleFlight;

use troubleshooting::{Entry, troubleshooting};

/// How long a result is shared.
const FINDINGS_TTL: Duration = Duration::from_secs(15);

/// Health checks of the settings page.
pub(in crate::http) struct Checks {
    http: HttpClient,
    last: SingleFlight<CheckResult, Infallible>,
}

/// Findings, and when they were made.
#[derive(Clone)]
struct CheckResult {
    at: DateTime<Utc>,
    findings: Arc<Vec<Finding>>,
}

impl Checks {
    /// `http` is for Entra and Graph.
    pub(in crate::http) fn new(http: HttpClient, clock: Clock) -> Self {
        Self { http, last: SingleFlight::new(clock) }
    }

    /// The last findings or new ones. Concurrent requests share one run.
    async fn findings(&self, app: &App) -> CheckResult {
        let now = app.clock.moment();
        let read = async || Ok(CheckResult { at: app.clock.now(), findings: Arc::new(self.run(app).await) });
        let Ok(result) = self.last.get(|at, _| at.age(now) < FINDINGS_TTL, Duration::ZERO, read).await;
        result
    }

    async fn run(&self, app: &App) -> Vec<Finding> {
        let config = &app.config;
        let redirect_uri = config.server.public_url.join("/sso/callback");
        // A separate client: the one of the sign-ins would answer from memory, and sign-ins would wait while keys are
        // fetched.
        let entra = Entra::new(self.http.clone(), app.clock.clone(), config.entra.clone(), redirect_uri);
        let graph = Graph::new(self.http.clone(), config.entra.graph_url.clone(), graph::TOTAL_BUDGET);
        let parts =
            Context { config, db: &app.db, entra: &entra, graph: &graph, cache: app.cache.as_ref(), clock: &app.clock };
        check::run(&parts).await
    }
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage<'a> {
    layout: Layout,
    checks: CheckResult,
    troubleshooting: Vec<Entry>,
    sections: Vec<(&'a str, Vec<&'a Setting>)>,
}

impl SettingsPage<'_> {
    /// Summary of the findings. A warning can mean that a check gave no result.
    fn summary(&self) -> String {
        let count = |level| self.checks.findings.iter().filter(|finding| finding.level == level).count();
        let (failures, warnings) = (count(Severity::Fail), count(Severity::Warn));
        let failed = match failures {
            0 if warnings == 0 => return "All checks passed: users can sign in.".to_owned(),
            0 => "No checks failed.".to_owned(),
            1 => "1 check failed.".to_owned(),
            many => format!("{many} checks failed."),
        };
        match warnings {
            0 => failed,
            1 => format!("{failed} 1 warning."),
            many => format!("{failed} {many} warnings."),
        }
    }

    fn badge(finding: &Finding) -> &'static str {
        match finding.level {
            Severity::Ok => "good",
            Severity::Warn => "warn",
            Severity::Fail => "bad",
        }
    }

    fn level(finding: &Finding) -> &'static str {
        match finding.level {
            Severity::Ok => "ok",
            Severity::Warn => "warning",
            Severity::Fail => "failed",
        }
    }
}

/// The settings by section, in their order.
fn sections(config: &Config) -> Vec<(&str, Vec<&Setting>)> {
    let of_one = config.settings.chunk_by(|one, next| one.section() == next.section());
    of_one.filter_map(|settings| Some((settings.first()?.section(), settings.iter().collect()))).collect()
}

/// For operators. Other users get 404, so that the page is not revealed.
pub(in crate::http) async fn page(
    State(app): State<Arc<App>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Html<String>, WebError> {
    let current = CurrentUser::of(&app, &headers).await?;
    if !current.permissions.operator {
        return Err(WebError::NotFound);
    }
    query::none(query.as_deref())?;
    let checks = app.checks.findings(&app).await;
    let (troubleshooting, sections) = (troubleshooting(&app.config), sections(&app.config));
    write(&SettingsPage { layout: Layout::for_user(&app, &current, "/settings"), checks, troubleshooting, sections })
}
