//! Postgres's disk is full: writes fail, reads succeed.

use chrono::TimeDelta;
use entra_simulator::GroupId;
use sqlx::{AssertSqlSafe, PgPool};
use url::Url;

use super::cluster::Cluster;
use super::storm::{
    Came, Try, all_refusals_are_for_want_of_the_database, any_number, everybody_gets_in_now, everybodys_group,
    nothing_is_half, until,
};
use crate::errors::shown;
use crate::support::scene::many_assigned;
use crate::support::{Browser, LiteLlm, Native, Service, World};

/// Larger than the tables of either store.
const DISK: &str = "40m";

const ONE_ATTEMPT: &str = "insert into entraway.used_attempts values (left(md5(random()::text), 12), now())";

/// Writes rows until the disk is full.
async fn fill(pool: &PgPool, sql: &str) {
    for _ in 0..100_000 {
        let Err(error) = sqlx::query(AssertSqlSafe(sql.to_owned())).execute(pool).await else { continue };
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
        assert_eq!(code.as_deref(), Some("53100"), "not a disk-full error: {error}");
        return;
    }
    panic!("the disk never became full: is the database on the small disk?");
}

/// Fills the disk, except for free space in the tables' last pages. Postgres releases files now and then, so this is
/// repeated before each step.
async fn fill_the_disk(pool: &PgPool) {
    for rows in [5_000, 100, 1] {
        fill(pool, &format!("insert into filler select repeat('x', 1000) from generate_series(1, {rows})")).await;
    }
}

struct Part {
    world: World,
    service: Service,
    group: GroupId,
    known: Try,
    /// A browser that is about to return from Entra.
    late: (Browser, Url),
}

impl Part {
    async fn new(world: World) -> Self {
        let group = everybodys_group(&world);
        let service = world
            .service_with(|config| {
                any_number(config);
                config.session.max_per_user = 1_000;
            })
            .await;
        let known = Try::of_new_user(&world.simulator, &service.at("/"), group).await;
        assert_eq!(known.came, Came::In);
        until("sessions are remembered", async || service.app.sessions().is_caching()).await;
        let mut browser = Browser::new();
        let entra = browser.begin(&service).await;
        let callback = browser.pick(&world.simulator, &service, &entra, known.person).await;
        Self { world, service, group, known, late: (browser, callback) }
    }

    /// Asserts that existing sessions keep working, even if updating `last_seen_at` is due and fails.
    async fn known_sessions_go_on(&mut self, when: &str) {
        for path in ["/auth/verify", "/api/me", "/", "/teams"] {
            let answer = self.known.browser.get(self.service.at(path)).await;
            assert_eq!(answer.status, 200, "{when}: {path}: {answer:#?}");
        }
        self.world.clock.advance(TimeDelta::seconds(61));
        let answer = self.known.browser.get(self.service.at("/auth/verify")).await;
        assert_eq!(answer.status, 200, "{when}: after last_seen_at is due: {answer:#?}");
    }

    async fn is_refused(&self, one: &[Try], when: &str) {
        assert_ne!(one[0].came, Came::In, "{when}");
        all_refusals_are_for_want_of_the_database(one);
        nothing_is_half(&self.world, one, when).await;
    }
}

/// Signs in an existing user until the disk has no room for another session and its sync record.
async fn comes_until_refused(part: &Part, filler: &PgPool) -> Try {
    let Part { world, service, known, .. } = part;
    for _ in 0..200 {
        fill_the_disk(filler).await;
        let (person, groups) = (known.person, known.groups.clone());
        let mut one = Try { person, groups, browser: Browser::new(), came: Came::Broken };
        one.again(&world.simulator, &service.at("/")).await;
        if one.came != Came::In {
            return one;
        }
    }
    panic!("two hundred sessions fit on a full disk: is the database on the small disk?");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn full_disk_fails_signins_atomically_and_keeps_sessions() {
    if !Cluster::may_have_a_small_disk() {
        eprintln!("skipped: this machine does not allow mounting a disk");
        return;
    }
    let cluster = Cluster::on_a_small_disk(DISK).await;
    let mut parts = Vec::new();
    for kind in [Native, LiteLlm] {
        parts.push(Part::new(cluster.world(kind).await).await);
    }
    // All parts share one disk.
    let filler = parts[0].world.pool.clone();
    parts[0].world.sql("create table filler (content text)").await;
    for part in &mut parts {
        let teams = part.world.rows().await.teams.len();
        let new = many_assigned(&part.world, 200);
        let base = part.service.at("/");
        fill_the_disk(&filler).await;
        let wide = vec![Try::of_new_user(&part.world.simulator, &base, part.group).await];
        part.is_refused(&wide, "two hundred new groups").await;
        assert_eq!(part.world.rows().await.teams.len(), teams, "teams after the refused sign-in");
        part.known_sessions_go_on("no room for new groups").await;

        part.world.simulator.edit(|directory| new.into_iter().for_each(|group| directory.remove_group(group)));
        part.world.simulator.edit(|directory| {
            wide[0]
                .groups
                .iter()
                .filter(|group| **group != part.group)
                .for_each(|group| directory.remove_group(*group));
        });
        let nothing_new = vec![comes_until_refused(part, &filler).await];
        part.is_refused(&nothing_new, "no new groups, no room for a session").await;
        part.known_sessions_go_on("no room for sessions").await;

        fill_the_disk(&filler).await;
        fill(&part.world.pool, ONE_ATTEMPT).await;
        fill_the_disk(&filler).await;
        let late = part.late.clone();
        shown(&part.world, (503, "database_unavailable"), async || late.clone()).await;
        part.known_sessions_go_on("no room for anything").await;
    }
    parts[0].world.sql("drop table filler").await;
    for part in &mut parts {
        let (browser, callback) = &mut part.late;
        let answer = browser.get(callback.clone()).await;
        assert_eq!(
            answer.status, 303,
            "reloading the callback completes the sign-in once the disk has room: {answer:#?}"
        );
        let mut tries = vec![Try::of_new_user(&part.world.simulator, &part.service.at("/"), part.group).await];
        everybody_gets_in_now(&part.world, &part.service.at("/"), &mut tries).await;
        part.known_sessions_go_on("the disk has room again").await;
    }
}
