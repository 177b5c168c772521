//! Remedies for the operator if Entra rejects the app, by AADSTS number.
//!
//! List of the numbers: <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>.

use crate::config::ClientAuth;

const SECRET_WRONG: &str = "entra.client_secret: the client secret is wrong. Copy the secret's value, not its ID, from App \
                            registrations > Certificates & secrets, and restart";
const SECRET_EXPIRED: &str = "entra.client_secret: the client secret has expired. Create a new one in App registrations > \
                              Certificates & secrets, and restart";
const SECRET: &str = "entra.client_secret: the client secret is wrong or has expired. Use a secret's value, not its ID, or \
                      create a new one in App registrations > Certificates & secrets, and restart";
const CERTIFICATE: &str = "entra.certificate_file: upload this certificate under Certificates & secrets of the app \
                           registration, and check this machine's clock. No restart is needed";
const FEDERATED: &str = "entra.federated_token_file: the app registration needs a federated credential with the token's \
                         issuer, subject and audience; a new one takes effect after a few minutes";
const APP: &str = "entra.client_id: check that this app exists in the tenant and is enabled there";
const SCOPE: &str = "entra.graph_url, entra.cloud: check that Graph and the login host belong to the same cloud, and that the \
                     app has its API permissions";

/// The remedy for an error response of the token endpoint: OAuth error code and AADSTS number.
pub(super) fn for_refusal(error: &str, aadsts_number: Option<&str>, client_auth: &ClientAuth) -> &'static str {
    let by_client_auth = || match client_auth {
        ClientAuth::Secrets { .. } => SECRET,
        ClientAuth::Certificate(_) => CERTIFICATE,
        ClientAuth::FederatedToken(_) => FEDERATED,
    };
    match (aadsts_number, error) {
        (Some("7000215"), _) => SECRET_WRONG,
        (Some("7000222"), _) => SECRET_EXPIRED,
        (Some("70021" | "700211" | "700212" | "700213"), _) => FEDERATED,
        (Some("700016" | "70001" | "7000112"), _) | (_, "unauthorized_client") => APP,
        (_, "invalid_scope" | "invalid_resource") => SCOPE,
        // For an invalid assertion, Entra sometimes sends `invalid_grant` or `invalid_request`.
        (Some("50012" | "50013" | "50048" | "700024" | "700027"), _) | (_, "invalid_client") => by_client_auth(),
        _ => match client_auth {
            ClientAuth::FederatedToken(_) => FEDERATED,
            _ => APP,
        },
    }
}
