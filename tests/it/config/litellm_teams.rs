//! Settings of a new team beyond models and limits: LiteLLM keys that one store, both or neither supports.

use entraway::domain::StoreKind;
use serde_json::{Value, json};

use super::*;

const PLACE: &str = "litellm_settings.default_team_params";
const PEOPLE: &str = "litellm_settings.default_internal_user_params";
const NATIVE: &str = "has no effect with the native store";

/// Keys that LiteLLM reads in both sections, and that Entraway accepts without applying them.
const NOT_APPLIED: [&str; 4] = ["guardrails", "object_permission", "soft_budget", "tpd_limit"];
const NOT_APPLIED_TO_USERS: [&str; 4] = ["guardrails", "object_permission", "soft_budget", "teams"];

/// The other keys that LiteLLM 1.110.2 reads in `default_team_params` (`NewTeamRequest` and its base classes).
const NOT_OURS: [&str; 33] = [
    "admins",
    "allowed_passthrough_routes",
    "allowed_vector_store_indexes",
    "blocked",
    "budget_limits",
    "default_estimated_output_tokens",
    "default_estimated_output_tokens_per_model",
    "default_team_member_models",
    "denied_passthrough_routes",
    "disable_global_guardrails",
    "enforced_batch_output_expires_after",
    "enforced_file_expires_after",
    "mcp_rpm_limit",
    "members",
    "members_with_roles",
    "model_aliases",
    "model_max_budget",
    "model_rpm_limit",
    "model_tpm_limit",
    "policies",
    "prompts",
    "require_trace_id",
    "router_settings",
    "rpm_limit_type",
    "secret_manager_settings",
    "team_alias",
    "team_id",
    "team_member_key_duration",
    "team_member_model_max_budget",
    "tpm_limit_type",
    // Keys of other versions, or in metadata.
    "allow_team_guardrail_config",
    "logging",
    "max_parallel_requests",
];

/// The same for `default_internal_user_params`: `NewUserRequest` and its base classes.
const NOT_OURS_OF_PEOPLE: [&str; 21] = [
    "agent_id",
    "aliases",
    "allowed_cache_controls",
    "blocked",
    "budget_fallbacks",
    "budget_limits",
    "config",
    "max_parallel_requests",
    "mcp_rpm_limit",
    "metadata",
    "model_max_budget",
    "model_rpm_limit",
    "model_tpm_limit",
    "organizations",
    "password",
    "permissions",
    "policies",
    "prompts",
    "spend",
    "tag_rpm_limit",
    "team_id",
];

/// Those of them that do not affect a user's row.
const WITHOUT_EFFECT_ON_PEOPLE: [&str; 9] = [
    "auto_create_key",
    "available_teams",
    "duration",
    "key_alias",
    "send_invite_email",
    "sso_user_id",
    "user_alias",
    "user_email",
    "user_id",
];

/// A file for this store with these team params on line 3.
fn team(store: StoreKind, yaml: &str) -> String {
    section("default_team_params", store, yaml)
}

fn section(key: &str, store: StoreKind, yaml: &str) -> String {
    let store = match store {
        StoreKind::Native => "native",
        StoreKind::LiteLlm => "litellm",
    };
    format!("litellm_settings:\n  {key}:\n    {yaml}\nstore: {store}\n")
}

/// The params that the LiteLLM store gets.
#[track_caller]
fn params(yaml: &str) -> TeamParams {
    good(&team(StoreKind::LiteLlm, yaml)).policy.team_params.expect("there are team params")
}

#[test]
fn default_organization_applies_only_to_litellm_store() {
    for (store, organization) in [(StoreKind::Native, None), (StoreKind::LiteLlm, Some("org-1"))] {
        let yaml = team(store, "{organization_id: \" org-1 \", metadata: {cost_center: 7}, tags: [a]}");
        let params = good(&yaml).policy.team_params.unwrap();
        assert_eq!(params.organization_id.as_deref(), organization);
        assert_eq!(Value::Object(params.metadata), json!({"cost_center": 7, "tags": ["a"]}));
        let told = format!("{PLACE}.organization_id: has no effect with the native store");
        let told = organization.is_none().then_some(told).into_iter().collect::<Vec<_>>();
        assert_eq!(notes(&yaml, NoteLevel::Warning), told, "with {store:?}");
    }
    for (bad, expected) in [
        ("organization_id: 7", "organization_id: must be text, not a number"),
        ("organization_id: [a]", "organization_id: must be text, not a list"),
        ("organization_id: \" \"", "organization_id: is empty. Write the ID of an organization"),
    ] {
        assert_said(&team(StoreKind::LiteLlm, bad), &format!("config.yaml:3: {PLACE}.{expected}"));
    }
    assert_eq!(params("organization_id: null").organization_id, None);
}

