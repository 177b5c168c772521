//! The sections `sync` and `access`: how groups are read, and who may sign in.

use std::collections::BTreeSet;
use std::time::Duration;

use url::Url;

use super::base_url::{PublicUrl, is_domain};
use super::problem::NoteLevel;
use super::reader::{EnvOverride, Item, Reader};
use super::section::Section;
use super::session::covers;
use super::{Entra, Session, Sync, Tenant};
use crate::domain::{ObjectId, TenantId};
use crate::policy::RolePrecedence;

/// Reads `sync`. An invalid value is a problem, so the default returned for it is never used.
pub(super) fn sync<'a>(root: &mut Section<'a>, reader: &mut Reader<'a>) -> (Sync, RolePrecedence) {
    let mut section = root.section("sync", reader);
    let nested_groups = section.take("nested_groups");
    let precedence = section.take("role_precedence");
    let ttl = section.take("assigned_groups_ttl");
    section.finish(reader);

    let nested_groups = nested_groups.and_then(|item| reader.boolean(&item)).unwrap_or(false);
    let choices = [("first", RolePrecedence::First), ("highest", RolePrecedence::Highest)];
    let precedence = precedence.and_then(|item| reader.choice(&item, &choices)).unwrap_or_default();
    let range = Duration::ZERO..=Duration::from_hours(1);
    let ttl = ttl.and_then(|item| reader.duration(&item, &range)).unwrap_or(Duration::from_mins(1));
    (Sync { nested_groups, assigned_groups_ttl: ttl }, precedence)
}

/// The section `access`.
pub(super) struct Access<'a> {
    /// Each with its location.
    pub(super) return_hosts: Vec<(Item<'a>, String)>,
    pub(super) require_group: bool,
    pub(super) allowed_email_domains: BTreeSet<String>,
    pub(super) admin_user_ids: BTreeSet<String>,
    pub(super) home_tenant: Option<TenantId>,
}

/// Reads `access`. `has_service_principal` tells whether `entra.service_principal_id` is set. `entra` is `None` after a
/// problem.
pub(super) fn access<'a>(
    root: &mut Section<'a>,
    has_service_principal: bool,
    entra: Option<&Entra>,
    reader: &mut Reader<'a>,
) -> Access<'a> {
    let mut section = root.section("access", reader);
    let require_group = section.take("require_group");
    let domains = section.take_or_env("allowed_email_domains", "ALLOWED_EMAIL_DOMAINS", reader);
    let admins = section.take("admin_user_ids");
    let home_tenant = section.take("home_tenant");
    if home_tenant.is_none() && entra.is_some_and(|entra| entra.allowed_tenants.len() > 1) {
        let help = "Set it to the ID of your own tenant, one of entra.allowed_tenants. Operator roles and \
                    access.admin_user_ids apply to its users only";
        section.report_missing("home_tenant", help, reader);
    }
    let return_hosts = section.take("return_hosts");
    section.finish(reader);

    let allowed_email_domains = domains.map(|item| email_domains(&item, reader)).unwrap_or_default();
    let mut admin_user_ids = BTreeSet::new();
    for (item, id) in admins.map(|item| reader.texts(&item)).unwrap_or_default() {
        admin_user_ids.insert(admin_user_id(&item, &id, reader));
    }
    if let Some(item) = reader.variable("PROXY_ADMIN_ID")
        && let Some(id) = reader.text(&item)
    {
        admin_user_ids.insert(admin_user_id(&item, id.trim(), reader));
        let key = "access.admin_user_ids".to_owned();
        reader.overrides.push(EnvOverride { key, variable: "PROXY_ADMIN_ID", added: true });
    }
    let require_group = require_group.is_some_and(|item| {
        let required = reader.boolean(&item).unwrap_or(false);
        if required && !has_service_principal {
            let message = "requires entra.service_principal_id: without it no group is assigned, and no user could \
                           sign in";
            reader.problem(&item, message, "Set entra.service_principal_id, or MICROSOFT_SERVICE_PRINCIPAL_ID");
        }
        required
    });
    let return_hosts = return_hosts.map(|item| reader.list(&item)).unwrap_or_default();
    let return_hosts = return_hosts.into_iter().filter_map(|item| {
        let host = reader.parsed(&item, HOST_HELP, authority)?;
        Some((item, host))
    });
    let return_hosts = return_hosts.collect();
    let home_tenant = home_tenant_of(home_tenant.as_ref(), entra, reader);
    Access { return_hosts, require_group, allowed_email_domains, admin_user_ids, home_tenant }
}

