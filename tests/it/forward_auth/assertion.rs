//! Assertions, verified as an upstream verifies them.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use entraway::config::{Assertion, Config};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use super::{alice, one, verify};
use crate::support::{Browser, Service, World};

const AUDIENCE: &str = "https://app.example";

fn asserting(config: &mut Config) {
    let (audience, audiences) = (Some(AUDIENCE.to_owned()), BTreeMap::new());
    config.session.assertion = Some(Assertion { audience, audiences, ttl: Duration::from_mins(1) });
}

pub(crate) async fn keys(service: &Service) -> JwkSet {
    let answer = Browser::new().get(service.at("/.well-known/jwks.json")).await;
    assert_eq!(answer.status, 200, "{answer:#?}");
    assert_eq!(one(&answer.headers, "cache-control"), "public, max-age=300");
    assert!(!answer.body.contains("\"d\""), "no private key is published: {}", answer.body);
    serde_json::from_str(&answer.body).unwrap()
}

/// The claims, if one of these keys signed them. The tests check the times themselves.
fn checked(assertion: &str, keys: &JwkSet) -> Result<Value, String> {
    checked_by(AUDIENCE, assertion, keys)
}

/// The same for an upstream that expects this audience.
fn checked_by(audience: &str, assertion: &str, keys: &JwkSet) -> Result<Value, String> {
    let header = jsonwebtoken::decode_header(assertion).unwrap();
    assert_eq!(header.alg, Algorithm::ES256);
    let key = keys.find(&header.kid.unwrap()).ok_or("no such key is published")?;
    let mut validation = Validation::new(Algorithm::ES256);
    validation.set_audience(&[audience]);
    validation.validate_exp = false;
    let decoded = jsonwebtoken::decode::<Value>(assertion, &DecodingKey::from_jwk(key).unwrap(), &validation);
    decoded.map(|token| token.claims).map_err(|error| error.to_string())
}

async fn assertion(browser: &mut Browser, service: &Service) -> String {
    assertion_for(browser, service, "/auth/verify", &[]).await
}

/// The assertion in the answer to a proxy that sends these headers.
async fn assertion_for(browser: &mut Browser, service: &Service, path: &str, told: &[(&str, &str)]) -> String {
    let answer = verify(browser, service, path, told).await;
    assert_eq!(answer.status, 200, "{answer:#?}");
    one(&answer.headers, "x-auth-request-assertion").to_owned()
}

#[tokio::test]
async fn assertion_verifies_at_an_upstream() {
    let world = World::new().await;
    let (person, group) = world.alice();
    let service = world.service_with(asserting).await;
    let mut browser = world.sign_in(&service, person).await;
    let token = assertion(&mut browser, &service).await;
    let keys = keys(&service).await;
    let claims = checked(&token, &keys).unwrap();
    let now = world.clock.now().timestamp();
    let jti = claims["jti"].as_str().unwrap();
    assert!(uuid::Uuid::parse_str(jti).is_ok_and(|jti| jti.get_version_num() == 4), "{jti}");
    let signed_in: i64 = sqlx::query_scalar("select extract(epoch from created_at)::bigint from entraway.sessions")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    let (iat, exp) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    assert!((now - 60..=now).contains(&iat), "issued at {iat}, and it is {now}");
    assert_eq!(exp - iat, 60);
    let expected = json!({
        "iss": "http://127.0.0.1:1/", "aud": AUDIENCE, "sub": person, "iat": iat, "exp": exp,
        "jti": jti, "auth_time": claims["auth_time"],
        "tid": world.simulator.edit(|directory| directory.tenant_id),
        "email": "alice.arden@contoso-sim.example", "name": "Alice Arden", "role": "internal_user",
        "organizations": [group], "organizations_truncated": 0, "teams": [group], "teams_truncated": 0,
    });
    assert_eq!(claims, expected);
    // The database rounds to the next second.
    assert!((signed_in - 1..=signed_in).contains(&claims["auth_time"].as_i64().unwrap()), "{claims:#}");
    let next = checked(&assertion(&mut browser, &service).await, &keys).unwrap();
    assert_ne!(next["jti"], claims["jti"], "each assertion has an id of its own");
    world.clock.advance(TimeDelta::hours(1));
    let later = checked(&assertion(&mut browser, &service).await, &keys).unwrap();
    assert_eq!(later["auth_time"], claims["auth_time"], "the time of the sign-in, not of the request");
    world.sign_in(&service, person).await;
    let same = checked(&assertion(&mut browser, &service).await, &keys).unwrap();
    assert_eq!(same["auth_time"], claims["auth_time"], "and not that of another session of the user's");

    let (head, signature) = token.rsplit_once('.').unwrap();
    let other = assertion(&mut browser, &world.service_with(asserting).await).await;
    let other = checked(&other, &keys).expect("another replica signs with the same key");
    assert_eq!(other["sub"], claims["sub"]);
    let mut forged = signature.to_owned();
    forged.replace_range(3..4, if &signature[3..4] == "A" { "B" } else { "A" });
    checked(&format!("{head}.{forged}"), &keys).expect_err("a signature that was changed");
}

