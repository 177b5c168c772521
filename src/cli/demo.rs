//! `entraway demo`: the service with a private Postgres and a simulated Entra and Graph.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use entra_simulator::{Directory, EntraSimulator, Group, Member, Options};
use pg_sandbox::{Durability, PrivateCluster};
use tokio::net::TcpListener;
use tokio::time::timeout;
use url::Url;

use super::output::{OutputError, outln};
use crate::config;
use crate::domain::StoreKind;
use crate::graph;
use crate::http::App;
use crate::http::server;
use crate::util::clock::Clock;

const DATABASE: &str = "entraway";

/// Time limit for closing the pool. Postgres is on this machine.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);

pub(super) struct Ports {
    pub(super) service: u16,
    pub(super) entra: u16,
}

/// Runs the demo. `program` is the command for the printed command lines. `litellm` is the folder of LiteLLM's migrations;
/// `None` selects the native store.
pub(super) async fn run(
    program: &Path,
    ports: Ports,
    litellm: Option<&Path>,
    also_create_orgs: bool,
) -> anyhow::Result<ExitCode> {
    let stop = server::stop_on_signals();
    let prepare = async {
        let listener = listen(ports.service).await?;
        let public_url = Url::parse(&format!("http://{}", listener.local_addr()?))?;
        let cluster = PrivateCluster::start(Durability::Fast).await?;
        cluster.create_database(DATABASE, None).await?;
        if let Some(migrations) = litellm {
            cluster.apply_migrations(DATABASE, migrations).await?;
        }
        let clock = Clock::system();
        let simulator = start_simulator(listen(ports.entra).await?, &public_url, clock.clone()).await?;
        let store = if litellm.is_some() { StoreKind::LiteLlm } else { StoreKind::Native };
        let yaml = configuration(&public_url, store, &cluster.url(DATABASE), &simulator, also_create_orgs);
        // The cluster removes its folder even if this process is killed.
        let file = cluster.folder().join("config.yaml");
        write_private(&file, &yaml).with_context(|| format!("{}: cannot be written", file.display()))?;
        let config = config::parse(Some(&yaml), &file, &BTreeMap::new())?.config;
        let app = App::build(config, clock, graph::TOTAL_BUDGET).await?;
        anyhow::Ok((listener, public_url, cluster, simulator, app, file))
    };
    let (listener, public_url, cluster, simulator, app, file) = tokio::select! {
        prepared = prepare => prepared?,
        () = stop.cancelled() => return Ok(ExitCode::SUCCESS),
    };
    let tables =
        if litellm.is_some() { "LiteLLM's tables in the schema public" } else { "tables in the schema entraway" };
    let served = async {
        print_welcome(&public_url, &simulator, tables, &cluster.psql(DATABASE), also_create_orgs)?;
        print_commands(program, &file, &simulator)?;
        anyhow::Ok(server::serve(app.clone(), listener, stop).await?)
    }
    .await;
    // Also after an error: a pool that outlives its Postgres logs the lost connections.
    let _ = timeout(CLOSE_LIMIT, app.db().close()).await;
    served?;
    simulator.stop();
    cluster.stop();
    outln!("\nStopped. Nothing was kept.")?;
    Ok(ExitCode::SUCCESS)
}

/// Listens on a loopback port, or on another one if it is in use.
async fn listen(port: u16) -> anyhow::Result<TcpListener> {
    if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)).await {
        return Ok(listener);
    }
    TcpListener::bind(("127.0.0.1", 0)).await.context("no port on 127.0.0.1 is free")
}

async fn start_simulator(listener: TcpListener, public_url: &Url, clock: Clock) -> anyhow::Result<EntraSimulator> {
    let mut directory = Directory::sample();
    directory.redirect_uris = ["sso/callback", "signed-out"].map(|path| format!("{public_url}{path}")).to_vec();
    let options =
        Options { product_url: Some(public_url.clone()), ..Options::new(directory, Arc::new(move || clock.now())) };
    Ok(EntraSimulator::start(listener, options).await?)
}

