//! Secrets: given in place, by `${NAME}`, or as `<key>_file`. None of them is ever part of a message.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::problem::Level;
use super::reader::{Item, Reader};
use super::section::Section;

/// A key that seals cookies: 64 bytes, written in base64. Its `Debug` shows nothing.
#[derive(Clone)]
pub struct CookieKey([u8; 64]);

/// A text that is no such key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CookieKeyError {
    #[error("is not base64")]
    NoBase64,
    #[error("must be 64 bytes in base64, but is {0}")]
    Length(usize),
}

/// Padding is forgiven: it says nothing that the length does not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const MAKE_A_KEY: &str = "make one with: openssl rand -base64 64 | tr -d '\\n'";

impl CookieKey {
    /// The key itself.
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
    /// White space is passed over, since tools break lines at 64 characters; `-` and `_` of the other alphabet are read.
    fn from_str(text: &str) -> Result<Self, CookieKeyError> {
        let text: String = text.split_whitespace().collect::<String>().replace('-', "+").replace('_', "/");
        let bytes = BASE64.decode(text).map_err(|_| CookieKeyError::NoBase64)?;
        let length = bytes.len();
        bytes.try_into().map(Self).map_err(|_| CookieKeyError::Length(length))
    }
}

impl fmt::Debug for CookieKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieKey([REDACTED])")
    }
}

/// Where a secret was given.
pub(super) enum Given<'a> {
    Nowhere,
    InPlace(Item<'a>),
    File(Item<'a>),
}

impl<'a> Given<'a> {
    /// The value, or the path of the file with it.
    pub(super) fn item(&self) -> Option<&Item<'a>> {
        match self {
            Self::Nowhere => None,
            Self::InPlace(item) | Self::File(item) => Some(item),
        }
    }

    /// The same, but where the variable is set, it wins; `key` is whose value that is.
    pub(super) fn or_variable(self, key: String, name: &'static str, reader: &mut Reader<'a>) -> Self {
        let Some(variable) = reader.variable(name) else { return self };
        reader.took(key, name);
        if let Some(item) = self.item() {
            let said = format!("the environment variable {name} wins over it");
            reader.note(Level::Debug, item.place.clone(), said);
        }
        Self::InPlace(variable)
    }
}

/// Finds a secret in the file of the configuration; both ways at once are told.
pub(super) fn find<'a>(
    section: &mut Section<'a>,
    key: &'static str,
    file_key: &'static str,
    reader: &mut Reader<'a>,
) -> Given<'a> {
    let (in_place, file) = (section.take(key), section.take(file_key));
    if let (Some(_), Some(file)) = (&in_place, &file) {
        let place = section.place(key);
        reader.problem(file, format!("is given, and so is {place}"), "keep one of the two");
    }
    match (in_place, file) {
        (Some(item), _) => Given::InPlace(item),
        (None, Some(file)) => Given::File(file),
        (None, None) => Given::Nowhere,
    }
}

/// The secret as one text, with the value that gave it. It is required.
pub(super) fn text<'a>(
    section: &Section<'a>,
    key: &str,
    given: Given<'a>,
    remedy: &str,
    reader: &mut Reader<'a>,
) -> Option<(Item<'a>, String)> {
    let (item, text) = match given {
        Given::InPlace(item) => (item.clone(), reader.text(&item)),
        Given::File(item) => (item.clone(), read_file(&item, reader)),
        Given::Nowhere => {
            section.missing(key, remedy, reader);
            return None;
        }
    };
    let text = text?;
    if text.is_empty() {
        reader.problem(&item, "is empty", remedy);
        return None;
    }
    Some((item, text))
}

/// The cookie keys in their order; of a file one a line.
pub(super) fn cookie_keys<'a>(section: &mut Section<'a>, reader: &mut Reader<'a>) -> Vec<CookieKey> {
    match find(section, "cookie_keys", "cookie_keys_file", reader) {
        Given::Nowhere => Vec::new(),
        Given::InPlace(item) => {
            let elements = reader.list(&item);
            elements.iter().filter_map(|item| reader.parsed(item, MAKE_A_KEY, str::parse)).collect()
        }
        Given::File(item) => {
            let Some(text) = read_file(&item, reader) else { return Vec::new() };
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            lines.filter_map(|(index, line)| key_of_line(&item, index, line, reader)).collect()
        }
    }
}

fn key_of_line(item: &Item, index: usize, line: &str, reader: &mut Reader) -> Option<CookieKey> {
    line.parse()
        .map_err(|error| reader.problem(item, format!("line {} of the file {error}", index + 1), MAKE_A_KEY))
        .ok()
}

/// What the file holds without the newline at its end; never nothing.
pub(super) fn read_file<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<String> {
    let name = reader.text(item)?;
    let shown = shown_path(&name);
    let remedy = "give the path of a readable file that holds the secret and nothing else";
    match std::fs::read(reader.dir.join(&name)).map(String::from_utf8) {
        Ok(Ok(text)) if text.trim().is_empty() => reader.problem(item, format!("{shown} is empty"), remedy),
        Ok(Ok(text)) => return Some(text.trim_end_matches(['\n', '\r']).to_owned()),
        Ok(Err(_)) => reader.problem(item, format!("{shown} is not text"), remedy),
        Err(error) => reader.problem(item, format!("{shown} cannot be read ({})", error.kind()), remedy),
    }
    None
}

/// The path as a message may show it.
pub(super) fn shown_path(name: &str) -> String {
    if may_be_a_secret(name) { "the file (its name is no path)".to_owned() } else { format!("{name:?}") }
}

/// Whether somebody put the secret where its file belongs: what holds a character that paths seldom have, or is a long
/// word that is base64 or has no slash. A short plain word is taken for a file's name, and shown.
fn may_be_a_secret(name: &str) -> bool {
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
    fn a_cookie_key_is_64_bytes_however_its_base64_is_written() {
        let text = base64(64);
        let url_safe = text.replace('+', "-").replace('/', "_");
        let broken = format!("{}\n{}\n", &text[..64], &text[64..]);
        for form in [&text, text.trim_end_matches('='), &url_safe, &broken] {
            let key: CookieKey = form.parse().unwrap();
            assert_eq!(key.as_bytes(), &[0xFB; 64], "{form:?}");
        }
    }

    #[test]
    fn another_length_or_no_base64_is_no_cookie_key() {
        let error = |text: &str| text.parse::<CookieKey>().unwrap_err();
        for length in [0, 32, 63, 65] {
            assert_eq!(error(&base64(length)), CookieKeyError::Length(length));
        }
        assert_eq!(error("not base64!"), CookieKeyError::NoBase64);
    }

    #[test]
    fn a_cookie_key_shows_nothing_of_itself() {
        assert_eq!(format!("{:?}", CookieKey::from([7; 64])), "CookieKey([REDACTED])");
    }

    #[test]
    fn a_secret_in_the_place_of_its_file_is_taken_for_one() {
        let key = "vrX1/6PqZ0tT8yJ+/Kd2Q9mLw3aB5cD7eF9gH1iJ2kL4mN6oP8qR0sT2uV4wX6yZ";
        for secret in [
            base64(64),
            key.into(),
            "two words".into(),
            "postgres://u:p@h/db".into(),
            "abc8Q~0123456789012345678901234567890".into(),
        ] {
            assert!(may_be_a_secret(&secret), "{secret}");
        }
        for path in [
            "/run/secrets/client_secret",
            "client_secret.txt",
            "secrets/db",
            "/var/run/secrets/entraway/client_secret_2",
        ] {
            assert!(!may_be_a_secret(path), "{path}");
        }
    }
}
