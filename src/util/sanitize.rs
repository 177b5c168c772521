//! Foreign texts and chains of errors, made fit for a log line; and numbers with their nouns.

use std::fmt::Display;

use crate::domain::is_control_or_bidi;

/// Foreign text on one line, bounded, and without addresses: Entra likes to name people by them.
#[must_use]
pub fn sanitize_for_log(text: &str) -> String {
    let address = |word: &str| word.contains('@') || word.contains("%40");
    let words = text.split_whitespace().map(|word| if address(word) { "(address)" } else { word });
    let line = words.collect::<Vec<_>>().join(" ");
    line.chars().filter(|c| !is_control_or_bidi(*c)).take(400).collect()
}

/// `1 team`, `3 teams`.
#[must_use]
pub fn count<T: Copy + Display + From<u8> + PartialEq>(number: T, one: &str) -> String {
    let plural = if number == T::from(1) { "" } else { "s" };
    format!("{number} {one}{plural}")
}

/// An error and its causes.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    sanitize_for_log(&text)
}

/// An error and its causes, with what the operator can do.
#[must_use]
pub fn with_remedy(error: &dyn std::error::Error, remedy: Option<&str>) -> String {
    let text = chain(error);
    remedy.map_or_else(|| text.clone(), |remedy| format!("{text}; {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entras_words_are_logged_on_one_line_and_without_addresses() {
        let text = "AADSTS50020: User account 'eve@evil.example' \u{202e}from\r\nTrace ID: 1\u{7} \"a@b\" a%40b";
        assert_eq!(sanitize_for_log(text), "AADSTS50020: User account (address) from Trace ID: 1 (address) (address)");
        assert_eq!(sanitize_for_log(&"x".repeat(5_000)).len(), 400);
    }
}
