-- What the schema of LiteLLM 1.110.2 (litellm/proxy/schema.prisma) has beyond the migrations of litellm-proxy-extras
-- 0.4.110, the newest release of that package. Only tables and columns; indexes that no test needs are left out.

alter table "LiteLLM_ClaudeCodePluginTable" add column anonymous_download_count bigint not null default 0;

create table "LiteLLM_ClaudeCodePluginVersion" (
    id text primary key,
    plugin_id text not null references "LiteLLM_ClaudeCodePluginTable" (id) on delete cascade on update cascade,
    version text,
    description text,
    manifest_json text,
    published_at timestamp(3),
    published_by text,
    archive_available boolean not null default false,
    content bytea,
    unique (plugin_id, version)
);

create table "LiteLLM_ClaudeCodePluginDownload" (
    id bigserial primary key,
    plugin_id text not null references "LiteLLM_ClaudeCodePluginTable" (id) on delete cascade on update cascade,
    downloaded_at timestamp(3) not null default current_timestamp,
    version text,
    digest text not null,
    authenticated boolean not null,
    user_id text,
    user_email text,
    key_alias text,
    team_id text,
    team_alias text
);

create table "LiteLLM_ClaudeCodePluginUpload" (
    plugin_name text primary key references "LiteLLM_ClaudeCodePluginTable" (name) on delete cascade on update cascade,
    content bytea not null
);

create table "LiteLLM_SkillSubmission" (
    id text primary key,
    plugin_name text not null,
    operation text not null,
    status text not null default 'pending_review',
    proposal_json text not null,
    archive_content bytea,
    submitted_by text not null,
    created_at timestamp(3) not null default current_timestamp,
    base_plugin_id text,
    base_updated_at timestamp(3),
    reviewed_by text,
    reviewed_at timestamp(3),
    rejection_reason text,
    scan_json text
);

create type "AccountingDeliveryState" as enum ('pending', 'applied', 'parked');

create table "LiteLLM_SpendLogDelivery" (
    delivery_id text primary key,
    request_id text not null,
    state "AccountingDeliveryState" not null default 'pending',
    accounting_payload jsonb not null,
    is_batch boolean not null,
    attempts int not null default 0,
    next_attempt_at timestamp(3) not null default current_timestamp,
    applied_at timestamp(3),
    last_error text,
    created_at timestamp(3) not null default current_timestamp
);

create table "LiteLLM_SubscriptionAccountTable" (
    subscription_account_id text primary key,
    custom_llm_provider text not null,
    account_id text not null,
    label text,
    monthly_fee double precision not null,
    currency text not null,
    billing_period_start text not null,
    created_at timestamp(3) not null default current_timestamp,
    created_by text not null,
    updated_at timestamp(3) not null default current_timestamp,
    updated_by text not null,
    unique (custom_llm_provider, account_id)
);
