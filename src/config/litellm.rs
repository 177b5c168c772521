//! The section `litellm_settings`. It may be copied from a LiteLLM proxy, so keys that only concern LiteLLM are ignored.

use std::collections::BTreeSet;
use std::fmt::Display;

use serde_json::{Map, Number, Value as Json};

use super::problem::{NoteLevel, display_key, suggestion};
use super::reader::Item;
use super::section::{Section, joined};
use super::tree::{Entry, Value};
use crate::domain::{StoreKind, UserRole};
use crate::policy::{BudgetDuration, Limits, TeamParams, UserParams};

/// Metadata key in which the proxy stores the ID of a team's member budget.
const MEMBER_BUDGET: &str = "team_member_budget_id";

/// A key within this number of edits from a supported one is a typo, which must not be ignored as a key of LiteLLM. The closest
/// other key of LiteLLM 1.110.2 (`max_end_user_budget`) is six edits away.
const MAX_EDITS: usize = 3;

const NO_EFFECT: &str = "is a LiteLLM key that has no effect here";

/// Keys of LiteLLM 1.110.2 in one of its mappings of defaults, separated by spaces, that are not applied here.
struct ForeignKeys {
    /// What LiteLLM applies them to.
    rows: &'static str,
    /// Accepted, but not applied to rows that Entraway creates.
    not_applied: &'static str,
    /// How to proceed instead.
    help: &'static str,
    /// Not supported with the store `litellm`: the proxy would apply them, so rows without them must not go unnoticed.
    unsupported: &'static str,
}

const TEAM_KEYS: ForeignKeys = ForeignKeys {
    rows: "teams",
    not_applied: "guardrails object_permission soft_budget tpd_limit",
    help: "Set it on each team in LiteLLM after its first sign-in (/team/update)",
    unsupported: "\
        admins allow_team_guardrail_config allowed_passthrough_routes allowed_vector_store_indexes blocked \
        budget_limits default_estimated_output_tokens default_estimated_output_tokens_per_model \
        default_team_member_models denied_passthrough_routes disable_global_guardrails \
        enforced_batch_output_expires_after enforced_file_expires_after logging max_parallel_requests \
        mcp_rpm_limit members members_with_roles model_aliases model_max_budget model_rpm_limit model_tpm_limit \
        policies prompts require_trace_id router_settings rpm_limit_type secret_manager_settings team_alias \
        team_id team_member_key_duration team_member_model_max_budget tpm_limit_type",
};

/// LiteLLM's page for these defaults offers `teams`.
const USER_KEYS: ForeignKeys = ForeignKeys {
    rows: "users",
    not_applied: "guardrails object_permission soft_budget teams",
    help: "Set it on each user in LiteLLM (/user/update), and add users to teams by Entra groups",
    unsupported: "\
        agent_id aliases allowed_cache_controls blocked budget_fallbacks budget_limits config \
        max_parallel_requests mcp_rpm_limit metadata model_max_budget model_rpm_limit model_tpm_limit \
        organizations password permissions policies prompts spend tag_rpm_limit team_id",
};

/// Keys of LiteLLM's `default_internal_user_params` that never affect users of single sign-on. No keys and invitations are
/// created, the identity comes from Entra, and the proxy reads `available_teams` itself.
const USER_KEYS_WITHOUT_EFFECT: &str = "\
    auto_create_key available_teams duration key_alias send_invite_email sso_user_id user_alias user_email \
    user_id";

/// The settings of the section that have an effect here.
pub(super) struct Settings {
    pub(super) also_create_orgs: bool,
    pub(super) team_params: Option<TeamParams>,
    pub(super) user_params: UserParams,
}

/// A value and where it was read.
type Located<'a, T> = Option<(Item<'a>, T)>;

/// Reads `litellm_settings`. LiteLLM's older keys for budgets apply if the newer keys are not set.
pub(super) fn settings(root: &mut Section, store: StoreKind) -> Settings {
    let mut section = root.section("litellm_settings");
    let also_create_orgs = section.value("entra_groups_also_create_orgs", false, Item::boolean);
    let team_settings = section.take("default_team_settings");
    let older_budget = team_settings.as_ref().and_then(older_team_budget);
    let shown = older_budget.as_ref().map(|(_, budget)| format!("max_budget of the first: {budget}"));
    let has_team_params = section.has("default_team_params") || older_budget.is_some();
    let team_params = team_params(section.section("default_team_params"), older_budget, also_create_orgs, store);
    section.show("default_team_settings", team_settings.as_ref(), shown.unwrap_or_default());
    let first = section.located("max_internal_user_budget", Item::amount);
    let second = section.located("default_max_internal_user_budget", Item::amount);
    let duration = section.located("internal_user_budget_duration", budget_duration);
    let user_params = user_params(section.section("default_internal_user_params"), first.or(second), duration, store);
    for item in section.take_unrelated(MAX_EDITS) {
        item.note(NoteLevel::Debug, "is a LiteLLM key and is ignored");
    }
    section.finish();
    Settings { also_create_orgs, team_params: Some(team_params).filter(|_| has_team_params), user_params }
}