/// A header's name and value.
type Line = (&'static str, String);

/// How each proxy names the host of an upstream: the proxy, the path that it requests, its headers.
fn named(host: &str) -> [(&'static str, &'static str, Vec<Line>); 3] {
    let proto = ("x-forwarded-proto", "https".to_owned());
    let uri = ("x-forwarded-uri", "/x".to_owned());
    [
        ("nginx", "/auth/verify", vec![("x-original-url", format!("https://{host}/x?y=z"))]),
        ("Traefik and Caddy", "/auth/verify", vec![proto.clone(), ("x-forwarded-host", host.to_owned()), uri]),
        ("Envoy", "/auth/verify/envoy/x", vec![proto, ("host", host.to_owned())]),
    ]
}

fn lines(told: &[Line]) -> Vec<(&str, &str)> {
    told.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

#[tokio::test]
async fn assertion_is_for_the_forwarded_host_alone() {
    let world = World::new().await;
    let service = world.service_with(|config| {
        asserting(config);
        super::trusting(config);
        let audiences = &mut config.session.assertion.as_mut().unwrap().audiences;
        audiences.insert("c.example:8443".to_owned(), "urn:example:c".to_owned());
    });
    let service = service.await;
    let mut browser = alice(&world, &service).await;
    let keys = keys(&service).await;
    let all = [AUDIENCE, "https://a.example", "https://b.example", "urn:example:c"];
    for (host, audience) in
        [("a.example", all[1]), ("b.example", all[2]), ("B.example:443", all[2]), ("c.example:8443", all[3])]
    {
        for (proxy, path, told) in named(host) {
            let token = assertion_for(&mut browser, &service, path, &lines(&told)).await;
            for expected in all {
                let good = checked_by(expected, &token, &keys).is_ok();
                assert_eq!(good, expected == audience, "{proxy}: what {host} was sent, at {expected}");
            }
        }
    }
    let token = assertion_for(&mut browser, &service, "/auth/verify", &[("x-forwarded-proto", "https")]).await;
    checked(&token, &keys).expect("without a forwarded host it is for the audience of the configuration");
}

#[tokio::test]
async fn assertion_is_omitted_for_an_ambiguous_upstream() {
    let world = World::new().await;
    let service = world.service_with(|config| {
        asserting(config);
        super::trusting(config);
    });
    let service = service.await;
    let mut browser = alice(&world, &service).await;
    let (proto, host) = (("x-forwarded-proto", "https"), ("x-forwarded-host", "a.example"));
    for told in [
        vec![host],
        vec![proto, host, ("x-forwarded-host", "b.example")],
        vec![proto, ("x-forwarded-host", "a.example, b.example")],
        vec![("x-original-url", "https://a.example/"), ("x-original-url", "https://b.example/")],
        vec![("x-original-url", "/x"), proto, host],
        vec![("x-original-url", "https://b.example/"), proto, host],
    ] {
        assert_eq!(assertion_for(&mut browser, &service, "/auth/verify", &told).await, "", "{told:?}");
    }
    let service = world.service_with(|config| {
        asserting(config);
        super::trusting(config);
        config.session.assertion.as_mut().unwrap().audience = None;
    });
    let service = service.await;
    assert_eq!(assertion(&mut browser, &service).await, "", "no upstream, and no audience for that");
}

#[tokio::test]
async fn assertion_audience_ignores_hosts_from_untrusted_peers() {
    let world = World::new().await;
    let service = world.service_with(asserting).await;
    let mut browser = alice(&world, &service).await;
    let keys = keys(&service).await;
    for (proxy, path, told) in named("evil.example") {
        let token = assertion_for(&mut browser, &service, path, &lines(&told)).await;
        checked(&token, &keys).unwrap_or_else(|error| panic!("as {proxy}: {error}"));
    }
}

#[tokio::test]
async fn disabled_assertions_publish_no_keys() {
    let world = World::new().await;
    let service = world.service().await;
    let mut browser = alice(&world, &service).await;
    assert_eq!(assertion(&mut browser, &service).await, "");
    assert_eq!(Browser::new().get(service.at("/.well-known/jwks.json")).await.status, 404);
    let keys: i64 =
        sqlx::query_scalar("select count(*) from entraway.assertion_keys").fetch_one(&world.pool).await.unwrap();
    assert_eq!(keys, 0);
}

#[tokio::test]
async fn assertion_keys_rotate_and_overlap_in_the_jwks() {
    let world = World::new().await;
    let (person, _) = world.alice();
    let lasting = |config: &mut Config| {
        asserting(config);
        config.session.lifetime = Duration::from_hours(24 * 300);
        config.session.idle_timeout = Duration::from_hours(24 * 300);
    };
    let service = world.service_with(lasting).await;
    let mut browser = world.sign_in(&service, person).await;
    let kid = |token: &str| jsonwebtoken::decode_header(token).unwrap().kid.unwrap();
    let first = assertion(&mut browser, &service).await;
    assert_eq!(keys(&service).await.keys.len(), 1);

    world.clock.advance(TimeDelta::days(30) + TimeDelta::minutes(1));
    let late = assertion(&mut browser, &service).await;
    assert_eq!(kid(&late), kid(&first), "the new key is published, but signs nothing yet");
    assert_eq!(keys(&service).await.keys.len(), 2);

    world.clock.advance(TimeDelta::minutes(11));
    let second = assertion(&mut browser, &service).await;
    assert_ne!(kid(&second), kid(&first), "upstreams have had time to fetch the new key");
    let published = keys(&service).await;
    for (which, token) in [("old", &late), ("new", &second)] {
        checked(token, &published).unwrap_or_else(|error| panic!("what the {which} key signed: {error}"));
    }

    world.clock.advance(TimeDelta::days(1));
    assertion(&mut browser, &service).await;
    let published = keys(&service).await;
    assert_eq!(published.keys.len(), 1, "the old one is gone a day later");
    checked(&second, &published).unwrap();
}

#[tokio::test]
async fn deleted_assertion_key_signs_nothing_after_a_minute() {
    let world = World::new().await;
    let service = world.service_with(asserting).await;
    let mut browser = alice(&world, &service).await;
    let token = assertion(&mut browser, &service).await;
    super::remembers(&service).await;
    assertion(&mut browser, &service).await;
    let keys = keys(&service).await;
    sqlx::query("delete from entraway.assertion_keys").execute(&world.pool).await.unwrap();
    // An operator deletes a stolen key. Within a minute, another one signs.
    world.clock.advance(TimeDelta::seconds(61));
    let another = assertion(&mut browser, &service).await;
    checked(&token, &keys).unwrap();
    checked(&another, &keys).expect_err("the deleted key signs no more");
}
