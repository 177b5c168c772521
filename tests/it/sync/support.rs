//! Helpers: sets up users, groups and rows by hand, and checks denials.

use chrono::{DateTime, Utc};
use entra_simulator::{GroupId, ObjectId};
use serde_json::{Value, json};

pub(super) use crate::support::scene::{assigned, many_assigned, person, until_it_waits};
use crate::support::sql_fixtures::{MAKE_ORGANIZATION, MAKE_TEAM};
use crate::support::{Answer, Service, World};

/// Sets the app roles that are assigned directly to the user.
pub(super) fn give_roles(world: &World, person: ObjectId, roles: &[&str]) {
    let roles = roles.iter().copied().map(str::to_owned).collect();
    world.simulator.edit(|directory| directory.change_person(person, |person| person.app_roles = roles)).unwrap();
}

/// An instance with `entra_groups_also_create_orgs` on or off.
pub(super) async fn with_flag(world: &World, on: bool) -> Service {
    world.service_with(|config| config.policy.also_create_orgs = on).await
}

/// The IDs in the order of the store.
pub(super) fn ids(groups: &[GroupId]) -> Vec<String> {
    let mut ids: Vec<String> = groups.iter().map(ToString::to_string).collect();
    ids.sort();
    ids
}

/// An organization, and a team that need not be in it, created by hand before any sign-in.
pub(super) async fn organization_by_hand(world: &World, id: &dyn ToString, alias: &str) {
    world.by_hand(MAKE_ORGANIZATION, &[id, &alias]).await;
}

/// A standalone team, created by hand before any sign-in.
pub(super) async fn team_by_hand(world: &World, id: &dyn ToString, alias: &str) {
    world.by_hand(MAKE_TEAM, &[id, &alias]).await;
}

/// The versions of the rows whose text begins with `of`, such as `team 0d0a…`.
pub(super) async fn versions(world: &World, of: &str) -> Vec<String> {
    let all = world.versions().await;
    let these: Vec<String> = all.into_iter().filter(|version| version.starts_with(of)).collect();
    assert!(!these.is_empty(), "there is no row {of}");
    these
}

/// Parses a timestamp from the store's JSON.
pub(super) fn time(value: &Value) -> DateTime<Utc> {
    value.as_str().unwrap_or_else(|| panic!("{value} is not a timestamp")).parse().unwrap()
}

/// The failures of a sync record as `kind/alias/why`.
pub(super) fn failures(run: &Value) -> Vec<String> {
    let text = |failure: &Value, key: &str| failure[key].as_str().unwrap().to_owned();
    let each = |failure| ["kind", "alias", "why"].map(|key| text(failure, key)).join("/");
    run["failures"].as_array().unwrap().iter().map(each).collect()
}

#[track_caller]
pub(super) fn assert_refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "the response's status: {answer:#?}");
    assert_eq!(answer.code(), code, "the response's code: {answer:#?}");
    let cookies = answer.set_cookies();
    assert!(
        cookies.iter().all(|cookie| cookie.contains("Max-Age=0")),
        "a denied sign-in sets no session cookie, but set {cookies:?}"
    );
}

/// Asserts that the store is empty except for one record of each denial, with its reason and no changes.
pub(super) async fn assert_only_refusals(world: &World, outcomes: &[&str]) {
    let rows = world.rows().await;
    let counts = [
        rows.organizations.len(),
        rows.teams.len(),
        rows.users.len(),
        rows.organization_members.len(),
        rows.team_members.len(),
    ];
    assert_eq!(counts, [0; 5], "a denied sign-in leaves no rows: {rows:#?}");
    let records = i64::try_from(outcomes.len()).unwrap();
    assert_eq!(world.sessions_and_runs().await, (0, records), "sessions and sync records after denied sign-ins");
    assert_eq!(world.refusals().await, outcomes, "the outcomes of the records");
    assert_did_nothing(&world.last_run().await);
}

/// Asserts that the record of a sign-in has no created, added or changed rows.
#[track_caller]
pub(super) fn assert_did_nothing(run: &Value) {
    for list in ["organizations_created", "teams_created", "organizations_joined", "teams_joined", "failures", "notes"]
    {
        assert_eq!(run[list], json!([]), "{list} in the record: {run:#}");
    }
    assert_eq!(run["touched"], json!([]), "{run:#}");
    assert_eq!((&run["user_created"], &run["user_updated"]), (&json!(false), &json!(false)), "{run:#}");
}

/// A user's groups in `entraway.person_groups`: the name of each, and whether it is assigned.
pub(super) async fn groups_kept(world: &World, person: ObjectId) -> Option<Value> {
    world.readings().await.remove(&person.to_string()).map(|mut reading| reading["groups"].take())
}
