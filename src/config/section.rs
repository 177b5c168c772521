//! A mapping of the configuration file, read key by key. Keys that were not read are unknown and reported.

use super::problem::{Problem, display_key, suggestion};
use super::reader::{Item, Reader};
use super::tree::{Entry, Node, Value};

/// A mapping; empty if it is absent. A value of another type is reported once, and its keys not as missing.
pub(super) struct Section<'a> {
    /// The path of its keys with a dot at the end; empty for the root.
    prefix: String,
    line: Option<u64>,
    /// Entries that were not read yet.
    remaining: Vec<&'a Entry>,
    /// Keys that the reader asked for.
    known: Vec<&'static str>,
    /// The value is not a mapping.
    invalid: bool,
}

impl<'a> Section<'a> {
    fn empty(prefix: String) -> Self {
        Self { prefix, line: None, remaining: Vec::new(), known: Vec::new(), invalid: false }
    }

    /// The whole file.
    pub(super) fn root(node: Option<&'a Node>, reader: &mut Reader) -> Self {
        let mut root = Self::empty(String::new());
        match node.map(|node| (&node.value, node.line)) {
            None | Some((Value::Null, _)) => {}
            Some((Value::Map(entries), _)) => root.remaining = entries.iter().collect(),
            Some((_, line)) => {
                root.invalid = true;
                let problem =
                    Problem::new("YAML", "must be a mapping of sections", "Write, for example, server: {...}");
                reader.problems.push(problem.at(line));
            }
        }
        root
    }

    /// The mapping in a value.
    pub(super) fn of(item: &Item<'a>, reader: &mut Reader) -> Self {
        let mut section = Self { line: item.line, ..Self::empty(format!("{}.", item.path)) };
        if let Value::Map(entries) = item.value {
            section.remaining = entries.iter().collect();
        } else {
            section.invalid = true;
            let message = format!("must be a mapping, not {}", item.value.kind());
            reader.problem(item, message, "Write its keys below it, indented");
        }
        section
    }

    /// A nested mapping.
    pub(super) fn section(&mut self, key: &'static str, reader: &mut Reader) -> Self {
        match self.take(key) {
            Some(item) => Self::of(&item, reader),
            None => Self { invalid: self.invalid, ..Self::empty(format!("{}{key}.", self.prefix)) },
        }
    }

    /// The value of a key. Null counts as absent.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.known.push(key);
        let at = self.remaining.iter().position(|entry| entry.key == key)?;
        let entry = self.remaining.remove(at);
        let item = Item { path: self.path(key), line: entry.line, value: &entry.node.value, literal: false };
        (!matches!(item.value, Value::Null)).then_some(item)
    }

    /// Whether a key is null, for keys where this differs from absent. Call it before [`Section::take`].
    pub(super) fn is_null(&self, key: &str) -> bool {
        self.remaining.iter().any(|entry| entry.key == key && matches!(entry.node.value, Value::Null))
    }

    /// As [`Section::take`], but an environment variable wins over the file, whose value is then not checked.
    pub(super) fn take_or_env(
        &mut self,
        key: &'static str,
        variable: &'static str,
        reader: &mut Reader<'a>,
    ) -> Option<Item<'a>> {
        let item = self.take(key);
        let Some(from_env) = reader.variable(variable) else { return item };
        if let Some(item) = item {
            reader.note_overridden(&item, variable);
        }
        reader.record_override(self.path(key), variable);
        Some(from_env)
    }

    /// Reports a missing key.
    pub(super) fn report_missing(&self, key: &str, help: &str, reader: &mut Reader) {
        if !self.invalid {
            reader.problems.push(Problem::new(self.path(key), "is missing", help).at(self.line));
        }
    }

    /// Reports the remaining keys as unknown.
    pub(super) fn finish(self, reader: &mut Reader) {
        for entry in &self.remaining {
            let help = suggestion(&entry.key, "keys", &self.known);
            reader.problems.push(Problem::new(self.path(&entry.key), "unknown key", help).at(entry.line));
        }
    }

    /// Removes the remaining keys that match, and returns their paths and lines. For known keys that have no effect here.
    /// Null counts as absent.
    pub(super) fn take_matching(&mut self, matches: impl Fn(&str) -> bool) -> Vec<(String, Option<u64>)> {
        let (matching, remaining): (Vec<&Entry>, _) =
            self.remaining.iter().copied().partition(|entry| matches(&entry.key));
        self.remaining = remaining;
        let matching = matching.iter().filter(|entry| !matches!(entry.node.value, Value::Null));
        matching.map(|entry| (self.path(&entry.key), entry.line)).collect()
    }

    /// The remaining entries, for a mapping whose keys the operator chooses. Paths have an index, as in a list.
    pub(super) fn entries(self) -> Vec<(&'a str, Item<'a>)> {
        let mapping = self.prefix.trim_end_matches('.');
        let item = |(index, entry): (usize, &&'a Entry)| {
            let path = format!("{mapping}[{index}]");
            (entry.key.as_str(), Item { path, line: entry.line, value: &entry.node.value, literal: false })
        };
        self.remaining.iter().enumerate().map(item).collect()
    }

    /// The path of a key.
    pub(super) fn path(&self, key: &str) -> String {
        format!("{}{}", self.prefix, display_key(key))
    }
}
