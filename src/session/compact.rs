//! A person in one piece of memory: very many are remembered, and most of what they consist of are short texts.

use std::fmt;

use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::db::ForwardedUser;
use crate::domain::Identity;

/// What a [`ForwardedUser`] is, in as few bytes as that takes.
#[derive(PartialEq, Eq)]
pub(super) struct Packed {
    identity: Identity,
    /// Address, name and role; how many organizations there are, and their ids; and the teams', if those are others: both are
    /// made of the same groups. Each text stands behind its length, or is [`NUMBER`] and what a UUID is.
    texts: Box<[u8]>,
}

/// In place of a length: an id that is a number, of sixteen bytes; no text at all, or the same list as before; or the length
/// is in the next eight bytes.
const NUMBER: u8 = 253;
const NONE: u8 = 254;
const LONG: u8 = 255;

impl Packed {
    pub(super) fn new(caller: &ForwardedUser) -> Self {
        let mut texts = Vec::new();
        for text in [&caller.email, &caller.display_name, &caller.user_role] {
            match text {
                Some(text) => put(&mut texts, text),
                None => texts.push(NONE),
            }
        }
        put_all(&mut texts, &caller.organizations);
        if caller.teams == caller.organizations {
            texts.push(NONE);
        } else {
            put_all(&mut texts, &caller.teams);
        }
        Self { identity: caller.identity, texts: texts.into() }
    }

    pub(super) fn read(&self) -> CompactUser<'_> {
        let mut rest = &*self.texts;
        let mut text = || take(&mut rest);
        let (email, display_name, user_role) = (text(), text(), text());
        let mut ids = || {
            let count = take_length(&mut rest)?;
            Some((0..count).filter_map(|_| take_id(&mut rest)).collect::<Vec<_>>())
        };
        let organizations = ids().unwrap_or_default();
        let teams = ids().unwrap_or_else(|| organizations.clone());
        CompactUser { identity: self.identity, email, display_name, user_role, organizations, teams }
    }

    /// Bytes in memory, about.
    pub(super) fn weight(&self) -> usize {
        self.texts.len() + 160
    }
}

/// The person again, without copies.
pub struct CompactUser<'a> {
    pub identity: Identity,
    pub email: Option<&'a str>,
    pub display_name: Option<&'a str>,
    pub user_role: Option<&'a str>,
    /// Ids, sorted.
    pub organizations: Vec<Id<'a>>,
    /// Ids, sorted.
    pub teams: Vec<Id<'a>>,
}

/// The id of an organization or a team. Nearly all are those of groups, which are numbers.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Id<'a> {
    /// What is written in the usual way, in small letters.
    Number(Uuid),
    Text(&'a str),
}

impl<'a> Id<'a> {
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        let number = Uuid::try_parse(text).ok().map(Id::Number);
        number.filter(|number| number.written(&mut [0; 36]) == text).unwrap_or(Id::Text(text))
    }

    /// As it is in the database; `room` is where it may be written.
    #[must_use]
    pub fn written<'b>(&self, room: &'b mut [u8; 36]) -> &'b str
    where
        'a: 'b,
    {
        match self {
            Id::Number(number) => number.hyphenated().encode_lower(room),
            Id::Text(text) => text,
        }
    }
}

impl fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.written(&mut [0; 36]))
    }
}

impl Serialize for Id<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.written(&mut [0; 36]))
    }
}

fn put_all(texts: &mut Vec<u8>, ids: &[String]) {
    put_length(texts, ids.len());
    for id in ids {
        match Id::parse(id) {
            Id::Number(number) => {
                texts.push(NUMBER);
                texts.extend_from_slice(number.as_bytes());
            }
            Id::Text(text) => put(texts, text),
        }
    }
}

fn put(texts: &mut Vec<u8>, text: &str) {
    put_length(texts, text.len());
    texts.extend_from_slice(text.as_bytes());
}

fn put_length(texts: &mut Vec<u8>, length: usize) {
    match u8::try_from(length) {
        Ok(length) if length < NUMBER => texts.push(length),
        _ => {
            texts.push(LONG);
            texts.extend_from_slice(&length.to_le_bytes());
        }
    }
}

fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = take_length(rest)?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

fn take_id<'a>(rest: &mut &'a [u8]) -> Option<Id<'a>> {
    let Some((&NUMBER, after)) = rest.split_first() else { return take(rest).map(Id::Text) };
    let (number, after) = after.split_first_chunk()?;
    *rest = after;
    Some(Id::Number(Uuid::from_bytes(*number)))
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

    /// Any text, and what is a UUID or nearly one.
    fn id() -> impl Strategy<Value = String> {
        prop_oneof![
            ".{0,300}",
            "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "(\\{|urn:uuid:)?[0-9a-fA-F]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\\}?",
        ]
    }

    #[test]
    fn the_id_of_a_group_takes_as_few_bytes_as_it_has() {
        let caller = |ids: &[&str]| {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            let identity = Identity { tenant_id: Uuid::nil().into(), object_id: Uuid::nil().into() };
            let (email, display_name, user_role) = (None, None, None);
            ForwardedUser { identity, email, display_name, user_role, organizations: ids.clone(), teams: ids }
        };
        let bytes = |ids: &[&str]| Packed::new(&caller(ids)).texts.len();
        let none = bytes(&[]);
        assert_eq!(bytes(&["9f1408cf-cb91-4d29-a01a-7a1d6e2e7a51"]) - none, 17);
        assert_eq!(
            bytes(&["9F1408CF-CB91-4D29-A01A-7A1D6E2E7A51"]) - none,
            37,
            "large letters are to stay as they are"
        );
    }

    proptest! {
        #[test]
        fn what_was_packed_is_read_as_it_was(
            email in proptest::option::of(".{0,300}"),
            display_name in proptest::option::of(".{0,9}"),
            user_role in proptest::option::of("[a-z_]{0,9}"),
            organizations in proptest::collection::vec(id(), 0..300),
            others in proptest::option::of(proptest::collection::vec(id(), 0..9)),
        ) {
            let teams = others.unwrap_or_else(|| organizations.clone());
            let identity = Identity { tenant_id: uuid::Uuid::from_u128(1).into(), object_id: uuid::Uuid::from_u128(2).into() };
            let caller = ForwardedUser { identity, email, display_name, user_role, organizations, teams };
            let packed = Packed::new(&caller);
            let CompactUser { identity, email, display_name, user_role, organizations, teams } = packed.read();
            let owned = |text: Option<&str>| text.map(str::to_owned);
            let all = |ids: Vec<Id<'_>>| ids.iter().map(ToString::to_string).collect();
            let (email, display_name, user_role) = (owned(email), owned(display_name), owned(user_role));
            let read = ForwardedUser { identity, email, display_name, user_role, organizations: all(organizations), teams: all(teams) };
            prop_assert!(read == caller, "{:?} became something else", packed.texts);
        }
    }
}
