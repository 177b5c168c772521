//! 200 with the identity, 401 without a session, and every identity header on every answer.

use reqwest::Method;
use rstest::rstest;

use super::{alice, one, status, tells_nobody, verify};
use crate::support::sql_fixtures::DELETE_USER;
use crate::support::{Browser, LiteLlm, Native, StoreKind, World};

#[rstest]
#[tokio::test]
async fn verify_returns_identity_headers_for_any_method(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (person, group) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, person).await;
    for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        // As a form of another site behind the proxy: the upstream decides about the origin.
        let request =
            browser.request(method.clone(), service.at("/auth/verify")).header("Origin", "https://app.example");
        let answer = browser.send(request).await;
        assert_eq!(answer.status, 200, "{method}: {answer:#?}");
        for (name, value) in [
            ("x-auth-request-user", person.to_string()),
            ("x-auth-request-email", "alice.arden@contoso-sim.example".to_owned()),
            ("x-auth-request-name", "Alice%20Arden".to_owned()),
            ("x-auth-request-role", "internal_user".to_owned()),
            ("x-auth-request-organizations", group.to_string()),
            ("x-auth-request-organizations-truncated", String::new()),
            ("x-auth-request-teams", group.to_string()),
            ("x-auth-request-teams-truncated", String::new()),
            ("x-auth-request-assertion", String::new()),
            ("cache-control", "no-store".to_owned()),
        ] {
            assert_eq!(one(&answer.headers, name), value, "{method}: {name}");
        }
        assert_eq!(answer.body, "");
        assert!(answer.set_cookies().is_empty(), "{method}");
    }
}

#[tokio::test]
async fn verify_without_session_is_401_with_empty_headers() {
    let world = World::new().await;
    let service = world.service().await;
    let mut signed_in = alice(&world, &service).await;
    let token = signed_in.cookies["entraway"].clone();
    let mut other = token.clone().into_bytes();
    other[5] = if other[5] == b'A' { b'B' } else { b'A' };
    let other = String::from_utf8(other).unwrap();
    for (what, cookie) in [
        ("no cookie", String::new()),
        ("another cookie", "session=abc".to_owned()),
        ("an empty token", "entraway=".to_owned()),
        ("another token", format!("entraway={other}")),
        ("half a token", format!("entraway={}", &token[..20])),
        ("two other tokens", format!("entraway={other}; entraway={}", other.replace('A', "B"))),
        ("the token under another name", format!("__Host-entraway={token}")),
    ] {
        let answer = verify(&mut Browser::new(), &service, "/auth/verify", &[("Cookie", cookie.as_str())]).await;
        assert_eq!(answer.status, 401, "{what}: {answer:#?}");
        tells_nobody(&answer);
    }
    assert_eq!(status(&mut signed_in, &service).await, 200, "the token itself is good");
}

#[rstest]
#[tokio::test]
async fn verify_email_header_is_only_the_signin_address(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (person, _) = world.alice();
    let mail = "ceo@contoso-sim.example";
    let change = |upn: &str| {
        world.simulator.edit(|directory| {
            let person = directory.people.iter_mut().find(|known| known.id == person).unwrap();
            (person.upn, person.email) = (upn.to_owned(), Some(mail.to_owned()));
        });
    };
    let service = world.service().await;
    let told = async |browser: &mut Browser| {
        let answer = verify(browser, &service, "/auth/verify", &[]).await;
        assert_eq!(answer.status, 200, "{answer:#?}");
        one(&answer.headers, "x-auth-request-email").to_owned()
    };
    // The `email` claim is not verified: an administrator of any tenant can enter any address.
    change("no-address");
    let mut first = world.sign_in(&service, person).await;
    assert_eq!(told(&mut first).await, "", "from the database");
    assert_eq!(told(&mut first).await, "", "from memory");
    assert_eq!(first.me(&service).await.json()["user"]["email"], mail, "the user's own page shows it");

    change("Alice@Contoso-sim.example");
    let mut second = world.sign_in(&service, person).await;
    for browser in [&mut second, &mut first] {
        assert_eq!(told(browser).await, "alice@contoso-sim.example", "that of the latest sign-in, in each session");
    }
    change("no-address");
    let mut third = world.sign_in(&service, person).await;
    for browser in [&mut third, &mut first] {
        assert_eq!(told(browser).await, "", "an address that was taken away is not told");
    }
    sqlx::query("update entraway.sessions set sign_in_address = null").execute(&world.pool).await.unwrap();
    let of_before = world.service().await;
    assert_eq!(status(&mut third, &of_before).await, 200, "a session that an older version opened");
}

