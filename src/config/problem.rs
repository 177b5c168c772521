//! What is wrong with the configuration, all of it at once. No message repeats a value: any value may be a secret.

use std::fmt;

/// Everything that is wrong. `Display` says one problem a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The configuration file as it was named.
    pub file: String,
    pub problems: Vec<Problem>,
}

/// One thing that is wrong, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key's path (`server.public_url`), or the name of an environment variable.
    pub place: String,
    /// The line in the file; none for what is missing, and for the environment.
    pub line: Option<u64>,
    pub said: String,
    pub remedy: String,
}

/// What is not wrong, but worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub level: Level,
    /// As in `Problem`.
    pub place: String,
    pub said: String,
}

/// How loud a note is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
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
        write!(f, "{}: {}; {}", self.place, self.said, self.remedy)
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.said)
    }
}

impl Problem {
    pub(super) fn new(place: impl Into<String>, said: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place: place.into(), line: None, said: said.into(), remedy: remedy.into() }
    }

    pub(super) fn at(self, line: Option<u64>) -> Self {
        Self { line, ..self }
    }
}

/// A key as a message may show it. What does not look like a key may be a secret in the wrong place.
pub(super) fn shown(key: &str) -> &str {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.len() <= 64 && key.chars().all(plain) { key } else { "(a key that is no name)" }
}

/// The known word that was probably meant.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = normal(word);
    known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Case and hyphens are slips, too.
pub(super) fn normal(word: &str) -> String {
    word.trim().to_ascii_lowercase().replace('-', "_")
}

/// The remedy for a word that is not known here.
pub(super) fn suggestion(word: &str, known: &[&str]) -> String {
    match nearest(word, known) {
        Some(candidate) => format!("did you mean {candidate}?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_its_word_and_a_strange_word_finds_none() {
        let known = ["public_url", "listen", "trusted_proxies"];
        for slip in ["public_ur", "pulbic_url", "Public-URL", "publicurl"] {
            assert_eq!(nearest(slip, &known), Some("public_url"), "{slip}");
        }
        assert_eq!(nearest("metrics_listen", &known), None);
        assert_eq!(suggestion("x", &known), "known here: public_url, listen, trusted_proxies");
    }

    #[test]
    fn a_key_that_may_be_a_secret_in_the_wrong_place_is_not_shown() {
        assert_eq!(shown("public_ur"), "public_ur");
        for odd in ["", "postgres://u:p@h/db", "abc8Q~def.ghi", "a\nb", &"x".repeat(65)] {
            assert_eq!(shown(odd), "(a key that is no name)", "{odd:?}");
        }
    }
}
