//! Issued authorization codes and access tokens.

use std::collections::HashMap;

use chrono::{DateTime, Duration, Utc};
use uuid::Uuid;

use crate::ids::{ObjectId, TenantId};

use crate::id_token::opaque;

/// The tenant segment of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Authority {
    Tenant(TenantId),
    Organizations,
    Common,
}

/// Data of an authorization code.
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
    /// Tenant whose objects it can read.
    pub(crate) tenant: TenantId,
    pub(crate) expires: DateTime<Utc>,
}

/// Everything issued so far.
#[derive(Debug, Default)]
pub(crate) struct Issued {
    codes: HashMap<String, Grant>,
    tokens: HashMap<String, AccessToken>,
}

impl Issued {
    pub(crate) fn add_code(&mut self, grant: Grant) -> String {
        // Kept for an hour, although a code is valid for ten minutes: an expired code gets another error than an
        // unknown one. Only every thousandth call cleans up, because there may be very many codes. The same applies to
        // tokens below.
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
        // Looks like a JWT but cannot be decoded: clients must not parse Graph's tokens.
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
