//! `entraway demo` works as it advertises and leaves no files or processes behind, however it ends.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::Duration;

use url::Url;

use crate::cli::program::{Folder, Program};
use crate::support::Browser;

/// Starts the demo on free ports. Returns the program, its URL and its output.
pub(crate) async fn demo(folder: &Folder, more: &[&str]) -> (Program, Url, String) {
    // Fails if another test of this process has installed it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let args = [&["demo", "--port", "0", "--entra-port", "0"], more].concat();
    let mut program = Program::start(folder, &args, &[]);
    let stdout = program
        .until("line about Ctrl-C", |program| {
            Some(program.stdout()).filter(|said| said.contains("Press Ctrl-C to stop"))
        })
        .await;
    let (_, rest) = stdout.split_once("Entraway is running. Open  ").expect("the demo prints its URL");
    let url = rest.split_whitespace().next().unwrap().parse().unwrap();
    (program, url, stdout)
}

/// Asserts that no process refers to the folder and that it is empty.
async fn assert_nothing_left(folder: &Folder) {
    let name = folder.path().to_str().unwrap();
    let mut left = String::new();
    for _ in 0..400 {
        let files = fs::read_dir(folder.path()).unwrap().count();
        let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
        let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        let naming: Vec<String> = lines
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(name))
            .collect();
        if files == 0 && naming.is_empty() {
            return;
        }
        left = format!("{files} files, processes {naming:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the demo did not clean up within 20 s: {left}");
}

#[tokio::test]
async fn demo_prints_url_users_and_psql_command() {
    let folder = Folder::new();
    let (program, url, said) = demo(&folder, &[]).await;
    for sentence in [
        "Alice Arden",
        "app role proxy_admin",
        "in Production LLM Evals, Data Science, Platform Engineering",
        "Erin Ellis",
        "no group",
        "an organization and a team",
        "Create groups, change their members and assign them:  http://127.0.0.1:",
        "Nothing is kept",
    ] {
        assert!(said.contains(sentence), "the demo does not print {sentence:?}:\n{said}");
    }

    // As a user: the front page, Entra's account picker, Alice, and her page.
    let mut browser = Browser::new();
    let page = browser.get(url.clone()).await;
    assert_eq!(page.status, 200, "{page:#?}");
    let entra = browser.get(url.join("/sso/login").unwrap()).await.location();
    let picker = browser.get(entra.clone()).await;
    assert!(picker.body.contains("Alice Arden"), "{}", picker.body);
    let mut pick = entra.join("/simulator/authorize").unwrap();
    pick.set_query(entra.query());
    let tenant = entra.path_segments().unwrap().next().unwrap().to_owned();
    pick.query_pairs_mut().append_pair("tenant", &tenant).append_pair("person", "40000000-0000-4000-8000-000000000001");
    let callback = browser.get(pick).await.location();
    assert_eq!(browser.get(callback).await.status, 303, "{}", program.stderr());
    let me = browser.get(url.join("/api/me").unwrap()).await.json();
    assert_eq!(me["teams"].as_array().map(Vec::len), Some(3), "{me:#}");
    assert_eq!(me["organizations"].as_array().map(Vec::len), Some(3), "{me:#}");

    // The printed psql command, run by a shell.
    let (_, rest) = said.split_once("Connect to the database").unwrap();
    let psql = rest.lines().map(str::trim).find(|line| line.contains(" -d ")).expect("a command line");
    let question = "select team_alias from entraway.teams join entraway.team_members using (team_id) order by 1";
    let told = Command::new("sh").args(["-c", &format!("{psql} -At -c '{question}'")]).output().unwrap();
    let teams = "Data Science\nPlatform Engineering\nProduction LLM Evals\n";
    assert_eq!(String::from_utf8_lossy(&told.stdout), teams, "{psql}: {told:?}");

    the_subcommands_work(&folder, &said);

    program.signal("INT");
    let ended = program.end_within(Duration::from_secs(20)).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.ends_with("Stopped. Nothing was kept.\n"), "{ended:?}");
    assert_eq!(ended.stderr, "", "no log lines on success");
    assert_nothing_left(&folder).await;
}

/// Runs the printed subcommands for the demo's configuration in a shell.
fn the_subcommands_work(folder: &Folder, said: &str) {
    let (_, rest) = said.split_once("Try the other subcommands with this demo's configuration, ").unwrap();
    let (file, rest) = rest.split_once(":\n").unwrap();
    let mode = fs::metadata(file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "{file} is private");
    let lines: Vec<&str> = rest.lines().map(str::trim).filter(|line| line.contains(file)).collect();
    let expected = ["Ready: users can sign in.", "Alice Arden", "last seen", "up to date: nothing to do"];
    assert_eq!(lines.len(), expected.len(), "{said}");
    for (line, expected) in lines.into_iter().zip(expected) {
        let ran = Command::new("sh").args(["-c", line]).current_dir(folder.path()).output().unwrap();
        let told = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success() && told.contains(expected), "{line}: {ran:?}");
    }
}

#[tokio::test]
async fn demo_killed_leaves_no_process_or_file() {
    let folder = Folder::new();
    let (program, _, said) = demo(&folder, &["--without-orgs"]).await;
    assert!(said.contains("Each group that is assigned to the app becomes a standalone team"), "{said}");
    program.signal("KILL");
    assert_eq!(program.end_within(Duration::from_secs(5)).await.code, 128 + 9);
    assert_nothing_left(&folder).await;
}

#[tokio::test]
async fn demo_interrupted_at_startup_leaves_no_process_or_file() {
    let folder = Folder::new();
    let mut program = Program::start(&folder, &["demo", "--port", "0", "--entra-port", "0"], &[]);
    let folder_is_there = |_: &Program| fs::read_dir(folder.path()).unwrap().next().map(drop);
    program.until("folder of the database", folder_is_there).await;
    program.signal("INT");
    let ended = program.end_within(Duration::from_secs(20)).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_nothing_left(&folder).await;
}

#[tokio::test]
async fn demo_chooses_another_port_when_taken() {
    let folder = Folder::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut program =
        Program::start(&folder, &["demo", "--port", &port.to_string(), "--entra-port", &port.to_string()], &[]);
    let said = program
        .until("address", |program| Some(program.stdout()).filter(|said| said.contains("Press Ctrl-C to stop")))
        .await;
    assert!(!said.contains(&format!("127.0.0.1:{port} ")), "{said}");
    program.signal("TERM");
    assert_eq!(program.end_within(Duration::from_secs(20)).await.code, 0);
    assert_nothing_left(&folder).await;
}
