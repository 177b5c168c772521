//! Graph's groups: one group, and its direct or transitive members.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use serde_json::Value;

use crate::code::AccessToken;
use crate::directory::{Directory, Group, Member};
use crate::graph::{Request, authorized, permit, respond, with_context};
use crate::graph_error::GraphError;
use crate::ids::GroupId;
use crate::objects;
use crate::odata::{PageLink, QueryOptions};
use crate::state::SimulatorState;

pub(crate) fn router() -> Router<Arc<SimulatorState>> {
    Router::new()
        .route("/v1.0/groups/{id}", get(group))
        .route("/v1.0/groups/{id}/members", get(members))
        .route("/v1.0/groups/{id}/transitiveMembers", get(transitive_members))
}

async fn group(
    State(state): State<Arc<SimulatorState>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    (_, params, call): Request,
) -> Response {
    let answer = || {
        let (token, directory) = authorized(&state, &headers, &call)?;
        permit_members(&token, &directory)?;
        let group = find(&id, &token, &directory)?;
        let options = QueryOptions::parse(&params, false)?;
        let mut all = objects::group(group, &directory.tenant_domain);
        // The type is known from the address.
        all.as_object_mut().map(|all| all.remove("@odata.type"));
        let names: Vec<&str> = all.as_object().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        options.check("group", &names)?;
        let context = format!("{}/v1.0/$metadata#groups{}/$entity", state.origin, options.context());
        Ok(with_context(&context, options.project(all.clone(), None)))
    };
    respond(answer(), &call)
}

async fn members(
    State(state): State<Arc<SimulatorState>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    list(&state, &id, &headers, request, false)
}

async fn transitive_members(
    State(state): State<Arc<SimulatorState>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    request: Request,
) -> Response {
    list(&state, &id, &headers, request, true)
}

fn list(state: &SimulatorState, id: &str, headers: &HeaderMap, (uri, params, call): Request, nested: bool) -> Response {
    let answer = || {
        let (token, directory) = authorized(state, headers, &call)?;
        permit_members(&token, &directory)?;
        let group = find(id, &token, &directory)?;
        let options = QueryOptions::parse(&params, true)?;
        let found = directory.members_of(group, nested);
        let context = format!("{}/v1.0/$metadata#directoryObjects{}", state.origin, options.context());
        let to_json = |member: &Member| item(*member, &directory, &options);
        options.page(&context, &found, &PageLink::new(&state.origin, &uri), state.page_size, to_json)
    };
    respond(answer(), &call)
}

/// JSON of a member. Without permission to read users, a user has only type and ID.
fn item(member: Member, directory: &Directory, options: &QueryOptions) -> Value {
    if options.selects_only(&["id"]) {
        return objects::reference(member);
    }
    let full = match member {
        Member::User(id) => directory.find_member(id).map(|person| {
            let full = objects::typed_user(person);
            if directory.app_permissions.user_read { full } else { objects::limited(full) }
        }),
        Member::Group(id) => directory.find_group(id).map(|group| objects::group(group, &directory.tenant_domain)),
        Member::Device(_) | Member::Contact(_) | Member::ServicePrincipal(_) => None,
    };
    options.project(full.unwrap_or_else(|| objects::reference(member)), None)
}

fn permit_members(token: &AccessToken, directory: &Directory) -> Result<(), GraphError> {
    let permissions = &directory.app_permissions;
    permit(token, permissions.group_member_read, permissions.delegated_group_member_read)
}

/// The group with this ID in the token's tenant.
fn find<'a>(id: &str, token: &AccessToken, directory: &'a Directory) -> Result<&'a Group, GraphError> {
    let parsed: GroupId = id.parse().map_err(|_| GraphError::invalid_id(id))?;
    let found = directory.find_group(parsed).filter(|_| token.tenant == directory.tenant_id);
    found.ok_or_else(|| GraphError::not_found(id))
}
