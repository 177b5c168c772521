//! Member budgets of a team: one shared budget, or one per member.

use entraway::policy::BudgetDuration;
use serde_json::{Value, json};

use super::support::{
    BUDGET, TEAM_MEMBER, all, assigned, by_hand, json as query, person, places, plain, take_text, take_time, team,
    team_by_hand, user_by_hand, with_team_params, world,
};
use crate::support::World;

/// The budget of a user's membership.
async fn budget_of(world: &World, person: &dyn ToString, team: &dyn ToString) -> Value {
    let sql = r#"select to_jsonb(m) -> 'budget_id' from public."LiteLLM_TeamMembership" m where user_id = $1 and team_id = $2"#;
    query(world, sql, &[person, team]).await
}

#[tokio::test]
async fn new_team_members_share_budget_named_in_team_metadata() {
    let world = world().await;
    let [group] = assigned(&world, ["Production LLM  Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let bob = person(&world, "Bob Birch", &[group]);
    let params = "max_budget: 100, team_member_budget: 12.5, team_member_budget_duration: 1d, \
                  team_member_tpm_limit: 10, team_member_rpm_limit: 2, metadata: {cost_center: 7}";
    let service = with_team_params(&world, false, params).await;
    let before = world.clock.now();
    world.sign_in(&service, alice).await;
    world.sign_in(&service, bob).await;

    let mut budgets = all(&world, BUDGET).await;
    assert_eq!(budgets.len(), 1, "one budget for all members: {budgets:#?}");
    let mut budget = budgets.remove(0);
    let id = take_text(&mut budget, "budget_id");
    // Each space becomes a dash, as in the proxy's own names.
    let digits =
        id.strip_prefix("team-Production-LLM--Evals-budget-").unwrap_or_else(|| panic!("the budget is named {id}"));
    assert!(digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()), "the budget is named {id}");
    assert_eq!(take_time(&mut budget, "created_at"), take_time(&mut budget, "updated_at"));
    let midnight = take_time(&mut budget, "budget_reset_at");
    assert!(midnight > before && midnight.format("%T").to_string() == "00:00:00", "resets at {midnight}");
    assert_eq!(
        budget,
        json!({
            "max_budget": 12.5, "budget_duration": "1d", "tpm_limit": 10, "rpm_limit": 2,
            "soft_budget": null, "max_parallel_requests": null, "tpd_limit": null, "model_max_budget": null,
            "allowed_models": [], "temp_budget_increase": null, "temp_budget_expiry": null,
            "created_by": "default_user_id", "updated_by": "default_user_id",
        })
    );
    let team = team(&world, &group).await;
    assert_eq!(team["metadata"], json!({ "cost_center": 7, "team_member_budget_id": id }));
    assert_eq!(
        (&team["max_budget"], &team["tpm_limit"]),
        (&json!(100), &Value::Null),
        "the team's own limits are separate"
    );
    for who in [alice, bob] {
        assert_eq!(budget_of(&world, &who, &group).await, json!(id), "each membership refers to it");
    }
}

#[tokio::test]
async fn member_budget_inherits_duration_of_team() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = with_team_params(&world, true, "budget_duration: 30d, team_member_rpm_limit: 2").await;
    world.sign_in(&service, alice).await;
    let shared = query(
        &world,
        r#"select jsonb_build_array(b.budget_duration, b.budget_reset_at = t.budget_reset_at, b.max_budget, b.rpm_limit)
           from public."LiteLLM_TeamTable" t join public."LiteLLM_BudgetTable" b
                on b.budget_id = t.metadata ->> 'team_member_budget_id'"#,
        &[],
    )
    .await;
    assert_eq!(shared, json!(["30d", true, null, 2]));
    assert_eq!(all(&world, BUDGET).await.len(), 2, "one of the organization, one of the members");
}

