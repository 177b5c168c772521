//! A running simulator, and a client that sends the product's requests.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use entra_simulator::{Directory, EntraSimulator, ObjectId, Options};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::Value;
use sha2::{Digest, Sha256};
use url::Url;

pub(crate) const REDIRECT: &str = "http://localhost:4180/auth/callback";
pub(crate) const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// 21 September 2026.
pub(crate) fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

pub(crate) struct World {
    pub(crate) simulator: EntraSimulator,
    pub(crate) client: Client,
}

impl World {
    pub(crate) async fn start(directory: Directory) -> Self {
        Self::with(directory, |_| {}).await
    }

    pub(crate) async fn with(directory: Directory, change: impl FnOnce(&mut Options)) -> Self {
        // Fails if another test has installed it already, which is fine.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut options = Options::new(directory, Arc::new(noon));
        change(&mut options);
        let simulator = EntraSimulator::start(listener, options).await.unwrap();
        let client = Client::builder().redirect(Policy::none()).timeout(Duration::from_secs(20)).build().unwrap();
        Self { simulator, client }
    }

    pub(crate) fn url(&self, path: &str) -> Url {
        self.simulator.authority_url().join(path).unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.client.get(self.url(path)).send().await.unwrap()
    }

    /// The authorization URL to which the product redirects.
    pub(crate) fn authorize_url(&self, tenant: &str) -> Url {
        let mut url = self.url(&format!("/{tenant}/oauth2/v2.0/authorize"));
        let client_id = self.simulator.edit(|directory| directory.client_id.clone());
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER));
        url.query_pairs_mut().extend_pairs([
            ("client_id", client_id.as_str()),
            ("response_type", "code"),
            ("redirect_uri", REDIRECT),
            ("scope", "openid profile email User.Read GroupMember.Read.All"),
            ("state", "the state"),
            ("nonce", "the nonce"),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ]);
        url
    }

    pub(crate) async fn pick(&self, tenant: &str, person: ObjectId) -> Vec<(String, String)> {
        let url = self.simulator.pick_url(&self.authorize_url(tenant), person);
        answer(&self.client.get(url).send().await.unwrap())
    }

    pub(crate) async fn redeem(&self, tenant: &str, code: &str, change: &[(&str, &str)]) -> (u16, Value) {
        let (id, secret) =
            self.simulator.edit(|directory| (directory.client_id.clone(), directory.client_secret.clone()));
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("client_id", &id),
            ("client_secret", &secret),
            ("code", code),
            ("redirect_uri", REDIRECT),
            ("code_verifier", VERIFIER),
        ];
        for (name, value) in change {
            form.retain(|(old, _)| old != name);
            form.push((name, value));
        }
        self.post_token(tenant, &form).await
    }

    pub(crate) async fn app_only(&self, tenant: &str) -> (u16, Value) {
        let (id, secret) =
            self.simulator.edit(|directory| (directory.client_id.clone(), directory.client_secret.clone()));
        let scope = self.url("/.default").to_string();
        let form =
            [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret), ("scope", &scope)];
        self.post_token(tenant, &form).await
    }

    async fn post_token(&self, tenant: &str, form: &[(&str, &str)]) -> (u16, Value) {
        let url = self.url(&format!("/{tenant}/oauth2/v2.0/token"));
        let response = self.client.post(url).form(form).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub(crate) fn tenant(&self) -> String {
        self.simulator.edit(|directory| directory.tenant_id.to_string())
    }

    pub(crate) async fn delegated_token(&self, person: ObjectId) -> String {
        let tenant = self.tenant();
        let answer = self.pick(&tenant, person).await;
        let (status, body) = self.redeem(&tenant, value(&answer, "code"), &[]).await;
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn app_token(&self) -> String {
        let (status, body) = self.app_only(&self.tenant()).await;
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn graph(&self, token: &str, url: &str) -> Response {
        let url = self.simulator.graph_url().join(url).unwrap();
        self.client.get(url).bearer_auth(token).header("client-request-id", "mine").send().await.unwrap()
    }

    /// Sends GET requests in one batch. Their IDs are their positions.
    pub(crate) async fn batch(&self, token: &str, urls: &[&str]) -> (u16, Value) {
        let requests: Vec<Value> = (0..)
            .zip(urls)
            .map(|(id, url)| serde_json::json!({ "id": format!("{id}"), "method": "GET", "url": url }))
            .collect();
        self.post_batch(token, &serde_json::json!({ "requests": requests })).await
    }

    pub(crate) async fn post_batch(&self, token: &str, body: &Value) -> (u16, Value) {
        let url = self.url("/v1.0/$batch");
        let response = self.client.post(url).bearer_auth(token).json(body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    pub(crate) async fn graph_json(&self, token: &str, url: &str) -> (u16, Value) {
        let response = self.graph(token, url).await;
        assert_eq!(response.headers()["client-request-id"], "mine");
        assert!(response.headers().contains_key("request-id"));
        (response.status().as_u16(), response.json().await.unwrap())
    }
}

/// The parameters of the redirect back to the product.
pub(crate) fn answer(response: &Response) -> Vec<(String, String)> {
    assert_eq!(response.status(), 302);
    let url = Url::parse(response.headers()["location"].to_str().unwrap()).unwrap();
    assert!(url.as_str().starts_with(REDIRECT));
    url.query_pairs().into_owned().collect()
}

pub(crate) fn value<'a>(answer: &'a [(String, String)], name: &str) -> &'a str {
    &answer.iter().find(|(key, _)| key == name).unwrap_or_else(|| panic!("no {name} in {answer:?}")).1
}

/// The IDs in a list.
pub(crate) fn ids(body: &Value) -> Vec<&str> {
    body["value"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}
