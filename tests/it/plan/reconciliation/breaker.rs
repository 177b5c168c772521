//! The circuit breaker at, below and above each limit.

use entraway::entra_facts::AccountState;
use entraway::reconciliation::{Limits, Tripped};
use rstest::rstest;

use super::{Scene, failed, group, user};

/// A group with this many managed memberships, of which the first `removals` end.
fn group_of(memberships: u8, removals: u8) -> Scene {
    let stored: Vec<u8> = (0..memberships).collect();
    Scene::new().with_group(1, &stored, &stored[usize::from(removals)..])
}

#[rstest]
#[case::half(10, 5, false)]
#[case::more_than_half(9, 5, true)]
#[case::more_than_half_of_many(11, 6, true)]
#[case::less_than_half(12, 5, false)]
#[case::more_than_half_but_few(7, 4, false)]
#[case::all_of_two(2, 2, false)]
#[case::all_of_three(3, 3, true)]
#[case::all_but_one_of_three(3, 2, false)]
#[case::all_of_twenty(20, 20, true)]
#[case::none(20, 0, false)]
fn group_limit_holds_its_removals(#[case] memberships: u8, #[case] removals: u8, #[case] held: bool) {
    let plan = group_of(memberships, removals).plan();
    assert_eq!(plan.changes.len(), usize::from(removals));
    assert_eq!(plan.changes.iter().filter(|change| change.held).count(), if held { plan.changes.len() } else { 0 });
    assert_eq!(plan.tripped.is_empty(), !held, "{:?}", plan.tripped);
}

/// Groups of five, so that one removal is far from the limit of a group. `memberships` are in groups, each of which loses
/// one as long as there are `removals` left.
fn groups_of_five(memberships: u8, removals: u8) -> Scene {
    let users: Vec<u8> = (0..memberships).collect();
    let chunks = users.chunks(5).zip(0..);
    chunks.fold(Scene::new(), |scene, (stored, number): (_, u8)| {
        let left = usize::from(number < removals);
        scene.with_group(number, stored, &stored[left..])
    })
}

#[rstest]
#[case::a_fifth(50, 10, false)]
#[case::more_than_a_fifth(49, 10, true)]
#[case::less_than_a_fifth(51, 10, false)]
#[case::more_than_a_fifth_but_few(44, 9, false)]
fn run_limit_holds_all_removals(#[case] memberships: u8, #[case] removals: u8, #[case] held: bool) {
    let plan = groups_of_five(memberships, removals).plan();
    assert_eq!((plan.changes.len(), plan.compared), (usize::from(removals), usize::from(memberships)));
    assert!(plan.changes.iter().all(|change| change.held == held), "{plan:#?}");
    let expected = Tripped::Run { removals: plan.changes.len(), unknown: 0, memberships: plan.compared };
    assert_eq!(plan.tripped, if held { vec![expected] } else { vec![] });
}

#[test]
fn group_limit_holds_only_that_group() {
    let mut scene = group_of(3, 3).with_group(2, &[1, 2, 3, 4], &[2, 3, 4]);
    let [held, free] = [1, 2].map(|n| group(n).to_string());
    scene.put_in_organization("shared", 1, &[held.clone(), free.clone()]);
    scene.put_in_organization("free", 1, std::slice::from_ref(&free));
    let plan = scene.plan();
    let by_target = plan.changes.iter().map(|change| (change.target.id.as_str(), change.held));
    let mut by_target: Vec<_> = by_target.collect();
    by_target.dedup();
    let expected = [(held.as_str(), true), (free.as_str(), false), ("free", false), ("shared", true)];
    assert_eq!(by_target, expected, "the shared organization's membership depends on the held team");
    assert_eq!(plan.tripped, [Tripped::GroupEmptied { group: group(1), removals: 3, memberships: 3 }]);
}

#[test]
fn emptied_group_counts_memberships_that_are_kept() {
    let expected = [Tripped::GroupEmptied { group: group(1), removals: 2, memberships: 3 }];
    let mut guarded = group_of(3, 3);
    guarded.make_admin(1, 0);
    assert_eq!(guarded.plan().tripped, expected);
    for state in [AccountState::SoftDeleted, AccountState::Unknown(failed("graph_timeout"))] {
        let mut scene = group_of(3, 3);
        scene.facts.accounts.insert(user(1), state.clone());
        let plan = scene.plan();
        assert_eq!(plan.tripped, expected, "no member is left, and one account is {state:?}");
        assert!(plan.changes.iter().all(|change| change.held), "{plan:#?}");
    }
}

