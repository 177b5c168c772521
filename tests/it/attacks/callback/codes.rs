//! Authorization codes of another sign-in, or no longer valid.

use entra_simulator::{Endpoint, EntraError, Fault, FaultRule, TokenKind};

use crate::attacks::Siege;
use crate::callback::{parameter, with};
use crate::support::Browser;

#[tokio::test]
async fn callback_rejects_code_of_another_login_state() {
    let mut siege = Siege::new().await;
    let mut browser = Browser::new();
    let (first, second) = (siege.begin(&mut browser).await, siege.begin(&mut browser).await);
    let first = siege.pick(&browser, &first, siege.alice).await;
    let second = siege.pick(&browser, &second, siege.alice).await;
    let mixed = with(&first, "code", &parameter(&second, "code"));
    siege.refuses("the code of another tab", (400, "code_refused"), &mut browser, mixed).await;
    siege.stands(1).await;
}

#[tokio::test]
async fn callback_rejects_redeemed_code_after_record_loss() {
    let mut siege = Siege::new().await;
    let (mut browser, callback) = siege.comes_back(siege.alice).await;
    let mut again = browser.clone();
    assert_eq!(browser.get(callback.clone()).await.status, 303);
    siege.world.sql("delete from entraway.used_attempts").await;
    siege.refuses("a code that was redeemed", (400, "code_refused"), &mut again, callback).await;
    siege.stands(1).await;
}

#[tokio::test]
async fn callback_rejects_code_that_entra_refuses() {
    let mut siege = Siege::new().await;
    let expired = "The provided authorization code or refresh token has expired due to inactivity.";
    for (how, error, expected) in [
        ("an expired code", EntraError::new("invalid_grant", 70008, expired), (400, "code_refused")),
        ("a malformed code", EntraError::new("invalid_grant", 9_002_313, "Invalid request."), (400, "code_refused")),
        ("a disabled account", EntraError::new("invalid_grant", 50057, "It is disabled."), (403, "entra_refused")),
        ("Conditional Access", EntraError::new("invalid_grant", 53003, "Blocked."), (403, "entra_refused")),
        ("no consent", EntraError::new("invalid_grant", 65001, "No consent."), (403, "consent_required")),
        ("one more step", EntraError::mfa_required(), (403, "interaction_required")),
        ("an unknown error", EntraError::new("unheard_of", 1, "<b>Unheard of</b>"), (400, "code_refused")),
    ] {
        siege.world.simulator.fault(FaultRule::on(Endpoint::Token, Fault::Entra(error)).token(TokenKind::Delegated));
        let (mut browser, callback) = siege.comes_back(siege.alice).await;
        siege.refuses(how, expected, &mut browser, callback).await;
        siege.world.simulator.clear_faults();
    }

    for (how, code) in [
        ("a made-up code", "x".repeat(3_000)),
        ("a code of five kilobytes", "x".repeat(5_000)),
        ("a code with a NUL in it", "1.AX\0".to_owned()),
        ("a code with a line end in it", "1.AX\r\nAuthorization: Basic eA==".to_owned()),
        ("a code with more parameters in it", "1.AX&grant_type=client_credentials&scope=.default".to_owned()),
        ("a code with an address in it", "https://evil.example/code".to_owned()),
        ("a code with HTML in it", "<script>alert(1)</script>".to_owned()),
    ] {
        let (mut browser, callback) = siege.comes_back(siege.alice).await;
        let url = with(&callback, "code", &code);
        siege.refuses(how, (400, "code_refused"), &mut browser, url).await;
    }
    siege.stands(14).await;
}
