//! The effective configuration as shown: every key with its value and origin, without secrets.

use entraway::config::Setting;

use super::secrets::{Folder, without_secrets};
use super::*;

const EXAMPLE: &str = include_str!("../../../config.example.yaml");

#[track_caller]
fn setting(config: &Config, key: &str) -> Setting {
    let found = config.settings.iter().find(|setting| setting.key == key);
    found.unwrap_or_else(|| panic!("{key} is not among the settings")).clone()
}

/// The displayed value and origin.
#[track_caller]
fn shown(config: &Config, key: &str) -> (String, String) {
    let Setting { value, origin, .. } = setting(config, key);
    (value, origin)
}

fn pair(value: &str, origin: &str) -> (String, String) {
    (value.to_owned(), origin.to_owned())
}

/// The keys of the example that have a value, in its order. `url_file` is the same setting as `url`.
fn keys_of_the_example() -> Vec<String> {
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut keys = Vec::new();
    for line in EXAMPLE.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let indent = line.len() - line.trim_start().len();
        let Some((name, value)) = line.trim_start().split_once(':') else { continue };
        path.retain(|(above, _)| *above < indent);
        path.push((indent, name));
        if !value.trim().is_empty() {
            keys.push(path.iter().map(|(_, name)| *name).collect::<Vec<_>>().join("."));
        }
    }
    let base = |key: &String| key.strip_suffix("_file").map(str::to_owned);
    keys.iter().filter(|key| base(key).is_none_or(|base| !keys.contains(&base))).cloned().collect()
}

#[test]
fn settings_list_every_example_key_in_order() {
    let keys: Vec<String> = good("").settings.iter().map(|setting| setting.key.clone()).collect();
    let expected = keys_of_the_example();
    assert!(expected.len() > 50, "too few keys were found in the example: {expected:?}");
    assert_eq!(keys, expected, "left: the settings page; right: config.example.yaml");
}

#[test]
fn unset_settings_show_their_default() {
    let rows = good("").settings;
    let rows = rows.iter().map(|Setting { key, value, origin }| format!("{key} = {value} ({origin})\n"));
    insta::assert_snapshot!(rows.collect::<String>());
}

#[test]
fn file_settings_show_line_and_variables() {
    let env = and(and(least(), "HOST", "0.0.0.0"), "PORT", "9000");
    let yaml = "server:\n  # where\n  listen: ${HOST}:${PORT}\naccess:\n  return_hosts:\n  - sso.example.com\n  - \
                sso.example.com:${PORT}\nsession: {lifetime: 2h}\nlimits:\n  sign_ins_per_address: 0\n";
    let config = read(yaml, &env).unwrap_or_else(|error| panic!("{error}")).config;
    for (key, value, origin) in [
        ("server.listen", "0.0.0.0:9000", "file, line 3, with HOST and PORT of the environment"),
        ("access.return_hosts", "sso.example.com, sso.example.com:9000", "file, line 5, with PORT of the environment"),
        ("session.lifetime", "2h", "file, line 8"),
        ("session.idle_timeout", "2h", "default"),
        ("limits.sign_ins_per_address", "no limit", "file, line 10"),
    ] {
        assert_eq!(shown(&config, key), pair(value, origin), "{key}");
    }
    let null = good("server: {listen: null}\n");
    assert_eq!(setting(&null, "server.listen").origin, "default", "null counts as absent");
    let off = good("server:\n  metrics_listen: null\n");
    assert_eq!(shown(&off, "server.metrics_listen"), pair("none", "file, line 2"), "here null is a value");
    let literal = good("litellm_settings: {default_team_params: {models: [\"$${X}\"]}}");
    let models = setting(&literal, "litellm_settings.default_team_params.models");
    assert_eq!((models.value.as_str(), models.origin), ("${X}", "file, line 1".to_owned()));
}

