//! The main job in a real browser: the tutorial of the README, clicked through on the demo.

mod webdriver;

use entraway::pg::litellm_migrations;

use crate::cli::demo::demo;
use crate::cli::program::Folder;
use webdriver::WebDriver;

/// The demo and a browser that looks at it.
struct Scene {
    browser: WebDriver,
    service: String,
    desk: String,
}

impl Scene {
    /// Signs somebody in from the front page, and waits for their page.
    async fn sign_in(&self, name: &str) {
        let browser = &self.browser;
        browser.go(&self.service).await;
        if browser.text().await.contains("Sign out") {
            browser.click("//button[normalize-space()='Sign out']").await;
            browser.until_text("You are signed out").await;
        }
        browser.click("//a[contains(., 'Sign in with Microsoft')]").await;
        browser.until_text("Pick an account").await;
        browser.click(&format!("//*[self::a or self::button][contains(., '{name}')]")).await;
        browser.until_text("Last sync").await;
    }

    /// Fills in and sends a form on the card of a person or a group at the simulated Entra.
    async fn at_the_desk(&self, card: &str, form: &str, choice: &str) {
        self.browser.go(&self.desk).await;
        let form = format!("//section[.//h3[normalize-space()='{card}']]//form[contains(@action, '/{form}')]");
        self.browser.click(&format!("{form}//option[normalize-space()='{choice}']")).await;
        self.browser.click(&format!("{form}//button")).await;
        self.browser.until_sent().await;
    }

    /// What stands in the table below a heading.
    async fn table(&self, heading: &str) -> String {
        self.browser.text_of(&format!("//section[h2[normalize-space()='{heading}']]")).await
    }
}

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
    let folder = Folder::new();
    let (program, service, said) = demo(&folder, demo_with).await;
    let (_, rest) = said.split_once("assign them:  ").expect("the demo tells where the simulated Entra is");
    let desk = rest.split_whitespace().next().unwrap().to_owned();
    let scene = Scene { browser: WebDriver::start().await, service: service.to_string(), desk };
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
    browser.go(&scene.desk).await;
    browser.type_into("//input[@id='new-group']", "Night Shift").await;
    browser.click("//form[contains(@action, '/create-group')]//button").await;
    browser.until_sent().await;
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
    scene.browser.quit().await;
    program.terminate().await;
}
