//! Interrupted sign-ins: expired, in two tabs, Back, canceled. Each keeps its destination.

use chrono::TimeDelta;
use serde_json::json;

use super::scene::pick;
use super::webdriver::WebDriver;
use crate::support::{Service, World};

/// A world with an adjustable clock, and a browser that opens the service directly.
struct Stage {
    world: World,
    service: Service,
    browser: WebDriver,
}

impl Stage {
    async fn new() -> Self {
        let world = World::new().await;
        world.alice();
        let service = world.service_at_its_public_url().await;
        Self { world, service, browser: WebDriver::start().await }
    }

    async fn visit(&self, path: &str) {
        self.browser.go(self.service.at(path).as_str()).await;
    }

    /// Opens a page without a session and continues to Entra.
    async fn start(&self, path: &str) {
        self.visit(path).await;
        self.browser.until_title("Not signed in").await;
        self.again().await;
    }

    /// Clicks "Sign in again", which is on every error page.
    async fn again(&self) {
        self.browser.click("//a[normalize-space()='Sign in again']").await;
        self.browser.until_text("Pick an account").await;
    }

    async fn pick_alice(&self) {
        pick(&self.browser, "Alice Arden").await;
    }

    async fn back(&self) {
        self.browser.call("/back", json!({})).await.unwrap();
    }

    async fn signed_in(&self) -> bool {
        self.browser.text().await.contains("Sign out")
    }
}

#[tokio::test]
async fn browser_expired_signin_restarts_once() {
    let stage = Stage::new().await;
    stage.start("/teams").await;
    stage.world.clock.advance(TimeDelta::minutes(11));
    stage.pick_alice().await;
    // Redirected to Entra again without a page of ours in between.
    stage.browser.until_text("Pick an account").await;
    stage.pick_alice().await;
    stage.browser.until_title("Teams").await;
    assert!(stage.signed_in().await);

    stage.browser.forget().await;
    stage.start("/organizations").await;
    for _ in 0..2 {
        stage.world.clock.advance(TimeDelta::minutes(11));
        stage.pick_alice().await;
    }
    stage.browser.until_title("This sign-in took too long").await;
    stage.again().await;
    stage.pick_alice().await;
    stage.browser.until_title("Organizations").await;
    stage.browser.quit().await;
}

#[tokio::test]
async fn browser_two_tabs_reach_their_own_destinations() {
    let stage = Stage::new().await;
    let browser = &stage.browser;
    let first = browser.tab().await;
    stage.start("/teams").await;
    let second = browser.new_tab().await;
    stage.start("/organizations").await;
    browser.show_tab(&first).await;
    stage.pick_alice().await;
    browser.until_title("Teams").await;
    browser.show_tab(&second).await;
    stage.pick_alice().await;
    browser.until_title("Organizations").await;
    assert!(stage.signed_in().await);
    stage.browser.quit().await;
}

#[tokio::test]
async fn browser_back_after_signin_leads_home() {
    let stage = Stage::new().await;
    stage.start("/teams").await;
    stage.pick_alice().await;
    stage.browser.until_title("Teams").await;
    stage.back().await;
    stage.pick_alice().await;
    stage.browser.until_title("Alice Arden").await;
    assert!(stage.signed_in().await, "the session still exists");
    assert_eq!(stage.world.sessions_and_runs().await, (1, 1), "no second session");
    stage.browser.quit().await;
}

#[tokio::test]
async fn browser_canceled_signin_can_be_retried() {
    let stage = Stage::new().await;
    let browser = &stage.browser;
    let cancel = async || {
        browser.click("//a[normalize-space()='Cancel']").await;
        browser.until_title("You canceled the sign-in").await;
        assert!(!browser.text().await.contains("administrator"), "{}", browser.text().await);
    };
    stage.start("/teams").await;
    cancel().await;
    stage.again().await;
    stage.pick_alice().await;
    browser.until_title("Teams").await;

    // Back instead of the button: the login state is consumed, but the destination is kept.
    browser.forget().await;
    stage.start("/teams").await;
    cancel().await;
    stage.back().await;
    stage.pick_alice().await;
    browser.until_title("This sign-in was already finished").await;
    stage.again().await;
    stage.pick_alice().await;
    browser.until_title("Teams").await;
    stage.browser.quit().await;
}
