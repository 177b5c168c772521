//! The section `litellm_settings`, which may be a LiteLLM proxy's own: what is not ours in it is passed over.

use serde_json::{Map, Value as Json};

use super::problem::{Level, Problem, nearest, normal};
use super::reader::{Item, Reader};
use super::section::Section;
use super::tree::Value;
use crate::domain::{StoreKind, UserRole};
use crate::policy::{Limits, TeamParams, UserParams};

const ALSO_CREATE_ORGS: &str = "entra_groups_also_create_orgs";
const TEAM_PARAMS: &str = "default_team_params";
const USER_PARAMS: &str = "default_internal_user_params";

/// Where a proxy notes in a team's metadata which budget its members have.
const MEMBER_BUDGET: &str = "team_member_budget_id";

/// Every key of the section that counts here.
const OURS: [&str; 7] = [
    ALSO_CREATE_ORGS,
    TEAM_PARAMS,
    USER_PARAMS,
    "default_team_settings",
    "max_internal_user_budget",
    "default_max_internal_user_budget",
    "internal_user_budget_duration",
];

const DURATION_REMEDY: &str = "write such as 30d, 24h or 1mo";
const NATIVE: &str = "has no effect with the native store";

/// Known to LiteLLM in `default_team_params` and accepted, but not applied to the teams that Entraway creates.
const TEAM_KEYS_NOT_APPLIED: &[&str] = &["guardrails", "object_permission", "soft_budget", "tpd_limit"];

/// Likewise in `default_internal_user_params`. LiteLLM's own page for these defaults offers `teams`.
const USER_KEYS_NOT_APPLIED: &[&str] = &["guardrails", "object_permission", "soft_budget", "teams"];

/// Known to LiteLLM in `default_team_params`, and not supported here.
const TEAM_KEYS_OF_LITELLM: &[&str] = &[
    "admins",
    "allow_team_guardrail_config",
    "allowed_passthrough_routes",
    "allowed_vector_store_indexes",
    "blocked",
    "budget_limits",
    "default_estimated_output_tokens",
    "default_estimated_output_tokens_per_model",
    "default_team_member_models",
    "denied_passthrough_routes",
    "disable_global_guardrails",
    "enforced_batch_output_expires_after",
    "enforced_file_expires_after",
    "logging",
    "max_parallel_requests",
    "mcp_rpm_limit",
    "members",
    "members_with_roles",
    "model_aliases",
    "model_max_budget",
    "model_rpm_limit",
    "model_tpm_limit",
    "policies",
    "prompts",
    "require_trace_id",
    "router_settings",
    "rpm_limit_type",
    "secret_manager_settings",
    "team_alias",
    "team_id",
    "team_member_key_duration",
    "team_member_model_max_budget",
    "tpm_limit_type",
];

/// Known to LiteLLM in `default_internal_user_params`, and not supported here.
const USER_KEYS_OF_LITELLM: &[&str] = &[
    "agent_id",
    "aliases",
    "allowed_cache_controls",
    "blocked",
    "budget_fallbacks",
    "budget_limits",
    "config",
    "max_parallel_requests",
    "mcp_rpm_limit",
    "metadata",
    "model_max_budget",
    "model_rpm_limit",
    "model_tpm_limit",
    "organizations",
    "password",
    "permissions",
    "policies",
    "prompts",
    "spend",
    "tag_rpm_limit",
    "team_id",
];

/// Known to LiteLLM there, and of no consequence to a person: what concerns a key or a letter, which single sign-on never
/// makes; who they are, which Entra says; and the teams on offer, which the proxy itself reads.
const USER_KEYS_WITHOUT_EFFECT: &[&str] = &[
    "auto_create_key",
    "available_teams",
    "duration",
    "key_alias",
    "send_invite_email",
    "sso_user_id",
    "user_alias",
    "user_email",
    "user_id",
];

/// What of the section is ours.
pub(super) struct Settings {
    pub(super) also_create_orgs: bool,
    pub(super) team_params: Option<TeamParams>,
    pub(super) user_params: UserParams,
}

