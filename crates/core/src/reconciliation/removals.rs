//! What a run applies of its plan: the removals that no limit holds, by team and organization, with the facts that must still
//! hold when they are written.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use super::Reconciler;
use super::types::{Change, ReconciliationPlan, Target};
use crate::audit::{AuditAction, AuditActor, AuditEvent, AuditResult, AuditTarget, AuditTargetKind};
use crate::domain::{ObjectId, Redacted, TenantId};

/// The removals in one team or organization.
#[derive(Clone, Debug)]
pub struct TargetRemovals {
    pub target: Target,
    pub removals: Vec<MemberRemoval>,
    /// Administrators who stay and whose accounts may be enabled. If there are some, an administrator is removed only while
    /// one of them is still an administrator (rule 16).
    pub staying_admins: BTreeSet<ObjectId>,
}

/// One membership to remove.
#[derive(Clone, Debug)]
pub struct MemberRemoval {
    pub change: Change,
    pub tenant_id: TenantId,
    /// The membership's sources in the plan. With other sources it is left alone.
    pub sources: Vec<String>,
}

impl TargetRemovals {
    /// Whether an administrator is removed.
    #[must_use]
    pub fn removes_admin(&self) -> bool {
        self.removals.iter().any(|removal| removal.change.is_admin)
    }
}

impl Reconciler<'_> {
    /// The removals of a plan that no limit holds, in the plan's order: teams first, so that an organization's memberships
    /// end after those of its teams.
    #[must_use]
    pub fn removals(&self, plan: &ReconciliationPlan) -> Vec<TargetRemovals> {
        let changes: Vec<&Change> = plan.changes.iter().filter(|change| !change.held).collect();
        changes.chunk_by(|one, next| one.target == next.target).filter_map(|changes| self.of_target(changes)).collect()
    }

    fn of_target(&self, changes: &[&Change]) -> Option<TargetRemovals> {
        let target = &changes.first()?.target;
        let (members, admins) = if target.kind == "team" {
            self.stored.teams.get(&target.id).map(|team| (&team.members, &team.admins))?
        } else {
            self.stored.organizations.get(&target.id).map(|found| (&found.members, &found.admins))?
        };
        let sources: BTreeMap<ObjectId, &Vec<String>> =
            members.iter().map(|member| (member.user, &member.sources)).collect();
        let removals: Vec<MemberRemoval> = changes
            .iter()
            .filter_map(|change| {
                let tenant_id = self.stored.users.get(&change.user)?.identity.tenant_id;
                let sources = (*sources.get(&change.user)?).clone();
                Some(MemberRemoval { change: (*change).clone(), tenant_id, sources })
            })
            .collect();
        let leaving: BTreeSet<ObjectId> = removals.iter().map(|removal| removal.change.user).collect();
        let staying_admins = admins.difference(&leaving).copied().filter(|user| self.may_be_enabled(*user)).collect();
        Some(TargetRemovals { target: target.clone(), removals, staying_admins })
    }
}

impl Change {
    /// The audit event of the removal. `user_id` is the key of the user's row, `read_after` when the run began to read.
    #[must_use]
    pub fn audit_event(&self, run_id: Uuid, read_after: DateTime<Utc>, user_id: Redacted) -> AuditEvent {
        let (action, role) = match (self.target.kind, self.is_admin) {
            ("team", true) => (AuditAction::TeamMemberRemoved, Some("admin")),
            ("team", false) => (AuditAction::TeamMemberRemoved, Some("user")),
            (_, true) => (AuditAction::OrganizationMemberRemoved, Some("org_admin")),
            (_, false) => (AuditAction::OrganizationMemberRemoved, None),
        };
        let mut evidence = json!(self.evidence);
        evidence["read_after"] = json!(read_after);
        AuditEvent {
            actor: AuditActor::Job,
            run_id: Some(run_id),
            action,
            user_id: Some(user_id),
            object_id: Some(self.user),
            target: self.target.audit_target(),
            cause: Some(self.cause.into()),
            group: Some(self.group),
            before: role.map(|role| json!(role)),
            after: None,
            evidence: Some(evidence),
            result: AuditResult::Applied,
        }
    }

    /// The audit event of this many keys of the team that were blocked with the removal.
    #[must_use]
    pub fn keys_event(&self, run_id: Uuid, read_after: DateTime<Utc>, user_id: Redacted, keys: usize) -> AuditEvent {
        AuditEvent {
            action: AuditAction::KeysBlocked,
            before: None,
            after: Some(json!({ "keys": keys })),
            ..self.audit_event(run_id, read_after, user_id)
        }
    }
}

impl Target {
    fn audit_target(&self) -> AuditTarget {
        let kind = if self.kind == "team" { AuditTargetKind::Team } else { AuditTargetKind::Organization };
        AuditTarget { kind, id: Some(self.id.clone()), name: self.name.clone() }
    }
}
