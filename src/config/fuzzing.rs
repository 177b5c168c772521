//! What holds for every configuration, as a property of any bytes, for the target in `fuzz/` and the test run.
#![expect(clippy::missing_panics_doc, reason = "to panic where a promise is broken is what these are for")]

use std::path::Path;

use super::{Env, parse};

/// No name, and none of the texts that the messages have.
const PLANTED: &str = "S3cret~planted";

/// YAML in which `SECRET` stands for one. Reading it comes to an end, says the same when asked again, and whatever is
/// wrong, the messages have a place and never the secret.
pub fn config(data: &[u8]) {
    let yaml = String::from_utf8_lossy(data);
    // These would be read from this very machine, `/dev/zero` among them.
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
        (Ok(one), Ok(other)) => {
            assert_eq!(one.notes, other.notes, "{yaml}");
            let notes: Vec<String> = one.notes.iter().map(ToString::to_string).collect();
            assert!(!notes.concat().contains(PLANTED), "{notes:?} repeat the secret");
            // Where the file itself does not put it into a value that is no secret.
            let shown = format!("{:?}", one.config);
            let told = yaml.contains(PLANTED) || yaml.contains("${");
            assert!(told || !shown.contains(PLANTED), "{shown} repeats the secret");
        }
        (Err(one), Err(other)) => {
            assert_eq!(one, other, "{yaml}");
            let said = format!("{one} {one:?}");
            assert!(!said.contains(PLANTED), "{one} repeats the secret");
            assert!(!one.problems.is_empty(), "refused without a reason: {yaml}");
            let whole = |text: &String| !text.is_empty() && !text.contains('\n');
            let all = one
                .problems
                .iter()
                .all(|problem| [&problem.place, &problem.said, &problem.remedy].into_iter().all(whole));
            assert!(all, "a place, a situation and a remedy, each on its line: {one:?}");
        }
        (one, other) => assert_eq!(one.is_ok(), other.is_ok(), "{yaml}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_seed_of_a_configuration_is_read_or_refused_without_its_secret() {
        crate::corpus::replay("config", super::config);
    }
}
