//! JSON of directory objects in Graph.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::directory::{Directory, Group, GroupKind, Member, OtherKind, OtherObject, User};
use crate::membership::{Object, app_role_id};

const USER_TYPE: &str = "#microsoft.graph.user";

/// Properties of `/me` without `$select`.
pub(crate) const USER_DEFAULT: &[&str] = &[
    "businessPhones",
    "displayName",
    "givenName",
    "jobTitle",
    "mail",
    "mobilePhone",
    "officeLocation",
    "preferredLanguage",
    "surname",
    "userPrincipalName",
    "id",
];

/// Selectable properties of `/me`.
pub(crate) const USER_KNOWN: &[&str] = &[
    "businessPhones",
    "displayName",
    "givenName",
    "jobTitle",
    "mail",
    "mobilePhone",
    "officeLocation",
    "preferredLanguage",
    "surname",
    "userPrincipalName",
    "id",
    "accountEnabled",
    "userType",
    "externalUserState",
    "onPremisesSyncEnabled",
];

/// The user object with all selectable properties.
pub(crate) fn user(person: &User) -> Value {
    let (given, surname) = person.name.split_once(' ').unwrap_or((&person.name, ""));
    json!({
        "businessPhones": [],
        "displayName": person.name,
        "givenName": given,
        "jobTitle": null,
        "mail": person.email,
        "mobilePhone": null,
        "officeLocation": null,
        "preferredLanguage": "en-GB",
        "surname": surname,
        "userPrincipalName": person.upn,
        "id": person.id,
        "accountEnabled": !person.disabled,
        "userType": if person.guest { "Guest" } else { "Member" },
        "externalUserState": person.guest.then_some("Accepted"),
        "onPremisesSyncEnabled": null,
    })
}

/// An element of the list that `memberOf` returns.
pub(crate) fn directory_object(object: Object<'_>, directory: &Directory) -> Value {
    match object {
        Object::Group(found) => group(found, &directory.tenant_domain),
        Object::Other(found) => other(found),
    }
}

/// The same without permission to read it: values are null, lists are empty.
pub(crate) fn limited(object: Value) -> Value {
    let Value::Object(mut map) = object else { return object };
    for (name, value) in &mut map {
        if name != "id" && !name.starts_with("@odata.") {
            *value = if value.is_array() { json!([]) } else { Value::Null };
        }
    }
    Value::Object(map)
}

pub(crate) fn group(group: &Group, domain: &str) -> Value {
    let mail_enabled =
        matches!(group.kind, GroupKind::MailEnabledSecurity | GroupKind::Distribution | GroupKind::Microsoft365);
    let security_enabled = !matches!(group.kind, GroupKind::Distribution | GroupKind::Microsoft365);
    let unified = group.kind == GroupKind::Microsoft365;
    let dynamic = group.kind == GroupKind::Dynamic;
    let types: &[&str] = match group.kind {
        GroupKind::Microsoft365 => &["Unified"],
        GroupKind::Dynamic => &["DynamicMembership"],
        _ => &[],
    };
    let nickname: String = group.name.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    let mail = mail_enabled.then(|| format!("{nickname}@{domain}"));
    let proxies: Vec<String> = mail.iter().map(|mail| format!("SMTP:{mail}")).filter(|_| unified).collect();
    json!({
        "@odata.type": "#microsoft.graph.group",
        "id": group.id,
        "deletedDateTime": null,
        "classification": null,
        "createdDateTime": "2024-03-05T09:12:44Z",
        "description": null,
        "displayName": group.name,
        "expirationDateTime": null,
        "groupTypes": types,
        "isAssignableToRole": null,
        "mail": mail,
        "mailEnabled": mail_enabled,
        "mailNickname": nickname,
        "membershipRule": dynamic.then_some("(user.accountEnabled -eq true)"),
        "membershipRuleProcessingState": dynamic.then_some("On"),
        "onPremisesLastSyncDateTime": null,
        "onPremisesSamAccountName": null,
        "onPremisesSecurityIdentifier": null,
        "onPremisesSyncEnabled": null,
        "preferredDataLocation": null,
        "preferredLanguage": null,
        "proxyAddresses": proxies,
        "renewedDateTime": "2024-03-05T09:12:44Z",
        "resourceBehaviorOptions": [],
        "resourceProvisioningOptions": if unified { json!(["Team"]) } else { json!([]) },
        "securityEnabled": security_enabled,
        "securityIdentifier": security_identifier(&group.id.to_string()),
        "theme": null,
        "visibility": if group.hidden_membership { Some("HiddenMembership") } else { unified.then_some("Private") },
        "onPremisesProvisioningErrors": [],
    })
}

/// SID of a group in Entra: the GUID's bytes as four numbers.
fn security_identifier(id: &str) -> String {
    let bytes = Uuid::parse_str(id).unwrap_or_default().to_bytes_le();
    let numbers = bytes.chunks(4).map(|four| {
        let number = four.iter().rev().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
        number.to_string()
    });
    format!("S-1-12-1-{}", numbers.collect::<Vec<_>>().join("-"))
}

fn other(object: &OtherObject) -> Value {
    match object.kind {
        OtherKind::DirectoryRole { template_id } => json!({
            "@odata.type": "#microsoft.graph.directoryRole",
            "id": object.id,
            "deletedDateTime": null,
            "description": null,
            "displayName": object.name,
            "roleTemplateId": template_id,
        }),
        OtherKind::AdministrativeUnit => json!({
            "@odata.type": "#microsoft.graph.administrativeUnit",
            "id": object.id,
            "deletedDateTime": null,
            "displayName": object.name,
            "description": null,
            "visibility": null,
        }),
    }
}

/// A user in a list of different types.
pub(crate) fn typed_user(person: &User) -> Value {
    let mut all = user(person);
    all["@odata.type"] = json!(USER_TYPE);
    all
}

/// A member with only type and ID.
pub(crate) fn reference(member: Member) -> Value {
    let (kind, id) = match member {
        Member::User(id) => (USER_TYPE, id.as_uuid()),
        Member::Group(id) => ("#microsoft.graph.group", id.as_uuid()),
        Member::Device(id) => ("#microsoft.graph.device", id),
        Member::Contact(id) => ("#microsoft.graph.orgContact", id),
        Member::ServicePrincipal(id) => ("#microsoft.graph.servicePrincipal", id),
    };
    json!({ "@odata.type": kind, "id": id })
}

/// The app's service principal.
pub(crate) fn service_principal(directory: &Directory) -> Value {
    let roles: Vec<Value> = directory
        .declared_roles()
        .iter()
        .map(|role| {
            json!({
                "allowedMemberTypes": ["User", "Application"],
                "description": format!("May act as {role}"),
                "displayName": role,
                "id": app_role_id(Some(role)),
                "isEnabled": true,
                "origin": "Application",
                "value": role,
            })
        })
        .collect();
    json!({
        "id": directory.service_principal_id,
        "appId": directory.client_id,
        "displayName": directory.app_name,
        "accountEnabled": true,
        "appRoleAssignmentRequired": directory.assignment_required,
        "appRoles": roles,
        "servicePrincipalType": "Application",
        "signInAudience": "AzureADMultipleOrgs",
        "appOwnerOrganizationId": directory.tenant_id,
    })
}
