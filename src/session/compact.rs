//! Compact form of a cached user: one allocation for all texts and IDs, because many users are cached.

use std::fmt;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::db::ForwardedUser;
use crate::domain::Identity;

/// A [`ForwardedUser`], encoded in as few bytes as possible.
#[derive(PartialEq, Eq)]
pub struct EncodedUser {
    identity: Identity,
    /// E-mail address, name and role; the number of organizations and their IDs; the same for teams, or [`NONE`] if the IDs
    /// are those of the organizations, as both are created from the same groups. A text follows its length; a UUID follows
    /// [`UUID`].
    bytes: Box<[u8]>,
}

/// In place of a length: the next sixteen bytes are a UUID.
const UUID: u8 = 253;
/// In place of a length: no text, or the same list as before.
const NONE: u8 = 254;
/// In place of a length: the length is in the next eight bytes.
const LONG: u8 = 255;

impl EncodedUser {
    pub(super) fn encode(user: &ForwardedUser) -> Self {
        let mut bytes = Vec::new();
        for text in [&user.email, &user.display_name, &user.user_role] {
            match text {
                Some(text) => push_text(&mut bytes, text),
                None => bytes.push(NONE),
            }
        }
        push_ids(&mut bytes, &user.organizations);
        if user.teams == user.organizations {
            bytes.push(NONE);
        } else {
            push_ids(&mut bytes, &user.teams);
        }
        Self { identity: user.identity, bytes: bytes.into() }
    }

    /// The user, borrowing all texts.
    #[must_use]
    pub fn decode(&self) -> UserView<'_> {
        let mut rest = &*self.bytes;
        let mut text = || take_text(&mut rest);
        let (email, display_name, user_role) = (text(), text(), text());
        let mut ids = || {
            let count = take_length(&mut rest)?;
            Some((0..count).filter_map(|_| take_id(&mut rest)).collect::<Vec<_>>())
        };
        let organizations = ids().unwrap_or_default();
        let teams = ids().unwrap_or_else(|| organizations.clone());
        UserView { identity: self.identity, email, display_name, user_role, organizations, teams }
    }

    /// Approximate bytes in memory.
    pub(super) fn weight(&self) -> u64 {
        self.bytes.len() as u64 + 160
    }
}

/// A decoded [`EncodedUser`].
pub struct UserView<'a> {
    pub identity: Identity,
    pub email: Option<&'a str>,
    pub display_name: Option<&'a str>,
    pub user_role: Option<&'a str>,
    /// Sorted IDs.
    pub organizations: Vec<Id<'a>>,
    /// Sorted IDs.
    pub teams: Vec<Id<'a>>,
}

/// ID of an organization or a team. Nearly all are group IDs, which are UUIDs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Id<'a> {
    /// An ID in the hyphenated lower-case format.
    Uuid(Uuid),
    Text(&'a str),
}

impl<'a> Id<'a> {
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        let uuid = Uuid::try_parse(text).ok().map(Id::Uuid);
        uuid.filter(|uuid| uuid.as_str(&mut [0; 36]) == text).unwrap_or(Id::Text(text))
    }

    /// The ID as in the database. A UUID is formatted into `buffer`.
    #[must_use]
    pub fn as_str<'b>(&self, buffer: &'b mut [u8; 36]) -> &'b str
    where
        'a: 'b,
    {
        match self {
            Id::Uuid(uuid) => uuid.hyphenated().encode_lower(buffer),
            Id::Text(text) => text,
        }
    }
}

impl fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str(&mut [0; 36]))
    }
}

impl Serialize for Id<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str(&mut [0; 36]))
    }
}

fn push_ids(bytes: &mut Vec<u8>, ids: &[String]) {
    push_length(bytes, ids.len());
    for id in ids {
        match Id::parse(id) {
            Id::Uuid(uuid) => {
                bytes.push(UUID);
                bytes.extend_from_slice(uuid.as_bytes());
            }
            Id::Text(text) => push_text(bytes, text),
        }
    }
}

fn push_text(bytes: &mut Vec<u8>, text: &str) {
    push_length(bytes, text.len());
    bytes.extend_from_slice(text.as_bytes());
}

fn push_length(bytes: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(length) if length < UUID => bytes.push(length),
        _ => {
            bytes.push(LONG);
            bytes.extend_from_slice(&length.to_le_bytes());
        }
    }
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = take_length(rest)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

fn take_id<'a>(rest: &mut &'a [u8]) -> Option<Id<'a>> {
    let Some((&UUID, after)) = rest.split_first() else { return take_text(rest).map(Id::Text) };
    let (uuid, after) = after.split_first_chunk()?;
    *rest = after;
    Some(Id::Uuid(Uuid::from_bytes(*uuid)))
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    match *first {
        NONE => None,
        LONG => {
            let (length, after) = rest.split_first_chunk()?;
            *rest = after;
            Some(usize::from_le_bytes(*length))
        }
        length => Some(usize::from(length)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Any text, UUIDs, and texts that resemble one.
    fn id() -> impl Strategy<Value = String> {
        prop_oneof![
            ".{0,300}",
            "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "(\\{|urn:uuid:)?[0-9a-fA-F]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\\}?",
        ]
    }

    #[test]
    fn encoding_stores_group_ids_in_binary() {
        let user = |ids: &[&str]| {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let identity = Identity { tenant_id: Uuid::nil().into(), object_id: Uuid::nil().into() };
            let (email, display_name, user_role) = (None, None, None);
            ForwardedUser { identity, email, display_name, user_role, organizations: ids.clone(), teams: ids }
        };
        let bytes = |ids: &[&str]| EncodedUser::encode(&user(ids)).bytes.len();
        let none = bytes(&[]);
        assert_eq!(bytes(&["9f1408cf-cb91-4d29-a01a-7a1d6e2e7a51"]) - none, 17);
        assert_eq!(bytes(&["9F1408CF-CB91-4D29-A01A-7A1D6E2E7A51"]) - none, 37, "upper case is preserved");
    }

    proptest! {
        #[test]
        fn encoding_round_trips(
            email in proptest::option::of(".{0,300}"),
            display_name in proptest::option::of(".{0,9}"),
            user_role in proptest::option::of("[a-z_]{0,9}"),
            organizations in proptest::collection::vec(id(), 0..300),
            others in proptest::option::of(proptest::collection::vec(id(), 0..9)),
        ) {
            let teams = others.unwrap_or_else(|| organizations.clone());
            let identity = Identity { tenant_id: uuid::Uuid::from_u128(1).into(), object_id: uuid::Uuid::from_u128(2).into() };
            let user = ForwardedUser { identity, email, display_name, user_role, organizations, teams };
            let encoded = EncodedUser::encode(&user);
            let UserView { identity, email, display_name, user_role, organizations, teams } = encoded.decode();
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let all = |ids: Vec<Id<'_>>| ids.iter().map(ToString::to_string).collect();
            let (email, display_name, user_role) = (owned(email), owned(display_name), owned(user_role));
            let decoded = ForwardedUser { identity, email, display_name, user_role, organizations: all(organizations), teams: all(teams) };
            prop_assert!(decoded == user, "{:?} decodes to another user", encoded.bytes);
        }
    }
}
