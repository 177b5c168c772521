//! The command line: what can be asked for. The work is done in one file for each subcommand.

mod check;
#[cfg(feature = "demo")]
mod demo;
mod explain;
mod healthcheck;
mod migrate;
mod output;
mod serve;
mod sessions;
mod users;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use backon::ConstantBuilder;
use clap::{Args, Parser, Subcommand};

use crate::config::Env;
use crate::db::{StoreError, Whose};
use crate::domain::ObjectId;
use crate::http::StartError;
use crate::observability::telemetry::{self, LogFormat, TraceExporter};
use output::{OutputError, errln};

/// Sign in with Microsoft Entra ID; groups become organizations, teams and memberships in Postgres; then a session.
///
/// Entraway stands between Entra ID and an LLM gateway or any other internal web application. It signs people in by
/// OpenID Connect, reads from Microsoft Graph which groups are assigned to the enterprise app and which of them the
/// person is in, writes what is missing into Postgres, and only then issues a session.
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
    /// Reads the configuration, brings the tables in the Postgres schema "entraway" up to date, and listens until
    /// SIGTERM or Ctrl-C; then it finishes what it is doing and ends. With "store: litellm" it first looks whether the
    /// database is a LiteLLM proxy's, and ends if it is not.
    Serve {
        #[command(flatten)]
        config: ConfigArgs,
        #[command(flatten)]
        log: LogArgs,
    },
    /// Bring the tables in the Postgres schema "entraway" up to date, and end: a step before a new version is served.
    ///
    /// "serve" does the same when it starts, so one container needs nothing else. On its own it runs once for many
    /// replicas, before the first of them is replaced, and its statements may take as long as they take. The replicas of
    /// the version before go on meanwhile. With "store: litellm" it first looks whether the database is a LiteLLM
    /// proxy's, and makes nothing if it is not. Waits half a minute for a database that is not up yet. Several at once
    /// do no harm. Ends with 0 if the tables are up to date, else with 1.
    Migrate {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Try everything for real, and say how to mend what does not work.
    ///
    /// Tries the file, the database and its tables, Entra's discovery document and keys, the app's own credentials, and
    /// the Graph permission that reading the assigned groups needs; with "store: litellm" also the rights in LiteLLM's
    /// tables and whether the proxies' workers listen in Redis; and whether the organization by default is there. Tells
    /// what the flag and the default params amount to. Brings the tables up to date, and writes nothing else. Ends with 0
    /// if people can sign in and their groups be read, else with 1.
    Check {
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Try it out here: a private Postgres, a simulated Entra and Graph, and the service in front of them.
    ///
    /// Nothing is installed, kept or sent anywhere: all of it listens on loopback and is gone with Ctrl-C. Needs
    /// Postgres' programs on this machine; "script/demo" installs them.
    #[cfg(feature = "demo")]
    Demo {
        /// The service's port on 127.0.0.1; if it is taken, another one.
        #[arg(long, default_value_t = 8080)]
        port: u16,
        /// The simulated Entra's port on 127.0.0.1; if it is taken, another one.
        #[arg(long, default_value_t = 8081)]
        entra_port: u16,
        /// Which tables to write.
        #[arg(long, value_enum, default_value_t = StoreArg::Native)]
        store: StoreArg,
        /// LiteLLM's own migrations, for the store of that name; script/setup --litellm fetches them.
        #[arg(long, value_name = "FOLDER", default_value_os_t = pg_sandbox::litellm_migrations())]
        litellm_migrations: PathBuf,
        /// Start with `entra_groups_also_create_orgs` off: groups become standalone teams, as in LiteLLM today.
        #[arg(long)]
        without_orgs: bool,
        /// What is logged: error, warn, info, debug, or a filter such as "info,entraway=debug".
        #[arg(long, default_value = "warn", value_name = "FILTER")]
        log_level: String,
    },
    /// Look at sessions, or end them.
    ///
    /// Works on the database alone, whether or not a service is running. Services that are running learn of it within a
    /// second.
    Sessions {
        #[command(subcommand)]
        command: SessionsCommand,
    },
    /// Confirm a user's row that is older than their first sign-in.
    Users {
        #[command(subcommand)]
        command: UsersCommand,
    },
    /// Tell of one person which groups Entra reports, what came of each, and why they are in each team.
    ///
    /// Answers "why am I not in team X?" from what the last sign-ins left in the database: nothing is asked of Entra, nothing
    /// is written, and no service has to be running. Ends with 1 if nothing is known of the person.
    Explain {
        /// The person: their object id in Entra, or the key of their row in the database.
        #[arg(long, value_name = "ID")]
        user: String,
        /// A team to ask about: its id, which is the group's object id, or its name.
        #[arg(long, value_name = "ID or name")]
        team: Option<String>,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// Ask a running service on this machine whether it is alive: for a container's HEALTHCHECK.
    ///
    /// Ends with 0 if it answers, else with 1.
    Healthcheck {
        /// The address to ask; else /healthz at the configuration's server.listen, else at port 8080.
        #[arg(long)]
        url: Option<url::Url>,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// List the sessions that are alive, the newest first.
    List {
        #[command(flatten)]
        whose: WhoseArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
    /// End sessions: whoever they belong to has to sign in again.
    Revoke {
        #[command(flatten)]
        whose: WhoseArgs,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Subcommand)]
enum UsersCommand {
    /// Confirm that a row in LiteLLM's user table is this user's, so that the next sign-in may make them an operator.
    ///
    /// With "store: litellm" a row that is older than the user's first sign-in is taken over, but gets no operator role:
    /// another program made it, and keys of others may belong to it. Look at the user and their keys in LiteLLM first.
    /// Prints what was confirmed; repeating it changes nothing. Ends with 1 if there is no such row.
    Adopt {
        /// The user's object id in Entra.
        #[arg(long, value_name = "ID")]
        user: ObjectId,
        #[command(flatten)]
        config: ConfigArgs,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct WhoseArgs {
    /// Those of one person, by their object id in Entra.
    #[arg(long, value_name = "ID")]
    user: Option<ObjectId>,
    /// Those of everybody.
    #[arg(long)]
    all: bool,
}

/// `store` as the configuration writes it.
#[cfg(feature = "demo")]
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum StoreArg {
    /// Entraway's own tables.
    Native,
    /// Those of a LiteLLM proxy, as its own migrations make them.
    Litellm,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    /// The configuration, in YAML; else config.yaml if there is one, else environment names alone.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct LogArgs {
    /// How log lines are written; "auto" is human on a terminal, else JSON.
    #[arg(long, value_enum, default_value_t = LogFormat::Auto)]
    log_format: LogFormat,
    /// What is logged: error, warn, info, debug, or a filter such as "info,entraway=debug".
    #[arg(long, default_value = "info,sqlx=warn", value_name = "FILTER")]
    log_level: String,
}

impl Cli {
    /// Runs the subcommand and reports its error. `program` is the name that the process was started by, `env` its
    /// environment.
    pub async fn run(self, program: &Path, env: &Env) -> ExitCode {
        match self.dispatch(program, env).await {
            Ok(code) => code,
            Err(error) if matches!(error.downcast_ref(), Some(OutputError::Closed)) => ExitCode::from(output::CLOSED),
            Err(error) => {
                errln!("entraway: {error:#}");
                if let Some(remedy) = remedy(&error) {
                    errln!("→ {remedy}");
                }
                ExitCode::FAILURE
            }
        }
    }

    async fn dispatch(self, program: &Path, env: &Env) -> anyhow::Result<ExitCode> {
        // Only the demo repeats it.
        #[cfg(not(feature = "demo"))]
        let _ = program;
        match self.command {
            Command::Serve { config, log } => serve::run(config.file().as_deref(), &log, env).await,
            Command::Migrate { config } => migrate::run(config.file().as_deref(), env).await,
            Command::Check { config } => check::run(config.file().as_deref(), env).await,
            #[cfg(feature = "demo")]
            Command::Demo { port, entra_port, store, litellm_migrations, without_orgs, log_level } => {
                telemetry::init(LogFormat::Human, &log_level, None)?;
                let migrations = matches!(store, StoreArg::Litellm).then_some(litellm_migrations);
                let ports = demo::Ports { service: port, entra: entra_port };
                demo::run(program, ports, migrations.as_deref(), !without_orgs).await
            }
            Command::Sessions { command: SessionsCommand::List { whose, config } } => {
                sessions::list(whose.whose(), config.file().as_deref(), env).await
            }
            Command::Sessions { command: SessionsCommand::Revoke { whose, config } } => {
                sessions::revoke(whose.whose(), config.file().as_deref(), env).await
            }
            Command::Users { command: UsersCommand::Adopt { user, config } } => {
                users::adopt(user, config.file().as_deref(), env).await
            }
            Command::Explain { user, team, config } => {
                Box::pin(explain::run(&user, team.as_deref(), config.file().as_deref(), env)).await
            }
            Command::Healthcheck { url, config } => healthcheck::run(url, config.file().as_deref(), env).await,
        }
    }
}

/// A container may come up before its database does.
const PATIENCE_SECONDS: usize = 30;

fn patience() -> ConstantBuilder {
    ConstantBuilder::new().with_delay(Duration::from_secs(2)).with_max_times(PATIENCE_SECONDS / 2)
}

/// The reason that was told last while something is tried again: the same one is told once.
#[derive(Default)]
struct News(String);

impl News {
    fn is_new(&mut self, text: &str) -> bool {
        let new = self.0 != text;
        text.clone_into(&mut self.0);
        new
    }
}

/// What the operator can do about an error that ends the program, where it says.
fn remedy(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(|cause| match (cause.downcast_ref(), cause.downcast_ref()) {
        (Some(StartError::Store(error)), _) | (_, Some(error)) => StoreError::remedy(error),
        _ => None,
    })
}

impl ConfigArgs {
    fn file(&self) -> Option<PathBuf> {
        let default = || Some(PathBuf::from("config.yaml")).filter(|file| file.exists());
        self.config.clone().or_else(default)
    }
}

impl WhoseArgs {
    /// One of the two is given: clap sees to it.
    fn whose(&self) -> Whose {
        self.user.map_or(Whose::All, Whose::One)
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
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
