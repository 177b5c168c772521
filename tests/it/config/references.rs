//! `${NAME}` in values.

use super::*;

#[test]
fn variable_reference_expands_in_every_scalar_form() {
    for form in ["${N}", "\"${N}\"", "'${N}'", "con${TO}.com", "|-\n    ${N}"] {
        let yaml = format!("access:\n  allowed_email_domains:\n  - {form}\n");
        let env = and(and(least(), "N", "contoso.com"), "TO", "toso");
        let domains = read(&yaml, &env).unwrap_or_else(|error| panic!("{form}: {error}")).config.policy;
        assert!(domains.allowed_email_domains.contains("contoso.com"), "{form} gave {domains:?}");
    }
    let config = read("session: {cookie_keys: [${A}, ${B}]}", &and(and(least(), "A", &key(1)), "B", &key(2)));
    let keys = config.unwrap().config.session.cookie_keys;
    assert_eq!(keys.iter().map(|key| key.as_bytes()[0]).collect::<Vec<_>>(), [1, 2]);
}

#[test]
fn numbers_and_booleans_expand_from_the_environment() {
    let yaml = "database: {max_connections: ${N}}\nsync: {nested_groups: ${YES}, assigned_groups_ttl: ${TTL}}\n\
                litellm_settings: {default_team_params: {max_budget: ${N}, tpm_limit: ${N}}}\n";
    let mut env = least();
    env.extend(super::env(&[("N", "20"), ("YES", "TRUE"), ("TTL", "5m")]));
    let config = read(yaml, &env).unwrap().config;
    assert_eq!(config.database.max_connections, 20);
    assert!(config.sync.nested_groups);
    assert_eq!(config.sync.assigned_groups_ttl, Duration::from_mins(5));
    let limits = config.policy.team_params.unwrap().limits;
    assert_eq!((limits.max_budget, limits.tpm_limit), (Some(20.0), Some(20)));
}

#[test]
fn unset_variable_problem_names_key_line_and_variable() {
    for form in ["${NONE}", "\"${NONE}\"", "'${NONE}'"] {
        let yaml = format!("entra:\n  service_principal_id: {form}\n");
        let expected = "config.yaml:2: entra.service_principal_id: the environment variable NONE is not set or empty";
        assert_said(&yaml, expected);
    }
    assert_said(
        "session:\n  cookie_keys:\n  - ${NONE}\n",
        "config.yaml:3: session.cookie_keys[0]: the environment variable NONE",
    );
}

#[test]
fn unsupported_reference_syntax_is_rejected() {
    for form in ["${N:-x}", "\"${N\"", "${}", "os.environ/N"] {
        assert_said(&format!("entra: {{service_principal_id: {form}}}"), "config.yaml:1: entra.service_principal_id: ");
    }
}

#[test]
fn variable_value_cannot_change_the_yaml_structure() {
    let env = and(least(), "N", "x]\nserver: {listen: \"${M}\"}");
    let lines = said_with("access: {allowed_email_domains: [${N}]}", &env);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("access.allowed_email_domains[0]: is not a domain"), "{lines:#?}");
}

#[test]
fn other_dollar_signs_are_text() {
    let env = and(and(least(), "A", "x${B}"), "EMPTY", "");
    let name = |text: &str| read(&format!("pages: {{name: '{text}'}}"), &env);
    for (text, expanded) in [
        ("<${A}|${A}>", "<x${B}|x${B}>"),
        ("a$b", "a$b"),
        ("$A", "$A"),
        ("$", "$"),
        ("$$", "$$"),
        ("$${A}", "${A}"),
        ("é$é", "é$é"),
    ] {
        assert_eq!(name(text).unwrap().config.pages.name.as_deref(), Some(expanded), "{text}");
    }
    for text in ["${", "${A", "${9A}", "${S3 cret}", "${A:-S3cret}", "${EMPTY}"] {
        let error = name(text).unwrap_err().to_string();
        assert!(error.starts_with("config.yaml:1: pages.name: ") && !error.contains("S3"), "{text} gave {error}");
    }
}
