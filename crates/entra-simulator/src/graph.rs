//! Microsoft Graph: `/me`, its memberships, and the assignments to the enterprise app. Checks of the token for all of Graph.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ids::ObjectId;

use crate::batch;
use crate::call::{Call, Params};
use crate::code::{AccessToken, Holder};
use crate::directory::{Assignment, Directory, Principal, User};
use crate::graph_error::GraphError;
use crate::groups;
use crate::membership::{Object, app_role_id};
use crate::objects;
use crate::odata::{PageLink, QueryOptions};
use crate::state::SimulatorState;
use crate::users;

pub(crate) fn router() -> Router<Arc<SimulatorState>> {
    let not_allowed = |call: Call| async move { GraphError::of_status(405).to_response(&call) };
    Router::new()
        .route("/v1.0/me", get(me))
        .route("/v1.0/me/memberOf", get(member_of))
        .route("/v1.0/me/transitiveMemberOf", get(transitive_member_of))
        .route("/v1.0/servicePrincipals/{id}", get(service_principal_by_id))
        .route("/v1.0/servicePrincipals/{id}/appRoleAssignedTo", get(assigned_to))
        .route("/v1.0/{*rest}", get(by_app_id))
        .merge(groups::router())
        .merge(users::router())
        .merge(batch::router())
        .method_not_allowed_fallback(not_allowed)
}

/// Extractors of every handler.
pub(crate) type Request = (Uri, Params, Call);
pub(crate) type Answer = Result<Value, GraphError>;

async fn me(State(state): State<Arc<SimulatorState>>, headers: HeaderMap, (_, params, call): Request) -> Response {
    let answer = || {
        let (_, person, _) = delegated(&state, &headers, &call)?;
        let options = QueryOptions::parse(&params, false)?;
        options.check("user", objects::USER_KNOWN)?;
        let body = options.project(objects::user(&person), Some(objects::USER_DEFAULT));
        let context = format!("{}/v1.0/$metadata#users{}/$entity", state.origin, options.context());
        Ok(with_context(&context, body))
    };
    respond(answer(), &call)
}

async fn member_of(State(state): State<Arc<SimulatorState>>, headers: HeaderMap, request: Request) -> Response {
    memberships(&state, &headers, request, false)
}

async fn transitive_member_of(
    State(state): State<Arc<SimulatorState>>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    memberships(&state, &headers, request, true)
}

fn memberships(
    state: &SimulatorState,
    headers: &HeaderMap,
    (uri, params, call): Request,
    transitive: bool,
) -> Response {
    let answer = || {
        let (_, person, directory) = delegated(state, headers, &call)?;
        let options = QueryOptions::parse(&params, true)?;
        let found = if transitive { directory.transitive(person.id) } else { directory.direct(person.id) };
        let items: Vec<Value> = found.into_iter().map(|object| item(object, &directory, &options)).collect();
        let context = format!("{}/v1.0/$metadata#directoryObjects{}", state.origin, options.context());
        options.page(&context, &items, &PageLink::new(&state.origin, &uri), state.page_size, Value::clone)
    };
    respond(answer(), &call)
}

fn item(object: Object<'_>, directory: &Directory, options: &QueryOptions) -> Value {
    let full = objects::directory_object(object, directory);
    let shown = if directory.app_permissions.delegated_group_member_read { full } else { objects::limited(full) };
    // Omits properties that this type of object lacks, as in all lists of mixed types.
    options.project(shown, None)
}

async fn service_principal_by_id(
    State(state): State<Arc<SimulatorState>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    (_, params, call): Request,
) -> Response {
    let answer = || {
        let (token, directory) = authorized(&state, &headers, &call)?;
        // A service principal can always read itself.
        permit(&token, true, directory.app_permissions.delegated_application_read)?;
        the_service_principal(&id, &token, &directory)?;
        let options = QueryOptions::parse(&params, false)?;
        let all = objects::service_principal(&directory);
        let names: Vec<&str> = all.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        options.check("servicePrincipal", &names)?;
        let context = format!("{}/v1.0/$metadata#servicePrincipals{}/$entity", state.origin, options.context());
        Ok(with_context(&context, options.project(all, None)))
    };
    respond(answer(), &call)
}

/// Handles `servicePrincipals(appId='…')` with or without `/appRoleAssignedTo`, which the router cannot distinguish from
/// other names.
async fn by_app_id(
    state: State<Arc<SimulatorState>>,
    Path(rest): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    let named = rest.strip_prefix("servicePrincipals(appId='").and_then(|rest| rest.split_once("')"));
    let Some((app_id, list @ ("" | "/appRoleAssignedTo"))) = named else { return unknown(&state, &headers, &request) };
    let service_principal = {
        let inner = state.lock();
        (app_id == inner.directory.client_id).then(|| inner.directory.service_principal_id.clone())
    };
    // An unknown app has no service principal.
    let id = Path(service_principal.unwrap_or_else(|| Uuid::nil().to_string()));
    if list.is_empty() {
        service_principal_by_id(state, id, headers, request).await
    } else {
        assigned_to(state, id, headers, request).await
    }
}

