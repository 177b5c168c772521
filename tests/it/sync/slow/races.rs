//! Rows are deleted with psql during a sign-in: it succeeds, and missing rows are created again.
//!
//! Each test holds the sign-in at a lock, so that the deletion falls exactly between two of its steps.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use entra_simulator::{GroupId, ObjectId};
use rstest::rstest;
use serde_json::json;
use sqlx::{AssertSqlSafe, PgTransaction};
use tokio::task::JoinSet;

use crate::support::sql_fixtures::{
    DELETE_ORGANIZATION, DELETE_SOME_ORGANIZATIONS, DELETE_SOME_TEAMS, DELETE_SOME_TEAMS_AND_ORGANIZATIONS,
    DELETE_TEAM, DELETE_USER, Deed, MAKE_USER, PUT_IN_TEAM, TAKE_OUT_OF_TEAM,
};
use crate::support::{Answer, Browser, LiteLlm, Native, Service, StoreKind, World};
use crate::sync::support::{assigned, give_roles, ids, many_assigned, organization_by_hand, person, until_it_waits};

/// Signs the user in while `transaction` holds a lock that the sign-in needs. Runs `meanwhile` in it before the commit.
async fn held(
    world: &World,
    service: &Service,
    person: ObjectId,
    mut transaction: PgTransaction<'_>,
    meanwhile: &[(Deed, &[&dyn ToString])],
) -> Answer {
    let mut browser = Browser::new();
    let entra = browser.begin(service).await;
    let callback = browser.pick(&world.simulator, service, &entra, person).await;
    let sign_in = tokio::spawn(async move { browser.get(callback).await });
    until_it_waits(world).await;
    for (deed, values) in meanwhile {
        world.by_hand_on(&mut *transaction, *deed, values).await;
    }
    transaction.commit().await.unwrap();
    sign_in.await.unwrap()
}

/// A transaction in which a statement was executed.
async fn transaction(world: &World, deed: impl Into<Deed>, id: &dyn ToString) -> PgTransaction<'static> {
    let mut transaction = world.pool.begin().await.unwrap();
    world.by_hand_on(&mut *transaction, deed, &[id]).await;
    transaction
}

const PERSONS_LOCK: &str = "select pg_advisory_xact_lock(hashtext('entraway.person'), hashtext($1))";

/// A group whose organization and team exist, because Bob signed in, and Alice, who has not signed in yet.
async fn scene(store: StoreKind) -> (World, Service, GroupId, ObjectId) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let (alice, bob) = (person(&world, "Alice Arden", &[group]), person(&world, "Bob Birch", &[]));
    let service = world.service().await;
    world.sign_in(&service, bob).await;
    (world, service, group, alice)
}

async fn assert_whole(world: &World, group: GroupId, alice: ObjectId) {
    let rows = world.rows().await;
    assert_eq!(rows.teams[&group.to_string()]["team_alias"], "Research");
    assert_eq!(rows.teams_of(alice), ids(&[group]));
    assert_eq!(rows.organizations_of(alice), ids(&[group]));
    assert_eq!(world.last_run().await["failures"], json!([]));
}

#[rstest]
#[tokio::test]
async fn rows_deleted_before_the_lock_are_recreated(#[values(Native, LiteLlm)] store: StoreKind) {
    let (world, service, group, alice) = scene(store).await;
    let lock = transaction(&world, PERSONS_LOCK, &alice).await;
    let answer =
        held(&world, &service, alice, lock, &[(DELETE_TEAM, &[&group]), (DELETE_ORGANIZATION, &[&group])]).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    assert_whole(&world, group, alice).await;
    let run = world.last_run().await;
    assert_eq!((&run["teams_created"], &run["organizations_created"]), (&json!([group]), &json!([group])));
}

#[rstest]
#[tokio::test]
async fn team_deleted_during_membership_write_is_recreated(#[values(Native, LiteLlm)] store: StoreKind) {
    let (world, service, group, alice) = scene(store).await;
    let deletion = transaction(&world, DELETE_TEAM, &group).await;
    let answer = held(&world, &service, alice, deletion, &[]).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    assert_whole(&world, group, alice).await;
}

#[rstest]
#[tokio::test]
async fn organization_deleted_during_membership_write_is_recreated(#[values(Native, LiteLlm)] store: StoreKind) {
    let (world, service, group, alice) = scene(store).await;
    let deletion = transaction(&world, DELETE_ORGANIZATION, &group).await;
    let answer = held(&world, &service, alice, deletion, &[]).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    assert_whole(&world, group, alice).await;
}

#[rstest]
#[tokio::test]
async fn organization_deleted_during_team_creation_is_recreated(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    organization_by_hand(&world, &group, "Research").await;
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    let deletion = transaction(&world, DELETE_ORGANIZATION, &group).await;
    let answer = held(&world, &service, alice, deletion, &[]).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    assert_whole(&world, group, alice).await;
}

