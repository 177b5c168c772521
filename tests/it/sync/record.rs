//! The sync record: one row per sign-in, with the lists read, the rows written and left alone, and the duration.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use entra_simulator::{Endpoint, Fault, FaultRule, GroupId};
use rstest::rstest;
use serde_json::{Value, json};

use super::support::{assigned, failures, ids, person, time, with_flag};
use crate::support::sql_fixtures::DELETE_ALL_GROUPS;
use crate::support::{LiteLlm, Native, StoreKind, World};

/// The newest record without its variable columns, which are checked here.
async fn record(world: &World) -> Value {
    let mut run = world.last_run().await;
    let columns = run.as_object_mut().unwrap();
    assert!(columns.remove("run_id").unwrap().as_str().unwrap().len() == 36);
    let age = world.clock.now() - time(&columns.remove("started_at").unwrap());
    assert!((0..60).contains(&age.num_seconds()), "the recorded start is {age} ago");
    for column in ["entra_ms", "graph_ms", "plan_ms", "store_ms"] {
        let took = columns.remove(column).unwrap().as_f64().unwrap();
        assert!(took > 0.0 && took < 60_000.0, "{column} is {took}");
    }
    run
}

#[rstest]
#[tokio::test]
async fn signin_leaves_one_record_of_reads_and_writes(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [hers, other] = assigned(&world, ["Hers", "Other"]);
    let not_assigned = world.simulator.edit(|directory| directory.group("Not assigned"));
    let alice = person(&world, "Alice Arden", &[hers, not_assigned]);
    let tenant = world.simulator.edit(|directory| directory.tenant_id);
    let service = world.service().await;

    world.sign_in(&service, alice).await;
    let first = json!({
        "user_id": alice, "tenant_id": tenant, "outcome": "signed_in", "touched": ids(&[hers, other]),
        "assigned_groups": "known", "assigned_groups_read": 2, "assigned_groups_why": null,
        "member_of": "known", "member_of_read": 2, "member_of_why": null,
        "organizations_created": ids(&[hers, other]), "teams_created": ids(&[hers, other]),
        "organizations_joined": [hers], "teams_joined": [hers],
        "removed_from_organizations": [], "removed_from_teams": [], "keys_blocked": 0,
        "user_created": true, "user_updated": false, "failures": [], "notes": [], "retries": 0,
        "team_models_updated": [],
        "role_changes": [{ "scope": "global", "before": null, "after": "internal_user" }],
    });
    assert_eq!(record(&world).await, first, "the first sign-in");

    world.sign_in(&service, alice).await;
    let mut nothing = first.clone();
    let lists = ["organizations_created", "teams_created", "organizations_joined", "teams_joined", "touched"];
    for list in lists.into_iter().chain(["role_changes"]) {
        nothing[list] = json!([]);
    }
    nothing["user_created"] = json!(false);
    assert_eq!(record(&world).await, nothing, "the second, which had nothing to do");

    let [third] = assigned(&world, ["Third"]);
    world.simulator.edit(|directory| {
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
    some["touched"] = json!(ids(&[other, third]));
    some["user_updated"] = json!(true);
    assert_eq!(record(&world).await, some, "the third, after some things changed in Entra");

    assert_eq!(world.sessions_and_runs().await, (3, 3));
}

#[rstest]
#[tokio::test]
async fn users_see_their_own_last_sync(#[values(Native, LiteLlm)] store: StoreKind) {
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
    assert_eq!(told["last_sync"]["teams_created"], 0, "Alice's sign-in created them");
}

#[rstest]
#[tokio::test]
async fn record_without_orgs_names_only_teams(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Research"]);
    let alice = person(&world, "Alice Arden", &[group]);
    world.sign_in(&world.service_with(|config| config.policy.also_create_orgs = false).await, alice).await;
    let run = record(&world).await;
    assert_eq!(run["touched"], json!([group]));
    assert_eq!((&run["organizations_created"], &run["organizations_joined"]), (&json!([]), &json!([])));
    assert_eq!((&run["teams_created"], &run["teams_joined"]), (&json!([group]), &json!([group])));
}

/// The origin of each team by name: whether organizations were on, and why its organization was rejected. Checks that
/// the record of a sign-in lists its creation.
async fn made(world: &World, groups: &[(&'static str, GroupId)]) -> BTreeMap<&'static str, (bool, Option<String>)> {
    let sql = "select m.team_id, m.organizations_on, m.organization_refused,
                      exists (select from entraway.sync_runs r
                              where r.started_at = m.made_at and m.team_id = any(r.teams_created))
               from entraway.made_teams m";
    let rows: Vec<(String, bool, Option<String>, bool)> = sqlx::query_as(sql).fetch_all(&world.pool).await.unwrap();
    let made = rows.into_iter().map(|(id, on, refused, recorded)| {
        let (name, _) = groups.iter().find(|(_, group)| group.to_string() == id).expect("a team of a group");
        assert!(recorded, "no sync record has the creation of {name}");
        (*name, (on, refused))
    });
    made.collect()
}

/// The database rejects the organization of the group "Refused".
const REFUSE: &str = "create function refuse() returns trigger language plpgsql as $$ begin
        if new.organization_alias = 'Refused' then raise exception 'no'; end if; return new;
    end $$;
    create trigger refuse before insert on {organizations} for each row execute function refuse()";

#[rstest]
#[tokio::test]
async fn record_lists_touched_groups_and_origin_of_each_team(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [alone] = assigned(&world, ["Alone"]);
    let bob = person(&world, "Bob Birch", &[]);
    world.sign_in(&with_flag(&world, false).await, bob).await;
    let [joined, untouched] = assigned(&world, ["Joined", "Untouched"]);
    let service = with_flag(&world, true).await;
    world.sign_in(&service, bob).await;
    let before = world.versions().await;
    assert_eq!(before.iter().filter(|version| version.starts_with("made team")).count(), 3);

    let [created, refused] = assigned(&world, ["Created", "Refused"]);
    world.sql(REFUSE).await;
    let alice = person(&world, "Alice Arden", &[alone, joined]);
    world.sign_in(&service, alice).await;

    let run = world.last_run().await;
    assert_eq!(failures(&run), ["organization/Refused/P0001: no"]);
    assert_eq!(run["notes"], json!([{ "note": "team_stays_standalone", "team": alone }]));
    assert_eq!(run["touched"], json!(ids(&[alone, joined, created, refused])), "{run:#}");
    let groups =
        [("Alone", alone), ("Joined", joined), ("Untouched", untouched), ("Created", created), ("Refused", refused)];
    let told = BTreeMap::from([
        ("Alone", (false, None)),
        ("Joined", (true, None)),
        ("Untouched", (true, None)),
        ("Created", (true, None)),
        ("Refused", (true, Some("P0001: no".to_owned()))),
    ]);
    assert_eq!(made(&world, &groups).await, told);
    let after = world.versions().await;
    let rewritten: Vec<&String> =
        before.iter().filter(|version| version.starts_with("made team") && !after.contains(version)).collect();
    assert_eq!(rewritten, [] as [&String; 0], "the origin of the others is not written again");

    // A deleted team is created again, with a new origin.
    world.sql(DELETE_ALL_GROUPS).await;
    world.sign_in(&with_flag(&world, false).await, alice).await;
    let told = groups.map(|(name, _)| (name, (false, None))).into();
    assert_eq!(made(&world, &groups).await, told);
}

/// The stored groups of the user without times; the time since when; and the row's version.
async fn kept(world: &World) -> (Value, Value, String) {
    let sql = "select to_jsonb(g), xmin || ' ' || ctid from entraway.person_groups g";
    let (mut row, version): (Value, String) = sqlx::query_as(sql).fetch_one(&world.pool).await.unwrap();
    let since = row.as_object_mut().unwrap().remove("since").unwrap();
    row.as_object_mut().unwrap().remove("confirmed_at").unwrap();
    (row, since, version)
}

#[rstest]
#[tokio::test]
async fn user_groups_are_stored_only_when_changed(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [hers, _] = assigned(&world, ["Hers", "Other"]);
    let not_assigned = world.simulator.edit(|directory| directory.group("Not assigned"));
    let alice = person(&world, "Alice Arden", &[hers, not_assigned]);
    let tenant = world.simulator.edit(|directory| directory.tenant_id);
    let (service, unconfigured) =
        (world.service().await, world.service_with(|config| config.entra.service_principal_id = None).await);
    let told = |state: &str, name: &str, [of_hers, of_the_other]: [Value; 2]| {
        let groups = json!({
            hers.to_string(): { "name": name, "assigned": of_hers },
            not_assigned.to_string(): { "name": "Not assigned", "assigned": of_the_other },
        });
        json!({ "user_id": alice, "tenant_id": tenant, "assigned_groups": state, "groups": groups })
    };
    let (known, null) = ([json!(true), json!(false)], [Value::Null, Value::Null]);
    let mut last = None;
    for (how, differs, expected) in [
        ("the first", true, told("known", "Hers", known.clone())),
        ("again", false, told("known", "Hers", known.clone())),
        ("with another name", true, told("known", "Renamed", known.clone())),
        ("her groups unknown", false, told("known", "Renamed", known.clone())),
        ("the assigned groups unknown", false, told("known", "Renamed", known.clone())),
        ("both unknown", false, told("known", "Renamed", known.clone())),
        ("nothing configured", true, told("not_configured", "Renamed", null)),
        ("as at first", true, told("known", "Renamed", known)),
    ] {
        world.clock.advance(TimeDelta::minutes(1));
        if how == "with another name" {
            world
                .simulator
                .edit(|directory| directory.change_group(hers, |group| "Renamed".clone_into(&mut group.name)));
        }
        for (list, endpoint) in [("her groups", Endpoint::MemberOf), ("the assigned groups", Endpoint::AssignedTo)] {
            if how == "both unknown" || how == format!("{list} unknown") {
                world.simulator.fault(FaultRule::on(endpoint, Fault::status(403)));
            }
        }
        world.sign_in(if how == "nothing configured" { &unconfigured } else { &service }, alice).await;
        world.simulator.clear_faults();
        let (row, since, version) = kept(&world).await;
        assert_eq!(row, expected, "{how}");
        if differs {
            assert_eq!(since, world.last_run().await["started_at"], "{how}: the start time");
            assert_ne!(Some(&(since.clone(), version.clone())), last.as_ref(), "{how}");
        } else {
            assert_eq!(Some(&(since.clone(), version.clone())), last.as_ref(), "{how}: it is not written again");
        }
        last = Some((since, version));
    }
}

#[rstest]
#[tokio::test]
async fn stored_groups_are_confirmed_daily_and_expire_in_90_days(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [hers] = assigned(&world, ["Hers"]);
    let alice = person(&world, "Alice Arden", &[hers]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    let (row, since, version) = kept(&world).await;
    world.clock.advance(TimeDelta::hours(23));
    world.sign_in(&service, alice).await;
    assert_eq!(kept(&world).await, (row.clone(), since.clone(), version.clone()), "less than a day has passed");
    world.clock.advance(TimeDelta::hours(2));
    world.sign_in(&service, alice).await;
    let (row_then, since_then, version_then) = kept(&world).await;
    assert_eq!((row_then, since_then), (row, since), "nothing else has changed");
    assert_ne!(version_then, version, "the row is confirmed");
    let left = async || -> i64 {
        sqlx::query_scalar("select count(*) from entraway.person_groups").fetch_one(&world.pool).await.unwrap()
    };
    world.clock.advance(TimeDelta::days(89));
    service.app.delete_expired().await.unwrap();
    assert_eq!(left().await, 1, "89 days after the confirmation");
    world.clock.advance(TimeDelta::days(2));
    service.app.delete_expired().await.unwrap();
    assert_eq!(left().await, 0, "it is deleted together with the sync records");
}

#[rstest]
#[tokio::test]
async fn new_group_has_unknown_assignment_if_list_is_unknown(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [hers, new] = assigned(&world, ["Hers", "New"]);
    let alice = person(&world, "Alice Arden", &[hers]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    world.simulator.edit(|directory| directory.put(alice, new));
    world.simulator.fault(FaultRule::on(Endpoint::AssignedTo, Fault::status(403)));
    world.sign_in(&service, alice).await;
    let (row, ..) = kept(&world).await;
    let assigned = |group: &dyn ToString| row["groups"][group.to_string()]["assigned"].clone();
    assert_eq!((assigned(&hers), assigned(&new)), (json!(true), Value::Null), "{row:#}");
}
