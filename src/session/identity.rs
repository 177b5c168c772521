//! A person as the headers of an answer tell a reverse proxy, and through it an upstream.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::packed::{Packed, Person};
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
#[derive(PartialEq, Eq)]
pub struct SignedIn(Packed);

impl SignedIn {
    pub(super) fn new(caller: &Caller) -> Self {
        Self(Packed::new(caller))
    }

    /// Who it is.
    #[must_use]
    pub fn person(&self) -> Person<'_> {
        self.0.read()
    }

    /// Bytes in memory, about.
    pub(super) fn weight(&self) -> u64 {
        u64::try_from(self.0.weight()).unwrap_or(u64::MAX)
    }
}

impl Person<'_> {
    /// All of [`IDENTITY_HEADERS`], the assertion empty.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        // What an answer has besides.
        let mut headers = HeaderMap::with_capacity(IDENTITY_HEADERS.len() + 3);
        headers.insert(USER, value(self.identity.object_id.to_string()));
        headers.insert(EMAIL, value(text(self.email)));
        headers.insert(NAME, value(text(self.display_name)));
        headers.insert(ROLE, value(text(self.user_role)));
        headers.insert(ASSERTION, HeaderValue::from_static(""));
        for (name, name_truncated, ids) in
            [(ORGANIZATIONS, ORGANIZATIONS_TRUNCATED, &self.organizations), (TEAMS, TEAMS_TRUNCATED, &self.teams)]
        {
            let (list, left_out) = list(ids);
            headers.insert(name, value(list));
            let left_out = if left_out == 0 { HeaderValue::from_static("") } else { left_out.into() };
            headers.insert(name_truncated, left_out);
        }
        headers
    }

    /// The ids that fit into a header: of organizations, and of teams.
    #[must_use]
    pub fn told(&self) -> (&[&str], &[&str]) {
        let told = |ids: &[&str]| ids.len() - list(ids).1;
        (&self.organizations[..told(&self.organizations)], &self.teams[..told(&self.teams)])
    }
}

/// A text of bounded length, cut between characters.
fn text(text: Option<&str>) -> String {
    let mut written = String::new();
    let text = text.unwrap_or_default();
    if text.len() <= LONGEST_TEXT && plain(text) {
        return text.to_owned();
    }
    for c in text.chars() {
        let c = utf8_percent_encode(c.encode_utf8(&mut [0; 4]), ENCODED).to_string();
        if written.len() + c.len() > LONGEST_TEXT {
            break;
        }
        written += &c;
    }
    written
}

/// The ids that fit, and how many do not.
fn list(ids: &[&str]) -> (String, usize) {
    let mut list = String::new();
    for (index, id) in ids.iter().enumerate() {
        let id: Cow<'_, str> = if plain(id) { Cow::Borrowed(id) } else { utf8_percent_encode(id, ENCODED).into() };
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

/// Whether there is nothing to encode, as is nearly always so.
fn plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'%' && byte != b',')
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
        SignedIn::new(&Caller {
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
        signed_in.person().headers()[name].to_str().unwrap().to_owned()
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
        assert_eq!(long.person().told().1.len(), 40);
    }

    #[test]
    fn a_comma_in_an_id_does_not_make_two_of_it() {
        assert_eq!(header(&signed_in("", vec!["a,b".to_owned(), "c".to_owned()]), &TEAMS), "a%2Cb,c");
    }
}