pub(super) fn settings<'a>(root: &mut Section<'a>, store: StoreKind, reader: &mut Reader<'a>) -> Settings {
    let mut section = root.section("litellm_settings", reader);
    let also_create_orgs = section.take_or_env(ALSO_CREATE_ORGS, "ENTRA_GROUPS_ALSO_CREATE_ORGS", reader);
    let team_params = section.take(TEAM_PARAMS);
    let user_params = section.take(USER_PARAMS);
    let team_settings = section.take("default_team_settings");
    let max_budgets = [section.take("max_internal_user_budget"), section.take("default_max_internal_user_budget")];
    let budget_duration = section.take("internal_user_budget_duration");
    for (place, _) in section.pass_over(|key| !resembles_ours(key)) {
        reader.note(Level::Debug, place, "belongs to LiteLLM and is passed over");
    }
    section.finish(reader);

    let also_create_orgs = also_create_orgs.and_then(|item| reader.boolean(&item)).unwrap_or(false);
    let team_params = team_params.map(|item| {
        let params = team_params_of(&item, store, reader);
        if also_create_orgs && params.organization_id.is_some() {
            let said = format!("has no effect with {ALSO_CREATE_ORGS}: each team is in an organization of its own");
            reader.note(Level::Warning, format!("{}.organization_id", item.place), said);
        }
        params
    });
    // LiteLLM's older place for a team's budget; `default_team_params` wins.
    let team_params = match team_settings.and_then(|item| older_team_budget(&item, reader)) {
        None => team_params,
        Some(older) => {
            let mut params = team_params.unwrap_or_default();
            params.limits.max_budget = params.limits.max_budget.or(Some(older));
            Some(params)
        }
    };
    let mut user_params = user_params.map(|item| user_params_of(&item, store, reader)).unwrap_or_default();
    // LiteLLM's older keys for the same; `default_internal_user_params` wins, and the first of the two budgets.
    let limits = &mut user_params.limits;
    for item in max_budgets.into_iter().flatten() {
        limits.max_budget = limits.max_budget.or(reader.amount(&item));
    }
    if let Some(item) = budget_duration {
        let duration = reader.parsed(&item, DURATION_REMEDY, str::parse);
        limits.budget_duration = limits.budget_duration.take().or(duration);
    }
    Settings { also_create_orgs, team_params, user_params }
}

/// The `max_budget` of the first of the `default_team_settings`, which is every new team's, as in LiteLLM. All else there
/// is the proxy's own, and may be no list at all.
fn older_team_budget<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<f64> {
    let said = "belongs to LiteLLM and is passed over, except the first one's max_budget";
    reader.note(Level::Debug, &item.place, said);
    let Value::List(settings) = item.value else { return None };
    let Value::Map(entries) = &settings.first()?.value else { return None };
    let entry = entries.iter().find(|entry| entry.key == "max_budget")?;
    let budget = Item {
        place: format!("{}[0].max_budget", item.place),
        line: entry.line,
        value: &entry.node.value,
        literal: false,
    };
    if matches!(budget.value, Value::Null) { None } else { reader.amount(&budget) }
}

/// A slip in one of our keys must not pass for one of LiteLLM's. The nearest other key of LiteLLM 1.110.2 is six edits
/// away from one of ours (`max_end_user_budget`).
fn resembles_ours(key: &str) -> bool {
    let key = normal(key);
    OURS.iter().any(|ours| strsim::damerau_levenshtein(&key, ours) <= 3)
}

fn team_params_of<'a>(item: &Item<'a>, store: StoreKind, reader: &mut Reader<'a>) -> TeamParams {
    let mut section = Section::of(item, reader);
    let mut limits = budget(&mut section, reader);
    let models = models(&mut section, reader);
    [limits.tpm_limit, limits.rpm_limit] = rates([section.take("tpm_limit"), section.take("rpm_limit")], reader);
    let [organization_id] = of_litellm_alone(&mut section, ["organization_id"], store, reader);
    let organization_id = organization_id.and_then(|item| name(&item, reader));
    let metadata = metadata(&mut section, reader);
    let [permissions] = of_litellm_alone(&mut section, ["team_member_permissions"], store, reader);
    let team_member_permissions = permissions.map(|item| routes(&item, reader));
    let [access_groups] = of_litellm_alone(&mut section, ["access_group_ids"], store, reader);
    let access_group_ids = access_groups.map(|item| each_once(&item, reader)).unwrap_or_default();
    let members =
        ["team_member_budget", "team_member_budget_duration", "team_member_tpm_limit", "team_member_rpm_limit"];
    let members = of_litellm_alone(&mut section, members, store, reader);
    let member_limits = member_limits(members, &limits, reader);
    match store {
        StoreKind::Native => {
            without_effect(&mut section, TEAM_KEYS_NOT_APPLIED, reader);
            without_effect(&mut section, TEAM_KEYS_OF_LITELLM, reader);
        }
        // The proxy would apply them. A team that lacks them must not be created unnoticed.
        StoreKind::LiteLlm => {
            let remedy = "set it on each team in LiteLLM after its first sign-in (/team/update)";
            not_applied(&mut section, TEAM_KEYS_NOT_APPLIED, "teams", remedy, reader);
            not_supported(&mut section, TEAM_KEYS_OF_LITELLM, "a team", reader);
        }
    }
    section.finish(reader);
    TeamParams { models, limits, organization_id, access_group_ids, team_member_permissions, member_limits, metadata }
}

