//! The commands of docs/operations.md are run in the order of the page, by `sh`, at a real database in which somebody has
//! signed in. Where a daemon or a cluster would be asked, the same program reads what it would be sent.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

use entraway::config;
use entraway::domain::StoreKind::LiteLlm;
use entraway::pg::{Durability, PrivateCluster, litellm_migrations};
use sqlx::{Connection as _, PgConnection, PgPool};

use super::markdown::{Block, documents, root};
use super::queries::{OWNER, run};
use crate::cli::program::Folder;
use crate::support::{World, as_entraway};

const PAGE: &str = "docs/operations.md";

/// Stands for `docker`: what is asked of compose is read by docker-compose.
const DOCKER: &str = r#"#!/bin/sh
case "$*" in
'compose up '*) exec docker-compose --file compose.yaml config --quiet ;;
'buildx imagetools inspect '*) exec grep -q "^FROM $4@sha256:" Dockerfile ;;
*) echo "docker $* is not tried by this test" >&2; exit 1 ;;
esac
"#;

/// Stands for kubectl at a cluster: what makes something makes it here; what is to be applied is put together; what
/// waits for a cluster is only known.
const KUBECTL: &str = r#"#!/bin/sh
case "$*" in
'apply -k '*) exec "$REAL_KUBECTL" kustomize "$3" ;;
'apply -f -') exec grep -q '^kind: Secret' ;;
'apply -f '*) exec test -f "$3" ;;
'create secret '*--dry-run=client*) exec "$REAL_KUBECTL" "$@" ;;
'create secret '*) exec "$REAL_KUBECTL" "$@" --dry-run=client --output=name ;;
'rollout status deployment/entraway --namespace entraway') ;;
'rollout restart deployment/entraway --namespace entraway') ;;
*) echo "kubectl $* is not tried by this test" >&2; exit 1 ;;
esac
"#;

