//! Callback parameters that belong to no login state of this browser, or to one that is no longer open.

use chrono::TimeDelta;
use url::Url;

use crate::attacks::Siege;
use crate::callback::{parameter, with, without};
use crate::support::Browser;

#[tokio::test]
async fn callback_rejects_unknown_or_altered_state() {
    let mut siege = Siege::new().await;
    let (mut browser, callback) = siege.comes_back(siege.alice).await;
    let other = parameter(&Browser::new().begin(&siege.service).await, "state");
    let state = parameter(&callback, "state");
    let (id, secret) = state.split_once('.').unwrap();
    let (other_id, other_secret) = other.split_once('.').unwrap();
    let long = "x".repeat(4_000);
    for (how, url) in [
        ("no state", without(&callback, "state")),
        ("an empty state", with(&callback, "state", "")),
        ("a state of another form", with(&callback, "state", "hello")),
        ("a state of dots", with(&callback, "state", "............")),
        ("a very long state", with(&callback, "state", &long)),
        ("a state with a line end in it", with(&callback, "state", &format!("{state}\r\n"))),
        ("a state with a NUL in it", with(&callback, "state", &state.replace('.', "\0"))),
        ("a state in capitals", with(&callback, "state", &state.to_uppercase())),
        ("the state of another browser", with(&callback, "state", &other)),
        ("its login state ID with another secret", with(&callback, "state", &format!("{id}.{other_secret}"))),
        ("another login state ID with its secret", with(&callback, "state", &format!("{other_id}.{secret}"))),
        ("its login state ID without a secret", with(&callback, "state", id)),
        ("its login state ID with half the secret", with(&callback, "state", &state[..30])),
    ] {
        siege.refuses(how, (400, "attempt_unknown"), &mut browser, url).await;
    }
    let answer = browser.get(callback).await;
    assert_eq!(answer.status, 303, "the real login state is unaffected: {answer:#?}");
    siege.stands(13).await;
}

#[tokio::test]
async fn callback_rejects_state_from_another_browser() {
    let mut siege = Siege::new().await;
    let (mut browser, callback) = siege.comes_back(siege.alice).await;

    let mut stranger = Browser::new();
    siege.refuses("a browser without cookies", (400, "attempt_unknown"), &mut stranger, callback.clone()).await;
    let mut busy = Browser::new();
    siege.begin(&mut busy).await;
    siege.refuses("a browser with an attempt of its own", (400, "attempt_unknown"), &mut busy, callback.clone()).await;
    assert_eq!(browser.get(callback).await.status, 303, "the browser that started the sign-in completes it");
    siege.stands(2).await;
}

#[tokio::test]
async fn login_state_is_consumed_once_across_replicas() {
    let mut siege = Siege::new().await;
    let replica = siege.another(|_| {}).await;
    let (mut browser, callback) = siege.comes_back(siege.alice).await;
    let keeps_its_cookies = browser.clone();
    assert_eq!(browser.get(callback.clone()).await.status, 303);

    let elsewhere = replica.here(&with_public_origin(&callback));
    for (how, url) in [("the second time", callback), ("the second time, at another replica", elsewhere)] {
        let mut again = keeps_its_cookies.clone();
        siege.refuses(how, (400, "attempt_used"), &mut again, url).await;
    }
    assert_eq!(browser.me(&siege.service).await.status, 200, "the first sign-in is still valid");
    siege.stands(2).await;
}

#[tokio::test]
async fn entra_error_consumes_the_login_state() {
    let mut siege = Siege::new().await;
    let (mut browser, callback) = siege.comes_back(siege.alice).await;
    let keeps_its_cookies = browser.clone();
    let refusal = with(&without(&callback, "code"), "error", "access_denied");
    siege.refuses("a refusal", (403, "canceled"), &mut browser, refusal).await;
    let mut again = keeps_its_cookies;
    siege.refuses("a code after a refusal", (400, "attempt_used"), &mut again, callback).await;
    siege.stands(2).await;
}

#[tokio::test]
async fn login_state_expires_after_ten_minutes() {
    let mut siege = Siege::new().await;
    let (mut late, mut in_time) = (Browser::new(), Browser::new());
    let entra = siege.begin(&mut late).await;
    let callback = siege.pick(&late, &entra, siege.alice).await;
    siege.world.clock.advance(TimeDelta::minutes(11));
    siege.names("after eleven minutes");
    let before = siege.world.traces().await;
    let answer = late.get(callback.clone()).await;
    let again = answer.location();
    assert_ne!(parameter(&again, "state"), parameter(&callback, "state"), "started again: {answer:#?}");
    assert_eq!(siege.world.traces().await, before, "the late callback opens no session");
    let callback = siege.pick(&late, &again, siege.alice).await;
    siege.world.clock.advance(TimeDelta::minutes(11));
    siege.refuses("after eleven minutes, once more", (400, "attempt_expired"), &mut late, callback).await;
    let entra = siege.begin(&mut in_time).await;
    siege.world.clock.advance(TimeDelta::minutes(9));
    let callback = siege.pick(&in_time, &entra, siege.alice).await;
    assert_eq!(in_time.get(callback).await.status, 303, "after nine minutes");
    assert_eq!(in_time.me(&siege.service).await.status, 200, "after nine minutes");
    siege.stands(2).await;
}

