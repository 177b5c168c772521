//! Checks of the database, its tables and the default organization.

use super::Report;
use crate::config::Config;
use crate::db::{Db, DbError};
use crate::domain::StoreKind;
use crate::policy::MembershipSync;
use crate::util::sanitize::error_chain;

/// What to do with the schema `entraway`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    Migrate,
    /// Only check that it exists.
    Inspect,
}

/// Checks the database, its tables and the default organization of teams.
pub async fn database(report: &mut Report, config: &Config, db: &Db, tables: Tables) {
    report.start("database");
    if let Some((host, sslmode)) = db.unverified_host() {
        let found = format!(
            "sslmode={sslmode} does not verify the server {host}: an attacker on the network path could read and change \
             all data"
        );
        report.warn(
            "database",
            found,
            "Add sslmode=verify-full to database.url, and sslrootcert=/path/to/ca.pem unless a public authority issued the \
             server's certificate",
        );
    }
    match db.version().await {
        Ok(version) => report.ok("database", format!("Postgres {version}")),
        Err(error) => {
            let help =
                error.help().unwrap_or("Check the address, that Postgres is running, and that this user may connect");
            return report.fail("database", error_chain(&error), help);
        }
    }
    if config.store == StoreKind::LiteLlm && !check_litellm_tables(report, db).await {
        return;
    }
    report.start("tables");
    let (outcome, good) = match tables {
        Tables::Migrate => (db.migrate().await, "the schema entraway is up to date"),
        Tables::Inspect => (db.ready().await, "the schema entraway exists"),
    };
    match outcome {
        Ok(()) => report.ok("tables", good),
        Err(error) => report.fail(
            "tables",
            error_chain(&error),
            "Let the database user own the schema entraway or create it: \
             CREATE SCHEMA entraway AUTHORIZATION …, or GRANT CREATE ON DATABASE … TO …",
        ),
    }
    if config.store == StoreKind::LiteLlm && config.policy.memberships == MembershipSync::Follow {
        removal_privileges(report, config, db).await;
    }
    if config.store == StoreKind::LiteLlm {
        account_privileges(report, db).await;
    }
    // Scans whole tables, which is too slow for the settings page.
    if matches!(tables, Tables::Migrate) {
        leftovers(report, db).await;
    }
    let default = config.policy.team_params.as_ref().and_then(|params| params.organization_id.as_ref());
    if let Some(id) = default.filter(|_| !config.policy.also_create_orgs) {
        report.start("default organization");
        match db.has_organization(id).await {
            Ok(true) => report.ok("default organization", format!("{id} exists")),
            Ok(false) => report.fail(
                "default organization",
                format!("there is no organization {id}, so no team can be created in it"),
                "Create it, or correct default_team_params.organization_id",
            ),
            Err(error) => report.fail("default organization", error_chain(&error), "Fix the problems above first"),
        }
    }
}

/// Reports whether memberships can be removed. Without the privileges the sync only adds.
async fn removal_privileges(report: &mut Report, config: &Config, db: &Db) {
    const STEP: &str = "removal of memberships";
    report.start(STEP);
    let missing = match db.missing_removal_privileges(config.policy.keys_on_removal).await {
        Ok(missing) => missing,
        Err(error) => return report.fail(STEP, error_chain(&error), "Fix the problems above first"),
    };
    if missing.is_empty() {
        report.ok(STEP, "all required grants exist");
    } else {
        report.warn(
            STEP,
            format!("users who leave a group keep their memberships: missing {}", missing.join(", ")),
            "Run docs/litellm-grants-removal.sql in the proxy's database, or set sync.memberships: additive",
        );
    }
}

/// Reports whether users whose accounts are disabled can be blocked in LiteLLM.
async fn account_privileges(report: &mut Report, db: &Db) {
    const STEP: &str = "disabled accounts";
    report.start(STEP);
    match db.missing_account_privileges().await {
        Ok(missing) if missing.is_empty() => report.ok(STEP, "all required grants exist"),
        Ok(missing) => report.warn(
            STEP,
            format!("LiteLLM keys of users whose accounts are disabled stay valid: missing {}", missing.join(", ")),
            "Run docs/litellm-grants-removal.sql in the proxy's database",
        ),
        Err(error) => report.fail(STEP, error_chain(&error), "Fix the problems above first"),
    }
}

/// Reports rows that deleted teams and organizations left in a LiteLLM database, except those that a sign-in repairs.
async fn leftovers(report: &mut Report, db: &Db) {
    const STEP: &str = "leftovers";
    const DOCS: &str = "docs/reference/litellm.md, Leftovers of deleted teams";
    report.start(STEP);
    let found = match db.leftovers().await {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => {
            return report.warn(
                STEP,
                format!("failed to count leftovers: {}", error_chain(&error)),
                "Run the check again when the database is less busy",
            );
        }
    };
    let kinds = [
        (
            found.team_memberships,
            "rows of LiteLLM_TeamMembership belong to no team",
            "They become valid if a team with that ID is created. To delete them, see",
        ),
        (
            found.organization_memberships,
            "rows of LiteLLM_OrganizationMembership belong to no organization",
            "They become valid if an organization with that ID is created. To delete them, see",
        ),
        (
            found.former_budgets,
            "team memberships have the default member budget of a deleted team",
            "Remove these members in LiteLLM and add them again. To find them, see",
        ),
    ];
    for (count, what, help) in kinds.into_iter().filter(|(count, ..)| *count > 0) {
        report.warn(STEP, format!("{count} {what}"), format!("{help} {DOCS}"));
    }
}

/// Checks LiteLLM's tables and grants. Returns whether they can be used.
async fn check_litellm_tables(report: &mut Report, db: &Db) -> bool {
    const STEP: &str = "LiteLLM's tables";
    report.start(STEP);
    match db.check_tables().await {
        Ok(()) => {
            report.ok(STEP, "all required columns and grants exist");
            if db.may_read_keys().await.unwrap_or_default() {
                report.warn(
                    STEP,
                    "this database user can also read the proxy's keys, which Entraway does not need",
                    "Use the user of docs/litellm-grants.sql. A DATABASE_URL in the environment overrides the file",
                );
            }
            true
        }
        Err(DbError::NotLiteLlm(problems)) => {
            for problem in problems {
                report.fail(STEP, problem, "See docs/reference/litellm.md for the required tables and grants");
            }
            false
        }
        Err(error) => {
            report.fail(STEP, error_chain(&error), "Check that database.url is the proxy's database");
            false
        }
    }
}
