//! The circuit breaker at, below and above each limit.

use entraway::entra_facts::AccountState;
use entraway::reconciliation::Tripped;
use rstest::rstest;

use super::{Scene, group, user};

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
    let expected = Tripped::Run { removals: plan.changes.len(), memberships: plan.compared };
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
fn emptied_group_counts_memberships_that_a_guard_keeps() {
    let mut scene = group_of(3, 3);
    scene.make_admin(1, 0);
    let plan = scene.plan();
    assert_eq!(plan.tripped, [Tripped::GroupEmptied { group: group(1), removals: 2, memberships: 3 }]);
    scene.facts.accounts.insert(user(1), AccountState::SoftDeleted);
    assert!(scene.plan().tripped.is_empty(), "a soft-deleted user has not left");
}
