//! Answers that belong to no attempt of this browser, or to none that is open.

use chrono::TimeDelta;
use url::Url;

use super::{parameter, refuses, with, without};
use crate::support::{Browser, World};

#[tokio::test]
async fn an_answer_that_names_no_attempt_of_this_browser_is_refused() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let before = world.traces().await;
    let mut browser = Browser::new();
    let entra = browser.begin(&service).await;
    let callback = browser.pick(&world.fake, &service, &entra, alice).await;
    let other = parameter(&Browser::new().begin(&service).await, "state");
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
        ("its attempt's name with another's secret", with(&callback, "state", &format!("{id}.{other_secret}"))),
        ("another attempt's name with its secret", with(&callback, "state", &format!("{other_id}.{secret}"))),
        ("its attempt's name with no secret", with(&callback, "state", id)),
        ("its attempt's name with half the secret", with(&callback, "state", &state[..30])),
    ] {
        refuses(&world, &service, &before, (&mut browser, url), (400, "attempt_unknown"), how).await;
    }
    let answer = browser.get(callback).await;
    assert_eq!(answer.status, 303, "none of that harmed the real attempt: {answer:#?}");
}

#[tokio::test]
async fn an_answer_cannot_be_finished_in_another_browser() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let before = world.traces().await;
    let mut browser = Browser::new();
    let entra = browser.begin(&service).await;
    let callback = browser.pick(&world.fake, &service, &entra, alice).await;

    let mut stranger = Browser::new();
    let whose = (&mut stranger, callback.clone());
    refuses(&world, &service, &before, whose, (400, "attempt_unknown"), "a browser without cookies").await;
    let mut busy = Browser::new();
    busy.begin(&service).await;
    let whose = (&mut busy, callback.clone());
    refuses(&world, &service, &before, whose, (400, "attempt_unknown"), "a browser with an attempt of its own").await;
    assert_eq!(browser.get(callback).await.status, 303, "the browser that began it finishes it");
}

#[tokio::test]
async fn an_attempt_is_used_once_on_all_replicas() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let (service, replica) = (world.service().await, world.service().await);
    let mut browser = Browser::new();
    let entra = browser.begin(&service).await;
    let callback = browser.pick(&world.fake, &service, &entra, alice).await;
    let keeps_its_cookies = browser.clone();
    assert_eq!(browser.get(callback.clone()).await.status, 303);

    let before = world.traces().await;
    for instance in [&service, &replica] {
        let mut again = keeps_its_cookies.clone();
        let url = instance.here(&with_public_origin(&callback));
        refuses(&world, instance, &before, (&mut again, url), (400, "attempt_used"), "the second time").await;
    }
    assert_eq!(browser.me(&service).await.status, 200, "the first time still counts");
}

#[tokio::test]
async fn an_attempt_that_entra_refused_is_used_as_well() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let before = world.traces().await;
    let mut browser = Browser::new();
    let entra = browser.begin(&service).await;
    let callback = browser.pick(&world.fake, &service, &entra, alice).await;
    let keeps_its_cookies = browser.clone();
    let refusal = with(&without(&callback, "code"), "error", "access_denied");
    let whose = (&mut browser, refusal);
    refuses(&world, &service, &before, whose, (403, "consent_refused"), "a refusal").await;
    let mut again = keeps_its_cookies;
    refuses(&world, &service, &before, (&mut again, callback), (400, "attempt_used"), "a code after a refusal").await;
}

#[tokio::test]
async fn an_attempt_is_good_for_ten_minutes() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let before = world.traces().await;
    let (mut late, mut in_time) = (Browser::new(), Browser::new());
    let entra = late.begin(&service).await;
    let callback = late.pick(&world.fake, &service, &entra, alice).await;
    world.clock.advance(TimeDelta::minutes(2));
    let entra = in_time.begin(&service).await;
    world.clock.advance(TimeDelta::minutes(9));
    refuses(&world, &service, &before, (&mut late, callback), (400, "attempt_expired"), "after eleven minutes").await;
    let callback = in_time.pick(&world.fake, &service, &entra, alice).await;
    assert_eq!(in_time.get(callback).await.status, 303, "after nine minutes");
}

#[tokio::test]
async fn a_parameter_that_comes_twice_is_refused() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let before = world.traces().await;
    let mut browser = Browser::new();
    let entra = browser.begin(&service).await;
    let callback = browser.pick(&world.fake, &service, &entra, alice).await;
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
        let whose = (&mut browser, add(&extra));
        refuses(&world, &service, &before, whose, (400, "duplicate_parameter"), &extra).await;
    }
    let answer = browser.get(add("session_state=x&session_state=y&odd")).await;
    assert_eq!(answer.status, 303, "what we do not look at may come as it likes: {answer:#?}");
}

#[tokio::test]
async fn an_answer_with_neither_code_nor_error_is_refused() {
    let world = World::new().await;
    let service = world.service().await;
    let before = world.traces().await;
    for (how, extra) in [("no code", ""), ("an empty code", "&code="), ("a code without value", "&code")] {
        let mut browser = Browser::new();
        let state = parameter(&browser.begin(&service).await, "state");
        let url = service.at(&format!("/sso/callback?state={state}{extra}"));
        refuses(&world, &service, &before, (&mut browser, url), (400, "code_missing"), how).await;
    }
    let url = service.at("/sso/callback");
    refuses(&world, &service, &before, (&mut Browser::new(), url), (400, "attempt_unknown"), "nothing at all").await;
}

#[tokio::test]
async fn an_error_beside_a_code_is_an_error() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let before = world.traces().await;
    let mut browser = Browser::new();
    let entra = browser.begin(&service).await;
    let callback = browser.pick(&world.fake, &service, &entra, alice).await;
    let whose = (&mut browser, with(&callback, "error", "login_required"));
    refuses(&world, &service, &before, whose, (403, "interaction_required"), "an error and a code").await;
}

/// The address as the browser knows it, so that another instance can make it its own.
fn with_public_origin(url: &Url) -> Url {
    let mut url = url.clone();
    url.set_port(Some(1)).unwrap();
    url
}
