//! Attacks: a corpus of named cases that grows. Each has to be refused in its own way, open no session, write nothing,
//! lead nobody elsewhere, and leave no secret in the answer or in the log.

mod callback;
mod forward_auth;
mod graph;
mod names;
mod return_to;
mod tokens;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entra_simulator::ObjectId;
use entraway::config::{Config, CookieKey};
use reqwest::header::{ACCEPT, LOCATION, SET_COOKIE};
use reqwest::{Method, RequestBuilder};
use url::Url;

use crate::errors::tells_nothing;
use crate::support::{Answer, Browser, Log, PhishingSite, Secrets, Service, StoreKind, World, no_address_is_in};

/// How the refusal of somebody is recorded whom Entra vouched for. Nothing is kept of anybody else.
fn recorded(code: &str) -> Option<&'static str> {
    match code {
        "email_domain_not_allowed" => Some("email_domain"),
        "other_tenant" => Some("other_tenant"),
        _ => None,
    }
}

/// What stands in the database's address. The private Postgres asks for no password, and takes any.
const DATABASE_PASSWORD: &str = "db-Passw0rd-S3cret";
const COOKIE_KEY: [u8; 64] = [0xa7; 64];

/// A service with one attack after the other upon it. It has to be ended by [`Siege::stands`].
pub(crate) struct Siege {
    pub(crate) world: World,
    pub(crate) service: Service,
    /// A person in a group, whose place others would like to have.
    pub(crate) alice: ObjectId,
    /// Another person of the same tenant, in no group.
    pub(crate) eve: ObjectId,
    /// Where an attacker would like the service or a browser to go.
    pub(crate) lure: PhishingSite,
    pub(crate) secrets: Secrets,
    config: Config,
    log: Log,
    cases: BTreeSet<String>,
    ended: bool,
}

impl Siege {
    pub(crate) async fn new() -> Self {
        Self::with(|_, _| {}).await
    }

    /// Upon a service with changed settings.
    pub(crate) async fn with(change: impl FnOnce(&World, &mut Config)) -> Self {
        Self::upon(World::new().await, change).await
    }

    /// Upon a service with this store.
    pub(crate) async fn of(store: StoreKind) -> Self {
        Self::upon(World::of(store).await, |_, _| {}).await
    }

    async fn upon(world: World, change: impl FnOnce(&World, &mut Config)) -> Self {
        let log = Log::new();
        let (alice, _) = world.alice();
        let eve = world.simulator.edit(|directory| directory.person("Eve Evers", |_| {}));
        let database = world.database.replacen('@', &format!(":{DATABASE_PASSWORD}@"), 1);
        let mut config = world.config();
        config.database.url = database.into();
        config.session.cookie_keys = vec![CookieKey::from(COOKIE_KEY)];
        change(&world, &mut config);
        let service = world.service_of(config.clone()).await;
        let mut secrets = Secrets::default();
        secrets.add("client secret", world.simulator.edit(|directory| directory.client_secret.clone()));
        secrets.add("cookie key", STANDARD.encode(COOKIE_KEY));
        secrets.add("database's password", DATABASE_PASSWORD);
        secrets.add("name of a person", "Alice");
        secrets.add("name of a person", "Evers");
        let lure = PhishingSite::new().await;
        Self { world, service, alice, eve, lure, secrets, config, log, cases: BTreeSet::new(), ended: false }
    }

    /// Another instance, with its settings but for this change.
    pub(crate) async fn another(&self, change: impl FnOnce(&mut Config)) -> Service {
        let mut config = self.config.clone();
        change(&mut config);
        self.world.service_of(config).await
    }

    /// An address of the service's below the public URL's path.
    pub(crate) fn at(&self, path: &str) -> Url {
        self.service.at(&format!("{}{path}", self.config.server.public_url.base_path()))
    }

    /// Begins a sign-in; gives Entra's address.
    pub(crate) async fn begin(&mut self, browser: &mut Browser) -> Url {
        let begun = browser.get(self.at("/sso/login")).await;
        assert_eq!(begun.status, 303, "the sign-in did not begin: {begun:#?}");
        self.secrets.add_request(&begun.location());
        self.secrets.add_cookies(browser);
        begun.location()
    }

