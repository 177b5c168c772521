//! A person's session: a random token in the browser's cookie, of which only the hash is stored.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};

use super::App;
use super::cookies::Cookies;
use crate::domain::Identity;
use crate::random;
use crate::store::{Me, NewSession, StoreError, SyncRun, TokenHash};

/// Opens a session for a person who was signed in and synced; gives the cookie. The one that this browser had before
/// ends, whoever's it was.
pub(super) async fn open(
    app: &App,
    headers: &HeaderMap,
    identity: Identity,
    sid: Option<String>,
    run: &SyncRun,
) -> Result<HeaderValue, StoreError> {
    let token = random::token();
    let created_at = app.clock.now();
    let lifetime = TimeDelta::from_std(app.config.session.lifetime).unwrap_or(TimeDelta::zero());
    let session = NewSession {
        token_hash: hash(&token),
        identity,
        sid,
        created_at,
        expires_at: created_at + lifetime,
        replaces: sent(app, headers),
    };
    app.store.open_session(&session, run).await?;
    Ok(app.cookies.set(app.cookies.session_name(), token))
}

/// The session that a request comes with, and its person; `None` where there is none that is alive.
pub(super) async fn find(app: &App, headers: &HeaderMap) -> Result<Option<Me>, StoreError> {
    match sent(app, headers) {
        Some(hash) => app.store.session(&hash, app.clock.now(), app.idle_timeout()).await,
        None => Ok(None),
    }
}

/// Ends the session that a request comes with.
pub(super) async fn end(app: &App, headers: &HeaderMap) -> Result<(), StoreError> {
    match sent(app, headers) {
        Some(hash) => app.store.end_session(&hash).await,
        None => Ok(()),
    }
}

/// The hash of the token in the cookie, if it has a token's shape: nothing else is worth a query.
fn sent(app: &App, headers: &HeaderMap) -> Option<TokenHash> {
    let token = Cookies::plain(headers, &app.cookies.session_name())?;
    let bytes = URL_SAFE_NO_PAD.decode(&token).ok()?;
    (bytes.len() == 32).then(|| hash(&token))
}

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}
