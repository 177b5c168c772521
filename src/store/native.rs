//! Our own tables of organizations, teams, people and memberships.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sqlx::types::Json;
use sqlx::{PgConnection, PgPool, Row as _};

use super::StoreError;
use crate::domain::{GroupId, Identity};
use crate::plan::{
    Applied, Current, CurrentOrganizationMember, CurrentUser, Failure, NewOrganization, NewTeam, Plan, Planner,
    UserChange,
};
use crate::policy::{BudgetDuration, Limits};

/// A transaction that lost a race is tried again, whole, this often.
const TRIES: usize = 4;

/// Reads what is there for one person and a set of groups: one statement, whatever the number of groups.
pub(super) async fn read(
    connection: &mut PgConnection,
    identity: Identity,
    groups: &BTreeSet<GroupId>,
) -> Result<Current, StoreError> {
    let ids: Vec<String> = groups.iter().map(ToString::to_string).collect();
    let row = sqlx::query(
        "select
            (select json_build_object('tenant_id', tenant_id, 'email', user_email, 'alias', user_alias,
                                      'role', user_role, 'sso_role', sso_user_role)
             from entraway.users where user_id = $1) as person,
            (select coalesce(array_agg(organization_id), '{}')
             from entraway.organizations where organization_id = any($2)) as organizations,
            (select coalesce(json_object_agg(team_id, organization_id), '{}')
             from entraway.teams where team_id = any($2)) as teams,
            (select coalesce(json_object_agg(organization_id,
                        json_build_object('user_role', user_role, 'sso_user_role', sso_user_role)), '{}')
             from entraway.organization_members where user_id = $1) as organization_members,
            (select coalesce(array_agg(team_id), '{}')
             from entraway.team_members where user_id = $1 and team_id = any($2)) as team_members",
    )
    .bind(identity.object_id.to_string())
    .bind(&ids)
    .fetch_one(connection)
    .await?;

    let user: Option<Json<CurrentUser>> = row.try_get("person")?;
    let organizations: Vec<String> = row.try_get("organizations")?;
    let Json(teams): Json<BTreeMap<GroupId, Option<String>>> = row.try_get("teams")?;
    let Json(organization_members): Json<BTreeMap<String, CurrentOrganizationMember>> =
        row.try_get("organization_members")?;
    let team_members: Vec<String> = row.try_get("team_members")?;
    let user = user.map(|Json(user)| user);
    if user.as_ref().is_some_and(|user| user.tenant_id != identity.tenant_id) {
        return Err(StoreError::OtherTenant);
    }
    Ok(Current {
        user,
        organizations: group_ids(&organizations),
        teams,
        organization_members,
        team_members: group_ids(&team_members),
    })
}

/// Only ids that were asked for come back, and those are GUIDs.
fn group_ids(ids: &[String]) -> BTreeSet<GroupId> {
    ids.iter().filter_map(|id| id.parse().ok()).collect()
}

