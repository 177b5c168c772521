//! Where a user is redirected after the sign-in: to the requested page, and to no other site.

use url::form_urlencoded;

use crate::support::{Browser, World};

fn query(return_to: &str) -> String {
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("return_to", return_to).finish();
    format!("/sso/login?{query}")
}

#[tokio::test]
async fn return_to_path_is_the_destination_after_signin() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    for (return_to, arrives) in [
        ("", "/"),
        ("/", "/"),
        ("/ui", "/ui"),
        ("/ui/?page=teams&x=%2F%2Fevil.example", "/ui/?page=teams&x=%2F%2Fevil.example"),
        ("/a?next=https://evil.example", "/a?next=https://evil.example"),
        ("/ui#part", "/ui#part"),
        ("/über", "/%C3%BCber"),
        ("/a/../b", "/b"),
        ("/@evil.example", "/@evil.example"),
        ("/a\"><script>", "/a%22%3E%3Cscript%3E"),
    ] {
        let mut browser = Browser::new();
        let answer = browser.get(service.at(&query(return_to))).await;
        assert_eq!(answer.status, 303, "{return_to}: {answer:#?}");
        let callback = browser.pick(&world.simulator, &service, &answer.location(), alice).await;
        let answer = browser.get(callback).await;
        assert_eq!(answer.status, 303, "{return_to}: {answer:#?}");
        assert_eq!(answer.location().as_str(), format!("http://127.0.0.1:1{arrives}"), "{return_to}");
    }
}

/// A link to such a page would start a new sign-in at the end of each sign-in.
#[tokio::test]
async fn return_to_signin_route_is_rejected() {
    let world = World::new().await;
    for base in ["", "/in"] {
        let public_url = format!("https://sso.example.com{base}");
        let service = world.service_with(|config| config.server.public_url = public_url.parse().unwrap()).await;
        for to in ["/sso/login", "/sso/logout", "/a/../sso/login", "/%73so/login", "/a/%2e%2e%2fsso/login"] {
            for to in [format!("{base}{to}"), format!("{public_url}{to}")] {
                let mut browser = Browser::new();
                let answer = browser.get(service.at(&format!("{base}{}", query(&to)))).await;
                assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "return_to"), "{to}");
                assert!(browser.cookies.is_empty(), "{to}: a sign-in was started");
            }
        }
    }
}

#[tokio::test]
async fn return_to_other_host_or_malformed_is_rejected() {
    let world = World::new().await;
    let service = world.service().await;
    let long = format!("/{}", "x".repeat(2_001));
    for return_to in [
        "https://evil.example/",
        "https://127.0.0.1:1/",
        "http://127.0.0.1:2/",
        "//evil.example",
        "///evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\r\nSet-Cookie: a=b",
        "/%0d%0a/\n",
        "javascript:alert(1)",
        "/.//evil.example",
        "/a/..//evil.example",
        "/%2e%2e//evil.example",
        "evil.example",
        " /a",
        "/a\0",
        "/\u{2028}",
        &long,
    ] {
        let mut browser = Browser::new();
        let answer = browser.get(service.at(&query(return_to))).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "return_to"), "{return_to:?}");
        assert!(browser.cookies.is_empty(), "{return_to:?} started a sign-in");
        assert!(!answer.body.contains("evil.example"), "{return_to:?} is repeated: {}", answer.body);
    }
    let answer = Browser::new().get(service.at("/sso/login?return_to=/a&return_to=/b")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "duplicate_parameter"));
}

#[tokio::test]
async fn return_to_outside_the_base_path_is_rejected() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service_with(|config| config.server.public_url = "https://e.com/base".parse().unwrap()).await;
    let login = |return_to: &str| service.at(&format!("/base{}", query(return_to)));
    for return_to in ["/", "/other", "/basement", "/base/../other", "/base/%2e%2e/other"] {
        let answer = Browser::new().get(login(return_to)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "return_to"), "{return_to:?}");
    }
    for (return_to, arrives) in [("/base/ui?a=b", "https://e.com/base/ui?a=b"), ("", "https://e.com/base/")] {
        let mut browser = Browser::new();
        let answer = browser.get(login(return_to)).await;
        let callback = browser.pick(&world.simulator, &service, &answer.location(), alice).await;
        assert_eq!(browser.get(callback).await.location().as_str(), arrives);
    }
}

#[tokio::test]
async fn login_state_cookie_never_exceeds_4_kib() {
    let world = World::new().await;
    let service = world.service().await;
    for (return_to, accepted) in [
        (format!("/{}", "x".repeat(1_900)), true),
        (format!("/{}", "é".repeat(200)), true),
        (format!("/{}", "é".repeat(900)), false),
        (format!("/{}", "\"".repeat(1_900)), false),
    ] {
        let answer = Browser::new().get(service.at(&query(&return_to))).await;
        let begins = &return_to[..11];
        if accepted {
            assert_eq!(answer.status, 303, "{begins}… is short enough");
        }
        for cookie in answer.set_cookies() {
            let (pair, _) = cookie.split_once(';').unwrap();
            assert!(pair.len() <= 4_096, "{begins}… creates a cookie of {} bytes", pair.len());
        }
    }
}
