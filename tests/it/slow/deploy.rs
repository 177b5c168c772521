//! compose.yaml and deploy/kubernetes: parsed by their own tools and checked against published schemas, the image and
//! the service.

mod compose;
mod image;
mod kubernetes;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use entraway::config::{self, Config, Env};
use jsonschema::Validator;
use serde_json::Value;

use crate::docs::markdown::root;

const SETUP: &str = "script/setup --deploy installs it";

/// A published schema, from the folder that script/setup downloads to.
#[track_caller]
fn schema(name: &str) -> Value {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let file = target.join("deploy-schemas").join(name);
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}; {SETUP}", file.display()));
    serde_json::from_str(&text).unwrap()
}

/// Validation errors.
fn objections(validator: &Validator, value: &Value) -> Vec<String> {
    validator.iter_errors(value).map(|error| format!("{}: {error}", error.instance_path())).collect()
}

fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn file(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[track_caller]
fn output(program: &str, command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{program}: {error}; {SETUP}"))
}

/// The strings of an array.
#[track_caller]
fn texts(value: &Value) -> Vec<&str> {
    let list = value.as_array().unwrap_or_else(|| panic!("not a list: {value}"));
    list.iter().map(|text| text.as_str().unwrap()).collect()
}

/// Loads a configuration, with its secret files replaced by temporary files with these contents.
#[track_caller]
fn configuration(yaml: &str, secrets: &[(&str, &str)], folder: &Path, env: &Env) -> Config {
    let mut yaml = yaml.to_owned();
    for (path, secret) in secrets {
        assert!(yaml.contains(path), "the configuration does not use the mounted {path}:\n{yaml}");
        let here = folder.join(Path::new(path).file_name().unwrap());
        fs::write(&here, secret).unwrap();
        yaml = yaml.replace(path, here.to_str().unwrap());
    }
    let loaded = config::parse(Some(&yaml), &folder.join("config.yaml"), env);
    loaded.unwrap_or_else(|error| panic!("{error}\n{yaml}")).config
}

const DATABASE_URL: &str = "postgres://entraway:password@postgres/entraway";
