//! Open redirects: whether or not `return_to` is accepted, a sign-in never leaves the public URL.

use url::{Url, form_urlencoded};

use super::Siege;
use crate::support::Browser;

/// Unencoded values; each is also the name of its case. `HOST` is the attacker's, `OURS` the public URL's.
const TEXTS: [&str; 62] = [
    // Another host.
    "https://HOST/",
    "http://HOST",
    "HTTPS://HOST/",
    "ftp://HOST/",
    "//HOST",
    "//HOST/%2f..",
    "///HOST",
    "////HOST",
    "/////HOST/",
    "HOST",
    "HOST/sso/login",
    ".HOST",
    "@HOST",
    // Another host to a lenient URL parser such as a browser's.
    "https:HOST",
    "https:/HOST",
    "http:///HOST",
    "https:////HOST",
    "/\\HOST",
    "\\/HOST",
    "\\\\HOST",
    "/\\/HOST",
    "/\\\\HOST",
    "//\\HOST",
    "\\/\\/HOST",
    "https:\\\\HOST",
    "/\t/HOST",
    "\t//HOST",
    "/\n/HOST",
    "/\r\n/HOST",
    "ht\ntps://HOST",
    "\u{1}//HOST",
    "/\u{0}/HOST",
    " //HOST",
    " https://HOST",
    "/ /HOST",
    "/\u{a0}/HOST",
    "\u{feff}//HOST",
    "/\u{ff0f}HOST",
    "\u{ff0f}\u{ff0f}HOST",
    "/\u{3002}HOST",
    "https://HOST\u{2044}OURS",
    // Another host that contains ours.
    "https://OURS@HOST/",
    "https://OURS:pw@HOST/",
    "https://OURS.HOST/",
    "https://HOST/https://OURS/",
    "https://HOST#OURS/",
    "https://HOST?OURS/",
    "https://HOST\\@OURS/",
    "https://HOST%2f@OURS/",
    "//OURS@HOST/",
    "OURS:443@HOST",
    // Another host after the path is normalized.
    "/..//HOST",
    "/.//HOST",
    "/a/..//HOST",
    "/a/../..//HOST",
    "/%2e%2e//HOST",
    "/%2e//HOST",
    "/.;//HOST",
    // No host.
    "javascript:alert(document.cookie)",
    "JaVaScRiPt://OURS/%0aalert(1)",
    "data:text/html;base64,PHNjcmlwdD4=",
    "blob:https://HOST/1",
];

/// Raw query values, including percent-encoding.
const QUERIES: [&str; 14] = [
    "%2f%2fHOST",
    "%2f%5cHOST",
    "%2F%09%2FHOST",
    "/%252f%252fHOST",
    "/%2f/HOST",
    "/%5cHOST",
    "/%0d%0aLocation:%20https://HOST/",
    "/%0d%0a%0d%0a<script>alert(1)</script>",
    "/%e5%98%8a%e5%98%8dLocation:https://HOST",
    "/%c0%af%c0%afHOST",
    "/%ff/HOST",
    "%00//HOST",
    "/+/HOST",
    "https:%2f%2fHOST%2f",
];

async fn lead_nowhere_else(public_url: &str) {
    let ours: Url = public_url.parse().unwrap();
    let base = ours.path().trim_end_matches('/').to_owned();
    let mut siege = Siege::with(|_, config| config.server.public_url = public_url.parse().unwrap()).await;
    let host = siege.lure.origin.strip_prefix("http://").unwrap().to_owned();
    let fill = |text: &str| text.replace("HOST", &host).replace("OURS", ours.host_str().unwrap());
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let below = |text: &str| format!("{base}{text}");
    let mut queries: Vec<String> = TEXTS.map(fill).iter().map(|text| encode(text)).collect();
    queries.extend(QUERIES.map(fill));
    if !base.is_empty() {
        queries.extend(TEXTS.map(fill).iter().filter(|text| text.starts_with('/')).map(|text| encode(&below(text))));
        queries.extend(QUERIES.map(fill).iter().filter(|text| text.starts_with('/')).map(|text| below(text)));
    }
    for query in &queries {
        let how = format!("return_to={query}");
        let login = siege.at(&format!("/sso/login?return_to={query}"));
        let mut browser = Browser::new();
        let begun = browser.get(login.clone()).await;
        if begun.status != 303 {
            siege.refuses(&how, (400, "return_to"), &mut browser, login).await;
            assert!(browser.cookies.is_empty(), "{how}: a sign-in was started");
            assert!(!begun.body.contains(&host), "{how}: the page repeats the host: {}", begun.body);
            continue;
        }
        siege.names(&how);
        siege.secrets.add_request(&begun.location());
        let callback = siege.pick(&browser, &begun.location(), siege.alice).await;
        let answer = browser.get(callback).await;
        assert_eq!(answer.status, 303, "{how}: {answer:#?}");
        siege.secrets.are_not_in(&how, answer.headers["location"].to_str().unwrap());
        // Resolved relative to the page as a browser does, which is more lenient than our parser.
        let arrives = ours.join(answer.headers["location"].to_str().unwrap()).unwrap();
        assert_eq!(arrives.origin(), ours.origin(), "{how} redirects to {arrives}");
        let path = arrives.path();
        assert!(path.strip_prefix(&base).is_some_and(|rest| rest.starts_with('/')), "{how} redirects to {arrives}");
        assert!(!path.starts_with("//"), "{how} redirects to {arrives}, whose path alone is a scheme-relative URL");
        assert!(answer.headers.get_all("location").iter().count() == 1, "{how}: two Location headers: {answer:#?}");
    }
    siege.stands(60).await;
}

#[tokio::test]
async fn return_to_stays_on_the_public_host() {
    Box::pin(lead_nowhere_else("https://sso.example.com")).await;
}

#[tokio::test]
async fn return_to_stays_below_the_base_path() {
    Box::pin(lead_nowhere_else("https://sso.example.com/in")).await;
}

#[tokio::test]
async fn return_to_stays_on_a_host_without_tls() {
    Box::pin(lead_nowhere_else("http://127.0.0.1:1")).await;
}
