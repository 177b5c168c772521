//! Commands in the documents exist, with their options.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use clap::CommandFactory as _;
use entraway::cli::Cli;

use super::markdown::{Block, document, documents, root};

/// A command as typed, split into words, with its position.
struct Typed {
    place: String,
    words: Vec<String>,
}

/// The commands of a block, without prompts, comments, variables and output.
fn commands(block: &Block) -> Vec<Vec<String>> {
    // In a block with prompts, lines without one are output.
    let console = block.text.lines().any(|line| line.starts_with("$ "));
    let mut lines: Vec<String> = Vec::new();
    let mut goes_on = false;
    for line in block.text.lines() {
        let prompt = line.strip_prefix("$ ").or(line.strip_prefix("> "));
        let text = if console { prompt.or(goes_on.then_some(line)) } else { Some(line) };
        let Some(text) = text else { continue };
        let (text, more) = text.trim_end().strip_suffix('\\').map_or((text, false), |text| (text, true));
        match lines.last_mut() {
            Some(last) if goes_on => last.push_str(text),
            _ => lines.push(text.to_owned()),
        }
        goes_on = more;
    }
    let parts = lines.iter().flat_map(|line| line.split("&&").flat_map(|part| part.split(['|', ';'])));
    parts.map(words).filter(|words| !words.is_empty()).collect()
}

/// The words of a command up to a comment, without leading `NAME=value`.
fn words(text: &str) -> Vec<String> {
    let all = text.split_whitespace().take_while(|word| !word.starts_with('#'));
    let all = all.map(|word| word.trim_matches(['"', '\'', '(', ')']).to_owned());
    let variable = |word: &String| {
        word.split_once('=')
            .is_some_and(|(name, _)| name.chars().all(|c| c == '_' || c.is_ascii_uppercase() || c.is_ascii_digit()))
    };
    all.skip_while(|word| variable(word) || ["sudo", "exec", "time", "env"].contains(&word.as_str())).collect()
}

/// All commands of the documents: in blocks for a shell, and in the text between backticks.
fn typed() -> Vec<Typed> {
    let mut typed = Vec::new();
    for document in documents() {
        for block in document.blocks() {
            if ["sh", "shell", "bash", "console"].contains(&block.language.as_str()) {
                let place = format!("{}:{}", document.name, block.line);
                typed.extend(commands(&block).into_iter().map(|words| Typed { place: place.clone(), words }));
            }
        }
        for (index, line) in document.prose().lines().enumerate() {
            let place = format!("{}:{}", document.name, index + 1);
            let code = line.split('`').skip(1).step_by(2).map(words);
            typed.extend(code.filter(|words| !words.is_empty()).map(|words| Typed { place: place.clone(), words }));
        }
    }
    typed
}

fn is_program(word: &str) -> bool {
    let name = word.rsplit('/').next().unwrap_or_default();
    name == "entraway"
}

/// The arguments after the program's name, if the command runs it: directly, in a container, or through script/demo.
fn arguments(words: &[String]) -> Option<Vec<String>> {
    let rest = |from: usize| words[from..].to_vec();
    let script = words[0].trim_start_matches("./");
    match words {
        [first, ..] if is_program(first) => Some(rest(1)),
        [..] if script == "script/demo" => {
            let arguments = words[1..].iter().filter(|word| *word != "--").cloned();
            Some(std::iter::once("demo".to_owned()).chain(arguments).collect())
        }
        [docker, does, ..]
            if ["docker", "podman"].contains(&docker.as_str()) && ["run", "exec"].contains(&does.as_str()) =>
        {
            let image = |word: &String| is_program(word.split(['@', ':']).next().unwrap_or_default());
            // The last one, since a container can have the same name.
            let at = words.iter().rposition(image)?;
            Some(rest(at + 1))
        }
        // The command after `--` runs in a pod. A Deployment or a namespace can have the same name.
        [kubectl, ..] if kubectl == "kubectl" => {
            let at = words.iter().position(|word| word == "--")?;
            words.get(at + 1).filter(|word| is_program(word)).map(|_| rest(at + 2))
        }
        [cargo, run, ..] if cargo == "cargo" && run == "run" => {
            words.iter().position(|word| word == "--").map(|at| rest(at + 1))
        }
        _ => None,
    }
}

#[test]
fn entraway_commands_in_documents_exist() {
    let program = Cli::command();
    let mut wrong = Vec::new();
    let mut seen = 0;
    for Typed { place, words } in typed() {
        let Some(arguments) = arguments(&words) else { continue };
        let plain = |word: &&String| !word.starts_with(['-', '<', '[', '…']) && *word != "…" && *word != "...";
        seen += 1;
        // Subcommands can have subcommands: `entraway sessions list`.
        let (mut command, mut known) = (&program, true);
        for word in arguments.iter().take_while(plain) {
            if !known || !command.has_subcommands() {
                break;
            }
            match command.find_subcommand(word) {
                Some(subcommand) => command = subcommand,
                None => known = false,
            }
        }
        if !known {
            wrong.push(format!("{place}: `{}`: no such subcommand", words.join(" ")));
            continue;
        }
        let known: Vec<&str> = command.get_arguments().filter_map(clap::Arg::get_long).collect();
        for word in arguments.iter().filter_map(|word| word.strip_prefix("--")) {
            let option = word.split('=').next().unwrap_or_default();
            if !known.contains(&option) && !["help", "version", ""].contains(&option) {
                wrong.push(format!("{place}: `{}`: no option --{option}; there are {known:?}", words.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "commands that do not exist:\n{}", wrong.join("\n"));
    assert!(seen > 0, "the documents have no command of Entraway");
}

#[test]
fn reference_lists_each_subcommand() {
    let page = document("docs/reference/command-line.md").text;
    let program = Cli::command();
    for command in program.get_subcommands() {
        let name = command.get_name();
        assert!(page.contains(&format!("`entraway {name}")), "docs/reference/command-line.md does not list {name}");
        for subcommand in command.get_subcommands().map(clap::Command::get_name) {
            assert!(
                page.contains(&format!("`entraway {name} {subcommand}")),
                "docs/reference/command-line.md does not list {name} {subcommand}"
            );
        }
    }
}

#[test]
fn scripts_in_documents_are_executable() {
    let mut wrong = Vec::new();
    for Typed { place, words } in typed() {
        let script = words[0].trim_start_matches("./");
        if !script.starts_with("script/") || script.contains(['*', '<', '…']) {
            continue;
        }
        let file = root().join(script).metadata();
        if !file.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0) {
            wrong.push(format!("{place}: `{}`: no such program", words.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "scripts that do not exist:\n{}", wrong.join("\n"));
}

#[test]
fn first_commands_are_the_demo_and_the_tests() {
    let mut first: BTreeMap<&str, Option<String>> = BTreeMap::new();
    for block in ["README.md", "CONTRIBUTING.md"].iter().flat_map(|name| document(name).blocks()) {
        if !["sh", "shell", "bash", "console"].contains(&block.language.as_str()) {
            continue;
        }
        let heading = block.headings.join(" / ").to_lowercase();
        for section in ["quick start", "test"].into_iter().filter(|section| heading.contains(section)) {
            let command = commands(&block).first().map(|words| words.join(" "));
            first.entry(section).or_insert(command);
        }
    }
    let first = |section: &str| first.get(section).cloned().flatten();
    assert_eq!(first("quick start").as_deref(), Some("script/demo"), "README.md, section Quick start");
    assert_eq!(first("test").as_deref(), Some("script/test --fast"), "CONTRIBUTING.md, section Test");
}
