//! Client assertions: a JWT instead of a client secret, signed with a certificate of the app or by a trusted identity
//! provider. Checks everything that Entra checks.

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::signature::{
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey, VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use x509_cert::Certificate;
use x509_cert::der::Decode as _;

use crate::aadsts::EntraError;
use crate::call::Params;
use crate::directory::Directory;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Allowed clock skew.
const SKEW_SECONDS: i64 = 300;

/// A decoded assertion, not yet verified.
struct Assertion<'a> {
    header: Map<String, Value>,
    claims: Map<String, Value>,
    signed: &'a [u8],
    signature: Vec<u8>,
}

/// Verifies the assertion of a token request, if it has one. `endpoints` are the valid audiences: the addresses of the
/// token endpoint.
pub(crate) fn check(
    directory: &Directory,
    form: &Params,
    endpoints: &[String],
    now: DateTime<Utc>,
) -> Option<Result<(), EntraError>> {
    let text = form.get("client_assertion")?;
    Some(check_text(directory, form.get("client_assertion_type"), text, endpoints, now))
}

fn check_text(
    directory: &Directory,
    kind: Option<&str>,
    text: &str,
    endpoints: &[String],
    now: DateTime<Utc>,
) -> Result<(), EntraError> {
    if kind != Some(JWT_BEARER) {
        let text = "The value of the parameter 'client_assertion_type' is not supported.";
        return Err(EntraError::new("invalid_request", 90023, text));
    }
    let assertion = Assertion::read(text)
        .ok_or_else(|| EntraError::new("invalid_request", 50027, "JWT token is invalid or malformed."))?;
    if assertion.thumbprint().is_some() || assertion.claim("iss") == directory.client_id {
        assertion.check_own(directory, endpoints, now)
    } else {
        assertion.check_federated(directory, now)
    }
}

