//! `GET /settings`: the effective settings with their origins, and health checks.

mod troubleshooting;

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Html;

use crate::check::{Finding, Severity};
use crate::config::{Config, Setting};
use crate::http::checks::CheckResult;
use crate::http::error::WebError;
use crate::http::extract::{Operator, Params};
use crate::http::formatting::pluralize;
use crate::http::layout::{Layout, html};
use crate::http::state::App;

use troubleshooting::{Entry, troubleshooting};

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
            failures => format!("{} failed.", pluralize(failures, "check")),
        };
        if warnings == 0 { failed } else { format!("{failed} {}.", pluralize(warnings, "warning")) }
    }

    /// The badge of a finding: CSS class and text.
    fn badge(finding: &Finding) -> (&'static str, &'static str) {
        match finding.level {
            Severity::Ok => ("good", "ok"),
            Severity::Warn => ("warn", "warning"),
            Severity::Fail => ("bad", "failed"),
        }
    }
}

/// The settings by section, in their order.
fn sections(config: &Config) -> Vec<(&str, Vec<&Setting>)> {
    let of_one = config.settings.chunk_by(|one, next| one.section() == next.section());
    of_one.filter_map(|settings| Some((settings.first()?.section(), settings.iter().collect()))).collect()
}

pub(in crate::http) async fn page(
    State(app): State<Arc<App>>,
    Operator(current): Operator,
    Params(()): Params<()>,
) -> Result<Html<String>, WebError> {
    let checks = app.checks.findings(&app.config, &app.db, app.cache.as_ref()).await;
    let (troubleshooting, sections) = (troubleshooting(&app.config), sections(&app.config));
    html(&SettingsPage { layout: Layout::for_user(&app, &current, "/settings"), checks, troubleshooting, sections })
}
