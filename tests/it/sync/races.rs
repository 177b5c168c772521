//! Somebody deletes rows with psql in the very moment of a sign-in: it succeeds, and what is missing is made again.
//!
//! Each test holds the sign-in at a lock, so that the deletion falls exactly between two of its steps.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use entraway::domain::{GroupId, ObjectId};
use serde_json::json;
use sqlx::PgTransaction;
use tokio::task::JoinSet;

use super::support::{assigned, by_hand, ids, many_assigned, organization_by_hand, person, run, until_it_waits};
use crate::support::{Answer, Browser, Service, World};

/// Signs the person in while `transaction` holds what the sign-in needs; `meanwhile` runs in it before it is committed.
async fn held(
    world: &World,
    service: &Service,
    person: ObjectId,
    mut transaction: PgTransaction<'_>,
    meanwhile: &[(&'static str, &dyn ToString)],
) -> Answer {
    let mut browser = Browser::new();
    let entra = browser.begin(service).await;
    let callback = browser.pick(&world.fake, service, &entra, person).await;
    let sign_in = tokio::spawn(async move { browser.get(callback).await });
    until_it_waits(world).await;
    for (sql, id) in meanwhile {
        run(&mut *transaction, sql, &[*id]).await;
    }
    transaction.commit().await.unwrap();
    sign_in.await.unwrap()
}

/// A transaction in which a statement was executed already.
async fn transaction(world: &World, sql: &'static str, id: &dyn ToString) -> PgTransaction<'static> {
    let mut transaction = world.pool.begin().await.unwrap();
    run(&mut *transaction, sql, &[id]).await;
    transaction
}

const PERSONS_LOCK: &str = "select pg_advisory_xact_lock(hashtext('entraway.person'), hashtext($1))";
const DELETE_TEAM: &str = "delete from entraway.teams where team_id = $1";
const DELETE_ORGANIZATION: &str = "delete from entraway.organizations where organization_id = $1";
const DELETE_USER: &str = "delete from entraway.users where user_id = $1";

/// A group whose organization and team exist, because Bob signed in, and Alice, who has not been here yet.
async fn scene() -> (World, Service, GroupId, ObjectId) {
    let world = World::new().await;
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

#[tokio::test]
async fn rows_that_go_between_the_first_look_and_the_lock_are_made_again() {
    let (world, service, group, alice) = scene().await;
    let lock = transaction(&world, PERSONS_LOCK, &alice).await;
    let answer = held(&world, &service, alice, lock, &[(DELETE_TEAM, &group), (DELETE_ORGANIZATION, &group)]).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    assert_whole(&world, group, alice).await;
    let run = world.last_run().await;
    assert_eq!((&run["teams_created"], &run["organizations_created"]), (&json!([group]), &json!([group])));
}

#[tokio::test]
async fn a_team_that_goes_while_its_membership_is_written_is_made_again() {
    let (world, service, group, alice) = scene().await;
    let deletion = transaction(&world, DELETE_TEAM, &group).await;
    let answer = held(&world, &service, alice, deletion, &[]).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    assert_whole(&world, group, alice).await;
}

#[tokio::test]
async fn an_organization_that_goes_while_its_membership_is_written_is_made_again() {
    let (world, service, group, alice) = scene().await;
    let deletion = transaction(&world, DELETE_ORGANIZATION, &group).await;
    let answer = held(&world, &service, alice, deletion, &[]).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    assert_whole(&world, group, alice).await;
}

#[tokio::test]
async fn an_organization_that_goes_while_its_team_is_made_is_made_again() {
    let world = World::new().await;
    let [group] = assigned(&world, ["Research"]);
    organization_by_hand(&world, &group, "Research").await;
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    let deletion = transaction(&world, DELETE_ORGANIZATION, &group).await;
    let answer = held(&world, &service, alice, deletion, &[]).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    assert_whole(&world, group, alice).await;
}

#[tokio::test]
async fn a_person_whose_row_goes_while_a_membership_is_written_is_made_again() {
    let (world, service, group, alice) = scene().await;
    world.sign_in(&service, alice).await;
    by_hand(&world, "delete from entraway.team_members where user_id = $1", &[&alice]).await;
    let deletion = transaction(&world, DELETE_USER, &alice).await;
    let answer = held(&world, &service, alice, deletion, &[]).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    assert_whole(&world, group, alice).await;
    assert!(world.rows().await.users.contains_key(&alice.to_string()));
}

#[tokio::test]
async fn a_membership_that_somebody_makes_by_hand_in_the_same_moment_is_theirs() {
    let (world, service, group, alice) = scene().await;
    let mut lock = transaction(&world, PERSONS_LOCK, &alice).await;
    let tenant = world.fake.edit(|directory| directory.tenant_id);
    run(
        &mut *lock,
        "insert into entraway.users (user_id, tenant_id, object_id, user_role) values ($1, $2::uuid, $1::uuid, 'proxy_admin')",
        &[&alice, &tenant],
    )
    .await;
    let sql = "insert into entraway.team_members (user_id, team_id, role)
               select $1, team_id, 'admin' from entraway.teams";
    let answer = held(&world, &service, alice, lock, &[(sql, &alice)]).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    let rows = world.rows().await;
    let member = &rows.team_members[&format!("{alice}/{group}")];
    assert_eq!((&member["role"], &member["source"]), (&json!("admin"), &json!("manual")));
    assert_eq!(rows.users[&alice.to_string()]["user_role"], "proxy_admin");
    assert_eq!(rows.organizations_of(alice), ids(&[group]), "and what was missing is written");
}

/// Deletes about half of all teams and organizations, three times; a sign-in can lose no more than three races to it.
async fn vandalize(pool: sqlx::PgPool) {
    for sql in [
        "delete from entraway.teams where random() < 0.5",
        "delete from entraway.organizations where random() < 0.5",
        "with organizations as (delete from entraway.organizations where random() < 0.5)
         delete from entraway.teams where random() < 0.5",
    ] {
        tokio::time::sleep(Duration::from_millis(15)).await;
        // Where it meets a sign-in in a deadlock, Postgres may choose it as the one that has to give way.
        if let Err(error) = sqlx::query(sql).execute(&pool).await {
            let code = error.as_database_error().and_then(|error| error.code().map(Cow::into_owned));
            assert_eq!(code.as_deref(), Some("40P01"), "{error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_somebody_deletes_teams_and_organizations_at_random_every_sign_in_succeeds() {
    let world = World::new().await;
    let groups = many_assigned(&world, 8);
    let people: Vec<ObjectId> = (0..16).map(|n| person(&world, &format!("Person {n}"), &groups)).collect();
    let service = Arc::new(world.service().await);
    for round in 1..=4 {
        let vandal = tokio::spawn(vandalize(world.pool.clone()));
        let mut tasks = JoinSet::new();
        for person in people.iter().copied() {
            let (fake, service) = (world.fake.clone(), service.clone());
            tasks.spawn(async move { Browser::new().sign_in(&fake, &service, person).await });
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
        assert_eq!(rows.teams_of(*person), ids(&groups), "once it is quiet, one sign-in makes good");
        assert_eq!(rows.organizations_of(*person), ids(&groups));
    }
}
