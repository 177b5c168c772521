//! Error codes in docs/reference/limits.md and docs/reference/http.md exist.

use std::fs;
use std::path::Path;

use entraway::http::ERROR_CODES;

use super::markdown::{document, root};

/// The product's source code, without the Entra simulator.
pub(super) fn sources() -> String {
    fn read(folder: &Path, text: &mut String) {
        for path in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
            if path.ends_with("crates/entra-simulator") {
                continue;
            }
            if path.is_dir() {
                read(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let mut text = String::new();
    for folder in ["src", "crates"] {
        read(&root().join(folder), &mut text);
    }
    text
}

/// Checks error codes of a page: they exist, and there are at least `at_least`.
fn assert_codes_exist(name: &str, at_least: usize, codes: &[&str]) {
    let sources = sources();
    for code in codes {
        let known = ERROR_CODES.contains(code) || sources.contains(&format!("\"{code}\""));
        assert!(known, "{name} names {code}, which is no error code");
    }
    assert!(codes.len() >= at_least, "{name} names {} codes: does this test still find them?", codes.len());
}

#[test]
fn limits_page_names_existing_error_codes() {
    let page = document("docs/reference/limits.md");
    let status = |before: &str| {
        ["413", "414", "429", "431", "503"].iter().any(|status| before.ends_with(&format!("| {status}")))
    };
    let places = page.text.match_indices(" `").filter(|(index, _)| status(&page.text[..*index]));
    let codes: Vec<&str> = places.filter_map(|(index, _)| page.text[index + 2..].split('`').next()).collect();
    assert_codes_exist("docs/reference/limits.md", 8, &codes);
}

#[test]
fn routes_page_names_existing_error_codes() {
    let page = document("docs/reference/http.md");
    let (_, table) = page.text.split_once("| code | status | cause |").expect("the page has a table of codes");
    let cells = table.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    let codes: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let codes: Vec<&str> = codes.into_iter().filter(|code| !code.ends_with('…')).collect();
    assert_codes_exist("docs/reference/http.md", 30, &codes);
}
