//! Pages and sign-in work without JavaScript.

use super::scene::Scene;

#[tokio::test]
async fn signin_and_signout_work_without_javascript() {
    let scene = Scene::begin(&[]).await;
    let browser = &scene.browser;
    let page = "data:text/html,<p id=p>scripts are off</p><script>p.textContent = 'scripts are on'</script>";
    browser.go(page).await;
    assert_eq!(browser.text().await, "scripts are on");
    browser.allow_scripts(false).await;
    browser.go(page).await;
    assert_eq!(browser.text().await, "scripts are off", "control: the browser still runs scripts");

    scene.sign_in("Alice Arden").await;
    assert!(scene.table("Teams").await.contains("Data Science"), "{}", browser.text().await);
    browser.click("//button[normalize-space()='Sign out']").await;
    browser.until_text("You are signed out").await;
    scene.end().await;
}
