//! Evicts changed entries from the caches of the LiteLLM proxies, through the Redis that they share. Follows LiteLLM's own
//! `auth_cache_invalidation_pubsub.py` (1.109.1). Knows no database.
//!
//! A proxy caches users, teams and memberships for up to 60 s in each worker's memory and, with `enable_redis_auth_cache`,
//! in Redis. The entries are deleted from Redis first, then a message makes the workers drop theirs. In the other order, a
//! worker could read the old value from Redis again.
//!
//! A restricted Redis user needs `+del +publish`, the keys `~*` (or `~namespace:*`) and the channel
//! `&litellm_proxy.auth_cache_invalidation` (or `&namespace:litellm_proxy.auth_cache_invalidation`); for a database other
//! than 0 also `+select`.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::fmt;
use std::iter::successors;
use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, Pipeline, RedisError};
use secrecy::{ExposeSecret, SecretString};

/// Time limit for connecting, the commands and their replies. Entries that were not evicted expire after 60 s.
pub const TIMEOUT: Duration = Duration::from_secs(1);

/// LiteLLM's `AUTH_CACHE_INVALIDATION_CHANNEL`.
const CHANNEL: &str = "litellm_proxy.auth_cache_invalidation";

/// A key that no proxy uses.
const PROBE_KEY: &str = "entraway:check";

/// Why entries were not evicted. Contains neither the URL nor a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// Not of the form `redis[s]://[[user]:password@]host[:port][/database]`.
    #[error("the Redis URL is not valid")]
    Address,
    /// No response, while connecting or later.
    #[error("Redis did not answer within {} s", TIMEOUT.as_secs())]
    Timeout,
    /// Connection or TLS failure, with the reason from the operating system or the TLS library.
    #[error("Redis cannot be reached: {0}")]
    Unreachable(String),
    /// A password is missing, wrong or unexpected, or the user does not exist.
    #[error("Redis rejected the user or the password")]
    Credentials,
    /// An ACL denies the user the commands, the keys or the channel.
    #[error("the Redis user may not DEL these keys or may not PUBLISH to {CHANNEL}")]
    Forbidden,
    /// An ACL denies `SELECT`, the number is too high, or this is a cluster, which only has database 0.
    #[error("the Redis user may not SELECT the database in the URL, or that database does not exist")]
    Database,
    /// Commands on a replica do not reach the other nodes.
    #[error("this Redis is a replica: use the URL of its primary")]
    Replica,
    /// This node has only some of the keys. The workers received the messages, which every node forwards.
    #[error("this Redis is one node of a cluster: keys on other nodes were not deleted")]
    Cluster,
    /// Any other error reply, with its code, such as `LOADING`.
    #[error("Redis answered with the error {0}")]
    Refused(String),
}

impl From<RedisError> for CacheError {
    fn from(error: RedisError) -> Self {
        // The library's texts may contain the server's reply, which may contain keys.
        match error.kind() {
            ErrorKind::AuthenticationFailed => return Self::Credentials,
            ErrorKind::InvalidClientConfig => return Self::Address,
            _ => {}
        }
        if let Some(replies) = error.clone().into_server_errors()
            && let Some((_, first)) = replies.first()
        {
            return match first.code() {
                "NOAUTH" | "WRONGPASS" => Self::Credentials,
                "NOPERM" => Self::Forbidden,
                "READONLY" => Self::Replica,
                "MOVED" | "ASK" | "CROSSSLOT" => Self::Cluster,
                code => Self::Refused(code.chars().filter(char::is_ascii_uppercase).take(20).collect()),
            };
        }
        // For a failed `SELECT`, which the library sends while connecting, it retains the reply's text but not its code.
        if matches!(error.kind(), ErrorKind::Server(_)) {
            let reply = error.detail().unwrap_or_default().to_ascii_lowercase();
            return if reply.starts_with("authentication required") {
                Self::Credentials
            } else if reply.contains("select") || reply.contains("db index") {
                Self::Database
            } else {
                Self::Refused(error.code().unwrap_or_default().to_owned())
            };
        }
        let cause = successors(error.source(), |cause| (*cause).source()).last();
        Self::Unreachable(cause.map_or_else(|| error.category().to_owned(), ToString::to_string))
    }
}

