//! A certificate with its private key, with which the app signs what it sends to Entra.

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

/// A key, and the certificate under which Entra knows it. Its `Debug` shows nothing of the key.
#[derive(Debug)]
pub struct Certificate {
    key: EncodingKey,
    sha256: String,
    thumbprint: String,
    ends: DateTime<Utc>,
}

impl Certificate {
    /// Reads PEM: one key and its certificate in any order. Others, such as the issuers' certificates, may stand beside.
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
            Some(key) => Self::of(&key, &certificates),
            None if certificates.is_empty() => Err(CredentialError::NoPem),
            None => Err(CredentialError::NoKey),
        }
    }

    /// The first of the certificates that is the key's own.
    fn of(key: &[u8], certificates: &[Vec<u8>]) -> Result<Self, CredentialError> {
        let pair = KeyPair::from_der(key).map_err(|_| CredentialError::BadKey)?;
        let mut none = CredentialError::ForeignKey;
        for der in certificates {
            let Ok(certificate) = x509_cert::Certificate::from_der(der) else {
                none = CredentialError::BadCertificate;
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
                ends: ends.ok_or(CredentialError::BadCertificate)?,
            });
        }
        Err(none)
    }

    /// When it ends.
    #[must_use]
    pub fn ends(&self) -> DateTime<Utc> {
        self.ends
    }

    /// The name by which Entra's pages show it: the SHA-1 of it in hexadecimal digits.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    /// A JWT with these claims, signed as Entra asks for it: PS256, and the certificate named by its SHA-256.
    pub fn sign(&self, claims: &impl Serialize) -> Result<String, CredentialError> {
        let header = Header { x5t_s256: Some(self.sha256.clone()), ..Header::new(Algorithm::PS256) };
        jsonwebtoken::encode(&header, claims, &self.key).map_err(|_| CredentialError::BadKey)
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02X}"))
}

/// The RSA key that stands in the envelope which `-----BEGIN PRIVATE KEY-----` announces.
fn unwrap_pkcs8(der: &[u8]) -> Result<Vec<u8>, CredentialError> {
    let info = PrivateKeyInfoRef::try_from(der).map_err(|_| CredentialError::BadKey)?;
    if info.algorithm.oid != RSA {
        return Err(CredentialError::NotRsa);
    }
    Ok(info.private_key.as_bytes().to_vec())
}