#[tokio::test]
async fn new_member_gets_existing_budget_from_team_metadata() {
    let world = world().await;
    let service = plain(&world, false).await;
    by_hand(
        &world,
        r#"insert into public."LiteLLM_BudgetTable" (budget_id, created_by, updated_by, updated_at)
           values ('shared', 'bob', 'bob', '2026-01-01')"#,
        &[],
    )
    .await;
    for (metadata, expected) in [
        (r#"{"team_member_budget_id": "shared"}"#, json!("shared")),
        (r#"{"team_member_budget_id": "dangling"}"#, Value::Null),
        (r#"{"team_member_budget_id": null}"#, Value::Null),
        (r#"{"team_member_budget_id": ""}"#, Value::Null),
        (r#"{"team_member_budget_id": 7}"#, Value::Null),
        (r#"{"team_member_budget_id": {"a": ["shared"]}}"#, Value::Null),
        (r#"["team_member_budget_id"]"#, Value::Null),
        (r#""team_member_budget_id""#, Value::Null),
        ("null", Value::Null),
    ] {
        let [group] = assigned(&world, ["Evals"]);
        let alice = person(&world, "Alice Arden", &[group]);
        team_by_hand(&world, &group, ", metadata", &format!(", '{metadata}'")).await;
        world.sign_in(&service, alice).await;
        assert_eq!(budget_of(&world, &alice, &group).await, expected, "with the metadata {metadata}");
        assert_eq!(places(&world, &alice, &group).await, [1, 1, 1], "with the metadata {metadata}");
        let is: Value = serde_json::from_str(metadata).unwrap();
        assert_eq!(team(&world, &group).await["metadata"], is, "the metadata is unchanged");
    }
    assert_eq!(all(&world, BUDGET).await.len(), 1, "no budget replaces a missing one");
}

#[tokio::test]
async fn team_with_member_models_gives_each_member_own_budget() {
    let world = world().await;
    let [group, other] = assigned(&world, ["Evals", "Other"]);
    by_hand(
        &world,
        r#"insert into public."LiteLLM_BudgetTable"
               (budget_id, max_budget, budget_duration, budget_reset_at, tpm_limit, created_by, updated_by, updated_at)
           values ('shared', 3, '30d', '2026-01-02', 7, 'bob', 'bob', '2026-01-01')"#,
        &[],
    )
    .await;
    let columns = ", default_team_member_models, metadata";
    let values = r#", '{gpt-4,"o''dd \"model\""}', '{"team_member_budget_id": "shared"}'"#;
    for team in [group, other] {
        team_by_hand(&world, &team, columns, values).await;
    }
    let service = plain(&world, false).await;
    let alice = person(&world, "Alice Arden", &[group, other]);
    let bob = person(&world, "Bob Birch", &[group]);
    world.sign_in(&service, alice).await;
    world.sign_in(&service, bob).await;

    let own = [(alice, group), (alice, other), (bob, group)];
    let mut ids = std::collections::BTreeSet::new();
    for (who, team) in own {
        let id = budget_of(&world, &who, &team).await;
        let sql = r#"select to_jsonb(b) from public."LiteLLM_BudgetTable" b where budget_id = $1"#;
        let id = id.as_str().unwrap_or_else(|| panic!("{who} has no budget in {team}")).to_owned();
        let mut budget = query(&world, sql, &[&id]).await;
        take_text(&mut budget, "budget_id");
        let joined = take_time(&mut budget, "created_at");
        assert_eq!(joined, take_time(&mut budget, "updated_at"));
        let duration: BudgetDuration = "30d".parse().unwrap();
        let reset = take_time(&mut budget, "budget_reset_at");
        assert_eq!(reset, duration.next_reset(joined), "counted from when they were added, as in the proxy");
        assert_eq!(
            budget,
            json!({
                "allowed_models": ["gpt-4", "o'dd \"model\""],
                "max_budget": null, "budget_duration": "30d", "tpm_limit": null, "rpm_limit": null,
                "soft_budget": null, "max_parallel_requests": null, "tpd_limit": null, "model_max_budget": null,
                "temp_budget_increase": null, "temp_budget_expiry": null,
                "created_by": "default_user_id", "updated_by": "default_user_id",
            }),
            "the cap stays the shared budget's, which the proxy reads from there"
        );
        ids.insert(id);
    }
    assert_eq!(ids.len(), own.len(), "each membership has its own budget");
    assert_eq!(all(&world, BUDGET).await.len(), 1 + own.len());
}

#[tokio::test]
async fn own_budget_without_readable_duration_has_no_reset() {
    let world = world().await;
    let service = plain(&world, false).await;
    for (duration, expected) in [
        ("null", json!([null, null])),
        ("''", json!([null, null])),
        ("'every now and then'", json!(["every now and then", null])),
    ] {
        let [group] = assigned(&world, ["Evals"]);
        let alice = person(&world, "Alice Arden", &[group]);
        let sql = format!(
            r#"insert into public."LiteLLM_BudgetTable" (budget_id, budget_duration, created_by, updated_by)
               values ('of ' || $1, {duration}, 'bob', 'bob')"#
        );
        by_hand(&world, &sql, &[&group]).await;
        let metadata = format!(", '{{gpt-4}}', '{{\"team_member_budget_id\": \"of {group}\"}}'");
        team_by_hand(&world, &group, ", default_team_member_models, metadata", &metadata).await;
        world.sign_in(&service, alice).await;
        let sql = r#"select jsonb_build_array(budget_duration, budget_reset_at)
                     from public."LiteLLM_BudgetTable" join public."LiteLLM_TeamMembership" using (budget_id)
                     where user_id = $1"#;
        assert_eq!(query(&world, sql, &[&alice]).await, expected, "a duration of {duration}");
    }
}

#[tokio::test]
async fn existing_membership_keeps_its_budget() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    team_by_hand(&world, &group, ", default_team_member_models", ", '{gpt-4}'").await;
    user_by_hand(&world, &alice, "", "").await;
    let sql =
        r#"insert into public."LiteLLM_TeamMembership" (user_id, team_id, spend, total_spend) values ($1, $2, 5, 6)"#;
    by_hand(&world, sql, &[&alice, &group]).await;
    let before = all(&world, TEAM_MEMBER).await;
    let service = plain(&world, false).await;
    world.sign_in(&service, alice).await;
    assert_eq!(all(&world, TEAM_MEMBER).await, before, "the row in the table of memberships");
    assert_eq!(all(&world, BUDGET).await, [] as [Value; 0], "an orphaned budget");
    assert_eq!(places(&world, &alice, &group).await, [1, 1, 1]);
}
