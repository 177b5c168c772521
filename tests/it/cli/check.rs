//! `entraway check`: each possible problem has its line, its help and its exit code.

use entra_simulator::Directory;
use entraway::domain::StoreKind;

use super::program::{CONFIG, DATABASE_PASSWORD, Ended, Folder, environment, run, with};
use crate::support::World;

#[tokio::test]
async fn check_warns_of_missing_trusted_proxies() {
    let world = world().await;
    let env = environment(&world);
    let by_https = CONFIG.replace("http://127.0.0.1:1", "https://sso.example.com");
    assert_ne!(by_https, CONFIG);
    let ended = check(&world, &by_https, &env).await;
    assert_told(&ended, "warn", "server.trusted_proxies", "a proxy terminates TLS", "addresses or networks");
    for good in [CONFIG.to_owned(), by_https.replace("server: {", "server: {trusted_proxies: [10.0.0.0/8], ")] {
        let ended = check(&world, &good, &env).await;
        assert!(!ended.stdout.contains("trusted_proxies"), "{}", ended.stdout);
        assert_ready(&ended);
    }
}

async fn world() -> World {
    world_of(StoreKind::Native).await
}

/// A world with one assigned group.
pub(super) async fn world_of(kind: StoreKind) -> World {
    let world = World::of(kind).await;
    world.simulator.edit(|directory| {
        let evals = directory.group("Production LLM Evals");
        directory.assign(evals);
    });
    world
}

/// Runs `check` with this file and environment. The output must contain no secret.
pub(crate) async fn check(world: &World, yaml: &str, env: &[(&str, String)]) -> Ended {
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", yaml);
    let ended = run(&folder, &["check", "--config", &config], env).await;
    let client_secret = env.iter().find(|(name, _)| *name == "SECRET").unwrap().1.clone();
    for secret in
        [DATABASE_PASSWORD, &client_secret, &world.simulator.edit(|directory| directory.client_secret.clone())]
    {
        assert!(!ended.all().contains(secret), "a secret is printed: {ended:?}");
    }
    assert_eq!(ended.stderr, "", "check writes only to standard output");
    ended
}

/// Asserts that the output has such a line, followed by its help.
#[track_caller]
pub(crate) fn assert_told(ended: &Ended, mark: &str, step: &str, found: &str, remedy: &str) {
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let begin = format!("{mark:<4}  {step}: ");
    let at = lines.iter().position(|line| line.starts_with(&begin) && line.contains(found));
    let at = at.unwrap_or_else(|| panic!("no line \"{begin}… {found} …\":\n{}", ended.stdout));
    if !remedy.is_empty() {
        let below = lines[at + 1];
        assert!(below.starts_with("      → ") && below.contains(remedy), "{remedy:?} is not the help in {below:?}");
    }
}

/// Asserts that only this step fails, and that the exit code reports it.
#[track_caller]
pub(crate) fn assert_only_failure(ended: &Ended, step: &str, found: &str, remedy: &str) {
    assert_told(ended, "FAIL", step, found, remedy);
    let failures = ended.stdout.lines().filter(|line| line.starts_with("FAIL")).count();
    assert_eq!(failures, 1, "one thing is wrong:\n{}", ended.stdout);
    assert!(ended.stdout.ends_with("Not ready: fix the checks marked FAIL.\n"), "{}", ended.stdout);
    assert_eq!(ended.code, 1);
}

#[track_caller]
pub(super) fn assert_ready(ended: &Ended) {
    assert!(ended.stdout.ends_with("Ready: users can sign in.\n"), "{}", ended.stdout);
    assert_eq!(ended.code, 0);
}

