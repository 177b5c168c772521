//! The simulated directory: the tenant, its users, groups, and assignments to the enterprise app.

use std::collections::HashMap;
use std::sync::OnceLock;

use uuid::Uuid;

use crate::federation::FederatedCredential;
use crate::ids::{GroupId, ObjectId, TenantId};

/// An Entra tenant with one enterprise app.
#[derive(Clone, Debug)]
pub struct Directory {
    pub tenant_id: TenantId,
    /// A verified domain; can replace the tenant ID in every address.
    pub tenant_domain: String,
    /// Display name of the app and of its service principal.
    pub app_name: String,
    pub client_id: String,
    pub client_secret: String,
    /// A second valid secret, as during a rotation.
    pub second_client_secret: Option<String>,
    /// Expired secrets.
    pub ended_client_secrets: Vec<String>,
    /// The app's certificates, in DER.
    pub certificates: Vec<Vec<u8>>,
    pub federated_credentials: Vec<FederatedCredential>,
    /// Object ID of the app's service principal in this tenant.
    pub service_principal_id: String,
    /// Compared exactly. Empty allows any address.
    pub redirect_uris: Vec<String>,
    pub people: Vec<User>,
    /// Soft-deleted users, whose memberships are kept for a restore.
    pub deleted_people: Vec<User>,
    pub groups: Vec<Group>,
    pub assignments: Vec<Assignment>,
    /// Directory roles and administrative units, which `memberOf` returns besides groups.
    pub other_objects: Vec<OtherObject>,
    pub app_permissions: AppPermissions,
    /// Entra's "Assignment required?": users without an assignment cannot sign in.
    pub assignment_required: bool,
    /// Values of the app roles that the app declares.
    pub app_roles: Vec<String>,
    /// Positions in `people`, built by the first request that needs them. Every edit resets it.
    pub(crate) people_by_id: OnceLock<HashMap<ObjectId, usize>>,
}

/// Permissions that the tenant's administrator consented to.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is one permission")]
pub struct AppPermissions {
    /// Application permission `Application.Read.All`.
    pub application_read: bool,
    /// Application permission `GroupMember.Read.All`.
    pub group_member_read: bool,
    /// Application permission `User.Read.All`. Without it member lists have only type and ID of users.
    pub user_read: bool,
    /// Application permission `Member.Read.Hidden`. Without it groups with hidden membership seem to be empty.
    pub member_read_hidden: bool,
    /// Delegated permission `GroupMember.Read.All`. Without it `memberOf` returns only IDs.
    pub delegated_group_member_read: bool,
    /// Delegated permission `Application.Read.All`.
    pub delegated_application_read: bool,
}

/// A user object.
#[derive(Clone, Debug)]
pub struct User {
    pub id: ObjectId,
    /// Home tenant of a user who signs in through `organizations` or `common`; `None` means this tenant.
    pub tenant_id: Option<TenantId>,
    pub name: String,
    pub upn: String,
    pub email: Option<String>,
    /// Values of app roles that are assigned to this user directly.
    pub app_roles: Vec<String>,
    /// `false` means the user declines consent.
    pub consents: bool,
    pub disabled: bool,
    /// Invited from another tenant.
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
    /// `visibility: HiddenMembership`.
    pub hidden_membership: bool,
}

/// Kinds of groups. Graph distinguishes them by `groupTypes`, `securityEnabled` and `mailEnabled`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupKind {
    Security,
    /// A security group with a membership rule.
    Dynamic,
    MailEnabledSecurity,
    Distribution,
    Microsoft365,
}

/// A direct member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Member {
    User(ObjectId),
    Group(GroupId),
    Device(Uuid),
    Contact(Uuid),
    /// Left out of member lists, as in Graph v1.0.
    ServicePrincipal(Uuid),
}

/// Assignment of a principal to the enterprise app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub principal: Principal,
    /// Value of the role; `None` is Entra's "default access".
    pub app_role: Option<String>,
}

