//! Accessibility checks with axe-core. `script/setup --browser` fetches it.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::look::LOOKS;
use super::scene::Scene;
use super::webdriver::WebDriver;

/// WCAG levels A and AA up to 2.2, and best practices.
const RULES: [&str; 6] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

/// Formats one line per rule and element. The rule target-size is off by default.
const RUN: &str = r"
const [tags, done] = arguments;
const lines = (kind, results) => results.flatMap(rule => rule.nodes.map(node =>
    `${kind}${rule.id}: ${rule.help}; at ${node.target.join(' ')}: ${node.html}; ` +
    [...node.any, ...node.all, ...node.none].map(check => check.message).join('; ')));
const options = { runOnly: { type: 'tag', values: tags }, rules: { 'target-size': { enabled: true } } };
axe.run(document, options).then(
    found => done({ lines: [...lines('', found.violations), ...lines('undecided, ', found.incomplete)], passed: found.passes.length }),
    error => done({ error: String(error) }));
";

/// The axe-core script from `script/setup --browser`, in cargo's target folder.
fn source() -> String {
    let target = std::env::var_os("CARGO_TARGET_DIR").filter(|target| !target.is_empty());
    let target = target.map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let file = target.join("axe/node_modules/axe-core/axe.min.js");
    std::fs::read_to_string(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; script/setup --browser fetches it", file.display()))
}

/// Violations on the current page, one line each: rule, help, selector, element. Includes undecided results, such as
/// contrast over an image: pages must allow a decision.
pub(super) async fn findings(browser: &WebDriver) -> Vec<String> {
    browser.script(&source(), json!([])).await.unwrap();
    let run = json!({ "script": RUN, "args": [RULES] });
    let found = browser.call("/execute/async", run).await.unwrap();
    assert_eq!(found["error"], Value::Null, "axe failed");
    assert!(found["passed"].as_u64() > Some(5), "axe passed too few rules: {found}");
    let lines = found["lines"].as_array().unwrap();
    lines.iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn axe_finds_no_violation_on_any_page() {
    let scene = Scene::after_a_day().await;
    let mut wrong = Vec::new();
    scene
        .each_page(&LOOKS, async |page, look| {
            let findings = findings(&scene.browser).await;
            wrong.extend(
                findings.into_iter().map(|finding| format!("{} ({}, {look}): {finding}", page.name, page.path)),
            );
        })
        .await;
    assert!(wrong.is_empty(), "templates or assets/entraway.css:\n{}", wrong.join("\n"));
    scene.end().await;
}

#[tokio::test]
async fn axe_reports_violation_and_element() {
    let browser = WebDriver::start().await;
    browser
        .go("data:text/html,<html lang='en'><title>Bad</title><main><h1>Bad</h1><p><img src='data:,' id='cat'></p>\
             <p style='color:%23aaa;background:%23fff'>Pale</p><ul><li><a href='/1'>1</a></ul></main>")
        .await;
    let findings = findings(&browser).await;
    let expected = ["image-alt: Images must have alternative text; at #cat: <img", "color-contrast: ", "2.32"];
    for expected in expected {
        assert!(findings.iter().any(|line| line.contains(expected)), "no {expected:?} in {findings:#?}");
    }
    assert!(!findings.iter().any(|line| line.contains("document-title")), "false positive: {findings:#?}");
    browser.quit().await;
}
