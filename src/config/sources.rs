//! What the configuration was read from, looked at once more: where each value came from.

use super::Env;
use super::effective::Origin;
use super::expand::expand;
use super::reader::Taken;
use super::tree::{Node, Value};

/// What the values were read from.
pub(super) struct Sources<'a> {
    /// The file, if there is one.
    pub(super) node: Option<&'a Node>,
    pub(super) env: &'a Env,
    pub(super) taken: &'a [Taken],
}

impl<'a> Sources<'a> {
    /// What the file has at the end of a path of keys, with its line; a number stands for an element of a list. Null is as
    /// good as nothing.
    pub(super) fn written(&self, path: &str) -> Option<(Option<u64>, &'a Value)> {
        self.found(path).filter(|(_, value)| !matches!(value, Value::Null))
    }

    /// Where the null came from, for a key where it means something.
    pub(super) fn origin_of_null(&self, path: &str) -> Option<Origin> {
        let (line, value) = self.found(path)?;
        matches!(value, Value::Null).then_some(Origin::File { line, names: Vec::new() })
    }

    fn found(&self, path: &str) -> Option<(Option<u64>, &'a Value)> {
        let node = self.node?;
        let mut found = (node.line, &node.value);
        for part in path.split('.') {
            found = match found.1 {
                Value::Map(entries) => {
                    let entry = entries.iter().find(|entry| entry.key == part)?;
                    (entry.line, &entry.node.value)
                }
                Value::List(nodes) => {
                    let node = nodes.get(part.parse::<usize>().ok()?)?;
                    (node.line, &node.value)
                }
                _ => return None,
            };
        }
        Some(found)
    }

    /// One value of the file as text.
    pub(super) fn scalar(&self, path: &str) -> Option<String> {
        match self.written(path)?.1 {
            Value::Bool(value) => Some(value.to_string()),
            Value::Whole(value) => Some(value.to_string()),
            Value::Real(value) => Some(value.to_string()),
            Value::Text(text) => expand(text, self.env).ok().map(|done| done.text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// Where the value of a key came from.
    pub(super) fn origin(&self, path: &str) -> Origin {
        let taken = self.taken.iter().find(|taken| taken.key == path);
        let written = self.written(path);
        match (taken, written) {
            (Some(taken), None) => Origin::Environment(taken.name),
            (Some(taken), Some(_)) if !taken.added => Origin::Environment(taken.name),
            (added, Some((line, value))) => {
                let mut names = self.names(value);
                names.extend(added.map(|taken| taken.name.to_owned()));
                Origin::File { line, names }
            }
            (None, None) => match self.written(&format!("{path}_file")) {
                Some((line, value)) => Origin::SecretFile { line, names: self.names(value) },
                None => Origin::Default,
            },
        }
    }

    /// The variables that a value names, each once.
    fn names(&self, value: &Value) -> Vec<String> {
        let mut names = Vec::new();
        self.gather(value, &mut names);
        names
    }

    fn gather(&self, value: &Value, names: &mut Vec<String>) {
        match value {
            Value::Text(text) => {
                for name in expand(text, self.env).map(|done| done.names).unwrap_or_default() {
                    if !names.iter().any(|known| known == name) {
                        names.push(name.to_owned());
                    }
                }
            }
            Value::List(nodes) => nodes.iter().for_each(|node| self.gather(&node.value, names)),
            Value::Map(entries) => entries.iter().for_each(|entry| self.gather(&entry.node.value, names)),
            Value::Null | Value::Bool(_) | Value::Whole(_) | Value::Real(_) => {}
        }
    }
}
