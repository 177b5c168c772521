//! Complete rows of a first sign-in, with every column of the proxy's tables, defaults included. If a test fails after
//! a change of LiteLLM's schema, compare src/db/litellm/columns.rs with the new schema.

use chrono::{DateTime, TimeDelta, Utc};
use entraway::policy::BudgetDuration;
use serde_json::{Value, json};

use super::support::{
    ALICE, BUDGET, ORGANIZATION, ORGANIZATION_MEMBER, TEAM, TEAM_MEMBER, USER, WRITTEN, all, assigned, define, person,
    plain, take_text, take_time, versions, world,
};
use crate::support::World;

/// Start and end of a sign-in, truncated to milliseconds like the columns.
struct Span(DateTime<Utc>, DateTime<Utc>);

impl Span {
    async fn of(world: &World, signing_in: impl Future) -> Self {
        let begin = world.clock.now() - TimeDelta::milliseconds(1);
        signing_in.await;
        Self(begin, world.clock.now() + TimeDelta::milliseconds(1))
    }

    /// Removes both timestamps from the row: they are equal and within the sign-in.
    #[track_caller]
    fn take_times(&self, row: &mut Value) {
        let made = take_time(row, "created_at");
        let changed = take_time(row, "updated_at");
        assert!(made >= self.0 && made <= self.1, "created at {made} UTC, not between {} and {}", self.0, self.1);
        assert_eq!(made, changed, "created_at and updated_at of {row}");
    }

    /// The reset time of a `30d` budget.
    fn reset(&self) -> DateTime<Utc> {
        "30d".parse::<BudgetDuration>().unwrap().next_reset(self.1)
    }
}

/// The only row of a table.
async fn only(world: &World, table: &str) -> Value {
    let mut rows = all(world, table).await;
    assert_eq!(rows.len(), 1, "one row in {table}: {rows:#?}");
    rows.remove(0)
}

fn team_row(id: &str, organization: Option<&str>, models: &[&str], user: &str) -> Value {
    json!({
        "team_id": id, "team_alias": "Production LLM Evals", "organization_id": organization,
        "admins": [], "members": [],
        "members_with_roles": [{ "user_id": user, "user_email": ALICE, "role": "user" }],
        "metadata": {}, "models": models,
        "max_budget": 100, "budget_duration": "30d", "tpm_limit": 10000, "rpm_limit": 1000,
        "spend": 0, "soft_budget": null, "max_parallel_requests": null, "tpd_limit": null, "blocked": false,
        "model_spend": {}, "model_max_budget": {}, "router_settings": {}, "team_member_permissions": [],
        "access_group_ids": [], "policies": [], "default_team_member_models": [], "budget_limits": null,
        "model_id": null, "allow_team_guardrail_config": false, "object_permission_id": null,
    })
}

fn user_row(id: &str, team: &str) -> Value {
    json!({
        "user_id": id, "sso_user_id": id, "user_email": ALICE, "user_alias": "Alice Arden",
        "user_role": "internal_user", "teams": [team], "models": ["gpt-3.5-turbo"],
        "metadata": { "auth_provider": "microsoft" },
        "max_budget": 10, "budget_duration": "30d", "tpm_limit": null, "rpm_limit": null,
        "spend": 0, "team_id": null, "organization_id": null, "object_permission_id": null,
        "password": null, "password_reset_required": null, "last_breach_check_at": null,
        "max_parallel_requests": null, "allowed_cache_controls": [], "policies": [],
        "model_spend": {}, "model_max_budget": {},
    })
}

