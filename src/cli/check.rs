//! `entraway check`: every precondition tried for real, each with its remedy.

mod app;

use std::path::Path;
use std::process::ExitCode;

use super::UNNAMED_PROXY;
use crate::clock::Clock;
use crate::config::{self, Config, Env, Level, Loaded, Tenant};
use crate::domain::{StoreKind, TenantId};
use crate::entra::Entra;
use crate::graph::{self, Graph};
use crate::http_client::HttpClient;
use crate::litellm_cache::LiteLlmCache;
use crate::policy::{Limits, Policy};
use crate::store::{Store, StoreError};
use crate::text::chain;

/// How one step went.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    /// People can sign in, but something is not as one may think.
    Warn,
    Fail,
}

/// Prints a line for each step, and remembers whether any failed.
struct Report {
    failed: bool,
}

impl Report {
    fn ok(&mut self, step: &str, found: &str) {
        self.line(Outcome::Ok, step, found, "");
    }

    fn warn(&mut self, step: &str, found: &str, remedy: &str) {
        self.line(Outcome::Warn, step, found, remedy);
    }

    fn fail(&mut self, step: &str, found: &str, remedy: &str) {
        self.line(Outcome::Fail, step, found, remedy);
    }

    fn line(&mut self, outcome: Outcome, step: &str, found: &str, remedy: &str) {
        let mark = match outcome {
            Outcome::Ok => "ok  ",
            Outcome::Warn => "warn",
            Outcome::Fail => "FAIL",
        };
        println!("{mark}  {step}: {found}");
        if !remedy.is_empty() {
            println!("      → {remedy}");
        }
        self.failed |= outcome == Outcome::Fail;
    }
}

pub(super) async fn run(file: Option<&Path>, env: &Env) -> anyhow::Result<ExitCode> {
    let mut report = Report { failed: false };
    let name = file.map_or_else(|| "environment names alone".to_owned(), |file| file.display().to_string());
    match config::load(file, env) {
        Err(error) => {
            for problem in &error.problems {
                let line = problem.line.map(|line| format!(" (line {line})")).unwrap_or_default();
                report.fail("configuration", &format!("{}{line} {}", problem.place, problem.said), &problem.remedy);
            }
        }
        Ok(Loaded { config, notes }) => {
            report.ok("configuration", &format!("read from {name}"));
            for note in notes.iter().filter(|note| note.level == Level::Warning) {
                report.warn("configuration", &format!("{} {}", note.place, note.said), "");
            }
            if !config.server.tells_clients_apart() {
                report.warn("server.trusted_proxies", UNNAMED_PROXY.0, UNNAMED_PROXY.1);
            }
            tell_policy(&mut report, &config.policy);
            check_database(&mut report, &config).await;
            check_cache(&mut report, &config).await;
            check_entra(&mut report, &config).await?;
        }
    }
    println!();
    if report.failed {
        println!("Not ready: mend what is marked FAIL.");
        return Ok(ExitCode::FAILURE);
    }
    println!("Ready: people can sign in.");
    Ok(ExitCode::SUCCESS)
}

/// What the flag and the default params amount to, in words: so that one sees whether that is what one thinks.
fn tell_policy(report: &mut Report, policy: &Policy) {
    let groups = if policy.also_create_orgs {
        "each assigned group becomes an organization and a team inside it"
    } else {
        "each assigned group becomes a standalone team; entra_groups_also_create_orgs is off, so no organizations"
    };
    report.ok("groups", groups);
    match &policy.team_params {
        Some(params) => {
            let models = if params.models.is_empty() { "all models".to_owned() } else { params.models.join(", ") };
            let members = params.member_limits.as_ref().map(|each| format!("; each member: {}", limits(each)));
            let members = members.unwrap_or_default();
            report.ok("default_team_params", &format!("{models}; {}{members}", limits(&params.limits)));
        }
        None => report.warn(
            "default_team_params",
            "none: new teams and organizations have no budget, no limits and all models",
            "set litellm_settings.default_team_params if that is not what you want",
        ),
    }
    let person = &policy.user_params;
    let models = if person.models.is_empty() { "all models".to_owned() } else { person.models.join(", ") };
    let role = policy.default_role();
    report.ok("new people", &format!("{role} unless an app role says otherwise; {models}; {}", limits(&person.limits)));
}

fn limits(limits: &Limits) -> String {
    let mut parts = Vec::new();
    match (limits.max_budget, &limits.budget_duration) {
        (Some(budget), Some(duration)) => {
            let reset = duration.next_reset(Clock::system().now());
            parts.push(format!("budget {budget} each {duration}, next reset {}", reset.format("%Y-%m-%d %H:%M UTC")));
        }
        (Some(budget), None) => parts.push(format!("budget {budget}, never reset")),
        (None, _) => parts.push("no budget".to_owned()),
    }
    parts.extend(limits.tpm_limit.map(|limit| format!("{limit} tokens a minute")));
    parts.extend(limits.rpm_limit.map(|limit| format!("{limit} requests a minute")));
    parts.join(", ")
}

