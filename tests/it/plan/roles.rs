//! Who gets which role: Entra's word, the default, and what somebody set by hand.

use entraway::domain::UserRole;
use entraway::plan::{Note, UserChange, organization_role};
use proptest::prelude::*;

use super::generate::{Case, case, config, identity};
use super::model::apply_to;

/// The person's role after the sign-in, and the part of it that is Entra's.
fn afterwards(case: &Case) -> (Option<String>, Option<String>) {
    let user = apply_to(&case.current, &case.plan(), identity().tenant_id).user.unwrap();
    (user.role, user.sso_role)
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_entra_gives_is_what_the_person_has(case in case()) {
        let granted = case.granted();
        let (role, sso_role) = afterwards(&case);
        prop_assert_eq!(sso_role.as_deref(), granted.map(UserRole::as_str), "the part that is Entra's");
        if let Some(granted) = granted {
            prop_assert_eq!(role.as_deref(), Some(granted.as_str()), "{:?}", case.person.app_roles);
        }
    }

    #[test]
    fn unless_entra_gives_a_role_nobody_gets_more_than_they_had_or_the_default(mut case in case()) {
        case.person.app_roles.clear();
        case.policy.admin_user_ids.clear();
        let default = case.policy.default_role().as_str().to_owned();
        let (role, _) = afterwards(&case);
        let before = case.current.user.as_ref().and_then(|user| user.role.clone());
        prop_assert!(role == before || role.as_ref() == Some(&default), "{before:?} became {role:?}, default {default}");
        let rank = |text: &Option<String>| text.as_deref().and_then(UserRole::parse);
        prop_assert!(rank(&role) <= rank(&before).max(rank(&Some(default))), "{before:?} rose to {role:?}");
    }

    #[test]
    fn what_entra_gave_goes_when_entra_no_longer_gives_it_and_what_was_set_by_hand_stays(mut case in case()) {
        case.person.app_roles.clear();
        case.policy.admin_user_ids.clear();
        let Some(user) = case.current.user.clone() else { return Ok(()) };
        let (role, sso_role) = afterwards(&case);
        let default = Some(case.policy.default_role().as_str().to_owned());
        let by_hand = user.role.is_some() && user.sso_role != user.role;
        prop_assert_eq!(role, if by_hand { user.role.clone() } else { default }, "{:?}", user);
        prop_assert_eq!(sso_role, None, "nothing of it is Entra's now");
        let told = case.plan().notes.contains(&Note::RoleSetByHandStays);
        prop_assert_eq!(told, by_hand && user.sso_role.is_some(), "the record tells when Entra's role was overruled");
    }

    #[test]
    fn inside_organizations_the_role_is_the_persons_and_one_set_by_hand_stays(case in case()) {
        let plan = case.plan();
        let (role, _) = afterwards(&case);
        let role = organization_role(role.as_deref().and_then(UserRole::parse).unwrap_or(UserRole::InternalUserViewer));
        for (id, joined) in &plan.join_organizations {
            prop_assert_eq!(*joined, role, "joining {}", id);
        }
        for (id, member) in &case.current.organization_members {
            let ours = member.user_role.is_some() && member.user_role == member.sso_user_role;
            let due = (ours && member.user_role.as_deref() != Some(role.as_str())).then_some(role);
            prop_assert_eq!(plan.organization_roles.get(id).copied(), due, "membership of {}: {:?}", id, member);
        }
    }

    #[test]
    fn an_address_is_never_lost_and_an_alias_only_filled_in(case in case()) {
        let before = case.current.user.clone();
        let after = apply_to(&case.current, &case.plan(), identity().tenant_id).user.unwrap();
        let told = case.person.email.as_ref().map(|email| email.as_str().to_owned().into());
        let known = before.as_ref().and_then(|user| user.email.clone());
        prop_assert_eq!(after.email, told.or(known), "the newest address that Entra told");
        let alias = before.and_then(|user| user.alias);
        let kept = alias.as_ref().is_some_and(|alias| !alias.trim().is_empty());
        let expected = if kept { alias } else { case.person.name.clone().or(alias) };
        prop_assert_eq!(after.alias, expected);
    }

    #[test]
    fn a_person_who_is_as_entra_says_is_not_touched(case in case()) {
        let plan = case.plan();
        let tenant_id = identity().tenant_id;
        let same = apply_to(&case.current, &plan, tenant_id).user == case.current.user;
        prop_assert_eq!(plan.user.is_none(), same, "{:#?}", plan.user);
        if let Some(UserChange::Create(new)) = plan.user {
            prop_assert_eq!(&new.limits, &case.policy.user_params.limits);
            prop_assert_eq!(&new.models, &case.policy.user_params.models);
            let reset = new.limits.budget_duration.as_ref().map(|duration| duration.next_reset(case.now));
            prop_assert_eq!(new.budget_reset_at, reset);
        }
    }
}
