//! The section `litellm_settings`. It may be copied from a LiteLLM proxy, so keys that only concern LiteLLM are ignored.

use serde_json::{Map, Value as Json};

use super::problem::{NoteLevel, Problem, normalize, suggestion};
use super::reader::{Item, Reader};
use super::section::Section;
use super::tree::Value;
use crate::domain::{StoreKind, UserRole};
use crate::policy::{Limits, TeamParams, UserParams};

const ALSO_CREATE_ORGS: &str = "entra_groups_also_create_orgs";
const TEAM_PARAMS: &str = "default_team_params";
const USER_PARAMS: &str = "default_internal_user_params";

/// Metadata key in which the proxy stores the ID of a team's member budget.
const MEMBER_BUDGET: &str = "team_member_budget_id";

/// All keys of the section that have an effect here.
const SUPPORTED_KEYS: [&str; 7] = [
    ALSO_CREATE_ORGS,
    TEAM_PARAMS,
    USER_PARAMS,
    "default_team_settings",
    "max_internal_user_budget",
    "default_max_internal_user_budget",
    "internal_user_budget_duration",
];

const DURATION_HELP: &str = "Write a duration such as 30d, 24h or 1mo";
const NATIVE: &str = "has no effect with the native store";
const NO_EFFECT: &str = "is a LiteLLM key that has no effect here";

/// Keys of LiteLLM's `default_team_params` that are accepted, but not applied to teams that Entraway creates.
const TEAM_KEYS_NOT_APPLIED: &[&str] = &["guardrails", "object_permission", "soft_budget", "tpd_limit"];

/// As above, for `default_internal_user_params`. LiteLLM's page for these defaults offers `teams`.
const USER_KEYS_NOT_APPLIED: &[&str] = &["guardrails", "object_permission", "soft_budget", "teams"];

/// Keys of LiteLLM's `default_team_params` that are not supported here.
const UNSUPPORTED_TEAM_KEYS: &[&str] = &[
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

/// Keys of LiteLLM's `default_internal_user_params` that are not supported here.
const UNSUPPORTED_USER_KEYS: &[&str] = &[
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

/// Keys of LiteLLM's `default_internal_user_params` that never affect users of single sign-on. No keys and invitations are
/// created, the identity comes from Entra, and the proxy reads `available_teams` itself.
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

/// The settings of the section that have an effect here.
pub(super) struct Settings {
    pub(super) also_create_orgs: bool,
    pub(super) team_params: Option<TeamParams>,
    pub(super) user_params: UserParams,
}

/// Reads `litellm_settings`.
pub(super) fn settings<'a>(root: &mut Section<'a>, store: StoreKind, reader: &mut Reader<'a>) -> Settings {
    let mut section = root.section("litellm_settings", reader);
    let also_create_orgs = section.take_or_env(ALSO_CREATE_ORGS, "ENTRA_GROUPS_ALSO_CREATE_ORGS", reader);
    let team_params = section.take(TEAM_PARAMS);
    let user_params = section.take(USER_PARAMS);
    let team_settings = section.take("default_team_settings");
    let max_budgets = [section.take("max_internal_user_budget"), section.take("default_max_internal_user_budget")];
    let budget_duration = section.take("internal_user_budget_duration");
    for (path, _) in section.take_matching(|key| !resembles_supported_key(key)) {
        reader.note(NoteLevel::Debug, path, "is a LiteLLM key and is ignored");
    }
    section.finish(reader);

    let also_create_orgs = also_create_orgs.and_then(|item| reader.boolean(&item)).unwrap_or(false);
    let team_params = team_params.map(|item| {
        let params = read_team_params(&item, store, reader);
        if also_create_orgs && params.organization_id.is_some() {
            let message = format!("has no effect with {ALSO_CREATE_ORGS}, which gives each team its own organization");
            reader.note(NoteLevel::Warning, format!("{}.organization_id", item.path), message);
        }
        params
    });
    // LiteLLM's older key for a team's budget; `default_team_params` wins.
    let team_params = match team_settings.and_then(|item| older_team_budget(&item, reader)) {
        None => team_params,
        Some(older) => {
            let mut params = team_params.unwrap_or_default();
            params.limits.max_budget = params.limits.max_budget.or(Some(older));
            Some(params)
        }
    };
    let mut user_params = user_params.map(|item| read_user_params(&item, store, reader)).unwrap_or_default();
    // LiteLLM's older keys; `default_internal_user_params` wins, then the first of the two budgets.
    let limits = &mut user_params.limits;
    for item in max_budgets.into_iter().flatten() {
        limits.max_budget = limits.max_budget.or(reader.amount(&item));
    }
    if let Some(item) = budget_duration {
        let duration = reader.parsed(&item, DURATION_HELP, str::parse);
        limits.budget_duration = limits.budget_duration.take().or(duration);
    }
    Settings { also_create_orgs, team_params, user_params }
}

/// The `max_budget` of the first entry of `default_team_settings`, which LiteLLM gives to every new team. The proxy's other
/// settings there may have any form.
fn older_team_budget<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<f64> {
    let message = "is a LiteLLM key and is ignored, except max_budget of the first entry";
    reader.note(NoteLevel::Debug, &item.path, message);
    let Value::List(settings) = item.value else { return None };
    let Value::Map(entries) = &settings.first()?.value else { return None };
    let entry = entries.iter().find(|entry| entry.key == "max_budget")?;
    let budget = Item {
        path: format!("{}[0].max_budget", item.path),
        line: entry.line,
        value: &entry.node.value,
        literal: false,
    };
    if matches!(budget.value, Value::Null) { None } else { reader.amount(&budget) }
}

/// Detects typos in supported keys, which must not be ignored as keys of LiteLLM. The closest other key of LiteLLM 1.110.2
/// (`max_end_user_budget`) is six edits away from a supported one.
fn resembles_supported_key(key: &str) -> bool {
    let key = normalize(key);
    SUPPORTED_KEYS.iter().any(|supported| strsim::damerau_levenshtein(&key, supported) <= 3)
}

fn read_team_params<'a>(item: &Item<'a>, store: StoreKind, reader: &mut Reader<'a>) -> TeamParams {
    let mut section = Section::of(item, reader);
    let mut limits = budget(&mut section, reader);
    let models = models(&mut section, reader);
    [limits.tpm_limit, limits.rpm_limit] = rates([section.take("tpm_limit"), section.take("rpm_limit")], reader);
    let [organization_id] = take_litellm_only(&mut section, ["organization_id"], store, reader);
    let organization_id = organization_id.and_then(|item| read_organization_id(&item, reader));
    let metadata = metadata(&mut section, reader);
    let [permissions] = take_litellm_only(&mut section, ["team_member_permissions"], store, reader);
    let team_member_permissions = permissions.map(|item| routes(&item, reader));
    let [access_groups] = take_litellm_only(&mut section, ["access_group_ids"], store, reader);
    let access_group_ids = access_groups.map(|item| distinct_texts(&item, reader)).unwrap_or_default();
    let members =
        ["team_member_budget", "team_member_budget_duration", "team_member_tpm_limit", "team_member_rpm_limit"];
    let members = take_litellm_only(&mut section, members, store, reader);
    let member_limits = member_limits(members, &limits, reader);
    match store {
        StoreKind::Native => {
            warn_no_effect(&mut section, TEAM_KEYS_NOT_APPLIED, reader);
            warn_no_effect(&mut section, UNSUPPORTED_TEAM_KEYS, reader);
        }
        // The proxy would apply them, so creating teams without them must not go unnoticed.
        StoreKind::LiteLlm => {
            let help = "Set it on each team in LiteLLM after its first sign-in (/team/update)";
            warn_not_applied(&mut section, TEAM_KEYS_NOT_APPLIED, "teams", help, reader);
            reject_unsupported(&mut section, UNSUPPORTED_TEAM_KEYS, "teams", reader);
        }
    }
    section.finish(reader);
    TeamParams { models, limits, organization_id, access_group_ids, team_member_permissions, member_limits, metadata }
}

