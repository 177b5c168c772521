//! Domain types: IDs, e-mail addresses, roles. Validated when created; no I/O.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;
use uuid::fmt::Hyphenated;

/// The text is not a GUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("is not a GUID such as 00000000-0000-0000-0000-000000000000")]
pub struct InvalidGuid;

/// Defines an Entra ID. Entra's IDs are GUIDs; case has no meaning, so they are parsed once and written in lower case.
macro_rules! guid {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(#[serde(with = "uuid::serde::hyphenated")] Uuid);

        impl $name {
            #[must_use]
            pub fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidGuid;
            fn from_str(text: &str) -> Result<Self, InvalidGuid> {
                // `Uuid` itself also accepts braces, `urn:uuid:` and bare digits.
                text.parse().map(|id: Hyphenated| Self(id.into_uuid())).map_err(|_| InvalidGuid)
            }
        }
        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

guid! {
    /// ID of an Entra tenant: the `tid` claim.
    TenantId
}
guid! {
    /// ID of a user in a tenant: the `oid` claim, Graph's `id` and our `user_id`.
    ObjectId
}
guid! {
    /// Object ID of an Entra group; also the ID of its organization and team.
    GroupId
}

/// Identity of a user in Entra. This pair is the key; e-mail address and names are only attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Identity {
    pub tenant_id: TenantId,
    pub object_id: ObjectId,
}

/// An e-mail address in lower case. `Debug` is redacted: addresses must not be logged.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Email(String);

impl Email {
    /// Parses a single address that all programs read in the same way.
    ///
    /// Returns `None` for none or several `@`, lists, quotes, brackets, comments, white space, invisible characters,
    /// and more than 320 bytes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (local, domain) = text.split_once('@')?;
        let plain = !text.contains(is_invisible) && !domain.contains('@') && !text.contains(&['"', '\\'][..]);
        let plain = plain && !text.contains(&['(', ')', '<', '>', '[', ']', ',', ':', ';'][..]);
        (plain && !local.is_empty() && !domain.is_empty() && text.len() <= 320).then(|| Self(text.to_lowercase()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The domain of the user's home tenant, in lower case: the part after `@`, or of a guest
    /// (`gus_fabrikam.com#EXT#@contoso.onmicrosoft.com`) the guest's own domain.
    ///
    /// Entra builds a guest's name from the address, with `_` for `@`. A domain contains no `_`, so the last one
    /// counts. `None` if a guest's domain is ambiguous. Source:
    /// <https://learn.microsoft.com/entra/external-id/user-properties>.
    #[must_use]
    pub fn home_domain(&self) -> Option<&str> {
        const GUEST: &str = "#ext#";
        let (local, domain) = self.0.split_once('@')?;
        if !local.contains(GUEST) {
            return Some(domain);
        }
        let (address, own) = local.strip_suffix(GUEST)?.rsplit_once('_')?;
        let labels = own.contains('.') && own.split('.').all(|label| !label.is_empty());
        (labels && !address.is_empty() && !address.contains(GUEST) && !own.contains('#')).then_some(own)
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

/// A text from the database that may be an e-mail address. `Debug` is redacted.
///
/// In a LiteLLM database a user's key need not be a GUID, and an address need not be in the form of [`Email`].
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Redacted(String);

impl Redacted {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Redacted {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redacted(…)")
    }
}

/// Unicode characters that are blank, or only join, separate or reorder the characters around them.
#[rustfmt::skip]
const INVISIBLE: [std::ops::RangeInclusive<char>; 17] = [
    '\u{ad}'..='\u{ad}', '\u{34f}'..='\u{34f}', '\u{61c}'..='\u{61c}', '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}', '\u{180b}'..='\u{180f}', '\u{200b}'..='\u{200f}', '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}', '\u{2800}'..='\u{2800}', '\u{3164}'..='\u{3164}', '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}', '\u{ffa0}'..='\u{ffa0}', '\u{fff9}'..='\u{fffb}', '\u{e0000}'..='\u{e0fff}',
    '\u{1d173}'..='\u{1d17a}',
];

/// Whether a character is invisible.
fn is_invisible(c: char) -> bool {
    c.is_whitespace() || c.is_control() || INVISIBLE.iter().any(|range| range.contains(&c))
}

/// Whether a character controls the text around it: terminal control, line break, bidirectional override.
#[must_use]
pub fn is_control_or_bidi(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{206f}')
}

/// Cleans a display name for a text column and a page: trimmed, without control and bidi characters (Postgres rejects
/// NUL), at most 256 characters (Entra's limit). `None` if nothing visible is left.
#[must_use]
pub fn display_name(text: &str) -> Option<String> {
    let clean: String = text.chars().filter(|c| !is_control_or_bidi(*c)).collect();
    let clean: String = clean.trim().chars().take(256).collect();
    (!clean.chars().all(is_invisible)).then_some(clean)
}

/// Which program's tables hold organizations, teams and users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum StoreKind {
    /// Our own, in the schema `entraway`.
    #[default]
    Native,
    /// LiteLLM's, in the schema `public` of its database.
    LiteLlm,
}

/// A role that decides what a user may see. The names are LiteLLM's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UserRole {
    // Lowest rank first: `role_precedence: highest` takes the maximum.
    InternalUserViewer,
    InternalUser,
    OrgAdmin,
    ProxyAdminViewer,
    ProxyAdmin,
}

impl UserRole {
    /// All roles, highest rank first.
    pub const ALL: [Self; 5] =
        [Self::ProxyAdmin, Self::ProxyAdminViewer, Self::OrgAdmin, Self::InternalUser, Self::InternalUserViewer];

    /// Name in LiteLLM, in Entra's app roles and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProxyAdmin => "proxy_admin",
            Self::ProxyAdminViewer => "proxy_admin_viewer",
            Self::OrgAdmin => "org_admin",
            Self::InternalUser => "internal_user",
            Self::InternalUserViewer => "internal_user_viewer",
        }
    }

    /// Parses a role name, ignoring case, as LiteLLM does, and surrounding white space, because databases and
    /// configurations are edited by hand.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_app_role(text.trim())
    }

    /// Parses an app role, a value of the `roles` claim. Ignores case, but does not trim: a value that only looks like
    /// a role in the Entra admin center is not one.
    #[must_use]
    pub fn from_app_role(value: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str().eq_ignore_ascii_case(value))
    }

    /// Whether this is an operator role, which sees everything.
    #[must_use]
    pub fn is_operator(self) -> bool {
        matches!(self, Self::ProxyAdmin | Self::ProxyAdminViewer)
    }

    /// The role to write into the store's user row.
    ///
    /// LiteLLM rejects `org_admin` as a global role (`/user/update` answers 422, `/key/generate` 401). Its row gets
    /// `internal_user`, and the organization memberships get `org_admin`.
    #[must_use]
    pub fn in_row(self, store: StoreKind) -> Self {
        match (store, self) {
            (StoreKind::LiteLlm, Self::OrgAdmin) => Self::InternalUser,
            _ => self,
        }
    }
}

