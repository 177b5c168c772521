//! The authorization endpoint: validates the request, shows the account picker, and redirects back.

use std::sync::Arc;

use axum::extract::{Extension, Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Router, body::Bytes};
use url::{Url, form_urlencoded};
use uuid::Uuid;

use crate::aadsts::EntraError;
use crate::call::{Call, Params};
use crate::code::{Authority, Grant};
use crate::directory::{Directory, User};
use crate::page;
use crate::scopes;
use crate::state::SimulatorState;

pub(crate) fn router() -> Router<Arc<SimulatorState>> {
    Router::new()
        .route("/{tenant}/oauth2/v2.0/authorize", get(picker).post(picker_posted))
        .route("/simulator/authorize", get(picked).post(picked_posted))
}

/// How the response is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Query,
    Fragment,
    FormPost,
}

/// Where the response is sent, after the redirect URI was validated.
#[derive(Clone, Debug)]
struct Back {
    redirect_uri: Url,
    mode: Mode,
    state: Option<String>,
}

/// A valid authorization request.
#[derive(Clone, Debug)]
struct Asked {
    back: Back,
    authority: Authority,
    client_id: String,
    redirect_uri: String,
    challenge: String,
    nonce: Option<String>,
    scopes: Vec<String>,
}

/// Why no code is issued.
enum AuthorizeError {
    /// Shown on a page, because no redirect URI is valid.
    Here(EntraError),
    /// Sent to the redirect URI.
    Back(Box<Back>, EntraError),
}

impl AuthorizeError {
    fn respond(self, call: &Call) -> Response {
        match self {
            Self::Here(error) => page::error(&error, call),
            Self::Back(back, error) => {
                let mut answer = vec![("error", error.error.clone()), ("error_description", error.description(call))];
                answer.extend(error.suberror.map(|suberror| ("error_subcode", suberror)));
                back.send(answer)
            }
        }
    }
}

