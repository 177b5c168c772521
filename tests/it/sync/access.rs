//! Who may enter: `require_group`, `allowed_email_domains`. Whoever may not leaves no trace in the tables.

use std::collections::BTreeSet;

use rstest::rstest;

use super::support::{assert_nothing_written, assert_refused, assigned, ids, person};
use crate::support::{LiteLlm, Native, Service, StoreKind, World};

async fn for_members_only(world: &World) -> Service {
    world.service_with(|config| config.policy.require_group = true).await
}

async fn for_domain(world: &World, domain: &str) -> Service {
    let domains = BTreeSet::from([domain.to_owned()]);
    world.service_with(|config| config.policy.allowed_email_domains = domains).await
}

#[rstest]
#[tokio::test]
async fn where_a_group_is_required_a_member_enters(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Members"]);
    let alice = person(&world, "Alice Arden", &[group]);
    world.sign_in(&for_members_only(&world).await, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), ids(&[group]));
}

#[rstest]
#[tokio::test]
async fn where_a_group_is_required_a_stranger_is_refused_and_nothing_is_written(
    #[values(Native, LiteLlm)] store: StoreKind,
) {
    let world = World::of(store).await;
    let [_, outer] = assigned(&world, ["Members", "Outer"]);
    let (not_assigned, inner) =
        world.fake.edit(|directory| (directory.group("Not assigned"), directory.group("In an assigned group")));
    world.fake.edit(|directory| directory.nest(inner, outer));
    let service = for_members_only(&world).await;

    for groups in [&[][..], &[not_assigned], &[inner]] {
        let stranger = person(&world, "Sam Stranger", groups);
        assert_refused(&world.try_sign_in(&service, stranger).await, 403, "no_group");
        assert_nothing_written(&world).await;
    }
}

#[rstest]
#[tokio::test]
async fn where_a_group_is_required_an_app_without_assigned_groups_lets_nobody_in(
    #[values(Native, LiteLlm)] store: StoreKind,
) {
    let world = World::of(store).await;
    let group = world.fake.edit(|directory| directory.group("Not assigned"));
    let alice = person(&world, "Alice Arden", &[group]);
    assert_refused(&world.try_sign_in(&for_members_only(&world).await, alice).await, 403, "no_group");
    assert_nothing_written(&world).await;
}

#[rstest]
#[tokio::test]
async fn where_a_group_is_required_even_an_administrator_needs_one(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    assigned(&world, ["Members"]);
    let alice = person(&world, "Alice Arden", &[]);
    let service = world
        .service_with(|config| {
            config.policy.require_group = true;
            config.policy.admin_user_ids = BTreeSet::from([alice.to_string()]);
        })
        .await;
    assert_refused(&world.try_sign_in(&service, alice).await, 403, "no_group");
    assert_nothing_written(&world).await;
}

#[rstest]
#[tokio::test]
async fn a_member_who_was_taken_out_is_refused_next_time_and_their_rows_stay(
    #[values(Native, LiteLlm)] store: StoreKind,
) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Members"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = for_members_only(&world).await;
    world.sign_in(&service, alice).await;
    let before = (world.versions().await, world.sessions_and_runs().await);

    world.fake.edit(|directory| directory.take_out(alice, group));
    assert_refused(&world.try_sign_in(&service, alice).await, 403, "no_group");

    assert_eq!((world.versions().await, world.sessions_and_runs().await), before);
}

#[rstest]
#[tokio::test]
async fn with_nested_groups_a_member_of_an_inner_group_counts(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [outer] = assigned(&world, ["Outer"]);
    let inner = world.fake.edit(|directory| directory.group("Inner"));
    world.fake.edit(|directory| directory.nest(inner, outer));
    let alice = person(&world, "Alice Arden", &[inner]);
    let service = world
        .service_with(|config| {
            config.policy.require_group = true;
            config.sync.nested_groups = true;
        })
        .await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), ids(&[outer]));
}

#[rstest]
#[tokio::test]
async fn an_address_of_an_allowed_domain_enters_in_any_case_of_letters(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = world.fake.edit(|directory| {
        directory.person("Alice Arden", |alice| "Alice@CONTOSO-sim.Example".clone_into(&mut alice.upn))
    });
    world.sign_in(&for_domain(&world, "contoso-sim.example").await, alice).await;
}

#[rstest]
#[tokio::test]
async fn an_address_of_any_other_domain_is_refused_and_nothing_is_written(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Members"]);
    let service = for_domain(&world, "contoso-sim.example").await;
    for address in [
        "alice@elsewhere.example",
        "alice@mail.contoso-sim.example",
        "alice@contoso-sim.example.evil.example",
        "alice@notcontoso-sim.example",
        "contoso-sim.example@evil.example",
    ] {
        let stranger = world.fake.edit(|directory| {
            let stranger = directory.person("Sam Stranger", |sam| address.clone_into(&mut sam.upn));
            directory.put(stranger, group);
            stranger
        });
        assert_refused(&world.try_sign_in(&service, stranger).await, 403, "email_domain_not_allowed");
        assert_nothing_written(&world).await;
    }
}

#[rstest]
#[tokio::test]
async fn where_domains_are_listed_a_person_without_an_address_is_refused(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let nobody = world.fake.edit(|directory| {
        directory.person("No Address", |person| {
            "no-address".clone_into(&mut person.upn);
            person.email = None;
        })
    });
    let answer = world.try_sign_in(&for_domain(&world, "contoso-sim.example").await, nobody).await;
    assert_refused(&answer, 403, "email_domain_not_allowed");
    assert_nothing_written(&world).await;
}
