//! A certificate and its private key, which sign client assertions (`private_key_jwt`).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::KeyPair as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pkcs8::{ObjectIdentifier, PrivateKeyInfoRef};
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use x509_cert::der::Decode as _;

use super::CredentialError;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// A private key and its certificate. `Debug` redacts the key.
#[derive(Debug)]
pub struct Certificate {
    key: EncodingKey,
    sha256: String,
    thumbprint: String,
    ends: DateTime<Utc>,
}

impl Certificate {
    /// Parses PEM with one key and its certificate, in any order. Other certificates, such as the issuer's, are ignored.
    pub fn parse(pem: &[u8]) -> Result<Self, CredentialError> {
        if pem.windows(9).any(|part| part == b"ENCRYPTED") {
            return Err(CredentialError::EncryptedKey);
        }
        let (mut key, mut certificates) = (None, Vec::new());
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            let (kind, der) = section.map_err(|_| CredentialError::NoPem)?;
            let found = match kind {
                SectionKind::Certificate => {
                    certificates.push(der);
                    continue;
                }
                SectionKind::PrivateKey => unwrap_pkcs8(&der)?,
                SectionKind::RsaPrivateKey => der,
                SectionKind::EcPrivateKey => return Err(CredentialError::NotRsa),
                _ => continue,
            };
            if key.replace(found).is_some() {
                return Err(CredentialError::SeveralKeys);
            }
        }
        match key {
            Some(_) if certificates.is_empty() => Err(CredentialError::NoCertificate),
            Some(key) => Self::matching(&key, &certificates),
            None if certificates.is_empty() => Err(CredentialError::NoPem),
            None => Err(CredentialError::NoKey),
        }
    }

    /// The first certificate with the key's public key.
    fn matching(key: &[u8], certificates: &[Vec<u8>]) -> Result<Self, CredentialError> {
        let pair = KeyPair::from_der(key).map_err(|_| CredentialError::InvalidKey)?;
        let mut error = CredentialError::KeyMismatch;
        for der in certificates {
            let Ok(certificate) = x509_cert::Certificate::from_der(der) else {
                error = CredentialError::InvalidCertificate;
                continue;
            };
            let certificate = certificate.tbs_certificate();
            let public_key = &certificate.subject_public_key_info().subject_public_key;
            if public_key.raw_bytes() != pair.public_key().as_ref() {
                continue;
            }
            let ends = certificate.validity().not_after.to_unix_duration().as_secs();
            let ends = i64::try_from(ends).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
            return Ok(Self {
                key: EncodingKey::from_rsa_der(key),
                sha256: URL_SAFE_NO_PAD.encode(Sha256::digest(der)),
                thumbprint: hexadecimal(digest(&SHA1_FOR_LEGACY_USE_ONLY, der).as_ref()),
                ends: ends.ok_or(CredentialError::InvalidCertificate)?,
            });
        }
        Err(error)
    }

    /// When the certificate expires.
    #[must_use]
    pub fn ends(&self) -> DateTime<Utc> {
        self.ends
    }

    /// The thumbprint as Entra's pages show it: SHA-1 in hexadecimal.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// A JWT with these claims, signed as Entra requires: PS256, with the certificate's SHA-256 in `x5t#S256`.
    /// <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, CredentialError> {
        let header = Header { x5t_s256: Some(self.sha256.clone()), ..Header::new(Algorithm::PS256) };
        jsonwebtoken::encode(&header, claims, &self.key).map_err(|_| CredentialError::InvalidKey)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02X}"))
}

/// The RSA key in a PKCS #8 structure (`-----BEGIN PRIVATE KEY-----`).
fn unwrap_pkcs8(der: &[u8]) -> Result<Vec<u8>, CredentialError> {
    let info = PrivateKeyInfoRef::try_from(der).map_err(|_| CredentialError::InvalidKey)?;
    if info.algorithm.oid != RSA {
        return Err(CredentialError::NotRsa);
    }
    Ok(info.private_key.as_bytes().to_vec())
}
