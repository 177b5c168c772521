//! A person as the headers of an answer tell a reverse proxy, and through it an upstream.

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::store::Caller;

const USER: HeaderName = HeaderName::from_static("x-auth-request-user");
const EMAIL: HeaderName = HeaderName::from_static("x-auth-request-email");
const NAME: HeaderName = HeaderName::from_static("x-auth-request-name");
const ROLE: HeaderName = HeaderName::from_static("x-auth-request-role");
const ORGANIZATIONS: HeaderName = HeaderName::from_static("x-auth-request-organizations");
const ORGANIZATIONS_TRUNCATED: HeaderName = HeaderName::from_static("x-auth-request-organizations-truncated");
const TEAMS: HeaderName = HeaderName::from_static("x-auth-request-teams");
const TEAMS_TRUNCATED: HeaderName = HeaderName::from_static("x-auth-request-teams-truncated");
/// Made for each answer.
pub const ASSERTION: HeaderName = HeaderName::from_static("x-auth-request-assertion");

/// Every header that tells who somebody is. They are on every answer, empty if need be: a proxy that copies them then
/// cannot pass on what a client made up.
pub const IDENTITY_HEADERS: [HeaderName; 9] =
    [USER, EMAIL, NAME, ROLE, ORGANIZATIONS, ORGANIZATIONS_TRUNCATED, TEAMS, TEAMS_TRUNCATED, ASSERTION];

/// Bytes of a list of ids: 40 GUIDs. Proxies give all headers of an answer some 4 KB by default.
const LONGEST_LIST: usize = 1_480;
/// Bytes of a name or an address as it is written, where three stand for each byte that is no plain ASCII.
const LONGEST_TEXT: usize = 480;

/// What is written as `%XX`: all that is not visible ASCII, so that a line break in a name cannot become a header; the
/// sign itself, so that it can be read back; and the comma, which separates ids.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b',');

/// Somebody with a session, and how headers tell it.
pub struct SignedIn {
    pub caller: Caller,
    headers: HeaderMap,
}

impl SignedIn {
    pub(super) fn new(caller: Caller) -> Self {
        let mut headers = HeaderMap::with_capacity(IDENTITY_HEADERS.len() + 2);
        headers.insert(USER, value(caller.identity.object_id.to_string()));
        headers.insert(EMAIL, value(text(caller.email.as_deref())));
        headers.insert(NAME, value(text(caller.display_name.as_deref())));
        headers.insert(ROLE, value(text(caller.user_role.as_deref())));
        headers.insert(ASSERTION, HeaderValue::from_static(""));
        for (name, name_truncated, ids) in
            [(ORGANIZATIONS, ORGANIZATIONS_TRUNCATED, &caller.organizations), (TEAMS, TEAMS_TRUNCATED, &caller.teams)]
        {
            let (list, left_out) = list(ids);
            headers.insert(name, value(list));
            let left_out = if left_out == 0 { HeaderValue::from_static("") } else { left_out.into() };
            headers.insert(name_truncated, left_out);
        }
        Self { caller, headers }
    }

    /// All of `IDENTITY_HEADERS`, the assertion empty.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The ids that fit into a header: of organizations, and of teams.
    #[must_use]
    pub fn told(&self) -> (&[String], &[String]) {
        let told = |ids: &'_ [String]| ids.len() - list(ids).1;
        (&self.caller.organizations[..told(&self.caller.organizations)], &self.caller.teams[..told(&self.caller.teams)])
    }

    /// Bytes in memory, about.
    pub(super) fn weight(&self) -> u64 {
        let caller = &self.caller;
        let ids = caller.organizations.iter().chain(&caller.teams).map(|id| id.len() + 24).sum::<usize>();
        let headers = self.headers.values().map(|value| value.len() + 80).sum::<usize>();
        u64::try_from(ids + headers + 300).unwrap_or(u64::MAX)
    }
}

/// A text of bounded length, cut between characters.
fn text(text: Option<&str>) -> String {
    let mut written = String::new();
    for c in text.unwrap_or_default().chars() {
        let c = utf8_percent_encode(c.encode_utf8(&mut [0; 4]), ENCODED).to_string();
        if written.len() + c.len() > LONGEST_TEXT {
            break;
        }
        written += &c;
    }
    written
}

/// The ids that fit, and how many do not.
fn list(ids: &[String]) -> (String, usize) {
    let mut list = String::new();
    for (index, id) in ids.iter().enumerate() {
        let id = utf8_percent_encode(id, ENCODED).to_string();
        if list.len() + 1 + id.len() > LONGEST_LIST {
            return (list, ids.len() - index);
        }
        if index > 0 {
            list.push(',');
        }
        list += &id;
    }
    (list, 0)
}

fn value(text: String) -> HeaderValue {
    // Unwrap safety: what is no visible ASCII was encoded.
    HeaderValue::try_from(text).expect("visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Identity;

    fn signed_in(name: &str, teams: Vec<String>) -> SignedIn {
        SignedIn::new(Caller {
            identity: Identity {
                tenant_id: uuid::Uuid::from_u128(1).into(),
                object_id: uuid::Uuid::from_u128(2).into(),
            },
            email: None,
            display_name: Some(name.to_owned()),
            user_role: None,
            organizations: vec![],
            teams,
        })
    }

    fn header(signed_in: &SignedIn, name: &HeaderName) -> String {
        let (_, value) = signed_in.headers().find(|(known, _)| known == name).expect("each header is there");
        value.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_name_is_written_in_visible_ascii_and_can_be_read_back() {
        for name in
            ["Zoë Ångström", "a\r\nX-Auth-Request-Role: proxy_admin", "100%41, ok", "\u{202e}\u{0}\u{7f}", "李雷"]
        {
            let written = header(&signed_in(name, vec![]), &NAME);
            assert!(written.bytes().all(|b| b.is_ascii_graphic()), "{written:?}");
            let read = percent_encoding::percent_decode_str(&written).decode_utf8().unwrap();
            assert_eq!(read, name);
        }
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let written = header(&signed_in(&"é".repeat(5_000), vec![]), &NAME);
        assert_eq!(written, "%C3%A9".repeat(80));
    }

    #[test]
    fn a_list_that_is_too_long_is_cut_between_ids_and_says_how_many_are_missing() {
        let ids: Vec<String> = (0..100u128).map(|n| uuid::Uuid::from_u128(n).to_string()).collect();
        let short = signed_in("", ids[..40].to_vec());
        assert_eq!(header(&short, &TEAMS), ids[..40].join(","));
        assert_eq!(header(&short, &TEAMS_TRUNCATED), "");
        let long = signed_in("", ids.clone());
        assert_eq!(header(&long, &TEAMS), ids[..40].join(","));
        assert_eq!(header(&long, &TEAMS_TRUNCATED), "60");
        assert_eq!(long.told().1.len(), 40);
    }

    #[test]
    fn a_comma_in_an_id_does_not_make_two_of_it() {
        assert_eq!(header(&signed_in("", vec!["a,b".to_owned(), "c".to_owned()]), &TEAMS), "a%2Cb,c");
    }
}
