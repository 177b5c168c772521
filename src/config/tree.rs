//! The YAML file as a tree that keeps the line of everything in it, so that all that is wrong can be said at once.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::DuplicateKeyPolicy;
use serde_saphyr::{Error, NonFiniteFloatPolicy, Spanned};

use super::problem::{Problem, shown};

/// A value and the line it begins on.
pub(super) struct Node {
    pub(super) line: Option<u64>,
    pub(super) value: Value,
}

/// What YAML knows. Has no `Debug`: any text may be a secret.
pub(super) enum Value {
    Null,
    Bool(bool),
    Whole(i128),
    Real(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<Entry>),
}

/// A key of a mapping with its own line: a nested mapping begins a line below its key.
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) line: Option<u64>,
    pub(super) node: Node,
}

/// Reads the file. A duplicate key is told and its first value kept, so that the other problems are found as well.
pub(super) fn read(yaml: &str) -> (Option<Node>, Vec<Problem>) {
    if yaml.contains([OPEN, CLOSE]) {
        let problem = Problem::new("YAML", "holds the character U+E000 or U+E001", "these two cannot be used here");
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
                && let Some(place) = place_before(node, &problems[0].place, problems[0].line)
            {
                problems[0].place = place;
            }
            (rest.ok(), problems)
        }
        Err(error) => (None, vec![problem(&error)]),
    }
}

/// The path of the last such key above that line: the one that a duplicate repeats, of which only the name is told.
fn place_before(node: &Node, key: &str, line: Option<u64>) -> Option<String> {
    let Value::Map(entries) = &node.value else { return None };
    let above = entries.iter().rev().filter(|entry| entry.line <= line);
    above.into_iter().find_map(|entry| {
        let below = place_before(&entry.node, key, line).map(|below| format!("{}.{below}", shown(&entry.key)));
        below.or_else(|| (entry.key == key).then(|| key.to_owned()))
    })
}

fn read_with(yaml: &str, duplicate_keys: DuplicateKeyPolicy) -> Result<Node, Box<Error>> {
    let options = serde_saphyr::options! {
        // Deep enough for any configuration, and far from the end of the stack.
        budget: serde_saphyr::budget! { max_depth: 24 },
        duplicate_keys: duplicate_keys,
        // Infinities reach the check of their key, which says where they stand.
        non_finite_float_policy: NonFiniteFloatPolicy::PassThrough,
        // A tag such as `!x` would turn the text behind it into nothing.
        reject_unsupported_tags: true,
        // A snippet would show the lines around the error, secrets among them.
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(yaml, options).map_err(Box::new)
}

/// Stand for the braces of `${NAME}`: in `[${NAME}]` YAML itself would read them as a mapping.
const OPEN: char = '\u{E000}';
const CLOSE: char = '\u{E001}';

fn protect(yaml: &str) -> String {
    let mut protected = String::with_capacity(yaml.len());
    let mut rest = yaml;
    while let Some((before, after)) = rest.split_once("${") {
        protected.push_str(before);
        let end = after.find(|c: char| c.is_whitespace() || matches!(c, '{' | '}' | '[' | ']' | ',' | '"' | '\''));
        let inside = end.filter(|end| after[*end..].starts_with('}')).map(|end| &after[..end]);
        if let Some(inside) = inside {
            protected.extend(['$', OPEN]);
            protected.push_str(inside);
            protected.push(CLOSE);
            rest = &after[inside.len() + 1..];
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

/// What the library says, in words that hold nothing of the file but a key.
fn problem(error: &Error) -> Problem {
    let (said, remedy) = match error {
        Error::DuplicateMappingKey { key, .. } => {
            let key = key.as_deref().map_or("YAML", shown);
            return Problem::new(key, "this key is given twice", "keep one").at(line(error));
        }
        Error::UnknownAnchor { .. } => ("a * that refers to no anchor", "quote a text that begins with *"),
        Error::UnsupportedTag { .. } => ("a ! that names no type", "quote a text that begins with !"),
        Error::Budget { .. } => ("is nested too deeply, or too large", "flatten it"),
        Error::MultipleDocuments { .. } => ("holds more than one document", "keep one"),
        // The scanner's own words: fixed texts, which name one character at most.
        Error::ExternalMessage { msg, .. } => (msg.as_str(), FORM),
        _ => ("cannot be read", FORM),
    };
    Problem::new("YAML", said, remedy).at(line(error))
}

const FORM: &str = "check the indentation (spaces only) and quote texts with special characters";

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
        Ok(Value::Whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Whole(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Whole(value))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        // Beyond every limit that a key has, so that its check refuses it.
        Ok(Value::Whole(i128::try_from(value).unwrap_or(i128::MAX)))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Real(value))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(node: &Node) -> Vec<&str> {
        match &node.value {
            Value::Text(text) => vec![text],
            Value::List(list) => list.iter().flat_map(texts).collect(),
            Value::Map(entries) => entries.iter().flat_map(|entry| texts(&entry.node)).collect(),
            _ => vec![],
        }
    }

    #[test]
    fn a_name_in_braces_is_a_text_wherever_it_stands() {
        let yaml =
            "a: ${N}\nb: [${N}, \"${N}\", '${N}', x${N}y]\nc: {d: ${N}}\ne: |-\n  ${N}\nf: ${N:-x}\ng: $${N}\nh: ${N\n";
        let (node, problems) = read(yaml);
        assert_eq!(problems, []);
        let expected = ["${N}", "${N}", "${N}", "${N}", "x${N}y", "${N}", "${N}", "${N:-x}", "$${N}", "${N"];
        assert_eq!(texts(&node.unwrap()), expected);
    }

    #[test]
    fn every_key_and_value_has_its_line() {
        let (node, _) = read("# first\na: 1\nb:\n  c:\n    - x\n");
        let Value::Map(top) = node.unwrap().value else { panic!("a mapping") };
        assert_eq!(top.iter().map(|entry| entry.line).collect::<Vec<_>>(), [Some(2), Some(3)]);
        assert_eq!(top[1].node.line, Some(4), "a nested mapping begins at its first key");
    }

    #[test]
    fn a_duplicate_key_is_named_and_the_rest_still_read() {
        let (node, problems) = read("a:\n  x: 1\n  x: 2\nb: 3\n");
        assert!(node.is_some(), "the rest must be read");
        assert_eq!(problems.len(), 1);
        assert_eq!((problems[0].place.as_str(), problems[0].line), ("a.x", Some(3)));
    }

    #[test]
    fn what_is_no_yaml_is_one_problem_with_a_line_and_none_of_the_text() {
        for text in [
            "*S3cret",
            "!S3cret",
            "!S3!x y",
            "!!int S3cret",
            "!!bool S3cret",
            "!!binary S3#",
            "@S3cret",
            "%S3cret",
            "`S3`",
            "S3: cret",
            "{S3cret",
            "[S3cret",
            "\"S3cret",
            "'S3cret",
            "\"S3\\qcret\"",
            ">S3 cret",
            "{? [S3]: x}",
            "&S3 *S3",
            "x\nS3cret",
            "x\n--- S3\n",
            "x\n? [S3]\n: 1",
        ] {
            let (node, problems) = read(&format!("ok: 1\nkey: {text}"));
            assert!(node.is_none(), "{text} was read");
            assert_eq!(problems.len(), 1, "{text} gave {problems:?}");
            assert!(problems[0].line >= Some(2), "{text} gave {problems:?}");
            assert!(!format!("{problems:?}").contains("S3"), "{text} gave {problems:?}");
        }
    }
}
