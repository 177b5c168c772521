//! docs/reference/limits.md has the values of the source, and names every error with its status.

use std::fs;
use std::path::Path;

use super::markdown::{document, root};

/// How a row of the page begins, and the constant with its value.
const NUMBERS: &[(&str, &str)] = &[
    ("path and query | 8 KB |", "LONGEST_TARGET: usize = 8 * 1024;"),
    ("all cookies | 16 KB |", "LONGEST_COOKIES: usize = 16 * 1024;"),
    ("all headers | 32 KB, 100", "LONGEST_HEADERS: usize = 32 * 1024;"),
    ("request without its body | 64 KB |", "LONGEST_HEAD: usize = 64 * 1024;"),
    ("body | 16 KB,", "LONGEST_BODY: usize = 16 * 1024;"),
    ("`return_to` | 2,000 bytes |", "LONGEST: usize = 2_000;"),
    ("rows of a list | 50, or `limit`: 1 to 100 |", "PAGE: usize = 50;"),
    ("text of a parameter, such as `search` | 300 bytes |", "LONGEST_TEXT: usize = 300;"),
    ("memberships on a user's page | 1,000 of each kind |", "MOST: i64 = 1_000;"),
    ("sessions on a user's page | 1,000 |", "SESSIONS: u32 = 1_000;"),
    ("open connections | `limits.connections` | 512 |", "const CONNECTIONS: u32 = 512;"),
    (
        "sign-ins between Entra and their session | `limits.concurrent_sign_ins` | 128 |",
        "CONCURRENT_SIGN_INS: u32 = 128;",
    ),
    (
        "records of sign-ins that failed before the user was known, per address | | 10 per hour |",
        "RECORDS_PER_ADDRESS: u32 = 10;",
    ),
    ("the same for all addresses, per replica | | 200 per hour |", "RECORDS: u32 = 200;"),
    (
        "requests per address and sign-in route | `limits.sign_ins_per_address` | 600 per minute",
        "SIGN_INS_PER_ADDRESS: u32 = 600;",
    ),
    ("sign-ins that one user completes | `limits.sign_ins_per_user` | 60 per minute", "SIGN_INS_PER_USER: u32 = 60;"),
    ("sync records per user | | 500 |", "RECORDS_PER_USER: i64 = 500;"),
    ("different session tokens in one request | | 4 |", "MOST_CANDIDATES: usize = 4;"),
    ("a result of `/readyz`, shared by all callers | 1 s |", "TTL: Duration = Duration::from_secs(1);"),
    ("the database check of `/readyz` | 4 s |", "TIMEOUT: Duration = Duration::from_secs(4);"),
    (
        "requests that use or wait for a database connection | `database.max_connections` | 21 per connection |",
        "WAITING_PER_CONNECTION: u32 = 20;",
    ),
    ("concurrent session lookup queries | | 3 |", "QUESTIONS: usize = 3;"),
    ("sessions per lookup query | | 256 |", "TOGETHER: usize = 256;"),
    ("a session lookup query | 15 s |", "LONGEST: Duration = Duration::from_secs(15);"),
    ("waiting for a session lookup | 30 s |", "PATIENCE: Duration = Duration::from_secs(30);"),
    (
        "a connection's response when it returns to the pool | 2 s |",
        "RELEASE_TIMEOUT: Duration = Duration::from_secs(2);",
    ),
    (
        "requests that write to the database | `database.max_connections` | 3 in 4 of the connections",
        "CONNECTIONS_PER_READER: u32 = 4;",
    ),
    ("waiting for a request: idle, or arriving slowly | 75 s |", "request: Duration::from_secs(75)"),
    ("a connection | 10 min |", "connection: Duration::from_mins(10)"),
    ("a connection's last request, and the client reading its answer | 75 s |", "last: Duration::from_secs(75)"),
    ("answering a request | 1 min |", "REQUEST_TIMEOUT: Duration = Duration::from_mins(1);"),
    ("connecting to Entra or Graph | 3 s |", "connect_timeout(Duration::from_secs(3))"),
    ("one exchange with Entra or Graph | 5 s |", "REQUEST_TIMEOUT: Duration = Duration::from_secs(5);"),
    ("one list of groups, with all pages", "TOTAL_BUDGET: Duration = Duration::from_secs(10);"),
    ("an answer of Entra or Graph | 16 MB |", "MAX_BODY: usize = 16 * 1024 * 1024;"),
    (
        "waiting for a database connection, including connecting | 5 s |",
        "ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);",
    ),
    ("one statement | 10 s |", r#"("statement_timeout", "10s")"#),
    ("a lock in the database | 8 s |", r#"("lock_timeout", "8s")"#),
    ("an idle transaction | 30 s |", r#"("idle_in_transaction_session_timeout", "30s")"#),
    (
        "notifying LiteLLM's proxies through Redis, including connecting | 1 s |",
        "TIME_OUT: Duration = Duration::from_secs(1);",
    ),
    ("running requests after SIGTERM | 15 s |", "GRACE: Duration = Duration::from_secs(15);"),
    ("sending remaining traces at shutdown | 2 s |", "LAST_WORDS: Duration = Duration::from_secs(2);"),
];

/// All of the product's code, without the simulated Entra ID.
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

#[test]
fn limits_page_has_the_values_of_the_source() {
    let page = document("docs/reference/limits.md");
    let sources = sources();
    let head = |line: &str| line.starts_with("| what |") || line.starts_with("|--");
    let mut rows: Vec<&str> = page.text.lines().filter(|line| line.starts_with('|') && !head(line)).collect();
    for (row, constant) in NUMBERS {
        assert!(sources.contains(constant), "no source has {constant}: correct this test and docs/reference/limits.md");
        let at = rows.iter().position(|line| line.starts_with(&format!("| {row}")));
        rows.remove(at.unwrap_or_else(|| panic!("docs/reference/limits.md has no row that begins with | {row}")));
    }
    assert!(rows.is_empty(), "rows of docs/reference/limits.md that this test does not know: {rows:#?}");
}

/// The codes in the rows of a page, behind a status or, in a table of codes, in the first cell.
fn assert_codes_exist(name: &str, at_least: usize, codes: &[&str]) {
    let sources = sources();
    for code in codes {
        assert!(sources.contains(&format!("\"{code}\"")), "{name} names {code}, which is no error code");
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
