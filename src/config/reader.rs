//! Values become types here. Whatever does not fit is collected, and reading goes on.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use super::Env;
use super::expand::expand;
use super::problem::{Level, Note, Problem, shown, suggestion};
use super::tree::Value;

/// Where values come from, and where the findings go.
pub(super) struct Reader<'a> {
    pub(super) env: &'a Env,
    /// Relative paths begin here.
    pub(super) dir: &'a Path,
    pub(super) problems: Vec<Problem>,
    pub(super) notes: Vec<Note>,
    /// The variables that have an effect by themselves, as values.
    pub(super) variables: &'a [(&'static str, Value)],
    /// What was taken from them.
    pub(super) taken: Vec<Taken>,
}

/// The key that a variable of the environment gave its value.
pub(super) struct Taken {
    pub(super) key: String,
    pub(super) name: &'static str,
    /// It came to what the file has, and did not take its place.
    pub(super) added: bool,
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Item<'a> {
    pub(super) place: String,
    pub(super) line: Option<u64>,
    pub(super) value: &'a Value,
    /// From the environment: `${` has no meaning in it, and numbers are texts.
    pub(super) literal: bool,
}

/// A scalar with the environment put in.
enum Scalar<'a> {
    Bool(bool),
    Whole(i128),
    Real(f64),
    Text { text: Cow<'a, str>, from_env: bool },
}

impl Value {
    /// What it is, for a message.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Whole(_) | Self::Real(_) => "a number",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

impl<'a> Reader<'a> {
    /// Tells what is wrong with a value. What is said must not repeat the value.
    pub(super) fn problem(&mut self, item: &Item, said: impl Display, remedy: impl Display) {
        let problem = Problem::new(&item.place, said.to_string(), remedy.to_string());
        self.problems.push(problem.at(item.line));
    }

    pub(super) fn note(&mut self, level: Level, place: impl Into<String>, said: impl Into<String>) {
        self.notes.push(Note { level, place: place.into(), said: said.into() });
    }

    /// A variable that has an effect by itself, if it is set.
    pub(super) fn variable(&self, name: &str) -> Option<Item<'a>> {
        let (name, value) = self.variables.iter().find(|(known, _)| *known == name)?;
        Some(Item { place: (*name).to_owned(), line: None, value, literal: true })
    }

    /// Remembers that the value of this key is that variable's.
    pub(super) fn took(&mut self, key: String, name: &'static str) {
        self.taken.push(Taken { key, name, added: false });
    }

    fn scalar(&mut self, item: &Item<'a>, expected: &str) -> Option<Scalar<'a>> {
        match item.value {
            Value::Bool(value) => Some(Scalar::Bool(*value)),
            Value::Whole(value) => Some(Scalar::Whole(*value)),
            Value::Real(value) => Some(Scalar::Real(*value)),
            Value::Text(text) if item.literal => Some(Scalar::Text { text: text.into(), from_env: true }),
            Value::Text(text) => match expand(text, self.env) {
                Ok(done) => Some(Scalar::Text { from_env: !done.names.is_empty(), text: done.text.into() }),
                Err((said, remedy)) => {
                    self.problem(item, said, remedy);
                    None
                }
            },
            Value::Null | Value::List(_) | Value::Map(_) => {
                self.problem(item, format!("must be {expected}, not {}", item.value.kind()), "write one value");
                None
            }
        }
    }

    /// A text, empty or not.
    pub(super) fn text(&mut self, item: &Item<'a>) -> Option<String> {
        if let Scalar::Text { text, .. } = self.scalar(item, "text")? {
            return Some(text.into_owned());
        }
        self.problem(item, format!("must be text, not {}", item.value.kind()), "put it in quotes");
        None
    }

    /// A text that `read` understands.
    pub(super) fn parsed<T, E: Display>(
        &mut self,
        item: &Item<'a>,
        remedy: &str,
        read: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let text = self.text(item)?;
        read(&text).map_err(|error| self.problem(item, error, remedy)).ok()
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, item: &Item<'a>, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(item)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.problem(item, "is not one of the words known here", suggestion(&text, &words));
        }
        found
    }

