//! The app's part: what it authenticates with, whether Entra takes that, and what it may read then.

use chrono::{DateTime, Utc};

use super::Report;
use crate::config::{ClientAuth, Config};
use crate::domain::TenantId;
use crate::graph::{Graph, GraphError};
use crate::oidc::{AppTokenError, Credentials, Entra, TokenError};
use crate::sync::service_principal;
use crate::util::sanitize::chain;

const STEP: &str = "app authentication";
const CREDENTIALS: &str = "client credentials";

/// What the app authenticates with, and whether that ends soon.
pub(super) async fn tell_credentials(report: &mut Report, entra: &Entra, now: DateTime<Utc>) {
    let credentials = match entra.credentials().await {
        Ok(credentials) => credentials,
        Err(error) => return report.fail(STEP, &format!("the file {error}"), error.remedy()),
    };
    let found = match &credentials {
        Credentials::OneSecret => "with a client secret".to_owned(),
        Credentials::TwoSecrets => "with one of two client secrets, whichever Entra takes".to_owned(),
        Credentials::Certificate { thumbprint, expires_at } => {
            format!("with the certificate {thumbprint}, which ends on {}", expires_at.format("%Y-%m-%d"))
        }
        Credentials::FederatedToken => "with a federated token, read from its file at each use".to_owned(),
    };
    report.ok(STEP, &found);
    if let Some(warning) = credentials.warning(now) {
        let remedy = "make a new one, upload it to the app registration, then put it into entra.certificate_file; it \
                      counts at once";
        report.warn(STEP, &warning, remedy);
    }
}

/// The app's own credentials, and what they may read.
pub(super) async fn check_app(report: &mut Report, config: &Config, entra: &Entra, graph: &Graph, tenant: TenantId) {
    report.awaits(CREDENTIALS);
    let token = entra.app_token(tenant).await;
    for (index, error) in entra.rejected_secrets(tenant).await.unwrap_or_default() {
        let which = if index == 0 { "first" } else { "second" };
        let found = format!("the {which} of the two client secrets: {error}{}", number(&error));
        report.warn(CREDENTIALS, &found, "mend it, or take it out of the configuration");
    }
    let token = match token {
        Ok(token) => {
            report.ok(CREDENTIALS, &format!("Entra gives the app a token in tenant {tenant}"));
            token
        }
        Err(error) => {
            let number = match &*error {
                AppTokenError::Token(error) => number(error),
                _ => String::new(),
            };
            let found = format!("{}{number}", chain(&*error));
            return report.fail(CREDENTIALS, &found, remedy(&error, &config.entra.client_auth));
        }
    };
    let Some(principal) = service_principal(&config.entra) else {
        return report.warn(
            "assigned groups",
            "service_principal_id is not set: nothing is created, people join only teams that exist already",
            "set entra.service_principal_id to the object id of the enterprise app (not of the app registration)",
        );
    };
    report.awaits("assigned groups");
    match graph.assigned_groups(&token, &principal).await {
        Ok(groups) if groups.is_empty() => report.warn(
            "assigned groups",
            "Graph lists none, so no group passes and nobody joins a team",
            "assign groups to the enterprise app: Entra admin center → Enterprise apps → your app → Users and groups",
        ),
        Ok(groups) => report.ok("assigned groups", &format!("{} can be read as the app", groups.len())),
        Err(error @ (GraphError::Forbidden { .. } | GraphError::Unauthorized { .. })) => report.fail(
            "assigned groups",
            &error.to_string(),
            "grant the application permission Application.Read.All and give admin consent; until then each person's \
             own token is tried, which Entra lets few people do",
        ),
        Err(error @ GraphError::NotFound { .. }) => report.fail(
            "assigned groups",
            &error.to_string(),
            "service_principal_id is the object id under Enterprise apps, not the one under App registrations",
        ),
        Err(error) => report.fail(
            "assigned groups",
            &error.to_string(),
            "can this machine reach Graph, and is entra.graph_url (or entra.cloud) right? If so, try again later",
        ),
    }
}

/// Entra's own number for what is the matter, which can be looked up.
fn number(error: &TokenError) -> String {
    error.aadsts_number().map(|number| format!(" (AADSTS{number})")).unwrap_or_default()
}

fn remedy(error: &AppTokenError, client_auth: &ClientAuth) -> &'static str {
    match error {
        AppTokenError::Token(error) => error.remedy(client_auth),
        AppTokenError::Provider(error) => error.remedy(),
        AppTokenError::Endpoint => "is entra.authority_url right?",
    }
}
