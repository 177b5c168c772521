//! The session cookie: it holds a random token, and only the hash of the token is stored.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use futures_util::future::try_join_all;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};

use super::App;
use super::cookies::Cookies;
use super::error::WebError;
use crate::audit::AuditActor;
use crate::db::{DbError, Me, NewSession, SessionFilter, SessionUser, TokenHash};
use crate::domain::EntraUser;
use crate::observability::metrics::SessionEnd;
use crate::session::LiveSession;
use crate::sync_run::SyncRun;
use crate::util::random;

/// Opens a session for a user who was authenticated and synced. Returns the cookie. Replaces any session that this
/// browser had, of any user.
pub(super) async fn issue(
    app: &App,
    headers: &HeaderMap,
    user: &EntraUser,
    sid: Option<String>,
    run: &SyncRun,
) -> Result<HeaderValue, DbError> {
    let token = random::token();
    let created_at = app.clock.now();
    let lifetime = TimeDelta::from_std(app.config.session.lifetime).unwrap_or(TimeDelta::zero());
    let session = NewSession {
        token_hash: hash(token.as_bytes()),
        identity: user.identity,
        sign_in_address: user.sign_in_address.as_ref().map(|address| address.as_str().to_owned()),
        sid,
        created_at,
        expires_at: created_at + lifetime,
        replaces: token_hashes(app, headers),
        max_sessions: app.config.session.max_per_user,
        idle_cutoff: created_at - app.idle_timeout(),
    };
    app.sessions.open(&session, run).await?;
    Ok(app.cookies.set_session(token))
}

/// The session of a request with its user; `None` without a valid session.
pub(super) async fn find(app: &App, headers: &HeaderMap) -> Result<Option<Me>, WebError> {
    match current(app, headers).await? {
        Some(hash) => Ok(app.db.session(&hash, app.clock.now(), app.idle_timeout()).await?),
        None => Ok(None),
    }
}

/// The user of a request, from the database, so that permissions are current.
pub(super) async fn session_user(app: &App, headers: &HeaderMap) -> Result<Option<SessionUser>, WebError> {
    match current(app, headers).await? {
        Some(hash) => Ok(app.db.session_user(&hash, app.clock.now(), app.idle_timeout()).await?),
        None => Ok(None),
    }
}

/// The name of the request's session in lists of sessions.
pub(super) async fn name(app: &App, headers: &HeaderMap) -> Result<Option<String>, WebError> {
    let hash = current(app, headers).await?;
    Ok(hash.map(|hash| hash[..16].iter().fold(String::new(), |name, byte| format!("{name}{byte:02x}"))))
}

/// The session of a request for forward auth, if it is cached and the request has no other session token.
pub(super) fn cached(app: &App, headers: &HeaderMap) -> Option<LiveSession> {
    match &token_hashes(app, headers)[..] {
        [hash] => app.sessions.find_cached(hash),
        _ => None,
    }
}

/// The session of a request for forward auth, from memory if it is cached.
pub(super) async fn signed_in(app: &App, headers: &HeaderMap) -> Result<Option<LiveSession>, Arc<DbError>> {
    match &token_hashes(app, headers)[..] {
        [] => Ok(None),
        [hash] => app.sessions.find(hash).await,
        several => Ok(only_live(app, several).await?.map(|(_, session)| session)),
    }
}

/// As [`end`], with an audit event: Entra denied a sign-in of this browser for this reason.
pub(super) async fn revoke(app: &App, headers: &HeaderMap, cause: &'static str) -> Result<(), DbError> {
    match &token_hashes(app, headers)[..] {
        [] => Ok(()),
        hashes => {
            let which = SessionFilter::Tokens(hashes);
            app.sessions.revoke(which, SessionEnd::Denied, AuditActor::SignIn, Some(cause)).await.map(drop)
        }
    }
}

/// Ends the sessions of a request. There are several if another host planted a cookie.
pub(super) async fn end(app: &App, headers: &HeaderMap, why: SessionEnd) -> Result<(), DbError> {
    match &token_hashes(app, headers)[..] {
        [] => Ok(()),
        hashes => app.sessions.end(SessionFilter::Tokens(hashes), why).await.map(drop),
    }
}

/// Maximum number of tokens per request that are looked up. Only one is ours; the others were planted.
const MAX_CANDIDATES: usize = 4;

/// The token of the request's session. A lookup is necessary only if several tokens differ.
async fn current(app: &App, headers: &HeaderMap) -> Result<Option<TokenHash>, Arc<DbError>> {
    match &token_hashes(app, headers)[..] {
        [] => Ok(None),
        [hash] => Ok(Some(*hash)),
        several => Ok(only_live(app, several).await?.map(|(hash, _)| hash)),
    }
}

/// The only live session among several tokens. Dead ones are ignored, so that a planted cookie does not sign the user
/// out. Of two live ones, one may be planted to make the user work in another account: then neither counts, and the
/// next sign-in ends both.
async fn only_live(app: &App, hashes: &[TokenHash]) -> Result<Option<(TokenHash, LiveSession)>, Arc<DbError>> {
    if hashes.len() > MAX_CANDIDATES {
        return Ok(None);
    }
    let found = try_join_all(hashes.iter().map(|hash| app.sessions.find(hash))).await?;
    let mut live = hashes.iter().zip(found).filter_map(|(hash, session)| Some((*hash, session?)));
    let first = live.next();
    Ok(first.filter(|_| live.next().is_none()))
}

/// Hashes of the distinct session tokens of a request.
fn token_hashes(app: &App, headers: &HeaderMap) -> Vec<TokenHash> {
    Cookies::values(headers, app.cookies.session_name(), hash_of_token)
}

/// Hashes a value if it has the form of a token. Other values are not looked up.
fn hash_of_token(text: &[u8]) -> Option<TokenHash> {
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut [0; 33]).ok()?;
    (length == 32).then(|| hash(text))
}

fn hash(token: &[u8]) -> TokenHash {
    Sha256::digest(token).into()
}
