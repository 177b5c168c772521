//! The loader accepts the configurations in the documents, and the example and the reference have every key.

use std::collections::BTreeMap;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use entraway::config::{self, ConfigError, Env, Problem};

use super::markdown::{document, documents, root};

/// The top-level keys of a YAML text.
fn sections(yaml: &str) -> Vec<&str> {
    let key = |line: &'_ str| !line.starts_with([' ', '#', '-', '\t']);
    yaml.lines().filter(|line| key(line)).filter_map(|line| Some(line.split_once(':')?.0)).collect()
}

/// A plausible value for every `${NAME}`.
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

/// The problems of a configuration in the documents. A partial one may leave sections to the environment, and its
/// secret files do not exist on this machine.
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
fn configurations_in_documents_load() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for document in documents() {
        for block in document.blocks().iter().filter(|block| ["yaml", "yml"].contains(&block.language.as_str())) {
            let sections = sections(&block.text);
            let ours = ["entra", "litellm_settings"].iter().any(|section| sections.contains(section));
            // The file of a LiteLLM proxy, which has a section of the same name.
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
    assert!(wrong.is_empty(), "configurations that the loader rejects:\n{}", wrong.join("\n"));
    assert!(seen > 0, "the documents have no configuration");
}

/// The keys of a section, as the loader lists them in the error about an unknown key.
pub(super) fn keys(section: &str) -> Vec<String> {
    let unknown = "x".repeat(60);
    let path: Vec<&str> = section.split('.').filter(|part| !part.is_empty()).collect();
    let yaml = path.iter().rev().fold(format!("{{{unknown}: 1}}"), |yaml, part| format!("{{{part}: {yaml}}}"));
    let ConfigError { problems, .. } = config::parse(Some(&yaml), "x.yaml".as_ref(), &BTreeMap::new()).unwrap_err();
    let problem = problems.iter().find(|problem| problem.message == "unknown key" && problem.path.ends_with(&unknown));
    let problem = problem.unwrap_or_else(|| panic!("the loader accepts an unknown key in {section:?}: {problems:?}"));
    let known = problem.help.strip_prefix("Valid keys: ").expect("the loader lists the valid keys");
    known.split(", ").map(str::to_owned).collect()
}

/// Every key that the loader knows, with its section. Keys of LiteLLM in `litellm_settings` are not among them.
fn all_keys() -> Vec<(String, String)> {
    let ours = ["entra_groups_also_create_orgs", "default_team_params", "default_internal_user_params"];
    let mut all: Vec<(String, String)> = ours.map(|key| ("litellm_settings".to_owned(), key.to_owned())).to_vec();
    let top = keys("");
    assert!(top.contains(&"litellm_settings".to_owned()) && top.len() >= 8, "{top:?}");
    for section in top.iter().filter(|section| !["store", "litellm_settings"].contains(&section.as_str())) {
        let known = keys(section);
        assert!(!known.is_empty(), "{section} has {known:?}");
        all.extend(known.into_iter().map(|key| (section.clone(), key)));
    }
    all
}

#[test]
fn example_has_each_key_of_the_loader() {
    let example = fs::read_to_string(root().join("config.example.yaml")).unwrap();
    let mut wanted = all_keys();
    for section in ["litellm_settings.default_team_params", "litellm_settings.default_internal_user_params"] {
        wanted.extend(keys(section).into_iter().map(|key| (section.to_owned(), key)));
    }
    wanted.extend(keys("").into_iter().map(|key| (String::new(), key)));
    let missing: Vec<String> = wanted
        .iter()
        .filter(|(section, key)| !named(&example, section, key))
        .map(|(section, key)| format!("{section}.{key}"))
        .collect();
    assert!(missing.is_empty(), "config.example.yaml does not name {missing:?}");
}

#[test]
fn reference_lists_each_key_of_the_loader() {
    let page = document("docs/reference/configuration.md").text;
    let missing: Vec<String> = all_keys()
        .iter()
        .map(|(section, key)| format!("`{section}.{key}`"))
        .filter(|key| !page.lines().any(|line| line.starts_with("| `") && line.contains(key)))
        .collect();
    assert!(missing.is_empty(), "docs/reference/configuration.md does not list {missing:?}");
}

/// Whether the key is in that section of the example, by the indentation of its lines.
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
fn example_is_a_complete_configuration() {
    let example = fs::read_to_string(root().join("config.example.yaml")).unwrap();
    assert_eq!(problems(&example), [], "config.example.yaml");
}

#[test]
fn documents_list_each_environment_variable() {
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
        assert!(texts.contains(name), "no document names {name}");
    }
}