async fn assigned_to(
    State(state): State<Arc<SimulatorState>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    (uri, params, call): Request,
) -> Response {
    const KNOWN: &[&str] = &[
        "id",
        "deletedDateTime",
        "appRoleId",
        "createdDateTime",
        "principalDisplayName",
        "principalId",
        "principalType",
        "resourceDisplayName",
        "resourceId",
    ];
    let answer = || {
        let (token, directory) = authorized(&state, &headers, &call)?;
        let permissions = &directory.app_permissions;
        permit(&token, permissions.application_read, permissions.delegated_application_read)?;
        the_service_principal(&id, &token, &directory)?;
        let options = QueryOptions::parse(&params, true)?;
        options.check("appRoleAssignment", KNOWN)?;
        let all = directory.all_assignments();
        let items = all.iter().filter_map(|assignment| written(assignment, &directory));
        let items: Vec<Value> = items.map(|item| options.project(item, None)).collect();
        let context =
            format!("{}/v1.0/$metadata#servicePrincipals('{id}')/appRoleAssignedTo{}", state.origin, options.context());
        options.page(&context, &items, &PageLink::new(&state.origin, &uri), state.page_size, Value::clone)
    };
    respond(answer(), &call)
}

/// JSON of an assignment; `None` if its principal was deleted.
fn written(assignment: &Assignment, directory: &Directory) -> Option<Value> {
    let (id, kind, name) = match assignment.principal {
        Principal::Group(id) => (id.to_string(), "Group", directory.find_group(id)?.name.clone()),
        Principal::User(id) => (id.to_string(), "User", directory.find_person(&id.to_string())?.name.clone()),
        Principal::ServicePrincipal(id) => (id.to_string(), "ServicePrincipal", "Nightly Job".to_owned()),
    };
    let role = app_role_id(assignment.app_role.as_deref());
    Some(json!({
        "id": URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{id} as {role}"))),
        "deletedDateTime": null,
        "appRoleId": role,
        "createdDateTime": "2026-02-02T04:22:45.9480566Z",
        "principalDisplayName": name,
        "principalId": id,
        "principalType": kind,
        "resourceDisplayName": directory.app_name,
        "resourceId": directory.service_principal_id,
    }))
}

fn unknown(state: &SimulatorState, headers: &HeaderMap, (uri, _, call): &Request) -> Response {
    let answer = || {
        authorized(state, headers, call)?;
        let segment = uri.path().rsplit('/').next().unwrap_or_default();
        Err(GraphError::bad_request("BadRequest", format!("Resource not found for the segment '{segment}'.")))
    };
    respond(answer(), call)
}

/// Checks the bearer token. Returns it with a snapshot of the directory.
pub(crate) fn authorized(
    state: &SimulatorState,
    headers: &HeaderMap,
    call: &Call,
) -> Result<(AccessToken, Arc<Directory>), GraphError> {
    let text = bearer(headers).ok_or_else(|| GraphError::unauthorized("Access token is empty."))?;
    let inner = state.lock();
    let token = inner
        .issued
        .token(text)
        .ok_or_else(|| GraphError::unauthorized("CompactToken validation failed with reason code: 80049228."))?;
    if token.expires <= call.at {
        return Err(GraphError::unauthorized("Lifetime validation failed, the token is expired."));
    }
    Ok((token, inner.directory.clone()))
}

/// Checks the permission: the application's or the delegated one, by the kind of the token.
pub(crate) fn permit(token: &AccessToken, application: bool, delegated: bool) -> Result<(), GraphError> {
    let granted = match token.holder {
        Holder::App => application,
        Holder::User(_) => delegated,
    };
    if granted { Ok(()) } else { Err(GraphError::denied()) }
}

/// Like [`authorized`], for requests that need a delegated token.
fn delegated(
    state: &SimulatorState,
    headers: &HeaderMap,
    call: &Call,
) -> Result<(AccessToken, User, Arc<Directory>), GraphError> {
    let (token, directory) = authorized(state, headers, call)?;
    let Holder::User(id) = token.holder else {
        return Err(GraphError::bad_request(
            "BadRequest",
            "/me request is only valid with delegated authentication flow.",
        ));
    };
    let person = directory.find_person(&id.to_string()).cloned();
    let person = person.ok_or_else(|| GraphError::not_found(&id.to_string()))?;
    Ok((token, person, directory))
}

/// Checks that the ID is the app's service principal and the token is of its tenant.
fn the_service_principal(id: &str, token: &AccessToken, directory: &Directory) -> Result<(), GraphError> {
    if id.parse::<ObjectId>().is_err() {
        return Err(GraphError::invalid_id(id));
    }
    let same = Uuid::parse_str(&directory.service_principal_id) == Uuid::parse_str(id);
    if same && token.tenant == directory.tenant_id { Ok(()) } else { Err(GraphError::not_found(id)) }
}

/// Token after `Bearer`, unless it is empty.
pub(crate) fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

pub(crate) fn with_context(context: &str, body: Value) -> Value {
    let mut all = json!({ "@odata.context": context });
    if let (Value::Object(all), Value::Object(body)) = (&mut all, body) {
        all.extend(body);
    }
    all
}

pub(crate) fn respond(answer: Answer, call: &Call) -> Response {
    match answer {
        Ok(body) => {
            let mut response = Json(body).into_response();
            response.headers_mut().insert(
                header::CONTENT_TYPE,
                HeaderValue::from_static(
                    "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8",
                ),
            );
            response.headers_mut().insert("odata-version", HeaderValue::from_static("4.0"));
            response
        }
        Err(error) => error.to_response(call),
    }
}