/// The limits of each member. The budget duration defaults to the team's, as in LiteLLM.
fn member_limits<'a>(items: [Option<Item<'a>>; 4], team: &Limits, reader: &mut Reader<'a>) -> Option<Limits> {
    if items.iter().all(Option::is_none) {
        return None;
    }
    let [budget, duration, tpm, rpm] = items;
    let max_budget = budget.and_then(|item| reader.amount(&item));
    let budget_duration = match duration {
        Some(item) => reader.parsed(&item, DURATION_HELP, str::parse),
        None => team.budget_duration.clone(),
    };
    let [tpm_limit, rpm_limit] = rates([tpm, rpm], reader);
    Some(Limits { max_budget, budget_duration, tpm_limit, rpm_limit })
}

fn read_user_params<'a>(item: &Item<'a>, store: StoreKind, reader: &mut Reader<'a>) -> UserParams {
    let mut section = Section::of(item, reader);
    let user_role = section.take("user_role").and_then(|item| user_role(&item, reader));
    let mut limits = budget(&mut section, reader);
    let models = models(&mut section, reader);
    let items = take_litellm_only(&mut section, ["tpm_limit", "rpm_limit"], store, reader);
    [limits.tpm_limit, limits.rpm_limit] = rates(items, reader);
    warn_no_effect(&mut section, USER_KEYS_WITHOUT_EFFECT, reader);
    match store {
        StoreKind::Native => {
            warn_no_effect(&mut section, USER_KEYS_NOT_APPLIED, reader);
            warn_no_effect(&mut section, UNSUPPORTED_USER_KEYS, reader);
        }
        StoreKind::LiteLlm => {
            let help = "Set it on each user in LiteLLM (/user/update), and add users to teams by Entra groups";
            warn_not_applied(&mut section, USER_KEYS_NOT_APPLIED, "users", help, reader);
            reject_unsupported(&mut section, UNSUPPORTED_USER_KEYS, "users", reader);
        }
    }
    section.finish(reader);
    UserParams { user_role, models, limits }
}

