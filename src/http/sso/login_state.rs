//! Login state: what a sign-in needs to remember between the redirect to Entra and the callback.
//!
//! Each sign-in has its own sealed cookie, so that several tabs can sign in at once and any replica can finish any
//! sign-in. The cookie outlives the state, so that an expired state differs from an unknown one and keeps its
//! destination.

use std::ops::Not;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use crate::db::DbError;
use crate::http::cookies::SealedCookie;
use crate::http::error::WebError;
use crate::http::return_to::ReturnTo;
use crate::http::state::App;
use crate::observability::spans::Step;
use crate::oidc::LoginSecrets;
use crate::util::random;

/// How long a login state is valid. Entra's authorization code lives as long.
const LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// How long the browser keeps the cookie: a Microsoft page that was left open overnight still leads to the destination.
const COOKIE_LIFETIME: TimeDelta = TimeDelta::hours(24);
/// Maximum number of login states per browser. The oldest are deleted first, since request headers are limited.
const MAX_COUNT: usize = 8;
/// Maximum size of the older ones. Proxies commonly allow 8 KB for all headers.
const MAX_BYTES: usize = 5_000;

#[derive(Serialize, Deserialize)]
pub(super) struct LoginState {
    /// Earlier versions wrote `proof`. During an upgrade, either version may open the cookie.
    #[serde(rename = "proof")]
    pub(super) secrets: LoginSecrets,
    pub(super) return_to: ReturnTo,
    started_at: DateTime<Utc>,
    /// The user asked to choose an account (`prompt=select_account`).
    #[serde(default, skip_serializing_if = "Not::not")]
    pub(super) select_account: bool,
    /// The service created this state in place of an expired one.
    #[serde(default, skip_serializing_if = "Not::not")]
    restarted: bool,
}

impl LoginState {
    /// Creates a login state. Returns it with the `Set-Cookie` headers that store it and delete surplus ones.
    pub(super) fn start(
        app: &App,
        headers: &HeaderMap,
        return_to: ReturnTo,
        select_account: bool,
    ) -> (Self, Vec<HeaderValue>) {
        let id = random::short_id();
        let secrets = LoginSecrets::new(&id, random::token);
        Self { secrets, return_to, started_at: app.clock.now(), select_account, restarted: false }.seal(app, headers)
    }

    /// Creates a login state with the same destination in place of this expired one. `None` if this one was created
    /// that way: a browser is redirected at most twice without a click, even if the clocks of replicas differ. The
    /// effect is the same as opening `/sso/login` again.
    pub(super) fn restart(self, app: &App, headers: &HeaderMap) -> Option<(Self, Vec<HeaderValue>)> {
        if self.restarted {
            return None;
        }
        let id = random::short_id();
        let fresh = Self {
            secrets: LoginSecrets::new(&id, random::token),
            started_at: app.clock.now(),
            restarted: true,
            ..self
        };
        Some(fresh.seal(app, headers))
    }

    /// Returns the state with the `Set-Cookie` headers that store it and delete surplus ones.
    #[expect(clippy::expect_used, reason = "strings, a time and flags make JSON")]
    fn seal(self, app: &App, headers: &HeaderMap) -> (Self, Vec<HeaderValue>) {
        let mut cookies = Self::surplus(app, headers);
        let sealed = serde_json::to_string(&self).expect("a login state is JSON");
        let seconds = COOKIE_LIFETIME.num_seconds();
        cookies.push(app.cookies.set_sealed(Self::cookie_name(app, self.id()), sealed, seconds));
        (self, cookies)
    }

    /// Finds the login state for a `state` parameter, if this browser has it. It may be expired or consumed.
    pub(super) fn find(app: &App, headers: &HeaderMap, state: &str) -> Option<Self> {
        let id = LoginSecrets::login_state_id(state)?;
        let sealed = app.cookies.open(headers, &Self::cookie_name(app, id))?;
        let login_state: Self = serde_json::from_str(&sealed).ok()?;
        (login_state.secrets.state == state).then_some(login_state)
    }

    /// Whether the state has expired. Until then, the database remembers whether it was consumed.
    pub(super) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at() <= now
    }

    /// Consumes the state on all replicas.
    ///
    /// # Errors
    /// `LoginStateReused` if it was consumed before.
    pub(super) async fn consume(&self, app: &App) -> Result<(), WebError> {
        let used = app.db.consume_login_state(self.id(), self.expires_at());
        let first = Step::ConsumeLoginState.run(used, DbError::code).await?;
        if first { Ok(()) } else { Err(WebError::LoginStateReused) }
    }

    /// `Set-Cookie` header that deletes the cookie.
    pub(super) fn delete_cookie(&self, app: &App) -> HeaderValue {
        app.cookies.delete(Self::cookie_name(app, self.id()))
    }

    fn id(&self) -> &str {
        LoginSecrets::login_state_id(&self.secrets.state).unwrap_or_default()
    }

    fn expires_at(&self) -> DateTime<Utc> {
        self.started_at + LIFETIME
    }

    fn cookie_name(app: &App, id: &str) -> String {
        format!("{}{id}", app.cookies.login_state_prefix())
    }

    /// `Set-Cookie` headers that delete unreadable states, and the oldest ones beyond [`MAX_COUNT`] or [`MAX_BYTES`].
    /// Inspects a bounded number of cookies.
    fn surplus(app: &App, headers: &HeaderMap) -> Vec<HeaderValue> {
        let found = app.cookies.open_all(headers, &app.cookies.login_state_prefix(), 4 * MAX_COUNT);
        let mut states: Vec<(Option<DateTime<Utc>>, SealedCookie)> = found
            .into_iter()
            .map(|cookie| {
                let login_state = cookie.value.as_deref().and_then(|value| serde_json::from_str::<Self>(value).ok());
                (login_state.map(|login_state| login_state.started_at), cookie)
            })
            .collect();
        // Newest first, unreadable last.
        states.sort_by_key(|(started_at, _)| std::cmp::Reverse(*started_at));
        let mut bytes = 0;
        let keep = states.iter().take(MAX_COUNT - 1).take_while(|(started_at, cookie)| {
            bytes += cookie.bytes;
            started_at.is_some() && bytes <= MAX_BYTES
        });
        let keep = keep.count();
        states.into_iter().skip(keep).map(|(_, cookie)| app.cookies.delete(cookie.name)).collect()
    }
}
