//! Names of teams and organizations follow those of their groups in Entra, as long as they are the last name that the sync
//! wrote.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::apply::ApplyingRun;
use super::lease;
use crate::audit::{AuditAction, AuditActor, AuditEvent, AuditResult, AuditTarget, AuditTargetKind};
use crate::db::litellm::may_rename;
use crate::db::{Db, DbError, audit};
use crate::domain::{GroupId, StoreKind};

/// A team or organization that got its group's new name.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Renamed {
    /// `team` or `organization`.
    pub kind: String,
    pub id: String,
    pub before: String,
    pub after: String,
}

/// `entra`: the groups of $1 and their names $2. $3 is the time.
///
/// Only teams that the sync created, and their organizations. The name of one that was never written is remembered if it is
/// Entra's; a name that was changed by hand is not, until it is Entra's again.
macro_rules! rename {
    ($teams:literal, $organizations:literal, $now:literal) => {
        concat!(
            "with entra as materialized (
                select g.id, g.name, made.organizations_on from unnest($1::text[], $2::text[]) as g(id, name)
                       join entraway.made_teams made on made.team_id = g.id
             ), named as materialized (
                select 'team' as kind, e.id, e.name, t.team_alias as alias from entra e join ", $teams, " t on t.team_id = e.id
                union all
                select 'organization', e.id, e.name, o.organization_alias
                from entra e join ", $organizations, " o on o.organization_id = e.id where e.organizations_on
             ), changed as materialized (
                select n.kind, n.id, n.alias as before, n.name as after
                from named n join entraway.written_names w on w.kind = n.kind and w.id = n.id and w.name = n.alias
                where n.alias <> n.name
             ), renamed_teams as (
                update ", $teams, " t set team_alias = c.after, updated_at = ", $now, "
                from changed c where c.kind = 'team' and t.team_id = c.id and t.team_alias = c.before
             ), renamed_organizations as (
                update ", $organizations, " o set organization_alias = c.after, updated_at = ", $now, "
                from changed c where c.kind = 'organization' and o.organization_id = c.id and o.organization_alias = c.before
             ), remembered as (
                insert into entraway.written_names as w (kind, id, name)
                select kind, id, name from named where alias = name
                union all select kind, id, after from changed
                on conflict (kind, id) do update set name = excluded.name where w.name <> excluded.name
             )
             select kind, id, before, after from changed order by kind, id"
        )
    };
}

const NATIVE: &str = rename!("entraway.teams", "entraway.organizations", "$3");
const LITELLM: &str = rename!(
    r#"public."LiteLLM_TeamTable""#,
    r#"public."LiteLLM_OrganizationTable""#,
    "$3::timestamptz at time zone 'UTC'"
);

impl Db {
    /// Gives teams and organizations the new names of their groups. One short transaction. In a LiteLLM database without the
    /// privileges, names stay.
    pub async fn follow_names(
        &self,
        run: &ApplyingRun,
        names: &[(GroupId, String)],
        now: DateTime<Utc>,
    ) -> Result<Vec<Renamed>, DbError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let sql = match self.kind {
            StoreKind::Native => NATIVE,
            StoreKind::LiteLlm => LITELLM,
        };
        let mut transaction = self.begin().await?;
        if self.kind == StoreKind::LiteLlm && !may_rename(&mut transaction).await? {
            return Ok(Vec::new());
        }
        lease::check(&mut transaction, run.lease).await?;
        let renamed: Vec<Renamed> = sqlx::query_as(sql)
            .bind(names.iter().map(|(group, _)| group.to_string()).collect::<Vec<_>>())
            .bind(names.iter().map(|(_, name)| name.as_str()).collect::<Vec<_>>())
            .bind(now)
            .fetch_all(&mut *transaction)
            .await?;
        let events: Vec<AuditEvent> = renamed.iter().map(|renamed| event(run, renamed)).collect();
        audit::insert(&mut transaction, now, &events, None).await?;
        transaction.inner.commit().await?;
        Ok(renamed)
    }
}

fn event(run: &ApplyingRun, renamed: &Renamed) -> AuditEvent {
    let (action, kind) = match renamed.kind.as_str() {
        "team" => (AuditAction::TeamRenamed, AuditTargetKind::Team),
        _ => (AuditAction::OrganizationRenamed, AuditTargetKind::Organization),
    };
    AuditEvent {
        actor: AuditActor::Job,
        run_id: Some(run.run_id),
        action,
        user_id: None,
        object_id: None,
        target: AuditTarget { kind, id: Some(renamed.id.clone()), name: Some(renamed.after.clone()) },
        cause: Some("group_renamed"),
        group: renamed.id.parse().ok(),
        before: Some(json!(renamed.before)),
        after: Some(json!(renamed.after)),
        evidence: Some(json!({ "list": "assigned_groups", "read_after": run.started_at })),
        result: AuditResult::Applied,
    }
}