async fn check_database(report: &mut Report, config: &Config) {
    let store = match Store::new(config.store, &config.database.url, config.database.max_connections) {
        Ok(store) => store,
        Err(error) => {
            return report.fail(
                "database",
                &error.to_string(),
                "write it as postgres://user:password@host:5432/database",
            );
        }
    };
    match store.version().await {
        Ok(version) => report.ok("database", &format!("Postgres {version}")),
        Err(error) => {
            let remedy = "is the address right, is Postgres running, and may this user connect?";
            return report.fail("database", &chain(&error), remedy);
        }
    }
    if config.store == StoreKind::LiteLlm {
        match store.check_tables().await {
            Ok(()) => {
                report.ok("LiteLLM's tables", "all columns that are needed are there, and may be used");
                if store.may_read_keys().await.unwrap_or_default() {
                    report.warn(
                        "LiteLLM's tables",
                        "this database user may also read the proxy's keys, for which there is no need",
                        "use the one of docs/litellm-grants.sql; a DATABASE_URL in the environment wins over the file",
                    );
                }
            }
            Err(StoreError::NotLiteLlm(problems)) => {
                for problem in problems {
                    report.fail(
                        "LiteLLM's tables",
                        &problem,
                        "docs/litellm.md says what has to be there, and has the grants",
                    );
                }
                return;
            }
            Err(error) => return report.fail("LiteLLM's tables", &chain(&error), "is it the proxy's own database?"),
        }
    }
    match store.migrate().await {
        Ok(()) => report.ok("tables", "the schema entraway is up to date"),
        Err(error) => report.fail(
            "tables",
            &chain(&error),
            "the database user has to own the schema entraway, or to be able to create it: \
             CREATE SCHEMA entraway AUTHORIZATION …, or GRANT CREATE ON DATABASE … TO …",
        ),
    }
    let default = config.policy.team_params.as_ref().and_then(|params| params.organization_id.as_ref());
    if let Some(id) = default.filter(|_| !config.policy.also_create_orgs) {
        match store.has_organization(id).await {
            Ok(true) => report.ok("default organization", &format!("{id} is there")),
            Ok(false) => report.fail(
                "default organization",
                &format!("there is no organization {id}, so no team can be made in it"),
                "make it, or mend default_team_params.organization_id",
            ),
            Err(error) => report.fail("default organization", &chain(&error), "see above"),
        }
    }
}

/// The proxies' caches, where they are to be told.
async fn check_cache(report: &mut Report, config: &Config) {
    let Some(url) = config.litellm.redis_url.as_ref().filter(|_| config.store == StoreKind::LiteLlm) else { return };
    let ready = async { LiteLlmCache::new(url, config.litellm.redis_namespace.clone())?.ready().await };
    match ready.await {
        Ok(0) => report.warn(
            "LiteLLM's caches",
            "Redis answers, but no proxy listens there",
            "is a proxy running with this Redis, and is litellm.redis_namespace its namespace?",
        ),
        Ok(1) => report.ok("LiteLLM's caches", "1 worker listens"),
        Ok(workers) => report.ok("LiteLLM's caches", &format!("{workers} workers listen")),
        Err(error) => report.warn(
            "LiteLLM's caches",
            &error.to_string(),
            "mend litellm.redis_url, or leave it out: the proxies then see changes within a minute",
        ),
    }
}

async fn check_entra(report: &mut Report, config: &Config) -> anyhow::Result<()> {
    let http = HttpClient::to(&config.entra.authority_url)?;
    let redirect_uri = config.server.public_url.join("/sso/callback");
    let entra = Entra::new(http.clone(), Clock::system(), config.entra.clone(), redirect_uri.clone());
    match entra.probe().await {
        Ok((issuer, keys)) => report.ok("Entra", &format!("issuer {issuer}, {keys} signing keys")),
        Err(error) => {
            let remedy = "is entra.tenant right, and can this machine reach the login host?";
            report.fail("Entra", &chain(&*error), remedy);
            return Ok(());
        }
    }
    report.ok("redirect URI", &format!("{redirect_uri} has to be registered in Entra, as type Web"));
    app::tell_credentials(report, &entra).await;
    let home = entra.home_tenant().await.ok().flatten();
    let tenants: Vec<TenantId> = match config.entra.tenant {
        Tenant::Organizations | Tenant::Common => config.entra.allowed_tenants.iter().copied().collect(),
        Tenant::Id(_) | Tenant::Domain(_) => home.into_iter().collect(),
    };
    let graph = Graph::new(http, config.entra.graph_url.clone(), graph::TOTAL_BUDGET);
    for tenant in tenants {
        app::check_app(report, config, &entra, &graph, tenant).await;
    }
    report.ok(
        "the person's groups",
        "read with the person's own token (User.Read, which everybody may consent to): only a sign-in can try that",
    );
    Ok(())
}
