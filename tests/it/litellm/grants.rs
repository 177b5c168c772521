//! The privileges of docs/litellm-grants.sql: sufficient, minimal, and equal to those that are checked at startup.

use std::collections::BTreeSet;

use entra_simulator::GroupId;
use entraway::db::DbError;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::support::{
    assigned, by_hand, change, define, give_roles, json as query, person, team_by_hand, with_team_params, world,
};
use crate::support::{Service, World};

const SCRIPT: &str = include_str!("../../../docs/litellm-grants.sql");

/// A privilege on a column.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    table: String,
    privilege: String,
    column: String,
}

impl Right {
    fn statement(&self, verb: &str, preposition: &str) -> String {
        let Self { table, privilege, column } = self;
        format!("{verb} {privilege} ({column}) on public.\"{table}\" {preposition} entraway")
    }

    async fn revoke(&self, world: &World) {
        define(world, &self.statement("revoke", "from")).await;
    }

    async fn grant(&self, world: &World) {
        define(world, &self.statement("grant", "to")).await;
    }
}

/// The privileges that the script grants on the proxy's tables, parsed from its text.
fn granted() -> BTreeSet<Right> {
    let text: Vec<&str> = SCRIPT.lines().filter(|line| !line.starts_with("--")).collect();
    let text = text.join("\n");
    let mut rights = BTreeSet::new();
    for statement in text
        .split(';')
        .map(str::trim)
        .filter(|text| text.starts_with("grant") && text.contains("Table\"") | text.contains("Membership\""))
    {
        let (lists, rest) = statement.trim_start_matches("grant").rsplit_once("on public.\"").unwrap();
        let table = rest.split('"').next().unwrap();
        for list in lists.split(')').filter(|list| list.contains('(')) {
            let (privilege, columns) = list.split_once('(').unwrap();
            rights.extend(columns.split(',').map(|column| Right {
                table: table.to_owned(),
                privilege: privilege.trim_matches([',', ' ', '\n']).to_owned(),
                column: column.trim().to_owned(),
            }));
        }
    }
    assert!(rights.len() > 70, "the script could not be read: {rights:#?}");
    rights
}

#[tokio::test]
async fn role_has_exactly_the_granted_privileges() {
    let world = world().await;
    let sql = "select jsonb_agg(jsonb_build_array(c.relname, p.privilege, a.attname))
        from pg_class c join pg_attribute a on a.attrelid = c.oid, unnest(array['select', 'insert', 'update', 'references'])
             as p(privilege)
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f') and a.attnum > 0
          and not a.attisdropped and has_column_privilege('entraway', c.oid, a.attnum, p.privilege)";
    let has: Vec<[String; 3]> = serde_json::from_value(query(&world, sql, &[]).await).unwrap();
    let has: BTreeSet<Right> =
        has.into_iter().map(|[table, privilege, column]| Right { table, privilege, column }).collect();
    assert_eq!(has, granted(), "left: the privileges of the role; right: those in docs/litellm-grants.sql");

    let sql = "select jsonb_build_object(
        'tables', (select jsonb_agg(c.relname || ' ' || privilege) from pg_class c,
                   unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) as privilege
                   where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
                     and has_table_privilege('entraway', c.oid, privilege)),
        'sequences', (select jsonb_agg(c.relname) from pg_class c where c.relnamespace = 'public'::regnamespace
                      and case c.relkind when 'S' then has_sequence_privilege('entraway', c.oid, 'usage, select, update') end),
        'makes in public', has_schema_privilege('entraway', 'public', 'create'),
        'makes schemas', has_database_privilege('entraway', current_database(), 'create'),
        'role', (select jsonb_build_array(rolsuper, rolinherit and exists (select from pg_auth_members where member = r.oid),
                 rolcreaterole, rolcreatedb, rolreplication, rolbypassrls) from pg_roles r where rolname = 'entraway'))";
    assert_eq!(
        query(&world, sql, &[]).await,
        json!({
            "tables": null, "sequences": null, "makes in public": false, "makes schemas": false,
            "role": [false, false, false, false, false, false],
        }),
        "rights to whole tables, and rights of the role itself"
    );
}

