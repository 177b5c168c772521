-- Accounts that Entra disabled or deleted, with what a run blocked, so that a restore undoes exactly that.

-- Audit events are written by every sign-in: fail and be started again rather than hold them up.
set local lock_timeout = '3s';

create table entraway.disabled_accounts (
    object_id          text not null,
    tenant_id          uuid not null,
    -- Key of the user's row, and in a LiteLLM database when that row was created: another one under the same key belongs to
    -- another user. Null without a row.
    user_id            text,
    row_created_at     timestamp(3),
    -- disabled, soft_deleted or deleted.
    cause              text not null,
    -- When a run first found the account disabled.
    since              timestamptz not null,
    -- The last run that changed something.
    run_id             uuid not null,
    -- The run set metadata.scim_active of the user's row in a LiteLLM database to false; and the value before, null without
    -- one.
    blocked            boolean not null default false,
    scim_active_before jsonb,
    -- The operator role that the run lowered. It comes back only if Entra gives it at the next sign-in.
    role_before        text,
    primary key (object_id, tenant_id)
);

-- A disabled account is lost access, too.
drop index entraway.audit_events_lost;
drop index entraway.audit_events_target_lost;
create index audit_events_lost on entraway.audit_events (at, event_id)
    where result = 'applied' and action in
        ('team_member_removed', 'organization_member_removed', 'keys_blocked', 'sessions_revoked', 'sign_in_denied',
         'account_disabled');
create index audit_events_target_lost on entraway.audit_events (target_id, at, event_id)
    where result = 'applied' and action in
        ('team_member_removed', 'organization_member_removed', 'keys_blocked', 'sessions_revoked', 'sign_in_denied',
         'account_disabled');
-- Those of one user.
create index audit_events_user_lost on entraway.audit_events (user_id, at, event_id)
    where result = 'applied' and action in
        ('team_member_removed', 'organization_member_removed', 'keys_blocked', 'sessions_revoked', 'sign_in_denied',
         'account_disabled');
create index audit_events_object_lost on entraway.audit_events (object_id, at, event_id)
    where result = 'applied' and action in
        ('team_member_removed', 'organization_member_removed', 'keys_blocked', 'sessions_revoked', 'sign_in_denied',
         'account_disabled');
