//! Rows that deleted teams and organizations left behind. LiteLLM 1.110.2's `/organization/delete` deletes the teams of the
//! organization, but neither their members' rows nor the budgets.

use crate::db::{Store, StoreError};
use crate::domain::StoreKind;

/// How many rows there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Leftovers {
    /// Team memberships (`LiteLLM_TeamMembership`) without a team.
    pub team_memberships: i64,
    /// Organization memberships (`LiteLLM_OrganizationMembership`) without an organization. The proxy's own foreign key does
    /// not allow them; a database that was restored without it may have some.
    pub organization_memberships: i64,
    /// Memberships of existing teams that have the default member budget of a team that is gone.
    pub former_budgets: i64,
}

impl Store {
    /// Counts them; `None` with the native store, whose foreign keys leave nothing behind.
    pub async fn leftovers(&self) -> Result<Option<Leftovers>, StoreError> {
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
