//! Concurrent sign-ins at two instances with one database: each row is created once, and no membership is lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use entra_simulator::{GroupId, ObjectId};
use rstest::rstest;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::{Answer, Browser, LiteLlm, Native, Service, StoreKind, World};
use crate::sync::support::{ids, many_assigned, person};

/// Two instances, each with its own app and pool.
async fn two_instances(world: &World) -> [Arc<Service>; 2] {
    let instances = [Arc::new(world.service().await), Arc::new(world.service().await)];
    assert!(!Arc::ptr_eq(&instances[0].app, &instances[1].app), "two instances are two apps");
    assert_ne!(instances[0].at("/"), instances[1].at("/"), "two instances have two addresses");
    instances
}

/// Brings all users to the callback, alternating between the instances, and completes all sign-ins at once.
async fn all_at_once(world: &World, instances: &[Arc<Service>; 2], people: &[ObjectId]) -> Vec<Answer> {
    let mut callbacks = Vec::new();
    for (n, person) in people.iter().enumerate() {
        let service = &instances[n % 2];
        let mut browser = Browser::new();
        let entra = browser.begin(service).await;
        callbacks.push((browser.pick(&world.simulator, service, &entra, *person).await, browser));
    }
    let mut tasks = JoinSet::new();
    for (callback, mut browser) in callbacks {
        tasks.spawn(async move { browser.get(callback).await });
    }
    tasks.join_all().await
}

#[track_caller]
fn assert_all_in(answers: &[Answer]) {
    for answer in answers {
        assert_eq!(answer.status, 303, "one of {} sign-ins at once: {answer:#?}", answers.len());
    }
}

/// All sync records.
async fn runs(world: &World) -> Vec<Value> {
    sqlx::query_scalar("select to_jsonb(r) from entraway.sync_runs r").fetch_all(&world.pool).await.unwrap()
}

/// The IDs in a column of all records.
fn listed<'a>(runs: &'a [Value], column: &str) -> Vec<&'a str> {
    let each = |run: &'a Value| run[column].as_array().unwrap().iter().map(|id| id.as_str().unwrap());
    runs.iter().flat_map(each).collect()
}

/// Fifty users, each in five of forty groups.
fn company(world: &World) -> (Vec<GroupId>, Vec<(ObjectId, Vec<GroupId>)>) {
    let groups = many_assigned(world, 40);
    let employee = |n: usize| {
        let theirs: Vec<GroupId> = (0..5).map(|step| groups[(n * 3 + step * 7) % 40]).collect();
        (person(world, &format!("Person {n}"), &theirs), theirs)
    };
    let people = (0..50).map(employee).collect();
    (groups, people)
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_signins_create_each_group_once(#[values(Native, LiteLlm)] store: StoreKind) {
    for round in 1..=2 {
        let world = World::of(store).await;
        let (groups, people) = company(&world);
        let instances = two_instances(&world).await;
        let everybody: Vec<ObjectId> = people.iter().map(|(person, _)| *person).collect();

        assert_all_in(&all_at_once(&world, &instances, &everybody).await);

        let connections: i64 = sqlx::query_scalar(
            "select count(*) from pg_stat_activity where datname = current_database() and application_name = 'entraway'",
        )
        .fetch_one(&world.pool)
        .await
        .unwrap();
        assert!(connections > 5, "each instance has a pool of five, so {connections} connections must exceed one pool");
        let rows = world.rows().await;
        assert_eq!(rows.organizations.keys().cloned().collect::<Vec<_>>(), ids(&groups), "round {round}");
        assert_eq!(rows.teams.keys().cloned().collect::<Vec<_>>(), ids(&groups), "round {round}");
        assert_eq!(rows.users.len(), 50, "round {round}");
        for (person, theirs) in &people {
            assert_eq!(rows.teams_of(*person), ids(theirs), "round {round}");
            assert_eq!(rows.organizations_of(*person), ids(theirs), "round {round}");
        }
        assert_eq!((rows.team_members.len(), rows.organization_members.len()), (250, 250), "round {round}");
        assert_eq!(world.sessions_and_runs().await, (50, 50));
        let runs = runs(&world).await;
        assert!(runs.iter().all(|run| run["failures"] == Value::Array(vec![])), "a failure is recorded: {runs:#?}");
        for column in ["organizations_created", "teams_created"] {
            let created = listed(&runs, column);
            assert_eq!(created.len(), 40, "{column}: each by exactly one sign-in");
            assert_eq!(created.iter().collect::<BTreeSet<_>>().len(), 40, "{column}");
        }
        assert_eq!(listed(&runs, "teams_joined").len(), 250);

        let before = world.versions().await;
        assert_all_in(&all_at_once(&world, &instances, &everybody).await);
        assert_eq!(world.versions().await, before, "repeated sign-ins have nothing to write");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_signins_of_one_user_create_one_user_row(#[values(Native, LiteLlm)] store: StoreKind) {
    for _ in 0..3 {
        let world = World::of(store).await;
        let groups = many_assigned(&world, 5);
        let alice = person(&world, "Alice Arden", &groups);
        let instances = two_instances(&world).await;

        assert_all_in(&all_at_once(&world, &instances, &[alice; 10]).await);

        let rows = world.rows().await;
        assert_eq!((rows.users.len(), rows.organizations.len(), rows.teams.len()), (1, 5, 5));
        assert_eq!(rows.teams_of(alice), ids(&groups));
        assert_eq!(rows.organizations_of(alice), ids(&groups));
        assert_eq!(world.sessions_and_runs().await, (10, 10));
        let runs = runs(&world).await;
        let creators = runs.iter().filter(|run| run["user_created"] == true).count();
        assert_eq!(creators, 1, "one of them created the user");
        assert_eq!(listed(&runs, "teams_joined").len(), 5, "each membership was created once");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_signins_with_rejected_rows_join_all_teams(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let groups = many_assigned(&world, 6);
    let people: Vec<ObjectId> = (0..12).map(|n| person(&world, &format!("Person {n}"), &groups)).collect();
    let instances = two_instances(&world).await;
    world
        .sql(
            "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
             create trigger refuse before insert on {organizations} for each row
             when (new.organization_alias in ('Group 1', 'Group 4')) execute function refuse()",
        )
        .await;

    assert_all_in(&all_at_once(&world, &instances, &people).await);

    let rows = world.rows().await;
    assert_eq!((rows.organizations.len(), rows.teams.len()), (4, 6));
    for person in people {
        assert_eq!(rows.teams_of(person), ids(&groups));
        assert_eq!(rows.organizations_of(person).len(), 4);
    }
}
