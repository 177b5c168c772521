//! Existing rows stay: none is renamed, moved, duplicated, removed, or given new limits.

use rstest::rstest;
use serde_json::{Value, json};

use super::support::{assigned, ids, organization_by_hand, person, team_by_hand, versions, with_flag};
use crate::support::sql_fixtures::{
    DELETE_ORGANIZATION, DELETE_TEAM, LIMIT_ORGANIZATION, PUT_IN_TEAM, TAKE_OUT_OF_TEAM,
};
use crate::support::{LiteLlm, Native, StoreKind, World, models_of_team};

#[rstest]
#[tokio::test]
async fn standalone_team_stays_when_orgs_are_turned_on(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let alice = person(&world, "Alice Arden", &[group]);
    world.sign_in(&with_flag(&world, false).await, alice).await;
    let team = versions(&world, &format!("team {group}")).await;
    let member = versions(&world, "team member").await;

    world.sign_in(&with_flag(&world, true).await, alice).await;

    assert_eq!(versions(&world, &format!("team {group}")).await, team, "the team's row was written to");
    assert_eq!(versions(&world, "team member").await, member, "the membership's row was written to");
    let rows = world.rows().await;
    assert_eq!(rows.teams[&group.to_string()]["organization_id"], Value::Null);
    assert_eq!(rows.organizations[&group.to_string()]["organization_alias"], "Research", "its organization is created");
    assert_eq!(rows.organizations_of(alice), ids(&[group]), "the user is added to it");
    let run = world.last_run().await;
    assert_eq!(
        run["notes"],
        json!([{ "note": "team_stays_standalone", "team": group }]),
        "the record notes it for the operator"
    );
}

#[rstest]
#[tokio::test]
async fn new_user_joins_standalone_team_and_its_organization(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let (alice, bob) = (person(&world, "Alice Arden", &[group]), person(&world, "Bob Birch", &[group]));
    world.sign_in(&with_flag(&world, false).await, alice).await;

    world.sign_in(&with_flag(&world, true).await, bob).await;

    let rows = world.rows().await;
    assert_eq!(rows.teams_of(bob), ids(&[group]));
    assert_eq!(rows.organizations_of(bob), ids(&[group]));
    assert!(rows.organizations_of(alice).is_empty(), "Alice, who did not sign in again, is not moved");
}

#[rstest]
#[tokio::test]
async fn team_stays_in_organization_when_orgs_are_turned_off(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let (alice, bob) = (person(&world, "Alice Arden", &[group]), person(&world, "Bob Birch", &[group]));
    world.sign_in(&with_flag(&world, true).await, alice).await;
    let before = world.versions().await;

    let off = with_flag(&world, false).await;
    world.sign_in(&off, alice).await;
    assert_eq!(world.versions().await, before, "Alice's sign-in wrote something");

    world.sign_in(&off, bob).await;
    let rows = world.rows().await;
    assert_eq!(rows.teams[&group.to_string()]["organization_id"], json!(group));
    assert_eq!(rows.teams[&group.to_string()]["models"], models_of_team(store, &["gpt-4", "gpt-3.5-turbo"]));
    assert_eq!(rows.teams_of(bob), ids(&[group]), "Bob is added to the team");
    assert!(rows.organizations_of(bob).is_empty(), "without the flag, Bob is added to no organization");
    assert_eq!(rows.organizations_of(alice), ids(&[group]), "Alice keeps hers");
}

