//! Audit events: which acts write one, what it says, that it cannot be changed, and how long it is kept.

use chrono::TimeDelta;
use entra_simulator::TenantId;
use entraway::config::Tenant;
use entraway::domain::StoreKind;
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::scene::{assigned, person};
use crate::support::{Browser, LiteLlm, Native, Service, World, no_address_is_in, tenants};

const ACTIONS: [&str; 2] = ["sessions_revoked", "sign_in_denied"];

/// Posts a form, which must redirect.
async fn post(browser: &mut Browser, service: &Service, path: &str) {
    assert_eq!(browser.post(service.at(path)).await.status, 303, "{path}");
}

/// Names of the sessions of a user, newest first.
async fn session_names(world: &World, user: &str) -> Vec<String> {
    let sql = "select encode(substring(token_hash for 16), 'hex') from entraway.sessions where user_id = $1
               order by created_at desc, token_hash";
    sqlx::query_scalar(sql).bind(user).fetch_all(&world.pool).await.unwrap()
}

#[rstest]
#[tokio::test]
async fn revoked_sessions_are_audited_and_sign_outs_are_not(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let ada = person(&world, "Ada Min", &[]);
    let admins = [ada.to_string()].into();
    let service = world.service_with(|config| config.policy.admin_user_ids = admins).await;
    let mut browsers = [world.sign_in(&service, alice).await, world.sign_in(&service, alice).await];
    let mut of_ada = world.sign_in(&service, ada).await;
    let (alice, ada) = (alice.to_string(), ada.to_string());
    let tenant = world.simulator.edit(|directory| directory.tenant_id).to_string();
    let event = |actor: &str, actor_id: &str, sessions: u32| {
        json!({ "actor": actor, "actor_id": actor_id, "action": "sessions_revoked", "user_id": alice, "object_id": alice,
                "target_kind": "session", "before": { "sessions": sessions }, "evidence": { "tenant_id": tenant },
                "result": "applied" })
    };

    // The user ends the session of the other browser, and signs out.
    let other = session_names(&world, &alice).await.remove(0);
    post(&mut browsers[0], &service, &format!("/sessions/{other}/end")).await;
    post(&mut browsers[0], &service, "/sso/logout").await;
    let mut expected = vec![event("user", &alice, 1)];
    assert_eq!(world.audit_events(&ACTIONS).await, expected);

    // An operator ends one session, and then two.
    world.sign_in(&service, alice.parse().unwrap()).await;
    let one = session_names(&world, &alice).await.remove(0);
    post(&mut of_ada, &service, &format!("/people/{alice}/sessions/{one}/end")).await;
    for _ in 0..2 {
        world.sign_in(&service, alice.parse().unwrap()).await;
    }
    post(&mut of_ada, &service, &format!("/people/{alice}/sessions/end")).await;
    expected.extend([event("operator", &ada, 1), event("operator", &ada, 2)]);
    assert_eq!(world.audit_events(&ACTIONS).await, expected);

    // Without a session there is nothing to record.
    post(&mut of_ada, &service, &format!("/people/{alice}/sessions/end")).await;
    assert_eq!(world.audit_events(&ACTIONS).await, expected);
}

#[rstest]
#[tokio::test]
async fn denied_signin_is_audited_once_an_hour(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    let service = world.service_with(|config| config.policy.require_group = true).await;
    world.sign_in(&service, alice).await;
    world.sign_in(&service, alice).await;
    world.simulator.edit(|directory| directory.take_out(alice, group));
    for _ in 0..3 {
        assert_eq!(world.try_sign_in(&service, alice).await.code(), "no_group");
        world.clock.advance(TimeDelta::minutes(1));
    }
    let sql = "select run_id from entraway.sync_runs where outcome = 'no_group' order by started_at limit 1";
    let run: Uuid = sqlx::query_scalar(sql).fetch_one(&world.pool).await.unwrap();
    let tenant = world.simulator.edit(|directory| directory.tenant_id).to_string();
    let common = json!({ "actor": "sign_in", "user_id": alice, "object_id": alice, "cause": "no_group", "run_id": run,
                         "evidence": { "tenant_id": tenant }, "result": "applied" });
    let event = |own: Value| {
        let mut event = common.clone();
        event.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        event
    };
    let mut events = world.audit_events(&ACTIONS).await;
    events.sort_by_key(|event| event["action"].to_string());
    let expected = [
        event(json!({ "action": "sessions_revoked", "target_kind": "session", "before": { "sessions": 2 } })),
        event(json!({ "action": "sign_in_denied", "target_kind": "account" })),
    ];
    assert_eq!(events, expected, "the first denial, and the sessions that it ended");

    world.clock.advance(TimeDelta::hours(1));
    world.try_sign_in(&service, alice).await;
    assert_eq!(world.audit_events(&["sign_in_denied"]).await.len(), 2, "again after an hour");
    let whole: Vec<String> =
        sqlx::query_scalar("select e::text from entraway.audit_events e").fetch_all(&world.pool).await.unwrap();
    no_address_is_in("an audit event", &whole.join("\n"));
}

