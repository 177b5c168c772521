//! The caches of the LiteLLM proxies: what Entraway changed in their database is dropped there through the Redis that
//! they share, as LiteLLM does it itself (`auth_cache_invalidation_pubsub.py`, read in 1.109.1). Knows no database.
//!
//! A proxy keeps users, teams and memberships for up to 60 s in each worker's memory and, with
//! `enable_redis_auth_cache`, in Redis. First they go from Redis, then a message makes the workers drop theirs: the other
//! way round a worker could take the old value from Redis again.
//!
//! A user of Redis that is kept small needs `+del +publish`, the keys `~*` (or `~namespace:*`) and the channel
//! `&litellm_proxy.auth_cache_invalidation` (or `&namespace:litellm_proxy.auth_cache_invalidation`); for another database
//! than 0 also `+select`.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, ErrorKind, IntoConnectionInfo, Pipeline, RedisError};
use secrecy::{ExposeSecret, SecretString};

/// Connecting, asking and the answer together take no longer: what is not dropped by then ends by itself in 60 s.
pub const TIME_OUT: Duration = Duration::from_secs(1);

/// `AUTH_CACHE_INVALIDATION_CHANNEL` of LiteLLM.
const CHANNEL: &str = "litellm_proxy.auth_cache_invalidation";

/// No proxy holds anything under it.
const NOBODYS_KEY: &str = "entraway:check";

/// Why the proxies were not told. Holds neither the address nor a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CacheError {
    /// Not of the form `redis[s]://[[user]:password@]host[:port][/database]`.
    #[error("the address of Redis cannot be read")]
    Address,
    /// Nothing was said for so long, be it while connecting or later.
    #[error("Redis did not answer within {} s", TIME_OUT.as_secs())]
    Timeout,
    /// No connection, no TLS, or it broke off; with the operating system's or the TLS library's reason.
    #[error("Redis cannot be reached: {0}")]
    Unreachable(String),
    /// It wants a password and got none, a wrong one, or one of an unknown user; or it got one and has none.
    #[error("Redis refuses the user or the password")]
    Credentials,
    /// The user is known, but an ACL forbids it the commands, the keys or the channel.
    #[error("the user of Redis lacks the right to DEL these keys or to PUBLISH on {CHANNEL}")]
    Forbidden,
    /// An ACL forbids it `SELECT`, or the number is too high, or this is a cluster, which has 0 alone.
    #[error("the user of Redis lacks the right to SELECT the database of the address, or there is none of that number")]
    Database,
    /// What is dropped on a replica, and said there, does not get to the others.
    #[error("this Redis is a replica: give the address of its primary")]
    Replica,
    /// Only a part of the keys is this node's. The workers were told, as every node passes messages on.
    #[error("this Redis is one node of a cluster: what other nodes hold was not dropped")]
    Cluster,
    /// Anything else, with Redis's word for it, such as `LOADING`.
    #[error("Redis refuses with {0}")]
    Refused(String),
}

impl From<RedisError> for CacheError {
    fn from(error: RedisError) -> Self {
        // The library's own texts may hold what the server said; a server may say keys.
        match error.kind() {
            ErrorKind::AuthenticationFailed => return Self::Credentials,
            ErrorKind::InvalidClientConfig => return Self::Address,
            _ => {}
        }
        if let Some(refused) = error.clone().into_server_errors()
            && let Some((_, first)) = refused.first()
        {
            return match first.code() {
                "NOAUTH" | "WRONGPASS" => Self::Credentials,
                "NOPERM" => Self::Forbidden,
                "READONLY" => Self::Replica,
                "MOVED" | "ASK" | "CROSSSLOT" => Self::Cluster,
                code => Self::Refused(code.chars().filter(char::is_ascii_uppercase).take(20).collect()),
            };
        }
        // A refusal of `SELECT`, which comes first where there is one, loses Redis's word for it, but not the text.
        if matches!(error.kind(), ErrorKind::Server(_)) {
            let said = error.detail().unwrap_or_default().to_ascii_lowercase();
            return if said.starts_with("authentication required") {
                Self::Credentials
            } else if said.contains("select") || said.contains("db index") {
                Self::Database
            } else {
                Self::Refused(error.code().unwrap_or_default().to_owned())
            };
        }
        let mut cause = std::error::Error::source(&error);
        while let Some(inner) = cause.and_then(std::error::Error::source) {
            cause = Some(inner);
        }
        Self::Unreachable(cause.map_or_else(|| error.category().to_owned(), ToString::to_string))
    }
}

