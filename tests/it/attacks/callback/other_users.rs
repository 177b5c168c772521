//! Two users and their browsers: one tries to become the other, or to sign the other in as a different user.

use entra_simulator::Endpoint;
use serde_json::json;
use url::Url;

use crate::attacks::Siege;
use crate::callback::{parameter, with, without};
use crate::support::Browser;

#[tokio::test]
async fn signin_replaces_planted_session() {
    let mut siege = Siege::new().await;
    let mut of_eve = siege.world.sign_in(&siege.service, siege.eve).await;
    let planted = of_eve.cookies["entraway"].clone();
    let mut of_alice = Browser::new();
    of_alice.cookies.insert("entraway".into(), planted.clone());
    let answer = of_alice.sign_in(&siege.world.simulator, &siege.service, siege.alice).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    assert_ne!(of_alice.cookies["entraway"], planted, "the planted token became Alice's");
    assert_eq!(of_alice.me(&siege.service).await.json()["user"]["user_id"], json!(siege.alice));
    siege.names("a planted session of one's own");
    assert_eq!(of_eve.me(&siege.service).await.status, 401, "the planted session is revoked");
    siege.secrets.add_cookies(&of_alice);
    siege.stands(1).await;
}

#[tokio::test]
async fn signin_replaces_session_of_another_user() {
    let mut siege = Siege::new().await;
    let mut browser = siege.world.sign_in(&siege.service, siege.alice).await;
    let mut of_alice = browser.clone();
    let before = siege.world.rows().await;
    let answer = browser.sign_in(&siege.world.simulator, &siege.service, siege.eve).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    siege.names("another person in the same browser");
    let me = browser.me(&siege.service).await.json();
    assert_eq!((&me["user"]["user_id"], &me["teams"]), (&json!(siege.eve), &json!([])), "Eve, without Alice's teams");
    assert_eq!(of_alice.me(&siege.service).await.status, 401, "Alice's session ended");
    let mut after = siege.world.rows().await;
    after.users.remove(&siege.eve.to_string()).expect("Eve has a row of her own");
    assert_eq!(after, before, "Alice's rows are unchanged");
    siege.stands(1).await;
}

#[tokio::test]
async fn callback_rejects_state_or_code_of_another_user() {
    let mut siege = Siege::new().await;
    let (mut of_eve, eves) = siege.comes_back(siege.eve).await;
    let (mut of_alice, alices) = siege.comes_back(siege.alice).await;
    let with_code = |url: &Url, other: &Url| with(url, "code", &parameter(other, "code"));
    let unknown = (400, "attempt_unknown");
    siege.refuses("Eve's whole answer in Alice's browser", unknown, &mut of_alice, eves.clone()).await;
    siege.refuses("Alice's whole answer in Eve's browser", unknown, &mut of_eve, alices.clone()).await;
    let of = |browser: &Browser| browser.cookies.clone().pop_first().unwrap();
    let (mut lured, mut disguised) = (Browser::new(), Browser::new());
    lured.cookies.extend([of(&of_eve)]);
    disguised.cookies.insert(of(&of_alice).0, of(&of_eve).1);
    siege.refuses("Alice's answer with Eve's cookie", unknown, &mut lured, alices.clone()).await;
    siege.refuses("Alice's answer with Eve's cookie by Alice's name", unknown, &mut disguised, alices.clone()).await;
    let injected = with_code(&alices, &eves);
    siege.refuses("Eve's code for Alice's attempt", (400, "code_refused"), &mut of_alice, injected).await;
    let stolen = with_code(&eves, &alices);
    siege.refuses("Alice's code for Eve's attempt", (400, "code_refused"), &mut of_eve, stolen).await;
    siege.stands(6).await;
}

#[tokio::test]
async fn signin_fails_after_altered_authorization_request() {
    let mut siege = Siege::new().await;
    let nonce = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE";
    let other = parameter(&Browser::new().begin(&siege.service).await, "state");
    for (how, expected, name, value) in [
        ("no nonce", (403, "id_token_nonce"), "nonce", None),
        ("a nonce of the attacker's", (403, "id_token_nonce"), "nonce", Some(nonce)),
        ("a challenge of the attacker's", (400, "code_refused"), "code_challenge", Some(nonce)),
        ("less than was asked for", (403, "id_token_no_object_id"), "scope", Some("openid")),
        ("a state of the attacker's", (400, "attempt_unknown"), "state", Some(&other)),
    ] {
        let mut browser = Browser::new();
        let entra = siege.begin(&mut browser).await;
        let altered = value.map_or_else(|| without(&entra, name), |value| with(&entra, name, value));
        let callback = siege.pick(&browser, &altered, siege.alice).await;
        siege.refuses(how, expected, &mut browser, callback).await;
    }
    siege.stands(5).await;
}

#[tokio::test]
async fn callback_accepts_only_get_at_its_exact_path() {
    let mut siege = Siege::new().await;
    let (mut browser, callback) = siege.comes_back(siege.alice).await;
    siege.world.simulator.clear_requests();
    let query = callback.query().unwrap().to_owned();
    let bare = siege.service.at("/sso/callback");
    let form = |origin: &str| {
        let form = browser.request(reqwest::Method::POST, bare.clone()).header("Origin", origin);
        form.header("Content-Type", "application/x-www-form-urlencoded").body(query.clone())
    };
    let (ours, entras) = (form("http://127.0.0.1:1"), form("https://login.microsoftonline.com"));
    siege.refuses_request("a form of our own", (405, "method_not_allowed"), &mut browser, ours).await;
    siege.refuses_request("a form from elsewhere", (405, "method_not_allowed"), &mut browser, entras).await;
    let mut fragment = bare.clone();
    fragment.set_fragment(Some(&query));
    siege.refuses("an answer in the fragment", (400, "attempt_unknown"), &mut browser, fragment).await;
    for (how, path) in [
        ("another path below the callback", "/sso/callback/"),
        ("a path in capitals", "/SSO/callback"),
        ("a path with a doubled slash", "//sso/callback"),
        ("a path in percents", "/sso/%63allback"),
    ] {
        let url = siege.service.at(&format!("{path}?{query}"));
        siege.refuses(how, (404, "not_found"), &mut browser, url).await;
    }
    assert!(siege.world.simulator.requests_to(Endpoint::Token).is_empty(), "none of them caused a request to Entra");
    assert_eq!(browser.get(callback).await.status, 303, "the login state is still valid");
    siege.stands(7).await;
}
