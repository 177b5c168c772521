-- Lists go by name or by age, and on from the last row of the page before. A search finds the beginnings of words.
create index organizations_by_name on entraway.organizations (lower(organization_alias), organization_id);
create index organizations_by_age on entraway.organizations (created_at, organization_id);
create index organizations_words on entraway.organizations using gin (entraway.words(organization_alias));
