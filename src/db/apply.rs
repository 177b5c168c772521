//! Applying a plan: one transaction that takes the locks, reads and plans again on what they protect, and writes; the
//! same for every store. What differs between stores is `Tables`.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use uuid::Uuid;

use super::connection::DbConnection;
use super::{Store, StoreError};
use crate::domain::{EntraUser, GroupId, Redacted};
use crate::plan::{
    Applied, Current, CurrentOrganizationMember, CurrentUserRow, Directory, Failure, NewOrganization, NewTeam, Plan,
    Planner, UserChange,
};
use crate::policy::{BudgetDuration, Limits};

/// A transaction that lost a race is tried again, whole, this often.
const TRIES: u32 = 6;
/// The same for a single statement.
const STATEMENT_TRIES: u32 = 3;

/// The tables of one store.
pub(super) trait Tables {
    const ORGANIZATIONS: &'static str;
    const TEAMS: &'static str;

    /// Reads what is there for one person and a directory's groups: one statement, whatever their number.
    async fn read(link: &mut DbConnection, person: &EntraUser, directory: &Directory) -> Result<Current, StoreError>;

    /// Takes what the transaction needs of locks, always in the same order.
    async fn lock(link: &mut DbConnection, person: &EntraUser, locks: &Locks) -> Result<(), StoreError>;

    /// A new organization's row, and the budget row that it refers to, where the store has such.
    fn organization(id: GroupId, new: &NewOrganization, planner: &Planner<'_>) -> NewRow;

    /// A new team's row, and the budget row that it refers to, if any.
    fn team(id: GroupId, new: &NewTeam, planner: &Planner<'_>) -> NewRow;

    /// Gives teams new models, and remembers them as the sync's; one statement. A team that has other models by now is
    /// left alone. The native store's teams name no models.
    async fn write_team_models(
        _link: &mut DbConnection,
        _planner: &Planner<'_>,
        _plan: &Plan,
        _applied: &mut Applied,
    ) -> Result<(), StoreError> {
        Ok(())
    }

    /// The person's own rows: made or refreshed, and their memberships; one statement.
    async fn write_person(
        link: &mut DbConnection,
        planner: &Planner<'_>,
        plan: &Plan,
        applied: &mut Applied,
    ) -> Result<(), StoreError>;
}

/// What a transaction will write, and has to protect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Locks {
    /// Organizations or teams are made.
    pub(super) creates: bool,
    /// The teams whose rosters or models change.
    pub(super) teams: BTreeSet<GroupId>,
}

impl Locks {
    fn of(plan: &Plan) -> Self {
        let teams = plan.join_teams.iter().chain(plan.team_models.keys()).copied().collect();
        Self { creates: plan.creates(), teams }
    }

    fn cover(&self, other: &Self) -> bool {
        self.creates >= other.creates && self.teams.is_superset(&other.teams)
    }
}

/// A row to insert, as the columns that have no default, and one in the table of budgets that has to come first.
pub(super) struct NewRow {
    pub(super) row: Value,
    pub(super) budget: Option<Value>,
}

enum Outcome {
    Done(Box<Applied>),
    /// More has to be written than when the plan was made, and it is not protected.
    Needs(Locks),
}

/// Applies a plan in one transaction; the whole of it is tried again where it lost a race.
pub(super) async fn apply<T: Tables>(store: &Store, planner: &Planner<'_>, plan: &Plan) -> Result<Applied, StoreError> {
    let mut locks = Locks::of(plan);
    let mut retries = 0;
    loop {
        match apply_once::<T>(store, planner, &locks).await {
            Ok(Outcome::Done(applied)) => return Ok(Applied { retries, ..*applied }),
            Ok(Outcome::Needs(more)) => {
                locks.creates |= more.creates;
                locks.teams.extend(more.teams);
            }
            Err(StoreError::Unavailable(error) | StoreError::Refused(error))
                if retries + 1 < TRIES && lost_race(&error) =>
            {
                retries += 1;
                tracing::debug!(retries, "the sync's transaction lost a race and is tried again");
            }
            Err(error) => return Err(error),
        }
    }
}

/// 40: a deadlock or serialization failure. 23503: somebody deleted, since it was read, a row that ours refers to.
/// 23505: somebody else made the person's row meanwhile. `RowNotFound`: a row that is to be written to is gone.
fn lost_race(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code().map(std::borrow::Cow::into_owned));
    matches!(error, sqlx::Error::RowNotFound)
        || code.is_some_and(|code| code.starts_with("40") || code == "23503" || code == "23505")
}

