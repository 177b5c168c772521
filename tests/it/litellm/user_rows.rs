//! A user's row among those that the proxy and its administrators create: found by the object ID, never by an address.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{
    ALICE, USER, WRITTEN, all, assigned, by_hand, change, give_roles, person, places, plain, team, user, user_by_hand,
    user_version, versions, world,
};
use crate::support::World;

/// The stored bindings of users.
async fn remembered(world: &World) -> Value {
    let sql = "select jsonb_agg(jsonb_build_object('object_id', object_id, 'user_id', user_id,
                                                   'sso_user_role', sso_user_role) order by object_id)
               from entraway.litellm_users";
    super::support::json(world, sql, &[]).await
}

#[tokio::test]
async fn row_with_object_id_key_is_used_and_keeps_values() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let columns = ", user_email, user_alias, user_role, max_budget, spend, models, metadata, password";
    let values = format!(", '{ALICE}', 'Her own', 'internal_user', 77, 5, '{{gpt-4}}', '{{\"a\": 1}}', 'hash'");
    user_by_hand(&world, &alice, columns, &values).await;
    let mut before = user(&world, &alice).await;
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    let mut after = user(&world, &alice).await;
    assert_ne!(before["updated_at"], after["updated_at"], "her list of teams changed");
    before["teams"] = json!([group]);
    before["updated_at"] = Value::Null;
    after["updated_at"] = Value::Null;
    assert_eq!(after, before, "only the list of teams changes: default_internal_user_params does not apply to her");
    let expected = json!([{ "object_id": alice, "user_id": alice, "sso_user_role": null }]);
    assert_eq!(remembered(&world).await, expected, "the binding is stored");
    let versions_before = versions(&world, &WRITTEN).await;
    world.sign_in(&service, alice).await;
    assert_eq!(versions(&world, &WRITTEN).await, versions_before, "nothing is left to do");
}

#[tokio::test]
async fn row_with_object_id_as_sso_user_id_is_used_under_own_key() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let key = r#"o'Brien "x" %_\ ä"#;
    user_by_hand(&world, &key, ", sso_user_id", &format!(", '{alice}'")).await;
    let service = plain(&world, true).await;

    let mut browser = world.sign_in(&service, alice).await;

    let rows = all(&world, USER).await;
    assert_eq!(rows.len(), 1, "no second row is created: {rows:#?}");
    assert_eq!((&rows[0]["user_id"], &rows[0]["user_email"]), (&json!(key), &json!(ALICE)));
    assert_eq!(places(&world, &key, &group).await, [1, 1, 1], "memberships go to the row's key");
    assert_eq!(
        team(&world, &group).await["members_with_roles"],
        json!([{ "user_id": key, "user_email": ALICE, "role": "user" }])
    );
    let me = browser.me(&service).await.json();
    assert_eq!((&me["user"]["user_id"], &me["user"]["email"]), (&json!(key), &json!(ALICE)), "{me:#}");
    assert_eq!(
        (&me["teams"][0]["team_id"], &me["organizations"][0]["organization_id"]),
        (&json!(group), &json!(group))
    );
    assert_eq!(me["last_sync"]["teams_joined"], json!([group]), "the record is found by the object id: {me:#}");

    give_roles(&world, alice, &["org_admin"]);
    let mut browser = world.sign_in(&service, alice).await;
    let me = browser.me(&service).await.json();
    assert_eq!(me["user"]["user_role"], "org_admin");
    assert_eq!(me["organizations"][0]["user_role"], "org_admin", "the role in the organization follows: {me:#}");
    let before = versions(&world, &WRITTEN).await;
    world.sign_in(&service, alice).await;
    assert_eq!(versions(&world, &WRITTEN).await, before, "nothing is left to do");
}

#[tokio::test]
async fn row_with_object_id_key_wins_over_sso_user_id() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    user_by_hand(&world, &"another key", ", sso_user_id", &format!(", '{alice}'")).await;
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    assert_eq!(places(&world, &"another key", &group).await, [1, 1, 1], "while there is no other row");

    user_by_hand(&world, &alice, "", "").await;
    let before = user_version(&world, &"another key").await;
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(user_version(&world, &"another key").await, before, "the other row is unchanged");
    assert_eq!(places(&world, &alice, &group).await, [1, 1, 1]);
    let me = browser.me(&service).await.json();
    assert_eq!(me["user"]["user_id"], json!(alice), "{me:#}");
    assert_eq!(remembered(&world).await[0]["user_id"], json!(alice));
}

