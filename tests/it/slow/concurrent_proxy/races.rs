//! One sign-in and one proxy transaction, paused where they conflict: the sign-in succeeds, and no membership is
//! partial.

use std::time::Duration;

use entra_simulator::{GroupId, ObjectId};
use entraway::domain::StoreKind;
use serde_json::{Value, json};
use sqlx::PgTransaction;

use super::proxy::{LOCK_TEAM, Proxy, UPSERT_USER, delete_team};
use super::{Memberships, in_teams, many_assigned, person};
use crate::support::scene::until_it_waits;
use crate::support::{Service, World, join_all};

/// A service and a proxy on one database, with one group.
struct Scene {
    world: World,
    service: Service,
    proxy: Proxy,
    group: GroupId,
    /// In the group, not signed in yet.
    alice: ObjectId,
}

/// `made`: another user has signed in, so that the group's team exists.
async fn scene(made: bool) -> Scene {
    let world = World::of(StoreKind::LiteLlm).await;
    // Postgres checks for a deadlock once per lock wait, after this time. The cycle must be complete by then, even on a
    // busy machine.
    sqlx::raw_sql(
        "do $$ begin execute format('alter database %I set deadlock_timeout = %L', current_database(), '2s'); end $$",
    )
    .execute(&world.pool)
    .await
    .unwrap();
    let group = many_assigned(&world, 1)[0];
    let (alice, bob) = (person(&world, "Alice Arden", &[group]), person(&world, "Bob Birch", &[]));
    let service = world.service().await;
    if made {
        world.sign_in(&service, bob).await;
    }
    let proxy = Proxy::of(&world).await;
    Scene { world, service, proxy, group, alice }
}

impl Scene {
    /// A proxy transaction that has executed these statements and is never the victim of a deadlock.
    async fn holding(&self, statements: &[(&'static str, &[&str])]) -> PgTransaction<'static> {
        let mut tx = self.proxy.begin().await.unwrap();
        sqlx::query("set local deadlock_timeout = '1min'").execute(&mut *tx).await.unwrap();
        run(&mut tx, statements).await;
        tx
    }

    /// Signs Alice in, which must succeed. While the sign-in waits for the proxy, executes the other statements and
    /// commits.
    async fn sign_in_meanwhile(&self, mut tx: PgTransaction<'static>, then: &[(&'static str, &[&str])]) {
        let proxy = async {
            until_it_waits(&self.world).await;
            run(&mut tx, then).await;
            tx.commit().await.unwrap();
        };
        let sign_in = async { _ = self.world.sign_in(&self.service, self.alice).await };
        let both: [std::pin::Pin<Box<dyn Future<Output = ()> + '_>>; 2] = [Box::pin(proxy), Box::pin(sign_in)];
        join_all(both).await;
    }

    async fn assert_retried(&self) {
        let run = self.world.last_run().await;
        assert!(run["retries"].as_i64().unwrap() >= 1, "the sync record counts the retry: {run:#}");
    }

    /// Asserts that Alice is in exactly these teams in all three places, that no other user is in any, and that no
    /// failure is recorded.
    async fn assert_whole(&self, teams: &[GroupId]) {
        let expected = Memberships::everywhere(in_teams(&self.alice, teams));
        assert_eq!(Memberships::read(&self.world).await, expected, "memberships in all three places");
        let run = self.world.last_run().await;
        assert_eq!(run["failures"], json!([]), "failures in the sync record: {run:#}");
    }

    /// Number of budgets without an organization, which a retried transaction could leave behind.
    async fn budgets_of_nobody(&self) -> i64 {
        sqlx::query_scalar(
            r#"select count(*) from public."LiteLLM_BudgetTable" b where not exists (
                   select from public."LiteLLM_OrganizationTable" o where o.budget_id = b.budget_id)"#,
        )
        .fetch_one(&self.world.pool)
        .await
        .unwrap()
    }
}

async fn run(tx: &mut PgTransaction<'_>, statements: &[(&'static str, &[&str])]) {
    for (sql, values) in statements {
        let query = values.iter().fold(sqlx::query(*sql), |query, value| query.bind(value.to_string()));
        query.execute(&mut **tx).await.unwrap();
    }
}

