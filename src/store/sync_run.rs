//! The sync record: one row a sign-in.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::domain::GroupId;
use crate::plan::{Applied, Directory, Note, Reading};

/// What one sign-in's sync read, wrote, left alone and failed at.
#[derive(Debug)]
pub struct SyncRun {
    pub started_at: DateTime<Utc>,
    pub directory: Directory,
    pub applied: Applied,
    pub notes: Vec<Note>,
    pub graph_time: Duration,
    pub store_time: Duration,
}

/// A list as the record keeps it: its state, its length if it is known, and why not if it is not.
pub(super) struct ListRecord<'a> {
    pub(super) state: &'static str,
    pub(super) read: Option<i32>,
    pub(super) why: Option<&'a str>,
}

impl<'a> ListRecord<'a> {
    pub(super) fn new(reading: Option<&'a Reading>) -> Self {
        match reading {
            None => Self { state: "not_configured", read: None, why: None },
            Some(Reading::Known(groups)) => Self { state: "known", read: i32::try_from(groups.len()).ok(), why: None },
            Some(Reading::Unknown(unknown)) => Self { state: "unknown", read: None, why: Some(&unknown.said) },
        }
    }
}

pub(super) fn texts(ids: &BTreeSet<GroupId>) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
