//! Runs the SQL of the documents on a database in which a user has signed in.

use std::process::Command;

use entraway::domain::StoreKind::{LiteLlm, Native};
use pg_sandbox::{Durability, PrivateCluster, litellm_migrations};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};

use super::markdown::{document, root};
use crate::support::{World, as_entraway};

/// The statements of a document, each with its line.
#[track_caller]
fn statements(name: &str) -> Vec<(usize, String)> {
    let blocks = document(name).blocks().into_iter().filter(|block| block.language == "sql");
    let each = |text: &str| text.split(';').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect();
    let all: Vec<_> = blocks
        .flat_map(|block| {
            let texts: Vec<String> = each(&block.text);
            texts.into_iter().map(move |text| (block.line, text))
        })
        .collect();
    assert!(!all.is_empty(), "{name} has no SQL: remove it from this test");
    all
}

/// Runs the chosen statements of a document. A query has to find rows.
pub(in crate::docs) async fn run(pool: &PgPool, name: &str, chosen: impl Fn(&str) -> bool) {
    for (line, statement) in statements(name).into_iter().filter(|(_, statement)| chosen(statement)) {
        let rows = sqlx::raw_sql(AssertSqlSafe(statement.clone())).fetch_all(pool).await;
        let rows = rows.unwrap_or_else(|error| panic!("{name}:{line}: {error}\n{statement}"));
        let asks = statement.starts_with("select");
        assert!(!asks || !rows.is_empty(), "{name}:{line}: the query finds no rows after a sign-in:\n{statement}");
    }
}

#[tokio::test]
async fn tutorial_queries_show_a_sign_in() {
    for (store, litellm) in [(Native, false), (LiteLlm, true)] {
        let world = World::of(store).await;
        let (alice, _) = world.alice();
        world.sign_in(&world.service().await, alice).await;
        run(&world.pool, "docs/tutorial.md", |statement| statement.contains("LiteLLM_") == litellm).await;
    }
}

#[tokio::test]
async fn audit_guide_lets_a_siem_read_events_only() {
    let world = World::of(Native).await;
    let (alice, _) = world.alice();
    let service =
        world.service_with(|config| config.policy.allowed_email_domains = ["x.example".to_owned()].into()).await;
    assert_eq!(world.try_sign_in(&service, alice).await.status, 403);
    run(&world.pool, "docs/how-to/audit.md", |_| true).await;
    let may = async |table: &str| -> bool {
        let sql = "select has_table_privilege('siem', $1, 'select')";
        sqlx::query_scalar(sql).bind(table).fetch_one(&world.pool).await.unwrap()
    };
    assert_eq!((may("entraway.audit_events").await, may("entraway.sessions").await), (true, false));
}

/// The operator of a hosted Postgres: not a superuser, but the owner of a LiteLLM proxy's database.
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

/// Starts a cluster and applies all migrations of LiteLLM.
mod slow {
    use super::*;

    /// Has its own cluster, since all databases of a cluster share the role of the grants.
    #[tokio::test]
    async fn litellm_guide_leads_from_grants_to_removal() {
        let cluster = PrivateCluster::start(Durability::Fast).await.unwrap();
        cluster.create_database("litellm", None).await.unwrap();
        cluster.apply_migrations("litellm", &litellm_migrations()).await.unwrap();
        let url = cluster.url("litellm");
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql(OWNER).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();

        let command = document("docs/how-to/use-with-litellm.md")
            .blocks()
            .into_iter()
            .find(|block| block.text.contains("psql"))
            .expect("the command that runs the grants");
        let done = Command::new("sh")
            .args(["-c", &command.text])
            .current_dir(root())
            .env("DATABASE_URL", url.replacen("postgres://postgres@", "postgres://owner@", 1))
            .output()
            .unwrap();
        assert!(done.status.success(), "docs/how-to/use-with-litellm.md:{}: {done:?}", command.line);

        let world = World::on(LiteLlm, as_entraway(&url), &url, "litellm".to_owned()).await;
        let (alice, _) = world.alice();
        let service = world.service().await;
        world.sign_in(&service, alice).await;
        // The owner can remove Entraway, even while it is connected.
        let pool = PgPool::connect(&url.replacen("postgres://postgres@", "postgres://owner@", 1)).await.unwrap();
        run(&pool, "docs/reference/litellm.md", |_| true).await;
        run(&pool, "docs/how-to/use-with-litellm.md", |_| true).await;

        let (left, people): (i64, i64) = sqlx::query_as(
            r#"select (select count(*) from pg_roles where rolname = 'entraway')
                      + (select count(*) from pg_namespace where nspname = 'entraway'),
                      (select count(*) from public."LiteLLM_UserTable" where 'entraway' <> all(teams) and teams <> '{}')"#,
        )
        .fetch_one(&world.pool)
        .await
        .unwrap();
        assert_eq!((left, people), (0, 1), "no schema of Entraway is left; Alice is still in her team");
    }
}
