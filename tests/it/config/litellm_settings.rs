//! The section `litellm_settings`, which can be copied from a LiteLLM proxy's configuration.

use super::*;

fn team(yaml: &str) -> String {
    format!("litellm_settings:\n  default_team_params:\n    {yaml}\n")
}

fn user(yaml: &str) -> String {
    format!("litellm_settings:\n  default_internal_user_params:\n    {yaml}\n")
}

#[test]
fn proxy_only_keys_are_ignored_with_a_note() {
    let yaml = "litellm_settings:\n  drop_params: true\n  callbacks: [otel]\n  default_team_settings: [{team_id: x}]\n  \
                cache_params: {password: \"${NONE}\"}\n";
    let notes = notes(yaml, NoteLevel::Debug);
    let expected = [
        "default_team_settings: is a LiteLLM key and is ignored, except max_budget of the first entry",
        "drop_params: is a LiteLLM key and is ignored",
        "callbacks: is a LiteLLM key and is ignored",
        "cache_params: is a LiteLLM key and is ignored",
    ];
    assert_eq!(notes, expected.map(|note| format!("litellm_settings.{note}")));
}

/// A section as in the configuration of LiteLLM 1.110.
const OF_A_PROXY: &str = r#"
store: litellm
litellm_settings:
  telemetry: false
  callbacks: [prometheus, otel]
  success_callback: ["langfuse"]
  drop_params: true
  set_verbose: false
  default_fallbacks: [gpt-4]
  num_retries: 2
  request_timeout: 600
  cache: true
  cache_params: {type: redis, host: os.environ/REDIS_HOST, password: os.environ/REDIS_PASSWORD}
  max_budget: 1000
  max_user_budget: 10
  max_end_user_budget: 1
  budget_duration: 30d
  timezone: Europe/Berlin
  guardrails: [{pii: {callbacks: [presidio]}}]
  default_key_generate_params: {max_budget: 1, models: [gpt-4]}
  upperbound_key_generate_params: {duration: 30d}
  default_team_settings: [{team_id: t, langfuse_secret: os.environ/LANGFUSE_SECRET}]
  default_team_params:
    models: [gpt-4]
    max_budget: 100
    budget_duration: monthly
    tpm_limit: 1000
    rpm_limit: 10
    team_member_permissions: [/key/generate, /key/update, /key/delete]
    organization_id: null
    access_group_ids: [engineering]
    guardrails: [pii]
    soft_budget: 80
    tpd_limit: 100000
    object_permission: {mcp_servers: [docs]}
  default_internal_user_params:
    user_role: internal_user
    max_budget: 10
    budget_duration: weekly
    models: [no-default-models]
    teams: [{team_id: t, max_budget_in_team: 5, user_role: user}]
"#;

#[test]
fn real_proxy_section_is_accepted_with_warnings() {
    let params = good(OF_A_PROXY).policy.team_params.unwrap();
    assert_eq!((params.limits.max_budget, params.access_group_ids), (Some(100.0), vec!["engineering".to_owned()]));
    let warned: Vec<String> = notes(OF_A_PROXY, NoteLevel::Warning);
    let warned: Vec<&str> = warned.iter().map(|note| note.split(": ").next().unwrap()).collect();
    let mut expected = ["guardrails", "object_permission", "soft_budget", "tpd_limit"]
        .map(|key| format!("litellm_settings.default_team_params.{key}"))
        .to_vec();
    expected.push("litellm_settings.default_internal_user_params.teams".to_owned());
    let mut sorted = warned.clone();
    sorted.sort_by_key(|place| expected.iter().position(|known| known == place));
    assert_eq!(sorted, expected, "no other warnings");
}

