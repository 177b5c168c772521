//! A browser that resolves the recipes' hosts to a local proxy over TLS.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use entra_simulator::{EntraSimulator, ObjectId};
use reqwest::Method;
use reqwest::header::{COOKIE, LOCATION};
use url::Url;

use crate::support::Answer;

/// Sends its cookies to all hosts of `example.com`.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    cookies: BTreeMap<String, String>,
}

impl Client {
    pub(super) fn new(port: u16) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // HTTP/2 has no `Connection` header, with which a client can make a proxy drop headers.
            .http1_only()
            .tls_danger_accept_invalid_certs(true)
            .resolve("sso.example.com", address)
            .resolve("app.example.com", address)
            .resolve("other.example.com", address)
            .build()
            .unwrap();
        Self { http, cookies: BTreeMap::new() }
    }

    /// Whether both hosts respond.
    pub(super) async fn is_answered(&self) -> bool {
        let sso = self.http.get("https://sso.example.com/healthz").send().await;
        sso.is_ok() && self.http.get("https://app.example.com/").send().await.is_ok()
    }

    /// Requests a URL as a page load.
    pub(super) async fn page(&mut self, url: &str) -> Answer {
        self.send(Method::GET, url, &[("accept", "text/html,application/xhtml+xml")]).await
    }

    pub(super) async fn send(&mut self, method: Method, url: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !self.cookies.is_empty() {
            let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, cookies.join("; "));
        }
        let answer = Answer::read(request).await;
        answer.keep_cookies(&mut self.cookies);
        answer
    }

    /// Picks a user at the simulated Entra. Returns the callback URL.
    pub(super) async fn pick(&self, simulator: &EntraSimulator, entra: &Url, person: ObjectId) -> Url {
        let response = self.http.get(simulator.pick_url(entra, person)).send().await.unwrap();
        response.headers()[LOCATION].to_str().unwrap().parse().unwrap()
    }
}
