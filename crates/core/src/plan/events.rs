//! The audit events of a sign-in's sync.

use serde_json::{Value, json};

use super::types::{Applied, KeptReason, Note, Plan, Removal, RemovalCause, RoleScope};
use super::{PlanScope, Planner};
use crate::audit::{AuditAction, AuditActor, AuditEvent, AuditResult, AuditTarget, AuditTargetKind};
use crate::domain::{GroupId, Redacted};
use crate::plan::GroupList;

impl Planner<'_> {
    /// The events of what was written.
    #[must_use]
    pub fn audit_events(&self, plan: &Plan, applied: &Applied) -> Vec<AuditEvent> {
        let mut events = Vec::new();
        if applied.user_created {
            events.push(self.event(applied, AuditAction::AccountCreated, AuditTargetKind::Account, None));
        }
        for group in &applied.teams_joined {
            let mut event =
                self.event(applied, AuditAction::TeamMemberAdded, AuditTargetKind::Team, Some(group.to_string()));
            event.target.name = self.name(*group);
            event.group = Some(*group);
            event.after = Some(json!("user"));
            events.push(event);
        }
        for id in &applied.organizations_joined {
            let action = AuditAction::OrganizationMemberAdded;
            let mut event = self.event(applied, action, AuditTargetKind::Organization, Some(id.clone()));
            event.group = id.parse().ok();
            event.target.name = event.group.and_then(|group| self.name(group));
            event.after = plan.add_to_organizations.get(id).map(|role| json!(role));
            events.push(event);
        }
        for (id, removal) in
            plan.remove_from_teams.iter().filter(|(id, _)| applied.removed_from_teams.contains_key(*id))
        {
            let event = self.event(applied, AuditAction::TeamMemberRemoved, AuditTargetKind::Team, Some(id.clone()));
            events.push(removed(event, removal));
        }
        let left = |id: &String| applied.removed_from_organizations.contains(id);
        for (id, removal) in plan.remove_from_organizations.iter().filter(|(id, _)| left(id)) {
            let action = AuditAction::OrganizationMemberRemoved;
            let event = self.event(applied, action, AuditTargetKind::Organization, Some(id.clone()));
            events.push(removed(event, removal));
        }
        let keys =
            [(AuditAction::KeysBlocked, &applied.keys_blocked), (AuditAction::KeysRestored, &applied.keys_restored)];
        for (action, teams) in keys {
            for (team, keys) in teams {
                let mut event = self.event(applied, action, AuditTargetKind::Team, Some(team.clone()));
                event.group = team.parse().ok();
                event.target.name = event.group.and_then(|group| self.name(group));
                event.after = Some(json!({ "keys": keys.len() }));
                events.push(event);
            }
        }
        for change in &plan.role_changes {
            let (kind, id) = match &change.scope {
                RoleScope::Global => (AuditTargetKind::Account, None),
                RoleScope::Organization(id) => (AuditTargetKind::Organization, Some(id.clone())),
            };
            let mut event = self.event(applied, AuditAction::RoleChanged, kind, id);
            event.before = change.before.as_ref().map(|role| json!(role));
            event.after = Some(json!(change.after));
            events.push(event);
        }
        events
    }

    /// The events of removals that a guard prevented. `user_id` is the key of the user's row.
    #[must_use]
    pub fn kept_events(&self, user_id: &Redacted, notes: &[Note]) -> Vec<AuditEvent> {
        let applied = Applied { user_id: user_id.clone(), ..Applied::default() };
        let kept = notes.iter().filter_map(|note| match note {
            Note::RemovalKept { kind, id, reason } => Some((*kind, id, *reason)),
            _ => None,
        });
        kept.filter_map(|(kind, id, reason)| {
            let cause = match reason {
                KeptReason::LastAdmin => "last_admin",
                KeptReason::ListedAdmin => "listed_admin",
                // Settings of the installation, which are no decision about this user.
                KeptReason::MissingPrivileges | KeptReason::OtherInstallation => return None,
            };
            let (action, kind) = match kind {
                "team" => (AuditAction::TeamMemberRemoved, AuditTargetKind::Team),
                _ => (AuditAction::OrganizationMemberRemoved, AuditTargetKind::Organization),
            };
            let mut event = self.event(&applied, action, kind, Some(id.clone()));
            event.group = id.parse().ok();
            event.target.name = event.group.and_then(|group| self.name(group));
            (event.cause, event.result) = (Some(cause), AuditResult::Kept);
            Some(event)
        })
        .collect()
    }

    fn event(
        &self,
        applied: &Applied,
        action: AuditAction,
        kind: AuditTargetKind,
        target_id: Option<String>,
    ) -> AuditEvent {
        AuditEvent {
            actor: match self.scope {
                PlanScope::SignIn | PlanScope::DeniedSignIn => AuditActor::SignIn,
                PlanScope::Additions => AuditActor::Job,
            },
            run_id: Some(self.run_id),
            action,
            user_id: Some(applied.user_id.clone()),
            object_id: Some(self.entra_user.identity.object_id),
            target: AuditTarget { kind, id: target_id, name: None },
            cause: None,
            group: None,
            before: None,
            after: None,
            evidence: Some(self.evidence()),
            result: AuditResult::Applied,
        }
    }

    /// The user's groups, or the groups' members, were read completely, after the sync began.
    fn evidence(&self) -> Value {
        let list = match self.scope {
            PlanScope::SignIn | PlanScope::DeniedSignIn => "member_of",
            PlanScope::Additions => "members",
        };
        json!({ "list": list, "read_after": self.now })
    }

    /// Name of an assigned group.
    fn name(&self, group: GroupId) -> Option<String> {
        match &self.directory.assigned {
            Some(GroupList::Known(groups)) => groups.get(&group)?.clone(),
            _ => match &self.directory.member_of {
                GroupList::Known(groups) => groups.get(&group)?.clone(),
                GroupList::Unknown(_) => None,
            },
        }
    }
}

/// Adds what a removal says.
fn removed(mut event: AuditEvent, removal: &Removal) -> AuditEvent {
    event.target.name.clone_from(&removal.name);
    event.before = removal.role.as_ref().map(|role| json!(role));
    (event.cause, event.group) = match removal.cause {
        RemovalCause::LeftGroup(group) => (Some("left_group"), Some(group)),
        RemovalCause::LastTeamLeft => (Some("last_team_left"), None),
    };
    event
}
