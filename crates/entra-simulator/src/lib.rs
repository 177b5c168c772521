//! A simulator of Microsoft Entra ID and Microsoft Graph over HTTP. `entraway demo` uses it with its admin page; tests
//! inject the failures that Microsoft's servers produce.
//!
//! It shares no code with the product, not even ID types, so that it cannot repeat the product's mistakes.

mod aadsts;
mod admin_page;
mod authorize;
mod batch;
mod call;
mod client_assertion;
mod code;
mod cut_body;
mod directory;
mod discovery;
mod fault;
mod federation;
mod graph;
mod graph_error;
mod groups;
mod id_token;
mod ids;
mod keys;
mod lifecycle;
mod logout;
mod membership;
mod objects;
mod odata;
mod page;
mod request_log;
mod sample_directory;
mod scopes;
mod state;
mod throttling;
mod token;
mod users;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock};

use axum::{Router, middleware};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

pub use aadsts::EntraError;
pub use directory::{
    AppPermissions, Assignment, Directory, Group, GroupKind, Member, OtherKind, OtherObject, Principal, User,
};
pub use fault::{Fault, FaultRule};
pub use federation::{FederatedCredential, FederatedKey, Issuer};
pub use id_token::{IdToken, Signing};
pub use ids::{GroupId, InvalidId, ObjectId, TenantId};
pub use request_log::{AppCredential, Endpoint, LoggedRequest, TokenKind};
pub use state::Now;

use code::Issued;
use keys::{KeyRing, SigningKey};
use state::{Inner, SimulatorState};

/// Options of a simulator.
#[derive(Clone)]
pub struct Options {
    pub directory: Directory,
    pub now: Now,
    /// Graph's page size without `$top`.
    pub page_size: usize,
    /// The product's URL, linked from the admin page.
    pub product_url: Option<Url>,
}

impl Options {
    /// Options with Graph's page size of 100 and without a link to the product.
    pub fn new(directory: Directory, now: Now) -> Self {
        Self { directory, now, page_size: 100, product_url: None }
    }
}

/// A running simulator. Clones share it. It stops when the last clone is dropped, or at [`EntraSimulator::stop`].
#[derive(Clone)]
pub struct EntraSimulator(Arc<Running>);

struct Running {
    state: Arc<SimulatorState>,
    origin: Url,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.state.stop.cancel();
    }
}

impl EntraSimulator {
    /// Starts serving on the listener in a background task.
    pub async fn start(listener: TcpListener, options: Options) -> std::io::Result<Self> {
        let origin = format!("http://{}", listener.local_addr()?);
        let keys = tokio::task::spawn_blocking(KeyRing::new).await?;
        let state = Arc::new(SimulatorState {
            origin: origin.clone(),
            now: options.now,
            page_size: options.page_size.max(1),
            product_url: options.product_url,
            stop: CancellationToken::new(),
            inner: Mutex::new(Inner {
                directory: Arc::new(options.directory),
                keys,
                issued: Issued::default(),
                faults: Vec::new(),
                change_id_token: None,
                request_log: VecDeque::new(),
            }),
        });
        let origin = Url::parse(&origin).map_err(std::io::Error::other)?;
        let stop = state.stop.clone();
        let app = app(state.clone());
        tokio::spawn(async move {
            // Serving does not fail: axum retries failed accepts.
            let _ended = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
        });
        Ok(Self(Arc::new(Running { state, origin })))
    }

    /// URL of the login host. A tenant's issuer is `<authority_url>/<tenant>/v2.0`.
    pub fn authority_url(&self) -> Url {
        self.0.origin.clone()
    }

    /// URL of Graph with its version.
    pub fn graph_url(&self) -> Url {
        self.at("/v1.0")
    }

    /// URL of the admin page.
    pub fn admin_url(&self) -> Url {
        self.at("/")
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.0.origin.clone();
        url.set_path(path);
        url
    }

    /// URL that answers an authorization request as if this user had been picked.
    pub fn pick_url(&self, authorize_url: &Url, person: ObjectId) -> Url {
        self.answer_url(authorize_url, "person", &person.to_string())
    }

    /// URL that answers an authorization request as if the user had declined consent.
    pub fn refuse_url(&self, authorize_url: &Url) -> Url {
        self.answer_url(authorize_url, "answer", "refuse")
    }

