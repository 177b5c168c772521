//! Entra's discovery document and signing keys.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::error::ProviderError;
use super::signing_key::SigningKey;
use crate::config::{self, Tenant};
use crate::domain::TenantId;
use crate::util::http_client::HttpClient;

/// Placeholder for the tenant ID in issuers of `organizations` and `common`.
const TENANT_PLACEHOLDER: &str = "{tenantid}";

/// Entra's endpoints and signing keys.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) issuer: String,
    /// The tenant in the issuer; `None` if the issuer is a template for many tenants.
    pub(super) tenant: Option<TenantId>,
    pub(super) authorization_endpoint: Url,
    pub(super) token_endpoint: Url,
    pub(super) end_session_endpoint: Option<Url>,
    pub(super) keys: Vec<Key>,
}

/// A signing key with the issuer, or issuer template, whose tokens it may sign.
#[derive(Debug)]
pub(super) struct Key {
    issuer: Option<String>,
    pub(super) key: SigningKey,
}

impl Key {
    /// Whether the key may sign tokens of this issuer. A key without an `issuer` member may sign for any.
    pub(super) fn may_sign_for(&self, issuer: &str, tenant: TenantId) -> bool {
        self.issuer.as_ref().is_none_or(|allowed| allowed.replace(TENANT_PLACEHOLDER, &tenant.to_string()) == issuer)
    }
}

#[derive(Deserialize)]
struct DiscoveryDocument {
    issuer: String,
    authorization_endpoint: Url,
    token_endpoint: Url,
    jwks_uri: Url,
    end_session_endpoint: Option<Url>,
    cloud_instance_name: Option<String>,
}

impl DiscoveryDocument {
    /// Checks that all endpoints have the origin of the authority, which the operator configured and which uses https or
    /// is a loopback host.
    fn check_origins(&self, authority: &Url) -> Result<(), ProviderError> {
        let endpoints = [
            ("authorization_endpoint", Some(&self.authorization_endpoint)),
            ("token_endpoint", Some(&self.token_endpoint)),
            ("jwks_uri", Some(&self.jwks_uri)),
            ("end_session_endpoint", self.end_session_endpoint.as_ref()),
        ];
        let expected = authority.origin();
        let foreign = endpoints.into_iter().find_map(|(name, url)| {
            let found = url?.origin();
            (found != expected).then_some((name, found))
        });
        match foreign {
            None => Ok(()),
            Some((endpoint, found)) => Err(ProviderError::ForeignEndpoint {
                endpoint,
                found: found.ascii_serialization(),
                expected: expected.ascii_serialization(),
            }),
        }
    }
}

#[derive(Deserialize)]
struct Jwks {
    keys: Vec<serde_json::Value>,
}

/// The authority without the trailing slash that `Url` adds.
pub(super) fn base(authority: &Url) -> &str {
    authority.as_str().trim_end_matches('/')
}

/// The issuer of one tenant's tokens.
pub(super) fn issuer(authority: &Url, tenant: TenantId) -> String {
    format!("{}/{tenant}/v2.0", base(authority))
}

/// Reads the discovery document and the JWKS.
pub(super) async fn read(http: &HttpClient, settings: &config::Entra) -> Result<Provider, ProviderError> {
    let segment = match &settings.tenant {
        Tenant::Id(tenant) => tenant.to_string(),
        Tenant::Domain(domain) => domain.clone(),
        Tenant::Organizations => "organizations".to_owned(),
        Tenant::Common => "common".to_owned(),
    };
    let url = format!("{}/{segment}/v2.0/.well-known/openid-configuration", base(&settings.authority_url));
    let url = Url::parse(&url).map_err(|_| ProviderError::Malformed { what: "discovery URL" })?;
    let discovery: DiscoveryDocument = fetch(http, url, "discovery document").await?;
    discovery.check_origins(&settings.authority_url)?;
    let tenant = issuing_tenant(&discovery.issuer, settings)?;
    let jwks: Jwks = fetch(http, discovery.jwks_uri, "signing keys").await?;
    let keys: Vec<Key> =
        jwks.keys.into_iter().filter_map(|key| parse_key(key, discovery.cloud_instance_name.as_deref())).collect();
    if keys.is_empty() {
        return Err(ProviderError::Malformed { what: "signing keys" });
    }
    Ok(Provider {
        issuer: discovery.issuer,
        tenant,
        authorization_endpoint: discovery.authorization_endpoint,
        token_endpoint: discovery.token_endpoint,
        end_session_endpoint: discovery.end_session_endpoint,
        keys,
    })
}

