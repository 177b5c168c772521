//! A team membership is in three columns: the team's roster, the user's own list, and the membership table. A partial
//! membership, as left by a crashed proxy or an administrator, is completed.

use serde_json::{Value, json};

use super::support::{
    ALICE, TEAM_MEMBER, WRITTEN, all, assigned, by_hand, person, places, plain, team, team_by_hand, user, user_by_hand,
    versions, world,
};

const IN_ROSTER: u8 = 1;
const IN_OWN_LIST: u8 = 2;
const IN_TABLE: u8 = 4;

#[tokio::test]
async fn partial_membership_is_completed_without_duplicates() {
    let world = world().await;
    let service = plain(&world, false).await;
    for half in 0..=(IN_ROSTER | IN_OWN_LIST | IN_TABLE) {
        let [group] = assigned(&world, ["Half"]);
        let alice = person(&world, "Alice Arden", &[group]);
        let roster = json!([{ "user_id": alice, "user_email": ALICE, "role": "user" }]).to_string();
        let roster = if half & IN_ROSTER == 0 { "[]" } else { &roster };
        team_by_hand(&world, &group, "", "").await;
        by_hand(
            &world,
            &format!(r#"update public."LiteLLM_TeamTable" set members_with_roles = '{roster}' where team_id = $1"#),
            &[&group],
        )
        .await;
        let own = if half & IN_OWN_LIST == 0 { String::new() } else { group.to_string() };
        user_by_hand(&world, &alice, ", teams", &format!(", array_remove(array['{own}'], '')")).await;
        if half & IN_TABLE != 0 {
            let sql = r#"insert into public."LiteLLM_TeamMembership" (user_id, team_id, spend) values ($1, $2, 7)"#;
            by_hand(&world, sql, &[&alice, &group]).await;
        }
        let was = places(&world, &alice, &group).await;
        assert_eq!(was.iter().sum::<i64>(), i64::from(half.count_ones()), "the scene of {half:#05b}");

        world.sign_in(&service, alice).await;

        assert_eq!(places(&world, &alice, &group).await, [1, 1, 1], "roster, own list, table, after {was:?}");
        let joined = &world.last_run().await["teams_joined"];
        let expected = if was == [1, 1, 1] { json!([]) } else { json!([group]) };
        assert_eq!(*joined, expected, "the record, after {was:?}");
        if half & IN_TABLE != 0 {
            let sql = r#"select to_jsonb(spend) from public."LiteLLM_TeamMembership" where user_id = $1"#;
            assert_eq!(super::support::json(&world, sql, &[&alice]).await, json!(7), "the spend stays");
        }
        let before = versions(&world, &WRITTEN).await;
        world.sign_in(&service, alice).await;
        assert_eq!(versions(&world, &WRITTEN).await, before, "a repeated sign-in writes, after {was:?}");
    }
}

#[tokio::test]
async fn team_admin_keeps_role_when_membership_is_completed() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let roster = json!([{ "role": "admin", "user_id": alice, "user_email": null, "since": 2024 }]);
    team_by_hand(&world, &group, "", "").await;
    let sql = r#"update public."LiteLLM_TeamTable" set members_with_roles = $2::jsonb where team_id = $1"#;
    by_hand(&world, sql, &[&group, &roster]).await;
    let service = plain(&world, true).await;

    let mut browser = world.sign_in(&service, alice).await;

    assert_eq!(team(&world, &group).await["members_with_roles"], roster, "the roster is unchanged");
    assert_eq!(places(&world, &alice, &group).await, [1, 1, 1]);
    let me = browser.me(&service).await.json();
    assert_eq!(me["teams"][0]["role"], "admin", "the user's own page shows it: {me:#}");
}

#[tokio::test]
async fn roster_and_metadata_of_others_stay_byte_identical() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let others = r#"[{"role": "admin", "extra": {"ä": [1.50, null, "\\"]}, "user_id": "o'Brien \"x\"", "user_email": "B@c.example"},
        {"role": "user", "user_id": null, "user_email": "invited@c.example"}, {"role": "user", "user_id": 7}, {}, null, "text", 3]"#;
    let metadata =
        r#"{"guardrails": ["pii"], "n": 1.50, "big": 12345678901234567890123, "deep": {"a": [{"b": "\u00e4\n"}]}}"#;
    team_by_hand(&world, &group, "", "").await;
    let sql = r#"update public."LiteLLM_TeamTable" set members_with_roles = $2::jsonb, metadata = $3::jsonb where team_id = $1"#;
    by_hand(&world, sql, &[&group, &others, &metadata]).await;
    let before = texts(&world, &group).await;
    let service = plain(&world, true).await;

    world.sign_in(&service, alice).await;

    let after = texts(&world, &group).await;
    let added = format!(r#", {{"role": "user", "user_id": "{alice}", "user_email": "{ALICE}"}}]"#);
    assert_eq!(after[0], before[0].trim_end_matches(']').to_owned() + &added, "the roster, as text");
    assert_eq!(after[1], before[1], "the metadata, as text");
}

