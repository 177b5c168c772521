//! Runs of the reconciliation: what is removed without a sign-in, and what is not.

mod additions;
mod lease;
mod removal;

use std::collections::BTreeSet;

use entra_simulator::{GroupId, ObjectId};
use entraway::db::{FinishedRun, RunStatus, RunTrigger};
use entraway::plan::source;
use entraway::reconciliation::{Cause, Change, Evidence, MemberRemoval, Target, TargetRemovals};
use tokio_util::sync::CancellationToken;

use crate::support::scene::{assigned, person};
use crate::support::{Service, StoreKind, World};

/// A world with one assigned group, its members who have signed in, and a first run, which accepts the settings.
struct Scene {
    world: World,
    service: Service,
    group: GroupId,
    users: Vec<ObjectId>,
}

impl Scene {
    async fn new(store: StoreKind, members: usize) -> Self {
        let world = World::of(store).await;
        world.grant_removal().await;
        let [group] = assigned(&world, ["Evals"]);
        let service = world.service().await;
        let users: Vec<ObjectId> = (0..members).map(|n| person(&world, &format!("User {n}"), &[group])).collect();
        for user in &users {
            world.sign_in(&service, *user).await;
        }
        let scene = Self { world, service, group, users };
        let first = scene.run().await;
        assert_eq!((first.status, first.removed), (RunStatus::Done, 0), "{first:?}");
        scene
    }

    /// Runs once.
    async fn run(&self) -> FinishedRun {
        run(&self.service).await
    }

    /// Takes a user out of the group in Entra.
    fn leave(&self, user: ObjectId) {
        self.world.simulator.edit(|directory| directory.take_out(user, self.group));
    }

    async fn teams_of(&self, user: ObjectId) -> Vec<String> {
        self.world.rows().await.teams_of(user).iter().map(ToString::to_string).collect()
    }

    /// The removal of a user from the group's team, as a plan has it.
    fn removals_of(&self, user: ObjectId) -> TargetRemovals {
        let config = self.world.config();
        let user: entraway::domain::ObjectId = user.to_string().parse().unwrap();
        let group = self.group.to_string().parse().unwrap();
        let target = Target { kind: "team", id: self.group.to_string(), name: Some("Evals".to_owned()) };
        let change = Change {
            target: target.clone(),
            user,
            user_name: None,
            is_admin: false,
            cause: Cause::LeftGroup,
            group,
            evidence: Evidence::MemberList { members: 0 },
            held: false,
        };
        let tenant_id = self.world.simulator.edit(|directory| directory.tenant_id).as_uuid().into();
        let sources = vec![source(&config.policy.client_id, group)];
        let removals = vec![MemberRemoval { change, tenant_id, sources }];
        TargetRemovals { target, removals, staying_admins: BTreeSet::new() }
    }

    /// Rows of a query as JSON.
    async fn json(&self, sql: &str) -> serde_json::Value {
        sqlx::query_scalar(sqlx::AssertSqlSafe(sql.to_owned())).fetch_one(&self.world.pool).await.unwrap()
    }
}

/// Runs once.
async fn run(service: &Service) -> FinishedRun {
    let stop = CancellationToken::new();
    service.app.reconciliation().run(RunTrigger::Command, &stop).await.unwrap().expect("no other replica runs")
}
