-- Older records, so that they are found by their groups. Only those about which there is something to find.
update entraway.sync_runs r
set touched = array(
    select unnest(organizations_created || teams_created || organizations_joined || teams_joined)
    union select failure ->> 'id' from jsonb_array_elements(r.failures) failure
    union select note ->> 'team' from jsonb_array_elements(r.notes) note where note ? 'team')
where cardinality(organizations_created || teams_created || organizations_joined || teams_joined) > 0
   or failures <> '[]' or notes <> '[]';