/// Applies a plan in one transaction; the whole of it is tried again where it lost a race.
pub(super) async fn apply(pool: &PgPool, planner: &Planner<'_>, plan: &Plan) -> Result<Applied, StoreError> {
    let mut tries = 1;
    loop {
        match apply_once(pool, planner, plan.creates()).await {
            Err(StoreError::Unavailable(error) | StoreError::Refused(error)) if tries < TRIES && lost_race(&error) => {
                tracing::debug!(tries, "the sync's transaction lost a race and is tried again");
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

/// 40: a deadlock or serialization failure. 23503: somebody deleted, since it was read, a row that ours refers to.
fn lost_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
    code.is_some_and(|code| code.starts_with("40") || code == "23503")
}

async fn apply_once(pool: &PgPool, planner: &Planner<'_>, creates: bool) -> Result<Applied, StoreError> {
    let identity = planner.person.identity;
    let mut transaction = pool.begin().await?;
    lock(&mut transaction, creates, identity).await?;
    let current = read(&mut transaction, identity, &planner.directory.group_ids()).await?;
    let mut plan = planner.plan(&current);
    if plan.creates() && !creates {
        // Somebody deleted a group's rows since the plan was made: start over with the lock for creating.
        transaction.rollback().await?;
        return Box::pin(apply_once(pool, planner, true)).await;
    }

    let mut applied = Applied::default();
    if !plan.organizations.is_empty() {
        let rows = plan.organizations.iter().map(|(id, new)| organization_row(*id, new, planner)).collect();
        let inserted = insert_rows(&mut transaction, "entraway.organizations", "organization_id", rows).await?;
        let failed = inserted.failures("organization", |id| plan.organizations.get(&id).map(|new| new.alias.clone()));
        plan = planner.without_organizations(plan, &inserted.refused.keys().copied().collect());
        applied.organizations_created = inserted.made;
        applied.failures.extend(failed);
    }
    if !plan.teams.is_empty() {
        let rows = plan.teams.iter().map(|(id, new)| team_row(*id, new, planner)).collect();
        let inserted = insert_rows(&mut transaction, "entraway.teams", "team_id", rows).await?;
        let failed = inserted.failures("team", |id| plan.teams.get(&id).map(|new| new.alias.clone()));
        plan = planner.without_teams(plan, &inserted.refused.keys().copied().collect());
        applied.teams_created = inserted.made;
        applied.failures.extend(failed);
    }
    if plan.writes_person() {
        write_person(&mut transaction, planner, &plan, &mut applied).await?;
    }
    transaction.commit().await?;
    Ok(applied)
}

/// One lock for whoever creates organizations or teams, then one for the person; always in this order. A fixed number
/// of them: one for each group would fill Postgres' lock table in a storm of sign-ins.
async fn lock(connection: &mut PgConnection, creates: bool, identity: Identity) -> Result<(), StoreError> {
    sqlx::query(
        "select case when $1 then pg_advisory_xact_lock(hashtext('entraway.create'), 0) end,
                pg_advisory_xact_lock(hashtext('entraway.person'), hashtext($2))",
    )
    .bind(creates)
    .bind(identity.object_id.to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// The rows that were made, and those that the database refused, with its reason.
struct Inserted {
    made: BTreeSet<GroupId>,
    refused: BTreeMap<GroupId, String>,
}

impl Inserted {
    fn failures(&self, kind: &'static str, alias: impl Fn(GroupId) -> Option<String>) -> Vec<Failure> {
        let failure = |(&id, why): (&GroupId, &String)| Failure {
            kind,
            id,
            alias: alias(id).unwrap_or_default(),
            why: why.clone(),
        };
        self.refused.iter().map(failure).collect()
    }
}

/// Inserts rows as a set, and one by one only where the set was refused: see the function in the migrations.
async fn insert_rows(
    connection: &mut PgConnection,
    table: &str,
    key: &str,
    rows: Vec<Value>,
) -> Result<Inserted, StoreError> {
    let outcome: Vec<(String, Option<String>)> =
        sqlx::query_as("select key, refused from entraway.insert_rows($1::text::regclass, $2, $3)")
            .bind(table)
            .bind(key)
            .bind(Value::Array(rows))
            .fetch_all(connection)
            .await?;
    let mut inserted = Inserted { made: BTreeSet::new(), refused: BTreeMap::new() };
    for (id, refused) in outcome {
        let Ok(id) = id.parse() else { continue };
        match refused {
            None => _ = inserted.made.insert(id),
            Some(why) => _ = inserted.refused.insert(id, why),
        }
    }
    Ok(inserted)
}

fn organization_row(id: GroupId, new: &NewOrganization, planner: &Planner<'_>) -> Value {
    let mut row = json!({
        "organization_id": id, "organization_alias": new.alias, "models": new.models,
        "budget_reset_at": new.budget_reset_at, "created_at": planner.now, "updated_at": planner.now,
    });
    put_limits(&mut row, &new.limits);
    row
}

fn team_row(id: GroupId, new: &NewTeam, planner: &Planner<'_>) -> Value {
    let mut row = json!({
        "team_id": id, "team_alias": new.alias, "organization_id": new.in_organization.then_some(id),
        "models": new.models, "budget_reset_at": new.budget_reset_at,
        "created_at": planner.now, "updated_at": planner.now,
    });
    put_limits(&mut row, &new.limits);
    row
}

fn put_limits(row: &mut Value, limits: &Limits) {
    row["max_budget"] = json!(limits.max_budget);
    row["budget_duration"] = json!(limits.budget_duration.as_ref().map(BudgetDuration::as_str));
    row["tpm_limit"] = json!(limits.tpm_limit);
    row["rpm_limit"] = json!(limits.rpm_limit);
}

/// The person's own rows: made or refreshed, and their memberships; one statement.
async fn write_person(
    connection: &mut PgConnection,
    planner: &Planner<'_>,
    plan: &Plan,
    applied: &mut Applied,
) -> Result<(), StoreError> {
    let identity = planner.person.identity;
    let (new_person, changes) = person_columns(plan);
    let join: Vec<String> = plan.join_organizations.keys().map(ToString::to_string).collect();
    let join_roles: Vec<&str> = plan.join_organizations.values().map(|role| role.as_str()).collect();
    let new_roles_of: Vec<&String> = plan.organization_roles.keys().collect();
    let new_roles: Vec<&str> = plan.organization_roles.values().map(|role| role.as_str()).collect();
    let teams: Vec<String> = plan.join_teams.iter().map(ToString::to_string).collect();

    let row = sqlx::query(
        "with made_user as (
            insert into entraway.users (user_id, tenant_id, object_id, user_email, user_alias, user_role, sso_user_role,
                                        models, max_budget, budget_duration, budget_reset_at, metadata,
                                        created_at, updated_at)
            select $1, $2, $3, n.user_email, n.user_alias, n.user_role, n.sso_user_role, n.models, n.max_budget,
                   n.budget_duration, n.budget_reset_at, '{\"auth_provider\": \"microsoft\"}', $4, $4
            from jsonb_to_record($5) as n(user_email text, user_alias text, user_role text, sso_user_role text,
                models text[], max_budget double precision, budget_duration text, budget_reset_at timestamptz)
            where $5 is not null
            on conflict do nothing
            returning 1
        ), changed_user as (
            update entraway.users u
            set user_email = coalesce($6 ->> 'user_email', u.user_email),
                user_alias = coalesce($6 ->> 'user_alias', u.user_alias),
                user_role = coalesce($6 ->> 'user_role', u.user_role),
                sso_user_role = case when $6 ? 'sso_user_role' then $6 ->> 'sso_user_role' else u.sso_user_role end,
                updated_at = $4
            where u.user_id = $1 and u.tenant_id = $2 and $6 is not null
            returning 1
        ), joined_organizations as (
            insert into entraway.organization_members
                   (user_id, organization_id, user_role, sso_user_role, source, created_at, updated_at)
            select $1, m.id, m.role, m.role, 'entra', $4, $4 from unnest($7::text[], $8::text[]) as m(id, role)
            on conflict do nothing
            returning organization_id
        ), changed_roles as (
            update entraway.organization_members o
            set user_role = m.role, sso_user_role = m.role, updated_at = $4
            from unnest($9::text[], $10::text[]) as m(id, role)
            where o.user_id = $1 and o.organization_id = m.id
            returning 1
        ), joined_teams as (
            insert into entraway.team_members (user_id, team_id, role, source, created_at)
            select $1, id, 'user', 'entra', $4 from unnest($11::text[]) as m(id)
            on conflict do nothing
            returning team_id
        )
        select exists (select from made_user) as user_created,
               exists (select from changed_user) or exists (select from changed_roles) as user_updated,
               (select coalesce(array_agg(organization_id), '{}') from joined_organizations) as organizations,
               (select coalesce(array_agg(team_id), '{}') from joined_teams) as teams",
    )
    .bind(identity.object_id.to_string())
    .bind(identity.tenant_id.as_uuid())
    .bind(identity.object_id.as_uuid())
    .bind(planner.now)
    .bind(new_person)
    .bind(changes)
    .bind(join)
    .bind(join_roles)
    .bind(new_roles_of)
    .bind(new_roles)
    .bind(teams)
    .fetch_one(connection)
    .await?;
    applied.user_created = row.try_get("user_created")?;
    applied.user_updated = row.try_get("user_updated")?;
    applied.organizations_joined = group_ids(&row.try_get::<Vec<String>, _>("organizations")?);
    applied.teams_joined = group_ids(&row.try_get::<Vec<String>, _>("teams")?);
    Ok(())
}

/// The columns of a new person, or those that change of a known one.
fn person_columns(plan: &Plan) -> (Option<Value>, Option<Value>) {
    match &plan.user {
        None => (None, None),
        Some(UserChange::Create(new)) => {
            let row = json!({
                "user_email": new.email, "user_alias": new.alias, "user_role": new.role, "sso_user_role": new.sso_role,
                "models": new.models, "max_budget": new.limits.max_budget,
                "budget_duration": new.limits.budget_duration.as_ref().map(BudgetDuration::as_str),
                "budget_reset_at": new.budget_reset_at,
            });
            (Some(row), None)
        }
        Some(UserChange::Update(update)) => {
            let mut row = json!({ "user_email": update.email, "user_alias": update.alias });
            if let Some((role, sso_role)) = &update.role {
                row["user_role"] = json!(role);
                row["sso_user_role"] = json!(sso_role);
            }
            (None, Some(row))
        }
    }
}
