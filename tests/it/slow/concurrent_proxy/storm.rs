//! Two hundred users sign in at two replicas while a proxy writes to the same teams and users.

use std::sync::Arc;

use entra_simulator::{GroupId, ObjectId};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::proxy::Proxy;
use super::{Memberships, in_teams, many_assigned, person, retries, rows};
use crate::support::{Browser, Service, World, join_all};

/// Number of concurrent sign-ins.
const AT_ONCE: usize = 20;

/// A member of each team who is unknown to the service and to the proxy, with an unknown key in the roster entry.
const KEEPER: &str = "keeper";

type People = Vec<(ObjectId, Vec<GroupId>)>;

/// Creates the groups and users. The first user has signed in, so that the teams exist; each team has a keeper in its
/// roster and a key in its metadata.
async fn scene(world: &World, service: &Service) -> (Vec<GroupId>, People) {
    let groups = many_assigned(world, 8);
    let people: People = (0..200)
        .map(|n| {
            let theirs: Vec<GroupId> = (0..3 + n % 3).map(|step| groups[(n * 5 + step * 3) % 8]).collect();
            (person(world, &format!("Person {n}"), &theirs), theirs)
        })
        .collect();
    world.sign_in(service, people[0].0).await;
    sqlx::query(
        r#"update public."LiteLLM_TeamTable"
           set members_with_roles = $1 || members_with_roles, metadata = metadata || '{"by_hand": {"kept": 1}}'"#,
    )
    .bind(json!([keeper()]))
    .execute(&world.pool)
    .await
    .unwrap();
    (groups, people)
}

fn keeper() -> Value {
    json!({ "user_id": KEEPER, "role": "admin", "since": { "by": ["hand"] } })
}

/// One of three proxy administrators. Adds forty new users to three teams each, removes a third of them from one team
/// and a third from all, and adds forty of the users that sign in to one team of theirs and one other team. Returns the
/// remaining memberships, and those of the users that sign in which do not come from Entra.
async fn administrator(proxy: Proxy, nr: usize, teams: Vec<GroupId>, people: Arc<People>) -> sqlx::Result<Vec<String>> {
    let mut left = Vec::new();
    for n in 0..40 {
        let own = format!("other-{nr}-{n}");
        let theirs: Vec<GroupId> = (0..3).map(|step| teams[(n + nr + step * 3) % 8]).collect();
        for team in &theirs {
            proxy.add(&team.to_string(), &own).await?;
        }
        let (person, groups) = &people[nr * 60 + n];
        proxy.add(&groups[n % groups.len()].to_string(), &person.to_string()).await?;
        if let Some(foreign) = teams.iter().find(|team| !groups.contains(team)) {
            proxy.add(&foreign.to_string(), &person.to_string()).await?;
            left.extend(in_teams(person, &[*foreign]));
        }
        let gone = match n % 6 {
            0 | 3 => 3,
            2 | 4 => 1,
            _ => 0,
        };
        for team in &theirs[..gone] {
            proxy.delete(&team.to_string(), &own).await?;
        }
        left.extend(in_teams(&own, &theirs[gone..]));
    }
    Ok(left)
}

/// Flushes spend like the proxy's background job until stopped. Returns the number of rounds.
async fn upkeep(
    proxy: Proxy,
    teams: Vec<GroupId>,
    people: Arc<People>,
    stop: CancellationToken,
) -> sqlx::Result<usize> {
    let teams: Vec<String> = {
        let mut teams: Vec<String> = teams.iter().map(ToString::to_string).collect();
        teams.sort();
        teams
    };
    let mut rounds = 0;
    while !stop.is_cancelled() {
        let mut users: Vec<String> = (0..8).map(|n| people[(rounds * 7 + n * 25) % 200].0.to_string()).collect();
        users.sort();
        users.dedup();
        proxy.flush(&teams, &users).await?;
        rounds += 1;
    }
    Ok(rounds)
}

