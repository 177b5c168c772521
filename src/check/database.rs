//! The database: whether it answers, whose tables are in it, and whether ours are as they have to be.

use super::Report;
use crate::config::Config;
use crate::db::{Store, StoreError};
use crate::domain::StoreKind;
use crate::util::sanitize::chain;

/// What becomes of our own tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tables {
    /// They are brought up to date.
    UpToDate,
    /// They are looked at, and stay.
    AsTheyAre,
}

/// The database and its tables, and the organization that teams are made in by default.
pub async fn database(report: &mut Report, config: &Config, store: &Store, tables: Tables) {
    report.awaits("database");
    if let Some((host, sslmode)) = store.unverified_host() {
        let found = format!(
            "sslmode={sslmode} does not verify the server {host}: an attacker on the network path could read and change all \
             data"
        );
        report.warn(
            "database",
            &found,
            "add sslmode=verify-full to database.url, and sslrootcert=/path/to/ca.pem where the server's certificate is not \
             of a public authority",
        );
    }
    match store.version().await {
        Ok(version) => report.ok("database", &format!("Postgres {version}")),
        Err(error) => {
            let remedy =
                error.remedy().unwrap_or("is the address right, is Postgres running, and may this user connect?");
            return report.fail("database", &chain(&error), remedy);
        }
    }
    if config.store == StoreKind::LiteLlm && !tables_of_litellm(report, store).await {
        return;
    }
    report.awaits("tables");
    let (outcome, good) = match tables {
        Tables::UpToDate => (store.migrate().await, "the schema entraway is up to date"),
        Tables::AsTheyAre => (store.ready().await, "the schema entraway is there"),
    };
    match outcome {
        Ok(()) => report.ok("tables", good),
        Err(error) => report.fail(
            "tables",
            &chain(&error),
            "the database user has to own the schema entraway, or to be able to create it: \
             CREATE SCHEMA entraway AUTHORIZATION …, or GRANT CREATE ON DATABASE … TO …",
        ),
    }
    // It counts over whole tables: not for the page, which is opened often.
    if matches!(tables, Tables::UpToDate) {
        leftovers(report, store).await;
    }
    let default = config.policy.team_params.as_ref().and_then(|params| params.organization_id.as_ref());
    if let Some(id) = default.filter(|_| !config.policy.also_create_orgs) {
        report.awaits("default organization");
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

/// Rows that deleted teams and organizations left in a LiteLLM database. What a sign-in repairs is not among them.
async fn leftovers(report: &mut Report, store: &Store) {
    const STEP: &str = "leftovers";
    const DOCS: &str = "docs/reference/litellm.md, Leftovers of deleted teams";
    report.awaits(STEP);
    let found = match store.leftovers().await {
        Ok(found) => found.unwrap_or_default(),
        Err(error) => {
            return report.warn(
                STEP,
                &format!("could not be counted: {}", chain(&error)),
                "is the database busy? Run it again",
            );
        }
    };
    let kinds = [
        (
            found.team_memberships,
            "rows of LiteLLM_TeamMembership belong to no team",
            "they count again if a team of that id is created; to delete them, see",
        ),
        (
            found.organization_memberships,
            "rows of LiteLLM_OrganizationMembership belong to no organization",
            "they count again if an organization of that id is created; to delete them, see",
        ),
        (
            found.former_budgets,
            "team memberships have the default member budget of a deleted team",
            "remove and add these members in LiteLLM; to find them, see",
        ),
    ];
    for (count, what, remedy) in kinds.into_iter().filter(|(count, ..)| *count > 0) {
        report.warn(STEP, &format!("{count} {what}"), &format!("{remedy} {DOCS}"));
    }
}

/// Whether this is a LiteLLM proxy's database which can be served.
async fn tables_of_litellm(report: &mut Report, store: &Store) -> bool {
    const STEP: &str = "LiteLLM's tables";
    report.awaits(STEP);
    match store.check_tables().await {
        Ok(()) => {
            report.ok(STEP, "all columns that are needed are there, and may be used");
            if store.may_read_keys().await.unwrap_or_default() {
                report.warn(
                    STEP,
                    "this database user may also read the proxy's keys, for which there is no need",
                    "use the one of docs/litellm-grants.sql; a DATABASE_URL in the environment wins over the file",
                );
            }
            true
        }
        Err(StoreError::NotLiteLlm(problems)) => {
            for problem in problems {
                report.fail(STEP, &problem, "docs/reference/litellm.md says what has to be there, and has the grants");
            }
            false
        }
        Err(error) => {
            report.fail(STEP, &chain(&error), "is it the proxy's own database?");
            false
        }
    }
}
