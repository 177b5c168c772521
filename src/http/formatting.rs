//! Formats times, limits, models and IDs for pages. Times are UTC, since the time zone of the user is unknown.

use chrono::{DateTime, TimeDelta, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::db::RowLimits;
use crate::plan::ALL_ORG_MODELS;
use crate::sync_run::Denial;
pub(super) use crate::util::sanitize::pluralize;

/// `2 minutes ago`, `today 09:12 UTC`, `yesterday 17:02 UTC`, `2026-11-20 17:02 UTC`.
pub(super) fn ago(now: &DateTime<Utc>, then: &DateTime<Utc>) -> String {
    let age = *now - *then;
    let days = (now.date_naive() - then.date_naive()).num_days();
    match (age, days) {
        _ if age < -TimeDelta::minutes(1) => full(then),
        _ if age < TimeDelta::minutes(1) => "just now".to_owned(),
        _ if age < TimeDelta::minutes(2) => "1 minute ago".to_owned(),
        _ if age < TimeDelta::hours(1) => format!("{} minutes ago", age.num_minutes()),
        (_, 0) => then.format("today %H:%M UTC").to_string(),
        (_, 1) => then.format("yesterday %H:%M UTC").to_string(),
        _ => full(then),
    }
}

/// `2026-11-20 17:02 UTC`.
pub(super) fn full(time: &DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// For `<time datetime="…">`.
pub(super) fn machine(time: &DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Models of a team. `all-org-models` means those of its organization, whose list is `inherited`; `organization` is the
/// ID of the organization.
pub(super) fn team_models(models: &[String], organization: Option<&str>, inherited: Option<&[String]>) -> String {
    if !models.iter().any(|model| model == ALL_ORG_MODELS) {
        return self::models(models);
    }
    let own: Vec<&str> = models.iter().map(String::as_str).filter(|model| *model != ALL_ORG_MODELS).collect();
    match (organization, inherited) {
        (_, Some(inherited)) => format!("{} (inherited from its organization)", self::models(inherited)),
        (Some(_), None) => "the models of its organization".to_owned(),
        (None, None) if own.is_empty() => {
            format!("none: {ALL_ORG_MODELS} means the models of the team's organization, and it has no organization")
        }
        (None, None) => format!("{} ({ALL_ORG_MODELS} adds none: the team has no organization)", own.join(", ")),
    }
}

/// Models of a user or an organization. An empty list allows all.
pub(super) fn models(models: &[String]) -> String {
    if models.is_empty() { "all models".to_owned() } else { models.join(", ") }
}

/// A budget.
pub(super) fn budget(limits: &RowLimits) -> String {
    match (&limits.max_budget, &limits.budget_duration) {
        (None, _) => "no budget".to_owned(),
        (Some(max), Some(duration)) => format!("${max} per {}", period(duration)),
        (Some(max), None) => format!("${max}, never reset"),
    }
}

/// A duration in LiteLLM's notation, such as `30d`: `30 days`, or `day` for `1d`. Other texts are returned unchanged.
pub(super) fn period(duration: &str) -> String {
    let (number, unit) = duration.split_at(duration.find(|c: char| !c.is_ascii_digit()).unwrap_or(duration.len()));
    let unit = match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        _ => return duration.to_owned(),
    };
    match number.parse::<u32>() {
        Ok(1) => unit.to_owned(),
        Ok(number) => pluralize(number, unit),
        Err(_) => duration.to_owned(),
    }
}

/// Time of the next reset of a budget, if it is reset.
pub(super) fn reset(limits: &RowLimits) -> Option<&DateTime<Utc>> {
    limits.max_budget.and(limits.budget_duration.as_ref()).and(limits.budget_reset_at.as_ref())
}

/// Tokens and requests per minute.
pub(super) fn rates(limits: &RowLimits) -> String {
    match (limits.tpm_limit, limits.rpm_limit) {
        (None, None) => "no limit".to_owned(),
        (Some(tokens), None) => format!("{} per minute", counted(tokens, "token")),
        (None, Some(requests)) => format!("{} per minute", counted(requests, "request")),
        (Some(tokens), Some(requests)) => {
            format!("{} and {} per minute", counted(tokens, "token"), counted(requests, "request"))
        }
    }
}

/// `10,000`.
pub(super) fn thousands(number: i64) -> String {
    let mut text = number.to_string();
    let first_digit = usize::from(number < 0);
    // From the right, before each third digit.
    for at in (first_digit + 1..text.len()).rev().skip(2).step_by(3) {
        text.insert(at, ',');
    }
    text
}

/// `1 token`, `10,000 tokens`.
fn counted(number: i64, one: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {one}{plural}", thousands(number))
}

/// The source of a membership.
pub(super) fn source(source: &str) -> &'static str {
    if source == "entra" { "From Entra" } else { "Manual" }
}

/// The outcome in a sync record.
pub(super) fn outcome(outcome: &str) -> &'static str {
    let denials = [Denial::NoGroup, Denial::GroupsUnknown, Denial::EmailDomain, Denial::OtherTenant];
    match denials.into_iter().find(|denial| denial.as_str() == outcome) {
        Some(Denial::NoGroup) => "denied: in no assigned group",
        Some(Denial::GroupsUnknown) => "denied: a group is required, but the groups are unknown",
        Some(Denial::EmailDomain) => "denied: e-mail domain not allowed",
        Some(Denial::OtherTenant) => "denied: the user ID belongs to a user of another tenant",
        None if outcome == "signed_in" => "signed in",
        None => "denied",
    }
}