#[test]
fn misspelled_litellm_settings_key_is_rejected() {
    assert_said(
        "litellm_settings:\n  default_team_param: {}\n",
        "config.yaml:2: litellm_settings.default_team_param: unknown key. Did you mean default_team_params?",
    );
    assert_said(
        "litellm_settings: {Default-Team-Params: {}}",
        "config.yaml:1: litellm_settings.Default-Team-Params: unknown key",
    );
    for (slip, meant) in [
        ("default-team-params", "default_team_params"),
        ("entra_group_also_create_org", "entra_groups_also_create_orgs"),
        ("default_internal_user_parms", "default_internal_user_params"),
        ("default_team_setings", "default_team_settings"),
        ("max_internal_users_budget", "max_internal_user_budget"),
        ("internal_user_budget_durations", "internal_user_budget_duration"),
    ] {
        assert_said(
            &format!("litellm_settings:\n  {slip}: 1\n"),
            &format!("config.yaml:2: litellm_settings.{slip}: unknown key. Did you mean {meant}?"),
        );
    }
}

#[test]
fn null_team_params_differ_from_empty_ones() {
    assert_eq!(good("litellm_settings: {default_team_params: null}").policy.team_params, None);
    assert_eq!(good("litellm_settings: {default_team_params: {}}").policy.team_params, Some(TeamParams::default()));
}

#[test]
fn models_are_trimmed_and_deduplicated_in_order() {
    let policy = good(&team("models: [\" b \", a, b]")).policy;
    assert_eq!(policy.team_params.unwrap().models, ["b", "a"]);
    assert_said(
        &team("models: [a, 4]"),
        "config.yaml:3: litellm_settings.default_team_params.models[1]: must be text, not a number. Put it in quotes",
    );
    assert_said(&team("models: [\" \"]"), "config.yaml:3: litellm_settings.default_team_params.models[0]: is empty");
    assert_said(
        &team("models: a"),
        "config.yaml:3: litellm_settings.default_team_params.models: must be a list, not text",
    );
}

#[test]
fn team_limits_reject_invalid_numbers() {
    for bad in [
        "max_budget: -1",
        "max_budget: .inf",
        "max_budget: .nan",
        "max_budget: 1e999",
        "max_budget: \"1\"",
        "max_budget: yes",
        "tpm_limit: -1",
        "tpm_limit: 1.5",
        "tpm_limit: 9223372036854775808",
        "rpm_limit: many",
        "rpm_limit: [1]",
        "budget_duration: 30",
        "budget_duration: 30 days",
        "budget_duration: 0d",
    ] {
        let key = bad.split(':').next().unwrap();
        assert_said(&team(bad), &format!("config.yaml:3: litellm_settings.default_team_params.{key}: "));
    }
    let limits =
        good(&team("{max_budget: 0, tpm_limit: 0, rpm_limit: 9223372036854775807}")).policy.team_params.unwrap().limits;
    assert_eq!((limits.max_budget, limits.tpm_limit, limits.rpm_limit), (Some(0.0), Some(0), Some(i64::MAX)));
}

#[test]
fn litellm_params_warn_and_unknown_params_are_rejected() {
    for (yaml, place) in [
        (team("guardrails: [x]"), "litellm_settings.default_team_params.guardrails"),
        (user("teams: [x]"), "litellm_settings.default_internal_user_params.teams"),
        (user("available_teams: [x]"), "litellm_settings.default_internal_user_params.available_teams"),
    ] {
        assert_eq!(notes(&yaml, NoteLevel::Warning), [format!("{place}: is a LiteLLM key that has no effect here")]);
    }
    assert_said(
        &team("tpm_limits: 1"),
        "config.yaml:3: litellm_settings.default_team_params.tpm_limits: unknown key. Did you mean tpm_limit?",
    );
    assert_said(
        &user("user_rol: x"),
        "config.yaml:3: litellm_settings.default_internal_user_params.user_rol: unknown key. Did you mean user_role?",
    );
}

