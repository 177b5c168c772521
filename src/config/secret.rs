//! Secrets: written inline, as `${NAME}`, or as `<key>_file`. Messages never contain them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::reader::{Item, Reader};
use super::section::Section;

/// A key that seals cookies: 64 bytes, written in base64. `Debug` redacts it.
#[derive(Clone)]
pub struct CookieKey([u8; 64]);

/// Why a text is not a cookie key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CookieKeyError {
    #[error("is not base64")]
    NotBase64,
    #[error("must be 64 bytes in base64, not {0}")]
    Length(usize),
}

/// Padding is optional.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const COOKIE_KEY_HELP: &str = "Create one with: openssl rand -base64 64 | tr -d '\\n'";

impl CookieKey {
    pub fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl From<[u8; 64]> for CookieKey {
    fn from(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }
}

impl FromStr for CookieKey {
    type Err = CookieKeyError;
    /// Ignores white space, because tools break lines at 64 characters. Accepts `-` and `_` of the URL-safe alphabet.
    fn from_str(text: &str) -> Result<Self, CookieKeyError> {
        let text: String = text.split_whitespace().collect::<String>().replace('-', "+").replace('_', "/");
        let bytes = BASE64.decode(text).map_err(|_| CookieKeyError::NotBase64)?;
        let length = bytes.len();
        bytes.try_into().map(Self).map_err(|_| CookieKeyError::Length(length))
    }
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieKey([REDACTED])")
    }
}

/// Where a secret comes from.
pub(super) enum SecretSource<'a> {
    Absent,
    Inline(Item<'a>),
    File(Item<'a>),
}

impl<'a> SecretSource<'a> {
    /// The value, or the path of the file that contains it.
    pub(super) fn item(&self) -> Option<&Item<'a>> {
        match self {
            Self::Absent => None,
            Self::Inline(item) | Self::File(item) => Some(item),
        }
    }

    /// Replaces the source of `key` by an environment variable if that is set.
    pub(super) fn or_variable(self, key: String, name: &'static str, reader: &mut Reader<'a>) -> Self {
        let Some(variable) = reader.variable(name) else { return self };
        reader.record_override(key, name);
        if let Some(item) = self.item() {
            reader.note_overridden(item, name);
        }
        Self::Inline(variable)
    }
}

/// Finds a secret in the configuration file. Reports a problem if both keys are set.
pub(super) fn find<'a>(
    section: &mut Section<'a>,
    key: &'static str,
    file_key: &'static str,
    reader: &mut Reader<'a>,
) -> SecretSource<'a> {
    let (inline, file) = (section.take(key), section.take(file_key));
    if let (Some(_), Some(file)) = (&inline, &file) {
        let path = section.path(key);
        reader.problem(file, format!("cannot be combined with {path}"), "Keep one of the two");
    }
    match (inline, file) {
        (Some(item), _) => SecretSource::Inline(item),
        (None, Some(file)) => SecretSource::File(file),
        (None, None) => SecretSource::Absent,
    }
}

/// A required secret as text, with its location.
pub(super) fn text<'a>(
    section: &Section<'a>,
    key: &str,
    source: SecretSource<'a>,
    help: &str,
    reader: &mut Reader<'a>,
) -> Option<(Item<'a>, String)> {
    let (item, text) = match source {
        SecretSource::Inline(item) => (item.clone(), reader.text(&item)),
        SecretSource::File(item) => (item.clone(), read_file(&item, reader)),
        SecretSource::Absent => {
            section.report_missing(key, help, reader);
            return None;
        }
    };
    let text = text?;
    if text.is_empty() {
        reader.problem(&item, "is empty", help);
        return None;
    }
    Some((item, text))
}

/// The cookie keys in order. A file has one per line.
pub(super) fn cookie_keys<'a>(section: &mut Section<'a>, reader: &mut Reader<'a>) -> Vec<CookieKey> {
    match find(section, "cookie_keys", "cookie_keys_file", reader) {
        SecretSource::Absent => Vec::new(),
        SecretSource::Inline(item) => {
            let elements = reader.list(&item);
            elements.iter().filter_map(|item| reader.parsed(item, COOKIE_KEY_HELP, str::parse)).collect()
        }
        SecretSource::File(item) => {
            let Some(text) = read_file(&item, reader) else { return Vec::new() };
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            lines.filter_map(|(index, line)| cookie_key_in_line(&item, index, line, reader)).collect()
        }
    }
}

