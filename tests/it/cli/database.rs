//! Unusable databases: the cause and the fix are reported once, never only as a pool timeout.

use std::fs;

use chrono::TimeDelta;
use entraway::db::{ConnectError, Db, DbError};
use entraway::util::clock::Clock;
use pg_sandbox::{Durability, PrivateCluster};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::check::{assert_only_failure, check, world_of};
use super::program::{CONFIG, DATABASE_PASSWORD, Ended, Folder, Journey, Program, environment, run, with};
use crate::support::{Native, World};

/// A reason why no connection can be opened.
struct Case {
    url: String,
    found: &'static str,
    remedy: &'static str,
}

/// Has its own cluster, which requires passwords.
struct Scene {
    world: World,
    cluster: PrivateCluster,
}

impl Scene {
    async fn new() -> Self {
        let world = world_of(Native).await;
        let cluster = PrivateCluster::start(Durability::Fast).await.unwrap();
        let mut connection = PgConnection::connect(&cluster.url("postgres")).await.unwrap();
        let sql = format!(
            "create role app login password '{DATABASE_PASSWORD}'; create role full login connection limit 0;
             create role nobody nologin; create database entraway owner app"
        );
        for statement in sql.split(';') {
            sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
        }
        let rules = cluster.folder().join("data/pg_hba.conf");
        let text = fs::read_to_string(&rules).unwrap();
        fs::write(&rules, format!("local all app scram-sha-256\nlocal postgres full reject\n{text}")).unwrap();
        sqlx::raw_sql("select pg_reload_conf()").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        Self { world, cluster }
    }

    fn url(&self, user: &str, database: &str) -> String {
        let url = self.cluster.url(database);
        assert!(url.contains("//postgres@"), "{url}");
        url.replacen("//postgres@", &format!("//{user}@"), 1)
    }

    fn cases(&self) -> Vec<Case> {
        let app = format!("app:{DATABASE_PASSWORD}");
        let case = |url, found, remedy| Case { url, found, remedy };
        let nowhere = format!("postgres://{app}@127.0.0.1:1/entraway?sslmode=disable");
        let tls = self.url(&app, "entraway").replace("sslmode=disable", "sslmode=require");
        vec![
            case(nowhere, "127.0.0.1:1 cannot be reached: ", "that Postgres is running"),
            case(
                self.url("app:wr0ng", "entraway"),
                "rejects the password of user app (28P01)",
                "correct the user or password",
            ),
            case(self.url("nobody", "entraway"), "does not let user nobody connect (28000): ", "grant the role LOGIN"),
            case(self.url("full", "postgres"), "does not let user full connect (28000): ", "pg_hba.conf"),
            case(self.url(&app, "gone"), "there is no database gone on the server ", "create it (CREATE DATABASE"),
            case(self.url("full", "entraway"), "takes no more connections (53300): ", "raise max_connections"),
            case(tls, "by sslmode=require: ", "use an sslmode and sslrootcert that match"),
        ]
    }
}

#[track_caller]
fn tells_no_secret_and_no_time_out(ended: &Ended) {
    let all = ended.all();
    for hidden in [DATABASE_PASSWORD, "wr0ng", "timed out"] {
        assert!(!all.contains(hidden), "{hidden:?} is printed: {ended:?}");
    }
}

#[tokio::test]
async fn sessions_command_fails_with_the_remedy() {
    let scene = Scene::new().await;
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", CONFIG);
    let env = with(environment(&scene.world), "DB", &scene.url("app:wr0ng", "entraway"));
    let ended = run(&folder, &["sessions", "list", "--all", "--config", &config], &env).await;
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.contains("(28P01)\n→ correct the user or password"), "{ended:?}");
    tells_no_secret_and_no_time_out(&ended);
}