#[tokio::test]
async fn row_with_same_email_is_left_alone() {
    for (local, address) in [
        ("alice", "alice@contoso-sim.example"),
        ("Alice", "ALICE@Contoso-SIM.example"),
        ("a_l%e", "a_l%e@contoso-sim.example"),
        ("A_L%E", "a_L%e@contoso-sim.EXAMPLE"),
        ("o'b+r", "O'B+R@contoso-sim.example"),
    ] {
        let world = world().await;
        let [group] = assigned(&world, ["Evals"]);
        let alice = person(&world, "Alice Arden", &[group]);
        change(&world, alice, |person| person.upn = format!("{local}@contoso-sim.example"));
        user_by_hand(&world, &"bob", ", user_email, user_role", ", 'x', 'proxy_admin'").await;
        by_hand(&world, r#"update public."LiteLLM_UserTable" set user_email = $1 where user_id = 'bob'"#, &[&address])
            .await;
        let before = user_version(&world, &"bob").await;
        let service = plain(&world, true).await;

        let mut browser = world.sign_in(&service, alice).await;

        assert_eq!(user_version(&world, &"bob").await, before, "the row with {address}");
        let own = user(&world, &alice).await;
        assert_eq!(own["user_role"], "internal_user_viewer", "{address} does not inherit an administrator's role");
        assert_eq!(places(&world, &alice, &group).await, [1, 1, 1]);
        assert_eq!(browser.me(&service).await.json()["user"]["user_role"], "internal_user_viewer");
        let run = world.last_run().await;
        assert_eq!(
            run["notes"],
            json!([{ "note": "same_email", "own": alice, "user_ids": ["bob"] }]),
            "the record reports {address}"
        );
        assert!(!run.to_string().contains('@'), "the record names no address: {run:#}");
    }
}

#[tokio::test]
async fn sync_record_names_at_most_five_rows_with_same_email() {
    let world = world().await;
    let alice = person(&world, "Alice Arden", &[]);
    for number in 1..=7 {
        user_by_hand(&world, &format!("row {number}"), ", user_email", &format!(", '{ALICE}'")).await;
    }
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    let five = ["row 1", "row 2", "row 3", "row 4", "row 5"];
    assert_eq!(
        world.last_run().await["notes"],
        json!([{ "note": "same_email", "own": alice, "user_ids": five }]),
        "src/db/litellm.rs, read: five of the seven"
    );
}

#[tokio::test]
async fn email_with_wildcards_matches_literally() {
    let world = world().await;
    let alice = person(&world, "Alice Arden", &[]);
    change(&world, alice, |person| "a_%@contoso-sim.example".clone_into(&mut person.upn));
    user_by_hand(&world, &"bob", ", user_email", ", 'abc@contoso-sim.example'").await;
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.last_run().await["notes"], json!([]));
}

#[tokio::test]
async fn litellm_email_follows_entra_and_is_never_cleared() {
    let world = world().await;
    let alice = person(&world, "Alice Arden", &[]);
    let service = plain(&world, true).await;
    world.sign_in(&service, alice).await;
    change(&world, alice, |person| "Alice.Birch@Contoso-SIM.example".clone_into(&mut person.upn));
    world.sign_in(&service, alice).await;
    assert_eq!(user(&world, &alice).await["user_email"], "alice.birch@contoso-sim.example");
    change(&world, alice, |person| {
        person.email = None;
        "none".clone_into(&mut person.upn);
    });
    let before = versions(&world, &[USER]).await;
    world.sign_in(&service, alice).await;
    assert_eq!(versions(&world, &[USER]).await, before, "an address that Entra no longer reports is kept");
}

#[tokio::test]
async fn blank_alias_is_filled_and_existing_alias_kept() {
    let world = world().await;
    let service = plain(&world, true).await;
    for (alias, expected) in
        [("null", "Alice Arden"), ("''", "Alice Arden"), ("' \t '", "Alice Arden"), ("'Her own'", "Her own")]
    {
        let alice = person(&world, "Alice Arden", &[]);
        user_by_hand(&world, &alice, ", user_alias", &format!(", {alias}")).await;
        world.sign_in(&service, alice).await;
        assert_eq!(user(&world, &alice).await["user_alias"], expected, "after {alias}");
    }
}

#[tokio::test]
async fn same_object_id_in_another_tenant_is_denied() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = plain(&world, true).await;
    user_by_hand(&world, &alice, "", "").await;
    let sql = "insert into entraway.litellm_users (object_id, tenant_id, user_id) values ($1, $2::uuid, $1)";
    by_hand(&world, sql, &[&alice, &Uuid::new_v4()]).await;
    let before = versions(&world, &WRITTEN).await;
    for deleted in [false, true] {
        if deleted {
            by_hand(&world, r#"delete from public."LiteLLM_UserTable" where user_id = $1"#, &[&alice]).await;
        }
        let answer = world.try_sign_in(&service, alice).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (403, "other_tenant".to_owned()), "{answer:#?}");
        let refusals = vec!["other_tenant"; 1 + usize::from(deleted)];
        assert_eq!(world.refusals().await, refusals, "the row is deleted: {deleted}");
        let records = i64::try_from(refusals.len()).unwrap();
        assert_eq!(world.sessions_and_runs().await, (0, records), "no session; the row is deleted: {deleted}");
        assert_eq!(world.readings().await, BTreeMap::new(), "another user's groups are not stored as hers");
        if !deleted {
            assert_eq!(versions(&world, &WRITTEN).await, before);
        }
    }
}

#[tokio::test]
async fn deleted_user_row_ends_session_and_is_recreated_at_signin() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    give_roles(&world, alice, &["org_admin"]);
    let service = plain(&world, true).await;
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(browser.me(&service).await.status, 200);
    // The proxy sometimes deletes a user without the membership table and the roster.
    by_hand(&world, r#"delete from public."LiteLLM_OrganizationMembership" where user_id = $1"#, &[&alice]).await;
    by_hand(&world, r#"delete from public."LiteLLM_UserTable" where user_id = $1"#, &[&alice]).await;
    assert_eq!(browser.me(&service).await.status, 401, "a user without a row is not signed in");

    give_roles(&world, alice, &[]);
    let mut browser = world.sign_in(&service, alice).await;
    let me = browser.me(&service).await.json();
    assert_eq!(me["user"]["user_role"], "internal_user_viewer", "nothing is left of the role: {me:#}");
    assert_eq!(me["organizations"][0]["user_role"], "internal_user_viewer", "{me:#}");
    assert_eq!(places(&world, &alice, &group).await, [1, 1, 1], "the partial membership is completed");
    assert_eq!(world.last_run().await["user_created"], true);
}
