//! `budget_duration` as LiteLLM reads it, and the time of a budget's next reset.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, Duration, Months, NaiveDateTime, NaiveTime, Timelike, Utc};

/// Period of a budget: `30s`, `30m`, `30h`, `30d`, `1w`, `1mo`, or `hourly`, `daily`, `weekly`, `monthly`.
///
/// The text is preserved, because LiteLLM's column holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BudgetDuration {
    text: String,
    count: u32,
    unit: Unit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Second,
    Minute,
    Hour,
    Day,
    Month,
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BudgetDurationError {
    #[error(
        "is not a duration: write a whole number and one of s, m, h, d, w, mo (such as 30d), or 1mo for a calendar month"
    )]
    Malformed,
    #[error("must be greater than zero")]
    Zero,
    #[error("must be at most 100 years")]
    TooLong,
    #[error("only 1mo is supported: LiteLLM knows no other number of calendar months")]
    SeveralMonths,
}

impl FromStr for BudgetDuration {
    type Err = BudgetDurationError;

    /// Parses the whole text. LiteLLM's parsers match only a prefix and read `30days` in two ways.
    fn from_str(text: &str) -> Result<Self, BudgetDurationError> {
        let create = |count, unit| Self { text: text.to_owned(), count, unit };
        match text {
            "hourly" => return Ok(create(1, Unit::Hour)),
            "daily" => return Ok(create(24, Unit::Hour)),
            "weekly" => return Ok(create(7, Unit::Day)),
            "monthly" => return Ok(create(30, Unit::Day)),
            _ => {}
        }
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or(BudgetDurationError::Malformed)?;
        let (count, unit) = text.split_at(digits);
        let (unit, seconds, times) = match unit {
            "s" => (Unit::Second, 1, 1),
            "m" => (Unit::Minute, 60, 1),
            "h" => (Unit::Hour, 3_600, 1),
            "d" => (Unit::Day, 86_400, 1),
            "w" => (Unit::Day, 86_400, 7),
            "mo" => (Unit::Month, 86_400 * 30, 1),
            _ => return Err(BudgetDurationError::Malformed),
        };
        if count.is_empty() {
            return Err(BudgetDurationError::Malformed);
        }
        let count: u64 = count.parse::<u64>().map_err(|_| BudgetDurationError::TooLong)?;
        if count == 0 {
            return Err(BudgetDurationError::Zero);
        }
        if unit == Unit::Month && count != 1 {
            return Err(BudgetDurationError::SeveralMonths);
        }
        let count = count
            .checked_mul(times)
            .filter(|count| count.saturating_mul(seconds) <= 100 * 365 * 86_400)
            .and_then(|count| u32::try_from(count).ok())
            .ok_or(BudgetDurationError::TooLong)?;
        Ok(create(count, unit))
    }
}

impl fmt::Display for BudgetDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl BudgetDuration {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Next reset of a budget that starts at `now`, in UTC.
    ///
    /// By LiteLLM's rules, periods end at calendar units: `1d` at midnight, `7d` on Monday, `30d` on the first of the
    /// next month.
    #[must_use]
    pub fn next_reset(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let now = now.naive_utc();
        let midnight = now.date().and_time(NaiveTime::MIN);
        let hour = midnight + Duration::hours(i64::from(now.hour()));
        let minute = hour + Duration::minutes(i64::from(now.minute()));
        let reset = match (self.unit, self.count) {
            (Unit::Second, n) => next_multiple(minute, now.second(), n, 60, Duration::seconds(1)),
            (Unit::Minute, n) => next_multiple(hour, now.minute(), n, 60, Duration::minutes(1)),
            (Unit::Hour, n) => next_multiple(midnight, now.hour(), n, 24, Duration::hours(1)),
            (Unit::Day, 7) => midnight + Days::new(7 - u64::from(now.weekday().num_days_from_monday())),
            (Unit::Day, 30) | (Unit::Month, _) => midnight - Days::new(u64::from(now.day0())) + Months::new(1),
            (Unit::Day, n) => midnight + Days::new(u64::from(n)),
        };
        reset.and_utc()
    }
}

/// The next multiple of `n` units within a cycle (hours of a day, minutes of an hour).
///
/// As in LiteLLM, one beyond the end of the cycle wraps into the next: `36h` at 10:00 is 12:00 tomorrow.
fn next_multiple(start: NaiveDateTime, elapsed: u32, n: u32, cycle: u32, unit: Duration) -> NaiveDateTime {
    let next = (elapsed / n + 1) * n;
    let steps = if next < cycle { next } else { cycle + next % cycle };
    start + unit * i32::try_from(steps).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reset(duration: &str, now: &str) -> String {
        let now: DateTime<Utc> = now.parse().unwrap();
        duration.parse::<BudgetDuration>().unwrap().next_reset(now).format("%Y-%m-%dT%H:%M:%S").to_string()
    }

    #[test]
    fn budget_reset_matches_litellm() {
        let saturday = "2026-11-21T03:03:20Z";
        for (duration, expected) in [
            ("1d", "2026-11-22T00:00:00"),
            ("7d", "2026-11-23T00:00:00"),
            ("1w", "2026-11-23T00:00:00"),
            ("weekly", "2026-11-23T00:00:00"),
            ("14d", "2026-12-05T00:00:00"),
            ("2w", "2026-12-05T00:00:00"),
            ("30d", "2026-12-01T00:00:00"),
            ("monthly", "2026-12-01T00:00:00"),
            ("1mo", "2026-12-01T00:00:00"),
            ("24h", "2026-11-22T00:00:00"),
            ("daily", "2026-11-22T00:00:00"),
            ("48h", "2026-11-22T00:00:00"),
            ("1h", "2026-11-21T04:00:00"),
            ("hourly", "2026-11-21T04:00:00"),
            ("5h", "2026-11-21T05:00:00"),
            ("30m", "2026-11-21T03:30:00"),
            ("30s", "2026-11-21T03:03:30"),
            ("60d", "2027-01-20T00:00:00"),
        ] {
            assert_eq!(reset(duration, saturday), expected, "budget_duration {duration}");
        }
        assert_eq!(reset("36h", "2026-11-21T10:00:00Z"), "2026-11-22T12:00:00");
        assert_eq!(reset("7d", "2026-11-23T00:00:00Z"), "2026-11-30T00:00:00", "strictly after midnight on Monday");
        assert_eq!(reset("1mo", "2026-12-31T23:59:59Z"), "2027-01-01T00:00:00");
        assert_eq!(reset("30d", "2026-01-31T12:00:00Z"), "2026-02-01T00:00:00");
    }

    #[test]
    fn budget_reset_is_in_the_future() {
        for duration in ["1s", "7s", "90s", "1m", "45m", "90m", "1h", "7h", "36h", "1d", "7d", "30d", "61d", "1mo"] {
            for start in ["2026-02-28T23:59:59Z", "2024-02-29T00:00:00Z", "2026-11-21T03:03:20Z"] {
                let start: DateTime<Utc> = start.parse().unwrap();
                let at = duration.parse::<BudgetDuration>().unwrap().next_reset(start);
                assert!(at > start, "{duration} at {start}: {at}");
            }
        }
    }

    #[test]
    fn budget_duration_rejects_malformed_text() {
        for text in [
            "",
            "d",
            "30",
            "30 d",
            "30days",
            "-1d",
            "1.5h",
            "1y",
            "0d",
            "2mo",
            "99999999999999999999d",
            "40000d",
            "+3d",
        ] {
            assert!(text.parse::<BudgetDuration>().is_err(), "{text:?} must be rejected");
        }
    }
}
