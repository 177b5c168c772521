//! Pages never contain input from a request or from Entra.

use entra_simulator::{Endpoint, EntraError, Fault, FaultRule, TokenKind};
use url::form_urlencoded;

use super::{comes_back, tells_nothing};
use crate::support::{Browser, World};

const HTML: &str = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}";

fn reflects(body: &str) -> bool {
    ["<script", "onerror", "alert(1)", "{{7*7}}", "&lt;script", "%3Cscript"].iter().any(|part| body.contains(part))
}

#[tokio::test]
async fn entra_error_parameters_are_not_reflected() {
    let world = World::new().await;
    let service = world.service().await;
    for name in ["error", "error_description", "error_subcode", "error_uri", "session_state", "code"] {
        for json in [false, true] {
            let mut browser = Browser::new();
            let entra = browser.begin(&service).await;
            let state = entra.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair("state", &state).append_pair(name, HTML);
            if name != "error" && name != "code" {
                query.append_pair("error", "server_error");
            }
            let url = service.at(&format!("/sso/callback?{}", query.finish()));
            let answer = if json { browser.get_json(url).await } else { browser.get(url).await };
            assert!(!answer.status.is_redirection() && !answer.status.is_success(), "{name}: {answer:#?}");
            assert!(!reflects(&answer.body), "{name} is reflected: {}", answer.body);
            tells_nothing(&world, &answer);
        }
    }
}

#[tokio::test]
async fn parameters_without_login_state_are_not_reflected() {
    let world = World::new().await;
    let service = world.service().await;
    let odd: String = form_urlencoded::byte_serialize(HTML.as_bytes()).collect();
    for path in [
        format!("/sso/callback?error={odd}&error_description={odd}"),
        format!("/sso/callback?state={odd}&code={odd}"),
        format!("/sso/callback?code={odd}&code={odd}"),
        format!("/sso/login?return_to={odd}"),
        format!("/sso/login?return_to=/&return_to={odd}"),
        format!("/{odd}"),
        format!("/assets/{odd}"),
        format!("/?{odd}"),
        format!("/signed-out?state={odd}"),
    ] {
        for json in [false, true] {
            let mut browser = Browser::new();
            let url = service.at(&path);
            let answer = if json { browser.get_json(url).await } else { browser.get(url).await };
            assert!(!reflects(&answer.body), "{path}: {}", answer.body);
        }
    }
}

#[tokio::test]
async fn token_endpoint_errors_are_not_reflected() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    for error in ["invalid_grant", "invalid_client", "server_error", HTML] {
        world.simulator.clear_faults();
        let error = EntraError::new(error, 70008, HTML);
        world.simulator.fault(FaultRule::on(Endpoint::Token, Fault::Entra(error)).token(TokenKind::Delegated));
        let (mut browser, callback) = comes_back(&world, &service, alice).await;
        let answer = browser.get(callback).await;
        assert!(answer.status.as_u16() >= 400, "{answer:#?}");
        assert!(!reflects(&answer.body), "{}", answer.body);
        tells_nothing(&world, &answer);
    }
}
