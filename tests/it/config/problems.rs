//! Messages about configuration problems, and their order.

use super::*;

#[test]
fn all_problems_are_reported_in_file_order() {
    let yaml = "server:\n  public_ur: https://sso.example.com\n  listen: here\nstore: lite\nsesion: {}\n\
                session:\n  lifetime: 60\nentra:\n  cloud: mars\n  client_id: [x]\n";
    insta::assert_snapshot!(said_with(yaml, &Env::new()).join("\n"));
    insta::assert_snapshot!(said_with("server: 1\ndatabase: x\nentra: [x]\n", &Env::new()).join("\n"));
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
    insta::assert_snapshot!(problems_of([
        "sever: {}",
        "general_settings: {}",
        "server:\n  threads: x",
        "database: {urls: x}",
        "entra:\n  clientSecret: x",
        "sync: {nested_group: true}",
        "access: {require-group: true}",
        "session: {life_time: 1h}",
        "session: {assertion: {audience: x, tll: 1m}}",
        "limits: {sign_ins: 3}",
        "litellm: {redis_ur: redis://redis}",
        "litellm_settings:\n  default_team_param: {}",
    ]));
}

#[test]
fn duplicate_key_is_reported_with_other_problems() {
    let lines = said("sync:\n  nested_groups: true\n  nested_groups: false\nstore: x\n");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert_eq!(lines[0], "config.yaml:3: sync.nested_groups: duplicate key. Keep one of them");
    assert!(lines[1].starts_with("config.yaml:4: store:"), "{lines:#?}");
}

#[test]
fn environment_problems_name_the_variable() {
    let problem = |(name, value): (&str, &str)| {
        let lines = said_with("", &and(least(), name, value));
        assert!(lines.len() == 1 && lines[0].starts_with(name), "{name}={value} gave {lines:#?}");
        format!("{name}={value}\n→ {}\n\n", lines[0])
    };
    let variables = [
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
    ];
    insta::assert_snapshot!(variables.map(problem).concat());
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

#[test]
fn invalid_yaml_is_one_problem_without_its_text() {
    for text in [
        "*S3cret",
        "!S3cret",
        "!S3!x y",
        "!!int S3cret",
        "!!bool S3cret",
        "!!binary S3#",
        "@S3cret",
        "%S3cret",
        "`S3`",
        "S3: cret",
        "{S3cret",
        "[S3cret",
        "\"S3cret",
        "'S3cret",
        "\"S3\\qcret\"",
        ">S3 cret",
        "{? [S3]: x}",
        "&S3 *S3",
        "x\nS3cret",
        "x\n--- S3\n",
        "x\n? [S3]\n: 1",
    ] {
        let lines = said(&format!("ok: 1\nkey: {text}"));
        assert!(lines.len() == 1 && lines[0].contains(": YAML: "), "{text} gave {lines:?}");
        assert!(!lines[0].contains("S3") && !lines[0].starts_with("config.yaml:1:"), "{text} gave {lines:?}");
    }
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    #[test]
    fn loader_never_panics_on_arbitrary_text(text in "(server|entra|session|url|a|:|: |\\n|\\n  |- |\\[|\\]|\\{|\\}|\\$\\{|[\"'*&!|>#,~]|\\PC){0,40}") {
        let _ = read(&text, &least());
    }
}
