//! Accounts that Entra disabled or deleted: reads what the store knows of them, ends their access, and gives it back. Each a
//! constant number of statements for any number of accounts.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::types::Json;
use sqlx::{AssertSqlSafe, Row as _};
use uuid::Uuid;

use super::lease::check;
use super::{Lease, MemberLocks};
use crate::db::apply::{Tables as _, should_retry_transaction};
use crate::db::connection::DbConnection;
use crate::db::litellm::{LiteLlm, missing_account_privileges};
use crate::db::native::Native;
use crate::db::{Db, DbError, audit};
use crate::domain::{Identity, ObjectId, Redacted, StoreKind, TenantId, UserRole};
use crate::reconciliation::{
    AccountAction, AccountChange, AccountOutcome, DisabledAccount, StoredAccounts, account_events,
};

/// The run that applies account changes.
#[derive(Clone, Copy, Debug)]
pub struct AccountRun {
    pub run_id: Uuid,
    /// Before the first read from Entra. A sign-in that started later shows that the account is enabled, and wins.
    pub started_at: DateTime<Utc>,
    pub now: DateTime<Utc>,
    /// What an operator role is lowered to.
    pub lowered_role: UserRole,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliedAccounts {
    pub outcomes: Vec<AccountOutcome>,
    /// Users who signed in meanwhile, whose account was restored meanwhile, or who cannot be unblocked without privileges.
    pub skipped: Vec<Identity>,
    /// Privileges that the database user lacks to block and unblock users in LiteLLM. The rest was done.
    pub missing_privileges: Vec<String>,
}

/// Operator roles, in SQL.
macro_rules! is_operator {
    ($role:literal) => {
        concat!("coalesce(lower(", $role, ") in ('proxy_admin', 'proxy_admin_viewer'), false)")
    };
}

/// `{row}` and `{access}` differ by store: the user's row, and whether it gives access.
const STORED: &str = "select
    (select coalesce(json_agg(json_build_object('tenant_id', tenant_id, 'object_id', user_id)), '[]')
     from (select distinct tenant_id, user_id from entraway.sessions) s) as sessions,
    {operators} as operators,
    (select coalesce(json_object_agg(d.object_id, json_build_object(
                'tenant_id', d.tenant_id, 'cause', d.cause, 'has_access', {access})), '{}')
     from entraway.disabled_accounts d left join {row}) as disabled";

const NATIVE_OPERATORS: &str = concat!(
    "(select coalesce(json_agg(json_build_object('tenant_id', tenant_id, 'object_id', object_id)), '[]')
      from entraway.users where ",
    is_operator!("user_role"),
    ")"
);

const LITELLM_OPERATORS: &str = concat!(
    r#"(select coalesce(json_agg(json_build_object('tenant_id', p.tenant_id, 'object_id', p.object_id)), '[]')
      from entraway.litellm_users p join public."LiteLLM_UserTable" u using (user_id)
      where p.row_created_at is not distinct from u.created_at and "#,
    is_operator!("u.user_role"),
    ")"
);

/// Whether a sign-in of the user `w` began after the run: it wins. Beyond a minute the clocks of replicas differ.
const NOT_SUPERSEDED: &str = "not exists (
        select from entraway.sync_runs r
        where r.user_id = w.object_id and r.tenant_id = w.tenant_id
          and r.started_at > $4 and r.started_at < $5 + interval '1 minute')";

/// Ends sessions, blocks the user's row, lowers an operator role, and remembers what was changed. All parts see the tables
/// as they were before.
///
/// An account that was disabled before keeps what was remembered then, as long as the row is the same.
const DISABLE: &str = "with wanted as materialized (
        select w.object_id, w.tenant_id, w.cause
        from unnest($1::text[], $2::uuid[], $3::text[]) as w(object_id, tenant_id, cause)
        where {not_superseded}
    ), account as materialized (
        select w.object_id, w.tenant_id, w.cause, {account}
    ), known as materialized (
        select d.object_id, d.tenant_id, d.cause from entraway.disabled_accounts d join wanted using (object_id, tenant_id)
    ), {changed_users}
    ), remembered as (
        insert into entraway.disabled_accounts as known
               (object_id, tenant_id, user_id, row_created_at, cause, since, run_id, blocked, scim_active_before, role_before)
        select object_id, tenant_id, user_id, row_created_at, cause, $5, $6, blocks,
               case when blocks then scim_active end, case when is_operator then user_role end
        from account
        on conflict (object_id, tenant_id) do update
        set (user_id, row_created_at, cause, run_id, blocked, scim_active_before, role_before) = (
            select excluded.user_id, excluded.row_created_at, excluded.cause, excluded.run_id,
                   excluded.blocked or same and known.blocked,
                   case when same and known.blocked then known.scim_active_before else excluded.scim_active_before end,
                   coalesce(excluded.role_before, case when same then known.role_before end)
            from (select (known.user_id, known.row_created_at)
                         is not distinct from (excluded.user_id, excluded.row_created_at) as same) row)
    ), to_end as materialized (
        select s.token_hash from entraway.sessions s join wanted w on s.user_id = w.object_id and s.tenant_id = w.tenant_id
        order by s.token_hash for update of s
    ), ended as (
        delete from entraway.sessions where token_hash in (select token_hash from to_end) returning user_id, tenant_id
    ), notified as materialized (
        select entraway.tell_sessions(array(select object_id from wanted))
    )
    select a.object_id, a.tenant_id, a.user_id, a.cause is distinct from known.cause as is_news,
           case when a.is_operator then a.user_role end as role_before, a.blocks as blocked_changed,
           (select count(*) from ended e where e.user_id = a.object_id and e.tenant_id = a.tenant_id) as sessions
    from account a left join known using (object_id, tenant_id) cross join notified";