/// The `max_budget` of the first entry of `default_team_settings`, which LiteLLM gives to every new team. The proxy's other
/// settings there may have any form.
fn older_team_budget<'a>(item: &Item<'a>) -> Located<'a, f64> {
    item.note(NoteLevel::Debug, "is a LiteLLM key and is ignored, except max_budget of the first entry");
    let Value::List(settings) = item.value else { return None };
    let Value::Map(entries) = &settings.first()?.value else { return None };
    let entry = entries.iter().find(|entry| entry.key == "max_budget")?;
    let budget = Item::of(entry, format!("{}[0].max_budget", item.path), item.reader);
    let amount = if budget.is_null() { None } else { budget.amount() };
    Some((budget, amount?))
}

fn team_params<'a>(
    mut section: Section<'a>,
    older_budget: Located<'a, f64>,
    also_create_orgs: bool,
    store: StoreKind,
) -> TeamParams {
    const MEMBER_KEYS: [&str; 4] =
        ["team_member_budget", "team_member_budget_duration", "team_member_tpm_limit", "team_member_rpm_limit"];
    if store == StoreKind::Native {
        section.ignore_with_native_store(&["organization_id", "access_group_ids", "team_member_permissions"]);
        section.ignore_with_native_store(&MEMBER_KEYS);
    }
    let models = distinct(&mut section, "models", "all models", Item::element);
    let max_budget = own_or(&mut section, "max_budget", older_budget, Item::amount);
    let duration = section.located("budget_duration", budget_duration);
    let limits = Limits {
        max_budget,
        budget_duration: duration.as_ref().map(|(_, duration)| duration.clone()),
        tpm_limit: section.optional("tpm_limit", rate),
        rpm_limit: section.optional("rpm_limit", rate),
    };
    let metadata = metadata(&mut section);
    let organization_id = section.optional("organization_id", |item| {
        if also_create_orgs {
            item.warn("has no effect with entra_groups_also_create_orgs, which gives each team its own organization");
        }
        item.trimmed("Write the ID of an organization, or remove the key")
    });
    let access_group_ids = distinct(&mut section, "access_group_ids", "none", Item::element);
    let has_permissions = section.has("team_member_permissions");
    let permissions = distinct(&mut section, "team_member_permissions", "none", route);
    let has_member_limits = MEMBER_KEYS.iter().any(|key| section.has(key));
    let member_limits = Limits {
        max_budget: section.optional("team_member_budget", Item::amount),
        // It defaults to the team's, as in LiteLLM.
        budget_duration: own_or(
            &mut section,
            "team_member_budget_duration",
            duration.filter(|_| has_member_limits),
            budget_duration,
        ),
        tpm_limit: section.optional("team_member_tpm_limit", rate),
        rpm_limit: section.optional("team_member_rpm_limit", rate),
    };
    TEAM_KEYS.report(&mut section, store);
    section.finish();
    TeamParams {
        models,
        limits,
        organization_id,
        access_group_ids,
        team_member_permissions: Some(permissions).filter(|_| has_permissions),
        member_limits: Some(member_limits).filter(|_| has_member_limits),
        metadata,
    }
}

fn user_params<'a>(
    mut section: Section<'a>,
    older_budget: Located<'a, f64>,
    older_duration: Located<'a, BudgetDuration>,
    store: StoreKind,
) -> UserParams {
    if store == StoreKind::Native {
        section.ignore_with_native_store(&["tpm_limit", "rpm_limit"]);
    }
    let item = section.take("user_role");
    let user_role = item.as_ref().and_then(user_role);
    section.show("user_role", item.as_ref(), user_role.unwrap_or(UserRole::InternalUserViewer));
    let max_budget = own_or(&mut section, "max_budget", older_budget, Item::amount);
    let budget_duration = own_or(&mut section, "budget_duration", older_duration, budget_duration);
    let models = distinct(&mut section, "models", "all models", Item::element);
    let tpm_limit = section.optional("tpm_limit", rate);
    let rpm_limit = section.optional("rpm_limit", rate);
    for item in take_listed(&mut section, USER_KEYS_WITHOUT_EFFECT) {
        item.warn(NO_EFFECT);
    }
    USER_KEYS.report(&mut section, store);
    section.finish();
    UserParams { user_role, models, limits: Limits { max_budget, budget_duration, tpm_limit, rpm_limit } }
}

impl ForeignKeys {
    fn report(&self, section: &mut Section, store: StoreKind) {
        let [not_applied, unsupported] = [self.not_applied, self.unsupported].map(|keys| take_listed(section, keys));
        let rows = self.rows;
        match store {
            StoreKind::Native => not_applied.iter().chain(&unsupported).for_each(|item| item.warn(NO_EFFECT)),
            StoreKind::LiteLlm => {
                for item in not_applied {
                    item.warn(format!("is not applied to {rows} that Entraway creates. {}", self.help));
                }
                for item in unsupported {
                    let help = format!("Remove it, and set it in LiteLLM for the {rows} that need it");
                    item.problem("is a LiteLLM key that is not supported here", help);
                }
            }
        }
    }
}

