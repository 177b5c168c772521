//! The query of a request.

use std::collections::BTreeMap;

use url::form_urlencoded;

use super::error::WebError;

/// The parameters of a query that we know, each at most once: two of one name is how one program is made to look at
/// one and the next at the other.
pub(super) struct Query(BTreeMap<&'static str, String>);

impl Query {
    pub(super) fn parse(query: Option<&str>, known: &[&'static str]) -> Result<Self, WebError> {
        let mut found = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            if let Some(known) = known.iter().find(|known| **known == name)
                && found.insert(*known, value.into_owned()).is_some()
            {
                return Err(WebError::DuplicateParameter(known));
            }
        }
        Ok(Self(found))
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}
