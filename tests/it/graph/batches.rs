//! How a run sends its requests: in batches of 20, with low priority, repeating only those that failed.

use std::time::{Duration, Instant};

use entra_simulator::{Endpoint, Fault, FaultRule, Member, TokenKind};
use entraway::domain::GroupId;
use entraway::entra_facts::MemberList;

use super::{Scene, assert_complete};

/// Number of requests to an endpoint.
fn count(scene: &Scene, endpoint: Endpoint) -> usize {
    scene.simulator.requests_to(endpoint).len()
}

#[tokio::test]
async fn reads_are_sent_in_full_batches_with_low_priority() {
    let scene = Scene::new().await;
    let groups: Vec<_> = (0..45).map(|_| scene.group(1)).collect();
    let ids: Vec<GroupId> = groups.iter().map(|(id, _)| *id).collect();
    let lists = scene.members(&ids, false).await;
    for (group, users) in &groups {
        assert_complete(&lists, *group, users);
    }
    let counts = [Endpoint::Group, Endpoint::GroupMembers, Endpoint::Batch].map(|endpoint| count(&scene, endpoint));
    assert_eq!(counts, [45, 45, 6], "3 batches for the groups and 3 for their members");
    for request in scene.simulator.requests().iter().filter(|request| request.endpoint != Endpoint::Token) {
        assert_eq!(request.throttle_priority.as_deref(), Some("low"), "{request:?}");
        assert_eq!(request.token, Some(TokenKind::AppOnly), "{request:?}");
        assert_eq!(request.consistency_level, None, "the index may lack members: {request:?}");
        assert_eq!(request.in_batch, request.endpoint != Endpoint::Batch, "{request:?}");
    }
}

#[tokio::test]
async fn retry_repeats_only_failed_items_after_the_longest_wait() {
    let scene = Scene::new().await;
    let groups: Vec<_> = (0..3).map(|_| scene.group(1)).collect();
    for (index, seconds) in [(0, 1), (1, 2)] {
        let rule = FaultRule::on(Endpoint::GroupMembers, Fault::throttled(seconds)).path(&groups[index].0).times(1);
        scene.simulator.fault(rule);
    }
    let begin = Instant::now();
    let ids: Vec<GroupId> = groups.iter().map(|(id, _)| *id).collect();
    let lists = scene.members(&ids, false).await;
    for (group, users) in &groups {
        assert_complete(&lists, *group, users);
    }
    assert!(begin.elapsed() >= Duration::from_secs(2), "the longest Retry-After: {:?}", begin.elapsed());
    let requests = scene.simulator.requests_to(Endpoint::GroupMembers);
    let times = ids.iter().map(|id| requests.iter().filter(|one| one.path.contains(&id.to_string())).count());
    assert_eq!(times.collect::<Vec<_>>(), [2, 2, 1]);
}

#[tokio::test]
async fn lost_items_and_failed_batches_are_repeated() {
    let scene = Scene::new().await;
    let (one, first) = scene.group(1);
    let (two, second) = scene.group(1);
    scene.simulator.fault(FaultRule::on(Endpoint::Batch, Fault::status(503)).times(1));
    scene.simulator.fault(FaultRule::on(Endpoint::GroupMembers, Fault::MissingItem).path(&one).times(1));
    scene.simulator.fault(FaultRule::on(Endpoint::GroupMembers, Fault::status(504)).path(&two).times(1));
    let lists = scene.members(&[one, two], false).await;
    assert_complete(&lists, one, &first);
    assert_complete(&lists, two, &second);
}

#[tokio::test]
async fn hundred_thousand_memberships_are_read() {
    const GROUPS: usize = 1_000;
    const EACH: usize = 100;
    let scene = Scene::new().await;
    let groups: Vec<GroupId> = scene.simulator.edit(|directory| {
        let users: Vec<_> = (0..2_000).map(|_| directory.person("User", |_| {})).collect();
        let group = |number: usize| {
            let id = directory.group("Group");
            let members = users.iter().cycle().skip(number * 7).take(EACH).map(|user| Member::User(*user));
            directory.change_group(id, |group| group.members = members.collect());
            id.as_uuid().into()
        };
        (0..GROUPS).map(group).collect()
    });
    let budget = Duration::from_mins(2);
    let ids = groups.iter().copied().collect();
    let lists = scene.graph.group_members(&scene.token, &ids, false, budget).await;
    let complete = lists.values().map(|list| match list {
        MemberList::Complete(members) => members.as_slice().len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(complete.sum::<usize>(), GROUPS * EACH);
    assert_eq!(count(&scene, Endpoint::Batch), 2 * GROUPS / 20);
}