#[rstest]
#[tokio::test]
async fn user_deleted_during_membership_write_is_recreated(#[values(Native, LiteLlm)] store: StoreKind) {
    let (world, service, group, alice) = scene(store).await;
    world.sign_in(&service, alice).await;
    world.by_hand(TAKE_OUT_OF_TEAM, &[&alice, &group]).await;
    let deletion = transaction(&world, DELETE_USER, &alice).await;
    let answer = held(&world, &service, alice, deletion, &[]).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    assert_whole(&world, group, alice).await;
    assert!(world.rows().await.users.contains_key(&alice.to_string()));
}

#[rstest]
#[tokio::test]
async fn manual_membership_created_concurrently_is_kept(#[values(Native, LiteLlm)] store: StoreKind) {
    let (world, service, group, alice) = scene(store).await;
    let mut lock = transaction(&world, PERSONS_LOCK, &alice).await;
    let tenant = world.simulator.edit(|directory| directory.tenant_id);
    let address = "alice.arden@contoso-sim.example";
    world.by_hand_on(&mut *lock, MAKE_USER, &[&alice, &tenant, &"proxy_admin", &address]).await;
    let answer = held(&world, &service, alice, lock, &[(PUT_IN_TEAM, &[&alice, &group, &"admin"])]).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    let rows = world.rows().await;
    let member = &rows.team_members[&format!("{alice}/{group}")];
    assert_eq!((&member["role"], &member["source"]), (&json!("admin"), &json!("manual")));
    assert_eq!(rows.users[&alice.to_string()]["user_role"], "proxy_admin");
    assert_eq!(rows.organizations_of(alice), ids(&[group]), "missing rows are created");
}

/// The record reports rows that were left alone when rows were written, not what was read before the locks.
#[rstest]
#[tokio::test]
async fn manual_change_during_sync_is_noted_in_record(#[values(Native, LiteLlm)] store: StoreKind) {
    let (world, service, group, alice) = scene(store).await;
    give_roles(&world, alice, &["org_admin"]);
    world.sign_in(&service, alice).await;
    give_roles(&world, alice, &[]);
    let lock = transaction(&world, PERSONS_LOCK, &alice).await;
    let by_hand = Deed::from("update {users} set user_role = 'proxy_admin' where user_id = $1");
    let answer = held(&world, &service, alice, lock, &[(by_hand, &[&alice])]).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    assert_whole(&world, group, alice).await;
    assert_eq!(world.rows().await.users[&alice.to_string()]["user_role"], "proxy_admin", "the scene");
    assert_eq!(
        world.last_run().await["notes"],
        json!([{ "note": "role_set_by_hand_stays" }]),
        "the notes of the plan that was written: src/db/apply.rs"
    );
}

/// Deletes about half of all teams and organizations, three times. A sign-in can lose at most three races to it.
async fn vandalize(pool: sqlx::PgPool, deeds: [String; 3], gives_way: &'static [&'static str]) {
    for sql in deeds {
        tokio::time::sleep(Duration::from_millis(15)).await;
        if let Err(error) = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await {
            let code = error.as_database_error().and_then(|error| error.code().map(Cow::into_owned));
            assert!(code.is_some_and(|code| gives_way.contains(&&*code)), "{error}");
        }
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn signins_succeed_while_rows_are_deleted_at_random(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let groups = many_assigned(&world, 8);
    let people: Vec<ObjectId> = (0..16).map(|n| person(&world, &format!("Person {n}"), &groups)).collect();
    let service = Arc::new(world.service().await);
    for round in 1..=4 {
        let deeds = [DELETE_SOME_TEAMS, DELETE_SOME_ORGANIZATIONS, DELETE_SOME_TEAMS_AND_ORGANIZATIONS];
        let deeds = deeds.map(|deed| world.statement(deed));
        // In a deadlock with a sign-in, Postgres may cancel this transaction.
        let gives_way: &[&str] = match store {
            Native => &["40P01"],
            // An organization is not deleted while a user is being added: the foreign keys do not cascade.
            LiteLlm => &["40P01", "23001", "23503"],
        };
        let vandal = tokio::spawn(vandalize(world.pool.clone(), deeds, gives_way));
        let mut tasks = JoinSet::new();
        for person in people.iter().copied() {
            let (simulator, service) = (world.simulator.clone(), service.clone());
            tasks.spawn(async move { Browser::new().sign_in(&simulator, &service, person).await });
        }
        for answer in tasks.join_all().await {
            assert_eq!(answer.status, 303, "in round {round}: {answer:#?}");
        }
        vandal.await.unwrap();
    }

    for person in &people {
        world.sign_in(&service, *person).await;
    }
    let rows = world.rows().await;
    for person in &people {
        assert_eq!(rows.teams_of(*person), ids(&groups), "afterwards one sign-in repairs everything");
        assert_eq!(rows.organizations_of(*person), ids(&groups));
    }
}
