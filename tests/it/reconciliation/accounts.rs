//! Disabled, deleted and restored accounts: what ends, what stays, and what comes back.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use entra_simulator::ObjectId;
use entraway::db::{AccountRun, AppliedAccounts, Db, DbError, LEASE_DURATION, RunStatus};
use entraway::domain::{Identity, UserRole};
use entraway::policy::MembershipSync;
use entraway::reconciliation::{AccountAction, AccountChange, DisabledCause};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Scene, run};
use crate::support::scene::{person, until};
use crate::support::{Browser, LiteLlm, Native, Service, StoreKind, World};

const SET_ROLE: &str = "update {users} set user_role = $2 where user_id = $1";

fn set_enabled(world: &World, user: ObjectId, enabled: bool) {
    world.simulator.edit(|directory| directory.set_account_enabled(user, enabled));
}

async fn verify(browser: &mut Browser, service: &Service) -> u16 {
    browser.get(service.at("/auth/verify")).await.status.as_u16()
}

impl Scene {
    /// Object ID, cause, and whether LiteLLM was blocked, of each disabled account.
    async fn disabled(&self) -> Value {
        let sql = "select coalesce(jsonb_agg(jsonb_build_array(object_id, cause, blocked) order by object_id), '[]')
                   from entraway.disabled_accounts";
        self.json(sql).await
    }

    async fn role_of(&self, user: ObjectId) -> Value {
        let table = match self.world.kind {
            Native => "entraway.users",
            LiteLlm => r#"public."LiteLLM_UserTable""#,
        };
        self.json(&format!("select to_jsonb(user_role) from {table} where user_id = '{user}'")).await
    }

