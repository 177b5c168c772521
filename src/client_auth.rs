//! The app's own credentials that are files. They are read when the service starts, to tell what is wrong with them, and
//! again at each use, so that a renewed one counts without a restart.

mod certificate;
mod federated;

use std::io;

pub use certificate::Certificate;
pub use federated::federated_token;

/// What is wrong with such a file. Says nothing of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("cannot be read ({0})")]
    Unreadable(io::ErrorKind),
    #[error("holds neither a key nor a certificate in PEM")]
    NoPem,
    #[error("holds no private key")]
    NoKey,
    #[error("holds more than one private key")]
    SeveralKeys,
    #[error("holds a private key with a pass phrase")]
    EncryptedKey,
    #[error("holds a private key that is not RSA")]
    NotRsa,
    #[error("holds an RSA key that cannot be used")]
    BadKey,
    #[error("holds no certificate")]
    NoCertificate,
    #[error("holds a certificate that cannot be read")]
    BadCertificate,
    #[error("holds a private key that belongs to none of its certificates")]
    ForeignKey,
    #[error("holds no token")]
    NoToken,
}

impl CredentialError {
    /// What to do about it.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Unreadable(_) => "give the path of a file that is there and that this process may read",
            Self::NoPem | Self::NoKey | Self::NoCertificate => {
                "put both into it as PEM: -----BEGIN PRIVATE KEY----- and -----BEGIN CERTIFICATE-----"
            }
            Self::SeveralKeys => "keep the one that belongs to the certificate",
            Self::EncryptedKey => "take the pass phrase off (openssl pkey -in FILE) and guard the file instead",
            Self::NotRsa | Self::BadKey => "make an RSA key of 2048 to 8192 bits, which is what Entra takes",
            Self::BadCertificate => "export the certificate again, as PEM",
            Self::ForeignKey => "use the key that the certificate was made with",
            Self::NoToken => "it has to hold one JWT and nothing else: three parts with dots between them",
        }
    }
}

impl From<io::Error> for CredentialError {
    fn from(error: io::Error) -> Self {
        Self::Unreadable(error.kind())
    }
}
