//! Valid and invalid values of each key.

use entraway::reconciliation::Limits;

use super::*;

#[test]
fn trusted_proxies_accept_networks_and_addresses() {
    let config = good("server: {trusted_proxies: [10.1.2.3/8, 192.0.2.7, \"2001:db8::/32\", \"::1\"]}");
    let shown: Vec<_> = config.server.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "::1/128"]);
    assert_said(
        "server:\n  trusted_proxies:\n  - 10.0.0.0/8\n  - proxy\n",
        "config.yaml:4: server.trusted_proxies[1]: ",
    );
}

#[test]
fn max_connections_requires_an_integer_in_range() {
    for (value, read) in [("1", 1), ("1000", 1000)] {
        assert_eq!(good(&format!("database: {{max_connections: {value}}}")).database.max_connections, read);
    }
    let values = ["0", "1001", "-1", "1.0", "99999999999999999999", "\"10\"", "true", "[10]"];
    insta::assert_snapshot!(problems_of(values.map(|value| format!("database: {{max_connections: {value}}}"))));
}

#[test]
fn limits_require_integers_and_only_rates_can_be_zero() {
    let limits = good("").limits;
    assert_eq!((limits.connections, limits.concurrent_sign_ins), (512, 128));
    assert_eq!(limits.sign_ins_per_address.unwrap().get(), 600);
    assert_eq!(limits.sign_ins_per_user.unwrap().get(), 60);
    for (key, least, most) in [
        ("connections", 1, 65_536),
        ("concurrent_sign_ins", 1, 10_000),
        ("sign_ins_per_address", 0_u32, 1_000_000_u32),
        ("sign_ins_per_user", 0, 1_000_000),
    ] {
        for value in [least, most] {
            let limits = good(&format!("limits: {{{key}: {value}}}")).limits;
            let read = match key {
                "connections" => limits.connections,
                "concurrent_sign_ins" => limits.concurrent_sign_ins,
                "sign_ins_per_user" => limits.sign_ins_per_user.map_or(0, NonZeroU32::get) as usize,
                _ => limits.sign_ins_per_address.map_or(0, NonZeroU32::get) as usize,
            };
            assert_eq!(read, value as usize, "{key}");
        }
        let below = i64::from(least) - 1;
        for value in [below.to_string(), (most + 1).to_string(), "60s".into(), "1.5".into(), "[]".into()] {
            assert_said(
                &format!("limits: {{{key}: {value}}}"),
                &format!("config.yaml:1: limits.{key}: must be a whole number"),
            );
        }
    }
}

#[test]
fn clients_are_distinguishable_unless_a_proxy_is_unnamed() {
    for (server, apart) in [
        ("{}", false),
        ("{trusted_proxies: []}", false),
        ("{trusted_proxies: [10.0.0.0/8]}", true),
        ("{trusted_proxies: [::1]}", true),
    ] {
        assert_eq!(good(&format!("server: {server}")).server.knows_client_addresses(), apart, "{server}");
    }
    let local = and(least(), "PROXY_BASE_URL", "http://localhost:8080");
    assert!(read("", &local).unwrap().config.server.knows_client_addresses(), "a localhost URL needs no proxy");
}

#[test]
fn tenant_is_an_id_a_domain_or_a_keyword() {
    let tenant = |text: &str| {
        let mut env = least();
        env.remove("MICROSOFT_TENANT");
        let yaml = format!("entra: {{tenant: '{text}', allowed_tenants: [{ID}]}}");
        let single = yaml.replace(&format!(", allowed_tenants: [{ID}]"), "");
        read(&single, &env).or_else(|_| read(&yaml, &env)).map(|loaded| loaded.config.entra.tenant)
    };
    let id = "11111111-2222-3333-4444-AAAAAAAAAAAA";
    for (text, expected) in [
        (id, Tenant::Id(id.parse().unwrap())),
        ("Contoso.onmicrosoft.com", Tenant::Domain("contoso.onmicrosoft.com".into())),
        ("organizations", Tenant::Organizations),
        ("COMMON", Tenant::Common),
    ] {
        assert_eq!(tenant(text).unwrap(), expected, "{text}");
    }
    let personal = "9188040d-6c67-4c5b-b112-36a304b66dad";
    let invalid = ["", "contoso", "11111111-2222", "https://contoso.com", "10.0.0.1", "Consumers", personal];
    insta::assert_snapshot!(invalid.map(|text| tenant(text).unwrap_err().to_string() + "\n").concat());
}

