//! How `entraway serve` starts, or reports why it cannot.

use std::time::Duration;

use super::program::{CONFIG, DATABASE_PASSWORD, Folder, Program, database, environment, run, with};
use crate::support::{Browser, World};

/// Nothing listens there: the port requires root.
const NOWHERE: &str = "http://127.0.0.1:1";

/// Only the variables that LiteLLM's users have set already.
fn names_alone(world: &World) -> Vec<(&'static str, String)> {
    let directory = world.simulator.edit(|directory| directory.clone());
    vec![
        ("MICROSOFT_CLIENT_ID", directory.client_id),
        ("MICROSOFT_CLIENT_SECRET", directory.client_secret),
        ("MICROSOFT_TENANT", directory.tenant_id.to_string()),
        ("MICROSOFT_SERVICE_PRINCIPAL_ID", directory.service_principal_id),
        ("PROXY_BASE_URL", "http://localhost:8080".to_owned()),
        ("DATABASE_URL", database(world)),
        // Tests send no requests to Microsoft.
        ("HTTPS_PROXY", NOWHERE.to_owned()),
    ]
}

#[tokio::test]
async fn check_and_serve_start_from_environment_alone() {
    let (world, folder) = (World::new().await, Folder::new());
    let env = names_alone(&world);
    let checked = run(&folder, &["check"], &env).await;
    assert!(checked.stdout.contains("ok    configuration: read from environment variables only"), "{}", checked.stdout);
    assert!(checked.stdout.contains("ok    tables: "), "{}", checked.stdout);
    assert!(checked.stdout.contains("FAIL  Entra: "), "only Entra is unreachable: {}", checked.stdout);
    assert_eq!(checked.stdout.matches("FAIL").count(), 2, "that line and the summary: {}", checked.stdout);
    assert_eq!(checked.code, 1);

    // Its port is 8080, which may be in use on this machine.
    let mut program = Program::start(&folder, &["serve"], &env);
    let came_up = program
        .until("sign of life", |program| {
            let said = program.stderr();
            said.contains("ready for sign-ins").then_some(true).or(said.contains("cannot listen").then_some(false))
        })
        .await;
    if came_up {
        let alive = Browser::new().get("http://127.0.0.1:8080/healthz".parse().unwrap()).await;
        assert_eq!(alive.body, r#"{"status":"alive"}"#);
        assert_eq!(program.terminate().await.code, 0);
    } else {
        let ended = program.end_within(Duration::from_secs(5)).await;
        assert!(ended.stderr.contains("entraway: cannot listen on 0.0.0.0:8080"), "{ended:?}");
        assert_eq!(ended.code, 1);
    }
}

#[tokio::test]
async fn serve_reports_all_config_problems_without_secrets() {
    let folder = Folder::new();
    let secrets = ["S3cretOne", "S3cretTwo", "S3cretThree", "S3cretFour"];
    let config = folder.file(
        "bad.yaml",
        "server: {public_url: 'http://sso.example.com', lisen: '0.0.0.0:1'}\n\
         database: {url: 'mysql://app:S3cretOne@db/app'}\n\
         entra: {tenant: organizations, client_id: S3cretTwo, client_secret: 'S3cretThree with a blank'}\n\
         session: {idle_timeout: 99 years, cookie_keys: [S3cretFour]}\n\
         acess: {require_group: true}\n\
         litellm_settings: {default_team_params: {budget_duration: 30days}, default_internal_user_params: {user_role: boss}}\n",
    );
    for subcommand in ["serve", "migrate", "check"] {
        let ended = run(&folder, &[subcommand, "--config", &config], &[]).await;
        assert_eq!(ended.code, 1, "{ended:?}");
        let said = ended.all();
        for place in [
            "server.public_url",
            "server.lisen",
            "database.url",
            "entra.tenant",
            "entra.client_id",
            "entra.client_secret",
            "session.idle_timeout",
            "session.cookie_keys",
            "acess",
            "litellm_settings.default_team_params.budget_duration",
            "litellm_settings.default_internal_user_params.user_role",
        ] {
            assert!(said.contains(place), "{subcommand} does not name {place}:\n{said}");
        }
        assert!(said.contains("Did you mean listen?") && said.contains("Did you mean access?"), "{said}");
        for secret in secrets {
            assert!(!said.contains(secret), "{subcommand} prints {secret}:\n{said}");
        }
    }
}

#[tokio::test]
async fn serve_names_each_unset_variable() {
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", CONFIG);
    let ended = run(&folder, &["serve", "--config", &config], &[]).await;
    assert_eq!(ended.code, 1);
    for name in ["LISTEN", "DB", "TENANT", "CLIENT", "SECRET", "PRINCIPAL", "AUTHORITY", "GRAPH", "KEY", "ORGS"] {
        assert!(ended.stderr.contains(&format!("Set {name}\n")), "{name} is not reported:\n{}", ended.stderr);
    }
}

#[tokio::test]
async fn serve_without_config_names_required_variables() {
    let ended = run(&Folder::new(), &["serve"], &[]).await;
    assert_eq!(ended.code, 1);
    for name in ["PROXY_BASE_URL", "DATABASE_URL", "MICROSOFT_TENANT", "MICROSOFT_CLIENT_ID", "MICROSOFT_CLIENT_SECRET"]
    {
        assert!(ended.stderr.contains(name), "{name} is not reported:\n{}", ended.stderr);
    }
}

#[tokio::test]
async fn serve_fails_on_missing_config_file() {
    let ended = run(&Folder::new(), &["serve", "--config", "no-such.yaml"], &[]).await;
    assert_eq!(ended.code, 1);
    assert!(ended.stderr.contains("no-such.yaml") && ended.stderr.contains("cannot be read"), "{ended:?}");
}

#[tokio::test]
async fn serve_rejects_invalid_log_filter() {
    let folder = Folder::new();
    // A misspelled level would otherwise be taken for a module name, and nothing would be logged.
    for filter in ["a=b=c", "entraway=loud", "wran", "info,debgu", ""] {
        let ended = run(&folder, &["serve", "--log-level", filter], &[]).await;
        assert_eq!(ended.code, 1, "{filter:?}: {ended:?}");
        assert!(ended.stderr.contains("--log-level"), "{filter:?}: {}", ended.stderr);
        assert!(!ended.stderr.contains("PROXY_BASE_URL"), "{filter:?} was taken for a filter: {}", ended.stderr);
    }
    for filter in ["warn", "INFO", "off", "info,entraway=debug", "entraway::http=trace,warn", "info,sqlx::query=off"] {
        let ended = run(&folder, &["serve", "--log-level", filter], &[]).await;
        assert!(ended.stderr.contains("PROXY_BASE_URL"), "{filter:?} is a filter: {}", ended.stderr);
    }
}

#[tokio::test]
async fn serve_waits_for_the_database_until_sigterm() {
    let (world, folder) = (World::new().await, Folder::new());
    let config = folder.file("entraway.yaml", CONFIG);
    let away = format!("postgres://postgres:{DATABASE_PASSWORD}@127.0.0.1:1/entraway");
    let env = with(environment(&world), "DB", &away);
    let mut program = Program::start(&folder, &["serve", "--config", &config], &env);
    program.until("line \"retrying for\"", |program| program.stderr().contains("retrying for").then_some(())).await;
    let ended = program.terminate().await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!ended.all().contains(DATABASE_PASSWORD), "{ended:?}");
    assert!(!ended.all().contains("ready for sign-ins"), "{ended:?}");
}

#[tokio::test]
async fn serve_reports_listen_address_in_use() {
    let (world, folder) = (World::new().await, Folder::new());
    let config = folder.file("entraway.yaml", CONFIG);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let env = with(environment(&world), "LISTEN", &address);
    let ended = run(&folder, &["serve", "--config", &config], &env).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains(&format!("entraway: cannot listen on {address}")), "{ended:?}");
}
