//! Times, limits, models and ids as people read them. Times are UTC: the server does not know where somebody sits.

use chrono::{DateTime, TimeDelta, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::plan::ALL_ORG_MODELS;
use crate::store::RowLimits;

/// `2 minutes ago`, `today 09:12 UTC`, `yesterday 17:02 UTC`, `2026-11-20 17:02 UTC`.
pub(in crate::web) fn ago(now: &DateTime<Utc>, then: &DateTime<Utc>) -> String {
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
pub(in crate::web) fn full(time: &DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// For `<time datetime="…">`.
pub(in crate::web) fn machine(time: &DateTime<Utc>) -> String {
    time.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// What may be used: `[]` is everything, and `all-org-models` whatever the organization may use.
pub(in crate::web) fn models(models: &[String], organization: Option<&[String]>) -> String {
    if !models.iter().any(|model| model == ALL_ORG_MODELS) {
        return listed(models);
    }
    match organization {
        Some(of_organization) => format!("{} (inherited from its organization)", listed(of_organization)),
        None => "those of its organization".to_owned(),
    }
}

fn listed(models: &[String]) -> String {
    if models.is_empty() { "all models".to_owned() } else { models.join(", ") }
}

/// The budget in words.
pub(in crate::web) fn budget(limits: &RowLimits) -> String {
    match (&limits.max_budget, &limits.budget_duration) {
        (None, _) => "no budget".to_owned(),
        (Some(max), Some(duration)) => format!("{max} USD each {duration}"),
        (Some(max), None) => format!("{max} USD, never reset"),
    }
}

/// When a budget begins anew, where there is one that does.
pub(in crate::web) fn reset(limits: &RowLimits) -> Option<&DateTime<Utc>> {
    limits.max_budget.and(limits.budget_duration.as_ref()).and(limits.budget_reset_at.as_ref())
}

/// Tokens and requests a minute in words.
pub(in crate::web) fn rates(limits: &RowLimits) -> String {
    match (limits.tpm_limit, limits.rpm_limit) {
        (None, None) => "no limit".to_owned(),
        (Some(tokens), None) => format!("{} tokens a minute", thousands(tokens)),
        (None, Some(requests)) => format!("{} requests a minute", thousands(requests)),
        (Some(tokens), Some(requests)) => {
            format!("{} tokens and {} requests a minute", thousands(tokens), thousands(requests))
        }
    }
}

/// `10,000`.
pub(in crate::web) fn thousands(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

/// `1 team`, `3 teams`.
pub(in crate::web) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

/// Where a membership came from.
pub(in crate::web) fn source(source: &str) -> &'static str {
    if source == "entra" { "from Entra" } else { "by hand" }
}

/// Whether a sign-in went well, and why not.
pub(in crate::web) fn outcome(outcome: &str) -> &'static str {
    match outcome {
        "signed_in" => "signed in",
        "no_group" => "refused: in no assigned group",
        "groups_unknown" => "refused: a group is required, and Microsoft did not tell the groups",
        "email_domain" => "refused: the address is of no allowed domain",
        "other_tenant" => "refused: the id belongs to a person of another tenant",
        _ => "refused",
    }
}

/// Everything but what a path's segment may hold as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// An id as a segment of a path.
pub(in crate::web) fn segment(id: &str) -> String {
    utf8_percent_encode(id, SEGMENT).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_as_a_person_would() {
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
    fn a_team_of_an_organization_shows_the_organizations_models_and_says_so() {
        let own = ["gpt-4".to_owned()];
        let inherits = [ALL_ORG_MODELS.to_owned()];
        assert_eq!(models(&own, Some(&[])), "gpt-4");
        assert_eq!(models(&[], None), "all models");
        assert_eq!(models(&inherits, Some(&own)), "gpt-4 (inherited from its organization)");
        assert_eq!(models(&inherits, Some(&[])), "all models (inherited from its organization)");
        assert_eq!(models(&inherits, None), "those of its organization");
    }

    #[test]
    fn numbers_and_ids_are_written_for_where_they_stand() {
        assert_eq!([0, 999, 1_000, 1_234_567, -1_000].map(thousands), ["0", "999", "1,000", "1,234,567", "-1,000"]);
        assert_eq!(["a b/c", "ä@b", "x-1_2.3~"].map(segment), ["a%20b%2Fc", "%C3%A4%40b", "x-1_2.3~"]);
    }
}
