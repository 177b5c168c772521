//! Configuration problems, reported all at once. Messages never repeat a value: any value may be a secret.

use std::fmt;

/// All problems of a configuration. `Display` writes one per line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The configuration file as it was named.
    pub file: String,
    pub problems: Vec<Problem>,
}

/// One problem and how to fix it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key's path (`server.public_url`), or the name of an environment variable.
    pub path: String,
    /// The line in the file; `None` for a missing key and for the environment.
    pub line: Option<u64>,
    pub message: String,
    pub help: String,
}

/// An accepted setting that is worth a log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub level: NoteLevel,
    /// As in [`Problem`].
    pub path: String,
    pub message: String,
}

/// Log level of a note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteLevel {
    Debug,
    Warning,
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if let Some(line) = problem.line {
                write!(f, "{}:{line}: ", self.file)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}. {}", self.path, self.message, self.help)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

impl Problem {
    pub(super) fn new(path: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { path: path.into(), line: None, message: message.into(), help: help.into() }
    }

    pub(super) fn at(self, line: Option<u64>) -> Self {
        Self { line, ..self }
    }
}

/// A key as messages may show it. Text that does not look like a key may be a misplaced secret.
pub(super) fn display_key(key: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.len() <= 64 && key.chars().all(plain) { key } else { "(invalid key name)" }
}

/// The number of edits between a name and a known one. Ignores case, and hyphens in place of underscores.
pub(super) fn edits(name: &str, known: &str) -> usize {
    strsim::damerau_levenshtein(&name.trim().to_ascii_lowercase().replace('-', "_"), known)
}

/// Help for an unknown name: the closest known one, or all of them. `kind` is what they are, such as `keys`.
pub(super) fn suggestion(name: &str, kind: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (edits(name, known), known));
    match near.filter(|(edits, known)| *edits <= (known.len() / 3).max(1)).min_by_key(|(edits, _)| *edits) {
        Some((_, closest)) => format!("Did you mean {closest}?"),
        None => format!("Valid {kind}: {}", known.join(", ")),
    }
}
