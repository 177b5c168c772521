//! Why a private cluster, or a database in it, could not be made, and the fix.

use std::io;
use std::path::PathBuf;

use crate::cluster::START_LIMIT;

/// Why there is no private Postgres, or no database in it, and what helps.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Neither `PATH` nor the usual places have `initdb` and `postgres`.
    #[error("Postgres is not installed: `apt-get install postgresql`, or `brew install postgresql@17`")]
    NotInstalled,
    /// Postgres refuses to run as root, and there is no account to run it as.
    #[error("Postgres does not run as root, and there is neither a user `postgres` nor `nobody`: run as another user")]
    NoAccount,
    /// A program that every Unix has could not be run.
    #[error("cannot run `{program}`: is it in PATH, and is the machine out of processes or memory?")]
    Run {
        program: &'static str,
        #[source]
        source: io::Error,
    },
    /// No random numbers for the folder's name.
    #[error("the operating system gave no random numbers: {0}")]
    Random(getrandom::Error),
    /// `initdb` or `postgres` gave up.
    #[error("Postgres from {} did not start; the end of its log says why:\n{log}", bin.display())]
    Failed { bin: PathBuf, log: String },
    /// Not ready in time.
    #[error(
        "Postgres from {} was not ready after {} s: is the machine overloaded or its disk full? \
         The end of its log:\n{log}",
        bin.display(), START_LIMIT.as_secs()
    )]
    Slow { bin: PathBuf, log: String },
    /// `create database` was refused.
    #[error("cannot create the database `{name}`")]
    CreateDatabase {
        name: String,
        #[source]
        source: sqlx::Error,
    },
    /// The database is not there, or Postgres takes no more connections.
    #[error("cannot connect to the database `{name}`: was it created?")]
    Connect {
        name: String,
        #[source]
        source: sqlx::Error,
    },
    /// The folder is not there, or no folder is in it.
    #[error("no migrations are in {}: `script/setup --litellm` fetches those of LiteLLM", folder.display())]
    NoMigrations { folder: PathBuf },
    /// A migration, or the folder of all, is there and cannot be read.
    #[error("cannot read {}: may this user, and is it whole? If not, remove the folder that holds it", path.display())]
    ReadMigration {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// Postgres refused what a migration says.
    #[error("Postgres refused {}: is the database empty, and Postgres not too old?", file.display())]
    Migration {
        file: PathBuf,
        #[source]
        source: sqlx::Error,
    },
}