    fn answer_url(&self, authorize_url: &Url, name: &str, value: &str) -> Url {
        let mut url = self.at("/simulator/authorize");
        url.set_query(authorize_url.query());
        let tenant = authorize_url.path_segments().and_then(|mut segments| segments.next()).unwrap_or_default();
        url.query_pairs_mut().append_pair("tenant", tenant).append_pair(name, value);
        url
    }

    /// Reads or changes the directory. The closure must not call the simulator, because it runs under its lock.
    pub fn edit<T>(&self, change: impl FnOnce(&mut Directory) -> T) -> T {
        let mut inner = self.0.state.lock();
        let directory = Arc::make_mut(&mut inner.directory);
        let result = change(directory);
        directory.people_by_id = OnceLock::new();
        result
    }

    /// All requests since the start or the last [`EntraSimulator::clear_requests`].
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.0.state.lock().request_log.iter().cloned().collect()
    }

    /// All requests to one endpoint.
    pub fn requests_to(&self, endpoint: Endpoint) -> Vec<LoggedRequest> {
        self.0.state.lock().request_log.iter().filter(|request| request.endpoint == endpoint).cloned().collect()
    }

    /// Clears the request log.
    pub fn clear_requests(&self) {
        self.0.state.lock().request_log.clear();
    }

    /// Adds a fault after the existing ones.
    pub fn fault(&self, fault: FaultRule) {
        self.0.state.lock().faults.push(fault);
    }

    /// Removes all faults and changes of ID tokens.
    pub fn clear_faults(&self) {
        let mut inner = self.0.state.lock();
        inner.faults.clear();
        inner.change_id_token = None;
    }

    /// Changes all ID tokens until [`EntraSimulator::clear_faults`].
    pub fn next_id_token(&self, change: impl Fn(&mut IdToken) + Send + Sync + 'static) {
        self.0.state.lock().change_id_token = Some(Arc::new(change));
    }

    /// Signs with a new key and unpublishes the old ones.
    pub fn rotate_keys(&self) {
        let kid = self.add_key();
        self.sign_with(&kid);
        self.retire_keys();
    }

    /// Publishes a new key without signing with it. Returns its `kid`.
    pub fn add_key(&self) -> String {
        let next = self.0.state.lock().keys.next_key();
        // Without the lock, because generating a key is slow.
        let key = SigningKey::shared(next);
        self.0.state.lock().keys.publish(key)
    }

    /// Signs with this published key from now on. Returns `false` if it is not published.
    pub fn sign_with(&self, kid: &str) -> bool {
        self.0.state.lock().keys.sign_with(kid)
    }

    /// Unpublishes all keys except the signing key.
    pub fn retire_keys(&self) {
        self.0.state.lock().keys.retire_others();
    }

    /// The published `kid`s.
    pub fn key_ids(&self) -> Vec<String> {
        self.0.state.lock().keys.kids()
    }

    /// Public part of the signing key, as `SubjectPublicKeyInfo`.
    pub fn public_key_der(&self) -> Vec<u8> {
        self.0.state.lock().keys.current().public_der.clone()
    }

    /// Public part of the signing key, in PEM.
    pub fn public_key_pem(&self) -> String {
        self.0.state.lock().keys.current().public_pem()
    }

    /// Revokes all access tokens for Graph that were issued so far.
    pub fn revoke_tokens(&self) {
        self.0.state.lock().issued.revoke_tokens();
    }

    /// Stops listening and closes idle connections. Requests in progress are completed, delayed ones immediately.
    pub fn stop(&self) {
        self.0.state.stop.cancel();
    }
}

impl fmt::Debug for EntraSimulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EntraSimulator").field(&self.0.origin.as_str()).finish()
    }
}

fn app(state: Arc<SimulatorState>) -> Router {
    let routes = Router::new()
        .merge(discovery::router())
        .merge(authorize::router())
        .merge(token::router())
        .merge(logout::router())
        .merge(graph::router())
        .merge(admin_page::router())
        .layer(middleware::from_fn_with_state(state.clone(), state::observe))
        .with_state(state);
    // A layer of a router runs after routing. As the fallback of another router, all routes are behind the layer.
    Router::new().fallback_service(routes).layer(middleware::from_fn(batch::offer_routes))
}
