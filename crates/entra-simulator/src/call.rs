//! One request to the simulator: its ids, its time and its parameters, which answers and errors repeat.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use chrono::{DateTime, Utc};
use url::form_urlencoded;
use uuid::Uuid;

/// The ids and the time of a request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Graph's `request-id`, Entra's trace id.
    pub(crate) request_id: Uuid,
    /// The caller's own id for the request, or ours where it sent none; Entra's correlation id.
    pub(crate) client_request_id: String,
    pub(crate) at: DateTime<Utc>,
}

impl Call {
    pub(crate) fn new(headers: &HeaderMap, at: DateTime<Utc>) -> Self {
        let request_id = Uuid::new_v4();
        let sent = headers.get("client-request-id").and_then(|value| value.to_str().ok());
        let client_request_id = sent.map_or_else(|| request_id.to_string(), str::to_owned);
        Self { request_id, client_request_id, at }
    }

    /// Entra's way to write a time.
    pub(crate) fn timestamp(&self) -> String {
        self.at.format("%Y-%m-%d %H:%M:%SZ").to_string()
    }

    /// Adds what Graph, or Entra, puts on every answer.
    pub(crate) fn mark(&self, headers: &mut HeaderMap, graph: bool) {
        let text = |text: &str| HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("invalid"));
        let request_id = text(&self.request_id.to_string());
        if graph {
            headers.entry("request-id").or_insert(request_id);
            headers.insert("client-request-id", text(&self.client_request_id));
            headers.insert("cache-control", HeaderValue::from_static("no-cache"));
            headers.insert(
                "x-ms-ags-diagnostic",
                HeaderValue::from_static(
                    r#"{"ServerInfo":{"DataCenter":"Simulator","Slice":"E","Ring":"0","ScaleUnit":"000"}}"#,
                ),
            );
        } else {
            headers.insert("x-ms-request-id", request_id);
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Call {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let put_there = parts.extensions.get::<Self>().cloned();
        // The middleware in front of every handler put it there; without it the ids differ, which does no harm.
        Ok(put_there.unwrap_or_else(|| Self::new(&parts.headers, DateTime::UNIX_EPOCH)))
    }
}

/// The parameters of a query or of a form, in the order sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(pub(crate) Vec<(String, String)>);

impl Params {
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// The first of this name, unless it is empty: Entra takes an empty parameter for a missing one.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let first = self.0.iter().find(|(key, _)| key == name);
        first.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// The same again as text, without the named ones.
    pub(crate) fn text_without(&self, names: &[&str]) -> String {
        let kept = self.0.iter().filter(|(key, _)| !names.contains(&key.as_str()));
        form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish()
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::parse(parts.uri.query().unwrap_or_default().as_bytes()))
    }
}
