//! The section `entra`: which tenant, which app, which cloud.

use std::collections::BTreeSet;

use url::Url;

use super::base_url::{base_url, is_domain};
use super::client_auth::client_auth;
use super::problem::Level;
use super::reader::{Item, Reader};
use super::section::Section;
use super::{Entra, Tenant};
use crate::domain::TenantId;

/// The tenant of all personal Microsoft accounts, which is what `consumers` means.
const CONSUMERS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";
const NO_PERSONAL_ACCOUNTS: &str = "personal accounts are in no groups, so they cannot be used";

/// Microsoft's clouds: where people sign in, and where Graph is.
#[derive(Clone, Copy)]
enum Cloud {
    Global,
    UsGovernment,
    China,
}

impl Cloud {
    const WORDS: [(&str, Self); 3] =
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

/// Reads the section. The second value: whether the file or the environment names the enterprise app, well or badly.
pub(super) fn entra<'a>(root: &mut Section<'a>, reader: &mut Reader<'a>) -> (Option<Entra>, bool) {
    let mut section = root.section("entra", reader);
    let tenant = section.take_or_env("tenant", "MICROSOFT_TENANT", reader);
    if tenant.is_none() {
        section.missing("tenant", "set it in the file, or MICROSOFT_TENANT in the environment", reader);
    }
    let allowed_tenants = section.take("allowed_tenants");
    let client_id = section.take_or_env("client_id", "MICROSOFT_CLIENT_ID", reader);
    if client_id.is_none() {
        section.missing("client_id", "set it in the file, or MICROSOFT_CLIENT_ID in the environment", reader);
    }
    let client_auth = client_auth(&mut section, reader);
    let service_principal = section.take_or_env("service_principal_id", "MICROSOFT_SERVICE_PRINCIPAL_ID", reader);
    let cloud = section.take("cloud");
    let authority_url = section.take("authority_url");
    let graph_url = section.take_or_env("graph_url", "MICROSOFT_GRAPH_ENDPOINT", reader);
    section.finish(reader);

    let tenant_place = tenant.clone();
    let tenant = tenant.and_then(|item| reader.parsed(&item, TENANT_FORMS, read_tenant));
    let allowed_tenants = tenants(tenant_place.as_ref(), tenant.as_ref(), allowed_tenants, reader);
    let client_id = client_id.and_then(|item| guid(&item, reader));
    let named_app = service_principal.is_some();
    let service_principal_id = service_principal.and_then(|item| {
        let id = guid(&item, reader)?;
        if client_id.as_ref() == Some(&id) {
            let said = "is the same as the client id; the object id of the enterprise app is another one";
            reader.note(Level::Warning, item.place, said);
        }
        Some(id)
    });
    let cloud = cloud.map_or(Some(Cloud::Global), |item| reader.choice(&item, &Cloud::WORDS));
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
    (entra(), named_app)
}

const TENANT_FORMS: &str =
    "write the tenant's id, one of its domains, or organizations or common together with entra.allowed_tenants";

fn read_tenant(text: &str) -> Result<Tenant, &'static str> {
    if let Ok(id) = text.parse::<TenantId>() {
        return if id.to_string() == CONSUMERS { Err(NO_PERSONAL_ACCOUNTS) } else { Ok(Tenant::Id(id)) };
    }
    match text.to_ascii_lowercase().as_str() {
        "organizations" => Ok(Tenant::Organizations),
        "common" => Ok(Tenant::Common),
        "consumers" => Err(NO_PERSONAL_ACCOUNTS),
        name if is_domain(name) => Ok(Tenant::Domain(name.to_owned())),
        _ => Err("is neither a tenant's id nor a domain"),
    }
}

/// The allowed tenants: exactly where `tenant` leaves open whose people come.
fn tenants<'a>(
    place: Option<&Item<'a>>,
    tenant: Option<&Tenant>,
    allowed: Option<Item<'a>>,
    reader: &mut Reader<'a>,
) -> Option<BTreeSet<TenantId>> {
    let elements = allowed.as_ref().map(|item| reader.list(item)).unwrap_or_default();
    let ids: Vec<Option<TenantId>> = elements.iter().map(|item| allowed_tenant(item, reader)).collect();
    let open = matches!(tenant?, Tenant::Organizations | Tenant::Common);
    if open && ids.is_empty() {
        let said = "organizations and common need entra.allowed_tenants";
        reader.problem(place?, said, "list the ids of the tenants whose people may sign in");
    }
    if let Some(item) = allowed.filter(|_| !open && !ids.is_empty()) {
        let said = "only organizations and common can have it: entra.tenant already says whose people come";
        reader.problem(&item, said, "remove it, or write organizations as entra.tenant");
    }
    ids.into_iter().collect()
}

fn allowed_tenant<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<TenantId> {
    reader.parsed(item, "write a tenant's id", |text| match text.parse::<TenantId>() {
        Ok(id) if id.to_string() == CONSUMERS => Err(NO_PERSONAL_ACCOUNTS.to_owned()),
        Ok(id) => Ok(id),
        Err(error) => Err(error.to_string()),
    })
}

/// A GUID as Entra writes it, in lower case.
fn guid<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<String> {
    let remedy = "copy the id from the Entra admin center";
    reader.parsed(item, remedy, |text| text.parse::<TenantId>().map(|id| id.to_string()))
}

fn endpoint<'a>(item: Option<Item<'a>>, default: Option<&str>, reader: &mut Reader<'a>) -> Option<Url> {
    match item {
        Some(item) => reader.parsed(&item, "write a URL with scheme, host and, if need be, a path", base_url),
        None => base_url(default?).ok(),
    }
}

fn graph<'a>(item: Option<Item<'a>>, cloud: Option<Cloud>, reader: &mut Reader<'a>) -> Option<Url> {
    let place = item.as_ref().map(|item| item.place.clone());
    let url = endpoint(item, cloud.map(Cloud::graph), reader)?;
    if let Some(place) = place.filter(|_| url.path() == "/") {
        reader.note(Level::Warning, place, "has no version at its end, such as /v1.0");
    }
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cloud_has_sound_urls() {
        for (word, cloud) in Cloud::WORDS {
            for url in [cloud.authority(), cloud.graph()] {
                assert!(base_url(url).is_ok(), "{word}: {url}");
            }
        }
    }

    #[test]
    fn a_tenant_is_an_id_a_domain_or_one_of_two_words() {
        let id = "11111111-2222-3333-4444-AAAAAAAAAAAA";
        for (text, expected) in [
            (id, Tenant::Id(id.parse().unwrap())),
            ("Contoso.onmicrosoft.com", Tenant::Domain("contoso.onmicrosoft.com".into())),
            ("organizations", Tenant::Organizations),
            ("COMMON", Tenant::Common),
        ] {
            assert_eq!(read_tenant(text), Ok(expected), "{text}");
        }
        for text in ["", "contoso", "11111111-2222", "https://contoso.com", "10.0.0.1"] {
            assert_eq!(read_tenant(text), Err("is neither a tenant's id nor a domain"), "{text}");
        }
        for text in ["consumers", "Consumers", CONSUMERS] {
            assert_eq!(read_tenant(text), Err(NO_PERSONAL_ACCOUNTS), "{text}");
        }
    }
}
