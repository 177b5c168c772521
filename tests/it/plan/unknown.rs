//! Unknown is not empty: the effects of a list that could not be read.

use entraway::domain::UserRole;
use entraway::plan::{GroupList, Note, Plan};
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;

use super::generate::{case, config, groups, unknown};

/// Asserts that the first plan changes nothing that the second does not.
fn no_more_than(less: &Plan, more: &Plan) -> Result<(), TestCaseError> {
    let text = || format!("unknown: {less:#?}\nknown: {more:#?}");
    prop_assert!(less.organizations.keys().all(|id| more.organizations.contains_key(id)), "{}", text());
    prop_assert!(less.teams.keys().all(|id| more.teams.contains_key(id)), "{}", text());
    prop_assert!(less.add_to_teams.is_subset(&more.add_to_teams), "{}", text());
    let joins = less.add_to_organizations.iter().all(|(id, role)| more.add_to_organizations.get(id) == Some(role));
    prop_assert!(joins, "{}", text());
    let models = less.team_models.iter().all(|(id, change)| more.team_models.get(id) == Some(change));
    prop_assert!(models, "{}", text());
    // The user's own row comes from the ID token, which is known. Roles in organizations are still lowered, but not
    // below those of the known lists, which may show other teams in the organization.
    prop_assert_eq!(&less.user, &more.user, "{}", text());
    let lowered_as_far = |(id, role)| more.organization_roles.get(id).is_some_and(|known| known <= role);
    let roles = less.organization_roles.iter().all(lowered_as_far);
    prop_assert!(roles, "{}", text());
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn unknown_assigned_groups_create_and_join_nothing(case in case(), groups in groups()) {
        let plan = case.assigning(Some(unknown())).plan();
        let touched = plan.organizations.len() + plan.teams.len() + plan.add_to_organizations.len() + plan.add_to_teams.len();
        let touched = touched + plan.team_models.len();
        prop_assert_eq!(touched, 0, "without assigned groups none are created: {:#?}", plan);
        let told = plan.notes.contains(&Note::AssignedGroupsUnknown { code: "graph_throttled".into() });
        prop_assert!(told, "the record must report it: {plan:#?}");
        no_more_than(&plan, &case.assigning(Some(GroupList::Known(groups))).plan())?;
    }

    #[test]
    fn unknown_member_list_joins_nothing_but_still_creates(case in case(), groups in groups()) {
        let plan = case.being_in(unknown()).plan();
        let joined = plan.add_to_organizations.len() + plan.add_to_teams.len();
        prop_assert_eq!(joined, 0, "without the user's groups no memberships are added: {:#?}", plan);
        let told = plan.notes.contains(&Note::MemberOfUnknown { code: "graph_throttled".into() });
        prop_assert!(told, "the record must report it: {plan:#?}");
        let known = case.being_in(GroupList::Known(groups)).plan();
        no_more_than(&plan, &known)?;
        prop_assert!(plan.teams.keys().eq(known.teams.keys()), "created teams do not depend on the user's groups");
        prop_assert!(plan.organizations.keys().eq(known.organizations.keys()), "nor do created organizations");
    }

    #[test]
    fn unknown_list_raises_no_organization_role(case in case()) {
        for case in [case.assigning(Some(unknown())), case.being_in(unknown())] {
            let plan = case.plan();
            for (id, role) in &plan.organization_roles {
                let before = case.current.organization_members[id].user_role.as_deref().and_then(UserRole::parse);
                prop_assert!(before > Some(*role), "{before:?} became {role} in {id}: {plan:#?}");
            }
        }
    }

    #[test]
    fn empty_or_unknown_assigned_list_has_no_effective_groups(case in case()) {
        for assigned in [unknown(), GroupList::Known([].into())] {
            let case = case.assigning(Some(assigned));
            prop_assert!(case.directory.effective_groups().is_empty(), "{:?} has effective groups", case.directory);
            prop_assert_ne!(case.directory.in_assigned_group(), Some(true), "{:?}", case.directory);
        }
    }

    #[test]
    fn in_assigned_group_is_unknown_if_a_list_is_unknown(case in case()) {
        let assigned = case.assigning(Some(unknown()));
        prop_assert_eq!(assigned.directory.in_assigned_group(), None);
        prop_assert!(assigned.directory.unknown().is_some());
        let member_of = case.being_in(unknown());
        prop_assert_eq!(member_of.directory.in_assigned_group(), None);
        prop_assert!(member_of.directory.unknown().is_some());
        let not_configured = case.assigning(None).being_in(GroupList::Known([].into()));
        prop_assert_eq!(not_configured.directory.unknown(), None, "no service principal is no unknown list");
    }

    #[test]
    fn in_assigned_group_is_false_without_service_principal(case in case(), groups in groups()) {
        let case = case.assigning(None).being_in(GroupList::Known(groups));
        prop_assert_eq!(case.directory.in_assigned_group(), Some(false), "{:?}", case.directory);
    }
}
