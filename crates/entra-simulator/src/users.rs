//! Graph's users: one, all, and the deleted ones.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;

use crate::code::AccessToken;
use crate::directory::{Directory, User};
use crate::graph::{Request, authorized, permit, respond, with_context};
use crate::graph_error::GraphError;
use crate::ids::ObjectId;
use crate::objects;
use crate::odata::{PageLink, QueryOptions};
use crate::state::SimulatorState;

pub(crate) fn router() -> Router<Arc<SimulatorState>> {
    Router::new()
        .route("/v1.0/users", get(users))
        .route("/v1.0/users/{id}", get(user))
        .route("/v1.0/directory/deletedItems/microsoft.graph.user", get(deleted_users))
        .route("/v1.0/directory/deletedItems/{id}", get(deleted_user))
}

async fn users(State(state): State<Arc<SimulatorState>>, headers: HeaderMap, request: Request) -> Response {
    list(&state, &headers, request, |directory| &directory.people)
}

async fn deleted_users(State(state): State<Arc<SimulatorState>>, headers: HeaderMap, request: Request) -> Response {
    list(&state, &headers, request, |directory| &directory.deleted_people)
}

fn list(
    state: &SimulatorState,
    headers: &HeaderMap,
    (uri, params, call): Request,
    of: impl Fn(&Directory) -> &[User],
) -> Response {
    let answer = || {
        let (token, directory) = authorized(state, headers, &call)?;
        permit_users(&token, &directory)?;
        let options = QueryOptions::parse(&params, true)?;
        options.check("user", objects::USER_KNOWN)?;
        let found: Vec<&User> =
            of(&directory).iter().filter(|person| directory.tenant_of(person) == token.tenant).collect();
        let context = format!("{}/v1.0/$metadata#users{}", state.origin, options.context());
        let to_json = |person: &&User| options.project(objects::user(person), Some(objects::USER_DEFAULT));
        options.page(&context, &found, &PageLink::new(&state.origin, &uri), state.page_size, to_json)
    };
    respond(answer(), &call)
}

async fn user(
    State(state): State<Arc<SimulatorState>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    (_, params, call): Request,
) -> Response {
    let answer = || {
        let (token, directory) = authorized(&state, &headers, &call)?;
        permit_users(&token, &directory)?;
        let found = directory.find_person(&id).filter(|person| directory.tenant_of(person) == token.tenant);
        let found = found.ok_or_else(|| GraphError::not_found(&id))?;
        let options = QueryOptions::parse(&params, false)?;
        options.check("user", objects::USER_KNOWN)?;
        let context = format!("{}/v1.0/$metadata#users{}/$entity", state.origin, options.context());
        Ok(with_context(&context, options.project(objects::user(found), Some(objects::USER_DEFAULT))))
    };
    respond(answer(), &call)
}

async fn deleted_user(
    State(state): State<Arc<SimulatorState>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    (_, params, call): Request,
) -> Response {
    let answer = || {
        let (token, directory) = authorized(&state, &headers, &call)?;
        permit_users(&token, &directory)?;
        let parsed: ObjectId = id.parse().map_err(|_| GraphError::invalid_id(&id))?;
        let of_tenant = |person: &&User| person.id == parsed && directory.tenant_of(person) == token.tenant;
        let found = directory.deleted_people.iter().find(of_tenant).ok_or_else(|| GraphError::not_found(&id))?;
        let options = QueryOptions::parse(&params, false)?;
        let context = format!("{}/v1.0/$metadata#directoryObjects{}/$entity", state.origin, options.context());
        Ok(with_context(&context, options.project(objects::typed_user(found), Some(objects::USER_DEFAULT))))
    };
    respond(answer(), &call)
}

fn permit_users(token: &AccessToken, directory: &Directory) -> Result<(), GraphError> {
    permit(token, directory.app_permissions.user_read, false)
}
