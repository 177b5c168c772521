//! Query parameters.

use std::collections::BTreeMap;

use url::form_urlencoded;

use crate::util::sanitize::sanitize_for_log;

/// Maximum length of a text parameter, in bytes: longer than any name.
const MAX_TEXT: usize = 300;

/// Maximum length of a parameter name that is repeated to the client.
const MAX_NAME: usize = 40;

/// The known parameters of a query, each at most once. With repeated parameters, two programs could use different
/// values.
pub(super) struct Query(BTreeMap<&'static str, String>);

/// Why a page, an API route or forward auth rejects a query.
#[derive(Debug, thiserror::Error)]
pub(super) enum QueryError {
    #[error("query parameter {}: unknown; allowed: {}", sanitize_for_log(name), list(known))]
    Unknown { name: String, known: Vec<&'static str> },
    #[error("query parameter {name}: given more than once")]
    Duplicate { name: &'static str },
    /// `allowed` completes "Allowed: ….".
    #[error("query parameter {name}: invalid value; allowed: {allowed}")]
    Value { name: &'static str, allowed: &'static str },
    #[error("query parameter {name}: cannot be combined with {other}")]
    Conflict { name: &'static str, other: &'static str },
}

/// The parameters of one route, as a type. The extractors `Params` and `SsoParams` read it.
pub(super) trait Parameters: Sized {
    /// Names of all parameters.
    const NAMES: &'static [&'static str];

    /// Reads the values. `query` holds no other parameters.
    fn read(query: &Query) -> Result<Self, QueryError>;
}

/// A route without parameters.
impl Parameters for () {
    const NAMES: &'static [&'static str] = &[];

    fn read(_: &Query) -> Result<Self, QueryError> {
        Ok(())
    }
}

impl Query {
    /// Ignores unknown parameters.
    pub(super) fn parse(query: Option<&str>, known: &[&'static str]) -> Result<Self, QueryError> {
        Self::collect(query, known, |_| Ok(()))
    }

    /// Rejects unknown parameters.
    pub(super) fn parse_strict(query: Option<&str>, known: &[&'static str]) -> Result<Self, QueryError> {
        Self::collect(query, known, |name| Err(QueryError::Unknown { name: name.to_owned(), known: known.to_vec() }))
    }

    fn collect(
        query: Option<&str>,
        known: &[&'static str],
        on_unknown: impl Fn(&str) -> Result<(), QueryError>,
    ) -> Result<Self, QueryError> {
        let mut found = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let Some(known) = known.iter().find(|known| **known == name) else {
                on_unknown(&name)?;
                continue;
            };
            if found.insert(*known, value.into_owned()).is_some() {
                return Err(QueryError::Duplicate { name: known });
            }
        }
        Ok(Self(found))
    }

    /// The value as sent.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Like `get`, owned.
    pub(super) fn owned(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    /// The trimmed value; `None` if it is absent or empty, as in forms.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.get(name).map(str::trim).filter(|value| !value.is_empty())
    }

    /// Like `value`, for free text. Postgres does not store NUL.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<&str>, QueryError> {
        match self.value(name) {
            Some(text) if text.len() > MAX_TEXT || text.contains('\0') => {
                Err(QueryError::Value { name, allowed: "text of at most 300 bytes, without NUL" })
            }
            text => Ok(text),
        }
    }
}

fn list(known: &[&str]) -> String {
    if known.is_empty() { "none".to_owned() } else { known.join(", ") }
}

impl QueryError {
    /// Stable name for programs and the log.
    pub(super) fn code(&self) -> &'static str {
        match self {
            Self::Unknown { .. } => "unknown_parameter",
            Self::Duplicate { .. } => "duplicate_parameter",
            Self::Value { .. } | Self::Conflict { .. } => "parameter_value",
        }
    }

    /// The parameter, or `None` if its name is not a short identifier: pages do not show arbitrary text of a client.
    pub(super) fn parameter(&self) -> Option<&str> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        match self {
            Self::Unknown { name, .. } => {
                Some(&**name).filter(|name| (1..=MAX_NAME).contains(&name.len()) && name.chars().all(plain))
            }
            Self::Duplicate { name } | Self::Value { name, .. } | Self::Conflict { name, .. } => Some(name),
        }
    }

    /// The problem, for the user.
    pub(super) fn detail(&self) -> String {
        match self {
            Self::Unknown { .. } => match self.parameter() {
                Some(name) => format!("The parameter “{name}” is unknown."),
                None => "The address has an unknown parameter.".to_owned(),
            },
            Self::Duplicate { name } => format!("The parameter “{name}” is given more than once."),
            Self::Value { name, .. } => format!("The parameter “{name}” has an invalid value."),
            Self::Conflict { name, other } => format!("The parameter “{name}” cannot be combined with “{other}”."),
        }
    }

    /// What is allowed instead.
    pub(super) fn help(&self) -> String {
        match self {
            Self::Unknown { known, .. } if known.is_empty() => "No parameters are allowed.".to_owned(),
            Self::Unknown { known, .. } => format!("Allowed parameters: {}.", list(known)),
            Self::Duplicate { .. } => "Pass it once.".to_owned(),
            Self::Value { allowed, .. } => format!("Allowed: {allowed}."),
            Self::Conflict { .. } => "Pass only one of them.".to_owned(),
        }
    }
}
