//! Any cookie header is a session or none, and never an internal error.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::Method;
use reqwest::header::{ACCEPT, COOKIE, HeaderValue};

use crate::support::{Browser, Service, World};

#[tokio::test]
async fn malformed_cookies_are_no_session_and_no_error() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let token = world.sign_in(&service, alice).await.cookies["entraway"].clone();
    let long = "x".repeat(8_000);
    let many = "a=b; ".repeat(1_000);
    let texts: Vec<Vec<u8>> = [
        "",
        ";",
        "=",
        "entraway",
        "entraway=",
        "entraway=;;",
        "=entraway",
        "entraway=x",
        "entraway=%00",
        "entraway=%",
        "entraway=\"",
        "entraway=\" \"",
        "entraway=,",
        "entraway='; drop table entraway.sessions --",
    ]
    .into_iter()
    .map(|text| text.as_bytes().to_vec())
    .chain([
        format!("entraway={long}").into_bytes(),
        format!("{many}entraway={}", &token[..42]).into_bytes(),
        format!("entraway={token}=").into_bytes(),
        format!("entraway={}", token.to_lowercase()).into_bytes(),
        format!("ENTRAWAY={token}").into_bytes(),
        b"entraway=\xff\xfe".to_vec(),
        b"\x80=\x80".to_vec(),
        b"entraway-attempt-=x; entraway-attempt-\xc3\xa4=y".to_vec(),
    ])
    .collect();
    for text in texts {
        let shown = String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
        let cookie = HeaderValue::from_bytes(&text).unwrap();
        for (method, path, expected) in [
            (Method::GET, "/api/me", 401),
            (Method::GET, "/", 200),
            (Method::GET, "/sso/login", 303),
            (Method::GET, "/sso/callback?code=x&state=AAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 400),
            (Method::POST, "/sso/logout", 303),
        ] {
            let mut bare = Browser::new();
            let request = bare.request(method, service.at(path)).header(COOKIE, cookie.clone());
            let answer = bare.send(request.header(ACCEPT, "text/html")).await;
            assert_eq!(answer.status, expected, "{path} with {shown:?}");
        }
    }
    assert_eq!(world.traces().await.sessions, 1, "none of that ended the real session");
}

/// The statuses of a page and of `/auth/verify`, the latter twice: from the database and, where it can be, from memory.
async fn statuses(service: &Service, cookies: &[u8]) -> [u16; 3] {
    let mut statuses = [0; 3];
    for (status, path) in statuses.iter_mut().zip(["/api/me", "/auth/verify", "/auth/verify"]) {
        let mut bare = Browser::new();
        let cookies = HeaderValue::from_bytes(cookies).unwrap();
        let answer = bare.send(bare.request(Method::GET, service.at(path)).header(COOKIE, cookies)).await;
        *status = answer.status.as_u16();
    }
    statuses
}

#[tokio::test]
async fn cookie_name_with_unicode_space_is_ignored() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service_with(|config| config.server.public_url = "https://e.com".parse().unwrap()).await;
    let (alices, eves) = {
        let eve = world.simulator.edit(|directory| directory.person("Eve", |_| {}));
        let token = async |who| world.sign_in(&service, who).await.cookies["__Host-entraway"].clone();
        (token(alice).await, token(eve).await)
    };
    for space in [
        "\u{85}", "\u{a0}", "\u{1680}", "\u{2000}", "\u{2003}", "\u{2028}", "\u{3000}", "\u{feff}", "\u{200b}",
        "\u{b}", "\u{c}",
    ] {
        for name in [format!("{space}__Host-entraway"), format!("__Host-entraway{space}")] {
            // An HTTP header can contain no control character but the tab.
            let Ok(planted) = HeaderValue::from_bytes(format!("{name}={eves}").as_bytes()) else { continue };
            let planted = String::from_utf8(planted.as_bytes().to_vec()).unwrap();
            assert_eq!(statuses(&service, planted.as_bytes()).await, [401; 3], "{name:?}: signed in as Eve");
            for both in [format!("{planted}; __Host-entraway={alices}"), format!("__Host-entraway={alices}; {planted}")]
            {
                assert_eq!(statuses(&service, both.as_bytes()).await, [200; 3], "{name:?}: Alice is locked out");
            }
        }
    }
    for padded in [format!("\t__Host-entraway\t=\t{alices}\t"), format!("a=b;  __Host-entraway = {alices} ")] {
        assert_eq!(statuses(&service, padded.as_bytes()).await, [200; 3], "{padded:?}");
    }
}

