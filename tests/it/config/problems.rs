//! What is said about a configuration that is wrong, and in which order.

use super::*;

#[test]
fn all_problems_are_reported_in_file_order() {
    let yaml = "server:\n  public_ur: https://sso.example.com\n  listen: here\nstore: lite\nsesion: {}\n\
                session:\n  lifetime: 60\nentra:\n  cloud: mars\n  client_id: [x]\n";
    let lines = said_with(yaml, &Env::new());
    let expected = [
        "config.yaml:1: server.public_url: is missing",
        "config.yaml:2: server.public_ur: unknown key. Did you mean public_url?",
        "config.yaml:3: server.listen: must be an IP address and a port. Write, for example, 0.0.0.0:8080",
        "config.yaml:4: store: is not a valid value. Valid values: native, litellm",
        "config.yaml:5: sesion: unknown key. Did you mean session?",
        "config.yaml:7: session.lifetime: is a number without a unit. Write 60s for seconds",
        "config.yaml:8: entra.tenant: is missing",
        "config.yaml:8: entra.client_secret: is missing",
        "config.yaml:9: entra.cloud: is not a valid value. Valid values: global, us_government, china",
        "config.yaml:10: entra.client_id: must be text, not a list",
        "database.url: is missing. Set it (or url_file) in the file, or DATABASE_URL in the environment",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}\nmust begin with\n{expected}");
    }
}

#[test]
fn metrics_listen_is_an_address_or_null() {
    let listen = |yaml: &str| good(yaml).server.metrics_listen.map(|address| address.to_string());
    assert_eq!(listen("").as_deref(), Some("127.0.0.1:9464"));
    assert_eq!(listen("server: {metrics_listen: '[::]:1'}").as_deref(), Some("[::]:1"));
    for nowhere in ["null", "~", ""] {
        assert_eq!(listen(&format!("server:\n  metrics_listen: {nowhere}\n")), None, "{nowhere:?}");
    }
    assert_said(
        "server: {metrics_listen: '9464'}",
        "config.yaml:1: server.metrics_listen: must be an IP address and a port. Write, for example, 127.0.0.1:9464, or null",
    );
}

#[test]
fn unknown_key_names_line_and_nearest_key() {
    for (yaml, expected) in [
        ("sever: {}\n", "config.yaml:1: sever: unknown key. Did you mean server?"),
        ("general_settings: {}\n", "config.yaml:1: general_settings: unknown key. Valid keys: server, database, "),
        ("server:\n  threads: x\n", "config.yaml:2: server.threads: unknown key. Valid keys: public_url, "),
        ("database: {urls: x}\n", "config.yaml:1: database.urls: unknown key. Did you mean url?"),
        ("entra:\n  clientSecret: x\n", "config.yaml:2: entra.clientSecret: unknown key. Did you mean client_secret?"),
        ("sync: {nested_group: true}\n", "config.yaml:1: sync.nested_group: unknown key. Did you mean nested_groups?"),
        (
            "access: {require-group: true}\n",
            "config.yaml:1: access.require-group: unknown key. Did you mean require_group?",
        ),
        ("session: {life_time: 1h}\n", "config.yaml:1: session.life_time: unknown key. Did you mean lifetime?"),
    ] {
        assert_said(yaml, expected);
    }
}

#[test]
fn duplicate_key_is_reported_with_other_problems() {
    let lines = said("sync:\n  nested_groups: true\n  nested_groups: false\nstore: x\n");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!(lines[0], "config.yaml:3: sync.nested_groups: duplicate key. Keep one of them");
    assert!(lines[1].starts_with("config.yaml:4: store:"), "{lines:#?}");
}

#[test]
fn section_of_wrong_type_is_reported_once() {
    let lines = said_with("server: 1\ndatabase: x\nentra: [x]\n", &Env::new());
    let expected = [
        "server: must be a mapping, not a number",
        "database: must be a mapping, not text",
        "entra: must be a mapping, not a list",
    ];
    for (index, expected) in expected.into_iter().enumerate() {
        assert!(lines[index].contains(expected), "{lines:#?}");
    }
    assert_eq!(lines.len(), 3, "{lines:#?}");
}

#[test]
fn environment_problems_name_the_variable() {
    for (name, value) in [
        ("PROXY_BASE_URL", "http://sso.example.com"),
        ("DATABASE_URL", "mysql://db"),
        ("MICROSOFT_TENANT", "consumers"),
        ("MICROSOFT_CLIENT_ID", "x"),
        ("MICROSOFT_CLIENT_SECRET", "two words"),
        ("MICROSOFT_SERVICE_PRINCIPAL_ID", "x"),
        ("MICROSOFT_GRAPH_ENDPOINT", "graph.example.com"),
        ("ENTRA_GROUPS_ALSO_CREATE_ORGS", "perhaps"),
        ("ALLOWED_EMAIL_DOMAINS", "contoso.com,no domain"),
        ("ALLOWED_EMAIL_DOMAINS", ", ,"),
    ] {
        let lines = said_with("", &and(least(), name, value));
        assert!(lines.len() == 1 && lines[0].starts_with(name), "{name}={value} gave {lines:#?}");
    }
}

#[test]
fn empty_variable_counts_as_unset() {
    let lines = said_with("", &and(least(), "DATABASE_URL", ""));
    assert!(lines.len() == 1 && lines[0].starts_with("database.url: is missing"), "{lines:#?}");
    let env = and(least(), "ALLOWED_EMAIL_DOMAINS", "");
    assert!(load(None, &env).unwrap().config.policy.allowed_email_domains.is_empty());
}

#[test]
fn deeply_nested_file_is_rejected_without_a_crash() {
    for yaml in ["[".repeat(200_000), "a: {".repeat(200_000), "- ".repeat(200_000), "&a [*a]".into()] {
        let lines = said(&yaml);
        assert_eq!(lines.len(), 1, "{lines:#?}");
    }
    good(&format!("litellm_settings: {{drop_params: {}{}}}", "[".repeat(20), "]".repeat(20)));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    #[test]
    fn loader_never_panics_on_arbitrary_text(text in "(server|entra|session|url|a|:|: |\\n|\\n  |- |\\[|\\]|\\{|\\}|\\$\\{|[\"'*&!|>#,~]|\\PC){0,40}") {
        let _ = read(&text, &least());
    }
}
