//! A picture of each page, for whoever wants to see what they look like. `script/screenshots` runs this.

use std::fs;
use std::path::PathBuf;

use super::look::LOOKS;
use super::scene::Scene;

#[tokio::test]
#[ignore = "it checks nothing: script/screenshots runs it for its pictures"]
async fn a_picture_of_each_page_in_each_look() {
    let folder = PathBuf::from(std::env::var_os("SCREENSHOTS").expect("script/screenshots says where to"));
    let scene = Scene::begin(&[]).await;
    scene.everybody_signs_in().await;
    scene
        .each_page(&LOOKS, async |page, look| {
            let file = folder.join(format!("{}-{look}.png", page.name));
            fs::write(&file, scene.browser.picture().await).unwrap();
        })
        .await;
    scene.end().await;
}
