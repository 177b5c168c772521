//! Models of teams in organizations. LiteLLM has no `all-org-models`, so a team lists its organization's models and
//! follows their changes.

use entra_simulator::{GroupId, ObjectId};
use entraway::policy::OrgTeamModels;
use serde_json::{Value, json};

use super::support::{
    TEAM, assigned, by_hand, person, team, team_by_hand, until_it_waits, versions, with_team_params, world,
};
use crate::support::{Service, World};

const MODELS: &str = "models: [gpt-4, o3]";

/// A team of Alice's that the sync created in its own organization, with `MODELS`.
struct Scene {
    world: World,
    service: Service,
    group: GroupId,
    alice: ObjectId,
}

impl Scene {
    async fn new() -> Self {
        let world = world().await;
        let [group] = assigned(&world, ["Evals"]);
        let alice = person(&world, "Alice Arden", &[group]);
        let service = with_team_params(&world, true, MODELS).await;
        world.sign_in(&service, alice).await;
        Self { world, service, group, alice }
    }

    async fn organization_gets(&self, models: &str) {
        let sql = r#"update public."LiteLLM_OrganizationTable" set models = $2::text[] where organization_id = $1"#;
        by_hand(&self.world, sql, &[&self.group, &models]).await;
    }

    async fn team_gets(&self, models: &str) {
        let sql = r#"update public."LiteLLM_TeamTable" set models = $2::text[] where team_id = $1"#;
        by_hand(&self.world, sql, &[&self.group, &models]).await;
    }

    async fn models(&self) -> Value {
        team(&self.world, &self.group).await["models"].clone()
    }

    /// Signs Alice in; returns the teams whose models the record reports as updated.
    async fn sign_in(&self) -> Value {
        self.world.sign_in(&self.service, self.alice).await;
        self.world.last_run().await["team_models_updated"].clone()
    }
}

#[tokio::test]
async fn new_team_names_models_of_its_organization() {
    let scene = Scene::new().await;
    assert_eq!(scene.models().await, json!(["gpt-4", "o3"]));
    let before = versions(&scene.world, &[TEAM]).await;
    assert_eq!(scene.sign_in().await, json!([]));
    assert_eq!(versions(&scene.world, &[TEAM]).await, before, "a repeated sign-in writes the team");
}

#[tokio::test]
async fn inherit_writes_all_org_models_and_expand_repairs_it() {
    let mut scene = Scene::new().await;
    let settings = format!("  entra_groups_also_create_orgs: true\n  default_team_params: {{{MODELS}}}\n");
    let mut config = scene.world.config_of(&settings);
    config.policy.org_team_models = OrgTeamModels::Inherit;
    let inherit = scene.world.service_of(config).await;
    let expand = std::mem::replace(&mut scene.service, inherit);
    let [other] = assigned(&scene.world, ["Other"]);
    scene.sign_in().await;
    assert_eq!(team(&scene.world, &other).await["models"], json!(["all-org-models"]));
    assert_eq!(scene.models().await, json!(["gpt-4", "o3"]), "expanded models stay");
    scene.organization_gets("{gpt-5}").await;
    assert_eq!(scene.sign_in().await, json!([]), "inherit changes no team");

    scene.service = expand;
    let mut both = [scene.group.to_string(), other.to_string()];
    both.sort();
    assert_eq!(scene.sign_in().await, json!(both));
    assert_eq!(team(&scene.world, &other).await["models"], json!(["gpt-4", "o3"]));
    assert_eq!(scene.models().await, json!(["gpt-5"]));
}

#[tokio::test]
async fn team_from_older_version_is_expanded() {
    let scene = Scene::new().await;
    scene.team_gets("{all-org-models}").await;
    scene.world.sql("update entraway.made_teams set expanded_models = null").await;
    // The record of a new user, who did not exist when the team was created.
    let bob = person(&scene.world, "Bob Birch", &[]);
    scene.world.sign_in(&scene.service, bob).await;
    assert_eq!(scene.models().await, json!(["gpt-4", "o3"]), "the first user to sign in after the upgrade");
    assert_eq!(scene.world.last_run().await["team_models_updated"], json!([scene.group]));
    assert_eq!(scene.world.last_run().await["touched"], json!([scene.group]));
    scene.organization_gets("{gpt-5}").await;
    assert_eq!(scene.sign_in().await, json!([scene.group]), "the team follows from then on");
    assert_eq!(scene.models().await, json!(["gpt-5"]));
}

