//! Output that cannot be written: a closed pipe, as with `head`, and a full disk.

use std::fs::{File, OpenOptions};
use std::process::{Command, Output, Stdio};

use super::program::{CONFIG, Folder, environment};
use crate::support::{Native, World};

/// A pipe whose reader is closed.
fn closed_pipe() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn command(folder: &Folder, args: &[&str], env: &[(&str, String)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entraway"));
    command.args(args).current_dir(folder.path()).env_clear().stdin(Stdio::null());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("TMPDIR", folder.path());
    command.envs(env.iter().map(|(name, value)| (name, value)));
    command
}

/// Runs the command on its own thread, because the simulator runs on the test's.
async fn ended(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test]
async fn subcommands_exit_silently_when_stdout_is_closed() {
    let world = World::of(Native).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", CONFIG);
    let env = environment(&world);
    let (alice, health) = (alice.to_string(), service.at("/healthz").to_string());
    for args in [
        &["check", "--config", &config][..],
        &["explain", "--config", &config, "--user", &alice],
        &["sessions", "list", "--all", "--config", &config],
        &["sessions", "revoke", "--user", &alice, "--config", &config],
        &["migrate", "--config", &config],
        &["healthcheck", "--url", &health],
        &["demo", "--port", "0", "--entra-port", "0"],
    ] {
        let mut command = command(&folder, args, &env);
        command.stdout(closed_pipe()).stderr(Stdio::piped());
        let ended = ended(command).await;
        let said = String::from_utf8_lossy(&ended.stderr);
        assert_eq!((ended.status.code(), &*said), (Some(141), ""), "entraway {}", args.join(" "));
    }
    let left: i64 = sqlx::query_scalar("select count(*) from entraway.sessions").fetch_one(&world.pool).await.unwrap();
    assert_eq!(left, 0, "`sessions revoke` still revoked the sessions");
}

#[tokio::test]
async fn errors_keep_their_exit_status_when_stderr_is_closed() {
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", "server: []\n");
    for args in
        [&["sessions", "list", "--all", "--config", &config][..], &["healthcheck", "--url", "http://127.0.0.1:1/"]]
    {
        let mut command = command(&folder, args, &[]);
        command.stdout(Stdio::null()).stderr(closed_pipe());
        assert_eq!(ended(command).await.status.code(), Some(1), "entraway {}", args.join(" "));
    }
}

#[tokio::test]
async fn full_disk_is_reported_as_a_stdout_error() {
    let world = World::of(Native).await;
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", CONFIG);
    let full: File = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = command(&folder, &["migrate", "--config", &config], &environment(&world));
    command.stdout(full).stderr(Stdio::piped());
    let ended = ended(command).await;
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.starts_with("entraway: standard output: cannot be written: No space left"), "{said}");
}