/// Help for an invalid host.
pub(super) const HOST_HELP: &str = "Write a host such as app.example.com or app.example.com:8443";

/// The tenant whose users can have operator roles; `None` if `entra.tenant` names a single tenant.
fn home_tenant_of<'a>(item: Option<&Item<'a>>, entra: Option<&Entra>, reader: &mut Reader<'a>) -> Option<TenantId> {
    let home = item.and_then(|item| {
        reader.parsed(item, "Write a tenant ID", |text| text.parse::<TenantId>().map_err(|error| error.to_string()))
    });
    let Entra { tenant, allowed_tenants, .. } = entra?;
    let multi_tenant = matches!(tenant, Tenant::Organizations | Tenant::Common);
    if let (Some(item), Some(home)) = (item, home) {
        match tenant {
            Tenant::Id(id) if *id != home => {
                reader.problem(item, "differs from entra.tenant", "Remove it: entra.tenant is the home tenant");
            }
            Tenant::Domain(_) => {
                let message = "requires organizations or common as entra.tenant, which is the home tenant already";
                reader.problem(item, message, "Remove it");
            }
            _ if multi_tenant && !allowed_tenants.contains(&home) => {
                let help = "Write one of those, or add it there: users of other tenants cannot sign in";
                reader.problem(item, "is not in entra.allowed_tenants", help);
            }
            _ => {}
        }
    }
    // With several allowed tenants the key is required, so this is the only one.
    home.or_else(|| allowed_tenants.first().copied().filter(|_| multi_tenant))
}

/// A host with an optional port, normalized as in an https URL.
pub(super) fn authority(text: &str) -> Result<String, &'static str> {
    const NO_HOST: &str = "is not a host name, which has no scheme, path or wildcard";
    if text.contains(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | ':' | '[' | ']')) {
        return Err(NO_HOST);
    }
    let url = Url::parse(&format!("https://{text}/")).map_err(|_| NO_HOST)?;
    let host = url.host_str().ok_or(NO_HOST)?;
    Ok(url.port().map_or(host.to_owned(), |port| format!("{host}:{port}")))
}

/// The hosts that users may return to. Each must receive the session cookie, otherwise sign-in would loop.
pub(super) fn return_hosts(
    hosts: &[(Item<'_>, String)],
    public_url: Option<&PublicUrl>,
    session: Option<&Session>,
    reader: &mut Reader<'_>,
) -> BTreeSet<String> {
    if let (Some(public_url), Some(session)) = (public_url, session) {
        for (item, host) in hosts {
            let name = host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(&**host, |(name, _)| name);
            let has_cookie = match &session.cookie_domain {
                Some(domain) => covers(domain, name),
                None => name == public_url.host() && public_url.base_path().is_empty(),
            };
            if !has_cookie {
                let message = "does not receive the session cookie, which is limited to the host of server.public_url";
                reader.problem(item, message, "Set session.cookie_domain to a domain that contains both");
            }
        }
    }
    hosts.iter().map(|(_, host)| host.clone()).collect()
}

fn email_domains<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> BTreeSet<String> {
    let mut domains = BTreeSet::new();
    for (item, text) in reader.texts(item) {
        let domain = text.strip_prefix('@').unwrap_or(&text).to_ascii_lowercase();
        if is_domain(&domain) {
            domains.insert(domain);
        } else {
            reader.problem(&item, "is not a domain", "Write a domain such as contoso.com, with non-ASCII as xn--…");
        }
    }
    domains
}

/// Accepts any text, because `PROXY_ADMIN_ID` can be any ID in LiteLLM. Only object IDs, which are GUIDs, match a user.
fn admin_user_id(item: &Item, id: &str, reader: &mut Reader) -> String {
    if id.parse::<ObjectId>().is_err() {
        reader.note(NoteLevel::Warning, &item.path, "has no effect, because it is not an object ID (a GUID)");
    }
    id.to_lowercase()
}
