//! docs/explanation/security.md: each guarantee names existing files and existing tests.

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
fn guarantees_name_existing_files_and_tests() {
    let mut code = String::new();
    for folder in ["src", "tests", "crates"].into_iter().filter(|folder| root().join(folder).exists()) {
        sources(&root().join(folder), &mut code);
    }
    let tests: BTreeSet<&str> =
        code.lines().filter_map(|line| line.trim().split_once("fn ")?.1.split(['(', '<']).next()).collect();
    let page = fs::read_to_string(root().join("docs/explanation/security.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| guarantee"));
    let mut guarantees = 0;
    for row in rows {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let [guarantee, against, implementation, tested_by] = cells[..] else { panic!("not four cells: {row}") };
        assert!(!against.is_empty(), "{guarantee}: against which attack?");
        let (places, covering) = (named(implementation), named(tested_by));
        assert!(!places.is_empty() && !covering.is_empty(), "{guarantee}: files {places:?}, tests {covering:?}");
        for place in places {
            assert!(root().join(place).exists(), "{guarantee}: no file {place}");
        }
        for test in covering {
            assert!(tests.contains(test), "{guarantee}: no test {test}");
        }
        guarantees += 1;
    }
    assert!(guarantees >= 20, "only {guarantees} guarantees were found on the page");
}
