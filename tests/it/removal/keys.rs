//! Keys in a LiteLLM database: blocked when their user is removed from the team, restored when the user returns.

use entra_simulator::{GroupId, ObjectId};
use entraway::policy::{KeysOnRemoval, MembershipSync};
use serde_json::{Value, json};

use super::{assigned, enter, leave, person, world};
use crate::support::sql_fixtures::PUT_IN_TEAM;
use crate::support::{LiteLlm, World};

/// Creates a key, as the proxy does.
async fn key(world: &World, token: &str, user: Option<ObjectId>, team: Option<GroupId>, blocked: Option<bool>) {
    let sql = r#"insert into public."LiteLLM_VerificationToken" (token, user_id, team_id, blocked, metadata, models)
                 values ($1, $2, $3, $4, '{"tags": ["a"]}', '{}')"#;
    sqlx::query(sql)
        .bind(token)
        .bind(user.map(|id| id.to_string()))
        .bind(team.map(|id| id.to_string()))
        .bind(blocked)
        .execute(&world.pool)
        .await
        .unwrap();
}

/// Whether each key is blocked, and the keys of its metadata.
async fn keys(world: &World) -> Value {
    let sql = r#"select jsonb_object_agg(token, jsonb_build_array(blocked, (select jsonb_agg(name order by name)
                     from jsonb_object_keys(metadata) name)))
                 from public."LiteLLM_VerificationToken""#;
    super::json(world, sql).await
}

#[tokio::test]
async fn keys_of_the_team_are_blocked_and_restored() {
    let world = world(LiteLlm).await;
    let [left, kept] = assigned(&world, ["Left", "Kept"]);
    let alice = person(&world, "Alice Arden", &[left, kept]);
    let bob = person(&world, "Bob Brook", &[left]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.sign_in(&service, bob).await;
    key(&world, "of-alice", Some(alice), Some(left), None).await;
    key(&world, "of-alice-unblocked", Some(alice), Some(left), Some(false)).await;
    key(&world, "of-alice-blocked-by-hand", Some(alice), Some(left), Some(true)).await;
    key(&world, "of-alice-elsewhere", Some(alice), Some(kept), None).await;
    key(&world, "of-alice-without-team", Some(alice), None, None).await;
    key(&world, "of-bob", Some(bob), Some(left), None).await;
    key(&world, "of-the-team", None, Some(left), None).await;
    // The owner of a key may be able to write its metadata, so the mark alone restores no key.
    let forged = r#"update public."LiteLLM_VerificationToken" set metadata = '{"entraway_blocked": {}}'
                    where token = 'of-alice-blocked-by-hand'"#;
    sqlx::raw_sql(forged).execute(&world.pool).await.unwrap();
    let before = keys(&world).await;
    leave(&world, alice, left);

    world.sign_in(&service, alice).await;
    let marked = json!([true, ["entraway_blocked", "tags"]]);
    let mut expected = before.clone();
    expected["of-alice"] = marked.clone();
    expected["of-alice-unblocked"] = marked;
    assert_eq!(keys(&world).await, expected);
    assert_eq!(world.last_run_of(alice).await["keys_blocked"], 2);

    enter(&world, alice, left);
    world.sign_in(&service, alice).await;
    let mut expected = before;
    expected["of-alice"][0] = json!(false);
    assert_eq!(keys(&world).await, expected, "keys that were blocked by hand stay blocked");

    let versions = world.versions().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.versions().await, versions, "keys are restored once");
}

#[tokio::test]
async fn keys_stay_valid_with_keep() {
    let world = world(LiteLlm).await;
    sqlx::raw_sql(r#"revoke all on public."LiteLLM_VerificationToken" from entraway"#)
        .execute(&world.pool)
        .await
        .unwrap();
    let revoke = r#"revoke select (token, user_id, team_id, blocked, metadata), update (blocked, metadata, updated_at)
                    on public."LiteLLM_VerificationToken" from entraway"#;
    sqlx::raw_sql(revoke).execute(&world.pool).await.unwrap();
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service_with(|config| config.policy.keys_on_removal = KeysOnRemoval::Keep).await;
    world.sign_in(&service, alice).await;
    key(&world, "of-alice", Some(alice), Some(group), None).await;
    let before = keys(&world).await;
    leave(&world, alice, group);
    world.sign_in(&service, alice).await;
    assert_eq!(keys(&world).await, before);
    assert_eq!(world.rows().await.teams_of(alice), [""; 0], "rights to keys are not necessary");
}

#[tokio::test]
async fn key_with_unusual_metadata_is_blocked_and_restored() {
    let world = world(LiteLlm).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    key(&world, "k", Some(alice), Some(group), None).await;
    for metadata in ["null", "[]", "\"text\""] {
        let sql = r#"update public."LiteLLM_VerificationToken" set metadata = $1::jsonb"#;
        sqlx::query(sql).bind(metadata).execute(&world.pool).await.unwrap();
        leave(&world, alice, group);
        world.sign_in(&service, alice).await;
        assert_eq!(keys(&world).await["k"], json!([true, ["entraway_blocked"]]), "{metadata}");
        enter(&world, alice, group);
        world.sign_in(&service, alice).await;
        assert_eq!(keys(&world).await["k"][0], false, "{metadata}");
    }
}

/// A sign-in restores keys with any settings, also if an administrator added the user by hand.
#[tokio::test]
async fn keys_are_restored_after_settings_changed() {
    let world = world(LiteLlm).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    let other = world
        .service_with(|config| {
            config.policy.memberships = MembershipSync::Additive;
            config.policy.keys_on_removal = KeysOnRemoval::Keep;
        })
        .await;
    world.sign_in(&service, alice).await;
    key(&world, "k", Some(alice), Some(group), None).await;
    for by_hand in [false, true] {
        leave(&world, alice, group);
        world.sign_in(&service, alice).await;
        assert_eq!(keys(&world).await["k"][0], true);
        enter(&world, alice, group);
        if by_hand {
            world.by_hand(PUT_IN_TEAM, &[&alice, &group, &"user"]).await;
        }
        world.sign_in(&other, alice).await;
        assert_eq!(keys(&world).await["k"], json!([false, ["tags"]]), "added by hand: {by_hand}");
        if by_hand {
            break;
        }
    }
}

/// A sign-in succeeds although the grants were revoked after the removal. The keys are restored when they are back.
#[tokio::test]
async fn revoked_grants_fail_no_signin_of_returned_user() {
    let world = world(LiteLlm).await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    key(&world, "k", Some(alice), Some(group), None).await;
    leave(&world, alice, group);
    world.sign_in(&service, alice).await;
    let revoke = r#"revoke delete on public."LiteLLM_TeamMembership", public."LiteLLM_OrganizationMembership" from entraway;
        revoke select (token, user_id, team_id, blocked, metadata), update (blocked, metadata, updated_at)
            on public."LiteLLM_VerificationToken" from entraway"#;
    sqlx::raw_sql(revoke).execute(&world.pool).await.unwrap();
    enter(&world, alice, group);
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), [group.to_string()]);
    assert_eq!(world.last_run().await["notes"], json!([{ "note": "keys_stay_blocked", "team": group }]));
    world.grant_removal().await;
    world.sign_in(&service, alice).await;
    assert_eq!(keys(&world).await["k"][0], false);
}
