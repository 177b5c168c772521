//! Client authentication: exactly one method, and the problems of its files.

use chrono::TimeDelta;
use entraway::util::clock::Clock;
use rcgen::KeyPair;

use super::secrets::{Folder, seen, without_secrets};
use super::*;
use crate::support::{Certified, pem};

const TOKEN: &str = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzIn0.S3cret";

#[test]
fn credential_files_resolve_relative_to_the_config() {
    let folder = Folder::new("ways");
    let certificate = Certified::for_days(30);
    folder.write("app.pem", certificate.pem());
    folder.write("token", TOKEN);
    let config =
        |yaml: &str| folder.load(yaml, &without_secrets_of_entra()).unwrap_or_else(|error| panic!("{error}")).config;
    let way = config("entra: {certificate_file: app.pem}").entra.client_auth;
    let ClientAuth::Certificate(path) = way else { panic!("{way:?}") };
    assert_eq!(path, folder.path().join("app.pem"));
    let way = config("entra: {federated_token_file: token}").entra.client_auth;
    let ClientAuth::FederatedToken(path) = way else { panic!("{way:?}") };
    assert_eq!(path, folder.path().join("token"));
}

/// The minimal environment, without a client secret.
fn without_secrets_of_entra() -> Env {
    and(without_secrets(), "DATABASE_URL", "postgres://db/entraway")
}

#[test]
fn client_auth_requires_exactly_one_method() {
    for (keys, said) in [
        (
            "  client_secret: x\n  certificate_file: x\n",
            "4: entra.certificate_file: cannot be combined with entra.client_secret.",
        ),
        (
            "  client_secret_file: x\n  federated_token_file: x\n",
            "4: entra.federated_token_file: cannot be combined with entra.client_secret_file.",
        ),
        (
            "  certificate_file: x\n  federated_token_file: x\n",
            "4: entra.federated_token_file: cannot be combined with entra.certificate_file.",
        ),
    ] {
        let yaml = format!("entra:\n  cloud: global\n{keys}");
        assert_said(
            &yaml,
            &format!("config.yaml:{said} Keep one of client_secret, client_secret_file, certificate_file"),
        );
    }
    let lines = said_with("entra: {client_secret_file: [a, b]}", &without_secrets_of_entra());
    assert!(lines[0].starts_with("config.yaml:1: entra.client_secret_file: must be text, not a list"), "{lines:?}");
    let lines = said_with("entra:\n  cloud: global\n", &without_secrets_of_entra());
    let none = "config.yaml:1: entra.client_secret: is missing. Set it (or client_secret_file, certificate_file or \
                federated_token_file) in the file, or MICROSOFT_CLIENT_SECRET in the environment";
    assert_eq!(lines, [none]);
}

#[test]
fn two_client_secrets_load_from_list_or_file_lines() {
    let folder = Folder::new("two");
    let env = and(without_secrets_of_entra(), "NEW", "n3w~S3cret");
    for (how, yaml, file) in [
        ("a list", "entra: {client_secret: [\"0ld~S3cret\", \"${NEW}\"]}", ""),
        ("lines", "entra: {client_secret_file: secrets}", "0ld~S3cret\n\nn3w~S3cret\r\n"),
    ] {
        folder.write("secrets", file);
        let config = folder.load(yaml, &env).unwrap_or_else(|error| panic!("{how}: {error}")).config;
        assert_eq!(secrets_of(&config), ["0ld~S3cret", "n3w~S3cret"], "{how}");
        assert!(!format!("{config:?}").contains("S3cret"), "{how}");
    }
    for one in ["[S3cret]", "[S3cret, S3cret]"] {
        let config = folder.load(&format!("entra: {{client_secret: {one}}}"), &env).unwrap().config;
        assert_eq!(secrets_of(&config), ["S3cret"], "{one}: duplicates count once");
    }
}

