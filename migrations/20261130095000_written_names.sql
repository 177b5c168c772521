-- The last name from Entra that the sync wrote for a team or organization, so that a renamed group's name is followed and a
-- name that was changed by hand is left alone.
create table entraway.written_names (
    -- team or organization
    kind text not null,
    id   text not null,
    name text not null,
    primary key (kind, id)
);
