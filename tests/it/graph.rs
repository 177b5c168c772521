//! What a reconciliation run reads from Graph: a list is complete, or the reason why it is unknown; never shorter.

mod accounts;
mod batches;
mod members;
mod unknown;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use entra_simulator::{Directory, EntraSimulator, Options};
use entraway::domain::{GroupId, ObjectId};
use entraway::entra_facts::{AccountState, MemberList};
use entraway::graph::Graph;
use entraway::util::clock::Clock;
use entraway::util::http_client::HttpClient;
use secrecy::SecretString;
use serde_json::Value;

/// Time for reads that succeed, also on a busy machine.
const BUDGET: Duration = Duration::from_secs(30);
/// Time for reads that retries do not help.
const SHORT: Duration = Duration::from_secs(5);

/// A simulator, the client, and its app-only token.
struct Scene {
    simulator: EntraSimulator,
    graph: Graph,
    token: SecretString,
    /// Time limit of a read.
    budget: Duration,
}

impl Scene {
    async fn new() -> Self {
        Self::with_budget(BUDGET).await
    }

    async fn with_budget(budget: Duration) -> Self {
        // Fails if another test has installed it already, which is fine.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let clock = Clock::system();
        let options = Options::new(Directory::new("contoso.example"), Arc::new(move || clock.now()));
        let simulator = EntraSimulator::start(listener, options).await.unwrap();
        let graph = Graph::new(HttpClient::without_proxy().unwrap(), simulator.graph_url(), budget);
        let token = app_token(&simulator).await;
        Self { simulator, graph, token, budget }
    }

    /// Creates a group with this many users.
    fn group(&self, users: usize) -> (GroupId, Vec<ObjectId>) {
        self.simulator.edit(|directory| {
            let group = directory.group("Group");
            let mut users: Vec<_> = (0..users).map(|_| directory.person("User", |_| {})).collect();
            for user in &users {
                directory.change_group(group, |group| group.members.push(entra_simulator::Member::User(*user)));
            }
            users.sort_unstable();
            (group.as_uuid().into(), users.into_iter().map(|user| user.as_uuid().into()).collect())
        })
    }

    async fn members(&self, groups: &[GroupId], nested: bool) -> BTreeMap<GroupId, MemberList> {
        self.graph.group_members(&self.token, &groups.iter().copied().collect(), nested, self.budget).await
    }

    async fn accounts(&self, users: &[ObjectId]) -> BTreeMap<ObjectId, AccountState> {
        let users: BTreeSet<ObjectId> = users.iter().copied().collect();
        self.graph.account_states(&self.token, &users, self.budget).await
    }
}

async fn app_token(simulator: &EntraSimulator) -> SecretString {
    let (tenant, id, secret) =
        simulator.edit(|d| (d.tenant_id.to_string(), d.client_id.clone(), d.client_secret.clone()));
    let url = simulator.authority_url().join(&format!("/{tenant}/oauth2/v2.0/token")).unwrap();
    let scope = simulator.authority_url().join("/.default").unwrap().to_string();
    let form =
        [("grant_type", "client_credentials"), ("client_id", &id), ("client_secret", &secret), ("scope", &scope)];
    let response = reqwest::Client::builder().build().unwrap().post(url).form(&form).send().await.unwrap();
    let body: Value = response.json().await.unwrap();
    body["access_token"].as_str().unwrap().into()
}

/// The simulator's ID of a group.
fn simulated(id: GroupId) -> entra_simulator::GroupId {
    id.as_uuid().into()
}

/// The simulator's ID of a user.
fn simulated_user(id: ObjectId) -> entra_simulator::ObjectId {
    id.as_uuid().into()
}

#[track_caller]
fn assert_complete(lists: &BTreeMap<GroupId, MemberList>, group: GroupId, users: &[ObjectId]) {
    match &lists[&group] {
        MemberList::Complete(members) => assert_eq!(members.as_slice(), users),
        other => panic!("{group}: {other:?}"),
    }
}

#[track_caller]
fn assert_unknown(lists: &BTreeMap<GroupId, MemberList>, group: GroupId, code: &str) {
    match &lists[&group] {
        MemberList::Unknown(unknown) => assert_eq!(unknown.code, code, "{}", unknown.message),
        other => panic!("{group} must be unknown ({code}): {other:?}"),
    }
}
