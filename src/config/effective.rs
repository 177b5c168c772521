//! The effective configuration for the settings page: each key with its value and origin, without secrets.

use std::fmt::{self, Display};
use std::num::NonZeroU32;
use std::time::Duration;

use super::sources::Sources;
use super::{Assertion, ClientAuth, Config, LogoKind, Tenant};
use crate::domain::StoreKind;
use crate::policy::{Limits, RolePrecedence, TeamParams};

/// A key of the configuration with its effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key's path, such as `server.public_url`.
    pub key: &'static str,
    /// The value as text; for a secret only whether it is set.
    pub value: String,
    pub origin: Origin,
}

impl Setting {
    /// The key's section.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.key.split('.').next().unwrap_or(self.key)
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Not configured.
    Default,
    /// The configuration file. `variables` are the environment variables in the value or added to it.
    File { line: Option<u64>, variables: Vec<String> },
    /// An environment variable, which overrides the file.
    Environment(&'static str),
    /// A secret file, named on this line of the configuration file.
    SecretFile { line: Option<u64>, variables: Vec<String> },
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, variables) = match self {
            Self::Default => return f.write_str("default"),
            Self::Environment(name) => return write!(f, "environment, {name}"),
            Self::File { line, variables } => {
                f.write_str("file")?;
                (line, variables)
            }
            Self::SecretFile { line, variables } => {
                f.write_str("secret file, named in the file")?;
                (line, variables)
            }
        };
        if let Some(line) = line {
            write!(f, ", line {line}")?;
        }
        if variables.is_empty() { Ok(()) } else { write!(f, ", with {} of the environment", variables.join(" and ")) }
    }
}

const NONE: &str = "none";
const NATIVE: &str = "no effect with the native store";

/// All settings, in the order of config.example.yaml.
pub(super) fn settings(config: &Config, sources: &Sources) -> Vec<Setting> {
    let mut list = List { sources, settings: Vec::new() };
    let Config { server, database, entra, sync, session, limits, litellm, policy, pages, .. } = config;

    list.put("server.public_url", server.public_url.as_url());
    list.put("server.listen", server.listen);
    list.put_optional("server.metrics_listen", server.metrics_listen);
    if let (Some(setting), Some(null)) = (list.settings.last_mut(), sources.origin_of_null("server.metrics_listen")) {
        setting.origin = null;
    }
    list.put_list("server.trusted_proxies", &server.trusted_proxies, NONE);

    list.put_secret("database.url", true);
    list.put("database.max_connections", database.max_connections);
    list.put("store", if config.store == StoreKind::Native { "native" } else { "litellm" });

    list.put("entra.tenant", tenant(&entra.tenant));
    list.put_list("entra.allowed_tenants", &entra.allowed_tenants, NONE);
    list.put("entra.client_id", &entra.client_id);
    let (certificate, token) = match &entra.client_auth {
        ClientAuth::Secrets { .. } => (None, None),
        ClientAuth::Certificate(path) => (Some(path.display()), None),
        ClientAuth::FederatedToken(path) => (None, Some(path.display())),
    };
    list.put_secret("entra.client_secret", matches!(entra.client_auth, ClientAuth::Secrets { .. }));
    list.put_optional("entra.certificate_file", certificate);
    list.put_optional("entra.federated_token_file", token);
    list.put_optional("entra.service_principal_id", entra.service_principal_id.as_ref());
    list.put("entra.cloud", sources.scalar("entra.cloud").unwrap_or_else(|| "global".to_owned()));
    list.put("entra.authority_url", &entra.authority_url);
    list.put("entra.graph_url", &entra.graph_url);

    list.put("sync.nested_groups", sync.nested_groups);
    let precedence = match policy.role_precedence {
        RolePrecedence::First => "first",
        RolePrecedence::Highest => "highest",
    };
    list.put("sync.role_precedence", precedence);
    list.put("sync.assigned_groups_ttl", format_duration(sync.assigned_groups_ttl));

    list.put("access.require_group", policy.require_group);
    list.put_list("access.allowed_email_domains", &policy.allowed_email_domains, "any");
    list.put_list("access.admin_user_ids", &policy.admin_user_ids, NONE);
    list.put("access.home_tenant", policy.home_tenant.map_or_else(|| tenant(&entra.tenant), |home| home.to_string()));
    list.put_list("access.return_hosts", &config.return_hosts, NONE);

    list.put("session.idle_timeout", format_duration(session.idle_timeout));
    list.put("session.lifetime", format_duration(session.lifetime));
    list.put("session.max_per_user", session.max_per_user);
    list.put("session.cache_ttl", format_duration(session.cache_ttl));
    list.put_optional("session.cookie_domain", session.cookie_domain.as_ref());
    list.put_secret("session.cookie_keys", !session.cookie_keys.is_empty());
    list.put_optional("session.assertion", session.assertion.as_ref().map(assertion));

    list.put("limits.connections", limits.connections);
    list.put("limits.concurrent_sign_ins", limits.concurrent_sign_ins);
    let rate = |limit: Option<NonZeroU32>| limit.map_or("no limit".to_owned(), |limit| limit.to_string());
    list.put("limits.sign_ins_per_address", rate(limits.sign_ins_per_address));
    list.put("limits.sign_ins_per_user", rate(limits.sign_ins_per_user));

    list.put_optional("pages.name", pages.name.as_ref());
    let logo = pages.logo.as_ref().map(|logo| {
        let kind = match logo.kind {
            LogoKind::Svg => "SVG",
            LogoKind::Png => "PNG",
        };
        format!("{kind}, {} bytes", logo.bytes.len())
    });
    list.put_optional("pages.logo_file", logo);

    list.put_secret("litellm.redis_url", litellm.redis_url.is_some());
    list.put_optional("litellm.redis_namespace", litellm.redis_namespace.as_ref());
    let native = config.store == StoreKind::Native;
    list.put("litellm.org_team_models", if native { NATIVE } else { policy.org_team_models.as_str() });

    list.put("litellm_settings.entra_groups_also_create_orgs", policy.also_create_orgs);
    list.put_team_params(policy.team_params.as_ref(), config.store);
    list.put_older_keys();
    list.put_user_params(config);
    list.settings
}

