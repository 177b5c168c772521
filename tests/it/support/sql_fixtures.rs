//! Changes made by hand with psql, in the tables of either store.

use entraway::domain::StoreKind;
use sqlx::postgres::Postgres;
use sqlx::{AssertSqlSafe, Executor};

use super::World;

/// Tables that exist in both stores: the placeholder, the native name and LiteLLM's name. The columns that tests use
/// have the same names. `{identities}` is the table with the users' object IDs.
const TABLES: [(&str, &str, &str); 5] = [
    ("{organizations}", "entraway.organizations", r#"public."LiteLLM_OrganizationTable""#),
    ("{teams}", "entraway.teams", r#"public."LiteLLM_TeamTable""#),
    ("{users}", "entraway.users", r#"public."LiteLLM_UserTable""#),
    ("{organization_members}", "entraway.organization_members", r#"public."LiteLLM_OrganizationMembership""#),
    ("{identities}", "entraway.users", "entraway.litellm_users"),
];

/// A statement with placeholders for tables, or a separate one for each store. `$1` and so on are text.
#[derive(Clone, Copy)]
pub(crate) struct Deed {
    native: &'static str,
    litellm: &'static str,
}

impl Deed {
    /// A separate statement for each store.
    pub(crate) const fn of(native: &'static str, litellm: &'static str) -> Self {
        Self { native, litellm }
    }
}

impl From<&'static str> for Deed {
    fn from(sql: &'static str) -> Self {
        Self { native: sql, litellm: sql }
    }
}

/// `$1` is the organization, `$2` its name.
pub(crate) const MAKE_ORGANIZATION: Deed = Deed {
    native: "insert into {organizations} (organization_id, organization_alias) values ($1, $2)",
    litellm: r#"with budget as (
            insert into public."LiteLLM_BudgetTable" (budget_id, created_by, updated_by)
            values ('budget of ' || $1, 'psql', 'psql')
        )
        insert into {organizations} (organization_id, organization_alias, budget_id, models, created_by, updated_by)
        values ($1, $2, 'budget of ' || $1, '{}', 'psql', 'psql')"#,
};

/// `$1` is the organization, `$2` its budget.
pub(crate) const LIMIT_ORGANIZATION: Deed = Deed {
    native: "update {organizations} set max_budget = $2::double precision where organization_id = $1",
    litellm: r#"update public."LiteLLM_BudgetTable" b set max_budget = $2::double precision
        from {organizations} o where o.budget_id = b.budget_id and o.organization_id = $1"#,
};

/// `$1` is the team, `$2` its name.
pub(crate) const MAKE_TEAM: Deed = Deed {
    native: "insert into {teams} (team_id, team_alias) values ($1, $2)",
    litellm: "insert into {teams} (team_id, team_alias, admins, members, members_with_roles, models)
        values ($1, $2, '{}', '{}', '[]', '{}')",
};

/// `$1` is the user, `$2` the tenant, `$3` the role, `$4` the address.
pub(crate) const MAKE_USER: Deed = Deed {
    native: "insert into {users} (user_id, tenant_id, object_id, user_role, user_email)
        values ($1, $2::uuid, $1::uuid, $3, $4)",
    litellm: "with identity as (
            insert into {identities} (object_id, tenant_id, user_id) values ($1, $2::uuid, $1)
        )
        insert into {users} (user_id, sso_user_id, user_role, user_email, models) values ($1, $1, $3, $4, '{}')",
};

/// `$1` is the user, `$2` the team, `$3` the role. The member has some spend.
pub(crate) const PUT_IN_TEAM: Deed = Deed {
    native: "insert into entraway.team_members (user_id, team_id, role, spend) values ($1, $2, $3, 4)",
    litellm: r#"with roster as (
            update {teams} set members_with_roles = members_with_roles
                || jsonb_build_array(jsonb_build_object('user_id', $1::text, 'role', $3::text))
            where team_id = $2
        ), list as (
            update {users} set teams = array_append(teams, $2) where user_id = $1
        )
        insert into public."LiteLLM_TeamMembership" (user_id, team_id, spend) values ($1, $2, 4)"#,
};

/// `$1` is the user, `$2` the team.
pub(crate) const TAKE_OUT_OF_TEAM: Deed = Deed {
    native: "delete from entraway.team_members where user_id = $1 and team_id = $2",
    litellm: r#"with roster as (
            update {teams} set members_with_roles = (
                select coalesce(jsonb_agg(member), '[]') from jsonb_array_elements(members_with_roles) member
                where member ->> 'user_id' <> $1)
            where team_id = $2
        ), list as (
            update {users} set teams = array_remove(teams, $2) where user_id = $1
        )
        delete from public."LiteLLM_TeamMembership" where user_id = $1 and team_id = $2"#,
};

/// `$1` is the team. LiteLLM's memberships are deleted, as by the proxy's own page.
pub(crate) const DELETE_TEAM: Deed = Deed {
    native: "delete from {teams} where team_id = $1",
    litellm: r#"with lists as (
            update {users} set teams = array_remove(teams, $1) where $1 = any(teams)
        ), memberships as (
            delete from public."LiteLLM_TeamMembership" where team_id = $1
        )
        delete from {teams} where team_id = $1"#,
};

