//! The sections `sync` and `access`: how groups are read, and who may sign in.

use std::collections::BTreeSet;
use std::time::Duration;

use url::Url;

use super::base_url::{PublicUrl, is_domain};
use super::entra::{Entra, Tenant};
use super::reader::Item;
use super::section::{Section, joined};
use super::session::{Session, covers};
use crate::domain::{ObjectId, TenantId};
use crate::policy::{MembershipSync, RolePrecedence};

/// Shortest time between two runs of the reconciliation.
const MIN_RECONCILE_INTERVAL: Duration = Duration::from_secs(5);

/// `sync`: how groups are read. `Policy` defines how they are applied.
#[derive(Debug, Clone)]
pub struct Sync {
    pub nested_groups: bool,
    /// Zero reads them at each sign-in.
    pub assigned_groups_ttl: Duration,
    /// Time between two runs of the reconciliation; `None` switches them off.
    pub reconcile_interval: Option<Duration>,
}

/// Reads `sync`. The other values are for `Policy`.
pub(super) fn sync(root: &mut Section) -> (Sync, MembershipSync, RolePrecedence) {
    let mut section = root.section("sync");
    let choices = [("follow", MembershipSync::Follow), ("additive", MembershipSync::Additive)];
    let memberships = section.choice("memberships", &choices, MembershipSync::Follow);
    let nested_groups = section.value("nested_groups", false, Item::boolean);
    let choices = [("first", RolePrecedence::First), ("highest", RolePrecedence::Highest)];
    let precedence = section.choice("role_precedence", &choices, RolePrecedence::First);
    let range = Duration::ZERO..=Duration::from_hours(1);
    let assigned_groups_ttl = section.duration("assigned_groups_ttl", &range, Duration::from_mins(1));
    let reconcile_interval = reconcile(section.section("reconcile"));
    section.finish();
    (Sync { nested_groups, assigned_groups_ttl, reconcile_interval }, memberships, precedence)
}

/// Reads `sync.reconcile`.
fn reconcile(mut section: Section) -> Option<Duration> {
    let read = |item: &Item| {
        let interval = item.duration(&(Duration::ZERO..=Duration::from_hours(24)))?;
        if interval.is_zero() || interval >= MIN_RECONCILE_INTERVAL {
            return Some(interval.into());
        }
        item.problem("must be 0s, or from 5s to 1day", "Write a duration in this range");
        None
    };
    let interval: humantime::Duration = section.value("interval", Duration::from_mins(10).into(), read);
    section.finish();
    Some(*interval).filter(|interval| !interval.is_zero())
}

/// The section `access`.
pub(super) struct Access<'a> {
    pub(super) require_group: bool,
    pub(super) allowed_email_domains: BTreeSet<String>,
    pub(super) admin_user_ids: BTreeSet<String>,
    pub(super) home_tenant: Option<TenantId>,
    /// Each with its location.
    pub(super) return_hosts: Vec<(Item<'a>, String)>,
}

/// Reads `access`. `has_service_principal` tells whether `entra.service_principal_id` is set. `entra` is `None` after a
/// problem.
pub(super) fn access<'a>(root: &mut Section<'a>, has_service_principal: bool, entra: Option<&Entra>) -> Access<'a> {
    let mut section = root.section("access");
    let access = Access {
        require_group: section.value("require_group", false, |item| require_group(item, has_service_principal)),
        allowed_email_domains: section.list("allowed_email_domains", "any", email_domain),
        admin_user_ids: admin_user_ids(&mut section),
        home_tenant: home_tenant(&mut section, entra),
        return_hosts: return_hosts(&mut section),
    };
    section.finish();
    access
}

fn require_group(item: &Item, has_service_principal: bool) -> Option<bool> {
    let required = item.boolean()?;
    if required && !has_service_principal {
        let message = "requires entra.service_principal_id: without it no group is assigned, and no user could sign in";
        item.problem(message, "Set entra.service_principal_id, or MICROSOFT_SERVICE_PRINCIPAL_ID");
    }
    Some(required)
}

fn email_domain(item: &Item) -> Option<String> {
    let text = item.element()?;
    let domain = text.strip_prefix('@').unwrap_or(&text).to_ascii_lowercase();
    if !is_domain(&domain) {
        item.problem("is not a domain", "Write a domain such as contoso.com, with non-ASCII as xn--…");
        return None;
    }
    Some(domain)
}

