//! `entraway check` and `entraway serve` with a LiteLLM proxy's database, with parts of it missing, and with its Redis.

use std::time::Duration;

use entraway::domain::StoreKind;
use sqlx::{Connection as _, PgConnection};

use super::check::{assert_only_failure, assert_ready, assert_told, check, world_of};
use super::program::{CONFIG, DATABASE_PASSWORD, Folder, Program, environment, with};
use super::redis::address;
use crate::support::{World, cluster};

const TABLES: [&str; 6] = [
    "LiteLLM_BudgetTable",
    "LiteLLM_OrganizationTable",
    "LiteLLM_TeamTable",
    "LiteLLM_UserTable",
    "LiteLLM_OrganizationMembership",
    "LiteLLM_TeamMembership",
];

/// One assigned group, and a proxy's database with only the documented grants.
async fn world() -> World {
    world_of(StoreKind::LiteLlm).await
}

/// The configuration with additional team params, such as `, tags: [a]`.
fn config(team_params: &str) -> String {
    let yaml =
        format!("{CONFIG}store: litellm\n").replace("tpm_limit: 10000}", &format!("tpm_limit: 10000{team_params}}}"));
    assert!(yaml.contains(team_params), "the test's configuration no longer has these team params");
    yaml
}

fn config_with_redis(url: &str, more: &str) -> String {
    format!("{}litellm:\n  redis_url: \"{url}\"\n{more}", config(""))
}

