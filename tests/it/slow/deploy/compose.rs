//! compose.yaml and its configuration file.

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use clap::CommandFactory as _;
use entraway::cli::Cli;
use entraway::config::Env;
use serde_json::{Value, json};

use super::{DATABASE_URL, configuration, file, image, objections, output, schema, texts, yaml};
use crate::cli::program::Folder;
use crate::docs::markdown::root;

const IDS: [&str; 3] = ["MICROSOFT_TENANT", "MICROSOFT_CLIENT_ID", "MICROSOFT_SERVICE_PRINCIPAL_ID"];
const ID: &str = "11111111-2222-4333-8444-555555555555";

fn compose() -> Value {
    yaml(&file("compose.yaml"))
}

/// The services with their names.
fn services(compose: &Value) -> Vec<(&String, &Value)> {
    compose["services"].as_object().unwrap().iter().collect()
}

fn names(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(map) => map.keys().map(String::as_str).collect(),
        list => texts(list),
    }
}

/// Runs `docker-compose config` in a copy of the files with all variables but these. Returns whether it succeeded, and
/// its output.
fn config_without(missing: &[&str]) -> (bool, String) {
    let folder = Folder::new();
    fs::copy(root().join("compose.yaml"), folder.path().join("compose.yaml")).unwrap();
    let ids = IDS.iter().filter(|name| !missing.contains(name)).map(|name| (name, ID));
    let mut command = Command::new("docker-compose");
    command.args(["--file", "compose.yaml", "config"]).current_dir(folder.path());
    let path = std::env::var_os("PATH").unwrap();
    let ended = output("docker-compose", command.env_clear().env("PATH", path).env("HOME", folder.path()).envs(ids));
    let said = String::from_utf8(ended.stdout).unwrap() + &String::from_utf8(ended.stderr).unwrap();
    (ended.status.success(), said)
}

#[test]
fn compose_file_conforms_to_the_compose_specification() {
    let validator = jsonschema::validator_for(&schema("compose-spec.json")).unwrap();
    assert_eq!(objections(&validator, &compose()), Vec::<String>::new());
    // Control: the schema rejects an unknown key.
    let mut wrong = compose();
    wrong["services"]["entraway"]["read_onyl"] = json!(true);
    assert_ne!(objections(&validator, &wrong), Vec::<String>::new());
}

#[test]
fn docker_compose_accepts_file_and_names_missing_ids() {
    let (taken, said) = config_without(&[]);
    assert!(taken, "{said}");
    let read = yaml(&said);
    assert_eq!(read["services"]["entraway"]["environment"]["MICROSOFT_TENANT"], ID);
    assert_eq!(read["services"]["entraway"]["environment"]["SSO_HOST"], "sso.localhost");
    for missing in IDS {
        let (taken, said) = config_without(&[missing]);
        assert!(!taken && said.contains(missing), "without {missing}: {said}");
    }
}

