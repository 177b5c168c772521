//! Finds where each configuration value came from, for the settings page.

use super::Env;
use super::effective::Origin;
use super::expand::expand;
use super::reader::EnvOverride;
use super::tree::{Node, Value};

/// The configuration file and the environment.
pub(super) struct Sources<'a> {
    /// The file, if one was read.
    pub(super) node: Option<&'a Node>,
    pub(super) env: &'a Env,
    pub(super) overrides: &'a [EnvOverride],
}

impl<'a> Sources<'a> {
    /// The value and line at a path of keys in the file; a number selects a list element. Null counts as absent.
    pub(super) fn in_file(&self, path: &str) -> Option<(Option<u64>, &'a Value)> {
        self.find(path).filter(|(_, value)| !matches!(value, Value::Null))
    }

    /// The origin of a null, for keys where it differs from absent.
    pub(super) fn origin_of_null(&self, path: &str) -> Option<Origin> {
        let (line, value) = self.find(path)?;
        matches!(value, Value::Null).then_some(Origin::File { line, variables: Vec::new() })
    }

    fn find(&self, path: &str) -> Option<(Option<u64>, &'a Value)> {
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

    /// A scalar of the file as text.
    pub(super) fn scalar(&self, path: &str) -> Option<String> {
        match self.in_file(path)?.1 {
            Value::Bool(value) => Some(value.to_string()),
            Value::Int(value) => Some(value.to_string()),
            Value::Float(value) => Some(value.to_string()),
            Value::Text(text) => expand(text, self.env).ok().map(|expanded| expanded.text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
        }
    }

    /// The origin of a key's value.
    pub(super) fn origin(&self, path: &str) -> Origin {
        let env_override = self.overrides.iter().find(|entry| entry.key == path);
        match (env_override, self.in_file(path)) {
            (Some(entry), None) => Origin::Environment(entry.variable),
            (Some(entry), Some(_)) if !entry.added => Origin::Environment(entry.variable),
            (added, Some((line, value))) => {
                let mut variables = self.variables(value);
                variables.extend(added.map(|entry| entry.variable.to_owned()));
                Origin::File { line, variables }
            }
            (None, None) => match self.in_file(&format!("{path}_file")) {
                Some((line, value)) => Origin::SecretFile { line, variables: self.variables(value) },
                None => Origin::Default,
            },
        }
    }

    /// The environment variables in a value, without duplicates.
    fn variables(&self, value: &Value) -> Vec<String> {
        let mut variables = Vec::new();
        self.collect_variables(value, &mut variables);
        variables
    }

    fn collect_variables(&self, value: &Value, variables: &mut Vec<String>) {
        match value {
            Value::Text(text) => {
                for name in expand(text, self.env).map(|expanded| expanded.variables).unwrap_or_default() {
                    if !variables.iter().any(|known| known == name) {
                        variables.push(name.to_owned());
                    }
                }
            }
            Value::List(nodes) => nodes.iter().for_each(|node| self.collect_variables(&node.value, variables)),
            Value::Map(entries) => {
                for entry in entries {
                    self.collect_variables(&entry.node.value, variables);
                }
            }
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) => {}
        }
    }
}
