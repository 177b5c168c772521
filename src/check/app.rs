//! Checks of the app: its credentials, whether Entra accepts them, and its Graph permissions.

use chrono::{DateTime, Utc};

use super::{Report, permissions};
use crate::config::{ClientAuth, Config};
use crate::domain::TenantId;
use crate::graph::{Graph, GraphError};
use crate::oidc::{AppTokenError, Credentials, Entra, TokenError};
use crate::plan::Groups;
use crate::sync::service_principal;
use crate::util::sanitize::error_chain;

const AUTHENTICATION: &str = "app authentication";
const CREDENTIALS: &str = "client credentials";
const ASSIGNED_GROUPS: &str = "assigned groups";
/// Help for failures of Graph that no setting of the app causes.
pub(super) const UNREACHABLE: &str =
    "Check entra.graph_url and entra.cloud, and that this machine can reach Graph. Then try again";

/// Reports the kind of credentials, and whether they expire soon.
pub(super) async fn check_credentials(report: &mut Report, entra: &Entra, now: DateTime<Utc>) {
    let credentials = match entra.credentials().await {
        Ok(credentials) => credentials,
        Err(error) => return report.fail(AUTHENTICATION, format!("the file {error}"), error.help()),
    };
    let found = match &credentials {
        Credentials::OneSecret => "with a client secret".to_owned(),
        Credentials::TwoSecrets => "with one of two client secrets".to_owned(),
        Credentials::Certificate { thumbprint, expires_at } => {
            format!("with the certificate {thumbprint}, which expires on {}", expires_at.format("%Y-%m-%d"))
        }
        Credentials::FederatedToken => "with a federated token, read from its file at each use".to_owned(),
    };
    report.ok(AUTHENTICATION, found);
    if let Some(warning) = credentials.warning(now) {
        let help = "Create a new one, upload it to the app registration, and then replace entra.certificate_file. No \
                      restart is needed";
        report.warn(AUTHENTICATION, warning, help);
    }
}

/// Checks the app's credentials and Graph permissions in a tenant.
pub(super) async fn check_app(report: &mut Report, config: &Config, entra: &Entra, graph: &Graph, tenant: TenantId) {
    report.start(CREDENTIALS);
    let token = entra.app_token(tenant).await;
    for (index, error) in entra.rejected_secrets(tenant).await.unwrap_or_default() {
        let which = if index == 0 { "first" } else { "second" };
        let found = format!("the {which} of the two client secrets: {error}{}", aadsts(&error));
        report.warn(CREDENTIALS, found, "Correct it, or remove it from the configuration");
    }
    let token = match token {
        Ok(token) => {
            report.ok(CREDENTIALS, format!("Entra issues a token for tenant {tenant}"));
            token
        }
        Err(error) => {
            let code = match &*error {
                AppTokenError::Token(error) => aadsts(error),
                _ => String::new(),
            };
            let found = format!("{}{code}", error_chain(&*error));
            return report.fail(CREDENTIALS, found, help(&error, &config.entra.client_auth));
        }
    };
    let Some(principal) = service_principal(&config.entra) else {
        return report.warn(
            ASSIGNED_GROUPS,
            "entra.service_principal_id is not set: no organizations and teams are created, and users are only added to \
             existing teams",
            "Set entra.service_principal_id to the object ID of the enterprise app (not of the app registration)",
        );
    };
    report.start(ASSIGNED_GROUPS);
    let assigned = graph.assigned_groups(&token, &principal).await;
    let group = assigned.iter().flatten().map(|(id, _)| *id).next();
    report_assigned(report, assigned);
    permissions::check(report, graph, &token, group).await;
}

fn report_assigned(report: &mut Report, assigned: Result<Groups, GraphError>) {
    let error = match assigned {
        Ok(groups) if groups.is_empty() => {
            return report.warn(
                ASSIGNED_GROUPS,
                "no group is assigned to the app, so users are added to no team",
                "Assign groups in the Entra admin center under Enterprise apps > your app > Users and groups",
            );
        }
        Ok(groups) => {
            return report.ok(ASSIGNED_GROUPS, format!("{} can be read with the app's permissions", groups.len()));
        }
        Err(error) => error,
    };
    let help = match error {
        GraphError::Forbidden { .. } | GraphError::Unauthorized { .. } => {
            "Add the application permission Application.Read.All and grant admin consent. Until then the user's token is \
             tried, which has this permission for few users"
        }
        GraphError::NotFound { .. } => {
            "Set entra.service_principal_id to the object ID under Enterprise apps, not the one under App registrations"
        }
        _ => UNREACHABLE,
    };
    report.fail(ASSIGNED_GROUPS, error.to_string(), help);
}

/// The AADSTS error code in parentheses, or nothing.
fn aadsts(error: &TokenError) -> String {
    error.aadsts_number().map(|number| format!(" (AADSTS{number})")).unwrap_or_default()
}

fn help(error: &AppTokenError, client_auth: &ClientAuth) -> &'static str {
    match error {
        AppTokenError::Token(error) => error.help(client_auth),
        AppTokenError::Provider(error) => error.help(),
        AppTokenError::Endpoint => "Check entra.authority_url",
    }
}