#[tokio::test]
async fn check_reports_each_step_when_ready() {
    let world = world().await;
    let ended = check(&world, CONFIG, &environment(&world)).await;
    assert_ready(&ended);
    let tenant = world.simulator.edit(|directory| directory.tenant_id);
    for (step, found) in [
        ("configuration", "read from "),
        ("groups", "each assigned group becomes an organization and a team in it"),
        ("default_team_params", "gpt-4; budget $100 per 30d, next reset "),
        ("new users", "role internal_user unless Entra grants an app role; all models; budget $10 per 30d"),
        ("database", "Postgres "),
        ("tables", "the schema entraway is up to date"),
        ("Entra", &format!("/{tenant}/v2.0, 1 signing key")),
        ("redirect URI", "http://127.0.0.1:1/sso/callback must be registered in Entra"),
        ("client credentials", &format!("Entra issues a token for tenant {tenant}")),
        ("assigned groups", "1 can be read with the app's permissions"),
        ("group members", "can be read with the app's permissions"),
        ("accounts", "can be read with the app's permissions"),
        ("user groups", "a sign-in reads them with the user's token"),
    ] {
        assert_told(&ended, "ok", step, found, "");
    }
    assert!(!ended.stdout.contains("warn"), "{}", ended.stdout);
    assert_eq!(world.sessions_and_runs().await, (0, 0), "check writes no data");
}

#[tokio::test]
async fn check_describes_groups_and_default_params() {
    let world = world().await;
    let ended = check(&world, CONFIG, &with(environment(&world), "ORGS", "false")).await;
    assert_told(&ended, "ok", "groups", "because entra_groups_also_create_orgs is off", "");
    assert_ready(&ended);

    let (before, _) = CONFIG.split_once("  default_team_params").unwrap();
    let ended = check(&world, before, &environment(&world)).await;
    let found = "not set: new teams and organizations have no budget, no limits and all models";
    assert_told(&ended, "warn", "default_team_params", found, "Set litellm_settings.default_team_params");
    assert_told(&ended, "ok", "new users", "role internal_user_viewer unless Entra grants an app role", "");
    assert_ready(&ended);
}

#[tokio::test]
async fn check_fails_on_wrong_client_secret() {
    let world = world().await;
    let ended = check(&world, CONFIG, &with(environment(&world), "SECRET", "wr0ng~secret")).await;
    assert_only_failure(
        &ended,
        "client credentials",
        "invalid_client",
        "the client secret is wrong. Copy the secret's value",
    );
}

#[tokio::test]
async fn check_fails_on_unknown_client_id() {
    let world = world().await;
    let env = with(environment(&world), "CLIENT", "11111111-2222-4333-8444-555555555555");
    let ended = check(&world, CONFIG, &env).await;
    assert_only_failure(
        &ended,
        "client credentials",
        "unauthorized_client",
        "check that this app exists in the tenant",
    );
}

#[tokio::test]
async fn check_fails_without_application_read_all() {
    let world = world().await;
    world.simulator.edit(|directory| directory.app_permissions.application_read = false);
    let ended = check(&world, CONFIG, &environment(&world)).await;
    let remedy = "Add the application permission Application.Read.All and grant admin consent";
    assert_only_failure(&ended, "assigned groups", "(403)", remedy);
}

#[tokio::test]
async fn check_warns_without_permissions_of_the_run() {
    let world = world().await;
    world.simulator.edit(|directory| directory.app_permissions.user_read = false);
    let ended = check(&world, CONFIG, &environment(&world)).await;
    let remedy =
        "Add the application permission User.Read.All and grant admin consent. Without it, disabled and deleted";
    assert_told(&ended, "warn", "accounts", "(403)", remedy);
    assert_told(&ended, "ok", "group members", "can be read", "");
    assert_ready(&ended);

    world.simulator.edit(|directory| directory.app_permissions.group_member_read = false);
    let ended = check(&world, CONFIG, &environment(&world)).await;
    let remedy = "Add the application permission GroupMember.Read.All and grant admin consent. Without it, a user who";
    assert_told(&ended, "warn", "group members", "(403)", remedy);
    assert_told(&ended, "ok", "assigned groups", "1 can be read", "");
    assert_ready(&ended);
}

