//! Malformed rows, as left in a database by years of use.

use serde_json::{Value, json};

use super::support::{
    ORGANIZATION, TEAM, USER, WRITTEN, all, assigned, by_hand, define, failures, person, places, plain, team,
    team_by_hand, user, user_by_hand, versions, world,
};

#[tokio::test]
async fn team_id_differing_in_case_is_another_team() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let upper = group.to_string().to_uppercase();
    team_by_hand(&world, &upper, "", "").await;
    user_by_hand(&world, &alice, ", teams", &format!(", array['{upper}']")).await;
    let before = team(&world, &upper).await;
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    assert_eq!(team(&world, &upper).await, before, "ids are texts to the proxy");
    assert_eq!(places(&world, &alice, &group).await, [1, 1, 1]);
    assert_eq!(user(&world, &alice).await["teams"], json!([upper, group]));
}

#[tokio::test]
async fn team_with_missing_organization_is_joined_unchanged() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    // Some databases were created without foreign keys.
    define(
        &world,
        r#"alter table public."LiteLLM_TeamTable" drop constraint "LiteLLM_TeamTable_organization_id_fkey""#,
    )
    .await;
    team_by_hand(&world, &group, ", organization_id", ", 'deleted long ago'").await;
    let service = plain(&world, true).await;
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(team(&world, &group).await["organization_id"], "deleted long ago");
    assert_eq!(places(&world, &alice, &group).await, [1, 1, 1]);
    assert_eq!(all(&world, ORGANIZATION).await.len(), 1, "the group's own organization is created beside it");
    assert_eq!(browser.me(&service).await.json()["teams"][0]["organization_id"], "deleted long ago");
    let before = versions(&world, &WRITTEN).await;
    world.sign_in(&service, alice).await;
    assert_eq!(versions(&world, &WRITTEN).await, before);
}

#[tokio::test]
async fn signin_handles_huge_metadata_and_team_lists() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let metadata = json!({ "notes": "x".repeat(4_000_000) });
    team_by_hand(&world, &group, "", "").await;
    by_hand(
        &world,
        r#"update public."LiteLLM_TeamTable" set metadata = $2::jsonb where team_id = $1"#,
        &[&group, &metadata],
    )
    .await;
    let teams = ", (select array_agg('team ' || n) from generate_series(1, 50000) n)";
    user_by_hand(&world, &alice, ", teams", teams).await;
    let service = plain(&world, true).await;
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(team(&world, &group).await["metadata"], metadata);
    let teams = user(&world, &alice).await["teams"].as_array().unwrap().clone();
    assert_eq!((teams.len(), &teams[50_000]), (50_001, &json!(group)));
    assert_eq!(browser.me(&service).await.json()["teams"].as_array().unwrap().len(), 1, "missing teams");
}