/// Whether a statement that is a transaction of its own has to be run again because it lost a race: twice at most.
pub(super) fn try_again<T>(tries: &mut u32, outcome: &Result<T, StoreError>) -> bool {
    *tries += 1;
    *tries < STATEMENT_TRIES && matches!(outcome, Err(StoreError::Unavailable(error)) if lost_race(error))
}

async fn apply_once<T: Tables>(store: &Store, planner: &Planner<'_>, locks: &Locks) -> Result<Outcome, StoreError> {
    let mut transaction = store.begin().await?;
    T::lock(&mut transaction, planner.person, locks).await?;
    let current = T::read(&mut transaction, planner.person, planner.directory).await?;
    let mut plan = planner.plan(&current);
    let needed = Locks::of(&plan);
    if !locks.cover(&needed) {
        // Somebody deleted rows since the plan was made: start over with the locks for what is to be written now.
        transaction.inner.rollback().await?;
        return Ok(Outcome::Needs(needed));
    }

    let mut applied = Applied { user_id: plan.user_id.clone(), ..Applied::default() };
    if !plan.organizations.is_empty() {
        let rows = plan.organizations.iter().map(|(id, new)| T::organization(*id, new, planner)).collect();
        let inserted = insert_rows(&mut transaction, T::ORGANIZATIONS, "organization_id", rows, None).await?;
        let failed = inserted.failures("organization", |id| plan.organizations.get(&id).map(|new| new.alias.clone()));
        plan = planner.without_organizations(plan, &inserted.refused.keys().copied().collect());
        applied.organizations_created = inserted.made;
        applied.failures.extend(failed);
    }
    if !plan.teams.is_empty() {
        let rows = plan.teams.iter().map(|(id, new)| T::team(*id, new, planner)).collect();
        let follows = plan.teams.iter().filter(|(_, new)| new.follows_organization);
        let expanded = follows.map(|(id, new)| (id.to_string(), json!(new.models))).collect();
        let making = Making { planner, refused: &applied.failures, expanded };
        let inserted = insert_rows(&mut transaction, T::TEAMS, "team_id", rows, Some(making)).await?;
        let failed = inserted.failures("team", |id| plan.teams.get(&id).map(|new| new.alias.clone()));
        plan = planner.without_teams(plan, &inserted.refused.keys().copied().collect());
        applied.teams_created = inserted.made;
        applied.failures.extend(failed);
    }
    if !plan.team_models.is_empty() {
        T::write_team_models(&mut transaction, planner, &plan, &mut applied).await?;
    }
    if plan.writes_person() {
        T::write_person(&mut transaction, planner, &plan, &mut applied).await?;
    }
    transaction.inner.commit().await?;
    Ok(Outcome::Done(Box::new(Applied { notes: plan.notes, role_changes: plan.role_changes, ..applied })))
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

/// What is remembered of how teams came to be: the sign-in, the organizations that could not be made, and the models that
/// are the organization's.
struct Making<'a> {
    planner: &'a Planner<'a>,
    refused: &'a [Failure],
    expanded: Map<String, Value>,
}

