//! Keyboard use: the Tab key reaches all controls in reading order, and the focus is visible.

use serde_json::{Value, json};

use super::look::{Device, LOOKS, Look, Theme};
use super::scene::Scene;
use super::webdriver::{Key, WebDriver};

/// Usable controls in page order. Stored in the page for `FOCUS`.
const USABLE: &str = r"
const shown = element => element.checkVisibility({ visibilityProperty: true });
window.usable = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary')].filter(shown);
return window.usable.map(element => element.outerHTML.slice(0, 160));
";

/// The focused element: its index among the usable controls, and why its focus is not visible, if so.
const FOCUS: &str = r"
const element = document.activeElement;
if (!element || element === document.body) return null;
const style = getComputedStyle(element);
const box = element.getBoundingClientRect();
const outlined = style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2;
const inside = box.width > 0 && box.height > 0 && box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
return { number: window.usable.indexOf(element), html: element.outerHTML.slice(0, 160),
    unseen: !outlined ? 'no outline of 2 pixels' : !inside ? 'out of sight' : null };
";

/// Problems for keyboard users, one line each.
async fn hindrances(browser: &WebDriver) -> Vec<String> {
    let usable = browser.script(USABLE, json!([])).await.unwrap();
    let usable: Vec<&str> = usable.as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let mut wrong = Vec::new();
    let mut reached = Vec::new();
    // The focus leaves the page after the last control. If it does not, the loop limit ends a focus trap.
    for _ in 0..usable.len() * 2 + 2 {
        browser.press(Key::Tab).await;
        let focus = browser.script(FOCUS, json!([])).await.unwrap();
        if focus.is_null() {
            break;
        }
        let html = &focus["html"];
        if let Some(why) = focus["unseen"].as_str() {
            wrong.push(format!("the focus is not seen, {why}: {html}"));
        }
        match focus["number"].as_u64() {
            Some(number) if reached.contains(&number) => break,
            Some(number) => reached.push(number),
            None => wrong.push(format!("the focus stops at an element that is not a control: {html}")),
        }
    }
    for (number, html) in (0..).zip(&usable) {
        if !reached.contains(&number) {
            wrong.push(format!("the Tab key does not lead to {html}"));
        }
    }
    if !reached.is_sorted() {
        wrong.push(format!("the Tab key leads through the page in the order {reached:?}"));
    }
    wrong
}

#[tokio::test]
async fn all_controls_are_keyboard_reachable_with_visible_focus() {
    let scene = Scene::after_a_day().await;
    let mut wrong = Vec::new();
    let (light_desk, dark_phone) = (LOOKS[0], LOOKS[3]);
    scene
        .each_page(&[light_desk, dark_phone], async |page, look| {
            let found = hindrances(&scene.browser).await;
            wrong.extend(found.into_iter().map(|line| format!("{} ({}, {look}): {line}", page.name, page.path)));
        })
        .await;
    assert!(wrong.is_empty(), "templates or assets/entraway.css:\n{}", wrong.join("\n"));
    scene.end().await;
}

#[tokio::test]
async fn keyboard_check_detects_skipped_controls_and_hidden_focus() {
    let browser = WebDriver::start().await;
    browser.look(Look(Theme::Light, Device::Desk)).await;
    browser
        .go("data:text/html,<style>.none:focus{outline:none}.seen:focus{outline:3px solid}</style>\
             <a class='seen' href='/1' tabindex='2'>one</a> <a class='seen' href='/2' tabindex='1'>two</a>\
             <a class='none' href='/3'>three</a> <a href='/4' tabindex='-1'>four</a>")
        .await;
    let found = hindrances(&browser).await.join("\n");
    for expected in ["not seen, no outline", ">three<", "does not lead to <a href=\"/4\"", "order [1, 0, 2]"] {
        assert!(found.contains(expected), "no {expected:?} in {found}");
    }
    browser.quit().await;
}

#[tokio::test]
async fn first_tab_stop_is_the_skip_link() {
    let scene = Scene::begin(&[]).await;
    let browser = &scene.browser;
    scene.sign_in("Alice Arden").await;
    browser.press(Key::Tab).await;
    let first = browser.script("return document.activeElement.innerText", json!([])).await.unwrap();
    assert_eq!(first, "Skip to the content");
    browser.press(Key::Enter).await;
    let now = browser.script("return document.activeElement.id", json!([])).await.unwrap();
    assert_eq!(now, "main", "focus after following the link");
    scene.end().await;
}
