//! Reconciliation: the managed memberships of all users, the lease under which one replica runs, records of runs, and held
//! plans.

mod accounts;
mod additions;
mod apply;
mod held_plans;
mod lease;
mod memberships;
mod runs;

pub(super) use accounts::restore_account;
pub use accounts::{AccountRun, AppliedAccounts};
pub use apply::{ApplyingRun, RemovedMembers};
pub(super) use apply::{MemberLocks, lock_users};
pub use held_plans::{Decided, Decision, HeldPlan};
pub(super) use lease::check as check_lease;
pub use lease::{LEASE_DURATION, Lease};
pub use runs::{FinishedRun, RunStatus, RunTrigger, Schedule};