#[tokio::test]
async fn role_is_denied_everything_beyond_the_grants() {
    let world = world().await;
    let mut connection = PgConnection::connect(&world.database).await.unwrap();
    for sql in [
        r#"select password from public."LiteLLM_UserTable""#,
        r#"select spend from public."LiteLLM_UserTable""#,
        r#"select * from public."LiteLLM_UserTable""#,
        r#"select u from public."LiteLLM_UserTable" u"#,
        r#"update public."LiteLLM_UserTable" set password = 'x'"#,
        r#"update public."LiteLLM_UserTable" set max_budget = 1"#,
        r#"update public."LiteLLM_UserTable" set user_id = 'x'"#,
        r#"update public."LiteLLM_TeamTable" set team_alias = 'x'"#,
        r#"update public."LiteLLM_TeamTable" set organization_id = 'x'"#,
        r#"update public."LiteLLM_OrganizationTable" set models = '{}'"#,
        r#"update public."LiteLLM_BudgetTable" set max_budget = 1"#,
        r#"update public."LiteLLM_TeamMembership" set spend = 0"#,
        r#"select soft_budget from public."LiteLLM_BudgetTable""#,
        r#"select spend from public."LiteLLM_TeamTable""#,
        r#"select spend from public."LiteLLM_OrganizationTable""#,
        r#"select metadata from public."LiteLLM_UserTable""#,
        r#"select token from public."LiteLLM_VerificationToken""#,
        r#"select count(*) from public."LiteLLM_VerificationToken""#,
        r#"insert into public."LiteLLM_VerificationToken" (token) values ('x')"#,
        r#"select count(*) from public."LiteLLM_Config""#,
        r#"select count(*) from public."LiteLLM_SpendLogs""#,
        r#"delete from public."LiteLLM_UserTable""#,
        r#"delete from public."LiteLLM_TeamTable""#,
        r#"delete from public."LiteLLM_OrganizationTable""#,
        r#"delete from public."LiteLLM_BudgetTable""#,
        r#"delete from public."LiteLLM_OrganizationMembership""#,
        r#"delete from public."LiteLLM_TeamMembership""#,
        r#"truncate public."LiteLLM_TeamMembership""#,
        r#"do $$ begin lock table public."LiteLLM_TeamTable" in access exclusive mode; end $$"#,
        "create table public.mine (id text)",
        "create function public.mine() returns int language sql as 'select 1'",
        r#"create table entraway.mine (id text references public."LiteLLM_UserTable" (user_id))"#,
        r#"create trigger mine after insert on public."LiteLLM_UserTable" for each row
           execute function suppress_redundant_updates_trigger()"#,
        r#"alter table public."LiteLLM_UserTable" add mine text"#,
        "create schema mine",
    ] {
        let refused = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await;
        let code =
            refused.err().and_then(|error| error.into_database_error()?.code().map(std::borrow::Cow::into_owned));
        assert_eq!(code.as_deref(), Some("42501"), "the role of docs/litellm-grants.sql may: {sql}");
    }
    connection.close().await.unwrap();
}

#[tokio::test]
async fn startup_names_each_missing_privilege() {
    let world = world().await;
    let service = world.service().await;
    service.app.db().check_tables().await.expect("all privileges are sufficient");
    for right in granted() {
        right.revoke(&world).await;
        let Right { table, privilege, column } = &right;
        let expected = format!("missing privilege {} on {table}.{column}", privilege.to_uppercase());
        match service.app.db().check_tables().await {
            Err(DbError::NotLiteLlm(problems)) => assert_eq!(problems, [expected], "without {right:?}"),
            other => {
                panic!("src/db/litellm/columns.rs does not demand what the script grants, {right:?}: {other:?}")
            }
        }
        right.grant(&world).await;
    }
}

