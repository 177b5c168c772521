//! Databases of a given size for either store.

use anyhow::Context as _;
use entraway::domain::StoreKind;
use sqlx::{AssertSqlSafe, PgPool};

/// Test data. Alphabetical order is unrelated to creation order, and names to IDs.
const FILL: [(StoreKind, &str); 2] = [
    (
        StoreKind::Native,
        "insert into entraway.organizations (organization_id, organization_alias, models, max_budget, created_at)
         select 'g' || n, 'Group ' || md5(n::text), '{gpt-4}', 100, timestamp '2020-01-01' + n * interval '1 minute'
         from generate_series(1, TEAMS) n;
         insert into entraway.teams (team_id, team_alias, organization_id, models, max_budget, created_at)
         select organization_id, organization_alias, organization_id, '{all-org-models}', 100, created_at
         from entraway.organizations;
         insert into entraway.users (user_id, tenant_id, object_id, user_email, user_alias, user_role, created_at)
         select id, id, id, md5(n::text) || '@contoso.example', 'Person ' || md5(n::text), 'internal_user',
                timestamp '2020-01-01' + n * interval '1 second'
         from generate_series(1, PEOPLE) n, cast(md5(n::text) as uuid) id;
         insert into entraway.team_members (user_id, team_id, source, created_at)
         select md5(n::text)::uuid::text, case when n % 5 = 0 then 'g1' else 'g' || n % TEAMS + 1 end, 'entra',
                timestamp '2021-01-01' + n * interval '1 second'
         from generate_series(1, PEOPLE) n;
         insert into entraway.organization_members (user_id, organization_id, user_role, source, created_at)
         select user_id, team_id, 'internal_user', source, created_at from entraway.team_members;",
    ),
    (
        StoreKind::LiteLlm,
        r#"insert into public."LiteLLM_BudgetTable" (budget_id, max_budget, created_by, updated_by)
         values ('b', 100, 'x', 'x');
         insert into public."LiteLLM_OrganizationTable"
                (organization_id, organization_alias, budget_id, models, created_at, created_by, updated_by)
         select 'g' || n, 'Group ' || md5(n::text), 'b', '{gpt-4}', timestamp '2020-01-01' + n * interval '1 minute', 'x', 'x'
         from generate_series(1, TEAMS) n;
         insert into public."LiteLLM_TeamTable"
                (team_id, team_alias, organization_id, admins, members, members_with_roles, models, max_budget, created_at)
         select 'g' || n, 'Group ' || md5(n::text), 'g' || n, '{}', '{}', roster.members, '{all-org-models}', 100,
                timestamp '2020-01-01' + n * interval '1 minute'
         from generate_series(1, TEAMS) n, lateral (
             select coalesce(jsonb_agg(jsonb_build_object('user_id', md5(p::text)::uuid::text, 'role', 'user')), '[]') as members
             from generate_series(n - 1 + case when n = 1 then TEAMS else 0 end, PEOPLE, TEAMS) p) roster;
         insert into public."LiteLLM_UserTable" (user_id, user_email, user_alias, user_role, teams, models, created_at)
         select md5(n::text)::uuid::text, md5(n::text) || '@contoso.example', 'Person ' || md5(n::text), 'internal_user',
                array['g' || n % TEAMS + 1], '{}', timestamp '2020-01-01' + n * interval '1 second'
         from generate_series(1, PEOPLE) n;
         insert into public."LiteLLM_TeamMembership" (user_id, team_id)
         select md5(n::text)::uuid::text, 'g' || n % TEAMS + 1 from generate_series(1, PEOPLE) n;
         insert into public."LiteLLM_OrganizationMembership" (user_id, organization_id, user_role, created_at)
         select md5(n::text)::uuid::text, 'g' || n % TEAMS + 1, 'internal_user',
                timestamp '2021-01-01' + n * interval '1 second'
         from generate_series(1, PEOPLE) n;"#,
    ),
];

/// Creates teams, each with an organization, and users with one membership of each kind. In the native store, a fifth
/// of the users are in one team. LiteLLM's tables get the indexes of `docs/litellm-indexes.sql`.
pub(crate) async fn fill(pool: &PgPool, store: StoreKind, teams: usize, people: usize) -> anyhow::Result<()> {
    let (_, sql) = FILL.into_iter().find(|(kind, _)| *kind == store).context("a store without data")?;
    let sql = sql.replace("PEOPLE", &people.to_string()).replace("TEAMS", &teams.to_string());
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await?;
    if store == StoreKind::LiteLlm {
        let script = include_str!("../../docs/litellm-indexes.sql");
        let script: String = script.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
        for statement in script.split(';').filter(|statement| !statement.trim().is_empty()) {
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(pool).await?;
        }
    }
    Ok(())
}
