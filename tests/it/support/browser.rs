//! A headless browser that stores cookies and signs in through Entra.

use std::collections::BTreeMap;

use entra_simulator::{EntraSimulator, ObjectId};
use reqwest::header::{ACCEPT, COOKIE, LOCATION, SET_COOKIE};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::Value;
use url::Url;

use super::Service;

/// A response with its body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// Sends a request and reads the whole response.
    pub(crate) async fn read(request: RequestBuilder) -> Self {
        Self::try_read(request).await.unwrap()
    }

    /// The same, if the server may stop while responding.
    pub(crate) async fn try_read(request: RequestBuilder) -> reqwest::Result<Self> {
        let response = request.send().await?;
        let (status, headers) = (response.status(), response.headers().clone());
        Ok(Self { status, headers, body: response.text().await? })
    }

    /// Applies the response's `Set-Cookie` headers to `cookies`.
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

    /// The target of a redirect.
    #[track_caller]
    pub(crate) fn location(&self) -> Url {
        let location = self.headers.get(LOCATION).unwrap_or_else(|| panic!("not a redirect: {self:#?}"));
        location.to_str().unwrap().parse().unwrap()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// The error code, on a page or in JSON.
    #[track_caller]
    pub(crate) fn code(&self) -> String {
        if let Ok(Value::Object(problem)) = serde_json::from_str(&self.body) {
            return problem["code"].as_str().unwrap().to_owned();
        }
        let (_, rest) =
            self.body.split_once("<dt>Code</dt><dd><code>").unwrap_or_else(|| panic!("no error code in {self:#?}"));
        rest.split_once('<').unwrap().0.to_owned()
    }

    /// The same, or an empty text if the response is no error.
    pub(crate) fn code_or_nothing(&self) -> String {
        if self.status.is_client_error() || self.status.is_server_error() { self.code() } else { String::new() }
    }

    pub(crate) fn set_cookies(&self) -> Vec<&str> {
        self.headers.get_all(SET_COOKIE).iter().map(|value| value.to_str().unwrap()).collect()
    }
}

/// Stores cookies as a browser does, but for one host only: the service's. Clones are independent.
#[derive(Clone)]
pub(crate) struct Browser {
    http: reqwest::Client,
    pub(crate) cookies: BTreeMap<String, String>,
}

impl Browser {
    pub(crate) fn new() -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy();
        // It never uses TLS, and loading the system's certificates takes longer than most tests.
        let http = http.tls_certs_only([]).build().unwrap();
        Self { http, cookies: BTreeMap::new() }
    }

    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.http.request(method, url)
    }

    /// Sends a request with the stored cookies, and stores those of the response.
    pub(crate) async fn send(&mut self, request: RequestBuilder) -> Answer {
        self.try_send(request).await.unwrap()
    }

    /// The same, if the server may stop while responding.
    pub(crate) async fn try_send(&mut self, request: RequestBuilder) -> reqwest::Result<Answer> {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if cookies.is_empty() { request } else { request.header(COOKIE, cookies.join("; ")) };
        let answer = Answer::try_read(request).await?;
        answer.keep_cookies(&mut self.cookies);
        Ok(answer)
    }

    /// Requests a page.
    pub(crate) async fn get(&mut self, url: Url) -> Answer {
        let request = self.request(Method::GET, url).header(ACCEPT, "text/html,application/xhtml+xml,*/*;q=0.8");
        self.send(request).await
    }

    /// Requests JSON.
    pub(crate) async fn get_json(&mut self, url: Url) -> Answer {
        let request = self.request(Method::GET, url).header(ACCEPT, "application/json");
        self.send(request).await
    }

    /// Submits a form of the service's own pages.
    pub(crate) async fn post(&mut self, url: Url) -> Answer {
        let origin = url.origin().ascii_serialization();
        let request = self.request(Method::POST, url).header("Origin", origin).header("Sec-Fetch-Site", "same-origin");
        self.send(request).await
    }

    /// Sends an API request that changes something, from a page of the service.
    pub(crate) async fn post_json(&mut self, url: Url) -> Answer {
        let request = self.request(Method::POST, url).header(ACCEPT, "application/json");
        self.send(request.header("Sec-Fetch-Site", "same-origin")).await
    }

    /// Starts a sign-in; returns Entra's URL to which the browser was redirected.
    pub(crate) async fn begin(&mut self, service: &Service) -> Url {
        let answer = self.get(service.at("/sso/login")).await;
        assert_eq!(answer.status, StatusCode::SEE_OTHER, "the sign-in did not start: {answer:#?}");
        answer.location()
    }

    /// Picks a user at the simulated Entra; returns the callback URL of this instance.
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
        let location = location.unwrap_or_else(|| panic!("the simulated Entra responded {status} without a redirect"));
        service.here(&location.parse().unwrap())
    }

    /// Completes a sign-in; returns the callback's response.
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
