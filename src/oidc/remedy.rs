//! What the operator can do where Entra rejects the app itself: one sentence for each of Entra's numbers that has one.
//!
//! The numbers are Microsoft's: <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>.

use crate::config::ClientAuth;

const SECRET_WRONG: &str = "entra.client_secret: the client secret is wrong. Copy the secret's value, not its ID, from App \
                            registrations > Certificates & secrets, and restart";
const SECRET_EXPIRED: &str = "entra.client_secret: the client secret has expired. Create a new one in App registrations > \
                              Certificates & secrets, and restart";
const SECRET: &str = "entra.client_secret: the client secret is wrong or has expired. Use a secret's value, not its ID, or \
                      create a new one in App registrations > Certificates & secrets, and restart";
const CERTIFICATE: &str = "entra.certificate_file: is this certificate uploaded under Certificates & secrets of the app \
                           registration, and is this machine's clock right? No restart is needed";
const FEDERATED: &str = "entra.federated_token_file: the app registration needs a federated credential with the token's own \
                         issuer, subject and audience; a new one counts after some minutes";
const APP: &str = "entra.client_id: is client_id an app of this tenant, and is it enabled there?";
const SCOPE: &str = "entra.graph_url, entra.cloud: are Graph and the login host of the same cloud, and does the app have its \
                     API permissions?";

/// The remedy for an answer of the token endpoint: its OAuth error code and Entra's number.
pub(super) fn of_refusal(error: &str, number: Option<&str>, client_auth: &ClientAuth) -> &'static str {
    let by_client_auth = || match client_auth {
        ClientAuth::Secrets { .. } => SECRET,
        ClientAuth::Certificate(_) => CERTIFICATE,
        ClientAuth::FederatedToken(_) => FEDERATED,
    };
    match (number, error) {
        (Some("7000215"), _) => SECRET_WRONG,
        (Some("7000222"), _) => SECRET_EXPIRED,
        (Some("70021" | "700211" | "700212" | "700213"), _) => FEDERATED,
        (Some("700016" | "70001" | "7000112"), _) | (_, "unauthorized_client") => APP,
        (_, "invalid_scope" | "invalid_resource") => SCOPE,
        // An assertion that is no good is `invalid_grant` or `invalid_request` at times.
        (Some("50012" | "50013" | "50048" | "700024" | "700027"), _) | (_, "invalid_client") => by_client_auth(),
        _ => match client_auth {
            ClientAuth::FederatedToken(_) => FEDERATED,
            _ => APP,
        },
    }
}