#[tokio::test]
async fn callback_rejects_duplicate_parameters() {
    let mut siege = Siege::new().await;
    let (mut browser, callback) = siege.comes_back(siege.alice).await;
    let add = |extra: &str| {
        let mut url = callback.clone();
        url.set_query(Some(&format!("{}&{extra}", callback.query().unwrap())));
        url
    };
    let state = parameter(&callback, "state");
    for extra in [
        "code=another".to_owned(),
        "code=".to_owned(),
        "c%6Fde=another".to_owned(),
        format!("state={state}"),
        "state".to_owned(),
        "error=access_denied&error=access_denied".to_owned(),
        "error_description=a&error_description=b".to_owned(),
    ] {
        siege.refuses(&extra, (400, "duplicate_parameter"), &mut browser, add(&extra)).await;
    }
    let answer = browser.get(add("session_state=x&session_state=y&odd")).await;
    assert_eq!(answer.status, 303, "parameters that are not read are ignored: {answer:#?}");
    siege.stands(7).await;
}

#[tokio::test]
async fn callback_rejects_missing_code_and_error() {
    let mut siege = Siege::new().await;
    for (how, extra) in [("no code", ""), ("an empty code", "&code="), ("a code without value", "&code")] {
        let mut browser = Browser::new();
        let state = parameter(&siege.begin(&mut browser).await, "state");
        let url = siege.service.at(&format!("/sso/callback?state={state}{extra}"));
        siege.refuses(how, (400, "code_missing"), &mut browser, url).await;
    }
    let url = siege.service.at("/sso/callback");
    siege.refuses("nothing at all", (400, "attempt_unknown"), &mut Browser::new(), url).await;
    siege.stands(4).await;
}

#[tokio::test]
async fn callback_error_takes_precedence_over_code() {
    let mut siege = Siege::new().await;
    let (mut browser, callback) = siege.comes_back(siege.alice).await;
    siege
        .refuses(
            "an error and a code",
            (403, "interaction_required"),
            &mut browser,
            with(&callback, "error", "login_required"),
        )
        .await;
    siege.stands(1).await;
}

#[tokio::test]
async fn callback_error_text_is_not_shown_or_logged() {
    let mut siege = Siege::new().await;
    for (how, error, description) in [
        ("a plain address", "server_error", "User account eve@evil.example does not exist"),
        ("an address in percents", "server_error", "User account eve%40evil.example does not exist"),
        ("a line of a log", "server_error", "x\r\n2026-01-01T00:00:00.000000Z  INFO signed in user_id=1"),
        ("a line end of Unicode", "server_error", "x\u{2028}2026-01-01T00:00:00.000000Z  INFO signed in"),
        ("bidi controls", "server_error", "x\u{202e}nigol\u{2066}y\u{2069}"),
        ("terminal escapes", "server_error", "x\u{1b}[2J\u{1b}]0;eve\u{7}"),
        ("JSON", "server_error", "\",\"level\":\"ERROR\",\"code\":\"internal"),
        ("HTML", "server_error", "<script src=//evil.example></script>"),
        ("five kilobytes", "server_error", &"x".repeat(5_000)),
        ("a token", "server_error", "e30.e30.x eve@evil.example"),
        ("an error that is an address", "eve@evil.example", ""),
        ("an error with line ends", "a\r\n2026-01-01T00:00:00.000000Z  INFO signed in", ""),
        ("an error of five kilobytes", &"x".repeat(5_000), ""),
    ] {
        let (mut browser, callback) = siege.comes_back(siege.alice).await;
        let callback = with(&with(&without(&callback, "code"), "error", error), "error_description", description);
        let expected = if error == "server_error" { (503, "entra_unavailable") } else { (403, "entra_refused") };
        siege.refuses(how, expected, &mut browser, callback).await;
    }
    siege.stands(13).await;
}

/// Rewrites the origin to the public one that the browser knows, so that another instance can replace it with its own.
fn with_public_origin(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_port(Some(1)).unwrap();
    url
}
