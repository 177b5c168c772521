//! JSON types of Graph's responses.

use serde::Deserialize;

use crate::domain::{GroupId, display_name};

/// One page of a collection. `value` is required, so that an error with status 200 is not read as an empty list.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) value: Vec<T>,
    #[serde(rename = "@odata.nextLink")]
    pub(super) next_link: Option<String>,
}

/// An entry of `memberOf`: a group, a directory role, an administrative unit or another type.
#[derive(Deserialize)]
#[serde(tag = "@odata.type")]
pub(super) enum DirectoryObject {
    #[serde(rename = "#microsoft.graph.group")]
    Group {
        id: GroupId,
        /// Null if the app may only read IDs.
        #[serde(rename = "displayName", default)]
        display_name: Option<String>,
    },
    #[serde(other)]
    Other,
}

impl DirectoryObject {
    pub(super) fn into_group(self) -> Option<(GroupId, Option<String>)> {
        match self {
            Self::Group { id, display_name: name } => Some((id, name.as_deref().and_then(display_name))),
            Self::Other => None,
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
    /// A user or a service principal.
    #[serde(other)]
    Other,
}

impl AppRoleAssignment {
    pub(super) fn into_group(self) -> Option<(GroupId, Option<String>)> {
        match self {
            Self::Group { id, display_name: name } => Some((id, name.as_deref().and_then(display_name))),
            Self::Other => None,
        }
    }
}
