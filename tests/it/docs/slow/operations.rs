//! Runs the commands of the operator guides in order, with `sh` and a real database in which a user has signed in. The
//! real client programs validate their input instead of sending it to a daemon or a cluster.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Output};

use entraway::config;
use entraway::domain::StoreKind::LiteLlm;
use pg_sandbox::{Durability, PrivateCluster, litellm_migrations};
use sqlx::{Connection as _, PgConnection, PgPool};

use crate::cli::program::Folder;
use crate::docs::markdown::{Block, document, root};
use crate::docs::queries::{OWNER, run};
use crate::support::{World, as_entraway};

/// The guides in the order in which their commands run.
const PAGES: [&str; 6] = [
    "docs/how-to/deploy.md",
    "docs/how-to/use-with-litellm.md",
    "docs/how-to/back-up.md",
    "docs/how-to/upgrade.md",
    "docs/how-to/rotate-secrets.md",
    "docs/how-to/respond-to-an-incident.md",
];
const DATABASE: &str = "docs/reference/database.md";

/// Replaces `docker`: docker-compose validates the compose files.
const DOCKER: &str = r#"#!/bin/sh
case "$*" in
'compose up '*) exec docker-compose --file compose.yaml config --quiet ;;
'buildx imagetools inspect '*) exec grep -q "^FROM $4@sha256:" Dockerfile ;;
*) echo "docker $* is not part of this test" >&2; exit 1 ;;
esac
"#;

/// Replaces kubectl: creates objects locally, builds kustomizations, and accepts the commands that wait for a cluster.
const KUBECTL: &str = r#"#!/bin/sh
case "$*" in
'apply -k '*) exec "$REAL_KUBECTL" kustomize "$3" ;;
'apply -f -') exec grep -q '^kind: Secret' ;;
'apply -f '*) exec test -f "$3" ;;
'create secret '*--dry-run=client*) exec "$REAL_KUBECTL" "$@" ;;
'create secret '*) exec "$REAL_KUBECTL" "$@" --dry-run=client --output=name ;;
'rollout status deployment/entraway --namespace entraway') ;;
'rollout restart deployment/entraway --namespace entraway') ;;
*) echo "kubectl $* is not part of this test" >&2; exit 1 ;;
esac
"#;

/// Replaces `sudo`: it installs below `$INSTALL_ROOT`, and checks that the unit exists instead of starting it.
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
*) echo "sudo $* is not part of this test" >&2; exit 1 ;;
esac
"#;

fn shell_blocks(page: &str) -> Vec<Block> {
    document(page).blocks().into_iter().filter(|block| block.language == "sh").collect()
}

/// A copy of the parts of the repository that the commands need, and the programs that they call.
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
    let directory = world.simulator.edit(|directory| directory.clone());
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

/// Runs one block of a page, which must succeed.
#[track_caller]
fn sh(page: &str, block: &Block, folder: &Folder, env: &BTreeMap<String, String>) -> Output {
    let mut command = Command::new("sh");
    command.args(["-euc", &block.text]).current_dir(folder.path()).env_clear().envs(env);
    let ended = command.output().unwrap();
    assert!(ended.status.success(), "{page}:{}:\n{}\n{ended:?}", block.line, block.text);
    ended
}

async fn sessions(pool: &PgPool) -> i64 {
    sqlx::query_scalar("select count(*) from entraway.sessions").fetch_one(pool).await.unwrap()
}

