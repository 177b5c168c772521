//! The simulated Entra and Graph in a separate process: this program with another command.

use std::io::{BufRead as _, BufReader, Read as _, stdin};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use entra_simulator::{Directory, EntraSimulator, GroupId, ObjectId, Options};
use entraway::util::clock::Clock;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use url::Url;
use uuid::Uuid;

pub(crate) const COMMAND: &str = "simulate";

/// Number of users and groups. Each user is in `in_groups` of the groups, which are all assigned.
#[derive(Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Scene {
    pub(crate) people: usize,
    pub(crate) groups: usize,
    pub(crate) in_groups: usize,
    /// Whether the first user has the app role `proxy_admin`.
    pub(crate) operator: bool,
}

/// Data of the simulator that clients need.
#[derive(Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) tenant_id: String,
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) service_principal_id: String,
    pub(crate) authority_url: Url,
    pub(crate) graph_url: Url,
    people: Vec<Uuid>,
    /// Group IDs.
    pub(crate) groups: Vec<String>,
}

/// A running simulator. It stops on drop.
pub(crate) struct Simulator {
    child: Child,
    pub(crate) facts: Facts,
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Simulator {
    pub(crate) fn start(scene: Scene) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args([COMMAND, &serde_json::to_string(&scene)?])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("no standard output")?).read_line(&mut line)?;
        Ok(Self { child, facts: serde_json::from_str(&line).context("the simulator did not start")? })
    }

    /// Process ID.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn people(&self) -> Arc<[ObjectId]> {
        self.facts.people.iter().copied().map(ObjectId::from).collect()
    }

    /// URL that answers an authorization request as if this user had been picked.
    pub(crate) fn pick_url(&self, authorize_url: &Url, person: ObjectId) -> Url {
        let mut url = self.facts.authority_url.clone();
        url.set_path("/simulator/authorize");
        url.set_query(authorize_url.query());
        url.query_pairs_mut().append_pair("tenant", &self.facts.tenant_id).append_pair("person", &person.to_string());
        url
    }
}

/// The simulator process: prints its facts as JSON and runs until standard input is closed.
pub(crate) async fn run(scene: &str) -> anyhow::Result<()> {
    let scene: Scene = serde_json::from_str(scene)?;
    let mut directory = Directory::new("contoso-sim.example");
    let groups: Vec<GroupId> = (0..scene.groups).map(|n| directory.group(&format!("Group {n:04}"))).collect();
    for &group in &groups {
        directory.assign(group);
    }
    let mut people = Vec::new();
    for n in 0..scene.people {
        let roles = if n == 0 && scene.operator { vec!["proxy_admin".to_owned()] } else { vec![] };
        people.push(directory.person(&format!("Person {n:04}"), |person| person.app_roles = roles));
    }
    let step = scene.groups / scene.in_groups.max(1);
    for (n, &person) in people.iter().enumerate() {
        for i in 0..scene.in_groups {
            directory.put(person, groups[(n * 7 + i * step) % scene.groups]);
        }
    }
    let mut facts = Facts {
        tenant_id: directory.tenant_id.to_string(),
        client_id: directory.client_id.clone(),
        client_secret: directory.client_secret.clone(),
        service_principal_id: directory.service_principal_id.clone(),
        authority_url: Url::parse("http://localhost")?,
        graph_url: Url::parse("http://localhost")?,
        people: people.iter().map(|person| person.to_string().parse()).collect::<Result<_, _>>()?,
        groups: groups.iter().map(ToString::to_string).collect(),
    };
    let clock = Clock::system();
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let simulator = EntraSimulator::start(listener, Options::new(directory, Arc::new(move || clock.now()))).await?;
    (facts.authority_url, facts.graph_url) = (simulator.authority_url(), simulator.graph_url());
    println!("{}", serde_json::to_string(&facts)?);
    tokio::task::spawn_blocking(|| stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