fn cookie_key_in_line(item: &Item, index: usize, line: &str, reader: &mut Reader) -> Option<CookieKey> {
    line.parse()
        .map_err(|error| reader.problem(item, format!("line {} of the file {error}", index + 1), COOKIE_KEY_HELP))
        .ok()
}

/// The content of a secret file without line breaks at the end; never empty.
pub(super) fn read_file<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<String> {
    let name = reader.text(item)?;
    let shown = display_path(&name);
    let help = "Give the path of a readable file that contains only the secret";
    match std::fs::read(reader.dir.join(&name)).map(String::from_utf8) {
        Ok(Ok(text)) if text.trim().is_empty() => reader.problem(item, format!("{shown} is empty"), help),
        Ok(Ok(text)) => return Some(text.trim_end_matches(['\n', '\r']).to_owned()),
        Ok(Err(_)) => reader.problem(item, format!("{shown} is not text"), help),
        Err(error) => reader.problem(item, format!("{shown} cannot be read ({})", error.kind()), help),
    }
    None
}

/// A path as messages may show it.
pub(super) fn display_path(name: &str) -> String {
    if may_be_secret(name) { "the file (the value does not look like a path)".to_owned() } else { format!("{name:?}") }
}

/// Whether a path may be the secret itself: it has characters that are rare in paths, or is long and either base64 or
/// without a slash. A short plain word is shown as a file name.
fn may_be_secret(name: &str) -> bool {
    let has = |kind: fn(char) -> bool| name.contains(kind);
    let mixed = has(|c| c.is_ascii_uppercase()) && has(|c| c.is_ascii_digit());
    let base64 = mixed && BASE64.decode(name).is_ok();
    has(|c| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '_' | '-' | '/'))
        || (name.len() >= 32 && (base64 || !name.contains('/')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base64(length: usize) -> String {
        base64::prelude::BASE64_STANDARD.encode(vec![0xFB; length])
    }

    #[test]
    fn cookie_key_accepts_each_form_of_base64() {
        let text = base64(64);
        let url_safe = text.replace('+', "-").replace('/', "_");
        let broken = format!("{}\n{}\n", &text[..64], &text[64..]);
        for form in [&text, text.trim_end_matches('='), &url_safe, &broken] {
            let key: CookieKey = form.parse().unwrap();
            assert_eq!(key.as_bytes(), &[0xFB; 64], "{form:?}");
        }
    }

    #[test]
    fn cookie_key_rejects_other_lengths_and_texts() {
        let error = |text: &str| text.parse::<CookieKey>().unwrap_err();
        for length in [0, 32, 63, 65] {
            assert_eq!(error(&base64(length)), CookieKeyError::Length(length));
        }
        assert_eq!(error("not base64!"), CookieKeyError::NotBase64);
    }

    #[test]
    fn cookie_key_debug_is_redacted() {
        assert_eq!(format!("{:?}", CookieKey::from([7; 64])), "CookieKey([REDACTED])");
    }

    #[test]
    fn secret_instead_of_path_is_detected() {
        let key = "vrX1/6PqZ0tT8yJ+/Kd2Q9mLw3aB5cD7eF9gH1iJ2kL4mN6oP8qR0sT2uV4wX6yZ";
        for secret in [
            base64(64),
            key.into(),
            "two words".into(),
            "postgres://u:p@h/db".into(),
            "abc8Q~0123456789012345678901234567890".into(),
        ] {
            assert!(may_be_secret(&secret), "{secret}");
        }
        for path in [
            "/run/secrets/client_secret",
            "client_secret.txt",
            "secrets/db",
            "/var/run/secrets/entraway/client_secret_2",
        ] {
            assert!(!may_be_secret(path), "{path}");
        }
    }
}
