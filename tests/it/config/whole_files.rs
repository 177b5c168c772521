//! Whole configurations: only the environment, the example, no file.

use super::*;

#[test]
fn environment_alone_is_a_complete_config() {
    let config = load(None, &least()).unwrap().config;
    assert_eq!(config.server.public_url.origin(), "https://sso.example.com");
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:8080");
    assert_eq!(config.database.url.expose_secret(), "postgres://app:S3cret@db/entraway");
    assert_eq!(config.database.max_connections, 10);
    assert_eq!(config.entra.tenant, Tenant::Id(ID.parse().unwrap()));
    assert_eq!(config.entra.client_id, OTHER_ID);
    assert_eq!(secrets_of(&config), ["S3cret~value"]);
    assert_eq!(config.entra.service_principal_id, None);
    assert_eq!(config.entra.authority_url.as_str(), "https://login.microsoftonline.com/");
    assert_eq!(config.entra.graph_url.as_str(), "https://graph.microsoft.com/v1.0");
    assert_eq!(config.sync.assigned_groups_ttl, Duration::from_mins(1));
    assert_eq!(config.session.idle_timeout, Duration::from_hours(8));
    assert_eq!(config.session.lifetime, Duration::from_hours(24));
    assert!(config.litellm.redis_url.is_none() && config.litellm.redis_namespace.is_none());
    assert!(config.policy.team_params.is_none() && !config.policy.also_create_orgs);
    assert_eq!(config.policy.default_role(), UserRole::InternalUserViewer);
}

#[test]
fn every_variable_is_read_and_overrides_the_file() {
    let mut env = least();
    env.extend(super::env(&[
        ("MICROSOFT_SERVICE_PRINCIPAL_ID", "ABCDEF00-1111-4111-8111-111111111111"),
        ("MICROSOFT_GRAPH_ENDPOINT", "https://graph.example.com/beta/"),
        ("PROXY_ADMIN_ID", "AAAAAAAA-1111-4111-8111-111111111111"),
        ("ALLOWED_EMAIL_DOMAINS", " Contoso.com, @fabrikam.com ,"),
        ("ENTRA_GROUPS_ALSO_CREATE_ORGS", "Yes"),
    ]));
    let yaml = format!(
        "server: {{public_url: https://other.example.com}}\ndatabase: {{url: postgres://other}}\n\
         entra: {{tenant: common, client_id: {ID}, client_secret: other, service_principal_id: {ID}, \
         graph_url: https://other.example.com/v1.0}}\n\
         access: {{allowed_email_domains: [other.com], admin_user_ids: [{OTHER_ID}]}}\n\
         litellm_settings: {{entra_groups_also_create_orgs: false}}\n"
    );
    let Loaded { config, notes } = read(&yaml, &env).unwrap();
    assert_eq!(config.server.public_url.origin(), "https://sso.example.com");
    assert_eq!(config.database.url.expose_secret(), "postgres://app:S3cret@db/entraway");
    assert_eq!(config.entra.tenant, Tenant::Id(ID.parse().unwrap()));
    assert_eq!(config.entra.client_id, OTHER_ID);
    assert_eq!(secrets_of(&config), ["S3cret~value"]);
    assert_eq!(config.entra.service_principal_id.as_deref(), Some("abcdef00-1111-4111-8111-111111111111"));
    assert_eq!(config.entra.graph_url.as_str(), "https://graph.example.com/beta");
    let domains: Vec<_> = config.policy.allowed_email_domains.into_iter().collect();
    assert_eq!(domains, ["contoso.com", "fabrikam.com"]);
    let admins: Vec<_> = config.policy.admin_user_ids.into_iter().collect();
    assert_eq!(admins, [OTHER_ID, "aaaaaaaa-1111-4111-8111-111111111111"]);
    assert!(config.policy.also_create_orgs);
    assert_eq!(notes.len(), 9, "each overridden value of the file is noted: {notes:#?}");
    assert!(notes.iter().all(|note| note.level == NoteLevel::Debug), "{notes:#?}");
}

#[test]
fn example_loads_and_states_the_defaults() {
    let yaml = include_str!("../../../config.example.yaml");
    let env = env(&[("DATABASE_URL", "postgres://db/entraway"), ("MICROSOFT_CLIENT_SECRET", "S3cret")]);
    let Loaded { config, notes } = read(yaml, &env).unwrap_or_else(|error| panic!("{error}"));
    assert!(notes.iter().all(|note| note.level == NoteLevel::Debug), "{notes:#?}");

    let mut least = env;
    let zero = "00000000-0000-0000-0000-000000000000";
    least.insert("PROXY_BASE_URL".into(), "https://sso.example.com".into());
    least.insert("MICROSOFT_TENANT".into(), zero.into());
    least.insert("MICROSOFT_CLIENT_ID".into(), zero.into());
    let mut expected = load(None, &least).unwrap().config;
    expected.policy.also_create_orgs = config.policy.also_create_orgs;
    expected.policy.team_params = config.policy.team_params.clone();
    expected.policy.user_params = config.policy.user_params.clone();
    // The origins of the values differ.
    expected.settings = config.settings.clone();
    assert_eq!(format!("{config:#?}"), format!("{expected:#?}"), "a value of the example is not the default");

    let params = TeamParams {
        models: vec!["gpt-4".into(), "gpt-3.5-turbo".into()],
        limits: Limits {
            max_budget: Some(100.0),
            budget_duration: Some("30d".parse().unwrap()),
            tpm_limit: Some(10_000),
            rpm_limit: Some(1_000),
        },
        ..TeamParams::default()
    };
    assert_eq!(config.policy.team_params, Some(params));
    assert_eq!(config.policy.user_params.user_role, Some(UserRole::InternalUser));
    assert_eq!(config.policy.user_params.limits.max_budget, Some(10.0));
    assert_eq!(config.policy.user_params.models, ["gpt-3.5-turbo"]);
}

#[test]
fn empty_file_and_null_sections_are_accepted() {
    for yaml in ["", "# nothing\n", "server:\nentra: ~\nlitellm_settings: null\nlitellm:\nsession: {}\nstore:\n"] {
        good(yaml);
    }
}

#[test]
fn unreadable_config_file_is_named() {
    let error = load(Some(Path::new("/nowhere/config.yaml")), &least()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/config.yaml: cannot be read (entity not found). Give the path of a readable file"
    );
}

#[test]
fn yaml_syntax_error_is_one_problem_with_its_line() {
    assert_said("server:\n  listen: a: b\n", "config.yaml:2: YAML: mapping values are not allowed");
    assert_said("- a\n- b\n", "config.yaml:1: YAML: must be a mapping of sections");
}
