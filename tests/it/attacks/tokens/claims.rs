//! Claims: subject, audience, times and nonce.

use entra_simulator::IdToken;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Wrong, refuses_each, wrong};
use crate::attacks::Siege;
use crate::support::{Browser, World};

fn set(how: &'static str, code: &'static str, name: &'static str, value: Value) -> Wrong {
    wrong(how, code, move |token| {
        token.claims.insert(name.to_owned(), value.clone());
    })
}

fn without(how: &'static str, code: &'static str, name: &'static str) -> Wrong {
    wrong(how, code, move |token| {
        token.claims.remove(name);
    })
}

#[tokio::test]
async fn id_token_with_wrong_issuer_is_rejected() {
    let siege = Siege::new().await;
    let world = &siege.world;
    let tenant = world.simulator.edit(|directory| directory.tenant_id);
    let (authority, other) = (world.simulator.authority_url(), Uuid::new_v4());
    let iss = |how, value: String| set(how, "id_token_issuer", "iss", json!(value));
    let cases = vec![
        iss("the issuer of another tenant", format!("{authority}{other}/v2.0")),
        iss("a slash behind its issuer", format!("{authority}{tenant}/v2.0/")),
        iss("the issuer of v1.0 tokens", format!("https://sts.windows.net/{tenant}/")),
        iss("the issuer of another cloud", format!("https://login.microsoftonline.us/{tenant}/v2.0")),
        iss("the issuer's template", format!("{authority}{{tenantid}}/v2.0")),
        iss("an issuer that only begins like the right one", format!("{authority}{tenant}/v2.0.evil.example")),
        iss("its issuer in capitals", format!("{authority}{tenant}/V2.0")),
        iss("an empty issuer", String::new()),
        set("an issuer that is no text", "id_token_malformed", "iss", json!([format!("{authority}{tenant}/v2.0")])),
        without("no issuer", "id_token_malformed", "iss"),
    ];
    refuses_each(siege, 10, cases).await;
}

#[tokio::test]
async fn id_token_with_wrong_audience_is_rejected() {
    let siege = Siege::new().await;
    let world = &siege.world;
    let (ours, other) = (world.simulator.edit(|directory| directory.client_id.clone()), Uuid::new_v4().to_string());
    let aud = |how, value: Value| set(how, "id_token_audience", "aud", value);
    let cases = vec![
        aud("another app as its audience", json!(other)),
        aud("another app beside ours in its audience", json!([ours, other])),
        aud("another app in front of ours in its audience", json!([other, ours])),
        aud("no app in its audience", json!([])),
        aud("our app's address as its audience", json!(format!("api://{ours}"))),
        set("an audience that is no text", "id_token_malformed", "aud", json!({ ours.as_str(): true })),
        without("no audience", "id_token_malformed", "aud"),
    ];
    refuses_each(siege, 7, cases).await;
}

#[tokio::test]
async fn id_token_outside_its_validity_is_rejected() {
    let siege = Siege::new().await;
    let world = &siege.world;
    let at = |how, code, name: &'static str, seconds: i64| {
        let clock = world.clock.clone();
        wrong(how, code, move |token| {
            token.claims.insert(name.to_owned(), json!(clock.now().timestamp() + seconds));
        })
    };
    let cases = vec![
        at("an end more than five minutes ago", "id_token_expired", "exp", -301),
        at("an end a year ago", "id_token_expired", "exp", -31_536_000),
        at("a beginning in more than five minutes", "id_token_not_yet_valid", "nbf", 320),
        at("an issue in more than five minutes", "id_token_expired", "iat", 320),
        set("an end at the beginning of time", "id_token_expired", "exp", json!(0)),
        set("an end before all time", "id_token_malformed", "exp", json!(i64::MIN)),
        set("an end that no calendar has", "id_token_malformed", "exp", json!(u64::MAX)),
        set("an end that is text", "id_token_malformed", "exp", json!("tomorrow")),
        set("no end but null", "id_token_malformed", "exp", Value::Null),
        set("a beginning that is text", "id_token_malformed", "nbf", json!("now")),
        without("no end", "id_token_malformed", "exp"),
        without("no time of issue", "id_token_malformed", "iat"),
    ];
    refuses_each(siege, 12, cases).await;
}