    /// True or false; from the environment in a few spellings more.
    pub(super) fn boolean(&mut self, item: &Item<'a>) -> Option<bool> {
        let remedy = "write true or false, without quotes";
        match self.scalar(item, "true or false")? {
            Scalar::Bool(value) => return Some(value),
            Scalar::Text { text, from_env: true } => match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "1" => return Some(true),
                "false" | "no" | "0" => return Some(false),
                _ => self.problem(item, "is neither true nor false", "set it to true or false"),
            },
            _ => self.problem(item, format!("must be true or false, not {}", item.value.kind()), remedy),
        }
        None
    }

    /// A whole number within limits.
    pub(super) fn whole<T: TryFrom<i128> + Into<i128> + Copy>(
        &mut self,
        item: &Item<'a>,
        limits: RangeInclusive<T>,
    ) -> Option<T> {
        let (from, to): (i128, i128) = ((*limits.start()).into(), (*limits.end()).into());
        let number = match self.scalar(item, "a whole number")? {
            Scalar::Whole(number) => Some(number),
            Scalar::Text { text, from_env: true } => text.trim().parse().ok(),
            _ => None,
        };
        let fits = number.filter(|number| (from..=to).contains(number)).and_then(|number| T::try_from(number).ok());
        if fits.is_none() {
            let said = match item.value {
                Value::Text(_) if !item.literal => "must be a whole number, not text".to_owned(),
                _ => format!("must be a whole number from {from} to {to}"),
            };
            self.problem(item, said, "write such a number, without quotes");
        }
        fits
    }

    /// An amount of money: finite and not negative.
    pub(super) fn amount(&mut self, item: &Item<'a>) -> Option<f64> {
        let number = match self.scalar(item, "a number")? {
            // Through text, since a whole number may be longer than a float is exact.
            Scalar::Whole(number) => number.to_string().parse().ok(),
            Scalar::Real(number) => Some(number),
            Scalar::Text { text, from_env: true } => text.trim().parse::<f64>().ok(),
            _ => None,
        };
        let Some(number) = number else {
            self.problem(item, format!("must be a number, not {}", item.value.kind()), "write it without quotes");
            return None;
        };
        if !number.is_finite() || number < 0.0 {
            self.problem(item, "must be a finite number that is not negative", "leave the key out for no limit");
            return None;
        }
        // `-0.0` is not negative, but is written so.
        Some(number.abs())
    }

    /// A span of time with its unit, within limits.
    pub(super) fn duration(&mut self, item: &Item<'a>, limits: &RangeInclusive<Duration>) -> Option<Duration> {
        let text = match self.scalar(item, "a duration such as 60s")? {
            Scalar::Whole(number) => {
                self.problem(item, "is a number without a unit", format!("write {number}s for seconds"));
                return None;
            }
            Scalar::Text { text, .. } => text,
            _ => Cow::Borrowed(""),
        };
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            self.problem(item, "is a number without a unit", "write it with one, such as 60s");
            return None;
        }
        let Ok(duration) = humantime::parse_duration(&text) else {
            self.problem(item, "is not a duration", "write a number and a unit, such as 60s, 30m, 8h or 7d");
            return None;
        };
        if !limits.contains(&duration) {
            let shown = [limits.start(), limits.end()].map(|limit| humantime::format_duration(*limit).to_string());
            self.problem(item, format!("must be from {} to {}", shown[0], shown[1]), "write a duration in between");
            return None;
        }
        Some(duration)
    }

    /// The elements of a list, each with its place; nothing where it is none.
    pub(super) fn list(&mut self, item: &Item<'a>) -> Vec<Item<'a>> {
        let Value::List(nodes) = item.value else {
            self.problem(item, format!("must be a list, not {}", item.value.kind()), "write [one, another]");
            return Vec::new();
        };
        let element = |(index, node): (usize, &'a super::tree::Node)| Item {
            place: format!("{}[{index}]", item.place),
            line: node.line.or(item.line),
            value: &node.value,
            literal: item.literal,
        };
        nodes.iter().enumerate().map(element).collect()
    }

    /// Anything, as JSON.
    pub(super) fn json(&mut self, item: &Item<'a>) -> Option<serde_json::Value> {
        Some(match item.value {
            Value::Null => serde_json::Value::Null,
            Value::List(_) => self.list(item).iter().filter_map(|element| self.json(element)).collect(),
            Value::Map(entries) => {
                let mut map = serde_json::Map::new();
                for entry in entries {
                    let place = format!("{}.{}", item.place, shown(&entry.key));
                    let below = Item { place, line: entry.line, value: &entry.node.value, literal: item.literal };
                    map.insert(entry.key.clone(), self.json(&below)?);
                }
                map.into()
            }
            Value::Bool(value) => (*value).into(),
            Value::Real(value) => self.json_number(item, serde_json::Number::from_f64(*value))?,
            Value::Whole(value) => {
                // Longer than 64 bits, it becomes a float, as in JavaScript.
                let float = || value.to_string().parse().ok().and_then(serde_json::Number::from_f64);
                self.json_number(item, serde_json::Number::from_i128(*value).or_else(float))?
            }
            Value::Text(_) => self.text(item)?.into(),
        })
    }

    fn json_number(&mut self, item: &Item<'a>, number: Option<serde_json::Number>) -> Option<serde_json::Value> {
        if number.is_none() {
            self.problem(item, "must be a finite number", "JSON knows no other; put it in quotes for a text");
        }
        number.map(Into::into)
    }

    /// The texts of a list: trimmed, none empty, each with its place.
    pub(super) fn texts(&mut self, item: &Item<'a>) -> Vec<(Item<'a>, String)> {
        let mut texts = Vec::new();
        for element in self.list(item) {
            let Some(text) = self.text(&element) else { continue };
            match text.trim() {
                "" => self.problem(&element, "is empty", "write a text, or leave the entry out"),
                text => texts.push((element, text.to_owned())),
            }
        }
        texts
    }
}