/// What each member may spend. Its duration is the team's where it has none of its own, as in LiteLLM.
fn member_limits<'a>(items: [Option<Item<'a>>; 4], team: &Limits, reader: &mut Reader<'a>) -> Option<Limits> {
    if items.iter().all(Option::is_none) {
        return None;
    }
    let [budget, duration, tpm, rpm] = items;
    let max_budget = budget.and_then(|item| reader.amount(&item));
    let budget_duration = match duration {
        Some(item) => reader.parsed(&item, DURATION_REMEDY, str::parse),
        None => team.budget_duration.clone(),
    };
    let [tpm_limit, rpm_limit] = rates([tpm, rpm], reader);
    Some(Limits { max_budget, budget_duration, tpm_limit, rpm_limit })
}

fn user_params_of<'a>(item: &Item<'a>, store: StoreKind, reader: &mut Reader<'a>) -> UserParams {
    let mut section = Section::of(item, reader);
    let user_role = section.take("user_role").and_then(|item| user_role(&item, reader));
    let mut limits = budget(&mut section, reader);
    let models = models(&mut section, reader);
    let items = of_litellm_alone(&mut section, ["tpm_limit", "rpm_limit"], store, reader);
    [limits.tpm_limit, limits.rpm_limit] = rates(items, reader);
    without_effect(&mut section, USER_KEYS_WITHOUT_EFFECT, reader);
    match store {
        StoreKind::Native => {
            without_effect(&mut section, USER_KEYS_NOT_APPLIED, reader);
            without_effect(&mut section, USER_KEYS_OF_LITELLM, reader);
        }
        // As with teams.
        StoreKind::LiteLlm => {
            let remedy = "set it on each user in LiteLLM (/user/update); give membership of a team by an Entra group";
            not_applied(&mut section, USER_KEYS_NOT_APPLIED, "users", remedy, reader);
            not_supported(&mut section, USER_KEYS_OF_LITELLM, "a person", reader);
        }
    }
    section.finish(reader);
    UserParams { user_role, models, limits }
}

/// Keys that the native store has no place for. There they are told, and their values not even looked at: a file that
/// is good enough for a proxy must not be refused for what has no effect.
fn of_litellm_alone<'a, const N: usize>(
    section: &mut Section<'a>,
    keys: [&'static str; N],
    store: StoreKind,
    reader: &mut Reader<'a>,
) -> [Option<Item<'a>>; N] {
    let items = keys.map(|key| section.take(key));
    if store == StoreKind::LiteLlm {
        return items;
    }
    for item in items.iter().flatten() {
        reader.note(Level::Warning, &item.place, NATIVE);
    }
    [const { None }; N]
}

/// Tokens and requests a minute.
fn rates<'a>(items: [Option<Item<'a>>; 2], reader: &mut Reader<'a>) -> [Option<i64>; 2] {
    items.map(|item| item.and_then(|item| reader.whole(&item, 0..=i64::MAX)))
}

/// `metadata` as it is, with `tags` as a key in it: that is where the proxy keeps them.
fn metadata<'a>(section: &mut Section<'a>, reader: &mut Reader<'a>) -> Map<String, Json> {
    let mut metadata = Map::new();
    if let Some(item) = section.take("metadata") {
        match reader.json(&item) {
            Some(Json::Object(map)) => metadata = map,
            Some(_) => reader.problem(&item, "must be a mapping", "write its keys below it"),
            None => {}
        }
        if metadata.remove(MEMBER_BUDGET).is_some() {
            let place = format!("{}.{MEMBER_BUDGET}", item.place);
            reader.note(Level::Warning, place, "is the proxy's own and is left out, as the proxy does");
        }
    }
    if let Some(item) = section.take("tags") {
        let tags = reader.texts(&item).into_iter().map(|(_, tag)| tag).collect();
        metadata.insert("tags".to_owned(), tags);
    }
    metadata
}

