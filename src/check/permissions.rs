//! Checks of the Graph permissions that only the reconciliation run needs. A missing one is a warning: users can sign in.

use secrecy::SecretString;

use super::Report;
use super::app::UNREACHABLE;
use crate::domain::GroupId;
use crate::graph::{Graph, GraphError};

const GROUP_MEMBERS: &str = "group members";
const ACCOUNTS: &str = "accounts";

/// Tries `GroupMember.Read.All` with an assigned group, if there is one, and `User.Read.All`.
pub(super) async fn check(report: &mut Report, graph: &Graph, token: &SecretString, group: Option<GroupId>) {
    report.start(GROUP_MEMBERS);
    let members = async {
        match group {
            Some(group) => Some(graph.try_group_members(token, group).await),
            None => None,
        }
    };
    let (members, accounts) = tokio::join!(members, graph.try_accounts(token));
    match members {
        Some(outcome) => report_read(
            report,
            GROUP_MEMBERS,
            outcome,
            "Add the application permission GroupMember.Read.All and grant admin consent. Without it, a user who leaves \
             a group keeps the access that it gave until the user's next sign-in",
        ),
        None => report.ok(GROUP_MEMBERS, "not checked: no assigned group is known"),
    }
    report_read(
        report,
        ACCOUNTS,
        accounts,
        "Add the application permission User.Read.All and grant admin consent. Without it, disabled and deleted accounts \
         are not noticed, and their sessions last until they expire",
    );
}

fn report_read(report: &mut Report, what: &str, outcome: Result<(), GraphError>, permission: &str) {
    match outcome {
        Ok(()) => report.ok(what, "can be read with the app's permissions"),
        Err(error) => {
            let denied = error.is_denied() || error == GraphError::LimitedInformation;
            report.warn(what, error.to_string(), if denied { permission } else { UNREACHABLE });
        }
    }
}
