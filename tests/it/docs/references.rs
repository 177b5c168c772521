//! Files, routes, metrics and configuration keys in backticks exist.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use entraway::observability::metrics::Metrics;
use entraway::observability::spans::{ATTRIBUTES, Step};

use super::configurations::keys;
use super::markdown::{documents, root};

/// A text in backticks, with its position.
struct Code {
    place: String,
    text: String,
}

fn codes() -> Vec<Code> {
    let mut codes = Vec::new();
    for document in documents() {
        for (index, line) in document.prose().lines().enumerate() {
            let place = format!("{}:{}", document.name, index + 1);
            codes.extend(
                line.split('`').skip(1).step_by(2).map(|text| Code { place: place.clone(), text: text.to_owned() }),
            );
        }
    }
    assert!(codes.len() > 200, "only {} texts between backticks were found", codes.len());
    codes
}

/// Panics with all problems that `wrong` finds.
#[track_caller]
fn check(what: &str, wrong: impl Fn(&str) -> Option<String>) {
    let found: Vec<String> = codes()
        .iter()
        .filter_map(|code| Some(format!("{}: `{}`: {}", code.place, code.text, wrong(&code.text)?)))
        .collect();
    assert!(found.is_empty(), "{what} that do not exist:\n{}", found.join("\n"));
}

/// All files below these folders, as paths within the repository.
fn files(folders: &[&str]) -> Vec<String> {
    let mut folders: Vec<_> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            files.push(path.strip_prefix(root()).unwrap().display().to_string());
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    files
}

#[test]
fn files_in_documents_exist() {
    const FOLDERS: [&str; 12] = [
        "src",
        "crates",
        "tests",
        "docs",
        "script",
        "deploy",
        "migrations",
        "assets",
        "templates",
        "fuzz",
        "benches",
        "ops",
    ];
    let files = files(&FOLDERS);
    let folder = |path: &str| path.split('/').next().unwrap_or_default().to_owned();
    check("files", |text| {
        let path = text.split_whitespace().next()?.trim_end_matches('/');
        let rust = Path::new(path).extension().is_some_and(|extension| extension == "rs");
        let inside = path.contains('/') && FOLDERS.contains(&&*folder(path));
        if !(rust || inside) || path.contains(['*', '<', '…', '{', ':', '(']) {
            return None;
        }
        let end = format!("/{path}");
        let there = |file: &String| file == path || file.ends_with(&end) || file.ends_with(&format!("{end}.rs"));
        (!files.iter().any(there)).then(|| "no such file".to_owned())
    });
}

#[test]
fn metrics_in_documents_exist() {
    let metrics = Metrics::new();
    let exists = |base: &str| metrics.list().iter().any(|metric| metric.name.contains(base));
    check("metrics", |text| {
        let name = text.split(['{', ' ', '[', '(']).next()?.strip_prefix("entraway_")?;
        // Tables and roles can begin with the same prefix.
        let shaped =
            ["_total", "_seconds", "_open", "_most", "_waiting", "_usable"].iter().any(|end| name.ends_with(end));
        let base =
            ["_bucket", "_count", "_sum", "_total"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        (shaped && !exists(base)).then(|| "no such metric".to_owned())
    });
}

#[test]
fn keys_in_documents_exist() {
    let top = keys("");
    // Span names look the same.
    let span = |path: &str| Step::ALL.iter().any(|(_, name, _)| *name == path) || ATTRIBUTES.contains(&path);
    check("keys", |text| {
        let path = text.split([':', ' ', '=']).next()?;
        let (section, key) = path.split_once('.')?;
        let plain =
            |key: &str| !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_lowercase() || b"_.".contains(&byte));
        // `server.rs` is a file. Other keys of `litellm_settings` can be LiteLLM's.
        let section_known = top.iter().any(|known| known == section) && section != "litellm_settings";
        if !section_known || !plain(key) || ["rs", "md"].contains(&key) || span(path) {
            return None;
        }
        let first = key.split('.').next()?;
        (!keys(section).iter().any(|known| known == first)).then(|| format!("no such key in {section}"))
    });
}

#[test]
fn routes_in_documents_exist() {
    let source = super::limits::sources();
    let mut routes: Vec<&str> = source.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    // `/api` stands for all routes below it. The others are not string literals in the source.
    routes.extend(["/api", "/auth/verify", "/auth/verify/envoy", "/metrics"]);
    let is = |route: &str, path: &str| {
        let (route, path): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), path.split('/').collect());
        let same = |(known, given): (&&str, &&str)| known == given || (known.starts_with('{') && !given.is_empty());
        route.len() == path.len() && route.iter().zip(&path).all(same)
    };
    let first: BTreeSet<&str> = routes.iter().filter_map(|route| route.split('/').nth(1)).collect();
    check("routes", |text| {
        if text.contains("/…") {
            return None;
        }
        let path = text.strip_prefix("GET ").or(text.strip_prefix("POST ")).unwrap_or(text);
        let path = path.strip_prefix('/')?.split(['?', '#', ' ', '…']).next()?;
        let ours = path.is_empty() || first.contains(path.split('/').next()?);
        let path = format!("/{path}");
        (ours && !routes.iter().any(|route| is(route, path.trim_end_matches('/')) || is(route, &path)))
            .then(|| "no such route".to_owned())
    });
}
