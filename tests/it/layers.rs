//! Architecture tests on the source: allowed imports, where libraries may be used, and patterns that no lint covers.
//! The compiler checks the rest: `crates/core` has no dependency that does I/O.

mod http;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::docs::markdown::root;

/// The allowed imports of each module, in the order of lib.rs. Modules of `crates/core` may be imported everywhere.
/// Keep the table of modules in CONTRIBUTING.md in sync.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("util", &[]),
    ("client_auth", &[]),
    ("config", &["client_auth"]),
    ("observability", &["config", "util"]),
    ("db", &["observability", "util"]),
    ("graph", &["observability", "util"]),
    ("litellm_cache", &[]),
    ("oidc", &["client_auth", "config", "observability", "util"]),
    ("identity_headers", &["db"]),
    ("session", &["db", "identity_headers", "observability", "util"]),
    ("assertion", &["db", "identity_headers", "util"]),
    ("sync", &["config", "db", "graph", "litellm_cache", "observability", "oidc", "util"]),
    ("reconcile", &["config", "db", "graph", "litellm_cache", "observability", "oidc", "sync", "util"]),
    ("check", &["config", "db", "graph", "litellm_cache", "oidc", "sync", "util"]),
    (
        "http",
        &[
            "assertion",
            "check",
            "config",
            "db",
            "graph",
            "identity_headers",
            "litellm_cache",
            "observability",
            "oidc",
            "reconcile",
            "session",
            "sync",
            "util",
        ],
    ),
    ("cli", &["check", "config", "db", "graph", "http", "litellm_cache", "observability", "oidc", "reconcile", "util"]),
    ("main", &["cli"]),
];

/// A path or macro, and the only modules that may use it.
const ONLY_IN: &[(&str, &[&str], &str)] = &[
    ("sqlx::", &["db"], "SQL is in db alone"),
    ("redis::", &["litellm_cache"], "only litellm_cache speaks to Redis"),
    ("axum::", &["http"], "only http knows axum"),
    ("hyper::", &["http"], "connections belong to the server"),
    ("hyper_util::", &["http"], "connections belong to the server"),
    ("prometheus_client::", &["observability"], "metrics are listed in one place"),
    ("opentelemetry::", &["observability"], "spans are created and exported in observability"),
    ("opentelemetry_sdk::", &["observability"], "spans are exported in one place"),
    ("opentelemetry_otlp::", &["observability"], "spans are exported in one place"),
    ("tracing_opentelemetry::", &["observability"], "spans are created and exported in observability"),
    ("trace_span!", &["observability"], "all spans are defined in one place, with their attributes"),
    ("governor::", &["http"], "requests are counted where they arrive"),
    ("reqwest::", &["util"], "one HTTP client, with time-outs and without redirects"),
    ("openidconnect::", &["oidc"], "only oidc speaks OpenID Connect"),
    ("oauth2::", &["oidc", "util"], "only oidc speaks OAuth"),
    ("x509_cert::", &["client_auth"], "certificates are read in one place"),
    ("getrandom::", &["util"], "randomness comes from util::random"),
    ("std::env::", &["main"], "the environment is read once, in main, and passed on"),
    ("anyhow::", &["cli", "observability"], "a library's errors are named; anyhow is for the program"),
];

const LONGEST_FILE: usize = 500;

/// A source file.
struct Source {
    /// Such as `src/http/error.rs`.
    path: String,
    text: String,
}