    /// Picks a person at Entra; gives the callback's address.
    pub(crate) async fn pick(&mut self, browser: &Browser, entra: &Url, person: ObjectId) -> Url {
        let callback = browser.pick(&self.world.simulator, &self.service, entra, person).await;
        self.secrets.add_callback(&callback);
        callback
    }

    /// A new browser that comes back from Entra, where this person was picked.
    pub(crate) async fn comes_back(&mut self, person: ObjectId) -> (Browser, Url) {
        let mut browser = Browser::new();
        let entra = self.begin(&mut browser).await;
        let callback = self.pick(&browser, &entra, person).await;
        (browser, callback)
    }

    /// The page is refused with this status and code, and nothing comes of it.
    pub(crate) async fn refuses(&mut self, how: &str, expected: (u16, &str), browser: &mut Browser, url: Url) {
        let page = browser.request(Method::GET, url).header(ACCEPT, "text/html");
        self.refuses_request(how, expected, browser, page).await;
    }

    /// The same for any request.
    pub(crate) async fn refuses_request(
        &mut self,
        how: &str,
        (status, code): (u16, &str),
        browser: &mut Browser,
        request: RequestBuilder,
    ) {
        self.names(how);
        let before = self.world.traces().await;
        let answer = browser.send(request).await;
        assert_eq!(answer.status, status, "{how}: {answer:#?}");
        assert_eq!(answer.code(), code, "{how}: {answer:#?}");
        let sets =
            answer.set_cookies().into_iter().find(|cookie| !cookie.contains("=;") || !cookie.contains("Max-Age=0"));
        assert_eq!(sets, None, "{how}: a cookie is set, and not only taken away");
        assert!(!answer.headers.contains_key(LOCATION), "{how}: it leads elsewhere: {answer:#?}");
        self.leaks_nothing(how, &answer);
        assert_eq!(browser.get(self.at("/api/me")).await.status, 401, "{how}: a session");
        let expected = match recorded(code) {
            Some(outcome) => before.and_refused(outcome),
            None => before,
        };
        assert_eq!(self.world.traces().await, expected, "{how}: the database");
    }

    /// Each case has a name of its own, by which it is found again.
    pub(crate) fn names(&mut self, how: &str) {
        assert!(self.cases.insert(how.to_owned()), "two cases are called {how:?}");
    }

    /// No secret in the answer, and nobody went where an attacker would like them to go.
    #[track_caller]
    pub(crate) fn leaks_nothing(&self, how: &str, answer: &Answer) {
        // A cookie may be set where somebody signed in.
        let headers: Vec<_> = answer.headers.iter().filter(|(name, _)| *name != SET_COOKIE).collect();
        self.secrets.are_not_in(how, &format!("{headers:?} {}", answer.body));
        tells_nothing(&self.world, answer);
        assert_eq!(self.lure.visits(), 0, "{how}: somebody went where the attacker wanted them to go");
    }

    /// After at least so many cases, people sign in as ever: or else something altogether different was wrong. And the
    /// log of all of it, which has lines for each, holds no secret and no address.
    pub(crate) async fn stands(mut self, at_least: usize) {
        self.ended = true;
        self.world.simulator.clear_faults();
        let (mut browser, callback) = self.comes_back(self.alice).await;
        let answer = browser.get(callback).await;
        assert_eq!(answer.status, 303, "Alice cannot sign in any more: {answer:#?}");
        assert_eq!(browser.get(self.at("/api/me")).await.status, 200, "Alice is not signed in");
        self.secrets.add_cookies(&browser);
        let count = self.cases.len();
        assert!(count >= at_least, "of {at_least} cases only {count} are left: {:?}", self.cases);

        let log = self.log.text();
        assert!(log.matches(" answered ").count() >= count, "each case has its line in the log:\n{log}");
        let dated = |line: &str| line.starts_with("20") && line.get(19..20) == Some(".");
        let odd = log.lines().find(|line| !dated(line));
        assert_eq!(odd, None, "a line of the log that is half of another, or made up by somebody");
        let is_control_or_bidi = log.lines().find(|line| line.contains(entraway::domain::is_control_or_bidi));
        assert_eq!(is_control_or_bidi, None, "a line of the log that is not shown as it is written");
        self.secrets.are_not_in("the log", &log);
        no_address_is_in("the log", &log);
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        assert!(self.ended || std::thread::panicking(), "a siege has to be ended by `stands`, which looks at the log");
    }
}
