//! The section `litellm`: how the proxies whose database is written to are told, and what their teams may use.

use url::Url;

use super::problem::Level;
use super::reader::{Item, Reader};
use super::secret::Given;
use super::section::Section;
use super::{LiteLlm, secret};
use crate::domain::StoreKind;
use crate::policy::OrgTeamModels;

const REMEDY: &str =
    "write redis://:password@host:6379 or rediss://user:password@host:6379/0, with %40 for @ and so on in the password";

/// All keys are optional, and so is the section. The second value is for `Policy`: the native store's teams inherit their
/// organization's models, so that the key has no effect there.
pub(super) fn litellm<'a>(
    root: &mut Section<'a>,
    store: StoreKind,
    reader: &mut Reader<'a>,
) -> (LiteLlm, OrgTeamModels) {
    let mut section = root.section("litellm", reader);
    let url = match secret::find(&mut section, "redis_url", "redis_url_file", reader) {
        Given::Nowhere => None,
        given => Some(secret::text(&section, "redis_url", given, REMEDY, reader)),
    };
    let namespace = section.take("redis_namespace");
    let models = section.take("org_team_models");
    section.finish(reader);

    if let (None, Some(item)) = (&url, &namespace) {
        reader.note(Level::Warning, &item.place, "has no effect without litellm.redis_url");
    }
    let redis_url = url.flatten().filter(|(item, url)| is_redis_url(item, url, reader)).map(|(_, url)| url.into());
    // LiteLLM takes an empty one for a namespace where it names the channel, and for none where it names keys.
    let redis_namespace = namespace.and_then(|item| {
        let remedy = "write the namespace of the proxies' cache, or leave the key out";
        reader.parsed(&item, remedy, |text| if text.is_empty() { Err("is empty") } else { Ok(text.to_owned()) })
    });
    let litellm = LiteLlm { redis_url, redis_namespace };
    let given = litellm.redis_url.is_some() || litellm.redis_namespace.is_some() || models.is_some();
    if store == StoreKind::Native && given {
        reader.note(Level::Warning, "litellm", "has no effect with the native store");
    }
    let words = [OrgTeamModels::Expand, OrgTeamModels::Inherit].map(|value| (value.as_str(), value));
    let models = models.and_then(|item| reader.choice(&item, &words)).unwrap_or(OrgTeamModels::Expand);
    let models = if store == StoreKind::Native { OrgTeamModels::Inherit } else { models };
    (litellm, models)
}

fn is_redis_url(item: &Item, url: &str, reader: &mut Reader) -> bool {
    let said = if url.starts_with("redis+unix://") || url.starts_with("unix://") {
        "is a Unix socket, which is not supported"
    } else if !["redis://", "rediss://"].iter().any(|scheme| url.starts_with(scheme)) {
        "must begin with redis:// or rediss://"
    } else {
        match Url::parse(url) {
            Ok(parsed) if !url.contains(char::is_whitespace) && parsed.has_host() => {
                let database = parsed.path().trim_start_matches('/');
                // redis-py takes switches such as `?ssl_cert_reqs=none` there: none of them has an effect here.
                if parsed.query().is_some() || parsed.fragment().is_some() {
                    "must end with the port or the number of the database, without ? and #"
                } else if !database.is_empty() && database.parse::<u16>().is_err() {
                    "must have the number of a database, or nothing, as its path"
                } else {
                    return true;
                }
            }
            _ => "is not a URL",
        }
    };
    reader.problem(item, said, REMEDY);
    false
}
