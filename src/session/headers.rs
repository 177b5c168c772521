//! Identity headers: the user in the response to a reverse proxy, which copies them to the upstream request.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::compact::{Id, UserView};

const USER: HeaderName = HeaderName::from_static("x-auth-request-user");
const EMAIL: HeaderName = HeaderName::from_static("x-auth-request-email");
const NAME: HeaderName = HeaderName::from_static("x-auth-request-name");
const ROLE: HeaderName = HeaderName::from_static("x-auth-request-role");
const ORGANIZATIONS: HeaderName = HeaderName::from_static("x-auth-request-organizations");
const ORGANIZATIONS_TRUNCATED: HeaderName = HeaderName::from_static("x-auth-request-organizations-truncated");
const TEAMS: HeaderName = HeaderName::from_static("x-auth-request-teams");
const TEAMS_TRUNCATED: HeaderName = HeaderName::from_static("x-auth-request-teams-truncated");
/// Signed for each response.
pub const ASSERTION: HeaderName = HeaderName::from_static("x-auth-request-assertion");

/// All identity headers. Every response has all of them, possibly empty, so that a proxy that copies them overwrites what a
/// client sent.
pub const IDENTITY_HEADERS: [HeaderName; 9] =
    [USER, EMAIL, NAME, ROLE, ORGANIZATIONS, ORGANIZATIONS_TRUNCATED, TEAMS, TEAMS_TRUNCATED, ASSERTION];

/// Maximum bytes of a list of IDs: 40 UUIDs. Proxies commonly allow 4 KB for all response headers.
const MAX_LIST_LENGTH: usize = 1_480;
/// Maximum bytes of an encoded name or address. Each byte that is not plain ASCII takes three.
const MAX_TEXT_LENGTH: usize = 480;

/// Percent-encoded characters: everything but visible ASCII, so that a line break in a name cannot start a header; `%`, so
/// that the value can be decoded; and the comma, which separates IDs.
const ENCODE_SET: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b',');

impl UserView<'_> {
    /// All of [`IDENTITY_HEADERS`]; the assertion is empty.
    #[must_use]
    pub fn headers(&self) -> HeaderMap {
        // All values share one allocation, because proxies make this request for every asset of every page.
        let mut buffer = String::with_capacity(self.capacity());
        let mut ends = [0; 6];
        buffer.push_str(&self.identity.object_id.to_string());
        ends[0] = buffer.len();
        for (end, value) in ends[1..].iter_mut().zip([self.email, self.display_name, self.user_role]) {
            push_text(&mut buffer, value);
            *end = buffer.len();
        }
        let organizations_omitted = push_list(&mut buffer, &self.organizations);
        ends[4] = buffer.len();
        let teams_omitted = push_list(&mut buffer, &self.teams);
        ends[5] = buffer.len();
        let buffer = Bytes::from(buffer);
        let mut start = 0;
        let mut values = ends.map(|end| {
            let value = buffer.slice(start..end);
            start = end;
            header_value(value)
        });
        let mut take = |n: usize| std::mem::replace(&mut values[n], HeaderValue::from_static(""));
        let truncated = |omitted| if omitted == 0 { HeaderValue::from_static("") } else { HeaderValue::from(omitted) };
        // Room for the other headers of the response.
        let mut headers = HeaderMap::with_capacity(IDENTITY_HEADERS.len() + 5);
        headers.insert(USER, take(0));
        headers.insert(EMAIL, take(1));
        headers.insert(NAME, take(2));
        headers.insert(ROLE, take(3));
        headers.insert(ORGANIZATIONS, take(4));
        headers.insert(ORGANIZATIONS_TRUNCATED, truncated(organizations_omitted));
        headers.insert(TEAMS, take(5));
        headers.insert(TEAMS_TRUNCATED, truncated(teams_omitted));
        headers.insert(ASSERTION, HeaderValue::from_static(""));
        headers
    }

    /// Estimated bytes of all values, without percent-encoding.
    fn capacity(&self) -> usize {
        let texts = [self.email, self.display_name, self.user_role].into_iter().flatten();
        let ids = self.organizations.iter().chain(&self.teams);
        let length = |id: &Id<'_>| match id {
            Id::Uuid(_) => 36,
            Id::Text(text) => text.len(),
        };
        64 + texts.map(|text| text.len() + 6).sum::<usize>() + ids.map(|id| length(id) + 1).sum::<usize>()
    }

    /// The organization and team IDs that fit into the headers.
    #[must_use]
    pub fn ids_in_headers(&self) -> (&[Id<'_>], &[Id<'_>]) {
        let fitting = |ids: &[Id<'_>]| ids.len() - push_list(&mut String::new(), ids);
        (&self.organizations[..fitting(&self.organizations)], &self.teams[..fitting(&self.teams)])
    }
}

