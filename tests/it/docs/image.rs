//! The Dockerfile, without building the image.

use std::fs;

use clap::CommandFactory as _;
use entraway::cli::Cli;

use super::markdown::{documents, root};

/// The instructions, each on one line.
fn instructions() -> Vec<String> {
    let text = fs::read_to_string(root().join("Dockerfile")).unwrap();
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#') && !line.trim().is_empty());
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    joined.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// The words of an instruction in exec form, `["/entraway", "serve"]`.
fn words(instruction: &str) -> Vec<String> {
    let list = &instruction[instruction.find('[').expect("exec form: there is no shell in the image")..];
    serde_json::from_str(list).unwrap()
}

#[test]
fn image_has_no_demo_and_no_root() {
    let instructions = instructions();
    let builds = instructions.iter().find(|line| line.contains("cargo build")).expect("the image builds the program");
    for option in ["--profile dist", "--locked", "--no-default-features"] {
        assert!(builds.contains(option), "the image is built without {option}: {builds}");
    }
    assert!(instructions.contains(&"ARG FEATURES=\"\"".to_owned()), "the default build has no features");
    let last = instructions.iter().rposition(|line| line.starts_with("FROM ")).unwrap();
    let user = instructions[last..].iter().rfind(|line| line.starts_with("USER "));
    let root_user = |user: &String| ["root", "0"].contains(&user["USER ".len()..].split(':').next().unwrap());
    let named = instructions[last].ends_with(":nonroot") || instructions[last].contains(":nonroot@");
    assert!(user.map_or(named, |user| !root_user(user)), "the image runs as root: {}", instructions[last]);
    let copies = instructions[last..].iter().filter(|line| line.starts_with("COPY ")).count();
    assert_eq!(copies, 1, "the image contains only the program");
}

/// Features are selected with `docker build --build-arg FEATURES=…` and with cargo.
#[test]
fn features_in_documents_exist() {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let (_, features) = manifest.split_once("\n[features]\n").expect("there are features");
    let features = features.split("\n[").next().unwrap();
    let builds = instructions().into_iter().find(|line| line.contains("cargo build")).unwrap();
    assert!(builds.contains("--features \"$FEATURES\""), "the build has the requested features: {builds}");
    let mut seen = 0;
    for document in documents() {
        for switch in ["--build-arg FEATURES=", "--features "] {
            for (at, _) in document.text.match_indices(switch) {
                let rest = &document.text[at + switch.len()..];
                let name = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len())];
                assert!(features.contains(&format!("\n{name} = ")), "{}: {switch}{name}", document.name);
                seen += 1;
            }
        }
    }
    assert!(seen > 0, "no page describes how to build with a feature");
}

#[test]
fn image_runs_existing_subcommands() {
    let instructions = instructions();
    let program = Cli::command();
    let line =
        |name: &str| instructions.iter().rfind(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
    let copy: Vec<&str> = line("COPY ").split(' ').collect();
    let installed = copy.last().unwrap().to_owned();
    assert_eq!(words(line("ENTRYPOINT ")), [installed]);

    let health = words(line("HEALTHCHECK "));
    assert_eq!(health[0], installed, "{health:?}");
    for (what, name) in [("HEALTHCHECK", &health[1]), ("CMD", &words(line("CMD "))[0])] {
        assert!(program.find_subcommand(name).is_some(), "{what} runs `{installed} {name}`, which does not exist");
    }
}

#[test]
fn dockerignore_excludes_target_and_git() {
    let ignored = fs::read_to_string(root().join(".dockerignore")).unwrap();
    for name in ["target", ".git"] {
        let there = ignored.lines().any(|line| line.trim().trim_matches('/') == name);
        assert!(there || ignored.lines().any(|line| line.trim() == "*"), ".dockerignore does not name {name}");
    }
}
