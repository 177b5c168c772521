//! A user's row: its owner, the columns that follow Entra, and those that stay as set by hand.

use entra_simulator::{ObjectId, User};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::support::{assert_did_nothing, assert_refused, assigned, ids, person};
use crate::support::sql_fixtures::MAKE_USER;
use crate::support::{LiteLlm, Native, StoreKind, World};

/// Changes the user in Entra.
fn change(world: &World, person: ObjectId, change: impl FnOnce(&mut User)) {
    world.simulator.edit(|directory| directory.change_person(person, change)).unwrap();
}

async fn user(world: &World, person: ObjectId) -> Value {
    world.rows().await.users[&person.to_string()].clone()
}

#[rstest]
#[tokio::test]
async fn email_follows_entra_and_is_never_cleared(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = person(&world, "Alice Arden", &[]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    assert_eq!(user(&world, alice).await["user_email"], "alice.arden@contoso-sim.example");

    change(&world, alice, |alice| "Alice.Birch@Contoso-sim.example".clone_into(&mut alice.upn));
    world.sign_in(&service, alice).await;
    assert_eq!(user(&world, alice).await["user_email"], "alice.birch@contoso-sim.example");
    assert_eq!(world.last_run().await["user_updated"], true);

    change(&world, alice, |alice| {
        "no-address".clone_into(&mut alice.upn);
        alice.email = None;
    });
    let before = world.versions().await;
    world.sign_in(&service, alice).await;
    assert_eq!(user(&world, alice).await["user_email"], "alice.birch@contoso-sim.example", "nothing overwrites it");
    assert_eq!(world.versions().await, before, "there was nothing to write");
}

#[rstest]
#[tokio::test]
async fn user_without_email_gets_it_once_entra_has_it(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = person(&world, "Alice Arden", &[]);
    change(&world, alice, |alice| {
        "no-address".clone_into(&mut alice.upn);
        alice.email = None;
    });
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    assert_eq!(user(&world, alice).await["user_email"], Value::Null);

    change(&world, alice, |alice| alice.email = Some("Alice@Contoso-sim.example".to_owned()));
    world.sign_in(&service, alice).await;
    assert_eq!(user(&world, alice).await["user_email"], "alice@contoso-sim.example");
}

#[rstest]
#[tokio::test]
async fn alias_is_filled_when_blank_and_never_replaced(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = person(&world, "", &[]);
    change(&world, alice, |alice| "alice@contoso-sim.example".clone_into(&mut alice.upn));
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    assert_eq!(user(&world, alice).await["user_alias"], Value::Null, "Entra reported no name");

    change(&world, alice, |alice| "Alice Arden".clone_into(&mut alice.name));
    world.sign_in(&service, alice).await;
    assert_eq!(user(&world, alice).await["user_alias"], "Alice Arden");

    change(&world, alice, |alice| "Alice Birch".clone_into(&mut alice.name));
    world.sign_in(&service, alice).await;
    assert_eq!(user(&world, alice).await["user_alias"], "Alice Arden", "an existing alias stays");

    world.by_hand("update {users} set user_alias = '  ' where user_id = $1", &[&alice]).await;
    world.sign_in(&service, alice).await;
    assert_eq!(user(&world, alice).await["user_alias"], "Alice Birch", "a blank alias is replaced");
}

#[rstest]
#[tokio::test]
async fn manual_values_survive_a_user_row_update(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = person(&world, "Alice Arden", &[]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world
        .by_hand(
            "update {users} set models = '{o1}', max_budget = 7, budget_duration = '1d', spend = 3,
                metadata = '{\"mine\": 1}', budget_reset_at = '2030-01-01T00:00:00Z' where user_id = $1",
            &[&alice],
        )
        .await;
    let mut expected = user(&world, alice).await;

    change(&world, alice, |alice| "new@contoso-sim.example".clone_into(&mut alice.upn));
    world.sign_in(&service, alice).await;

    expected["user_email"] = json!("new@contoso-sim.example");
    assert_eq!(user(&world, alice).await, expected, "only the address may differ");
}

#[rstest]
#[tokio::test]
async fn users_with_same_email_stay_separate(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [hers, his] = assigned(&world, ["Hers", "His"]);
    let (alice, bob) = (person(&world, "Alice Arden", &[hers]), person(&world, "Bob Birch", &[his]));
    for who in [alice, bob] {
        change(&world, who, |person| "shared@contoso-sim.example".clone_into(&mut person.upn));
    }
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    world.sign_in(&service, bob).await;

    let rows = world.rows().await;
    assert_eq!(rows.users.len(), 2);
    assert_eq!((rows.teams_of(alice), rows.teams_of(bob)), (ids(&[hers]), ids(&[his])));
    assert_eq!(browser.me(&service).await.json()["user"]["user_id"], json!(alice), "her session is still valid");
}

#[rstest]
#[tokio::test]
async fn email_does_not_bind_existing_account(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let alice = person(&world, "Alice Arden", &[]);
    let boss = Uuid::new_v4();
    let tenant = world.simulator.edit(|directory| directory.tenant_id);
    world.by_hand(MAKE_USER, &[&boss, &tenant, &"proxy_admin", &"alice.arden@contoso-sim.example"]).await;
    let before = world.rows().await.users[&boss.to_string()].clone();

    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    assert_eq!(rows.users[&boss.to_string()], before, "the account with that address is unchanged");
    assert_eq!(rows.users[&alice.to_string()]["user_role"], "internal_user", "it gave her no role");
    assert_eq!(browser.me(&service).await.json()["user"]["user_id"], json!(alice));
    let told = match store {
        Native => json!([]),
        // In LiteLLM an administrator may have created the account for her, so the record notes it for the operator.
        LiteLlm => json!([{ "note": "same_email", "own": alice, "user_ids": [boss] }]),
    };
    assert_eq!(world.last_run().await["notes"], told);
}

#[rstest]
#[tokio::test]
async fn object_id_of_another_tenants_user_is_denied(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let alice = person(&world, "Alice Arden", &[group]);
    world.by_hand(MAKE_USER, &[&alice, &Uuid::new_v4(), &"proxy_admin", &"alice@elsewhere.example"]).await;
    let before = world.traces().await;

    let answer = world.try_sign_in(&world.service().await, alice).await;

    assert_refused(&answer, 403, "other_tenant");
    let recorded = before.and_refused("other_tenant");
    assert_eq!(world.traces().await, recorded, "only the denial is recorded, and no group was created");
    let run = world.last_run().await;
    assert_eq!(
        run["tenant_id"],
        json!(world.simulator.edit(|directory| directory.tenant_id)),
        "the tenant of the user who signed in: {run:#}"
    );
    assert_did_nothing(&run);
}

#[rstest]
#[tokio::test]
async fn guest_belongs_to_the_inviting_tenant(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let guest = world.simulator.edit(|directory| {
        let guest = directory.person("Gus Guest", |gus| {
            gus.guest = true;
            "gus_elsewhere.example#EXT#@contoso-sim.example".clone_into(&mut gus.upn);
            gus.email = Some("Gus@elsewhere.example".to_owned());
        });
        directory.put(guest, group);
        guest
    });
    world.sign_in(&world.service().await, guest).await;

    let row = user(&world, guest).await;
    assert_eq!(row["tenant_id"], json!(world.simulator.edit(|directory| directory.tenant_id)));
    assert_eq!(row["user_email"], "gus@elsewhere.example");
    assert_eq!(world.rows().await.teams_of(guest), ids(&[group]));
}
