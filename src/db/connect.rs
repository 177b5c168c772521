//! Why a connection to the database failed, in the operator's terms.
//!
//! sqlx's pool retries for five seconds if a server refuses connections or has too many, and then reports only a
//! timeout. So the first connection is opened beside the pool, and after a timeout one probe connection finds the
//! reason.

use std::net::IpAddr;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{Connection as _, PgConnection};
use tokio::time::timeout;

use crate::util::clock::Clock;
use crate::util::single_flight::SingleFlight;

/// Time limit of the probe. Its callers have already waited for the pool.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time limit for closing a probe connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a connection failed. Names the server, user and database of `database.url`, but never its password.
///
/// The codes are Postgres's: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    #[error("the database server {server} cannot be reached: {reason}")]
    Unreachable { server: String, reason: String },
    #[error("the database server {server} does not answer")]
    Timeout { server: String },
    #[error("no TLS with the database server {server} by sslmode={sslmode}: {reason}")]
    Tls { server: String, sslmode: &'static str, reason: String },
    #[error("the database server {server} rejects the password of user {user} (28P01)")]
    Password { server: String, user: String },
    #[error("the database server {server} does not let user {user} connect (28000): {reason}")]
    NotAllowed { server: String, user: String, reason: String },
    #[error("there is no database {database} on the server {server} (3D000)")]
    NoDatabase { server: String, database: String },
    #[error("the database server {server} takes no more connections (53300): {reason}")]
    TooManyConnections { server: String, reason: String },
    #[error("the database server {server} is starting or stopping (57P03): {reason}")]
    Starting { server: String, reason: String },
    #[error("the database server {server} rejects the connection: {reason}")]
    Other { server: String, reason: String },
    /// The server accepts connections, but the pool has none free.
    #[error("all {max_connections} connections (database.max_connections) are in use, and none became free in time")]
    PoolExhausted { max_connections: u32 },
}

impl ConnectError {
    /// What the operator can do.
    #[must_use]
    pub fn help(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => {
                "database.url: check the address, and that Postgres is running and listens on it"
            }
            Self::Timeout { .. } => "database.url: check the address, and that no firewall blocks this machine",
            Self::Tls { .. } => {
                "database.url: use an sslmode and sslrootcert that match the server's certificate, or turn on ssl in \
                 postgresql.conf"
            }
            Self::Password { .. } => "correct the user or password in database.url",
            Self::NotAllowed { .. } => {
                "allow this user, database and client address in pg_hba.conf, and grant the role LOGIN"
            }
            Self::NoDatabase { .. } => "create it (CREATE DATABASE …), or correct its name in database.url",
            Self::TooManyConnections { .. } => {
                "raise max_connections of Postgres (or the CONNECTION LIMIT of the role or database), or lower \
                 database.max_connections: each replica uses that many and two more"
            }
            Self::Starting { .. } => "wait until it is up; Entraway retries",
            Self::Other { .. } => "database.url: check that this is the address of a Postgres server",
            Self::PoolExhausted { .. } => {
                "check pg_stat_activity for locks and slow statements; if there are none, raise \
                 database.max_connections"
            }
        }
    }
}

/// The server of `database.url`, and the shared probe.
#[derive(Debug)]
pub(super) struct Target {
    /// Without settings; used if a pooler drops or rejects the settings.
    pub(super) options: PgConnectOptions,
    probe: SingleFlight<(), ConnectError>,
}