#[tokio::test]
async fn team_models_follow_organization_until_changed_manually() {
    let scene = Scene::new().await;
    let before = team(&scene.world, &scene.group).await;
    for (organization, expected) in
        [("{gpt-5,\"o'dd \\\"x\\\"\"}", json!(["gpt-5", "o'dd \"x\""])), ("{}", json!([])), ("{o3}", json!(["o3"]))]
    {
        scene.organization_gets(organization).await;
        assert_eq!(scene.sign_in().await, json!([scene.group]), "{organization}");
        assert_eq!(scene.models().await, expected);
    }
    // The proxy's page writes the same models in another order.
    scene.organization_gets("{a,b}").await;
    scene.sign_in().await;
    scene.team_gets("{b,a}").await;
    assert_eq!(scene.sign_in().await, json!([]), "the same models");
    scene.organization_gets("{c}").await;
    assert_eq!(scene.sign_in().await, json!([scene.group]), "another order is not another list");
    let after = team(&scene.world, &scene.group).await;
    for (column, value) in before.as_object().unwrap() {
        let expected = if column == "models" { &json!(["c"]) } else { value };
        assert!(column == "updated_at" || after[column] == *expected, "{column} was {value}, is {}", after[column]);
    }

    scene.team_gets("{d}").await;
    scene.organization_gets("{e}").await;
    let before = scene.world.versions().await;
    assert_eq!(scene.sign_in().await, json!([]));
    assert_eq!(scene.models().await, json!(["d"]), "models set by hand stay");
    assert_eq!(scene.world.versions().await, before, "a row was written to");
}

#[tokio::test]
async fn manual_team_models_are_left_alone() {
    let scene = Scene::new().await;
    let [manual] = assigned(&scene.world, ["By hand"]);
    let columns = ", organization_id, models";
    team_by_hand(&scene.world, &manual, columns, &format!(", '{}', '{{all-org-models}}'", scene.group)).await;
    // Deleted and recreated with exactly the models that the sync wrote.
    let sql = r#"update public."LiteLLM_TeamTable" set created_at = created_at + interval '1 hour' where team_id = $1"#;
    by_hand(&scene.world, sql, &[&scene.group]).await;
    scene.organization_gets("{gpt-5}").await;
    assert_eq!(scene.sign_in().await, json!([]));
    assert_eq!(team(&scene.world, &manual).await["models"], json!(["all-org-models"]));
    assert_eq!(scene.models().await, json!(["gpt-4", "o3"]));
}

#[tokio::test]
async fn new_team_takes_models_of_existing_organization() {
    let scene = Scene::new().await;
    scene.organization_gets("{gpt-5}").await;
    let sql = r#"delete from public."LiteLLM_TeamTable" where team_id = $1"#;
    by_hand(&scene.world, sql, &[&scene.group]).await;
    scene.sign_in().await;
    assert_eq!(scene.models().await, json!(["gpt-5"]), "not those of the defaults");
    scene.organization_gets("{o3}").await;
    assert_eq!(scene.sign_in().await, json!([scene.group]));
}

#[tokio::test]
async fn unreadable_organization_models_grant_nothing() {
    let scene = Scene::new().await;
    for models in ["{{a,b},{c,d}}", "{a,null}"] {
        scene.organization_gets(models).await;
        assert_eq!(scene.sign_in().await, json!([]), "{models}");
        assert_eq!(scene.models().await, json!(["gpt-4", "o3"]), "{models}");
        let sql = r#"delete from public."LiteLLM_TeamTable" where team_id = $1"#;
        by_hand(&scene.world, sql, &[&scene.group]).await;
        scene.sign_in().await;
        assert_eq!(scene.models().await, json!(["all-org-models"]), "not [], which is all models: {models}");
        scene.organization_gets("{gpt-4,o3}").await;
        assert_eq!(scene.sign_in().await, json!([scene.group]), "repaired with the organization: {models}");
    }
}

#[tokio::test]
async fn models_changed_during_the_sync_are_not_overwritten() {
    let scene = Scene::new().await;
    scene.organization_gets("{gpt-5}").await;
    let mut administrator = scene.world.pool.begin().await.unwrap();
    let sql = r#"update public."LiteLLM_TeamTable" set models = '{mine}' where team_id = $1"#;
    scene.world.by_hand_on(&mut *administrator, sql, &[&scene.group]).await;
    let commit = async {
        until_it_waits(&scene.world).await;
        administrator.commit().await.unwrap();
    };
    let (updated, ()) = tokio::join!(scene.sign_in(), commit);
    assert_eq!((updated, scene.models().await), (json!([]), json!(["mine"])));
}
