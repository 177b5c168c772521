//! The YAML file as a tree with line numbers, so that all problems can be reported with their lines.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Error, NonFiniteFloatPolicy, Spanned};

use super::problem::{Problem, display_key};

/// A value and its first line.
pub(super) struct Node {
    pub(super) line: Option<u64>,
    pub(super) value: Value,
}

/// A YAML value. Without `Debug`: any text may be a secret.
pub(super) enum Value {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<Entry>),
}

/// A key and its value. The key has its own line, because a nested mapping begins on the next.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: Option<u64>,
    pub(super) node: Node,
}

/// Parses the file. Reports a duplicate key and continues with its first value, to find the other problems as well.
pub(super) fn read(yaml: &str) -> (Option<Node>, Vec<Problem>) {
    if yaml.contains([OPEN, CLOSE]) {
        let problem = Problem::new("YAML", "contains U+E000 or U+E001", "Remove these private-use characters");
        return (None, vec![problem]);
    }
    let yaml = protect(yaml);
    match read_with(&yaml, DuplicateKeyPolicy::Error) {
        Ok(node) => (Some(node), Vec::new()),
        Err(error) if matches!(*error, Error::DuplicateMappingKey { .. }) => {
            let rest = read_with(&yaml, DuplicateKeyPolicy::FirstWins);
            let mut problems: Vec<Problem> =
                [Some(&error), rest.as_ref().err()].into_iter().flatten().map(|error| problem(error)).collect();
            if let Ok(node) = &rest
                && let Some(path) = path_before(node, &problems[0].path, problems[0].line)
            {
                problems[0].path = path;
            }
            (rest.ok(), problems)
        }
        Err(error) => (None, vec![problem(&error)]),
    }
}

/// The path of the last occurrence of `key` above a line. The YAML library names a duplicate key without its path.
fn path_before(node: &Node, key: &str, line: Option<u64>) -> Option<String> {
    let Value::Map(entries) = &node.value else { return None };
    let above = entries.iter().rev().filter(|entry| entry.line <= line);
    above.into_iter().find_map(|entry| {
        let nested = path_before(&entry.node, key, line).map(|path| format!("{}.{path}", display_key(&entry.key)));
        nested.or_else(|| (entry.key == key).then(|| key.to_owned()))
    })
}

fn read_with(yaml: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Node, Box<Error>> {
    let options = serde_saphyr::options! {
        // Deeper than any configuration, and far from a stack overflow.
        budget: serde_saphyr::budget! { max_depth: 24 },
        duplicate_keys: duplicate_keys,
        // Infinities are rejected by the check of their key, which knows the path.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        // A tag such as `!x` would drop the text after it.
        reject_unsupported_tags: true,
        // A snippet could contain secrets near the error.
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(yaml, options).map_err(Box::new)
}

/// Placeholders for the braces of `${NAME}`, which YAML would parse as a mapping in `[${NAME}]`.
const OPEN: char = '\u{E000}';
const CLOSE: char = '\u{E001}';

fn protect(yaml: &str) -> String {
    let mut protected = String::with_capacity(yaml.len());
    let mut rest = yaml;
    while let Some((before, after)) = rest.split_once("${") {
        protected.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | '[' | ']' | ',' | '"' | '\''));
        let name = end.filter(|end| after[*end..].starts_with('}')).map(|end| &after[..end]);
        if let Some(name) = name {
            protected.extend(['$', OPEN]);
            protected.push_str(name);
            protected.push(CLOSE);
            rest = &after[name.len() + 1..];
        } else {
            protected.push_str("${");
            rest = after;
        }
    }
    protected.push_str(rest);
    protected
}

fn restore(text: &str) -> String {
    text.replace(OPEN, "{").replace(CLOSE, "}")
}

/// Converts a library error into a problem that repeats no text of the file except a key.
fn problem(error: &Error) -> Problem {
    let (message, help) = match error {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().map_or("YAML", display_key);
            return Problem::new(key, "duplicate key", "Keep one of them").at(line(error));
        }
        Error::UnknownAnchor { .. } => ("unknown anchor after *", "Quote text that begins with *"),
        Error::UnsupportedTag { .. } => ("unknown tag after !", "Quote text that begins with !"),
        Error::Budget { .. } => ("is nested too deeply or too large", "Flatten it"),
        Error::MultipleDocuments { .. } => ("contains more than one document", "Keep one"),
        // The scanner's messages are fixed and contain at most one character of the file.
        Error::ExternalMessage { msg, .. } => (msg.as_str(), SYNTAX_HELP),
        _ => ("cannot be read", SYNTAX_HELP),
    };
    Problem::new("YAML", message, help).at(line(error))
}

const SYNTAX_HELP: &str = "Check the indentation (spaces only) and quote text with special characters";

fn line(error: &Error) -> Option<u64> {
    error.location().map(|location| location.line()).filter(|line| *line > 0)
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { line: Some(spanned.referenced.line()).filter(|line| *line > 0), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Int(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Int(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        // Above the maximum of every key, so its check rejects it.
        Ok(Value::Int(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(restore(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(node) = items.next_element()? {
            list.push(node);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let line = Some(key.referenced.line()).filter(|line| *line > 0);
            entries.push(Entry { key: restore(&key.value), line, node: map.next_value()? });
        }
        Ok(Value::Map(entries))
    }
}
