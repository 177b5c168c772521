//! Two tabs of one browser.

use super::scene::Scene;

#[tokio::test]
async fn browser_two_tabs_sign_in_and_share_signout() {
    let scene = Scene::begin(&[]).await;
    let browser = &scene.browser;
    let first = browser.tab().await;
    let login = format!("{}sso/login", scene.service);
    browser.go(&login).await;
    browser.until_text("Pick an account").await;
    let second = browser.new_tab().await;
    browser.go(&login).await;
    browser.until_text("Pick an account").await;

    browser.show_tab(&first).await;
    scene.pick("Alice Arden").await;
    browser.show_tab(&second).await;
    scene.pick("Alice Arden").await;

    browser.show_tab(&first).await;
    browser.click("//button[normalize-space()='Sign out']").await;
    browser.until_text("You are signed out").await;
    browser.show_tab(&second).await;
    assert!(browser.text().await.contains("Last sync"), "the tab still shows its page");
    browser.go(&scene.service).await;
    browser.until_text("Sign in with Microsoft").await;
    scene.end().await;
}
