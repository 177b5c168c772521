//! The simulator verifies client assertions as strictly as Entra.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA256, RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use entra_simulator::{Directory, Issuer};
use serde_json::{Map, Value, json};

use super::support::{World, noon, value};
use crate::support::Certified;

const BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A valid assertion, in which a test makes one part invalid.
struct Forge {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    key: Vec<u8>,
    encoding: &'static dyn RsaEncoding,
}

fn map(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

impl Forge {
    fn new(world: &World, certificate: &Certified) -> Self {
        let client_id = world.simulator.edit(|directory| directory.client_id.clone());
        let now = noon().timestamp();
        Self {
            header: map(json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": certificate.sha256() })),
            claims: map(json!({
                "aud": world.url(&format!("/{}/oauth2/v2.0/token", world.tenant())), "iss": client_id,
                "sub": client_id, "jti": "1", "iat": now, "nbf": now, "exp": now + 300,
            })),
            key: certificate.key.clone(),
            encoding: &RSA_PSS_SHA256,
        }
    }

    fn message(&self) -> String {
        let encode = |part: &Map<String, Value>| URL_SAFE_NO_PAD.encode(Value::from(part.clone()).to_string());
        format!("{}.{}", encode(&self.header), encode(&self.claims))
    }

    fn token(&self) -> String {
        let message = self.message();
        let key = KeyPair::from_pkcs8(&self.key).unwrap();
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(self.encoding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A world whose app has this certificate and no valid client secret.
async fn world(certificate: &Certified) -> World {
    let world = World::start(Directory::sample()).await;
    world.simulator.edit(|directory| directory.certificates.push(certificate.der.clone()));
    world
}

fn certificate() -> Certified {
    Certified::from_until(noon() - TimeDelta::days(1), noon() + TimeDelta::days(1))
}

/// Redeems a new code with the assertion.
async fn redeem(world: &World, token: &str) -> (u16, Value) {
    let tenant = world.tenant();
    let bob = world.simulator.edit(|directory| directory.people[1].id);
    let answer = world.pick(&tenant, bob).await;
    let change = [("client_secret", ""), ("client_assertion_type", BEARER), ("client_assertion", token)];
    world.redeem(&tenant, value(&answer, "code"), &change).await
}

#[tokio::test]
async fn ps256_and_legacy_rs256_assertions_are_accepted() {
    let certificate = certificate();
    let world = world(&certificate).await;
    let (status, body) = redeem(&world, &Forge::new(&world, &certificate).token()).await;
    assert_eq!(status, 200, "PS256 and x5t#S256: {body}");

    let mut older = Forge::new(&world, &certificate);
    let sha1 = URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate.der));
    older.header = map(json!({ "alg": "RS256", "typ": "JWT", "x5t": sha1 }));
    older.encoding = &RSA_PKCS1_SHA256;
    let (status, body) = redeem(&world, &older.token()).await;
    assert_eq!(status, 200, "RS256 and x5t: {body}");
}

#[tokio::test]
async fn invalid_assertion_returns_the_entra_error_code() {
    let certificate = certificate();
    let world = world(&certificate).await;
    let now = noon().timestamp();
    let other = json!("11111111-2222-4333-8444-555555555555");
    let claim = |name: &'static str, value: Value| {
        let mut forge = Forge::new(&world, &certificate);
        forge.claims.insert(name.to_owned(), value);
        forge
    };
    let header = |name: &'static str, value: Value| {
        let mut forge = Forge::new(&world, &certificate);
        forge.header.insert(name.to_owned(), value);
        forge
    };
    let mut both = claim("iss", other.clone());
    both.claims.insert("sub".to_owned(), other.clone());
    let mut other_key = Forge::new(&world, &certificate);
    other_key.key = self::certificate().key;
    let mut other_algorithm = Forge::new(&world, &certificate);
    other_algorithm.encoding = &RSA_PKCS1_SHA256;
    let mut nameless = Forge::new(&world, &certificate);
    nameless.header.remove("x5t#S256");
    for (how, forge, number) in [
        ("the endpoint of another tenant", claim("aud", json!(world.url("/common/oauth2/v2.0/token"))), 700_023),
        ("another host", claim("aud", json!("https://login.example.com/oauth2/v2.0/token")), 700_023),
        ("no audience", claim("aud", Value::Null), 700_023),
        ("another app's sub", claim("sub", other.clone()), 50048),
        ("another app's iss", claim("iss", other), 50048),
        ("another app's iss and sub", both, 700_021),
        ("over since six minutes", claim("exp", json!(now - 360)), 700_024),
        ("from in six minutes on", claim("nbf", json!(now + 360)), 700_024),
        ("no end", claim("exp", Value::Null), 700_024),
        ("no id", claim("jti", Value::Null), 50027),
        ("another certificate's name", header("x5t#S256", json!(self::certificate().sha256())), 700_027),
        ("another type", header("typ", json!("at+jwt")), 50027),
        ("no algorithm", header("alg", json!("none")), 5_002_738),
        ("a symmetric algorithm", header("alg", json!("HS256")), 5_002_738),
        ("another key", other_key, 700_027),
        ("another algorithm than the header says", other_algorithm, 700_027),
        ("no name of a certificate", nameless, 50027),
    ] {
        let (_, body) = redeem(&world, &forge.token()).await;
        assert_eq!(body["error_codes"], json!([number]), "{how}: {body}");
    }
    for (how, token) in [
        ("nothing like a token", "x".to_owned()),
        ("two parts", Forge::new(&world, &certificate).message()),
        ("four parts", format!("{}.x", Forge::new(&world, &certificate).token())),
    ] {
        let (_, body) = redeem(&world, &token).await;
        assert_eq!(body["error_codes"], json!([50027]), "{how}: {body}");
    }
}

#[tokio::test]
async fn hmac_with_the_public_key_is_rejected() {
    let certificate = certificate();
    let world = world(&certificate).await;
    let message = Forge::new(&world, &certificate).message();
    let mac = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &certificate.der), message.as_bytes());
    let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac));
    let (status, body) = redeem(&world, &token).await;
    assert_eq!((status, &body["error_codes"]), (401, &json!([700_027])));
}

