-- As for organizations: by what somebody is called, which is their name, else their address, else their id.
create index users_by_name on entraway.users (lower(coalesce(nullif(user_alias, ''), user_email, user_id)), user_id);
create index users_by_age on entraway.users (created_at, user_id);
create index users_words on entraway.users
    using gin (entraway.words(coalesce(user_alias, '') || ' ' || coalesce(user_email, '')));
