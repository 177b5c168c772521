//! A token of another identity provider, such as a Kubernetes cluster, used as a federated credential.

use secrecy::SecretString;

use super::CredentialError;

/// The JWT in a file. White space around it is ignored.
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
