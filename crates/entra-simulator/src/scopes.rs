//! Scopes: which exist, and which a token receives.

use crate::aadsts::EntraError;
use crate::directory::Directory;

const OPENID: [&str; 4] = ["openid", "profile", "email", "offline_access"];
/// Graph permissions that a sign-in service might request.
const GRAPH: [&str; 10] = [
    ".default",
    "User.Read",
    "User.ReadBasic.All",
    "User.Read.All",
    "GroupMember.Read.All",
    "Group.Read.All",
    "Directory.Read.All",
    "Application.Read.All",
    "AppRoleAssignment.ReadWrite.All",
    "Member.Read.Hidden",
];

/// Rejects unknown resources and permissions, as Entra does.
pub(crate) fn check(scopes: &[String], graph: &str, app_name: &str) -> Result<(), EntraError> {
    if !scopes.iter().any(|scope| scope == "openid") {
        // Entra would continue without an ID token, which a sign-in service never wants.
        let text = "The provided value for the input parameter 'scope' is not valid: this simulator wants 'openid'.";
        return Err(EntraError::new("invalid_scope", 70011, text));
    }
    for scope in scopes.iter().filter(|scope| !OPENID.contains(&scope.as_str())) {
        let (resource, permission) = match scope.rsplit_once('/') {
            Some((resource, permission)) => (resource.trim_end_matches('/'), permission),
            None => (graph, scope.as_str()),
        };
        if resource != graph {
            return Err(unknown_resource(resource));
        }
        if !GRAPH.contains(&permission) {
            let text = format!(
                "The application '{app_name}' asked for scope '{permission}' that doesn't exist on the resource \
                 '00000003-0000-0000-c000-000000000000'. Contact the app vendor."
            );
            return Err(EntraError::new("invalid_client", 650_053, text));
        }
    }
    Ok(())
}

/// Rejects all scopes except the one for app-only tokens.
pub(crate) fn check_app_only(scope: Option<&str>, graph: &str) -> Result<(), EntraError> {
    let scope = scope.unwrap_or_default();
    match scope.strip_suffix("/.default") {
        Some(resource) if resource.trim_end_matches('/') == graph => Ok(()),
        Some(resource) => Err(unknown_resource(resource)),
        None => Err(EntraError::new(
            "invalid_scope",
            1_002_012,
            format!(
                "The provided value for scope {scope} is not valid. Client credential flows must have a scope value \
                 with /.default suffixed to the resource identifier (application ID URI)."
            ),
        )),
    }
}

fn unknown_resource(resource: &str) -> EntraError {
    let text = format!(
        "The resource principal named {resource} was not found in the tenant. This can happen if the application has \
         not been installed by the administrator of the tenant or consented to by any user in the tenant."
    );
    EntraError::new("invalid_resource", 500_011, text)
}

/// The `scope` of the response: all consented permissions, which may be more or fewer than requested.
pub(crate) fn granted(asked: &[String], directory: &Directory, graph: &str) -> String {
    // `offline_access` results in a refresh token and is not listed.
    let mut granted: Vec<String> = ["email", "openid", "profile"]
        .into_iter()
        .filter(|scope| asked.iter().any(|one| one == scope))
        .map(str::to_owned)
        .collect();
    let permissions = &directory.app_permissions;
    let delegated = [
        ("User.Read", true),
        ("GroupMember.Read.All", permissions.delegated_group_member_read),
        ("Application.Read.All", permissions.delegated_application_read),
    ];
    granted.extend(delegated.iter().filter(|(_, on)| *on).map(|(name, _)| format!("{graph}/{name}")));
    granted.join(" ")
}
