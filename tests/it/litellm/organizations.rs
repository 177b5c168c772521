//! Organizations and their budgets: both are created, or neither.

use entra_simulator::GroupId;
use serde_json::{Value, json};

use super::support::{
    BUDGET, ORGANIZATION, ORGANIZATION_MEMBER, TEAM, USER, all, assigned, by_hand, define, failures, person, places,
    plain, team, versions, with_team_params, world,
};
use crate::support::World;

const PARAMS: &str = "max_budget: 5, budget_duration: 7d, models: [gpt-4]";

/// Every budget is in use, and every organization has its own.
async fn assert_no_orphans(world: &World) {
    let sql = r#"select jsonb_agg(b.budget_id) from public."LiteLLM_BudgetTable" b
        where not exists (select from public."LiteLLM_OrganizationTable" o where o.budget_id = b.budget_id)
          and not exists (select from public."LiteLLM_TeamTable" t where t.metadata ->> 'team_member_budget_id' = b.budget_id)
          and not exists (select from public."LiteLLM_TeamMembership" m where m.budget_id = b.budget_id)"#;
    let orphans = super::support::json(world, sql, &[]).await;
    assert_eq!(orphans, Value::Null, "orphaned budgets: entraway.insert_rows in migrations/, own_budgets");
}

/// Rejects rows with these names, in four ways.
const REFUSALS: &str = r#"
    create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not here'; end $$;
    create function skip() returns trigger language plpgsql as $$ begin return null; end $$;
    create trigger early before insert on public."$TABLE" for each row when (new.$NAME = 'Early') execute function refuse();
    create trigger after after insert on public."$TABLE" for each row when (new.$NAME = 'After') execute function refuse();
    create trigger silent before insert on public."$TABLE" for each row when (new.$NAME = 'Silent') execute function skip();
    alter table public."$TABLE" add constraint good check ($NAME <> 'Check')"#;

/// Rejects a row only at commit.
const REFUSAL_AT_COMMIT: &str = r#"
    create function refuse() returns trigger language plpgsql as $$ begin raise exception 'too late'; end $$;
    create constraint trigger late after insert on public."$TABLE" deferrable initially deferred
    for each row when (new.$NAME = 'Late') execute function refuse()"#;

fn refusals(text: &str, table: &str, name: &str) -> String {
    text.replace("$TABLE", table).replace("$NAME", name)
}

const SILENT: &str = "02000: no row was made and no error raised, as a trigger can have it";

#[tokio::test]
async fn rejected_organization_leaves_standalone_team_and_no_budget() {
    for (sql, bad, whys) in [
        (
            REFUSALS,
            &["Early", "After", "Silent", "Check"][..],
            &[
                "organization/After/P0001: not here",
                r#"organization/Check/23514: new row for relation "LiteLLM_OrganizationTable" violates check constraint "good""#,
                "organization/Early/P0001: not here",
                SILENT,
            ][..],
        ),
        (REFUSAL_AT_COMMIT, &["Late"], &["organization/Late/P0001: too late"]),
    ] {
        let world = world().await;
        let [good] = assigned(&world, ["Good"]);
        let bad: Vec<GroupId> = bad.iter().map(|name| assigned(&world, [*name])[0]).collect();
        let groups = [&[good], &bad[..]].concat();
        let alice = person(&world, "Alice Arden", &groups);
        define(&world, &refusals(sql, ORGANIZATION, "organization_alias")).await;
        let service = with_team_params(&world, true, PARAMS).await;

        world.sign_in(&service, alice).await;

        let organizations = all(&world, ORGANIZATION).await;
        assert_eq!(
            (organizations.len(), &organizations[0]["organization_id"]),
            (1, &json!(good)),
            "{organizations:#?}"
        );
        assert_no_orphans(&world).await;
        assert_eq!(all(&world, BUDGET).await.len(), 1, "the budget of the accepted organization");
        for group in groups {
            let team = team(&world, &group).await;
            let organization = if group == good { json!(good) } else { Value::Null };
            assert_eq!(
                (&team["organization_id"], &team["models"]),
                (&organization, &json!(["gpt-4"])),
                "the team of a rejected organization is the same as without the flag: {team:#}"
            );
            assert_eq!(places(&world, &alice, &group).await, [1, 1, 1], "she is in {}", team["team_alias"]);
        }
        assert_failures(&world, whys).await;
    }
}

