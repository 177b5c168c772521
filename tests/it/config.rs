//! Loading of the configuration, and messages about its problems.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use entraway::config::{ClientAuth, Config, ConfigError, Env, Loaded, NoteLevel, Tenant, load, parse};
use entraway::domain::UserRole;
use entraway::policy::{Limits, RolePrecedence, TeamParams};
use secrecy::ExposeSecret;

mod client_auth;

mod effective;

mod home_tenant;

mod litellm_proxy;

mod litellm_settings;

mod litellm_teams;

mod notifications;

mod pages;

mod problems;

mod references;

mod secrets;

mod sessions;

mod values;

mod whole_files;

const ID: &str = "11111111-1111-4111-8111-111111111111";
const OTHER_ID: &str = "22222222-2222-4222-8222-222222222222";

/// The minimal configuration, from environment variables.
fn least() -> Env {
    env(&[
        ("PROXY_BASE_URL", "https://sso.example.com"),
        ("DATABASE_URL", "postgres://app:S3cret@db/entraway"),
        ("MICROSOFT_TENANT", ID),
        ("MICROSOFT_CLIENT_ID", OTHER_ID),
        ("MICROSOFT_CLIENT_SECRET", "S3cret~value"),
    ])
}

fn env(pairs: &[(&str, &str)]) -> Env {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn and(mut env: Env, name: &str, value: &str) -> Env {
    env.insert(name.into(), value.into());
    env
}

fn read(yaml: &str, env: &Env) -> Result<Loaded, ConfigError> {
    parse(Some(yaml), Path::new("config.yaml"), env)
}

/// The configuration of a file, with missing settings from the minimal environment.
#[track_caller]
fn good(yaml: &str) -> Config {
    read(yaml, &least()).unwrap_or_else(|error| panic!("must be accepted:\n{yaml}\nbut:\n{error}")).config
}

/// The problems of such a file, one per line.
#[track_caller]
fn said(yaml: &str) -> Vec<String> {
    said_with(yaml, &least())
}

#[track_caller]
fn said_with(yaml: &str, env: &Env) -> Vec<String> {
    match read(yaml, env) {
        Ok(_) => panic!("must be rejected:\n{yaml}"),
        Err(error) => error.to_string().lines().map(str::to_owned).collect(),
    }
}

/// Each file with its single problem, for a snapshot.
#[track_caller]
fn problems_of<F: AsRef<str>>(files: impl IntoIterator<Item = F>) -> String {
    let problem = |yaml: &str| {
        let lines = said(yaml);
        assert_eq!(lines.len(), 1, "{yaml}\nmust have one problem, but has: {lines:#?}");
        format!("{}\n→ {}\n\n", yaml.trim_end(), lines[0])
    };
    files.into_iter().map(|yaml| problem(yaml.as_ref())).collect()
}

/// Asserts that there is exactly one problem, and that it begins with `begin`.
#[track_caller]
fn assert_said(yaml: &str, begin: &str) {
    let lines = said(yaml);
    assert!(lines.len() == 1 && lines[0].starts_with(begin), "{yaml}\nmust give: {begin}\nbut gave: {lines:#?}");
}

#[track_caller]
fn notes(yaml: &str, level: NoteLevel) -> Vec<String> {
    let loaded = read(yaml, &least()).unwrap_or_else(|error| panic!("must be accepted:\n{yaml}\nbut:\n{error}"));
    loaded.notes.iter().filter(|note| note.level == level).map(ToString::to_string).collect()
}

/// The client secrets. The configuration must use no other client authentication.
#[track_caller]
fn secrets_of(config: &Config) -> Vec<&str> {
    match &config.entra.client_auth {
        ClientAuth::Secrets { primary, secondary } => {
            [primary].into_iter().chain(secondary).map(ExposeSecret::expose_secret).collect()
        }
        other => panic!("expected client secrets, not {other:?}"),
    }
}

/// A cookie key that repeats one byte.
fn key(byte: u8) -> String {
    base64::prelude::BASE64_STANDARD.encode([byte; 64])
}
