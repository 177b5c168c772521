//! Signatures: only RS256 with one of Entra's published keys under its own key ID.

use std::sync::Arc;

use entra_simulator::Signing;
use serde_json::json;

use super::forge::{Forge, KID};
use super::{refuses, refuses_each, wrong};
use crate::attacks::Siege;

#[tokio::test]
async fn id_token_with_invalid_signature_is_rejected() {
    let siege = Siege::new().await;
    let world = &siege.world;
    let signed = |how, code, signing: Signing| wrong(how, code, move |token| token.signing = signing.clone());
    let (pem, der) = (world.simulator.public_key_pem(), world.simulator.public_key_der());
    let trimmed = pem.trim_end().as_bytes().to_vec();
    let cases = vec![
        signed("one wrong bit in the signature", "id_token_signature", Signing::CorruptSignature),
        signed("half a signature", "id_token_signature", Signing::CutSignature),
        signed("neither signature nor second dot", "id_token_malformed", Signing::NoSignature),
        signed("alg none", "id_token_algorithm", Signing::None),
        signed("another key under the current key's name", "id_token_signature", Signing::WrongKey),
        signed("a key that is not published", "id_token_unknown_key", Signing::UnknownKey),
        signed("the public key (PEM) as HS256's secret", "id_token_algorithm", Signing::Hs256(pem.into_bytes())),
        signed("the same PEM without its last newline", "id_token_algorithm", Signing::Hs256(trimmed)),
        signed("the public key (DER) as HS256's secret", "id_token_algorithm", Signing::Hs256(der)),
        signed("an empty secret of HS256", "id_token_algorithm", Signing::Hs256(Vec::new())),
    ];
    refuses_each(siege, 10, cases).await;
}

#[tokio::test]
async fn id_token_with_wrong_kid_alg_or_typ_is_rejected() {
    let siege = Siege::new().await;
    let cases = vec![
        wrong("no key id", "id_token_unknown_key", |token| {
            token.header.remove("kid");
        }),
        wrong("an empty key id", "id_token_unknown_key", |token| {
            token.header.insert("kid".into(), json!(""));
        }),
        wrong("a key id that is a path", "id_token_unknown_key", |token| {
            token.header.insert("kid".into(), json!("../../../../dev/null"));
        }),
        wrong("a key id that is a number", "id_token_malformed", |token| {
            token.header.insert("kid".into(), json!(0));
        }),
        wrong("alg RS384 over an RS256 signature", "id_token_algorithm", |token| {
            token.header.insert("alg".into(), json!("RS384"));
        }),
        wrong("alg PS256", "id_token_algorithm", |token| {
            token.header.insert("alg".into(), json!("PS256"));
        }),
        wrong("alg ES256", "id_token_algorithm", |token| {
            token.header.insert("alg".into(), json!("ES256"));
        }),
        wrong("alg nOnE", "id_token_malformed", |token| {
            token.header.insert("alg".into(), json!("nOnE"));
            token.signing = Signing::None;
        }),
        wrong("no alg", "id_token_malformed", |token| {
            token.header.remove("alg");
        }),
        wrong("an unknown critical extension", "id_token_malformed", |token| {
            token.header.insert("crit".into(), json!(["urn:example:unheard-of"]));
        }),
        wrong("the type of another kind of token", "id_token_malformed", |token| {
            token.header.insert("typ".into(), json!("logout+jwt"));
        }),
    ];
    refuses_each(siege, 11, cases).await;
}

#[tokio::test]
async fn id_token_with_embedded_key_is_rejected() {
    let siege = Siege::new().await;
    let world = &siege.world;
    let forge = Arc::new(Forge::new());
    let url = format!("{}/keys", siege.lure.origin);
    let current = world.simulator.key_ids().remove(0);
    let brings = |how, code, kid: &str, name: &'static str, value: serde_json::Value| {
        let (forge, kid) = (forge.clone(), kid.to_owned());
        wrong(how, code, move |token| {
            token.header.insert(name.into(), value.clone());
            let kid = kid.clone();
            forge.rewrite(token, move |header, _| *header = header.replace(KID, &kid));
        })
    };
    let jwk = forge.jwk();
    let cases = vec![
        brings("its key in jwk", "id_token_unknown_key", KID, "jwk", jwk.clone()),
        brings("its key in jwk under the current name", "id_token_signature", &current, "jwk", jwk),
        brings("its key at jku", "id_token_unknown_key", KID, "jku", json!(url)),
        brings("its key at jku under the current name", "id_token_signature", &current, "jku", json!(url)),
        brings("its certificate at x5u", "id_token_unknown_key", KID, "x5u", json!(url)),
        brings("its certificate in x5c", "id_token_unknown_key", KID, "x5c", json!(["MIIB"])),
    ];
    refuses_each(siege, 6, cases).await;
}

#[tokio::test]
async fn id_token_with_empty_or_foreign_signature_is_rejected() {
    let mut siege = Siege::new().await;
    let forge = Arc::new(Forge::new());
    forge.publish(&siege.world.simulator);
    for (how, code, change) in [
        ("an empty signature", "id_token_signature", (|token: &str| cut(token, "")) as fn(&str) -> String),
        ("a signature of zeros", "id_token_signature", |token| cut(token, &"A".repeat(342))),
        ("a signature that is no base64", "id_token_malformed", |token| cut(token, "~~~~")),
        ("another token's signature", "id_token_signature", |token| {
            let other = Forge::new().sign("{}", "{}");
            cut(token, other.rsplit('.').next().unwrap())
        }),
        ("its payload changed after it was signed", "id_token_signature", |token| {
            let parts: Vec<&str> = token.split('.').collect();
            // The last base64 character of the payload encodes its closing brace. A space before the brace changes only
            // the bytes.
            let payload = String::from_utf8(base64_decode(parts[1])).unwrap();
            let payload = format!("{} }}", payload.strip_suffix('}').unwrap());
            format!("{}.{}.{}", parts[0], base64_encode(&payload), parts[2])
        }),
    ] {
        let forge = forge.clone();
        siege.world.simulator.next_id_token(move |token| {
            forge.rewrite(token, |_, _| {});
            token.raw = token.raw.take().map(|raw| change(&raw));
        });
        refuses(&mut siege, how, code).await;
    }
    siege.world.simulator.next_id_token(move |token| forge.rewrite(token, |_, _| {}));
    siege.world.sign_in(&siege.service, siege.alice).await;
    siege.stands(5).await;
}

/// The token with another signature.
fn cut(token: &str, signature: &str) -> String {
    let (message, _) = token.rsplit_once('.').unwrap();
    format!("{message}.{signature}")
}

fn base64_decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap()
}

fn base64_encode(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}