#[test]
fn default_organization_warns_when_orgs_are_created() {
    let yaml = |flag: bool| {
        format!(
            "store: litellm\n\
             litellm_settings: {{entra_groups_also_create_orgs: {flag}, default_team_params: {{organization_id: o}}}}"
        )
    };
    assert_eq!(notes(&yaml(false), NoteLevel::Warning), [] as [&str; 0]);
    let expected = "has no effect with entra_groups_also_create_orgs, which gives each team its own organization";
    assert_eq!(notes(&yaml(true), NoteLevel::Warning), [format!("{PLACE}.organization_id: {expected}")]);
}

#[test]
fn metadata_keeps_json_types() {
    for (yaml, expected) in [
        ("{}", json!({})),
        (
            "{a: true, b: false, c: null, d: [null, []], e: {}}",
            json!({"a": true, "b": false, "c": null, "d": [null, []], "e": {}}),
        ),
        ("{a: 0, b: -1, c: 1.5, d: -2.5e-3, e: 1e30}", json!({"a": 0, "b": -1, "c": 1.5, "d": -0.0025, "e": 1e30})),
        (
            "{a: 9223372036854775807, b: 18446744073709551615, c: -9223372036854775808}",
            json!({"a": i64::MAX, "b": u64::MAX, "c": i64::MIN}),
        ),
        // As JavaScript reads and Python writes it.
        (
            "{a: 18446744073709551616, b: -9223372036854775809}",
            json!({"a": 18_446_744_073_709_551_616.0, "b": -9_223_372_036_854_775_809.0}),
        ),
        (
            "{a: \"\", b: \"7\", c: \"true\", \"d e\": \" x \", \"\": f}",
            json!({"a": "", "b": "7", "c": "true", "d e": " x ", "": "f"}),
        ),
        ("{a: {b: [{c: d}, 1, \"é\"]}}", json!({"a": {"b": [{"c": "d"}, 1, "é"]}})),
    ] {
        assert_eq!(Value::Object(params(&format!("metadata: {yaml}")).metadata), expected, "{yaml}");
    }
    assert!(params("metadata: null").metadata.is_empty(), "null counts as absent");
}

#[test]
fn metadata_expands_variables_at_any_depth_as_text() {
    let yaml = team(
        StoreKind::LiteLlm,
        "{metadata: {a: \"x${NAME}\", b: [{c: \"${SEVEN}\"}], d: \"$${NAME}\"}, tags: [\"${NAME}\"]}",
    );
    let env = and(and(least(), "NAME", "{\"y\": 1}"), "SEVEN", "7");
    let params = read(&yaml, &env).expect("both are set").config.policy.team_params.unwrap();
    let expected = json!({"a": "x{\"y\": 1}", "b": [{"c": "7"}], "d": "${NAME}", "tags": ["{\"y\": 1}"]});
    assert_eq!(Value::Object(params.metadata), expected);
    assert_said(
        &team(StoreKind::LiteLlm, "metadata:\n      team:\n        - x: \"${NO_SUCH}\""),
        &format!("config.yaml:5: {PLACE}.metadata.team[0].x: the environment variable NO_SUCH is not set or empty"),
    );
    assert_said(
        &team(StoreKind::LiteLlm, "metadata: {key: os.environ/LANGFUSE}"),
        &format!("config.yaml:3: {PLACE}.metadata.key: os.environ/NAME is not supported. Write ${{NAME}}"),
    );
}

#[test]
fn metadata_that_is_not_a_json_mapping_is_rejected() {
    for (yaml, expected) in [
        ("[a]", "metadata: must be a mapping. Write its keys below it"),
        ("text", "metadata: must be a mapping"),
        ("7", "metadata: must be a mapping"),
        ("true", "metadata: must be a mapping"),
        ("{a: .nan}", "metadata.a: must be a finite number"),
        ("{a: [1, {b: -.inf}]}", "metadata.a[1].b: must be a finite number"),
        ("{a: {\"S3cret key!\": .inf}}", "metadata.a.(invalid key name): must be a finite number"),
    ] {
        assert_said(
            &team(StoreKind::LiteLlm, &format!("metadata: {yaml}")),
            &format!("config.yaml:3: {PLACE}.{expected}"),
        );
    }
}