/// Appends an encoded text, truncated between characters to [`MAX_TEXT_LENGTH`].
fn push_text(buffer: &mut String, text: Option<&str>) {
    let text = text.unwrap_or_default();
    let encoded: Cow<'_, str> = utf8_percent_encode(text, ENCODE_SET).into();
    if encoded.len() <= MAX_TEXT_LENGTH {
        buffer.push_str(&encoded);
        return;
    }
    let start = buffer.len();
    for c in text.chars() {
        let c = utf8_percent_encode(c.encode_utf8(&mut [0; 4]), ENCODE_SET).to_string();
        if buffer.len() - start + c.len() > MAX_TEXT_LENGTH {
            break;
        }
        buffer.push_str(&c);
    }
}

/// Appends the IDs that fit into [`MAX_LIST_LENGTH`]; returns how many do not.
fn push_list(buffer: &mut String, ids: &[Id<'_>]) -> usize {
    let (start, mut uuid) = (buffer.len(), [0; 36]);
    for (index, id) in ids.iter().enumerate() {
        let id: Cow<'_, str> = match id {
            Id::Uuid(_) => id.as_str(&mut uuid).into(),
            Id::Text(text) => utf8_percent_encode(text, ENCODE_SET).into(),
        };
        if buffer.len() - start + 1 + id.len() > MAX_LIST_LENGTH {
            return ids.len() - index;
        }
        if index > 0 {
            buffer.push(',');
        }
        buffer.push_str(&id);
    }
    0
}

#[expect(clippy::expect_used, reason = "everything but visible ASCII was encoded")]
fn header_value(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).expect("visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::super::compact::EncodedUser;
    use super::*;
    use crate::db::ForwardedUser;
    use crate::domain::Identity;

    fn user(name: &str, teams: Vec<String>) -> EncodedUser {
        EncodedUser::encode(&ForwardedUser {
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

    fn header(user: &EncodedUser, name: &HeaderName) -> String {
        user.decode().headers()[name].to_str().unwrap().to_owned()
    }

    #[test]
    fn header_encodes_name_in_visible_ascii() {
        for name in
            ["Zoë Ångström", "a\r\nX-Auth-Request-Role: proxy_admin", "100%41, ok", "\u{202e}\u{0}\u{7f}", "李雷"]
        {
            let value = header(&user(name, vec![]), &NAME);
            assert!(value.bytes().all(|b| b.is_ascii_graphic()), "{value:?}");
            let decoded = percent_encoding::percent_decode_str(&value).decode_utf8().unwrap();
            assert_eq!(decoded, name);
        }
    }

    #[test]
    fn header_truncates_long_name_between_characters() {
        let value = header(&user(&"é".repeat(5_000), vec![]), &NAME);
        assert_eq!(value, "%C3%A9".repeat(80));
    }

    #[test]
    fn header_truncates_long_list_and_counts_the_rest() {
        let ids: Vec<String> = (0..100u128).map(|n| uuid::Uuid::from_u128(n).to_string()).collect();
        let short = user("", ids[..40].to_vec());
        assert_eq!(header(&short, &TEAMS), ids[..40].join(","));
        assert_eq!(header(&short, &TEAMS_TRUNCATED), "");
        let long = user("", ids.clone());
        assert_eq!(header(&long, &TEAMS), ids[..40].join(","));
        assert_eq!(header(&long, &TEAMS_TRUNCATED), "60");
        assert_eq!(long.decode().ids_in_headers().1.len(), 40);
    }

    #[test]
    fn header_encodes_comma_in_id() {
        assert_eq!(header(&user("", vec!["a,b".to_owned(), "c".to_owned()]), &TEAMS), "a%2Cb,c");
    }
}
