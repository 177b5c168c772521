//! The demo and a browser that looks at it.

use super::look::Look;
use super::pages::{PAGES, Page};
use super::webdriver::WebDriver;
use crate::cli::demo::demo;
use crate::cli::program::{Folder, Program};

const EVERYBODY: [&str; 6] = ["Alice Arden", "Bob Birch", "Carol Cheng", "Dave Diallo", "Erin Ellis", "Gil Guest"];

pub(super) struct Scene {
    pub(super) browser: WebDriver,
    /// The front page's address, with a slash at the end.
    pub(super) service: String,
    /// Where the simulated Entra is administered.
    desk: String,
    program: Program,
    _folder: Folder,
}

impl Scene {
    pub(super) async fn begin(demo_with: &[&str]) -> Self {
        let folder = Folder::new();
        let (program, service, said) = demo(&folder, demo_with).await;
        let (_, rest) = said.split_once("assign them:  ").expect("the demo tells where the simulated Entra is");
        let desk = rest.split_whitespace().next().unwrap().to_owned();
        Self { browser: WebDriver::start().await, service: service.to_string(), desk, program, _folder: folder }
    }

    pub(super) async fn end(self) {
        self.browser.quit().await;
        self.program.terminate().await;
    }

    /// Signs somebody in from the front page, and waits for their page.
    pub(super) async fn sign_in(&self, name: &str) {
        let browser = &self.browser;
        browser.go(&self.service).await;
        if browser.text().await.contains("Sign out") {
            browser.click("//button[normalize-space()='Sign out']").await;
            browser.until_text("You are signed out").await;
        }
        browser.click("//a[contains(., 'Sign in with Microsoft')]").await;
        self.pick(name).await;
    }

    /// Picks somebody at the simulated Entra, and waits for their page.
    pub(super) async fn pick(&self, name: &str) {
        self.browser.until_text("Pick an account").await;
        self.browser.click(&format!("//*[self::a or self::button][contains(., '{name}')]")).await;
        self.browser.until_text("Last sync").await;
    }

    /// Goes to the simulated Entra's administration.
    pub(super) async fn to_the_desk(&self) {
        self.browser.go(&self.desk).await;
    }

    /// Makes a group there.
    pub(super) async fn new_group(&self, name: &str) {
        self.to_the_desk().await;
        self.browser.type_into("//input[@id='new-group']", name).await;
        self.browser.click("//form[contains(@action, '/create-group')]//button").await;
        self.browser.until_sent().await;
    }

    /// Fills in and sends a form on the card of a person or a group there.
    pub(super) async fn at_the_desk(&self, card: &str, form: &str, choice: &str) {
        self.to_the_desk().await;
        let form = format!("//section[.//h3[normalize-space()='{card}']]//form[contains(@action, '/{form}')]");
        self.browser.click(&format!("{form}//option[normalize-space()='{choice}']")).await;
        self.browser.click(&format!("{form}//button")).await;
        self.browser.until_sent().await;
    }

    /// What stands in the table below a heading.
    pub(super) async fn table(&self, heading: &str) -> String {
        self.browser.text_of(&format!("//section[h2[normalize-space()='{heading}']]")).await
    }

    /// So that lists are not empty.
    pub(super) async fn everybody_signs_in(&self) {
        for name in EVERYBODY {
            self.sign_in(name).await;
        }
    }

    /// Shows each page in each of these looks, to the person whom the list names.
    pub(super) async fn each_page(&self, looks: &[Look], mut look_at: impl AsyncFnMut(&Page, Look)) {
        let mut who = None;
        self.browser.forget().await;
        for page in PAGES {
            if page.who != who {
                self.browser.forget().await;
                if let Some(name) = page.who {
                    self.sign_in(name).await;
                }
                who = page.who;
            }
            for look in looks {
                self.browser.look(*look).await;
                self.browser.go(&format!("{}{}", self.service.trim_end_matches('/'), page.path)).await;
                let title = self.browser.title().await;
                let Page { name, path, .. } = page;
                assert!(title.starts_with(page.title), "{path} shows {title:?} and not the page {name:?}");
                look_at(page, *look).await;
            }
        }
    }
}
