//! The SQL of the documents is run on a database that somebody signed in to, as far as a reader would.

use std::process::Command;

use entraway::domain::StoreKind::{LiteLlm, Native};
use pg_sandbox::{Durability, PrivateCluster, litellm_migrations};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use super::markdown::{documents, root};
use crate::support::{World, as_entraway};

/// The statements of a document, each with its line.
#[track_caller]
fn statements(name: &str) -> Vec<(usize, String)> {
    let document = documents().into_iter().find(|document| document.name == name).expect("the document is there");
    let blocks = document.blocks().into_iter().filter(|block| block.language == "sql");
    let each = |text: &str| text.split(';').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect();
    let all: Vec<_> = blocks
        .flat_map(|block| {
            let texts: Vec<String> = each(&block.text);
            texts.into_iter().map(move |text| (block.line, text))
        })
        .collect();
    assert!(!all.is_empty(), "{name} shows no SQL any more: does this test have to go?");
    all
}

pub(in crate::docs) async fn run(pool: &PgPool, name: &str) {
    for (line, statement) in statements(name) {
        let rows = sqlx::raw_sql(AssertSqlSafe(statement.clone())).fetch_all(pool).await;
        let rows = rows.unwrap_or_else(|error| panic!("{name}:{line}: {error}\n{statement}"));
        let asks = statement.starts_with("select");
        assert!(!asks || !rows.is_empty(), "{name}:{line}: after a sign-in there is nothing to see:\n{statement}");
    }
}

#[tokio::test]
async fn the_queries_of_the_readme_show_what_a_sign_in_made() {
    let world = World::of(Native).await;
    let (alice, _) = world.alice();
    world.sign_in(&world.service().await, alice).await;
    run(&world.pool, "README.md").await;
}

/// Whom an operator of a hosted Postgres is: no superuser, but the owner of a LiteLLM proxy's database.
pub(in crate::docs) const OWNER: &str = r"
    create role owner login createrole;
    alter database litellm owner to owner;
    alter schema public owner to owner;
    do $$ declare one regclass; begin
        for one in select oid from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'
        loop
            execute format('alter table %s owner to owner', one);
        end loop;
    end $$";

/// A cluster of its own, since the role of the grants is one for all its databases.
#[tokio::test]
async fn the_page_about_litellm_leads_from_the_grants_to_a_database_without_us() {
    let cluster = PrivateCluster::start(Durability::Fast).await.unwrap();
    cluster.create_database("litellm", None).await.unwrap();
    cluster.apply_migrations("litellm", &litellm_migrations()).await.unwrap();
    let url = cluster.url("litellm");
    let mut connection = PgConnection::connect(&url).await.unwrap();
    sqlx::raw_sql(OWNER).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();

    let page = documents().into_iter().find(|document| document.name == "docs/litellm.md").unwrap();
    let command = page.blocks().into_iter().find(|block| block.text.contains("psql")).expect("how to run the grants");
    let done = Command::new("sh")
        .args(["-c", &command.text])
        .current_dir(root())
        .env("DATABASE_URL", url.replacen("postgres://postgres@", "postgres://owner@", 1))
        .output()
        .unwrap();
    assert!(done.status.success(), "docs/litellm.md:{}: {done:?}", command.line);

    let world = World::on(LiteLlm, as_entraway(&url), &url, "litellm".to_owned()).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    // "Stop Entraway": what it owns is dropped below all the same, whatever connections it has.
    // The owner takes it away again, too.
    let pool = PgPool::connect(&url.replacen("postgres://postgres@", "postgres://owner@", 1)).await.unwrap();
    run(&pool, "docs/litellm.md").await;

    let (left, people): (i64, i64) = sqlx::query_as(
        r#"select (select count(*) from pg_roles where rolname = 'entraway')
                  + (select count(*) from pg_namespace where nspname = 'entraway'),
                  (select count(*) from public."LiteLLM_UserTable" where 'entraway' <> all(teams) and teams <> '{}')"#,
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!((left, people), (0, 1), "what is left of us, and whether Alice and her team stayed");
}