const NATIVE_ACCOUNT: &str = concat!(
    "u.user_id, null::timestamp as row_created_at, u.user_role, null::jsonb as scim_active, false as blocks, ",
    is_operator!("u.user_role"),
    " as is_operator
        from wanted w left join entraway.users u on u.user_id = w.object_id and u.tenant_id = w.tenant_id"
);

const NATIVE_CHANGED: &str = "changed_users as (
        update entraway.users u set user_role = $7, sso_user_role = null, sso_user_roles = '{}', updated_at = $5
        from account a where u.user_id = a.user_id and a.is_operator";

/// The grants of the lowered role are forgotten, so that the role does not count as given by Entra.
const LITELLM_CHANGED: &str = r#"lowered as (
        update entraway.litellm_users p set sso_user_role = null, sso_user_roles = '{}', withheld_role = null
        from account a where p.object_id = a.object_id and p.tenant_id = a.tenant_id and a.is_operator
    ), changed_users as (
        update public."LiteLLM_UserTable" u
        set user_role = case when a.is_operator then $7 else u.user_role end, updated_at = $5 at time zone 'UTC'{block}
        from account a where u.user_id = a.user_id and (a.is_operator or a.blocks)"#;

/// Never replaces the object, in which LiteLLM and operators keep other keys.
const BLOCK: &str = r#",
            metadata = case when a.blocks
                then case jsonb_typeof(u.metadata) when 'object' then u.metadata else '{}' end || '{"scim_active": false}'
                else u.metadata end"#;

/// Gives back the former value, if the row still has ours, and forgets the account.
const RESTORE: &str = "with wanted as materialized (
        select d.object_id, d.tenant_id, d.user_id, d.row_created_at, d.blocked, d.scim_active_before
        from entraway.disabled_accounts d
             join unnest($1::text[], $2::uuid[]) as w(object_id, tenant_id) using (object_id, tenant_id)
        where {can_restore} and $3::timestamptz is not null
    ), {changed_users}
    ), forgotten as (
        delete from entraway.disabled_accounts d using wanted w
        where d.object_id = w.object_id and d.tenant_id = w.tenant_id
    )
    select w.object_id, w.tenant_id, w.user_id, true as is_news, null::text as role_before,
           w.user_id is not null and w.user_id in (select user_id from changed_users) as blocked_changed,
           0::bigint as sessions
    from wanted w";

const LITELLM_RESTORED: &str = r#"changed_users as (
        update public."LiteLLM_UserTable" u
        set updated_at = $3 at time zone 'UTC',
            metadata = case when w.scim_active_before is null then u.metadata - 'scim_active'
                else u.metadata || jsonb_build_object('scim_active', w.scim_active_before) end
        from wanted w
        where w.blocked and u.user_id = w.user_id and u.created_at is not distinct from w.row_created_at
          and u.metadata -> 'scim_active' = 'false'
        returning u.user_id"#;

/// The user's row in a LiteLLM database, if it is the one that the sync knows.
fn litellm_account(metadata: bool) -> String {
    let (column, scim_active) =
        if metadata { (", u.metadata", "u.metadata -> 'scim_active'") } else { ("", "null::jsonb") };
    format!(
        r#"u.user_id, u.created_at as row_created_at, u.user_role, {scim_active} as scim_active,
               {metadata} and u.user_id is not null and {scim_active} is distinct from 'false' as blocks, {is_operator} as is_operator
        from wanted w left join lateral (
            select u.user_id, u.created_at, u.user_role{column}
            from entraway.litellm_users p join public."LiteLLM_UserTable" u using (user_id)
            where p.object_id = w.object_id and p.tenant_id = w.tenant_id
              and p.row_created_at is not distinct from u.created_at) u on true"#,
        is_operator = is_operator!("u.user_role"),
    )
}

