//! docs/explanation/security.md: each promise names where it is kept and the tests that hold it, and all of that is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::markdown::root;

/// Every Rust file below a folder.
fn sources(folder: &Path, into: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}

/// The texts in backticks of a cell.
fn named(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_promise_names_the_place_where_it_is_kept_and_the_tests_that_hold_it() {
    let mut code = String::new();
    for folder in ["src", "tests"] {
        sources(&root().join(folder), &mut code);
    }
    let tests: BTreeSet<&str> =
        code.lines().filter_map(|line| line.trim().split_once("fn ")?.1.split(['(', '<']).next()).collect();
    let page = fs::read_to_string(root().join("docs/explanation/security.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| promise"));
    let mut promises = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [promise, against, kept, held] = cells[..] else { panic!("a row of four: {row}") };
        assert!(!against.is_empty(), "{promise}: against whom?");
        let (places, holders) = (named(kept), named(held));
        assert!(!places.is_empty() && !holders.is_empty(), "{promise}: kept in {places:?}, held by {holders:?}");
        for place in places {
            assert!(root().join(place).exists(), "{promise}: there is no {place}");
        }
        for test in holders {
            assert!(tests.contains(test), "{promise}: there is no test {test}");
        }
        promises += 1;
    }
    assert!(promises >= 20, "only {promises} promises were found on the page");
}
