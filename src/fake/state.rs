//! What the simulator remembers, and the middleware that every request passes through: it logs and it spoils.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::call::{Call, Params};
use super::code::{Authority, Holder, Issued};
use super::directory::Directory;
use super::fault::{Fault, FaultRule};
use super::graph::bearer;
use super::id_token::IdToken;
use super::keys::KeyRing;
use super::odata::PageLink;
use super::seen::{AppCredential, Endpoint, Seen, TokenKind};

/// Tells the time.
pub type Now = Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>;

/// Changes an ID token before it is signed.
pub(super) type ChangeIdToken = Arc<dyn Fn(&mut IdToken) + Send + Sync>;

/// The log holds no more than so many requests: the demo may run for days.
const LOG_LENGTH: usize = 10_000;

/// What all handlers share.
pub(super) struct Shared {
    /// `http://127.0.0.1:PORT`
    pub(super) origin: String,
    pub(super) now: Now,
    pub(super) page_size: usize,
    pub(super) product_url: Option<Url>,
    pub(super) stop: CancellationToken,
    pub(super) inner: Mutex<Inner>,
}

/// What changes.
pub(super) struct Inner {
    /// Shared with whoever reads it meanwhile, and copied where it is changed then.
    pub(super) directory: Arc<Directory>,
    pub(super) keys: KeyRing,
    pub(super) issued: Issued,
    pub(super) faults: Vec<FaultRule>,
    pub(super) change_id_token: Option<ChangeIdToken>,
    pub(super) seen: VecDeque<Seen>,
}

impl Shared {
    /// A panic in a test's closure leaves data that may still be looked at.
    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the tenant segment of an address names.
    pub(super) fn authority(&self, segment: &str) -> Option<Authority> {
        self.lock().directory.authority(segment)
    }

    /// Logs the request and finds the fault that is due for it.
    fn note(&self, seen: Seen) -> Option<Fault> {
        let mut inner = self.lock();
        let rule = inner.faults.iter_mut().find(|rule| rule.fits(seen.endpoint, seen.page, seen.token));
        let fault = rule.map(|rule| {
            rule.times = rule.times.map(|times| times - 1);
            rule.fault.clone()
        });
        if inner.seen.len() == LOG_LENGTH {
            inner.seen.pop_front();
        }
        inner.seen.push_back(seen);
        fault
    }

    fn token_kind(&self, text: &str) -> TokenKind {
        match self.lock().issued.token(text).map(|token| token.holder) {
            Some(Holder::App) => TokenKind::AppOnly,
            Some(Holder::Person(_)) => TokenKind::Delegated,
            None => TokenKind::Unknown,
        }
    }
}

/// Goes around every handler.
pub(super) async fn observe(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Response {
    let call = Call::new(request.headers(), (shared.now)());
    let endpoint = Endpoint::of(request.uri().path());
    let graph = request.uri().path().starts_with("/v1.0/");
    let link = PageLink::new(&shared.origin, request.uri());
    let mut app_credentials = Vec::new();
    let token = if endpoint == Endpoint::Token {
        let (parts, body) = request.into_parts();
        // A longer form than that is none; it arrives empty.
        let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
        let form = Params::parse(&body);
        let app_only = form.get("grant_type") == Some("client_credentials");
        let given = |name: &str| form.get(name).map(str::to_owned);
        app_credentials.extend(given("client_secret").map(AppCredential::Secret));
        app_credentials.extend(given("client_assertion").map(AppCredential::Assertion));
        request = Request::from_parts(parts, Body::from(body));
        Some(if app_only { TokenKind::AppOnly } else { TokenKind::Delegated })
    } else {
        bearer(request.headers()).map(|text| shared.token_kind(text))
    };
    let fault = shared.note(Seen {
        endpoint,
        method: request.method().to_string(),
        path: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        page: link.cursor().page,
        token,
        app_credentials,
        consistency_level: Seen::header(request.headers(), "consistencylevel"),
        client_request_id: Seen::header(request.headers(), "client-request-id"),
        user_agent: Seen::header(request.headers(), "user-agent"),
    });
    if let Some(fault) = &fault {
        // A stop need not wait for those who hang.
        tokio::select! {
            () = tokio::time::sleep(fault.wait()) => {}
            () = shared.stop.cancelled() => {}
        }
        if let Fault::Entra(error) = fault {
            request.extensions_mut().insert(error.clone());
        }
    }
    let instead = fault.as_ref().and_then(|fault| fault.instead(endpoint, &call, &shared.origin));
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
    response
}
