//! The section `entra`: tenant, app and cloud.

use std::collections::BTreeSet;

use url::Url;

use super::base_url::{base_url, is_domain};
use super::client_auth::client_auth;
use super::problem::NoteLevel;
use super::reader::{Item, Reader};
use super::section::Section;
use super::{Entra, Tenant};
use crate::domain::TenantId;

/// The tenant of all personal Microsoft accounts, also called `consumers`.
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const NO_PERSONAL_ACCOUNTS: &str = "personal accounts are not supported, because they have no groups";

/// Microsoft's clouds, with their login and Graph hosts.
#[derive(Clone, Copy)]
enum Cloud {
    Global,
    UsGovernment,
    China,
}

impl Cloud {
    const NAMES: [(&str, Self); 3] =
        [("global", Self::Global), ("us_government", Self::UsGovernment), ("china", Self::China)];

    fn authority(self) -> &'static str {
        match self {
            Self::Global => "https://login.microsoftonline.com",
            Self::UsGovernment => "https://login.microsoftonline.us",
            Self::China => "https://login.partner.microsoftonline.cn",
        }
    }

    fn graph(self) -> &'static str {
        match self {
            Self::Global => "https://graph.microsoft.com/v1.0",
            Self::UsGovernment => "https://graph.microsoft.us/v1.0",
            Self::China => "https://microsoftgraph.chinacloudapi.cn/v1.0",
        }
    }
}

/// Reads `entra`. The second value is whether `service_principal_id` is set, valid or not.
pub(super) fn entra<'a>(root: &mut Section<'a>, reader: &mut Reader<'a>) -> (Option<Entra>, bool) {
    let mut section = root.section("entra", reader);
    let tenant = section.take_or_env("tenant", "MICROSOFT_TENANT", reader);
    if tenant.is_none() {
        section.report_missing("tenant", "Set it in the file, or MICROSOFT_TENANT in the environment", reader);
    }
    let allowed_tenants = section.take("allowed_tenants");
    let client_id = section.take_or_env("client_id", "MICROSOFT_CLIENT_ID", reader);
    if client_id.is_none() {
        section.report_missing("client_id", "Set it in the file, or MICROSOFT_CLIENT_ID in the environment", reader);
    }
    let client_auth = client_auth(&mut section, reader);
    let service_principal = section.take_or_env("service_principal_id", "MICROSOFT_SERVICE_PRINCIPAL_ID", reader);
    let cloud = section.take("cloud");
    let authority_url = section.take("authority_url");
    let graph_url = section.take_or_env("graph_url", "MICROSOFT_GRAPH_ENDPOINT", reader);
    section.finish(reader);

    let tenant_item = tenant;
    let tenant = tenant_item.as_ref().and_then(|item| reader.parsed(item, TENANT_HELP, parse_tenant));
    let allowed_tenants = read_allowed_tenants(tenant_item.as_ref(), tenant.as_ref(), allowed_tenants, reader);
    let client_id = client_id.and_then(|item| guid(&item, reader));
    let has_service_principal = service_principal.is_some();
    let service_principal_id = service_principal.and_then(|item| {
        let id = guid(&item, reader)?;
        if client_id.as_ref() == Some(&id) {
            let message = "is the client ID; it must be the object ID of the enterprise app";
            reader.note(NoteLevel::Warning, item.path, message);
        }
        Some(id)
    });
    let cloud = cloud.map_or(Some(Cloud::Global), |item| reader.choice(&item, &Cloud::NAMES));
    let authority_url = endpoint(authority_url, cloud.map(Cloud::authority), reader);
    let graph_url = graph(graph_url, cloud, reader);
    let entra = || {
        Some(Entra {
            tenant: tenant?,
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

const TENANT_HELP: &str =
    "Write the tenant's ID, one of its domains, or organizations or common together with entra.allowed_tenants";

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
fn read_allowed_tenants<'a>(
    tenant_item: Option<&Item<'a>>,
    tenant: Option<&Tenant>,
    allowed: Option<Item<'a>>,
    reader: &mut Reader<'a>,
) -> Option<BTreeSet<TenantId>> {
    let elements = allowed.as_ref().map(|item| reader.list(item)).unwrap_or_default();
    let ids: Vec<Option<TenantId>> = elements.iter().map(|item| allowed_tenant(item, reader)).collect();
    let multi_tenant = matches!(tenant?, Tenant::Organizations | Tenant::Common);
    if multi_tenant && ids.is_empty() {
        let message = "organizations and common require entra.allowed_tenants";
        reader.problem(tenant_item?, message, "List the IDs of the tenants whose users may sign in");
    }
    if let Some(item) = allowed.filter(|_| !multi_tenant && !ids.is_empty()) {
        let message = "requires organizations or common as entra.tenant, which names a single tenant";
        reader.problem(&item, message, "Remove it, or set entra.tenant to organizations");
    }
    ids.into_iter().collect()
}

fn allowed_tenant<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<TenantId> {
    reader.parsed(item, "Write a tenant ID", |text| match text.parse::<TenantId>() {
        Ok(id) if id.to_string() == CONSUMERS => Err(NO_PERSONAL_ACCOUNTS.to_owned()),
        Ok(id) => Ok(id),
        Err(error) => Err(error.to_string()),
    })
}

/// A GUID in lower case.
fn guid<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<String> {
    let help = "Copy the ID from the Entra admin center";
    reader.parsed(item, help, |text| text.parse::<TenantId>().map(|id| id.to_string()))
}

fn endpoint<'a>(item: Option<Item<'a>>, default: Option<&str>, reader: &mut Reader<'a>) -> Option<Url> {
    match item {
        Some(item) => reader.parsed(&item, "Write a URL with a scheme, a host and an optional path", base_url),
        None => base_url(default?).ok(),
    }
}

fn graph<'a>(item: Option<Item<'a>>, cloud: Option<Cloud>, reader: &mut Reader<'a>) -> Option<Url> {
    let path = item.as_ref().map(|item| item.path.clone());
    let url = endpoint(item, cloud.map(Cloud::graph), reader)?;
    if let Some(path) = path.filter(|_| url.path() == "/") {
        reader.note(NoteLevel::Warning, path, "does not end with a version such as /v1.0");
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_have_valid_urls() {
        for (name, cloud) in Cloud::NAMES {
            for url in [cloud.authority(), cloud.graph()] {
                assert!(base_url(url).is_ok(), "{name}: {url}");
            }
        }
    }

    #[test]
    fn parse_tenant_accepts_id_domain_and_keywords() {
        let id = "11111111-2222-3333-4444-AAAAAAAAAAAA";
        for (text, expected) in [
            (id, Tenant::Id(id.parse().unwrap())),
            ("Contoso.onmicrosoft.com", Tenant::Domain("contoso.onmicrosoft.com".into())),
            ("organizations", Tenant::Organizations),
            ("COMMON", Tenant::Common),
        ] {
            assert_eq!(parse_tenant(text), Ok(expected), "{text}");
        }
        for text in ["", "contoso", "11111111-2222", "https://contoso.com", "10.0.0.1"] {
            assert_eq!(parse_tenant(text), Err("is neither a tenant ID nor a domain"), "{text}");
        }
        for text in ["consumers", "Consumers", CONSUMERS] {
            assert_eq!(parse_tenant(text), Err(NO_PERSONAL_ACCOUNTS), "{text}");
        }
    }
}