/// The environment with an empty database, in which no migrations ran, and its superuser's URL.
async fn empty_database(world: &World) -> (Vec<(&'static str, String)>, String) {
    let name = format!("{}_empty", world.database_name);
    let cluster = cluster().await;
    let url = cluster.url(&name);
    cluster.create_database(&name, None).await.unwrap();
    let address = url.replacen('@', &format!(":{DATABASE_PASSWORD}@"), 1);
    (with(environment(world), "DB", &address), url)
}

async fn has_our_schema(url: &str) -> bool {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let found = sqlx::query_scalar("select to_regnamespace('entraway') is not null").fetch_one(&mut connection).await;
    connection.close().await.unwrap();
    found.unwrap()
}

#[tokio::test]
async fn check_accepts_litellm_database_with_least_privileges() {
    let world = world().await;
    world.grant_removal().await;
    let ended = check(&world, &config(", team_member_budget: 5, tags: [a]"), &environment(&world)).await;
    assert_ready(&ended);
    for (step, found) in [
        ("default_team_params", "gpt-4; budget $100 per 30d, next reset "),
        ("default_team_params", "10000 tokens per minute; each member: budget $5 per 30d, next reset "),
        ("database", "Postgres "),
        ("LiteLLM's tables", "all required columns and grants exist"),
        ("tables", "the schema entraway is up to date"),
        ("removal of memberships", "all required grants exist"),
        ("disabled accounts", "all required grants exist"),
        ("assigned groups", "1 can be read with the app's permissions"),
    ] {
        assert_told(&ended, "ok", step, found, "");
    }
    assert!(!ended.stdout.contains("warn"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("LiteLLM's caches"), "no Redis is configured: {}", ended.stdout);
    assert_eq!(world.sessions_and_runs().await, (0, 0), "check writes no data");
}

#[tokio::test]
async fn check_reports_each_missing_litellm_table() {
    let world = world().await;
    let (env, url) = empty_database(&world).await;
    let ended = check(&world, &config(", organization_id: org-1"), &env).await;
    for table in TABLES {
        assert_told(
            &ended,
            "FAIL",
            "LiteLLM's tables",
            &format!("missing table public.\"{table}\""),
            "docs/reference/litellm.md",
        );
    }
    assert_eq!(ended.stdout.matches("FAIL  ").count(), TABLES.len(), "nothing else is wrong:\n{}", ended.stdout);
    assert_eq!(ended.code, 1);
    assert_told(&ended, "ok", "assigned groups", "1 can be read", "");
    assert!(!has_our_schema(&url).await, "a schema was created in a database that is not LiteLLM's");
}

#[tokio::test]
async fn serve_exits_when_litellm_tables_are_missing() {
    let world = world().await;
    let (env, url) = empty_database(&world).await;
    let folder = Folder::new();
    let file = folder.file("entraway.yaml", &config(""));
    let program = Program::start(&folder, &["serve", "--config", &file], &env);
    // Far less than the 30 seconds that it waits for a database to start.
    let ended = program.end_within(Duration::from_secs(10)).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    let errors: Vec<&str> = ended.stderr.lines().filter(|line| line.starts_with("entraway: ")).collect();
    assert_eq!(errors.len(), 1, "one line reports the problem: {ended:?}");
    assert!(ended.stderr.trim_end().ends_with(errors[0]), "it is the last line: {ended:?}");
    assert!(
        errors[0]
            .starts_with("entraway: the database's LiteLLM tables cannot be used (see docs/reference/litellm.md): "),
        "{errors:?}"
    );
    for table in TABLES {
        assert_eq!(errors[0].matches(&format!("missing table public.\"{table}\"")).count(), 1, "{table}: {errors:?}");
    }
    assert!(!ended.all().contains("retrying for") && !ended.all().contains(DATABASE_PASSWORD), "{ended:?}");
    assert!(!has_our_schema(&url).await, "a schema was created in a database that is not LiteLLM's");
}

#[tokio::test]
async fn check_names_each_missing_privilege() {
    let world = world().await;
    world.sql(r#"revoke insert (budget_id) on public."LiteLLM_TeamMembership" from entraway"#).await;
    let ended = check(&world, &config(""), &environment(&world)).await;
    let found = "missing privilege INSERT on LiteLLM_TeamMembership.budget_id";
    assert_only_failure(&ended, "LiteLLM's tables", found, "docs/reference/litellm.md");

    world.sql(r#"revoke all on public."LiteLLM_TeamMembership" from entraway"#).await;
    world.sql(r#"revoke update (user_role) on public."LiteLLM_UserTable" from entraway"#).await;
    let ended = check(&world, &config(""), &environment(&world)).await;
    for found in [
        "SELECT on LiteLLM_TeamMembership.user_id",
        "SELECT on LiteLLM_TeamMembership.team_id",
        "UPDATE on LiteLLM_UserTable.user_role",
    ] {
        assert_told(
            &ended,
            "FAIL",
            "LiteLLM's tables",
            &format!("missing privilege {found}"),
            "docs/reference/litellm.md",
        );
    }
    assert_eq!(ended.code, 1);
}

#[tokio::test]
async fn check_reports_schema_that_cannot_be_created() {
    let world = world().await;
    world.sql("drop schema entraway cascade").await;
    let ended = check(&world, &config(""), &environment(&world)).await;
    assert_told(&ended, "ok", "LiteLLM's tables", "all required columns and grants", "");
    assert_only_failure(
        &ended,
        "tables",
        "the schema entraway does not exist and could not be created",
        "CREATE SCHEMA entraway AUTHORIZATION",
    );
}

#[tokio::test]
async fn check_fails_when_default_organization_is_missing() {
    let world = world().await;
    let yaml = config(", organization_id: org-1");
    let env = with(environment(&world), "ORGS", "false");
    let ended = check(&world, &yaml, &env).await;
    let found = "there is no organization org-1, so no team can be created in it";
    let remedy = "Create it, or correct default_team_params.organization_id";
    assert_only_failure(&ended, "default organization", found, remedy);

    // Not needed if each team has its own organization.
    let ended = check(&world, &yaml, &environment(&world)).await;
    let found = "default_team_params.organization_id: has no effect with entra_groups_also_create_orgs";
    assert_told(&ended, "warn", "configuration", found, "");
    assert_ready(&ended);

    world
        .sql(
            r#"insert into public."LiteLLM_BudgetTable" (budget_id, created_by, updated_by) values ('b', 'x', 'x');
               insert into public."LiteLLM_OrganizationTable"
                   (organization_id, organization_alias, budget_id, created_by, updated_by)
               values ('org-1', 'One', 'b', 'x', 'x')"#,
        )
        .await;
    let ended = check(&world, &yaml, &env).await;
    assert_told(&ended, "ok", "default organization", "org-1 exists", "");
    assert_ready(&ended);
}

#[tokio::test]
async fn check_fails_only_on_unsupported_team_param() {
    let world = world().await;
    let ended = check(&world, &config(", max_parallel_requests: 5"), &environment(&world)).await;
    let found = "litellm_settings.default_team_params.max_parallel_requests (line ";
    assert_only_failure(&ended, "configuration", found, "Remove it, and set it in LiteLLM for the teams that need it");
    let found = "): is a LiteLLM key that is not supported here";
    assert_only_failure(&ended, "configuration", found, "Remove it");
}

#[tokio::test]
async fn check_warns_of_litellm_params_with_native_store() {
    let world = world_of(StoreKind::Native).await;
    let yaml = config(", guardrails: [pii], team_member_budget: -1").replace("store: litellm\n", "");
    let ended = check(&world, &yaml, &environment(&world)).await;
    let place = "litellm_settings.default_team_params";
    assert_told(
        &ended,
        "warn",
        "configuration",
        &format!("{place}.guardrails: is a LiteLLM key that has no effect here"),
        "",
    );
    let found = format!("{place}.team_member_budget: has no effect with the native store");
    assert_told(&ended, "warn", "configuration", &found, "");
    assert_ready(&ended);
}

#[tokio::test]
async fn check_skips_redis_with_native_store() {
    let world = world_of(StoreKind::Native).await;
    let yaml = config_with_redis(&address(1), "").replace("store: litellm\n", "");
    let ended = check(&world, &yaml, &environment(&world)).await;
    assert_told(&ended, "warn", "configuration", "litellm: has no effect with the native store", "");
    assert!(!ended.stdout.contains("LiteLLM's caches"), "{}", ended.stdout);
    assert_ready(&ended);
}

#[tokio::test]
async fn check_warns_of_database_user_that_can_read_keys() {
    let world = world().await;
    let found = "this database user can also read the proxy's keys";
    let ended = check(&world, &config(""), &environment(&world)).await;
    assert!(!ended.stdout.contains(found), "the user of the grants: {}", ended.stdout);
    world.sql(r#"grant select on public."LiteLLM_VerificationToken" to entraway"#).await;
    let ended = check(&world, &config(""), &environment(&world)).await;
    assert_told(&ended, "warn", "LiteLLM's tables", found, "docs/litellm-grants.sql");
    assert_ready(&ended);
}

#[tokio::test]
async fn check_counts_leftovers_of_deleted_teams() {
    let world = world().await;
    world
        .sql(
            r#"insert into public."LiteLLM_BudgetTable" (budget_id, created_by, updated_by)
               values ('team-Evals-budget-0123456789abcdef0123456789abcdef', 'x', 'x');
               insert into public."LiteLLM_TeamTable" (team_id, team_alias) values ('there', 'There');
               insert into public."LiteLLM_UserTable" (user_id) values ('carol'), ('dave');
               insert into public."LiteLLM_TeamMembership" (user_id, team_id, budget_id)
               values ('carol', 'gone', null), ('dave', 'gone', null),
                      ('dave', 'there', 'team-Evals-budget-0123456789abcdef0123456789abcdef')"#,
        )
        .await;
    let ended = check(&world, &config(""), &environment(&world)).await;
    let remedy = "docs/reference/litellm.md, Leftovers of deleted teams";
    assert_told(&ended, "warn", "leftovers", "2 rows of LiteLLM_TeamMembership belong to no team", remedy);
    let found = "1 team memberships have the default member budget of a deleted team";
    assert_told(&ended, "warn", "leftovers", found, remedy);
    assert_ready(&ended);
}

#[tokio::test]
async fn check_fails_when_row_level_security_hides_rows() {
    let world = world().await;
    world.sql(r#"alter table public."LiteLLM_UserTable" enable row level security"#).await;
    let ended = check(&world, &config(""), &environment(&world)).await;
    let found = "row-level security hides rows of LiteLLM_UserTable";
    assert_only_failure(&ended, "LiteLLM's tables", found, "docs/reference/litellm.md");
}

/// With a real Redis.
mod slow {
    use super::super::check::{assert_ready, assert_told, check};
    use super::super::program::environment;
    use super::super::redis::{self, REDIS_PASSWORD, address, listener};
    use super::{config_with_redis, world};

    const CHANNEL: &str = "litellm_proxy.auth_cache_invalidation";

    #[tokio::test]
    async fn check_counts_listening_workers_per_namespace() {
        let (world, redis) = (world().await, redis::start());
        let env = environment(&world);
        let yaml = config_with_redis(&address(redis.port), "");
        let namespace = config_with_redis(&address(redis.port), "  redis_namespace: prod\n");

        let ended = check(&world, &yaml, &env).await;
        let remedy = "Check that a proxy uses this Redis, and that litellm.redis_namespace is its namespace";
        assert_told(&ended, "warn", "LiteLLM's caches", "Redis answers, but no proxy listens there", remedy);
        assert_ready(&ended);

        let _workers = [listener(&redis, CHANNEL).await, listener(&redis, CHANNEL).await];
        let ended = check(&world, &yaml, &env).await;
        assert_told(&ended, "ok", "LiteLLM's caches", "2 workers listen", "");
        assert_ready(&ended);
        let ended = check(&world, &namespace, &env).await;
        assert_told(&ended, "warn", "LiteLLM's caches", "no proxy listens there", remedy);
        let _worker = listener(&redis, &format!("prod:{CHANNEL}")).await;
        let ended = check(&world, &namespace, &env).await;
        assert_told(&ended, "ok", "LiteLLM's caches", "1 worker listens", "");
    }

    #[tokio::test]
    async fn check_warns_of_unusable_redis_without_its_password() {
        let (world, redis) = (world().await, redis::start());
        let remedy = "Correct litellm.redis_url, or remove it: proxies then see changes within a minute";
        for (url, secret, found) in [
            (address(1), REDIS_PASSWORD, "Redis cannot be reached"),
            (
                address(redis.port).replace(REDIS_PASSWORD, "an0ther-S3cret"),
                "an0ther-S3cret",
                "Redis rejected the user or the password",
            ),
        ] {
            let ended = check(&world, &config_with_redis(&url, ""), &environment(&world)).await;
            assert_told(&ended, "warn", "LiteLLM's caches", found, remedy);
            assert_ready(&ended);
            assert!(!ended.all().contains(secret), "the Redis password is printed: {ended:?}");
        }
    }
}
