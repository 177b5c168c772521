//! Converts YAML and environment values into types. Problems are collected, and reading continues.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::Env;
use super::expand::expand;
use super::problem::{Note, NoteLevel, Problem, display_key, suggestion};
use super::tree::Value;

/// Sources of values, and the problems found so far.
pub(super) struct Reader<'a> {
    pub(super) env: &'a Env,
    /// Base of relative paths.
    pub(super) dir: &'a Path,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<Note>,
    /// The environment variables that set a key without `${NAME}`.
    pub(super) variables: &'a [(&'static str, Value)],
    /// The variables that were used.
    pub(super) overrides: Vec<EnvOverride>,
}

/// A key whose value came from an environment variable.
pub(super) struct EnvOverride {
    pub(super) key: String,
    pub(super) variable: &'static str,
    /// The variable was added to the file's value instead of replacing it.
    pub(super) added: bool,
}

/// A value with its location.
#[derive(Clone)]
pub(super) struct Item<'a> {
    pub(super) path: String,
    pub(super) line: Option<u64>,
    pub(super) value: &'a Value,
    /// From an environment variable: `${` is not expanded, and numbers are text.
    pub(super) literal: bool,
}

/// A scalar after expansion of environment variables.
enum Scalar<'a> {
    Bool(bool),
    Int(i128),
    Float(f64),
    Text { text: Cow<'a, str>, from_env: bool },
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
}

impl<'a> Reader<'a> {
    /// Adds a problem. The message must not repeat the value.
    pub(super) fn problem(&mut self, item: &Item, message: impl Display, help: impl Display) {
        let problem = Problem::new(&item.path, message.to_string(), help.to_string());
        self.problems.push(problem.at(item.line));
    }

    pub(super) fn note(&mut self, level: NoteLevel, path: impl Into<String>, message: impl Into<String>) {
        self.notes.push(Note { level, path: path.into(), message: message.into() });
    }