async fn edits(proxy: Proxy, teams: Vec<GroupId>, people: Arc<People>, stop: CancellationToken) -> sqlx::Result<usize> {
    let mut rounds = 0;
    while !stop.is_cancelled() {
        let person = people[(rounds * 3) % 200].0.to_string();
        proxy.edit(&teams[rounds % 8].to_string(), &person, &format!("edit-{}", rounds % 5)).await?;
        rounds += 1;
    }
    Ok(rounds)
}

/// Signs in every twentieth user, one after the other. Returns the failures.
async fn lane(world: &World, instances: &[Service; 2], people: &People, first: usize) -> Vec<String> {
    let mut refused = Vec::new();
    for (n, (person, _)) in people.iter().enumerate().skip(first).step_by(AT_ONCE) {
        let answer = Browser::new().sign_in(&world.simulator, &instances[n / AT_ONCE % 2], *person).await;
        if answer.status != 303 {
            refused.push(format!("user {n}: {} {}", answer.status, answer.code()));
        }
    }
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn signin_storm_beside_busy_proxy_loses_nothing() {
    let world = World::of(entraway::domain::StoreKind::LiteLlm).await;
    let instances = [world.service().await, world.service().await];
    let (teams, people) = scene(&world, &instances[0]).await;
    let people = Arc::new(people);
    let (proxy, stop) = (Proxy::of(&world).await, CancellationToken::new());

    let administrators: Vec<_> =
        (0..3).map(|nr| tokio::spawn(administrator(proxy.clone(), nr, teams.clone(), people.clone()))).collect();
    let by_itself = [
        tokio::spawn(upkeep(proxy.clone(), teams.clone(), people.clone(), stop.clone())),
        tokio::spawn(edits(proxy.clone(), teams.clone(), people.clone(), stop.clone())),
    ];
    let refused = join_all((0..AT_ONCE).map(|first| lane(&world, &instances, &people, first))).await.concat();
    let mut expected: Vec<String> = people.iter().flat_map(|(person, groups)| in_teams(person, groups)).collect();
    for administrator in administrators {
        expected.extend(administrator.await.unwrap().expect("the proxy's administrators get no errors"));
    }
    stop.cancel();
    let mut rounds = Vec::new();
    for task in by_itself {
        rounds.push(task.await.unwrap().expect("the proxy's flushes and edits succeed"));
    }

    let deadlocks: i64 =
        sqlx::query_scalar("select deadlocks from pg_stat_database where datname = current_database()")
            .fetch_one(&world.pool)
            .await
            .unwrap();
    let said = format!("{deadlocks} deadlocks, {} retries, {rounds:?} rounds of the proxy", retries(&world).await);
    assert!(refused.is_empty(), "sign-ins that failed ({said}): {refused:#?}");
    let now = Memberships::read(&world).await;
    let mut expected = Memberships::everywhere(expected);
    expected.rosters.extend(in_teams(&KEEPER, &teams));
    expected.rosters.sort();
    for (place, now, expected) in [
        ("members_with_roles", &now.rosters, &expected.rosters),
        ("the users' teams", &now.users, &expected.users),
        ("LiteLLM_TeamMembership", &now.rows, &expected.rows),
    ] {
        let lost: Vec<_> = expected.iter().filter(|one| !now.contains(one)).collect();
        assert!(lost.is_empty(), "lost in {place} ({said}): {lost:#?}");
        let more: Vec<_> = now.iter().filter(|one| !expected.contains(one)).collect();
        assert!(more.is_empty(), "unexpected in {place} ({said}): {more:#?}");
        assert_eq!(now.len(), expected.len(), "duplicates in {place} ({said}): {now:#?}");
    }
    let sql = r#"select team_id, to_jsonb(t) from public."LiteLLM_TeamTable" t"#;
    for (id, team) in rows(&world, sql).await {
        assert_eq!(team["metadata"]["by_hand"], json!({ "kept": 1 }), "metadata of team {id} ({said})");
        let keepers = team["members_with_roles"].as_array().unwrap().iter().filter(|one| one["user_id"] == KEEPER);
        assert_eq!(keepers.collect::<Vec<_>>(), [&keeper()], "roster entry with an unknown key in team {id} ({said})");
    }
    assert_eq!(deadlocks, 0, "locks must be taken in the proxy's order to avoid deadlocks: {said}");
}
