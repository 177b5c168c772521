//! A run of the reconciliation beside sign-ins and the proxy's own changes of members: nothing is lost, and no membership
//! that ended comes back.

use std::pin::Pin;

use entra_simulator::ObjectId;
use entraway::db::{RunStatus, RunTrigger};
use entraway::domain::StoreKind;
use tokio_util::sync::CancellationToken;

use super::proxy::Proxy;
use super::{Memberships, in_teams, many_assigned, person};
use crate::support::{World, join_all};

const USERS: usize = 60;
/// Users who leave two groups.
const LEAVERS: usize = 10;

#[tokio::test]
async fn run_beside_signins_and_proxy_loses_nothing() {
    let world = World::of(StoreKind::LiteLlm).await;
    world.grant_removal().await;
    let groups = many_assigned(&world, 4);
    let users: Vec<ObjectId> = (0..USERS).map(|n| person(&world, &format!("User {n}"), &groups)).collect();
    let service = world.service().await;
    for user in &users {
        world.sign_in(&service, *user).await;
    }
    let stop = CancellationToken::new();
    let run = async || service.app.reconciliation().run(RunTrigger::Command, &stop).await.unwrap().unwrap();
    assert_eq!(run().await.status, RunStatus::Done);
    world.simulator.edit(|directory| {
        for user in &users[..LEAVERS] {
            directory.take_out(*user, groups[0]);
            directory.take_out(*user, groups[1]);
        }
    });

    let proxy = Proxy::of(&world).await;
    // The proxy writes spend in the order of IDs.
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };
    let teams = sorted(groups.iter().map(ToString::to_string).collect());
    let ids = sorted(users.iter().map(ToString::to_string).collect());
    let mut all: Vec<Pin<Box<dyn Future<Output = ()> + '_>>> = Vec::new();
    all.push(Box::pin(async {
        let finished = run().await;
        assert_eq!((finished.status, finished.held), (RunStatus::Done, 0), "{finished:?}");
    }));
    for user in &users[LEAVERS..] {
        all.push(Box::pin(async { _ = world.sign_in(&service, *user).await }));
    }
    for (n, team) in teams.iter().enumerate() {
        let (proxy, teams, ids) = (&proxy, &teams, &ids);
        all.push(Box::pin(async move {
            for round in 0..8 {
                let bot = format!("bot-{n}-{round}");
                proxy.add(team, &bot).await.unwrap();
                proxy.flush(teams, ids).await.unwrap();
                if round % 2 == 0 {
                    proxy.delete(team, &bot).await.unwrap();
                }
            }
        }));
    }
    join_all(all).await;

    let again = run().await;
    assert_eq!((again.status, again.added, again.removed), (RunStatus::Done, 0, 0), "{again:?}");
    let mut expected = Vec::new();
    for (n, user) in users.iter().enumerate() {
        expected.extend(in_teams(user, if n < LEAVERS { &groups[2..] } else { &groups }));
    }
    for (n, team) in teams.iter().enumerate() {
        expected.extend((1..8).step_by(2).map(|round| format!("{team}/bot-{n}-{round}")));
    }
    assert_eq!(Memberships::read(&world).await, Memberships::everywhere(expected));
}