impl Source {
    /// Every Rust file below a folder.
    fn below(folder: &str) -> Vec<Self> {
        let mut sources = Vec::new();
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.path().is_dir() {
                sources.extend(Self::below(&path));
            } else if Path::new(&path).extension().is_some_and(|extension| extension == "rs") {
                sources.push(Self { text: fs::read_to_string(entry.path()).unwrap(), path });
            }
        }
        sources
    }

    /// The module below the root of the library, such as `http`; `main` for the program.
    fn module(&self) -> &str {
        let path = self.path.trim_start_matches("src/");
        path.split(['/', '.']).next().unwrap()
    }

    /// Numbered lines without comments, up to the unit tests.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let code = self.text.split("#[cfg(test)]\nmod ").next().unwrap();
        (1..).zip(code.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    /// Modules that the code imports, each with its line number.
    fn imports(&self) -> Vec<(usize, &str)> {
        let depth = self.path.matches('/').count();
        let from_root = if self.module() == "main" { "entraway::" } else { "crate::" };
        let mut imports = Vec::new();
        for (number, line) in self.lines() {
            for prefix in [from_root, &"super::".repeat(depth)] {
                let paths = line.split(prefix).skip(1);
                imports.extend(paths.map(|path| (number, path.split(|c| !is_word(c)).next().unwrap())));
            }
        }
        imports
    }

    /// Numbered lines in the bodies of loops, by their indentation.
    fn lines_in_loops(&self) -> Vec<(usize, &str)> {
        let mut heads: Vec<usize> = Vec::new();
        let mut inside = Vec::new();
        for (number, line) in self.lines() {
            let code = line.trim_start();
            let indent = line.len() - code.len();
            if code.is_empty() || code == "{" {
                continue;
            }
            heads.retain(|head| *head < indent);
            if !heads.is_empty() {
                inside.push((number, line));
            }
            if code.starts_with("for ") || code.starts_with("while ") || code.ends_with("loop {") {
                heads.push(indent);
            }
        }
        inside
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether a line contains this path, and not as the end of a longer name.
fn names(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| !line[..at].ends_with(is_word))
}

/// Fails with every finding, one per line.
#[track_caller]
fn assert_none(rule: &str, findings: &[String]) {
    assert!(findings.is_empty(), "{rule}:\n{}", findings.join("\n"));
}

#[test]
fn modules_import_only_allowed_modules() {
    let core: BTreeSet<String> = modules("crates/core/src/lib.rs").into_iter().collect();
    let mut findings = Vec::new();
    for source in Source::below("src").iter().filter(|source| source.module() != "lib") {
        let module = source.module();
        let allowed = MAY_IMPORT.iter().find(|(name, _)| *name == module).map_or(&[][..], |(_, allowed)| allowed);
        for (line, import) in source.imports() {
            if import != module && !allowed.contains(&import) && !core.contains(import) {
                findings.push(format!("{}:{line}: {module} imports {import}", source.path));
            }
        }
    }
    assert_none("imports that the table in this test does not allow", &findings);
}

/// Names of the public modules of a library, in order.
fn modules(lib: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(lib)).unwrap();
    text.lines().filter_map(|line| Some(line.strip_prefix("pub mod ")?.strip_suffix(';')?.to_owned())).collect()
}

#[test]
fn import_table_follows_order_of_lib_rs() {
    let mut order: Vec<&str> = MAY_IMPORT.iter().map(|(module, _)| *module).collect();
    assert_eq!(order.pop(), Some("main"));
    assert_eq!(order, modules("src/lib.rs"), "left: the table in this test; right: src/lib.rs");
    for (index, (module, allowed)) in MAY_IMPORT.iter().enumerate() {
        for import in *allowed {
            assert!(order[..index].contains(import), "{module} imports {import}, which lib.rs lists further down");
        }
    }
}

#[test]
fn libraries_are_used_only_in_their_modules() {
    let mut findings = Vec::new();
    for source in Source::below("src") {
        for (path, places, why) in ONLY_IN.iter().filter(|(_, places, _)| !places.contains(&source.module())) {
            let lines = source.lines().filter(|(_, line)| names(line, path));
            findings.extend(lines.map(|(line, _)| format!("{}:{line}: {path} is for {places:?}: {why}", source.path)));
        }
    }
    assert_none("out of place", &findings);
}

#[test]
fn no_query_runs_in_a_loop() {
    let mut findings = Vec::new();
    for source in Source::below("src/db") {
        for call in ["query(", "query_as(", "query_scalar(", "raw_sql(", "execute(", "fetch_one(", "fetch_all("] {
            let lines = source.lines_in_loops().into_iter().filter(|(_, line)| names(line, call));
            findings.extend(lines.map(|(line, _)| format!("{}:{line}: {call}", source.path)));
        }
    }
    assert_none("statements handle sets: unnest($1), not one query for each", &findings);
}

#[test]
fn files_have_a_doc_comment_and_respect_the_line_limit() {
    let mut findings = Vec::new();
    for source in ["src", "crates"].into_iter().flat_map(Source::below) {
        if !source.text.starts_with("//!") {
            findings.push(format!("{}:1: does not begin with //!", source.path));
        }
        let lines = source.text.lines().count();
        if lines > LONGEST_FILE {
            findings.push(format!("{}:{LONGEST_FILE}: {lines} lines, more than {LONGEST_FILE}", source.path));
        }
    }
    assert_none("files", &findings);
}
