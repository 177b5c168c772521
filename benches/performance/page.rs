//! Updates parts of `docs/reference/performance.md` and preserves the others.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

/// A part of the page.
pub(crate) struct Part {
    pub(crate) heading: &'static str,
    pub(crate) text: String,
}

/// Prints the part and writes it to the page, with all parts in the order of `headings`.
pub(crate) fn write(part: Part, headings: &[&str], postgres: &str) -> anyhow::Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/performance.md");
    let before = std::fs::read_to_string(&path)?;
    let mut known: Vec<(String, String)> = before
        .split("\n## ")
        .skip(1)
        .filter_map(|part| part.split_once('\n'))
        .map(|(heading, text)| (heading.to_owned(), text.trim().to_owned()))
        .collect();
    let Part { heading, text } = part;
    println!("## {heading}\n\n{text}");
    known.retain(|(other, _)| other != heading);
    known.push((heading.to_owned(), format!("Measured {}.\n\n{}", of(), text.trim())));
    let mut page = format!(
        "# Performance\n\nWritten by `script/bench`, which repeats the measurements.\n\n{}\n",
        machine(postgres)
    );
    for heading in headings {
        if let Some((_, text)) = known.iter().find(|(known, _)| known == heading) {
            write!(page, "\n## {heading}\n\n{text}\n")?;
        }
    }
    std::fs::write(path, page)?;
    Ok(())
}

/// Date and commit.
fn of() -> String {
    let day = version("date", "+%Y-%m-%d").unwrap_or_else(|| "on an unknown day".to_owned());
    let commit =
        Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(env!("CARGO_MANIFEST_DIR")).output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    if commit.is_empty() { day } else { format!("{day}, at `{commit}`") }
}

fn machine(postgres: &str) -> String {
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let model = model.trim_start_matches([' ', '\t', ':']);
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = memory.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or_default();
    let peers = [("/usr/sbin/nginx", "-v"), ("/usr/sbin/apache2", "-v"), ("wrk", "-v")];
    let peers: Vec<String> = peers.iter().filter_map(|(program, option)| version(program, option)).collect();
    format!(
        "Measured on {cores} cores ({model}), {} GiB, {}, Postgres {postgres} with its default durability; {}.\n\
         The service is the release program with the demo, which the image does not have. It shares the cores with Postgres, the simulated\n\
         Entra ID and Graph, and the browsers or `wrk`.",
        kib / 1024 / 1024,
        std::env::consts::OS,
        peers.join(", ")
    )
}

/// First line of a program's version output.
fn version(program: &str, option: &str) -> Option<String> {
    let output = Command::new(program).arg(option).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    let line = String::from_utf8_lossy(&said).lines().next()?.to_owned();
    let words = line.trim_start_matches("Server version: ").trim_start_matches("nginx version: ");
    Some(words.split(" [").next().unwrap_or(words).split(" (").next().unwrap_or(words).to_owned())
}
