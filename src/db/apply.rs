//! Applies a plan in one transaction: takes the locks, reads and plans again under them, and writes.
//!
//! The same for both stores; [`Tables`] is what differs.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::Query;
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Postgres, Row as _};
use uuid::Uuid;

use super::connection::DbConnection;
use super::reconciliation::{Lease, MemberLocks, check_lease};
use super::removal::{Removed, of_sign_in};
use super::{Db, DbError, audit};
use crate::domain::{EntraUser, GroupId, Redacted};
use crate::plan::{
    Applied, Current, CurrentOrganizationMember, CurrentUserRow, Failure, NewOrganization, NewTeam, Plan, PlanScope,
    Planner, UserChange, source,
};
use crate::policy::{BudgetDuration, KeysOnRemoval, Limits};

/// Maximum number of attempts for a transaction that lost a race.
const MAX_ATTEMPTS: u32 = 6;
/// The same for a single statement.
const MAX_STATEMENT_ATTEMPTS: u32 = 3;

/// The tables of one store.
pub(super) trait Tables {
    const ORGANIZATIONS: &'static str;
    const TEAMS: &'static str;

    /// Reads the current state for one user and a directory's groups, in one statement.
    async fn read(connection: &mut DbConnection, planner: &Planner<'_>) -> Result<Current, DbError>;

    /// Takes the locks that the transaction needs, always in the same order.
    async fn lock(connection: &mut DbConnection, entra_user: &EntraUser, locks: &Locks) -> Result<(), DbError>;

    /// A new organization's row, with its budget row if the store has one.
    fn organization(id: GroupId, new: &NewOrganization, planner: &Planner<'_>) -> NewRow;

    /// A new team's row, with its budget row if it has one.
    fn team(id: GroupId, new: &NewTeam, planner: &Planner<'_>) -> NewRow;

    /// Updates the models of teams and remembers that the sync wrote them, in one statement. Teams whose models have
    /// changed since are left alone. The native store never copies models.
    async fn write_team_models(
        _link: &mut DbConnection,
        _planner: &Planner<'_>,
        _plan: &Plan,
        _applied: &mut Applied,
    ) -> Result<(), DbError> {
        Ok(())
    }

    /// Creates or updates the user's own row and adds the memberships, in one statement.
    async fn write_user(
        connection: &mut DbConnection,
        planner: &Planner<'_>,
        plan: &Plan,
        applied: &mut Applied,
    ) -> Result<(), DbError>;

    /// The end of a statement that removes memberships and blocks the keys of their teams. It begins with the common table
    /// expressions `parameters`, `leaving` and `leaving_organizations`, and returns the columns of [`Removed`].
    fn removal(keys: KeysOnRemoval) -> String;

    /// The memberships that a reconciliation removes, as the common table expressions that [`removal`](Self::removal) needs,
    /// after `wanted` (see [`reconciliation`](super::reconciliation)): those that are still as the plan says.
    const LEAVING: &'static str;

    /// Takes the locks for removing members of one team or organization, in the order of a sign-in.
    async fn lock_members(connection: &mut DbConnection, locks: &MemberLocks<'_>) -> Result<(), DbError>;

    /// Restores blocked keys, in one statement. The native store has no keys.
    async fn restore_keys(
        _connection: &mut DbConnection,
        _planner: &Planner<'_>,
        _plan: &Plan,
        _applied: &mut Applied,
    ) -> Result<(), DbError> {
        Ok(())
    }
}

/// What a transaction writes, and so has to lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Locks {
    /// Organizations or teams are created.
    pub(super) creates: bool,
    /// An administrator is removed: the others are counted under this lock, so that not all of them go at once.
    pub(super) admins: bool,
    /// Teams whose rosters or models change.
    pub(super) teams: BTreeSet<String>,
}

impl Locks {
    fn of(plan: &Plan) -> Self {
        let groups = plan.add_to_teams.iter().chain(plan.team_models.keys()).map(ToString::to_string);
        Self {
            creates: plan.creates(),
            admins: plan.removes_admin(),
            teams: groups.chain(plan.remove_from_teams.keys().cloned()).collect(),
        }
    }

    fn cover(&self, other: &Self) -> bool {
        self.creates >= other.creates && self.admins >= other.admins && self.teams.is_superset(&other.teams)
    }
}

/// A row to insert (only columns without a default), and the budget row that must exist before it.
pub(super) struct NewRow {
    pub(super) row: Value,
    pub(super) budget: Option<Value>,
}

enum Outcome {
    Done(Box<Applied>),
    /// The new plan writes more than the locks cover.
    MissingLocks(Locks),
}

/// Applies a plan in one transaction; retries the whole transaction if it loses a race. A run writes only under its lease.
pub(super) async fn apply<T: Tables>(
    db: &Db,
    planner: &Planner<'_>,
    plan: &Plan,
    lease: Option<Lease>,
) -> Result<Applied, DbError> {
    let mut locks = Locks::of(plan);
    let mut retries = 0;
    loop {
        match apply_once::<T>(db, planner, &locks, lease).await {
            Ok(Outcome::Done(applied)) => return Ok(Applied { retries, ..*applied }),
            Ok(Outcome::MissingLocks(more)) => {
                locks.creates |= more.creates;
                locks.admins |= more.admins;
                locks.teams.extend(more.teams);
            }
            Err(error) if should_retry_transaction(&mut retries, &error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether a transaction that failed lost a race and should run again, at most [`MAX_ATTEMPTS`] times in all.
pub(super) fn should_retry_transaction(retries: &mut u32, error: &DbError) -> bool {
    let retry = *retries + 1 < MAX_ATTEMPTS
        && matches!(error, DbError::Unavailable(error) | DbError::Refused(error) if lost_race(error));
    if retry {
        *retries += 1;
        tracing::debug!(retries, "sync transaction lost a race; retrying");
    }
    retry
}

/// Whether another transaction won a race. 40: deadlock or serialization failure. 23503: a referenced row was deleted
/// after it was read. 23505: the user's row was created concurrently. `RowNotFound`: a row to update was deleted.
fn lost_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
    matches!(error, sqlx::Error::RowNotFound)
        || code.is_some_and(|code| code.starts_with("40") || code == "23503" || code == "23505")
}

/// Whether a single statement lost a race and should run again, at most [`MAX_STATEMENT_ATTEMPTS`] times in all.
pub(super) fn should_retry<T>(attempts: &mut u32, outcome: &Result<T, DbError>) -> bool {
    *attempts += 1;
    *attempts < MAX_STATEMENT_ATTEMPTS && matches!(outcome, Err(DbError::Unavailable(error)) if lost_race(error))
}

async fn apply_once<T: Tables>(
    db: &Db,
    planner: &Planner<'_>,
    locks: &Locks,
    lease: Option<Lease>,
) -> Result<Outcome, DbError> {
    let mut transaction = db.begin().await?;
    if let Some(lease) = lease {
        check_lease(&mut transaction, lease).await?;
    }
    T::lock(&mut transaction, planner.entra_user, locks).await?;
    let current = T::read(&mut transaction, planner).await?;
    let mut plan = planner.plan(&current);
    let needed = Locks::of(&plan);
    if !locks.cover(&needed) {
        // Rows were deleted since the plan was made: start over with more locks.
        transaction.inner.rollback().await?;
        return Ok(Outcome::MissingLocks(needed));
    }

    let mut applied = Applied { user_id: plan.user_id.clone(), ..Applied::default() };
    if !plan.organizations.is_empty() {
        let rows = plan.organizations.iter().map(|(id, new)| T::organization(*id, new, planner)).collect();
        let inserted = insert_rows(&mut transaction, T::ORGANIZATIONS, "organization", rows, None).await?;
        plan = planner.without_organizations(plan, &inserted.rejected());
        applied.organizations_created = inserted.created;
        applied.failures.extend(inserted.failures);
    }
    if !plan.teams.is_empty() {
        let rows = plan.teams.iter().map(|(id, new)| T::team(*id, new, planner)).collect();
        let follows = plan.teams.iter().filter(|(_, new)| new.follows_organization);
        let expanded = follows.map(|(id, new)| (id.to_string(), json!(new.models))).collect();
        let provenance = TeamProvenance { planner, rejected: &applied.failures, expanded };
        let inserted = insert_rows(&mut transaction, T::TEAMS, "team", rows, Some(provenance)).await?;
        plan = planner.without_teams(plan, &inserted.rejected());
        applied.teams_created = inserted.created;
        applied.failures.extend(inserted.failures);
    }
    if !plan.team_models.is_empty() {
        T::write_team_models(&mut transaction, planner, &plan, &mut applied).await?;
    }
    if plan.writes_user() {
        T::write_user(&mut transaction, planner, &plan, &mut applied).await?;
    }
    if plan.removes() {
        write_removals::<T>(&mut transaction, planner, &plan, &mut applied).await?;
    }
    if !plan.restore_keys.is_empty() {
        T::restore_keys(&mut transaction, planner, &plan, &mut applied).await?;
    }
    audit::insert(&mut transaction, planner.now, &planner.audit_events(&plan, &applied), None).await?;
    transaction.inner.commit().await?;
    Ok(Outcome::Done(Box::new(Applied { notes: plan.notes, role_changes: plan.role_changes, ..applied })))
}

/// Removes the user's memberships, and blocks the keys of the teams, in one statement.
async fn write_removals<T: Tables>(
    connection: &mut DbConnection,
    planner: &Planner<'_>,
    plan: &Plan,
    applied: &mut Applied,
) -> Result<(), DbError> {
    let sql = of_sign_in!().to_owned() + &T::removal(planner.policy.keys_on_removal);
    let row = sqlx::query(AssertSqlSafe(sql))
        .bind(plan.user_id.as_str())
        .bind(plan.remove_from_teams.keys().collect::<Vec<_>>())
        .bind(plan.remove_from_organizations.keys().collect::<Vec<_>>())
        .bind(planner.entra_user.identity.object_id.to_string())
        .bind(planner.now)
        .bind(planner.run_id)
        .fetch_one(connection)
        .await?;
    Removed::read(&row)?.add_to(applied);
    Ok(())
}

/// Rows that were created, and those that the database rejected.
struct Inserted {
    created: BTreeSet<GroupId>,
    failures: Vec<Failure>,
}

impl Inserted {
    fn rejected(&self) -> BTreeSet<GroupId> {
        self.failures.iter().map(|failure| failure.id).collect()
    }
}

/// Provenance of new teams: the sign-in, the organizations that could not be created, and the models copied from the
/// organization.
struct TeamProvenance<'a> {
    planner: &'a Planner<'a>,
    rejected: &'a [Failure],
    expanded: Map<String, Value>,
}

/// Inserts rows as a set. `entraway.insert_rows` (see the migrations) falls back to single rows if the set is rejected.
async fn insert_rows(
    connection: &mut DbConnection,
    table: &str,
    kind: &'static str,
    new: Vec<NewRow>,
    provenance: Option<TeamProvenance<'_>>,
) -> Result<Inserted, DbError> {
    let (key, alias) = (format!("{kind}_id"), format!("{kind}_alias"));
    let (mut rows, mut budgets, mut aliases) = (Vec::new(), Map::new(), BTreeMap::new());
    for NewRow { row, budget } in new {
        if let (Some(id), Some(alias)) = (row[&key].as_str(), row[&alias].as_str()) {
            budgets.extend(budget.map(|budget| (id.to_owned(), budget)));
            aliases.insert(id.to_owned(), alias.to_owned());
        }
        rows.push(row);
    }
    let why = |provenance: &TeamProvenance| {
        provenance.rejected.iter().map(|failure| (failure.id.to_string(), json!(failure.why))).collect()
    };
    let outcome: Vec<(String, Option<String>)> = sqlx::query_as(
        "with inserted as materialized (
            select key, refused from entraway.insert_rows($1::text::regclass, $2, $3, $4)
         ), created as (
            insert into entraway.made_teams (team_id, made_at, organizations_on, organization_refused, expanded_models)
            select key, $5, $6, $7 ->> key,
                   case when $8 ? key then array(select jsonb_array_elements_text($8 -> key)) end
            from inserted where $7 is not null and refused is null
            on conflict (team_id) do update
            set made_at = excluded.made_at, organizations_on = excluded.organizations_on,
                organization_refused = excluded.organization_refused, expanded_models = excluded.expanded_models
         )
         select key, refused from inserted",
    )
    .bind(table)
    .bind(key)
    .bind(Value::Array(rows))
    .bind(Value::Object(budgets))
    .bind(provenance.as_ref().map(|provenance| provenance.planner.now))
    .bind(provenance.as_ref().is_some_and(|provenance| provenance.planner.policy.also_create_orgs))
    .bind(provenance.as_ref().map(|provenance| Value::Object(why(provenance))))
    .bind(provenance.as_ref().map(|provenance| Value::Object(provenance.expanded.clone())))
    .fetch_all(connection)
    .await?;
    let mut inserted = Inserted { created: BTreeSet::new(), failures: Vec::new() };
    for (key, refused) in outcome {
        let Ok(id) = key.parse() else { continue };
        match refused {
            None => _ = inserted.created.insert(id),
            Some(why) => {
                inserted.failures.push(Failure { kind, id, alias: aliases.remove(&key).unwrap_or_default(), why });
            }
        }
    }
    inserted.failures.sort_by_key(|failure| failure.id);
    Ok(inserted)
}

/// Adds the limit columns, which have the same names in every table.
pub(super) fn put_limits(row: &mut Value, limits: &Limits) {
    row["max_budget"] = json!(limits.max_budget);
    row["budget_duration"] = json!(limits.budget_duration.as_ref().map(BudgetDuration::as_str));
    row["tpm_limit"] = json!(limits.tpm_limit);
    row["rpm_limit"] = json!(limits.rpm_limit);
}

/// Binds the parameters of a store's statement that writes a user: $1 key of the row, $2 now, $3 columns of a new user,
/// $4 changed columns of an existing one (null leaves a column as it is), $5 and $6 organizations to join and roles
/// there, $7 and $8 organizations with a new role, $9 teams to join, $10 object ID, $11 tenant, $12 sources of the
/// memberships in the teams to join, $13 new sources of others by team.
pub(super) fn bind_user<'q>(
    query: Query<'q, Postgres, PgArguments>,
    planner: &Planner<'_>,
    plan: &'q Plan,
) -> Query<'q, Postgres, PgArguments> {
    let (new, changes) = match &plan.user {
        None => (None, None),
        Some(UserChange::Create(new)) => {
            let mut row = json!({
                "user_email": new.email, "user_alias": new.alias, "user_role": new.role,
                "sso_user_role": new.granted.role, "sso_user_roles": new.granted.offered,
                "withheld_role": new.granted.withheld,
                "models": new.models, "budget_reset_at": new.budget_reset_at,
            });
            put_limits(&mut row, &new.limits);
            (Some(row), None)
        }
        Some(UserChange::Update(update)) => {
            let mut row = json!({ "user_email": update.email, "user_alias": update.alias, "user_role": update.role });
            if let Some(granted) = &update.granted {
                row["sso_user_role"] = json!(granted.role);
                row["sso_user_roles"] = json!(granted.offered);
                row["withheld_role"] = json!(granted.withheld);
            }
            (None, Some(row))
        }
    };
    query
        .bind(plan.user_id.as_str())
        .bind(planner.now)
        .bind(new)
        .bind(changes)
        .bind(plan.add_to_organizations.keys().map(String::as_str).collect::<Vec<_>>())
        .bind(plan.add_to_organizations.values().map(|role| role.as_str()).collect::<Vec<_>>())
        .bind(plan.organization_roles.keys().map(String::as_str).collect::<Vec<_>>())
        .bind(plan.organization_roles.values().map(|role| role.as_str()).collect::<Vec<_>>())
        .bind(plan.add_to_teams.iter().map(ToString::to_string).collect::<Vec<_>>())
        .bind(planner.entra_user.identity.object_id.to_string())
        .bind(planner.entra_user.identity.tenant_id.as_uuid())
        .bind(plan.add_to_teams.iter().map(|group| source(&planner.policy.client_id, *group)).collect::<Vec<_>>())
        .bind(Json(&plan.sources))
}

/// Reads what a store's statement wrote for a user.
pub(super) fn written(row: &PgRow, applied: &mut Applied) -> Result<(), DbError> {
    applied.user_created = row.try_get("user_created")?;
    applied.user_updated = row.try_get("user_updated")?;
    applied.organizations_joined = row.try_get::<Vec<String>, _>("organizations")?.into_iter().collect();
    // They were sent to the database as GUIDs.
    applied.teams_joined = row.try_get::<Vec<String>, _>("teams")?.iter().filter_map(|id| id.parse().ok()).collect();
    Ok(())
}

/// How long after the start of a sync another sign-in of the user may start and still decide instead. Clocks of replicas that
/// are further apart are not compared; a run takes longer than a sign-in.
pub(super) fn superseding_period(scope: PlanScope) -> PgInterval {
    let microseconds = match scope {
        PlanScope::SignIn | PlanScope::DeniedSignIn => 60_000_000,
        PlanScope::Additions => 3_600_000_000,
    };
    PgInterval { months: 0, days: 0, microseconds }
}

/// Group IDs as bind values: Postgres parses a UUID faster than a text.
pub(super) fn uuids(ids: Vec<GroupId>) -> Vec<Uuid> {
    ids.into_iter().map(GroupId::as_uuid).collect()
}

/// Reads a store's row of current state.
///
/// Columns: `user_row`, `organizations`, `teams` with `team_organizations`, `member_organizations` with `member_roles`
/// and `member_sso_roles`, `team_members`, `same_email`, `same_sso_user_id`. As JSON objects by group, or null:
/// `organization_models`, `team_models`, `member_budget_durations`. As JSON objects by team or organization, or null:
/// `managed_teams`, `managed_organizations`. Also `can_remove`, `blocked_keys`, `can_restore_keys` and `superseded`.
pub(super) fn current(row: &PgRow) -> Result<Current, DbError> {
    let user: Option<Json<CurrentUserRow>> = row.try_get("user_row")?;
    let groups = |column| Ok::<_, sqlx::Error>(row.try_get::<Vec<Uuid>, _>(column)?.into_iter().map(GroupId::from));
    let texts = |column| row.try_get::<Vec<Option<String>>, _>(column);
    let redacted =
        |column| Ok::<_, sqlx::Error>(row.try_get::<Vec<String>, _>(column)?.into_iter().map(Redacted::from).collect());
    let member_roles = texts("member_roles")?.into_iter().zip(texts("member_sso_roles")?);
    let member = member_roles.map(|(user_role, sso_user_role)| CurrentOrganizationMember { user_role, sso_user_role });
    Ok(Current {
        user: user.map(|Json(user)| user),
        organizations: groups("organizations")?.collect(),
        organization_models: by_group(row, "organization_models")?,
        teams: groups("teams")?.zip(texts("team_organizations")?).collect(),
        team_models: by_group(row, "team_models")?,
        member_budget_durations: by_group(row, "member_budget_durations")?,
        managed_teams: by_id(row, "managed_teams")?,
        managed_organizations: by_id(row, "managed_organizations")?,
        can_remove: row.try_get::<Option<bool>, _>("can_remove")?.unwrap_or_default(),
        blocked_keys: groups("blocked_keys")?.collect(),
        can_restore_keys: row.try_get::<Option<bool>, _>("can_restore_keys")?.unwrap_or_default(),
        superseded: row.try_get("superseded")?,
        organization_members: row.try_get::<Vec<String>, _>("member_organizations")?.into_iter().zip(member).collect(),
        team_members: groups("team_members")?.collect(),
        same_email: redacted("same_email")?,
        same_sso_user_id: redacted("same_sso_user_id")?,
    })
}

/// Reads a JSON object by ID of a team or organization.
fn by_id<T: DeserializeOwned + Send + Unpin>(row: &PgRow, column: &str) -> Result<BTreeMap<String, T>, sqlx::Error> {
    let object: Option<Json<BTreeMap<String, T>>> = row.try_get(column)?;
    Ok(object.map(|Json(object)| object).unwrap_or_default())
}

/// Reads a JSON object by group. Skips lists of models that only manual SQL can have written (nulls, several
/// dimensions).
fn by_group<T: DeserializeOwned>(row: &PgRow, column: &str) -> Result<BTreeMap<GroupId, T>, sqlx::Error> {
    let object: Option<Json<BTreeMap<GroupId, Value>>> = row.try_get(column)?;
    let object = object.map(|Json(object)| object).unwrap_or_default();
    let read = |(id, value)| Some((id, serde_json::from_value(value).ok()?));
    Ok(object.into_iter().filter_map(read).collect())
}
