//! What a run would hold, as the plan shows it: configured limits, settings, earlier removals, approvals.

use chrono::{DateTime, TimeDelta, Utc};
use entra_simulator::GroupId;
use entraway::db::{Db, LEASE_DURATION, RunTrigger};
use entraway::util::clock::Clock;
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::program::{CONFIG, environment};
use super::{accept_settings, members, plan, plan_of, planned, world};
use crate::support::scene::assigned;
use crate::support::{Native, World};

/// A world with a group of five, which one member has left.
async fn one_left() -> (World, GroupId) {
    let world = world(Native).await;
    let [group] = assigned(&world, ["Evals"]);
    let users = members(&world, group, 5).await;
    world.simulator.edit(|directory| directory.take_out(users[0], group));
    (world, group)
}

#[tokio::test]
async fn first_run_and_changed_settings_hold_every_removal() {
    let (world, _) = one_left().await;
    let env = environment(&world);
    let first = plan_of(&world, CONFIG, &[], &env).await;
    assert_eq!(first.code, 3, "{first:?}");
    assert!(first.stdout.contains("No run has removed memberships with these settings yet."), "{}", first.stdout);
    accept_settings(&world, CONFIG, &env).await;
    assert_eq!(plan_of(&world, CONFIG, &[], &env).await.code, 2);
    for (from, to) in [("sync: {", "sync: {nested_groups: true, "), ("sync: {", "sync: {memberships: additive, ")] {
        let changed = plan_of(&world, &CONFIG.replace(from, to), &[], &env).await;
        assert_eq!(changed.code, 3, "{changed:?}");
        assert!(changed.stdout.contains("Settings that decide about removals have changed"), "{}", changed.stdout);
    }
    let limits = CONFIG.replace("sync: {", "sync: {removal_limits: {day_percent: 90}, ");
    assert_eq!(plan_of(&world, &limits, &[], &env).await.code, 2, "limits do not decide what is removed");
}

#[tokio::test]
async fn plan_shows_configured_limits() {
    let (world, _) = one_left().await;
    let env = environment(&world);
    let yaml = CONFIG.replace("sync: {", "sync: {removal_limits: {run_percent: 19, run_minimum: 1}, ");
    accept_settings(&world, &yaml, &env).await;
    let ended = plan_of(&world, &yaml, &[], &env).await;
    assert_eq!(ended.code, 3, "{ended:?}");
    let line = "All groups: 1 of 5 memberships would end. The limit is 19 %, from 1 on";
    assert!(ended.stdout.contains(line), "{}", ended.stdout);
}

#[tokio::test]
async fn held_plan_names_its_hash_until_it_is_approved() {
    let (world, group) = one_left().await;
    world.simulator.edit(|directory| directory.empty_group(group));
    let (code, json) = planned(&world).await;
    assert_eq!((code, &json["approved"]), (3, &Value::Null), "{json:#}");
    let hash = json["hash"].as_str().unwrap();
    let ended = plan(&world, &[]).await;
    assert!(ended.stdout.contains(&format!("\n  entraway approve {hash}\n")), "{}", ended.stdout);
    sqlx::query(
        "insert into entraway.held_plans (plan_hash, run_id, held_at, status, decided_at, changes)
         values ($1, gen_random_uuid(), now(), 'approved', now(), 10)",
    )
    .bind(hash)
    .execute(&world.pool)
    .await
    .unwrap();
    let (code, approved) = planned(&world).await;
    assert_eq!((code, &approved["approved"], &approved["hash"]), (2, &json!(hash), &Value::Null), "{approved:#}");
    let ended = plan(&world, &[]).await;
    assert!(ended.stdout.contains(&format!("Plan {hash} is approved")), "{}", ended.stdout);
}

/// Records a removal by a run, or by another actor.
async fn removed(world: &World, run: Uuid, user: u128, action: &str, actor: &str, at: DateTime<Utc>) {
    sqlx::query(
        "insert into entraway.audit_events (event_id, at, run_id, actor, action, object_id, target_kind, result)
         values (gen_random_uuid(), $1, $2, $3, $4, $5, 'team', 'applied')",
    )
    .bind(at)
    .bind(run)
    .bind(actor)
    .bind(action)
    .bind(Uuid::from_u128(user).to_string())
    .execute(&world.pool)
    .await
    .unwrap();
}

#[tokio::test]
async fn removals_of_the_last_day_are_counted() {
    const TEAM: &str = "team_member_removed";
    const ORGANIZATION: &str = "organization_member_removed";
    let world = world(Native).await;
    let db = Db::new(world.kind, &world.database.clone().into(), 1).unwrap();
    let (now, run) = (Clock::system().now(), Uuid::from_u128(1));
    let hours = |hours| now - TimeDelta::hours(hours);
    assert_eq!(db.removed_in_last_day(now).await.unwrap(), 0);
    removed(&world, run, 1, TEAM, "job", hours(1)).await;
    removed(&world, run, 1, TEAM, "job", hours(1)).await;
    removed(&world, run, 1, ORGANIZATION, "job", hours(1)).await;
    removed(&world, run, 2, ORGANIZATION, "job", hours(23)).await;
    assert_eq!(db.removed_in_last_day(now).await.unwrap(), 3, "an organization counts without a team only");
    removed(&world, run, 3, TEAM, "job", hours(25)).await;
    removed(&world, run, 4, TEAM, "sign_in", hours(1)).await;
    removed(&world, run, 5, "team_member_added", "job", hours(1)).await;
    assert_eq!(db.removed_in_last_day(now).await.unwrap(), 3, "older, or not removed by a run");
}

#[rstest]
#[case::plain(json!({ "approved": null, "max_removals": null }), 1)]
#[case::approved(json!({ "approved": "ab", "max_removals": null }), 0)]
#[case::max_removals(json!({ "approved": null, "max_removals": 5 }), 0)]
#[tokio::test]
async fn approved_removals_do_not_count_for_the_day(#[case] stored: Value, #[case] counted: usize) {
    let world = world(Native).await;
    let db = Db::new(world.kind, &world.database.clone().into(), 1).unwrap();
    let (now, run) = (Clock::system().now(), Uuid::from_u128(1));
    let lease = db.take_lease(Uuid::from_u128(9), LEASE_DURATION).await.unwrap().unwrap();
    db.start_run(lease, run, RunTrigger::Interval, now).await.unwrap();
    db.store_plan(lease, run, &stored).await.unwrap();
    removed(&world, run, 1, "team_member_removed", "job", now).await;
    assert_eq!(db.removed_in_last_day(now).await.unwrap(), counted);
}

#[tokio::test]
async fn settings_are_accepted_under_the_lease_only() {
    let world = world(Native).await;
    let db = Db::new(world.kind, &world.database.clone().into(), 1).unwrap();
    assert_eq!(db.accepted_settings().await.unwrap(), None);
    let lease = db.take_lease(Uuid::from_u128(9), LEASE_DURATION).await.unwrap().unwrap();
    for hash in ["one", "two", "two"] {
        db.accept_settings(lease, hash).await.unwrap();
        assert_eq!(db.accepted_settings().await.unwrap().as_deref(), Some(hash));
    }
    db.release_lease(lease).await.unwrap();
    let error = db.accept_settings(lease, "three").await.unwrap_err();
    assert_eq!((error.code(), db.accepted_settings().await.unwrap().as_deref()), ("lease_lost", Some("two")));
}
