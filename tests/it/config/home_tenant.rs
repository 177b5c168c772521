//! `access.home_tenant`: the tenant whose operator roles count.

use super::*;

/// Reads a file with this `entra.tenant`, `entra.allowed_tenants` and `access.home_tenant`.
fn home(tenant: &str, allowed: &str, home: &str) -> Result<Config, String> {
    let mut env = least();
    env.remove("MICROSOFT_TENANT");
    let yaml = format!("entra: {{tenant: {tenant}, allowed_tenants: {allowed}}}\naccess: {{home_tenant: {home}}}\n");
    read(&yaml, &env).map(|loaded| loaded.config).map_err(|error| error.to_string())
}

#[test]
fn home_tenant_is_required_with_several_tenants() {
    let both = format!("[{ID}, {OTHER_ID}]");
    for tenant in ["organizations", "common"] {
        let error = home(tenant, &both, "null").unwrap_err();
        assert!(error.contains("access.home_tenant: is missing"), "{error}");
        assert!(error.contains("Set it to the ID of your own tenant, one of entra.allowed_tenants"), "{error}");
        let config = home(tenant, &both, OTHER_ID).unwrap();
        assert_eq!(config.policy.home_tenant, Some(OTHER_ID.parse().unwrap()));
    }
}

#[test]
fn home_tenant_is_the_only_allowed_one_by_default() {
    let config = home("organizations", &format!("[{ID}]"), "null").unwrap();
    assert_eq!(config.policy.home_tenant, Some(ID.parse().unwrap()));
    for tenant in [ID, "contoso.com"] {
        let config = home(tenant, "[]", "null").unwrap();
        assert_eq!(config.policy.home_tenant, None, "{tenant}: no other tenant's users can sign in");
        let shown = config.settings.iter().find(|setting| setting.key == "access.home_tenant").unwrap();
        assert_eq!(shown.value, tenant, "the settings page names it");
    }
    assert_eq!(home(ID, "[]", ID).unwrap().policy.home_tenant, Some(ID.parse().unwrap()));
}

#[test]
fn home_tenant_outside_allowed_tenants_is_rejected() {
    let both = format!("[{ID}, {OTHER_ID}]");
    let third = "33333333-3333-4333-8333-333333333333";
    for (tenant, allowed, value, said) in [
        ("organizations", &*both, third, "is not in entra.allowed_tenants"),
        ("organizations", &both, "contoso.com", "is not a GUID"),
        (ID, "[]", OTHER_ID, "differs from entra.tenant"),
        ("contoso.com", "[]", ID, "which is the home tenant already"),
    ] {
        let error = home(tenant, allowed, value).unwrap_err();
        assert!(error.starts_with("config.yaml:2: access.home_tenant: ") && error.contains(said), "{error}");
    }
}
