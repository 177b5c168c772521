//! Troubleshooting: frequent questions, answered from the effective configuration.

use crate::config::Config;
use crate::domain::StoreKind;
use crate::http::formatting::period;
use crate::policy::Limits;

const FLAG: &str = "litellm_settings.entra_groups_also_create_orgs";
const PRINCIPAL: &str = "entra.service_principal_id";
const ORGANIZATION: &str = "litellm_settings.default_team_params.organization_id";
const TEAM_BUDGET: &str = "litellm_settings.default_team_params.max_budget";
const USER_BUDGET: &str = "litellm_settings.default_internal_user_params.max_budget";

/// A question and its answer.
pub(super) struct Entry {
    pub(super) question: &'static str,
    pub(super) paragraphs: Vec<String>,
}

pub(super) fn troubleshooting(config: &Config) -> Vec<Entry> {
    vec![
        Entry { question: "Organizations are not being created?", paragraphs: organizations(config) },
        Entry { question: "A team is without an organization?", paragraphs: teams(config) },
        Entry { question: "A budget is not applied?", paragraphs: budgets(config) },
    ]
}

fn organizations(config: &Config) -> Vec<String> {
    let flag = with_origin(config, FLAG);
    let mut paragraphs = vec![if config.policy.also_create_orgs {
        format!(
            "{flag} is true: at a sign-in, each assigned group that has none yet gets an organization with a team in it."
        )
    } else {
        format!(
            "{flag} is false: organizations are not created, and each assigned group becomes a standalone team. Set it to \
             true and restart the service; the next sign-in creates them."
        )
    }];
    paragraphs.push(if config.entra.service_principal_id.is_some() {
        "Only groups that are assigned to the enterprise app count. The check above says whether their list can be read."
            .to_owned()
    } else {
        format!("{} is not set: nothing is created, and users are only added to existing teams.", with_origin(config, PRINCIPAL))
    });
    paragraphs
}

fn teams(config: &Config) -> Vec<String> {
    let policy = &config.policy;
    let default = policy.team_params.as_ref().and_then(|params| params.organization_id.as_ref());
    let default = default.filter(|_| config.store == StoreKind::LiteLlm && !policy.also_create_orgs);
    let mut paragraphs = Vec::new();
    if policy.also_create_orgs {
        paragraphs.push(
            "Existing teams are not changed: a team that was created before organizations were enabled stays standalone. The \
             organization of its group is created separately, and users are added to both."
                .to_owned(),
        );
        paragraphs.push(
            "A team whose organization the database rejected is standalone, too, and stays standalone. The sync record of \
             that sign-in has the error. Each sign-in tries to create the organization again."
                .to_owned(),
        );
    } else if let Some(id) = default {
        paragraphs.push(format!(
            "{} is false, so new teams are created in the organization {id}, as set by {}. Existing teams are not changed.",
            with_origin(config, FLAG),
            with_origin(config, ORGANIZATION)
        ));
    } else {
        paragraphs.push(format!(
            "{} is false, so new teams are standalone. They stay standalone if it is enabled later: existing teams are not \
             changed.",
            with_origin(config, FLAG)
        ));
    }
    paragraphs
}

fn budgets(config: &Config) -> Vec<String> {
    let policy = &config.policy;
    let none = Limits::default();
    let team = policy.team_params.as_ref().map_or(&none, |params| &params.limits);
    let subject = if policy.also_create_orgs { "A new team or organization" } else { "A new team" };
    vec![
        "The defaults apply to new objects. Existing organizations, teams and users keep their budgets until you change each of them."
            .to_owned(),
        format!("{subject} gets {}: {}.", budget(team), with_origin(config, TEAM_BUDGET)),
        format!("A new user gets {}: {}.", budget(&policy.user_params.limits), with_origin(config, USER_BUDGET)),
    ]
}

fn budget(limits: &Limits) -> String {
    match (limits.max_budget, &limits.budget_duration) {
        (None, _) => "no budget".to_owned(),
        (Some(budget), None) => format!("a budget of ${budget}, never reset"),
        (Some(budget), Some(duration)) => format!("a budget of ${budget} per {}", period(&duration.to_string())),
    }
}

/// The key and the origin of its value.
fn with_origin(config: &Config, key: &str) -> String {
    let setting = config.settings.iter().find(|setting| setting.key == key);
    setting.map_or_else(|| key.to_owned(), |setting| format!("{key} ({})", setting.origin))
}
