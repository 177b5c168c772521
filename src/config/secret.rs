//! Secrets: written inline, as `${NAME}`, or as `<key>_file`. Messages never contain them.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::reader::{Item, Source};
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
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
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

/// Takes a secret of the configuration file: its value, or the file that contains it. Reports a problem if both are set.
pub(super) fn take<'a>(section: &mut Section<'a>, key: &'static str, file_key: &'static str) -> Option<Item<'a>> {
    let (inline, file) = (section.take(key), section.take(file_key));
    if let (Some(inline), Some(file)) = (&inline, &file) {
        file.problem(format!("cannot be combined with {}", inline.path), "Keep one of the two");
    }
    inline.or(file.map(|item| Item { source: Source::SecretFile, ..item }))
}

/// Adds a secret to the settings page.
pub(super) fn show(section: &Section, key: &str, item: Option<&Item>, set: bool) {
    section.show(key, item, if set { "set" } else { "not set" });
}

/// Reads the cookie keys in order. A file has one per line.
pub(super) fn cookie_keys(section: &mut Section) -> Vec<CookieKey> {
    let item = take(section, "cookie_keys", "cookie_keys_file");
    let keys: Vec<CookieKey> = match &item {
        None => Vec::new(),
        Some(file) if file.source == Source::SecretFile => {
            let parse = |(number, line): (usize, String)| {
                let report = |error| file.problem(format!("line {number} of the file {error}"), COOKIE_KEY_HELP);
                line.parse().map_err(report).ok()
            };
            lines(file).into_iter().flatten().filter_map(parse).collect()
        }
        Some(item) => item.list().iter().filter_map(|item| item.parsed(COOKIE_KEY_HELP, str::parse)).collect(),
    };
    show(section, "cookie_keys", item.as_ref(), !keys.is_empty());
    keys
}

/// The lines of a secret file that are not blank, with their numbers.
pub(super) fn lines(file: &Item) -> Option<Vec<(usize, String)>> {
    let text = file.text()?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    Some(lines.map(|(index, line)| (index + 1, line.to_owned())).collect())
}

/// The content of the secret file `name` without line breaks at the end; never empty.
pub(super) fn read_file(item: &Item, name: &str) -> Option<String> {
    let shown = display_path(name);
    let message = match std::fs::read(item.resolve(name)).map(String::from_utf8) {
        Ok(Ok(text)) if text.trim().is_empty() => format!("{shown} is empty"),
        Ok(Ok(text)) => return Some(text.trim_end_matches(['\n', '\r']).to_owned()),
        Ok(Err(_)) => format!("{shown} is not text"),
        Err(error) => format!("{shown} cannot be read ({})", error.kind()),
    };
    item.problem(message, "Give the path of a readable file that contains only the secret");
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