#[tokio::test]
async fn first_signin_with_orgs_writes_same_rows_as_proxy() {
    let world = world().await;
    // A proxy's Postgres may use any time zone; its columns without time zone hold UTC.
    define(&world, &format!("alter database {} set timezone = 'Asia/Kolkata'", world.database_name)).await;
    let [evals] = assigned(&world, ["Production LLM Evals"]);
    let alice = person(&world, "Alice Arden", &[evals]);
    let service = world.service().await;

    let span = Span::of(&world, world.sign_in(&service, alice)).await;

    let (group, id) = (evals.to_string(), alice.to_string());
    let mut budget = only(&world, BUDGET).await;
    span.take_times(&mut budget);
    assert_eq!(take_time(&mut budget, "budget_reset_at"), span.reset(), "the organization's budget reset");
    let budget_id = take_text(&mut budget, "budget_id");
    assert_eq!(
        budget,
        json!({
            "max_budget": 100, "budget_duration": "30d", "tpm_limit": 10000, "rpm_limit": 1000,
            "soft_budget": null, "max_parallel_requests": null, "tpd_limit": null, "model_max_budget": null,
            "allowed_models": [], "temp_budget_increase": null, "temp_budget_expiry": null,
            "created_by": "default_user_id", "updated_by": "default_user_id",
        }),
        "the budget of an organization: src/db/litellm.rs, budget_row"
    );

    let mut organization = only(&world, ORGANIZATION).await;
    span.take_times(&mut organization);
    assert_eq!(
        organization,
        json!({
            "organization_id": group, "organization_alias": "Production LLM Evals", "budget_id": budget_id,
            "metadata": {}, "models": ["gpt-4", "gpt-3.5-turbo"], "spend": 0, "model_spend": {},
            "object_permission_id": null, "created_by": "default_user_id", "updated_by": "default_user_id",
        }),
        "an organization: src/db/litellm.rs, organization"
    );

    let mut team = only(&world, TEAM).await;
    span.take_times(&mut team);
    assert_eq!(take_time(&mut team, "budget_reset_at"), span.reset(), "the team's budget reset");
    assert_eq!(
        team,
        team_row(&group, Some(&group), &["gpt-4", "gpt-3.5-turbo"], &id),
        "a team in its organization: src/db/litellm.rs, team"
    );

    let mut user = only(&world, USER).await;
    span.take_times(&mut user);
    assert_eq!(take_time(&mut user, "budget_reset_at"), span.reset(), "the user's budget reset");
    assert_eq!(user, user_row(&id, &group), "a user: src/db/litellm/user.rs, made_user");

    let mut member = only(&world, ORGANIZATION_MEMBER).await;
    span.take_times(&mut member);
    assert_eq!(
        member,
        json!({ "user_id": id, "organization_id": group, "user_role": "internal_user", "spend": 0, "budget_id": null }),
        "a membership of an organization: src/db/litellm/user.rs, joined_organizations"
    );
    assert_eq!(
        only(&world, TEAM_MEMBER).await,
        json!({ "user_id": id, "team_id": group, "spend": 0, "total_spend": 0, "budget_id": null }),
        "a membership of a team: src/db/litellm/user.rs, memberships"
    );
}

#[tokio::test]
async fn first_signin_without_orgs_creates_no_organization_rows() {
    let world = world().await;
    define(&world, &format!("alter database {} set timezone = 'America/Los_Angeles'", world.database_name)).await;
    let [evals] = assigned(&world, ["Production LLM Evals"]);
    let alice = person(&world, "Alice Arden", &[evals]);
    let service = world.service_with(|config| config.policy.also_create_orgs = false).await;

    let span = Span::of(&world, world.sign_in(&service, alice)).await;

    let (group, id) = (evals.to_string(), alice.to_string());
    let mut team = only(&world, TEAM).await;
    span.take_times(&mut team);
    assert_eq!(take_time(&mut team, "budget_reset_at"), span.reset(), "the team's budget reset");
    assert_eq!(team, team_row(&group, None, &["gpt-4", "gpt-3.5-turbo"], &id), "src/db/litellm.rs, team");
    let mut user = only(&world, USER).await;
    span.take_times(&mut user);
    assert_eq!(take_time(&mut user, "budget_reset_at"), span.reset(), "the user's budget reset");
    assert_eq!(user, user_row(&id, &group), "src/db/litellm/user.rs, made_user");
    for table in [BUDGET, ORGANIZATION, ORGANIZATION_MEMBER] {
        assert_eq!(all(&world, table).await, [] as [Value; 0], "without the flag there is nothing in {table}");
    }
}

#[tokio::test]
async fn repeated_signin_writes_no_proxy_row() {
    let world = world().await;
    let [evals] = assigned(&world, ["Production LLM Evals"]);
    let alice = person(&world, "Alice Arden", &[evals]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    let before = versions(&world, &WRITTEN).await;
    world.sign_in(&service, alice).await;
    assert_eq!(
        versions(&world, &WRITTEN).await,
        before,
        "the read in src/db/litellm.rs reported work to do, or a row was written twice"
    );
}

#[tokio::test]
async fn limit_columns_are_null_without_default_params() {
    let world = world().await;
    let [evals] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[evals]);
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    for table in [BUDGET, TEAM, USER] {
        let row = only(&world, table).await;
        for column in ["max_budget", "budget_duration", "budget_reset_at", "tpm_limit", "rpm_limit"] {
            assert_eq!(row[column], Value::Null, "{table}.{column} without default_team_params");
        }
    }
    assert_eq!(
        only(&world, USER).await["user_role"],
        "internal_user_viewer",
        "the role that the proxy gives by default"
    );
}
