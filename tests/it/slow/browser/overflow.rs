//! Pages never scroll horizontally, from the narrowest phone to a desktop, even with the longest names.

use serde_json::json;

use super::look::{Device, Look, Theme};
use super::scene::Scene;
use super::webdriver::WebDriver;

const PHONE: Look = Look(Theme::Light, Device::Phone);
const WIDTHS: [Look; 5] = [
    Look(Theme::Light, Device::Narrow),
    Look(Theme::Dark, Device::Narrow),
    PHONE,
    Look(Theme::Light, Device::Tablet),
    Look(Theme::Light, Device::Desk),
];

/// Innermost elements beyond the right edge, if the page scrolls horizontally.
const SIDEWAYS: &str = r"
const width = document.documentElement.clientWidth;
if (document.documentElement.scrollWidth <= width) return [];
const right = node => {
    const range = document.createRange();
    range.selectNode(node);
    return range.getBoundingClientRect().right;
};
// The element or its text nodes.
const wide = element => [element, ...element.childNodes].some(node => right(node) > width + 0.5);
const outside = [...document.body.querySelectorAll('*')].filter(element => wide(element) && ![...element.children].some(wide));
return [`${document.documentElement.scrollWidth} pixels wide`, ...outside.map(element => element.outerHTML.slice(0, 160))];
";

async fn sideways(browser: &WebDriver) -> Vec<String> {
    let found = browser.script(SIDEWAYS, json!([])).await.unwrap();
    found.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn pages_do_not_scroll_horizontally_at_any_width() {
    let scene = Scene::after_a_day().await;
    let long = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft".repeat(3);
    scene.new_group(&long).await;
    scene.at_the_desk(&long, "assign", "default access").await;
    scene.at_the_desk("Alice Arden", "put", &long).await;
    let mut wrong = Vec::new();
    let mut shown = false;
    scene
        .each_page(&WIDTHS, async |page, look| {
            shown |= scene.browser.text().await.contains(&long);
            let found = sideways(&scene.browser).await;
            if !found.is_empty() {
                wrong.push(format!("{} ({}, {look}): {}", page.name, page.path, found.join("\n    ")));
            }
        })
        .await;
    assert!(wrong.is_empty(), "templates or assets/entraway.css:\n{}", wrong.join("\n"));
    assert!(shown, "no page shows the long name");
    scene.end().await;
}

#[tokio::test]
async fn overflow_check_names_the_element_that_is_too_wide() {
    let browser = WebDriver::start().await;
    browser.look(PHONE).await;
    let page = |inside: &str| {
        format!("data:text/html,<meta name='viewport' content='width=device-width'><main><p>Here</p>{inside}</main>")
    };
    browser.go(&page("<div style='width:300px'>There</div>")).await;
    assert_eq!(sideways(&browser).await, Vec::<String>::new());
    browser.go(&page("<div style='width:500px'>There</div>")).await;
    let found = sideways(&browser).await;
    assert_eq!(found.get(1).map(String::as_str), Some("<div style=\"width:500px\">There</div>"), "{found:#?}");
    browser.go(&page(&format!("<ul><li>{}</li></ul>", "o".repeat(100)))).await;
    let found = sideways(&browser).await;
    assert!(found.get(1).is_some_and(|line| line.starts_with("<li>ooo")), "{found:#?}");
    browser.quit().await;
}