/// The IDs of the file and of LiteLLM's `PROXY_ADMIN_ID`.
fn admin_user_ids(section: &mut Section) -> BTreeSet<String> {
    let (key, name) = ("admin_user_ids", "PROXY_ADMIN_ID");
    let (file, variable) = (section.take(key), section.reader.variable(name));
    let elements = file.as_ref().map(Item::list).unwrap_or_default();
    let ids: BTreeSet<String> = elements.iter().chain(&variable).filter_map(admin_user_id).collect();
    let added = Some(name).filter(|_| file.is_some() && variable.is_some());
    let origin = file.as_ref().or(variable.as_ref()).map(|item| item.origin(added));
    section.show_with_origin(key, joined(&ids), origin);
    ids
}

/// Accepts any text, because `PROXY_ADMIN_ID` can be any ID in LiteLLM. Only object IDs, which are GUIDs, match a user.
fn admin_user_id(item: &Item) -> Option<String> {
    let id = item.element()?;
    if id.parse::<ObjectId>().is_err() {
        item.warn("has no effect, because it is not an object ID (a GUID)");
    }
    Some(id.to_lowercase())
}

/// The tenant whose users can have operator roles; `None` if `entra.tenant` names a single tenant.
fn home_tenant(section: &mut Section, entra: Option<&Entra>) -> Option<TenantId> {
    let item = section.take("home_tenant");
    let home = item.as_ref().and_then(|item| item.parsed("Write a tenant ID", str::parse::<TenantId>));
    let Entra { tenant, allowed_tenants, .. } = entra?;
    if item.is_none() && allowed_tenants.len() > 1 {
        let help = "Set it to the ID of your own tenant, one of entra.allowed_tenants. Operator roles and \
                    access.admin_user_ids apply to its users only";
        section.report_missing("home_tenant", help);
    }
    if let (Some(item), Some(home)) = (&item, home) {
        match tenant {
            Tenant::Id(id) if *id != home => {
                item.problem("differs from entra.tenant", "Remove it: entra.tenant is the home tenant");
            }
            Tenant::Domain(_) => {
                let message = "requires organizations or common as entra.tenant, which is the home tenant already";
                item.problem(message, "Remove it");
            }
            Tenant::Organizations | Tenant::Common if !allowed_tenants.contains(&home) => {
                let help = "Write one of those, or add it there: users of other tenants cannot sign in";
                item.problem("is not in entra.allowed_tenants", help);
            }
            _ => {}
        }
    }
    // With several allowed tenants the key is required, so this is the only one.
    let home = home.or_else(|| allowed_tenants.first().copied().filter(|_| tenant.is_multi_tenant()));
    section.show("home_tenant", item.as_ref(), home.map_or_else(|| tenant.to_string(), |home| home.to_string()));
    home
}

/// Help for an invalid host.
pub(super) const HOST_HELP: &str = "Write a host such as app.example.com or app.example.com:8443";

fn return_hosts<'a>(section: &mut Section<'a>) -> Vec<(Item<'a>, String)> {
    let item = section.take("return_hosts");
    let elements = item.as_ref().map(Item::list).unwrap_or_default();
    let located = |item: Item<'a>| item.parsed(HOST_HELP, authority).map(|host| (item, host));
    let hosts: Vec<_> = elements.into_iter().filter_map(located).collect();
    section.show("return_hosts", item.as_ref(), joined(hosts.iter().map(|(_, host)| host).collect::<BTreeSet<_>>()));
    hosts
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

/// Checks the hosts that users may return to. Each must receive the session cookie, otherwise sign-in would loop.
pub(super) fn check_return_hosts(hosts: &[(Item, String)], public_url: &PublicUrl, session: &Session) {
    for (item, host) in hosts {
        let name = host.rsplit_once(':').filter(|(_, port)| !port.contains(']')).map_or(&**host, |(name, _)| name);
        let has_cookie = match &session.cookie_domain {
            Some(domain) => covers(domain, name),
            None => name == public_url.host() && public_url.base_path().is_empty(),
        };
        if !has_cookie {
            let message = "does not receive the session cookie, which is limited to the host of server.public_url";
            item.problem(message, "Set session.cookie_domain to a domain that contains both");
        }
    }
}
