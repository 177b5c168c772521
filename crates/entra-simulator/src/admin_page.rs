//! The admin page: users of the demo change the directory here, as an administrator would in the Entra admin center.

use std::sync::Arc;

use askama::Template;
use axum::extract::{Form, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tower_http::csrf::CsrfLayer;

use crate::ids::{GroupId, ObjectId};

use crate::directory::{Directory, Group, GroupKind, Member, OtherKind, User};
use crate::membership::Object;
use crate::page;
use crate::request_log::Endpoint;
use crate::state::{Inner, SimulatorState};

/// Number of recent requests on the page.
const RECENT: usize = 12;

pub(crate) fn router() -> Router<Arc<SimulatorState>> {
    // Rejects cross-site requests: another site in the same browser must not change the directory.
    let forms = Router::new()
        .route("/simulator/admin/put", post(put))
        .route("/simulator/admin/take-out", post(take_out))
        .route("/simulator/admin/assign", post(assign))
        .route("/simulator/admin/unassign", post(unassign))
        .route("/simulator/admin/create-group", post(create_group))
        .route("/simulator/admin/role", post(role))
        .route("/simulator/admin/account", post(account))
        .route("/simulator/admin/delete-user", post(delete_user))
        .route("/simulator/admin/restore-user", post(restore_user))
        .route("/simulator/admin/purge-user", post(purge_user))
        .route("/simulator/admin/rename-group", post(rename_group))
        .route("/simulator/admin/empty-group", post(empty_group))
        .route("/simulator/admin/delete-group", post(delete_group))
        .layer(CsrfLayer::new());
    Router::new().route("/", get(admin_page)).merge(forms)
}

#[derive(Template)]
#[template(path = "admin_page.html")]
struct AdminPage {
    app_name: String,
    company: String,
    tenant_id: String,
    product_url: Option<String>,
    assignment_required: bool,
    people: Vec<PersonRow>,
    deleted: Vec<Named>,
    groups: Vec<GroupRow>,
    others: Vec<OtherRow>,
    roles: Vec<String>,
    recent: Vec<RecentRow>,
}

struct PersonRow {
    id: String,
    name: String,
    initials: String,
    account: String,
    disabled: bool,
    notes: Vec<&'static str>,
    /// Roles in the next ID token.
    roles: Vec<String>,
    /// Role that is assigned to the user directly.
    own_role: String,
    groups: Vec<Named>,
    /// Groups the user is in only through nested groups.
    through: Vec<String>,
    other_groups: Vec<Named>,
}

struct GroupRow {
    id: String,
    name: String,
    kind: &'static str,
    assigned: bool,
    roles: Vec<String>,
    people: Vec<String>,
    inside: Vec<String>,
    within: Vec<String>,
}

struct Named {
    id: String,
    name: String,
}

struct OtherRow {
    name: String,
    kind: &'static str,
    people: Vec<String>,
}

struct RecentRow {
    at: &'static str,
    method: String,
    path: String,
}

async fn admin_page(State(state): State<Arc<SimulatorState>>) -> Response {
    let view = {
        let inner = state.lock();
        let directory = &inner.directory;
        AdminPage {
            app_name: directory.app_name.clone(),
            company: directory.tenant_domain.clone(),
            tenant_id: directory.tenant_id.to_string(),
            product_url: state.product_url.as_ref().map(ToString::to_string),
            assignment_required: directory.assignment_required,
            people: directory.people.iter().map(|person| person_row(directory, person)).collect(),
            deleted: directory.deleted_people.iter().map(deleted_row).collect(),
            groups: directory.groups.iter().map(|group| group_row(directory, group)).collect(),
            others: other_rows(directory),
            roles: directory.declared_roles(),
            recent: recent(&inner),
        }
    };
    page::plain(&view)
}

fn person_row(directory: &Directory, person: &User) -> PersonRow {
    let groups = |objects: Vec<Object<'_>>| -> Vec<Named> {
        let group = |object: &Object<'_>| match object {
            Object::Group(group) => Some(named(group)),
            Object::Other(_) => None,
        };
        objects.iter().filter_map(group).collect()
    };
    let direct = groups(directory.direct(person.id));
    let is_direct = |id: &str| direct.iter().any(|group| group.id == id);
    let through = groups(directory.transitive(person.id)).into_iter().filter(|group| !is_direct(&group.id));
    let others = directory.groups.iter().map(named).filter(|group| !is_direct(&group.id)).collect();
    PersonRow {
        id: person.id.to_string(),
        name: person.name.clone(),
        initials: page::initials(&person.name),
        account: person.upn.clone(),
        disabled: person.disabled,
        notes: page::notes(directory, person),
        roles: directory.roles_of(person),
        own_role: person.app_roles.first().cloned().unwrap_or_default(),
        through: through.map(|group| group.name).collect(),
        other_groups: others,
        groups: direct,
    }
}

