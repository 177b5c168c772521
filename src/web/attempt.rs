//! One attempt to sign in, from the redirect to Entra until the browser comes back: sealed in a cookie of its own, so
//! that several tabs can be at it at once and any replica can finish it.

use chrono::{DateTime, TimeDelta, Utc};
use http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Serialize};

use super::App;
use super::cookies::Opened;
use super::error::WebError;
use super::return_to::ReturnTo;
use crate::entra::Proof;
use crate::random;
use crate::store::StoreError;
use crate::trace::Step;

/// An attempt is good for this long; Entra's own code lives as long.
const LIFETIME: TimeDelta = TimeDelta::minutes(10);
/// More open attempts than this in one browser are tabs that nobody will go back to, and headers have an end.
const MOST: usize = 8;
/// Nor may the older ones take more: proxies allow some 8 KB for all cookies together.
const MOST_BYTES: usize = 5_000;

#[derive(Serialize, Deserialize)]
pub(super) struct Attempt {
    pub(super) proof: Proof,
    pub(super) return_to: ReturnTo,
    started_at: DateTime<Utc>,
}

impl Attempt {
    /// A new attempt, with the `Set-Cookie` headers that hold it and let go of the oldest ones.
    pub(super) fn start(app: &App, headers: &HeaderMap, return_to: ReturnTo) -> (Self, Vec<HeaderValue>) {
        let id = random::short_id();
        let attempt = Self { proof: Proof::new(&id, random::token), return_to, started_at: app.clock.now() };
        let mut cookies = Self::superfluous(app, headers);
        // Unwrap safety: strings and a time make JSON.
        let sealed = serde_json::to_string(&attempt).expect("an attempt is JSON");
        cookies.push(app.cookies.set_sealed(Self::cookie_name(app, &id), sealed, LIFETIME.num_seconds()));
        (attempt, cookies)
    }

    /// The attempt that a `state` belongs to, if this browser began it and it is not over.
    pub(super) fn find(app: &App, headers: &HeaderMap, state: &str) -> Result<Self, WebError> {
        let id = Proof::attempt_id(state).ok_or(WebError::AttemptUnknown)?;
        let sealed = app.cookies.open(headers, &Self::cookie_name(app, id)).ok_or(WebError::AttemptUnknown)?;
        let attempt: Self = serde_json::from_str(&sealed).map_err(|_| WebError::AttemptUnknown)?;
        if attempt.proof.state != state {
            return Err(WebError::AttemptUnknown);
        }
        if attempt.expires_at() <= app.clock.now() {
            return Err(WebError::AttemptExpired);
        }
        Ok(attempt)
    }

    /// Uses the attempt up, on every replica.
    pub(super) async fn use_up(&self, app: &App) -> Result<(), WebError> {
        let used = app.store.use_attempt(self.id(), self.expires_at());
        let first = Step::UseAttempt.run(used, StoreError::code).await?;
        if first { Ok(()) } else { Err(WebError::AttemptUsed) }
    }

    /// The `Set-Cookie` header that takes the attempt out of the browser.
    pub(super) fn forget(&self, app: &App) -> HeaderValue {
        app.cookies.remove(Self::cookie_name(app, self.id()))
    }

    fn id(&self) -> &str {
        Proof::attempt_id(&self.proof.state).unwrap_or_default()
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
