//! `--user` and `--team`: a part of the plan, and whether it could be compared.

use entra_simulator::{Endpoint, Fault, FaultRule};
use entraway::domain::StoreKind;
use rstest::rstest;

use super::{members, plan, world};
use crate::support::scene::{assigned, person};
use crate::support::sql_fixtures::MAKE_TEAM;
use crate::support::{LiteLlm, Native};

#[tokio::test]
async fn plan_can_be_limited_to_a_user_or_team() {
    let world = world(Native).await;
    let [one, two] = assigned(&world, ["One", "Two"]);
    let users = [members(&world, one, 3).await, members(&world, two, 3).await];
    world.simulator.edit(|directory| {
        directory.take_out(users[0][0], one);
        directory.take_out(users[1][0], two);
    });
    let (user, team) = (users[0][0].to_string(), two.to_string());
    for (words, shown, hidden) in
        [(["--user", &user], &user, &team), (["--team", &team], &users[1][0].to_string(), &user)]
    {
        let ended = plan(&world, &words).await;
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stdout.contains(shown) && !ended.stdout.contains(hidden), "{words:?}: {}", ended.stdout);
    }
    let ended = plan(&world, &["--user", &users[0][1].to_string()]).await;
    assert_eq!(ended.code, 0, "nothing changes for this user: {ended:?}");
    assert_eq!(plan(&world, &["--user", "alice"]).await.code, 2, "wrong arguments");
}

#[rstest]
#[tokio::test]
async fn plan_of_unknown_user_or_team_fails(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = world(store).await;
    let [group] = assigned(&world, ["Evals"]);
    let users = members(&world, group, 1).await;
    let stranger = person(&world, "Never Signed In", &[group]).to_string();
    for (words, problem) in [
        (["--user", stranger.as_str()], format!("user {stranger}: has never signed in.")),
        (["--team", "no-team"], "team no-team: there is no team or organization with this ID.".to_owned()),
    ] {
        let ended = plan(&world, &words).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
        assert!(ended.stderr.contains(&problem), "{ended:?}");
    }
    world.by_hand(MAKE_TEAM, &[&"manual", &"Manual"]).await;
    for words in [
        ["--user", &users[0].to_string()],
        ["--team", &group.to_string()],
        ["--team", &group.to_string().to_uppercase()],
        ["--team", "manual"],
    ] {
        let ended = plan(&world, &words).await;
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{words:?}: {ended:?}");
    }
}

#[tokio::test]
async fn plan_of_unreadable_team_or_its_user_fails() {
    let world = world(Native).await;
    let [failing, other] = assigned(&world, ["Failing", "Other"]);
    let users = members(&world, failing, 2).await;
    let others = members(&world, other, 3).await;
    world.simulator.fault(FaultRule::on(Endpoint::GroupMembers, Fault::MissingValue).path(&failing));
    for words in [["--team", &failing.to_string()], ["--user", &users[0].to_string()]] {
        let ended = plan(&world, &words).await;
        assert_eq!(ended.code, 1, "{words:?}: {ended:?}");
        assert!(ended.stdout.contains("Incomplete groups, from which nothing is removed: 1\n"), "{}", ended.stdout);
        assert!(ended.stderr.contains("some of these memberships could not be compared"), "{ended:?}");
    }
    for words in [["--team", &other.to_string()], ["--user", &others[0].to_string()]] {
        let ended = plan(&world, &words).await;
        assert_eq!(ended.code, 0, "{words:?}: {ended:?}");
        assert!(!ended.stdout.contains(&failing.to_string()), "{}", ended.stdout);
    }
    world.simulator.edit(|directory| directory.take_out(others[0], other));
    let ended = plan(&world, &["--team", &other.to_string()]).await;
    assert_eq!(ended.code, 2, "a removal is known: {ended:?}");
}

#[tokio::test]
async fn plan_of_user_with_unknown_account_fails() {
    let world = world(Native).await;
    let [group] = assigned(&world, ["Evals"]);
    let users = members(&world, group, 3).await;
    world.simulator.edit(|directory| {
        directory.take_out(users[0], group);
        directory.app_permissions.user_read = false;
    });
    let ended = plan(&world, &["--user", &users[0].to_string()]).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.contains("the state of the account is unknown"), "{}", ended.stdout);
    assert_eq!(plan(&world, &["--user", &users[1].to_string()]).await.code, 0);
}
