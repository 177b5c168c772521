//! What follows from the directory: who is in what, directly or through a group, and which app roles that gives.

use std::collections::HashSet;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ids::{GroupId, ObjectId, TenantId};

use crate::code::Authority;
use crate::directory::{Assignment, Directory, Group, Member, OtherKind, OtherObject, Principal, User};

/// Anything of which `memberOf` may tell.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Object<'a> {
    Group(&'a Group),
    Other(&'a OtherObject),
}

impl Directory {
    /// The person with this object id or user principal name.
    pub(crate) fn find_person(&self, id_or_upn: &str) -> Option<&User> {
        let id = id_or_upn.parse::<ObjectId>().ok();
        self.people.iter().find(|person| Some(person.id) == id || person.upn.eq_ignore_ascii_case(id_or_upn))
    }

    /// The group with this id.
    pub(crate) fn find_group(&self, id: GroupId) -> Option<&Group> {
        self.groups.iter().find(|group| group.id == id)
    }

    /// The tenant whose `tid` and `oid` the person signs in with.
    pub(crate) fn tenant_of(&self, person: &User) -> TenantId {
        person.tenant_id.unwrap_or(self.tenant_id)
    }

    /// What the tenant segment of an address names: a tenant with people in it, or one of the two endpoints for all.
    pub(crate) fn authority(&self, segment: &str) -> Option<Authority> {
        match segment {
            "organizations" => return Some(Authority::Organizations),
            "common" => return Some(Authority::Common),
            _ => {}
        }
        if segment.eq_ignore_ascii_case(&self.tenant_domain) {
            return Some(Authority::Tenant(self.tenant_id));
        }
        let tenant = segment.parse().ok()?;
        let known = self.tenant_id == tenant || self.people.iter().any(|person| person.tenant_id == Some(tenant));
        known.then_some(Authority::Tenant(tenant))
    }

    /// Whether the app registered this address, to the letter.
    pub(crate) fn may_redirect_to(&self, uri: &str) -> bool {
        self.redirect_uris.is_empty() || self.redirect_uris.iter().any(|registered| registered == uri)
    }

    /// What the person is a direct member of.
    pub(crate) fn direct(&self, person: ObjectId) -> Vec<Object<'_>> {
        let member = Member::User(person);
        let groups = self.groups.iter().filter(|group| group.members.contains(&member)).map(Object::Group);
        let others = self.other_objects.iter().filter(|other| other.members.contains(&member)).map(Object::Other);
        groups.chain(others).collect()
    }

    /// What the person is a member of, groups within groups included.
    pub(crate) fn transitive(&self, person: ObjectId) -> Vec<Object<'_>> {
        let mut inside: HashSet<GroupId> = HashSet::new();
        let mut open: Vec<Member> = vec![Member::User(person)];
        while let Some(member) = open.pop() {
            for group in self.groups.iter().filter(|group| group.members.contains(&member)) {
                // Groups may hold each other in a circle.
                if inside.insert(group.id) {
                    open.push(Member::Group(group.id));
                }
            }
        }
        let groups = self.groups.iter().filter(|group| inside.contains(&group.id)).map(Object::Group);
        let others = self.other_objects.iter().filter(|other| {
            other.members.iter().any(|member| match member {
                Member::User(id) => *id == person,
                // A role given to a group reaches its members; an administrative unit does not.
                Member::Group(id) => inside.contains(id) && matches!(other.kind, OtherKind::DirectoryRole { .. }),
            })
        });
        groups.chain(others.map(Object::Other)).collect()
    }

    /// All assignments to the app, a person's own roles among them.
    pub(crate) fn all_assignments(&self) -> Vec<Assignment> {
        let mut all = self.assignments.clone();
        for person in self.people.iter().filter(|person| person.tenant_id.is_none()) {
            for role in &person.app_roles {
                let own = Assignment { principal: Principal::User(person.id), app_role: Some(role.clone()) };
                if !all.contains(&own) {
                    all.push(own);
                }
            }
        }
        all
    }

    /// Whether Entra counts the assignment for the person: direct, or through a group the person is directly in.
    fn reaches(&self, assignment: &Assignment, person: ObjectId) -> bool {
        match assignment.principal {
            Principal::User(id) => id == person,
            Principal::Group(id) => {
                self.find_group(id).is_some_and(|group| group.members.contains(&Member::User(person)))
            }
            Principal::ServicePrincipal(_) => false,
        }
    }

    /// Whether the person has any assignment.
    pub(crate) fn is_assigned(&self, person: &User) -> bool {
        !person.app_roles.is_empty() || self.assignments.iter().any(|assignment| self.reaches(assignment, person.id))
    }

    /// The values of the `roles` claim, each once.
    pub(crate) fn roles_of(&self, person: &User) -> Vec<String> {
        let mut roles = person.app_roles.clone();
        for assignment in self.assignments.iter().filter(|assignment| self.reaches(assignment, person.id)) {
            if let Some(role) = &assignment.app_role
                && !roles.contains(role)
            {
                roles.push(role.clone());
            }
        }
        roles
    }

    /// The roles which the group's assignments carry; `None` within for default access.
    pub(crate) fn assigned_roles(&self, group: GroupId) -> Vec<Option<&str>> {
        let of_group = |assignment: &&Assignment| assignment.principal == Principal::Group(group);
        self.assignments.iter().filter(of_group).map(|assignment| assignment.app_role.as_deref()).collect()
    }

    /// The roles of the app: the declared ones and whatever else was assigned.
    pub(crate) fn declared_roles(&self) -> Vec<String> {
        let mut roles = self.app_roles.clone();
        for role in self.all_assignments().into_iter().filter_map(|assignment| assignment.app_role) {
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        roles
    }
}

/// The id under which Graph knows an app role; all zeros is default access.
pub(crate) fn app_role_id(app_role: Option<&str>) -> Uuid {
    app_role.map_or(Uuid::nil(), |value| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Sha256::digest(format!("app role {value}"))[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    })
}
