//! ID token validation: OpenID Connect Core 1.0, 3.1.3.7, and Microsoft's rules for issuer, tenant and keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::core::{CoreIdToken, CoreJwsSigningAlgorithm};
use openidconnect::{
    ClaimsVerificationError, ClientId, IdTokenVerifier, IssuerUrl, JsonWebKeySet, Nonce, SignatureVerificationError,
};
use serde::Deserialize;

use super::discovery::{self, Provider};
use super::error::IdTokenError;
use crate::config::{self, Tenant};
use crate::domain::{self, Email, EntraUser, Identity, TenantId};

/// Allowed clock skew between Entra and this machine. Microsoft's libraries use the same.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// Verified content of a token.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) user: EntraUser,
    pub(super) sid: Option<String>,
}

/// Why an ID token is rejected.
#[derive(Debug)]
pub(super) enum Rejection {
    /// It is invalid and proves no identity.
    Invalid(IdTokenError),
    /// It proves this identity, whose tenant may not sign in.
    TenantNotAllowed(Identity),
}

impl From<IdTokenError> for Rejection {
    fn from(error: IdTokenError) -> Self {
        Self::Invalid(error)
    }
}

/// The claims that this module reads or the library checks. serde rejects a duplicate of each named claim; otherwise the
/// library could check one occurrence and this module use the other.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    #[serde(rename = "aud")]
    _aud: serde::de::IgnoredAny,
    #[serde(rename = "exp")]
    _exp: serde::de::IgnoredAny,
    #[serde(rename = "iat")]
    _iat: serde::de::IgnoredAny,
    nonce: Option<String>,
    nbf: Option<i64>,
    tid: Option<String>,
    oid: Option<String>,
    ver: Option<String>,
    roles: Option<Vec<String>>,
    name: Option<String>,
    preferred_username: Option<String>,
    email: Option<String>,
    sid: Option<String>,
}

#[derive(Deserialize)]
struct Header {
    kid: Option<String>,
}

/// Verifies a token for this app and this sign-in (`nonce`) at `now`.
pub(super) fn verify(
    token: &str,
    nonce: &str,
    provider: &Provider,
    settings: &config::Entra,
    now: DateTime<Utc>,
) -> Result<Verified, Rejection> {
    let (header, claims) = split(token)?;
    // Entra always sends `kid`. Without one, the library would try every suitable key.
    header.kid.ok_or(IdTokenError::UnknownKey)?;
    let (tenant, allowed) = tenant(claims.tid.as_deref(), provider, settings)?;
    let verified = verify_as(tenant, token, claims, nonce, provider, settings, now);
    if allowed {
        return Ok(verified?);
    }
    // The token may be signed with a key that this tenant's JWKS does not list. Then it is rejected too, but identifies no
    // user.
    match verified {
        Ok(verified) => Err(Rejection::TenantNotAllowed(verified.user.identity)),
        Err(_) => Err(IdTokenError::TenantNotAllowed.into()),
    }
}

/// Verifies a token of this tenant.
fn verify_as(
    tenant: TenantId,
    token: &str,
    claims: Claims,
    nonce: &str,
    provider: &Provider,
    settings: &config::Entra,
    now: DateTime<Utc>,
) -> Result<Verified, IdTokenError> {
    let issuer = discovery::issuer(&settings.authority_url, tenant);
    if claims.iss != issuer {
        return Err(IdTokenError::Issuer);
    }

    let keys =
        provider.keys.iter().filter(|key| key.may_sign_for(&issuer, tenant)).map(|key| key.key.clone()).collect();
    let issuer = IssuerUrl::new(issuer).map_err(|_| IdTokenError::Issuer)?;
    let audience = ClientId::new(settings.client_id.clone());
    let verifier = IdTokenVerifier::new_public_client(audience, issuer, JsonWebKeySet::new(keys))
        .set_allowed_algs([CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256])
        .set_time_fn(move || now - CLOCK_SKEW)
        .set_issue_time_verifier_fn(move |issued| {
            if issued > now + CLOCK_SKEW { Err("issued in the future".to_owned()) } else { Ok(()) }
        });
    let parsed: CoreIdToken = token.parse().map_err(|_| IdTokenError::Malformed)?;
    parsed.claims(&verifier, &Nonce::new(nonce.to_owned()))?;

    // From here on the claims are authentic.
    if claims.nbf.is_some_and(|nbf| nbf > (now + CLOCK_SKEW).timestamp()) {
        return Err(IdTokenError::NotYetValid);
    }
    if claims.ver.as_deref() != Some("2.0") {
        return Err(IdTokenError::Version);
    }
    if claims.nonce.as_deref() != Some(nonce) {
        return Err(IdTokenError::Nonce);
    }
    let object_id = claims.oid.ok_or(IdTokenError::NoObjectId)?.parse().map_err(|_| IdTokenError::NoObjectId)?;
    // Like LiteLLM: `preferred_username` first, then `email`, which Entra does not verify.
    let sign_in_address = claims.preferred_username.as_deref().and_then(Email::parse);
    let mail = claims.email.as_deref().and_then(Email::parse);
    Ok(Verified {
        user: EntraUser {
            identity: Identity { tenant_id: tenant, object_id },
            email: sign_in_address.clone().or(mail),
            sign_in_address,
            name: claims.name.as_deref().and_then(domain::display_name),
            app_roles: claims.roles.unwrap_or_default(),
        },
        sid: claims.sid.filter(|sid| sid.len() <= 128 && !sid.contains(char::is_control)),
    })
}

fn split(token: &str) -> Result<(Header, Claims), IdTokenError> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, _signature] = parts[..] else { return Err(IdTokenError::Malformed) };
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| IdTokenError::Malformed);
    let header = serde_json::from_slice(&decode(header)?).map_err(|_| IdTokenError::Malformed)?;
    let claims = serde_json::from_slice(&decode(payload)?).map_err(|_| IdTokenError::Malformed)?;
    Ok((header, claims))
}

/// The token's tenant, and whether its users may sign in. The claim is not verified yet: it may only cause a rejection, or
/// select the issuer that the token then has to prove.
fn tenant(tid: Option<&str>, provider: &Provider, settings: &config::Entra) -> Result<(TenantId, bool), IdTokenError> {
    let tenant = tid.ok_or(IdTokenError::NoTenant)?.parse().map_err(|_| IdTokenError::NoTenant)?;
    let allowed = match (&settings.tenant, provider.tenant) {
        (Tenant::Organizations | Tenant::Common, _) => settings.allowed_tenants.contains(&tenant),
        (_, issuing_tenant) => issuing_tenant == Some(tenant),
    };
    Ok((tenant, allowed))
}

impl From<ClaimsVerificationError> for IdTokenError {
    fn from(error: ClaimsVerificationError) -> Self {
        use SignatureVerificationError as Signature;
        match error {
            ClaimsVerificationError::Expired(_) => Self::Expired,
            ClaimsVerificationError::InvalidAudience(_) => Self::Audience,
            ClaimsVerificationError::InvalidIssuer(_) => Self::Issuer,
            ClaimsVerificationError::InvalidNonce(_) => Self::Nonce,
            ClaimsVerificationError::SignatureVerification(Signature::NoMatchingKey) => Self::UnknownKey,
            ClaimsVerificationError::SignatureVerification(
                Signature::DisallowedAlg(_) | Signature::UnsupportedAlg(_) | Signature::NoSignature,
            ) => Self::Algorithm,
            ClaimsVerificationError::SignatureVerification(_) => Self::Signature,
            _ => Self::Malformed,
        }
    }
}
