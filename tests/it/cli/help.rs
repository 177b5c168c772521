//! What the program says about itself.

use clap::CommandFactory as _;
use entraway::cli::Cli;

use super::program::{Folder, run};

/// A sentence of each help that a newcomer must find there.
const SENTENCES: [(&[&str], &[&str]); 9] = [
    (
        &[],
        &[
            "turn Entra groups into organizations and teams in Postgres",
            "Run the service",
            "Migrate the Postgres schema \"entraway\" before a new version is deployed",
            "Check that everything works, and say how to fix what does not",
            "Run a demo with a private Postgres and a simulated Entra and Graph",
            "List or revoke sessions",
            "Confirm a user row that is older than the user's first sign-in",
            "Explain which groups Entra reports for a user",
            "Check that a service on this machine is running",
        ],
    ),
    (
        &["serve"],
        &[
            "listens until SIGTERM or Ctrl-C",
            "that the database belongs to a LiteLLM proxy, and exits if not",
            "\"auto\" is human on a terminal, otherwise JSON",
            "config.yaml",
        ],
    ),
    (
        &["migrate"],
        &[
            "Migrate the Postgres schema \"entraway\" before a new version is deployed",
            "\"serve\" also migrates when it starts",
            "replicas of the previous version keep running",
            "Exits with 0 if the schema is up to date, otherwise with 1",
        ],
    ),
    (
        &["check"],
        &[
            "Exits with 0 if users can sign in and their groups can be read, otherwise with 1",
            "writes nothing else",
            "the grants on LiteLLM's tables, the default organization, and whether the proxies listen in Redis",
            "config.yaml",
        ],
    ),
    (&["demo"], &["removed on Ctrl-C", "script/demo", "if it is in use, another one"]),
    (&["sessions"], &["List active sessions", "Revoke sessions", "notice within a second"]),
    (&["users"], &["Confirm that a row in LiteLLM's user table is this user's"]),
    (
        &["explain"],
        &[
            "which groups Entra reports for a user, their effect, and the reason for each membership",
            "Sends no requests to Entra, writes nothing",
            "Exits with 1 if the user is unknown",
            "its ID (the group's object ID) or its name",
        ],
    ),
    (&["healthcheck"], &["HEALTHCHECK", "Exits with 0 if it answers, otherwise with 1", "/healthz"]),
];

/// The text in one line, as no line ends where a sentence may be broken.
fn unwrapped(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn help_describes_every_command_and_option() {
    let folder = Folder::new();
    let commands = Cli::command();
    let names: Vec<&str> = commands.get_subcommands().map(clap::Command::get_name).collect();
    let described: Vec<&str> = SENTENCES.iter().filter_map(|(path, _)| path.first().copied()).collect();
    assert_eq!(names, described, "a new subcommand needs its sentences in this test");

    for (path, sentences) in SENTENCES {
        let help = run(&folder, &[path, &["--help"]].concat(), &[]).await;
        assert_eq!(help.code, 0, "entraway {path:?} --help: {help:?}");
        assert_eq!(help.stderr, "", "help goes to standard output");
        let text = unwrapped(&help.stdout);
        for sentence in sentences {
            assert!(text.contains(sentence), "entraway {path:?} --help does not say {sentence:?}:\n{}", help.stdout);
        }
        let command = path.first().map_or(&commands, |name| commands.find_subcommand(name).unwrap());
        for option in command.get_arguments().filter_map(|option| Some((option.get_long()?, option))) {
            let (name, option) = option;
            assert!(text.contains(&format!("--{name}")), "entraway {path:?} --help does not name --{name}");
            let about = option.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(about.len() > 20, "--{name} of entraway {path:?} says too little: {about:?}");
        }
        let longest = help.stdout.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(100), "entraway {path:?} --help does not fit a terminal: {longest:?} columns");
    }
}

#[tokio::test]
async fn users_adopt_help_describes_its_effects() {
    let help = run(&Folder::new(), &["users", "adopt", "--help"], &[]).await;
    assert_eq!((help.code, help.stderr.as_str()), (0, ""), "{help:?}");
    let text = unwrapped(&help.stdout);
    for sentence in [
        "is taken over, but gets no operator role",
        "Check the user and their keys in LiteLLM first",
        "repeating it changes nothing",
        "Exits with 1 if there is no such row",
        "--user <ID>",
        "--config <FILE>",
    ] {
        assert!(text.contains(sentence), "it does not say {sentence:?}:\n{}", help.stdout);
    }
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