/// Client for the Redis that the proxies share. Cheap to clone.
///
/// Connects for each call. Sign-ins are rare, an idle connection may be dead without notice, and callers do not wait for each
/// other's timeouts.
#[derive(Clone)]
pub struct LiteLlmCache {
    client: Client,
    namespace: Option<String>,
}

impl fmt::Debug for LiteLlmCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LiteLlmCache").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl LiteLlmCache {
    /// Creates a client without connecting.
    ///
    /// `url` is `redis[s]://[[user]:password@]host[:port][/database]`, with special characters of the password
    /// percent-encoded. `namespace` is that of the proxies' cache. The certificate of a `rediss://` server is verified with
    /// the system's root certificates; the process must have installed a rustls provider.
    ///
    /// # Errors
    /// `CacheError::Address` for any other URL.
    pub fn new(url: &SecretString, namespace: Option<String>) -> Result<Self, CacheError> {
        let url = url.expose_secret();
        // The library also accepts Unix sockets, and options after `?` and `#`.
        if !["redis://", "rediss://"].iter().any(|scheme| url.starts_with(scheme)) || url.contains(['?', '#']) {
            return Err(CacheError::Address);
        }
        let info = url.into_connection_info().map_err(|_| CacheError::Address)?;
        // Sending the library's name would need another permission.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let client = Client::open(info.set_redis_settings(settings)).map_err(|_| CacheError::Address)?;
        Ok(Self { client, namespace })
    }

    /// Evicts these entries (see [`keys`]) from the proxies' caches, in one round trip of at most [`TIMEOUT`]. Without keys it
    /// does not connect. Call it after the write was committed. After an error, some entries may be evicted; a repetition is
    /// harmless.
    pub async fn evict(&self, keys: &BTreeSet<String>) -> Result<(), CacheError> {
        if !keys.is_empty() {
            self.send(keys).await?;
        }
        Ok(())
    }

    /// Does the same as [`Self::evict`] with an unused key, which also finds missing permissions. Returns how many workers of
    /// proxies received the message: zero if none runs or the namespace differs.
    pub async fn ready(&self) -> Result<u64, CacheError> {
        let replies = self.send(&BTreeSet::from([PROBE_KEY.to_owned()])).await?;
        Ok(replies.last().copied().unwrap_or_default())
    }

    async fn send(&self, keys: &BTreeSet<String>) -> Result<Vec<u64>, CacheError> {
        let mut pipeline = Pipeline::with_capacity(2 * keys.len());
        // One DEL per key: a cluster rejects a command whose keys belong to different nodes.
        for key in keys {
            pipeline.cmd("DEL").arg(self.redis_key(key));
        }
        let channel = self.channel();
        for key in keys {
            pipeline.cmd("PUBLISH").arg(&channel).arg(serde_json::json!({ "cache_key": key }).to_string());
        }
        let exchange = async {
            // One timeout covers everything; the library's own are shorter or cover only a part.
            let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            pipeline.query_async(&mut connection).await
        };
        match tokio::time::timeout(TIMEOUT, exchange).await {
            Ok(replies) => Ok(replies?),
            Err(_) => Err(CacheError::Timeout),
        }
    }

    /// LiteLLM's `check_and_fix_namespace`, which adds no prefix to a key that already starts with the namespace.
    fn redis_key(&self, key: &str) -> String {
        match self.namespace.as_deref() {
            Some(namespace) if !namespace.is_empty() && !key.starts_with(&format!("{namespace}:")) => {
                format!("{namespace}:{key}")
            }
            _ => key.to_owned(),
        }
    }

    /// LiteLLM's `auth_cache_invalidation_channel`.
    fn channel(&self) -> String {
        self.namespace.as_ref().map_or_else(|| CHANNEL.to_owned(), |namespace| format!("{namespace}:{CHANNEL}"))
    }
}