/// `$1` is the organization. LiteLLM's foreign keys require that its memberships are deleted.
pub(crate) const DELETE_ORGANIZATION: Deed = Deed {
    native: "delete from {organizations} where organization_id = $1",
    litellm: "with memberships as (delete from {organization_members} where organization_id = $1)
        delete from {organizations} where organization_id = $1",
};

/// `$1` is the user. The rows in Entraway's own tables stay, since LiteLLM does not know them.
pub(crate) const DELETE_USER: Deed = Deed {
    native: "delete from {users} where user_id = $1",
    litellm: r#"with rosters as (
            update {teams} set members_with_roles = (
                select coalesce(jsonb_agg(member), '[]') from jsonb_array_elements(members_with_roles) member
                where member ->> 'user_id' <> $1)
            where members_with_roles @> jsonb_build_array(jsonb_build_object('user_id', $1::text))
        ), memberships as (
            delete from public."LiteLLM_TeamMembership" where user_id = $1
        ), organizations as (
            delete from {organization_members} where user_id = $1
        )
        delete from {users} where user_id = $1"#,
};

/// About half of the teams.
pub(crate) const DELETE_SOME_TEAMS: Deed = Deed {
    native: "delete from {teams} where random() < 0.5",
    litellm: r#"with chosen as materialized (
            select team_id from {teams} where random() < 0.5
        ), lists as (
            update {users} set teams = array(select unnest(teams) except select team_id from chosen)
            where teams && array(select team_id from chosen)
        ), memberships as (
            delete from public."LiteLLM_TeamMembership" where team_id in (select team_id from chosen)
        )
        delete from {teams} where team_id in (select team_id from chosen)"#,
};

/// About half of the organizations.
pub(crate) const DELETE_SOME_ORGANIZATIONS: Deed = Deed {
    native: "delete from {organizations} where random() < 0.5",
    litellm: "with chosen as materialized (
            select organization_id from {organizations} where random() < 0.5
        ), memberships as (
            delete from {organization_members} where organization_id in (select organization_id from chosen)
        )
        delete from {organizations} where organization_id in (select organization_id from chosen)",
};

/// About half of both in one statement.
pub(crate) const DELETE_SOME_TEAMS_AND_ORGANIZATIONS: Deed = Deed {
    native: "with organizations as (delete from {organizations} where random() < 0.5)
        delete from {teams} where random() < 0.5",
    litellm: r#"with organizations as materialized (
            select organization_id from {organizations} where random() < 0.5
        ), members as (
            delete from {organization_members} where organization_id in (select organization_id from organizations)
        ), deleted as (
            delete from {organizations} where organization_id in (select organization_id from organizations)
        ), chosen as materialized (
            select team_id from {teams} where random() < 0.5
        ), lists as (
            update {users} set teams = array(select unnest(teams) except select team_id from chosen)
            where teams && array(select team_id from chosen)
        ), memberships as (
            delete from public."LiteLLM_TeamMembership" where team_id in (select team_id from chosen)
        )
        delete from {teams} where team_id in (select team_id from chosen)"#,
};

/// All organizations, teams and memberships.
pub(crate) const DELETE_ALL_GROUPS: Deed = Deed {
    native: "truncate {organizations}, {teams} cascade",
    litellm: r#"delete from {organization_members};
        delete from public."LiteLLM_TeamMembership";
        update {users} set teams = '{}';
        delete from {teams};
        delete from {organizations}"#,
};

impl World {
    /// The statement for this world's store.
    pub(crate) fn statement(&self, deed: impl Into<Deed>) -> String {
        let deed = deed.into();
        let sql = match self.kind {
            StoreKind::Native => deed.native,
            StoreKind::LiteLlm => deed.litellm,
        };
        let name = |sql: String, (word, native, litellm): (&str, &str, &str)| match self.kind {
            StoreKind::Native => sql.replace(word, native),
            StoreKind::LiteLlm => sql.replace(word, litellm),
        };
        TABLES.into_iter().fold(sql.to_owned(), name)
    }

    /// Runs SQL as an operator would with psql: any number of statements, without values.
    pub(crate) async fn sql(&self, sql: impl Into<Deed>) {
        sqlx::raw_sql(AssertSqlSafe(self.statement(sql))).execute(&self.pool).await.unwrap();
    }

    /// Runs one statement as an operator would with psql.
    pub(crate) async fn by_hand(&self, deed: impl Into<Deed>, values: &[&dyn ToString]) {
        self.by_hand_on(&self.pool, deed, values).await;
    }

    /// The same on a given connection or transaction.
    pub(crate) async fn by_hand_on(
        &self,
        on: impl Executor<'_, Database = Postgres>,
        deed: impl Into<Deed>,
        values: &[&dyn ToString],
    ) {
        let sql = self.statement(deed);
        let mut query = sqlx::query(AssertSqlSafe(sql.clone()));
        for value in values {
            query = query.bind(value.to_string());
        }
        let done = query.execute(on).await.unwrap();
        assert_ne!(done.rows_affected(), 0, "the setup statement changed nothing: {sql}");
    }
}