/// Collects the settings.
struct List<'a> {
    sources: &'a Sources<'a>,
    settings: Vec<Setting>,
}

impl List<'_> {
    fn put(&mut self, key: &'static str, value: impl Display) {
        self.put_from(key, &[key], value);
    }

    /// Adds a value that can be set at several paths. The first one wins.
    fn put_from(&mut self, key: &'static str, paths: &[&str], value: impl Display) {
        let mut origins = paths.iter().map(|path| self.sources.origin(path));
        let origin = origins.find(|origin| *origin != Origin::Default).unwrap_or(Origin::Default);
        self.settings.push(Setting { key, value: value.to_string(), origin });
    }

    fn put_optional(&mut self, key: &'static str, value: Option<impl Display>) {
        self.put_optional_from(key, &[key], value);
    }

    fn put_optional_from(&mut self, key: &'static str, paths: &[&str], value: Option<impl Display>) {
        self.put_from(key, paths, value.map_or(NONE.to_owned(), |value| value.to_string()));
    }

    fn put_list(&mut self, key: &'static str, values: impl IntoIterator<Item = impl Display>, if_empty: &str) {
        self.put(key, joined(values).unwrap_or_else(|| if_empty.to_owned()));
    }

    fn put_secret(&mut self, key: &'static str, set: bool) {
        self.put(key, if set { "set" } else { "not set" });
    }

    /// Adds a key that the native store does not support.
    fn put_litellm_only(&mut self, key: &'static str, store: StoreKind, paths: &[&str], value: Option<impl Display>) {
        if store == StoreKind::Native && self.sources.origin(key) != Origin::Default {
            return self.put(key, NATIVE);
        }
        self.put_optional_from(key, paths, value);
    }

    fn put_team_params(&mut self, params: Option<&TeamParams>, store: StoreKind) {
        let none = TeamParams::default();
        let params = params.unwrap_or(&none);
        let TeamParams { models, limits, organization_id, member_limits, metadata, .. } = params;
        self.put_list("litellm_settings.default_team_params.models", models, "all models");
        let key = "litellm_settings.default_team_params.max_budget";
        self.put_optional_from(key, &[key, OLDER_TEAM_BUDGET], limits.max_budget);
        let duration = "litellm_settings.default_team_params.budget_duration";
        self.put_optional(duration, limits.budget_duration.as_ref());
        self.put_optional("litellm_settings.default_team_params.tpm_limit", limits.tpm_limit);
        self.put_optional("litellm_settings.default_team_params.rpm_limit", limits.rpm_limit);
        // Only the names of metadata keys, because values in a proxy's file may be credentials.
        let tags = "litellm_settings.default_team_params.tags";
        let has_tags = self.sources.in_file(tags).is_some();
        let names = joined(metadata.keys().filter(|key| !(has_tags && *key == "tags")));
        let names = names.map(|names| format!("the keys {names}"));
        self.put_optional("litellm_settings.default_team_params.metadata", names);
        let values = metadata.get("tags").and_then(|tags| tags.as_array()).filter(|_| has_tags);
        let values = values.and_then(|tags| joined(tags.iter().filter_map(|tag| tag.as_str())));
        self.put_optional(tags, values);

        let members = member_limits.as_ref().unwrap_or(&none.limits);
        let key = "litellm_settings.default_team_params.organization_id";
        self.put_litellm_only(key, store, &[key], organization_id.as_ref());
        let key = "litellm_settings.default_team_params.access_group_ids";
        self.put_litellm_only(key, store, &[key], joined(&params.access_group_ids));
        let key = "litellm_settings.default_team_params.team_member_permissions";
        self.put_litellm_only(key, store, &[key], params.team_member_permissions.as_ref().and_then(joined));
        let key = "litellm_settings.default_team_params.team_member_budget";
        self.put_litellm_only(key, store, &[key], members.max_budget);
        let key = "litellm_settings.default_team_params.team_member_budget_duration";
        let paths = if members.budget_duration.is_some() { vec![key, duration] } else { vec![key] };
        self.put_litellm_only(key, store, &paths, members.budget_duration.as_ref());
        let key = "litellm_settings.default_team_params.team_member_tpm_limit";
        self.put_litellm_only(key, store, &[key], members.tpm_limit);
        let key = "litellm_settings.default_team_params.team_member_rpm_limit";
        self.put_litellm_only(key, store, &[key], members.rpm_limit);
    }

    /// Adds LiteLLM's older keys for budgets as they are in the file. The reader validated them.
    fn put_older_keys(&mut self) {
        let budget = self.sources.scalar(OLDER_TEAM_BUDGET).map(|budget| format!("max_budget of the first: {budget}"));
        self.put_optional("litellm_settings.default_team_settings", budget);
        for key in OLDER_USER_BUDGETS.into_iter().chain([OLDER_USER_DURATION]) {
            self.put_optional(key, self.sources.scalar(key));
        }
    }

    fn put_user_params(&mut self, config: &Config) {
        let Limits { max_budget, budget_duration, tpm_limit, rpm_limit } = &config.policy.user_params.limits;
        self.put("litellm_settings.default_internal_user_params.user_role", config.policy.default_role());
        let key = "litellm_settings.default_internal_user_params.max_budget";
        self.put_optional_from(key, &[key, OLDER_USER_BUDGETS[0], OLDER_USER_BUDGETS[1]], *max_budget);
        let key = "litellm_settings.default_internal_user_params.budget_duration";
        self.put_optional_from(key, &[key, OLDER_USER_DURATION], budget_duration.as_ref());
        let models = &config.policy.user_params.models;
        self.put_list("litellm_settings.default_internal_user_params.models", models, "all models");
        let key = "litellm_settings.default_internal_user_params.tpm_limit";
        self.put_litellm_only(key, config.store, &[key], *tpm_limit);
        let key = "litellm_settings.default_internal_user_params.rpm_limit";
        self.put_litellm_only(key, config.store, &[key], *rpm_limit);
    }
}