#[tokio::test]
async fn organization_ids_with_special_characters_are_shown() {
    let world = world().await;
    let alice = person(&world, "Alice Arden", &[]);
    user_by_hand(&world, &alice, "", "").await;
    define(
        &world,
        r#"insert into public."LiteLLM_BudgetTable" (budget_id, created_by, updated_by, updated_at)
           values ('b', 'b', 'b', '2026-01-01');
           insert into public."LiteLLM_OrganizationTable"
           (organization_id, organization_alias, budget_id, created_by, updated_by, updated_at)
           values (E'o''dd "id" \\ \n{}', '<b>&</b>', 'b', 'b', 'b', '2026-01-01'), ('', '', 'b', 'b', 'b', '2026-01-01')"#,
    )
    .await;
    by_hand(
        &world,
        r#"insert into public."LiteLLM_OrganizationMembership" (user_id, organization_id, user_role, updated_at)
           select $1, organization_id, case organization_id when '' then null else 'org_admin' end, '2026-01-01'
           from public."LiteLLM_OrganizationTable""#,
        &[&alice],
    )
    .await;
    let service = plain(&world, true).await;
    let mut browser = world.sign_in(&service, alice).await;
    let me = browser.me(&service).await.json();
    let roles: Vec<(&Value, &Value)> = me["organizations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (&one["organization_id"], &one["user_role"]))
        .collect();
    assert_eq!(roles, [(&json!(""), &Value::Null), (&json!("o'dd \"id\" \\ \n{}"), &json!("org_admin"))]);
    let page = browser.get(service.at("/")).await;
    assert_eq!(page.status, 200, "models that are null: {page:#?}");
    assert!(!page.body.contains("<b>&</b>"), "a name is text, not markup");
    let link = "<a href=\"/organizations/o%27dd%20%22id%22%20%5C%20%0A%7B%7D\">&#60;b&#62;&#38;&#60;/b&#62;</a>";
    assert!(page.body.contains(link), "{}", page.body);
    for (path, list) in [("organizations", "organizations"), ("people", "people")] {
        let page = browser.get(service.at(&format!("/{path}"))).await;
        assert_eq!(page.status, 200, "/{path}: {page:#?}");
        let all = browser.get_json(service.at(&format!("/api/{path}"))).await.json();
        assert!(all[list].as_array().unwrap().iter().all(|row| row["models"] == json!([])), "null is empty: {all:#}");
    }
    let own = browser.get(service.at("/organizations/o%27dd%20%22id%22%20%5C%20%0A%7B%7D")).await;
    assert_eq!(own.status, 200, "an organization with an unusual ID has its own page: {own:#?}");
    assert!(own.body.contains("<dd>all models</dd>"), "{}", own.body);
}

#[tokio::test]
async fn user_row_with_empty_or_uppercase_key_is_not_matched() {
    let world = world().await;
    let alice = person(&world, "Alice Arden", &[]);
    user_by_hand(&world, &alice.to_string().to_uppercase(), "", "").await;
    user_by_hand(&world, &"", ", sso_user_id", ", ''").await;
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    assert_eq!(all(&world, USER).await.len(), 3, "she gets her own row");
}

#[tokio::test]
async fn duplicate_team_name_fails_only_that_group() {
    let world = world().await;
    let [one, two, other] = assigned(&world, ["Twin", "Twin", "Other"]);
    let alice = person(&world, "Alice Arden", &[one, two, other]);
    define(&world, r#"create unique index one_name on public."LiteLLM_TeamTable" (team_alias)"#).await;
    let service = plain(&world, false).await;
    world.sign_in(&service, alice).await;
    assert_eq!(all(&world, TEAM).await.len(), 2);
    assert_eq!(places(&world, &alice, &other).await, [1, 1, 1]);
    let why = "team/Twin/23505: duplicate key value violates unique constraint \"one_name\"";
    assert_eq!(failures(&world).await, [why]);
}

#[tokio::test]
async fn custom_database_settings_do_not_affect_signin() {
    let world = world().await;
    for setting in [
        "search_path = nowhere",
        "datestyle = 'German'",
        "intervalstyle = 'sql_standard'",
        "timezone = 'Asia/Kolkata'",
        "extra_float_digits = -15",
        "quote_all_identifiers = on",
        "standard_conforming_strings = off",
        "array_nulls = off",
        "transform_null_equals = on",
        "default_transaction_isolation = 'serializable'",
        "row_security = off",
        "client_encoding = 'LATIN1'",
        "bytea_output = 'escape'",
    ] {
        define(&world, &format!("alter database {} set {setting}", world.database_name)).await;
    }
    define(&world, "drop schema entraway cascade; create schema entraway authorization entraway").await;
    let [group] = assigned(&world, ["Ewäls 評価 '\\ \""]);
    let alice = person(&world, "Alice Arden", &[group]);
    let params = "max_budget: 0.30000000000000004, budget_duration: 30d, team_member_budget: 1";
    let service = super::support::with_team_params(&world, true, params).await;
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(places(&world, &alice, &group).await, [1, 1, 1]);
    let sql = r#"select jsonb_build_array(max_budget = 0.30000000000000004, team_alias, budget_reset_at > created_at,
                        budget_reset_at = date_trunc('month', budget_reset_at),
                        now() at time zone 'UTC' - created_at between interval '0' and interval '1 minute')
                 from public."LiteLLM_TeamTable""#;
    let expected = json!([true, "Ewäls 評価 '\\ \"", true, true, true]);
    assert_eq!(super::support::json(&world, sql, &[]).await, expected);
    assert_eq!(browser.me(&service).await.json()["teams"][0]["team_alias"], expected[1]);
    let before = versions(&world, &WRITTEN).await;
    world.sign_in(&service, alice).await;
    assert_eq!(versions(&world, &WRITTEN).await, before);
    let sql = "select to_jsonb(count(*)) from pg_class c join pg_namespace n on n.oid = relnamespace
               where relname like '%sqlx%' and nspname <> 'entraway'";
    assert_eq!(super::support::json(&world, sql, &[]).await, 0, "the list of our migrations is in our schema");
}

#[tokio::test]
async fn team_without_name_is_shown_by_its_id() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    team_by_hand(&world, &group, "", "").await;
    by_hand(&world, r#"update public."LiteLLM_TeamTable" set team_alias = null where team_id = $1"#, &[&group]).await;
    let service = plain(&world, false).await;
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(team(&world, &group).await["team_alias"], Value::Null, "nothing is renamed");
    assert_eq!(browser.me(&service).await.json()["teams"][0]["team_alias"], json!(group));
}

#[tokio::test]
async fn manually_deleted_team_and_organization_are_recreated() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    // Leftover memberships make no difference.
    by_hand(&world, r#"delete from public."LiteLLM_TeamTable" where team_id = $1"#, &[&group]).await;
    world.sign_in(&service, alice).await;
    assert_eq!(places(&world, &alice, &group).await, [1, 1, 1], "the team");
    by_hand(&world, r#"delete from public."LiteLLM_OrganizationMembership" where user_id = $1"#, &[&alice]).await;
    by_hand(&world, r#"delete from public."LiteLLM_OrganizationTable" where organization_id = $1"#, &[&group]).await;
    let mut browser = world.sign_in(&service, alice).await;
    let me = browser.me(&service).await.json();
    assert_eq!(me["organizations"][0]["organization_id"], json!(group), "{me:#}");
    assert_eq!(me["teams"][0]["organization_id"], Value::Null, "a team that lost its organization is not re-scoped");
}