#[test]
fn default_role_warns_of_admin_and_rejects_org_admin() {
    let place = "litellm_settings.default_internal_user_params.user_role";
    for (role, read) in
        [("internal_user", UserRole::InternalUser), ("internal_user_viewer", UserRole::InternalUserViewer)]
    {
        assert_eq!(good(&user(&format!("user_role: {role}"))).policy.default_role(), read);
    }
    for role in ["proxy_admin", "proxy_admin_viewer"] {
        let expected = format!("{place}: every user without an app role in Entra becomes {role}");
        assert_eq!(notes(&user(&format!("user_role: {role}")), NoteLevel::Warning), [expected]);
    }
    for (role, expected) in [
        (
            "org_admin",
            "org_admin applies to particular organizations, so it cannot be the default role. Valid values: proxy_admin, ",
        ),
        ("internal_usr", "is not a role. Did you mean internal_user?"),
        ("team", "is not a role. Valid values: proxy_admin, proxy_admin_viewer, internal_user, internal_user_viewer"),
    ] {
        assert_said(&user(&format!("user_role: {role}")), &format!("config.yaml:3: {place}: {expected}"));
    }
}

#[test]
fn legacy_team_budget_applies_when_new_key_is_unset() {
    let older = |settings: &str, params: &str| {
        let yaml = format!("  default_team_settings: {settings}\n  default_team_params: {params}\n");
        let of = |store: &str| {
            let policy = good(&format!("store: {store}\nlitellm_settings:\n{yaml}")).policy;
            policy.team_params.and_then(|params| params.limits.max_budget)
        };
        let budget = of("native");
        assert_eq!(of("litellm"), budget, "with both stores the same: {yaml}");
        budget
    };
    assert_eq!(older("[{max_budget: 5, team_id: x}, {max_budget: 9}]", "null"), Some(5.0), "the first one's");
    assert_eq!(older("[{max_budget: 5}]", "{models: [a]}"), Some(5.0));
    assert_eq!(older("[{max_budget: 5}]", "{max_budget: 7}"), Some(7.0));
    assert_eq!(older("[{max_budget: 5}]", "{max_budget: 0}"), Some(0.0));
    for none in ["[{team_id: x}, {max_budget: 9}]", "[{max_budget: null}]", "[]", "[x]", "{max_budget: 5}", "x"] {
        assert_eq!(older(none, "null"), None, "LiteLLM finds none: {none}");
    }
    assert_eq!(
        older("[{langfuse_secret: \"${NO_SUCH}\", key: os.environ/NO_SUCH, max_budget: 5}]", "null"),
        Some(5.0),
        "keys of the proxy alone are ignored"
    );
    assert_said(
        "litellm_settings:\n  default_team_settings:\n  - team_id: x\n    max_budget: -1\n",
        "config.yaml:4: litellm_settings.default_team_settings[0].max_budget: must be a finite number",
    );
}

#[test]
fn legacy_user_budget_applies_when_new_key_is_unset() {
    let limits = |yaml: &str| {
        let limits = good(&format!("litellm_settings:\n{yaml}")).policy.user_params.limits;
        (limits.max_budget, limits.budget_duration.map(|duration| duration.to_string()))
    };
    let monthly = Some("30d".to_owned());
    let old = "  max_internal_user_budget: 5\n  internal_user_budget_duration: 30d\n";
    assert_eq!(limits(old), (Some(5.0), monthly.clone()));
    assert_eq!(limits("  default_max_internal_user_budget: 7\n"), (Some(7.0), None));
    assert_eq!(limits("  default_max_internal_user_budget: 7\n  max_internal_user_budget: 5\n"), (Some(5.0), None));
    let newer = format!("{old}  default_internal_user_params: {{max_budget: 1}}\n");
    assert_eq!(limits(&newer), (Some(1.0), monthly), "each key on its own");
    let newer = format!("{old}  default_internal_user_params: {{max_budget: 0, budget_duration: 1d}}\n");
    assert_eq!(limits(&newer), (Some(0.0), Some("1d".to_owned())));
    assert_said(
        "litellm_settings:\n  max_internal_user_budget: a lot\n",
        "config.yaml:2: litellm_settings.max_internal_user_budget: must be a number",
    );
}
