//! The ID token, verified in full: OpenID Connect Core 3.1.3.7 and Microsoft's rules for issuer, tenant and keys.

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

/// How far Entra's clock and ours may be apart; Microsoft's own libraries allow as much.
const LEEWAY: TimeDelta = TimeDelta::minutes(5);

/// What a token says, after all of it was verified.
#[derive(Debug)]
pub(super) struct Verified {
    pub(super) person: EntraUser,
    pub(super) sid: Option<String>,
}

/// Why an ID token is rejected.
#[derive(Debug)]
pub(super) enum Refused {
    /// It proves nothing.
    Token(IdTokenError),
    /// It proves whose it is, and this identity's tenant may not sign in.
    Tenant(Identity),
}

impl From<IdTokenError> for Refused {
    fn from(error: IdTokenError) -> Self {
        Self::Token(error)
    }
}

/// The payload as we read it. A claim that stands there twice is refused, by serde, for each one named here: the
/// library might look at one and we at the other.
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

/// Verifies a token for this app and this attempt at `now`; gives who it is about.
pub(super) fn verify(
    token: &str,
    nonce: &str,
    provider: &Provider,
    settings: &config::Entra,
    now: DateTime<Utc>,
) -> Result<Verified, Refused> {
    let (header, claims) = split(token)?;
    // Entra always names the key. Without a name the library would try whichever fits.
    header.kid.ok_or(IdTokenError::UnknownKey)?;
    let (tenant, allowed) = tenant(claims.tid.as_deref(), provider, settings)?;
    let verified = verify_as(tenant, token, claims, nonce, provider, settings, now);
    if allowed {
        return Ok(verified?);
    }
    // Another tenant's token may well be signed with a key that this tenant's document does not list: then it is refused
    // all the same, and identifies no user.
    match verified {
        Ok(verified) => Err(Refused::Tenant(verified.person.identity)),
        Err(_) => Err(IdTokenError::TenantNotAllowed.into()),
    }
}

/// Verifies a token as one of this tenant.
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

    let keys = provider.keys.iter().filter(|key| key.vouches_for(&issuer, tenant)).map(|key| key.key.clone()).collect();
    let issuer = IssuerUrl::new(issuer).map_err(|_| IdTokenError::Issuer)?;
    let audience = ClientId::new(settings.client_id.clone());
    let verifier = IdTokenVerifier::new_public_client(audience, issuer, JsonWebKeySet::new(keys))
        .set_allowed_algs([CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256])
        .set_time_fn(move || now - LEEWAY)
        .set_issue_time_verifier_fn(move |issued| {
            if issued > now + LEEWAY { Err("issued in the future".to_owned()) } else { Ok(()) }
        });
    let parsed: CoreIdToken = token.parse().map_err(|_| IdTokenError::Malformed)?;
    parsed.claims(&verifier, &Nonce::new(nonce.to_owned()))?;

    // From here on the payload is Entra's word.
    if claims.nbf.is_some_and(|nbf| nbf > (now + LEEWAY).timestamp()) {
        return Err(IdTokenError::NotYetValid);
    }
    if claims.ver.as_deref() != Some("2.0") {
        return Err(IdTokenError::Version);
    }
    if claims.nonce.as_deref() != Some(nonce) {
        return Err(IdTokenError::Nonce);
    }
    let object_id = claims.oid.ok_or(IdTokenError::NoObjectId)?.parse().map_err(|_| IdTokenError::NoObjectId)?;
    // As LiteLLM: the sign-in name first, then the mail, which is not verified by anybody.
    let sign_in_address = claims.preferred_username.as_deref().and_then(Email::parse);
    let mail = claims.email.as_deref().and_then(Email::parse);
    Ok(Verified {
        person: EntraUser {
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

/// The token's tenant, and whether its users may sign in here. Not verified yet: this may only refuse, or choose which
/// issuer the token then has to prove.
fn tenant(tid: Option<&str>, provider: &Provider, settings: &config::Entra) -> Result<(TenantId, bool), IdTokenError> {
    let tenant = tid.ok_or(IdTokenError::NoTenant)?.parse().map_err(|_| IdTokenError::NoTenant)?;
    let allowed = match (&settings.tenant, provider.tenant) {
        (Tenant::Organizations | Tenant::Common, _) => settings.allowed_tenants.contains(&tenant),
        (_, of_issuer) => of_issuer == Some(tenant),
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
