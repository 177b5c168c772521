//! The simulator's state, and the middleware that logs requests and injects faults.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::batch::InBatch;
use crate::call::{Call, Params};
use crate::code::{Authority, Holder, Issued};
use crate::directory::Directory;
use crate::fault::{Fault, FaultRule};
use crate::graph::bearer;
use crate::id_token::IdToken;
use crate::keys::KeyRing;
use crate::odata::PageLink;
use crate::request_log::{AppCredential, Endpoint, LoggedRequest, TokenKind};
use crate::throttling;

/// A clock.
pub type Now = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Changes an ID token before it is signed.
pub(crate) type ChangeIdToken = Arc<dyn Fn(&mut IdToken) + Send + Sync>;

/// Maximum number of logged requests: the demo may run for days.
const LOG_LENGTH: usize = 10_000;

/// State shared by all handlers.
pub(crate) struct SimulatorState {
    /// `http://127.0.0.1:PORT`
    pub(crate) origin: String,
    pub(crate) now: Now,
    pub(crate) page_size: usize,
    pub(crate) product_url: Option<Url>,
    pub(crate) stop: CancellationToken,
    pub(crate) inner: Mutex<Inner>,
}

/// Mutable state.
pub(crate) struct Inner {
    /// Copied on write while a handler still reads it.
    pub(crate) directory: Arc<Directory>,
    pub(crate) keys: KeyRing,
    pub(crate) issued: Issued,
    pub(crate) faults: Vec<FaultRule>,
    pub(crate) change_id_token: Option<ChangeIdToken>,
    pub(crate) request_log: VecDeque<LoggedRequest>,
}

impl SimulatorState {
    /// Ignores poisoning: after a panic in a test's closure, the data is still readable.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Parses the tenant segment of a path.
    pub(crate) fn authority(&self, segment: &str) -> Option<Authority> {
        self.lock().directory.authority(segment)
    }

    /// Logs the request and returns the fault that applies to it.
    fn note(&self, request: LoggedRequest) -> Option<Fault> {
        let mut inner = self.lock();
        let rule = inner.faults.iter_mut().find(|rule| rule.fits(&request));
        let fault = rule.map(|rule| {
            rule.times = rule.times.map(|times| times - 1);
            rule.fault.clone()
        });
        if inner.request_log.len() == LOG_LENGTH {
            inner.request_log.pop_front();
        }
        inner.request_log.push_back(request);
        fault
    }

    fn token_kind(&self, text: &str) -> TokenKind {
        match self.lock().issued.token(text).map(|token| token.holder) {
            Some(Holder::App) => TokenKind::AppOnly,
            Some(Holder::User(_)) => TokenKind::Delegated,
            None => TokenKind::Unknown,
        }
    }
}

/// Middleware of all handlers.
pub(crate) async fn observe(State(state): State<Arc<SimulatorState>>, mut request: Request, next: Next) -> Response {
    let call = Call::new(request.headers(), (state.now)());
    let endpoint = Endpoint::of(request.uri().path());
    let graph = request.uri().path().starts_with("/v1.0/");
    let link = PageLink::new(&state.origin, request.uri());
    let cost = throttling::resource_units(endpoint, request.uri());
    let mut app_credentials = Vec::new();
    let token = if endpoint == Endpoint::Token {
        let (parts, body) = request.into_parts();
        // Longer forms are invalid and arrive empty.
        let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
        let form = Params::parse(&body);
        let app_only = form.get("grant_type") == Some("client_credentials");
        let given = |name: &str| form.get(name).map(str::to_owned);
        app_credentials.extend(given("client_secret").map(AppCredential::Secret));
        app_credentials.extend(given("client_assertion").map(AppCredential::Assertion));
        request = Request::from_parts(parts, Body::from(body));
        Some(if app_only { TokenKind::AppOnly } else { TokenKind::Delegated })
    } else {
        bearer(request.headers()).map(|text| state.token_kind(text))
    };
    let fault = state.note(LoggedRequest {
        endpoint,
        method: request.method().to_string(),
        path: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        page: link.cursor().page,
        token,
        app_credentials,
        consistency_level: LoggedRequest::header(request.headers(), "consistencylevel"),
        client_request_id: LoggedRequest::header(request.headers(), "client-request-id"),
        throttle_priority: LoggedRequest::header(request.headers(), "x-ms-throttle-priority"),
        user_agent: LoggedRequest::header(request.headers(), "user-agent"),
        in_batch: request.extensions().get::<InBatch>().is_some(),
    });
    if let Some(fault) = &fault {
        // A stop does not wait for delayed responses.
        tokio::select! {
            () = tokio::time::sleep(fault.wait()) => {}
            () = state.stop.cancelled() => {}
        }
        if let Fault::Entra(error) = fault {
            request.extensions_mut().insert(error.clone());
        }
    }
    let instead = fault.as_ref().and_then(|fault| fault.instead(endpoint, &call, &state.origin));
    let mut response = if let Some(response) = instead {
        response
    } else {
        request.extensions_mut().insert(call.clone());
        let response = next.run(request).await;
        match fault {
            Some(fault) if fault.spoils() => fault.spoil(response, &link).await,
            _ => response,
        }
    };
    call.mark(response.headers_mut(), graph);
    if graph {
        throttling::mark(&mut response, cost);
    }
    response
}
