//! The section `litellm`: the Redis that notifies proxies of changes.

use entraway::policy::OrgTeamModels;

use super::*;

fn url(value: &str) -> String {
    format!("litellm:\n  redis_url: \"{value}\"\n")
}

#[test]
fn redis_url_and_namespace_are_read() {
    for value in [
        "redis://redis",
        "redis://redis:6379/",
        "redis://127.0.0.1:6379/15",
        "redis://[::1]:6379",
        "redis://:p%40ss@redis",
        "rediss://user:password@redis.example.com:6380/0",
    ] {
        let litellm = good(&url(value)).litellm;
        assert_eq!(litellm.redis_url.as_ref().map(ExposeSecret::expose_secret), Some(value));
        assert_eq!(litellm.redis_namespace, None);
    }
    let yaml = "litellm: {redis_url: \"redis://:${PW}@redis\", redis_namespace: prod}";
    let litellm = read(yaml, &and(least(), "PW", "S3cret")).unwrap().config.litellm;
    assert_eq!(litellm.redis_url.unwrap().expose_secret(), "redis://:S3cret@redis");
    assert_eq!(litellm.redis_namespace.as_deref(), Some("prod"));
}

#[test]
fn invalid_redis_url_is_rejected() {
    insta::assert_snapshot!(problems_of(
        [
            "",
            "redis.example.com:6379",
            "https://redis.example.com",
            "valkey://redis",
            "redis+unix:///run/redis.sock",
            "unix:///run/redis.sock",
            "redis://",
            "redis://:pass@",
            "redis://:pa ss@redis",
            "redis://:pa/ss@redis",
            "redis://:12/ss@redis",
            "redis://u:12/ss@redis",
            "redis://redis/db",
            "redis://redis:6379,other:6379",
            "rediss://redis?ssl_cert_reqs=none",
            "rediss://redis/#insecure",
        ]
        .map(url)
    ));
}

#[test]
fn redis_namespace_requires_text_and_a_url() {
    let with_url = |namespace: &str| {
        format!("litellm:\n  redis_url: redis://redis\n  redis_namespace: {namespace}\nstore: litellm\n")
    };
    assert_said(&with_url("\"\""), "config.yaml:3: litellm.redis_namespace: is empty. Write the namespace");
    assert_said(&with_url("7"), "config.yaml:3: litellm.redis_namespace: must be text, not a number");
    assert_eq!(notes(&with_url("prod"), NoteLevel::Warning), [] as [&str; 0]);
    let expected = ["litellm.redis_namespace: has no effect without litellm.redis_url"];
    assert_eq!(notes("litellm: {redis_namespace: prod}\nstore: litellm", NoteLevel::Warning), expected);
    let expected = ["litellm: has no effect with the native store"];
    assert_eq!(notes("litellm: {redis_url: redis://redis}", NoteLevel::Warning), expected);
}

#[test]
fn org_team_models_is_expand_or_inherit_with_litellm_store() {
    let models = |yaml: &str| good(yaml).policy.org_team_models;
    assert_eq!(models("store: litellm"), OrgTeamModels::Expand, "the default");
    assert_eq!(models("store: litellm\nlitellm: {org_team_models: expand}"), OrgTeamModels::Expand);
    assert_eq!(models("store: litellm\nlitellm: {org_team_models: inherit}"), OrgTeamModels::Inherit);
    assert_said(
        "store: litellm\nlitellm: {org_team_models: expnd}",
        "config.yaml:2: litellm.org_team_models: is not a valid value",
    );
    assert_said(
        "litellm: {org_team_models: [expand]}",
        "config.yaml:1: litellm.org_team_models: must be text, not a list",
    );
    let native = "litellm: {org_team_models: expand}";
    assert_eq!(models(native), OrgTeamModels::Inherit, "the native store keeps all-org-models");
    assert_eq!(notes(native, NoteLevel::Warning), ["litellm: has no effect with the native store"]);
}
