//! Graph's `$batch`: up to 20 requests in one, each with its own status, faults and entry in the request log.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::post;
use axum::{Router, http};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::graph::{authorized, respond};
use crate::graph_error::GraphError;
use crate::state::SimulatorState;

const PATH: &str = "/v1.0/$batch";
const MAX_REQUESTS: usize = 20;

/// All routes and their middleware, for the requests inside a batch.
#[derive(Clone)]
struct Routes(Next);

/// Marks a request inside a batch.
#[derive(Clone, Copy)]
pub(crate) struct InBatch;

/// Marks a response that the batch's response does not contain.
#[derive(Clone, Copy)]
pub(crate) struct LeftOut;

#[derive(Deserialize)]
struct Batch {
    requests: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    id: String,
    method: String,
    /// Relative to the version.
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: Option<Value>,
}

pub(crate) fn router() -> Router<Arc<SimulatorState>> {
    Router::new().route(PATH, post(batch))
}

/// Middleware that gives the batch handler access to all routes. Outside the one that logs requests and injects faults,
/// so that both also apply inside a batch.
pub(crate) async fn offer_routes(mut request: Request, next: Next) -> Response {
    if request.uri().path() == PATH {
        request.extensions_mut().insert(Routes(next.clone()));
    }
    next.run(request).await
}

async fn batch(
    State(state): State<Arc<SimulatorState>>,
    Extension(Routes(routes)): Extension<Routes>,
    headers: HeaderMap,
    call: Call,
    body: Bytes,
) -> Response {
    let requests = authorized(&state, &headers, &call).and_then(|_| parse(&body));
    let requests = match requests {
        Ok(requests) => requests,
        Err(error) => return error.to_response(&call),
    };
    let mut responses = Vec::new();
    // Graph responds in any order; here in reverse.
    for item in requests.into_iter().rev() {
        let id = item.id.clone();
        let response = match inner(item, &headers) {
            Ok(request) => routes.clone().run(request).await,
            Err(error) => error.to_response(&call),
        };
        if response.extensions().get::<LeftOut>().is_none() {
            responses.push(written(id, response).await);
        }
    }
    respond(Ok(json!({ "responses": responses })), &call)
}

fn parse(body: &[u8]) -> Result<Vec<Item>, GraphError> {
    let batch: Batch = serde_json::from_slice(body)
        .map_err(|_| GraphError::bad_request("BadRequest", "Invalid batch payload format."))?;
    if batch.requests.is_empty() {
        return Err(GraphError::bad_request("BadRequest", "Invalid batch payload format."));
    }
    if batch.requests.len() > MAX_REQUESTS {
        return Err(GraphError::bad_request(
            "MaximumValueExceeded",
            format!("Number of batch request steps exceeds the maximum value of {MAX_REQUESTS}."),
        ));
    }
    let mut ids = HashSet::new();
    if let Some(item) = batch.requests.iter().find(|item| !ids.insert(item.id.to_lowercase())) {
        let text = format!("Request Id {} has to be unique in a batch.", item.id);
        return Err(GraphError::bad_request("BadRequest", text));
    }
    Ok(batch.requests)
}

/// The request that the item describes, with the batch's token.
fn inner(item: Item, outer: &HeaderMap) -> Result<Request, GraphError> {
    let invalid = || GraphError::bad_request("BadRequest", "Invalid batch payload format.");
    let method: Method = item.method.parse().map_err(|_| invalid())?;
    let path = format!("/v1.0/{}", item.url.trim_start_matches('/'));
    let mut request = http::Request::builder().method(method).uri(&path);
    if path.starts_with(PATH) {
        return Err(invalid());
    }
    for (name, value) in &item.headers {
        request = request.header(name, value);
    }
    let body = item.body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let mut request = request.body(body).map_err(|_| invalid())?;
    if let Some(token) = outer.get(header::AUTHORIZATION) {
        request.headers_mut().insert(header::AUTHORIZATION, token.clone());
    }
    request.extensions_mut().insert(InBatch);
    Ok(request)
}

/// The item of the batch's response. A body that is not JSON becomes a text, and one that breaks off is null.
async fn written(id: String, response: Response) -> Value {
    let (parts, body) = response.into_parts();
    let headers: Map<String, Value> = parts.headers.iter().filter_map(|(name, value)| header_of(name, value)).collect();
    let body = match to_bytes(body, 64 << 20).await {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&bytes).into_owned()))
        }
        Err(_) => Value::Null,
    };
    json!({ "id": id, "status": parts.status.as_u16(), "headers": headers, "body": body })
}

/// A header of an item. Graph writes `Retry-After` in this case.
fn header_of(name: &HeaderName, value: &HeaderValue) -> Option<(String, Value)> {
    if *name == header::CONTENT_LENGTH {
        return None;
    }
    let name = if *name == header::RETRY_AFTER { "Retry-After" } else { name.as_str() };
    Some((name.to_owned(), Value::from(value.to_str().ok()?)))
}
