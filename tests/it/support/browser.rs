//! A browser without a screen: it keeps cookies and follows the way through Entra.

use std::collections::BTreeMap;

use entra_simulator::{EntraSimulator, ObjectId};
use reqwest::header::{ACCEPT, COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use url::Url;

use super::Service;

/// An answer with its body read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// Sends a request and reads the answer to its end.
    pub(crate) async fn read(request: RequestBuilder) -> Self {
        Self::try_read(request).await.unwrap()
    }

    /// The same where the server may be gone in the middle of it.
    pub(crate) async fn try_read(request: RequestBuilder) -> reqwest::Result<Self> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Self { status, headers, body: response.text().await? })
    }

    /// Puts the cookies that it sets among these, and takes away those that it takes away.
    pub(crate) fn keep_cookies(&self, cookies: &mut BTreeMap<String, String>) {
        for cookie in self.set_cookies() {
            let (pair, attributes) = cookie.split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                cookies.remove(name);
            } else {
                cookies.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// Where a redirect leads.
    #[track_caller]
    pub(crate) fn location(&self) -> Url {
        let location = self.headers.get(LOCATION).unwrap_or_else(|| panic!("no redirect but {self:#?}"));
        location.to_str().unwrap().parse().unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// The error's code, on a page or in JSON.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        if let Ok(Value::Object(problem)) = serde_json::from_str(&self.body) {
            return problem["code"].as_str().unwrap().to_owned();
        }
        let (_, rest) =
            self.body.split_once("<dt>Code</dt><dd><code>").unwrap_or_else(|| panic!("no error in {self:#?}"));
        rest.split_once('<').unwrap().0.to_owned()
    }

    /// The same, or nothing where the answer is no error.
    pub(crate) fn code_or_nothing(&self) -> String {
        if self.status.is_client_error() || self.status.is_server_error() { self.code() } else { String::new() }
    }

    pub(crate) fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

/// Keeps cookies as a browser does, but knows one host only: the service's. Clones share nothing.
#[derive(Clone)]
pub(crate) struct Browser {
    http: reqwest::Client,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new() -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        // It never meets TLS, and reading the system's certificates takes longer than most tests.
        let http = http.tls_certs_only([]).build().unwrap();
        Self { http, cookies: BTreeMap::new() }
    }

    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// Sends a request with our cookies and keeps those that come back.
    pub(crate) async fn send(&mut self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap()
    }

    /// The same where the server may be gone in the middle of it.
    pub(crate) async fn try_send(&mut self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if cookies.is_empty() { request } else { request.header(COOKIE, cookies.join("; ")) };
        let answer = Answer::try_read(request).await?;
        answer.keep_cookies(&mut self.cookies);
        Ok(answer)
    }

    /// As a page load.
    pub(crate) async fn get(&mut self, url: Url) -> Answer {
        let request = self.request(Method::GET, url).header(ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8");
        self.send(request).await
    }

    /// As a program that asks for JSON.
    pub(crate) async fn get_json(&mut self, url: Url) -> Answer {
        let request = self.request(Method::GET, url).header(ACCEPT, "application/json");
        self.send(request).await
    }

    /// As a form of the page at hand does.
    pub(crate) async fn post(&mut self, url: Url) -> Answer {
        let origin = url.origin().ascii_serialization();
        let request = self.request(Method::POST, url).header("Origin", origin).header("Sec-Fetch-Site", "same-origin");
        self.send(request).await
    }

    /// Begins a sign-in; gives Entra's address that the browser was sent to.
    pub(crate) async fn begin(&mut self, service: &Service) -> Url {
        let answer = self.get(service.at("/sso/login")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "sign-in did not begin: {answer:#?}");
        answer.location()
    }

    /// Picks a person at the simulated Entra; gives the callback's address, as this instance of the service has it.
    pub(crate) async fn pick(
        &self,
        simulator: &EntraSimulator,
        service: &Service,
        entra: &Url,
        person: ObjectId,
    ) -> Url {
        let response = self.http.get(simulator.pick_url(entra, person)).send().await.unwrap();
        let location = response.headers().get(LOCATION).map(|value| value.to_str().unwrap().to_owned());
        let status = response.status();
        let location = location.unwrap_or_else(|| panic!("the simulated Entra answered {status} and no redirect"));
        service.here(&location.parse().unwrap())
    }

    /// The whole way, up to the callback's answer.
    pub(crate) async fn sign_in(&mut self, simulator: &EntraSimulator, service: &Service, person: ObjectId) -> Answer {
        let entra = self.begin(service).await;
        let callback = self.pick(simulator, service, &entra, person).await;
        self.get(callback).await
    }

    /// `GET /api/me`.
    pub(crate) async fn me(&mut self, service: &Service) -> Answer {
        self.get(service.at("/api/me")).await
    }
}
