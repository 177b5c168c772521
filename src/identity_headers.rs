//! Identity headers: the user in the response to a reverse proxy, which copies them to the upstream request.

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, PercentEncode, utf8_percent_encode};

use crate::db::ForwardedUser;

/// Signed for each response; the other headers are rendered once per user.
pub const ASSERTION: HeaderName = HeaderName::from_static("x-auth-request-assertion");

/// All identity headers. Every response has all of them, possibly empty, so that a proxy that copies them overwrites what a
/// client sent.
pub const IDENTITY_HEADERS: [HeaderName; 9] = [
    HeaderName::from_static("x-auth-request-user"),
    HeaderName::from_static("x-auth-request-email"),
    HeaderName::from_static("x-auth-request-name"),
    HeaderName::from_static("x-auth-request-role"),
    HeaderName::from_static("x-auth-request-organizations"),
    HeaderName::from_static("x-auth-request-organizations-truncated"),
    HeaderName::from_static("x-auth-request-teams"),
    HeaderName::from_static("x-auth-request-teams-truncated"),
    ASSERTION,
];

/// Maximum bytes of a list of IDs: 40 UUIDs. Proxies commonly allow 4 KB for all response headers.
const MAX_LIST_LENGTH: usize = 1_480;
/// Maximum bytes of an encoded name or address. Each byte that is not plain ASCII takes three.
const MAX_TEXT_LENGTH: usize = 480;

/// Percent-encoded characters: everything but visible ASCII, so that a line break in a name cannot start a header; `%`, so
/// that the value can be decoded; and the comma, which separates IDs.
const ENCODE_SET: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b',');

/// The values of [`IDENTITY_HEADERS`] for one user, except the assertion.
pub struct IdentityHeaders {
    /// The values, one after another: many users are cached, and eight separate values would take 300 bytes more.
    text: Bytes,
    /// The position of each value in `text`, in the order of [`IDENTITY_HEADERS`].
    ranges: [Range<u16>; 8],
}

impl IdentityHeaders {
    #[must_use]
    pub fn new(user: &ForwardedUser) -> Self {
        let omitted = |ids: &[String]| match ids.len() - ids_in_header(ids).len() {
            0 => String::new(),
            omitted => omitted.to_string(),
        };
        // Usually, since both are created from the same groups.
        let same_lists = user.teams == user.organizations;
        let texts = [
            user.identity.object_id.to_string(),
            encode_text(user.email.as_deref()),
            encode_text(user.display_name.as_deref()),
            encode_text(user.user_role.as_deref()),
            encode_list(&user.organizations),
            omitted(&user.organizations),
            if same_lists { String::new() } else { encode_list(&user.teams) },
            omitted(&user.teams),
        ];
        let mut end = 0;
        let mut ranges = texts.each_ref().map(|text| {
            let start = end;
            end += text.len();
            position(start)..position(end)
        });
        let [.., organizations, _, teams, _] = &mut ranges;
        if same_lists {
            *teams = organizations.clone();
        }
        Self { text: Bytes::from(texts.concat()), ranges }
    }

    /// The headers of a response. The assertion is empty.
    #[must_use]
    pub fn to_map(&self) -> HeaderMap {
        // With room for the other headers of the response.
        let mut headers = HeaderMap::with_capacity(IDENTITY_HEADERS.len() + 5);
        for (name, Range { start, end }) in IDENTITY_HEADERS.into_iter().zip(&self.ranges) {
            headers.insert(name, header_value(self.text.slice(usize::from(*start)..usize::from(*end))));
        }
        headers.insert(ASSERTION, HeaderValue::from_static(""));
        headers
    }

    /// Bytes in memory of all values; a list that stands for both organizations and teams counts once.
    #[must_use]
    pub fn total_length(&self) -> usize {
        self.text.len()
    }
}

