//! A mapping of the configuration file, read key by key. Keys that were not read are unknown and reported. Each value that
//! is read becomes a row of the settings page.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::problem::{Problem, display_key, edits, suggestion};
use super::reader::{Item, Reader, variable_of};
use super::tree::{Entry, Node, Value};

/// A key of the configuration with its effective value, for the settings page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The key's path, such as `server.public_url`.
    pub key: String,
    /// The value as text; for a secret only whether it is set.
    pub value: String,
    /// Where the value came from, such as `default`, `file, line 3` or `environment, DATABASE_URL`.
    pub origin: String,
}

impl Setting {
    /// The key's section.
    #[must_use]
    pub fn section(&self) -> &str {
        self.key.split('.').next().unwrap_or(&self.key)
    }
}

/// Shown for a key that has no effect with the native store.
pub(super) const NATIVE: &str = "no effect with the native store";

/// A mapping; empty if it is absent. A value of another type is reported once, and its keys not as missing.
pub(super) struct Section<'a> {
    pub(super) reader: &'a Reader<'a>,
    /// The path of its keys with a dot at the end; empty for the root.
    prefix: String,
    line: Option<u64>,
    /// Entries that were not read yet.
    remaining: Vec<&'a Entry>,
    /// Keys that were asked for.
    known: Vec<&'static str>,
    /// Values that have no effect with the native store.
    without_effect: Vec<Item<'a>>,
    /// The value is not a mapping.
    invalid: bool,
}

impl<'a> Section<'a> {
    fn empty(prefix: String, reader: &'a Reader<'a>) -> Self {
        let (remaining, known, without_effect) = (Vec::new(), Vec::new(), Vec::new());
        Self { reader, prefix, line: None, remaining, known, without_effect, invalid: false }
    }

    /// The whole file.
    pub(super) fn root(node: Option<&'a Node>, reader: &'a Reader<'a>) -> Self {
        let mut root = Self::empty(String::new(), reader);
        match node.map(|node| (&node.value, node.line)) {
            None | Some((Value::Null, _)) => {}
            Some((Value::Map(entries), _)) => root.remaining = entries.iter().collect(),
            Some((_, line)) => {
                root.invalid = true;
                let problem =
                    Problem::new("YAML", "must be a mapping of sections", "Write, for example, server: {...}");
                reader.problem(problem.at(line));
            }
        }
        root
    }

    /// The mapping in a value.
    pub(super) fn of(item: &Item<'a>) -> Self {
        let mut section = Self { line: item.line, ..Self::empty(format!("{}.", item.path), item.reader) };
        if let Value::Map(entries) = item.value {
            section.remaining = entries.iter().collect();
        } else {
            section.invalid = true;
            let message = format!("must be a mapping, not {}", item.value.kind());
            item.problem(message, "Write its keys below it, indented");
        }
        section
    }

    /// A nested mapping.
    pub(super) fn section(&mut self, key: &'static str) -> Self {
        match self.take(key) {
            Some(item) => Self::of(&item),
            None => Self { invalid: self.invalid, ..Self::empty(self.path(key) + ".", self.reader) },
        }
    }

    /// Whether a key is set and was not read yet.
    pub(super) fn has(&self, key: &str) -> bool {
        self.remaining.iter().any(|entry| entry.key == key && !matches!(entry.node.value, Value::Null))
    }