/// Checks that the document's issuer belongs to the configured tenant, and returns the issuer's tenant ID. For a domain
/// name, Entra's issuer has the tenant's ID; for `organizations` and `common` it is a template.
fn issuing_tenant(issuer: &str, settings: &config::Entra) -> Result<Option<TenantId>, ProviderError> {
    let authority = base(&settings.authority_url);
    let segment = issuer
        .strip_prefix(authority)
        .and_then(|rest| rest.strip_prefix('/'))
        .and_then(|rest| rest.strip_suffix("/v2.0"))
        .ok_or(ProviderError::ForeignIssuer)?;
    match (&settings.tenant, segment.parse::<TenantId>()) {
        (Tenant::Id(expected), Ok(tenant)) if *expected == tenant => Ok(Some(tenant)),
        (Tenant::Domain(_), Ok(tenant)) => Ok(Some(tenant)),
        (Tenant::Organizations | Tenant::Common, Err(_)) if segment == TENANT_PLACEHOLDER => Ok(None),
        _ => Err(ProviderError::ForeignIssuer),
    }
}

/// Parses a JWK. Returns `None` for keys that are not used: unsupported types, and keys of other clouds, which the `common`
/// document also lists.
fn parse_key(key: serde_json::Value, cloud: Option<&str>) -> Option<Key> {
    let text = |name: &str| key.get(name).and_then(serde_json::Value::as_str).map(ToOwned::to_owned);
    let issuer = text("issuer");
    if let (Some(key_cloud), Some(cloud)) = (text("cloud_instance_name"), cloud)
        && key_cloud != cloud
    {
        return None;
    }
    Some(Key { issuer, key: serde_json::from_value(key).ok()? })
}

async fn fetch<T: DeserializeOwned>(http: &HttpClient, url: Url, what: &'static str) -> Result<T, ProviderError> {
    let response = http.send(http.get(url)).await.map_err(|source| ProviderError::Unreachable { what, source })?;
    if !response.status.is_success() {
        return Err(ProviderError::Status { what, status: response.status.as_u16() });
    }
    serde_json::from_slice(&response.body).map_err(|_| ProviderError::Malformed { what })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLOBAL: &str = "https://login.microsoftonline.com";

    /// Checks a tenant's document in Entra's format, optionally with one value changed.
    fn check(authority: &str, host: &str, change: Option<(&str, &str)>) -> Result<(), ProviderError> {
        let tenant = "09ce0abd-707d-5e58-a853-2d170c90be8f";
        let mut document = serde_json::json!({
            "issuer": format!("{host}/{tenant}/v2.0"),
            "authorization_endpoint": format!("{host}/{tenant}/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{host}/{tenant}/oauth2/v2.0/token"),
            "jwks_uri": format!("{host}/{tenant}/discovery/v2.0/keys"),
            "end_session_endpoint": format!("{host}/{tenant}/oauth2/v2.0/logout"),
            "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
            "device_authorization_endpoint": format!("{host}/{tenant}/oauth2/v2.0/devicecode"),
        });
        if let Some((name, value)) = change {
            document[name] = value.into();
        }
        let discovery: DiscoveryDocument = serde_json::from_value(document).unwrap();
        discovery.check_origins(&Url::parse(authority).unwrap())
    }

    #[test]
    fn discovery_accepts_the_documents_of_every_cloud() {
        for host in [
            GLOBAL,
            "https://login.microsoftonline.us",
            "https://login.partner.microsoftonline.cn",
            "https://contoso.ciamlogin.com",
        ] {
            assert!(check(&format!("{host}/"), host, None).is_ok(), "{host}");
        }
    }

    #[test]
    fn discovery_rejects_endpoints_of_another_origin() {
        for endpoint in ["authorization_endpoint", "token_endpoint", "jwks_uri", "end_session_endpoint"] {
            for value in [
                "https://login.evil.example/token",
                "https://login.microsoftonline.com.evil.example/token",
                "https://login.microsoftonline.com@evil.example/token",
                "https://login.microsoftonline.com:8443/token",
                "http://login.microsoftonline.com/token",
                "https://login.microsoftonline.us/token",
                "file:///etc/passwd",
            ] {
                let error = check(GLOBAL, GLOBAL, Some((endpoint, value))).unwrap_err();
                let text = error.to_string();
                assert!(matches!(error, ProviderError::ForeignEndpoint { .. }), "{endpoint}: {value}: {text}");
                assert!(text.contains(endpoint) && text.contains(GLOBAL), "{text}");
                assert!(!text.contains("/token"), "only the origin: {text}");
            }
        }
    }
}
