//! The directory that the simulator serves: the company, its people, groups and assignments to the enterprise app.

use uuid::Uuid;

use crate::federation::FederatedCredential;
use crate::ids::{GroupId, ObjectId, TenantId};

/// One Entra tenant with one enterprise app in it.
#[derive(Clone, Debug)]
pub struct Directory {
    pub tenant_id: TenantId,
    /// A verified domain; it can stand for the tenant's id in every address.
    pub tenant_domain: String,
    /// The display name of the app and of its service principal.
    pub app_name: String,
    pub client_id: String,
    pub client_secret: String,
    /// Another one, which Entra takes as well: one follows the other.
    pub second_client_secret: Option<String>,
    /// Those that have ended.
    pub ended_client_secrets: Vec<String>,
    /// The app's certificates, in DER.
    pub certificates: Vec<Vec<u8>>,
    pub federated_credentials: Vec<FederatedCredential>,
    /// Object id of the app's service principal in this tenant.
    pub service_principal_id: String,
    /// Matched to the letter; empty: any address may be redirected to.
    pub redirect_uris: Vec<String>,
    pub people: Vec<User>,
    pub groups: Vec<Group>,
    pub assignments: Vec<Assignment>,
    /// Directory roles and administrative units: what `memberOf` returns beside groups.
    pub other_objects: Vec<OtherObject>,
    pub app_permissions: AppPermissions,
    /// Entra's "Assignment required?": people without an assignment do not get past it.
    pub assignment_required: bool,
    /// Values of the roles which the app declares.
    pub app_roles: Vec<String>,
}

/// What the tenant's administrator consented to.
#[derive(Clone, Copy, Debug)]
pub struct AppPermissions {
    /// Application permission `Application.Read.All`.
    pub application_read: bool,
    /// Delegated permission `GroupMember.Read.All`; without it `memberOf` shows ids only.
    pub delegated_group_member_read: bool,
    /// Delegated permission `Application.Read.All`.
    pub delegated_application_read: bool,
}

/// A user object.
#[derive(Clone, Debug)]
pub struct User {
    pub id: ObjectId,
    /// The tenant of a person of another company, who signs in through `organizations` or `common`.
    pub tenant_id: Option<TenantId>,
    pub name: String,
    pub upn: String,
    pub email: Option<String>,
    /// Roles of the app assigned to this person alone, as values.
    pub app_roles: Vec<String>,
    /// `false`: refuses the consent page.
    pub consents: bool,
    pub disabled: bool,
    /// Invited into this tenant from another one.
    pub guest: bool,
}

/// A group object.
#[derive(Clone, Debug)]
pub struct Group {
    pub id: GroupId,
    /// Not unique, as in Entra.
    pub name: String,
    pub kind: GroupKind,
    pub members: Vec<Member>,
}

/// The kinds of groups, which Graph tells apart by `groupTypes`, `securityEnabled` and `mailEnabled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    Security,
    /// A security group that a rule fills.
    Dynamic,
    MailEnabledSecurity,
    Distribution,
    Microsoft365,
}

/// A direct member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Member {
    User(ObjectId),
    Group(GroupId),
}

/// An app role assignment: a principal's assignment to the enterprise app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub principal: Principal,
    /// The role's value; `None` is Entra's "default access".
    pub app_role: Option<String>,
}

/// Who can be assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    Group(GroupId),
    User(ObjectId),
    ServicePrincipal(Uuid),
}

/// An object of which people are members and which is no group.
#[derive(Clone, Debug)]
pub struct OtherObject {
    pub id: Uuid,
    pub kind: OtherKind,
    pub name: String,
    pub members: Vec<Member>,
}

/// What an [`OtherObject`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherKind {
    DirectoryRole { template_id: Uuid },
    AdministrativeUnit,
}

