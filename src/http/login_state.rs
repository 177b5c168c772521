//! One login_state to sign in, from the redirect to Entra until the browser comes back: sealed in a cookie of its own, so
//! that several tabs can be at it at once and any replica can finish it. The cookie outlives the login_state, so that an
//! expired login_state is told from an unknown one and its destination is kept.

use std::ops::Not;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::App;
use super::cookies::SealedCookie;
use super::error::WebError;
use super::return_to::ReturnTo;
use crate::db::StoreError;
use crate::observability::spans::Step;
use crate::oidc::LoginSecrets;
use crate::util::random;

/// An login_state is good for this long; Entra's own code lives as long.
const LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// How long the browser keeps the cookie: a Microsoft page that was left open overnight still leads to the destination.
const COOKIE_LIFETIME: TimeDelta = TimeDelta::hours(24);
/// More open states than this in one browser are tabs that nobody will go back to, and headers have an end.
const MAX_COUNT: usize = 8;
/// Nor may the older ones take more: proxies allow some 8 KB for all cookies together.
const MAX_BYTES: usize = 5_000;

#[derive(Serialize, Deserialize)]
pub(super) struct LoginState {
    pub(super) secrets: LoginSecrets,
    pub(super) return_to: ReturnTo,
    started_at: DateTime<Utc>,
    /// The user asked to choose an account (`prompt=select_account`).
    #[serde(default, skip_serializing_if = "Not::not")]
    pub(super) select_account: bool,
    /// The service started this login_state itself, in place of an expired one.
    #[serde(default, skip_serializing_if = "Not::not")]
    restarted: bool,
}

impl LoginState {
    /// A new login_state, with the `Set-Cookie` headers that hold it and let go of the oldest ones.
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

    /// A new login_state in place of this expired one, with the same destination; `None` if this one was already started
    /// that way, so that a browser is sent to Entra at most twice without a click (clocks of replicas may disagree).
    /// Nothing of the expired answer is used: the result is the same as opening `/sso/login` again.
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

    /// The login_state with the `Set-Cookie` headers that hold it and remove the oldest ones.
    fn seal(self, app: &App, headers: &HeaderMap) -> (Self, Vec<HeaderValue>) {
        let mut cookies = Self::surplus(app, headers);
        // Unwrap safety: strings, a time and flags make JSON.
        let sealed = serde_json::to_string(&self).expect("an login_state is JSON");
        let seconds = COOKIE_LIFETIME.num_seconds();
        cookies.push(app.cookies.set_sealed(Self::cookie_name(app, self.id()), sealed, seconds));
        (self, cookies)
    }

    /// The login_state that a `state` belongs to, if this browser started it. It may have expired or been consumed.
    pub(super) fn find(app: &App, headers: &HeaderMap, state: &str) -> Option<Self> {
        let id = LoginSecrets::attempt_id(state)?;
        let sealed = app.cookies.open(headers, &Self::cookie_name(app, id))?;
        let login_state: Self = serde_json::from_str(&sealed).ok()?;
        (login_state.secrets.state == state).then_some(login_state)
    }

    /// Whether it is too late to finish the login_state. An login_state counts as consumed in the database until then.
    pub(super) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at() <= now
    }

    /// Uses the login_state up, on every replica.
    pub(super) async fn consume(&self, app: &App) -> Result<(), WebError> {
        let used = app.store.use_attempt(self.id(), self.expires_at());
        let first = Step::UseAttempt.run(used, StoreError::code).await?;
        if first { Ok(()) } else { Err(WebError::LoginStateReused) }
    }

    /// The `Set-Cookie` header that takes the login_state out of the browser.
    pub(super) fn delete_cookie(&self, app: &App) -> HeaderValue {
        app.cookies.delete(Self::cookie_name(app, self.id()))
    }

    fn id(&self) -> &str {
        LoginSecrets::attempt_id(&self.secrets.state).unwrap_or_default()
    }

    fn expires_at(&self) -> DateTime<Utc> {
        self.started_at + LIFETIME
    }

    fn cookie_name(app: &App, id: &str) -> String {
        format!("{}{id}", app.cookies.login_state_prefix())
    }

    /// Takes away the states that cannot be read any more, and the oldest where there are too many. Looks at a bounded
    /// number: more came from nobody's tabs.
    fn surplus(app: &App, headers: &HeaderMap) -> Vec<HeaderValue> {
        let found = app.cookies.open_all(headers, &app.cookies.login_state_prefix(), 4 * MAX_COUNT);
        let mut states: Vec<(Option<DateTime<Utc>>, SealedCookie)> = found
            .into_iter()
            .map(|cookie| {
                let login_state = cookie.value.as_deref().and_then(|value| serde_json::from_str::<Self>(value).ok());
                (login_state.map(|login_state| login_state.started_at), cookie)
            })
            .collect();
        // The newest first, the unreadable last.
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
