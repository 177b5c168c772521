//! One attempt to sign in, from the redirect to Entra until the browser comes back: sealed in a cookie of its own, so
//! that several tabs can be at it at once and any replica can finish it. The cookie outlives the attempt, so that an
//! expired attempt is told from an unknown one and its destination is kept.

use std::ops::Not;

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::App;
use super::cookies::Opened;
use super::error::WebError;
use super::return_to::ReturnTo;
use crate::db::StoreError;
use crate::observability::spans::Step;
use crate::oidc::LoginSecrets;
use crate::util::random;

/// An attempt is good for this long; Entra's own code lives as long.
const LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// How long the browser keeps the cookie: a Microsoft page that was left open overnight still leads to the destination.
const COOKIE_LIFETIME: TimeDelta = TimeDelta::hours(24);
/// More open attempts than this in one browser are tabs that nobody will go back to, and headers have an end.
const MOST: usize = 8;
/// Nor may the older ones take more: proxies allow some 8 KB for all cookies together.
const MOST_BYTES: usize = 5_000;

#[derive(Serialize, Deserialize)]
pub(super) struct LoginState {
    pub(super) proof: LoginSecrets,
    pub(super) return_to: ReturnTo,
    started_at: DateTime<Utc>,
    /// The user asked to choose an account (`prompt=select_account`).
    #[serde(default, skip_serializing_if = "Not::not")]
    pub(super) select_account: bool,
    /// The service started this attempt itself, in place of an expired one.
    #[serde(default, skip_serializing_if = "Not::not")]
    restarted: bool,
}

impl LoginState {
    /// A new attempt, with the `Set-Cookie` headers that hold it and let go of the oldest ones.
    pub(super) fn start(
        app: &App,
        headers: &HeaderMap,
        return_to: ReturnTo,
        select_account: bool,
    ) -> (Self, Vec<HeaderValue>) {
        let id = random::short_id();
        let proof = LoginSecrets::new(&id, random::token);
        Self { proof, return_to, started_at: app.clock.now(), select_account, restarted: false }.seal(app, headers)
    }

    /// A new attempt in place of this expired one, with the same destination; `None` if this one was already started
    /// that way, so that a browser is sent to Entra at most twice without a click (clocks of replicas may disagree).
    /// Nothing of the expired answer is used: the result is the same as opening `/sso/login` again.
    pub(super) fn restart(self, app: &App, headers: &HeaderMap) -> Option<(Self, Vec<HeaderValue>)> {
        if self.restarted {
            return None;
        }
        let id = random::short_id();
        let fresh =
            Self { proof: LoginSecrets::new(&id, random::token), started_at: app.clock.now(), restarted: true, ..self };
        Some(fresh.seal(app, headers))
    }

    /// The attempt with the `Set-Cookie` headers that hold it and remove the oldest ones.
    fn seal(self, app: &App, headers: &HeaderMap) -> (Self, Vec<HeaderValue>) {
        let mut cookies = Self::superfluous(app, headers);
        // Unwrap safety: strings, a time and flags make JSON.
        let sealed = serde_json::to_string(&self).expect("an attempt is JSON");
        let seconds = COOKIE_LIFETIME.num_seconds();
        cookies.push(app.cookies.set_sealed(Self::cookie_name(app, self.id()), sealed, seconds));
        (self, cookies)
    }

    /// The attempt that a `state` belongs to, if this browser started it. It may have expired or been consumed.
    pub(super) fn find(app: &App, headers: &HeaderMap, state: &str) -> Option<Self> {
        let id = LoginSecrets::login_state_id(state)?;
        let sealed = app.cookies.open(headers, &Self::cookie_name(app, id))?;
        let attempt: Self = serde_json::from_str(&sealed).ok()?;
        (attempt.proof.state == state).then_some(attempt)
    }

    /// Whether it is too late to finish the attempt. An attempt counts as consumed in the database until then.
    pub(super) fn is_expired(&self, now: DateTime<Utc>) -> bool {
        self.expires_at() <= now
    }

    /// Uses the attempt up, on every replica.
    pub(super) async fn consume(&self, app: &App) -> Result<(), WebError> {
        let used = app.store.use_attempt(self.id(), self.expires_at());
        let first = Step::ConsumeLoginState.run(used, StoreError::code).await?;
        if first { Ok(()) } else { Err(WebError::AttemptUsed) }
    }

    /// The `Set-Cookie` header that takes the attempt out of the browser.
    pub(super) fn forget(&self, app: &App) -> HeaderValue {
        app.cookies.remove(Self::cookie_name(app, self.id()))
    }

    fn id(&self) -> &str {
        LoginSecrets::login_state_id(&self.proof.state).unwrap_or_default()
    }

    fn expires_at(&self) -> DateTime<Utc> {
        self.started_at + LIFETIME
    }

    fn cookie_name(app: &App, id: &str) -> String {
        format!("{}{id}", app.cookies.attempt_prefix())
    }

    /// Takes away the attempts that cannot be read any more, and the oldest where there are too many. Looks at a bounded
    /// number: more came from nobody's tabs.
    fn superfluous(app: &App, headers: &HeaderMap) -> Vec<HeaderValue> {
        let found = app.cookies.open_all(headers, &app.cookies.attempt_prefix(), 4 * MOST);
        let mut attempts: Vec<(Option<DateTime<Utc>>, Opened)> = found
            .into_iter()
            .map(|cookie| {
                let attempt = cookie.value.as_deref().and_then(|value| serde_json::from_str::<Self>(value).ok());
                (attempt.map(|attempt| attempt.started_at), cookie)
            })
            .collect();
        // The newest first, the unreadable last.
        attempts.sort_by_key(|(started_at, _)| std::cmp::Reverse(*started_at));
        let mut bytes = 0;
        let keep = attempts.iter().take(MOST - 1).take_while(|(started_at, cookie)| {
            bytes += cookie.bytes;
            started_at.is_some() && bytes <= MOST_BYTES
        });
        let keep = keep.count();
        attempts.into_iter().skip(keep).map(|(_, cookie)| app.cookies.remove(cookie.name)).collect()
    }
}
