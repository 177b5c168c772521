-- Column names are LiteLLM's where LiteLLM has the column. Ids are text, as there.

create table entraway.organizations (
    organization_id    text primary key,
    organization_alias text not null,
    models             text[] not null default '{}',
    max_budget         double precision,
    budget_duration    text,
    budget_reset_at    timestamptz,
    tpm_limit          bigint,
    rpm_limit          bigint,
    spend              double precision not null default 0,
    metadata           jsonb not null default '{}',
    created_at         timestamptz not null default now(),
    updated_at         timestamptz not null default now()
);

create table entraway.teams (
    team_id         text primary key,
    team_alias      text not null,
    organization_id text references entraway.organizations on delete set null,
    models          text[] not null default '{}',
    max_budget      double precision,
    budget_duration text,
    budget_reset_at timestamptz,
    tpm_limit       bigint,
    rpm_limit       bigint,
    spend           double precision not null default 0,
    blocked         boolean not null default false,
    metadata        jsonb not null default '{}',
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now()
);
create index teams_organization_id on entraway.teams (organization_id);

-- user_id is the Entra object id; (tenant_id, object_id) is who the person is. E-mail is data, never a key.
create table entraway.users (
    user_id         text primary key,
    tenant_id       uuid not null,
    object_id       uuid not null,
    user_email      text,
    user_alias      text,
    user_role       text,
    -- The role that the sync last gave because Entra said so. Where it differs from user_role, somebody changed that
    -- by hand, and it stays as long as Entra gives none.
    sso_user_role   text,
    models          text[] not null default '{}',
    max_budget      double precision,
    budget_duration text,
    budget_reset_at timestamptz,
    spend           double precision not null default 0,
    metadata        jsonb not null default '{}',
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    unique (tenant_id, object_id),
    check (user_id = object_id::text)
);

create table entraway.organization_members (
    user_id         text not null references entraway.users on delete cascade,
    organization_id text not null references entraway.organizations on delete cascade,
    user_role       text,
    sso_user_role   text,
    source          text not null default 'manual' check (source in ('entra', 'manual')),
    spend           double precision not null default 0,
    created_at      timestamptz not null default now(),
    updated_at      timestamptz not null default now(),
    primary key (user_id, organization_id)
);
create index organization_members_organization_id on entraway.organization_members (organization_id);

create table entraway.team_members (
    user_id    text not null references entraway.users on delete cascade,
    team_id    text not null references entraway.teams on delete cascade,
    role       text not null default 'user' check (role in ('user', 'admin')),
    source     text not null default 'manual' check (source in ('entra', 'manual')),
    spend      double precision not null default 0,
    created_at timestamptz not null default now(),
    primary key (user_id, team_id)
);
create index team_members_team_id on entraway.team_members (team_id);

-- A session is a random token in a cookie; only its SHA-256 is here.
create table entraway.sessions (
    token_hash   bytea primary key,
    user_id      text not null,
    tenant_id    uuid not null,
    sid          text,
    created_at   timestamptz not null,
    last_seen_at timestamptz not null,
    expires_at   timestamptz not null
);
create index sessions_user_id on entraway.sessions (user_id);
create index sessions_expires_at on entraway.sessions (expires_at);

-- Sign-in attempts that were used up, until they would have expired anyway.
create table entraway.used_attempts (
    attempt_id text primary key,
    expires_at timestamptz not null
);
create index used_attempts_expires_at on entraway.used_attempts (expires_at);

-- The key that seals cookies where the operator gave none: one row, so that replicas agree.
create table entraway.cookie_key (
    only_one   boolean primary key default true check (only_one),
    key        bytea not null,
    created_at timestamptz not null default now()
);

-- One row a sign-in: who, what was read, what was written, what failed and why, how long.
create table entraway.sync_runs (
    run_id               uuid primary key default gen_random_uuid(),
    user_id              text not null,
    tenant_id            uuid not null,
    started_at           timestamptz not null,
    assigned_groups      text not null check (assigned_groups in ('known', 'unknown', 'not_configured')),
    assigned_groups_read integer,
    assigned_groups_why  text,
    member_of            text not null check (member_of in ('known', 'unknown')),
    member_of_read       integer,
    member_of_why        text,
    organizations_created text[] not null,
    teams_created         text[] not null,
    organizations_joined  text[] not null,
    teams_joined          text[] not null,
    user_created          boolean not null,
    user_updated          boolean not null,
    failures             jsonb not null,
    notes                jsonb not null,
    graph_ms             double precision not null,
    store_ms             double precision not null
);
create index sync_runs_user_id on entraway.sync_runs (user_id, started_at desc);
create index sync_runs_started_at on entraway.sync_runs (started_at);

-- Inserts rows into a table, as a set; where the set is refused (a trigger, a constraint), one by one, so that one bad
-- row costs no other. Rows that are there already are left alone. Gives the keys of the rows it made, and of those that
-- were refused, with the reason; a row that is not there afterwards counts as refused, even if nothing raised an error.
-- Troubles that are no row's own (out of disk, a deadlock, a shutdown) are raised.
create function entraway.insert_rows(target regclass, key_column text, new_rows jsonb)
returns table (key text, refused text)
language plpgsql as $$
declare
    columns text;
    insertion text;
    passed_over text;
    one jsonb;
    made text[];
begin
    select string_agg(format('%I', name), ', ') into columns from jsonb_object_keys(new_rows -> 0) name;
    insertion := format(
        'with made as (insert into %s (%s) select %s from jsonb_populate_recordset(null::%s, $1) order by %I '
        'on conflict (%I) do nothing returning %I as key) select array_agg(key) from made',
        target, columns, columns, target, key_column, key_column, key_column);
    passed_over := format(
        'select one ->> %L, ''02000: no row was made and no error raised, as a trigger can have it'' '
        'from jsonb_array_elements($1) one where not exists (select from %s there where there.%I = one ->> %L)',
        key_column, target, key_column, key_column);
    begin
        execute insertion into made using new_rows;
        -- What would be refused at commit is refused here.
        set constraints all immediate;
        return query select unnest(made), null::text;
        return query execute passed_over using new_rows;
        return;
    exception when others then
        if left(sqlstate, 2) in ('08', '25', '40', '53', '55', '57', '58', 'XX') then
            raise;
        end if;
    end;
    for one in select value from jsonb_array_elements(new_rows) order by value ->> key_column loop
        begin
            execute insertion into made using jsonb_build_array(one);
            set constraints all immediate;
            return query select unnest(made), null::text;
            return query execute passed_over using jsonb_build_array(one);
        exception when others then
            if left(sqlstate, 2) in ('08', '25', '40', '53', '55', '57', '58', 'XX') then
                raise;
            end if;
            return query select one ->> key_column, left(sqlstate || ': ' || sqlerrm, 300);
        end;
    end loop;
end
$$;
