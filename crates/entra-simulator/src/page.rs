//! Pages that replace Microsoft's: the account picker, messages, and the form that posts itself.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse as _, Response};
use url::Url;

use crate::aadsts::EntraError;
use crate::call::Call;
use crate::directory::{Directory, User};

/// Allows only inline styles.
const PLAIN: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'";
/// Also allows inline scripts: the form that posts itself needs one, as Entra's does.
const SCRIPTED: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'";

#[derive(Template)]
#[template(path = "picker.html")]
struct Picker<'a> {
    app_name: &'a str,
    company: &'a str,
    /// Where the response is sent.
    destination: &'a str,
    people: Vec<Choice<'a>>,
    refuse: String,
    cancel: String,
}

struct Choice<'a> {
    name: &'a str,
    account: &'a str,
    initials: String,
    notes: Vec<&'static str>,
    link: String,
}

#[derive(Template)]
#[template(path = "message.html")]
struct Message<'a> {
    title: &'a str,
    text: &'a str,
    /// Request details for support.
    details: &'a str,
}

#[derive(Template)]
#[template(path = "form_post.html")]
struct FormPost<'a> {
    action: &'a str,
    fields: Vec<(&'static str, String)>,
}

/// "Pick an account". `query` is the authorization request's query, which every choice repeats.
pub(crate) fn picker(
    directory: &Directory,
    people: &[&User],
    tenant: &str,
    query: &str,
    redirect_uri: &str,
) -> Response {
    let link = |name: &str, value: &str| {
        let mut pairs = url::form_urlencoded::Serializer::new(query.to_owned());
        pairs.append_pair("tenant", tenant).append_pair(name, value);
        format!("/simulator/authorize?{}", pairs.finish())
    };
    let choices = people.iter().map(|person| Choice {
        name: &person.name,
        account: if person.guest { person.email.as_ref().unwrap_or(&person.upn) } else { &person.upn },
        initials: initials(&person.name),
        notes: notes(directory, person),
        link: link("person", &person.id.to_string()),
    });
    let destination = Url::parse(redirect_uri).ok();
    let page = Picker {
        app_name: &directory.app_name,
        company: &directory.tenant_domain,
        destination: destination.as_ref().map_or("", |url| &url[..url::Position::BeforePath]),
        people: choices.collect(),
        refuse: link("answer", "refuse"),
        cancel: link("answer", "cancel"),
    };
    show(StatusCode::OK, &page, PLAIN)
}

/// First letters of the first and the last word.
pub(crate) fn initials(name: &str) -> String {
    let mut words = name.split_whitespace().filter_map(|word| word.chars().next());
    let first = words.next();
    first.into_iter().chain(words.next_back()).flat_map(char::to_uppercase).collect()
}

/// Labels of the user's special properties.
pub(crate) fn notes(directory: &Directory, person: &User) -> Vec<&'static str> {
    [
        (person.guest, "guest"),
        (person.tenant_id.is_some(), "another tenant"),
        (person.disabled, "disabled"),
        (!person.consents, "refuses consent"),
        (person.email.is_none(), "no e-mail"),
        (directory.assignment_required && !directory.is_assigned(person), "not assigned"),
    ]
    .into_iter()
    .filter_map(|(so, note)| so.then_some(note))
    .collect()
}

/// A page with an Entra error.
pub(crate) fn error(error: &EntraError, call: &Call) -> Response {
    let page = Message {
        title: "Sorry, but we're having trouble signing you in.",
        text: "",
        details: &error.description(call),
    };
    show(StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST), &page, PLAIN)
}

/// A page with one message.
pub(crate) fn message(title: &str, text: &str) -> Response {
    show(StatusCode::OK, &Message { title, text, details: "" }, PLAIN)
}

/// `response_mode=form_post`.
pub(crate) fn form_post(action: &str, fields: Vec<(&'static str, String)>) -> Response {
    show(StatusCode::OK, &FormPost { action, fields }, SCRIPTED)
}

/// Renders a page without scripts.
pub(crate) fn plain(page: &impl Template) -> Response {
    show(StatusCode::OK, page, PLAIN)
}

fn show(status: StatusCode, page: &impl Template, policy: &'static str) -> Response {
    match page.render() {
        Ok(text) => {
            let headers = [
                (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
                (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
                (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
            ];
            (status, headers, Html(text)).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
