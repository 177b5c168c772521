//! A person's session: a random token in the browser's cookie, of which only the hash is stored.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::TimeDelta;
use http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};

use super::App;
use super::cookies::Cookies;
use crate::domain::Person;
use crate::random;
use crate::session::LiveSession;
use crate::store::{Me, NewSession, StoreError, SyncRun, TokenHash, Viewer};

/// Opens a session for a person who was signed in and synced; gives the cookie. The one that this browser had before
/// ends, whoever's it was.
pub(super) async fn open(
    app: &App,
    headers: &HeaderMap,
    person: &Person,
    sid: Option<String>,
    run: &SyncRun,
) -> Result<HeaderValue, StoreError> {
    let token = random::token();
    let created_at = app.clock.now();
    let lifetime = TimeDelta::from_std(app.config.session.lifetime).unwrap_or(TimeDelta::zero());
    let session = NewSession {
        token_hash: hash(&token),
        identity: person.identity,
        sign_in_address: person.sign_in_address.as_ref().map(|address| address.as_str().to_owned()),
        sid,
        created_at,
        expires_at: created_at + lifetime,
        replaces: all_sent(app, headers),
        most: app.config.session.max_per_user,
        idle_since: created_at - app.idle_timeout(),
    };
    app.sessions.open(&session, run).await?;
    Ok(app.cookies.set_session(token))
}

/// The session that a request comes with, and its person; `None` where there is none that is alive.
pub(super) async fn find(app: &App, headers: &HeaderMap) -> Result<Option<Me>, StoreError> {
    match sent(app, headers) {
        Some(hash) => app.store.session(&hash, app.clock.now(), app.idle_timeout()).await,
        None => Ok(None),
    }
}

/// Who looks at a page: from the database, with the rights that they have now.
pub(super) async fn viewer(app: &App, headers: &HeaderMap) -> Result<Option<Viewer>, StoreError> {
    match sent(app, headers) {
        Some(hash) => app.store.viewer(&hash, app.clock.now(), app.idle_timeout()).await,
        None => Ok(None),
    }
}

/// What lists call the session that a request comes with.
pub(super) fn name(app: &App, headers: &HeaderMap) -> Option<String> {
    let hash = sent(app, headers)?;
    Some(hash[..16].iter().fold(String::new(), |name, byte| format!("{name}{byte:02x}")))
}

/// Who a request comes from, as far as a proxy has to know: from memory, where that can be trusted.
pub(super) async fn signed_in(app: &App, headers: &HeaderMap) -> Result<Option<LiveSession>, Arc<StoreError>> {
    match sent(app, headers) {
        Some(hash) => app.sessions.find(&hash).await,
        None => Ok(None),
    }
}

/// Ends the session that a request comes with; all of them, where somebody slipped in a second cookie.
pub(super) async fn end(app: &App, headers: &HeaderMap) -> Result<(), StoreError> {
    match &all_sent(app, headers)[..] {
        [] => Ok(()),
        hashes => app.sessions.end(hashes).await,
    }
}

/// The hash of the token in the cookie; none where two came, since then one is not ours.
fn sent(app: &App, headers: &HeaderMap) -> Option<TokenHash> {
    Cookies::plain(headers, app.cookies.session_name()).as_deref().and_then(hash_of_token)
}

fn all_sent(app: &App, headers: &HeaderMap) -> Vec<TokenHash> {
    let values = Cookies::all(headers, app.cookies.session_name());
    values.iter().filter_map(|value| hash_of_token(value)).collect()
}

/// Only what has a token's shape is worth a query.
fn hash_of_token(text: &str) -> Option<TokenHash> {
    let length = URL_SAFE_NO_PAD.decode_slice(text, &mut [0; 33]).ok()?;
    (length == 32).then(|| hash(text))
}

fn hash(token: &str) -> TokenHash {
    Sha256::digest(token.as_bytes()).into()
}