/// All characters that a path segment has to encode.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Encodes an ID as a path segment.
pub(super) fn segment(id: &str) -> String {
    utf8_percent_encode(id, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_formatted_relative_to_now() {
        let at = |text: &str| DateTime::parse_from_rfc3339(text).unwrap().to_utc();
        let now = at("2026-11-26T10:30:00Z");
        for (then, said) in [
            ("2026-11-26T10:29:30Z", "just now"),
            ("2026-11-26T10:30:20Z", "just now"),
            ("2026-11-26T10:28:30Z", "1 minute ago"),
            ("2026-11-26T10:20:00Z", "10 minutes ago"),
            ("2026-11-26T09:12:00Z", "today 09:12 UTC"),
            ("2026-11-25T17:02:00Z", "yesterday 17:02 UTC"),
            ("2026-11-24T23:59:00Z", "2026-11-24 23:59 UTC"),
            ("2026-11-27T00:00:00Z", "2026-11-27 00:00 UTC"),
        ] {
            assert_eq!(ago(&now, &at(then)), said, "{then}");
        }
        assert_eq!(ago(&at("2026-11-26T00:10:00Z"), &at("2026-11-25T23:50:00Z")), "20 minutes ago");
    }

    #[test]
    fn team_models_explain_all_org_models() {
        let own = ["gpt-4".to_owned()];
        let inherits = [ALL_ORG_MODELS.to_owned()];
        let both = [&own[..], &inherits].concat();
        let organization = Some("o");
        assert_eq!(team_models(&own, organization, Some(&[])), "gpt-4");
        assert_eq!(models(&[]), "all models");
        assert_eq!(team_models(&inherits, organization, Some(&own)), "gpt-4 (inherited from its organization)");
        assert_eq!(team_models(&inherits, organization, Some(&[])), "all models (inherited from its organization)");
        assert_eq!(team_models(&inherits, organization, None), "the models of its organization");
        let standalone = "none: all-org-models means the models of the team's organization, and it has no organization";
        assert_eq!(team_models(&inherits, None, None), standalone);
        assert_eq!(team_models(&both, None, None), "gpt-4 (all-org-models adds none: the team has no organization)");
    }

    #[test]
    fn budget_period_is_spelled_out() {
        let periods = ["30d", "1d", "12h", "1mo", "daily", "", "99999999999d"].map(period);
        assert_eq!(periods, ["30 days", "day", "12 hours", "month", "daily", "", "99999999999d"]);
    }

    #[test]
    fn rate_of_one_is_singular() {
        let limits = |tpm_limit, rpm_limit| RowLimits {
            max_budget: None,
            budget_duration: None,
            budget_reset_at: None,
            tpm_limit,
            rpm_limit,
        };
        assert_eq!(rates(&limits(Some(1), Some(10_000))), "1 token and 10,000 requests per minute");
        assert_eq!(rates(&limits(None, Some(1))), "1 request per minute");
    }

    #[test]
    fn numbers_and_segments_are_formatted() {
        assert_eq!([0, 999, 1_000, 1_234_567, -1_000].map(thousands), ["0", "999", "1,000", "1,234,567", "-1,000"]);
        assert_eq!(["a b/c", "ä@b", "x-1_2.3~"].map(segment), ["a%20b%2Fc", "%C3%A4%40b", "x-1_2.3~"]);
    }
}