#[test]
fn tags_override_metadata_tags() {
    let metadata = |yaml: &str| Value::Object(params(yaml).metadata);
    assert_eq!(metadata("{metadata: {tags: [x], a: 1}, tags: [\" b \", a]}"), json!({"a": 1, "tags": ["b", "a"]}));
    assert_eq!(metadata("{metadata: {tags: [x]}}"), json!({"tags": ["x"]}));
    assert_eq!(metadata("{metadata: {tags: [x]}, tags: null}"), json!({"tags": ["x"]}));
    assert_eq!(metadata("tags: []"), json!({"tags": []}));
    for (bad, expected) in [
        ("tags: a", "tags: must be a list, not text"),
        ("tags: {a: b}", "tags: must be a list, not a mapping"),
        ("tags: [a, 7]", "tags[1]: must be text, not a number. Put it in quotes"),
        ("tags: [\" \"]", "tags[0]: is empty"),
    ] {
        assert_said(&team(StoreKind::LiteLlm, bad), &format!("config.yaml:3: {PLACE}.{expected}"));
    }
}

#[test]
fn metadata_member_budget_id_is_dropped_with_a_warning() {
    let yaml = team(StoreKind::LiteLlm, "metadata: {team_member_budget_id: b-1, a: {team_member_budget_id: b-2}}");
    let expected =
        format!("{PLACE}.metadata.team_member_budget_id: is managed by the proxy and is ignored, as in the proxy");
    assert_eq!(notes(&yaml, NoteLevel::Warning), [expected]);
    let metadata = good(&yaml).policy.team_params.unwrap().metadata;
    assert_eq!(
        Value::Object(metadata),
        json!({"a": {"team_member_budget_id": "b-2"}}),
        "the key is reserved only at the top level"
    );
}

#[test]
fn member_permissions_are_routes_deduplicated_in_order() {
    assert_eq!(params("models: []").team_member_permissions, None);
    assert_eq!(params("team_member_permissions: []").team_member_permissions, Some(Vec::new()));
    let permissions =
        params("team_member_permissions: [\" /key/info \", /key/generate, /key/info, \"/key/{key_id}/regenerate\"]");
    let expected = ["/key/info", "/key/generate", "/key/{key_id}/regenerate"].map(str::to_owned);
    assert_eq!(permissions.team_member_permissions.as_deref(), Some(&expected[..]));
    for (bad, expected) in [
        ("/key/info", ": must be a list, not text"),
        (
            "[/key/info, key/generate]",
            "[1]: is not a management route. Write a route such as /key/generate or /key/info",
        ),
        ("[7]", "[0]: must be text, not a number"),
        ("[\"\"]", "[0]: is empty"),
    ] {
        let yaml = team(StoreKind::LiteLlm, &format!("team_member_permissions: {bad}"));
        assert_said(&yaml, &format!("config.yaml:3: {PLACE}.team_member_permissions{expected}"));
    }
}

#[test]
fn member_limits_are_set_only_by_their_own_keys() {
    let members = |yaml: &str| params(yaml).member_limits;
    assert_eq!(
        members("{max_budget: 5, budget_duration: 30d, tpm_limit: 7}"),
        None,
        "the team's limits do not apply to members"
    );
    assert_eq!(members("{team_member_budget: null, team_member_rpm_limit: null}"), None, "null counts as absent");

    let all = "{team_member_budget: 2.5, team_member_budget_duration: 1mo, team_member_tpm_limit: 0, \
               team_member_rpm_limit: 9223372036854775807}";
    let expected = Limits {
        max_budget: Some(2.5),
        budget_duration: Some("1mo".parse().unwrap()),
        tpm_limit: Some(0),
        rpm_limit: Some(i64::MAX),
    };
    assert_eq!(members(all), Some(expected.clone()));
    assert_eq!(params(all).limits, Limits::default(), "member limits do not apply to the team");

    let of_team = members("{budget_duration: 1mo, team_member_rpm_limit: 1}").expect("a key is there");
    assert_eq!(of_team.budget_duration, expected.budget_duration, "the team's duration is the default for members");
    let own = members("{budget_duration: 30d, team_member_budget_duration: 1mo}").expect("a key is there");
    assert_eq!(own, Limits { budget_duration: expected.budget_duration, ..Limits::default() });
    assert_eq!(
        members("team_member_budget: 0").map(|limits| (limits.max_budget, limits.budget_duration)),
        Some((Some(0.0), None))
    );
}

