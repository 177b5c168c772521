//! Configuration: a YAML file overridden by environment variables, validated into [`Config`].
//!
//! Each section has a file with its types and the function that reads it. A new key is a field and the line that reads it,
//! which also adds it to the settings page.

mod access;
mod audit;
mod base_url;
mod client_auth;
mod entra;
mod expand;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod limits;
mod litellm;
mod litellm_proxy;
mod notifications;
mod pages;
mod problem;
mod reader;
mod secret;
mod section;
mod server;
mod session;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::domain::StoreKind;
use crate::policy::Policy;

pub use access::Sync;
pub use audit::Audit;
pub use base_url::{PublicUrl, UrlError};
pub use client_auth::ClientAuth;
pub use entra::{Entra, Tenant};
pub use limits::Limits;
pub use litellm_proxy::LiteLlm;
pub use notifications::{NotificationType, Notifications, Webhook, WebhookSecret, WebhookSecretError};
pub use pages::{Logo, LogoKind, Pages};
pub use problem::{ConfigError, Note, NoteLevel, Problem};
pub use secret::{CookieKey, CookieKeyError};
pub use section::Setting;
pub use server::{Database, Server};
pub use session::{Assertion, Session};

use reader::{Found, Reader};
use section::Section;

/// Environment variables, passed as an argument: only `main` reads the process environment.
pub type Env = BTreeMap<String, String>;

/// A valid configuration, with notes for the log.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    pub notes: Vec<Note>,
}

/// The validated configuration. `Debug` redacts secrets.
#[derive(Debug, Clone)]
pub struct Config {
    pub server: Server,
    pub database: Database,
    pub store: StoreKind,
    pub entra: Entra,
    pub sync: Sync,
    /// Additional hosts that users may return to after sign-in, normalized: `host` or `host:port`.
    pub return_hosts: BTreeSet<String>,
    pub session: Session,
    pub audit: Audit,
    pub notifications: Notifications,
    pub limits: Limits,
    pub litellm: LiteLlm,
    pub pages: Pages,
    pub policy: Policy,
    /// The effective value and origin of each key, for the settings page.
    pub settings: Vec<Setting>,
    /// Valid settings that the operator may not have intended.
    pub warnings: Vec<Note>,
}

/// Reads the configuration file, if there is one, and the environment.
///
/// # Errors
/// All problems of the configuration.
pub fn load(file: Option<&Path>, env: &Env) -> Result<Loaded, ConfigError> {
    let Some(file) = file else { return parse(None, Path::new(""), env) };
    let reject = |message: String, help: &str| {
        let name = file.display().to_string();
        Err(ConfigError { problems: vec![Problem::new(name.clone(), message, help)], file: name })
    };
    match std::fs::read(file).map(String::from_utf8) {
        Ok(Ok(yaml)) => parse(Some(&yaml), file, env),
        Ok(Err(_)) => reject("is not UTF-8 text".into(), "Save it as UTF-8"),
        Err(error) => reject(format!("cannot be read ({})", error.kind()), "Give the path of a readable file"),
    }
}

/// As [`load`], from the text of the file. `file` is its name in messages, and the base of relative paths in it.
///
/// # Errors
/// All problems of the configuration.
pub fn parse(yaml: Option<&str>, file: &Path, env: &Env) -> Result<Loaded, ConfigError> {
    let (node, problems) = yaml.map_or((None, Vec::new()), tree::read);
    let readable = yaml.is_none() || node.is_some();
    let reader = Reader::new(env, file.parent().unwrap_or(Path::new("")), problems);
    let config = if readable { config(Section::root(node.as_ref(), &reader)) } else { None };
    let Found { mut problems, notes, settings } = reader.finish();
    match config {
        Some(mut config) if problems.is_empty() => {
            config.settings = settings;
            config.warnings = notes.iter().filter(|note| note.level == NoteLevel::Warning).cloned().collect();
            Ok(Loaded { config, notes })
        }
        _ => {
            // In the order of the file; problems without a line come last.
            problems.sort_by_key(|problem| problem.line.unwrap_or(u64::MAX));
            Err(ConfigError { file: file.display().to_string(), problems })
        }
    }
}

/// Reads all sections before returning, so that all problems are found.
fn config(mut root: Section) -> Option<Config> {
    let server = server::server(&mut root);
    let database = server::database(&mut root);
    let store = server::store(&mut root);
    let (entra, has_service_principal) = entra::entra(&mut root);
    let (sync, memberships, role_precedence) = access::sync(&mut root);
    let access = access::access(&mut root, has_service_principal, entra.as_ref());
    let session = session::session(&mut root, server.as_ref());
    if let Some(server) = &server {
        access::check_return_hosts(&access.return_hosts, &server.public_url, &session);
    }
    let audit = audit::audit(&mut root);
    let notifications = notifications::notifications(&mut root);
    let limits = limits::limits(&mut root);
    let pages = pages::pages(&mut root);
    let (litellm, org_team_models, keys_on_removal) = litellm_proxy::litellm(&mut root, store);
    let settings = litellm::settings(&mut root, store);
    root.finish();

    let policy = Policy {
        also_create_orgs: settings.also_create_orgs,
        org_team_models,
        team_params: settings.team_params,
        user_params: settings.user_params,
        memberships,
        keys_on_removal,
        client_id: entra.as_ref().map(|entra| entra.client_id.clone()).unwrap_or_default(),
        role_precedence,
        admin_user_ids: access.admin_user_ids,
        home_tenant: access.home_tenant,
        require_group: access.require_group,
        allowed_email_domains: access.allowed_email_domains,
    };
    Some(Config {
        server: server?,
        database: database?,
        store,
        entra: entra?,
        sync,
        return_hosts: access.return_hosts.into_iter().map(|(_, host)| host).collect(),
        session,
        audit,
        notifications,
        limits,
        litellm,
        pages,
        policy,
        settings: Vec::new(),
        warnings: Vec::new(),
    })
}