/// Cache keys of the objects that a sign-in changed: the user; each changed team, by ID and by alias if it has one, with the
/// user's membership; and the organizations.
///
/// In LiteLLM: `get_user_object`, `delete_cache_team_object`, `member_cache_keys` (a membership has two keys) and
/// `get_org_object`.
pub fn keys<'a>(
    user_id: &str,
    teams: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    organizations: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<String> {
    let mut keys = BTreeSet::from([user_id.to_owned()]);
    for (team, alias) in teams {
        keys.extend([format!("{team}_{user_id}"), format!("team_membership:{user_id}:{team}")]);
        keys.extend(team_keys(team, alias));
    }
    keys.extend(organizations.into_iter().flat_map(organization_keys));
    keys
}

/// Cache keys of a team, by ID and by its names.
pub fn team_keys<'a>(team: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let names = names.into_iter().filter(|name| !name.is_empty()).map(|name| format!("team_alias:{name}"));
    names.chain([format!("team_id:{team}")]).collect()
}

/// Cache keys of an organization.
pub fn organization_keys(organization: &str) -> [String; 2] {
    [format!("org_id:{organization}"), format!("org_id:{organization}:with_budget")]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(namespace: Option<&str>) -> LiteLlmCache {
        LiteLlmCache::new(&"redis://:S3cret@localhost/3".into(), namespace.map(str::to_owned)).unwrap()
    }

    #[test]
    fn namespace_is_added_as_in_litellm() {
        for (namespace, key, channel) in [
            (None, "team_id:t", CHANNEL.to_owned()),
            (Some("prod"), "prod:team_id:t", format!("prod:{CHANNEL}")),
            (Some("team_id"), "team_id:t", format!("team_id:{CHANNEL}")),
            (Some("team"), "team:team_id:t", format!("team:{CHANNEL}")),
            (Some(""), "team_id:t", format!(":{CHANNEL}")),
        ] {
            let cache = cache(namespace);
            assert_eq!((cache.redis_key("team_id:t").as_str(), cache.channel()), (key, channel), "{namespace:?}");
        }
    }

    #[test]
    fn keys_list_all_cache_keys_of_litellm() {
        let keys = keys("u", [("t", Some("A: b")), ("s", None), ("r", Some(""))], ["o"]);
        let expected = [
            "org_id:o",
            "org_id:o:with_budget",
            "r_u",
            "s_u",
            "t_u",
            "team_alias:A: b",
            "team_id:r",
            "team_id:s",
            "team_id:t",
            "team_membership:u:r",
            "team_membership:u:s",
            "team_membership:u:t",
            "u",
        ];
        assert_eq!(keys.iter().map(String::as_str).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn new_rejects_invalid_url_without_repeating_it() {
        for url in [
            "",
            "S3cret",
            "redis://",
            "redis://:S3cret@",
            "redis://u:S3/cret@h",
            "redis://u:S3#cret@h",
            "redis://u:S3cret@h/db",
            "redis://u:S3cret@h?db=1",
            "rediss://u:S3cret@h/#insecure",
            "redis+unix:///run/redis.sock?pass=S3cret",
            "unix:///run/redis.sock",
            "https://u:S3cret@h",
        ] {
            let error = LiteLlmCache::new(&url.into(), None).expect_err(url);
            assert_eq!(error, CacheError::Address, "{url}");
            assert!(!format!("{error} {error:?}").contains("S3"), "{url}");
        }
    }

    /// Errors that the library creates from the reply to its `SELECT`. A server at its connection limit sends that error as
    /// the first reply.
    #[test]
    fn failed_select_is_classified_by_the_reply() {
        for (reply, expected) in [
            ("User u has no permissions to run the 'select' command", CacheError::Database),
            ("this user has no permissions to run the 'select' command or its subcommand", CacheError::Database),
            ("DB index is out of range", CacheError::Database),
            ("SELECT is not allowed in cluster mode", CacheError::Database),
            ("Authentication required.", CacheError::Credentials),
            ("max number of clients reached", CacheError::Refused("ERR".to_owned())),
        ] {
            let error = (redis::ServerErrorKind::ResponseError.into(), "refused to switch database", reply.to_owned());
            assert_eq!(CacheError::from(RedisError::from(error)), expected, "{reply}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", cache(Some("prod"))), "LiteLlmCache { namespace: Some(\"prod\"), .. }");
    }
}
