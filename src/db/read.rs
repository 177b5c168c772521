//! Queries for pages and `/api`: organizations, teams, users, sync records, reconciliation runs and audit events.
//!
//! Lists use keyset pagination along an index, so that a page costs the same however long the list is.

mod audit;
mod explain;
mod failed_sign_ins;
mod list;
mod memberships;
mod organizations;
mod reconciliation;
mod syncs;
mod teams;
mod users;

pub use audit::{ActionFilter, AuditFilter, AuditRow, UserKeys};
pub use failed_sign_ins::{FailedSignInFilter, FailedSignInRow};
pub use list::{Cursor, Key, PAGE_SIZE, Page, PagePosition, PageRequest, Sort};
pub use memberships::{Member, UserOrganization, UserTeam};
pub use organizations::Organization;
pub use reconciliation::{HeldPlanRow, RunRow, RunWithPlan};
pub use syncs::{FailedGroup, Hour, RoleChange, SyncFilter, SyncRow};
pub use teams::Team;
pub use users::{DisabledAccountRow, UserRow};

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Limits as stored: US dollars per `budget_duration`, tokens and requests per minute. `None` is no limit.
#[derive(Clone, Debug, PartialEq, Serialize, sqlx::FromRow)]
pub struct RowLimits {
    pub max_budget: Option<f64>,
    pub budget_duration: Option<String>,
    pub budget_reset_at: Option<DateTime<Utc>>,
    pub tpm_limit: Option<i64>,
    pub rpm_limit: Option<i64>,
}

/// Display name, else e-mail address, else ID.
pub(super) fn name_or_id<'a>(display_name: Option<&'a str>, email: Option<&'a str>, id: &'a str) -> &'a str {
    display_name.filter(|name| !name.trim().is_empty()).or(email).unwrap_or(id)
}
