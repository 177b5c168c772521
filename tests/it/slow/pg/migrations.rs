//! Migrations of another program run as Prisma would run them, including LiteLLM's. Errors name the file or the fix.

use std::fs;
use std::path::{Path, PathBuf};

use pg_sandbox::{ClusterError, Durability, PrivateCluster, litellm_migrations};
use sqlx::{Connection, PgConnection};

/// Number of migrations in the package that script/litellm-schema.txt pins.
const OF_LITELLM: usize = 220;

#[tokio::test]
async fn litellm_migrations_create_its_tables() {
    let cluster = PrivateCluster::start(Durability::Fast).await.unwrap();
    cluster.create_database("litellm", None).await.unwrap();
    let applied = cluster.apply_migrations("litellm", &litellm_migrations()).await;
    let applied = applied.unwrap_or_else(|error| panic!("{error}: {error:?}"));
    assert_eq!(applied, OF_LITELLM, "if script/litellm-schema.txt has a new pin, update the number in this test");

    // A copy, as the tests use, because it takes a third of the time.
    cluster.create_database("copy", Some("litellm")).await.unwrap();
    let kind: String = sqlx::query_scalar(
        "select data_type from information_schema.columns where table_schema = 'public' \
         and table_name = 'LiteLLM_TeamTable' and column_name = 'members_with_roles'",
    )
    .fetch_one(&mut connect(&cluster, "copy").await)
    .await
    .expect("LiteLLM_TeamTable has no members_with_roles: did LiteLLM rename it, or is the order wrong?");
    assert_eq!(kind, "jsonb");
}

#[tokio::test]
async fn migrations_run_in_bytewise_name_order() {
    let cluster = PrivateCluster::start(Durability::Fast).await.unwrap();
    cluster.create_database("ordered", None).await.unwrap();
    let folder = Folder::new("order");
    // A locale would sort "a" before "B" and ignore the space and the underscore.
    let names = ["20250101_B", "20250101_a b", "20250101_a_b", "20250101_ab", "20250101_é"];
    for name in names.iter().rev() {
        folder.migration(name, &format!("insert into ran (name) values ('{name}');"));
    }
    folder.migration("2024_first", "create table ran (place serial, name text); insert into ran (name) values ('');");
    // Alone in its file, because it cannot run in a transaction.
    folder.migration("2026_last", "-- an index\ncreate index concurrently ran_name on ran (name);");
    fs::write(folder.path.join("migration_lock.toml"), "provider = \"postgresql\"").unwrap();

    let applied = cluster.apply_migrations("ordered", &folder.path).await.unwrap();
    assert_eq!(applied, names.len() + 2, "the .toml file is no migration, see crates/pg-sandbox/src/migrations.rs");
    let ran: Vec<String> = sqlx::query_scalar("select name from ran where name <> '' order by place")
        .fetch_all(&mut connect(&cluster, "ordered").await)
        .await
        .unwrap();
    assert_eq!(ran, names, "the order is not the byte order, see `migrations` in crates/pg-sandbox/src/migrations.rs");
}

#[tokio::test]
async fn failed_migration_names_file_or_remedy() {
    let cluster = PrivateCluster::start(Durability::Fast).await.unwrap();
    let apply = async |path: &Path| cluster.apply_migrations("postgres", path).await.unwrap_err();
    let folder = Folder::new("faults");

    for path in [folder.path.clone(), folder.path.join("missing")] {
        let error = apply(&path).await;
        assert!(matches!(&error, ClusterError::NoMigrations { folder } if *folder == path), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("`script/setup --litellm`") && text.contains(path.to_str().unwrap()), "{text}");
    }

    folder.migration("1 good", "create table good ();");
    folder.migration("2 broken", "create table lost (); create tabel broken ();");
    folder.migration("3 never", "create table never ();");
    let error = apply(&folder.path).await;
    assert!(matches!(error, ClusterError::Migration { .. }), "{error:?}");
    assert!(error.to_string().contains("2 broken/migration.sql"), "the file is not named: {error}");
    let tables: Vec<String> = sqlx::query_scalar("select tablename::text from pg_tables where schemaname = 'public'")
        .fetch_all(&mut connect(&cluster, "postgres").await)
        .await
        .unwrap();
    assert_eq!(tables, ["good"], "each file is a transaction, and the first failure stops the run");

    fs::remove_dir_all(folder.path.join("1 good")).unwrap();
    fs::remove_file(folder.path.join("2 broken/migration.sql")).unwrap();
    let error = apply(&folder.path).await;
    assert!(matches!(error, ClusterError::ReadMigration { .. }), "{error:?}");
    assert!(error.to_string().contains("2 broken/migration.sql"), "the file is not named: {error}");

    let error = cluster.apply_migrations("no such database", &folder.path).await.unwrap_err();
    assert!(matches!(&error, ClusterError::Connect { name, .. } if name == "no such database"), "{error:?}");
}

async fn connect(cluster: &PrivateCluster, database: &str) -> PgConnection {
    PgConnection::connect(&cluster.url(database)).await.unwrap()
}

/// A temporary folder of migrations.
struct Folder {
    path: PathBuf,
}

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("entraway-migrations-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self { path }
    }

    fn migration(&self, name: &str, sql: &str) {
        let folder = self.path.join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("migration.sql"), sql).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Ignoring errors keeps the reason of a failed test visible.
        let _ = fs::remove_dir_all(&self.path);
    }
}
