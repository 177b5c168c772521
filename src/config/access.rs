//! The sections `sync` and `access`: which groups count, and who may enter.

use std::collections::BTreeSet;
use std::time::Duration;

use url::Url;

use super::base_url::{PublicUrl, is_domain};
use super::problem::Level;
use super::reader::{Item, Reader, Taken};
use super::section::Section;
use super::session::covers;
use super::{Entra, Session, Sync, Tenant};
use crate::domain::{ObjectId, TenantId};
use crate::policy::RolePrecedence;

/// Reads `sync`. For a value that was refused a default stands: the problem is told, and nothing is loaded.
pub(super) fn sync<'a>(root: &mut Section<'a>, reader: &mut Reader<'a>) -> (Sync, RolePrecedence) {
    let mut section = root.section("sync", reader);
    let nested_groups = section.take("nested_groups");
    let precedence = section.take("role_precedence");
    let ttl = section.take("assigned_groups_ttl");
    section.finish(reader);

    let nested_groups = nested_groups.and_then(|item| reader.boolean(&item)).unwrap_or(false);
    let words = [("first", RolePrecedence::First), ("highest", RolePrecedence::Highest)];
    let precedence = precedence.and_then(|item| reader.choice(&item, &words)).unwrap_or_default();
    let limits = Duration::ZERO..=Duration::from_hours(1);
    let ttl = ttl.and_then(|item| reader.duration(&item, &limits)).unwrap_or(Duration::from_mins(1));
    (Sync { nested_groups, assigned_groups_ttl: ttl }, precedence)
}

/// Who may enter, as `Policy` has it, and where they may be sent to then.
pub(super) struct Access<'a> {
    /// Each with the value that named it.
    pub(super) return_hosts: Vec<(Item<'a>, String)>,
    pub(super) require_group: bool,
    pub(super) allowed_email_domains: BTreeSet<String>,
    pub(super) admin_user_ids: BTreeSet<String>,
    pub(super) home_tenant: Option<TenantId>,
}

/// Reads `access`. `named_app`: whether `entra.service_principal_id` is given; `entra` is what was read of that section, if
/// it holds no problem.
pub(super) fn access<'a>(
    root: &mut Section<'a>,
    named_app: bool,
    entra: Option<&Entra>,
    reader: &mut Reader<'a>,
) -> Access<'a> {
    let mut section = root.section("access", reader);
    let require_group = section.take("require_group");
    let domains = section.take_or_env("allowed_email_domains", "ALLOWED_EMAIL_DOMAINS", reader);
    let admins = section.take("admin_user_ids");
    let home_tenant = section.take("home_tenant");
    if home_tenant.is_none() && entra.is_some_and(|entra| entra.allowed_tenants.len() > 1) {
        let fix = "set it to the id of your own tenant, one of entra.allowed_tenants: operator roles and \
                   access.admin_user_ids count for its users only";
        section.missing("home_tenant", fix, reader);
    }
    let return_hosts = section.take("return_hosts");
    section.finish(reader);

    let allowed_email_domains = domains.map(|item| email_domains(&item, reader)).unwrap_or_default();
    let mut admin_user_ids = BTreeSet::new();
    for (item, id) in admins.map(|item| reader.texts(&item)).unwrap_or_default() {
        admin_user_ids.insert(admin(&item, &id, reader));
    }
    if let Some(item) = reader.variable("PROXY_ADMIN_ID")
        && let Some(id) = reader.text(&item)
    {
        admin_user_ids.insert(admin(&item, id.trim(), reader));
        let key = "access.admin_user_ids".to_owned();
        reader.taken.push(Taken { key, name: "PROXY_ADMIN_ID", added: true });
    }
    let require_group = require_group.is_some_and(|item| {
        let required = reader.boolean(&item).unwrap_or(false);
        if required && !named_app {
            let said =
                "needs entra.service_principal_id: without it there are no assigned groups, and nobody could enter";
            reader.problem(&item, said, "set entra.service_principal_id, or MICROSOFT_SERVICE_PRINCIPAL_ID");
        }
        required
    });
    let return_hosts = return_hosts.map(|item| reader.list(&item)).unwrap_or_default();
    let return_hosts = return_hosts.into_iter().filter_map(|item| {
        let host = reader.parsed(&item, "write such as app.example.com or app.example.com:8443", authority)?;
        Some((item, host))
    });
    let return_hosts = return_hosts.collect();
    let home_tenant = home_tenant_of(home_tenant.as_ref(), entra, reader);
    Access { return_hosts, require_group, allowed_email_domains, admin_user_ids, home_tenant }
}