impl Directory {
    /// An empty tenant with random ids, the app in it fully consented, assignment not required.
    pub fn new(tenant_domain: &str) -> Self {
        Self {
            tenant_id: TenantId::from(Uuid::new_v4()),
            tenant_domain: tenant_domain.to_owned(),
            app_name: "Entraway".to_owned(),
            client_id: Uuid::new_v4().to_string(),
            client_secret: format!("sim~{}", Uuid::new_v4().simple()),
            second_client_secret: None,
            ended_client_secrets: Vec::new(),
            certificates: Vec::new(),
            federated_credentials: Vec::new(),
            service_principal_id: Uuid::new_v4().to_string(),
            redirect_uris: Vec::new(),
            people: Vec::new(),
            groups: Vec::new(),
            assignments: Vec::new(),
            other_objects: Vec::new(),
            app_permissions: AppPermissions {
                application_read: true,
                delegated_group_member_read: true,
                delegated_application_read: false,
            },
            assignment_required: false,
            app_roles: ["proxy_admin", "proxy_admin_viewer", "org_admin", "internal_user", "internal_user_viewer"]
                .map(str::to_owned)
                .to_vec(),
        }
    }

    /// Adds a member of the company with an address made of the name; `change` may set what else is wanted.
    pub fn person(&mut self, name: &str, change: impl FnOnce(&mut User)) -> ObjectId {
        let local = name.to_lowercase().split_whitespace().collect::<Vec<_>>().join(".");
        let address = format!("{local}@{}", self.tenant_domain);
        let mut person = User {
            id: ObjectId::from(Uuid::new_v4()),
            tenant_id: None,
            name: name.to_owned(),
            upn: address.clone(),
            email: Some(address),
            app_roles: Vec::new(),
            consents: true,
            disabled: false,
            guest: false,
        };
        change(&mut person);
        let id = person.id;
        self.people.push(person);
        id
    }

    /// Adds an empty security group.
    pub fn group(&mut self, name: &str) -> GroupId {
        self.group_with(name, |_| {})
    }

    /// Adds an empty security group; `change` may make it another kind or give it a known id.
    pub fn group_with(&mut self, name: &str, change: impl FnOnce(&mut Group)) -> GroupId {
        let id = GroupId::from(Uuid::new_v4());
        let mut group = Group { id, name: name.to_owned(), kind: GroupKind::Security, members: Vec::new() };
        change(&mut group);
        let id = group.id;
        self.groups.push(group);
        id
    }

    /// Changes a person; `None` where there is no such person.
    pub fn change_person<T>(&mut self, id: ObjectId, change: impl FnOnce(&mut User) -> T) -> Option<T> {
        self.people.iter_mut().find(|person| person.id == id).map(change)
    }

    /// Changes a group; `None` where there is no such group.
    pub fn change_group<T>(&mut self, id: GroupId, change: impl FnOnce(&mut Group) -> T) -> Option<T> {
        self.groups.iter_mut().find(|group| group.id == id).map(change)
    }

    /// Makes the person a direct member.
    pub fn put(&mut self, person: ObjectId, group: GroupId) {
        self.add_member(Member::User(person), group);
    }

    /// Makes one group a direct member of another.
    pub fn nest(&mut self, inner: GroupId, outer: GroupId) {
        self.add_member(Member::Group(inner), outer);
    }

    fn add_member(&mut self, member: Member, group: GroupId) {
        self.change_group(group, |group| {
            if !group.members.contains(&member) {
                group.members.push(member);
            }
        });
    }

    /// Ends the person's direct membership.
    pub fn take_out(&mut self, person: ObjectId, group: GroupId) {
        self.change_group(group, |group| group.members.retain(|member| *member != Member::User(person)));
    }

    /// Assigns the group to the app with default access.
    pub fn assign(&mut self, group: GroupId) {
        self.assign_principal(Principal::Group(group), None);
    }

    /// Assigns the group to the app with a role.
    pub fn assign_role(&mut self, group: GroupId, app_role: &str) {
        self.assign_principal(Principal::Group(group), Some(app_role));
    }

    /// Assigns anything; a second identical assignment is not made, as in Entra.
    pub fn assign_principal(&mut self, principal: Principal, app_role: Option<&str>) {
        let assignment = Assignment { principal, app_role: app_role.map(str::to_owned) };
        if !self.assignments.contains(&assignment) {
            self.assignments.push(assignment);
        }
    }

    /// Removes every assignment of the group.
    pub fn unassign(&mut self, group: GroupId) {
        self.assignments.retain(|assignment| assignment.principal != Principal::Group(group));
    }

    /// Deletes the group, its assignments and its place in other groups.
    pub fn remove_group(&mut self, id: GroupId) {
        self.unassign(id);
        self.groups.retain(|group| group.id != id);
        for group in &mut self.groups {
            group.members.retain(|member| *member != Member::Group(id));
        }
    }
}
