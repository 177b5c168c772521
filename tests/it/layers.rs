//! The architecture, held by reading the source: who may import whom, where SQL and HTTP may be, and a few habits that
//! no lint knows.

mod http;
mod source;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use source::Source;

/// What each module may take from the others; `plan::Groups` is that item alone. Change it only together with the
/// picture in docs/explanation/request-flow.md.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("policy", &["domain"]),
    ("permissions", &["domain"]),
    ("plan", &["domain", "policy"]),
    ("explain", &["domain", "permissions", "plan", "policy"]),
    ("util", &["domain"]),
    ("client_auth", &[]),
    ("config", &["client_auth", "domain", "policy"]),
    ("observability", &["config", "util"]),
    ("oidc", &["client_auth", "config", "domain", "observability", "util"]),
    ("graph", &["domain", "observability", "plan::Groups", "util"]),
    ("litellm_cache", &[]),
    ("db", &["domain", "explain", "observability", "permissions", "plan", "policy", "util"]),
    ("session", &["db", "domain", "observability", "util"]),
    ("assertion", &["db", "session", "util"]),
    ("sync", &["config", "db", "domain", "graph", "litellm_cache", "observability", "oidc", "plan", "policy", "util"]),
    ("check", &["config", "db", "domain", "graph", "litellm_cache", "oidc", "policy", "sync", "util"]),
    (
        "http",
        &[
            "assertion",
            "check",
            "config",
            "db",
            "domain",
            "explain",
            "graph",
            "litellm_cache",
            "observability",
            "oidc",
            "permissions",
            "plan",
            "policy",
            "session",
            "sync",
            "util",
        ],
    ),
    (
        "cli",
        &[
            "check",
            "config",
            "db",
            "domain",
            "explain",
            "graph",
            "http",
            "litellm_cache",
            "observability",
            "oidc",
            "plan",
            "util",
        ],
    ),
];

/// A word and the only places where it may stand in code: a module, or a file.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("sqlx", &["db"], "SQL is in db alone"),
    ("redis", &["litellm_cache"], "only litellm_cache speaks to Redis"),
    ("axum", &["http"], "only http knows axum"),
    ("hyper", &["http"], "connections belong to the server"),
    ("hyper_util", &["http"], "connections belong to the server"),
    ("prometheus_client", &["observability"], "metrics are listed in one place"),
    ("opentelemetry", &["observability"], "spans are created and exported in observability"),
    ("opentelemetry_sdk", &["observability"], "spans are exported in one place"),
    ("opentelemetry_otlp", &["observability"], "spans are exported in one place"),
    ("tracing_opentelemetry", &["observability"], "spans are created and exported in observability"),
    ("trace_span", &["observability"], "all spans are defined in one place, with their attributes"),
    ("governor", &["http"], "requests are counted where they arrive"),
    ("reqwest", &["util"], "one HTTP client, with time-outs and without redirects"),
    ("openidconnect", &["oidc"], "only oidc speaks OpenID Connect"),
    ("x509_cert", &["client_auth"], "certificates are read in one place"),
    ("oauth2", &["oidc", "util"], "only oidc speaks OAuth"),
    ("Utc::now", &["util"], "time is a parameter: take it from Clock"),
    ("SystemTime", &["util"], "time is a parameter: take it from Clock"),
    ("getrandom", &["util"], "randomness comes from util::random"),
    ("std::env", &["main"], "the environment is read once, in main, and passed on"),
    ("env::var", &["main"], "the environment is read once, in main, and passed on"),
    ("anyhow", &["main", "cli", "observability"], "a library's errors are named; anyhow is for the program"),
];

/// What has no place where decisions are made.
const NO_IO_IN: &[&str] = &["domain", "policy", "plan", "permissions", "explain"];
const IO: &[&str] = &["tokio", "sqlx", "reqwest", "tracing", "axum", "std::fs", "std::net", "std::io", "std::time"];

const LONGEST_FILE: usize = 500;

/// Fails with every finding, one a line.
#[track_caller]
fn assert_none(rule: &str, findings: impl IntoIterator<Item = String>) {
    let mut list = String::new();
    findings.into_iter().for_each(|finding| writeln!(list, "  {finding}").unwrap());
    assert!(list.is_empty(), "{rule}:\n{list}");
}

/// The modules in the order of lib.rs.
fn listed() -> Vec<String> {
    let lib = Source::all().into_iter().find(|source| source.path == "src/lib.rs").unwrap();
    let name = |line: &str| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned);
    lib.code.lines().filter_map(name).collect()
}

#[test]
fn modules_import_only_allowed_modules() {
    let mut findings = Vec::new();
    for source in Source::all().iter().filter(|source| !source.module().is_empty()) {
        let layer = source.layer();
        let allowed = MAY_IMPORT.iter().find(|(name, _)| *name == layer).map_or(&[][..], |(_, allowed)| allowed);
        for (line, path) in source.imports() {
            let fits = |allowed: &&str| path == **allowed || path.starts_with(&format!("{allowed}::"));
            if !allowed.iter().any(fits) {
                findings.push(format!("{}:{line}: {layer} imports crate::{path}", source.path));
            }
        }
    }
    assert_none("imports that the table in this test does not allow", findings);
}