#[tokio::test]
async fn id_token_with_wrong_nonce_is_rejected() {
    let siege = Siege::new().await;
    let entra = Browser::new().begin(&siege.service).await;
    let nonce_of_another = entra.query_pairs().find(|(name, _)| name == "nonce").unwrap().1.into_owned();
    let cases = vec![
        without("no nonce", "id_token_nonce", "nonce"),
        set("a null nonce", "id_token_nonce", "nonce", Value::Null),
        set("an empty nonce", "id_token_nonce", "nonce", json!("")),
        set("the nonce of another attempt", "id_token_nonce", "nonce", json!(nonce_of_another)),
        wrong("half of its nonce", "id_token_nonce", |token| {
            let half = token.claims["nonce"].as_str().unwrap()[..20].to_owned();
            token.claims.insert("nonce".into(), json!(half));
        }),
        set("a nonce that is no text", "id_token_malformed", "nonce", json!(["x"])),
    ];
    refuses_each(siege, 6, cases).await;
}

#[tokio::test]
async fn id_token_with_invalid_identity_claims_is_rejected() {
    let siege = Siege::new().await;
    let world = &siege.world;
    let bare = world.simulator.edit(|directory| directory.tenant_id).as_uuid().simple().to_string();
    let authority = world.simulator.authority_url();
    let tid = |how, value: Value| set(how, "id_token_no_tenant", "tid", value);
    let oid = |how, value: Value| set(how, "id_token_no_object_id", "oid", value);
    let cases = vec![
        without("no tenant", "id_token_no_tenant", "tid"),
        tid("a tenant that is no GUID", json!("contoso-sim.example")),
        tid("an empty tenant", json!("")),
        tid("a tenant without hyphens", json!(bare)),
        set("a tenant that is no text", "id_token_malformed", "tid", json!(1)),
        wrong("another tenant and that tenant's issuer", "tenant_not_allowed", move |token| {
            let other = Uuid::new_v4();
            token.claims.insert("tid".into(), json!(other));
            token.claims.insert("iss".into(), json!(format!("{authority}{other}/v2.0")));
        }),
        set("another tenant under our issuer", "tenant_not_allowed", "tid", json!(Uuid::new_v4())),
        without("no object id", "id_token_no_object_id", "oid"),
        oid("a null object id", Value::Null),
        oid("an object id that is no GUID", json!("alice")),
        oid("an empty object id", json!("")),
        oid("a GUID with something behind it as its object id", json!(format!("{} ", Uuid::new_v4()))),
        oid("an object id in braces", json!(format!("{{{}}}", Uuid::new_v4()))),
        set("an object id that is no text", "id_token_malformed", "oid", json!({})),
        set("version 1.0", "id_token_version", "ver", json!("1.0")),
        without("no version", "id_token_version", "ver"),
        set("a version that is a number", "id_token_malformed", "ver", json!(2.0)),
        set("its roles as text", "id_token_malformed", "roles", json!("proxy_admin")),
        set("a role that is no text", "id_token_malformed", "roles", json!(["internal_user", 1])),
        set("its roles as an object", "id_token_malformed", "roles", json!({ "0": "proxy_admin" })),
        without("no subject", "id_token_malformed", "sub"),
    ];
    refuses_each(siege, 21, cases).await;
}

#[tokio::test]
async fn rejected_id_token_keeps_the_existing_session() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    let before = world.traces().await;
    world.simulator.next_id_token(|token: &mut IdToken| {
        token.claims.insert("ver".into(), json!("1.0"));
    });
    let answer = browser.sign_in(&world.simulator, &service, alice).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "id_token_version"));
    assert_eq!(world.traces().await, before, "only the previous session");
    assert_eq!(browser.me(&service).await.status, 200, "the previous session is still valid");
}
