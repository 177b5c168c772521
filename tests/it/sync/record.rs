//! The sync record: one row a sign-in, which says what was read, written, left alone, and how long it took.

use rstest::rstest;
use serde_json::{Value, json};

use super::support::{assigned, ids, person, time};
use crate::support::{LiteLlm, Native, StoreKind, World};

/// The newest record without what no test can foretell; that part is checked here.
async fn record(world: &World) -> Value {
    let mut run = world.last_run().await;
    let columns = run.as_object_mut().unwrap();
    assert!(columns.remove("run_id").unwrap().as_str().unwrap().len() == 36);
    let age = world.clock.now() - time(&columns.remove("started_at").unwrap());
    assert!((0..60).contains(&age.num_seconds()), "the record says that it began {age} ago");
    for column in ["graph_ms", "store_ms"] {
        let took = columns.remove(column).unwrap().as_f64().unwrap();
        assert!(took > 0.0 && took < 60_000.0, "{column} is {took}");
    }
    run
}

#[rstest]
#[tokio::test]
async fn every_sign_in_leaves_one_record_of_what_it_read_and_wrote(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [hers, other] = assigned(&world, ["Hers", "Other"]);
    let not_assigned = world.fake.edit(|directory| directory.group("Not assigned"));
    let alice = person(&world, "Alice Arden", &[hers, not_assigned]);
    let tenant = world.fake.edit(|directory| directory.tenant_id);
    let service = world.service().await;

    world.sign_in(&service, alice).await;
    let first = json!({
        "user_id": alice, "tenant_id": tenant,
        "assigned_groups": "known", "assigned_groups_read": 2, "assigned_groups_why": null,
        "member_of": "known", "member_of_read": 2, "member_of_why": null,
        "organizations_created": ids(&[hers, other]), "teams_created": ids(&[hers, other]),
        "organizations_joined": [hers], "teams_joined": [hers],
        "user_created": true, "user_updated": false, "failures": [], "notes": [], "retries": 0,
    });
    assert_eq!(record(&world).await, first, "the first sign-in");

    world.sign_in(&service, alice).await;
    let mut nothing = first.clone();
    for list in ["organizations_created", "teams_created", "organizations_joined", "teams_joined"] {
        nothing[list] = json!([]);
    }
    nothing["user_created"] = json!(false);
    assert_eq!(record(&world).await, nothing, "the second, which had nothing to do");

    let [third] = assigned(&world, ["Third"]);
    world.fake.edit(|directory| {
        directory.put(alice, other);
        directory.change_person(alice, |alice| "new@contoso-sim.example".clone_into(&mut alice.upn));
    });
    world.sign_in(&service, alice).await;
    let mut some = nothing.clone();
    some["assigned_groups_read"] = json!(3);
    some["member_of_read"] = json!(3);
    some["organizations_created"] = json!([third]);
    some["teams_created"] = json!([third]);
    some["organizations_joined"] = json!([other]);
    some["teams_joined"] = json!([other]);
    some["user_updated"] = json!(true);
    assert_eq!(record(&world).await, some, "the third, after some things changed in Entra");

    assert_eq!(world.sessions_and_runs().await, (3, 3));
}

#[rstest]
#[tokio::test]
async fn each_person_is_told_of_their_own_last_sign_in(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [hers, his] = assigned(&world, ["Hers", "His"]);
    let (alice, bob) = (person(&world, "Alice Arden", &[hers]), person(&world, "Bob Birch", &[his]));
    let service = world.service().await;
    let mut alices = world.sign_in(&service, alice).await;
    let mut bobs = world.sign_in(&service, bob).await;

    let told = alices.me(&service).await.json();
    assert_eq!(told["last_sync"]["teams_joined"], json!([hers]));
    assert_eq!(told["last_sync"]["teams_created"], 2);
    let told = bobs.me(&service).await.json();
    assert_eq!(told["last_sync"]["teams_joined"], json!([his]));
    assert_eq!(told["last_sync"]["teams_created"], 0, "Alice's sign-in made them");
}

#[rstest]
#[tokio::test]
async fn without_organizations_the_record_names_teams_only(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let alice = person(&world, "Alice Arden", &[group]);
    world.sign_in(&world.service_with(|config| config.policy.also_create_orgs = false).await, alice).await;
    let run = record(&world).await;
    assert_eq!((&run["organizations_created"], &run["organizations_joined"]), (&json!([]), &json!([])));
    assert_eq!((&run["teams_created"], &run["teams_joined"]), (&json!([group]), &json!([group])));
}