impl Target {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self { options, probe: SingleFlight::new(Clock::system()) }
    }

    /// The server as error messages name it.
    fn server(&self) -> String {
        let port = self.options.get_port();
        match self.options.get_socket() {
            Some(folder) => format!("{}/.s.PGSQL.{port}", folder.display()),
            None => format!("{}:{port}", self.options.get_host()),
        }
    }

    /// Why a connection could not be opened.
    pub(super) fn explain(&self, error: &sqlx::Error) -> ConnectError {
        let server = self.server();
        match error {
            sqlx::Error::Database(error) => self.rejected(&**error),
            sqlx::Error::Tls(reason) => self.tls_error(reason.to_string()),
            // rustls rejected the certificate.
            sqlx::Error::Io(reason) if reason.kind() == std::io::ErrorKind::InvalidData => {
                self.tls_error(reason.to_string())
            }
            sqlx::Error::Io(reason) => ConnectError::Unreachable { server, reason: reason.to_string() },
            other => ConnectError::Other { server, reason: other.to_string() },
        }
    }

    fn tls_error(&self, reason: String) -> ConnectError {
        ConnectError::Tls { server: self.server(), sslmode: sslmode_name(self.options.get_ssl_mode()), reason }
    }

    fn rejected(&self, error: &dyn DatabaseError) -> ConnectError {
        let (server, user) = (self.server(), self.options.get_username().to_owned());
        let reason = error.message().to_owned();
        match error.code().as_deref().unwrap_or_default() {
            "28P01" => ConnectError::Password { server, user },
            // PgBouncer has no specific code for this.
            "08P01" if reason.contains("password authentication failed") => ConnectError::Password { server, user },
            "28000" => ConnectError::NotAllowed { server, user, reason },
            // libpq's default is the user's name.
            "3D000" => {
                let database = self.options.get_database().map_or(user, str::to_owned);
                ConnectError::NoDatabase { server, database }
            }
            "53300" => ConnectError::TooManyConnections { server, reason },
            "57P03" => ConnectError::Starting { server, reason },
            _ => ConnectError::Other { server, reason },
        }
    }

    /// Opens a connection beside the pool.
    pub(super) async fn connect(
        &self,
        options: &PgConnectOptions,
        limit: Duration,
    ) -> Result<Result<PgConnection, sqlx::Error>, ConnectError> {
        // Boxed: the future is 40 KB.
        let connected = timeout(limit, Box::pin(PgConnection::connect_with(options))).await;
        connected.map_err(|_| ConnectError::Timeout { server: self.server() })
    }

    /// Whether the server accepts another connection. Concurrent callers share one attempt.
    pub(super) async fn probe(&self, options: &PgConnectOptions) -> Result<(), ConnectError> {
        let attempt = async || {
            let connection = self.connect(options, PROBE_TIMEOUT).await?.map_err(|error| self.explain(&error))?;
            close(connection).await;
            Ok(())
        };
        self.probe.get(|_, ()| false, Duration::ZERO, attempt).await
    }
}

/// Closes a connection cleanly, so that the server frees it at once.
pub(super) async fn close(connection: PgConnection) {
    // After a failure, dropping the connection closes it.
    let _ = timeout(CLOSE_TIMEOUT, connection.close()).await;
}

/// Host and `sslmode` of a connection that can be intercepted: to another machine, with a mode below `verify-full`.
/// Only `verify-full` proves the server's identity.
pub(super) fn unverified(options: &PgConnectOptions) -> Option<(String, &'static str)> {
    let (host, mode) = (options.get_host(), options.get_ssl_mode());
    let loopback = host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let local = options.get_socket().is_some() || host.starts_with('/') || loopback;
    (!local && !matches!(mode, PgSslMode::VerifyFull)).then(|| (host.to_owned(), sslmode_name(mode)))
}

fn sslmode_name(mode: PgSslMode) -> &'static str {
    match mode {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unverified_reports_only_remote_hosts() {
        for (url, expected) in [
            ("postgres://app@db.example.com/app", Some(("db.example.com", "prefer"))),
            ("postgres://app@db.example.com/app?sslmode=disable", Some(("db.example.com", "disable"))),
            ("postgres://app@db.example.com/app?sslmode=require", Some(("db.example.com", "require"))),
            ("postgres://app@192.0.2.7/app?sslmode=verify-ca", Some(("192.0.2.7", "verify-ca"))),
            ("postgres://app@db.example.com/app?sslmode=verify-full", None),
            ("postgres://app@localhost/app", None),
            ("postgres://app@127.0.0.1:5433/app?sslmode=disable", None),
            ("postgres://app@[::1]/app", None),
            ("postgres://app@localhost/app?host=/var/run/postgresql", None),
        ] {
            let found = unverified(&url.parse().unwrap());
            assert_eq!(found.as_ref().map(|(host, mode)| (host.as_str(), *mode)), expected, "{url}");
        }
    }
}
