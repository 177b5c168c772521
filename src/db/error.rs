//! Database errors, by situation.

use sqlx::migrate::MigrateError;

use super::ConnectError;

/// Why a database operation failed.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// No connection could be opened, or none is free.
    #[error("the database is not available")]
    Connect(#[source] ConnectError),
    /// The connection broke, or a statement hit a resource, lock or time limit. A retry may succeed.
    #[error("the database is not available")]
    Unavailable(#[source] sqlx::Error),
    /// The server is read-only, such as a standby.
    #[error("the database is read-only, such as a standby")]
    ReadOnly,
    /// The connection queue is full.
    #[error("too many requests are waiting for the database")]
    Busy,
    /// No answer within the caller's time limit.
    #[error("the database did not answer in time")]
    Timeout,
    /// The object ID belongs to a user of another tenant.
    #[error("the object ID belongs to a user of another tenant")]
    OtherTenant,
    /// Another replica took over the reconciliation.
    #[error("the lease for the reconciliation was lost")]
    LeaseLost,
    #[error("the database rejected a statement")]
    Refused(#[source] sqlx::Error),
    /// The database is not LiteLLM's, or its version is not supported.
    #[error("the database's LiteLLM tables cannot be used (see docs/reference/litellm.md): {}", .0.join("; "))]
    NotLiteLlm(Vec<String>),
    #[error("the schema entraway does not exist and could not be created")]
    Schema(#[source] sqlx::Error),
    #[error("the migrations failed")]
    Migration(#[source] MigrateError),
    #[error("database.url is not a valid Postgres URL")]
    Address,
    #[error("the cookie key in the database is not 64 bytes long")]
    CookieKey,
    #[error("a session in the database has a user ID that is not an object ID")]
    UserId,
}

impl DbError {
    /// Whether the database is currently unusable, so that a retry may succeed.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Connect(_) | Self::Unavailable(_) | Self::ReadOnly | Self::Timeout)
    }

    /// What the operator can do, if it is known.
    #[must_use]
    pub fn help(&self) -> Option<&'static str> {
        match self {
            Self::Connect(error) => Some(error.help()),
            _ => None,
        }
    }

    /// Stable error code, for logs and metrics.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Connect(_) | Self::Unavailable(_) => "unavailable",
            Self::ReadOnly => "read_only",
            Self::Busy => "busy",
            Self::Timeout => "no_answer",
            Self::OtherTenant => "other_tenant",
            Self::LeaseLost => "lease_lost",
            Self::Refused(_) => "refused",
            Self::NotLiteLlm(_) => "not_litellm",
            Self::Schema(_) => "schema",
            Self::Migration(_) => "migration",
            Self::Address => "address",
            Self::CookieKey => "cookie_key",
            Self::UserId => "user_id",
        }
    }
}

impl From<sqlx::Error> for DbError {
    fn from(error: sqlx::Error) -> Self {
        let unavailable = match &error {
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_) => true,
            // Classes: 08 connection; 28 and 3D access to the server or database denied; 40 serialization failure or
            // deadlock after all retries; 53 resources; 55 lock not available; 57 operator intervention (shutdown,
            // statement timeout); 58 system error. 25006 is a read-only server.
            sqlx::Error::Database(error) => error.code().is_some_and(|code| {
                let classes = ["08", "28", "3D", "40", "53", "55", "57", "58"];
                classes.iter().any(|class| code.starts_with(class)) || code == "25006"
            }),
            _ => false,
        };
        if unavailable { Self::Unavailable(error) } else { Self::Refused(error) }
    }
}
