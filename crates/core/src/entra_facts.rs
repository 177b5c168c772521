//! What a reconciliation run knows of Entra: groups, their members, and the states of accounts. Completeness is a value per
//! group: a list is complete, or the reason why it is not is known.

use crate::domain::ObjectId;
use crate::plan::Unknown;

/// Whether a group exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupState {
    Exists {
        /// Display name, cleaned; `None` if it is hidden from the app or not visible.
        name: Option<String>,
        /// `visibility: HiddenMembership`: Graph may leave out members, so its member list is never complete.
        hidden_membership: bool,
    },
    /// `GET /groups/{id}` answered 404.
    Gone,
    Unknown(Unknown),
}

/// Members of one group that are users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberList {
    /// Every page was read.
    Complete(Members),
    /// The group does not exist: `GET /groups/{id}` answered 404. Not the same as a group without members.
    Gone,
    /// At least one page was not read. Such a list adds and removes no membership.
    Unknown(Unknown),
}

/// State of a user's account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountState {
    Enabled,
    /// `accountEnabled` is false: the user stays in all groups and cannot sign in (AADSTS50057).
    Disabled,
    /// Among the deleted items. Entra keeps the memberships for 30 days and gives them back with a restore.
    SoftDeleted,
    /// Neither among the users nor among the deleted items.
    Deleted,
    Unknown(Unknown),
}

/// A set of users, sorted, with 16 bytes for each: a run holds 100,000 memberships at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members(Box<[ObjectId]>);

impl Members {
    #[must_use]
    pub fn contains(&self, user: ObjectId) -> bool {
        self.0.binary_search(&user).is_ok()
    }

    /// All users in ascending order.
    #[must_use]
    pub fn as_slice(&self) -> &[ObjectId] {
        &self.0
    }
}

impl From<Vec<ObjectId>> for Members {
    fn from(mut users: Vec<ObjectId>) -> Self {
        users.sort_unstable();
        users.dedup();
        Self(users.into_boxed_slice())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn members_are_sorted_without_duplicates() {
        let user = |n| ObjectId::from(Uuid::from_u128(n));
        let members = Members::from([3, 1, 3, 2].map(user).to_vec());
        assert_eq!(members.as_slice(), [1, 2, 3].map(user));
        assert!(members.contains(user(2)) && !members.contains(user(4)));
    }
}