impl Back {
    fn send(&self, mut answer: Vec<(&'static str, String)>) -> Response {
        answer.extend(self.state.clone().map(|state| ("state", state)));
        let mut url = self.redirect_uri.clone();
        match self.mode {
            Mode::Query => {
                url.query_pairs_mut().extend_pairs(answer);
            }
            Mode::Fragment => {
                let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(answer).finish();
                url.set_fragment(Some(&text));
            }
            Mode::FormPost => return page::form_post(url.as_str(), answer),
        }
        // Entra answers 302; axum has no such redirect.
        (axum::http::StatusCode::FOUND, [("location", url.to_string())]).into_response()
    }
}

/// Validates a request as Entra does before it shows the account picker.
fn check(
    state: &SimulatorState,
    directory: &Directory,
    tenant: &str,
    params: &Params,
) -> Result<Asked, AuthorizeError> {
    let here = |error: &str, code, text: String| AuthorizeError::Here(EntraError::new(error, code, text));
    let authority =
        directory.authority(tenant).ok_or_else(|| AuthorizeError::Here(EntraError::unknown_tenant(tenant)))?;
    let missing = |name: &str| {
        here("invalid_request", 900_144, format!("The request body must contain the following parameter: '{name}'."))
    };
    let client_id = params.get("client_id").ok_or_else(|| missing("client_id"))?;
    if !client_id.eq_ignore_ascii_case(&directory.client_id) {
        let text = format!("Application with identifier '{client_id}' was not found in the directory '{tenant}'.");
        return Err(here("unauthorized_client", 700_016, text));
    }
    let redirect_uri = params.get("redirect_uri").ok_or_else(|| missing("redirect_uri"))?;
    let parsed = Url::parse(redirect_uri).ok().filter(|_| directory.may_redirect_to(redirect_uri));
    let Some(parsed) = parsed else {
        let text = format!(
            "The redirect URI '{redirect_uri}' specified in the request does not match the redirect URIs configured \
             for the application '{client_id}'."
        );
        return Err(here("invalid_request", 50011, text));
    };
    let mode = match params.get("response_mode") {
        None | Some("query") => Mode::Query,
        Some("fragment") => Mode::Fragment,
        Some("form_post") => Mode::FormPost,
        Some(other) => {
            let text = format!("The value '{other}' is not valid for the input parameter 'response_mode'.");
            return Err(here("invalid_request", 900_023, text));
        }
    };
    let back = Back { redirect_uri: parsed, mode, state: params.get("state").map(str::to_owned) };
    let refuse = |error: &str, code, text: &str| {
        Err(AuthorizeError::Back(Box::new(back.clone()), EntraError::new(error, code, text)))
    };
    match params.get("response_type") {
        Some("code") => {}
        Some(_) => {
            return refuse(
                "unsupported_response_type",
                700_054,
                "response_type 'id_token' is not enabled for the application.",
            );
        }
        None => {
            let text = "The request body must contain the following parameter: 'response_type'.";
            return refuse("invalid_request", 900_144, text);
        }
    }
    let scopes: Vec<String> = params.get("scope").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
    if let Err(error) = scopes::check(&scopes, &state.origin, &directory.app_name) {
        return Err(AuthorizeError::Back(Box::new(back), error));
    }
    let challenge = params.get("code_challenge").unwrap_or_default();
    let plain = challenge.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    if params.get("code_challenge_method") != Some("S256") || challenge.len() != 43 || !plain {
        let text = "Invalid size or format of Code_Challenge parameter; this simulator wants S256.";
        return refuse("invalid_request", 501_491, text);
    }
    if params.get("prompt") == Some("none") {
        let text = "A silent sign-in request was sent but no user is signed in.";
        return refuse("login_required", 50058, text);
    }
    Ok(Asked {
        authority,
        client_id: client_id.to_owned(),
        redirect_uri: redirect_uri.to_owned(),
        challenge: challenge.to_owned(),
        nonce: params.get("nonce").map(str::to_owned),
        scopes,
        back,
    })
}

async fn picker(
    State(state): State<Arc<SimulatorState>>,
    Path(tenant): Path<String>,
    fault: Option<Extension<EntraError>>,
    params: Params,
    call: Call,
) -> Response {
    let directory = state.lock().directory.clone();
    let asked = match check(&state, &directory, &tenant, &params) {
        Ok(asked) => asked,
        Err(error) => return error.respond(&call),
    };
    if let Some(Extension(error)) = fault {
        return AuthorizeError::Back(Box::new(asked.back), error).respond(&call);
    }
    let query = params.text_without(&["tenant", "person", "answer"]);
    let hint = params.get("login_hint").and_then(|hint| directory.find_person(hint)).map(|person| person.id);
    let mut people: Vec<&User> =
        directory.people.iter().filter(|person| may_use(&directory, person, asked.authority)).collect();
    people.sort_by_key(|person| Some(person.id) != hint);
    page::picker(&directory, &people, &tenant, &query, &asked.redirect_uri)
}

async fn picker_posted(
    state: State<Arc<SimulatorState>>,
    tenant: Path<String>,
    fault: Option<Extension<EntraError>>,
    mut params: Params,
    call: Call,
    body: Bytes,
) -> Response {
    params.0.extend(Params::parse(&body).0);
    picker(state, tenant, fault, params, call).await
}

/// The user's choice in the picker: `person=<object ID or UPN>`, `answer=refuse` or `answer=cancel`. The other
/// parameters are the authorization request's; `tenant` is the tenant segment of its path, by default the directory's
/// own.
async fn picked(
    State(state): State<Arc<SimulatorState>>,
    fault: Option<Extension<EntraError>>,
    params: Params,
    call: Call,
) -> Response {
    let directory = state.lock().directory.clone();
    let own = directory.tenant_id.to_string();
    let tenant = params.get("tenant").unwrap_or(&own);
    let asked = match check(&state, &directory, tenant, &params) {
        Ok(asked) => asked,
        Err(error) => return error.respond(&call),
    };
    if let Some(Extension(error)) = fault {
        return AuthorizeError::Back(Box::new(asked.back), error).respond(&call);
    }
    match admit(&directory, &asked, &params) {
        Ok(person) => grant(&state, asked, &person, &call),
        Err(error) => error.respond(&call),
    }
}

async fn picked_posted(
    state: State<Arc<SimulatorState>>,
    fault: Option<Extension<EntraError>>,
    mut params: Params,
    call: Call,
    body: Bytes,
) -> Response {
    params.0.extend(Params::parse(&body).0);
    picked(state, fault, params, call).await
}

/// The user who receives a code.
fn admit(directory: &Directory, asked: &Asked, params: &Params) -> Result<User, AuthorizeError> {
    let denied = |code, text: String, suberror: Option<&str>| {
        let error =
            EntraError { suberror: suberror.map(str::to_owned), ..EntraError::new("access_denied", code, text) };
        AuthorizeError::Back(Box::new(asked.back.clone()), error)
    };
    let declined = || denied(65004, "User declined to consent to access the app.".to_owned(), Some("cancel"));
    if params.get("answer").is_some() {
        return Err(declined());
    }
    let here = |code, text: String| AuthorizeError::Here(EntraError::new("access_denied", code, text));
    let named = params.get("person").unwrap_or_default();
    let person = directory
        .find_person(named)
        .ok_or_else(|| here(50034, format!("The user account '{named}' does not exist in the directory.")))?;
    if !may_use(directory, person, asked.authority) {
        let text = format!(
            "User account '{}' from identity provider 'live.com' does not exist in tenant '{}' and cannot access the \
             application '{}' in that tenant.",
            person.upn, directory.tenant_domain, directory.client_id
        );
        return Err(here(50020, text));
    }
    if person.disabled {
        return Err(here(50057, "The user account is disabled.".to_owned()));
    }
    if directory.assignment_required && !directory.is_assigned(person) {
        let text = format!(
            "Your administrator has configured the application {} ('{}') to block users unless they are specifically \
             granted ('assigned') access to the application.",
            directory.app_name, directory.client_id
        );
        return Err(denied(50105, text, None));
    }
    if !person.consents {
        return Err(declined());
    }
    Ok(person.clone())
}

/// Whether the tenant segment serves the user. Guests belong to the tenant that invited them.
fn may_use(directory: &Directory, person: &User, authority: Authority) -> bool {
    match authority {
        Authority::Tenant(tenant) => directory.tenant_of(person) == tenant,
        Authority::Organizations | Authority::Common => !person.guest,
    }
}

fn grant(state: &SimulatorState, asked: Asked, person: &User, call: &Call) -> Response {
    let session_id = Uuid::new_v4();
    let code = state.lock().issued.add_code(Grant {
        authority: asked.authority,
        client_id: asked.client_id,
        redirect_uri: asked.redirect_uri,
        challenge: asked.challenge,
        nonce: asked.nonce,
        scopes: asked.scopes,
        person: person.id,
        session_id,
        issued: call.at,
        consumed: false,
    });
    asked.back.send(vec![("code", code), ("session_state", session_id.to_string())])
}