    /// Metadata of the user's row in a LiteLLM database.
    async fn metadata_of(&self, user: ObjectId) -> Value {
        self.json(&format!(r#"select metadata from public."LiteLLM_UserTable" where user_id = '{user}'"#)).await
    }

    async fn set_metadata(&self, user: ObjectId, metadata: Value) {
        let sql = r#"update public."LiteLLM_UserTable" set metadata = $2 where user_id = $1"#;
        sqlx::query(sql).bind(user.to_string()).bind(metadata).execute(&self.world.pool).await.unwrap();
    }

    /// Actor, action, cause, before and after of the events about accounts.
    async fn events(&self) -> Value {
        self.json(
            "select coalesce(jsonb_agg(jsonb_build_array(actor, action, cause, before, after) order by at, action), '[]')
             from entraway.audit_events where action in ('account_disabled', 'account_enabled', 'sessions_revoked')
                or action = 'role_changed' and actor = 'job'",
        )
        .await
    }

    /// Applies changes of these users as a run that began at this time.
    async fn apply(
        &self,
        lease_for: Duration,
        started_at: DateTime<Utc>,
        users: &[ObjectId],
    ) -> Result<AppliedAccounts, DbError> {
        let db = Db::new(self.world.kind, &self.world.database.clone().into(), 2).unwrap();
        let lease = db.take_lease(Uuid::new_v4(), lease_for).await?.expect("no other replica runs");
        let tenant = self.world.simulator.edit(|directory| directory.tenant_id);
        let changes: Vec<AccountChange> = users
            .iter()
            .map(|user| AccountChange {
                user: Identity { tenant_id: tenant.as_uuid().into(), object_id: user.as_uuid().into() },
                user_name: None,
                action: AccountAction::Disable { cause: DisabledCause::Disabled },
            })
            .collect();
        let now = self.world.clock.now();
        let run = AccountRun { run_id: Uuid::new_v4(), started_at, now, lowered_role: UserRole::InternalUser };
        let applied = db.apply_account_changes(lease, &run, &changes).await;
        db.release_lease(lease).await?;
        db.close().await;
        applied
    }
}

#[rstest]
#[tokio::test]
async fn disabled_account_loses_sessions_and_keeps_teams(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 3).await;
    let alice = scene.users[0];
    let other = scene.world.service().await;
    let mut browser = scene.world.sign_in(&scene.service, alice).await;
    let mut bob = scene.world.sign_in(&scene.service, scene.users[1]).await;
    for service in [&scene.service, &other] {
        until("sessions are cached", async || service.app.sessions().is_caching()).await;
        assert_eq!(verify(&mut browser, service).await, 200);
    }
    set_enabled(&scene.world, alice, false);

    let finished = scene.run().await;
    assert_eq!((finished.status, finished.removed), (RunStatus::Done, 0), "{finished:?}");
    for service in [&scene.service, &other] {
        until("the session ends", async || verify(&mut browser, service).await == 401).await;
    }
    assert_eq!(verify(&mut bob, &scene.service).await, 200);
    assert_eq!(scene.teams_of(alice).await, [scene.group.to_string()]);
    assert_eq!(scene.disabled().await, json!([[alice, "disabled", store == LiteLlm]]));
    let expected = json!([
        ["job", "account_disabled", "disabled", null, null],
        ["job", "sessions_revoked", "account_disabled", { "sessions": 2 }, null],
    ]);
    assert_eq!(scene.events().await, expected);
    if store == LiteLlm {
        let expected = json!({ "auth_provider": "microsoft", "scim_active": false });
        assert_eq!(scene.metadata_of(alice).await, expected, "other keys stay");
    }

    let versions = scene.world.versions().await;
    scene.run().await;
    assert_eq!(scene.world.versions().await, versions, "another run changes nothing");
}

#[rstest]
#[tokio::test]
async fn operator_role_is_lowered_and_returns_only_from_entra(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 3).await;
    let [alice, bob] = [scene.users[0], scene.users[1]];
    for (user, role) in [(alice, "proxy_admin"), (bob, "proxy_admin_viewer")] {
        scene.world.by_hand(SET_ROLE, &[&user, &role]).await;
        set_enabled(&scene.world, user, false);
    }
    scene.run().await;
    let events = scene.events().await;
    for role in ["proxy_admin", "proxy_admin_viewer"] {
        let event = json!(["job", "role_changed", "account_disabled", role, "internal_user"]);
        assert!(events.as_array().unwrap().contains(&event), "{events}");
    }
    scene.world.simulator.edit(|directory| {
        directory.change_person(bob, |person| person.app_roles = vec!["proxy_admin".to_owned()]);
        for user in [alice, bob] {
            directory.set_account_enabled(user, true);
        }
    });
    scene.run().await;
    assert_eq!(scene.disabled().await, json!([]));
    assert_eq!([scene.role_of(alice).await, scene.role_of(bob).await], ["internal_user"; 2], "a restore gives no role");
    for user in [alice, bob] {
        scene.world.sign_in(&scene.service, user).await;
    }
    assert_eq!([scene.role_of(alice).await, scene.role_of(bob).await], ["internal_user", "proxy_admin"]);
    assert_eq!(scene.world.last_run_of(alice).await["notes"], json!([]), "the lowered role was not set by hand");
}

#[tokio::test]
async fn restore_gives_back_exactly_what_was_blocked() {
    let scene = Scene::new(LiteLlm, 4).await;
    let before = [
        json!({ "auth_provider": "microsoft" }),
        json!({ "scim_active": true, "note": "kept" }),
        json!({ "scim_active": false, "note": "another program blocked the user" }),
        json!({ "scim_active": null }),
    ];
    for (user, metadata) in scene.users.iter().zip(&before) {
        scene.set_metadata(*user, metadata.clone()).await;
        set_enabled(&scene.world, *user, false);
    }
    scene.run().await;
    for (user, metadata) in scene.users.iter().zip(&before) {
        let mut blocked = metadata.clone();
        blocked["scim_active"] = json!(false);
        assert_eq!(scene.metadata_of(*user).await, blocked);
    }
    // An operator who sets the value while the account is disabled is overruled.
    scene.set_metadata(scene.users[0], json!({ "auth_provider": "microsoft", "scim_active": true })).await;
    scene.run().await;
    assert_eq!(scene.metadata_of(scene.users[0]).await["scim_active"], json!(false));

    scene.users.iter().for_each(|user| set_enabled(&scene.world, *user, true));
    scene.run().await;
    for (user, metadata) in scene.users.iter().zip(&before) {
        assert_eq!(&scene.metadata_of(*user).await, metadata);
    }
    assert_eq!(scene.disabled().await, json!([]));
}

