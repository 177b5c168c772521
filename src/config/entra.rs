//! The section `entra`: tenant, app and cloud.

use std::collections::BTreeSet;
use std::fmt;

use url::Url;

use super::base_url::{base_url, is_domain};
use super::client_auth::{ClientAuth, client_auth};
use super::reader::Item;
use super::section::{Section, joined};
use crate::domain::TenantId;

/// `entra`: the tenant, its app and the cloud.
#[derive(Debug, Clone)]
pub struct Entra {
    pub tenant: Tenant,
    /// Empty unless `tenant` is `organizations` or `common`.
    pub allowed_tenants: BTreeSet<TenantId>,
    /// The app's GUID in lower case.
    pub client_id: String,
    pub client_auth: ClientAuth,
    /// Object ID of the enterprise app, a GUID in lower case. Without it no group is assigned.
    pub service_principal_id: Option<String>,
    /// The login host, such as `https://login.microsoftonline.com`. As text it ends with a slash only if it has no path.
    pub authority_url: Url,
    /// Graph's base URL with version, such as `https://graph.microsoft.com/v1.0`, without a trailing slash.
    pub graph_url: Url,
}

/// The tenants whose users may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenant {
    Id(TenantId),
    /// A verified domain of the tenant, such as `contoso.onmicrosoft.com`.
    Domain(String),
    /// Any work or school account of the allowed tenants.
    Organizations,
    /// As `organizations`. Entra's page also offers personal accounts, which are in no allowed tenant.
    Common,
}

impl Tenant {
    /// Whether users of several tenants may sign in.
    pub(super) fn is_multi_tenant(&self) -> bool {
        matches!(self, Self::Organizations | Self::Common)
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => id.fmt(f),
            Self::Domain(name) => f.write_str(name),
            Self::Organizations => f.write_str("organizations"),
            Self::Common => f.write_str("common"),
        }
    }
}

/// The tenant of all personal Microsoft accounts, also called `consumers`.
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const NO_PERSONAL_ACCOUNTS: &str = "personal accounts are not supported, because they have no groups";

/// A cloud of Microsoft: its login host, and Graph with its version.
#[derive(Clone, Copy, PartialEq)]
struct Cloud {
    authority: &'static str,
    graph: &'static str,
}

const GLOBAL: Cloud =
    Cloud { authority: "https://login.microsoftonline.com", graph: "https://graph.microsoft.com/v1.0" };
const US_GOVERNMENT: Cloud =
    Cloud { authority: "https://login.microsoftonline.us", graph: "https://graph.microsoft.us/v1.0" };
const CHINA: Cloud = Cloud {
    authority: "https://login.partner.microsoftonline.cn",
    graph: "https://microsoftgraph.chinacloudapi.cn/v1.0",
};

const TENANT_HELP: &str =
    "Write the tenant's ID, one of its domains, or organizations or common together with entra.allowed_tenants";
const ENDPOINT_HELP: &str = "Write a URL with a scheme, a host and an optional path";

/// Reads `entra`. The second value is whether `service_principal_id` is set, valid or not.
pub(super) fn entra(root: &mut Section) -> (Option<Entra>, bool) {
    let mut section = root.section("entra");
    let tenant = section.required("tenant", |item| item.parsed(TENANT_HELP, parse_tenant));
    let allowed_tenants = allowed_tenants(&mut section, tenant.as_ref());
    let client_id = section.required("client_id", guid).map(|(_, id)| id);
    let client_auth = client_auth(&mut section);
    let mut has_service_principal = false;
    let service_principal_id = section.optional("service_principal_id", |item| {
        has_service_principal = true;
        guid(item).inspect(|id| {
            if client_id.as_ref() == Some(id) {
                item.warn("is the client ID; it must be the object ID of the enterprise app");
            }
        })
    });
    let cloud =
        section.choice("cloud", &[("global", GLOBAL), ("us_government", US_GOVERNMENT), ("china", CHINA)], GLOBAL);
    let authority_url = endpoint(&mut section, "authority_url", cloud.authority, |_, _| {});
    let graph_url = endpoint(&mut section, "graph_url", cloud.graph, |item, url| {
        if url.path() == "/" {
            item.warn("does not end with a version such as /v1.0");
        }
    });
    section.finish();
    let entra = || {
        Some(Entra {
            tenant: tenant?.1,
            allowed_tenants: allowed_tenants?,
            client_id: client_id?,
            client_auth: client_auth?,
            service_principal_id,
            authority_url: authority_url?,
            graph_url: graph_url?,
        })
    };
    (entra(), has_service_principal)
}

fn parse_tenant(text: &str) -> Result<Tenant, &'static str> {
    if let Ok(id) = text.parse::<TenantId>() {
        return if id.to_string() == CONSUMERS { Err(NO_PERSONAL_ACCOUNTS) } else { Ok(Tenant::Id(id)) };
    }
    match text.to_ascii_lowercase().as_str() {
        "organizations" => Ok(Tenant::Organizations),
        "common" => Ok(Tenant::Common),
        "consumers" => Err(NO_PERSONAL_ACCOUNTS),
        name if is_domain(name) => Ok(Tenant::Domain(name.to_owned())),
        _ => Err("is neither a tenant ID nor a domain"),
    }
}

/// The allowed tenants, required with `organizations` and `common` and not allowed otherwise.
fn allowed_tenants(section: &mut Section, tenant: Option<&(Item, Tenant)>) -> Option<BTreeSet<TenantId>> {
    let item = section.take("allowed_tenants");
    let elements = item.as_ref().map(Item::list).unwrap_or_default();
    let ids: Vec<Option<TenantId>> = elements.iter().map(allowed_tenant).collect();
    section.show("allowed_tenants", item.as_ref(), joined(ids.iter().flatten().collect::<BTreeSet<_>>()));
    let (tenant_item, tenant) = tenant?;
    match item {
        _ if tenant.is_multi_tenant() && ids.is_empty() => {
            let message = "organizations and common require entra.allowed_tenants";
            tenant_item.problem(message, "List the IDs of the tenants whose users may sign in");
        }
        Some(item) if !tenant.is_multi_tenant() && !ids.is_empty() => {
            let message = "requires organizations or common as entra.tenant, which names a single tenant";
            item.problem(message, "Remove it, or set entra.tenant to organizations");
        }
        _ => {}
    }
    ids.into_iter().collect()
}

fn allowed_tenant(item: &Item) -> Option<TenantId> {
    item.parsed("Write a tenant ID", |text| match text.parse::<TenantId>() {
        Ok(id) if id.to_string() == CONSUMERS => Err(NO_PERSONAL_ACCOUNTS.to_owned()),
        Ok(id) => Ok(id),
        Err(error) => Err(error.to_string()),
    })
}

/// A GUID in lower case.
fn guid(item: &Item) -> Option<String> {
    item.parsed("Copy the ID from the Entra admin center", |text| text.parse::<TenantId>().map(|id| id.to_string()))
}

/// A base URL that defaults to the cloud's. `check` is for a configured one.
fn endpoint(section: &mut Section, key: &'static str, default: &str, check: impl Fn(&Item, &Url)) -> Option<Url> {
    let item = section.take(key);
    let url = match &item {
        Some(item) => item.parsed(ENDPOINT_HELP, base_url).inspect(|url| check(item, url)),
        None => base_url(default).ok(),
    };
    section.show(key, item.as_ref(), url.as_ref().map(Url::as_str).unwrap_or_default());
    url
}
