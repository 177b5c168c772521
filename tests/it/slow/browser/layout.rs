//! Brand, navigation and content keep their position on every page, with or without a scrollbar.

use serde_json::{Value, json};

use super::look::{Device, Look, Theme};
use super::pages::PAGES;
use super::scene::Scene;
use super::webdriver::WebDriver;

/// Left edges and widths of brand, navigation and content, the page width, and whether the page scrolls. The labels are
/// for failure messages.
const PLACES: &str = r"
const of = element => {
    const { left, width } = element.getBoundingClientRect();
    return `${element.textContent.trim().slice(0, 20)} at ${left}, ${width} wide`;
};
const { left, width } = document.querySelector('main').getBoundingClientRect();
return {
    places: [...document.querySelectorAll('.brand, .top nav a')].map(of).concat(`main at ${left}, ${width} wide`),
    scrolls: document.documentElement.scrollHeight > document.documentElement.clientHeight,
};
";

async fn places(browser: &WebDriver) -> Value {
    browser.script(PLACES, json!([])).await.unwrap()
}

#[tokio::test]
async fn navigation_stays_in_its_place_on_every_page() {
    let scene = Scene::after_a_day().await;
    let browser = &scene.browser;
    browser.forget().await;
    scene.sign_in("Alice Arden").await;
    browser.look(Look(Theme::Light, Device::Desk)).await;
    // Visible scrollbars reduce the width of the page, as on most desktops.
    browser.devtools("Emulation.setScrollbarsHidden", json!({ "hidden": false })).await;

    let mut first: Option<Value> = None;
    let (mut long, mut short) = (0, 0);
    for page in PAGES.iter().filter(|page| page.who == Some("Alice Arden")) {
        scene.visit(page.path).await;
        let found = places(browser).await;
        // Error pages have no navigation.
        if found["places"].as_array().is_some_and(|places| places.len() < 5) {
            continue;
        }
        *(if found["scrolls"] == true { &mut long } else { &mut short }) += 1;
        let expected = first.get_or_insert_with(|| found["places"].clone());
        assert_eq!(found["places"], *expected, "{} ({})", page.name, page.path);
    }
    assert!(long > 3 && short > 0, "{long} pages scroll and {short} do not: the test needs both");

    // Control: the check detects each cause of a shift, missing room for the scrollbar and a bold current entry.
    scene.visit("/teams?search=unheard-of").await;
    for cause in [
        "document.documentElement.style.scrollbarGutter = 'auto'",
        "document.querySelector('[aria-current]').style.fontWeight = 600",
    ] {
        let before = places(browser).await;
        browser.script(cause, json!([])).await.unwrap();
        assert_ne!(places(browser).await["places"], before["places"], "{cause}");
    }
    scene.end().await;
}