#[rstest]
#[tokio::test]
async fn signin_of_enabled_account_restores_it(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 3).await;
    let alice = scene.users[0];
    set_enabled(&scene.world, alice, false);
    scene.run().await;
    set_enabled(&scene.world, alice, true);
    let mut browser = scene.world.sign_in(&scene.service, alice).await;
    assert_eq!(scene.disabled().await, json!([]));
    if store == LiteLlm {
        assert_eq!(scene.metadata_of(alice).await, json!({ "auth_provider": "microsoft" }));
    }
    let events = scene.events().await;
    assert_eq!(events.as_array().unwrap().last(), Some(&json!(["sign_in", "account_enabled", null, null, null])));
    let versions = scene.world.versions().await;
    scene.run().await;
    assert_eq!((scene.world.versions().await, verify(&mut browser, &scene.service).await), (versions, 200));
}

#[rstest]
#[tokio::test]
async fn deleted_accounts_follow_entra(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 4).await;
    let [alice, guest] = [scene.users[0], scene.users[1]];
    scene.world.simulator.edit(|directory| {
        directory.change_person(guest, |person| person.guest = true);
        assert!(directory.soft_delete_person(alice) && directory.soft_delete_person(guest));
    });
    scene.run().await;
    let disabled = scene.disabled().await;
    let causes: Vec<&Value> = disabled.as_array().unwrap().iter().map(|account| &account[1]).collect();
    assert_eq!(causes, ["soft_deleted", "soft_deleted"]);
    assert_eq!(scene.teams_of(alice).await, [scene.group.to_string()], "a restore gives them back");

    scene.world.simulator.edit(|directory| {
        assert!(directory.restore_person(alice));
        directory.delete_person(guest);
    });
    scene.run().await;
    assert_eq!(scene.disabled().await, json!([[guest, "deleted", store == LiteLlm]]));
    assert_eq!(scene.teams_of(alice).await, [scene.group.to_string()]);
    assert_eq!(scene.teams_of(guest).await, [""; 0]);
    assert_eq!(scene.role_of(guest).await, json!("internal_user"), "the row stays");
}

#[rstest]
#[tokio::test]
async fn unknown_account_state_changes_nothing(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 3).await;
    let [alice, bob] = [scene.users[0], scene.users[1]];
    set_enabled(&scene.world, alice, false);
    scene.run().await;
    scene.world.simulator.edit(|directory| {
        directory.app_permissions.user_read = false;
        directory.set_account_enabled(alice, true);
        directory.set_account_enabled(bob, false);
    });
    let versions = scene.world.versions().await;
    scene.run().await;
    assert_eq!(scene.world.versions().await, versions);
    assert_eq!(scene.disabled().await, json!([[alice, "disabled", store == LiteLlm]]));
}

#[rstest]
#[tokio::test]
async fn disabled_user_without_membership_loses_sessions(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 1).await;
    let carol = person(&scene.world, "Carol Cole", &[]);
    let mut browser = scene.world.sign_in(&scene.service, carol).await;
    set_enabled(&scene.world, carol, false);
    scene.run().await;
    until("the session ends", async || verify(&mut browser, &scene.service).await == 401).await;
    assert_eq!(scene.disabled().await, json!([[carol, "disabled", store == LiteLlm]]));
}

#[rstest]
#[tokio::test]
async fn disabled_account_is_neither_held_nor_additive(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 4).await;
    scene.world.simulator.edit(|directory| {
        directory.empty_group(scene.group);
        directory.set_account_enabled(scene.users[0], false);
    });
    let finished = scene.run().await;
    assert_eq!((finished.status, finished.removed), (RunStatus::Held, 0), "{finished:?}");
    let additive = scene.world.service_with(|config| config.policy.memberships = MembershipSync::Additive).await;
    set_enabled(&scene.world, scene.users[1], false);
    run(&additive).await;
    assert_eq!(scene.disabled().await.as_array().unwrap().len(), 2);
}

#[rstest]
#[tokio::test]
async fn signin_that_started_after_the_run_wins(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 2).await;
    let [alice, bob] = [scene.users[0], scene.users[1]];
    let started_at = scene.world.clock.now();
    let mut browser = scene.world.sign_in(&scene.service, alice).await;
    let applied = scene.apply(LEASE_DURATION, started_at, &[alice, bob]).await.unwrap();
    assert_eq!((applied.outcomes.len(), applied.skipped.len()), (1, 1), "{applied:?}");
    assert_eq!(applied.skipped[0].object_id.to_string(), alice.to_string());
    assert_eq!(verify(&mut browser, &scene.service).await, 200);
}