#[test]
fn containers_run_with_least_privileges() {
    let compose = compose();
    for (name, service) in services(&compose) {
        assert_eq!(service["read_only"], true, "{name}: the root file system is writable");
        assert_eq!(texts(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(texts(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        let added = service.get("cap_add").map(texts).unwrap_or_default();
        let needed: &[&str] = if name == "caddy" { &["NET_BIND_SERVICE"] } else { &[] };
        assert_eq!(added, needed, "{name}: added capabilities");
        for forbidden in ["privileged", "network_mode", "pid", "devices"] {
            assert!(service.get(forbidden).is_none(), "{name}: {forbidden}");
        }
        for limit in ["mem_limit", "pids_limit"] {
            assert!(service.get(limit).is_some(), "{name}: no {limit}");
        }
        let secret = |text: &str| text.contains("password") || text.contains("secret");
        let environment = service["environment"].as_object().into_iter().flatten();
        let told: Vec<_> = environment.filter(|(_, value)| value.as_str().is_some_and(secret)).collect();
        let file = |(name, _): &(&String, &Value)| name.ends_with("_FILE");
        assert!(told.iter().all(file), "{name}: secrets must be files, not environment variables: {told:?}");
    }
    for name in ["entraway", "migrate"] {
        let user = format!("{0}:{0}", image::UID);
        assert_eq!(compose["services"][name]["user"], user, "{name}: the image's user");
    }
}

#[test]
fn only_caddy_is_published_and_postgres_is_internal() {
    let compose = compose();
    let on = |network: &str| -> BTreeSet<&str> {
        let services = services(&compose).into_iter();
        services
            .filter(|(_, service)| names(&service["networks"]).contains(&network))
            .map(|(name, _)| &**name)
            .collect()
    };
    assert_eq!(names(&compose["services"]["postgres"]["networks"]), ["database"]);
    assert_eq!(on("database"), BTreeSet::from(["entraway", "migrate", "postgres"]));
    assert_eq!(on("front"), BTreeSet::from(["caddy", "entraway"]));
    assert_eq!(compose["networks"]["database"]["internal"], true, "Postgres's network is not internal");
    let published: Vec<_> =
        services(&compose).into_iter().filter(|(_, service)| service.get("ports").is_some()).collect();
    assert_eq!(published.len(), 1, "{published:?}");
    assert_eq!(published[0].0, "caddy");
}

#[test]
fn services_wait_for_healthy_dependencies() {
    let compose = compose();
    for (name, service) in services(&compose) {
        let check = &service["healthcheck"];
        assert!(check["disable"] == true || check["test"].is_array(), "{name} has no health check");
    }
    let after = |name: &str, of: &str| compose["services"][name]["depends_on"][of]["condition"].clone();
    assert_eq!(after("migrate", "postgres"), "service_healthy");
    assert_eq!(after("entraway", "migrate"), "service_completed_successfully");
    assert_eq!(after("caddy", "entraway"), "service_healthy");
}

#[test]
fn compose_commands_and_mounts_exist() {
    let compose = compose();
    let (program, folder) = image::places();
    for name in ["migrate", "entraway"] {
        let service = &compose["services"][name];
        let words = texts(&service["command"]);
        assert!(Cli::command().find_subcommand(words[0]).is_some(), "{name}: unknown subcommand {words:?}");
        let mounts = texts(&service["volumes"]);
        assert_eq!(mounts, [format!("./deploy/compose/config.yaml:{folder}/config.yaml:ro")], "{name}");
    }
    let check = texts(&compose["services"]["entraway"]["healthcheck"]["test"]);
    assert_eq!(check[..2], ["CMD", &program], "the image has no shell, so the health check must run the program");
    assert!(Cli::command().find_subcommand(check[2]).is_some(), "{check:?}");
    for (name, service) in services(&compose) {
        let mounts = service.get("volumes").map(texts).unwrap_or_default();
        for here in mounts.iter().filter_map(|mount| mount.split(':').next()?.strip_prefix("./")) {
            assert!(root().join(here).is_file(), "{name} mounts {here}, which does not exist");
        }
    }
    let ignored = file(".gitignore");
    for path in ["/deploy/compose/secrets", "/.env"] {
        assert!(ignored.lines().any(|line| line == path), "{path} is not ignored by Git");
    }
}

#[test]
fn compose_config_is_valid_and_trusts_only_caddy() {
    let compose = compose();
    let env: Env = IDS.iter().map(|name| ((*name).to_owned(), ID.to_owned())).collect();
    let env: Env = env.into_iter().chain([("SSO_HOST".to_owned(), "sso.localhost".to_owned())]).collect();
    let given = compose["services"]["entraway"]["environment"].as_object().unwrap();
    assert_eq!(given.keys().collect::<Vec<_>>(), env.keys().collect::<Vec<_>>(), "the service's environment");
    let folder = Folder::new();
    let secrets = [("/run/secrets/database_url", DATABASE_URL), ("/run/secrets/client_secret", "abc8Q~placeholder")];
    let mounted: Vec<String> =
        texts(&compose["services"]["entraway"]["secrets"]).iter().map(|name| format!("/run/secrets/{name}")).collect();
    assert_eq!(mounted, secrets.map(|(path, _)| path));
    let config = configuration(&file("deploy/compose/config.yaml"), &secrets, folder.path(), &env);
    assert_eq!(i64::from(config.server.listen.port()), image::port(), "the port of the image");
    assert!(file("deploy/compose/Caddyfile").contains(&format!("reverse_proxy entraway:{}", image::port())));
    let caddy = compose["services"]["caddy"]["networks"]["front"]["ipv4_address"].as_str().unwrap();
    let trusted: Vec<String> = config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(trusted, [format!("{caddy}/32")], "Caddy's address");
    let subnet = compose["networks"]["front"]["ipam"]["config"][0]["subnet"].as_str().unwrap();
    let subnet: ipnet::IpNet = subnet.parse().unwrap();
    assert!(subnet.contains(&caddy.parse::<std::net::IpAddr>().unwrap()), "{caddy} is not in {subnet}");
}
