//! Which accounts are disabled and restored, and which are read one by one.

use std::collections::BTreeSet;

use entraway::domain::{Identity, ObjectId};
use entraway::entra_facts::{AccountState, MemberList, Members};
use entraway::reconciliation::{
    AccountAction, DisabledAccount, DisabledCause, Snapshot, StoredAccounts, accounts_to_check, plan_accounts,
};
use serde_json::json;
use uuid::Uuid;

use super::{Scene, failed, group, tenant, user};

fn identity(n: u8) -> Identity {
    Identity { tenant_id: tenant(), object_id: user(n) }
}

fn disable(n: u8, cause: DisabledCause) -> (ObjectId, AccountAction) {
    (user(n), AccountAction::Disable { cause })
}

/// Accounts that an earlier run disabled.
fn before(cause: DisabledCause, has_access: bool, users: &[u8]) -> StoredAccounts {
    let account = DisabledAccount { tenant_id: tenant(), cause, has_access };
    StoredAccounts { disabled: users.iter().map(|n| (user(*n), account)).collect(), ..StoredAccounts::default() }
}

/// A group with the members 1 to 3, of whom these are disabled or hidden.
fn scene(disabled: &[u8], hidden: &[u8]) -> Scene {
    let mut scene = Scene::new().with_group(1, &[1, 2, 3], &[]);
    scene.facts.accounts.clear();
    list(&mut scene, 1, disabled, hidden);
    scene
}

fn list(scene: &mut Scene, number: u8, disabled: &[u8], hidden: &[u8]) {
    let users = |numbers: &[u8]| numbers.iter().map(|n| user(*n)).collect();
    let members = Members::new(users(&[1, 2, 3]), users(disabled), users(hidden));
    scene.facts.members.insert(group(number), MemberList::Complete(members));
}

fn snapshot(scene: &Scene) -> Snapshot {
    Snapshot::from([(tenant(), scene.facts.clone())])
}

fn changes(scene: &Scene, accounts: &StoredAccounts) -> Vec<(ObjectId, AccountAction)> {
    let changes = plan_accounts(&snapshot(scene), &scene.stored, accounts);
    changes.into_iter().map(|change| (change.user.object_id, change.action)).collect()
}

fn checked(scene: &Scene, accounts: &StoredAccounts) -> BTreeSet<ObjectId> {
    accounts_to_check(&scene.stored, accounts, tenant(), &snapshot(scene), 0)
}

#[test]
fn listed_disabled_account_is_disabled() {
    let scene = scene(&[2], &[3]);
    assert_eq!(changes(&scene, &StoredAccounts::default()), [disable(2, DisabledCause::Disabled)]);
    assert_eq!(checked(&scene, &StoredAccounts::default()), [].into(), "the lists show the others");
}

#[test]
fn states_that_are_read_one_by_one_count() {
    let mut scene = scene(&[], &[]);
    let states = [
        AccountState::Disabled,
        AccountState::SoftDeleted,
        AccountState::Deleted,
        AccountState::Unknown(failed("graph_forbidden")),
        AccountState::Enabled,
    ];
    for (n, state) in (4..).zip(states) {
        scene.know(n);
        scene.facts.accounts.insert(user(n), state);
    }
    let expected = [
        disable(4, DisabledCause::Disabled),
        disable(5, DisabledCause::SoftDeleted),
        disable(6, DisabledCause::Deleted),
    ];
    assert_eq!(changes(&scene, &StoredAccounts::default()), expected);
}

#[test]
fn users_who_never_signed_in_are_left_alone() {
    let mut scene = scene(&[2, 3], &[]);
    scene.stored.users.clear();
    let accounts = StoredAccounts { sessions: [identity(3)].into(), ..StoredAccounts::default() };
    assert_eq!(changes(&scene, &accounts), [disable(3, DisabledCause::Disabled)]);
}

