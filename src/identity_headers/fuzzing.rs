//! Property of the identity headers for any user row, for the fuzz target and the test run.
#![expect(clippy::missing_panics_doc, reason = "a violated property panics")]

use percent_encoding::percent_decode_str;

use super::{IDENTITY_HEADERS, IdentityHeaders, ids_in_header};
use crate::db::ForwardedUser;
use crate::domain::Identity;

/// `data` is a user, separated by NUL: e-mail address, name, role, then team IDs. Each header occurs once, is short, consists
/// of visible ASCII, and decodes to the original value.
pub fn identity_headers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // Postgres texts may contain line breaks but no NUL.
    let mut fields = text.split('\0').map(ToOwned::to_owned);
    let (email, display_name, user_role) = (fields.next(), fields.next(), fields.next());
    let id = uuid::Uuid::nil();
    let identity = Identity { tenant_id: id.into(), object_id: id.into() };
    let user =
        ForwardedUser { identity, email, display_name, user_role, organizations: [].into(), teams: fields.collect() };
    let headers = IdentityHeaders::new(&user).to_map();

    assert_eq!(headers.len(), IDENTITY_HEADERS.len(), "each header occurs once");
    for (name, value) in &headers {
        assert!(value.as_bytes().iter().all(u8::is_ascii_graphic), "{name}: {value:?}");
        assert!(value.len() <= 1_500, "{name} has {} bytes", value.len());
    }
    let value = |name: &str| headers[format!("x-auth-request-{name}")].to_str().unwrap_or_default();
    let decode = |value: &str| percent_decode_str(value).decode_utf8().map(String::from).ok();
    for (name, text) in [("email", &user.email), ("name", &user.display_name), ("role", &user.user_role)] {
        let (value, text) = (value(name), text.as_deref().unwrap_or_default());
        let decoded = decode(value);
        let complete = decoded.as_deref() == Some(text);
        let truncated = value.len() > 460 && decoded.is_some_and(|decoded| text.starts_with(&decoded));
        assert!(complete || truncated, "{name}: {value:?} was encoded from {text:?}");
    }
    let (teams, omitted) = (value("teams"), value("teams-truncated").parse().unwrap_or(0));
    let listed = ids_in_header(&user.teams);
    assert_eq!(listed.len() + omitted, user.teams.len(), "{teams:?}");
    let ids: Vec<_> = teams.split(',').filter(|_| !listed.is_empty()).map(decode).collect();
    assert_eq!(ids, listed.iter().cloned().map(Some).collect::<Vec<_>>(), "{teams:?}");
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_seed_user_decodes_from_headers() {
        crate::corpus::replay("identity_headers", super::identity_headers);
    }
}
