//! The hash that identifies a held plan.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Change;
use super::gate::hex;

/// SHA-256 of the held changes, as 64 lowercase hexadecimal digits. Another set of held changes has another hash, so an
/// approval is for exactly one plan.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct PlanHash(String);

/// A text that is not a plan's hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the 64 hexadecimal digits of a plan's hash")]
pub struct InvalidPlanHash;

impl PlanHash {
    /// The hash of these changes in any order; `None` without changes. It covers what is removed and why, but no evidence:
    /// one more member in a group makes no other plan.
    pub(super) fn of<'a>(changes: impl Iterator<Item = &'a Change>) -> Option<Self> {
        let mut lines: Vec<String> = changes
            .map(|Change { target, user, cause, group, .. }| {
                let cause: &str = cause.into();
                // An ID in a LiteLLM database can be any text, so its length precedes it.
                format!("{} {} {} {user} {cause} {group}\n", target.kind, target.id.len(), target.id)
            })
            .collect();
        lines.sort_unstable();
        (!lines.is_empty()).then(|| Self(hex(&Sha256::digest(lines.concat()))))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PlanHash {
    type Err = InvalidPlanHash;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for PlanHash {
    type Error = InvalidPlanHash;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_hash = text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_hash.then_some(Self(text)).ok_or(InvalidPlanHash)
    }
}

impl fmt::Display for PlanHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