#[test]
fn later_answer_decides_if_lists_disagree() {
    let mut scene = scene(&[1, 2, 3], &[]);
    list(&mut scene, 2, &[3], &[]);
    let none = StoredAccounts::default();
    assert_eq!(checked(&scene, &none), [user(1), user(2)].into());
    assert_eq!(changes(&scene, &none), [disable(3, DisabledCause::Disabled)]);
    scene.facts.accounts.insert(user(1), AccountState::Disabled);
    scene.facts.accounts.insert(user(2), AccountState::Enabled);
    let expected = [disable(1, DisabledCause::Disabled), disable(3, DisabledCause::Disabled)];
    assert_eq!(changes(&scene, &none), expected);
}

#[test]
fn disabled_account_is_done_once() {
    let scene = scene(&[1], &[]);
    let again = [disable(1, DisabledCause::Disabled)];
    assert_eq!(changes(&scene, &before(DisabledCause::Disabled, false, &[1])), []);
    assert_eq!(changes(&scene, &before(DisabledCause::Disabled, true, &[1])), again, "its row gives access");
    assert_eq!(changes(&scene, &before(DisabledCause::SoftDeleted, false, &[1])), again, "for another cause");
    let sessions = [identity(1)].into();
    let accounts = StoredAccounts { sessions, ..before(DisabledCause::Disabled, false, &[1]) };
    assert_eq!(changes(&scene, &accounts), again, "it has a session");
}

#[test]
fn only_a_known_enabled_account_is_restored() {
    let mut scene = scene(&[2], &[3]);
    scene.facts.accounts.insert(user(4), AccountState::Enabled);
    scene.facts.accounts.insert(user(5), AccountState::Unknown(failed("graph_throttled")));
    let accounts = before(DisabledCause::Disabled, false, &[1, 2, 3, 4, 5, 6]);
    assert_eq!(changes(&scene, &accounts), [(user(1), AccountAction::Restore), (user(4), AccountAction::Restore)]);
    assert_eq!(checked(&scene, &accounts), [user(4), user(5), user(6)].into());
}

#[test]
fn active_users_outside_of_lists_are_read() {
    let mut scene = scene(&[], &[]);
    let accounts = StoredAccounts {
        sessions: [identity(1), identity(7)].into(),
        operators: [identity(8)].into(),
        ..StoredAccounts::default()
    };
    assert_eq!(checked(&scene, &accounts), [user(7), user(8)].into());
    scene.facts.members.insert(group(1), MemberList::Unknown(failed("graph_timeout")));
    let all = [user(1), user(2), user(3), user(7), user(8)].into();
    assert_eq!(checked(&scene, &accounts), all);
}

#[test]
fn other_users_are_read_in_parts() {
    let mut scene = scene(&[], &[]);
    let others: BTreeSet<ObjectId> = (0..1_000).map(|n| ObjectId::from(Uuid::from_u128(0x9_0000 + n))).collect();
    for object_id in &others {
        let identity = Identity { tenant_id: tenant(), object_id: *object_id };
        scene.stored.users.insert(*object_id, entraway::reconciliation::StoredUser { identity, name: None });
    }
    let snapshot = snapshot(&scene);
    let parts: Vec<_> = (0..3)
        .map(|sample| accounts_to_check(&scene.stored, &StoredAccounts::default(), tenant(), &snapshot, sample))
        .collect();
    assert_eq!(parts.iter().map(BTreeSet::len).collect::<Vec<_>>(), [400, 400, 200]);
    assert_eq!(parts.into_iter().flatten().collect::<BTreeSet<_>>(), others);
}

#[test]
fn json_of_a_change_names_user_action_and_cause() {
    let scene = scene(&[1], &[]);
    let changes = plan_accounts(&snapshot(&scene), &scene.stored, &StoredAccounts::default());
    let expected = json!([{
        "tenant_id": tenant(), "object_id": user(1), "user_name": null, "action": "disable", "cause": "disabled",
    }]);
    assert_eq!(json!(changes), expected);
}
