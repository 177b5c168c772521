//! Screenshots of each page. `script/screenshots` runs this.

use std::fs;
use std::path::PathBuf;

use super::look::{Device, Look, Theme};
use super::scene::Scene;

const LOOKS: [Look; 6] = [
    Look(Theme::Light, Device::Desk),
    Look(Theme::Dark, Device::Desk),
    Look(Theme::Light, Device::Tablet),
    Look(Theme::Light, Device::Phone),
    Look(Theme::Dark, Device::Phone),
    Look(Theme::Light, Device::Narrow),
];

/// Screenshots in the README, limited to the viewport.
const README: [(&str, Look); 3] = [
    ("syncs", Look(Theme::Light, Device::Desk)),
    ("explain-team", Look(Theme::Dark, Device::Desk)),
    ("me", Look(Theme::Light, Device::Phone)),
];

#[tokio::test]
#[ignore = "no assertions: script/screenshots runs it for the screenshots"]
async fn screenshots_are_written_for_each_page_and_theme() {
    let folder = PathBuf::from(std::env::var_os("SCREENSHOTS").expect("script/screenshots sets the folder"));
    let scene = Scene::after_a_day().await;
    scene
        .each_page(&LOOKS, async |page, look| {
            let name = format!("{}-{look}.png", page.name);
            fs::write(folder.join(&name), scene.browser.whole_page().await).unwrap();
            if README.contains(&(page.name, look)) {
                fs::create_dir_all(folder.join("readme")).unwrap();
                fs::write(folder.join("readme").join(&name), scene.browser.window().await).unwrap();
            }
        })
        .await;
    scene.end().await;
}
