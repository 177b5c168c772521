//! Guards: what is kept although Entra no longer gives it (rules 15 and 16).

use entraway::entra_facts::AccountState;
use entraway::reconciliation::KeptBecause;

use super::{Scene, failed, group, user};

fn removed(scene: &Scene) -> Vec<entraway::domain::ObjectId> {
    scene.plan().changes.into_iter().map(|change| change.user).collect()
}

#[test]
fn one_of_two_leaving_admins_is_kept() {
    let mut scene = Scene::new().with_group(1, &[1, 2, 3], &[]);
    scene.make_admin(1, 1);
    scene.make_admin(1, 2);
    assert_eq!(removed(&scene), [user(2), user(3)]);
    assert_eq!(scene.kept(), [(user(1), KeptBecause::LastAdmin)]);
}

#[test]
fn admin_without_enabled_account_does_not_replace_the_last() {
    for (state, kept) in [
        (AccountState::Enabled, false),
        (AccountState::Disabled, true),
        (AccountState::SoftDeleted, true),
        (AccountState::Deleted, true),
        (AccountState::Unknown(failed("graph_forbidden")), true),
    ] {
        let mut scene = Scene::new().with_group(1, &[1, 2], &[2]);
        scene.make_admin(1, 1);
        scene.make_admin(1, 9);
        scene.facts.accounts.insert(user(9), state.clone());
        assert_eq!(removed(&scene).is_empty(), kept, "the other administrator is {state:?}");
    }
}

#[test]
fn enabled_admin_is_kept_before_a_deleted_one() {
    let mut scene = Scene::new().with_group(1, &[1, 2, 3], &[3]);
    scene.make_admin(1, 1);
    scene.make_admin(1, 2);
    scene.facts.accounts.insert(user(1), AccountState::Deleted);
    assert_eq!(removed(&scene), [user(1)]);
    assert_eq!(scene.kept(), [(user(2), KeptBecause::LastAdmin)]);
}

#[test]
fn last_admin_of_an_organization_is_kept() {
    let mut scene = Scene::new().with_group(1, &[1, 2], &[2]);
    let id = group(1).to_string();
    scene.put_in_organization(&id, 1, std::slice::from_ref(&id));
    let organization = scene.stored.organizations.get_mut(&id).unwrap();
    organization.members[0].is_admin = true;
    organization.admins.insert(user(1));
    let plan = scene.plan();
    assert_eq!(plan.changes.iter().map(|change| change.target.kind).collect::<Vec<_>>(), ["team"]);
    assert_eq!((plan.kept[0].target.kind, &plan.kept[0].because), ("organization", &KeptBecause::LastAdmin));
}

#[test]
fn listed_admins_and_missing_privileges_keep_everything() {
    let mut scene = Scene::new().with_group(1, &[1, 2], &[]);
    scene.policy.admin_user_ids.insert(user(1).to_string());
    assert_eq!(removed(&scene), [user(2)]);
    assert_eq!(scene.kept(), [(user(1), KeptBecause::ListedAdmin)]);
    scene.stored.missing_privileges.push("DELETE on LiteLLM_TeamMembership".to_owned());
    assert!(removed(&scene).is_empty());
    assert_eq!(scene.kept()[1], (user(2), KeptBecause::MissingPrivileges));
}