const SPEND_OF_TEAM: &str = r#"update "LiteLLM_TeamTable" set spend = spend + 1 where team_id = $1"#;
const NEW_TEAM: &str = r#"insert into "LiteLLM_TeamTable" (team_id, team_alias, members_with_roles)
                          values ($1, 'Of the proxy', '[]')"#;
const NEW_USER: &str = r#"insert into "LiteLLM_UserTable" (user_id, user_role) values ($1, 'internal_user')"#;
const NEW_SSO_USER: &str =
    r#"insert into "LiteLLM_UserTable" (user_id, sso_user_id, user_role) values ('of-the-proxy', $1, 'internal_user')"#;
const NEW_BUDGET: &str =
    r#"insert into "LiteLLM_BudgetTable" (budget_id, created_by, updated_by) values ($1, 'a', 'a')"#;
const NEW_ORGANIZATION: &str = r#"insert into "LiteLLM_OrganizationTable"
    (organization_id, organization_alias, budget_id, created_by, updated_by)
    values ($1, 'Of the proxy', $1, 'a', 'a')"#;

/// For example an administrator's script: the proxy itself never locks a team row before a user row.
#[tokio::test]
async fn deadlock_over_team_and_user_is_retried() {
    let scene = scene(true).await;
    let (team, alice) = (scene.group.to_string(), scene.alice.to_string());
    sqlx::query(NEW_USER).bind(&alice).execute(&scene.world.pool).await.unwrap();
    let tx = scene.holding(&[(SPEND_OF_TEAM, &[&team])]).await;
    let spend = r#"update "LiteLLM_UserTable" set spend = spend + 1 where user_id = $1"#;
    scene.sign_in_meanwhile(tx, &[(spend, &[&alice])]).await;
    scene.assert_retried().await;
    scene.assert_whole(&[scene.group]).await;
    let sums: (f64, f64) = sqlx::query_as(
        r#"select (select spend from public."LiteLLM_UserTable" where user_id = $1), t.spend
           from public."LiteLLM_TeamTable" t"#,
    )
    .bind(&alice)
    .fetch_one(&scene.world.pool)
    .await
    .unwrap();
    assert_eq!(sums, (1.0, 1.0), "spend written by the other transaction");
}

/// The proxy adds another member while the sign-in removes one: neither change is lost.
#[tokio::test]
async fn removal_waits_for_a_member_added_by_the_proxy() {
    let scene = scene(true).await;
    scene.world.grant_removal().await;
    scene.world.sign_in(&scene.service, scene.alice).await;
    let carol = person(&scene.world, "Carol Cole", &[]);
    scene.world.sign_in(&scene.service, carol).await;
    let (team, carol) = (scene.group.to_string(), carol.to_string());
    scene.world.simulator.edit(|directory| directory.take_out(scene.alice, scene.group));
    let tx = scene.holding(&[(LOCK_TEAM, &[&team])]).await;
    let roster = r#"update "LiteLLM_TeamTable" set members_with_roles = members_with_roles
                        || jsonb_build_array(jsonb_build_object('user_id', $2::text, 'role', 'user')) where team_id = $1"#;
    let list = r#"update "LiteLLM_UserTable" set teams = array_append(teams, $1) where user_id = $2"#;
    let membership = r#"insert into "LiteLLM_TeamMembership" (team_id, user_id) values ($1, $2)"#;
    let member: &[&str] = &[&team, &carol];
    scene.sign_in_meanwhile(tx, &[(roster, member), (list, member), (membership, member)]).await;
    let rows = scene.world.rows().await;
    let members: Vec<&String> = rows.team_members.keys().collect();
    assert_eq!(members, [&format!("{carol}/{team}")]);
}

