//! What was given out: authorization codes and access tokens, each good for what it was given for.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use crate::domain::{ObjectId, TenantId};

use super::id_token::opaque;

/// The tenant segment of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Authority {
    Tenant(TenantId),
    Organizations,
    Common,
}

/// What an authorization code stands for.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    pub(super) authority: Authority,
    pub(super) client_id: String,
    pub(super) redirect_uri: String,
    pub(super) challenge: String,
    pub(super) nonce: Option<String>,
    pub(super) scopes: Vec<String>,
    pub(super) person: ObjectId,
    pub(super) session_id: Uuid,
    pub(super) issued: DateTime<Utc>,
    pub(super) redeemed: bool,
}

impl Grant {
    pub(super) fn asked_for(&self, scope: &str) -> bool {
        self.scopes.iter().any(|asked| asked == scope)
    }
}

/// Whose access token it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    App,
    Person(ObjectId),
}

/// An access token for Graph.
#[derive(Clone, Copy, Debug)]
pub(super) struct AccessToken {
    pub(super) holder: Holder,
    /// The tenant whose objects it opens.
    pub(super) tenant: TenantId,
    pub(super) expires: DateTime<Utc>,
}

/// Everything given out so far.
#[derive(Debug, Default)]
pub(super) struct Issued {
    codes: HashMap<String, Grant>,
    tokens: HashMap<String, AccessToken>,
}

impl Issued {
    pub(super) fn add_code(&mut self, grant: Grant) -> String {
        // An hour, not the ten minutes a code is good for: an old code is told from an unknown one.
        // Looked through now and then only, as the tokens below: there may be very many.
        if self.codes.len().is_multiple_of(1_000) {
            let oldest = grant.issued - Duration::hours(1);
            self.codes.retain(|_, old| old.issued > oldest);
        }
        let code = format!("1.SIM.{}{}", opaque(32), opaque(32));
        self.codes.insert(code.clone(), grant);
        code
    }

    pub(super) fn code(&mut self, code: &str) -> Option<&mut Grant> {
        self.codes.get_mut(code)
    }

    pub(super) fn add_token(&mut self, token: AccessToken, now: DateTime<Utc>) -> String {
        if self.tokens.len().is_multiple_of(1_000) {
            self.tokens.retain(|_, old| old.expires > now - Duration::days(1));
        }
        // It looks like a JWT and is none that anybody could read: Graph's tokens are nobody's business but Graph's.
        let text = format!("eyJ0eXAiOiJKV1QiLCJub25jZSI6InNpbSJ9.{}.{}", opaque(32), opaque(32));
        self.tokens.insert(text.clone(), token);
        text
    }

    pub(super) fn token(&self, text: &str) -> Option<AccessToken> {
        self.tokens.get(text).copied()
    }

    pub(super) fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }
}
