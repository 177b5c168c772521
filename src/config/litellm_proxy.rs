//! The section `litellm`: the Redis of the proxies, the models of teams in organizations, and keys of former members.

use secrecy::SecretString;
use url::Url;

use super::problem::NoteLevel;
use super::reader::Item;
use super::secret;
use super::section::{NATIVE, Section};
use crate::domain::StoreKind;
use crate::policy::{KeysOnRemoval, OrgTeamModels};

/// `litellm`: the proxies whose database is written.
#[derive(Debug, Clone, Default)]
pub struct LiteLlm {
    /// The Redis shared by the proxies, as `redis://` or `rediss://` with the password.
    pub redis_url: Option<SecretString>,
    /// Prefix of the proxies' Redis keys; never empty.
    pub redis_namespace: Option<String>,
}

const HELP: &str = "Write redis://:password@host:6379 or rediss://user:password@host:6379/0, with the password \
                    percent-encoded (%40 for @)";

/// Reads `litellm`. The other values are for `Policy`: with the native store, whose teams inherit their organization's
/// models and which has no keys, always `Inherit` and `Keep`.
pub(super) fn litellm(root: &mut Section, store: StoreKind) -> (LiteLlm, OrgTeamModels, KeysOnRemoval) {
    let mut section = root.section("litellm");
    let url = secret::take(&mut section, "redis_url", "redis_url_file");
    let redis_url = url.as_ref().and_then(redis_url);
    secret::show(&section, "redis_url", url.as_ref(), redis_url.is_some());
    // LiteLLM uses an empty namespace as a prefix of the channel, but not of keys.
    let redis_namespace = section.optional("redis_namespace", |item| {
        if url.is_none() {
            item.warn("has no effect without litellm.redis_url");
        }
        let help = "Write the namespace of the proxies' cache, or remove the key";
        item.parsed(help, |text| if text.is_empty() { Err("is empty") } else { Ok(text.to_owned()) })
    });
    let models = section.take("org_team_models");
    let choices = [OrgTeamModels::Expand, OrgTeamModels::Inherit].map(|value| (value.as_str(), value));
    let mut org_team_models = models.as_ref().and_then(|item| item.choice(&choices)).unwrap_or(OrgTeamModels::Expand);
    let mut shown_models = org_team_models.as_str();
    let keys = section.take("keys_on_removal");
    let choices = [("block", KeysOnRemoval::Block), ("keep", KeysOnRemoval::Keep)];
    let mut keys_on_removal = keys.as_ref().and_then(|item| item.choice(&choices)).unwrap_or(KeysOnRemoval::Block);
    let mut shown_keys: &str = keys_on_removal.into();
    if store == StoreKind::Native {
        if redis_url.is_some() || redis_namespace.is_some() || models.is_some() || keys.is_some() {
            section.reader.note(NoteLevel::Warning, "litellm", format!("has {NATIVE}"));
        }
        (org_team_models, shown_models) = (OrgTeamModels::Inherit, NATIVE);
        (keys_on_removal, shown_keys) = (KeysOnRemoval::Keep, NATIVE);
    }
    section.show("org_team_models", models.as_ref(), shown_models);
    section.show("keys_on_removal", keys.as_ref(), shown_keys);
    section.finish();
    (LiteLlm { redis_url, redis_namespace }, org_team_models, keys_on_removal)
}

fn redis_url(item: &Item) -> Option<SecretString> {
    let url = item.text()?;
    let message = if url.is_empty() {
        "is empty"
    } else if url.starts_with("redis+unix://") || url.starts_with("unix://") {
        "is a Unix socket, which is not supported"
    } else if !["redis://", "rediss://"].iter().any(|scheme| url.starts_with(scheme)) {
        "must start with redis:// or rediss://"
    } else {
        match Url::parse(&url) {
            Ok(parsed) if !url.contains(char::is_whitespace) && parsed.has_host() => {
                let database = parsed.path().trim_start_matches('/');
                // redis-py accepts options such as `?ssl_cert_reqs=none`, which have no effect here.
                if parsed.query().is_some() || parsed.fragment().is_some() {
                    "must end with the port or the database number, without ? and #"
                } else if !database.is_empty() && database.parse::<u16>().is_err() {
                    "must have a database number or nothing as its path"
                } else {
                    return Some(url.into());
                }
            }
            _ => "is not a URL",
        }
    };
    item.problem(message, HELP);
    None
}