#[test]
fn allowed_tenants_are_required_only_for_an_open_endpoint() {
    let open = |tenant: &str, allowed: &str| {
        let mut env = least();
        env.remove("MICROSOFT_TENANT");
        read(&format!("entra: {{tenant: {tenant}, allowed_tenants: {allowed}}}"), &env)
    };
    let one = format!("[{ID}]");
    for tenant in ["organizations", "common"] {
        assert_eq!(open(tenant, &one).unwrap().config.entra.allowed_tenants.len(), 1, "{tenant}");
        for none in ["[]", "null"] {
            let error = open(tenant, none).unwrap_err().to_string();
            assert!(error.contains("entra.tenant: organizations and common require entra.allowed_tenants"), "{error}");
        }
    }
    for tenant in [ID, "contoso.com"] {
        assert!(open(tenant, "[]").is_ok(), "{tenant}");
        let error = open(tenant, &one).unwrap_err().to_string();
        assert!(error.starts_with("config.yaml:1: entra.allowed_tenants: requires organizations or common"), "{error}");
    }
    let error = open("common", "[9188040d-6c67-4c5b-b112-36a304b66dad, x]").unwrap_err();
    assert_eq!(error.problems.len(), 2, "personal accounts and invalid IDs are rejected: {error}");
}

#[test]
fn cloud_selects_hosts_and_urls_override_them() {
    for (cloud, authority, graph) in [
        ("global", "https://login.microsoftonline.com/", "https://graph.microsoft.com/v1.0"),
        ("us_government", "https://login.microsoftonline.us/", "https://graph.microsoft.us/v1.0"),
        ("china", "https://login.partner.microsoftonline.cn/", "https://microsoftgraph.chinacloudapi.cn/v1.0"),
    ] {
        let entra = good(&format!("entra: {{cloud: {cloud}}}")).entra;
        assert_eq!((entra.authority_url.as_str(), entra.graph_url.as_str()), (authority, graph), "{cloud}");
    }
    let yaml = "entra: {authority_url: \"http://127.0.0.1:9/x/\", graph_url: \"http://[::1]:9/v1.0//\"}";
    let entra = good(yaml).entra;
    assert_eq!(entra.authority_url.as_str(), "http://127.0.0.1:9/x");
    assert_eq!(entra.graph_url.as_str(), "http://[::1]:9/v1.0");
    for key in ["authority_url", "graph_url"] {
        let urls = ["http://login.example.com", "https://u:p@e.com", "https://e.com?x", "https://e.com#x", "e.com"];
        insta::assert_snapshot!(problems_of(urls.map(|url| format!("entra:\n  {key}: {url}"))));
    }
}

#[test]
fn durations_require_a_unit_and_a_range() {
    for (value, seconds) in [("0s", 0), ("60s", 60), ("1m 30s", 90), ("1h", 3600)] {
        let ttl = good(&format!("sync: {{assigned_groups_ttl: {value}}}")).sync.assigned_groups_ttl;
        assert_eq!(ttl, Duration::from_secs(seconds), "{value}");
    }
    let values = ["60", "\"60\"", "soon", "1.5", "true", "61m", "-1s", "0", "\"0\"", "\"\"", "[60s]"];
    insta::assert_snapshot!(problems_of(values.map(|value| format!("sync: {{assigned_groups_ttl: {value}}}"))));
}

#[test]
fn audit_retention_has_a_default_and_a_range() {
    let days = |yaml: &str| good(yaml).audit.retention.as_secs() / (24 * 60 * 60);
    assert_eq!(days(""), 400);
    assert_eq!(days("audit: {retention: 30d}"), 30);
    assert_eq!(days("audit: {retention: 10y}"), 3_652);
    let range = "config.yaml:1: audit.retention: must be from 30days to 10years";
    assert_said("audit: {retention: 29d}", range);
    assert_said("audit: {retention: 11y}", range);
}