/// The tenant whose operator roles count; `None` where `entra.tenant` names the only one.
fn home_tenant_of<'a>(item: Option<&Item<'a>>, entra: Option<&Entra>, reader: &mut Reader<'a>) -> Option<TenantId> {
    let home = item.and_then(|item| {
        reader.parsed(item, "write a tenant's id", |text| text.parse::<TenantId>().map_err(|error| error.to_string()))
    });
    let Entra { tenant, allowed_tenants, .. } = entra?;
    let several = matches!(tenant, Tenant::Organizations | Tenant::Common);
    if let (Some(item), Some(home)) = (item, home) {
        match tenant {
            Tenant::Id(id) if *id != home => {
                reader.problem(item, "is not the tenant of entra.tenant", "remove it: entra.tenant is the home tenant");
            }
            Tenant::Domain(_) => {
                let said = "only organizations and common can have it: entra.tenant already is the home tenant";
                reader.problem(item, said, "remove it");
            }
            _ if several && !allowed_tenants.contains(&home) => {
                let fix = "write one of those, or add it there: no other tenant's users can sign in";
                reader.problem(item, "is not in entra.allowed_tenants", fix);
            }
            _ => {}
        }
    }
    // Of one allowed tenant it goes without saying.
    home.or_else(|| allowed_tenants.first().copied().filter(|_| several))
}

/// A host and perhaps a port, as a URL of https writes them.
pub(super) fn authority(text: &str) -> Result<String, &'static str> {
    const NO_HOST: &str = "is not a host: it has neither a scheme nor a path, and stands for itself alone";
    if text.contains(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '.' | '-' | ':' | '[' | ']')) {
        return Err(NO_HOST);
    }
    let url = Url::parse(&format!("https://{text}/")).map_err(|_| NO_HOST)?;
    let host = url.host_str().ok_or(NO_HOST)?;
    Ok(url.port().map_or(host.to_owned(), |port| format!("{host}:{port}")))
}

/// The hosts that people may be sent back to, each of which has to get the session's cookie: somebody who comes there
/// without it would be sent to sign in for ever.
pub(super) fn return_hosts(
    hosts: &[(Item<'_>, String)],
    public_url: Option<&PublicUrl>,
    session: Option<&Session>,
    reader: &mut Reader<'_>,
) -> BTreeSet<String> {
    if let (Some(public_url), Some(session)) = (public_url, session) {
        for (item, host) in hosts {
            let name = host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(&**host, |(name, _)| name);
            let reached = match &session.cookie_domain {
                Some(domain) => covers(domain, name),
                None => name == public_url.host() && public_url.base_path().is_empty(),
            };
            if !reached {
                let said = "does not get the session's cookie, which goes to the host of server.public_url alone";
                reader.problem(item, said, "set session.cookie_domain to a domain that both are in");
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
            reader.problem(&item, "is not a domain", "write such as contoso.com; xn--… for one beyond ASCII");
        }
    }
    domains
}

/// Any text may be a user id of the store; but Entra's are GUIDs, and only they are compared.
fn admin(item: &Item, id: &str, reader: &mut Reader) -> String {
    if id.parse::<ObjectId>().is_err() {
        reader.note(
            Level::Warning,
            &item.place,
            "is not a GUID, so it is nobody's object id in Entra and has no effect",
        );
    }
    id.to_lowercase()
}