impl fmt::Display for UserRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Claims of a verified ID token.
#[derive(Clone, Debug)]
pub struct EntraUser {
    pub identity: Identity,
    /// The sign-in name if it is an e-mail address, else the `mail` attribute.
    pub email: Option<Email>,
    /// The sign-in address, if its domain is verified by the user's tenant.
    pub sign_in_address: Option<Email>,
    pub name: Option<String>,
    /// Values of the `roles` claim, unparsed, in the claim's order.
    pub app_roles: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn email_parser_rejects_ambiguous_addresses() {
        for (text, domain) in [
            ("Alice.Arden@Contoso.example", "contoso.example"),
            (" o'brien+llm/x=y@a-b.co\n", "a-b.co"),
            ("gus_fabrikam.com#EXT#@contoso.onmicrosoft.com", "fabrikam.com"),
            ("jürgen@bücher.example", "bücher.example"),
        ] {
            let email = Email::parse(text).unwrap_or_else(|| panic!("{text:?} must be an address"));
            assert_eq!((email.as_str(), email.home_domain()), (text.trim().to_lowercase().as_str(), Some(domain)));
        }
        for text in [
            "",
            "@",
            "alice",
            "alice@",
            "@contoso.example",
            "a@b@c",
            "a@b,c@d",
            "a@b;c@d",
            "<a@b>",
            "a <a@b>",
            "\"a\"@b",
            "a\\@b",
            "a@[10.0.0.1]",
            "a(b)@c",
            "mailto:a@b",
            "a b@c",
            "a\n@b",
            "a\0@b",
            "a\u{200b}@b",
            "a@\u{202e}b",
            "a@b\u{ad}c",
            &format!("{}@b", "x".repeat(320)),
        ] {
            assert_eq!(Email::parse(text), None, "{text:?} must not be an address");
        }
    }

    #[test]
    fn home_domain_of_guest_is_their_own() {
        for (text, domain) in [
            ("x_evil.example#EXT#@contoso.onmicrosoft.com", Some("evil.example")),
            ("x_evil.example#ext#@contoso.onmicrosoft.com", Some("evil.example")),
            ("first_last_mail.fabrikam.com#EXT#@contoso.onmicrosoft.com", Some("mail.fabrikam.com")),
            ("eve_contoso.onmicrosoft.com_evil.example#EXT#@contoso.onmicrosoft.com", Some("evil.example")),
            // The domain is ambiguous.
            ("evil.example#EXT#@contoso.onmicrosoft.com", None),
            ("x_localhost#EXT#@contoso.onmicrosoft.com", None),
            ("x_#EXT#@contoso.onmicrosoft.com", None),
            ("_evil.example#EXT#@contoso.onmicrosoft.com", None),
            ("x_evil..example#EXT#@contoso.onmicrosoft.com", None),
            ("x_evil.example#EXT#1@contoso.onmicrosoft.com", None),
            ("x_evil.example#EXT#y_contoso.com#EXT#@contoso.onmicrosoft.com", None),
            ("#EXT#@contoso.onmicrosoft.com", None),
        ] {
            let email = Email::parse(text).unwrap_or_else(|| panic!("{text:?} must be an address"));
            assert_eq!(email.home_domain(), domain, "{text}");
        }
    }

    #[test]
    fn app_role_matches_in_any_case_but_exactly() {
        for value in ["proxy_admin", "PROXY_ADMIN", "pRoXy_AdMiN"] {
            assert_eq!(UserRole::from_app_role(value), Some(UserRole::ProxyAdmin), "{value:?}");
        }
        for value in [" proxy_admin", "proxy_admin ", "proxy_admin\n", "\u{a0}proxy_admin", "proxy-admin", ""] {
            assert_eq!(UserRole::from_app_role(value), None, "{value:?}");
        }
    }
}