fn disable_sql(kind: StoreKind, metadata: bool) -> String {
    let (account, changed) = match kind {
        StoreKind::Native => (NATIVE_ACCOUNT.to_owned(), NATIVE_CHANGED.to_owned()),
        StoreKind::LiteLlm => {
            (litellm_account(metadata), LITELLM_CHANGED.replace("{block}", if metadata { BLOCK } else { "" }))
        }
    };
    let sql = DISABLE.replace("{not_superseded}", NOT_SUPERSEDED).replace("{account}", &account);
    sql.replace("{changed_users}", &changed)
}

/// Without privileges on `metadata`, only accounts that were not blocked in LiteLLM are restored.
fn restore_sql(kind: StoreKind, metadata: bool) -> String {
    let unchanged = "changed_users as (select null::text as user_id where false";
    let (can_restore, changed) = match (kind, metadata) {
        (StoreKind::LiteLlm, true) => ("true", LITELLM_RESTORED),
        (StoreKind::LiteLlm, false) => ("not d.blocked", unchanged),
        (StoreKind::Native, _) => ("true", unchanged),
    };
    RESTORE.replace("{can_restore}", can_restore).replace("{changed_users}", changed)
}

/// A row of [`DISABLE`] and [`RESTORE`].
#[derive(sqlx::FromRow)]
struct OutcomeRow {
    object_id: String,
    tenant_id: Uuid,
    user_id: Option<String>,
    is_news: bool,
    role_before: Option<String>,
    blocked_changed: bool,
    sessions: i64,
}

impl OutcomeRow {
    /// `None` if the row is of no requested user.
    fn outcome(self, actions: &BTreeMap<Identity, AccountAction>) -> Option<AccountOutcome> {
        let user = Identity { tenant_id: self.tenant_id.into(), object_id: self.object_id.parse().ok()? };
        Some(AccountOutcome {
            user,
            user_id: self.user_id.map(Redacted::from),
            action: *actions.get(&user)?,
            is_news: self.is_news,
            sessions: usize::try_from(self.sessions).unwrap_or_default(),
            role_before: self.role_before,
            blocked_changed: self.blocked_changed,
        })
    }
}

