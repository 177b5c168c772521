//! Every configuration that the documents show is read by the loader itself, and the example names every key.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entraway::config::{self, ConfigError, Env, Problem};

use super::markdown::{documents, root};

/// The keys on the first level of a YAML text.
fn sections(yaml: &str) -> Vec<&str> {
    let key = |line: &'_ str| !line.starts_with([' ', '#', '-', '\t']);
    yaml.lines().filter(|line| key(line)).filter_map(|line| Some(line.split_once(':')?.0)).collect()
}

/// Something plausible for every `${NAME}`.
fn environment(yaml: &str) -> Env {
    let names = yaml.split("${").skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.to_owned()));
    let value = |name: &str| {
        let guid = "11111111-2222-4333-8444-555555555555".to_owned();
        match name {
            _ if name.contains("COOKIE_KEY") => STANDARD.encode([7; 64]),
            _ if name.ends_with("DATABASE_URL") => "postgres://app:password@db/entraway".to_owned(),
            "REDIS_URL" => "rediss://entraway:password@redis:6379".to_owned(),
            _ if name.contains("SECRET") || name.contains("PASSWORD") => "abc8Q~placeholder".to_owned(),
            _ if name.ends_with("_ID") || name.contains("TENANT") => guid,
            _ if name.contains("GRAPH") => "https://graph.microsoft.com/v1.0".to_owned(),
            _ if name.ends_with("URL") => "https://sso.example.com".to_owned(),
            _ => "placeholder".to_owned(),
        }
    };
    names.map(|name| (name.clone(), value(&name))).collect()
}

/// What is wrong with a configuration of the documents. One that shows a part may leave the other parts to the
/// environment, and no file of secrets is on this machine.
fn problems(yaml: &str) -> Vec<Problem> {
    let whole = ["server", "database", "entra"].iter().all(|section| sections(yaml).contains(section));
    let parsed = config::parse(Some(yaml), &root().join("example.yaml"), &environment(yaml));
    let mut problems = parsed.err().map(|error| error.problems).unwrap_or_default();
    problems.retain(|problem| {
        let part = !whole && problem.message == "is missing";
        let file = problem.path.ends_with("_file") && problem.message.contains("cannot be read");
        !part && !file
    });
    problems
}

#[test]
fn every_configuration_in_the_documents_is_one() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for document in documents() {
        for block in document.blocks().iter().filter(|block| ["yaml", "yml"].contains(&block.language.as_str())) {
            let sections = sections(&block.text);
            let ours = ["entra", "litellm_settings"].iter().any(|section| sections.contains(section));
            // A LiteLLM proxy's own file, with a section that is ours as well.
            let of_litellm = ["model_list", "general_settings"].iter().any(|section| sections.contains(section));
            if !ours || of_litellm {
                continue;
            }
            seen += 1;
            let place = |problem: &Problem| {
                let line = block.line + usize::try_from(problem.line.unwrap_or(0)).unwrap();
                format!("{}:{line}: {problem}", document.name)
            };
            wrong.extend(problems(&block.text).iter().map(place));
        }
    }
    assert!(wrong.is_empty(), "configurations that the loader refuses:\n{}", wrong.join("\n"));
    assert!(seen > 0, "README.md and docs/ show not a single configuration");
}

/// The keys of a section, as the loader lists them to somebody who wrote one that it does not know.
pub(super) fn keys(section: &str) -> Vec<String> {
    let unknown = "x".repeat(60);
    let path: Vec<&str> = section.split('.').filter(|part| !part.is_empty()).collect();
    let yaml = path.iter().rev().fold(format!("{{{unknown}: 1}}"), |yaml, part| format!("{{{part}: {yaml}}}"));
    let ConfigError { problems, .. } = config::parse(Some(&yaml), "x.yaml".as_ref(), &BTreeMap::new()).unwrap_err();
    let problem = problems.iter().find(|problem| problem.message == "unknown key" && problem.path.ends_with(&unknown));
    let problem =
        problem.unwrap_or_else(|| panic!("the loader does not mind an unknown key in {section:?}: {problems:?}"));
    let known = problem.help.strip_prefix("Valid keys: ").expect("the loader lists what it knows");
    known.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_example_names_every_key_that_the_loader_knows() {
    let example = fs::read_to_string(root().join("config.example.yaml")).unwrap();
    // Other keys of this section may be LiteLLM's, so the loader does not list its own.
    let ours = ["entra_groups_also_create_orgs", "default_team_params", "default_internal_user_params"];
    let mut wanted: Vec<(String, String)> = ours.map(|key| ("litellm_settings".to_owned(), key.to_owned())).to_vec();
    let top = keys("");
    assert!(top.contains(&"litellm_settings".to_owned()) && top.len() >= 8, "{top:?}");
    let nested = ["litellm_settings.default_team_params", "litellm_settings.default_internal_user_params"];
    let sections = top.iter().map(String::as_str).filter(|section| !["store", "litellm_settings"].contains(section));
    for section in sections.chain(nested) {
        let known = keys(section);
        assert!(known.len() > 1, "{section} has {known:?}");
        wanted.extend(known.into_iter().map(|key| (section.to_owned(), key)));
    }
    wanted.extend(top.iter().map(|key| (String::new(), key.clone())));
    let missing: Vec<String> = wanted
        .iter()
        .filter(|(section, key)| !named(&example, section, key))
        .map(|(section, key)| format!("{section}.{key}"))
        .collect();
    assert!(missing.is_empty(), "config.example.yaml does not name {missing:?}");
}

/// Whether the key stands in that section of the example, by the indentation of its lines.
fn named(example: &str, section: &str, key: &str) -> bool {
    let mut path: Vec<(usize, &str)> = Vec::new();
    for line in example.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let indent = line.len() - line.trim_start().len();
        let Some((name, _)) = line.trim_start().split_once(':') else { continue };
        path.retain(|(above, _)| *above < indent);
        let place: Vec<&str> = path.iter().map(|(_, name)| *name).collect();
        if name == key && place.join(".") == section {
            return true;
        }
        path.push((indent, name));
    }
    false
}

#[test]
fn the_example_is_a_whole_configuration() {
    let example = fs::read_to_string(root().join("config.example.yaml")).unwrap();
    assert_eq!(problems(&example), [], "config.example.yaml");
}

#[test]
fn every_variable_that_works_without_a_file_is_in_the_documents() {
    let texts: String = documents().iter().map(|document| document.text.as_str()).collect();
    let example = fs::read_to_string(root().join("config.example.yaml")).unwrap();
    for name in [
        "MICROSOFT_CLIENT_ID",
        "MICROSOFT_CLIENT_SECRET",
        "MICROSOFT_TENANT",
        "MICROSOFT_SERVICE_PRINCIPAL_ID",
        "MICROSOFT_GRAPH_ENDPOINT",
        "DATABASE_URL",
        "PROXY_BASE_URL",
        "PROXY_ADMIN_ID",
        "ALLOWED_EMAIL_DOMAINS",
        "ENTRA_GROUPS_ALSO_CREATE_ORGS",
    ] {
        assert!(example.contains(name), "config.example.yaml does not name {name}");
        assert!(texts.contains(name), "neither README.md nor docs/ name {name}");
    }
}