/// The Redis that the proxies share. Cheap to clone.
///
/// Connects for each call and keeps nothing: sign-ins are rare, a connection that was idle for long may be dead without
/// anybody having been told, and nobody waits for another one's time-out.
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
    /// Takes the address as `redis[s]://[[user]:password@]host[:port][/database]`, with the password's special characters
    /// as %40 and so on, and the `namespace` of the proxies' cache. Does not connect yet. A `rediss://` server is checked
    /// against the system's certificates, and needs a rustls provider to be installed in the process.
    ///
    /// Gives `CacheError::Address` for everything else.
    pub fn new(url: &SecretString, namespace: Option<String>) -> Result<Self, CacheError> {
        let url = url.expose_secret();
        // The library also reads sockets of this machine, and switches behind `?` and `#`.
        if !["redis://", "rediss://"].iter().any(|scheme| url.starts_with(scheme)) || url.contains(['?', '#']) {
            return Err(CacheError::Address);
        }
        let info = url.into_connection_info().map_err(|_| CacheError::Address)?;
        // Telling the library's name would take a right more.
        let settings = info.redis_settings().clone().set_skip_set_lib_name();
        let client = Client::open(info.set_redis_settings(settings)).map_err(|_| CacheError::Address)?;
        Ok(Self { client, namespace })
    }

    /// Makes the proxies read anew what they hold under these keys; see `keys`. One round trip for all of them, `TIME_OUT`
    /// at most; no key, no connection. To be called when the write is committed. On an error some may be dropped, and
    /// doing it again does no harm.
    pub async fn forget(&self, keys: &BTreeSet<String>) -> Result<(), CacheError> {
        if !keys.is_empty() {
            self.send(keys).await?;
        }
        Ok(())
    }

    /// Tries everything that `forget` does with a key that nobody uses, so that missing rights are found as well, and
    /// tells how many proxies' workers heard it: zero if none runs, or if the namespace is not theirs.
    pub async fn ready(&self) -> Result<u64, CacheError> {
        let answers = self.send(&BTreeSet::from([NOBODYS_KEY.to_owned()])).await?;
        Ok(answers.last().copied().unwrap_or_default())
    }

    async fn send(&self, keys: &BTreeSet<String>) -> Result<Vec<u64>, CacheError> {
        let mut pipeline = Pipeline::with_capacity(2 * keys.len());
        // One DEL a key: a cluster refuses several keys in one command if they belong to different nodes.
        for key in keys {
            pipeline.cmd("DEL").arg(self.stored(key));
        }
        let channel = self.channel();
        for key in keys {
            pipeline.cmd("PUBLISH").arg(&channel).arg(serde_json::json!({ "cache_key": key }).to_string());
        }
        let exchange = async {
            // The one time-out is around everything; the library's own are shorter or for a part only.
            let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
            let mut connection = self.client.get_multiplexed_async_connection_with_config(&config).await?;
            pipeline.query_async(&mut connection).await
        };
        match tokio::time::timeout(TIME_OUT, exchange).await {
            Ok(answers) => Ok(answers?),
            Err(_) => Err(CacheError::Timeout),
        }
    }

    /// LiteLLM's `check_and_fix_namespace`, which leaves a key alone that begins like the namespace.
    fn stored(&self, key: &str) -> String {
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

/// The keys under which a proxy may hold what a sign-in changed: the person, and of each team that they joined or left, or
/// that was made or changed, the team (by its id and, if it has one, its alias) and their membership; the organizations.
///
/// In LiteLLM: `get_user_object`, `delete_cache_team_object`, `member_cache_keys` (a membership is held twice, under keys
/// of different order) and `get_org_object`.
pub fn keys<'a>(
    user_id: &str,
    teams: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
    organizations: impl IntoIterator<Item = &'a str>,
) -> BTreeSet<String> {
    let mut keys = BTreeSet::from([user_id.to_owned()]);
    for (team, alias) in teams {
        keys.extend([
            format!("team_id:{team}"),
            format!("{team}_{user_id}"),
            format!("team_membership:{user_id}:{team}"),
        ]);
        keys.extend(alias.filter(|alias| !alias.is_empty()).map(|alias| format!("team_alias:{alias}")));
    }
    for organization in organizations {
        keys.extend([format!("org_id:{organization}"), format!("org_id:{organization}:with_budget")]);
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(namespace: Option<&str>) -> LiteLlmCache {
        LiteLlmCache::new(&"redis://:S3cret@localhost/3".into(), namespace.map(str::to_owned)).unwrap()
    }

    #[test]
    fn names_are_put_together_as_litellm_does_it() {
        for (namespace, stored, channel) in [
            (None, "team_id:t", CHANNEL.to_owned()),
            (Some("prod"), "prod:team_id:t", format!("prod:{CHANNEL}")),
            (Some("team_id"), "team_id:t", format!("team_id:{CHANNEL}")),
            (Some("team"), "team:team_id:t", format!("team:{CHANNEL}")),
            (Some(""), "team_id:t", format!(":{CHANNEL}")),
        ] {
            let cache = cache(namespace);
            assert_eq!((cache.stored("team_id:t").as_str(), cache.channel()), (stored, channel), "{namespace:?}");
        }
    }

    #[test]
    fn every_key_that_litellm_uses_is_named() {
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
    fn an_address_that_is_none_is_refused_without_repeating_it() {
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

    /// What the library makes of an answer to its `SELECT`; a server that is full answers whatever comes first.
    #[test]
    fn a_refused_select_is_the_databases_matter_only_if_the_server_says_so() {
        for (said, expected) in [
            ("User u has no permissions to run the 'select' command", CacheError::Database),
            ("this user has no permissions to run the 'select' command or its subcommand", CacheError::Database),
            ("DB index is out of range", CacheError::Database),
            ("SELECT is not allowed in cluster mode", CacheError::Database),
            ("Authentication required.", CacheError::Credentials),
            ("max number of clients reached", CacheError::Refused("ERR".to_owned())),
        ] {
            let refused = (redis::ServerErrorKind::ResponseError.into(), "refused to switch database", said.to_owned());
            assert_eq!(CacheError::from(RedisError::from(refused)), expected, "{said}");
        }
    }

    #[test]
    fn debug_shows_no_secret() {
        assert_eq!(format!("{:?}", cache(Some("prod"))), "LiteLlmCache { namespace: Some(\"prod\"), .. }");
    }
}