impl Db {
    /// What is known of accounts apart from memberships: sessions, operator roles, and accounts that were disabled before.
    pub async fn stored_accounts(&self) -> Result<StoredAccounts, DbError> {
        let mut connection = self.connection().await?;
        let (operators, row, missing_privileges) = match self.kind {
            StoreKind::Native => (
                NATIVE_OPERATORS,
                "entraway.users u on u.user_id = d.object_id and u.tenant_id = d.tenant_id",
                Vec::new(),
            ),
            StoreKind::LiteLlm => (
                LITELLM_OPERATORS,
                r#"entraway.litellm_users p on p.object_id = d.object_id and p.tenant_id = d.tenant_id
                   left join public."LiteLLM_UserTable" u
                   on u.user_id = p.user_id and u.created_at is not distinct from p.row_created_at"#,
                missing_account_privileges(&mut connection).await?,
            ),
        };
        let access = if self.kind == StoreKind::LiteLlm && missing_privileges.is_empty() {
            concat!(
                is_operator!("u.user_role"),
                " or u.user_id is not null and u.metadata -> 'scim_active' is distinct from 'false'"
            )
        } else {
            is_operator!("u.user_role")
        };
        let sql = STORED.replace("{operators}", operators).replace("{row}", row).replace("{access}", access);
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&mut *connection).await?;
        let Json(sessions) = row.try_get("sessions")?;
        let Json(operators) = row.try_get("operators")?;
        let Json(disabled): Json<BTreeMap<ObjectId, DisabledAccount>> = row.try_get("disabled")?;
        Ok(StoredAccounts { sessions, operators, disabled, missing_privileges })
    }

    /// Privileges in a LiteLLM database that are missing to block users whose accounts are disabled
    /// (`docs/litellm-grants-removal.sql`).
    pub async fn missing_account_privileges(&self) -> Result<Vec<String>, DbError> {
        match self.kind {
            StoreKind::Native => Ok(Vec::new()),
            StoreKind::LiteLlm => missing_account_privileges(&mut *self.connection().await?).await,
        }
    }

    /// Applies account changes in one transaction, with audit events. Fails with [`DbError::LeaseLost`] without the lease.
    ///
    /// Takes a lock for each user, of which Postgres has room for a few thousand. Retried if it loses a race.
    pub async fn apply_account_changes(
        &self,
        lease: Lease,
        run: &AccountRun,
        changes: &[AccountChange],
    ) -> Result<AppliedAccounts, DbError> {
        let mut retries = 0;
        loop {
            match self.apply_account_changes_once(lease, run, changes).await {
                Err(error) if should_retry_transaction(&mut retries, &error) => {}
                outcome => return outcome,
            }
        }
    }

    async fn apply_account_changes_once(
        &self,
        lease: Lease,
        run: &AccountRun,
        changes: &[AccountChange],
    ) -> Result<AppliedAccounts, DbError> {
        let mut transaction = self.begin().await?;
        check(&mut transaction, lease).await?;
        let (disable, restore): (Vec<_>, Vec<_>) =
            changes.iter().partition(|change| matches!(change.action, AccountAction::Disable { .. }));
        let users = changes.iter().map(|change| change.user.object_id.to_string()).collect();
        let locks = MemberLocks { team: None, users, admins: false };
        match self.kind {
            StoreKind::Native => Native::lock_members(&mut transaction, &locks).await?,
            StoreKind::LiteLlm => LiteLlm::lock_members(&mut transaction, &locks).await?,
        }
        let missing_privileges = match self.kind {
            StoreKind::Native => Vec::new(),
            StoreKind::LiteLlm => missing_account_privileges(&mut transaction).await?,
        };
        let metadata = missing_privileges.is_empty();
        let mut rows: Vec<OutcomeRow> = Vec::new();
        if !disable.is_empty() {
            let causes = disable.iter().map(|change| match change.action {
                AccountAction::Disable { cause } => cause.as_str(),
                AccountAction::Restore => "",
            });
            let (objects, tenants) = keys(&disable);
            let query = sqlx::query_as(AssertSqlSafe(disable_sql(self.kind, metadata)));
            let query = query.bind(objects).bind(tenants).bind(causes.collect::<Vec<_>>());
            let query = query.bind(run.started_at).bind(run.now).bind(run.run_id).bind(run.lowered_role.as_str());
            rows.extend(query.fetch_all(&mut *transaction).await?);
        }
        if !restore.is_empty() {
            let (objects, tenants) = keys(&restore);
            rows.extend(restore_rows(&mut transaction, self.kind, metadata, objects, tenants, run.now).await?);
        }
        let actions = changes.iter().map(|change| (change.user, change.action)).collect();
        let mut outcomes: Vec<AccountOutcome> = rows.into_iter().filter_map(|row| row.outcome(&actions)).collect();
        outcomes.sort_by_key(|outcome| outcome.user);
        let events = account_events(run.run_id, run.started_at, run.lowered_role, &outcomes);
        audit::insert(&mut transaction, run.now, &events, None).await?;
        transaction.inner.commit().await?;
        let is_done = |user: &Identity| outcomes.iter().any(|outcome| outcome.user == *user);
        let skipped = changes.iter().map(|change| change.user).filter(|user| !is_done(user)).collect();
        Ok(AppliedAccounts { outcomes, skipped, missing_privileges })
    }
}

/// Restores the account of a user who is signing in, under the locks of the sign-in. Returns whether it was disabled.
pub(in crate::db) async fn restore_account(
    connection: &mut DbConnection,
    kind: StoreKind,
    user: Identity,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    // An account that was never blocked in LiteLLM needs no privileges.
    let metadata = kind == StoreKind::LiteLlm && missing_account_privileges(connection).await?.is_empty();
    let (objects, tenants) = (vec![user.object_id.to_string()], vec![user.tenant_id.as_uuid()]);
    let rows = restore_rows(connection, kind, metadata, objects, tenants, now).await?;
    Ok(!rows.is_empty())
}

async fn restore_rows(
    connection: &mut DbConnection,
    kind: StoreKind,
    metadata: bool,
    objects: Vec<String>,
    tenants: Vec<Uuid>,
    now: DateTime<Utc>,
) -> Result<Vec<OutcomeRow>, DbError> {
    let query = sqlx::query_as(AssertSqlSafe(restore_sql(kind, metadata)));
    Ok(query.bind(objects).bind(tenants).bind(now).fetch_all(connection).await?)
}

fn keys(changes: &[&AccountChange]) -> (Vec<String>, Vec<Uuid>) {
    let users = || changes.iter().map(|change| change.user);
    (
        users().map(|user| user.object_id.to_string()).collect(),
        users().map(|user| TenantId::as_uuid(user.tenant_id)).collect(),
    )
}
