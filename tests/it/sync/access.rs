//! Access rules: `require_group` and `allowed_email_domains`. A denied sign-in leaves only its record.

use std::collections::BTreeSet;

use entra_simulator::{Endpoint, ObjectId};
use rstest::rstest;
use serde_json::{Value, json};

use super::support::{assert_only_refusals, assert_refused, assigned, groups_kept, ids, person};
use crate::support::{LiteLlm, Native, Service, StoreKind, World};

async fn for_members_only(world: &World) -> Service {
    world.service_with(|config| config.policy.require_group = true).await
}

async fn for_domain(world: &World, domain: &str) -> Service {
    let domains = BTreeSet::from([domain.to_owned()]);
    world.service_with(|config| config.policy.allowed_email_domains = domains).await
}

/// A sign-in that is denied for its address causes no Graph request.
async fn assert_nothing_read(world: &World, person: ObjectId) {
    let run = world.last_run().await;
    assert_eq!(run["user_id"], json!(person), "{run:#}");
    for list in ["assigned_groups", "member_of"] {
        assert_eq!(run[list], "not_read", "{run:#}");
        assert_eq!([&run[format!("{list}_read")], &run[format!("{list}_why")]], [&Value::Null; 2], "{run:#}");
    }
    assert_eq!(groups_kept(world, person).await, None, "no groups are stored");
    let asked =
        world.simulator.requests_to(Endpoint::MemberOf).len() + world.simulator.requests_to(Endpoint::AssignedTo).len();
    assert_eq!(asked, 0, "requests to Graph");
}

#[rstest]
#[tokio::test]
async fn required_group_admits_member(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Members"]);
    let alice = person(&world, "Alice Arden", &[group]);
    world.sign_in(&for_members_only(&world).await, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), ids(&[group]));
}

#[rstest]
#[tokio::test]
async fn required_group_denies_nonmember_and_records_only_that(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [_, outer] = assigned(&world, ["Members", "Outer"]);
    let (not_assigned, inner) =
        world.simulator.edit(|directory| (directory.group("Not assigned"), directory.group("In an assigned group")));
    world.simulator.edit(|directory| directory.nest(inner, outer));
    let service = for_members_only(&world).await;

    let mut refusals = Vec::new();
    for (groups, kept) in [
        (&[][..], json!({})),
        (&[not_assigned], json!({ not_assigned.to_string(): { "name": "Not assigned", "assigned": false } })),
        (&[inner], json!({ inner.to_string(): { "name": "In an assigned group", "assigned": false } })),
    ] {
        let stranger = person(&world, "Sam Stranger", groups);
        assert_refused(&world.try_sign_in(&service, stranger).await, 403, "no_group");
        refusals.push("no_group");
        assert_only_refusals(&world, &refusals).await;
        let run = world.last_run().await;
        assert_eq!((&run["user_id"], &run["outcome"]), (&json!(stranger), &json!("no_group")), "{run:#}");
        let read =
            ["assigned_groups", "assigned_groups_read", "member_of", "member_of_read"].map(|column| &run[column]);
        assert_eq!(
            read,
            [&json!("known"), &json!(2), &json!("known"), &json!(groups.len())],
            "the lists that were read: {run:#}"
        );
        assert_eq!(groups_kept(&world, stranger).await, Some(kept), "all their groups are stored");
    }
}

#[rstest]
#[tokio::test]
async fn required_group_denies_all_when_no_group_is_assigned(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let group = world.simulator.edit(|directory| directory.group("Not assigned"));
    let alice = person(&world, "Alice Arden", &[group]);
    assert_refused(&world.try_sign_in(&for_members_only(&world).await, alice).await, 403, "no_group");
    assert_only_refusals(&world, &["no_group"]).await;
    assert_eq!(world.last_run().await["assigned_groups_read"], 0, "an empty list is known");
}

#[rstest]
#[tokio::test]
async fn required_group_applies_to_admins(#[values(Native, LiteLlm)] store: StoreKind) {
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
    assert_only_refusals(&world, &["no_group"]).await;
}

#[rstest]
#[tokio::test]
async fn removed_member_is_denied_and_returns_later(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    world.grant_removal().await;
    let [group] = assigned(&world, ["Members"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = for_members_only(&world).await;
    let mut browser = world.sign_in(&service, alice).await;
    let told = browser.me(&service).await.json();
    let mut before = world.traces().await;

    world.simulator.edit(|directory| directory.take_out(alice, group));
    assert_refused(&world.try_sign_in(&service, alice).await, 403, "no_group");

    let mut after = world.traces().await;
    let known = json!({ group.to_string(): { "name": "Members", "assigned": true } });
    assert_eq!((before.take_groups(alice), after.take_groups(alice)), (Some(known), Some(json!({}))));
    assert_eq!((after.sessions, after.runs), (0, before.runs + 1), "her session has ended");
    let (before, after) = (before.rows, after.rows);
    assert_eq!((after.teams_of(alice).len(), after.users.len(), after.teams.len()), (0, 1, before.teams.len()));
    assert_eq!(browser.me(&service).await.status, 401);
    world.simulator.edit(|directory| directory.put(alice, group));
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(browser.me(&service).await.json()["teams"], told["teams"], "she is back in her team");
}

#[rstest]
#[tokio::test]
async fn nested_group_member_meets_required_group(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [outer] = assigned(&world, ["Outer"]);
    let inner = world.simulator.edit(|directory| directory.group("Inner"));
    world.simulator.edit(|directory| directory.nest(inner, outer));
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
async fn allowed_email_domain_is_case_insensitive(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = world.simulator.edit(|directory| {
        directory.person("Alice Arden", |alice| "Alice@CONTOSO-sim.Example".clone_into(&mut alice.upn))
    });
    world.sign_in(&for_domain(&world, "contoso-sim.example").await, alice).await;
}

#[rstest]
#[tokio::test]
async fn other_email_domain_is_denied_and_recorded(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Members"]);
    let service = for_domain(&world, "contoso-sim.example").await;
    let mut refusals = Vec::new();
    for address in [
        "alice@elsewhere.example",
        "alice@mail.contoso-sim.example",
        "alice@contoso-sim.example.evil.example",
        "alice@notcontoso-sim.example",
        "contoso-sim.example@evil.example",
    ] {
        let stranger = world.simulator.edit(|directory| {
            let stranger = directory.person("Sam Stranger", |sam| address.clone_into(&mut sam.upn));
            directory.put(stranger, group);
            stranger
        });
        assert_refused(&world.try_sign_in(&service, stranger).await, 403, "email_domain_not_allowed");
        refusals.push("email_domain");
        assert_only_refusals(&world, &refusals).await;
        assert_nothing_read(&world, stranger).await;
    }
}

#[rstest]
#[tokio::test]
async fn user_without_email_is_denied_when_domains_are_listed(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let nobody = world.simulator.edit(|directory| {
        directory.person("No Address", |person| {
            "no-address".clone_into(&mut person.upn);
            person.email = None;
        })
    });
    let answer = world.try_sign_in(&for_domain(&world, "contoso-sim.example").await, nobody).await;
    assert_refused(&answer, 403, "email_domain_not_allowed");
    assert_only_refusals(&world, &["email_domain"]).await;
    assert_nothing_read(&world, nobody).await;
}
