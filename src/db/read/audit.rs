//! Audit events, as operators see them.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::list::{Builder, ListSource, Page, PageRequest, Sort, USER_WORDS, ts_query};
use crate::audit::{AuditAction, AuditTargetKind};
use crate::db::{Db, DbError};

/// Maximum number of users that the words of a filter may match. Events of more users are not one list.
const MAX_USERS: usize = 100;

/// Filter for audit events.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub user: Option<UserKeys>,
    /// A team or an organization, by ID.
    pub target: Option<(AuditTargetKind, String)>,
    pub action: Option<ActionFilter>,
    pub from: Option<DateTime<Utc>>,
    /// Exclusive.
    pub until: Option<DateTime<Utc>>,
    pub run_id: Option<Uuid>,
}

/// Which actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionFilter {
    One(AuditAction),
    /// All actions by which a user lost access, without those that a guard prevented.
    AccessLost,
}

/// The IDs by which events name some users.
#[derive(Clone, Debug, Default)]
pub struct UserKeys {
    /// Keys of the users' rows.
    user_ids: BTreeSet<String>,
    object_ids: BTreeSet<String>,
}

/// An audit event with the names of the moment.
#[derive(Serialize, sqlx::FromRow)]
pub struct AuditRow {
    #[sqlx(rename = "id")]
    pub event_id: String,
    pub at: DateTime<Utc>,
    pub action: String,
    /// `applied`, or `kept` if a guard prevented the change.
    pub result: String,
    /// Key of the user's row, if there was one.
    pub user_id: Option<String>,
    pub object_id: Option<String>,
    /// Display name of the user; `None` if the row does not exist any more.
    pub user_name: Option<String>,
    /// `team`, `organization`, `account` or `session`.
    pub target_kind: String,
    pub target_id: Option<String>,
    /// Name of the team or organization at the time, otherwise its current name.
    pub target_name: Option<String>,
    /// Whether the team or organization still exists.
    pub target_exists: bool,
    pub cause: Option<String>,
    /// The Entra group that gave the membership.
    pub group_id: Option<String>,
    /// Name of the team of that group.
    pub group_name: Option<String>,
    /// `sign_in`, `operator`, `user`, `command` or `job`.
    pub actor: String,
    /// Object ID of the actor, if it is a user.
    pub actor_id: Option<String>,
    pub actor_name: Option<String>,
    pub run_id: Option<Uuid>,
    pub before: Option<Value>,
    pub after: Option<Value>,
    pub evidence: Option<Value>,
}

/// Names are scalar subqueries, so that they are looked up for the rows of the page only. Postgres would hash the whole
/// table for `exists`.
const AUDIT_EVENTS: ListSource = ListSource {
    columns: "e.at, e.action, e.result, e.user_id, e.object_id,
              (select coalesce(nullif(u.user_alias, ''), u.user_email, u.user_id) from user_names u
               where u.user_id = e.user_id) as user_name,
              e.target_kind, e.target_id,
              case e.target_kind
                  when 'team' then coalesce(e.target_name, (select t.team_alias from teams t where t.team_id = e.target_id))
                  when 'organization' then coalesce(e.target_name, (
                      select o.organization_alias from organizations o where o.organization_id = e.target_id))
                  else e.target_name end as target_name,
              coalesce(case e.target_kind
                  when 'team' then (select true from teams t where t.team_id = e.target_id)
                  when 'organization' then (select true from organizations o where o.organization_id = e.target_id)
                  end, false) as target_exists,
              e.cause, e.group_id, (select t.team_alias from teams t where t.team_id = e.group_id) as group_name,
              e.actor, e.actor_id,
              (select coalesce(nullif(a.user_alias, ''), a.user_email, a.user_id) from identities a
               where a.object_id = e.actor_id order by a.is_owner desc limit 1) as actor_name,
              e.run_id, e.before, e.after, e.evidence",
    from: "entraway.audit_events e",
    id: "e.event_id",
    name: "e.action",
    created: "e.at",
    words: "entraway.words(e.action)",
    records: true,
};

