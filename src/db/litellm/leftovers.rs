//! Rows that deleted teams and organizations left behind.
//!
//! LiteLLM 1.110.2's `/organization/delete` deletes the organization's teams, but neither their membership rows nor the
//! budgets.

use crate::db::{Db, DbError};
use crate::domain::StoreKind;

/// Number of leftover rows by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Leftovers {
    /// Team memberships (`LiteLLM_TeamMembership`) without a team.
    pub team_memberships: i64,
    /// Organization memberships (`LiteLLM_OrganizationMembership`) without an organization. LiteLLM's foreign key
    /// prevents them; a database restored without it may have some.
    pub organization_memberships: i64,
    /// Memberships of existing teams that use the default member budget of a deleted team.
    pub former_budgets: i64,
}

impl Db {
    /// Counts leftover rows. `None` for the native store, whose foreign keys prevent them.
    pub async fn leftovers(&self) -> Result<Option<Leftovers>, DbError> {
        if self.kind == StoreKind::Native {
            return Ok(None);
        }
        let leftovers = sqlx::query_as(
            r#"with named as materialized (
                select team_id, metadata ->> 'team_member_budget_id' as budget_id from public."LiteLLM_TeamTable"
            )
            select (select count(*) from public."LiteLLM_TeamMembership" m
                    where not exists (select from named where named.team_id = m.team_id)) as team_memberships,
                   (select count(*) from public."LiteLLM_OrganizationMembership" m where not exists (
                        select from public."LiteLLM_OrganizationTable" o where o.organization_id = m.organization_id))
                       as organization_memberships,
                   (select count(*) from public."LiteLLM_TeamMembership" m
                    where m.budget_id ~ '^team-(.*-)?budget-[0-9a-f]{32}$'
                      and exists (select from named where named.team_id = m.team_id)
                      and not exists (select from named where named.budget_id = m.budget_id)) as former_budgets"#,
        )
        .fetch_one(&mut *self.connection().await?)
        .await?;
        Ok(Some(leftovers))
    }
}
