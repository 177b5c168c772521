//! In a real browser: the tutorial of the README, clicked through on the demo; and whether everybody can use the pages.

mod axe;
mod keyboard;
mod look;
mod pages;
mod phone;
mod scene;
mod screenshots;
mod scripts;
mod tabs;
mod webdriver;

use entraway::pg::litellm_migrations;

use scene::Scene;

#[tokio::test]
async fn the_tutorial_can_be_clicked_through() {
    tutorial(&[]).await;
}

#[tokio::test]
async fn the_same_tutorial_can_be_clicked_through_on_litellms_own_tables() {
    let migrations = std::path::absolute(litellm_migrations()).unwrap();
    tutorial(&["--store", "litellm", "--litellm-migrations", migrations.to_str().unwrap()]).await;
}

async fn tutorial(demo_with: &[&str]) {
    let scene = Scene::begin(demo_with).await;
    let browser = &scene.browser;

    // 1. Alice finds the groups that are assigned, and no other.
    scene.sign_in("Alice Arden").await;
    let teams = scene.table("Teams").await;
    for name in ["Data Science", "Platform Engineering", "Production LLM Evals"] {
        assert!(teams.contains(name), "Alice's teams lack {name}: {teams}");
        assert!(scene.table("Organizations").await.contains(name), "Alice's organizations lack {name}");
    }
    assert!(!teams.contains("All Staff"), "a group that is not assigned became a team: {teams}");
    assert!(browser.text().await.contains("proxy_admin"), "her app role is shown");

    // 2. A new group, assigned, with Bob in it.
    scene.new_group("Night Shift").await;
    scene.at_the_desk("Night Shift", "assign", "default access").await;
    scene.at_the_desk("Bob Birch", "put", "Night Shift").await;
    scene.sign_in("Bob Birch").await;
    assert!(scene.table("Teams").await.contains("Night Shift"), "{}", scene.table("Teams").await);
    assert!(scene.table("Last sync").await.contains("created 1 organization; created 1 team"));

    // 3. A new member; 5. an app role, given and taken away.
    scene.at_the_desk("Erin Ellis", "put", "Data Science").await;
    scene.sign_in("Erin Ellis").await;
    assert!(scene.table("Last sync").await.contains("joined Data Science"));
    scene.at_the_desk("Erin Ellis", "role", "org_admin").await;
    scene.sign_in("Erin Ellis").await;
    assert!(scene.table("Organizations").await.contains("org_admin"), "{}", scene.table("Organizations").await);
    scene.at_the_desk("Erin Ellis", "role", "none").await;
    scene.sign_in("Erin Ellis").await;
    assert!(!browser.text().await.contains("org_admin"), "the role went: {}", browser.text().await);

    // Refused consent is a page that says so, and the way back works.
    browser.click("//button[normalize-space()='Sign out']").await;
    browser.until_text("You are signed out").await;
    browser.click("//a[contains(., 'Sign in with Microsoft')]").await;
    browser.click("//*[self::a or self::button][contains(., 'Refuse consent')]").await;
    browser.until_text("Consent is missing").await;
    browser.click("//a[normalize-space()='Sign in again']").await;
    browser.until_text("Pick an account").await;

    assert_eq!(
        browser.complaints().await,
        Vec::<String>::new(),
        "the browser's console, such as what a policy blocked"
    );
    scene.end().await;
}