/// A configuration file for the simulator, as an operator would write it.
fn configuration(
    public_url: &Url,
    store: StoreKind,
    database: &str,
    simulator: &EntraSimulator,
    also_create_orgs: bool,
) -> String {
    let directory = simulator.edit(|directory| directory.clone());
    format!(
        r#"# Configuration of the running demo; removed when it ends.
server:
  public_url: {public_url}
  listen: {listen}
  metrics_listen: null
database:
  url: {database}
store: {store}
entra:
  tenant: {tenant}
  client_id: {client_id}
  client_secret: {secret}
  service_principal_id: {principal}
  authority_url: {authority}
  graph_url: {graph}
sync:
  assigned_groups_ttl: 0s   # changes in the simulator apply at the next sign-in
  reconcile:
    interval: 10s           # and without one after some seconds
litellm_settings:
  entra_groups_also_create_orgs: {also_create_orgs}
  default_team_params:
    models: ["gpt-4", "gpt-3.5-turbo"]
    max_budget: 100.0
    budget_duration: "30d"
    tpm_limit: 10000
    rpm_limit: 1000
  default_internal_user_params:
    user_role: internal_user
    max_budget: 10
    budget_duration: "30d"
    models: ["gpt-3.5-turbo"]
"#,
        listen = public_url.authority(),
        store = match store {
            StoreKind::Native => "native",
            StoreKind::LiteLlm => "litellm",
        },
        tenant = directory.tenant_id,
        client_id = directory.client_id,
        secret = directory.client_secret,
        principal = directory.service_principal_id,
        authority = simulator.authority_url(),
        graph = simulator.graph_url(),
    )
}

/// Creates a file that only this user can read, because it contains the simulated client secret.
fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?.write_all(text.as_bytes())
}

/// Prints the URLs, the users and how to connect to the database.
fn print_welcome(
    public_url: &Url,
    simulator: &EntraSimulator,
    tables: &str,
    psql: &str,
    also_create_orgs: bool,
) -> Result<(), OutputError> {
    outln!("\nEntraway is running. Open  {public_url}  and sign in as one of these users:\n")?;
    let directory = simulator.edit(|directory| directory.clone());
    for user in &directory.people {
        let member = |group: &&Group| group.members.contains(&Member::User(user.id));
        let groups: Vec<&str> = directory.groups.iter().filter(member).map(|group| group.name.as_str()).collect();
        let roles = if user.app_roles.is_empty() { "–".to_owned() } else { user.app_roles.join(", ") };
        let groups = if groups.is_empty() { "no group".to_owned() } else { groups.join(", ") };
        outln!("  {:<12} app role {roles:<14} in {groups}", user.name)?;
    }
    let assigned = if also_create_orgs { "an organization and a team" } else { "a standalone team" };
    outln!("\nThey are in a simulated Entra. Each group that is assigned to the app becomes {assigned}.")?;
    outln!("Create groups, change their members and assign them:  {}", simulator.admin_url())?;
    outln!("\nConnect to the database ({tables}):\n\n  {psql}")
}

/// Prints command lines of the other subcommands for the running demo.
fn print_commands(program: &Path, file: &Path, simulator: &EntraSimulator) -> Result<(), OutputError> {
    let (program, file) = (program.display(), file.display());
    let user = simulator.edit(|directory| directory.people.first().map(|user| user.id.to_string()));
    outln!("\nTry the other subcommands with this demo's configuration, {file}:\n")?;
    outln!("  {program} check --config {file}")?;
    if let Some(user) = user {
        outln!("  {program} explain --config {file} --user {user}")?;
    }
    outln!("  {program} sessions list --all --config {file}")?;
    outln!("  {program} migrate --config {file}")?;
    outln!("\nPress Ctrl-C to stop. Nothing is kept.\n")
}
