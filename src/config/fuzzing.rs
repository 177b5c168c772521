//! Properties of the configuration reader, for the target in `fuzz/` and the test run.
#![expect(clippy::missing_panics_doc, reason = "a property panics when it does not hold")]

use std::path::Path;

use super::{Env, parse};

/// A secret that is neither a name nor part of a message.
const PLANTED: &str = "S3cret~planted";

/// Reads any bytes as YAML, with `SECRET` replaced by a secret. The result is deterministic, and messages have a path and
/// never contain the secret.
pub fn config(data: &[u8]) {
    let yaml = String::from_utf8_lossy(data);
    // Secret files would be read from this machine, including `/dev/zero`.
    if yaml.contains("_file") {
        return;
    }
    let yaml = yaml.replace("SECRET", PLANTED);
    let id = "11111111-1111-4111-8111-111111111111";
    let url = format!("postgres://app:{PLANTED}@db/x");
    let env = [
        ("PROXY_BASE_URL", "https://sso.example"),
        ("DATABASE_URL", &url),
        ("MICROSOFT_TENANT", id),
        ("MICROSOFT_CLIENT_ID", id),
        ("MICROSOFT_CLIENT_SECRET", PLANTED),
        ("S", PLANTED),
    ];
    let env: Env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let read = || parse(Some(&yaml), Path::new("config.yaml"), &env);
    match (read(), read()) {
        (Ok(first), Ok(second)) => {
            assert_eq!(first.notes, second.notes, "{yaml}");
            let notes: Vec<String> = first.notes.iter().map(ToString::to_string).collect();
            assert!(!notes.concat().contains(PLANTED), "{notes:?} repeat the secret");
            // The file may put the secret into a value that is not secret.
            let debug = format!("{:?}", first.config);
            let in_file = yaml.contains(PLANTED) || yaml.contains("${");
            assert!(in_file || !debug.contains(PLANTED), "{debug} repeats the secret");
        }
        (Err(first), Err(second)) => {
            assert_eq!(first, second, "{yaml}");
            let text = format!("{first} {first:?}");
            assert!(!text.contains(PLANTED), "{first} repeats the secret");
            assert!(!first.problems.is_empty(), "rejected without a problem: {yaml}");
            let single_line = |text: &String| !text.is_empty() && !text.contains('\n');
            let complete = first
                .problems
                .iter()
                .all(|problem| [&problem.path, &problem.message, &problem.help].into_iter().all(single_line));
            assert!(complete, "each problem has path, message and help, without line breaks: {first:?}");
        }
        (first, second) => assert_eq!(first.is_ok(), second.is_ok(), "{yaml}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn config_property_holds_for_seeds() {
        crate::corpus::replay("config", super::config);
    }
}
