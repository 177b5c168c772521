//! What was given out: authorization codes and access tokens, each good for what it was given for.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use crate::ids::{ObjectId, TenantId};

use crate::id_token::opaque;

/// The tenant segment of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authority {
    Tenant(TenantId),
    Organizations,
    Common,
}

/// What an authorization code stands for.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) authority: Authority,
    pub(crate) client_id: String,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: String,
    pub(crate) nonce: Option<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) person: ObjectId,
    pub(crate) session_id: Uuid,
    pub(crate) issued: DateTime<Utc>,
    pub(crate) consumed: bool,
}

impl Grant {
    pub(crate) fn asked_for(&self, scope: &str) -> bool {
        self.scopes.iter().any(|asked| asked == scope)
    }
}

/// Holder of an access token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    App,
    User(ObjectId),
}

/// An access token for Graph.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AccessToken {
    pub(crate) holder: Holder,
    /// The tenant whose objects it opens.
    pub(crate) tenant: TenantId,
    pub(crate) expires: DateTime<Utc>,
}

/// Everything given out so far.
#[derive(Debug, Default)]
pub(crate) struct Issued {
    codes: HashMap<String, Grant>,
    tokens: HashMap<String, AccessToken>,
}

impl Issued {
    pub(crate) fn add_code(&mut self, grant: Grant) -> String {
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

    pub(crate) fn code(&mut self, code: &str) -> Option<&mut Grant> {
        self.codes.get_mut(code)
    }

    pub(crate) fn add_token(&mut self, token: AccessToken, now: DateTime<Utc>) -> String {
        if self.tokens.len().is_multiple_of(1_000) {
            self.tokens.retain(|_, old| old.expires > now - Duration::days(1));
        }
        // It looks like a JWT but cannot be decoded: clients must not parse Graph's tokens.
        let text = format!("eyJ0eXAiOiJKV1QiLCJub25jZSI6InNpbSJ9.{}.{}", opaque(32), opaque(32));
        self.tokens.insert(text.clone(), token);
        text
    }

    pub(crate) fn token(&self, text: &str) -> Option<AccessToken> {
        self.tokens.get(text).copied()
    }

    pub(crate) fn revoke_tokens(&mut self) {
        self.tokens.clear();
    }
}
