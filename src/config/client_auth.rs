//! Client authentication: one or two client secrets, a certificate, or a federated token.

use std::path::PathBuf;

use secrecy::SecretString;
use uuid::Uuid;

use super::reader::{Item, Source};
use super::secret;
use super::section::Section;
use super::tree::Value;
use crate::client_auth::{self, Certificate, CredentialError, federated_token};

const VARIABLE: &str = "MICROSOFT_CLIENT_SECRET";
const HELP: &str = "Set it (or client_secret_file, certificate_file or federated_token_file) in the file, or \
                      MICROSOFT_CLIENT_SECRET in the environment";
const CONFLICT_HELP: &str = "Keep one of client_secret, client_secret_file, certificate_file and federated_token_file";

/// Client authentication at Entra. Files are read again at each use.
#[derive(Debug, Clone)]
pub enum ClientAuth {
    /// A client secret, and a second one during rotation.
    Secrets { primary: SecretString, secondary: Option<SecretString> },
    /// A PEM file with an RSA key and its certificate.
    Certificate(PathBuf),
    /// A file with a token of another identity provider that Entra trusts (a federated credential).
    FederatedToken(PathBuf),
}

/// Reads the keys. Exactly one of them is required.
pub(super) fn client_auth(section: &mut Section) -> Option<ClientAuth> {
    let secret = secret::take(section, "client_secret", "client_secret_file");
    let certificate = section.take("certificate_file");
    let token = section.take("federated_token_file");
    let methods: Vec<&Item> = [&secret, &certificate, &token].into_iter().flatten().collect();
    if let [first, second, ..] = methods[..] {
        second.problem(format!("cannot be combined with {}", first.path), CONFLICT_HELP);
        return None;
    }
    let secret = match secret {
        // The variable replaces neither a list of secrets nor a credential file.
        Some(Item { value: Value::List(_), source: Source::File, .. }) => secret,
        _ if certificate.is_some() || token.is_some() => None,
        secret => section.reader.variable_or(VARIABLE, secret),
    };
    let certificate_path = certificate.as_ref().map(|item| file(item, |pem| Certificate::parse(pem).map(drop)));
    let token_path = token.as_ref().map(|item| file(item, |content| federated_token(content).map(drop)));
    secret::show(section, "client_secret", secret.as_ref(), secret.is_some());
    for (key, item, path) in
        [("certificate_file", &certificate, &certificate_path), ("federated_token_file", &token, &token_path)]
    {
        let path = path.iter().flatten().map(|path| path.display().to_string());
        section.show(key, item.as_ref(), path.collect::<String>());
    }
    match (certificate_path, token_path, secret) {
        (Some(path), ..) => path.map(ClientAuth::Certificate),
        (_, Some(path), _) => path.map(ClientAuth::FederatedToken),
        (.., Some(secret)) => secrets(&secret),
        (.., None) => {
            section.report_missing("client_secret", HELP);
            None
        }
    }
}

/// The path of a credential file. Its content is checked now, so that problems are found at startup.
fn file(item: &Item, check: impl FnOnce(&[u8]) -> Result<(), CredentialError>) -> Option<PathBuf> {
    // Only a warning, because a LiteLLM proxy in the same environment may need the variable.
    warn_unused_variable(item, &format!("the file sets {}", item.path));
    let name = item.text()?;
    let path = item.resolve(&name);
    match client_auth::read(&path, check) {
        Ok(()) => Some(path),
        Err(error) => {
            item.problem(format!("{} {error}", secret::display_path(&name)), error.help());
            None
        }
    }
}

fn warn_unused_variable(item: &Item, reason: &str) {
    if let Some(variable) = item.reader.variable(VARIABLE) {
        variable.warn(format!("has no effect, because {reason}"));
    }
}

/// One secret, or two in a list or on two lines of a file.
fn secrets(item: &Item) -> Option<ClientAuth> {
    let inline = |item: &Item| checked(item, "", &item.text()?);
    let secrets: Vec<Option<String>> = match item.value {
        _ if item.source == Source::SecretFile => {
            let lines = secret::lines(item)?;
            lines.iter().map(|(number, line)| checked(item, &format!("line {number} "), line)).collect()
        }
        Value::List(_) => item.list().iter().map(inline).collect(),
        _ => vec![inline(item)],
    };
    match secrets.len() {
        0 => item.problem("is empty", HELP),
        1 | 2 => {}
        _ => item.problem("contains more than two secrets", "Keep the current secret and its successor"),
    }
    let mut secrets = secrets.into_iter().collect::<Option<Vec<String>>>()?;
    secrets.dedup();
    if let Some(Item { value: Value::Text(text), .. }) = item.reader.variable(VARIABLE)
        && !secrets.contains(text)
    {
        warn_unused_variable(item, &format!("{} is a list", item.path));
    }
    let mut secrets = secrets.into_iter().map(SecretString::from);
    Some(ClientAuth::Secrets { primary: secrets.next()?, secondary: secrets.next() })
}

/// Checks a client secret. `part` names the line of the file that it is on, if any.
fn checked(item: &Item, part: &str, text: &str) -> Option<String> {
    if text.is_empty() {
        item.problem("is empty", HELP);
        return None;
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let message = format!("{part}contains white space, which client secrets do not have");
        item.problem(message, "Copy the secret's value again");
        return None;
    }
    if Uuid::parse_str(text).is_ok() {
        item.warn(format!("{part}looks like a client secret's ID instead of its value"));
    }
    Some(text.to_owned())
}
