//! Makes external text and error chains safe for a log line; formats counts.

use std::fmt::Display;

use crate::domain::is_control_or_bidi;

/// Puts external text on one line of at most 400 characters, without e-mail addresses: Entra's texts name users by them.
#[must_use]
pub fn sanitize_for_log(text: &str) -> String {
    let is_address = |word: &str| word.contains('@') || word.contains("%40");
    let words = text.split_whitespace().map(|word| if is_address(word) { "(address)" } else { word });
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !is_control_or_bidi(*c)).take(400).collect()
}

/// A number with its noun: `1 team`, `3 teams`.
#[must_use]
pub fn pluralize<T: Copy + Display + From<u8> + PartialEq>(number: T, one: &str) -> String {
    let plural = if number == T::from(1) { "" } else { "s" };
    format!("{number} {one}{plural}")
}

/// An error with its causes, sanitized for the log.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    sanitize_for_log(&text)
}

/// An error with its causes and the help for the operator, if any.
#[must_use]
pub fn with_help(error: &dyn std::error::Error, help: Option<&str>) -> String {
    let text = error_chain(error);
    help.map_or_else(|| text.clone(), |help| format!("{text}; {help}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sanitize_removes_addresses_and_line_breaks() {
        let text = "AADSTS50020: User account 'eve@evil.example' \u{202e}from\r\nTrace ID: 1\u{7} \"a@b\" a%40b";
        assert_eq!(sanitize_for_log(text), "AADSTS50020: User account (address) from Trace ID: 1 (address) (address)");
        assert_eq!(sanitize_for_log(&"x".repeat(5_000)).len(), 400);
    }
}
