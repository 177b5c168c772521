//! docs/limits.md says the numbers that the source says, and names every error with its status.

use std::fs;

use super::markdown::{documents, root};

/// How a line of the page's tables begins, and the constant behind it.
const NUMBERS: &[(&str, &str, &str)] = &[
    ("path and query | 8 KB |", "src/http/limits.rs", "LONGEST_TARGET: usize = 8 * 1024;"),
    ("all cookies | 16 KB |", "src/http/limits.rs", "LONGEST_COOKIES: usize = 16 * 1024;"),
    ("all headers | 32 KB, 100", "src/http/limits.rs", "LONGEST_HEADERS: usize = 32 * 1024;"),
    ("request without its body | 64 KB |", "src/http/server.rs", "LONGEST_HEAD: usize = 64 * 1024;"),
    ("body | 16 KB,", "src/http/limits.rs", "LONGEST_BODY: usize = 16 * 1024;"),
    ("`return_to` | 2,000 bytes |", "src/http/return_to.rs", "LONGEST: usize = 2_000;"),
    ("rows of a list | 50, or `limit`: 1 to 100 |", "src/db/view/list.rs", "PAGE: usize = 50;"),
    ("text of a parameter, such as `search` | 300 bytes |", "src/http/query.rs", "LONGEST_TEXT: usize = 300;"),
    ("memberships on a person's page | 1,000 of each kind |", "src/db/view/memberships.rs", "MOST: i64 = 1_000;"),
    ("a person's sessions on their page | 1,000 |", "src/http/details.rs", "SESSIONS: u32 = 1_000;"),
    ("open connections | `limits.connections` | 512 |", "src/config/limits.rs", "const CONNECTIONS: u32 = 512;"),
    (
        "sign-ins between Entra and their session | `limits.concurrent_sign_ins` | 128 |",
        "src/config/limits.rs",
        "CONCURRENT_SIGN_INS: u32 = 128;",
    ),
    (
        "records of sign-ins that failed before the user was known, from one address | | 10 an hour",
        "src/http/limits.rs",
        "RECORDS_PER_ADDRESS: u32 = 10;",
    ),
    ("the same from all addresses, in each replica | | 200 an hour", "src/http/limits.rs", "RECORDS: u32 = 200;"),
    (
        "requests from one address to one route of the sign-in | `limits.sign_ins_per_address` | 600 a minute",
        "src/config/limits.rs",
        "SIGN_INS_PER_ADDRESS: u32 = 600;",
    ),
    (
        "sign-ins that one user completes | `limits.sign_ins_per_user` | 60 a minute",
        "src/config/limits.rs",
        "SIGN_INS_PER_USER: u32 = 60;",
    ),
    ("sync records of one user | | 500 |", "src/db/upkeep.rs", "RECORDS_PER_USER: i64 = 500;"),
    ("session tokens in one request that differ | | 4 |", "src/http/session.rs", "MOST_CANDIDATES: usize = 4;"),
    ("a result of `/readyz`, for all who ask | 1 s |", "src/http/ops.rs", "TTL: Duration = Duration::from_secs(1);"),
    ("the database's part in that check | 4 s |", "src/http/ops.rs", "TIMEOUT: Duration = Duration::from_secs(4);"),
    (
        "requests that have a connection to the database or wait for one | `database.max_connections` | 21 for each",
        "src/db.rs",
        "WAITING_PER_CONNECTION: u32 = 20;",
    ),
    (
        "questions to the database who is signed in | | 3 |",
        "src/session/loader.rs",
        "MAX_CONCURRENT_BATCHES: usize = 3;",
    ),
    ("sessions in one such question | | 256 |", "src/session/loader.rs", "MAX_BATCH_SIZE: usize = 256;"),
    (
        "a question who is signed in | 15 s |",
        "src/session/loader.rs",
        "BATCH_TIMEOUT: Duration = Duration::from_secs(15);",
    ),
    (
        "waiting for such a question | 30 s |",
        "src/session/loader.rs",
        "LOOKUP_TIMEOUT: Duration = Duration::from_secs(30);",
    ),
    (
        "a connection's answer after it was used | 2 s |",
        "src/db/connection.rs",
        "RELEASE_TIMEOUT: Duration = Duration::from_secs(2);",
    ),
    (
        "requests that write to the database | `database.max_connections` | 3 in 4 of the connections",
        "src/db.rs",
        "CONNECTIONS_PER_READER: u32 = 4;",
    ),
    ("waiting for a request: idle, or trickling in | 75 s |", "src/http/server.rs", "request: Duration::from_secs(75)"),
    ("a connection | 10 min |", "src/http/server.rs", "connection: Duration::from_mins(10)"),
    (
        "a connection's last request, and taking its answer | 75 s |",
        "src/http/server.rs",
        "last: Duration::from_secs(75)",
    ),
    ("answering a request | 1 min |", "src/http.rs", "REQUEST_TIMEOUT: Duration = Duration::from_mins(1);"),
    ("connecting to Entra or Graph | 3 s |", "src/util/http_client.rs", "connect_timeout(Duration::from_secs(3))"),
    (
        "one exchange with Entra or Graph | 5 s |",
        "src/util/http_client.rs",
        "REQUEST_TIMEOUT: Duration = Duration::from_secs(5);",
    ),
    ("one list of groups, with all pages", "src/graph.rs", "TOTAL_BUDGET: Duration = Duration::from_secs(10);"),
    ("an answer of Entra or Graph | 16 MB |", "src/util/http_client.rs", "MAX_BODY: usize = 16 * 1024 * 1024;"),
    (
        "waiting for the database, connecting included | 5 s |",
        "src/db.rs",
        "ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);",
    ),
    ("one statement | 10 s |", "src/db/connection.rs", r#"("statement_timeout", "10s")"#),
    ("a lock in the database | 8 s |", "src/db/connection.rs", r#"("lock_timeout", "8s")"#),
    ("an idle transaction | 30 s |", "src/db/connection.rs", r#"("idle_in_transaction_session_timeout", "30s")"#),
    (
        "telling LiteLLM's proxies through Redis, connecting included | 1 s |",
        "src/litellm_cache.rs",
        "TIMEOUT: Duration = Duration::from_secs(1);",
    ),
    ("requests under way after SIGTERM | 15 s |", "src/http/server.rs", "GRACE: Duration = Duration::from_secs(15);"),
    (
        "traces that were not sent yet when the last request is over | 2 s |",
        "src/observability/telemetry/otlp.rs",
        "FLUSH_TIMEOUT: Duration = Duration::from_secs(2);",
    ),
];

#[test]
fn the_page_about_limits_says_the_numbers_of_the_source() {
    let page = documents().into_iter().find(|document| document.name == "docs/limits.md").unwrap();
    let head = |line: &str| line.starts_with("| what |") || line.starts_with("|--");
    let mut rows: Vec<&str> = page.text.lines().filter(|line| line.starts_with('|') && !head(line)).collect();
    for (row, file, constant) in NUMBERS {
        let source = fs::read_to_string(root().join(file)).unwrap();
        assert!(
            source.contains(constant),
            "{file} does not say {constant} any more: mend this test and docs/limits.md"
        );
        let at = rows.iter().position(|line| line.starts_with(&format!("| {row}")));
        rows.remove(at.unwrap_or_else(|| panic!("docs/limits.md has no line that begins with | {row}")));
    }
    assert!(rows.is_empty(), "docs/limits.md says what this test does not know: {rows:#?}");
}

#[test]
fn the_page_about_limits_names_errors_that_there_are() {
    let page = documents().into_iter().find(|document| document.name == "docs/limits.md").unwrap();
    let words = fs::read_to_string(root().join("src/http/error/messages.rs")).unwrap();
    let mut named = 0;
    for (index, _) in page.text.match_indices(" `").filter(|(index, _)| {
        let before = &page.text[..*index];
        ["413", "414", "429", "431", "503"].iter().any(|status| before.ends_with(&format!("| {status}")))
    }) {
        let code = page.text[index + 2..].split('`').next().unwrap();
        assert!(words.contains(&format!("\"{code}\"")), "docs/limits.md names {code}, which is no error's code");
        named += 1;
    }
    assert!(named >= 8, "the page names {named} errors: does this test still find them?");
}