#[tokio::test]
async fn organization_is_not_created_when_its_budget_is_rejected() {
    let world = world().await;
    let groups = assigned(&world, ["One", "Two"]);
    let alice = person(&world, "Alice Arden", &groups);
    // Accepts only the first budget. Organizations are created in the order of their IDs.
    define(
        &world,
        r#"create function first() returns boolean language sql as
           $$ select not exists (select from public."LiteLLM_BudgetTable") $$;
           alter table public."LiteLLM_BudgetTable" add constraint one check (first())"#,
    )
    .await;
    let service = with_team_params(&world, true, PARAMS).await;
    world.sign_in(&service, alice).await;
    let organizations = all(&world, ORGANIZATION).await;
    let made = groups.into_iter().min().unwrap();
    assert_eq!((organizations.len(), &organizations[0]["organization_id"]), (1, &json!(made)), "{organizations:#?}");
    assert_no_orphans(&world).await;
    for group in groups {
        assert_eq!(places(&world, &alice, &group).await, [1, 1, 1], "she is in both teams");
        let organization = if group == made { json!(made) } else { Value::Null };
        assert_eq!(team(&world, &group).await["organization_id"], organization);
    }
    assert_failures(&world, &[r#"23514: new row for relation "LiteLLM_BudgetTable" violates check constraint "one""#])
        .await;
}

#[tokio::test]
async fn rejected_team_leaves_no_member_budget() {
    for (sql, bad, whys) in [
        (
            REFUSALS,
            &["Early", "After", "Silent", "Check"][..],
            &[
                "team/After/P0001: not here",
                r#"team/Check/23514: new row for relation "LiteLLM_TeamTable" violates check constraint "good""#,
                "team/Early/P0001: not here",
                SILENT,
            ][..],
        ),
        (REFUSAL_AT_COMMIT, &["Late"], &["team/Late/P0001: too late"]),
    ] {
        let world = world().await;
        let [good] = assigned(&world, ["Good"]);
        let bad: Vec<GroupId> = bad.iter().map(|name| assigned(&world, [*name])[0]).collect();
        let alice = person(&world, "Alice Arden", &[&[good], &bad[..]].concat());
        define(&world, &refusals(sql, TEAM, "team_alias")).await;
        let service = with_team_params(&world, false, "team_member_budget: 3").await;

        world.sign_in(&service, alice).await;

        let teams = all(&world, TEAM).await;
        assert_eq!((teams.len(), &teams[0]["team_id"]), (1, &json!(good)), "{teams:#?}");
        assert_eq!(all(&world, BUDGET).await.len(), 1, "the budget of the accepted team's members");
        assert_no_orphans(&world).await;
        for group in bad {
            assert_eq!(places(&world, &alice, &group).await, [0, 0, 0], "no membership of a missing team");
        }
        assert_eq!(places(&world, &alice, &good).await, [1, 1, 1]);
        assert_failures(&world, whys).await;
    }
}

/// Asserts the record's failures by the ends of their messages, ordered by kind and name.
async fn assert_failures(world: &World, whys: &[&str]) {
    let mut failures = failures(world).await;
    failures.sort();
    let fits = failures.len() == whys.len() && failures.iter().zip(whys).all(|(failure, why)| failure.ends_with(why));
    assert!(fits, "the record has the failures {failures:#?}, not {whys:#?}");
}

#[tokio::test]
async fn existing_organization_keeps_budget_and_all_values() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    by_hand(
        &world,
        r#"insert into public."LiteLLM_BudgetTable" (budget_id, max_budget, created_by, updated_by, updated_at)
           values ('by hand', 1, 'bob', 'bob', '2026-01-01')"#,
        &[],
    )
    .await;
    by_hand(
        &world,
        r#"insert into public."LiteLLM_OrganizationTable"
           (organization_id, organization_alias, budget_id, spend, created_by, updated_by, updated_at)
           values ($1, 'Its own name', 'by hand', 12, 'bob', 'bob', '2026-01-01')"#,
        &[&group],
    )
    .await;
    let before = versions(&world, &[BUDGET, ORGANIZATION]).await;
    let service = with_team_params(&world, true, PARAMS).await;
    world.sign_in(&service, alice).await;
    assert_eq!(versions(&world, &[BUDGET, ORGANIZATION]).await, before, "both are unchanged, and no other is created");
    assert_eq!(team(&world, &group).await["organization_id"], json!(group), "the team is created in it");
    assert_eq!(all(&world, ORGANIZATION_MEMBER).await[0]["organization_id"], json!(group));
}

#[tokio::test]
async fn organization_without_limits_gets_unlimited_budget() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    let (organizations, budgets) = (all(&world, ORGANIZATION).await, all(&world, BUDGET).await);
    assert_eq!(organizations[0]["budget_id"], budgets[0]["budget_id"]);
    let id = budgets[0]["budget_id"].as_str().unwrap();
    assert_eq!((id.len(), &id[14..15]), (36, "4"), "a random UUID like the proxy's: {id}");
    assert_no_orphans(&world).await;
}

#[tokio::test]
async fn rejected_user_row_rolls_back_whole_signin() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    define(
        &world,
        r#"alter table public."LiteLLM_UserTable" add constraint no_alice check (user_alias not like 'Alice%')"#,
    )
    .await;
    let service = with_team_params(&world, true, "team_member_budget: 3").await;
    let answer = world.try_sign_in(&service, alice).await;
    assert!(answer.status.is_server_error(), "{answer:#?}");
    for table in [BUDGET, ORGANIZATION, TEAM, USER] {
        assert_eq!(all(&world, table).await, [] as [Value; 0], "what the transaction wrote to {table} is rolled back");
    }
    assert_eq!(world.sessions_and_runs().await, (0, 0));
}