#[tokio::test]
async fn valid_session_is_found_beside_invalid_session_cookies() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let token = world.sign_in(&service, alice).await.cookies["entraway"].clone();
    let dead = |n: u8| URL_SAFE_NO_PAD.encode([n; 32]);
    let pair = |value: &str| format!("entraway={value}");
    let good = pair(&token);
    let dead_pairs = |count: u8| (0..count).map(|n| pair(&dead(n))).collect::<Vec<_>>().join("; ");
    for (what, cookies) in [
        ("the same twice", format!("{good}; {good}")),
        ("what is no token before it", format!("entraway=x; {good}")),
        ("an empty one behind it", format!("{good}; entraway=")),
        ("many that are no tokens", format!("{}{good}", "entraway=x; ".repeat(200))),
        ("a dead one before it", format!("{}; {good}", dead_pairs(1))),
        ("a dead one behind it", format!("{good}; {}", dead_pairs(1))),
        ("three dead ones", format!("{}; {good}", dead_pairs(3))),
    ] {
        assert_eq!(statuses(&service, cookies.as_bytes()).await, [200; 3], "{what}");
    }
    assert_eq!(statuses(&service, dead_pairs(4).as_bytes()).await, [401; 3], "dead ones alone");
    world.statements().await;
    let flood = format!("{}; {good}", dead_pairs(200));
    assert_eq!(statuses(&service, flood.as_bytes()).await, [401; 3], "more than are looked at");
    assert_eq!(world.statements().await, [], "hundreds of tokens cause no lookup");
}

#[tokio::test]
async fn two_valid_session_cookies_are_rejected() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let eve = world.simulator.edit(|directory| directory.person("Eve", |_| {}));
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    let eves = world.sign_in(&service, eve).await.cookies["entraway"].clone();
    let alices = browser.cookies["entraway"].clone();
    for (one, other) in [(&alices, &eves), (&eves, &alices)] {
        let both = format!("entraway={one}; entraway={other}");
        assert_eq!(statuses(&service, both.as_bytes()).await, [401; 3], "either may be the planted one");
    }
    // A sign-in ends both sessions, so that the planted cookie has no effect.
    browser.cookies.insert("entraway".to_owned(), format!("{alices}; entraway={eves}"));
    assert_eq!(browser.sign_in(&world.simulator, &service, alice).await.status, 303);
    let both = format!("entraway={eves}; entraway={}", browser.cookies["entraway"]);
    assert_eq!(statuses(&service, both.as_bytes()).await, [200; 3]);
}

#[tokio::test]
async fn signout_ends_every_session_in_the_request() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    let token = browser.cookies["entraway"].clone();
    let planted =
        (0..9).map(|n| format!("entraway={}; ", URL_SAFE_NO_PAD.encode([n; 32]))).collect::<Vec<_>>().concat();
    browser.cookies.insert("x".to_owned(), format!("y; {planted}z=1"));
    assert_eq!(browser.post(service.at("/sso/logout")).await.status, 303);
    assert_eq!(statuses(&service, format!("entraway={token}").as_bytes()).await, [401; 3]);
}

#[tokio::test]
async fn session_is_found_among_other_cookies() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let token = world.sign_in(&service, alice).await.cookies["entraway"].clone();
    let good = format!("entraway={token}");
    for lines in [
        vec![format!("a=b; {good}; c=d").into_bytes()],
        vec![format!("{good};c=d;;").into_bytes()],
        vec![b"a=b".to_vec(), good.clone().into_bytes()],
        // A line that is not text is ignored.
        vec![b"other=\xff".to_vec(), good.clone().into_bytes()],
        vec![format!("entraway-attempt-x=y; xentraway=z; {good}").into_bytes()],
    ] {
        let mut bare = Browser::new();
        let mut request = bare.request(Method::GET, service.at("/api/me"));
        for line in &lines {
            request = request.header(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        let answer = bare.send(request).await;
        assert_eq!(
            answer.status,
            200,
            "{:?}",
            lines.iter().map(|line| String::from_utf8_lossy(line)).collect::<Vec<_>>()
        );
    }
}

#[tokio::test]
async fn non_ascii_cookie_of_other_app_does_not_hide_session() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    let token = &browser.cookies["entraway"];
    let line = [b"other=J\xfcrgen; third=\xc3\xa4; entraway=".as_slice(), token.as_bytes()].concat();
    let request = browser.request(reqwest::Method::GET, service.at("/api/me"));
    let request = request.header("Cookie", reqwest::header::HeaderValue::from_bytes(&line).unwrap());
    browser.cookies.clear();
    assert_eq!(browser.send(request).await.status, 200);
}

#[tokio::test]
async fn clearing_of_forged_login_state_cookies_is_bounded() {
    let world = World::new().await;
    let service = world.service().await;
    // As many as are allowed.
    let many: Vec<String> = (0..450).map(|n| format!("entraway-attempt-{n:012}=x")).collect();
    let mut browser = crate::support::Browser::new();
    let request = browser.request(reqwest::Method::GET, service.at("/sso/login")).header("Cookie", many.join("; "));
    let answer = browser.send(request).await;
    assert_eq!(answer.status, 303);
    let cookies = answer.set_cookies().len();
    assert!(cookies < 40, "{cookies} cookies were set");
}
