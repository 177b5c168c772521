//! The JSON that Graph sends, and nothing else.

use serde::Deserialize;

use crate::domain::{GroupId, display_name};

/// One page of a collection. Without `value` it is none: an error that came as 200 is no empty list.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) value: Vec<T>,
    #[serde(rename = "@odata.nextLink")]
    pub(super) next_link: Option<String>,
}

/// An entry of `memberOf`: a group, a directory role, an administrative unit, or what else Graph may come to list.
#[derive(Deserialize)]
#[serde(tag = "@odata.type")]
pub(super) enum DirectoryObject {
    #[serde(rename = "#microsoft.graph.group")]
    Group {
        id: GroupId,
        /// Null where the app may read the ids only.
        #[serde(rename = "displayName", default)]
        display_name: Option<String>,
    },
    #[serde(other)]
    NoGroup,
}

impl DirectoryObject {
    pub(super) fn into_group(self) -> Option<(GroupId, Option<String>)> {
        match self {
            Self::Group { id, display_name: name } => Some((id, name.as_deref().and_then(display_name))),
            Self::NoGroup => None,
        }
    }
}

/// An entry of `appRoleAssignedTo`.
#[derive(Deserialize)]
#[serde(tag = "principalType")]
pub(super) enum AppRoleAssignment {
    Group {
        #[serde(rename = "principalId")]
        id: GroupId,
        #[serde(rename = "principalDisplayName", default)]
        display_name: Option<String>,
    },
    /// A person or a service principal.
    #[serde(other)]
    NoGroup,
}

impl AppRoleAssignment {
    pub(super) fn into_group(self) -> Option<(GroupId, Option<String>)> {
        match self {
            Self::Group { id, display_name: name } => Some((id, name.as_deref().and_then(display_name))),
            Self::NoGroup => None,
        }
    }
}