#[test]
fn removal_limits_have_defaults_and_ranges() {
    let limits = |yaml: &str| good(yaml).sync.removal_limits;
    assert_eq!(limits(""), Limits::default());
    let all = "sync: {removal_limits: {group_percent: 0, group_minimum: 1, emptied_minimum: 2, run_percent: 100, \
               run_minimum: 1000000, day_percent: 99}}";
    let expected = Limits {
        group_percent: 0,
        group_minimum: 1,
        emptied_minimum: 2,
        run_percent: 100,
        run_minimum: 1_000_000,
        day_percent: 99,
    };
    assert_eq!(limits(all), expected);
    insta::assert_snapshot!(problems_of([
        "sync: {removal_limits: {group_percent: 101}}",
        "sync: {removal_limits: {group_minimum: 0}}",
        "sync: {removal_limits: {emptied_minimum: 1.5}}",
        "sync: {removal_limits: {run_percent: 20%}}",
        "sync: {removal_limits: {run_minimum: -1}}",
        "sync: {removal_limits: {day_precent: 30}}",
        "sync: {removal_limits: 20}",
    ]));
}

#[test]
fn idle_timeout_cannot_exceed_the_lifetime() {
    let session = good("session: {lifetime: 4h}").session;
    assert_eq!((session.idle_timeout, session.lifetime), (Duration::from_hours(4), Duration::from_hours(4)));
    good("session: {idle_timeout: 1m, lifetime: 1m}");
    good("session: {idle_timeout: 30d, lifetime: 30d}");
    insta::assert_snapshot!(problems_of([
        "session: {idle_timeout: 25h}",
        "session: {idle_timeout: 59s}",
        "session: {lifetime: 31d}",
        "session: {idle_timeout: 25h, lifetime: 31d}",
    ]));
}

#[test]
fn require_group_needs_a_service_principal_id() {
    assert_said(
        "access: {require_group: true}",
        "config.yaml:1: access.require_group: requires entra.service_principal_id",
    );
    good("access: {require_group: false}");
    assert!(
        good(&format!("access: {{require_group: true}}\nentra: {{service_principal_id: {ID}}}")).policy.require_group
    );
    let env = and(least(), "MICROSOFT_SERVICE_PRINCIPAL_ID", ID);
    assert!(read("access: {require_group: true}", &env).unwrap().config.policy.require_group);
}

#[test]
fn email_domains_are_normalized() {
    let policy = good("access: {allowed_email_domains: [Contoso.COM, \"@fabrikam.com\"]}").policy;
    assert_eq!(policy.allowed_email_domains.into_iter().collect::<Vec<_>>(), ["contoso.com", "fabrikam.com"]);
    let values = ["[\"\"]", "[\"*\"]", "[a@b.com]", "[localhost]", "contoso.com", "[4]", "[~]"];
    insta::assert_snapshot!(problems_of(values.map(|value| format!("access: {{allowed_email_domains: {value}}}"))));
}

#[test]
fn role_precedence_is_first_or_highest() {
    assert_eq!(good("sync: {role_precedence: first}").policy.role_precedence, RolePrecedence::First);
    assert_eq!(good("sync: {role_precedence: highest}").policy.role_precedence, RolePrecedence::Highest);
    assert_said(
        "sync: {role_precedence: higest}",
        "config.yaml:1: sync.role_precedence: is not a valid value. Did you mean highest?",
    );
}

#[test]
fn suspicious_values_are_warnings() {
    for (yaml, expected) in [
        ("server: {trusted_proxies: [0.0.0.0/0]}".to_owned(), "server.trusted_proxies[0]: trusts every address"),
        (format!("entra: {{service_principal_id: {OTHER_ID}}}"), "entra.service_principal_id: is the client ID"),
        ("entra: {graph_url: https://graph.example.com}".into(), "entra.graph_url: does not end with a version"),
        (
            "access: {admin_user_ids: [default_user_id]}".into(),
            "access.admin_user_ids[0]: has no effect, because it is not an object ID",
        ),
    ] {
        let notes = notes(&yaml, NoteLevel::Warning);
        assert!(notes.len() == 1 && notes[0].starts_with(expected), "{yaml} gave {notes:#?}");
    }
    let loaded = load(None, &and(least(), "MICROSOFT_CLIENT_SECRET", ID)).unwrap();
    assert!(loaded.notes[0].to_string().contains("looks like a client secret's ID"), "{:?}", loaded.notes);
}
