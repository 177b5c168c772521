//! Attack tests: a growing corpus of named cases. Each must be rejected with the expected code, open no session, write
//! nothing, redirect nowhere else, and leak no secret in the response or the log.

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

/// Outcome of the sync record of a denied sign-in. Only users that Entra authenticated get one.
fn recorded(code: &str) -> Option<&'static str> {
    match code {
        "email_domain_not_allowed" => Some("email_domain"),
        "other_tenant" => Some("other_tenant"),
        _ => None,
    }
}

/// Password in the database URL. The private Postgres uses trust authentication and accepts any.
const DATABASE_PASSWORD: &str = "db-Passw0rd-S3cret";
const COOKIE_KEY: [u8; 64] = [0xa7; 64];

/// A service under a series of attacks. Each test must end it with [`Siege::stands`].
pub(crate) struct Siege {
    pub(crate) world: World,
    pub(crate) service: Service,
    /// The victim: a user in a group.
    pub(crate) alice: ObjectId,
    /// The attacker: a user of the same tenant, in no group.
    pub(crate) eve: ObjectId,
    /// Destination to which an attacker tries to redirect the service or a browser.
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

    /// With changed settings.
    pub(crate) async fn with(change: impl FnOnce(&World, &mut Config)) -> Self {
        Self::upon(World::new().await, change).await
    }

    /// With this store.
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

    /// Another instance with the same settings except for this change.
    pub(crate) async fn another(&self, change: impl FnOnce(&mut Config)) -> Service {
        let mut config = self.config.clone();
        change(&mut config);
        self.world.service_of(config).await
    }

    /// URL of a path below the public URL's path.
    pub(crate) fn at(&self, path: &str) -> Url {
        self.service.at(&format!("{}{path}", self.config.server.public_url.base_path()))
    }

    /// Starts a sign-in; returns Entra's URL.
    pub(crate) async fn begin(&mut self, browser: &mut Browser) -> Url {
        let begun = browser.get(self.at("/sso/login")).await;
        assert_eq!(begun.status, 303, "the sign-in did not start: {begun:#?}");
        self.secrets.add_request(&begun.location());
        self.secrets.add_cookies(browser);
        begun.location()
    }

    /// Picks a user at Entra; returns the callback URL.
    pub(crate) async fn pick(&mut self, browser: &Browser, entra: &Url, person: ObjectId) -> Url {
        let callback = browser.pick(&self.world.simulator, &self.service, entra, person).await;
        self.secrets.add_callback(&callback);
        callback
    }

    /// A new browser that returns from Entra, where this user was picked.
    pub(crate) async fn comes_back(&mut self, person: ObjectId) -> (Browser, Url) {
        let mut browser = Browser::new();
        let entra = self.begin(&mut browser).await;
        let callback = self.pick(&browser, &entra, person).await;
        (browser, callback)
    }

    /// The page is rejected with this status and code, and has no effect.
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
        assert_eq!(sets, None, "{how}: a cookie is set, not only deleted");
        assert!(!answer.headers.contains_key(LOCATION), "{how}: it redirects: {answer:#?}");
        self.leaks_nothing(how, &answer);
        assert_eq!(browser.get(self.at("/api/me")).await.status, 401, "{how}: a session");
        let expected = match recorded(code) {
            Some(outcome) => before.and_refused(outcome),
            None => before,
        };
        assert_eq!(self.world.traces().await, expected, "{how}: the database");
    }

    /// Case names must be unique, so that a failure identifies its case.
    pub(crate) fn names(&mut self, how: &str) {
        assert!(self.cases.insert(how.to_owned()), "two cases are called {how:?}");
    }

    /// No secret in the response, and no request to the attacker's site.
    #[track_caller]
    pub(crate) fn leaks_nothing(&self, how: &str, answer: &Answer) {
        // Responses of a successful sign-in may set cookies.
        let headers: Vec<_> = answer.headers.iter().filter(|(name, _)| *name != SET_COOKIE).collect();
        self.secrets.are_not_in(how, &format!("{headers:?} {}", answer.body));
        tells_nothing(&self.world, answer);
        assert_eq!(self.lure.visits(), 0, "{how}: a request reached the attacker's site");
    }

    /// After at least this many cases, users can still sign in; otherwise the rejections could have another cause. The
    /// log has a line for each case, without secrets or addresses.
    pub(crate) async fn stands(mut self, at_least: usize) {
        self.ended = true;
        self.world.simulator.clear_faults();
        let (mut browser, callback) = self.comes_back(self.alice).await;
        let answer = browser.get(callback).await;
        assert_eq!(answer.status, 303, "Alice can no longer sign in: {answer:#?}");
        assert_eq!(browser.get(self.at("/api/me")).await.status, 200, "Alice is not signed in");
        self.secrets.add_cookies(&browser);
        let count = self.cases.len();
        assert!(count >= at_least, "of {at_least} cases only {count} are left: {:?}", self.cases);

        let log = self.log.text();
        assert!(log.matches(" answered ").count() >= count, "each case has a log line:\n{log}");
        let dated = |line: &str| line.starts_with("20") && line.get(19..20) == Some(".");
        let odd = log.lines().find(|line| !dated(line));
        assert_eq!(odd, None, "a truncated or injected log line");
        let is_control_or_bidi = log.lines().find(|line| line.contains(entraway::domain::is_control_or_bidi));
        assert_eq!(is_control_or_bidi, None, "a log line with control or bidi characters");
        self.secrets.are_not_in("the log", &log);
        no_address_is_in("the log", &log);
    }
}

impl Drop for Siege {
    fn drop(&mut self) {
        assert!(self.ended || std::thread::panicking(), "end a siege with `stands`, which checks the log");
    }
}
