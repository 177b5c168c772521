//! `entraway migrate`: an empty, an older, a newer and a foreign database, and several programs at once.

use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};

use super::program::{CONFIG, DATABASE_PASSWORD, Ended, Folder, Journey, Program, environment, run, with};
use crate::support::{LiteLlm, Native, StoreKind, World};

/// The migrations of this version, oldest first.
fn known() -> Vec<i64> {
    sqlx::migrate!().iter().map(|migration| migration.version).collect()
}

/// A database in which Entraway never ran but may create its schema, and a folder with the configuration.
async fn never_served(store: StoreKind) -> (World, Folder, String) {
    let world = World::of(store).await;
    define(&world, "drop schema entraway cascade").await;
    let config = match store {
        Native => CONFIG.to_owned(),
        LiteLlm => {
            define(&world, &format!("grant create on database {} to entraway", world.database_name)).await;
            format!("store: litellm\n{CONFIG}")
        }
    };
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", &config);
    (world, folder, config)
}

async fn define(world: &World, sql: &str) {
    let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&world.pool).await;
    done.unwrap_or_else(|error| panic!("{error} in {sql}"));
}

async fn migrate(world: &World, folder: &Folder, config: &str) -> Ended {
    run(folder, &["migrate", "--config", config], &environment(world)).await
}

/// The single line that a successful run prints.
#[track_caller]
fn line(ended: &Ended) -> &str {
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let line = ended.stdout.strip_suffix('\n').expect("a whole line");
    assert!(!line.contains('\n'), "more than one line: {ended:?}");
    line
}

#[rstest]
#[tokio::test]
async fn migrate_creates_tables_and_is_idempotent(#[values(Native, LiteLlm)] store: StoreKind) {
    let (world, folder, config) = never_served(store).await;
    let (newest, count) = (*known().last().unwrap(), known().len());
    let first = migrate(&world, &folder, &config).await;
    assert_eq!(line(&first), format!("schema entraway created at version {newest} ({count} migrations)"));
    let second = migrate(&world, &folder, &config).await;
    assert_eq!(line(&second), format!("schema entraway is at version {newest}, up to date: nothing to do"));

    let (alice, _) = world.alice();
    let mut program = Program::start(&folder, &["serve", "--config", &config], &environment(&world));
    let base = program.ready().await;
    let (_, answer) = Journey::whole(&world, &base, alice).await;
    assert_eq!(answer.status, 303, "{answer:#?}\n{}", program.stderr());
    assert_eq!(program.terminate().await.code, 0);
}

#[rstest]
#[tokio::test]
async fn migrate_upgrades_older_tables_and_keeps_rows(#[values(Native, LiteLlm)] store: StoreKind) {
    let (world, folder, config) = never_served(store).await;
    let [first, .., newest] = known()[..] else { panic!("there are older versions") };
    let pool = of_the_oldest_version(&world).await;
    let row = "insert into entraway.organizations (organization_id, organization_alias) values ('a', 'A')";
    sqlx::raw_sql(row).execute(&pool).await.unwrap();
    pool.close().await;

    let ended = migrate(&world, &folder, &config).await;
    let steps = known().len() - 1;
    let migrations = if steps == 1 { "migration" } else { "migrations" };
    assert_eq!(
        line(&ended),
        format!("schema entraway migrated from version {first} to {newest} ({steps} {migrations})")
    );
    let alias: String = sqlx::query_scalar("select organization_alias from entraway.organizations")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(alias, "A");
}

/// Creates the tables of the oldest version.
async fn of_the_oldest_version(world: &World) -> PgPool {
    let pool = PgPool::connect(&world.database).await.unwrap();
    sqlx::raw_sql("create schema entraway").execute(&pool).await.unwrap();
    let mut migrator = sqlx::migrate!();
    migrator.dangerous_set_table_name("entraway._sqlx_migrations");
    migrator.run_to(known()[0], &pool).await.unwrap();
    pool
}

#[rstest]
#[tokio::test]
async fn concurrent_migrate_applies_each_migration_once(#[values(Native, LiteLlm)] store: StoreKind) {
    let (world, folder, config) = never_served(store).await;
    let env = environment(&world);
    let programs: Vec<Program> =
        (0..4).map(|_| Program::start(&folder, &["migrate", "--config", &config], &env)).collect();
    for program in programs {
        let ended = program.end_within(Duration::from_secs(40)).await;
        let newest = known().last().unwrap().to_string();
        assert!(line(&ended).contains(&newest), "{ended:?}");
    }
    let applied: Vec<i64> = sqlx::query_scalar("select version from entraway._sqlx_migrations order by version")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(applied, known());
}

#[tokio::test]
async fn migrate_leaves_newer_tables_unchanged() {
    let (world, folder, config) = never_served(Native).await;
    migrate(&world, &folder, &config).await;
    define(
        &world,
        "insert into entraway._sqlx_migrations (version, description, success, checksum, execution_time)
         values (29991231000001, 'of a newer version', true, '\\x00', 1)",
    )
    .await;
    let ended = migrate(&world, &folder, &config).await;
    let said = "schema entraway is at version 29991231000001, newer than this program and compatible: nothing to do";
    assert_eq!(line(&ended), said);
}

