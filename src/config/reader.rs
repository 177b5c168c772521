//! Converts YAML and environment values into types. Problems are collected, and reading continues.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Env;
use super::expand::expand;
use super::problem::{Note, NoteLevel, Problem, suggestion};
use super::secret;
use super::section::Setting;
use super::tree::{Entry, Node, Value};

/// Environment variables of LiteLLM that replace the value of a key. `DATABASE_URL`, `MICROSOFT_CLIENT_SECRET` and
/// `PROXY_ADMIN_ID` have rules of their own. Other variables only apply as `${NAME}` in the file.
const OVERRIDES: [(&str, &str); 7] = [
    ("server.public_url", "PROXY_BASE_URL"),
    ("entra.tenant", "MICROSOFT_TENANT"),
    ("entra.client_id", "MICROSOFT_CLIENT_ID"),
    ("entra.service_principal_id", "MICROSOFT_SERVICE_PRINCIPAL_ID"),
    ("entra.graph_url", "MICROSOFT_GRAPH_ENDPOINT"),
    ("access.allowed_email_domains", ALLOWED_EMAIL_DOMAINS),
    ("litellm_settings.entra_groups_also_create_orgs", "ENTRA_GROUPS_ALSO_CREATE_ORGS"),
];

/// The only variable that is a list.
const ALLOWED_EMAIL_DOMAINS: &str = "ALLOWED_EMAIL_DOMAINS";

/// The variable that replaces the value of the key at a path.
pub(super) fn variable_of(path: &str) -> Option<&'static str> {
    OVERRIDES.iter().find(|(key, _)| *key == path).map(|(_, variable)| *variable)
}

/// Sources of values, and what was found in them so far.
pub(super) struct Reader<'a> {
    env: &'a Env,
    /// Base of relative paths.
    dir: &'a Path,
    /// The environment variables as values.
    variables: BTreeMap<&'a str, Value>,
    found: RefCell<Found>,
}

/// What reading found, in its order.
#[derive(Default)]
pub(super) struct Found {
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<Note>,
    pub(super) settings: Vec<Setting>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(env: &'a Env, dir: &'a Path, problems: Vec<Problem>) -> Self {
        // A blank variable counts as not set.
        let variables = env.iter().filter(|(_, text)| !text.trim().is_empty());
        let variables = variables.map(|(name, text)| (name.as_str(), variable(name, text))).collect();
        Self { env, dir, variables, found: RefCell::new(Found { problems, ..Found::default() }) }
    }

    pub(super) fn finish(self) -> Found {
        self.found.into_inner()
    }

    pub(super) fn problem(&self, problem: Problem) {
        self.found.borrow_mut().problems.push(problem);
    }

    pub(super) fn note(&self, level: NoteLevel, path: impl Into<String>, message: impl Into<String>) {
        self.found.borrow_mut().notes.push(Note { level, path: path.into(), message: message.into() });
    }

    pub(super) fn setting(&self, setting: Setting) {
        self.found.borrow_mut().settings.push(setting);
    }

    /// The value of an environment variable that sets a key, if it is set.
    pub(super) fn variable(&'a self, name: &str) -> Option<Item<'a>> {
        let (name, value) = self.variables.get_key_value(name)?;
        Some(Item { reader: self, path: (*name).to_owned(), line: None, value, source: Source::Environment })
    }

    /// The value of the environment variable, or of the file if the variable is not set.
    pub(super) fn variable_or(&'a self, name: &str, item: Option<Item<'a>>) -> Option<Item<'a>> {
        let Some(variable) = self.variable(name) else { return item };
        if let Some(item) = item {
            item.note(NoteLevel::Debug, format!("is overridden by the environment variable {name}"));
        }
        Some(variable)
    }
}

/// An environment variable as a value of the file would be.
fn variable(name: &str, text: &str) -> Value {
    if name != ALLOWED_EMAIL_DOMAINS {
        return Value::Text(text.to_owned());
    }
    let node = |part: &str| Node { line: None, value: Value::Text(part.trim().to_owned()) };
    let parts: Vec<Node> = text.split(',').filter(|part| !part.trim().is_empty()).map(node).collect();
    // An empty list would allow all domains, so commas alone become an empty entry, which is rejected.
    Value::List(if parts.is_empty() { vec![node("")] } else { parts })
}

