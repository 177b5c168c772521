//! How a run ended, for the log, the metrics and the notifications.

use std::time::Duration;

use super::run::{Progress, Reconciliation, RunError};
use crate::db::{FinishedRun, RunStatus};
use crate::notifications::{Notification, Situation};
use crate::observability::metrics::RunResult;

/// Application permissions that a run may lack.
const PERMISSIONS: [&str; 3] = ["Application.Read.All", "GroupMember.Read.All", "User.Read.All"];

impl Reconciliation {
    /// Logs, counts and notifies.
    pub(super) fn tell(&self, run: &FinishedRun, progress: &Progress, error: Option<&RunError>, took: Duration) {
        log(run, progress.newly_held);
        self.measure(run, took);
        self.notify(run, progress, error);
    }

    fn measure(&self, run: &FinishedRun, took: Duration) {
        let metrics = &self.metrics;
        metrics.reconciliation_runs.add(match run.status {
            RunStatus::Done => RunResult::Done,
            RunStatus::Held => RunResult::Held,
            RunStatus::Incomplete => RunResult::Incomplete,
            RunStatus::Failed => RunResult::Failed,
            RunStatus::Interrupted => RunResult::Interrupted,
        });
        metrics.reconciliation_seconds.observe((), took);
    }

    fn notify(&self, run: &FinishedRun, progress: &Progress, error: Option<&RunError>) {
        // What an interrupted run could not read may be readable, and the next run begins soon.
        let interrupted = run.status == RunStatus::Interrupted;
        match error {
            _ if interrupted => {}
            Some(error) => self.notifier.send(Notification::RunFailed {
                run_id: run.run_id,
                code: error.code().to_owned(),
                message: run.error.clone().unwrap_or_default(),
            }),
            None => self.notifier.end(&Situation::RunFailed),
        }
        if let Some(missing) = progress.missing_permissions.as_ref().filter(|_| !interrupted) {
            for permission in PERMISSIONS {
                if missing.contains(permission) {
                    self.notifier.send(Notification::PermissionMissing { permission: permission.to_owned() });
                } else {
                    self.notifier.end(&Situation::PermissionMissing(permission.to_owned()));
                }
            }
        }
        if progress.disabled > 0 {
            self.notifier.send(Notification::AccountsDisabled { count: progress.disabled });
        }
        if let Some(hash) = progress.held_plan.as_ref().filter(|_| progress.newly_held) {
            self.notifier.send(Notification::RunHeld {
                run_id: run.run_id,
                plan_hash: hash.to_string(),
                changes: run.held,
                url: self.config.server.public_url.join("/changes").to_string(),
            });
        }
    }
}

fn log(run: &FinishedRun, newly_held: bool) {
    let FinishedRun { run_id, compared, added, removed, skipped, incomplete, held, error, .. } = run;
    match run.status {
        RunStatus::Failed => tracing::error!(%run_id, error, removed, "reconciliation failed"),
        RunStatus::Interrupted => tracing::warn!(%run_id, error, removed, "reconciliation interrupted"),
        RunStatus::Held if newly_held => {
            let help = "Look at the page Changes, or run entraway plan";
            tracing::warn!(%run_id, held, added, removed, help, "reconciliation holds removals: a limit was exceeded");
        }
        RunStatus::Incomplete => {
            tracing::warn!(%run_id, incomplete, added, removed, compared, "reconciliation could not read all groups");
        }
        RunStatus::Held => {
            tracing::info!(%run_id, held, added, removed, "reconciliation still holds the same removals");
        }
        RunStatus::Done if added + removed > 0 => {
            tracing::info!(%run_id, compared, added, removed, skipped, "reconciliation changed memberships");
        }
        RunStatus::Done => tracing::debug!(%run_id, compared, "reconciliation changed nothing"),
    }
}