fn routes<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Vec<String> {
    let mut routes = Vec::new();
    for (item, route) in reader.texts(item) {
        if !route.starts_with('/') {
            reader.problem(&item, "is not a management route", "write such as /key/generate or /key/info");
        } else if !routes.contains(&route) {
            routes.push(route);
        }
    }
    routes
}

/// The id of something in the database.
fn name<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<String> {
    let read = |text: &str| if text.trim().is_empty() { Err("is empty") } else { Ok(text.trim().to_owned()) };
    reader.parsed(item, "write the id of an organization, or leave the key out", read)
}

fn budget<'a>(section: &mut Section<'a>, reader: &mut Reader<'a>) -> Limits {
    let max_budget = section.take("max_budget").and_then(|item| reader.amount(&item));
    let duration = section.take("budget_duration");
    let budget_duration = duration.and_then(|item| reader.parsed(&item, DURATION_REMEDY, str::parse));
    Limits { max_budget, budget_duration, ..Limits::default() }
}

fn models<'a>(section: &mut Section<'a>, reader: &mut Reader<'a>) -> Vec<String> {
    section.take("models").map(|item| each_once(&item, reader)).unwrap_or_default()
}

/// Each text once, in the order of the list.
fn each_once<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Vec<String> {
    let mut texts = Vec::new();
    for (_, text) in reader.texts(item) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    texts
}

fn user_role<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<UserRole> {
    let defaults = UserRole::ALL.map(UserRole::as_str).into_iter().filter(|role| *role != UserRole::OrgAdmin.as_str());
    let defaults: Vec<&str> = defaults.collect();
    let text = reader.text(item)?;
    let role = UserRole::parse(&text);
    match role {
        Some(UserRole::OrgAdmin) => {
            let said = "org_admin is a right over particular organizations, so it can be nobody's default";
            reader.problem(item, said, format!("write one of {}", defaults.join(", ")));
            return None;
        }
        Some(role @ (UserRole::ProxyAdmin | UserRole::ProxyAdminViewer)) => {
            let said = format!("everyone to whom Entra gives no app role becomes {role}");
            reader.note(Level::Warning, &item.place, said);
        }
        Some(UserRole::InternalUser | UserRole::InternalUserViewer) => {}
        None => {
            let near = nearest(&text, &defaults).map(|role| format!("did you mean {role}?"));
            let remedy = near.unwrap_or_else(|| format!("write one of {}", defaults.join(", ")));
            reader.problem(item, "is not a role", remedy);
        }
    }
    role
}

fn without_effect(section: &mut Section, keys: &[&str], reader: &mut Reader) {
    for (place, _) in section.pass_over(|key| keys.contains(&key)) {
        reader.note(Level::Warning, place, "is LiteLLM's and has no effect here");
    }
}

/// Accepted, so that a proxy's section can be used as it is; a warning says what is missing and how to proceed.
fn not_applied(section: &mut Section, keys: &[&str], what: &str, remedy: &str, reader: &mut Reader) {
    for (place, _) in section.pass_over(|key| keys.contains(&key)) {
        reader.note(Level::Warning, place, format!("is not applied to {what} that Entraway creates; {remedy}"));
    }
}

fn not_supported(section: &mut Section, keys: &[&str], whose: &str, reader: &mut Reader) {
    for (place, line) in section.pass_over(|key| keys.contains(&key)) {
        let remedy = format!("leave it out, and set it in LiteLLM where {whose} needs it");
        reader.problems.push(Problem::new(place, "is LiteLLM's and is not supported here", remedy).at(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_resembles_our_keys_and_no_key_of_litellm_does() {
        for slip in [
            "default_team_param",
            "default-team-params",
            "entra_group_also_create_org",
            "default_internal_user_parms",
            "default_team_setings",
            "max_internal_users_budget",
            "internal_user_budget_durations",
        ] {
            assert!(resembles_ours(slip), "{slip}");
        }
        // Among them the nearest ones of 1.110.2.
        for key in [
            "default_fallbacks",
            "default_key_generate_params",
            "max_end_user_budget",
            "max_user_budget",
            "budget_duration",
            "drop_params",
            "set_verbose",
        ] {
            assert!(!resembles_ours(key), "{key}");
        }
    }
}