/// Roster and metadata as text.
async fn texts(world: &crate::support::World, group: &dyn ToString) -> [String; 2] {
    let sql = r#"select jsonb_build_array(members_with_roles::text, metadata::text)
                 from public."LiteLLM_TeamTable" where team_id = $1"#;
    serde_json::from_value(super::support::json(world, sql, &[group]).await).unwrap()
}

#[tokio::test]
async fn roster_entry_with_email_only_is_not_the_user() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let invited = json!({ "user_id": null, "user_email": ALICE, "role": "admin" });
    team_by_hand(&world, &group, "", "").await;
    let sql = r#"update public."LiteLLM_TeamTable" set members_with_roles = $2::jsonb where team_id = $1"#;
    by_hand(&world, sql, &[&group, &json!([invited])]).await;
    let service = plain(&world, false).await;

    let mut browser = world.sign_in(&service, alice).await;

    assert_eq!(
        team(&world, &group).await["members_with_roles"],
        json!([invited, { "user_id": alice, "user_email": ALICE, "role": "user" }]),
        "an address is no proof of identity"
    );
    assert_eq!(browser.me(&service).await.json()["teams"][0]["role"], "user", "and grants no role");
}

#[tokio::test]
async fn roster_entry_has_all_three_keys_without_email() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let no_mail = person(&world, "No Mail", &[group]);
    super::support::change(&world, no_mail, |person| {
        person.email = None;
        "not an address".clone_into(&mut person.upn);
    });
    let service = plain(&world, false).await;
    world.sign_in(&service, no_mail).await;
    assert_eq!(
        team(&world, &group).await["members_with_roles"],
        json!([{ "user_id": no_mail, "user_email": null, "role": "user" }])
    );
    assert_eq!(user(&world, &no_mail).await["user_email"], Value::Null);
}

#[tokio::test]
async fn memberships_not_given_by_entra_are_kept() {
    let world = world().await;
    let [group, left] = assigned(&world, ["Evals", "Left"]);
    let alice = person(&world, "Alice Arden", &[group, left]);
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    team_by_hand(&world, &"by hand", "", "").await;
    by_hand(
        &world,
        r#"update public."LiteLLM_UserTable" set teams = array['by hand'] || teams where user_id = $1"#,
        &[&alice],
    )
    .await;
    let members = all(&world, TEAM_MEMBER).await;
    world.simulator.edit(|directory| directory.take_out(alice, left));
    world.sign_in(&service, alice).await;
    assert_eq!(all(&world, TEAM_MEMBER).await, members);
    assert_eq!(places(&world, &alice, &left).await, [1, 1, 1], "a group that she is no longer in");
    assert_eq!(
        places(&world, &alice, &"by hand").await,
        [0, 1, 0],
        "a partial membership of a team that is no Entra group"
    );
}

#[tokio::test]
async fn left_team_loses_provenance_and_can_be_joined_again() {
    let world = world().await;
    let [group, other] = assigned(&world, ["Evals", "Other"]);
    let alice = person(&world, "Alice Arden", &[group, other]);
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    let given = async || {
        let sql = "select jsonb_agg(team_id order by team_id) from entraway.litellm_team_members where user_id = $1";
        super::support::json(&world, sql, &[&alice]).await
    };
    let mut both = [group.to_string(), other.to_string()];
    both.sort();
    assert_eq!(given().await, json!(both), "src/db/litellm/user.rs, gave_teams");

    world.simulator.edit(|directory| directory.take_out(alice, group));
    // The proxy removes a member from all three columns.
    for sql in [
        r#"update public."LiteLLM_TeamTable" set members_with_roles = '[]' where team_id = $1"#,
        r#"update public."LiteLLM_UserTable" set teams = array_remove(teams, $1)"#,
        r#"delete from public."LiteLLM_TeamMembership" where team_id = $1"#,
    ] {
        by_hand(&world, sql, &[&group]).await;
    }
    world.sign_in(&service, alice).await;
    assert_eq!(given().await, json!([other]), "if the membership is added again by hand, it is manual");
    let rename = async |address: &str| {
        super::support::change(&world, alice, |alice| address.clone_into(&mut alice.upn));
        world.sign_in(&service, alice).await;
    };
    assert_eq!(places(&world, &alice, &group).await, [0, 0, 0], "she is not added again");

    world.simulator.edit(|directory| directory.put(alice, group));
    rename("alice.again@contoso-sim.example").await;
    assert_eq!(
        places(&world, &alice, &group).await,
        [1, 1, 1],
        "a user who is in the group again is added to the team"
    );
    assert_eq!(world.last_run().await["teams_joined"], json!([group]));
    assert_eq!(given().await, json!(both), "it is stored once: src/db/litellm/user.rs, gave_teams");
}