#[expect(clippy::expect_used, reason = "the values are at most two lists, three texts and two numbers: 4.5 KB")]
fn position(bytes: usize) -> u16 {
    u16::try_from(bytes).expect("at most 64 KB")
}

#[expect(clippy::expect_used, reason = "everything but visible ASCII was encoded")]
fn header_value(text: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(text).expect("visible ASCII")
}

/// The IDs of a list that fit into its header.
#[must_use]
pub fn ids_in_header(ids: &[String]) -> &[String] {
    let mut length = 0;
    let fits = |id: &&String| {
        // With the comma before each ID but the first.
        length += encoded_length(&encode(id)) + usize::from(length > 0);
        length <= MAX_LIST_LENGTH
    };
    &ids[..ids.iter().take_while(fits).count()]
}

fn encode_list(ids: &[String]) -> String {
    let ids: Vec<String> = ids_in_header(ids).iter().map(|id| encode(id).to_string()).collect();
    ids.join(",")
}

/// Truncates between characters.
fn encode_text(text: Option<&str>) -> String {
    let mut value = String::new();
    let mut buffer = [0; 4];
    for character in text.unwrap_or_default().chars() {
        let character = encode(character.encode_utf8(&mut buffer));
        if value.len() + encoded_length(&character) > MAX_TEXT_LENGTH {
            break;
        }
        value.extend(character);
    }
    value
}

fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, ENCODE_SET)
}

fn encoded_length(encoded: &PercentEncode<'_>) -> usize {
    encoded.clone().map(str::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Identity;

    fn header(display_name: &str, teams: &[String], name: &str) -> String {
        let headers = IdentityHeaders::new(&ForwardedUser {
            identity: Identity {
                tenant_id: uuid::Uuid::from_u128(1).into(),
                object_id: uuid::Uuid::from_u128(2).into(),
            },
            email: None,
            display_name: Some(display_name.to_owned()),
            user_role: None,
            organizations: [].into(),
            teams: teams.into(),
        });
        headers.to_map()[name].to_str().unwrap().to_owned()
    }

    const NAME: &str = "x-auth-request-name";
    const TEAMS: &str = "x-auth-request-teams";

    #[test]
    fn header_encodes_name_in_visible_ascii() {
        for name in
            ["Zoë Ångström", "a\r\nX-Auth-Request-Role: proxy_admin", "100%41, ok", "\u{202e}\u{0}\u{7f}", "李雷"]
        {
            let value = header(name, &[], NAME);
            assert!(value.bytes().all(|b| b.is_ascii_graphic()), "{value:?}");
            let decoded = percent_encoding::percent_decode_str(&value).decode_utf8().unwrap();
            assert_eq!(decoded, name);
        }
    }

    #[test]
    fn header_truncates_long_name_between_characters() {
        assert_eq!(header(&"é".repeat(5_000), &[], NAME), "%C3%A9".repeat(80));
    }

    #[test]
    fn header_holds_list_of_exactly_the_maximum_length() {
        let ids = ["x".repeat(739), "y".repeat(740)];
        assert_eq!(header("", &ids, TEAMS).len(), MAX_LIST_LENGTH);
        let ids = ["x".repeat(740), "y".repeat(740)];
        assert_eq!(header("", &ids, TEAMS), ids[0]);
    }

    #[test]
    fn header_truncates_long_list_and_counts_the_rest() {
        let ids: Vec<String> = (0..100u128).map(|n| uuid::Uuid::from_u128(n).to_string()).collect();
        for (teams, omitted) in [(&ids[..40], ""), (&ids[..], "60")] {
            assert_eq!(header("", teams, TEAMS), ids[..40].join(","));
            assert_eq!(header("", teams, "x-auth-request-teams-truncated"), omitted);
        }
    }

    #[test]
    fn header_encodes_comma_in_id() {
        assert_eq!(header("", &["a,b".to_owned(), "c".to_owned()], TEAMS), "a%2Cb,c");
    }
}
