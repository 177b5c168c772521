//! Drops each test's database after the test: a full run would otherwise leave more than a thousand, of 8 MB each.

use std::sync::OnceLock;
use std::thread;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Drops the database when it is dropped itself, in a background thread, which outlives the test's runtime.
pub(super) struct DropOnDrop(String, &'static UnboundedSender<String>);

impl DropOnDrop {
    /// `url` leads to another database of the same cluster. The first call decides the cluster.
    pub(super) fn new(url: String, database: String) -> Self {
        static NAMES: OnceLock<UnboundedSender<String>> = OnceLock::new();
        let names = NAMES.get_or_init(|| {
            let (sender, receiver) = unbounded_channel();
            thread::spawn(move || drop_all(&url, receiver));
            sender
        });
        Self(database, names)
    }
}

impl Drop for DropOnDrop {
    fn drop(&mut self) {
        // The thread ends only with the process.
        let _ = self.1.send(std::mem::take(&mut self.0));
    }
}

fn drop_all(url: &str, mut names: UnboundedReceiver<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut connection = PgConnection::connect(url).await.unwrap();
        while let Some(name) = names.recv().await {
            let drop = format!("drop database if exists {name} with (force)");
            // A database that stays is removed with the cluster.
            let _ = sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut connection).await;
        }
    });
}
