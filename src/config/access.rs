//! The sections `sync` and `access`: which groups count, and who may enter.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Sync;
use super::base_url::is_domain;
use super::problem::Level;
use super::reader::{Item, Reader};
use super::section::Section;
use crate::domain::ObjectId;
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

/// Who may enter, as `Policy` has it.
pub(super) struct Access {
    pub(super) require_group: bool,
    pub(super) allowed_email_domains: BTreeSet<String>,
    pub(super) admin_user_ids: BTreeSet<String>,
}

/// Reads `access`. `named_app`: whether `entra.service_principal_id` is given.
pub(super) fn access<'a>(root: &mut Section<'a>, named_app: bool, reader: &mut Reader<'a>) -> Access {
    let mut section = root.section("access", reader);
    let require_group = section.take("require_group");
    let domains = section.take_or_env("allowed_email_domains", "ALLOWED_EMAIL_DOMAINS", reader);
    let admins = section.take("admin_user_ids");
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
    Access { require_group, allowed_email_domains, admin_user_ids }
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