/// `/team/new` inserts the row before it takes the team's lock; the sign-in does the opposite.
#[tokio::test]
async fn deadlock_over_team_created_by_both_is_retried() {
    let scene = scene(false).await;
    let team = scene.group.to_string();
    let tx = scene.holding(&[(NEW_TEAM, &[&team])]).await;
    scene.sign_in_meanwhile(tx, &[(LOCK_TEAM, &[&team])]).await;
    scene.assert_retried().await;
    scene.assert_whole(&[scene.group]).await;
    let alias: String = sqlx::query_scalar(r#"select team_alias from public."LiteLLM_TeamTable""#)
        .fetch_one(&scene.world.pool)
        .await
        .unwrap();
    assert_eq!(alias, "Of the proxy", "the proxy's team stays unchanged");
    assert_eq!(scene.budgets_of_nobody().await, 0, "budgets without an organization");
}

#[tokio::test]
async fn user_created_concurrently_by_proxy_is_one_row() {
    for (sql, user_id) in [(NEW_USER, None), (NEW_SSO_USER, Some("of-the-proxy"))] {
        let scene = scene(true).await;
        let alice = scene.alice.to_string();
        let tx = scene.holding(&[(sql, &[&alice])]).await;
        scene.sign_in_meanwhile(tx, &[]).await;
        scene.assert_retried().await;
        let users: Vec<(String, Option<String>)> = sqlx::query_as(
            r#"select user_id, user_email from public."LiteLLM_UserTable" where $1 in (user_id, sso_user_id)"#,
        )
        .bind(&alice)
        .fetch_all(&scene.world.pool)
        .await
        .unwrap();
        assert_eq!(users.len(), 1, "rows of one user: {users:?}");
        assert_eq!(users[0].0, user_id.unwrap_or(&alice), "the proxy's row is used");
        assert!(users[0].1.is_some(), "Entra's email is added: {users:?}");
        let created = &scene.world.last_run().await["user_created"];
        assert_eq!(created, &json!(false), "the sync record does not claim the proxy's row");
        if let Some(user_id) = user_id {
            let expected = Memberships::everywhere(in_teams(&user_id, &[scene.group]));
            assert_eq!(Memberships::read(&scene.world).await, expected, "memberships use the key of the proxy's row");
        } else {
            scene.assert_whole(&[scene.group]).await;
        }
    }
}

#[tokio::test]
async fn user_added_concurrently_to_another_team_is_in_both() {
    let scene = scene(true).await;
    let alice = scene.alice.to_string();
    sqlx::query(NEW_TEAM).bind("by-hand").execute(&scene.world.pool).await.unwrap();
    let roster = r#"update "LiteLLM_TeamTable" set members_with_roles = jsonb_build_array(
                        jsonb_build_object('user_id', $2::text, 'role', 'user')) where team_id = $1"#;
    let member = r#"insert into "LiteLLM_TeamMembership" (team_id, user_id) values ($1, $2)"#;
    let tx = scene.holding(&[(LOCK_TEAM, &["by-hand"]), (UPSERT_USER, &[&alice, "by-hand"])]).await;
    scene.sign_in_meanwhile(tx, &[(member, &["by-hand", &alice]), (roster, &["by-hand", &alice])]).await;
    scene.assert_retried().await;
    let mut both = in_teams(&alice, &[scene.group]);
    both.push(format!("by-hand/{alice}"));
    assert_eq!(
        Memberships::read(&scene.world).await,
        Memberships::everywhere(both),
        "the proxy's team and Entra's team"
    );
}

#[tokio::test]
async fn organization_created_concurrently_by_proxy_is_joined() {
    let scene = scene(false).await;
    let id = scene.group.to_string();
    let tx = scene.holding(&[(NEW_BUDGET, &[&id]), (NEW_ORGANIZATION, &[&id])]).await;
    scene.sign_in_meanwhile(tx, &[]).await;
    scene.assert_whole(&[scene.group]).await;
    let joined: Vec<(String, String)> = sqlx::query_as(
        r#"select o.organization_alias, m.user_id
           from public."LiteLLM_OrganizationMembership" m
                join public."LiteLLM_OrganizationTable" o using (organization_id)"#,
    )
    .fetch_all(&scene.world.pool)
    .await
    .unwrap();
    assert_eq!(joined, [("Of the proxy".to_owned(), scene.alice.to_string())]);
    assert_eq!(scene.budgets_of_nobody().await, 0, "budgets without an organization");
}

