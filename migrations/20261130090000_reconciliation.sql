-- Reconciliation: comparing all managed memberships with Entra, without a sign-in.

-- One row: which replica runs the reconciliation, and what runs have accepted.
create table entraway.reconciliation_state (
    only_row          boolean primary key default true check (only_row),
    -- The lease. Only the replica that holds it runs, until it expires. Each time another replica takes it, the fencing number
    -- grows, so that a replica that was paused can no longer write.
    holder            uuid,
    fence             bigint not null default 0,
    lease_expires_at  timestamptz not null default '-infinity',
    -- When an operator or a command last asked for a run at once.
    requested_at      timestamptz not null default '-infinity',
    -- Settings that decide about removals, as a hash, when a run last removed something or had nothing to remove. Null before
    -- the first such run.
    accepted_settings text
);
insert into entraway.reconciliation_state default values;

create table entraway.reconciliation_runs (
    -- UUID version 7, so that IDs are ordered by time.
    run_id       uuid primary key,
    -- interval, request or command: why the run began.
    trigger      text not null,
    -- Before the first read from Entra. A user's sign-in that started later decides about the user's memberships.
    started_at   timestamptz not null,
    finished_at  timestamptz,
    -- running; done; held, if the circuit breaker holds changes; incomplete, if groups could not be compared; failed;
    -- interrupted, if the replica lost the lease or was stopped.
    status       text not null,
    -- Managed team memberships whose groups are complete.
    compared     integer not null default 0,
    -- Memberships that the run added.
    added        integer not null default 0,
    -- Memberships that the run removed, and those that changed since the plan and were left alone.
    removed      integer not null default 0,
    skipped      integer not null default 0,
    -- Accounts that the run disabled or restored.
    accounts     integer not null default 0,
    -- Groups that could not be compared.
    incomplete   integer not null default 0,
    -- Changes that the circuit breaker held, and the plan that an operator can approve.
    held         integer not null default 0,
    held_plan    text,
    -- The plan: changes, kept memberships, incomplete groups and exceeded limits.
    plan         jsonb,
    -- Why the run failed.
    error        text
);
create index reconciliation_runs_complete on entraway.reconciliation_runs (finished_at)
    where status in ('done', 'held') and incomplete = 0;
create index reconciliation_runs_newest on entraway.reconciliation_runs (started_at desc, run_id desc);

-- Plans that the circuit breaker held.
create table entraway.held_plans (
    -- Hash of the held changes. Another change makes another plan.
    plan_hash   text primary key,
    -- The run that held it first, and when.
    run_id      uuid not null,
    held_at     timestamptz not null,
    -- held, approved, rejected, applied, or lapsed: a later run had other changes, or the approval expired.
    status      text not null,
    -- An operator's object ID, or `command`.
    decided_by  text,
    decided_at  timestamptz,
    -- Number of held changes.
    changes     integer not null
);
create index held_plans_newest on entraway.held_plans (held_at desc);