/// An assignable object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Principal {
    Group(GroupId),
    User(ObjectId),
    ServicePrincipal(Uuid),
}

/// An object with members that is not a group.
#[derive(Clone, Debug)]
pub struct OtherObject {
    pub id: Uuid,
    pub kind: OtherKind,
    pub name: String,
    pub members: Vec<Member>,
}

/// Kind of an [`OtherObject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtherKind {
    DirectoryRole { template_id: Uuid },
    AdministrativeUnit,
}

impl Directory {
    /// Creates an empty tenant with random IDs. The app has all permissions except
    /// `Member.Read.Hidden` and the delegated `Application.Read.All`; assignment is not required.
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
            deleted_people: Vec::new(),
            groups: Vec::new(),
            assignments: Vec::new(),
            other_objects: Vec::new(),
            app_permissions: AppPermissions {
                application_read: true,
                group_member_read: true,
                user_read: true,
                member_read_hidden: false,
                delegated_group_member_read: true,
                delegated_application_read: false,
            },
            assignment_required: false,
            app_roles: ["proxy_admin", "proxy_admin_viewer", "org_admin", "internal_user", "internal_user_viewer"]
                .map(str::to_owned)
                .to_vec(),
            people_by_id: OnceLock::new(),
        }
    }

    /// Adds a user of the tenant with an address derived from the name. `change` sets other properties.
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

    /// Adds an empty security group. `change` may set its kind or ID.
    pub fn group_with(&mut self, name: &str, change: impl FnOnce(&mut Group)) -> GroupId {
        let id = GroupId::from(Uuid::new_v4());
        let mut group = Group {
            id,
            name: name.to_owned(),
            kind: GroupKind::Security,
            members: Vec::new(),
            hidden_membership: false,
        };
        change(&mut group);
        let id = group.id;
        self.groups.push(group);
        id
    }

    /// Changes a user. Returns `None` if the user does not exist.
    pub fn change_person<T>(&mut self, id: ObjectId, change: impl FnOnce(&mut User) -> T) -> Option<T> {
        self.people.iter_mut().find(|person| person.id == id).map(change)
    }

    /// Changes a group. Returns `None` if the group does not exist.
    pub fn change_group<T>(&mut self, id: GroupId, change: impl FnOnce(&mut Group) -> T) -> Option<T> {
        self.groups.iter_mut().find(|group| group.id == id).map(change)
    }

    /// Adds the user as a direct member.
    pub fn put(&mut self, person: ObjectId, group: GroupId) {
        self.add_member(Member::User(person), group);
    }

    /// Adds one group to another as a direct member.
    pub fn nest(&mut self, inner: GroupId, outer: GroupId) {
        self.add_member(Member::Group(inner), outer);
    }

    /// Adds any object as a direct member.
    pub fn add_member(&mut self, member: Member, group: GroupId) {
        self.change_group(group, |group| {
            if !group.members.contains(&member) {
                group.members.push(member);
            }
        });
    }

    /// Removes the user's direct membership.
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

    /// Assigns a principal. A second identical assignment is not created, as in Entra.
    pub fn assign_principal(&mut self, principal: Principal, app_role: Option<&str>) {
        let assignment = Assignment { principal, app_role: app_role.map(str::to_owned) };
        if !self.assignments.contains(&assignment) {
            self.assignments.push(assignment);
        }
    }

    /// Removes all assignments of the group.
    pub fn unassign(&mut self, group: GroupId) {
        self.assignments.retain(|assignment| assignment.principal != Principal::Group(group));
    }

    /// Deletes the group, its assignments, and its memberships in other groups.
    pub fn remove_group(&mut self, id: GroupId) {
        self.unassign(id);
        self.groups.retain(|group| group.id != id);
        for group in &mut self.groups {
            group.members.retain(|member| *member != Member::Group(id));
        }
    }
}
