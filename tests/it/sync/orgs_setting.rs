//! Complete rows of groups, with organizations on or off, and with or without default params.

use chrono::{DateTime, Utc};
use entra_simulator::{GroupId, ObjectId};
use rstest::rstest;
use serde_json::{Value, json};

use super::support::{assigned, ids};
use crate::support::{LiteLlm, Native, Rows, StoreKind, World, models_of_team};

const TEAM_PARAMS: &str = "  default_team_params: {models: [gpt-4, gpt-3.5-turbo], max_budget: 100.0, \
                           budget_duration: 30d, tpm_limit: 10000, rpm_limit: 1000}\n";
const USER_PARAMS: &str = "  default_internal_user_params: {user_role: internal_user, max_budget: 10, \
                           budget_duration: 30d, models: [gpt-3.5-turbo]}\n";
/// 30 days count as a calendar month: a budget created at the end of January resets on the first.
const NOW: &str = "2031-01-31T23:30:00Z";
const RESET: &str = "2031-02-01T00:00:00+00:00";

/// The store after the first sign-in of Alice, who is in `hers` and not in `other`.
struct After {
    store: StoreKind,
    rows: Rows,
    alice: ObjectId,
    tenant: String,
    hers: GroupId,
    other: GroupId,
}

async fn after(store: StoreKind, settings: &str) -> After {
    let world = World::of(store).await;
    let now: DateTime<Utc> = NOW.parse().unwrap();
    world.clock.advance(now - world.clock.now());
    let [hers, other] = assigned(&world, ["Production LLM Evals", "Other"]);
    let (alice, tenant) = world.simulator.edit(|directory| {
        let alice =
            directory.person("Alice Arden", |alice| "Alice.ARDEN@Contoso-Sim.Example".clone_into(&mut alice.upn));
        directory.put(alice, hers);
        (alice, directory.tenant_id.to_string())
    });
    let service = world.service_of(world.config_of(settings)).await;
    world.sign_in(&service, alice).await;
    After { store, rows: world.rows().await, alice, tenant, hers, other }
}

/// Sets a row's limits to the defaults, or to none.
fn with_limits(mut row: Value, given: bool) -> Value {
    row["max_budget"] = if given { json!(100) } else { Value::Null };
    row["budget_duration"] = if given { json!("30d") } else { Value::Null };
    row["budget_reset_at"] = if given { json!(RESET) } else { Value::Null };
    row["tpm_limit"] = if given { json!(10_000) } else { Value::Null };
    row["rpm_limit"] = if given { json!(1_000) } else { Value::Null };
    row
}

fn organization(id: GroupId, alias: &str, models: &[&str], limits: bool) -> Value {
    let row =
        json!({ "organization_id": id, "organization_alias": alias, "models": models, "spend": 0, "metadata": {} });
    with_limits(row, limits)
}

fn team(id: GroupId, alias: &str, organization: Option<GroupId>, models: &Value, limits: bool) -> Value {
    let row = json!({
        "team_id": id, "team_alias": alias, "organization_id": organization, "models": models,
        "spend": 0, "blocked": false, "metadata": {},
    });
    with_limits(row, limits)
}

impl After {
    /// Asserts that both groups are organizations with these models and have teams inside them; Alice is in hers.
    fn assert_organizations(&self, models: &[&str], limits: bool) {
        let Self { store, rows, alice, hers, other, .. } = self;
        for (id, alias) in [(*hers, "Production LLM Evals"), (*other, "Other")] {
            let made = &rows.organizations[&id.to_string()];
            assert_eq!(made, &organization(id, alias, models, limits), "the organization of {alias}");
            let made = &rows.teams[&id.to_string()];
            let models = models_of_team(*store, models);
            assert_eq!(made, &team(id, alias, Some(id), &models, limits), "the team of {alias}");
        }
        assert_eq!((rows.organizations.len(), rows.teams.len()), (2, 2));
        let membership = &rows.organization_members[&format!("{alice}/{hers}")];
        let expected = json!({
            "user_id": alice, "organization_id": hers, "user_role": "internal_user", "sso_user_role": "internal_user",
            "source": "entra", "spend": 0,
        });
        assert_eq!(membership, &expected, "Alice's membership of the organization");
        assert_eq!(rows.organization_members.len(), 1, "she is only in her group's organization");
        self.assert_team_membership();
    }

    /// Asserts that both groups are only standalone teams with these models; Alice is in hers.
    fn assert_standalone_teams(&self, models: &[&str], limits: bool) {
        let rows = &self.rows;
        for (id, alias) in [(self.hers, "Production LLM Evals"), (self.other, "Other")] {
            let made = &rows.teams[&id.to_string()];
            assert_eq!(made, &team(id, alias, None, &json!(models), limits), "the team of {alias}");
        }
        assert_eq!(rows.teams.len(), 2);
        assert!(rows.organizations.is_empty(), "without the flag there are no organizations");
        assert!(rows.organization_members.is_empty(), "without the flag there are no organization members");
        self.assert_team_membership();
    }