const OLDER_TEAM_BUDGET: &str = "litellm_settings.default_team_settings.0.max_budget";
const OLDER_USER_BUDGETS: [&str; 2] =
    ["litellm_settings.max_internal_user_budget", "litellm_settings.default_max_internal_user_budget"];
const OLDER_USER_DURATION: &str = "litellm_settings.internal_user_budget_duration";

fn tenant(tenant: &Tenant) -> String {
    match tenant {
        Tenant::Id(id) => id.to_string(),
        Tenant::Domain(name) => name.clone(),
        Tenant::Organizations => "organizations".to_owned(),
        Tenant::Common => "common".to_owned(),
    }
}

/// The audiences and lifetime of assertions.
fn assertion(assertion: &Assertion) -> String {
    let mapped = assertion.audiences.iter().map(|(host, audience)| format!("{audience} for {host}, "));
    let unnamed = assertion.audience.iter().map(|audience| format!("{audience} without a forwarded host, "));
    let others = "else the upstream's origin";
    format!("audience: {}{others}; ttl {}", mapped.chain(unnamed).collect::<String>(), format_duration(assertion.ttl))
}

fn format_duration(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

/// The values separated by commas; `None` if there are none.
fn joined(values: impl IntoIterator<Item = impl Display>) -> Option<String> {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}