    /// The value of a key, or of the environment variable that replaces it. Null counts as absent.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'a>> {
        let item = self.take_with_null(key).filter(|item| !item.is_null());
        match variable_of(&self.path(key)) {
            Some(variable) => self.reader.variable_or(variable, item),
            None => item,
        }
    }

    /// The value of a key for which null differs from absent.
    pub(super) fn take_with_null(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.known.push(key);
        let at = self.remaining.iter().position(|entry| entry.key == key)?;
        let entry = self.remaining.remove(at);
        Some(Item::of(entry, self.path(key), self.reader))
    }

    /// Reads an optional value and returns it with its location.
    pub(super) fn located<T: Display>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Item<'a>) -> Option<T>,
    ) -> Option<(Item<'a>, T)> {
        let item = self.take(key);
        let value = item.as_ref().and_then(read);
        self.show(key, item.as_ref(), value.as_ref().map(ToString::to_string).unwrap_or_default());
        item.zip(value)
    }

    /// Reads an optional value.
    pub(super) fn optional<T: Display>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Item<'a>) -> Option<T>,
    ) -> Option<T> {
        self.located(key, read).map(|(_, value)| value)
    }

    /// Reads a value. Returns the default also if it is invalid: after a problem the configuration is not used.
    pub(super) fn value<T: Display>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl FnOnce(&Item<'a>) -> Option<T>,
    ) -> T {
        let item = self.take(key);
        let value = item.as_ref().and_then(read).unwrap_or(default);
        self.show(key, item.as_ref(), &value);
        value
    }

    /// Reads a required value and returns it with its location. For keys that an environment variable can replace.
    pub(super) fn required<T: Display>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&Item<'a>) -> Option<T>,
    ) -> Option<(Item<'a>, T)> {
        let variable = variable_of(&self.path(key)).unwrap_or_default();
        if !self.has(key) && self.reader.variable(variable).is_none() {
            self.report_missing(key, &format!("Set it in the file, or {variable} in the environment"));
        }
        self.located(key, read)
    }

    /// Reads one of a fixed set of names.
    pub(super) fn choice<T: Copy + PartialEq>(&mut self, key: &'static str, choices: &[(&str, T)], default: T) -> T {
        let item = self.take(key);
        let value = item.as_ref().and_then(|item| item.choice(choices)).unwrap_or(default);
        let name = choices.iter().find(|(_, choice)| *choice == value).map(|(name, _)| *name);
        self.show(key, item.as_ref(), name.unwrap_or_default());
        value
    }

    pub(super) fn duration(
        &mut self,
        key: &'static str,
        range: &RangeInclusive<Duration>,
        default: Duration,
    ) -> Duration {
        let default = humantime::Duration::from(default);
        *self.value(key, default, |item| item.duration(range).map(Into::into))
    }

    /// Reads the elements of a list. `if_empty` is what the settings page shows for an empty one.
    pub(super) fn list<T: Display, C: FromIterator<T> + IntoIterator<Item = T> + Clone>(
        &mut self,
        key: &'static str,
        if_empty: &str,
        read: impl FnMut(&Item<'a>) -> Option<T>,
    ) -> C {
        let item = self.take(key);
        let elements = item.as_ref().map(Item::list).unwrap_or_default();
        let values: C = elements.iter().filter_map(read).collect();
        let shown = joined(values.clone());
        self.show(key, item.as_ref(), if shown.is_empty() { if_empty } else { &shown });
        values
    }

    /// Adds a key to the settings page: its effective value (never a secret), and its origin by the item that was read.
    pub(super) fn show(&self, key: &str, item: Option<&Item>, value: impl Display) {
        let path = self.path(key);
        match self.without_effect.iter().find(|item| item.path == path) {
            Some(item) => self.show_with_origin(key, NATIVE.to_owned(), Some(item.origin(None))),
            None => self.show_with_origin(key, value.to_string(), item.map(|item| item.origin(None))),
        }
    }

    /// As [`Section::show`]. An empty value is shown as `none`.
    pub(super) fn show_with_origin(&self, key: &str, value: String, origin: Option<String>) {
        let value = if value.is_empty() { "none".to_owned() } else { value };
        let origin = origin.unwrap_or_else(|| "default".to_owned());
        self.reader.setting(Setting { key: self.path(key), value, origin });
    }

    /// Removes keys that have no effect with the native store. Their values are not checked: a proxy's file is not rejected
    /// for settings without effect.
    pub(super) fn ignore_with_native_store(&mut self, keys: &[&str]) {
        let items = self.take_matching(|key| keys.contains(&key));
        for item in &items {
            item.warn(format!("has {NATIVE}"));
        }
        self.without_effect.extend(items);
    }

    /// Removes the remaining keys that are no typos of keys that were asked for.
    pub(super) fn take_unrelated(&mut self, max_edits: usize) -> Vec<Item<'a>> {
        let known = self.known.clone();
        self.take_matching(|key| known.iter().all(|known| edits(key, known) > max_edits))
    }

    /// Removes the remaining keys that match, and returns their values. For known keys that have no effect here. Null counts
    /// as absent.
    pub(super) fn take_matching(&mut self, matches: impl Fn(&str) -> bool) -> Vec<Item<'a>> {
        let matching: Vec<&Entry> = self.remaining.extract_if(.., |entry| matches(&entry.key)).collect();
        let items = matching.into_iter().map(|entry| Item::of(entry, self.path(&entry.key), self.reader));
        items.filter(|item| !item.is_null()).collect()
    }

    /// The remaining entries, for a mapping whose keys the operator chooses. Paths have an index, as in a list.
    pub(super) fn entries(self) -> Vec<(&'a str, Item<'a>)> {
        let mapping = self.prefix.trim_end_matches('.');
        let item = |(index, entry): (usize, &&'a Entry)| {
            (entry.key.as_str(), Item::of(entry, format!("{mapping}[{index}]"), self.reader))
        };
        self.remaining.iter().enumerate().map(item).collect()
    }

    /// Reports a missing key.
    pub(super) fn report_missing(&self, key: &str, help: &str) {
        if !self.invalid {
            self.reader.problem(Problem::new(self.path(key), "is missing", help).at(self.line));
        }
    }

    /// Reports the remaining keys as unknown.
    pub(super) fn finish(self) {
        for entry in &self.remaining {
            let help = suggestion(&entry.key, "keys", &self.known);
            self.reader.problem(Problem::new(self.path(&entry.key), "unknown key", help).at(entry.line));
        }
    }

    /// The path of a key.
    fn path(&self, key: &str) -> String {
        format!("{}{}", self.prefix, display_key(key))
    }
}

/// The values separated by commas.
pub(super) fn joined(values: impl IntoIterator<Item = impl Display>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(", ")
}
