//! Cookies that were moved, altered, duplicated, sealed with another key, or renamed.

use entraway::config::CookieKey;

use crate::attacks::Siege;
use crate::support::Browser;

const UNKNOWN: (u16, &str) = (400, "attempt_unknown");

#[tokio::test]
async fn callback_rejects_swapped_or_altered_cookies() {
    let mut siege = Siege::new().await;
    let mut browser = Browser::new();
    let (one, two) = (siege.begin(&mut browser).await, siege.begin(&mut browser).await);
    let one = siege.pick(&browser, &one, siege.alice).await;
    let two = siege.pick(&browser, &two, siege.alice).await;
    let good = browser.clone();
    let names: Vec<String> = browser.cookies.keys().cloned().collect();

    let mut swapped = good.clone();
    swapped.cookies.insert(names[0].clone(), good.cookies[&names[1]].clone());
    swapped.cookies.insert(names[1].clone(), good.cookies[&names[0]].clone());
    siege.refuses("cookies swapped between two attempts", UNKNOWN, &mut swapped, one.clone()).await;
    siege.refuses("the same for the other one", UNKNOWN, &mut swapped, two).await;
    for (how, change) in [
        ("a changed first byte", (|value: &str| flip(value, 0)) as fn(&str) -> String),
        ("a changed byte in the middle", |value| flip(value, value.len() / 2)),
        ("a changed byte near its end", |value| flip(value, value.len() - 5)),
        ("half of it", |value| value[..value.len() / 2].to_owned()),
        ("nothing", |_| String::new()),
        ("something behind it", |value| format!("{value}AAAA")),
        ("twice the same in one", |value| value.repeat(2)),
        ("plain JSON", |_| "{}".to_owned()),
        ("bytes that are no text", |_| "%ff%fe".to_owned()),
    ] {
        let mut altered = good.clone();
        for (name, value) in &mut altered.cookies {
            *value = change(value).replace("NAME", name);
        }
        siege.refuses(how, UNKNOWN, &mut altered, one.clone()).await;
    }
    assert_eq!(good.clone().get(one).await.status, 303, "unaltered cookies are accepted");
    siege.stands(11).await;
}

#[tokio::test]
async fn callback_ignores_planted_duplicate_cookies() {
    let mut siege = Siege::new().await;
    for (how, change) in [
        ("the same cookie twice", (|value: &str| format!("{value}; NAME={value}")) as fn(&str) -> String),
        ("a made-up one in front of it", |value| format!("planted; NAME={value}")),
        ("a made-up one behind it", |value| format!("{value}; NAME=planted")),
        ("an empty one behind it", |value| format!("{value}; NAME=")),
        ("one with a Unicode space before its name", |value| format!("{value}; \u{2000}NAME=planted")),
        ("many made-up ones", |value| format!("{value}{}", "; NAME=planted".repeat(20))),
    ] {
        let (mut browser, callback) = siege.comes_back(siege.alice).await;
        for (name, value) in &mut browser.cookies {
            *value = change(value).replace("NAME", name);
        }
        let answer = browser.get(callback).await;
        assert_eq!(answer.status, 303, "{how}: a sibling host blocks the sign-in: {answer:#?}");
        siege.names(how);
        siege.secrets.add_cookies(&browser);
    }
    siege.stands(6).await;
}

fn flip(text: &str, at: usize) -> String {
    let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
    format!("{}{other}{}", &text[..at], &text[at + 1..])
}

#[tokio::test]
async fn callback_rejects_renamed_cookies() {
    let siege = Siege::with(|_, config| config.server.public_url = "https://e.com".parse().unwrap());
    let mut siege = siege.await;
    let (good, callback) = siege.comes_back(siege.alice).await;
    let (name, value) = good.cookies.first_key_value().unwrap();
    let bare = name.strip_prefix("__Host-").unwrap();
    let eve = siege.world.sign_in(&siege.service, siege.eve).await;
    let session = &eve.cookies["__Host-entraway"];
    siege.secrets.add("cookie", session);
    for (how, name, value) in [
        ("a login state without the __Host- prefix", bare.to_owned(), value),
        ("a login state with another prefix", format!("__Secure-{bare}"), value),
        ("a login state with a lower-case prefix", format!("__host-{bare}"), value),
        ("a login state with an upper-case name", name.to_uppercase(), value),
        ("a login state as a session", "__Host-entraway".to_owned(), value),
        ("a session as a login state", name.clone(), session),
        ("a session without the prefix", "entraway".to_owned(), session),
        ("a session with another prefix", "__Secure-entraway".to_owned(), session),
        ("a session with a lower-case prefix", "__host-entraway".to_owned(), session),
        ("a session in a cookie with the same suffix", "x__Host-entraway".to_owned(), session),
        ("a session with trailing data", "__Host-entraway".to_owned(), &format!("{session}A")),
        ("half of a session", "__Host-entraway".to_owned(), &session[..20].to_owned()),
    ] {
        let mut other = Browser::new();
        other.cookies.insert(name, value.clone());
        siege.refuses(how, UNKNOWN, &mut other, callback.clone()).await;
    }
    assert_eq!(eve.clone().me(&siege.service).await.status, 200, "the unaltered session is valid");
    assert_eq!(good.clone().get(callback).await.status, 303, "the unaltered login state is valid");
    siege.stands(12).await;
}

#[tokio::test]
async fn callback_rejects_cookies_sealed_with_foreign_key() {
    let mut siege = Siege::new().await;
    for (how, key) in [("a key of zeros", [0; 64]), ("a key of another service", [0x5c; 64])] {
        let other = siege.another(|config| config.session.cookie_keys = vec![CookieKey::from(key)]).await;
        let mut browser = Browser::new();
        let entra = browser.begin(&other).await;
        let callback = siege.pick(&browser, &entra, siege.alice).await;
        siege.refuses(how, UNKNOWN, &mut browser, callback).await;
    }
    siege.stands(2).await;
}