/// Has its own cluster, since all databases of a cluster share roles.
#[tokio::test]
async fn commands_of_the_guides_work_in_order() {
    let cluster = PrivateCluster::start(Durability::Fast).await.unwrap();
    cluster.create_database("litellm", None).await.unwrap();
    cluster.apply_migrations("litellm", &litellm_migrations()).await.unwrap();
    let url = cluster.url("litellm");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(OWNER).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let owner = url.replacen("postgres://postgres@", "postgres://owner@", 1);
    let mut connection = PgConnection::connect(&owner).await.unwrap();
    sqlx::raw_sql(include_str!("../../../../docs/litellm-grants.sql")).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    let world = World::on(LiteLlm, as_entraway(&url), &url, "litellm".to_owned()).await;
    let (alice, _) = world.alice();
    world.sign_in(&world.service().await, alice).await;
    // The row that the guide confirms.
    let row = r#"insert into public."LiteLLM_UserTable" (user_id) values ('00000000-0000-0000-0000-000000000000')"#;
    sqlx::raw_sql(row).execute(&world.pool).await.unwrap();

    let (folder, mut env) = workplace(&world);
    env.insert("DATABASE_URL".to_owned(), owner);
    let mut ran = 0;
    for (page, block) in PAGES.iter().flat_map(|page| shell_blocks(page).into_iter().map(move |block| (page, block))) {
        let restores = block.text.contains("pg_restore");
        if restores {
            world.sign_in(&world.service().await, alice).await;
            let more = "insert into entraway.used_attempts (attempt_id, expires_at) values ('after the dump', now())";
            sqlx::raw_sql(more).execute(&world.pool).await.unwrap();
        }
        let ended = sh(page, &block, &folder, &env);
        if restores {
            let after: i64 =
                sqlx::query_scalar("select count(*) from entraway.used_attempts where attempt_id = 'after the dump'")
                    .fetch_one(&world.pool)
                    .await
                    .unwrap();
            assert_eq!(after, 0, "the dump replaced the rows");
            assert_eq!(sessions(&world.pool).await, 0, "the sessions of the dump are valid again");
            let said = String::from_utf8(ended.stdout).unwrap();
            assert!(said.contains("up to date: nothing to do") && said.contains("1 session revoked"), "{said}");
            world.sign_in(&world.service().await, alice).await;
        }
        ran += 1;
    }
    assert!(ran >= 12, "{PAGES:?} have only {ran} blocks of commands");
    for made in ["entraway.dump", "all.dump", "app.pem", "deploy/compose/secrets/database_url"] {
        assert!(folder.path().join(made).is_file(), "{made} was not created");
    }
    assert_eq!(fs::read_to_string(folder.path().join("client_secret")).unwrap(), "abc8Q~old\nabc8Q~new\n");
    assert_installed_unit_starts(&folder.path().join("installed"));

    for page in [DATABASE, "docs/how-to/rotate-secrets.md", "docs/how-to/respond-to-an-incident.md"] {
        run(&world.pool, page, |_| true).await;
    }
    // The second role has the first one's rights, and the first one owns what it creates.
    let second = url.replacen("postgres://postgres@", "postgres://entraway_b@", 1);
    let mut connection = PgConnection::connect(&second).await.unwrap();
    let who: String = sqlx::query_scalar("select current_user::text").fetch_one(&mut connection).await.unwrap();
    assert_eq!(who, "entraway", "a session of the second role acts as the first");
    connection.close().await.unwrap();
    sqlx::raw_sql("alter role entraway nologin").execute(&world.pool).await.unwrap();
    let taken_over = World::on(LiteLlm, second, &url, "litellm".to_owned()).await;
    let (alice, _) = taken_over.alice();
    taken_over.sign_in(&taken_over.service().await, alice).await;
}

/// systemd accepts the unit, the unit starts the installed program, and the guide's configuration finds the secrets.
fn assert_installed_unit_starts(installed: &Path) {
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
        println!("skipped: systemd exists on Linux only");
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
        assert_eq!(mode & 0o777, 0o600, "only root can read {path}");
    }
    let shown =
        document(PAGES[0]).blocks().into_iter().find(|block| block.text.contains("CREDENTIALS_DIRECTORY")).unwrap();
    let env = config::Env::from([("CREDENTIALS_DIRECTORY".to_owned(), in_place("/etc/entraway"))]);
    let loaded = config::parse(Some(&shown.text), &installed.join("config.yaml"), &env);
    assert!(loaded.is_ok(), "{}", loaded.err().unwrap());
}

#[tokio::test]
async fn reference_lists_each_table() {
    let world = World::new().await;
    let tables: Vec<String> = sqlx::query_scalar(
        "select relname::text from pg_class where relnamespace = 'entraway'::regnamespace and relkind = 'r'",
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    let page = document(DATABASE).text;
    let section = page.split("\n## ").find(|section| section.starts_with("Tables")).expect("the section exists");
    let rows: String = section.lines().filter(|line| line.starts_with("| `")).collect();
    let mut named: Vec<&str> = rows.split('`').skip(1).step_by(2).collect();
    named.retain(|name| *name != "store: litellm" && *name != "entraway explain");
    named.sort_unstable();
    let mut tables: Vec<&str> = tables.iter().map(String::as_str).collect();
    tables.sort_unstable();
    assert_eq!(named, tables, "left: the tables in {DATABASE}; right: the tables in the schema");
}
