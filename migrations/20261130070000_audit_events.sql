-- Audit events: who got or lost access to what, when, and why. The service only inserts events, and deletes them after the
-- retention period.
create table entraway.audit_events (
    -- UUID version 7, so that IDs are ordered by time.
    event_id    uuid primary key,
    at          timestamptz not null,
    -- The sync run that caused the event.
    run_id      uuid,
    -- sign_in, operator, user, command or job.
    actor       text not null,
    -- Object ID of the actor, if it is a user.
    actor_id    text,
    -- What happened, such as team_member_removed.
    action      text not null,
    -- Key of the user's row, whose access changed.
    user_id     text,
    -- Object ID of that user in Entra, if known. In a LiteLLM database it can differ from the key.
    object_id   text,
    -- team, organization, account or session.
    target_kind text not null,
    target_id   text,
    -- Its name at the time.
    target_name text,
    -- Why, such as left_group.
    cause       text,
    -- The Entra group that gave the membership.
    group_id    text,
    before      jsonb,
    after       jsonb,
    -- What the decision is based on, such as when the list was read.
    evidence    jsonb,
    -- applied, or kept if a guard prevented it.
    result      text not null
);
create index audit_events_newest on entraway.audit_events (at, event_id);
create index audit_events_user on entraway.audit_events (user_id, at, event_id);
create index audit_events_object on entraway.audit_events (object_id, at, event_id);
create index audit_events_target on entraway.audit_events (target_id, at, event_id);
create index audit_events_action on entraway.audit_events (action, at, event_id);
create index audit_events_run on entraway.audit_events (run_id, at, event_id);
-- Events by which a user lost access, which are rare among the others: all, and those of one team or organization.
create index audit_events_lost on entraway.audit_events (at, event_id)
    where result = 'applied' and action in
        ('team_member_removed', 'organization_member_removed', 'keys_blocked', 'sessions_revoked', 'sign_in_denied');
create index audit_events_target_lost on entraway.audit_events (target_id, at, event_id)
    where result = 'applied' and action in
        ('team_member_removed', 'organization_member_removed', 'keys_blocked', 'sessions_revoked', 'sign_in_denied');

-- A UUID version 7 of a time (RFC 9562, section 5.7), for events whose number only the statement knows.
create function entraway.uuid_at(at timestamptz) returns uuid language sql volatile as $$
    select encode(
        set_bit(set_bit(
            overlay(uuid_send(gen_random_uuid())
                    placing substring(int8send((extract(epoch from at) * 1000)::bigint) from 3) from 1 for 6),
            52, 1), 53, 1),
        'hex')::uuid
$$;

create function entraway.reject_update() returns trigger language plpgsql as $$
begin
    raise exception 'audit events cannot be changed' using errcode = 'insufficient_privilege';
end
$$;
create trigger append_only before update on entraway.audit_events
    for each statement execute function entraway.reject_update();