#[tokio::test]
async fn check_fails_on_unknown_service_principal_id() {
    let world = world().await;
    let env = with(environment(&world), "PRINCIPAL", "11111111-2222-4333-8444-555555555555");
    let ended = check(&world, CONFIG, &env).await;
    let remedy = "the object ID under Enterprise apps, not the one under App registrations";
    assert_only_failure(&ended, "assigned groups", "(404)", remedy);
}

#[tokio::test]
async fn check_fails_on_client_id_as_service_principal_id() {
    let world = world().await;
    let client = world.simulator.edit(|directory| directory.client_id.clone());
    let ended = check(&world, CONFIG, &with(environment(&world), "PRINCIPAL", &client)).await;
    assert_told(&ended, "warn", "configuration", "entra.service_principal_id: is the client ID", "");
    assert_only_failure(&ended, "assigned groups", "(404)", "Set entra.service_principal_id to the object ID");
}

#[tokio::test]
async fn check_warns_without_service_principal_or_assigned_groups() {
    let world = world().await;
    let yaml = CONFIG.replace("  service_principal_id: ${PRINCIPAL}\n", "");
    let ended = check(&world, &yaml, &environment(&world)).await;
    let remedy = "Set entra.service_principal_id to the object ID of the enterprise app";
    assert_told(&ended, "warn", "assigned groups", "service_principal_id is not set", remedy);
    assert_ready(&ended);

    world.simulator.edit(|directory: &mut Directory| directory.assignments.clear());
    let ended = check(&world, CONFIG, &environment(&world)).await;
    let remedy = "Assign groups in the Entra admin center";
    assert_told(&ended, "warn", "assigned groups", "no group is assigned to the app", remedy);
    assert_ready(&ended);
}

#[tokio::test]
async fn check_continues_without_a_database() {
    let world = world().await;
    let away = format!("postgres://postgres:{DATABASE_PASSWORD}@127.0.0.1:1/entraway");
    let ended = check(&world, CONFIG, &with(environment(&world), "DB", &away)).await;
    let found = "the database is not available: the database server 127.0.0.1:1 cannot be reached: ";
    assert_only_failure(&ended, "database", found, "check the address, and that Postgres is running");
    assert_told(&ended, "ok", "assigned groups", "1 can be read", "");
}

#[tokio::test]
async fn check_warns_of_remote_database_without_verified_tls() {
    let world = world().await;
    for (address, warned) in [
        ("db.invalid", true),
        ("db.invalid:5432/entraway?sslmode=require", true),
        ("db.invalid:5432/entraway?sslmode=verify-full", false),
        ("127.0.0.1:1/entraway", false),
    ] {
        let url = format!("postgres://app:{DATABASE_PASSWORD}@{address}");
        let ended = check(&world, CONFIG, &with(environment(&world), "DB", &url)).await;
        if warned {
            assert_told(
                &ended,
                "warn",
                "database",
                "does not verify the server db.invalid",
                "Add sslmode=verify-full to database.url",
            );
        }
        assert_eq!(ended.stdout.contains("sslmode"), warned, "{address}: {}", ended.stdout);
        let found = if address.contains("invalid") { "the database server db.invalid:5432" } else { "127.0.0.1:1" };
        assert_only_failure(&ended, "database", found, "check the address");
    }
}

#[tokio::test]
async fn check_fails_on_unknown_tenant_or_unreachable_login_host() {
    let world = world().await;
    let env = with(environment(&world), "TENANT", "11111111-2222-4333-8444-555555555555");
    let ended = check(&world, CONFIG, &env).await;
    assert_only_failure(&ended, "Entra", "Entra answered 400", "check entra.tenant");

    let ended = check(&world, CONFIG, &with(environment(&world), "AUTHORITY", "http://127.0.0.1:1")).await;
    assert_only_failure(&ended, "Entra", "could not be read", "this machine can reach the login host");
}