/// Takes keys that the native store does not support. With it they cause warnings, and their values are not checked: a
/// proxy's file is not rejected for settings without effect.
fn take_litellm_only<'a, const N: usize>(
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
        reader.note(NoteLevel::Warning, &item.path, NATIVE);
    }
    [const { None }; N]
}

/// Tokens and requests per minute.
fn rates<'a>(items: [Option<Item<'a>>; 2], reader: &mut Reader<'a>) -> [Option<i64>; 2] {
    items.map(|item| item.and_then(|item| reader.integer(&item, 0..=i64::MAX)))
}

/// `metadata`, with `tags` as one of its keys, as the proxy stores them.
fn metadata<'a>(section: &mut Section<'a>, reader: &mut Reader<'a>) -> Map<String, Json> {
    let mut metadata = Map::new();
    if let Some(item) = section.take("metadata") {
        match reader.json(&item) {
            Some(Json::Object(map)) => metadata = map,
            Some(_) => reader.problem(&item, "must be a mapping", "Write its keys below it, indented"),
            None => {}
        }
        if metadata.remove(MEMBER_BUDGET).is_some() {
            let path = format!("{}.{MEMBER_BUDGET}", item.path);
            reader.note(NoteLevel::Warning, path, "is managed by the proxy and is ignored, as in the proxy");
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
            reader.problem(&item, "is not a management route", "Write a route such as /key/generate or /key/info");
        } else if !routes.contains(&route) {
            routes.push(route);
        }
    }
    routes
}

fn read_organization_id<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Option<String> {
    let parse = |text: &str| if text.trim().is_empty() { Err("is empty") } else { Ok(text.trim().to_owned()) };
    reader.parsed(item, "Write the ID of an organization, or remove the key", parse)
}

fn budget<'a>(section: &mut Section<'a>, reader: &mut Reader<'a>) -> Limits {
    let max_budget = section.take("max_budget").and_then(|item| reader.amount(&item));
    let duration = section.take("budget_duration");
    let budget_duration = duration.and_then(|item| reader.parsed(&item, DURATION_HELP, str::parse));
    Limits { max_budget, budget_duration, ..Limits::default() }
}

fn models<'a>(section: &mut Section<'a>, reader: &mut Reader<'a>) -> Vec<String> {
    section.take("models").map(|item| distinct_texts(&item, reader)).unwrap_or_default()
}

/// The texts of a list without duplicates, in order.
fn distinct_texts<'a>(item: &Item<'a>, reader: &mut Reader<'a>) -> Vec<String> {
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
            let message = "org_admin applies to particular organizations, so it cannot be the default role";
            reader.problem(item, message, format!("Valid values: {}", defaults.join(", ")));
            return None;
        }
        Some(role @ (UserRole::ProxyAdmin | UserRole::ProxyAdminViewer)) => {
            let message = format!("every user without an app role in Entra becomes {role}");
            reader.note(NoteLevel::Warning, &item.path, message);
        }
        Some(UserRole::InternalUser | UserRole::InternalUserViewer) => {}
        None => reader.problem(item, "is not a role", suggestion(&text, "values", &defaults)),
    }
    role
}

fn warn_no_effect(section: &mut Section, keys: &[&str], reader: &mut Reader) {
    for (path, _) in section.take_matching(|key| keys.contains(&key)) {
        reader.note(NoteLevel::Warning, path, NO_EFFECT);
    }
}

/// Accepts keys of a proxy's section that are not applied. The warning says how to proceed.
fn warn_not_applied(section: &mut Section, keys: &[&str], rows: &str, help: &str, reader: &mut Reader) {
    for (path, _) in section.take_matching(|key| keys.contains(&key)) {
        reader.note(NoteLevel::Warning, path, format!("is not applied to {rows} that Entraway creates. {help}"));
    }
}

fn reject_unsupported(section: &mut Section, keys: &[&str], rows: &str, reader: &mut Reader) {
    for (path, line) in section.take_matching(|key| keys.contains(&key)) {
        let help = format!("Remove it, and set it in LiteLLM for the {rows} that need it");
        reader.problems.push(Problem::new(path, "is a LiteLLM key that is not supported here", help).at(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_resemble_supported_keys_but_litellm_keys_do_not() {
        for typo in [
            "default_team_param",
            "default-team-params",
            "entra_group_also_create_org",
            "default_internal_user_parms",
            "default_team_setings",
            "max_internal_users_budget",
            "internal_user_budget_durations",
        ] {
            assert!(resembles_supported_key(typo), "{typo}");
        }
        // Including the closest ones of 1.110.2.
        for key in [
            "default_fallbacks",
            "default_key_generate_params",
            "max_end_user_budget",
            "max_user_budget",
            "budget_duration",
            "drop_params",
            "set_verbose",
        ] {
            assert!(!resembles_supported_key(key), "{key}");
        }
    }
}