    /// The value of an environment variable that sets a key, if it is set.
    pub(super) fn variable(&self, name: &str) -> Option<Item<'a>> {
        let (name, value) = self.variables.iter().find(|(known, _)| *known == name)?;
        Some(Item { path: (*name).to_owned(), line: None, value, literal: true })
    }

    /// Records that a variable replaced the value of a key.
    pub(super) fn record_override(&mut self, key: String, variable: &'static str) {
        self.overrides.push(EnvOverride { key, variable, added: false });
    }

    /// Notes that a variable replaced the value of the file.
    pub(super) fn note_overridden(&mut self, item: &Item, variable: &str) {
        self.note(NoteLevel::Debug, &item.path, format!("is overridden by the environment variable {variable}"));
    }

    fn scalar(&mut self, item: &Item<'a>, expected: &str) -> Option<Scalar<'a>> {
        match item.value {
            Value::Bool(value) => Some(Scalar::Bool(*value)),
            Value::Int(value) => Some(Scalar::Int(*value)),
            Value::Float(value) => Some(Scalar::Float(*value)),
            Value::Text(text) if item.literal => Some(Scalar::Text { text: text.into(), from_env: true }),
            Value::Text(text) => match expand(text, self.env) {
                Ok(expanded) => {
                    Some(Scalar::Text { from_env: !expanded.variables.is_empty(), text: expanded.text.into() })
                }
                Err((message, help)) => {
                    self.problem(item, message, help);
                    None
                }
            },
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.problem(item, format!("must be {expected}, not {}", item.value.kind()), "Write a single value");
                None
            }
        }
    }

    /// A text, possibly empty.
    pub(super) fn text(&mut self, item: &Item<'a>) -> Option<String> {
        if let Scalar::Text { text, .. } = self.scalar(item, "text")? {
            return Some(text.into_owned());
        }
        self.problem(item, format!("must be text, not {}", item.value.kind()), "Put it in quotes");
        None
    }

    /// A text that `parse` accepts.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        item: &Item<'a>,
        help: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(item)?;
        parse(&text).map_err(|error| self.problem(item, error, help)).ok()
    }

    /// One of a fixed set of names.
    pub(super) fn choice<T: Copy>(&mut self, item: &Item<'a>, choices: &[(&str, T)]) -> Option<T> {
        let text = self.text(item)?;
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            self.problem(item, "is not a valid value", suggestion(&text, "values", &names));
        }
        found
    }

    /// True or false. From the environment, `yes`, `no`, `1` and `0` are accepted too.
    pub(super) fn boolean(&mut self, item: &Item<'a>) -> Option<bool> {
        match self.scalar(item, "true or false")? {
            Scalar::Bool(value) => return Some(value),
            Scalar::Text { text, from_env: true } => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => return Some(true),
                "false" | "no" | "0" => return Some(false),
                _ => self.problem(item, "is neither true nor false", "Set it to true or false"),
            },
            _ => {
                let message = format!("must be true or false, not {}", item.value.kind());
                self.problem(item, message, "Write true or false, without quotes");
            }
        }
        None
    }

    /// A whole number in `range`.
    pub(super) fn integer<T: TryFrom<i128> + Into<i128> + Copy>(
        &mut self,
        item: &Item<'a>,
        range: RangeInclusive<T>,
    ) -> Option<T> {
        let (min, max): (i128, i128) = ((*range.start()).into(), (*range.end()).into());
        let number = match self.scalar(item, "a whole number")? {
            Scalar::Int(number) => Some(number),
            Scalar::Text { text, from_env: true } => text.trim().parse().ok(),
            _ => None,
        };
        let valid = number.filter(|number| (min..=max).contains(number)).and_then(|number| T::try_from(number).ok());
        if valid.is_none() {
            let message = match item.value {
                Value::Text(_) if !item.literal => "must be a whole number, not text".to_owned(),
                _ => format!("must be a whole number from {min} to {max}"),
            };
            self.problem(item, message, "Write the number without quotes");
        }
        valid
    }

    /// An amount of money: finite and not negative.
    pub(super) fn amount(&mut self, item: &Item<'a>) -> Option<f64> {
        let number = match self.scalar(item, "a number")? {
            // Through text, because a whole number can have more digits than a float.
            Scalar::Int(number) => number.to_string().parse().ok(),
            Scalar::Float(number) => Some(number),
            Scalar::Text { text, from_env: true } => text.trim().parse::<f64>().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.problem(item, format!("must be a number, not {}", item.value.kind()), "Write it without quotes");
            return None;
        };
        if !number.is_finite() || number < 0.0 {
            self.problem(item, "must be a finite number that is not negative", "Remove the key for no limit");
            return None;
        }
        // `-0.0` is not less than zero, but keeps its sign when written.
        Some(number.abs())
    }

    /// A duration with a unit, in `range`.
    pub(super) fn duration(&mut self, item: &Item<'a>, range: &RangeInclusive<Duration>) -> Option<Duration> {
        let text = match self.scalar(item, "a duration such as 60s")? {
            Scalar::Int(number) => {
                self.problem(item, "is a number without a unit", format!("Write {number}s for seconds"));
                return None;
            }
            Scalar::Text { text, .. } => text,
            _ => Cow::Borrowed(""),
        };
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            self.problem(item, "is a number without a unit", "Add a unit, such as 60s");
            return None;
        }
        let Ok(duration) = humantime::parse_duration(&text) else {
            self.problem(item, "is not a duration", "Write a number and a unit, such as 60s, 30m, 8h or 7d");
            return None;
        };
        if !range.contains(&duration) {
            let [min, max] = [range.start(), range.end()].map(|limit| humantime::format_duration(*limit));
            self.problem(item, format!("must be from {min} to {max}"), "Write a duration in this range");
            return None;
        }
        Some(duration)
    }

    /// The elements of a list with their paths; empty after a problem.
    pub(super) fn list(&mut self, item: &Item<'a>) -> Vec<Item<'a>> {
        let Value::List(nodes) = item.value else {
            let message = format!("must be a list, not {}", item.value.kind());
            self.problem(item, message, "Write it as [first, second]");
            return Vec::new();
        };
        let element = |(index, node): (usize, &'a super::tree::Node)| Item {
            path: format!("{}[{index}]", item.path),
            line: node.line.or(item.line),
            value: &node.value,
            literal: item.literal,
        };
        nodes.iter().enumerate().map(element).collect()
    }

    /// Any value, as JSON.
    pub(super) fn json(&mut self, item: &Item<'a>) -> Option<serde_json::Value> {
        Some(match item.value {
            Value::Null => serde_json::Value::Null,
            Value::List(_) => self.list(item).iter().filter_map(|element| self.json(element)).collect(),
            Value::Map(entries) => {
                let mut map = serde_json::Map::new();
                for entry in entries {
                    let path = format!("{}.{}", item.path, display_key(&entry.key));
                    let value = Item { path, line: entry.line, value: &entry.node.value, literal: item.literal };
                    map.insert(entry.key.clone(), self.json(&value)?);
                }
                map.into()
            }
            Value::Bool(value) => (*value).into(),
            Value::Float(value) => self.json_number(item, serde_json::Number::from_f64(*value))?,
            Value::Int(value) => {
                // Over 64 bits it becomes a float, as in JavaScript.
                let float = || value.to_string().parse().ok().and_then(serde_json::Number::from_f64);
                self.json_number(item, serde_json::Number::from_i128(*value).or_else(float))?
            }
            Value::Text(_) => self.text(item)?.into(),
        })
    }

    fn json_number(&mut self, item: &Item<'a>, number: Option<serde_json::Number>) -> Option<serde_json::Value> {
        if number.is_none() {
            self.problem(item, "must be a finite number, as JSON has no other", "Put it in quotes to write it as text");
        }
        number.map(Into::into)
    }

    /// The texts of a list with their locations: trimmed and not empty.
    pub(super) fn texts(&mut self, item: &Item<'a>) -> Vec<(Item<'a>, String)> {
        let mut texts = Vec::new();
        for element in self.list(item) {
            let Some(text) = self.text(&element) else { continue };
            match text.trim() {
                "" => self.problem(&element, "is empty", "Write a text, or remove the entry"),
                text => texts.push((element, text.to_owned())),
            }
        }
        texts
    }
}