#[test]
fn client_secret_list_problem_names_the_index() {
    for (value, said) in [
        ("[]", "entra.client_secret: is empty. Set it"),
        ("[a, b, c]", "entra.client_secret: contains more than two secrets. Keep the current"),
        ("[a, 'b c']", "entra.client_secret[1]: contains white space"),
        ("['', b]", "entra.client_secret[0]: is empty"),
        ("[a, [b]]", "entra.client_secret[1]: must be text, not a list"),
        ("[a, \"${UNSET}\"]", "entra.client_secret[1]: "),
    ] {
        let yaml = format!("entra:\n  client_secret: {value}\n");
        assert_said(&yaml, &format!("config.yaml:2: {said}"));
    }
    let folder = Folder::new("lines");
    for (content, said) in [
        ("a\nb\nc\n", "entra.client_secret_file: contains more than two secrets"),
        ("a\nb c\n", "entra.client_secret_file: line 2 contains white space"),
    ] {
        folder.write("secrets", content);
        let error = folder.load("entra: {client_secret_file: secrets}", &without_secrets_of_entra()).unwrap_err();
        assert!(error.problems.len() == 1 && error.to_string().contains(said), "{content:?}: {error}");
    }
}

#[test]
fn client_secret_id_in_a_list_is_a_warning() {
    let notes = notes(&format!("entra: {{client_secret: [S3cret~value, {ID}]}}"), NoteLevel::Warning);
    assert_eq!(notes, ["entra.client_secret[1]: looks like a client secret's ID instead of its value"]);
}

#[test]
fn certificate_file_problem_names_cause_and_fix() {
    let folder = Folder::new("certificates");
    let (one, other) = (Certified::for_days(30), Certified::for_days(30));
    let now = Clock::system().now();
    let curve = KeyPair::generate().unwrap();
    let of_curve = Certified::of(&curve, now, now + TimeDelta::days(30));
    let key = pem("PRIVATE KEY", &one.key);
    let certificate = pem("CERTIFICATE", &one.der);
    for (content, said) in [
        (String::new(), "contains neither a key nor a certificate in PEM format. Write both into it"),
        ("S3cret".to_owned(), "contains neither a key nor a certificate in PEM format. Write both into it"),
        (key.clone(), "contains no certificate. Write both into it as PEM: -----BEGIN PRIVATE KEY-----"),
        (certificate.clone(), "contains no private key. Write both into it"),
        (key.clone() + &pem("CERTIFICATE", &other.der), "contains a private key that matches none of its certificates"),
        (key.clone() + &pem("CERTIFICATE", b"S3cret"), "contains an invalid certificate. Export"),
        (
            key.clone() + &pem("PRIVATE KEY", &other.key) + &certificate,
            "contains more than one private key. Keep the key",
        ),
        (of_curve.pem(), "contains a private key that is not RSA. Create an RSA key"),
        (pem("EC PRIVATE KEY", b"S3cret") + &certificate, "contains a private key that is not RSA. Create an RSA key"),
        (pem("PRIVATE KEY", b"S3cret") + &certificate, "contains an invalid or unsupported RSA key. Create an RSA key"),
        (
            pem("RSA PRIVATE KEY", b"S3cret") + &certificate,
            "contains an invalid or unsupported RSA key. Create an RSA key",
        ),
        (pem("ENCRYPTED PRIVATE KEY", &one.key) + &certificate, "contains a private key with a passphrase. Remove the"),
        (
            key[..key.len() - 40].to_owned() + &certificate,
            "contains neither a key nor a certificate in PEM format. Write both",
        ),
    ] {
        folder.write("app.pem", &content);
        let result = folder.load("entra:\n  certificate_file: app.pem\n", &without_secrets_of_entra());
        let all = seen(&result);
        let error = result.expect_err(&content);
        let problems: Vec<_> = error.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems.len(), 1, "{problems:#?}");
        assert!(
            problems[0].starts_with(&format!("entra.certificate_file: \"app.pem\" {said}")),
            "{content}\ngave {problems:#?}"
        );
        let secret = one.secrets().into_iter().chain(["S3cret".to_owned()]).find(|secret| all.contains(secret));
        assert_eq!(secret, None, "{all}");
    }
    assert_said(
        "entra:\n  certificate_file: /nowhere/app.pem\n",
        "config.yaml:2: entra.certificate_file: \"/nowhere/app.pem\" cannot be read (entity not found). Give the path",
    );
}

