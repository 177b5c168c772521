//! `${NAME}` in a value: the environment is put in after YAML was read, so that it can change no structure.

use super::Env;

/// A text with the environment put in.
pub(super) struct Expanded<'t> {
    pub(super) text: String,
    /// The variables that were put in. In the environment numbers and booleans are texts, too.
    pub(super) names: Vec<&'t str>,
}

/// Why it could not be: what is said, and the remedy.
pub(super) type ExpandError = (String, String);

/// Puts in every `${NAME}`; `$${` stands for a literal `${`. An unset or empty variable is refused: a secret must never
/// silently become `${NAME}` or nothing.
pub(super) fn expand<'t>(text: &'t str, env: &Env) -> Result<Expanded<'t>, ExpandError> {
    if text.starts_with("os.environ/") {
        return Err(("os.environ/NAME is not read here".into(), "write ${NAME}".into()));
    }
    let mut expanded = Expanded { text: String::with_capacity(text.len()), names: Vec::new() };
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
            expanded.names.push(name);
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
        "holds a ${ that names no variable".into(),
        "write ${NAME} and nothing else in the braces, or $${ for a literal ${".into(),
    )
}

fn unset(name: &str) -> ExpandError {
    (format!("the environment variable {name} is not set, or empty"), format!("set {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> Result<(String, Vec<&str>), String> {
        let env = Env::from([("A".into(), "x${B}".into()), ("EMPTY".into(), String::new())]);
        expand(text, &env).map(|done| (done.text, done.names)).map_err(|(said, _)| said)
    }

    #[test]
    fn names_are_put_in_once_and_what_they_hold_is_not_read_again() {
        assert_eq!(expanded("${A}"), Ok(("x${B}".into(), vec!["A"])));
        assert_eq!(expanded("<${A}|${A}>"), Ok(("<x${B}|x${B}>".into(), vec!["A", "A"])));
    }

    #[test]
    fn a_dollar_alone_is_a_dollar_and_two_escape_the_brace() {
        for (text, read) in [("a$b", "a$b"), ("$A", "$A"), ("$", "$"), ("$$", "$$"), ("$${A}", "${A}"), ("é$é", "é$é")]
        {
            assert_eq!(expanded(text), Ok((read.into(), vec![])), "{text}");
        }
    }

    #[test]
    fn a_name_without_a_value_is_refused_by_name() {
        for name in ["NONE", "EMPTY"] {
            let said = expanded(&format!("${{{name}}}")).unwrap_err();
            assert_eq!(said, format!("the environment variable {name} is not set, or empty"));
        }
    }

    #[test]
    fn a_reference_that_is_none_is_refused_and_not_repeated() {
        for text in ["${", "${}", "${A", "${A:-S3cret}", "${9A}", "${S3 cret}", "os.environ/A"] {
            let said = expanded(text).unwrap_err();
            assert!(!said.contains("S3"), "{text} gave {said}");
        }
    }
}
