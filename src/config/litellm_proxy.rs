//! The section `litellm`: the Redis of the proxies, and the models of teams in organizations.

use url::Url;

use super::problem::NoteLevel;
use super::reader::{Item, Reader};
use super::secret::SecretSource;
use super::section::Section;
use super::{LiteLlm, secret};
use crate::domain::StoreKind;
use crate::policy::OrgTeamModels;

const HELP: &str = "Write redis://:password@host:6379 or rediss://user:password@host:6379/0, with the password \
                    percent-encoded (%40 for @)";

/// Reads `litellm`. The second value is for `Policy`: always `Inherit` with the native store, whose teams inherit their
/// organization's models.
pub(super) fn litellm<'a>(
    root: &mut Section<'a>,
    store: StoreKind,
    reader: &mut Reader<'a>,
) -> (LiteLlm, OrgTeamModels) {
    let mut section = root.section("litellm", reader);
    let url = match secret::find(&mut section, "redis_url", "redis_url_file", reader) {
        SecretSource::Absent => None,
        given => Some(secret::text(&section, "redis_url", given, HELP, reader)),
    };
    let namespace = section.take("redis_namespace");
    let models = section.take("org_team_models");
    section.finish(reader);

    if let (None, Some(item)) = (&url, &namespace) {
        reader.note(NoteLevel::Warning, &item.path, "has no effect without litellm.redis_url");
    }
    let redis_url = url.flatten().filter(|(item, url)| is_redis_url(item, url, reader)).map(|(_, url)| url.into());
    // LiteLLM uses an empty namespace as a prefix of the channel, but not of keys.
    let redis_namespace = namespace.and_then(|item| {
        let help = "Write the namespace of the proxies' cache, or remove the key";
        reader.parsed(&item, help, |text| if text.is_empty() { Err("is empty") } else { Ok(text.to_owned()) })
    });
    let litellm = LiteLlm { redis_url, redis_namespace };
    let any = litellm.redis_url.is_some() || litellm.redis_namespace.is_some() || models.is_some();
    if store == StoreKind::Native && any {
        reader.note(NoteLevel::Warning, "litellm", "has no effect with the native store");
    }
    let choices = [OrgTeamModels::Expand, OrgTeamModels::Inherit].map(|value| (value.as_str(), value));
    let models = models.and_then(|item| reader.choice(&item, &choices)).unwrap_or(OrgTeamModels::Expand);
    let models = if store == StoreKind::Native { OrgTeamModels::Inherit } else { models };
    (litellm, models)
}

fn is_redis_url(item: &Item, url: &str, reader: &mut Reader) -> bool {
    let message = if url.starts_with("redis+unix://") || url.starts_with("unix://") {
        "is a Unix socket, which is not supported"
    } else if !["redis://", "rediss://"].iter().any(|scheme| url.starts_with(scheme)) {
        "must start with redis:// or rediss://"
    } else {
        match Url::parse(url) {
            Ok(parsed) if !url.contains(char::is_whitespace) && parsed.has_host() => {
                let database = parsed.path().trim_start_matches('/');
                // redis-py accepts options such as `?ssl_cert_reqs=none`, which have no effect here.
                if parsed.query().is_some() || parsed.fragment().is_some() {
                    "must end with the port or the database number, without ? and #"
                } else if !database.is_empty() && database.parse::<u16>().is_err() {
                    "must have a database number or nothing as its path"
                } else {
                    return true;
                }
            }
            _ => "is not a URL",
        }
    };
    reader.problem(item, message, HELP);
    false
}
