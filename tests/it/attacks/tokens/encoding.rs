//! Malformed tokens: duplicate members, texts that are not tokens, missing parts.

use std::sync::Arc;

use entra_simulator::{Endpoint, Fault, FaultRule, TokenKind};
use serde_json::{Value, json};
use uuid::Uuid;

use super::forge::Forge;
use super::{refuses, refuses_each, wrong};
use crate::attacks::Siege;

#[tokio::test]
async fn id_token_with_duplicate_claim_is_rejected() {
    let mut siege = Siege::new().await;
    let forge = Arc::new(Forge::new());
    forge.publish(&siege.world.simulator);
    let id = Uuid::new_v4();
    for (name, value) in [
        ("tid", json!(id)),
        ("oid", json!(id)),
        ("iss", json!("https://evil.example")),
        ("aud", json!(id)),
        ("exp", json!(32_503_680_000_i64)),
        ("iat", json!(0)),
        ("nbf", json!(0)),
        ("nonce", json!("x")),
        ("ver", json!("1.0")),
        ("roles", json!(["proxy_admin"])),
        ("name", json!("Eve")),
        ("preferred_username", json!("eve@evil.example")),
        ("email", json!("eve@evil.example")),
        ("sid", json!(id)),
    ] {
        for in_front in [true, false] {
            let (forge, value) = (forge.clone(), value.clone());
            siege.world.simulator.next_id_token(move |token| {
                token.claims.insert("roles".into(), json!(["internal_user"]));
                forge.rewrite(token, |_, payload| *payload = twice(payload, name, &value, in_front));
            });
            let how = format!("a second {name} {}", if in_front { "in front" } else { "at its end" });
            refuses(&mut siege, &how, "id_token_malformed").await;
        }
    }
    siege.world.simulator.next_id_token(move |token| forge.rewrite(token, |_, _| {}));
    siege.world.sign_in(&siege.service, siege.alice).await;
    siege.stands(28).await;
}

#[tokio::test]
async fn id_token_with_duplicate_header_field_is_rejected() {
    let mut siege = Siege::new().await;
    let forge = Arc::new(Forge::new());
    forge.publish(&siege.world.simulator);
    for (name, value) in [("alg", json!("none")), ("kid", json!("another")), ("alg", json!("RS256"))] {
        for in_front in [true, false] {
            let how =
                format!("a second {name}, {value}, {} of its header", if in_front { "in front" } else { "at the end" });
            let (forge, value) = (forge.clone(), value.clone());
            siege.world.simulator.next_id_token(move |token| {
                forge.rewrite(token, |header, _| *header = twice(header, name, &value, in_front));
            });
            refuses(&mut siege, &how, "id_token_malformed").await;
        }
    }
    siege.stands(6).await;
}

/// The JSON object with one additional member.
fn twice(object: &str, name: &str, value: &Value, in_front: bool) -> String {
    let member = format!("\"{name}\":{value}");
    let inner = object.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap();
    if in_front { format!("{{{member},{inner}}}") } else { format!("{{{inner},{member}}}") }
}

#[tokio::test]
async fn id_token_that_is_not_a_jwt_is_rejected() {
    let siege = Siege::new().await;
    let raw = |how, text: &str| {
        let text = text.to_owned();
        wrong(how, "id_token_malformed", move |token| token.raw = Some(text.clone()))
    };
    let long = "e30.".repeat(100_000);
    let deep = format!("e30.{}.", base64("[".repeat(50_000)));
    let cases = vec![
        raw("no text", ""),
        raw("a word in its place", "hello"),
        raw("dots alone", ".."),
        raw("empty objects", "e30.e30."),
        raw("five parts, as an encrypted one", "e30.AAAA.AAAA.AAAA.AAAA"),
        raw("a hundred thousand parts", &long),
        raw("lists in lists in lists", &deep),
        raw("a NUL in it", "e30\0.e30.AAAA"),
        raw("HTML in its place", "<!doctype html>"),
    ];
    refuses_each(siege, 9, cases).await;
}

#[tokio::test]
async fn id_token_with_surrounding_characters_is_rejected() {
    let mut siege = Siege::new().await;
    let forge = Arc::new(Forge::new());
    forge.publish(&siege.world.simulator);
    for (how, around) in [
        ("a newline behind it", (|token| format!("{token}\n")) as fn(String) -> String),
        ("a blank in front of it", |token| format!(" {token}")),
        ("padding behind it", |token| format!("{token}==")),
        ("a dot behind it", |token| format!("{token}.")),
        ("a fourth part", |token| format!("{token}.e30")),
        ("its dots as commas", |token| token.replace('.', ",")),
    ] {
        let forge = forge.clone();
        siege.world.simulator.next_id_token(move |token| {
            forge.rewrite(token, |_, _| {});
            token.raw = token.raw.take().map(around);
        });
        refuses(&mut siege, how, "id_token_malformed").await;
    }
    siege.stands(6).await;
}

#[tokio::test]
async fn token_response_without_id_token_is_rejected() {
    let mut siege = Siege::new().await;
    siege.secrets.add("access token", "good-for-something");
    for (how, id_token) in [("no id_token", None), ("a null id_token", Some(Value::Null))] {
        let mut answer = json!({
            "token_type": "Bearer", "scope": "openid", "expires_in": 3599, "access_token": "good-for-something",
        });
        if let Some(id_token) = id_token {
            answer["id_token"] = id_token;
        }
        let fault = Fault::Status { status: 200, retry_after: None, body: Some(answer) };
        siege.world.simulator.fault(FaultRule::on(Endpoint::Token, fault).token(TokenKind::Delegated));
        refuses(&mut siege, how, "id_token_missing").await;
        siege.world.simulator.clear_faults();
    }
    siege.stands(2).await;
}

#[tokio::test]
async fn oversized_id_token_is_rejected_for_its_actual_fault() {
    let siege = Siege::new().await;
    let ours = siege.world.simulator.edit(|directory| directory.client_id.clone());
    let set = |how, code, name: &'static str, value: Value| {
        wrong(how, code, move |token| {
            token.claims.insert(name.to_owned(), value.clone());
        })
    };
    let many: Vec<String> = (0..10_000).map(|_| Uuid::new_v4().to_string()).chain([ours]).collect();
    let deep = (0..120).fold(json!(1), |inner, _| json!([inner]));
    let long = "x".repeat(1_000_000);
    let header = long.clone();
    let cases = vec![
        set("ten thousand apps in its audience, ours the last", "id_token_audience", "aud", json!(many)),
        set("a nonce of a megabyte", "id_token_nonce", "nonce", json!(long)),
        set("an issuer of a megabyte", "id_token_issuer", "iss", json!(long)),
        set("a tenant of a megabyte", "id_token_no_tenant", "tid", json!(long)),
        set("an object id of a megabyte", "id_token_no_object_id", "oid", json!(long)),
        set("lists in lists in place of a time", "id_token_malformed", "nbf", deep),
        wrong("a key id of a megabyte", "id_token_unknown_key", move |token| {
            token.header.insert("kid".into(), json!(header));
        }),
    ];
    refuses_each(siege, 7, cases).await;
}

fn base64(text: String) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}
