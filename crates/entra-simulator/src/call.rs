//! IDs, time and parameters of a request to the simulator, which responses and errors repeat.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use chrono::{DateTime, Utc};
use url::form_urlencoded;
use uuid::Uuid;

/// IDs and time of a request.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// Graph's `request-id`, Entra's trace id.
    pub(crate) request_id: Uuid,
    /// The client's own request ID, or a new one if it sent none; Entra's correlation ID.
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

    /// Timestamp in Entra's format.
    pub(crate) fn timestamp(&self) -> String {
        self.at.format("%Y-%m-%d %H:%M:%SZ").to_string()
    }

    /// Adds the headers that are on every response of Graph or Entra.
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
        // Set by the middleware. Without it, the IDs differ, which is harmless.
        Ok(put_there.unwrap_or_else(|| Self::new(&parts.headers, DateTime::UNIX_EPOCH)))
    }
}

/// Parameters of a query or a form, in the order sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(pub(crate) Vec<(String, String)>);

impl Params {
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self(form_urlencoded::parse(text).into_owned().collect())
    }

    /// First parameter of this name. An empty one counts as missing, as in Entra.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let first = self.0.iter().find(|(key, _)| key == name);
        first.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Encodes the parameters again, without those in `names`.
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