#[tokio::test]
async fn migrate_creates_nothing_when_litellm_column_is_missing() {
    let (world, folder, config) = never_served(LiteLlm).await;
    define(&world, r#"alter table public."LiteLLM_TeamTable" drop column admins"#).await;
    let ended = migrate(&world, &folder, &config).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
    assert!(ended.stderr.contains("missing column LiteLLM_TeamTable.admins"), "{ended:?}");
    let made: bool =
        sqlx::query_scalar("select to_regnamespace('entraway') is not null").fetch_one(&world.pool).await.unwrap();
    assert!(!made, "a schema was created in a database that cannot be served");
}

#[tokio::test]
async fn migrate_reports_missing_create_privilege() {
    let (world, folder, config) = never_served(LiteLlm).await;
    define(&world, &format!("revoke create on database {} from entraway", world.database_name)).await;
    let ended = migrate(&world, &folder, &config).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
    assert!(ended.stderr.contains("the schema entraway does not exist and could not be created"), "{ended:?}");
}

/// A service's statements time out after ten seconds, which is too short for an index on many rows.
#[tokio::test]
async fn migrate_has_a_lock_timeout_and_no_statement_timeout() {
    let (world, folder, config) = never_served(Native).await;
    define(
        &world,
        "create table public.seen (setting text);
         create function public.see() returns event_trigger language plpgsql as $$ begin
             insert into public.seen
             values (current_setting('statement_timeout') || ' ' || current_setting('lock_timeout'));
         end $$;
         create event trigger see on ddl_command_start when tag in ('CREATE TABLE') execute function public.see()",
    )
    .await;
    line(&migrate(&world, &folder, &config).await);
    let seen: Vec<String> =
        sqlx::query_scalar("select distinct setting from public.seen order by 1").fetch_all(&world.pool).await.unwrap();
    // The lock timeout is shorter, because every sign-in queues behind a table that waits to be altered.
    assert_eq!(json!(seen), json!(["0 3s", "0 8s"]), "the timeouts under which tables were created");
}

#[tokio::test]
async fn migrate_waits_for_the_database_until_sigterm() {
    let (world, folder, config) = never_served(Native).await;
    let away = format!("postgres://postgres:{DATABASE_PASSWORD}@127.0.0.1:1/entraway");
    let env = with(environment(&world), "DB", &away);
    let mut program = Program::start(&folder, &["migrate", "--config", &config], &env);
    program.until("line \"retrying for\"", |program| program.stderr().contains("retrying for").then_some(())).await;
    let ended = program.terminate().await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("stopped; run it again"), "{ended:?}");
    assert!(!ended.all().contains(DATABASE_PASSWORD), "{ended:?}");
}

/// Older versions did not support rolling upgrades.
const FIRST_VERSION: i64 = 20_261_126_000_001;

/// The first statement that removes something which the previous version may read or call.
fn takes_away(sql: &str) -> Option<String> {
    let code: Vec<&str> = sql.lines().map(|line| line.split("--").next().unwrap()).collect();
    let code = code.join(" ").to_lowercase();
    let mut statements = code.split(';').map(|statement| statement.split_whitespace().collect::<Vec<_>>());
    let statement = statements.find(|words| {
        let drops = words
            .windows(2)
            .any(|two| two[0] == "drop" && !["constraint", "index", "not", "default"].contains(&two[1]));
        let retypes = words.starts_with(&["alter", "table"])
            && words[2..].iter().position(|word| *word == "alter").is_some_and(|at| words[2 + at..].contains(&"type"));
        drops || retypes || words.contains(&"rename")
    });
    statement.map(|words| words.join(" "))
}

#[test]
fn migrations_remove_nothing_the_previous_version_uses() {
    for bad in [
        "drop table entraway.users",
        "select 1; DROP\n TABLE entraway.users;",
        "alter table entraway.users drop user_alias",
        "alter table entraway.users drop column user_alias",
        "alter table entraway.users rename a to b",
        "alter table entraway.users\n alter spend type bigint",
        "drop function entraway.f(text)",
        "drop materialized view v",
    ] {
        assert!(takes_away(bad).is_some(), "{bad}");
    }
    for good in [
        "create table t (a text) -- and drop column b a version later",
        "drop index entraway.i; alter table t drop constraint c, add constraint c check (true)",
        "alter table t add column type text; alter table t alter a drop not null",
    ] {
        assert_eq!(takes_away(good), None);
    }
    for migration in sqlx::migrate!().iter().filter(|migration| migration.version >= FIRST_VERSION) {
        assert_eq!(
            takes_away(migration.sql.as_str()),
            None,
            "{} {}: replicas of the previous version still run: expand now, contract one version later",
            migration.version,
            migration.description
        );
    }
}

/// Waits for time limits.
mod slow {
    use super::*;

    #[tokio::test]
    async fn migrate_retries_after_lock_timeout() {
        let (world, folder, config) = never_served(Native).await;
        let pool = of_the_oldest_version(&world).await;
        let mut holder = pool.begin().await.unwrap();
        sqlx::raw_sql("lock table entraway.sessions in row exclusive mode").execute(&mut *holder).await.unwrap();
        let mut program = Program::start(&folder, &["migrate", "--config", &config], &environment(&world));
        program.until("line \"retrying for\"", |program| program.stderr().contains("retrying for").then_some(())).await;
        holder.rollback().await.unwrap();
        let ended = program.end_within(Duration::from_secs(40)).await;
        assert_eq!(ended.code, 0, "{ended:?}");
        assert!(ended.stderr.contains("lock timeout"), "{ended:?}");
    }
}