#[rstest]
#[tokio::test]
async fn accounts_are_written_only_with_the_lease(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 1).await;
    let later = scene.world.clock.now() + TimeDelta::seconds(1);
    let applied = scene.apply(Duration::ZERO, later, &scene.users).await;
    assert!(matches!(applied, Err(DbError::LeaseLost)), "{applied:?}");
    assert_eq!((scene.disabled().await, scene.world.sessions_and_runs().await.0), (json!([]), 1));
}

#[rstest]
#[tokio::test]
async fn number_of_statements_is_constant(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 8).await;
    let later = scene.world.clock.now() + TimeDelta::seconds(1);
    let mut counts = Vec::new();
    for users in [&scene.users[..1], &scene.users[1..]] {
        scene.world.statements().await;
        scene.apply(LEASE_DURATION, later, users).await.unwrap();
        let statements = scene.world.statements().await;
        counts.push(statements.iter().map(|(_, calls)| calls).sum::<i64>());
    }
    assert_eq!(counts[0], counts[1]);
    assert_eq!(scene.disabled().await.as_array().unwrap().len(), 8);
}

#[tokio::test]
async fn missing_privileges_leave_litellm_alone() {
    let scene = Scene::new(LiteLlm, 2).await;
    let [alice, bob] = [scene.users[0], scene.users[1]];
    let rights = "select (metadata), update (metadata) on public.\"LiteLLM_UserTable\"";
    let mut browser = scene.world.sign_in(&scene.service, alice).await;
    scene.world.by_hand(SET_ROLE, &[&alice, &"proxy_admin"]).await;
    set_enabled(&scene.world, alice, false);
    let revoke = format!("revoke {rights} from entraway");
    sqlx::raw_sql(sqlx::AssertSqlSafe(revoke.clone())).execute(&scene.world.pool).await.unwrap();
    scene.run().await;
    until("the session ends", async || verify(&mut browser, &scene.service).await == 401).await;
    assert_eq!(scene.role_of(alice).await, json!("internal_user"));
    assert_eq!(scene.metadata_of(alice).await, json!({ "auth_provider": "microsoft" }));
    let missing = scene
        .json("select plan -> 'account_privileges_missing' from entraway.reconciliation_runs order by started_at desc limit 1")
        .await;
    assert_eq!(missing.as_array().map(Vec::len), Some(2), "{missing}");

    let grant = sqlx::AssertSqlSafe(format!("grant {rights} to entraway"));
    sqlx::raw_sql(grant).execute(&scene.world.pool).await.unwrap();
    scene.run().await;
    assert_eq!(scene.metadata_of(alice).await["scim_active"], json!(false), "the next run catches up");

    // Without the privileges a sign-in still succeeds, and the account stays blocked.
    sqlx::raw_sql(sqlx::AssertSqlSafe(revoke)).execute(&scene.world.pool).await.unwrap();
    set_enabled(&scene.world, alice, true);
    scene.world.sign_in(&scene.service, alice).await;
    assert_eq!(scene.world.last_run_of(alice).await["notes"], json!([{ "note": "account_stays_blocked" }]));
    scene.run().await;
    assert_eq!(scene.disabled().await, json!([[alice, "disabled", true]]));
    assert_eq!(scene.teams_of(bob).await, [scene.group.to_string()]);
}

#[rstest]
#[tokio::test]
async fn pages_show_since_when_an_account_is_disabled(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 1).await;
    let alice = scene.users[0];
    let admin = person(&scene.world, "Ada Admin", &[]);
    scene.world.simulator.edit(|directory| {
        directory.change_person(admin, |person| person.app_roles = vec!["proxy_admin".to_owned()]);
    });
    set_enabled(&scene.world, alice, false);
    scene.run().await;
    let mut browser = scene.world.sign_in(&scene.service, admin).await;
    for (path, text) in [
        (format!("/people/{alice}"), "Disabled in Entra since"),
        (format!("/people/{alice}/explain"), "The account is disabled in Entra. First seen "),
    ] {
        let page = browser.get(scene.service.at(&path)).await;
        assert!(page.body.contains(text), "{path}: {page:#?}");
    }
}