#[rstest]
#[case::unknown(AccountState::Unknown(failed("graph_timeout")), true)]
#[case::soft_deleted(AccountState::SoftDeleted, false)]
fn percentages_count_unknown_accounts_only(#[case] state: AccountState, #[case] held: bool) {
    let mut scene = group_of(9, 5);
    scene.facts.accounts.insert(user(0), state.clone());
    let plan = scene.plan();
    let expected = Tripped::Group { group: group(1), removals: 4, unknown: 1, memberships: 9 };
    assert_eq!(plan.tripped, if held { vec![expected] } else { vec![] }, "the account is {state:?}");
    let mut scene = groups_of_five(49, 10);
    scene.facts.accounts.insert(user(0), state);
    let plan = scene.plan();
    let expected = Tripped::Run { removals: 9, unknown: 1, memberships: 49 };
    assert_eq!(plan.tripped, if held { vec![expected] } else { vec![] });
}

#[test]
fn unknown_accounts_alone_hold_nothing() {
    let mut scene = group_of(9, 9);
    for n in 0..9 {
        scene.facts.accounts.insert(user(n), AccountState::Unknown(failed("graph_timeout")));
    }
    let plan = scene.plan();
    assert!(plan.changes.is_empty() && plan.tripped.is_empty(), "{plan:#?}");
}

/// A group without a team, whose organization has this many members, of which the first `removals` left the group.
fn organization_of(memberships: u8, removals: u8) -> Scene {
    let users: Vec<u8> = (0..memberships).collect();
    let mut scene = Scene::new().with_group(1, &[], &users[usize::from(removals)..]);
    for n in users {
        scene.know(n);
        scene.put_in_organization(&group(1).to_string(), n, &[]);
    }
    scene
}

#[rstest]
#[case::half(10, 5, false)]
#[case::more_than_half(9, 5, true)]
#[case::more_than_half_but_few(7, 4, false)]
#[case::all_of_two(2, 2, false)]
#[case::all_of_three(3, 3, true)]
fn organization_without_team_has_limits_of_its_own(#[case] memberships: u8, #[case] removals: u8, #[case] held: bool) {
    let plan = organization_of(memberships, removals).plan();
    let (organization, unknown) = (group(1).to_string(), 0);
    let (memberships, removals) = (usize::from(memberships), usize::from(removals));
    assert_eq!((plan.changes.len(), plan.compared_without_team), (removals, memberships));
    let expected = match (held, removals == memberships) {
        (false, _) => vec![],
        (true, true) => vec![Tripped::OrganizationEmptied { organization, removals, memberships }],
        (true, false) => vec![Tripped::Organization { organization, removals, unknown, memberships }],
    };
    assert_eq!(plan.tripped, expected);
    assert!(plan.changes.iter().all(|change| change.held == held), "{plan:#?}");
}

#[test]
fn organization_members_without_team_count_for_the_run() {
    let mut scene = organization_of(49, 10);
    let plan = scene.plan();
    let expected = Tripped::Run { removals: 10, unknown: 0, memberships: 49 };
    assert_eq!(plan.tripped, [expected]);
    // With a team, the membership follows it, and is not counted twice.
    scene = groups_of_five(50, 10);
    for n in 0..50 {
        let team = group(n / 5).to_string();
        scene.put_in_organization(&team, n, std::slice::from_ref(&team));
    }
    let plan = scene.plan();
    assert_eq!((plan.changes.len(), plan.is_held()), (20, false), "{plan:#?}");
}

#[test]
fn limits_are_those_of_the_configuration() {
    let mut scene = group_of(20, 2);
    scene.gate.limits =
        Limits { group_percent: 9, group_minimum: 2, emptied_minimum: 20, run_percent: 100, ..Limits::default() };
    let plan = scene.plan();
    let tripped = Tripped::Group { group: group(1), removals: 2, unknown: 0, memberships: 20 };
    assert_eq!(plan.tripped, std::slice::from_ref(&tripped));
    let message = format!("Group {}: 2 of 20 memberships would end. The limit is 9 %, from 2 on", group(1));
    assert_eq!(tripped.message(&plan.limits), message);
    scene.gate.limits.group_percent = 10;
    assert!(scene.plan().tripped.is_empty());
}