#[tokio::test]
async fn certificate_outside_its_validity_is_rejected() {
    for (from, until) in [(-10, -1), (1, 10)] {
        let certificate = Certified::from_until(noon() + TimeDelta::days(from), noon() + TimeDelta::days(until));
        let world = world(&certificate).await;
        let (_, body) = redeem(&world, &Forge::new(&world, &certificate).token()).await;
        assert_eq!(body["error_codes"], json!([700_027]), "from {from} to {until}: {body}");
        assert!(body["error_description"].as_str().unwrap().contains("expired"), "{body}");
    }
}

#[tokio::test]
async fn unknown_assertion_type_is_rejected() {
    let certificate = certificate();
    let world = world(&certificate).await;
    let token = Forge::new(&world, &certificate).token();
    for kind in ["", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"] {
        let change = [("client_secret", ""), ("client_assertion_type", kind), ("client_assertion", &token)];
        let (status, body) = world.redeem(&world.tenant(), "a code", &change).await;
        assert_eq!((status, &body["error_codes"]), (400, &json!([90023])), "{kind:?}");
    }
}

#[tokio::test]
async fn federated_token_is_matched_exactly_and_verified() {
    let world = World::start(Directory::sample()).await;
    let cluster = Issuer::new("https://oidc.cluster.example/");
    world.simulator.edit(|directory| directory.federated_credentials.push(cluster.credential("the subject")));
    let now = noon().timestamp();
    let good = cluster.token("the subject", Issuer::AUDIENCE, now);
    assert_eq!(redeem(&world, &good).await.0, 200);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let claims = json!({ "aud": Issuer::AUDIENCE, "iss": "https://oidc.cluster.example/", "sub": "the subject", "exp": now + 9_999 });
    let changed = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    for (how, token, number) in [
        ("a subject in other letters", cluster.token("The Subject", Issuer::AUDIENCE, now), 70021),
        ("another audience", cluster.token("the subject", "api://azureadtokenexchange", now), 70021),
        (
            "an issuer without the slash",
            Issuer::new("https://oidc.cluster.example").token("the subject", Issuer::AUDIENCE, now),
            70021,
        ),
        (
            "another key",
            Issuer::new("https://oidc.cluster.example/").token("the subject", Issuer::AUDIENCE, now),
            50013,
        ),
        ("changed claims", changed, 50013),
        ("over", cluster.token("the subject", Issuer::AUDIENCE, now - 3_901), 700_024),
        ("not yet", cluster.token("the subject", Issuer::AUDIENCE, now + 301), 700_024),
    ] {
        let (_, body) = redeem(&world, &token).await;
        assert_eq!(body["error_codes"], json!([number]), "{how}: {body}");
    }
}

#[tokio::test]
async fn second_secret_is_accepted_and_expired_one_has_own_code() {
    let world = World::start(Directory::sample()).await;
    world.simulator.edit(|directory| {
        directory.second_client_secret = Some("the second".to_owned());
        directory.ended_client_secrets = vec!["the old one".to_owned()];
    });
    let tenant = world.tenant();
    for (secret, number) in [("the old one", 7_000_222), ("another", 7_000_215)] {
        let (status, body) = world.redeem(&tenant, "a code", &[("client_secret", secret)]).await;
        assert_eq!((status, &body["error_codes"]), (401, &json!([number])), "{secret}");
    }
    let bob = world.simulator.edit(|directory| directory.people[1].id);
    let answer = world.pick(&tenant, bob).await;
    let code = value(&answer, "code");
    assert_eq!(world.redeem(&tenant, code, &[("client_secret", "the second")]).await.0, 200);
    assert!(!world.app_token().await.is_empty(), "the first is valid, too");
}
