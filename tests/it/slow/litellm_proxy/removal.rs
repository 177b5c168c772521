//! What a real proxy makes of a removed member.

use std::time::{Duration, Instant};

use entra_simulator::{GroupId, ObjectId};
use serde_json::{Value, json};

use entraway::db::RunTrigger;
use tokio_util::sync::CancellationToken;

use super::fixture::SETTINGS;
use super::{Scene, key_of, scene, scene_without_redis};
use crate::litellm::support::{places, team};
use crate::support::scene::{assigned, person};

/// How long the proxy may use data from memory after a message through Redis.
const WITH_REDIS: Duration = Duration::from_secs(1);
/// The same without a message: the lifetime of entries in LiteLLM's memory.
const WITHOUT_REDIS: Duration = Duration::from_mins(1);

/// Sends calls with the key until the status changes to this one. No call that begins after `limit` may have another
/// status. Returns when the first call with this status began.
async fn until_status(scene: &Scene, key: &str, status: u16, limit: Duration) -> Duration {
    let begin = Instant::now();
    loop {
        let after = begin.elapsed();
        let answer = scene.proxy.ask(key, "gpt-4").await;
        if answer.status == status {
            return after;
        }
        assert!(after < limit, "{} instead of {status} after {after:?}: {}", answer.status, answer.body);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Two members of a group, each with a key of its team that the proxy has in memory.
async fn members(scene: &Scene, name: &str) -> (GroupId, [ObjectId; 2], [String; 2]) {
    let [group] = assigned(&scene.world, [name]);
    let [leaves, stays] = ["Leaves", "Stays"].map(|who| person(&scene.world, &format!("{name} {who}"), &[group]));
    scene.sign_in(leaves).await;
    scene.sign_in(stays).await;
    let keys = [scene.key(leaves, group).await, scene.key(stays, group).await];
    for key in &keys {
        until_status(scene, key, 200, WITH_REDIS).await;
    }
    (group, [leaves, stays], keys)
}

#[tokio::test]
async fn redis_message_ends_removed_members_key_within_1_s() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let (group, [leaves, _], [key, other_key]) = members(&scene, "Keys").await;
    let team_key = key_of(&scene.proxy.admin("/key/generate", json!({ "team_id": group })).await);
    until_status(&scene, &team_key, 200, WITH_REDIS).await;
    scene.world.simulator.edit(|directory| directory.take_out(leaves, group));

    scene.sign_in(leaves).await;
    let refused = until_status(&scene, &key, 401, WITH_REDIS).await;
    for key in [&other_key, &team_key] {
        assert_eq!(scene.proxy.ask(key, "gpt-4").await.status, 200, "keys of other members and of the team");
    }

    scene.world.simulator.edit(|directory| directory.put(leaves, group));
    scene.sign_in(leaves).await;
    let accepted = until_status(&scene, &key, 200, WITH_REDIS).await;
    println!("with Redis: refused after {refused:?}, accepted again after {accepted:?}");
}

/// The calls in between do not extend the time for which the proxy uses the key from memory.
#[tokio::test]
async fn proxy_without_redis_ends_removed_members_key_within_60_s() {
    let Some(scene) = scene_without_redis(SETTINGS).await else { return };
    let (group, [leaves, _], [key, other_key]) = members(&scene, "Keys without Redis").await;
    scene.world.simulator.edit(|directory| directory.take_out(leaves, group));
    scene.sign_in(leaves).await;
    let refused = until_status(&scene, &key, 401, WITHOUT_REDIS).await;
    assert_eq!(scene.proxy.ask(&other_key, "gpt-4").await.status, 200, "the key of the other member");
    println!("without Redis: refused after {refused:?}");
}

/// The rows are those that the proxy itself leaves when an administrator removes a member, apart from the keys.
#[tokio::test]
async fn removed_member_equals_that_of_member_delete() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let (group, [leaves, stays], _) = members(&scene, "Rows").await;
    scene.world.simulator.edit(|directory| directory.take_out(leaves, group));
    scene.sign_in(leaves).await;
    assert_eq!(places(&scene.world, &leaves, &group).await, [0, 0, 0]);
    let roster = team(&scene.world, &group).await["members_with_roles"].clone();
    assert_eq!(roster.as_array().unwrap().len(), 1, "{roster}");

    scene.proxy.admin("/team/member_delete", json!({ "team_id": group, "user_id": stays })).await;
    assert_eq!(places(&scene.world, &stays, &group).await, [0, 0, 0]);
    assert_eq!(team(&scene.world, &group).await["members_with_roles"], Value::Array(vec![]));
    let info = scene.proxy.get(&format!("/user/info?user_id={leaves}")).await;
    assert_eq!(info.body["teams"], json!([]), "{}", info.body);
}

/// Runs once. Other tests share the database, and so the lease.
async fn reconcile(scene: &Scene) {
    let stop = CancellationToken::new();
    let run = async || scene.service.app.reconciliation().run(RunTrigger::Command, &stop).await.unwrap();
    crate::support::scene::until("no other test reconciles", async || run().await.is_some()).await;
}

#[tokio::test]
async fn proxy_refuses_keys_of_disabled_user_until_restore() {
    let Some(scene) = scene(SETTINGS).await else { return };
    let (_, [disabled, _], [key, other_key]) = members(&scene, "Accounts").await;
    let own_key = key_of(&scene.proxy.admin("/key/generate", json!({ "user_id": disabled })).await);
    until_status(&scene, &own_key, 200, WITH_REDIS).await;
    let set_enabled =
        |enabled| scene.world.simulator.edit(|directory| directory.set_account_enabled(disabled, enabled));
    set_enabled(false);
    reconcile(&scene).await;
    for key in [&key, &own_key] {
        until_status(&scene, key, 401, WITH_REDIS).await;
    }
    assert_eq!(scene.proxy.ask(&other_key, "gpt-4").await.status, 200, "another user's key");

    set_enabled(true);
    reconcile(&scene).await;
    for key in [&key, &own_key] {
        until_status(&scene, key, 200, WITH_REDIS).await;
    }

    // The sign-in restores the account, too.
    set_enabled(false);
    reconcile(&scene).await;
    until_status(&scene, &key, 401, WITH_REDIS).await;
    set_enabled(true);
    scene.sign_in(disabled).await;
    until_status(&scene, &key, 200, WITH_REDIS).await;
}
