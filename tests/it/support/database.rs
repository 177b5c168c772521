//! Creates and drops the databases of tests over one connection. Without dropping, a full run would leave more than a
//! thousand databases of 8 MB.

use std::sync::OnceLock;
use std::thread;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

enum Command {
    Create { name: String, template: &'static str, done: oneshot::Sender<sqlx::Result<()>> },
    Drop { name: String },
}

/// The database of one test. Dropped in the background together with this value.
pub(super) struct TestDatabase {
    name: String,
    commands: &'static UnboundedSender<Command>,
}

impl TestDatabase {
    /// Creates a database. `url` is of another database of the same cluster. The first call decides the cluster.
    pub(super) async fn create(url: String, name: String, template: &'static str, strategy: &'static str) -> Self {
        static COMMANDS: OnceLock<UnboundedSender<Command>> = OnceLock::new();
        let commands = COMMANDS.get_or_init(|| {
            let (sender, receiver) = unbounded_channel();
            // Outlives the test's runtime, and ends with the process.
            thread::spawn(move || execute_all(&url, strategy, receiver));
            sender
        });
        let (done, created) = oneshot::channel();
        commands.send(Command::Create { name: name.clone(), template, done }).ok().unwrap();
        created.await.unwrap().unwrap();
        Self { name, commands }
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // The thread ends with the process.
        let _ = self.commands.send(Command::Drop { name: std::mem::take(&mut self.name) });
    }
}

fn execute_all(url: &str, strategy: &str, mut commands: UnboundedReceiver<Command>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await.unwrap();
        while let Some(command) = commands.recv().await {
            match command {
                Command::Create { name, template, done } => {
                    let create = format!("create database {name} template {template}{strategy}");
                    let created = sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut connection).await;
                    // The test may have ended.
                    let _ = done.send(created.map(drop));
                }
                Command::Drop { name } => {
                    // `pg_stat_statements` keeps the statements of dropped databases. When it is full, it forgets those of
                    // tests that still count them.
                    let forget = "select pg_stat_statements_reset(0, oid) from pg_database where datname = $1";
                    let _ = sqlx::query(forget).bind(&name).execute(&mut connection).await;
                    let drop = format!("drop database if exists {name} with (force)");
                    // Remaining databases are removed with the cluster.
                    let _ = sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await;
                }
            }
        }
    });
}
