-- Sign-ins that failed before the user was known, for the page "Syncs". The number of rows per hour is limited, and no row
-- names a user or a client address.
create table entraway.failed_sign_ins (
    sign_in_id uuid primary key default gen_random_uuid(),
    failed_at  timestamptz not null,
    -- The code of the error page, such as canceled.
    code       text not null,
    -- The number of Entra's error, such as 50105, if it gave one.
    aadsts     text,
    request_id text not null
);
create index failed_sign_ins_newest on entraway.failed_sign_ins (failed_at, sign_in_id);
create index failed_sign_ins_request_id on entraway.failed_sign_ins (request_id);