/// Stands for `sudo`: what is installed is put below `$INSTALL_ROOT`, and systemd is asked only whether there is a unit.
const SUDO: &str = r#"#!/bin/sh
case "$*" in
'install '*)
    for argument in "$@"; do
        shift
        case $argument in /etc/* | /usr/local/*) argument=$INSTALL_ROOT$argument ;; esac
        set -- "$@" "$argument"
    done
    exec "$@"
    ;;
'systemctl daemon-reload') ;;
'systemctl enable --now entraway') exec test -f "$INSTALL_ROOT/etc/systemd/system/entraway.service" ;;
*) echo "sudo $* is not tried by this test" >&2; exit 1 ;;
esac
"#;

fn shell_blocks() -> Vec<Block> {
    let page = documents().into_iter().find(|document| document.name == PAGE).expect("the page is there");
    page.blocks().into_iter().filter(|block| block.language == "sh").collect()
}

/// A copy of what the commands need of the repository, and the programs that they call.
fn workplace(world: &World) -> (Folder, BTreeMap<String, String>) {
    let folder = Folder::new();
    let copy = "cp -R Dockerfile compose.yaml deploy docs \"$0\"";
    assert!(Command::new("sh").args(["-c", copy]).arg(folder.path()).current_dir(root()).status().unwrap().success());
    let programs = folder.path().join("programs");
    fs::create_dir(&programs).unwrap();
    symlink(env!("CARGO_BIN_EXE_entraway"), programs.join("entraway")).unwrap();
    for (name, text) in [("docker", DOCKER), ("kubectl", KUBECTL), ("sudo", SUDO)] {
        fs::write(programs.join(name), text).unwrap();
        fs::set_permissions(programs.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let directory = world.fake.edit(|directory| directory.clone());
    let config = format!(
        "server: {{public_url: 'http://127.0.0.1:1', listen: '127.0.0.1:0'}}\nstore: litellm\n\
         database: {{url: '{}'}}\n\
         entra:\n  tenant: {}\n  client_id: {}\n  client_secret: {}\n  service_principal_id: {}\n",
        world.database,
        directory.tenant_id,
        directory.client_id,
        directory.client_secret,
        directory.service_principal_id,
    );
    folder.file("config.yaml", &config);
    folder.file("database_url", &world.database);
    folder.file("client_secret", &directory.client_secret);
    folder.file("key.pem", "key\n");
    folder.file("certificate.pem", "certificate\n");
    let real = Command::new("sh").args(["-c", "command -v kubectl"]).output().unwrap();
    let path = std::env::var_os("PATH").unwrap().into_string().unwrap();
    let path = format!("{}:{path}", programs.display());
    let id = "11111111-2222-4333-8444-555555555555";
    let env = [
        ("PATH", path.as_str()),
        ("HOME", folder.path().to_str().unwrap()),
        ("INSTALL_ROOT", folder.path().join("installed").to_str().unwrap()),
        ("REAL_KUBECTL", String::from_utf8(real.stdout).unwrap().trim()),
        ("MICROSOFT_TENANT", id),
        ("MICROSOFT_CLIENT_ID", id),
        ("MICROSOFT_SERVICE_PRINCIPAL_ID", id),
        ("MICROSOFT_CLIENT_SECRET", "abc8Q~placeholder"),
        ("OLD_SECRET", "abc8Q~old"),
        ("NEW_SECRET", "abc8Q~new"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    (folder, BTreeMap::from(env))
}

/// Runs one block; it has to succeed.
#[track_caller]
fn sh(block: &Block, folder: &Folder, env: &BTreeMap<String, String>) -> Output {
    let mut command = Command::new("sh");
    command.args(["-euc", &block.text]).current_dir(folder.path()).env_clear().envs(env);
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{PAGE}:{}:\n{}\n{ended:?}", block.line, block.text);
    ended
}

async fn sessions(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from entraway.sessions").fetch_one(pool).await.unwrap()
}

/// A cluster of its own, since roles are one for all its databases.
#[tokio::test]
async fn the_commands_of_the_page_work_in_their_order() {
    let cluster = PrivateCluster::start(Durability::Fast).await.unwrap();
    cluster.create_database("litellm", None).await.unwrap();
    cluster.apply_migrations("litellm", &litellm_migrations()).await.unwrap();
    let url = cluster.url("litellm");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(OWNER).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let owner = url.replacen("postgres://postgres@", "postgres://owner@", 1);
    let mut connection = PgConnection::connect(&owner).await.unwrap();
    sqlx::raw_sql(include_str!("../../../docs/litellm-grants.sql")).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let world = World::on(LiteLlm, as_entraway(&url), &url, "litellm".to_owned()).await;
    let (alice, _) = world.alice();
    world.sign_in(&world.service().await, alice).await;
    // The row that the page confirms.
    let row = r#"insert into public."LiteLLM_UserTable" (user_id) values ('00000000-0000-0000-0000-000000000000')"#;
    sqlx::raw_sql(row).execute(&world.pool).await.unwrap();

    let (folder, mut env) = workplace(&world);
    env.insert("DATABASE_URL".to_owned(), owner);
    let mut ran = 0;
    for block in shell_blocks() {
        let restores = block.text.contains("pg_restore");
        if restores {
            world.sign_in(&world.service().await, alice).await;
            let more = "insert into entraway.used_attempts (attempt_id, expires_at) values ('after the dump', now())";
            sqlx::raw_sql(more).execute(&world.pool).await.unwrap();
        }
        let ended = sh(&block, &folder, &env);
        if restores {
            let after: i64 =
                sqlx::query_scalar("select count(*) from entraway.used_attempts where attempt_id = 'after the dump'")
                    .fetch_one(&world.pool)
                    .await
                    .unwrap();
            assert_eq!(after, 0, "the dump took the place of what was there");
            assert_eq!(sessions(&world.pool).await, 0, "sessions of the dump are alive again");
            let said = String::from_utf8(ended.stdout).unwrap();
            assert!(said.contains("up to date: nothing to do") && said.contains("1 session revoked"), "{said}");
            world.sign_in(&world.service().await, alice).await;
        }
        ran += 1;
    }
    assert!(ran >= 10, "{PAGE} has only {ran} blocks of commands");
    for made in ["entraway.dump", "all.dump", "app.pem", "deploy/compose/secrets/database_url"] {
        assert!(folder.path().join(made).is_file(), "{made} was not made");
    }
    assert_eq!(fs::read_to_string(folder.path().join("client_secret")).unwrap(), "abc8Q~old\nabc8Q~new\n");
    the_installed_unit_runs_it(&folder.path().join("installed"));

    run(&world.pool, PAGE).await;
    // Whoever logs in as the second role does what the first may, and what they make is the first one's.
    let second = url.replacen("postgres://postgres@", "postgres://entraway_b@", 1);
    let mut connection = PgConnection::connect(&second).await.unwrap();
    let who: String = sqlx::query_scalar("select current_user::text").fetch_one(&mut connection).await.unwrap();
    assert_eq!(who, "entraway", "a session of the second role's acts as the first");
    connection.close().await.unwrap();
    sqlx::raw_sql("alter role entraway nologin").execute(&world.pool).await.unwrap();
    let taken_over = World::on(LiteLlm, second, &url, "litellm".to_owned()).await;
    let (alice, _) = taken_over.alice();
    taken_over.sign_in(&taken_over.service().await, alice).await;
}

/// The unit is sound to systemd itself, starts what was installed, and the page's configuration finds the secrets.
fn the_installed_unit_runs_it(installed: &Path) {
    let text = fs::read_to_string(installed.join("etc/systemd/system/entraway.service")).unwrap();
    let in_place = |path: &str| format!("{}{path}", installed.display());
    let start = text.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let words: Vec<&str> = start.split(' ').collect();
    let ["/usr/local/bin/entraway", "serve", "--config", "/etc/entraway/config.yaml"] = words[..] else {
        panic!("{start}")
    };
    let version = Command::new(in_place(words[0])).arg("--version").output().unwrap();
    assert!(version.status.success(), "{version:?}");

    if !cfg!(target_os = "linux") {
        println!("not tried: systemd exists on Linux alone");
        return;
    }
    let unit = installed.join("entraway.service");
    fs::write(&unit, text.replace("=/usr/local/", &format!("={}/usr/local/", installed.display()))).unwrap();
    for arguments in [&["verify"][..], &["security", "--offline=true", "--threshold=20", "--no-pager"]] {
        let ended = Command::new("systemd-analyze").args(arguments).arg(&unit).output();
        let ended = ended.expect("systemd-analyze is installed: script/setup --deploy does that");
        let said = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(ended.status.success() && said.is_empty(), "systemd-analyze {arguments:?}: {said}");
    }

    for line in text.lines().filter_map(|line| line.strip_prefix("LoadCredential=")) {
        let (name, path) = line.split_once(':').unwrap();
        assert_eq!(path, format!("/etc/entraway/{name}"));
        let mode = fs::metadata(in_place(path)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path} is for root alone");
    }
    let page = documents().into_iter().find(|document| document.name == PAGE).unwrap();
    let shown = page.blocks().into_iter().find(|block| block.text.contains("CREDENTIALS_DIRECTORY")).unwrap();
    let env = config::Env::from([("CREDENTIALS_DIRECTORY".to_owned(), in_place("/etc/entraway"))]);
    let loaded = config::parse(Some(&shown.text), &installed.join("config.yaml"), &env);
    assert!(loaded.is_ok(), "{}", loaded.err().unwrap());
}

#[tokio::test]
async fn the_page_names_every_table_with_what_is_lost_without_it() {
    let world = World::new().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'entraway'::regnamespace and relkind = 'r'",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let page = fs::read_to_string(root().join(PAGE)).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with("Back-up")).expect("the section is there");
    let rows: String = section.lines().filter(|line| line.starts_with("| `")).collect();
    let mut named: Vec<&str> = rows.split('`').skip(1).step_by(2).collect();
    named.retain(|name| *name != "store: litellm" && *name != "entraway explain");
    named.sort_unstable();
    let mut tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    tables.sort_unstable();
    assert_eq!(named, tables, "left: the tables that {PAGE} names; right: those that there are");
}