/// Inserts rows as a set, and one by one only where the set was refused: see the function in the migrations.
async fn insert_rows(
    link: &mut DbConnection,
    table: &str,
    key: &str,
    new: Vec<NewRow>,
    making: Option<Making<'_>>,
) -> Result<Inserted, StoreError> {
    let (mut rows, mut budgets) = (Vec::new(), Map::new());
    for NewRow { row, budget } in new {
        if let (Some(budget), Some(id)) = (budget, row[key].as_str()) {
            budgets.insert(id.to_owned(), budget);
        }
        rows.push(row);
    }
    let why =
        |making: &Making| making.refused.iter().map(|failure| (failure.id.to_string(), json!(failure.why))).collect();
    let outcome: Vec<(String, Option<String>)> = sqlx::query_as(
        "with inserted as materialized (
            select key, refused from entraway.insert_rows($1::text::regclass, $2, $3, $4)
         ), made as (
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
    .bind(making.as_ref().map(|making| making.planner.now))
    .bind(making.as_ref().is_some_and(|making| making.planner.policy.also_create_orgs))
    .bind(making.as_ref().map(|making| Value::Object(why(making))))
    .bind(making.as_ref().map(|making| Value::Object(making.expanded.clone())))
    .fetch_all(link)
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

/// Adds the columns of limits, which have the same names in every table.
pub(super) fn put_limits(row: &mut Value, limits: &Limits) {
    row["max_budget"] = json!(limits.max_budget);
    row["budget_duration"] = json!(limits.budget_duration.as_ref().map(BudgetDuration::as_str));
    row["tpm_limit"] = json!(limits.tpm_limit);
    row["rpm_limit"] = json!(limits.rpm_limit);
}

/// Only ids that were asked for come back, and those are GUIDs.
pub(super) fn group_ids(ids: &[String]) -> BTreeSet<GroupId> {
    ids.iter().filter_map(|id| id.parse().ok()).collect()
}

/// What of a plan goes into the statement that writes a person, as it is bound.
pub(super) struct UserValues<'a> {
    /// The columns of a new person.
    pub(super) new: Option<Value>,
    /// Those that change of a known one; null where a column stays.
    pub(super) changes: Option<Value>,
    pub(super) join_organizations: Vec<&'a str>,
    pub(super) join_roles: Vec<&'a str>,
    pub(super) change_organizations: Vec<&'a str>,
    pub(super) change_roles: Vec<&'a str>,
    pub(super) join_teams: Vec<String>,
}

impl<'a> UserValues<'a> {
    pub(super) fn of(plan: &'a Plan) -> Self {
        let (new, changes) = match &plan.user {
            None => (None, None),
            Some(UserChange::Create(new)) => {
                let mut row = json!({
                    "user_email": new.email, "user_alias": new.alias, "user_role": new.role,
                    "sso_user_role": new.given.role, "sso_user_roles": new.given.offered, "withheld_role": new.given.withheld, "models": new.models, "budget_reset_at": new.budget_reset_at,
                });
                put_limits(&mut row, &new.limits);
                (Some(row), None)
            }
            Some(UserChange::Update(update)) => {
                let mut row =
                    json!({ "user_email": update.email, "user_alias": update.alias, "user_role": update.role });
                if let Some(given) = &update.given {
                    row["sso_user_role"] = json!(given.role);
                    row["sso_user_roles"] = json!(given.offered);
                    row["withheld_role"] = json!(given.withheld);
                }
                (None, Some(row))
            }
        };
        Self {
            new,
            changes,
            join_organizations: plan.join_organizations.keys().map(String::as_str).collect(),
            join_roles: plan.join_organizations.values().map(|role| role.as_str()).collect(),
            change_organizations: plan.organization_roles.keys().map(String::as_str).collect(),
            change_roles: plan.organization_roles.values().map(|role| role.as_str()).collect(),
            join_teams: plan.join_teams.iter().map(ToString::to_string).collect(),
        }
    }
}

/// As they are bound: a group's id is the text of a number, and a number is read faster.
pub(super) fn uuids(ids: Vec<GroupId>) -> Vec<Uuid> {
    ids.into_iter().map(GroupId::as_uuid).collect()
}

/// What a store's read gives: the columns `person`, `organizations`, `teams` with `team_organizations`,
/// `member_organizations` with `member_roles` and `member_sso_roles`, `team_members`, `same_email` and
/// `same_sso_user_id`; and, as JSON objects by group or null, `organization_models`, `team_models` and
/// `member_budget_durations`.
pub(super) fn current(row: &PgRow) -> Result<Current, StoreError> {
    let user: Option<Json<CurrentUserRow>> = row.try_get("person")?;
    let groups = |column| Ok::<_, sqlx::Error>(row.try_get::<Vec<Uuid>, _>(column)?.into_iter().map(GroupId::from));
    let texts = |column| row.try_get::<Vec<Option<String>>, _>(column);
    let hidden =
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
        organization_members: row.try_get::<Vec<String>, _>("member_organizations")?.into_iter().zip(member).collect(),
        team_members: groups("team_members")?.collect(),
        same_email: hidden("same_email")?,
        same_sso_user_id: hidden("same_sso_user_id")?,
    })
}

/// A JSON object by group. Lists of models that nothing but SQL can have written (with nulls, or of several dimensions) are
/// left out.
fn by_group<T: DeserializeOwned>(row: &PgRow, column: &str) -> Result<BTreeMap<GroupId, T>, sqlx::Error> {
    let object: Option<Json<BTreeMap<GroupId, Value>>> = row.try_get(column)?;
    let object = object.map(|Json(object)| object).unwrap_or_default();
    let read = |(id, value)| Some((id, serde_json::from_value(value).ok()?));
    Ok(object.into_iter().filter_map(read).collect())
}
