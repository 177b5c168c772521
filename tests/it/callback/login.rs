//! What `GET /sso/login` sends to Entra.

use std::collections::BTreeMap;

use super::parameter;
use crate::support::{Browser, World};

#[tokio::test]
async fn authorization_request_has_pkce_and_nonce_and_no_secret() {
    let world = World::new().await;
    let service = world.service().await;
    let directory = world.simulator.edit(|directory| directory.clone());
    let mut browser = Browser::new();
    let entra = browser.begin(&service).await;

    let authority = world.simulator.authority_url();
    let address = format!("{authority}{}/oauth2/v2.0/authorize", directory.tenant_id);
    assert_eq!(entra.as_str().split('?').next().unwrap(), address);
    let sent: BTreeMap<String, String> = entra.query_pairs().into_owned().collect();
    let names: Vec<&str> = sent.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "client_id",
            "code_challenge",
            "code_challenge_method",
            "nonce",
            "redirect_uri",
            "response_type",
            "scope",
            "state"
        ]
    );
    assert_eq!(entra.query_pairs().count(), names.len(), "each once: {entra}");
    assert_eq!(sent["client_id"], directory.client_id);
    assert_eq!(sent["response_type"], "code");
    assert_eq!(sent["code_challenge_method"], "S256");
    assert_eq!(sent["redirect_uri"], "http://127.0.0.1:1/sso/callback");
    let graph = world.simulator.graph_url().origin().ascii_serialization();
    assert_eq!(sent["scope"], format!("openid profile email {graph}/User.Read"));
    for name in ["code_challenge", "nonce"] {
        let value = &sent[name];
        let plain = value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        assert!(plain && value.len() == 43, "{name} is 256 bits in base64url: {value}");
    }
    assert_eq!(sent["state"].len(), 12 + 1 + 43, "{}", sent["state"]);
    assert!(!entra.as_str().contains(&directory.client_secret), "the secret stays here: {entra}");

    let again = browser.begin(&service).await;
    for name in ["state", "nonce", "code_challenge"] {
        assert_ne!(parameter(&again, name), sent[name], "a new {name} for each sign-in");
    }
    for secret in ["nonce", "code_challenge"] {
        let in_cookies = browser.cookies.values().any(|value| value.contains(&sent[secret]));
        assert!(!in_cookies, "cookies are sealed, and hold no {secret} that can be read");
    }
}

#[tokio::test]
async fn login_forwards_only_prompt_select_account() {
    let world = World::new().await;
    let service = world.service().await;
    for (query, prompt) in [
        ("?prompt=select_account", Some("select_account")),
        ("?prompt=none", None),
        ("?prompt=login%20consent", None),
        ("?prompt=", None),
        ("?login_hint=eve@evil.example&domain_hint=evil.example&redirect_uri=https://evil.example", None),
    ] {
        let answer = Browser::new().get(service.at(&format!("/sso/login{query}"))).await;
        assert_eq!(answer.status, 303, "{query}");
        let entra = answer.location();
        let sent = entra.query_pairs().find(|(name, _)| name == "prompt").map(|(_, value)| value.into_owned());
        assert_eq!(sent.as_deref(), prompt, "{query}");
        assert!(!entra.as_str().contains("evil"), "{query} went to Entra: {entra}");
    }
    let answer = Browser::new().get(service.at("/sso/login?prompt=select_account&prompt=none")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "duplicate_parameter"));
}

#[tokio::test]
async fn litellm_key_generate_route_starts_a_signin() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = Browser::new();
    let answer = browser.get(service.at("/sso/key/generate?return_to=/here&redirect_to=https://evil.example")).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    let callback = browser.pick(&world.simulator, &service, &answer.location(), alice).await;
    let answer = browser.get(callback).await;
    assert_eq!((answer.status.as_u16(), answer.location().as_str()), (303, "http://127.0.0.1:1/here"));
    assert_eq!(browser.me(&service).await.status, 200);
}

#[tokio::test]
async fn redirect_uri_below_base_path_matches_registration() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    world.simulator.edit(|directory| directory.redirect_uris = vec!["https://sso.example.com/x/sso/callback".into()]);
    let service =
        world.service_with(|config| config.server.public_url = "https://sso.example.com/x/".parse().unwrap()).await;
    let mut browser = Browser::new();
    let answer = browser.get(service.at("/x/sso/login")).await;
    let callback = browser.pick(&world.simulator, &service, &answer.location(), alice).await;
    assert_eq!(browser.get(callback).await.status, 303);
}
