//! Secrets and their files; secrets are never shown.

use super::*;

/// A folder that is deleted with the test.
pub(super) struct Folder(std::path::PathBuf);

impl Folder {
    pub(super) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("entraway-config-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a temporary folder");
        Self(folder)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    pub(super) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.0.join(name), content).expect("a writable folder");
    }

    pub(super) fn load(&self, yaml: &str, env: &Env) -> Result<Loaded, ConfigError> {
        self.write("config.yaml", yaml);
        load(Some(&self.0.join("config.yaml")), env)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(super) fn without_secrets() -> Env {
    let mut env = least();
    env.remove("DATABASE_URL");
    env.remove("MICROSOFT_CLIENT_SECRET");
    env
}

#[test]
fn secret_files_resolve_relative_to_the_config() {
    let folder = Folder::new("good");
    folder.write("db", "postgresql://app:S3cret@db/x\n");
    folder.write("secret", "S3cret~file\r\n");
    folder.write("keys", format!("{}\n\n{}\n", key(1), key(2)));
    folder.write("redis", "rediss://:S3cret@redis:6380/1\n");
    let yaml = "database: {url_file: db}\nentra: {client_secret_file: \"${SECRETS}/secret\"}\n\
                session: {cookie_keys_file: keys}\nlitellm: {redis_url_file: redis}\n";
    let env = and(without_secrets(), "SECRETS", folder.0.to_str().unwrap());
    let config = folder.load(yaml, &env).unwrap_or_else(|error| panic!("{error}")).config;
    assert_eq!(config.database.url.expose_secret(), "postgresql://app:S3cret@db/x");
    assert_eq!(secrets_of(&config), ["S3cret~file"]);
    assert_eq!(config.session.cookie_keys.iter().map(|key| key.as_bytes()[0]).collect::<Vec<_>>(), [1, 2]);
    let redis_url = config.litellm.redis_url.expect("the file names it");
    assert_eq!(redis_url.expose_secret(), "rediss://:S3cret@redis:6380/1");
}

#[test]
fn missing_or_empty_secret_file_names_its_key() {
    let folder = Folder::new("bad");
    folder.write("empty", "\n");
    folder.write("bytes", [0xFF, 0xFE]);
    let yaml = "database:\n  url_file: empty\nentra:\n  client_secret_file: /nowhere/secret\nsession:\n  cookie_keys_file: bytes\n";
    let error = folder.load(yaml, &without_secrets()).unwrap_err();
    let said: Vec<_> = error.problems.iter().map(|problem| (problem.line, problem.to_string())).collect();
    assert_eq!(said.len(), 3, "{said:#?}");
    assert_eq!(said[0].0, Some(2));
    assert!(said[0].1.starts_with("database.url_file: \"empty\" is empty"), "{said:#?}");
    assert!(
        said[1].1.starts_with("entra.client_secret_file: \"/nowhere/secret\" cannot be read (entity not found)"),
        "{said:#?}"
    );
    assert!(said[2].1.starts_with("session.cookie_keys_file: \"bytes\" is not text"), "{said:#?}");
}

#[test]
fn secret_given_inline_and_as_file_is_rejected() {
    for (section, key, value) in [
        ("database", "url", "postgres://db"),
        ("entra", "client_secret", "x"),
        ("session", "cookie_keys", "[]"),
        ("litellm", "redis_url", "redis://db"),
    ] {
        let yaml = format!("{section}:\n  {key}: {value}\n  {key}_file: x\n");
        assert_said(&yaml, &format!("config.yaml:3: {section}.{key}_file: cannot be combined with {section}.{key}"));
    }
}

/// All printed forms of the result.
pub(super) fn seen(result: &Result<Loaded, ConfigError>) -> String {
    match result {
        Ok(loaded) => format!("{loaded:?} {loaded:#?} {:?}", loaded.config),
        Err(error) => format!("{error} {error:?} {error:#?}"),
    }
}

#[test]
fn secrets_from_environment_and_files_are_never_shown() {
    let folder = Folder::new("unseen-files");
    for value in ["S3cret", "S3 cret", "mysql://S3cret", "postgres://u:S3:3/cret@db", "postgres://S3cret@db", "S3=="] {
        for name in least().keys().map(String::as_str).chain([
            "PROXY_ADMIN_ID",
            "ALLOWED_EMAIL_DOMAINS",
            "MICROSOFT_GRAPH_ENDPOINT",
            "ENTRA_GROUPS_ALSO_CREATE_ORGS",
            "MICROSOFT_SERVICE_PRINCIPAL_ID",
        ]) {
            // The value is not a secret, so `Debug` may show it.
            let secret = !matches!(name, "PROXY_ADMIN_ID");
            let seen = seen(&load(None, &and(least(), name, value)));
            assert!(!secret || !seen.contains("S3"), "{name}={value} gave {seen}");
        }
        for (section, key) in [
            ("database", "url_file"),
            ("entra", "client_secret_file"),
            ("entra", "certificate_file"),
            ("entra", "federated_token_file"),
            ("session", "cookie_keys_file"),
            ("litellm", "redis_url_file"),
            ("pages", "logo_file"),
        ] {
            folder.write("value", value);
            let seen = seen(&folder.load(&format!("{section}: {{{key}: value}}"), &without_secrets()));
            assert!(!seen.contains("S3"), "{key} with {value} gave {seen}");
        }
    }
}

#[test]
fn invalid_cookie_key_names_its_index_and_size() {
    let short = base64::prelude::BASE64_STANDARD.encode([7; 48]);
    assert_said(
        &format!("session:\n  cookie_keys:\n  - {}\n  - {short}\n", key(1)),
        "config.yaml:4: session.cookie_keys[1]: must be 64 bytes in base64, not 48. Create one with: openssl",
    );
    let folder = Folder::new("keys");
    folder.write("keys", format!("{}\n{short}\n", key(1)));
    let error = folder.load("session: {cookie_keys_file: keys}", &least()).unwrap_err().to_string();
    assert!(
        error.contains("session.cookie_keys_file: line 2 of the file must be 64 bytes in base64, not 48"),
        "{error}"
    );
}

#[test]
fn cookie_key_accepts_each_form_of_base64() {
    let text = key(0xFB);
    let url_safe = text.replace('+', "-").replace('/', "_");
    let broken = format!("{}\\n{}\\n", &text[..64], &text[64..]);
    for form in [&text, text.trim_end_matches('='), &url_safe, &broken] {
        let keys = good(&format!("session: {{cookie_keys: [\"{form}\"]}}")).session.cookie_keys;
        assert_eq!(keys[0].as_bytes(), &[0xFB; 64], "{form:?}");
        assert_eq!(format!("{keys:?}"), "[CookieKey([REDACTED])]");
    }
    let begin = "config.yaml:1: session.cookie_keys[0]: is not base64. Create one with: openssl";
    assert_said("session: {cookie_keys: ['not base64!']}", begin);
}

#[test]
fn path_that_may_be_a_secret_is_not_repeated() {
    let key = "vrX1/6PqZ0tT8yJ+/Kd2Q9mLw3aB5cD7eF9gH1iJ2kL4mN6oP8qR0sT2uV4wX6yZ";
    let secrets = [&*self::key(0xFB), key, "two words", "postgres://u:p@h/db", "abc8Q~0123456789012345678901234567890"];
    let paths = ["/run/secrets/client_secret", "client_secret.txt", "secrets/db", "/var/run/entraway/client_secret_2"];
    for (names, shown) in [(&secrets[..], false), (&paths, true)] {
        for name in names {
            let said = said(&format!("session: {{cookie_keys_file: '{name}'}}")).concat();
            assert_eq!(said.contains(&format!("{name:?} cannot be read")), shown, "{said}");
            assert_eq!(said.contains("the file (the value does not look like a path) cannot"), !shown, "{said}");
        }
    }
}

/// Reads thousands of files.
mod slow {
    use super::*;

    #[test]
    fn misplaced_secrets_are_never_shown() {
        let folder = Folder::new("unseen");
        let long = "S3cret~0123456789012345678901234567890";
        let base64 = format!("S3cret{}", &key(0x5A)[6..]);
        let values = [
            long,
            &base64,
            "postgres://u:S3cret@db/x",
            "mysql://u:S3cret@db",
            "S3cret cret",
            "postgres://u:S3/cret@h/d",
            "rediss://:S3cret@h",
            "redis://:S3#cret@h",
        ];
        let shapes = [
            "V",
            "\"V\"",
            "'V'",
            "[V]",
            "[[V]]",
            "{V: x}",
            "{x: V}",
            "\"V",
            "'V",
            "[V",
            "{V",
            "*V",
            "&V x",
            "!V x",
            "!!int V",
            "!!binary V",
            "|\n    V\n  V",
            "V\n V: V",
            "V: V",
            "\n    V: V\n    V: V",
            "\"\\qV\"",
            "\"${V\"",
            "${V}",
            "%V",
            "@V",
            "`V`",
            "x${V",
        ];
        let keys = [
            ("database", "url"),
            ("database", "url_file"),
            ("entra", "client_secret"),
            ("entra", "client_secret_file"),
            ("entra", "certificate_file"),
            ("entra", "federated_token_file"),
            ("session", "cookie_keys"),
            ("session", "cookie_keys_file"),
            ("session", "idle_timeout"),
            ("server", "listen"),
            ("server", "public_url"),
            ("pages", "logo_file"),
            ("entra", "graph_url"),
            ("entra", "tenant"),
            ("access", "require_group"),
            ("database", "max_connections"),
            ("sync", "role_precedence"),
            ("litellm", "redis_url"),
            ("litellm", "redis_url_file"),
            ("litellm_settings", "default_team_params"),
            ("litellm_settings", "drop_params"),
        ];
        for (section, key) in keys {
            for value in values {
                for shape in shapes {
                    let yaml = format!("{section}:\n  {key}: {}\n", shape.replace('V', value));
                    let seen = seen(&folder.load(&yaml, &without_secrets()));
                    assert!(!seen.contains("cret@") && !seen.contains("S3"), "{yaml}\ngave {seen}");
                }
                let env = and(without_secrets(), "V", value);
                for form in ["${V}", "[${V}]", "{x: ${V}}", "x${V}"] {
                    let yaml = format!("{section}:\n  {key}: {form}\n");
                    let seen = seen(&folder.load(&yaml, &env));
                    assert!(!seen.contains("S3"), "{yaml}\nwith {value} gave {seen}");
                }
            }
        }
    }
}