#[test]
fn environment_settings_name_the_variable() {
    let names = [
        ("server.public_url", "PROXY_BASE_URL"),
        ("database.url", "DATABASE_URL"),
        ("entra.tenant", "MICROSOFT_TENANT"),
        ("entra.client_id", "MICROSOFT_CLIENT_ID"),
        ("entra.client_secret", "MICROSOFT_CLIENT_SECRET"),
        ("entra.service_principal_id", "MICROSOFT_SERVICE_PRINCIPAL_ID"),
        ("entra.graph_url", "MICROSOFT_GRAPH_ENDPOINT"),
        ("access.admin_user_ids", "PROXY_ADMIN_ID"),
        ("access.allowed_email_domains", "ALLOWED_EMAIL_DOMAINS"),
        ("litellm_settings.entra_groups_also_create_orgs", "ENTRA_GROUPS_ALSO_CREATE_ORGS"),
    ];
    let mut env = least();
    env.extend(super::env(&[
        ("MICROSOFT_SERVICE_PRINCIPAL_ID", ID),
        ("MICROSOFT_GRAPH_ENDPOINT", "https://graph.example.com/v1.0"),
        ("PROXY_ADMIN_ID", ID),
        ("ALLOWED_EMAIL_DOMAINS", "contoso.com"),
        ("ENTRA_GROUPS_ALSO_CREATE_ORGS", "true"),
    ]));
    let file = format!(
        "server: {{public_url: https://other.example.com}}\ndatabase: {{url: postgres://other}}\n\
         entra: {{tenant: common, client_id: {ID}, client_secret: other, service_principal_id: {OTHER_ID}, \
         graph_url: https://other.example.com/v1.0}}\naccess: {{allowed_email_domains: [other.com]}}\n\
         litellm_settings: {{entra_groups_also_create_orgs: false}}\n"
    );
    for yaml in ["", &file] {
        let config = read(yaml, &env).unwrap_or_else(|error| panic!("{error}")).config;
        for (key, name) in names {
            assert_eq!(setting(&config, key).origin, format!("environment, {name}"), "{key} of {yaml:?}");
        }
        let flag = shown(&config, "litellm_settings.entra_groups_also_create_orgs");
        assert_eq!(flag, pair("true", "environment, ENTRA_GROUPS_ALSO_CREATE_ORGS"));
    }
    let blank = read(&file, &and(env.clone(), "ALLOWED_EMAIL_DOMAINS", " ")).unwrap().config;
    assert_eq!(shown(&blank, "access.allowed_email_domains"), pair("other.com", "file, line 4"));

    let yaml = format!("access:\n  admin_user_ids: [{OTHER_ID}]\n");
    let both = read(&yaml, &env).unwrap().config;
    let expected = pair(&format!("{ID}, {OTHER_ID}"), "file, line 2, with PROXY_ADMIN_ID of the environment");
    assert_eq!(shown(&both, "access.admin_user_ids"), expected, "the variable is added");
}

