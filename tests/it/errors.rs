//! Errors as users and programs see them: what happened and what to do next, without internal details.

mod denials;
pub(crate) mod headers;
mod health;
mod login_states;
mod outage;
mod reflection;
mod requests;
mod setup;

use entra_simulator::ObjectId;
use url::Url;
use uuid::Uuid;

use crate::support::{Answer, Browser, Service, World};

/// Requests the same error as a browser and as a program, checks both, and returns the page. `prepare` returns a
/// browser and the URL to open.
pub(crate) async fn shown(
    world: &World,
    (status, code): (u16, &str),
    prepare: impl AsyncFn() -> (Browser, Url),
) -> Answer {
    let (mut browser, url) = prepare().await;
    let page = browser.get(url).await;
    assert_eq!((page.status.as_u16(), page.code().as_str()), (status, code), "{page:#?}");
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8", "{code}");
    let words = words(&page);
    assert_eq!(words.request_id, page.headers["x-request-id"].to_str().unwrap(), "{code}");
    assert!(Uuid::parse_str(&words.request_id).is_ok(), "{code}: {}", words.request_id);
    for (what, text) in [("title", &words.title), ("explanation", &words.what), ("remedy", &words.remedy)] {
        assert!(text.len() > 5 && text.len() < 300, "{code}: its {what} is {text:?}");
    }

    let (mut browser, url) = prepare().await;
    let answer = browser.get_json(url).await;
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{code}: {answer:#?}");
    let problem = answer.json();
    assert_eq!(answer.status.as_u16(), status, "{code}");
    assert_eq!((problem["code"].as_str(), problem["status"].as_u64()), (Some(code), Some(status.into())));
    assert_eq!(problem["type"], format!("urn:entraway:problem:{code}"));
    assert_eq!(problem["title"], words.title, "{code}: the same text in both");
    assert_eq!(problem["detail"], words.what, "{code}: the same text in both");
    assert_eq!(problem["remedy"], words.remedy, "{code}: the same text in both");
    assert_eq!(problem["request_id"], answer.headers["x-request-id"].to_str().unwrap(), "{code}");

    for answer in [&page, &answer] {
        tells_nothing(world, answer);
        headers::are_safe(answer, code);
        let later = [429, 503].contains(&status);
        assert_eq!(answer.headers.contains_key("retry-after"), later, "{code}: Retry-After only with 429 and 503");
        let opens = answer.set_cookies().iter().any(|cookie| cookie.starts_with("entraway="));
        assert!(!opens, "{code}: an error opens no session: {:?}", answer.set_cookies());
    }
    page
}

/// The texts of an error page.
struct Words {
    title: String,
    what: String,
    remedy: String,
    request_id: String,
}

fn words(page: &Answer) -> Words {
    let between = |text: &str, from: &str, to: &str| {
        let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("no {from} in {page:#?}"));
        rest.split_once(to).unwrap().0.replace("&#39;", "'")
    };
    let (_, main) = page.body.split_once("<h1>").unwrap();
    let (_, second) = main.split_once("</p>").unwrap();
    Words {
        title: between(&page.body, "<h1>", "</h1>"),
        what: between(main, "<p>", "</p>"),
        remedy: between(second, "<p>", "</p>"),
        request_id: between(main, "<dt>Request ID</dt><dd><code>", "</code>"),
    }
}

/// Asserts that the response contains no text of Entra's, no secrets, no personal data and no internal names.
pub(crate) fn tells_nothing(world: &World, answer: &Answer) {
    let directory = world.simulator.edit(|directory| directory.clone());
    let people: Vec<&str> = directory.people.iter().filter_map(|person| person.email.as_deref()).collect();
    let inside = [
        "AADSTS",
        "Trace ID",
        "Correlation ID",
        "error_description",
        "invalid_",
        "eyJ",
        "1.SIM.",
        "postgres://",
        "select ",
        "sync_runs",
        "used_attempts",
        "sqlx",
        "panicked",
        ".rs:",
        "backtrace",
        "RUST",
        "127.0.0.1",
        "Graph.",
        "access_token",
    ];
    // Links begin with the public URL, which is not a secret.
    let body = answer.body.replace("\"http://127.0.0.1:1/", "\"/");
    for secret in inside.into_iter().chain(people).chain([directory.client_secret.as_str(), &directory.client_id]) {
        assert!(!body.contains(secret), "{secret:?} is in {body}");
    }
}

/// A new browser that returns from Entra, where this user was picked.
async fn comes_back(world: &World, service: &Service, person: ObjectId) -> (Browser, Url) {
    let mut browser = Browser::new();
    let entra = browser.begin(service).await;
    let callback = browser.pick(&world.simulator, service, &entra, person).await;
    (browser, callback)
}

/// The same, from this Entra URL.
async fn comes_back_from(service: &Service, address: impl Fn(&Url) -> Url) -> (Browser, Url) {
    let mut browser = Browser::new();
    let entra = browser.begin(service).await;
    let back = Browser::new().get(address(&entra)).await.location();
    (browser, service.here(&back))
}