fn deleted_row(person: &User) -> Named {
    Named { id: person.id.to_string(), name: person.name.clone() }
}

fn named(group: &Group) -> Named {
    Named { id: group.id.to_string(), name: group.name.clone() }
}

fn group_row(directory: &Directory, group: &Group) -> GroupRow {
    let roles = directory.assigned_roles(group.id);
    let holds = |outer: &&Group| outer.members.contains(&Member::Group(group.id));
    let inside = group.members.iter().filter_map(|member| match member {
        Member::Group(id) => directory.find_group(*id).map(|group| group.name.clone()),
        _ => None,
    });
    GroupRow {
        id: group.id.to_string(),
        name: group.name.clone(),
        kind: match group.kind {
            GroupKind::Security => "security",
            GroupKind::Dynamic => "dynamic",
            GroupKind::MailEnabledSecurity => "mail-enabled security",
            GroupKind::Distribution => "distribution list",
            GroupKind::Microsoft365 => "Microsoft 365",
        },
        assigned: !roles.is_empty(),
        roles: roles.into_iter().flatten().map(str::to_owned).collect(),
        people: people_of(directory, &group.members),
        inside: inside.collect(),
        within: directory.groups.iter().filter(holds).map(|outer| outer.name.clone()).collect(),
    }
}

fn people_of(directory: &Directory, members: &[Member]) -> Vec<String> {
    let name = |member: &Member| match member {
        Member::User(id) => directory.find_person(&id.to_string()).map(|person| person.name.clone()),
        _ => None,
    };
    members.iter().filter_map(name).collect()
}

fn other_rows(directory: &Directory) -> Vec<OtherRow> {
    let row = |other: &crate::directory::OtherObject| OtherRow {
        name: other.name.clone(),
        kind: match other.kind {
            OtherKind::DirectoryRole { .. } => "directory role",
            OtherKind::AdministrativeUnit => "administrative unit",
        },
        people: people_of(directory, &other.members),
    };
    directory.other_objects.iter().map(row).collect()
}

/// Recent requests of the product, newest first.
fn recent(inner: &Inner) -> Vec<RecentRow> {
    let asked = inner
        .request_log
        .iter()
        .rev()
        .filter(|request| !matches!(request.endpoint, Endpoint::AdminPage | Endpoint::Other));
    let row = |request: &crate::request_log::LoggedRequest| RecentRow {
        at: if request.endpoint.is_graph() { "Graph" } else { "Entra" },
        method: request.method.clone(),
        // Without the query: those of sign-ins are long and not readable.
        path: match request.endpoint {
            Endpoint::Authorize => request.path.split('?').next().unwrap_or_default().to_owned(),
            _ => request.path.clone(),
        },
    };
    asked.take(RECENT).map(row).collect()
}

#[derive(Deserialize)]
struct Membership {
    person: ObjectId,
    group: GroupId,
}

#[derive(Deserialize)]
struct GroupForm {
    group: GroupId,
    /// Empty means default access.
    #[serde(default)]
    role: String,
}

#[derive(Deserialize)]
struct NewGroup {
    name: String,
}

#[derive(Deserialize)]
struct RenameForm {
    group: GroupId,
    name: String,
}

#[derive(Deserialize)]
struct UserForm {
    person: ObjectId,
}

#[derive(Deserialize)]
struct AccountForm {
    person: ObjectId,
    enabled: bool,
}

