//! The effective configuration, to be looked at: each key with its value and where that came from. No secret is in it.

use std::fmt::{self, Display};
use std::num::NonZeroU32;
use std::time::Duration;

use super::sources::Sources;
use super::{Assertion, ClientAuth, Config, LogoKind, Tenant};
use crate::domain::StoreKind;
use crate::policy::{Limits, RolePrecedence, TeamParams};

/// One key of the configuration as it counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key's path, such as `server.public_url`.
    pub key: &'static str,
    /// The value in words; of a secret only whether there is one.
    pub value: String,
    pub origin: Origin,
}

impl Setting {
    /// The section that the key is in.
    #[must_use]
    pub fn section(&self) -> &'static str {
        self.key.split('.').next().unwrap_or(self.key)
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave one.
    Default,
    /// The configuration file; `names` are the variables that it put in, or that were added.
    File { line: Option<u64>, names: Vec<String> },
    /// The variable of the environment that wins over the file.
    Environment(&'static str),
    /// A file of its own, which this line of the configuration file names.
    SecretFile { line: Option<u64>, names: Vec<String> },
}

impl Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, names) = match self {
            Self::Default => return f.write_str("default"),
            Self::Environment(name) => return write!(f, "environment, {name}"),
            Self::File { line, names } => {
                f.write_str("file")?;
                (line, names)
            }
            Self::SecretFile { line, names } => {
                f.write_str("secret file, named in the file")?;
                (line, names)
            }
        };
        if let Some(line) = line {
            write!(f, ", line {line}")?;
        }
        if names.is_empty() { Ok(()) } else { write!(f, ", with {} of the environment", names.join(" and ")) }
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
    list.perhaps("server.metrics_listen", server.metrics_listen);
    if let (Some(setting), Some(null)) = (list.settings.last_mut(), sources.origin_of_null("server.metrics_listen")) {
        setting.origin = null;
    }
    list.several("server.trusted_proxies", &server.trusted_proxies, NONE);

    list.secret("database.url", true);
    list.put("database.max_connections", database.max_connections);
    list.put("store", if config.store == StoreKind::Native { "native" } else { "litellm" });

    list.put("entra.tenant", tenant(&entra.tenant));
    list.several("entra.allowed_tenants", &entra.allowed_tenants, NONE);
    list.put("entra.client_id", &entra.client_id);
    let (certificate, token) = match &entra.client_auth {
        ClientAuth::Secrets { .. } => (None, None),
        ClientAuth::Certificate(path) => (Some(path.display()), None),
        ClientAuth::FederatedToken(path) => (None, Some(path.display())),
    };
    list.secret("entra.client_secret", matches!(entra.client_auth, ClientAuth::Secrets { .. }));
    list.perhaps("entra.certificate_file", certificate);
    list.perhaps("entra.federated_token_file", token);
    list.perhaps("entra.service_principal_id", entra.service_principal_id.as_ref());
    list.put("entra.cloud", sources.scalar("entra.cloud").unwrap_or_else(|| "global".to_owned()));
    list.put("entra.authority_url", &entra.authority_url);
    list.put("entra.graph_url", &entra.graph_url);

    list.put("sync.nested_groups", sync.nested_groups);
    let precedence = match policy.role_precedence {
        RolePrecedence::First => "first",
        RolePrecedence::Highest => "highest",
    };
    list.put("sync.role_precedence", precedence);
    list.put("sync.assigned_groups_ttl", span(sync.assigned_groups_ttl));

    list.put("access.require_group", policy.require_group);
    list.several("access.allowed_email_domains", &policy.allowed_email_domains, "any");
    list.several("access.admin_user_ids", &policy.admin_user_ids, NONE);
    list.put("access.home_tenant", policy.home_tenant.map_or_else(|| tenant(&entra.tenant), |home| home.to_string()));
    list.several("access.return_hosts", &config.return_hosts, NONE);

    list.put("session.idle_timeout", span(session.idle_timeout));
    list.put("session.lifetime", span(session.lifetime));
    list.put("session.max_per_user", session.max_per_user);
    list.put("session.cache_ttl", span(session.cache_ttl));
    list.perhaps("session.cookie_domain", session.cookie_domain.as_ref());
    list.secret("session.cookie_keys", !session.cookie_keys.is_empty());
    list.perhaps("session.assertion", session.assertion.as_ref().map(assertion));

    list.put("limits.connections", limits.connections);
    list.put("limits.concurrent_sign_ins", limits.concurrent_sign_ins);
    let rate = |most: Option<NonZeroU32>| most.map_or("any number".to_owned(), |most| most.to_string());
    list.put("limits.sign_ins_per_address", rate(limits.sign_ins_per_address));
    list.put("limits.sign_ins_per_user", rate(limits.sign_ins_per_user));

    list.perhaps("pages.name", pages.name.as_ref());
    let logo = pages.logo.as_ref().map(|logo| {
        let kind = match logo.kind {
            LogoKind::Svg => "SVG",
            LogoKind::Png => "PNG",
        };
        format!("{kind}, {} bytes", logo.bytes.len())
    });
    list.perhaps("pages.logo_file", logo);

    list.secret("litellm.redis_url", litellm.redis_url.is_some());
    list.perhaps("litellm.redis_namespace", litellm.redis_namespace.as_ref());
    let native = config.store == StoreKind::Native;
    list.put("litellm.org_team_models", if native { NATIVE } else { policy.org_team_models.as_str() });

    list.put("litellm_settings.entra_groups_also_create_orgs", policy.also_create_orgs);
    list.team_params(policy.team_params.as_ref(), config.store);
    list.older_keys();
    list.user_params(config);
    list.settings
}

