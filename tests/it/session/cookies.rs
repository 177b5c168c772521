//! Whatever stands in the cookie header: a session, or none, and never an error of ours.

use reqwest::Method;
use reqwest::header::{ACCEPT, COOKIE, HeaderValue};

use crate::support::{Browser, World};

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

    for text in [format!("entraway={token}; entraway={token}"), format!("entraway=x; entraway={token}")] {
        let mut bare = Browser::new();
        let request = bare.request(Method::GET, service.at("/api/me")).header(COOKIE, &text);
        assert_eq!(bare.send(request).await.status, 401, "of two cookies one is not ours: {text}");
    }
}

#[tokio::test]
async fn the_session_is_found_among_other_cookies() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let token = world.sign_in(&service, alice).await.cookies["entraway"].clone();
    let good = format!("entraway={token}");
    for lines in [
        vec![format!("a=b; {good}; c=d").into_bytes()],
        vec![format!("{good};c=d;;").into_bytes()],
        vec![b"a=b".to_vec(), good.clone().into_bytes()],
        // A line that is no text is passed over, and the others count.
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
async fn another_applications_cookie_in_another_alphabet_hides_none_of_ours() {
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
async fn hundreds_of_made_up_attempts_cost_next_to_nothing_and_are_not_all_answered() {
    let world = World::new().await;
    let service = world.service().await;
    // As many as are let in.
    let many: Vec<String> = (0..450).map(|n| format!("entraway-attempt-{n:012}=x")).collect();
    let mut browser = crate::support::Browser::new();
    let request = browser.request(reqwest::Method::GET, service.at("/sso/login")).header("Cookie", many.join("; "));
    let answer = browser.send(request).await;
    assert_eq!(answer.status, 303);
    let cookies = answer.set_cookies().len();
    assert!(cookies < 40, "{cookies} cookies were set");
}
