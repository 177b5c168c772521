//! Derived data of the directory: direct and transitive memberships, and the app roles that result.

use std::collections::{HashMap, HashSet};

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::ids::{GroupId, ObjectId, TenantId};

use crate::code::Authority;
use crate::directory::{Assignment, Directory, Group, Member, OtherKind, OtherObject, Principal, User};

/// An object that `memberOf` can return.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Object<'a> {
    Group(&'a Group),
    Other(&'a OtherObject),
}

impl Directory {
    /// Finds a user by object ID or user principal name.
    pub(crate) fn find_person(&self, id_or_upn: &str) -> Option<&User> {
        let id = id_or_upn.parse::<ObjectId>().ok();
        self.people.iter().find(|person| Some(person.id) == id || person.upn.eq_ignore_ascii_case(id_or_upn))
    }

    /// Finds the user of an entry in a member list, of which there may be very many.
    pub(crate) fn find_member(&self, id: ObjectId) -> Option<&User> {
        let index = || self.people.iter().enumerate().map(|(at, person)| (person.id, at)).collect();
        let at = *self.people_by_id.get_or_init(index).get(&id)?;
        self.people.get(at)
    }

    /// Finds a group by ID.
    pub(crate) fn find_group(&self, id: GroupId) -> Option<&Group> {
        self.groups.iter().find(|group| group.id == id)
    }

    /// Tenant in the user's `tid` claim.
    pub(crate) fn tenant_of(&self, person: &User) -> TenantId {
        person.tenant_id.unwrap_or(self.tenant_id)
    }

    /// Parses the tenant segment of a path: a tenant with users in it, or an endpoint for all tenants.
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

    /// Whether the app registered this exact redirect URI.
    pub(crate) fn may_redirect_to(&self, uri: &str) -> bool {
        self.redirect_uris.is_empty() || self.redirect_uris.iter().any(|registered| registered == uri)
    }

    /// Objects the user is a direct member of.
    pub(crate) fn direct(&self, person: ObjectId) -> Vec<Object<'_>> {
        let member = Member::User(person);
        let groups = self.groups.iter().filter(|group| group.members.contains(&member)).map(Object::Group);
        let others = self.other_objects.iter().filter(|other| other.members.contains(&member)).map(Object::Other);
        groups.chain(others).collect()
    }

    /// Objects the user is a member of, directly or through nested groups.
    pub(crate) fn transitive(&self, person: ObjectId) -> Vec<Object<'_>> {
        let mut inside: HashSet<GroupId> = HashSet::new();
        let mut open: Vec<Member> = vec![Member::User(person)];
        while let Some(member) = open.pop() {
            for group in self.groups.iter().filter(|group| group.members.contains(&member)) {
                // Nested groups can form a cycle.
                if inside.insert(group.id) {
                    open.push(Member::Group(group.id));
                }
            }
        }
        let groups = self.groups.iter().filter(|group| inside.contains(&group.id)).map(Object::Group);
        let others = self.other_objects.iter().filter(|other| {
            other.members.iter().any(|member| match member {
                Member::User(id) => *id == person,
                // A group's directory role applies to its members; an administrative unit does not.
                Member::Group(id) => inside.contains(id) && matches!(other.kind, OtherKind::DirectoryRole { .. }),
                Member::Device(_) | Member::Contact(_) | Member::ServicePrincipal(_) => false,
            })
        });
        groups.chain(others.map(Object::Other)).collect()
    }

    /// Members of a group that Graph v1.0 lists, with `nested` also those of groups in it. Without soft-deleted users,
    /// service principals, and the members of groups whose membership is hidden from the app.
    pub(crate) fn members_of(&self, group: &Group, nested: bool) -> Vec<Member> {
        let groups: HashMap<GroupId, &Group> = self.groups.iter().map(|group| (group.id, group)).collect();
        let deleted: HashSet<ObjectId> = self.deleted_people.iter().map(|person| person.id).collect();
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        let mut open = vec![group];
        while let Some(outer) = open.pop() {
            if outer.hidden_membership && !self.app_permissions.member_read_hidden {
                continue;
            }
            for member in &outer.members {
                let listed = match member {
                    Member::User(id) => !deleted.contains(id),
                    // Nested groups can form a cycle.
                    Member::Group(id) => *id != group.id && groups.contains_key(id),
                    Member::Device(_) | Member::Contact(_) => true,
                    Member::ServicePrincipal(_) => false,
                };
                if !listed || !seen.insert(*member) {
                    continue;
                }
                found.push(*member);
                if let Member::Group(id) = member
                    && nested
                {
                    open.extend(groups.get(id));
                }
            }
        }
        found
    }

    /// All assignments to the app, including users' own roles.
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

    /// Whether the assignment applies to the user: directly, or through a group with the user as a direct member.
    fn reaches(&self, assignment: &Assignment, person: ObjectId) -> bool {
        match assignment.principal {
            Principal::User(id) => id == person,
            Principal::Group(id) => {
                self.find_group(id).is_some_and(|group| group.members.contains(&Member::User(person)))
            }
            Principal::ServicePrincipal(_) => false,
        }
    }

    /// Whether the user has an assignment.
    pub(crate) fn is_assigned(&self, person: &User) -> bool {
        !person.app_roles.is_empty() || self.assignments.iter().any(|assignment| self.reaches(assignment, person.id))
    }

    /// Values of the `roles` claim, without duplicates.
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

    /// Roles of the group's assignments; `None` for default access.
    pub(crate) fn assigned_roles(&self, group: GroupId) -> Vec<Option<&str>> {
        let of_group = |assignment: &&Assignment| assignment.principal == Principal::Group(group);
        self.assignments.iter().filter(of_group).map(|assignment| assignment.app_role.as_deref()).collect()
    }

    /// Roles of the app: the declared ones and all others that were assigned.
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

/// Graph's ID of an app role; all zeros for default access.
pub(crate) fn app_role_id(app_role: Option<&str>) -> Uuid {
    app_role.map_or(Uuid::nil(), |value| {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&Sha256::digest(format!("app role {value}"))[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    })
}
