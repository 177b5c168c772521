//! Errors of a private cluster, each with its fix.

use std::io;
use std::path::PathBuf;

use crate::cluster::START_LIMIT;

/// Why a private cluster or a database in it could not be created.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// `initdb` and `postgres` are neither in `PATH` nor in the usual folders.
    #[error("Postgres is not installed: `apt-get install postgresql`, or `brew install postgresql@17`")]
    NotInstalled,
    /// Postgres does not run as root, and there is no account for it.
    #[error("Postgres does not run as root, and there is neither a user `postgres` nor `nobody`: run as another user")]
    NoAccount,
    /// A standard Unix program could not be run.
    #[error("cannot run `{program}`: is it in PATH, and is the machine out of processes or memory?")]
    Run {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    /// The folder's name needs random numbers.
    #[error("the operating system gave no random numbers: {0}")]
    Random(getrandom::Error),
    /// `initdb` or `postgres` failed.
    #[error("Postgres from {} did not start; the end of its log says why:\n{log}", bin.display())]
    Failed { bin: PathBuf, log: String },
    /// Postgres was not ready in time.
    #[error(
        "Postgres from {} was not ready after {} s: is the machine overloaded or its disk full? \
         The end of its log:\n{log}",
        bin.display(), START_LIMIT.as_secs()
    )]
    Slow { bin: PathBuf, log: String },
    /// `create database` failed.
    #[error("cannot create the database `{name}`")]
    CreateDatabase {
        name: String,
        #[source]
        source: sqlx::Error,
    },
    /// The database does not exist, or the connection limit is reached.
    #[error("cannot connect to the database `{name}`: was it created?")]
    Connect {
        name: String,
        #[source]
        source: sqlx::Error,
    },
    /// The folder does not exist or contains no migrations.
    #[error("no migrations are in {}: `script/setup --litellm` fetches those of LiteLLM", folder.display())]
    NoMigrations { folder: PathBuf },
    /// A migration or their folder cannot be read.
    #[error("cannot read {}: may this user, and is it whole? If not, remove the folder that holds it", path.display())]
    ReadMigration {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// A migration failed.
    #[error("Postgres refused {}: is the database empty, and Postgres not too old?", file.display())]
    Migration {
        file: PathBuf,
        #[source]
        source: sqlx::Error,
    },
}
