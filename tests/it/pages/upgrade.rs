//! The first pages after an upgrade, with rows of an older version.

use std::borrow::Cow;

use entraway::db::Db;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;

use super::{Actor, text};
use crate::support::scene::{assigned, person};
use crate::support::{Native, World, cluster};

/// Number of migrations of the last version without pages.
const OLDER: usize = 3;

#[tokio::test]
async fn older_records_are_found_and_missing_data_is_unknown() {
    let cluster = cluster().await;
    cluster.create_database("before_pages", None).await.unwrap();
    let url = cluster.url("before_pages");
    let pool = PgPoolOptions::new().max_connections(2).connect(&url).await.unwrap();
    sqlx::raw_sql("create schema entraway").execute(&pool).await.unwrap();
    let mut migrator = sqlx::migrate!();
    migrator.dangerous_set_table_name("entraway._sqlx_migrations");
    let older = migrator.migrations.iter().take(OLDER).cloned().collect::<Vec<_>>();
    Migrator { migrations: Cow::Owned(older), ..migrator }.run(&pool).await.unwrap();

    let world = World::on(Native, url.clone(), &url, "before_pages".to_owned()).await;
    let [group] = assigned(&world, ["Old"]);
    let alice = person(&world, "Alice Arden", &[group]);
    let ada = person(&world, "Ada Min", &[]);
    let admin = vec!["proxy_admin".to_owned()];
    world.simulator.edit(|directory| directory.change_person(ada, |person| person.app_roles = admin)).unwrap();
    let tenant = world.simulator.edit(|directory| directory.tenant_id);
    // As the older version writes it, without the new columns.
    sqlx::query(
        "with made as (
            insert into entraway.users (user_id, tenant_id, object_id, user_alias) values ($1, $2, $1::uuid, 'Alice Arden')
         )
         insert into entraway.sync_runs
            (user_id, tenant_id, started_at, assigned_groups, assigned_groups_read, member_of, member_of_read,
             organizations_created, teams_created, organizations_joined, teams_joined, user_created, user_updated,
             failures, notes, graph_ms, store_ms)
         select $1, $2, now() - n * interval '1 hour', 'known', 1, 'known', 1, '{}',
                case when n = 1 then array[$3] else '{}' end, '{}', case when n = 1 then array[$3] else '{}' end, true, false,
                case when n = 2 then jsonb_build_array(jsonb_build_object('kind', 'team', 'id', $3, 'alias', 'Old', 'why', 'x'))
                     else '[]' end,
                case when n = 3 then jsonb_build_array(jsonb_build_object('note', 'team_stays_standalone', 'team', $3))
                     when n = 4 then '[{\"note\": \"role_set_by_hand_stays\"}]' else '[]' end, 1, 1
         from generate_series(1, 5) n",
    )
    .bind(alice.to_string())
    .bind(tenant.as_uuid())
    .bind(group.to_string())
    .execute(&pool)
    .await
    .unwrap();

    // A database with short timeouts: migrations ignore them.
    let role = "alter role postgres in database before_pages set statement_timeout = '1ms'";
    sqlx::raw_sql(role).execute(&pool).await.unwrap();
    let stores = [(); 2].map(|()| Db::new(Native, &url.as_str().into(), 1).unwrap());
    let (one, other) = tokio::join!(stores[0].migrate(), stores[1].migrate());
    one.unwrap();
    other.unwrap();
    sqlx::raw_sql("alter role postgres in database before_pages reset statement_timeout").execute(&pool).await.unwrap();

    let service = world.service().await;
    let mut operator = Actor { id: ada, browser: world.sign_in(&service, ada).await };
    let body = operator.json(&service, &format!("/api/syncs?group={group}&person={alice}")).await;
    assert_eq!(body["syncs"].as_array().unwrap().len(), 3, "created, failed, noted: {body:#}");
    assert!(body["syncs"].as_array().unwrap().iter().all(|sync| sync["entra_ms"].is_null()), "{body:#}");
    let page = text(&operator.page(&service, &format!("/people/{alice}/explain?team=Old")).await);
    assert!(page.contains("The user's groups are not stored: an older version"), "{page}");
    assert!(page.contains("Not known: The user's groups are unknown."), "{page}");
    assert!(!page.contains("not one of the user's groups"), "unknown is not empty: {page}");
    world.sign_in(&service, alice).await;
    let page = text(&operator.page(&service, &format!("/people/{alice}/explain?team=Old")).await);
    assert!(page.contains("In it: The user is in the team."), "{page}");
}
