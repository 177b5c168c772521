//! Client credentials in files: a certificate or a federated token. They are validated at startup and read again at each
//! use, so that a renewed one applies without a restart.

mod certificate;
mod federated;

use std::io;

pub use certificate::Certificate;
pub use federated::federated_token;

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