#[derive(Deserialize)]
struct RoleForm {
    person: ObjectId,
    /// Empty means no role.
    #[serde(default)]
    role: String,
}

async fn put(State(state): State<Arc<SimulatorState>>, Form(form): Form<Membership>) -> Redirect {
    Arc::make_mut(&mut state.lock().directory).put(form.person, form.group);
    back(&form.person)
}

async fn take_out(State(state): State<Arc<SimulatorState>>, Form(form): Form<Membership>) -> Redirect {
    Arc::make_mut(&mut state.lock().directory).take_out(form.person, form.group);
    back(&form.person)
}

async fn assign(State(state): State<Arc<SimulatorState>>, Form(form): Form<GroupForm>) -> Redirect {
    let mut inner = state.lock();
    match form.role.as_str() {
        "" => Arc::make_mut(&mut inner.directory).assign(form.group),
        role => Arc::make_mut(&mut inner.directory).assign_role(form.group, role),
    }
    back(&form.group)
}

async fn unassign(State(state): State<Arc<SimulatorState>>, Form(form): Form<GroupForm>) -> Redirect {
    Arc::make_mut(&mut state.lock().directory).unassign(form.group);
    back(&form.group)
}

async fn create_group(State(state): State<Arc<SimulatorState>>, Form(form): Form<NewGroup>) -> Response {
    let Some(name) = group_name(&form.name) else { return invalid_name() };
    let id = Arc::make_mut(&mut state.lock().directory).group(name);
    back(&id).into_response()
}

async fn rename_group(State(state): State<Arc<SimulatorState>>, Form(form): Form<RenameForm>) -> Response {
    let Some(name) = group_name(&form.name) else { return invalid_name() };
    Arc::make_mut(&mut state.lock().directory).rename_group(form.group, name);
    back(&form.group).into_response()
}

/// The trimmed name, if it is not empty and not longer than Entra's limit.
fn group_name(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|name| !name.is_empty() && name.chars().count() <= 256)
}

fn invalid_name() -> Response {
    let why = json!({ "error": "a group needs a name of at most 256 characters" });
    (StatusCode::BAD_REQUEST, Json(why)).into_response()
}

async fn empty_group(State(state): State<Arc<SimulatorState>>, Form(form): Form<GroupForm>) -> Redirect {
    Arc::make_mut(&mut state.lock().directory).empty_group(form.group);
    back(&form.group)
}

async fn delete_group(State(state): State<Arc<SimulatorState>>, Form(form): Form<GroupForm>) -> Redirect {
    Arc::make_mut(&mut state.lock().directory).remove_group(form.group);
    back(&"groups")
}

async fn account(State(state): State<Arc<SimulatorState>>, Form(form): Form<AccountForm>) -> Redirect {
    Arc::make_mut(&mut state.lock().directory).set_account_enabled(form.person, form.enabled);
    back(&form.person)
}

async fn delete_user(State(state): State<Arc<SimulatorState>>, Form(form): Form<UserForm>) -> Redirect {
    Arc::make_mut(&mut state.lock().directory).soft_delete_person(form.person);
    back(&"deleted")
}

async fn restore_user(State(state): State<Arc<SimulatorState>>, Form(form): Form<UserForm>) -> Redirect {
    Arc::make_mut(&mut state.lock().directory).restore_person(form.person);
    back(&form.person)
}

async fn purge_user(State(state): State<Arc<SimulatorState>>, Form(form): Form<UserForm>) -> Redirect {
    Arc::make_mut(&mut state.lock().directory).delete_person(form.person);
    back(&"deleted")
}

async fn role(State(state): State<Arc<SimulatorState>>, Form(form): Form<RoleForm>) -> Redirect {
    let roles = if form.role.is_empty() { Vec::new() } else { vec![form.role] };
    Arc::make_mut(&mut state.lock().directory).change_person(form.person, |person| person.app_roles = roles);
    back(&form.person)
}

/// Redirects to the changed row.
fn back(id: &impl ToString) -> Redirect {
    Redirect::to(&format!("/#{}", id.to_string()))
}