/// The database of a running service stops while it serves many requests.
#[tokio::test]
async fn outage_is_logged_once_with_its_reason() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let folder = Folder::new();
    let config = folder.file("entraway.yaml", CONFIG);
    let mut program = Program::start(&folder, &["serve", "--config", &config], &environment(&world));
    let base = program.ready().await;
    let (mut journey, answer) = Journey::whole(&world, &base, alice).await;
    assert_eq!(answer.status, 303, "{answer:#?}");
    world.database_goes_away().await;
    for path in ["/api/me", "/readyz", "/api/me", "/", "/readyz", "/api/me", "/auth/verify"] {
        assert_eq!(journey.browser.get(base.join(path).unwrap()).await.status, 503, "{path}");
    }
    let ended = program.terminate().await;
    let log = ended.log();
    let errors: Vec<&serde_json::Value> = log.iter().filter(|line| line["level"] == "ERROR").collect();
    let reason = "is not currently accepting connections";
    let told = errors.iter().filter(|line| line["error"].to_string().contains(reason)).count();
    // A broken connection is a different failure than none.
    assert!(told == 1 && errors.len() <= 2, "{errors:#?}");
    let answered = log.iter().filter(|line| line["message"] == "answered" && line["status"] == 503).count();
    assert_eq!(answered, 7, "each request still has its line: {ended:?}");
    tells_no_secret_and_no_time_out(&ended);
}

/// Tests that wait for timeouts.
mod slow {
    use super::*;

    #[tokio::test]
    async fn check_names_the_reason_for_a_failed_connection() {
        let scene = Scene::new().await;
        for Case { url, found, remedy } in scene.cases() {
            let ended = check(&scene.world, CONFIG, &with(environment(&scene.world), "DB", &url)).await;
            assert_only_failure(&ended, "database", found, remedy);
            tells_no_secret_and_no_time_out(&ended);
        }
    }

    /// Both commands retry for 30 seconds and report each reason once.
    #[tokio::test]
    async fn serve_and_migrate_log_connection_failure_once() {
        let scene = Scene::new().await;
        let folder = Folder::new();
        let config = folder.file("entraway.yaml", CONFIG);
        for subcommand in ["serve", "migrate"] {
            let mut programs = Vec::new();
            for case in scene.cases() {
                let env = with(environment(&scene.world), "DB", &case.url);
                programs.push((case, Program::start(&folder, &[subcommand, "--config", &config], &env)));
            }
            for (Case { found, remedy, .. }, program) in &mut programs {
                let told = |program: &Program| {
                    let said = program.stderr();
                    (said.contains(*found) && said.contains(*remedy)).then_some(())
                };
                program.until(found, told).await;
            }
            // Long enough for two more attempts.
            tokio::time::sleep(std::time::Duration::from_secs(5)).await;
            for (Case { found, .. }, program) in programs {
                let ended = program.terminate().await;
                assert_eq!(ended.stderr.matches(found).count(), 1, "{subcommand}: {ended:?}");
                tells_no_secret_and_no_time_out(&ended);
            }
        }
    }

    #[tokio::test]
    async fn exhausted_pool_error_names_max_connections() {
        let world = World::new().await;
        let store = Db::new(Native, &world.database.clone().into(), 1).unwrap();
        store.ready().await.unwrap();
        let mut lock = world.pool.begin().await.unwrap();
        sqlx::raw_sql("lock table entraway.sessions in access exclusive mode").execute(&mut *lock).await.unwrap();
        // The first holds the only connection and waits for the lock; the second waits for the connection.
        let (_, second) = tokio::join!(
            store.delete_expired(Clock::system().now(), TimeDelta::hours(1), TimeDelta::days(400)),
            async {
                tokio::time::sleep(std::time::Duration::from_millis(200)).await;
                let second = store.version().await;
                lock.rollback().await.unwrap();
                second
            }
        );
        assert!(
            matches!(second, Err(DbError::Connect(ConnectError::PoolExhausted { max_connections: 1 }))),
            "{second:?}"
        );
        assert!(second.unwrap_err().help().unwrap().contains("database.max_connections"));
    }
}
