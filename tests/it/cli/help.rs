//! `--help` and `--version`.

use std::fmt::Write as _;

use clap::CommandFactory as _;
use entraway::cli::Cli;

use super::program::{Folder, run};

/// The arguments of a command and of all its subcommands.
fn paths(command: &clap::Command, above: &[String]) -> Vec<Vec<String>> {
    let nested = command.get_subcommands().flat_map(|nested| {
        let path = [above, &[nested.get_name().to_owned()]].concat();
        paths(nested, &path)
    });
    [above.to_vec()].into_iter().chain(nested).collect()
}

/// The text without cargo's target directory, which the environment can set, and without trailing white space.
fn portable(help: &str) -> String {
    let line = |line: &str| match line.split_once("[default: ") {
        Some((indent, folder)) if folder.ends_with("/litellm-schema/migrations]") => {
            format!("{indent}[default: target/litellm-schema/migrations]\n")
        }
        _ => line.trim_end().to_owned() + "\n",
    };
    help.lines().map(line).collect()
}

#[tokio::test]
async fn help_describes_every_command_and_option() {
    let folder = Folder::new();
    let mut all = String::new();
    for path in paths(&Cli::command(), &[]) {
        let arguments: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
        let help = run(&folder, &arguments, &[]).await;
        assert_eq!((help.code, help.stderr.as_str()), (0, ""), "entraway {arguments:?}: {help:?}");
        let longest = help.stdout.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(100), "entraway {arguments:?} does not fit a terminal: {longest:?} columns");
        writeln!(all, "$ entraway {}\n{}", arguments.join(" "), portable(&help.stdout)).unwrap();
    }
    insta::assert_snapshot!(all);
}

#[tokio::test]
async fn version_is_the_package_version() {
    let said = run(&Folder::new(), &["--version"], &[]).await;
    assert_eq!((said.code, said.stdout.as_str()), (0, concat!("entraway ", env!("CARGO_PKG_VERSION"), "\n")));
}

#[tokio::test]
async fn invalid_arguments_exit_2_with_a_hint() {
    let folder = Folder::new();
    for (args, hint) in [
        (&[][..], "Usage: entraway"),
        (&["sevre"], "'serve'"),
        (&["serve", "--confg", "x"], "'--config'"),
        (&["serve", "--log-format", "xml"], "auto, human, json"),
        (&["demo", "--port", "99999"], "--port"),
    ] {
        let said = run(&folder, args, &[]).await;
        assert_eq!(said.code, 2, "entraway {args:?}: {said:?}");
        assert!(said.stderr.contains(hint), "entraway {args:?} does not hint at {hint}: {}", said.stderr);
    }
}