/// A value with its location.
#[derive(Clone)]
pub(super) struct Item<'a> {
    pub(super) reader: &'a Reader<'a>,
    /// The key's path, or the name of the environment variable.
    pub(super) path: String,
    pub(super) line: Option<u64>,
    pub(super) value: &'a Value,
    pub(super) source: Source,
}

/// Where a value is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    File,
    /// An environment variable: `${` is not expanded, and numbers are text.
    Environment,
    /// A file that the configuration file names.
    SecretFile,
}

impl Value {
    /// The type, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Int(_) | Self::Float(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }

    /// Collects the environment variables in a value, without duplicates.
    fn variables<'v>(&'v self, env: &Env, variables: &mut Vec<&'v str>) {
        match self {
            Self::Text(text) => {
                for name in expand(text, env).map(|expanded| expanded.variables).unwrap_or_default() {
                    if !variables.contains(&name) {
                        variables.push(name);
                    }
                }
            }
            Self::List(nodes) => nodes.iter().for_each(|node| node.value.variables(env, variables)),
            Self::Map(entries) => entries.iter().for_each(|entry| entry.node.value.variables(env, variables)),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) => {}
        }
    }
}

impl<'a> Item<'a> {
    /// The value of an entry at a path.
    pub(super) fn of(entry: &'a Entry, path: String, reader: &'a Reader<'a>) -> Self {
        Self { reader, path, line: entry.line, value: &entry.node.value, source: Source::File }
    }

    /// Adds a problem. The message must not repeat the value.
    pub(super) fn problem(&self, message: impl Display, help: impl Display) {
        let problem = Problem::new(&self.path, message.to_string(), help.to_string());
        self.reader.problem(problem.at(self.line));
    }

    pub(super) fn warn(&self, message: impl Into<String>) {
        self.note(NoteLevel::Warning, message);
    }

    pub(super) fn note(&self, level: NoteLevel, message: impl Into<String>) {
        self.reader.note(level, &self.path, message);
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// Where the value came from, for the settings page. `added` is a variable that was added to the file's value.
    pub(super) fn origin(&self, added: Option<&str>) -> String {
        let file = match self.source {
            Source::Environment => return format!("environment, {}", self.path),
            Source::File => "file",
            Source::SecretFile => "secret file, named in the file",
        };
        let line = self.line.map(|line| format!(", line {line}")).unwrap_or_default();
        let mut variables = Vec::new();
        self.value.variables(self.reader.env, &mut variables);
        variables.extend(added);
        match &variables[..] {
            [] => format!("{file}{line}"),
            names => format!("{file}{line}, with {} of the environment", names.join(" and ")),
        }
    }

    /// The text of a scalar, with environment variables expanded. Numbers and booleans are text in the environment, so any
    /// text with a variable is accepted there. `expected` and `help` are for a value of another YAML type.
    fn scalar(&self, expected: &str, help: &str, is_expected: fn(&Value) -> bool) -> Option<String> {
        let (text, from_env) = match self.value {
            Value::Bool(value) => (value.to_string(), false),
            Value::Int(value) => (value.to_string(), false),
            // As `1.0`, which is not a whole number.
            Value::Float(value) => (format!("{value:?}"), false),
            Value::Text(text) if self.source == Source::Environment => (text.clone(), true),
            Value::Text(text) => match expand(text, self.reader.env) {
                Ok(expanded) => (expanded.text, !expanded.variables.is_empty()),
                Err((message, help)) => {
                    self.problem(message, help);
                    return None;
                }
            },
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.problem(format!("must be {expected}, not {}", self.value.kind()), "Write a single value");
                return None;
            }
        };
        if !from_env && !is_expected(self.value) {
            self.problem(format!("must be {expected}, not {}", self.value.kind()), help);
            return None;
        }
        Some(text)
    }

    /// A text, possibly empty. For a secret file, its content.
    pub(super) fn text(&self) -> Option<String> {
        let text = self.scalar("text", "Put it in quotes", |value| matches!(value, Value::Text(_)))?;
        if self.source == Source::SecretFile { secret::read_file(self, &text) } else { Some(text) }
    }

