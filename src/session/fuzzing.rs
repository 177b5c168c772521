//! What holds for the headers that tell who somebody is, whatever the database holds: a property of any bytes, for the
//! target in `fuzz/` and the test run.
#![expect(clippy::missing_panics_doc, reason = "to panic where a promise is broken is what these are for")]

use percent_encoding::percent_decode_str;

use super::headers::{IDENTITY_HEADERS, SignedIn};
use crate::db::ForwardedUser;
use crate::domain::Identity;

/// Texts, one a line: e-mail, name, role, and then ids of teams. Every header comes once, is short and of visible ASCII,
/// and reads back as what it was made of.
pub fn identity_headers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    // A line may hold a line break: a NUL, which Postgres has not, separates them.
    let mut lines = text.split('\0').map(ToOwned::to_owned);
    let (email, display_name, user_role) = (lines.next(), lines.next(), lines.next());
    let id = uuid::Uuid::nil();
    let identity = Identity { tenant_id: id.into(), object_id: id.into() };
    let caller =
        ForwardedUser { identity, email, display_name, user_role, organizations: vec![], teams: lines.collect() };
    let signed_in = SignedIn::new(&caller);
    let person = signed_in.person();
    let headers: Vec<(String, String)> = person
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();

    assert_eq!(headers.len(), IDENTITY_HEADERS.len(), "each once");
    for (name, value) in &headers {
        assert!(value.bytes().all(|b| b.is_ascii_graphic()), "{name}: {value:?}");
        assert!(value.len() <= 1_500, "{name} has {} bytes", value.len());
    }
    let value = |name: &str| {
        let found = headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).unwrap_or_default()
    };
    let read = |written: &str| percent_decode_str(written).decode_utf8().map(String::from).ok();
    for (name, text) in [("email", &caller.email), ("name", &caller.display_name), ("role", &caller.user_role)] {
        let (written, text) = (value(&format!("x-auth-request-{name}")), text.as_deref().unwrap_or_default());
        let read = read(&written);
        // Cut only where it is long.
        let whole = read.as_deref() == Some(text);
        let cut = written.len() > 460 && read.is_some_and(|read| text.starts_with(&read));
        assert!(whole || cut, "{name}: {written:?} was made of {text:?}");
    }
    let (teams, left_out) = (value("x-auth-request-teams"), value("x-auth-request-teams-truncated"));
    let (told, left_out) = (person.told().1, left_out.parse().unwrap_or(0));
    assert_eq!(told.len() + left_out, caller.teams.len(), "{teams:?}");
    let ids: Vec<_> = teams.split(',').filter(|_| !told.is_empty()).map(read).collect();
    assert_eq!(ids, told.iter().map(|id| Some(id.to_string())).collect::<Vec<_>>(), "{teams:?}");
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_seed_of_identity_headers_is_visible_and_reads_back() {
        crate::corpus::replay("identity_headers", super::identity_headers);
    }
}
