//! Finds the memberships that are missing, for many users and teams in one statement.

use std::collections::BTreeSet;

use super::Lease;
use crate::db::{Db, DbError};
use crate::domain::StoreKind;
use crate::plan::{Applied, Planner};
use crate::reconciliation::Addition;

/// `wanted`: the object IDs, tenants and teams of $1 to $3.
macro_rules! wanted {
    () => {
        "with wanted as materialized (
            select object_id, tenant_id, team_id
            from unnest($1::text[], $2::uuid[], $3::text[]) as w(object_id, tenant_id, team_id)
        ) "
    };
}

const NATIVE: &str = concat!(
    wanted!(),
    "select w.object_id, w.team_id
     from wanted w join entraway.users u on u.user_id = w.object_id and u.tenant_id = w.tenant_id
     where not exists (
         select from entraway.team_members m where m.user_id = u.user_id and m.team_id = w.team_id)"
);

/// A partial membership counts as missing, as at a sign-in.
const LITELLM: &str = concat!(
    wanted!(),
    r#"select distinct w.object_id, w.team_id
     from wanted w
          join entraway.litellm_users p on p.object_id = w.object_id and p.tenant_id = w.tenant_id
          join public."LiteLLM_UserTable" u on u.user_id = p.user_id
          left join public."LiteLLM_TeamTable" t on t.team_id = w.team_id
          left join public."LiteLLM_TeamMembership" m on m.user_id = u.user_id and m.team_id = w.team_id
     where p.row_created_at is not distinct from u.created_at
       and not coalesce(case when w.team_id = any(u.teams) and m.user_id is not null
                then t.members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', u.user_id)) end, false)"#
);

impl Db {
    /// Adds the memberships of one user, as at a sign-in. Writes nothing if none is missing any longer.
    pub async fn add_memberships(&self, lease: Lease, planner: &Planner<'_>) -> Result<Applied, DbError> {
        let plan = planner.plan(&self.read(planner).await?);
        if plan.is_empty() {
            return Ok(Applied::default());
        }
        self.apply_with(planner, &plan, Some(lease)).await
    }

    /// Of these memberships, those that are missing. One statement.
    pub async fn missing_memberships(&self, additions: Vec<Addition>) -> Result<Vec<Addition>, DbError> {
        if additions.is_empty() {
            return Ok(additions);
        }
        let sql = match self.kind {
            StoreKind::Native => NATIVE,
            StoreKind::LiteLlm => LITELLM,
        };
        let rows: Vec<(String, String)> = sqlx::query_as(sql)
            .bind(additions.iter().map(|addition| addition.user.to_string()).collect::<Vec<_>>())
            .bind(additions.iter().map(|addition| addition.identity.tenant_id.as_uuid()).collect::<Vec<_>>())
            .bind(additions.iter().map(|addition| addition.group.to_string()).collect::<Vec<_>>())
            .fetch_all(&mut *self.connection().await?)
            .await?;
        let missing: BTreeSet<(String, String)> = rows.into_iter().collect();
        let is_missing =
            |addition: &Addition| missing.contains(&(addition.user.to_string(), addition.group.to_string()));
        Ok(additions.into_iter().filter(is_missing).collect())
    }
}
