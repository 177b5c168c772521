//! Model of the store: applies a plan in memory.

use entraway::domain::{TenantId, UserRole};
use entraway::plan::{Current, CurrentOrganizationMember, CurrentTeamModels, CurrentUserRow, Plan, UserChange};

/// Applies a plan. Existing rows are overwritten, so that a plan that names them does not go unnoticed.
pub(super) fn apply_to(current: &Current, plan: &Plan, tenant_id: TenantId) -> Current {
    let mut after = current.clone();
    match &plan.user {
        None => {}
        Some(UserChange::Create(new)) => {
            after.user = Some(CurrentUserRow {
                user_id: plan.user_id.clone(),
                tenant_id: Some(tenant_id),
                email: new.email.as_ref().map(|email| email.as_str().to_owned().into()),
                alias: new.alias.clone(),
                role: Some(new.role.to_string()),
                sso_role: new.granted.role.map(text),
                offered_roles: new.granted.offered.iter().copied().map(text).collect(),
                unconfirmed: false,
                withheld_role: new.granted.withheld.map(text),
            });
        }
        Some(UserChange::Update(update)) => {
            let user = after.user.as_mut().expect("only an existing user is updated");
            if update.adopted {
                user.tenant_id = Some(tenant_id);
                // The stored roles were the previous owner's and are removed with the change of owner.
                (user.sso_role, user.withheld_role) = (None, None);
                user.offered_roles.clear();
            }
            if let Some(email) = &update.email {
                user.email = Some(email.as_str().to_owned().into());
            }
            if let Some(alias) = &update.alias {
                user.alias = Some(alias.clone());
            }
            if let Some(role) = &update.role {
                user.role = Some(role.clone());
            }
            if let Some(given) = &update.granted {
                (user.sso_role, user.withheld_role) = (given.role.map(text), given.withheld.map(text));
                user.offered_roles = given.offered.iter().copied().map(text).collect();
            }
        }
    }
    after.organizations.extend(plan.organizations.keys());
    after.teams.extend(plan.teams.iter().map(|(id, team)| (*id, team.organization_id.clone())));
    for (id, team) in &plan.teams {
        let existing = after.organization_models.remove(id);
        let own = team.organization_id == Some(id.to_string());
        let organization = plan.organizations.get(id).map(|new| new.models.clone()).or(existing);
        if let Some(organization) = organization.filter(|models| own && *models != team.models) {
            let expanded = team.follows_organization.then(|| team.models.clone());
            after.team_models.insert(*id, CurrentTeamModels { models: team.models.clone(), expanded, organization });
        }
    }
    for (id, change) in &plan.team_models {
        let team = after.team_models.remove(id).expect("only the models of a team whose models are read change");
        assert_eq!((&team.models, &team.organization), (&change.from, &change.to), "the models of team {id}");
    }
    let joined = plan.add_to_organizations.iter().map(|(id, role)| (id.clone(), *role));
    let changed = plan.organization_roles.iter().map(|(id, role)| (id.clone(), *role));
    for (id, role) in joined.chain(changed) {
        let role = Some(text(role));
        after
            .organization_members
            .insert(id, CurrentOrganizationMember { user_role: role.clone(), sso_user_role: role });
    }
    after.team_members.extend(&plan.add_to_teams);
    after
}

fn text(role: UserRole) -> String {
    role.as_str().to_owned()
}
