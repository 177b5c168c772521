//! Published keys that are not valid for this token: a matching key in the JWKS is not sufficient.

use std::sync::Arc;

use entra_simulator::{Endpoint, Fault, FaultRule, Signing};
use serde_json::{Value, json};
use uuid::Uuid;

use super::forge::{Forge, KID};
use super::{refuses, refuses_each, wrong};
use crate::attacks::Siege;
use crate::support::Browser;

#[tokio::test]
async fn published_key_is_rejected_outside_its_use_or_issuer() {
    let mut siege = Siege::new().await;
    let forge = Arc::new(Forge::new());
    let tenant = siege.world.simulator.edit(|directory| directory.tenant_id);
    let authority = siege.world.simulator.authority_url();
    let other = format!("{authority}{}/v2.0", Uuid::new_v4());
    let shared = "c2hhcmVkLXNlY3JldC1vZi1zb21lYm9keS1lbHNl";
    let published: Vec<(&str, &str, Value)> = vec![
        ("for encryption", "id_token_unknown_key", json!({ "use": "enc" })),
        ("of another tenant", "id_token_unknown_key", json!({ "issuer": other })),
        ("of another host", "id_token_unknown_key", json!({ "issuer": format!("https://evil.example/{tenant}/v2.0") })),
        ("of another cloud", "id_token_unknown_key", json!({ "cloud_instance_name": "microsoftonline.us" })),
        ("of another kind", "id_token_unknown_key", json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" })),
        ("without a modulus", "id_token_unknown_key", json!({ "n": null })),
        ("for another algorithm", "id_token_unknown_key", json!({ "alg": "RS384" })),
    ];
    let set = authority.join(&format!("/{tenant}/discovery/v2.0/keys")).unwrap();
    let mut set = Browser::new().get(set).await.json();
    let keys = set["keys"].as_array_mut().unwrap();
    for (how, _, change) in &published {
        let mut key = forge.jwk();
        key["kid"] = json!(how);
        key.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        keys.push(key);
    }
    keys.push(json!({ "kty": "oct", "use": "sig", "alg": "HS256", "kid": "a shared secret", "k": shared }));
    keys.push(forge.jwk());
    let set = Fault::Status { status: 200, retry_after: None, body: Some(set) };
    siege.world.simulator.fault(FaultRule::on(Endpoint::Keys, set));

    for (kid, code, _) in published {
        let forge = forge.clone();
        siege.world.simulator.next_id_token(move |token| {
            forge.rewrite(token, |header, _| *header = header.replace(KID, kid));
        });
        refuses(&mut siege, &format!("the signature of a key {kid}"), code).await;
    }
    siege.world.simulator.next_id_token(move |token| forge.rewrite(token, |_, _| {}));
    siege.world.sign_in(&siege.service, siege.alice).await;
    let secrets = [shared.as_bytes(), b"shared-secret-of-somebody-else"];
    let of_secret = |how, secret: &[u8]| {
        let secret = secret.to_vec();
        wrong(how, "id_token_algorithm", move |token| {
            token.header.insert("kid".into(), json!("a shared secret"));
            token.signing = Signing::Hs256(secret.clone());
        })
    };
    let cases = vec![of_secret("a published secret as text", secrets[0]), of_secret("a published secret", secrets[1])];
    refuses_each(siege, 8, cases).await;
}