/// A first sign-in with new groups and with existing teams of both kinds, and one that changes everything, each
/// followed by a visit to all pages. Returns the first error, if any.
async fn life(world: &World, service: &Service) -> Option<String> {
    let groups: [GroupId; 3] = assigned(world, ["New", "Existing", "Limits models"]);
    for (team, models) in [(groups[1], "{}"), (groups[2], "{gpt-4}")] {
        team_by_hand(world, &team, ", default_team_member_models", &format!(", '{models}'")).await;
    }
    let alice = person(world, "Alice Arden", &groups);
    for first in [true, false] {
        if !first {
            give_roles(world, alice, &["org_admin"]);
            change(world, alice, |alice| "alice@contoso-sim.example".clone_into(&mut alice.upn));
            by_hand(world, r#"update public."LiteLLM_UserTable" set user_alias = '' where user_id = $1"#, &[&alice])
                .await;
            let sql = r#"update public."LiteLLM_OrganizationTable" set models = '{gpt-5}' where organization_id = $1"#;
            by_hand(world, sql, &[&groups[0]]).await;
            // As in a team that was deleted and recreated: a membership with the former team's budget.
            let sql = r#"with budget as (
                    insert into public."LiteLLM_BudgetTable" (budget_id, created_by, updated_by)
                    values ('team-old-budget-' || md5($1), 'a', 'a') returning budget_id
                ), roster as (
                    update public."LiteLLM_TeamTable" set members_with_roles = '[]' where team_id = $1
                )
                update public."LiteLLM_TeamMembership" set budget_id = (select budget_id from budget) where team_id = $1"#;
            by_hand(world, sql, &[&groups[0]]).await;
        }
        let mut browser = crate::support::Browser::new();
        let answer = browser.sign_in(&world.simulator, service, alice).await;
        if answer.status != 303 {
            return Some(format!("the sign-in was answered with {} {}", answer.status, answer.code()));
        }
        let run = world.last_run().await;
        if run["failures"] != json!([]) {
            return Some(format!("the record has failures: {}", run["failures"]));
        }
        let me = browser.me(service).await;
        if me.status != 200 {
            return Some(format!("/api/me was answered with {}", me.status));
        }
        let group = groups[0];
        for path in [
            "/".to_owned(),
            "/teams".to_owned(),
            format!("/teams/{group}"),
            "/organizations".to_owned(),
            format!("/organizations/{group}"),
            "/people".to_owned(),
            format!("/people/{alice}"),
            "/syncs".to_owned(),
        ] {
            let api = (path != "/").then(|| format!("/api{path}"));
            for path in std::iter::once(path).chain(api) {
                let page = browser.get(service.at(&path)).await;
                if page.status != 200 {
                    return Some(format!("{path} was answered with {}", page.status));
                }
            }
        }
    }
    None
}

/// Removes all groups in Entra, so that the next run starts without them.
fn forget(world: &World) {
    world.simulator.edit(|directory| {
        for group in directory.groups.clone() {
            directory.remove_group(group.id);
        }
    });
}

#[tokio::test]
async fn grants_suffice_when_public_schema_is_revoked() {
    let world = world().await;
    define(&world, "revoke all on schema public from public").await;
    let service = with_team_params(&world, true, "max_budget: 5").await;
    assert_eq!(life(&world, &service).await, None);
    let sql = "select to_jsonb(has_schema_privilege('entraway', 'public', 'create'))";
    assert_eq!(query(&world, sql, &[]).await, Value::Bool(false));
}

/// Signs users in once without each of the grants.
mod slow {
    use super::*;

    #[tokio::test]
    async fn each_granted_privilege_is_needed() {
        let world = world().await;
        let service = with_team_params(&world, true, "max_budget: 5, team_member_budget: 1").await;
        assert_eq!(life(&world, &service).await, None, "all privileges are sufficient");
        let mut superfluous = Vec::new();
        for right in granted() {
            forget(&world);
            right.revoke(&world).await;
            if life(&world, &service).await.is_none() {
                superfluous.push(right.clone());
            }
            right.grant(&world).await;
        }
        forget(&world);
        assert_eq!(life(&world, &service).await, None, "all privileges were restored");
        assert_eq!(superfluous, [], "docs/litellm-grants.sql and src/db/litellm/columns.rs: these are not needed");
    }
}
