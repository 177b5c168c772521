//! `GET /api/audit/export`: all events of a filter as CSV or JSON lines. Read and sent page by page, so that memory does
//! not depend on their number.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use http::HeaderValue;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde_json::Value;

use super::{check_filter, filter};
use crate::db::{AuditFilter, AuditRow, Cursor, DbError, Page, PagePosition, PageRequest};
use crate::http::error::WebError;
use crate::http::extract::{Operator, Params};
use crate::http::list_query::{List, ListQuery};
use crate::http::query::QueryError;
use crate::http::state::App;
use crate::util::sanitize::error_chain;

/// Number of events per query.
const PAGE: usize = 1_000;

/// The columns of the CSV file: the keys of [`AuditRow`] as JSON.
const COLUMNS: [&str; 21] = [
    "event_id",
    "at",
    "action",
    "result",
    "user_id",
    "object_id",
    "user_name",
    "target_kind",
    "target_id",
    "target_name",
    "target_exists",
    "cause",
    "group_id",
    "group_name",
    "actor",
    "actor_id",
    "actor_name",
    "run_id",
    "before",
    "after",
    "evidence",
];

/// The export: the filters of the page, and the format.
pub(in crate::http) struct AuditExport;

impl List for AuditExport {
    const NAMES: &'static [&'static str] = &["format", "user", "team", "organization", "action", "from", "to", "run"];

    fn check(name: &'static str, value: &str) -> Result<(), QueryError> {
        match (name, value) {
            ("format", "csv" | "jsonl") => Ok(()),
            ("format", _) => Err(QueryError::Value { name, allowed: "csv, jsonl" }),
            _ => check_filter(name, value),
        }
    }
}

#[derive(Clone, Copy)]
enum Format {
    Csv,
    JsonLines,
}

/// What the export reads or sends next.
enum Step {
    Rows(Page<AuditRow>),
    Read(Cursor),
}

pub(in crate::http) async fn export(
    State(app): State<Arc<App>>,
    _: Operator,
    Params(query): Params<ListQuery<AuditExport>>,
) -> Result<Response, WebError> {
    let format = if query.filter("format") == Some("csv") { Format::Csv } else { Format::JsonLines };
    let filter = filter(&app, &query).await?;
    // Read the first page before the response starts, so that a failure is an error response.
    let first = read(&app, &filter, PagePosition::First).await?;
    let rows = stream::try_unfold(Some(Step::Rows(first)), move |step| {
        let (app, filter) = (app.clone(), filter.clone());
        async move {
            let page = match step {
                None => return Ok(None),
                Some(Step::Rows(page)) => page,
                // The client notices: the response ends before its last chunk.
                Some(Step::Read(cursor)) => {
                    read(&app, &filter, PagePosition::After(cursor)).await.inspect_err(|error| {
                        tracing::error!(error = error_chain(error), "failed to continue an audit export");
                    })?
                }
            };
            Ok::<_, DbError>(Some((format.lines(&page.rows), page.next.map(Step::Read))))
        }
    });
    let start = stream::iter(format.header().map(Ok));
    let mut response = Body::from_stream(stream::StreamExt::chain(start, rows)).into_response();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    response.headers_mut().insert(CONTENT_DISPOSITION, HeaderValue::from_static(format.disposition()));
    Ok(response)
}

async fn read(app: &App, filter: &AuditFilter, position: PagePosition) -> Result<Page<AuditRow>, DbError> {
    app.db.audit_events(filter, &PageRequest { position, limit: PAGE, ..PageRequest::default() }).await
}

impl Format {
    fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::JsonLines => "application/x-ndjson",
        }
    }

    fn disposition(self) -> &'static str {
        match self {
            Self::Csv => "attachment; filename=\"audit-log.csv\"",
            Self::JsonLines => "attachment; filename=\"audit-log.jsonl\"",
        }
    }

    fn header(self) -> Option<String> {
        match self {
            Self::Csv => Some(COLUMNS.join(",") + "\r\n"),
            Self::JsonLines => None,
        }
    }

    fn lines(self, rows: &[AuditRow]) -> String {
        let mut text = String::new();
        for row in rows {
            let row = serde_json::to_value(row).unwrap_or_default();
            match self {
                Self::Csv => text.push_str(&csv_line(&row)),
                Self::JsonLines => {
                    text.push_str(&row.to_string());
                    text.push('\n');
                }
            }
        }
        text
    }
}

/// A line of CSV (RFC 4180).
fn csv_line(row: &Value) -> String {
    COLUMNS.map(|column| csv_field(&row[column])).join(",") + "\r\n"
}

/// A quoted field. A value that a spreadsheet would take for a formula gets an apostrophe in front: names come from
/// Entra, where their owners can choose them (OWASP, "CSV Injection").
fn csv_field(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let guard =
        if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_field_quotes_and_guards_formulas() {
        for (value, field) in [
            ("Platform", "\"Platform\""),
            ("", "\"\""),
            ("a, \"b\"\nc", "\"a, \"\"b\"\"\nc\""),
            ("=HYPERLINK(\"x\")", "\"'=HYPERLINK(\"\"x\"\")\""),
            ("+1", "\"'+1\""),
            ("-1", "\"'-1\""),
            ("@SUM(A1)", "\"'@SUM(A1)\""),
            ("\t=1", "\"'\t=1\""),
            ("＝1", "\"'＝1\""),
        ] {
            assert_eq!(csv_field(&Value::from(value)), field, "{value:?}");
        }
        assert_eq!(csv_field(&Value::Null), "");
        assert_eq!(csv_field(&serde_json::json!({ "sessions": 2 })), "\"{\"\"sessions\"\":2}\"");
    }
}