/// As in the partial indexes.
const ACCESS_LOST: &str = " and e.result = 'applied' and e.action in
    ('team_member_removed', 'organization_member_removed', 'keys_blocked', 'sessions_revoked', 'sign_in_denied',
     'account_disabled')";

impl UserKeys {
    /// The keys of one user.
    #[must_use]
    pub fn of(user_id: &str, object_id: Option<&str>) -> Self {
        Self { user_ids: [user_id.to_owned()].into(), object_ids: object_id.map(str::to_owned).into_iter().collect() }
    }
}

impl Db {
    /// A page of the events that match a filter, newest first.
    pub async fn audit_events(&self, filter: &AuditFilter, request: &PageRequest) -> Result<Page<AuditRow>, DbError> {
        let only = |query: &mut Builder| {
            if let Some(UserKeys { user_ids, object_ids }) = &filter.user {
                query.push(" and (e.user_id = any(").push_bind(Vec::from_iter(user_ids.clone()));
                query.push(") or e.object_id = any(").push_bind(Vec::from_iter(object_ids.clone())).push("))");
            }
            if let Some((kind, id)) = &filter.target {
                let kind: &'static str = (*kind).into();
                query.push(" and e.target_id = ").push_bind(id.clone());
                query.push(" and e.target_kind = ").push_bind(kind);
            }
            match filter.action {
                Some(ActionFilter::One(action)) => {
                    query.push(" and e.action = ").push_bind(action.as_str());
                }
                Some(ActionFilter::AccessLost) => {
                    query.push(ACCESS_LOST);
                }
                None => {}
            }
            if let Some(from) = filter.from {
                query.push(" and e.at >= ").push_bind(from);
            }
            if let Some(until) = filter.until {
                query.push(" and e.at < ").push_bind(until);
            }
            if let Some(run_id) = filter.run_id {
                query.push(" and e.run_id = ").push_bind(run_id);
            }
        };
        self.list(&AUDIT_EVENTS, &PageRequest { sort: Sort::Newest, search: None, ..request.clone() }, only).await
    }

    /// The users that a text means: an object ID, the key of a row, or words of a name or an e-mail address. An ID counts
    /// although there is no such row any more. `None` if the words match more than 100 users.
    pub async fn user_keys(&self, text: &str) -> Result<Option<UserKeys>, DbError> {
        let text = text.trim();
        let id = Uuid::parse_str(text).map_or_else(|_| text.to_owned(), |id| id.to_string());
        let mut query: Builder = QueryBuilder::new(self.relations());
        query.push("(select user_id, object_id from users where user_id = ").push_bind(text.to_owned());
        query.push(" union all select user_id, object_id from identities where is_owner and object_id = ");
        query.push_bind(id.clone()).push(")");
        // An ID consists of words, too.
        if let Some(words) = ts_query(text).filter(|_| Uuid::parse_str(text).is_err()) {
            // As for other lists, Postgres shall not look for the first matches in another order.
            query.push(" union all (select * from (select user_id, object_id from users u where ").push(USER_WORDS);
            query.push(" @@ to_tsquery('simple', ").push_bind(words).push(") offset 0) found order by user_id limit ");
            query.push_bind(i64::try_from(MAX_USERS + 1).unwrap_or(i64::MAX)).push(")");
        }
        let rows: Vec<(String, Option<String>)> =
            query.build_query_as().fetch_all(&mut *self.connection().await?).await?;
        let mut keys = UserKeys { user_ids: [text.to_owned()].into(), object_ids: [id].into() };
        let found: BTreeSet<_> = rows.iter().map(|(user_id, _)| user_id).collect();
        if found.len() > MAX_USERS {
            return Ok(None);
        }
        for (user_id, object_id) in rows {
            keys.user_ids.insert(user_id);
            keys.object_ids.extend(object_id);
        }
        Ok(Some(keys))
    }
}
