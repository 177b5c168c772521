//! States of accounts, the service principal, and what missing permissions hide.

use std::collections::BTreeMap;

use entra_simulator::{Directory, Endpoint, Fault, FaultRule};
use entraway::domain::ObjectId;
use entraway::entra_facts::AccountState;
use entraway::graph::{GraphError, ServicePrincipal};
use serde_json::json;

use super::{SHORT, Scene, simulated_user};

#[track_caller]
fn assert_unknown(states: &BTreeMap<ObjectId, AccountState>, user: ObjectId, code: &str) {
    match &states[&user] {
        AccountState::Unknown(unknown) => assert_eq!(unknown.code, code, "{}", unknown.message),
        other => panic!("{user} must be unknown ({code}): {other:?}"),
    }
}

#[tokio::test]
async fn account_states_follow_entra() {
    let scene = Scene::new().await;
    let (_, users) = scene.group(5);
    let [enabled, disabled, soft_deleted, deleted, restored]: [ObjectId; 5] = users[..].try_into().unwrap();
    scene.simulator.edit(|directory| {
        directory.set_account_enabled(simulated_user(disabled), false);
        assert!(directory.soft_delete_person(simulated_user(soft_deleted)));
        directory.delete_person(simulated_user(deleted));
        assert!(directory.soft_delete_person(simulated_user(restored)));
        assert!(directory.restore_person(simulated_user(restored)));
    });
    let states = scene.accounts(&users).await;
    let expected = [
        (enabled, AccountState::Enabled),
        (disabled, AccountState::Disabled),
        (soft_deleted, AccountState::SoftDeleted),
        (deleted, AccountState::Deleted),
        (restored, AccountState::Enabled),
    ];
    assert_eq!(states, expected.into());
    let counts = [Endpoint::User, Endpoint::DeletedItem, Endpoint::Batch];
    assert_eq!(counts.map(|endpoint| scene.simulator.requests_to(endpoint).len()), [5, 2, 2]);
}

#[tokio::test]
async fn hidden_account_state_is_unknown_and_not_disabled() {
    let scene = Scene::new().await;
    let (_, users) = scene.group(2);
    let [limited, other]: [ObjectId; 2] = users[..].try_into().unwrap();
    let body = json!({ "id": limited, "accountEnabled": null });
    let fault = Fault::Status { status: 200, retry_after: None, body: Some(body) };
    scene.simulator.fault(FaultRule::on(Endpoint::User, fault).path(&limited));
    let states = scene.accounts(&users).await;
    assert_unknown(&states, limited, "graph_limited_information");
    assert_eq!(states[&other], AccountState::Enabled);

    scene.simulator.clear_faults();
    scene.simulator.edit(|directory| directory.app_permissions.user_read = false);
    assert_unknown(&scene.accounts(&users).await, limited, "graph_forbidden");
}

#[tokio::test]
async fn account_is_deleted_only_if_both_reads_say_so() {
    for (fault, code) in [
        (Fault::status(403), "graph_forbidden"),
        (Fault::throttled(60), "graph_throttled"),
        (Fault::MissingItem, "graph_missing_item"),
    ] {
        for endpoint in [Endpoint::User, Endpoint::DeletedItem] {
            let scene = Scene::with_budget(SHORT).await;
            let (_, users) = scene.group(2);
            scene.simulator.edit(|directory| directory.delete_person(simulated_user(users[0])));
            scene.simulator.fault(FaultRule::on(endpoint, fault.clone()).path(&users[0]));
            let states = scene.accounts(&users).await;
            assert_unknown(&states, users[0], code);
            assert_eq!(states[&users[1]], AccountState::Enabled, "{endpoint:?}");
        }
    }
}

#[tokio::test]
async fn replaced_service_principal_does_not_exist() {
    let scene = Scene::with_budget(SHORT).await;
    let (id, client) =
        scene.simulator.edit(|directory| (directory.service_principal_id.clone(), directory.client_id.clone()));
    let by_id = ServicePrincipal::ObjectId(id);
    let by_app = ServicePrincipal::AppId(client);
    let exists = async |principal| scene.graph.service_principal_exists(&scene.token, principal).await;
    assert_eq!((exists(&by_id).await, exists(&by_app).await), (Ok(true), Ok(true)));
    assert_eq!(scene.graph.assigned_groups(&scene.token, &by_id).await, Ok([].into()), "without assignments");

    scene.simulator.edit(Directory::replace_service_principal);
    assert_eq!((exists(&by_id).await, exists(&by_app).await), (Ok(false), Ok(true)));
    let list = scene.graph.assigned_groups(&scene.token, &by_id).await;
    assert!(matches!(list, Err(GraphError::NotFound { .. })), "unknown, not empty: {list:?}");

    scene.simulator.fault(FaultRule::on(Endpoint::ServicePrincipal, Fault::status(503)));
    let outcome = exists(&by_app).await;
    assert!(matches!(outcome, Err(GraphError::Unavailable { .. } | GraphError::Timeout)), "{outcome:?}");
}