#[tokio::test]
async fn team_created_concurrently_by_proxy_is_joined() {
    let scene = scene(false).await;
    let id = scene.group.to_string();
    let tx = scene.holding(&[(NEW_TEAM, &[&id])]).await;
    scene.sign_in_meanwhile(tx, &[]).await;
    scene.assert_whole(&[scene.group]).await;
    let alias: Value = sqlx::query_scalar(r#"select to_jsonb(team_alias) from public."LiteLLM_TeamTable""#)
        .fetch_one(&scene.world.pool)
        .await
        .unwrap();
    assert_eq!(alias, "Of the proxy");
}

#[tokio::test]
async fn team_deleted_concurrently_by_proxy_is_recreated() {
    let scene = scene(true).await;
    let mut tx = scene.proxy.begin().await.unwrap();
    delete_team(&mut tx, &scene.group.to_string()).await.unwrap();
    scene.sign_in_meanwhile(tx, &[]).await;
    scene.assert_whole(&[scene.group]).await;
    let created = &scene.world.last_run().await["teams_created"];
    assert_eq!(created, &json!([scene.group]), "teams created by the sign-in");
}

/// Without a service principal no group is assigned, so the team is not created again.
#[tokio::test]
async fn unassigned_team_deleted_concurrently_leaves_no_membership() {
    // Deleted by the proxy under the team's lock, or with psql, which takes only the row lock.
    for by_the_proxy in [true, false] {
        let mut scene = scene(true).await;
        scene.service = scene.world.service_with(|config| config.entra.service_principal_id = None).await;
        let mut tx = scene.proxy.begin().await.unwrap();
        if by_the_proxy {
            delete_team(&mut tx, &scene.group.to_string()).await.unwrap();
        } else {
            run(&mut tx, &[(r#"delete from "LiteLLM_TeamTable" where team_id = $1"#, &[&scene.group.to_string()])])
                .await;
        }
        scene.sign_in_meanwhile(tx, &[]).await;
        scene.assert_whole(&[]).await;
        let joined = &scene.world.last_run().await["teams_joined"];
        assert_eq!(joined, &json!([]), "teams_joined in the sync record; deleted by the proxy: {by_the_proxy}");
    }
}

/// Number of the service's connections that wait for a lock, and of those that wait for this backend.
async fn waiting(world: &World, backend: i32) -> (i64, i64) {
    sqlx::query_as(
        "select count(*), count(*) filter (where $1 = any(pg_blocking_pids(pid))) from pg_stat_activity
         where datname = current_database() and application_name = 'entraway' and wait_event_type = 'Lock'",
    )
    .bind(backend)
    .fetch_one(&world.pool)
    .await
    .unwrap()
}

async fn backend_of(tx: &mut PgTransaction<'_>) -> i32 {
    sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut **tx).await.unwrap()
}

async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..2_000 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("condition not reached: {what}");
}

/// Two scripts lock a team row before the user row. The sign-in meets the second one after resolving the first
/// deadlock.
#[tokio::test]
async fn two_deadlocks_in_a_row_are_retried() {
    let scene = scene(true).await;
    let mut groups = vec![scene.group, many_assigned(&scene.world, 1)[0]];
    groups.sort_by_key(ToString::to_string);
    scene.world.simulator.edit(|directory| groups.iter().for_each(|group| directory.put(scene.alice, *group)));
    let bob = person(&scene.world, "Bob Birch", &[]);
    scene.world.sign_in(&scene.service, bob).await;
    let (teams, alice) = ([groups[0].to_string(), groups[1].to_string()], scene.alice.to_string());
    sqlx::query(NEW_USER).bind(&alice).execute(&scene.world.pool).await.unwrap();
    let spend = r#"update "LiteLLM_UserTable" set spend = spend + 1 where user_id = $1"#;
    let mut scripts = Vec::new();
    for team in &teams {
        scripts.push(scene.holding(&[(SPEND_OF_TEAM, &[team])]).await);
    }
    let proxy = async {
        for (mut script, team) in scripts.into_iter().zip(&teams) {
            let backend = backend_of(&mut script).await;
            until(&format!("the sign-in waits for team {team}"), async || waiting(&scene.world, backend).await.1 == 1)
                .await;
            run(&mut script, &[(spend, &[&alice])]).await;
            script.commit().await.unwrap();
        }
    };
    let sign_in = async { _ = scene.world.sign_in(&scene.service, scene.alice).await };
    let both: [std::pin::Pin<Box<dyn Future<Output = ()> + '_>>; 2] = [Box::pin(proxy), Box::pin(sign_in)];
    join_all(both).await;
    let run = scene.world.last_run().await;
    let retries = run["retries"].as_i64().unwrap();
    assert!(retries >= 2, "src/db/apply.rs, apply: {retries} retries after two deadlocks: {run:#}");
    scene.assert_whole(&groups).await;
}

/// Signs two users in concurrently (or one twice) while this table is locked against inserts. When one sign-in is about
/// to insert, the other must wait for it before it has written anything.
async fn side_by_side(scene: &Scene, table: &'static str, people: [ObjectId; 2]) {
    let mut tx = scene.proxy.begin().await.unwrap();
    run(&mut tx, &[(table, &[])]).await;
    let backend = backend_of(&mut tx).await;
    let proxy = async {
        until("both sign-ins wait", async || waiting(&scene.world, backend).await.0 == 2).await;
        let for_the_table = waiting(&scene.world, backend).await.1;
        tx.commit().await.unwrap();
        assert_eq!(for_the_table, 1, "both sign-ins tried to insert without taking our lock: src/db/litellm.rs, lock");
    };
    let first = async { _ = scene.world.sign_in(&scene.service, people[0]).await };
    let second = async { _ = scene.world.sign_in(&scene.service, people[1]).await };
    let all: [std::pin::Pin<Box<dyn Future<Output = ()> + '_>>; 3] =
        [Box::pin(proxy), Box::pin(first), Box::pin(second)];
    join_all(all).await;
    assert_eq!(super::retries(&scene.world).await, 0, "concurrent sign-ins cause no retries");
}

/// Number of sync records that report a creation.
async fn makers(world: &World) -> i64 {
    let sql = "select count(*) from entraway.sync_runs
               where user_created or organizations_created <> '{}' or teams_created <> '{}'";
    sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap()
}

#[tokio::test]
async fn concurrent_first_signins_create_one_row_without_retry() {
    let scene = scene(true).await;
    let carol = person(&scene.world, "Carol Cedar", &[]);
    let before = makers(&scene.world).await;
    side_by_side(&scene, r#"lock table "LiteLLM_UserTable" in share mode"#, [carol; 2]).await;
    assert_eq!(makers(&scene.world).await - before, 1, "sync records that report a created user");
}

#[tokio::test]
async fn concurrent_signins_create_new_groups_without_retry() {
    let scene = scene(false).await;
    let people = ["Carol Cedar", "Dan Dogwood"].map(|name| person(&scene.world, name, &[]));
    side_by_side(&scene, r#"lock table "LiteLLM_OrganizationTable" in share mode"#, people).await;
    let made: (i64, i64, i64) = sqlx::query_as(
        r#"select (select count(*) from public."LiteLLM_OrganizationTable"),
                  (select count(*) from public."LiteLLM_TeamTable"),
                  (select count(*) from entraway.sync_runs where organizations_created <> '{}')"#,
    )
    .fetch_one(&scene.world.pool)
    .await
    .unwrap();
    assert_eq!(made, (1, 1, 1), "organizations, teams, and sync records that report creating them");
    assert_eq!(scene.budgets_of_nobody().await, 0, "budgets without an organization");
}
