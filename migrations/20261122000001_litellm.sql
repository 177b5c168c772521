-- What the store in a LiteLLM proxy's own tables has to remember beside them: whose row it is, which role Entra gave,
-- which memberships we gave. No foreign keys to LiteLLM's tables: those would be triggers on them.

create table entraway.litellm_users (
    object_id      text primary key,
    tenant_id      uuid not null,
    -- The key of the person's row in "LiteLLM_UserTable", and when that row was made: another one under the same key is
    -- somebody else's work.
    user_id        text not null,
    row_created_at timestamp(3),
    -- As in entraway.users.
    sso_user_role  text
);
create index litellm_users_user_id on entraway.litellm_users (user_id);

create table entraway.litellm_organization_members (
    user_id         text not null,
    organization_id text not null,
    row_created_at  timestamp(3),
    sso_user_role   text,
    created_at      timestamptz not null,
    primary key (user_id, organization_id)
);

create table entraway.litellm_team_members (
    user_id    text not null,
    team_id    text not null,
    created_at timestamptz not null,
    primary key (user_id, team_id)
);

-- How often the sync's transaction lost a race and was tried again.
alter table entraway.sync_runs add column retries integer not null default 0;

-- As before, and now with budgets: an object that holds for some keys of the rows the row of "LiteLLM_BudgetTable" that
-- such a row refers to. Both are made, or neither: a budget without its owner would stay for ever.
drop function entraway.insert_rows(regclass, text, jsonb);

create function entraway.insert_rows(target regclass, key_column text, new_rows jsonb, budgets jsonb default '{}')
returns table (key text, refused text)
language plpgsql as $$
declare
    columns text;
    insertion text;
    there text;
    budget_columns text;
    budget_insertion text;
    one jsonb;
    made text[];
    made_by_others boolean;
begin
    select string_agg(format('%I', name), ', ') into columns from jsonb_object_keys(new_rows -> 0) name;
    insertion := format(
        'with made as (insert into %s (%s) select %s from jsonb_populate_recordset(null::%s, $1) order by %I '
        'on conflict (%I) do nothing returning %I as key) select array_agg(key) from made',
        target, columns, columns, target, key_column, key_column, key_column);
    there := format('select exists (select from %s where %I = $1)', target, key_column);
    select string_agg(format('%I', name), ', ') into budget_columns
    from (select value from jsonb_each(budgets) limit 1) budget, jsonb_object_keys(budget.value) name;
    budget_insertion := format(
        'insert into public."LiteLLM_BudgetTable" (%s) select %s '
        'from jsonb_each($1) budget, jsonb_populate_record(null::public."LiteLLM_BudgetTable", budget.value) '
        'where budget.key = any($2)', budget_columns, budget_columns);
    begin
        if budgets <> '{}' then
            execute budget_insertion using budgets,
                array(select value ->> key_column from jsonb_array_elements(new_rows));
        end if;
        execute insertion into made using new_rows;
        -- What would be refused at commit is refused here.
        set constraints all immediate;
        if cardinality(made) is distinct from jsonb_array_length(new_rows) then
            raise exception 'not all rows were made' using errcode = 'EWROW';
        end if;
        return query select unnest(made), null::text;
        return;
    exception when others then
        if left(sqlstate, 2) in ('08', '25', '40', '53', '55', '57', '58', 'XX') then
            raise;
        end if;
    end;
    for one in select value from jsonb_array_elements(new_rows) order by value ->> key_column loop
        begin
            if budgets <> '{}' then
                execute budget_insertion using budgets, array[one ->> key_column];
            end if;
            execute insertion into made using jsonb_build_array(one);
            set constraints all immediate;
            if made is null then
                raise exception 'the row was not made' using errcode = 'EWROW';
            end if;
            return query select unnest(made), null::text;
        exception when others then
            if left(sqlstate, 2) in ('08', '25', '40', '53', '55', '57', '58', 'XX') then
                raise;
            end if;
            key := one ->> key_column;
            refused := left(sqlstate || ': ' || sqlerrm, 300);
            if sqlstate = 'EWROW' then
                -- Somebody else's row is there already, and is left alone; or there is none, as a trigger can have it.
                execute there into made_by_others using key;
                refused := '02000: no row was made and no error raised, as a trigger can have it';
                continue when made_by_others;
            end if;
            return next;
        end;
    end loop;
end
$$;
