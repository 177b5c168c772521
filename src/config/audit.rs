//! The section `audit`: how long audit events are kept.

use std::fmt;
use std::time::Duration;

use humantime::format_duration;

use super::section::Section;

/// `audit`: settings of the audit log.
#[derive(Debug, Clone)]
pub struct Audit {
    /// Audit events are deleted after this time.
    pub retention: Duration,
}

const DAY: Duration = Duration::from_hours(24);
/// A year as humantime counts it: 365.25 days.
const YEAR: Duration = Duration::from_hours(24 * 365 + 6);

/// A year and a month, so that a yearly review has all events of its year.
const RETENTION: Duration = Duration::from_hours(24 * 400);

pub(super) fn audit(root: &mut Section) -> Audit {
    let mut section = root.section("audit");
    let range = 30 * DAY..=10 * YEAR;
    let Days(retention) = section.value("retention", Days(RETENTION), |item| item.duration(&range).map(Days));
    section.finish();
    Audit { retention }
}

/// A duration, shown in days if it is a number of days: `400days`, not `1year 1month 4days`.
struct Days(Duration);

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days = self.0.as_secs() / DAY.as_secs();
        if self.0 == Duration::from_secs(days * DAY.as_secs()) {
            write!(f, "{days}days")
        } else {
            write!(f, "{}", format_duration(self.0))
        }
    }
}
