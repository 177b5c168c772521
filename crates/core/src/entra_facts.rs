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

/// A set of users, sorted, with 16 bytes for each: a run holds 100,000 memberships at once. Only the accounts that are not
/// enabled are kept beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members {
    users: Box<[ObjectId]>,
    /// Members whose `accountEnabled` is false.
    disabled: Box<[ObjectId]>,
    /// Members whose `accountEnabled` is null: the app lacks `User.Read.All`. Their state is unknown.
    hidden: Box<[ObjectId]>,
}

impl Members {
    /// Members with the states of their accounts. `disabled` and `hidden` must be among `users`.
    #[must_use]
    pub fn new(users: Vec<ObjectId>, disabled: Vec<ObjectId>, hidden: Vec<ObjectId>) -> Self {
        Self { users: sorted(users), disabled: sorted(disabled), hidden: sorted(hidden) }
    }

    #[must_use]
    pub fn contains(&self, user: ObjectId) -> bool {
        self.users.binary_search(&user).is_ok()
    }

    /// All users in ascending order.
    #[must_use]
    pub fn as_slice(&self) -> &[ObjectId] {
        &self.users
    }

    /// Members whose accounts are disabled, in ascending order.
    #[must_use]
    pub fn disabled(&self) -> &[ObjectId] {
        &self.disabled
    }

    /// Whether the list shows that the account is enabled.
    #[must_use]
    pub fn shows_enabled(&self, user: ObjectId) -> bool {
        let listed = |list: &[ObjectId]| list.binary_search(&user).is_ok();
        listed(&self.users) && !listed(&self.disabled) && !listed(&self.hidden)
    }
}

/// Members whose accounts are enabled.
impl From<Vec<ObjectId>> for Members {
    fn from(users: Vec<ObjectId>) -> Self {
        Self::new(users, Vec::new(), Vec::new())
    }
}

fn sorted(mut users: Vec<ObjectId>) -> Box<[ObjectId]> {
    users.sort_unstable();
    users.dedup();
    users.into_boxed_slice()
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

    #[test]
    fn members_know_which_accounts_are_enabled() {
        let user = |n| ObjectId::from(Uuid::from_u128(n));
        let members = Members::new([1, 2, 3].map(user).to_vec(), vec![user(2)], vec![user(3)]);
        let shown = [1, 2, 3, 4].map(|n| members.shows_enabled(user(n)));
        assert_eq!((members.disabled(), shown), (&[user(2)][..], [true, false, false, false]));
    }
}
