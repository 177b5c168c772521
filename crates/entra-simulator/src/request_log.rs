//! The request log, for assertions in tests.

use axum::http::HeaderMap;

/// Endpoint of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    Discovery,
    Keys,
    /// The account picker, and its result at `/simulator/authorize`.
    Authorize,
    Token,
    Logout,
    /// `/me`.
    Me,
    /// `/me/memberOf` and `/me/transitiveMemberOf`.
    MemberOf,
    ServicePrincipal,
    /// `appRoleAssignedTo` of a service principal.
    AssignedTo,
    /// `/groups/{id}`.
    Group,
    /// `/groups/{id}/members` and `/groups/{id}/transitiveMembers`.
    GroupMembers,
    /// `/users` and `/users/{id}`.
    User,
    /// `/directory/deletedItems`.
    DeletedItem,
    /// `/$batch`. Each request in it is logged too, with its own endpoint.
    Batch,
    /// The page at `/` and its forms.
    AdminPage,
    Other,
}

impl Endpoint {
    pub(crate) fn of(path: &str) -> Self {
        let graph = path.strip_prefix("/v1.0");
        match graph {
            Some("/me") => Self::Me,
            Some("/me/memberOf" | "/me/transitiveMemberOf") => Self::MemberOf,
            Some(rest) if rest.starts_with("/servicePrincipals") && rest.ends_with("/appRoleAssignedTo") => {
                Self::AssignedTo
            }
            Some(rest) if rest.starts_with("/servicePrincipals") => Self::ServicePrincipal,
            Some(rest) if rest.starts_with("/groups/") && rest.to_lowercase().ends_with("members") => {
                Self::GroupMembers
            }
            Some(rest) if rest.starts_with("/groups/") => Self::Group,
            Some(rest) if rest == "/users" || rest.starts_with("/users/") => Self::User,
            Some(rest) if rest.starts_with("/directory/deletedItems") => Self::DeletedItem,
            Some("/$batch") => Self::Batch,
            None if path == "/simulator/authorize" || path.ends_with("/oauth2/v2.0/authorize") => Self::Authorize,
            None if path.ends_with("/.well-known/openid-configuration") => Self::Discovery,
            None if path.ends_with("/discovery/v2.0/keys") => Self::Keys,
            None if path.ends_with("/oauth2/v2.0/token") => Self::Token,
            None if path.ends_with("/oauth2/v2.0/logout") => Self::Logout,
            None if path == "/" || path.starts_with("/simulator/admin/") => Self::AdminPage,
            Some(_) | None => Self::Other,
        }
    }

    /// Whether the endpoint is Graph's, not Entra's.
    pub(crate) fn is_graph(self) -> bool {
        match self {
            Self::Me
            | Self::MemberOf
            | Self::ServicePrincipal
            | Self::AssignedTo
            | Self::Group
            | Self::GroupMembers
            | Self::User
            | Self::DeletedItem
            | Self::Batch => true,
            Self::Discovery
            | Self::Keys
            | Self::Authorize
            | Self::Token
            | Self::Logout
            | Self::AdminPage
            | Self::Other => false,
        }
    }
}

/// Kinds of access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TokenKind {
    AppOnly,
    /// On behalf of a user.
    Delegated,
    /// Not issued by this simulator.
    Unknown,
}

/// Client authentication of a token request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppCredential {
    Secret(String),
    Assertion(String),
}

/// A logged request.
#[derive(Clone, Debug)]
pub struct LoggedRequest {
    pub endpoint: Endpoint,
    pub method: String,
    /// With the query, not decoded.
    pub path: String,
    /// Page number from one.
    pub page: usize,
    /// Kind of the bearer token; at the token endpoint, kind of the requested one.
    pub token: Option<TokenKind>,
    /// All in the form; HTTP Basic is not included.
    pub app_credentials: Vec<AppCredential>,
    /// The header `ConsistencyLevel`.
    pub consistency_level: Option<String>,
    /// The header `client-request-id`.
    pub client_request_id: Option<String>,
    /// The header `x-ms-throttle-priority`.
    pub throttle_priority: Option<String>,
    pub user_agent: Option<String>,
    /// Whether the request was sent inside a batch.
    pub in_batch: bool,
}

impl LoggedRequest {
    pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
        headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
    }
}