/// What is gathered.
struct List<'a> {
    sources: &'a Sources<'a>,
    settings: Vec<Setting>,
}

impl List<'_> {
    fn put(&mut self, key: &'static str, value: impl Display) {
        self.put_from(key, &[key], value);
    }

    /// A value that may have been given in one of several places; the first counts.
    fn put_from(&mut self, key: &'static str, places: &[&str], value: impl Display) {
        let mut origins = places.iter().map(|place| self.sources.origin(place));
        let origin = origins.find(|origin| *origin != Origin::Default).unwrap_or(Origin::Default);
        self.settings.push(Setting { key, value: value.to_string(), origin });
    }

    fn perhaps(&mut self, key: &'static str, value: Option<impl Display>) {
        self.perhaps_from(key, &[key], value);
    }

    fn perhaps_from(&mut self, key: &'static str, places: &[&str], value: Option<impl Display>) {
        self.put_from(key, places, value.map_or(NONE.to_owned(), |value| value.to_string()));
    }

    fn several(&mut self, key: &'static str, values: impl IntoIterator<Item = impl Display>, without: &str) {
        self.put(key, joined(values).unwrap_or_else(|| without.to_owned()));
    }

    fn secret(&mut self, key: &'static str, set: bool) {
        self.put(key, if set { "set" } else { "not set" });
    }

    /// A key that the native store has no place for.
    fn of_litellm(&mut self, key: &'static str, store: StoreKind, places: &[&str], value: Option<impl Display>) {
        if store == StoreKind::Native && self.sources.origin(key) != Origin::Default {
            return self.put(key, NATIVE);
        }
        self.perhaps_from(key, places, value);
    }

    fn team_params(&mut self, params: Option<&TeamParams>, store: StoreKind) {
        let none = TeamParams::default();
        let params = params.unwrap_or(&none);
        let TeamParams { models, limits, organization_id, member_limits, metadata, .. } = params;
        self.several("litellm_settings.default_team_params.models", models, "all models");
        let key = "litellm_settings.default_team_params.max_budget";
        self.perhaps_from(key, &[key, OLDER_TEAM_BUDGET], limits.max_budget);
        let duration = "litellm_settings.default_team_params.budget_duration";
        self.perhaps(duration, limits.budget_duration.as_ref());
        self.perhaps("litellm_settings.default_team_params.tpm_limit", limits.tpm_limit);
        self.perhaps("litellm_settings.default_team_params.rpm_limit", limits.rpm_limit);
        // A proxy's file may have credentials among the values.
        let tags = "litellm_settings.default_team_params.tags";
        let apart = self.sources.written(tags).is_some();
        let names = joined(metadata.keys().filter(|key| !(apart && *key == "tags")));
        let names = names.map(|names| format!("the keys {names}"));
        self.perhaps("litellm_settings.default_team_params.metadata", names);
        let values = metadata.get("tags").and_then(|tags| tags.as_array()).filter(|_| apart);
        let values = values.and_then(|tags| joined(tags.iter().filter_map(|tag| tag.as_str())));
        self.perhaps(tags, values);

        let members = member_limits.as_ref().unwrap_or(&none.limits);
        let key = "litellm_settings.default_team_params.organization_id";
        self.of_litellm(key, store, &[key], organization_id.as_ref());
        let key = "litellm_settings.default_team_params.access_group_ids";
        self.of_litellm(key, store, &[key], joined(&params.access_group_ids));
        let key = "litellm_settings.default_team_params.team_member_permissions";
        self.of_litellm(key, store, &[key], params.team_member_permissions.as_ref().and_then(joined));
        let key = "litellm_settings.default_team_params.team_member_budget";
        self.of_litellm(key, store, &[key], members.max_budget);
        let key = "litellm_settings.default_team_params.team_member_budget_duration";
        let places = if members.budget_duration.is_some() { vec![key, duration] } else { vec![key] };
        self.of_litellm(key, store, &places, members.budget_duration.as_ref());
        let key = "litellm_settings.default_team_params.team_member_tpm_limit";
        self.of_litellm(key, store, &[key], members.tpm_limit);
        let key = "litellm_settings.default_team_params.team_member_rpm_limit";
        self.of_litellm(key, store, &[key], members.rpm_limit);
    }

    /// LiteLLM's older places for the budgets, as they were given. They were read as numbers and a duration.
    fn older_keys(&mut self) {
        let budget = self.sources.scalar(OLDER_TEAM_BUDGET).map(|budget| format!("max_budget of the first: {budget}"));
        self.perhaps("litellm_settings.default_team_settings", budget);
        for key in OLDER_USER_BUDGETS.into_iter().chain([OLDER_USER_DURATION]) {
            self.perhaps(key, self.sources.scalar(key));
        }
    }

    fn user_params(&mut self, config: &Config) {
        let Limits { max_budget, budget_duration, tpm_limit, rpm_limit } = &config.policy.user_params.limits;
        self.put("litellm_settings.default_internal_user_params.user_role", config.policy.default_role());
        let key = "litellm_settings.default_internal_user_params.max_budget";
        self.perhaps_from(key, &[key, OLDER_USER_BUDGETS[0], OLDER_USER_BUDGETS[1]], *max_budget);
        let key = "litellm_settings.default_internal_user_params.budget_duration";
        self.perhaps_from(key, &[key, OLDER_USER_DURATION], budget_duration.as_ref());
        let models = &config.policy.user_params.models;
        self.several("litellm_settings.default_internal_user_params.models", models, "all models");
        let key = "litellm_settings.default_internal_user_params.tpm_limit";
        self.of_litellm(key, config.store, &[key], *tpm_limit);
        let key = "litellm_settings.default_internal_user_params.rpm_limit";
        self.of_litellm(key, config.store, &[key], *rpm_limit);
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

/// Which audience counts where, and for how long an assertion is valid.
fn assertion(assertion: &Assertion) -> String {
    let mapped = assertion.audiences.iter().map(|(host, audience)| format!("{audience} for {host}, "));
    let unnamed = assertion.audience.iter().map(|audience| format!("{audience} without a forwarded host, "));
    let others = "else the upstream's origin";
    format!("audience: {}{others}; ttl {}", mapped.chain(unnamed).collect::<String>(), span(assertion.ttl))
}

fn span(time: Duration) -> String {
    humantime::format_duration(time).to_string()
}

/// Nothing where there are none.
fn joined(values: impl IntoIterator<Item = impl Display>) -> Option<String> {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}
