//! Changes of users and groups over time, as an administrator makes them in the Entra admin center.

use uuid::Uuid;

use crate::directory::{Directory, Member, Principal};
use crate::ids::{GroupId, ObjectId};

impl Directory {
    /// Disables or enables the account. A disabled user stays in all groups and cannot sign in (AADSTS50057).
    pub fn set_account_enabled(&mut self, person: ObjectId, enabled: bool) {
        self.change_person(person, |person| person.disabled = !enabled);
    }

    /// Soft-deletes the user: Graph shows them only among the deleted items. Their memberships and assignments come
    /// back with [`Directory::restore_person`]. Returns `false` if the user does not exist.
    pub fn soft_delete_person(&mut self, person: ObjectId) -> bool {
        let found = self.people.iter().position(|user| user.id == person);
        if let Some(index) = found {
            let user = self.people.remove(index);
            self.deleted_people.push(user);
        }
        found.is_some()
    }

    /// Restores a soft-deleted user. Returns `false` if the user is not among the deleted items.
    pub fn restore_person(&mut self, person: ObjectId) -> bool {
        let found = self.deleted_people.iter().position(|user| user.id == person);
        if let Some(index) = found {
            let user = self.deleted_people.remove(index);
            self.people.push(user);
        }
        found.is_some()
    }

    /// Deletes the user permanently, with all memberships and assignments.
    pub fn delete_person(&mut self, person: ObjectId) {
        self.people.retain(|user| user.id != person);
        self.deleted_people.retain(|user| user.id != person);
        let lists = self.groups.iter_mut().map(|group| &mut group.members);
        for members in lists.chain(self.other_objects.iter_mut().map(|other| &mut other.members)) {
            members.retain(|member| *member != Member::User(person));
        }
        self.assignments.retain(|assignment| assignment.principal != Principal::User(person));
    }

    /// Changes the group's display name.
    pub fn rename_group(&mut self, group: GroupId, name: &str) {
        self.change_group(group, |group| name.clone_into(&mut group.name));
    }

    /// Removes all direct members of the group.
    pub fn empty_group(&mut self, group: GroupId) {
        self.change_group(group, |group| group.members.clear());
    }

    /// Deletes the app's service principal with its assignments, and creates a new one, as when an administrator removes
    /// the enterprise app and adds it again.
    pub fn replace_service_principal(&mut self) {
        self.service_principal_id = Uuid::new_v4().to_string();
        self.assignments.clear();
        for person in &mut self.people {
            person.app_roles.clear();
        }
    }
}
