//! A person as the headers of an answer tell a reverse proxy, and through it an upstream.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::compact::{CompactUser, Id, Packed};
use crate::db::ForwardedUser;

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
    pub(super) fn new(caller: &ForwardedUser) -> Self {
        Self(Packed::new(caller))
    }

    /// Who it is.
    #[must_use]
    pub fn person(&self) -> CompactUser<'_> {
        self.0.read()
    }

    /// Bytes in memory, about.
    pub(super) fn weight(&self) -> u64 {
        u64::try_from(self.0.weight()).unwrap_or(u64::MAX)
    }
}

impl CompactUser<'_> {
    /// All of [`IDENTITY_HEADERS`], the assertion empty.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        // All values stand in one text, which is cut up in the end: proxies ask for each picture of each page.
        let mut written = String::with_capacity(self.room());
        let mut ends = [0; 6];
        written.push_str(&self.identity.object_id.to_string());
        ends[0] = written.len();
        for (end, value) in ends[1..].iter_mut().zip([self.email, self.display_name, self.user_role]) {
            text(&mut written, value);
            *end = written.len();
        }
        let organizations_left_out = list(&mut written, &self.organizations);
        ends[4] = written.len();
        let teams_left_out = list(&mut written, &self.teams);
        ends[5] = written.len();
        let written = Bytes::from(written);
        let mut begin = 0;
        let mut values = ends.map(|end| {
            let value = written.slice(begin..end);
            begin = end;
            header_value(value)
        });
        let mut take = |n: usize| std::mem::replace(&mut values[n], HeaderValue::from_static(""));
        let truncated =
            |left_out| if left_out == 0 { HeaderValue::from_static("") } else { HeaderValue::from(left_out) };
        // What an answer has besides.
        let mut headers = HeaderMap::with_capacity(IDENTITY_HEADERS.len() + 5);
        headers.insert(USER, take(0));
        headers.insert(EMAIL, take(1));
        headers.insert(NAME, take(2));
        headers.insert(ROLE, take(3));
        headers.insert(ORGANIZATIONS, take(4));
        headers.insert(ORGANIZATIONS_TRUNCATED, truncated(organizations_left_out));
        headers.insert(TEAMS, take(5));
        headers.insert(TEAMS_TRUNCATED, truncated(teams_left_out));
        headers.insert(ASSERTION, HeaderValue::from_static(""));
        headers
    }

    /// Bytes that the values take, if there is nothing to encode.
    fn room(&self) -> usize {
        let texts = [self.email, self.display_name, self.user_role].into_iter().flatten();
        let ids = self.organizations.iter().chain(&self.teams);
        let length = |id: &Id<'_>| match id {
            Id::Number(_) => 36,
            Id::Text(text) => text.len(),
        };
        64 + texts.map(|text| text.len() + 6).sum::<usize>() + ids.map(|id| length(id) + 1).sum::<usize>()
    }

    /// The ids that fit into a header: of organizations, and of teams.
    #[must_use]
    pub fn told(&self) -> (&[Id<'_>], &[Id<'_>]) {
        let told = |ids: &[Id<'_>]| ids.len() - list(&mut String::new(), ids);
        (&self.organizations[..told(&self.organizations)], &self.teams[..told(&self.teams)])
    }
}

/// Writes a text of bounded length, cut between characters.
fn text(to: &mut String, text: Option<&str>) {
    let text = text.unwrap_or_default();
    let whole: Cow<'_, str> = utf8_percent_encode(text, ENCODED).into();
    if whole.len() <= LONGEST_TEXT {
        to.push_str(&whole);
        return;
    }
    let begin = to.len();
    for c in text.chars() {
        let c = utf8_percent_encode(c.encode_utf8(&mut [0; 4]), ENCODED).to_string();
        if to.len() - begin + c.len() > LONGEST_TEXT {
            break;
        }
        to.push_str(&c);
    }
}

/// Writes the ids that fit; gives how many do not.
fn list(to: &mut String, ids: &[Id<'_>]) -> usize {
    let (begin, mut room) = (to.len(), [0; 36]);
    for (index, id) in ids.iter().enumerate() {
        let id: Cow<'_, str> = match id {
            Id::Number(_) => id.written(&mut room).into(),
            Id::Text(text) => utf8_percent_encode(text, ENCODED).into(),
        };
        if to.len() - begin + 1 + id.len() > LONGEST_LIST {
            return ids.len() - index;
        }
        if index > 0 {
            to.push(',');
        }
        to.push_str(&id);
    }
    0
}

fn header_value(text: Bytes) -> HeaderValue {
    // Unwrap safety: what is no visible ASCII was encoded.
    HeaderValue::from_maybe_shared(text).expect("visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Identity;

    fn signed_in(name: &str, teams: Vec<String>) -> SignedIn {
        SignedIn::new(&ForwardedUser {
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