/// Removes the keys of a list separated by spaces.
fn take_listed<'a>(section: &mut Section<'a>, keys: &str) -> Vec<Item<'a>> {
    section.take_matching(|key| keys.split_whitespace().any(|listed| listed == key))
}

/// Reads a value that defaults to the value of another key.
fn own_or<'a, T: Display>(
    section: &mut Section<'a>,
    key: &'static str,
    other: Located<'a, T>,
    read: impl FnOnce(&Item<'a>) -> Option<T>,
) -> Option<T> {
    let (item, value) = match section.take(key) {
        Some(item) => {
            let value = read(&item);
            (Some(item), value)
        }
        None => other.unzip(),
    };
    section.show(key, item.as_ref(), value.as_ref().map(ToString::to_string).unwrap_or_default());
    value
}

fn budget_duration(item: &Item) -> Option<BudgetDuration> {
    item.parsed("Write a duration such as 30d, 24h or 1mo", str::parse)
}

/// Tokens or requests per minute.
fn rate(item: &Item) -> Option<i64> {
    item.integer(0..=i64::MAX)
}

/// The texts of a list without duplicates, in order.
fn distinct<'a>(
    section: &mut Section<'a>,
    key: &'static str,
    if_empty: &str,
    read: impl Fn(&Item<'a>) -> Option<String>,
) -> Vec<String> {
    let mut seen = BTreeSet::new();
    section.list(key, if_empty, |item| read(item).filter(|text| seen.insert(text.clone())))
}

fn route(item: &Item) -> Option<String> {
    let route = item.element()?;
    if !route.starts_with('/') {
        item.problem("is not a management route", "Write a route such as /key/generate or /key/info");
    }
    Some(route)
}

/// `metadata`, with `tags` as one of its keys, as the proxy stores them. The settings page shows only the names of its keys,
/// because values in a proxy's file may be credentials.
fn metadata(section: &mut Section) -> Map<String, Json> {
    let (item, tags) = (section.take("metadata"), section.take("tags"));
    let mut metadata = item.as_ref().and_then(mapping).unwrap_or_default();
    if tags.is_some() {
        metadata.remove("tags");
    }
    let names = joined(metadata.keys());
    let shown = if names.is_empty() { names } else { format!("the keys {names}") };
    section.show("metadata", item.as_ref(), shown);
    let elements = tags.as_ref().map(Item::list).unwrap_or_default();
    let values: Vec<String> = elements.iter().filter_map(Item::element).collect();
    section.show("tags", tags.as_ref(), joined(&values));
    if tags.is_some() {
        metadata.insert("tags".to_owned(), values.into());
    }
    metadata
}

fn mapping(item: &Item) -> Option<Map<String, Json>> {
    let Json::Object(mut map) = json(item)? else {
        item.problem("must be a mapping", "Write its keys below it, indented");
        return None;
    };
    if map.remove(MEMBER_BUDGET).is_some() {
        let path = format!("{}.{MEMBER_BUDGET}", item.path);
        item.reader.note(NoteLevel::Warning, path, "is managed by the proxy and is ignored, as in the proxy");
    }
    Some(map)
}

/// Any value, as JSON.
fn json(item: &Item) -> Option<Json> {
    let number = match item.value {
        Value::Null => return Some(Json::Null),
        Value::Bool(value) => return Some((*value).into()),
        Value::Text(_) => return item.text().map(Into::into),
        Value::List(_) => return Some(item.list().iter().filter_map(json).collect()),
        Value::Map(entries) => {
            let value = |entry: &Entry| {
                let path = format!("{}.{}", item.path, display_key(&entry.key));
                Some((entry.key.clone(), json(&Item::of(entry, path, item.reader))?))
            };
            return Some(Json::Object(entries.iter().filter_map(value).collect()));
        }
        Value::Float(value) => Number::from_f64(*value),
        // Over 64 bits it becomes a float, as in JavaScript.
        Value::Int(value) => {
            Number::from_i128(*value).or_else(|| value.to_string().parse().ok().and_then(Number::from_f64))
        }
    };
    if number.is_none() {
        item.problem("must be a finite number, as JSON has no other", "Put it in quotes to write it as text");
    }
    number.map(Json::Number)
}

fn user_role(item: &Item) -> Option<UserRole> {
    let defaults = UserRole::ALL.map(UserRole::as_str).into_iter().filter(|role| *role != UserRole::OrgAdmin.as_str());
    let defaults: Vec<&str> = defaults.collect();
    let text = item.text()?;
    let role = UserRole::parse(&text);
    match role {
        Some(UserRole::OrgAdmin) => {
            let message = "org_admin applies to particular organizations, so it cannot be the default role";
            item.problem(message, format!("Valid values: {}", defaults.join(", ")));
        }
        Some(role @ (UserRole::ProxyAdmin | UserRole::ProxyAdminViewer)) => {
            item.warn(format!("every user without an app role in Entra becomes {role}"));
        }
        Some(UserRole::InternalUser | UserRole::InternalUserViewer) => {}
        None => item.problem("is not a role", suggestion(&text, "values", &defaults)),
    }
    role
}