    /// A text without white space around it; not empty.
    pub(super) fn trimmed(&self, help: &str) -> Option<String> {
        self.parsed(help, |text| if text.trim().is_empty() { Err("is empty") } else { Ok(text.trim().to_owned()) })
    }

    /// An element of a list of texts.
    pub(super) fn element(&self) -> Option<String> {
        self.trimmed("Write a text, or remove the entry")
    }

    /// A text that `parse` accepts.
    pub(super) fn parsed<T, E: Display>(&self, help: &str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        let text = self.text()?;
        parse(&text).map_err(|error| self.problem(error, help)).ok()
    }

    /// A path below the folder of the configuration file, if it is relative.
    pub(super) fn resolve(&self, name: &str) -> PathBuf {
        self.reader.dir.join(name)
    }

    /// One of a fixed set of names.
    pub(super) fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.problem("is not a valid value", suggestion(&text, "values", &names));
        }
        found
    }

    /// True or false. From the environment, `yes`, `no`, `1` and `0` are accepted too.
    pub(super) fn boolean(&self) -> Option<bool> {
        let help = "Write true or false, without quotes";
        let text = self.scalar("true or false", help, |value| matches!(value, Value::Bool(_)))?;
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" => Some(true),
            "false" | "no" | "0" => Some(false),
            _ => {
                self.problem("is neither true nor false", "Set it to true or false");
                None
            }
        }
    }

    /// A whole number in `range`.
    pub(super) fn integer<T: TryFrom<i128> + Into<i128> + Copy>(&self, range: RangeInclusive<T>) -> Option<T> {
        let (min, max): (i128, i128) = ((*range.start()).into(), (*range.end()).into());
        let help = "Write the number without quotes";
        let text = self.scalar("a whole number", help, |value| !matches!(value, Value::Text(_)))?;
        let number = text.trim().parse().ok().filter(|number| (min..=max).contains(number));
        let number = number.and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            self.problem(format!("must be a whole number from {min} to {max}"), help);
        }
        number
    }

    /// An amount of money: finite and not negative.
    pub(super) fn amount(&self) -> Option<f64> {
        let is_number = |value: &Value| matches!(value, Value::Int(_) | Value::Float(_));
        let text = self.scalar("a number", "Write it without quotes", is_number)?;
        match text.trim().parse::<f64>() {
            // `-0.0` is not less than zero, but keeps its sign when written.
            Ok(number) if number.is_finite() && number >= 0.0 => return Some(number.abs()),
            Ok(_) => self.problem("must be a finite number that is not negative", "Remove the key for no limit"),
            Err(_) => self.problem("must be a number", "Write it without quotes"),
        }
        None
    }

    /// A duration with a unit, in `range`.
    pub(super) fn duration(&self, range: &RangeInclusive<Duration>) -> Option<Duration> {
        let text = self.scalar("a duration such as 60s", "", |_| true)?;
        let has_unit = text.is_empty() || text.bytes().any(|byte| !byte.is_ascii_digit());
        let parsed = humantime::parse_duration(&text).ok().filter(|_| has_unit);
        if let Some(duration) = parsed.filter(|duration| range.contains(duration)) {
            return Some(duration);
        }
        match (self.value, parsed) {
            (Value::Int(number), _) => {
                self.problem("is a number without a unit", format!("Write {number}s for seconds"));
            }
            (_, Some(_)) => {
                let [min, max] = [range.start(), range.end()].map(|limit| humantime::format_duration(*limit));
                self.problem(format!("must be from {min} to {max}"), "Write a duration in this range");
            }
            _ if !has_unit => self.problem("is a number without a unit", "Add a unit, such as 60s"),
            _ => self.problem("is not a duration", "Write a number and a unit, such as 60s, 30m, 8h or 7d"),
        }
        None
    }

    /// The elements of a list with their paths; empty after a problem.
    pub(super) fn list(&self) -> Vec<Self> {
        let Value::List(nodes) = self.value else {
            self.problem(format!("must be a list, not {}", self.value.kind()), "Write it as [first, second]");
            return Vec::new();
        };
        let element = |(index, node): (usize, &'a Node)| Self {
            path: format!("{}[{index}]", self.path),
            line: node.line.or(self.line),
            value: &node.value,
            ..self.clone()
        };
        nodes.iter().enumerate().map(element).collect()
    }
}
