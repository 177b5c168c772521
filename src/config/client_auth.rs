//! Client authentication: one or two client secrets, a certificate, or a federated token.

use std::path::PathBuf;

use secrecy::SecretString;
use uuid::Uuid;

use super::ClientAuth;
use super::problem::NoteLevel;
use super::reader::{Item, Reader};
use super::secret::{self, SecretSource};
use super::section::Section;
use super::tree::Value;
use crate::client_auth::{Certificate, CredentialError, federated_token};

const VARIABLE: &str = "MICROSOFT_CLIENT_SECRET";
const HELP: &str = "Set it (or client_secret_file, certificate_file or federated_token_file) in the file, or \
                      MICROSOFT_CLIENT_SECRET in the environment";
const CONFLICT_HELP: &str = "Keep one of client_secret, client_secret_file, certificate_file and federated_token_file";

/// Reads the keys. Exactly one of them is required.
pub(super) fn client_auth<'a>(section: &mut Section<'a>, reader: &mut Reader<'a>) -> Option<ClientAuth> {
    let secret = secret::find(section, "client_secret", "client_secret_file", reader);
    let certificate = section.take("certificate_file");
    let token = section.take("federated_token_file");
    let methods: Vec<Item<'a>> = secret.item().into_iter().chain(&certificate).chain(&token).cloned().collect();
    if let [first, second, ..] = &methods[..] {
        reader.problem(second, format!("cannot be combined with {}", first.path), CONFLICT_HELP);
        return None;
    }
    if let Some(item) = certificate {
        warn_unused_variable(&item, reader);
        let path = file(&item, |content| Certificate::parse(content).map(drop), reader);
        return path.map(ClientAuth::Certificate);
    }
    if let Some(item) = token {
        warn_unused_variable(&item, reader);
        let path = file(&item, |content| federated_token(content).map(drop), reader);
        return path.map(ClientAuth::FederatedToken);
    }
    secrets(secret, section, reader)
}

/// Only a warning, because a LiteLLM proxy in the same environment may need the variable.
fn warn_unused_variable<'a>(item: &Item<'a>, reader: &mut Reader<'a>) {
    if reader.variable(VARIABLE).is_some() {
        reader.note(NoteLevel::Warning, VARIABLE, format!("has no effect, because the file sets {}", item.path));
    }
}

/// The path of a credential file. Its content is checked now, so that problems are found at startup.
fn file<'a>(
    item: &Item<'a>,
    check: impl FnOnce(&[u8]) -> Result<(), CredentialError>,
    reader: &mut Reader<'a>,
) -> Option<PathBuf> {
    let name = reader.text(item)?;
    let path = reader.dir.join(&name);
    match std::fs::read(&path).map_err(Into::into).and_then(|content| check(&content)) {
        Ok(()) => Some(path),
        Err(error) => {
            reader.problem(item, format!("{} {error}", secret::display_path(&name)), error.help());
            None
        }
    }
}

/// One secret, or two in a list or on two lines of a file. The environment variable does not replace a list.
fn secrets<'a>(source: SecretSource<'a>, section: &Section<'a>, reader: &mut Reader<'a>) -> Option<ClientAuth> {
    let source = match source {
        SecretSource::Inline(Item { value: Value::List(_), .. }) => source,
        source => source.or_variable(section.path("client_secret"), VARIABLE, reader),
    };
    let (item, secrets) = match source {
        SecretSource::Absent => {
            section.report_missing("client_secret", HELP, reader);
            return None;
        }
        SecretSource::Inline(item) if matches!(item.value, Value::List(_)) => {
            let elements = reader.list(&item);
            let secrets: Vec<_> = elements.iter().map(|element| inline_secret(element, reader)).collect();
            (item, secrets)
        }
        SecretSource::Inline(item) => {
            let secret = inline_secret(&item, reader);
            (item, vec![secret])
        }
        SecretSource::File(item) => {
            let text = secret::read_file(&item, reader)?;
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let secrets = lines.map(|(index, line)| secret(&item, &format!("line {} ", index + 1), line, reader));
            let secrets = secrets.collect();
            (item, secrets)
        }
    };
    if secrets.len() > 2 {
        reader.problem(&item, "contains more than two secrets", "Keep the current secret and its successor");
        return None;
    }
    let mut secrets = secrets.into_iter().collect::<Option<Vec<String>>>()?;
    secrets.dedup();
    if let Some(Item { value: Value::Text(text), .. }) = reader.variable(VARIABLE)
        && !secrets.contains(text)
    {
        let message = format!("has no effect, because {} is a list", item.path);
        reader.note(NoteLevel::Warning, VARIABLE, message);
    }
    let mut secrets = secrets.into_iter().map(SecretString::from);
    let Some(primary) = secrets.next() else {
        reader.problem(&item, "is empty", HELP);
        return None;
    };
    Some(ClientAuth::Secrets { primary, secondary: secrets.next() })
}

fn inline_secret<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<String> {
    let text = reader.text(item)?;
    secret(item, "", &text, reader)
}

/// Checks a client secret. `part` names the line of the file that it is on, if any.
fn secret(item: &Item, part: &str, text: &str, reader: &mut Reader) -> Option<String> {
    if text.is_empty() {
        reader.problem(item, "is empty", HELP);
        return None;
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let message = format!("{part}contains white space, which client secrets do not have");
        reader.problem(item, message, "Copy the secret's value again");
        return None;
    }
    if Uuid::parse_str(text).is_ok() {
        let message = format!("{part}looks like a client secret's ID instead of its value");
        reader.note(NoteLevel::Warning, item.path.clone(), message);
    }
    Some(text.to_owned())
}
