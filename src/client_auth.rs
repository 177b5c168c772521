//! Client credentials in files: a certificate or a federated token. They are validated at startup and read again at each
//! use, so that a renewed one applies without a restart.

mod certificate;

use std::path::Path;
use std::{fs, io};

use secrecy::SecretString;

pub use certificate::Certificate;

/// A problem with a credential file. Contains nothing of its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("cannot be read ({0})")]
    Unreadable(io::ErrorKind),
    #[error("contains neither a key nor a certificate in PEM format")]
    NoPem,
    #[error("contains no private key")]
    NoKey,
    #[error("contains more than one private key")]
    SeveralKeys,
    #[error("contains a private key with a passphrase")]
    EncryptedKey,
    #[error("contains a private key that is not RSA")]
    NotRsa,
    #[error("contains an invalid or unsupported RSA key")]
    InvalidKey,
    #[error("contains no certificate")]
    NoCertificate,
    #[error("contains an invalid certificate")]
    InvalidCertificate,
    #[error("contains a private key that matches none of its certificates")]
    KeyMismatch,
    #[error("contains no token")]
    NoToken,
}

impl CredentialError {
    /// How to fix the file.
    #[must_use]
    pub fn help(self) -> &'static str {
        match self {
            Self::Unreadable(_) => "Give the path of a file that exists and that this process may read",
            Self::NoPem | Self::NoKey | Self::NoCertificate => {
                "Write both into it as PEM: -----BEGIN PRIVATE KEY----- and -----BEGIN CERTIFICATE-----"
            }
            Self::SeveralKeys => "Keep the key of the certificate",
            Self::EncryptedKey => "Remove the passphrase (openssl pkey -in FILE), and restrict access to the file",
            Self::NotRsa | Self::InvalidKey => "Create an RSA key of 2048 to 8192 bits, as Entra requires",
            Self::InvalidCertificate => "Export the certificate again, in PEM format",
            Self::KeyMismatch => "Use the key that the certificate was created with",
            Self::NoToken => "Write a single JWT into it: three parts separated by dots",
        }
    }
}

impl From<io::Error> for CredentialError {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error.kind())
    }
}

/// Reads and parses a credential file.
pub fn read<T>(path: &Path, parse: impl FnOnce(&[u8]) -> Result<T, CredentialError>) -> Result<T, CredentialError> {
    parse(&fs::read(path)?)
}

/// The JWT in the file of a federated credential: a token of another identity provider, such as a Kubernetes cluster. White
/// space around it is ignored.
pub fn federated_token(content: &[u8]) -> Result<SecretString, CredentialError> {
    let text = str::from_utf8(content).map_err(|_| CredentialError::NoToken)?.trim();
    let plain = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if text.split('.').count() != 3 || !text.split('.').all(plain) {
        return Err(CredentialError::NoToken);
    }
    Ok(text.to_owned().into())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn federated_token_accepts_jwt_with_white_space_around() {
        for content in ["aZ0-_.b.c", "aZ0-_.b.c\n", "  aZ0-_.b.c\r\n\n"] {
            assert_eq!(federated_token(content.as_bytes()).unwrap().expose_secret(), "aZ0-_.b.c", "{content:?}");
        }
    }

    #[test]
    fn federated_token_rejects_other_content() {
        for content in ["", "\n", "a.b", "a.b.c.d", "a..c", "a.b.", "a b.c.d", "a.b.c\na.b.c", "a.b.ü", "{\"a\":1}"] {
            assert_eq!(federated_token(content.as_bytes()).unwrap_err(), CredentialError::NoToken, "{content:?}");
        }
        assert_eq!(federated_token(&[0xFF, b'.', b'b', b'.', b'c']).unwrap_err(), CredentialError::NoToken);
    }
}