impl<'a> Assertion<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let object = |part: &str| serde_json::from_slice::<Map<String, Value>>(&decode(part)?).ok();
        Some(Self {
            header: object(header)?,
            claims: object(claims)?,
            signed: signed.as_bytes(),
            signature: decode(signature)?,
        })
    }

    fn claim(&self, name: &str) -> &str {
        self.claims.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn in_header(&self, name: &str) -> Option<&str> {
        self.header.get(name).and_then(Value::as_str)
    }

    fn thumbprint(&self) -> Option<&str> {
        self.in_header("x5t#S256").or_else(|| self.in_header("x5t"))
    }

    /// Verifies an assertion that the app signed with one of its certificates.
    fn check_own(&self, directory: &Directory, endpoints: &[String], now: DateTime<Utc>) -> Result<(), EntraError> {
        let refuse = |code: u32, text: String| Err(EntraError::new("invalid_client", code, text));
        let algorithm: &'static dyn VerificationAlgorithm = match self.in_header("alg").unwrap_or_default() {
            "PS256" => &RSA_PSS_2048_8192_SHA256,
            "RS256" => &RSA_PKCS1_2048_8192_SHA256,
            other => return refuse(5_002_738, format!("Invalid JWT token. '{other}' is not a supported algorithm.")),
        };
        if self.in_header("typ") != Some("JWT") {
            return refuse(50027, "Invalid JWT token. The token's type is not supported.".to_owned());
        }
        let Some(thumbprint) = self.thumbprint() else {
            let text = "Invalid JWT token. No certificate thumbprint or keyId specified in token header.";
            return refuse(50027, text.to_owned());
        };
        let found = directory.certificates.iter().find(|der| {
            let sha256 = || URL_SAFE_NO_PAD.encode(Sha256::digest(der));
            let sha1 = || URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, der));
            match self.in_header("x5t#S256") {
                Some(named) => named == sha256(),
                None => thumbprint == sha1(),
            }
        });
        let certificate = found.and_then(|der| Certificate::from_der(der).ok());
        let Some(certificate) = certificate else {
            let text = format!(
                "The certificate with identifier used to sign the client assertion is not registered on application. \
                 [Reason - The key was not found., Thumbprint of key used by client: '{thumbprint}']"
            );
            return refuse(700_027, text);
        };
        let certificate = certificate.tbs_certificate();
        let seconds =
            |time: x509_cert::time::Time| i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
        let valid = seconds(certificate.validity().not_before)..=seconds(certificate.validity().not_after);
        if !valid.contains(&now.timestamp()) {
            let text = "Client assertion contains an invalid signature. [Reason - The key used is expired.]";
            return refuse(700_027, text.to_owned());
        }
        let key = certificate.subject_public_key_info().subject_public_key.raw_bytes();
        if !self.is_signed_with(algorithm, key) {
            let text = "Client assertion failed signature validation. [Reason - The provided signature value did not \
                        match the expected signature value.]";
            return refuse(700_027, text.to_owned());
        }
        if self.claim("iss") != self.claim("sub") {
            return refuse(50048, "Subject mismatches Issuer claim in the client assertion.".to_owned());
        }
        if self.claim("iss") != directory.client_id {
            let text = "Client assertion application identifier doesn't match 'client_id' parameter.";
            return refuse(700_021, text.to_owned());
        }
        if !self.audiences().iter().any(|audience| endpoints.iter().any(|endpoint| endpoint == audience)) {
            let text = "Client assertion audience claim does not match Realm issuer.";
            return refuse(700_023, text.to_owned());
        }
        if self.claim("jti").is_empty() {
            return refuse(50027, "Invalid JWT token. The token has no 'jti' claim.".to_owned());
        }
        self.check_time(now)
    }

    /// Verifies an assertion of another identity provider about one of its subjects.
    fn check_federated(&self, directory: &Directory, now: DateTime<Utc>) -> Result<(), EntraError> {
        let (issuer, subject, audiences) = (self.claim("iss"), self.claim("sub"), self.audiences());
        let credential = directory.federated_credentials.iter().find(|credential| {
            credential.issuer == issuer
                && credential.subject == subject
                && audiences.contains(&credential.audience.as_str())
        });
        let Some(credential) = credential else {
            let audience = audiences.first().copied().unwrap_or_default();
            let text = format!(
                "No matching federated identity record found for presented assertion. Assertion Issuer: '{issuer}'. \
                 Assertion Subject: '{subject}'. Assertion Audience: '{audience}'."
            );
            return Err(EntraError::new("invalid_request", 70021, text));
        };
        let key = self.in_header("kid").and_then(|kid| credential.keys.iter().find(|key| key.kid == kid));
        let signed = key.is_some_and(|key| self.is_signed_with(&RSA_PKCS1_2048_8192_SHA256, &key.public_key));
        if !signed || self.in_header("alg") != Some("RS256") {
            let text = "Assertion failed signature validation. [Reason - The key was not found.]";
            return Err(EntraError::new("invalid_client", 50013, text));
        }
        self.check_time(now)
    }

    fn audiences(&self) -> Vec<&str> {
        match self.claims.get("aud") {
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(one)) => vec![one],
            _ => Vec::new(),
        }
    }

    fn is_signed_with(&self, algorithm: &'static dyn VerificationAlgorithm, public_key: &[u8]) -> bool {
        UnparsedPublicKey::new(algorithm, public_key).verify(self.signed, &self.signature).is_ok()
    }

    fn check_time(&self, now: DateTime<Utc>) -> Result<(), EntraError> {
        let time = |name: &str| self.claims.get(name).and_then(Value::as_i64);
        let (from, until, now) = (time("nbf").unwrap_or_default(), time("exp").unwrap_or_default(), now.timestamp());
        if from - SKEW_SECONDS <= now && now < until + SKEW_SECONDS {
            return Ok(());
        }
        let text = format!(
            "Client assertion is not within its valid time range. Current time: {now}, assertion valid from {from}, \
             expiry time of assertion {until}."
        );
        Err(EntraError::new("invalid_client", 700_024, text))
    }
}