#[tokio::test]
async fn failed_session_lookup_is_an_error() {
    let world = World::new().await;
    let service = world.service().await;
    let mut browser = alice(&world, &service).await;
    world.database_goes_away().await;
    let answer = verify(&mut browser, &service, "/auth/verify", &[]).await;
    assert_eq!(answer.status, 503, "{answer:#?}");
    assert_eq!(one(&answer.headers, "retry-after"), "5");
    tells_nobody(&answer);
    world.database_comes_back().await;
    assert_eq!(status(&mut browser, &service).await, 200, "and known again afterwards");
}

#[tokio::test]
async fn verify_ignores_identity_headers_of_the_client() {
    let world = World::new().await;
    let service = world.service_with(super::trusting).await;
    let mut browser = alice(&world, &service).await;
    let claims = [
        ("x-auth-request-user", "00000000-0000-0000-0000-000000000000"),
        ("x-auth-request-role", "proxy_admin"),
        ("x-auth-request-teams", "all-of-them"),
        ("x_auth_request_role", "proxy_admin"),
        ("x-auth-request-assertion", "e30.e30.e30"),
    ];
    let answer = verify(&mut browser, &service, "/auth/verify", &claims).await;
    assert_eq!(one(&answer.headers, "x-auth-request-role"), "internal_user");
    assert_eq!(one(&answer.headers, "x-auth-request-assertion"), "");
    let answer = verify(&mut Browser::new(), &service, "/auth/verify", &claims).await;
    assert_eq!(answer.status, 401);
    tells_nobody(&answer);
}

#[rstest]
#[tokio::test]
async fn verify_rejects_session_of_deleted_user(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (person, _) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, person).await;
    assert_eq!(status(&mut browser, &service).await, 200);
    let id = person.to_string();
    world.by_hand(DELETE_USER, &[&id]).await;
    if store == LiteLlm {
        // LiteLLM's tables do not notify: a cached session counts for a minute, as in the proxy itself.
        world.clock.advance(chrono::TimeDelta::seconds(61));
    }
    super::until("the session is rejected", async || status(&mut browser, &service).await == 401).await;
}

#[tokio::test]
async fn verify_truncates_team_headers_and_checks_all_teams() {
    let world = World::new().await;
    let (person, groups) = world.simulator.edit(|directory| {
        let person = directory.person("Mona Many", |_| {});
        let groups: Vec<_> = (0..90).map(|n| directory.group(&format!("Group {n}"))).collect();
        for group in &groups {
            directory.put(person, *group);
            directory.assign(*group);
        }
        (person, groups)
    });
    let service = world.service().await;
    let mut browser = world.sign_in(&service, person).await;
    let answer = verify(&mut browser, &service, "/auth/verify", &[]).await;
    let told: Vec<&str> = one(&answer.headers, "x-auth-request-teams").split(',').collect();
    assert_eq!(told.len(), 40, "as many as fit");
    assert_eq!(one(&answer.headers, "x-auth-request-teams-truncated"), "50");
    assert_eq!(one(&answer.headers, "x-auth-request-organizations-truncated"), "50");
    let bytes: usize = answer.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    assert!(bytes < 4_096, "all headers fit into what nginx reads by default, and are {bytes} bytes");
    for group in groups {
        let path = format!("/auth/verify?team={group}");
        assert_eq!(verify(&mut browser, &service, &path, &[]).await.status, 200, "{group}, told or not");
    }
}
