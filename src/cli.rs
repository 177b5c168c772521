//! The command line. Each subcommand is in its own file.

mod check;
#[cfg(feature = "demo")]
mod demo;
mod explain;
mod healthcheck;
mod migrate;
mod output;
mod plan;
mod reconcile;
mod serve;
mod sessions;
mod users;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use backon::ConstantBuilder;
use clap::{Args, Parser, Subcommand};

use crate::config::{self, ConfigError, Env, Loaded};
use crate::db::{DbError, SessionOwner};
use crate::domain::ObjectId;
use crate::http::StartError;
use crate::observability::telemetry::{self, LogFormat, TraceExporter};
use output::{OutputError, errln};

/// Sign in with Microsoft Entra ID, and turn Entra groups into organizations and teams in Postgres.
///
/// Entraway stands between Entra ID and an LLM gateway or another internal web application. It signs users in with
/// OpenID Connect and reads the assigned groups of the enterprise app and the user's groups from Microsoft Graph. It
/// creates the missing organizations, teams and memberships in Postgres, and then issues a session.
#[derive(Debug, Parser)]
#[command(name = "entraway", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the service.
    ///
    /// Reads the configuration, migrates the Postgres schema "entraway", and listens until SIGTERM or Ctrl-C. Then it
    /// completes open requests and exits. With "store: litellm" it first checks that the database belongs to a LiteLLM
    /// proxy, and exits if not.
    Serve {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Migrate the Postgres schema "entraway" before a new version is deployed.
    ///
    /// "serve" also migrates when it starts, so a single container does not need this command. With many replicas, run it
    /// once before the first of them is replaced: replicas of the previous version keep running, and statements have no
    /// time limit. With "store: litellm" it first checks that the database belongs to a LiteLLM proxy, and changes nothing
    /// if not. Waits up to 30 seconds for the database. Concurrent runs are safe. Exits with 0 if the schema is up to
    /// date, otherwise with 1.
    Migrate {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Check that everything works, and say how to fix what does not.
    ///
    /// Checks the configuration, the database and its schema, Entra's discovery document and keys, the app's credentials,
    /// and the Graph permission for reading assigned groups. With "store: litellm" it also checks the grants on LiteLLM's
    /// tables, the default organization, and whether the proxies listen in Redis. Shows what the sync creates by default.
    /// Migrates the schema "entraway" and writes nothing else. Exits with 0 if users can sign in and their groups can be
    /// read, otherwise with 1.
    Check {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Run a demo with a private Postgres and a simulated Entra and Graph.
    ///
    /// Nothing is installed, kept or sent anywhere: everything listens on loopback and is removed on Ctrl-C. Requires the
    /// Postgres programs on this machine; "script/demo" installs them.
    #[cfg(feature = "demo")]
    Demo {
        /// Port of the service on 127.0.0.1; if it is in use, another one.
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// Port of the Entra simulator on 127.0.0.1; if it is in use, another one.
        #[arg(long, default_value_t = 8081)]
        entra_port: u16,
        /// The tables to write: Entraway's or LiteLLM's.
        #[arg(long, value_enum, default_value_t = StoreArg::Native)]
        store: StoreArg,
        /// LiteLLM's migrations, for --store litellm; "script/setup --litellm" downloads them.
        #[arg(long, value_name = "FOLDER", default_value_os_t = pg_sandbox::litellm_migrations())]
        litellm_migrations: PathBuf,
        /// Turn `entra_groups_also_create_orgs` off: groups become standalone teams, as in LiteLLM.
        #[arg(long)]
        without_orgs: bool,
        /// Log level: error, warn, info, debug, or a filter such as "info,entraway=debug".
        #[arg(long, default_value = "warn", value_name = "FILTER")]
        log_level: String,
    },
    /// List or revoke sessions.
    ///
    /// Only requires the database, not a running service. Running services notice within a second.
    Sessions {
        #[command(subcommand)]
        command: SessionsCommand,
    },
    /// Confirm a user row that is older than the user's first sign-in.
    Users {
        #[command(subcommand)]
        command: UsersCommand,
    },
    /// Explain which groups Entra reports for a user, their effect, and the reason for each membership.
    ///
    /// Answers "Why am I not in team X?" from the user's last sign-ins in the database. Sends no requests to Entra, writes
    /// nothing, and does not require a running service. Exits with 1 if the user is unknown.
    Explain {
        /// The user's object ID in Entra, or the ID of their row in the database.
        #[arg(long, value_name = "ID")]
        user: String,
        /// A team: its ID (the group's object ID) or its name.
        #[arg(long, value_name = "ID or name")]
        team: Option<String>,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Compare managed memberships with Entra, and show those that Entra no longer gives.
    ///
    /// Reads the assigned groups, their members and the states of accounts with the app's own permissions, for all users,
    /// also those who do not sign in. Shows each membership that would end, with its cause and evidence; what is kept, and
    /// why; and the groups that could not be read completely, from which nothing is removed. Changes nothing, neither in
    /// Entra nor in the database, and ignores "sync.memberships". Exits with 0 if no compared membership would end, with 2 if some
    /// would end, with 3 if some of these exceed a limit of the circuit breaker, and with 1 after an error or if no group
    /// could be read.
    Plan {
        /// Show only this user, by their object ID in Entra.
        #[arg(long, value_name = "ID")]
        user: Option<ObjectId>,
        /// Show only this team or organization, by its ID (the group's object ID).
        #[arg(long, value_name = "ID")]
        team: Option<String>,
        /// Format of the plan.
        #[arg(long, value_enum, default_value_t = plan::Output::Text)]
        output: plan::Output,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Compare managed memberships with Entra, and remove those that Entra no longer gives.
    ///
    /// "serve" does this every `sync.reconcile.interval`. Use this command to run once now, or as a process of its own if that
    /// interval is 0s. One process at a time runs: replicas share a lease in the database. Removals that exceed a limit are
    /// held. With --once it exits with 0 if the run finished, with 3 if removals are held, and with 1 after an error or while
    /// another process runs.
    Reconcile {
        /// Run once, and exit.
        #[arg(long)]
        once: bool,
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Check that a service on this machine is running, for a container's HEALTHCHECK.
    ///
    /// Exits with 0 if it answers, otherwise with 1.
    Healthcheck {
        /// URL to request; default: /healthz at server.listen of the configuration, or at port 8080.
        #[arg(long)]
        url: Option<url::Url>,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// List active sessions, newest first.
    List {
        #[command(flatten)]
        filter: SessionArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Revoke sessions. Their users must sign in again.
    Revoke {
        #[command(flatten)]
        filter: SessionArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Subcommand)]
enum UsersCommand {
    /// Confirm that a row in LiteLLM's user table is this user's, so that the next sign-in may make them an operator.
    ///
    /// With "store: litellm" a row that is older than the user's first sign-in is taken over, but gets no operator role:
    /// another program created it, and other users' keys may belong to it. Check the user and their keys in LiteLLM first.
    /// Prints what was confirmed; repeating it changes nothing. Exits with 1 if there is no such row.
    Adopt {
        /// The user's object ID in Entra.
        #[arg(long, value_name = "ID")]
        user: ObjectId,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct SessionArgs {
    /// Sessions of one user, by their object ID in Entra.
    #[arg(long, value_name = "ID")]
    user: Option<ObjectId>,
    /// Sessions of all users.
    #[arg(long)]
    all: bool,
}

/// `store` as in the configuration.
#[cfg(feature = "demo")]
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum StoreArg {
    /// Entraway's tables.
    Native,
    /// The tables of a LiteLLM proxy, created by its migrations.
    Litellm,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration file (YAML); default: config.yaml if it exists, otherwise environment variables only.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct LogArgs {
    /// Log format; "auto" is human on a terminal, otherwise JSON.
    #[arg(long, value_enum, default_value_t = LogFormat::Auto)]
    log_format: LogFormat,
    /// Log level: error, warn, info, debug, or a filter such as "info,entraway=debug".
    #[arg(long, default_value = "info,sqlx=warn", value_name = "FILTER")]
    log_level: String,
}

impl Cli {
    /// Runs the subcommand and prints its error. `program` is the name that the process was started with.
    pub async fn run(self, program: &Path, env: &Env) -> ExitCode {
        match self.dispatch(program, env).await {
            Ok(code) => code,
            Err(error) if matches!(error.downcast_ref(), Some(OutputError::Closed)) => ExitCode::from(output::CLOSED),
            Err(error) => {
                errln!("entraway: {error:#}");
                if let Some(help) = help(&error) {
                    errln!("→ {help}");
                }
                ExitCode::FAILURE
            }
        }
    }

    async fn dispatch(self, program: &Path, env: &Env) -> anyhow::Result<ExitCode> {
        // Only the demo uses it.
        #[cfg(not(feature = "demo"))]
        let _ = program;
        match self.command {
            Command::Serve { config, log } => serve::run(&config, &log, env).await,
            Command::Migrate { config } => migrate::run(&config.load(env)?.config).await,
            Command::Check { config } => check::run(&config, env).await,
            #[cfg(feature = "demo")]
            Command::Demo { port, entra_port, store, litellm_migrations, without_orgs, log_level } => {
                telemetry::init(LogFormat::Human, &log_level, None)?;
                let migrations = matches!(store, StoreArg::Litellm).then_some(litellm_migrations);
                let ports = demo::Ports { service: port, entra: entra_port };
                demo::run(program, ports, migrations.as_deref(), !without_orgs).await
            }
            Command::Sessions { command: SessionsCommand::List { filter, config } } => {
                sessions::list(filter.owner(), &config.load(env)?.config).await
            }
            Command::Sessions { command: SessionsCommand::Revoke { filter, config } } => {
                sessions::revoke(filter.owner(), &config.load(env)?.config).await
            }
            Command::Users { command: UsersCommand::Adopt { user, config } } => {
                users::adopt(user, &config.load(env)?.config).await
            }
            Command::Explain { user, team, config } => {
                Box::pin(explain::run(&user, team.as_deref(), &config.load(env)?.config)).await
            }
            Command::Plan { user, team, output, config } => {
                let filter = plan::Filter { user, team };
                Box::pin(plan::run(&filter, output, &config.load(env)?.config)).await
            }
            Command::Reconcile { once, config, log } => {
                let traces = log.start(env)?;
                let outcome = Box::pin(reconcile::run(once, config.load(env)?.config)).await;
                if let Some(traces) = traces {
                    traces.shut_down().await;
                }
                outcome
            }
            Command::Healthcheck { url, config } => healthcheck::run(url, &config, env).await,
        }
    }
}

/// How long an unavailable database is retried: a container may start before its database.
const RETRY_SECONDS: usize = 30;

fn retry_policy() -> ConstantBuilder {
    ConstantBuilder::new().with_delay(Duration::from_secs(2)).with_max_times(RETRY_SECONDS / 2)
}

/// The last error message of repeated attempts, to report it once.
#[derive(Default)]
struct LastMessage(String);

impl LastMessage {
    /// Whether the message differs from the last one.
    fn is_new(&mut self, text: &str) -> bool {
        let new = self.0 != text;
        text.clone_into(&mut self.0);
        new
    }
}

/// How the operator can fix the error, if known.
fn help(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| match (cause.downcast_ref(), cause.downcast_ref()) {
        (Some(StartError::Db(error)), _) | (_, Some(error)) => DbError::help(error),
        _ => None,
    })
}

impl ConfigArgs {
    fn file(&self) -> Option<PathBuf> {
        let default = || Some(PathBuf::from("config.yaml")).filter(|file| file.exists());
        self.config.clone().or_else(default)
    }

    fn load(&self, env: &Env) -> Result<Loaded, ConfigError> {
        config::load(self.file().as_deref(), env)
    }
}

impl SessionArgs {
    /// clap requires exactly one of the options.
    fn owner(&self) -> SessionOwner {
        self.user.map_or(SessionOwner::All, SessionOwner::One)
    }
}

impl LogArgs {
    fn start(&self, env: &Env) -> anyhow::Result<Option<TraceExporter>> {
        telemetry::start(self.log_format, &self.log_level, env)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn command_line_definition_is_valid() {
        super::Cli::command().debug_assert();
    }
}
