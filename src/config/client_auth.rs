//! How the app proves to Entra that it is the app: one or two client secrets, a certificate, or a federated token.

use std::path::PathBuf;

use secrecy::SecretString;
use uuid::Uuid;

use super::ClientAuth;
use super::problem::Level;
use super::reader::{Item, Reader};
use super::secret::{self, Given};
use super::section::Section;
use super::tree::Value;
use crate::client_auth::{Certificate, CredentialError, federated_token};

const VARIABLE: &str = "MICROSOFT_CLIENT_SECRET";
const REMEDY: &str = "set it (or client_secret_file, certificate_file or federated_token_file) in the file, or \
                      MICROSOFT_CLIENT_SECRET in the environment";
const ONE_WAY: &str = "keep one of client_secret, client_secret_file, certificate_file and federated_token_file";

/// Reads the keys; exactly one of them is needed.
pub(super) fn client_auth<'a>(section: &mut Section<'a>, reader: &mut Reader<'a>) -> Option<ClientAuth> {
    let given = secret::find(section, "client_secret", "client_secret_file", reader);
    let certificate = section.take("certificate_file");
    let token = section.take("federated_token_file");
    let ways: Vec<Item<'a>> = given.item().into_iter().chain(&certificate).chain(&token).cloned().collect();
    if let [first, second, ..] = &ways[..] {
        reader.problem(second, format!("is given, and so is {}", first.place), ONE_WAY);
        return None;
    }
    if let Some(item) = certificate {
        pass_over_variable(&item, reader);
        let path = file(&item, |content| Certificate::parse(content).map(drop), reader);
        return path.map(ClientAuth::Certificate);
    }
    if let Some(item) = token {
        pass_over_variable(&item, reader);
        let path = file(&item, |content| federated_token(content).map(drop), reader);
        return path.map(ClientAuth::FederatedToken);
    }
    secrets(given, section, reader)
}

/// The variable stands for `client_secret`, which the file does without. LiteLLM beside may need it, so it is no problem.
fn pass_over_variable<'a>(item: &Item<'a>, reader: &mut Reader<'a>) {
    if reader.variable(VARIABLE).is_some() {
        reader.note(Level::Warning, VARIABLE, format!("has no effect, since the file has {}", item.place));
    }
}

/// The path of a file which is read already now, so that what is wrong with it is told at once.
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
            reader.problem(item, format!("{} {error}", secret::shown_path(&name)), error.remedy());
            None
        }
    }
}

/// One secret, or two in a list or on two lines of a file. A list cannot come from the environment, so it stays.
fn secrets<'a>(given: Given<'a>, section: &Section<'a>, reader: &mut Reader<'a>) -> Option<ClientAuth> {
    let given = match given {
        Given::InPlace(Item { value: Value::List(_), .. }) => given,
        given => given.or_variable(section.place("client_secret"), VARIABLE, reader),
    };
    let (item, secrets) = match given {
        Given::Nowhere => {
            section.missing("client_secret", REMEDY, reader);
            return None;
        }
        Given::InPlace(item) if matches!(item.value, Value::List(_)) => {
            let elements = reader.list(&item);
            let secrets: Vec<_> = elements.iter().map(|element| in_place(element, reader)).collect();
            (item, secrets)
        }
        Given::InPlace(item) => {
            let secret = in_place(&item, reader);
            (item, vec![secret])
        }
        Given::File(item) => {
            let text = secret::read_file(&item, reader)?;
            let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
            let secrets = lines.map(|(index, line)| secret(&item, &format!("line {} ", index + 1), line, reader));
            let secrets = secrets.collect();
            (item, secrets)
        }
    };
    if secrets.len() > 2 {
        reader.problem(&item, "holds more than two secrets", "keep the one that is used and the one that follows it");
        return None;
    }
    let mut secrets = secrets.into_iter().collect::<Option<Vec<String>>>()?;
    secrets.dedup();
    if let Some(Item { value: Value::Text(text), .. }) = reader.variable(VARIABLE)
        && !secrets.contains(text)
    {
        let said = format!("has no effect, since the file has a list as {}", item.place);
        reader.note(Level::Warning, VARIABLE, said);
    }
    let mut secrets = secrets.into_iter().map(SecretString::from);
    let Some(one) = secrets.next() else {
        reader.problem(&item, "is empty", REMEDY);
        return None;
    };
    Some(ClientAuth::Secrets { one, other: secrets.next() })
}

fn in_place<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<String> {
    let text = reader.text(item)?;
    secret(item, "", &text, reader)
}

/// A text that can be a client secret; `part` says which one of the value it is.
fn secret(item: &Item, part: &str, text: &str, reader: &mut Reader) -> Option<String> {
    if text.is_empty() {
        reader.problem(item, "is empty", REMEDY);
        return None;
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        let said = format!("{part}holds white space, which no client secret does");
        reader.problem(item, said, "copy the secret's value again");
        return None;
    }
    if Uuid::parse_str(text).is_ok() {
        let said = format!("{part}looks like the id of a client secret; what is needed is its value");
        reader.note(Level::Warning, item.place.clone(), said);
    }
    Some(text.to_owned())
}
