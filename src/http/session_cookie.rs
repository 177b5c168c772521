//! A person's session: a random token in the browser's cookie, of which only the hash is stored.

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
use crate::db::{Me, NewSession, SessionUser, StoreError, SyncRun, TokenHash};
use crate::domain::EntraUser;
use crate::observability::metrics::SessionEnd;
use crate::session::LiveSession;
use crate::util::random;

/// Opens a session for a person who was signed in and synced; gives the cookie. The one that this browser had before
/// ends, whoever's it was.
pub(super) async fn open(
    app: &App,
    headers: &HeaderMap,
    person: &EntraUser,
    sid: Option<String>,
    run: &SyncRun,
) -> Result<HeaderValue, StoreError> {
    let token = random::token();
    let created_at = app.clock.now();
    let lifetime = TimeDelta::from_std(app.config.session.lifetime).unwrap_or(TimeDelta::zero());
    let session = NewSession {
        token_hash: hash(token.as_bytes()),
        identity: person.identity,
        sign_in_address: person.sign_in_address.as_ref().map(|address| address.as_str().to_owned()),
        sid,
        created_at,
        expires_at: created_at + lifetime,
        replaces: sent(app, headers),
        most: app.config.session.max_per_user,
        idle_since: created_at - app.idle_timeout(),
    };
    app.sessions.open(&session, run).await?;
    Ok(app.cookies.set_session(token))
}

/// The session that a request comes with, and its person; `None` where there is none that is alive.
pub(super) async fn find(app: &App, headers: &HeaderMap) -> Result<Option<Me>, WebError> {
    match current(app, headers).await? {
        Some(hash) => Ok(app.store.session(&hash, app.clock.now(), app.idle_timeout()).await?),
        None => Ok(None),
    }
}

/// Who looks at a page: from the database, with the rights that they have now.
pub(super) async fn viewer(app: &App, headers: &HeaderMap) -> Result<Option<SessionUser>, WebError> {
    match current(app, headers).await? {
        Some(hash) => Ok(app.store.viewer(&hash, app.clock.now(), app.idle_timeout()).await?),
        None => Ok(None),
    }
}

/// What lists call the session that a request comes with.
pub(super) async fn name(app: &App, headers: &HeaderMap) -> Result<Option<String>, WebError> {
    let hash = current(app, headers).await?;
    Ok(hash.map(|hash| hash[..16].iter().fold(String::new(), |name, byte| format!("{name}{byte:02x}"))))
}

/// Who a request comes from, as far as a proxy has to know: from memory, where that can be trusted.
pub(super) async fn signed_in(app: &App, headers: &HeaderMap) -> Result<Option<LiveSession>, Arc<StoreError>> {
    match &sent(app, headers)[..] {
        [] => Ok(None),
        [hash] => app.sessions.find(hash).await,
        several => Ok(only_live(app, several).await?.map(|(_, session)| session)),
    }
}

/// Ends the session that a request comes with; all of them, where another host planted a second cookie.
pub(super) async fn end(app: &App, headers: &HeaderMap, why: SessionEnd) -> Result<(), StoreError> {
    match &sent(app, headers)[..] {
        [] => Ok(()),
        hashes => app.sessions.revoke(hashes, why).await,
    }
}

/// More tokens than this in one request are not looked up: the session's cookie has one name, and the others were planted.
const MOST_CANDIDATES: usize = 4;

/// The token that counts. Several are looked up only where they differ.
async fn current(app: &App, headers: &HeaderMap) -> Result<Option<TokenHash>, Arc<StoreError>> {
    match &sent(app, headers)[..] {
        [] => Ok(None),
        [hash] => Ok(Some(*hash)),
        several => Ok(only_live(app, several).await?.map(|(hash, _)| hash)),
    }
}

/// The one of several tokens whose session is alive. A dead one counts for nothing, so that a planted cookie signs nobody
/// out. Of two live ones either may be planted, to have the user work in another account: then neither counts, and the
/// next sign-in ends both.
async fn only_live(app: &App, hashes: &[TokenHash]) -> Result<Option<(TokenHash, LiveSession)>, Arc<StoreError>> {
    if hashes.len() > MOST_CANDIDATES {
        return Ok(None);
    }
    let found = try_join_all(hashes.iter().map(|hash| app.sessions.find(hash))).await?;
    let mut live = hashes.iter().zip(found).filter_map(|(hash, session)| Some((*hash, session?)));
    let first = live.next();
    Ok(first.filter(|_| live.next().is_none()))
}

/// The hashes of all tokens that were sent, each once.
fn sent(app: &App, headers: &HeaderMap) -> Vec<TokenHash> {
    Cookies::values(headers, app.cookies.session_name(), hash_of_token)
}

/// Only what has a token's shape is worth a query.
fn hash_of_token(text: &[u8]) -> Option<TokenHash> {
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut [0; 33]).ok()?;
    (length == 32).then(|| hash(text))
}

fn hash(token: &[u8]) -> TokenHash {
    Sha256::digest(token).into()
}
