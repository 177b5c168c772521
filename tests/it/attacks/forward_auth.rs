//! Attacks on forward auth: unauthenticated requests are not let through, and no request passes as another user.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entraway::identity_headers::IDENTITY_HEADERS;
use reqwest::Method;
use reqwest::header::LOCATION;
use sha2::{Digest as _, Sha256};

use super::Siege;
use crate::support::{Answer, Browser};

/// A case: its name, the path behind `/auth`, headers.
type Case = (&'static str, &'static str, Vec<(&'static str, String)>);

fn case(how: &'static str, path: &'static str, headers: &[(&'static str, &str)]) -> Case {
    (how, path, headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
}

impl Siege {
    async fn asks(&self, browser: &mut Browser, path: &str, headers: &[(&'static str, String)]) -> Answer {
        let mut request = browser.request(Method::GET, self.at(&format!("/auth{path}")));
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        browser.send(request).await
    }

    /// The response has this status, reveals no identity, redirects only to the sign-in, and has no side effects.
    async fn passes_nobody(
        &mut self,
        how: &str,
        status: u16,
        browser: &mut Browser,
        path: &str,
        headers: &[(&'static str, String)],
    ) {
        self.names(how);
        let before = self.world.traces().await;
        let answer = self.asks(browser, path, headers).await;
        assert_eq!(answer.status, status, "{how}: {answer:#?}");
        for name in IDENTITY_HEADERS {
            let values: Vec<_> = answer.headers.get_all(&name).iter().collect();
            let told = values.iter().any(|value| !value.is_empty());
            assert!(!told, "{how}: {name} reveals {values:?}");
            // Responses of other routes need no forward auth headers.
            assert!(status == 404 || values.len() == 1, "{how}: {name} occurs {} times", values.len());
        }
        for name in [LOCATION.as_str(), "x-auth-request-sign-in"] {
            let to = answer.headers.get(name).map_or("", |to| to.to_str().unwrap());
            assert!(to.is_empty() || to == "http://127.0.0.1:1/sso/login", "{how}: {name} redirects to {to}");
        }
        assert!(answer.set_cookies().is_empty(), "{how}: a cookie is set");
        self.leaks_nothing(how, &answer);
        assert_eq!(self.world.traces().await, before, "{how}: the database");
    }
}

#[tokio::test]
async fn verify_rejects_requests_without_a_valid_session() {
    let mut siege = Siege::new().await;
    let (mut signed_out, callback) = siege.comes_back(siege.alice).await;
    assert_eq!(signed_out.get(callback).await.status, 303);
    siege.secrets.add_cookies(&signed_out);
    let ended = signed_out.cookies["entraway"].clone();
    signed_out.post(siege.at("/sso/logout")).await;
    let (mut alices, callback) = siege.comes_back(siege.alice).await;
    assert_eq!(alices.get(callback).await.status, 303);
    siege.secrets.add_cookies(&alices);
    let token = alices.cookies["entraway"].clone();
    let hash = Sha256::digest(token.as_bytes());
    let digits = hash.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let hex: String = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16)).collect();
    let cookie = |value: &str| vec![("cookie", format!("entraway={value}"))];
    let alice = siege.alice.to_string();

    let mut cases = vec![
        case("a forged user header", "/verify", &[("x-auth-request-user", &alice)]),
        case("a role by header", "/verify", &[("x-auth-request-role", "proxy_admin")]),
        case("teams by header", "/verify", &[("x-auth-request-teams", "a,b")]),
        case("organizations by header", "/verify", &[("x-auth-request-organizations", "a,b")]),
        case("an address by header", "/verify", &[("x-auth-request-email", "ceo@contoso-sim.example")]),
        case(
            "an assertion without a signature",
            "/verify",
            &[("x-auth-request-assertion", "eyJhbGciOiJub25lIn0.e30.")],
        ),
        case("a user in a name with underscores", "/verify", &[("x_auth_request_user", &alice)]),
        case("a user twice", "/verify", &[("x-auth-request-user", &alice), ("x-auth-request-user", &alice)]),
        case(
            "a user by the names of other proxies",
            "/verify",
            &[("x-forwarded-user", &alice), ("remote-user", &alice)],
        ),
        case("a bearer token", "/verify", &[("authorization", "Bearer abc")]),
        case("a password", "/verify", &[("authorization", "Basic YWRtaW46YWRtaW4=")]),
        case(
            "an address that is trusted elsewhere",
            "/verify",
            &[("x-forwarded-for", "127.0.0.1"), ("x-real-ip", "127.0.0.1")],
        ),
        case("a certificate by header", "/verify", &[("x-forwarded-client-cert", "Hash=abc;Subject=\"CN=alice\"")]),
        case("another method by header", "/verify", &[("x-http-method-override", "DELETE")]),
        case("another path by header", "/verify", &[("x-original-url", "/healthz"), ("x-rewrite-url", "/healthz")]),
        case(
            "a page of an attacker's, as Traefik tells it",
            "/verify",
            &[
                ("accept", "text/html"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "evil.example"),
                ("x-forwarded-uri", "/"),
            ],
        ),
        case(
            "a page of an attacker's, as nginx tells it",
            "/verify",
            &[("accept", "text/html"), ("x-original-url", "https://evil.example/")],
        ),
        case(
            "a page of an attacker's, as Envoy tells it",
            "/verify/envoy/%2f%2fevil.example",
            &[("accept", "text/html"), ("x-forwarded-proto", "https"), ("host", "evil.example")],
        ),
        case("a cookie of another name's shape", "/verify", &[("cookie", "__Host-entraway=a; __Secure-entraway=b")]),
    ];
    for (how, value) in [
        ("a session that was signed out", ended.clone()),
        ("the hash of a token", URL_SAFE_NO_PAD.encode(hash)),
        ("the hash of a token in hexadecimal", hex),
        ("a token with something behind it", format!("{token}A")),
        ("a token without its end", token[..42].to_owned()),
        ("a token in percents", token.bytes().map(percent_encoding::percent_encode_byte).collect()),
        ("a token in capitals", token.to_uppercase()),
        ("a token padded", format!("{token}=")),
        ("a wildcard", "*".to_owned()),
        ("SQL", "' or '1'='1".to_owned()),
        ("zeros", "A".repeat(43)),
        ("a token of a megabyte's beginning", "A".repeat(8_000)),
    ] {
        cases.push((how, "/verify", cookie(&value)));
    }
    let (mut eves, callback) = siege.comes_back(siege.eve).await;
    assert_eq!(eves.get(callback).await.status, 303);
    siege.secrets.add_cookies(&eves);
    let eves = eves.cookies["entraway"].clone();
    cases.push(("two good tokens", "/verify", vec![("cookie", format!("entraway={token}; entraway={eves}"))]));
    cases.push(("two cookie lines with a good token each", "/verify", [cookie(&token), cookie(&eves)].concat()));
    cases.push((
        "a good token under a name with a space that browsers keep",
        "/verify",
        vec![("cookie", format!("\u{2000}entraway={token}"))],
    ));
    cases.push(("a token in another header", "/verify", vec![("x-cookie", format!("entraway={token}"))]));
    cases.push(("a token as a bearer's", "/verify", vec![("authorization", format!("Bearer {token}"))]));
    for (how, path, headers) in cases {
        siege.passes_nobody(how, 401, &mut Browser::new(), path, &headers).await;
    }
    for (how, status, path) in [
        ("another spelling of the path", 404, "/VERIFY"),
        ("a slash too many", 404, "//verify"),
        ("a parameter in the path", 404, "/verify;x=y"),
        ("a slash in percents", 404, "/verify%2f"),
        ("something behind the path", 404, "/verifyx"),
        ("a path that leads out of it again", 404, "/verify/../../etc/passwd"),
        ("a parameter that means nothing", 400, "/verify?no_such_parameter=abc"),
    ] {
        siege.passes_nobody(how, status, &mut alices.clone(), path, &[]).await;
    }
    assert_eq!(siege.asks(&mut alices, "/verify", &[]).await.status, 200, "Alice's own session is valid");
    siege.stands(40).await;
}

#[tokio::test]
async fn verify_grants_only_own_identity_and_memberships() {
    let mut siege = Siege::new().await;
    let (mut eves, callback) = siege.comes_back(siege.eve).await;
    assert_eq!(eves.get(callback).await.status, 303);
    siege.secrets.add_cookies(&eves);
    let group = siege.world.rows().await.teams.keys().next().expect("Alice's group has a team").clone();
    let group = |query: &str| format!("/verify?{}", query.replace("GROUP", &group));
    for (how, query) in [
        ("another's team", "team=GROUP"),
        ("another's organization", "organization=GROUP"),
        ("another's group", "group=GROUP"),
        ("another's group, claimed by header", "group=GROUP&group=x"),
        ("a role that she has not", "role=proxy_admin"),
        ("several that she has not", "role=proxy_admin&team=GROUP&organization=GROUP"),
        ("a pattern", "team=%25"),
        ("a list", "team=GROUP,x"),
        ("nothing but a blank", "team=%20"),
        ("NUL", "team=%00"),
        ("SQL", "team=%27%20or%20true--"),
    ] {
        let claims = [("x-auth-request-teams", "GROUP".to_owned()), ("x-auth-request-role", "proxy_admin".to_owned())];
        siege.passes_nobody(how, 403, &mut eves.clone(), &group(query), &claims).await;
    }
    for (how, query) in [
        ("a misspelt name", "teams=GROUP"),
        ("a name as an array", "team[]=GROUP"),
        ("a name in capitals", "TEAM=GROUP"),
        ("an empty team", "team="),
        ("an empty role", "role="),
        ("an unknown role", "role=root"),
        ("a known name beside an unknown one", "role=internal_user&admin=true"),
        ("a name with NUL", "team%00=GROUP"),
    ] {
        siege.passes_nobody(how, 400, &mut eves.clone(), &group(query), &[]).await;
    }
    siege.names("forged identity headers");
    let claims: Vec<_> =
        IDENTITY_HEADERS.iter().map(|name| (name.as_str().to_owned(), siege.alice.to_string())).collect();
    let mut request = eves.request(Method::GET, siege.at("/auth/verify"));
    for (name, value) in &claims {
        request = request.header(name, value);
    }
    let answer = eves.send(request).await;
    assert_eq!(answer.headers["x-auth-request-user"], siege.eve.to_string());
    let told = format!("{:?}", answer.headers);
    assert!(!told.contains(&siege.alice.to_string()), "{told}");
    siege.stands(20).await;
}