const BAD_FOR_MEMBERS: [&str; 16] = [
    "team_member_budget: -1",
    "team_member_budget: .nan",
    "team_member_budget: .inf",
    "team_member_budget: \"1\"",
    "team_member_budget: [1]",
    "team_member_budget_duration: 30",
    "team_member_budget_duration: 30 days",
    "team_member_budget_duration: 0d",
    "team_member_budget_duration: \"\"",
    "team_member_budget_duration: {a: b}",
    "team_member_tpm_limit: -1",
    "team_member_tpm_limit: 1.5",
    "team_member_tpm_limit: 9223372036854775808",
    "team_member_rpm_limit: many",
    "team_member_rpm_limit: true",
    "team_member_permissions: \"${NO_SUCH}\"",
];

#[test]
fn member_limits_reject_invalid_numbers() {
    for bad in BAD_FOR_MEMBERS {
        let key = bad.split(':').next().unwrap();
        assert_said(&team(StoreKind::LiteLlm, bad), &format!("config.yaml:3: {PLACE}.{key}: "));
    }
}

#[test]
fn litellm_only_params_warn_with_native_store() {
    for value in BAD_FOR_MEMBERS.into_iter().chain(["team_member_budget: 5", "team_member_permissions: [/key/info]"]) {
        let key = value.split(':').next().unwrap();
        let yaml = team(StoreKind::Native, value);
        assert_eq!(notes(&yaml, NoteLevel::Warning), [format!("{PLACE}.{key}: {NATIVE}")], "{value}");
        assert_eq!(good(&yaml).policy.team_params, Some(TeamParams::default()), "{value}");
    }
    assert_eq!(notes(&team(StoreKind::Native, "team_member_budget: null"), NoteLevel::Warning), [] as [&str; 0]);

    let people = |store, yaml: &str| section("default_internal_user_params", store, yaml);
    for (key, bad) in [("tpm_limit", "-1"), ("rpm_limit", "1.5"), ("tpm_limit", "many"), ("rpm_limit", "[1]")] {
        let yaml = format!("{key}: {bad}");
        assert_said(&people(StoreKind::LiteLlm, &yaml), &format!("config.yaml:3: {PEOPLE}.{key}: "));
        assert_eq!(notes(&people(StoreKind::Native, &yaml), NoteLevel::Warning), [format!("{PEOPLE}.{key}: {NATIVE}")]);
    }
    let yaml = people(StoreKind::LiteLlm, "{tpm_limit: 5, rpm_limit: 0}");
    let limits = good(&yaml).policy.user_params.limits;
    assert_eq!((limits.tpm_limit, limits.rpm_limit), (Some(5), Some(0)));
    assert_eq!(notes(&yaml, NoteLevel::Warning), [] as [&str; 0]);
}

#[test]
fn unsupported_team_params_are_rejected_with_litellm_store() {
    for key in NOT_OURS {
        for value in ["[x]", "7", "{a: b}", "\"${NO_SUCH}\"", "false"] {
            let yaml = format!("{key}: {value}");
            let expected = format!(
                "config.yaml:3: {PLACE}.{key}: is a LiteLLM key that is not supported here. Remove it, and set it in LiteLLM"
            );
            assert_said(&team(StoreKind::LiteLlm, &yaml), &expected);
            let expected = format!("{PLACE}.{key}: is a LiteLLM key that has no effect here");
            assert_eq!(notes(&team(StoreKind::Native, &yaml), NoteLevel::Warning), [expected]);
        }
        let nothing = team(StoreKind::LiteLlm, &format!("{key}: null"));
        assert_eq!(notes(&nothing, NoteLevel::Warning), [] as [&str; 0], "null counts as absent");
    }
    let all = NOT_OURS.map(|key| format!("{key}: 1")).join("\n    ");
    let lines = said(&team(StoreKind::LiteLlm, &all));
    assert_eq!(lines.len(), NOT_OURS.len(), "all of them are reported: {lines:#?}");
    for (index, key) in NOT_OURS.iter().enumerate() {
        let begin = format!("config.yaml:{}: {PLACE}.{key}: ", index + 3);
        assert!(lines.iter().any(|line| line.starts_with(&begin)), "no line begins {begin:?}: {lines:#?}");
    }
}