#[test]
fn import_table_lists_the_modules_of_lib_rs() {
    let table: BTreeSet<String> = MAY_IMPORT.iter().map(|(name, _)| (*name).to_owned()).collect();
    let listed: BTreeSet<String> = listed().into_iter().collect();
    assert_eq!(table, listed, "left: the table in this test; right: src/lib.rs");
}

#[test]
fn lib_rs_lists_modules_in_dependency_order() {
    let order = listed();
    let rank = |name: &str| order.iter().position(|listed| listed == name);
    let mut findings = Vec::new();
    for source in Source::all().iter().filter(|source| !source.module().is_empty()) {
        for (line, path) in source.imports() {
            let used = path.split("::").next().unwrap_or_default();
            if rank(used) >= rank(source.layer()) {
                findings.push(format!("{}:{line}: uses {used}, which lib.rs lists further down", source.path));
            }
        }
    }
    assert_none("src/lib.rs is in reading order: a module stands below all that it uses", findings);
}

#[test]
fn main_imports_only_the_cli_module() {
    let sources = Source::all();
    let main = sources.iter().find(|source| source.path == "src/main.rs").unwrap();
    let imports: Vec<&str> = main.code.lines().filter(|line| line.contains("entraway::")).collect();
    assert_eq!(imports, ["use entraway::cli::Cli;"], "src/main.rs");
}

#[test]
fn libraries_are_used_only_in_their_layers() {
    let mut findings = Vec::new();
    for source in Source::all() {
        for (word, places, why) in ONLY_IN.iter().filter(|(_, places, _)| !places.contains(&source.layer())) {
            let place = |line: usize| format!("{}:{line}: {word}, which is for {places:?} alone: {why}", source.path);
            findings.extend(source.lines_with(word).into_iter().map(place));
        }
    }
    assert_none("out of place", findings);
}

#[test]
fn pure_layers_do_no_io() {
    let mut findings = Vec::new();
    for source in Source::all().iter().filter(|source| NO_IO_IN.contains(&source.layer())) {
        for word in IO {
            findings.extend(source.lines_with(word).iter().map(|line| format!("{}:{line}: {word}", source.path)));
        }
    }
    assert_none("domain, policy and plan are pure", findings);
}

#[test]
fn no_query_runs_in_a_loop() {
    let mut findings = Vec::new();
    for source in Source::all().iter().filter(|source| source.layer() == "db") {
        for call in ["sqlx::query", "query", "query_as", "query_scalar", "raw_sql", "execute", "fetch_one", "fetch_all"]
        {
            findings.extend(source.in_loops(call).iter().map(|line| format!("{}:{line}: {call}", source.path)));
        }
    }
    assert_none("statements handle sets: unnest($1), not one query for each", findings);
}

#[test]
fn files_have_a_doc_comment_and_respect_the_line_limit() {
    let mut findings = Vec::new();
    for source in Source::workspace() {
        if !source.text.starts_with("//!") {
            findings.push(format!("{}:1: does not begin with //!", source.path));
        }
        let lines = source.text.lines().count();
        if lines > LONGEST_FILE {
            findings.push(format!("{}:{LONGEST_FILE}: {lines} lines, where {LONGEST_FILE} are the most", source.path));
        }
    }
    assert_none("files", findings);
}

#[test]
fn possible_panics_have_an_unwrap_safety_comment() {
    let mut findings = Vec::new();
    for source in Source::workspace() {
        let lines: Vec<&str> = source.text.lines().collect();
        for call in [".unwrap()", ".expect(", ".unwrap_err()", "panic!(", "unreachable!(", "todo!(", "unimplemented!("]
        {
            for line in source.lines_with(call) {
                let above = &lines[line.saturating_sub(4)..line];
                if !above.iter().any(|text| text.contains("// Unwrap safety:")) {
                    findings.push(format!("{}:{line}: {call}", source.path));
                }
            }
        }
    }
    assert_none("without a `// Unwrap safety:` comment in the three lines above", findings);
}

/// The rules are only as good as the eyes that they look with.
#[test]
fn source_scan_ignores_comments_and_strings() {
    let text = r##"//! crate::sync in a comment
use crate::plan::{Groups, types::{self, Note}};
use super::super::db::Db;
/* sqlx::query */
const TEXT: &str = "crate::http { \" "; const RAW: &str = r#"crate::db"#; const C: char = '"';
impl<'a> From<&'a str> for X { fn from(x: crate::domain::Email) {} }
fn f() {
    for row in rows.iter().map(|row| { row }) {
        sqlx::query(row).await;
    }
    let all = ids.iter().map(|id| sqlx::query(id));
    'outer: while let Some(x) = next() { loop { sqlx::query("in two loops"); } }
    let one = sqlx::query("in none").await;
}
#[cfg(test)]
mod tests { use crate::cli; }
"##;
    let source = Source::new("src/http/error.rs", text);
    let imports = source.imports();
    let imports: Vec<(usize, &str)> = imports.iter().map(|(line, path)| (*line, path.as_str())).collect();
    let expected =
        [(2, "plan::Groups"), (2, "plan::types"), (2, "plan::types::Note"), (6, "domain::Email"), (3, "db::Db")];
    assert_eq!(imports, expected);
    assert_eq!(source.in_loops("sqlx::query"), [9, 11, 12]);
    assert_eq!(source.lines_with("sqlx"), [9, 11, 12, 13]);
    assert_eq!(source.lines_with("sql"), [] as [usize; 0], "whole words only");
    assert_eq!((source.layer(), source.module()), ("http", vec!["http", "error"]));
}
