//! Troubleshooting: frequent questions, answered from the effective configuration.

use crate::config::Config;
use crate::domain::StoreKind;
use crate::policy::Limits;

const FLAG: &str = "litellm_settings.entra_groups_also_create_orgs";
const PRINCIPAL: &str = "entra.service_principal_id";
const ORGANIZATION: &str = "litellm_settings.default_team_params.organization_id";
const TEAM_BUDGET: &str = "litellm_settings.default_team_params.max_budget";
const USER_BUDGET: &str = "litellm_settings.default_internal_user_params.max_budget";

/// A question and its answer.
pub(super) struct Answer {
    pub(super) question: &'static str,
    pub(super) paragraphs: Vec<String>,
}

pub(super) fn answers(config: &Config) -> Vec<Answer> {
    vec![
        Answer { question: "Organizations are not being created?", paragraphs: organizations(config) },
        Answer { question: "A team is without an organization?", paragraphs: teams(config) },
        Answer { question: "A budget is not applied?", paragraphs: budgets(config) },
    ]
}

fn organizations(config: &Config) -> Vec<String> {
    let flag = with_origin(config, FLAG);
    let mut paragraphs = vec![if config.policy.also_create_orgs {
        format!(
            "{flag} is true: at a sign-in, each assigned group that has none yet gets an organization, and a team inside \
             it."
        )
    } else {
        format!(
            "{flag} is false: organizations are not created, and each assigned group becomes a standalone team. Set it to \
             true and restart the service; the next sign-in makes them."
        )
    }];
    paragraphs.push(if config.entra.service_principal_id.is_some() {
        "Only groups that are assigned to the enterprise app count. The check above says whether their list can be read."
            .to_owned()
    } else {
        format!("{} is not set: nothing is created, and people join only what exists.", with_origin(config, PRINCIPAL))
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
            "What exists is left as it is: a team that was there before organizations were switched on stays standalone. Its \
             group's organization is made beside it, and people join both."
                .to_owned(),
        );
        paragraphs.push(
            "A team subject organization the database refused is standalone too, and stays so. The failures of that sign-in's \
             sync record say why; the organization is tried again at each sign-in."
                .to_owned(),
        );
    } else if let Some(id) = default {
        paragraphs.push(format!(
            "{} is false, so new teams are made in the organization {id}: that is what {} says. Those that existed before \
             stay where they are.",
            with_origin(config, FLAG),
            with_origin(config, ORGANIZATION)
        ));
    } else {
        paragraphs.push(format!(
            "{} is false, so new teams are standalone. They stay so when it is switched on later: what exists is left as it \
             is.",
            with_origin(config, FLAG)
        ));
    }
    paragraphs
}

fn budgets(config: &Config) -> Vec<String> {
    let policy = &config.policy;
    let none = Limits::default();
    let team = policy.team_params.as_ref().map_or(&none, |params| &params.limits);
    let subject = if policy.also_create_orgs { "A new team, and a new organization," } else { "A new team" };
    vec![
        "The defaults are for what is made new. Organizations, teams and people that exist keep the budgets that they have: \
         change those where they are."
            .to_owned(),
        format!("{subject} gets {}: {}.", budget(team), with_origin(config, TEAM_BUDGET)),
        format!("A new person gets {}: {}.", budget(&policy.user_params.limits), with_origin(config, USER_BUDGET)),
    ]
}

fn budget(limits: &Limits) -> String {
    match (limits.max_budget, &limits.budget_duration) {
        (None, _) => "no budget".to_owned(),
        (Some(budget), None) => format!("a budget of {budget} US dollars that never starts anew"),
        (Some(budget), Some(duration)) => format!("a budget of {budget} US dollars each {duration}"),
    }
}

/// The key and the origin of its value.
fn with_origin(config: &Config, key: &str) -> String {
    let setting = config.settings.iter().find(|setting| setting.key == key);
    setting.map_or_else(|| key.to_owned(), |setting| format!("{key} ({})", setting.origin))
}