#[test]
fn unused_client_secret_variable_is_not_shown_as_origin() {
    let two = good("entra: {client_secret: [one~secret, two~secret]}\n");
    assert_eq!(shown(&two, "entra.client_secret"), pair("set", "file, line 1"));

    let folder = Folder::new("effective-token");
    folder.write("token", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln");
    let loaded = folder.load("entra:\n  federated_token_file: token\n", &least());
    let config = loaded.unwrap_or_else(|error| panic!("{error}")).config;
    assert_eq!(shown(&config, "entra.client_secret"), pair("not set", "default"));
    let (path, origin) = shown(&config, "entra.federated_token_file");
    assert!(path.ends_with("/token") && origin == "file, line 2", "{path} {origin}");
}

#[test]
fn secret_file_is_shown_as_origin() {
    let folder = Folder::new("effective-secrets");
    folder.write("db", "postgresql://app:S3cret@db/x\n");
    folder.write("secret", "S3cret~file\n");
    folder.write("keys", key(1));
    folder.write("redis", "rediss://:S3cret@redis:6380/1\n");
    let yaml = "database:\n  url_file: db\nentra:\n  client_secret_file: \"${SECRETS}/secret\"\n\
                session: {cookie_keys_file: keys}\nlitellm: {redis_url_file: redis}\n";
    let env = and(without_secrets(), "SECRETS", folder.path().to_str().unwrap());
    let config = folder.load(yaml, &env).unwrap_or_else(|error| panic!("{error}")).config;
    for (key, origin) in [
        ("database.url", "secret file, named in the file, line 2"),
        ("entra.client_secret", "secret file, named in the file, line 4, with SECRETS of the environment"),
        ("session.cookie_keys", "secret file, named in the file, line 5"),
        ("litellm.redis_url", "secret file, named in the file, line 6"),
    ] {
        assert_eq!(shown(&config, key), pair("set", origin), "{key}");
    }
    let debug = format!("{config:?} {:?}", config.settings);
    assert!(!debug.contains("S3"), "{debug}");

    let config = folder.load(yaml, &and(env, "DATABASE_URL", "postgres://other")).unwrap().config;
    assert_eq!(shown(&config, "database.url"), pair("set", "environment, DATABASE_URL"));
}

#[test]
fn secret_settings_show_only_whether_they_are_set() {
    let secret = "S3cret~0123456789012345678901234567890";
    let env = and(and(without_secrets(), "S", secret), "K", &key(9));
    let yaml = format!(
        "database: {{url: \"postgres://app:${{S}}@db/x?sslpassword=${{S}}\"}}\n\
         entra: {{client_secret: [\"${{S}}\", \"{secret}x\"]}}\nsession: {{cookie_keys: [\"${{K}}\", \"{}\"]}}\n\
         store: litellm\nlitellm: {{redis_url: \"rediss://u:${{S}}@redis\"}}\n\
         litellm_settings: {{default_team_params: {{metadata: {{logging: {{langfuse_secret: \"${{S}}\"}}}}}}, \
         redis_password: {secret}}}\n",
        key(8)
    );
    let config = read(&yaml, &env).unwrap_or_else(|error| panic!("{error}")).config;
    let shown = format!("{:?}", config.settings);
    for secret in [secret, "S3", &key(8), &key(9), "sslpassword"] {
        assert!(!shown.contains(secret), "{secret} is in {shown}");
    }
    for key in ["database.url", "entra.client_secret", "session.cookie_keys", "litellm.redis_url"] {
        let Setting { value, origin, .. } = setting(&config, key);
        assert_eq!(value, "set", "{key}");
        assert!(origin.starts_with("file, line ") && origin.ends_with(" of the environment"), "{key}: {origin}");
    }
    let metadata = setting(&config, "litellm_settings.default_team_params.metadata");
    assert_eq!(metadata.value, "the keys logging");
}

#[test]
fn budgets_from_legacy_keys_show_their_origin() {
    let yaml = "litellm_settings:\n  default_team_settings: [{max_budget: 7}]\n  max_internal_user_budget: 8\n  \
                internal_user_budget_duration: 30d\n";
    let config = good(yaml);
    let at = |key: &str| shown(&config, &format!("litellm_settings.{key}"));
    assert_eq!(at("default_team_params.max_budget"), pair("7", "file, line 2"));
    assert_eq!(at("default_team_settings"), pair("max_budget of the first: 7", "file, line 2"));
    assert_eq!(at("default_internal_user_params.max_budget"), pair("8", "file, line 3"));
    assert_eq!(at("max_internal_user_budget"), pair("8", "file, line 3"));
    assert_eq!(at("default_internal_user_params.budget_duration"), pair("30d", "file, line 4"));

    let newer = "  default_team_params: {max_budget: 1}\n  default_internal_user_params: {max_budget: 2}\n";
    let config = good(&format!("{yaml}{newer}"));
    let at = |key: &str| shown(&config, &format!("litellm_settings.{key}"));
    assert_eq!(at("default_team_params.max_budget"), pair("1", "file, line 5"));
    assert_eq!(at("default_internal_user_params.max_budget"), pair("2", "file, line 6"));
}

#[test]
fn litellm_only_settings_show_no_effect_with_native_store() {
    let params = "litellm_settings:\n  default_team_params:\n    team_member_budget: 5\n    budget_duration: 30d\n    \
                  tags: [a, b]\n";
    let budget = "litellm_settings.default_team_params.team_member_budget";
    let duration = "litellm_settings.default_team_params.team_member_budget_duration";
    let native = good(params);
    assert_eq!(shown(&native, budget), pair("no effect with the native store", "file, line 3"));
    assert_eq!(shown(&native, duration), pair("none", "default"));
    let litellm = good(&format!("{params}store: litellm\n"));
    assert_eq!(shown(&litellm, budget), pair("5", "file, line 3"));
    assert_eq!(shown(&litellm, duration), pair("30d", "file, line 4"), "the team's duration is the default");
    assert_eq!(shown(&litellm, "litellm_settings.default_team_params.tags"), pair("a, b", "file, line 5"));
    assert_eq!(shown(&litellm, "litellm_settings.default_team_params.metadata"), pair("none", "default"));
}

#[test]
fn loaded_config_keeps_its_warnings() {
    let yaml = "access:\n  admin_user_ids: [nobody]\n";
    let Loaded { config, notes } = read(yaml, &least()).unwrap();
    let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(warnings.len(), 1, "{notes:#?}");
    assert!(
        warnings[0].starts_with("access.admin_user_ids[0]: has no effect, because it is not an object ID"),
        "{warnings:?}"
    );
}
