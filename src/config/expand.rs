//! Expands `${NAME}` in values. This happens after YAML is parsed, so that a variable cannot change the structure.

use super::Env;

/// A text with environment variables expanded.
pub(super) struct Expanded<'t> {
    pub(super) text: String,
    /// The variables in it. Numbers and booleans are text in the environment, so the reader parses them then.
    pub(super) variables: Vec<&'t str>,
}

/// Message and help.
pub(super) type ExpandError = (String, String);

/// Expands every `${NAME}`; `$${` is a literal `${`.
///
/// An unset or empty variable is an error: a secret must never silently become `${NAME}` or the empty string.
pub(super) fn expand<'t>(text: &'t str, env: &Env) -> Result<Expanded<'t>, ExpandError> {
    if text.starts_with("os.environ/") {
        return Err(("os.environ/NAME is not supported".into(), "Write ${NAME}".into()));
    }
    let mut expanded = Expanded { text: String::with_capacity(text.len()), variables: Vec::new() };
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("$${") {
            expanded.text.push_str("${");
            rest = after;
        } else if let Some(after) = rest.strip_prefix("${") {
            let (name, after) = after.split_once('}').filter(|(name, _)| is_name(name)).ok_or_else(malformed)?;
            expanded.text.push_str(env.get(name).filter(|value| !value.is_empty()).ok_or_else(|| unset(name))?);
            expanded.variables.push(name);
            rest = after;
        } else {
            expanded.text.push('$');
            rest = &rest[1..];
        }
    }
    expanded.text.push_str(rest);
    Ok(expanded)
}

fn is_name(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn malformed() -> ExpandError {
    (
        "contains ${ without a valid variable name".into(),
        "Write ${NAME} with nothing else in the braces, or $${ for a literal ${".into(),
    )
}

fn unset(name: &str) -> ExpandError {
    (format!("the environment variable {name} is not set or empty"), format!("Set {name}"))
}
