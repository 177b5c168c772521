-- Roles: every role that the last ID token offered, confirmed rows, and role changes in the sync record.

-- Every sign-in writes to these tables: better to fail and be started again than to have them all wait behind us.
set local lock_timeout = '3s';

-- The valid roles that Entra offered at the last sign-in, the one that counted among them. LiteLLM's own sign-in may
-- have written another one of them into the row, so none of these is a role set by hand. An older version leaves the
-- column as it is; sso_user_role, which it writes, counts beside it.
alter table entraway.users add column sso_user_roles text[] not null default '{}';

alter table entraway.litellm_users
    add column sso_user_roles text[] not null default '{}',
    -- The row was in the proxy's table before the user's first sign-in here. Until an operator confirms it, it is not
    -- raised to an operator role. Rows that an older version adopted stay as they are.
    add column premade boolean not null default false,
    -- The operator role that waits for that confirmation.
    add column withheld_role text;

-- The rows that an operator confirmed with `entraway users adopt`.
create table entraway.litellm_adopted_rows (
    object_id      text primary key,
    user_id        text not null,
    -- Another row under the same key needs its own confirmation.
    row_created_at timestamp(3),
    adopted_at     timestamptz not null
);

-- The roles that a sign-in changed: an array of {"scope", "before", "after"}; the scope is "global" or an organization's
-- id.
alter table entraway.sync_runs add column role_changes jsonb not null default '[]';