#[test]
fn params_that_are_not_applied_warn() {
    for (name, place, keys, rest) in [
        (
            "default_team_params",
            PLACE,
            NOT_APPLIED,
            "teams that Entraway creates. Set it on each team in LiteLLM after its first sign-in (/team/update)",
        ),
        (
            "default_internal_user_params",
            PEOPLE,
            NOT_APPLIED_TO_USERS,
            "users that Entraway creates. Set it on each user in LiteLLM (/user/update), and add users to teams by \
             Entra groups",
        ),
    ] {
        for key in keys {
            for value in ["[x]", "7", "{a: b}", "\"${NO_SUCH}\""] {
                let yaml = format!("{key}: {value}");
                let expected = [format!("{place}.{key}: is not applied to {rest}")];
                assert_eq!(notes(&section(name, StoreKind::LiteLlm, &yaml), NoteLevel::Warning), expected);
                let expected = [format!("{place}.{key}: is a LiteLLM key that has no effect here")];
                assert_eq!(notes(&section(name, StoreKind::Native, &yaml), NoteLevel::Warning), expected);
            }
            let nothing = section(name, StoreKind::LiteLlm, &format!("{key}: null"));
            assert_eq!(notes(&nothing, NoteLevel::Warning), [] as [&str; 0], "null counts as absent");
        }
    }
}

#[test]
fn access_groups_are_deduplicated_in_order() {
    assert_eq!(params("models: []").access_group_ids, [] as [&str; 0]);
    assert_eq!(params("access_group_ids: [\" b \", a, b]").access_group_ids, ["b", "a"]);
    for (bad, expected) in [
        ("a", ": must be a list, not text"),
        ("[a, 7]", "[1]: must be text, not a number"),
        ("[\" \"]", "[0]: is empty"),
    ] {
        let yaml = team(StoreKind::LiteLlm, &format!("access_group_ids: {bad}"));
        assert_said(&yaml, &format!("config.yaml:3: {PLACE}.access_group_ids{expected}"));
    }
    let yaml = team(StoreKind::Native, "access_group_ids: [a]");
    assert_eq!(notes(&yaml, NoteLevel::Warning), [format!("{PLACE}.access_group_ids: {NATIVE}")]);
    assert_eq!(good(&yaml).policy.team_params, Some(TeamParams::default()));
}

#[test]
fn unsupported_user_params_are_rejected_with_litellm_store() {
    let people = |store, yaml: &str| section("default_internal_user_params", store, yaml);
    for key in NOT_OURS_OF_PEOPLE {
        let yaml = format!("{key}: [x]");
        let expected = format!(
            "config.yaml:3: {PEOPLE}.{key}: is a LiteLLM key that is not supported here. Remove it, and set it in LiteLLM \
             for the users that need it"
        );
        assert_said(&people(StoreKind::LiteLlm, &yaml), &expected);
        let expected = format!("{PEOPLE}.{key}: is a LiteLLM key that has no effect here");
        assert_eq!(notes(&people(StoreKind::Native, &yaml), NoteLevel::Warning), [expected]);
        let nothing = people(StoreKind::LiteLlm, &format!("{key}: null"));
        assert_eq!(notes(&nothing, NoteLevel::Warning), [] as [&str; 0], "null counts as absent");
    }
}

#[test]
fn user_params_without_effect_warn_with_either_store() {
    for key in WITHOUT_EFFECT_ON_PEOPLE {
        for store in [StoreKind::Native, StoreKind::LiteLlm] {
            let yaml = section("default_internal_user_params", store, &format!("{key}: [x]"));
            assert_eq!(
                notes(&yaml, NoteLevel::Warning),
                [format!("{PEOPLE}.{key}: is a LiteLLM key that has no effect here")]
            );
        }
    }
}

#[test]
fn unknown_team_param_suggests_the_nearest_key() {
    for store in [StoreKind::Native, StoreKind::LiteLlm] {
        for (slip, meant) in [
            ("organisation_id", "organization_id"),
            ("tag", "tags"),
            ("meta_data", "metadata"),
            ("team_member_permission", "team_member_permissions"),
            ("team_members_budget", "team_member_budget"),
            ("team-member-budget-duration", "team_member_budget_duration"),
            ("team_member_tpm_limits", "team_member_tpm_limit"),
        ] {
            let expected = format!("config.yaml:3: {PLACE}.{slip}: unknown key. Did you mean {meant}?");
            assert_said(&team(store, &format!("{slip}: 1")), &expected);
        }
        let expected = format!("config.yaml:3: {PLACE}.colour: unknown key. Valid keys: models, ");
        let lines = said(&team(store, "colour: 1"));
        let known = |line: &String| line.contains("team_member_rpm_limit") && line.contains("metadata");
        assert!(lines.len() == 1 && known(&lines[0]), "must give: {expected}\nbut gave: {lines:#?}");
    }
}
