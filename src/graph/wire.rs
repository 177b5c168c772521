//! JSON types of Graph's responses.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::{GroupId, ObjectId, display_name};

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

/// An object of which only the ID counts.
#[derive(Deserialize)]
pub(super) struct Reference {
    pub(super) id: ObjectId,
}

/// A group by `GET /groups/{id}`.
#[derive(Deserialize)]
pub(super) struct GroupObject {
    pub(super) id: GroupId,
    #[serde(rename = "displayName", default)]
    pub(super) display_name: Option<String>,
    /// Null for groups that are not Microsoft 365 groups.
    #[serde(default)]
    pub(super) visibility: Option<String>,
}

/// A user by `GET /users/{id}`.
#[derive(Deserialize)]
pub(super) struct Account {
    pub(super) id: ObjectId,
    /// Null if the app may only read IDs.
    #[serde(rename = "accountEnabled", default)]
    pub(super) enabled: Option<bool>,
}

/// An entry of a member list. Type and ID are required, so that an entry without them is not skipped.
#[derive(Deserialize)]
pub(super) struct Member {
    #[serde(rename = "@odata.type")]
    pub(super) kind: String,
    pub(super) id: ObjectId,
    /// Of a user. Null if the app may only read IDs.
    #[serde(rename = "accountEnabled", default)]
    pub(super) enabled: Option<bool>,
}

/// Body of `POST /$batch`.
#[derive(Serialize)]
pub(super) struct BatchRequest<'a> {
    pub(super) requests: Vec<BatchRequestItem<'a>>,
}

/// One request of a batch.
#[derive(Serialize)]
pub(super) struct BatchRequestItem<'a> {
    pub(super) id: String,
    pub(super) method: &'static str,
    /// Relative to the version.
    pub(super) url: &'a str,
    pub(super) headers: BTreeMap<&'static str, &'static str>,
}

/// Response of a batch, in any order.
#[derive(Deserialize)]
pub(super) struct BatchResponse<'a> {
    #[serde(borrow)]
    pub(super) responses: Vec<BatchResponseItem<'a>>,
}

/// One response of a batch.
#[derive(Deserialize)]
pub(super) struct BatchResponseItem<'a> {
    pub(super) id: String,
    pub(super) status: u16,
    #[serde(default)]
    pub(super) headers: Option<BTreeMap<String, Value>>,
    #[serde(borrow, default)]
    pub(super) body: Option<&'a RawValue>,
}

impl BatchResponseItem<'_> {
    /// A header by its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.headers.as_ref()?;
        headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).and_then(|(_, value)| value.as_str())
    }
}