    fn assert_team_membership(&self) {
        let Self { rows, alice, hers, .. } = self;
        let expected = json!({ "user_id": alice, "team_id": hers, "role": "user", "source": "entra", "spend": 0 });
        let mut member = rows.team_members[&format!("{alice}/{hers}")].clone();
        // The provenance is tested with removals.
        member.as_object_mut().unwrap().remove("sources");
        assert_eq!(member, expected, "Alice's membership of the team");
        assert_eq!(rows.teams_of(*alice), ids(&[*hers]), "she is only in her group's team");
    }
}

#[rstest]
#[tokio::test]
async fn orgs_on_with_defaults_creates_limited_org_and_team(#[values(Native, LiteLlm)] store: StoreKind) {
    let after = after(store, &format!("  entra_groups_also_create_orgs: true\n{TEAM_PARAMS}{USER_PARAMS}")).await;
    after.assert_organizations(&["gpt-4", "gpt-3.5-turbo"], true);
}

#[rstest]
#[tokio::test]
async fn orgs_on_without_defaults_creates_unlimited_org_and_team(#[values(Native, LiteLlm)] store: StoreKind) {
    let after = after(store, &format!("  entra_groups_also_create_orgs: true\n{USER_PARAMS}")).await;
    after.assert_organizations(&[], false);
}

#[rstest]
#[tokio::test]
async fn orgs_off_with_defaults_creates_limited_standalone_team(#[values(Native, LiteLlm)] store: StoreKind) {
    let after = after(store, &format!("  entra_groups_also_create_orgs: false\n{TEAM_PARAMS}{USER_PARAMS}")).await;
    after.assert_standalone_teams(&["gpt-4", "gpt-3.5-turbo"], true);
}

#[rstest]
#[tokio::test]
async fn orgs_off_without_defaults_creates_unlimited_team(#[values(Native, LiteLlm)] store: StoreKind) {
    let after = after(store, &format!("  entra_groups_also_create_orgs: false\n{USER_PARAMS}")).await;
    after.assert_standalone_teams(&[], false);
}

#[rstest]
#[tokio::test]
async fn orgs_setting_defaults_to_off(#[values(Native, LiteLlm)] store: StoreKind) {
    after(store, TEAM_PARAMS).await.assert_standalone_teams(&["gpt-4", "gpt-3.5-turbo"], true);
}

#[rstest]
#[tokio::test]
async fn single_default_limit_sets_only_that_limit(#[values(Native, LiteLlm)] store: StoreKind) {
    let after = after(store, "  entra_groups_also_create_orgs: true\n  default_team_params: {rpm_limit: 7}\n").await;
    let id = after.hers.to_string();
    for row in [&after.rows.organizations[&id], &after.rows.teams[&id]] {
        assert_eq!(row["rpm_limit"], 7, "in {row:#}");
        for column in ["max_budget", "budget_duration", "budget_reset_at", "tpm_limit"] {
            assert_eq!(row[column], Value::Null, "{column} was not given, in {row:#}");
        }
    }
    assert_eq!(after.rows.organizations[&id]["models"], json!([]), "no models were given");
    assert_eq!(after.rows.teams[&id]["models"], models_of_team(store, &[]), "in LiteLLM, [] is all models for both");
}

#[rstest]
#[tokio::test]
async fn new_user_gets_entra_identity_and_default_params(#[values(Native, LiteLlm)] store: StoreKind) {
    let After { rows, alice, tenant, .. } = after(store, USER_PARAMS).await;
    let expected = json!({
        "user_id": alice, "object_id": alice, "tenant_id": tenant,
        "user_email": "alice.arden@contoso-sim.example", "user_alias": "Alice Arden",
        "user_role": "internal_user", "sso_user_role": null, "sso_user_roles": [],
        "models": ["gpt-3.5-turbo"], "max_budget": 10, "budget_duration": "30d", "budget_reset_at": RESET,
        "spend": 0, "metadata": { "auth_provider": "microsoft" },
    });
    assert_eq!(rows.users[&alice.to_string()], expected);
    assert_eq!(rows.users.len(), 1);
}

#[rstest]
#[tokio::test]
async fn new_user_without_defaults_is_viewer_without_budget(#[values(Native, LiteLlm)] store: StoreKind) {
    let After { rows, alice, .. } = after(store, "  entra_groups_also_create_orgs: true\n").await;
    let user = &rows.users[&alice.to_string()];
    assert_eq!(user["user_role"], "internal_user_viewer");
    assert_eq!(user["models"], json!([]));
    for column in ["max_budget", "budget_duration", "budget_reset_at", "sso_user_role"] {
        assert_eq!(user[column], Value::Null, "{column} in {user:#}");
    }
    let membership = rows.organization_members.values().next().unwrap();
    assert_eq!(membership["user_role"], "internal_user_viewer", "a viewer is a viewer there, too");
}