#[test]
fn certificate_file_accepts_any_order_and_key_format() {
    let folder = Folder::new("orders");
    let (one, other) = (Certified::for_days(30), Certified::for_days(30));
    let (key, certificate) = (pem("PRIVATE KEY", &one.key), pem("CERTIFICATE", &one.der));
    let info = pkcs8::PrivateKeyInfoRef::try_from(&one.key[..]).unwrap();
    let older = pem("RSA PRIVATE KEY", info.private_key.as_bytes());
    let issuer = pem("CERTIFICATE", &other.der);
    for content in [
        key.clone() + &certificate,
        certificate.clone() + &key,
        older + &certificate,
        issuer.clone() + &certificate + &issuer + &key,
        format!("Bag Attributes\n    friendlyName: app\n{key}subject=CN = app\n{certificate}"),
        (key.clone() + &certificate).replace('\n', "\r\n"),
    ] {
        folder.write("app.pem", &content);
        let result = folder.load("entra: {certificate_file: app.pem}", &without_secrets_of_entra());
        assert!(result.is_ok(), "{content}\n{}", result.unwrap_err());
    }
}

#[test]
fn federated_token_file_without_a_jwt_is_rejected() {
    let folder = Folder::new("tokens");
    for content in ["", "S3cret", "{\"token\": \"S3cret\"}", "a.b.c\nS3.S3.S3"] {
        folder.write("token", content);
        let result = folder.load("entra:\n  federated_token_file: token\n", &without_secrets_of_entra());
        assert!(!seen(&result).contains("S3"), "{content:?}");
        let said = result.expect_err(content).to_string();
        assert!(
            said.contains(":2: entra.federated_token_file: \"token\" contains no token. Write a single JWT"),
            "{said}"
        );
    }
}

#[test]
fn client_secret_variable_yields_to_file_only_settings() {
    let folder = Folder::new("beside");
    folder.write("app.pem", Certified::for_days(30).pem());
    folder.write("token", TOKEN);
    let env = and(without_secrets_of_entra(), "MICROSOFT_CLIENT_SECRET", "0f~S3cret");
    let warned = |yaml: &str| {
        let Loaded { config, notes } = folder.load(yaml, &env).unwrap_or_else(|error| panic!("{yaml}: {error}"));
        let warned = notes.iter().filter(|note| note.level == NoteLevel::Warning).map(ToString::to_string);
        (config, warned.collect::<Vec<_>>())
    };
    let (config, notes) = warned("entra: {certificate_file: app.pem}");
    assert!(matches!(config.entra.client_auth, ClientAuth::Certificate(_)));
    assert_eq!(notes, ["MICROSOFT_CLIENT_SECRET: has no effect, because the file sets entra.certificate_file"]);
    let (config, notes) = warned("entra: {federated_token_file: token}");
    assert!(matches!(config.entra.client_auth, ClientAuth::FederatedToken(_)));
    assert_eq!(notes, ["MICROSOFT_CLIENT_SECRET: has no effect, because the file sets entra.federated_token_file"]);

    let (config, notes) = warned("entra: {client_secret: [one~S3cret, two~S3cret]}");
    assert_eq!(secrets_of(&config), ["one~S3cret", "two~S3cret"]);
    assert_eq!(notes, ["MICROSOFT_CLIENT_SECRET: has no effect, because entra.client_secret is a list"]);
    let (config, notes) = warned("entra: {client_secret: [\"${MICROSOFT_CLIENT_SECRET}\", two~S3cret]}");
    assert_eq!((secrets_of(&config), notes.len()), (vec!["0f~S3cret", "two~S3cret"], 0), "it is one of the two");

    for one in ["client_secret: one~S3cret", "client_secret_file: token"] {
        let (config, notes) = warned(&format!("entra: {{{one}}}"));
        assert_eq!((secrets_of(&config), notes.len()), (vec!["0f~S3cret"], 0), "{one}: the environment wins");
    }
}
