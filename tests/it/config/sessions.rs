//! Where a session is valid: the cookie's domain, allowed hosts of `return_to`, assertions.

use super::*;

#[test]
fn session_defaults_are_one_host_and_a_1s_cache() {
    let config = good("");
    let session = &config.session;
    assert_eq!((session.max_per_user, session.cache_ttl), (20, Duration::from_secs(1)));
    assert!(session.cookie_domain.is_none() && session.assertion.is_none() && config.return_hosts.is_empty());
    let session = good("session: {max_per_user: 1, cache_ttl: 0s, assertion: {audience: ' x '}}").session;
    assert_eq!((session.max_per_user, session.cache_ttl), (1, Duration::ZERO));
    let assertion = session.assertion.unwrap();
    assert_eq!((assertion.audience.as_deref(), assertion.ttl), (Some("x"), Duration::from_mins(1)));
    assert!(assertion.audiences.is_empty());
}

#[test]
fn assertion_audiences_are_read_by_host() {
    const PROXY: &str = "server: {trusted_proxies: [10.0.0.2]}\n";
    let of = |assertion: &str| good(&format!("{PROXY}session: {{assertion: {assertion}}}"));
    let assertion = of("{}").session.assertion.unwrap();
    assert_eq!((assertion.audience, assertion.audiences.len()), (None, 0), "behind a proxy no audience is needed");
    let config = of("{audiences: {App.example.com: ' a ', 'b.example.com:8443': 'urn:b', 'c.example.com:443': c}}");
    let audiences = &config.session.assertion.as_ref().unwrap().audiences;
    let read: Vec<(&str, &str)> = audiences.iter().map(|(host, audience)| (&**host, &**audience)).collect();
    assert_eq!(read, [("app.example.com", "a"), ("b.example.com:8443", "urn:b"), ("c.example.com", "c")]);
    let setting = config.settings.iter().find(|setting| setting.key == "session.assertion").unwrap();
    assert_eq!(
        setting.value,
        "audience: a for app.example.com, urn:b for b.example.com:8443, c for c.example.com, else the upstream's \
         origin; ttl 1m"
    );
    let invalid = [
        "[]",
        "{a.example.com: ''}",
        "{'https://a.example.com': x}",
        "{'*.example.com': x}",
        "{a.example.com: x, A.example.com: z}",
    ];
    let file = |audiences| format!("{PROXY}session: {{assertion: {{audiences: {audiences}}}}}");
    insta::assert_snapshot!(problems_of(invalid.map(file)));
}

#[test]
fn invalid_session_settings_are_rejected() {
    let invalid = [
        "max_per_user: 0",
        "max_per_user: 1001",
        "cache_ttl: 61s",
        "cache_ttl: 1",
        "assertion: true",
        "assertion: {}",
        "assertion: {audience: ''}",
        "assertion: {audience: x, ttl: 4s}",
        "assertion: {audience: x, ttl: 11m}",
    ];
    insta::assert_snapshot!(problems_of(invalid.map(|session| format!("session: {{{session}}}"))));
}

#[test]
fn cookie_domain_must_contain_the_public_host() {
    for (domain, read) in
        [("example.com", "example.com"), (".Example.com", "example.com"), ("sso.example.com", "sso.example.com")]
    {
        let config = good(&format!("session: {{cookie_domain: {domain}}}"));
        assert_eq!(config.session.cookie_domain.as_deref(), Some(read), "{domain}");
    }
    let outside = ["example.org", "ple.com", "x.sso.example.com", "sso.example.com.evil.example"];
    let invalid = ["com", "''", "127.0.0.1", "https://example.com", "'*.example.com'", "example.com:443"];
    let file = |domain| format!("session: {{cookie_domain: {domain}}}");
    insta::assert_snapshot!(problems_of(outside.into_iter().chain(invalid).map(file)));
}

#[test]
fn return_host_must_receive_the_session_cookie() {
    let config = good(
        "session: {cookie_domain: example.com}\naccess: {return_hosts: [App.example.com, 'wiki.example.com:8443', 'x.example.com:443']}",
    );
    let hosts: Vec<_> = config.return_hosts.iter().map(String::as_str).collect();
    assert_eq!(hosts, ["app.example.com", "wiki.example.com:8443", "x.example.com"]);
    assert_eq!(
        good("access: {return_hosts: ['sso.example.com:8443']}").return_hosts.len(),
        1,
        "another port of the service's own host"
    );
    for (session, host) in
        [("{}", "app.example.com"), ("{cookie_domain: example.com}", "app.example.org"), ("{}", "example.com")]
    {
        let begin = "config.yaml:2: access.return_hosts[0]: does not receive the session cookie";
        assert_said(&format!("session: {session}\naccess: {{return_hosts: ['{host}']}}"), begin);
    }
    for host in ["https://app.example.com", "app.example.com/x", "*.example.com", "", "a b", "x@app.example.com", "a:b"]
    {
        let begin = "config.yaml:2: access.return_hosts[0]: is not a host";
        assert_said(&format!("session: {{cookie_domain: example.com}}\naccess: {{return_hosts: ['{host}']}}"), begin);
    }
}

#[test]
fn return_host_below_a_base_path_needs_cookie_domain() {
    let server = "server: {public_url: 'https://example.com/sso'}\n";
    let hosts = "access: {return_hosts: ['example.com:8443']}\n";
    let env = {
        let mut env = least();
        env.remove("PROXY_BASE_URL");
        env
    };
    let said = said_with(&format!("{server}{hosts}"), &env);
    assert!(said.len() == 1 && said[0].contains("Set session.cookie_domain"), "{said:?}");
    let with = read(&format!("{server}{hosts}session: {{cookie_domain: example.com}}"), &env);
    assert_eq!(with.unwrap().config.return_hosts.len(), 1);
}