#[rstest]
#[tokio::test]
async fn manual_organization_and_team_keep_all_values(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let alice = person(&world, "Alice Arden", &[group]);
    organization_by_hand(&world, &"elsewhere", "Elsewhere").await;
    organization_by_hand(&world, &group, "Named by hand").await;
    world.by_hand(LIMIT_ORGANIZATION, &[&group, &1]).await;
    let sql = "update {organizations} set models = '{o1}', spend = 0.5, metadata = '{\"kept\": true}'
               where organization_id = $1";
    world.by_hand(sql, &[&group]).await;
    team_by_hand(&world, &group, "A team by hand").await;
    let sql = "update {teams} set organization_id = 'elsewhere', models = '{o3}', rpm_limit = 3, blocked = true
               where team_id = $1";
    world.by_hand(sql, &[&group]).await;
    let before = world.rows().await;
    let organizations = versions(&world, "organization ").await;
    let team = versions(&world, &format!("team {group}")).await;

    world.sign_in(&with_flag(&world, true).await, alice).await;

    let after = world.rows().await;
    assert_eq!(after.organizations, before.organizations);
    assert_eq!(after.teams, before.teams, "the team stays in the organization that it was moved to");
    let organizations_only =
        versions(&world, "organization ").await.into_iter().filter(|row| !row.starts_with("organization member"));
    assert!(organizations_only.eq(organizations), "an organization's row was written to");
    match store {
        Native => {
            assert_eq!(versions(&world, &format!("team {group}")).await, team, "the team's row was written to");
        }
        // LiteLLM's team row contains the roster, to which Alice was added. Its other columns were compared above.
        LiteLlm => assert_ne!(versions(&world, &format!("team {group}")).await, team, "Alice is on the roster"),
    }
    assert_eq!((after.teams_of(alice), after.organizations_of(alice)), (ids(&[group]), vec!["elsewhere".to_owned()]));
}

#[rstest]
#[tokio::test]
async fn user_joins_organization_the_team_was_moved_to(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [hers, other] = assigned(&world, ["Research", "Nobody's"]);
    let alice = person(&world, "Alice Arden", &[hers]);
    organization_by_hand(&world, &"sales & more", "Sales").await;
    for group in [hers, other] {
        team_by_hand(&world, &group, "A team by hand").await;
        world.by_hand("update {teams} set organization_id = 'sales & more' where team_id = $1", &[&group]).await;
    }
    let on = with_flag(&world, true).await;
    let mut browser = world.sign_in(&on, alice).await;

    let rows = world.rows().await;
    assert_eq!(rows.organizations.keys().collect::<Vec<_>>(), ["sales & more"], "the groups have no own organization");
    assert_eq!((rows.teams_of(alice), rows.organizations_of(alice)), (ids(&[hers]), vec!["sales & more".to_owned()]));
    let member = &rows.organization_members[&format!("{alice}/sales & more")];
    assert_eq!((&member["source"], &member["user_role"]), (&json!("entra"), &json!("internal_user")));
    let run = world.last_run().await;
    assert_eq!((&run["organizations_joined"], &run["organizations_created"]), (&json!(["sales & more"]), &json!([])));
    let me = browser.me(&on).await.json();
    assert_eq!(me["organizations"][0]["organization_id"], "sales & more", "{me:#}");

    let before = world.versions().await;
    world.sign_in(&on, alice).await;
    assert_eq!(world.versions().await, before, "a repeated sign-in writes");

    let bob = person(&world, "Bob Birch", &[hers]);
    world.sign_in(&with_flag(&world, false).await, bob).await;
    assert!(world.rows().await.organizations_of(bob).is_empty(), "without the flag, only the team");
    world.simulator.edit(|directory| directory.unassign(hers));
    world.sign_in(&on, bob).await;
    assert!(world.rows().await.organizations_of(bob).is_empty(), "a group that is not effective adds no organization");
}

