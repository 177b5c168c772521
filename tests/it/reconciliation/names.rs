//! Names follow those of groups in Entra, unless they were changed by hand.

use entraway::db::RunStatus;
use rstest::rstest;
use serde_json::json;

use super::Scene;
use crate::support::sql_fixtures::Deed;
use crate::support::{LiteLlm, Native, StoreKind};

/// `$1` is the team, `$2` the name.
const NAME_TEAM: Deed = Deed::of(
    "update entraway.teams set team_alias = $2 where team_id = $1",
    "update {teams} set team_alias = $2 where team_id = $1",
);

impl Scene {
    fn rename(&self, name: &str) {
        self.world.simulator.edit(|directory| directory.rename_group(self.group, name));
    }

    /// Names of the group's team and organization.
    async fn names(&self) -> [serde_json::Value; 2] {
        let rows = self.world.rows().await;
        let id = self.group.to_string();
        [rows.teams[&id]["team_alias"].clone(), rows.organizations[&id]["organization_alias"].clone()]
    }
}

#[rstest]
#[tokio::test]
async fn team_and_organization_follow_the_group(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 1).await;
    for name in ["Evaluations", "Evaluation Team"] {
        scene.rename(name);
        scene.run().await;
        assert_eq!(scene.names().await, [json!(name), json!(name)]);
    }
    let events = scene
        .json(
            "select jsonb_agg(jsonb_build_array(action, cause, before, after) order by at, action desc)
             from entraway.audit_events where actor = 'job'",
        )
        .await;
    let event = |action: &str, before: &str, after: &str| json!([action, "group_renamed", before, after]);
    let expected = json!([
        event("team_renamed", "Evals", "Evaluations"),
        event("organization_renamed", "Evals", "Evaluations"),
        event("team_renamed", "Evaluations", "Evaluation Team"),
        event("organization_renamed", "Evaluations", "Evaluation Team"),
    ]);
    assert_eq!(events, expected);
}

#[rstest]
#[tokio::test]
async fn name_that_was_changed_by_hand_stays(#[values(Native, LiteLlm)] store: StoreKind) {
    let scene = Scene::new(store, 1).await;
    scene.world.by_hand(NAME_TEAM, &[&scene.group, &"By hand"]).await;
    scene.rename("Evaluations");
    scene.run().await;
    assert_eq!(scene.names().await, [json!("By hand"), json!("Evaluations")]);
    // The operator gives it the name in Entra: then it follows again.
    scene.world.by_hand(NAME_TEAM, &[&scene.group, &"Evaluations"]).await;
    scene.run().await;
    scene.rename("Evaluation Team");
    scene.run().await;
    assert_eq!(scene.names().await, [json!("Evaluation Team"), json!("Evaluation Team")]);
}

#[tokio::test]
async fn name_stays_without_the_privileges() {
    let scene = Scene::new(LiteLlm, 1).await;
    scene.world.sql("revoke update (team_alias) on public.\"LiteLLM_TeamTable\" from entraway").await;
    scene.rename("Evaluations");
    assert_eq!(scene.run().await.status, RunStatus::Done);
    assert_eq!(scene.names().await, [json!("Evals"), json!("Evals")]);
}