#[tokio::test]
async fn denied_user_without_row_is_audited_by_object_id() {
    let world = World::of(LiteLlm).await;
    assigned(&world, ["Platform"]);
    let nora = person(&world, "Nora None", &[]);
    let service = world.service_with(|config| config.policy.require_group = true).await;
    assert_eq!(world.try_sign_in(&service, nora).await.code(), "no_group");
    let events = world.audit_events(&ACTIONS).await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((&events[0]["object_id"], &events[0]["user_id"]), (&json!(nora), &Value::Null));
}

/// Users of other tenants are unlimited, so only those who had a session are recorded.
#[tokio::test]
async fn denied_tenant_is_audited_only_if_sessions_end() {
    let world = World::new().await;
    let partner = TenantId::from(Uuid::new_v4());
    let pat = world.simulator.edit(|directory| directory.person("Pat Partner", |pat| pat.tenant_id = Some(partner)));
    let home = world.simulator.edit(|directory| directory.tenant_id);
    let service = async |allowed: &[TenantId]| {
        let allowed = tenants(allowed.iter().copied());
        world
            .service_with(|config| {
                config.entra.tenant = Tenant::Organizations;
                config.entra.allowed_tenants = allowed;
            })
            .await
    };
    world.sign_in(&service(&[home, partner]).await, pat).await;
    let now = service(&[home]).await;
    for _ in 0..2 {
        assert_eq!(world.try_sign_in(&now, pat).await.code(), "tenant_not_allowed");
    }
    let events = world.audit_events(&ACTIONS).await;
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(
        (&events[0]["cause"], &events[0]["evidence"]["tenant_id"]),
        (&json!("tenant_not_allowed"), &json!(partner))
    );
}

#[tokio::test]
async fn audit_events_cannot_be_updated() {
    let world = World::new().await;
    world.service().await;
    let event = json!({ "at": world.clock.now(), "action": "team_member_removed", "target_kind": "team" });
    world.insert_audit_events(vec![event]).await;
    let update = sqlx::query("update entraway.audit_events set cause = 'nothing'").execute(&world.pool).await;
    let error = update.unwrap_err().to_string();
    assert!(error.contains("audit events cannot be changed"), "{error}");
    let cause: Option<String> =
        sqlx::query_scalar("select cause from entraway.audit_events").fetch_one(&world.pool).await.unwrap();
    assert_eq!(cause, None);
}

#[rstest]
#[tokio::test]
async fn audit_events_are_deleted_after_retention(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let service = world.service().await;
    let shorter = world.service_with(|config| config.audit.retention = std::time::Duration::from_hours(24 * 30)).await;
    let event = |days| {
        let at = world.clock.now() - TimeDelta::days(days);
        json!({ "at": at, "action": "role_changed", "target_kind": "account", "cause": days.to_string() })
    };
    world.insert_audit_events([401, 399, 31, 29].map(event).into()).await;
    let left = async || {
        let events = world.audit_events(&["role_changed"]).await;
        events.iter().map(|event| event["cause"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    service.app.delete_expired().await.unwrap();
    assert_eq!(left().await, ["399", "31", "29"], "the default is 400 days");
    shorter.app.delete_expired().await.unwrap();
    assert_eq!(left().await, ["29"]);
}

/// Events that only the statement counts get IDs of their time.
#[tokio::test]
async fn event_ids_are_uuids_of_version_7() {
    let world = World::new().await;
    world.service().await;
    let id: Uuid = sqlx::query_scalar("select entraway.uuid_at('2026-11-30 12:00:00.123+00')")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
    assert_eq!(&id.as_bytes()[..6], &1_796_040_000_123_u64.to_be_bytes()[2..], "{id}");
}
