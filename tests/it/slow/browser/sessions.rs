//! Sessions in two browsers: one revokes the other.

use super::scene::{Scene, pick};
use super::webdriver::WebDriver;

#[tokio::test]
async fn sessions_page_signs_out_another_browser() {
    let scene = Scene::begin(&[]).await;
    let browser = &scene.browser;
    let other = WebDriver::start().await;
    scene.sign_in_with(&other, "Bob Birch").await;
    scene.sign_in("Bob Birch").await;
    let sessions = "//section[@id='sessions']//tbody/tr";
    browser.until_count(sessions, 2).await;
    browser.click(&format!("{sessions}[not(contains(., 'this browser'))]//button[normalize-space()='Sign out']")).await;
    browser.until_count(sessions, 1).await;
    assert!(
        scene.table("My sessions").await.contains("this browser"),
        "the current session was revoked: {}",
        browser.text().await
    );

    other.click("//nav[@aria-label='Main']//a[normalize-space()='Teams']").await;
    other.until_title("Not signed in").await;
    other.click("//a[normalize-space()='Sign in again']").await;
    pick(&other, "Bob Birch").await;
    other.until_title("Teams").await;
    other.quit().await;
    scene.end().await;
}

#[tokio::test]
async fn admin_revokes_all_sessions_of_another_user() {
    let scene = Scene::begin(&[]).await;
    let browser = &scene.browser;
    let other = WebDriver::start().await;
    scene.sign_in_with(&other, "Bob Birch").await;
    scene.sign_in("Alice Arden").await;
    scene.navigate("Users").await;
    scene.open("Bob Birch").await;
    browser.until_count("//section[@id='sessions']//tbody/tr", 1).await;
    let end_all = "//a[starts-with(normalize-space(), 'End all sessions')]";
    browser.click(end_all).await;
    browser.until_title("End all sessions").await;
    browser.click("//a[normalize-space()='Cancel']").await;
    browser.until_count("//section[@id='sessions']//tbody/tr", 1).await;
    browser.click(end_all).await;
    browser.click("//button[normalize-space()='End 1 session']").await;
    browser.until_text("1 session ended.").await;
    let sessions = browser.text_of("//section[@id='sessions']").await;
    assert!(sessions.contains("None."), "{sessions}");

    other.go(&scene.service).await;
    other.until_text("Sign in with Microsoft").await;
    other.quit().await;
    scene.navigate("Teams").await;
    scene.end().await;
}
