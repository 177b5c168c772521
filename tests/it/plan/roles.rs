//! The user's role: from Entra, the default, or set by hand.

use entraway::domain::{StoreKind, UserRole};
use entraway::plan::{Note, RoleChange, RoleScope, UserChange, organization_role};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::generate::{Case, another_tenant, case, config, identity};
use super::model::apply_to;

const OPERATORS: [&str; 2] = ["proxy_admin", "proxy_admin_viewer"];

/// The user's role after the sign-in, and the role from Entra.
fn afterwards(case: &Case) -> (Option<String>, Option<String>) {
    let user = apply_to(&case.current, &case.plan(), identity().tenant_id).user.unwrap();
    (user.role, user.sso_role)
}

/// The role without one from Entra. Even the default does not give an unconfirmed row an operator role.
fn fallback(case: &Case) -> UserRole {
    let default = case.policy.default_role();
    let below = |text: &Option<String>| text.as_deref().and_then(UserRole::parse) < Some(default);
    let raised = case.current.user.as_ref().is_some_and(|user| user.unconfirmed && below(&user.role));
    if raised && default.is_operator() { UserRole::InternalUserViewer } else { default.in_row(case.store) }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn user_has_the_role_granted_by_entra(case in case()) {
        let granted = case.granted();
        let withheld = granted.is_some_and(|role| case.plan().notes.contains(&Note::OperatorRoleWithheld { role }));
        let (role, sso_role) = afterwards(&case);
        if withheld {
            let given = case.policy.granted_role_below_operator(&case.person.app_roles);
            prop_assert_eq!(sso_role.as_deref(), given.map(UserRole::as_str), "without the operator role");
            return Ok(());
        }
        prop_assert_eq!(sso_role.as_deref(), granted.map(UserRole::as_str), "the role from Entra");
        if let Some(granted) = granted {
            let expected = granted.in_row(case.store);
            prop_assert_eq!(role.as_deref(), Some(expected.as_str()), "{:?}", case.person.app_roles);
        }
    }

    #[test]
    fn unconfirmed_row_is_never_raised_to_operator(mut case in case(), app_roles in vec(select(OPERATORS.to_vec()), 1..3)) {
        case.person.app_roles.extend(app_roles.into_iter().map(str::to_owned));
        let Some(user) = case.current.user.as_mut() else { return Ok(()) };
        user.unconfirmed = true;
        let before = user.role.as_deref().and_then(UserRole::parse);
        let (role, sso_role) = afterwards(&case);
        let rank = |text: &Option<String>| text.as_deref().and_then(UserRole::parse).filter(|role| role.is_operator());
        prop_assert!(rank(&role) <= before.filter(|role| role.is_operator()), "{before:?} rose to {role:?}");
        prop_assert!(rank(&sso_role) <= rank(&role), "{sso_role:?} was given, but the row has {role:?}");
    }

    #[test]
    fn operator_role_of_another_tenant_never_counts(mut case in case(), app_roles in vec(select(OPERATORS.to_vec()), 1..3)) {
        case.policy.home_tenant = Some(another_tenant());
        case.person.app_roles.extend(app_roles.into_iter().map(str::to_owned));
        if case.policy.default_role().is_operator() {
            case.policy.user_params.user_role = None;
        }
        let before = case.current.user.as_ref().and_then(|user| user.role.clone());
        let (role, sso_role) = afterwards(&case);
        let operator = |text: &Option<String>| text.as_deref().and_then(UserRole::parse).is_some_and(UserRole::is_operator);
        prop_assert!(!operator(&sso_role), "{sso_role:?} was given");
        prop_assert!(!operator(&role) || role == before, "{before:?} became {role:?}");
    }

    #[test]
    fn row_in_litellm_database_never_gets_org_admin(mut case in case()) {
        case.store = StoreKind::LiteLlm;
        let written = match case.plan().user {
            Some(UserChange::Create(new)) => Some(new.role.to_string()),
            Some(UserChange::Update(update)) => update.role,
            None => None,
        };
        prop_assert_ne!(written.as_deref(), Some("org_admin"), "LiteLLM rejects it as a global role");
    }

    #[test]
    fn role_changes_name_before_and_after(case in case()) {
        let plan = case.plan();
        let (role, sso_role) = afterwards(&case);
        let means = |role: Option<&str>, given: Option<&str>| {
            let admin = (role, given) == (Some("internal_user"), Some("org_admin")) && case.store == StoreKind::LiteLlm;
            if admin { given.map(str::to_owned) } else { role.map(str::to_owned) }
        };
        let user = case.current.user.as_ref();
        let before = user.and_then(|user| means(user.role.as_deref(), user.sso_role.as_deref()));
        let after = means(role.as_deref(), sso_role.as_deref());
        let global: Vec<_> = plan.role_changes.iter().filter(|change| change.scope == RoleScope::Global).collect();
        prop_assert_eq!(global.len(), usize::from(before != after), "{:?} became {:?}: {:#?}", before, after, global);
        for change in global {
            prop_assert_eq!((&change.before, Some(&change.after)), (&before, after.as_ref()));
        }
        for (id, role) in &plan.organization_roles {
            let change = RoleChange {
                scope: RoleScope::Organization(id.clone()),
                before: case.current.organization_members[id].user_role.clone(),
                after: role.to_string(),
            };
            prop_assert!(plan.role_changes.contains(&change), "no {change:?} in {:#?}", plan.role_changes);
        }
        let organizations = plan.role_changes.iter().filter(|change| change.scope != RoleScope::Global);
        prop_assert_eq!(organizations.count(), plan.organization_roles.len());
    }

    #[test]
    fn user_without_app_role_keeps_old_role_or_default(mut case in case()) {
        case.person.app_roles.clear();
        case.policy.admin_user_ids.clear();
        let default = fallback(&case).to_string();
        let (role, _) = afterwards(&case);
        let before = case.current.user.as_ref().and_then(|user| user.role.clone());
        prop_assert!(role == before || role.as_ref() == Some(&default), "{before:?} became {role:?}, default {default}");
        let rank = |text: &Option<String>| text.as_deref().and_then(UserRole::parse);
        prop_assert!(rank(&role) <= rank(&before).max(rank(&Some(default))), "{before:?} rose to {role:?}");
    }

    #[test]
    fn revoked_app_role_is_removed_and_manual_role_is_kept(mut case in case()) {
        case.person.app_roles.clear();
        case.policy.admin_user_ids.clear();
        let Some(user) = case.current.user.clone() else { return Ok(()) };
        let (role, sso_role) = afterwards(&case);
        let litellm = case.store == StoreKind::LiteLlm;
        let default = case.policy.default_role();
        let by_hand = user.role.as_deref().is_some_and(|role| {
            let offered = user.sso_role.as_deref() == Some(role) || user.offered_roles.contains(role);
            // In LiteLLM, an org_admin's row has internal_user. Only older versions wrote org_admin.
            let org_admin = user.sso_role.as_deref() == Some("org_admin") && role == "internal_user";
            let older = default == UserRole::OrgAdmin && role == "org_admin";
            !offered && !(litellm && (org_admin || older))
        });
        let default = Some(fallback(&case).to_string());
        prop_assert_eq!(role, if by_hand { user.role.clone() } else { default }, "{:?}", user);
        prop_assert_eq!(sso_role, None, "the role is no longer from Entra");
        let told = case.plan().notes.contains(&Note::RoleSetByHandStays);
        prop_assert_eq!(told, by_hand && user.sso_role.is_some(), "the record notes an overridden role from Entra");
    }

    #[test]
    fn organization_role_raised_where_effective_lowered_everywhere(case in case()) {
        let plan = case.plan();
        let withheld = plan.notes.iter().any(|note| matches!(note, Note::OperatorRoleWithheld { .. }));
        let below = || case.policy.granted_role_below_operator(&case.person.app_roles);
        let given = if withheld { below() } else { case.granted() };
        let role = organization_role(given.unwrap_or_else(|| case.policy.default_role()));
        let effective = case.directory.effective_groups();
        let own: Vec<String> = effective.iter().map(ToString::to_string).collect();
        let team = |group| case.current.teams.get(group).cloned().flatten();
        let others: Vec<String> = effective.iter().filter_map(team).filter(|id| !own.contains(id)).collect();
        let role_in = |id: &String| if others.contains(id) { role.min(UserRole::InternalUser) } else { role };
        for (id, joined) in &plan.add_to_organizations {
            prop_assert_eq!(*joined, role_in(id), "joining {}", id);
        }
        for (id, member) in &case.current.organization_members {
            let role = role_in(id);
            let ours = member.user_role.is_some() && member.user_role == member.sso_user_role;
            let lower = member.user_role.as_deref().and_then(UserRole::parse) > Some(role);
            let differs = member.user_role.as_deref() != Some(role.as_str());
            let effective = own.contains(id) || others.contains(id);
            let due = (ours && differs && (lower || effective)).then_some(role);
            prop_assert_eq!(plan.organization_roles.get(id).copied(), due, "membership of {}: {:?}", id, member);
        }
    }

    #[test]
    fn manual_global_role_does_not_change_organization_roles(case in case(), by_hand in select(UserRole::ALL.to_vec())) {
        let mut case = case;
        let Some(user) = case.current.user.as_mut() else { return Ok(()) };
        user.unconfirmed = false;
        let mut other = case.clone();
        let Some(user) = other.current.user.as_mut() else { return Ok(()) };
        user.role = Some(by_hand.to_string());
        prop_assert_eq!(case.plan().organization_roles, other.plan().organization_roles, "with {}", by_hand);
    }

    #[test]
    fn planned_email_is_never_cleared_and_alias_only_filled(case in case()) {
        let before = case.current.user.clone();
        let after = apply_to(&case.current, &case.plan(), identity().tenant_id).user.unwrap();
        let told = case.person.email.as_ref().map(|email| email.as_str().to_owned().into());
        let known = before.as_ref().and_then(|user| user.email.clone());
        prop_assert_eq!(after.email, told.or(known), "the newest address from Entra");
        let alias = before.and_then(|user| user.alias);
        let kept = alias.as_ref().is_some_and(|alias| !alias.trim().is_empty());
        let expected = if kept { alias } else { case.person.name.clone().or(alias) };
        prop_assert_eq!(after.alias, expected);
    }

    #[test]
    fn up_to_date_user_is_not_written(case in case()) {
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