#[rstest]
#[tokio::test]
async fn manual_memberships_are_not_changed_or_duplicated(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let alice = person(&world, "Alice Arden", &[]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.by_hand(PUT_IN_TEAM, &[&alice, &group, &"admin"]).await;
    world
        .by_hand(
            "insert into {organization_members} (user_id, organization_id, user_role) values ($1, $2, 'org_admin')",
            &[&alice, &group],
        )
        .await;
    let before = world.versions().await;

    world.simulator.edit(|directory| directory.put(alice, group));
    world.sign_in(&service, alice).await;

    assert_eq!(world.versions().await, before, "Entra agrees now, so nothing is written");
    let rows = world.rows().await;
    assert_eq!(rows.team_members[&format!("{alice}/{group}")]["source"], "manual");
    assert_eq!(rows.team_members[&format!("{alice}/{group}")]["role"], "admin");
    assert_eq!(rows.organization_members[&format!("{alice}/{group}")]["user_role"], "org_admin");
}

#[rstest]
#[tokio::test]
async fn deleted_team_or_organization_membership_is_restored(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [with_team, with_organization] = assigned(&world, ["Has the team", "Has the organization"]);
    let alice = person(&world, "Alice Arden", &[with_team, with_organization]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    let whole = world.rows().await;
    world.by_hand("delete from {organization_members} where organization_id = $1", &[&with_team]).await;
    world.by_hand(TAKE_OUT_OF_TEAM, &[&alice, &with_organization]).await;

    world.sign_in(&service, alice).await;

    assert_eq!(world.rows().await, whole);
    let run = world.last_run().await;
    assert_eq!(run["organizations_joined"], json!([with_team]));
    assert_eq!(run["teams_joined"], json!([with_organization]));
}

#[rstest]
#[tokio::test]
async fn deleted_team_or_organization_is_recreated(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [no_team, no_organization] = assigned(&world, ["Lost its team", "Lost its organization"]);
    let alice = person(&world, "Alice Arden", &[no_team, no_organization]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.by_hand(DELETE_TEAM, &[&no_team]).await;
    world.by_hand(DELETE_ORGANIZATION, &[&no_organization]).await;

    world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    assert_eq!(
        rows.teams[&no_team.to_string()]["organization_id"],
        json!(no_team),
        "a new team is in its organization"
    );
    assert_eq!(
        rows.teams[&no_organization.to_string()]["organization_id"],
        Value::Null,
        "an existing standalone team stays"
    );
    assert_eq!(rows.teams_of(alice), ids(&[no_team, no_organization]));
    assert_eq!(rows.organizations_of(alice), ids(&[no_team, no_organization]));
}

#[rstest]
#[tokio::test]
async fn group_rename_in_entra_changes_nothing(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    let before = world.versions().await;

    world
        .simulator
        .edit(|directory| directory.change_group(group, |group| "Development".clone_into(&mut group.name)))
        .unwrap();
    world.sign_in(&service, alice).await;

    assert_eq!(world.versions().await, before);
    assert_eq!(world.rows().await.teams[&group.to_string()]["team_alias"], "Research");
}

#[rstest]
#[tokio::test]
async fn toggling_orgs_changes_no_existing_row(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let (on, off) = (with_flag(&world, true).await, with_flag(&world, false).await);
    world.sign_in(&on, alice).await;
    let before = world.versions().await;
    for service in [&off, &on, &off, &on] {
        world.sign_in(service, alice).await;
        assert_eq!(world.versions().await, before);
    }

    let [while_off] = assigned(&world, ["Made while the flag was off"]);
    world.simulator.edit(|directory| directory.put(alice, while_off));
    world.sign_in(&off, alice).await;
    let team = versions(&world, &format!("team {while_off}")).await;
    for service in [&on, &off, &on] {
        world.sign_in(service, alice).await;
        assert_eq!(versions(&world, &format!("team {while_off}")).await, team, "the team's row was written to");
        assert_eq!(
            world.rows().await.organizations.len(),
            2,
            "its organization is created when the flag is on, and stays"
        );
    }
}

#[rstest]
#[tokio::test]
async fn lost_assignment_keeps_existing_rows(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [unassigned, deleted] = assigned(&world, ["Unassigned", "Deleted"]);
    let alice = person(&world, "Alice Arden", &[unassigned, deleted]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    let before = world.versions().await;

    world.simulator.edit(|directory| {
        directory.unassign(unassigned);
        directory.remove_group(deleted);
    });
    world.sign_in(&service, alice).await;

    assert_eq!(world.versions().await, before);
    assert_eq!(world.rows().await.teams_of(alice), ids(&[unassigned, deleted]));

    let bob = person(&world, "Bob Birch", &[unassigned]);
    world.sign_in(&service, bob).await;
    assert!(world.rows().await.teams_of(bob).is_empty(), "no user is added to a group that is no longer assigned");
}
