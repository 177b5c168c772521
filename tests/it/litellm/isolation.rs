//! Entraway's tables are in the schema `entraway`, and the proxy's own schema is unchanged, so that the proxy's
//! migrations and backups are not affected.

use serde_json::{Value, json};

use super::support::{WRITTEN, assigned, define, give_roles, json as query, person, versions, with_team_params, world};
use crate::support::{Browser, World};

/// The catalog of `public` and of the whole database, without statistics that a vacuum changes.
async fn catalog(world: &World) -> Value {
    let sql = "
        with ours as (select oid, relname from pg_class where relnamespace = 'public'::regnamespace),
        kept as (
            select 'class ' || relname as what, to_jsonb(c) - array['relpages', 'reltuples', 'relallvisible',
                   'relallfrozen', 'relfrozenxid', 'relminmxid', 'relhasindex'] as row
            from pg_class c where relnamespace = 'public'::regnamespace
            union all select 'attribute ' || relname || attnum, to_jsonb(a) from pg_attribute a join ours on ours.oid = attrelid
            union all select 'trigger ' || relname || tgname, to_jsonb(t) from pg_trigger t join ours on ours.oid = tgrelid
            union all select 'constraint ' || conname, to_jsonb(c) from pg_constraint c
                      where connamespace = 'public'::regnamespace or confrelid in (select oid from ours)
            union all select 'index ' || indexrelid, to_jsonb(i) from pg_index i join ours on ours.oid = indexrelid
            union all select 'function ' || proname || oid, to_jsonb(p) from pg_proc p where pronamespace = 'public'::regnamespace
            union all select 'type ' || typname, to_jsonb(t) from pg_type t where typnamespace = 'public'::regnamespace
            union all select 'rule ' || r.oid, to_jsonb(r) from pg_rewrite r join ours on ours.oid = ev_class
            union all select 'policy ' || polname, to_jsonb(p) from pg_policy p join ours on ours.oid = polrelid
            union all select 'publication ' || pubname, to_jsonb(p) from pg_publication p
            union all select 'event trigger ' || evtname, to_jsonb(e) from pg_event_trigger e
            union all select 'extension ' || extname, to_jsonb(e) from pg_extension e
            union all select 'default rights ' || oid, to_jsonb(d) from pg_default_acl d
            union all select 'setting ' || setdatabase || ' ' || setrole, to_jsonb(s) from pg_db_role_setting s
                      where setdatabase = (select oid from pg_database where datname = current_database())
            union all select 'schema ' || nspname, to_jsonb(n) from pg_namespace n where nspname !~ '^pg_(toast_)?temp_'
        )
        select jsonb_object_agg(what, row) from kept";
    query(world, sql, &[]).await
}

/// Versions of all rows in the proxy's tables, except in `without`.
async fn all_versions(world: &World, without: &[&str]) -> Vec<String> {
    let sql = "select jsonb_agg(relname order by relname) from pg_class
               where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')";
    let tables: Vec<String> = serde_json::from_value(query(world, sql, &[]).await).unwrap();
    assert!(tables.len() > 30, "the proxy has many tables: {tables:?}");
    let tables: Vec<&str> = tables.iter().map(String::as_str).filter(|table| !without.contains(table)).collect();
    versions(world, &tables).await
}

#[tokio::test]
async fn startup_pages_and_expiry_job_change_no_proxy_row() {
    let world = world().await;
    let [group] = assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    let before = all_versions(&world, &[]).await;

    let second = world.service().await;
    for (path, status) in [("/", 200), ("/api/me", 200), ("/healthz", 200), ("/readyz", 200), ("/signed-out", 200)] {
        for service in [&service, &second] {
            assert_eq!(browser.get(service.at(path)).await.status.as_u16(), status, "{path}");
        }
    }
    let mut stranger = Browser::new();
    stranger.begin(&second).await;
    assert!(stranger.get(second.at("/sso/callback?code=x&state=y")).await.status.is_client_error());
    assert_eq!(browser.post(second.at("/sso/logout")).await.status, 303);
    world.clock.advance(chrono::TimeDelta::days(400));
    assert!(second.app.delete_expired().await.unwrap() > 0, "there were expired rows to delete");
    assert_eq!(all_versions(&world, &[]).await, before);
}

#[tokio::test]
async fn denied_signin_changes_no_proxy_row() {
    let world = world().await;
    assigned(&world, ["Evals"]);
    let alice = person(&world, "Alice Arden", &[]);
    let service = world.service_with(|config| config.policy.require_group = true).await;
    let before = all_versions(&world, &[]).await;
    assert_eq!(world.try_sign_in(&service, alice).await.status, 403);
    assert_eq!(all_versions(&world, &[]).await, before);
}

/// Applies all migrations of LiteLLM.
mod slow {
    use super::*;

    #[tokio::test]
    async fn proxy_schema_is_unchanged_by_migrations_and_signins() {
        let world = world().await;
        define(&world, "drop schema entraway cascade; create schema entraway authorization entraway").await;
        let [one, two] = assigned(&world, ["One", "Two"]);
        let (alice, bob) = (person(&world, "Alice Arden", &[one]), person(&world, "Bob Birch", &[one, two]));
        let before = catalog(&world).await;
        let others = all_versions(&world, &WRITTEN).await;
        let differences = async |when: &str| {
            let after = catalog(&world).await;
            let (was, is) = (before.as_object().unwrap(), after.as_object().unwrap());
            let changed: Vec<&String> =
                was.keys().chain(is.keys()).filter(|key| was.get(*key) != is.get(*key)).collect();
            assert!(changed.is_empty(), "{when}, these have changed: {changed:#?}");
        };

        let rows = all_versions(&world, &[]).await;
        let service = with_team_params(&world, true, "max_budget: 5, team_member_budget: 1").await;
        differences("after the start").await;
        assert_eq!(all_versions(&world, &[]).await, rows, "startup writes no row of the proxy's");

        for roles in [&[][..], &["org_admin"], &["internal_user"]] {
            give_roles(&world, alice, roles);
            world.sign_in(&service, alice).await;
            world.sign_in(&service, bob).await;
        }
        differences("after sign-ins").await;
        assert_eq!(all_versions(&world, &WRITTEN).await, others, "a sign-in writes to only six of the proxy's tables");
        assert_eq!(
            query(&world, "select jsonb_agg(nspname order by nspname) from pg_namespace where nspname !~ '^pg_'", &[])
                .await,
            json!(["entraway", "information_schema", "public"])
        );
    }
}
