//! A mapping of the file, read key by key: what nobody took is unknown, and is said with the nearest known key.

use super::problem::{Level, Problem, shown, suggestion};
use super::reader::{Item, Reader};
use super::tree::{Entry, Node, Value};

/// A mapping. An absent one is empty; one that is no mapping is told once, and its keys are not missed.
pub(super) struct Section<'a> {
    /// The path of its keys with a dot at the end; nothing for the root.
    prefix: String,
    line: Option<u64>,
    left: Vec<&'a Entry>,
    /// The keys that were asked for.
    known: Vec<&'static str>,
    broken: bool,
}

impl<'a> Section<'a> {
    /// The whole file; an empty one, or none, has no keys.
    pub(super) fn root(node: Option<&'a Node>, reader: &mut Reader) -> Self {
        let mut root = Self { prefix: String::new(), line: None, left: Vec::new(), known: Vec::new(), broken: false };
        match node.map(|node| (&node.value, node.line)) {
            None | Some((Value::Null, _)) => {}
            Some((Value::Map(entries), _)) => root.left = entries.iter().collect(),
            Some((_, line)) => {
                root.broken = true;
                let problem = Problem::new("YAML", "must be a mapping of sections", "write such as: server: {...}");
                reader.problems.push(problem.at(line));
            }
        }
        root
    }

    /// The mapping that this value should be.
    pub(super) fn of(item: &Item<'a>, reader: &mut Reader) -> Self {
        let mut section = Self {
            prefix: format!("{}.", item.place),
            line: item.line,
            left: Vec::new(),
            known: Vec::new(),
            broken: false,
        };
        if let Value::Map(entries) = item.value {
            section.left = entries.iter().collect();
        } else {
            section.broken = true;
            reader.problem(item, format!("must be a mapping, not {}", item.value.kind()), "write its keys below it");
        }
        section
    }

    /// A mapping in this one.
    pub(super) fn section(&mut self, key: &'static str, reader: &mut Reader) -> Self {
        match self.take(key) {
            Some(item) => Self::of(&item, reader),
            None => Self {
                prefix: format!("{}{key}.", self.prefix),
                line: None,
                left: Vec::new(),
                known: Vec::new(),
                broken: self.broken,
            },
        }
    }

    /// The value of a key; null is as good as absent.
    pub(super) fn take(&mut self, key: &'static str) -> Option<Item<'a>> {
        self.known.push(key);
        let at = self.left.iter().position(|entry| entry.key == key)?;
        let entry = self.left.remove(at);
        let item = Item { place: self.place(key), line: entry.line, value: &entry.node.value, literal: false };
        (!matches!(item.value, Value::Null)).then_some(item)
    }

    /// Whether the file says null, where that is more than leaving the key out. To be asked before the key is taken.
    pub(super) fn says_null(&self, key: &str) -> bool {
        self.left.iter().any(|entry| entry.key == key && matches!(entry.node.value, Value::Null))
    }

    /// As `take`, but a variable of the environment wins over the file, whose value is then not even looked at.
    pub(super) fn take_or_env(
        &mut self,
        key: &'static str,
        name: &'static str,
        reader: &mut Reader<'a>,
    ) -> Option<Item<'a>> {
        let item = self.take(key);
        let from_env = reader.variable(name);
        if from_env.is_some()
            && let Some(item) = &item
        {
            reader.note(Level::Debug, &item.place, format!("the environment variable {name} wins over it"));
        }
        if from_env.is_some() {
            reader.took(self.place(key), name);
        }
        from_env.or(item)
    }

    /// Tells what is missing.
    pub(super) fn missing(&self, key: &str, remedy: &str, reader: &mut Reader) {
        if !self.broken {
            reader.problems.push(Problem::new(self.place(key), "is missing", remedy).at(self.line));
        }
    }

    /// What nobody took is unknown.
    pub(super) fn finish(self, reader: &mut Reader) {
        for entry in &self.left {
            let problem = Problem::new(self.place(&entry.key), "unknown key", suggestion(&entry.key, &self.known));
            reader.problems.push(problem.at(entry.line));
        }
    }

    /// Hands out the leftovers that the predicate picks, each with its line, for what is known without having an effect
    /// here. Null is as good as absent.
    pub(super) fn pass_over(&mut self, pick: impl Fn(&str) -> bool) -> Vec<(String, Option<u64>)> {
        let (picked, left) = self.left.iter().copied().partition(|entry| pick(&entry.key));
        self.left = left;
        let picked: Vec<&Entry> = picked;
        let picked = picked.iter().filter(|entry| !matches!(entry.node.value, Value::Null));
        picked.map(|entry| (self.place(&entry.key), entry.line)).collect()
    }

    /// All that is left, for a mapping whose keys are the operator's own. Places count them, as those of a list.
    pub(super) fn entries(self) -> Vec<(&'a str, Item<'a>)> {
        let mapping = self.prefix.trim_end_matches('.');
        let item = |(index, entry): (usize, &&'a Entry)| {
            let place = format!("{mapping}[{index}]");
            (entry.key.as_str(), Item { place, line: entry.line, value: &entry.node.value, literal: false })
        };
        self.left.iter().enumerate().map(item).collect()
    }

    /// The path of a key.
    pub(super) fn place(&self, key: &str) -> String {
        format!("{}{}", self.prefix, shown(key))
    }
}
