//! Database cost of a sign-in: nothing is written twice, and the number of statements does not grow with the number of
//! groups.
//!
//! Counts the statements that clients sent according to `pg_stat_statements`, including `BEGIN` and `COMMIT`, but not
//! those inside functions.

use std::collections::BTreeMap;

use entra_simulator::ObjectId;
use rstest::rstest;

use super::support::{assert_did_nothing, assigned, many_assigned, person};
use crate::support::scene::until;
use crate::support::{LiteLlm, Native, Service, StoreKind, World};

/// The statements of one sign-in.
#[derive(Debug, PartialEq)]
struct Cost {
    /// The first words of each statement, with its count.
    statements: BTreeMap<String, i64>,
}

/// Postgres records a statement with literals or with `$1`, depending on the connection that prepared it first. So only
/// the text before the first of them is compared.
fn first_words(query: &str) -> String {
    let beginning = query.split(['$', '\'']).next().unwrap_or_default();
    beginning.split_whitespace().take(6).collect::<Vec<_>>().join(" ")
}

impl Cost {
    /// Signs the user in, with no other statement in between.
    async fn of(world: &World, service: &Service, person: ObjectId) -> Self {
        Self::of_any(world, async || _ = world.sign_in(service, person).await).await
    }

    async fn of_any(world: &World, sign_in: impl AsyncFnOnce()) -> Self {
        world.statements().await;
        sign_in().await;
        let mut statements = BTreeMap::new();
        for (query, calls) in world.statements().await {
            *statements.entry(first_words(&query)).or_default() += calls;
        }
        Self { statements }
    }

    fn all(&self) -> i64 {
        self.statements.values().sum()
    }

    fn calls(&self, beginning: &str) -> i64 {
        let these = self.statements.iter().filter(|(query, _)| query.to_lowercase().starts_with(beginning));
        these.map(|(_, calls)| calls).sum()
    }

    /// All statements except the one that consumes the login state and the one that stores the record and opens the
    /// session. Both must exist.
    #[track_caller]
    fn of_the_sync(&self) -> i64 {
        let (attempt, session) = (self.calls("insert into entraway.used_attempts"), self.calls("with run as"));
        assert_eq!((attempt, session), (1, 1), "one login state consumed, one record stored: {self:#?}");
        self.all() - attempt - session
    }

    #[track_caller]
    fn assert_writes_nothing(&self) {
        assert_eq!(self.calls("begin"), 0, "a sign-in that changes nothing opens no transaction: {self:#?}");
        assert_eq!(self.of_the_sync(), 1, "it only reads: {self:#?}");
        assert!(self.all() <= 4, "{self:#?}");
    }

    #[track_caller]
    fn assert_one_transaction(&self, at_most: i64) {
        let pair = (self.calls("begin"), self.calls("commit"), self.calls("rollback"));
        assert_eq!(pair, (1, 1, 0), "one transaction: {self:#?}");
        assert!(self.of_the_sync() <= at_most, "more than {at_most} statements: {self:#?}");
    }
}

#[rstest]
#[tokio::test]
async fn repeated_signin_opens_no_transaction(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [hers, other] = assigned(&world, ["Hers", "Other"]);
    let alice = person(&world, "Alice Arden", &[hers]);
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    let (before, rows, readings) = (world.versions().await, world.rows().await, world.readings().await);

    for _ in 0..3 {
        Cost::of(&world, &service, alice).await.assert_writes_nothing();
    }

    assert_eq!(world.versions().await, before, "a row was written to");
    assert_eq!(world.rows().await, rows);
    assert_eq!(world.readings().await, readings, "her stored groups");
    assert_did_nothing(&world.last_run().await);
    assert!(rows.teams.contains_key(&other.to_string()));
}

#[rstest]
#[tokio::test]
async fn denied_signin_costs_one_read_its_record_and_event(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    assigned(&world, ["Members"]);
    let alice = person(&world, "Alice Arden", &[]);
    let service = world.service_with(|config| config.policy.require_group = true).await;
    for how in ["the first time", "again"] {
        let cost = Cost::of_any(&world, async || {
            let answer = world.try_sign_in(&service, alice).await;
            assert_eq!(answer.code(), "no_group", "{how}: {answer:#?}");
        })
        .await;
        // The read of memberships to remove, and the audit event.
        assert_eq!(cost.of_the_sync(), 2, "{how}: {cost:#?}");
    }
}

#[rstest]
#[tokio::test]
async fn signin_at_second_instance_writes_nothing(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let groups = assigned(&world, ["One", "Two"]);
    let alice = person(&world, "Alice Arden", &groups);
    let (one, two) = (world.service().await, world.service().await);
    world.sign_in(&one, alice).await;
    let before = world.versions().await;
    Cost::of(&world, &two, alice).await.assert_writes_nothing();
    assert_eq!(world.versions().await, before);
}

#[rstest]
#[tokio::test]
async fn repeated_signin_writes_nothing_after_manual_changes(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [group] = assigned(&world, ["Standalone"]);
    let alice = person(&world, "Alice Arden", &[group]);
    world.sign_in(&world.service_with(|config| config.policy.also_create_orgs = false).await, alice).await;
    world.sql("update {users} set user_role = 'proxy_admin_viewer', user_alias = 'By hand'").await;
    let service = world.service().await;
    world.sign_in(&service, alice).await;

    let before = world.versions().await;
    Cost::of(&world, &service, alice).await.assert_writes_nothing();
    assert_eq!(world.versions().await, before);
}

/// Maximum number of statements of the very first sign-in.
fn first_at_most(store: StoreKind) -> i64 {
    match store {
        Native => 9,
        LiteLlm => 11,
    }
}

/// The costs of the very first sign-in, of the second user's, and of that user's repeated one.
async fn costs(store: StoreKind, groups: usize) -> [Cost; 3] {
    let world = World::of(store).await;
    let all = many_assigned(&world, groups);
    let (alice, bob) = (person(&world, "Alice Arden", &all), person(&world, "Bob Birch", &all));
    let service = world.service().await;
    let costs = [
        Cost::of(&world, &service, alice).await,
        Cost::of(&world, &service, bob).await,
        Cost::of(&world, &service, bob).await,
    ];
    let rows = world.rows().await;
    assert_eq!((rows.organizations.len(), rows.teams.len(), rows.team_members.len()), (groups, groups, 2 * groups));
    costs
}

#[rstest]
#[tokio::test]
async fn rejected_rows_cost_no_extra_statements(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let groups = many_assigned(&world, 40);
    let alice = person(&world, "Alice Arden", &groups);
    let service = world.service().await;
    world
        .sql(
            "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
             create trigger refuse before insert on {organizations} for each row execute function refuse()",
        )
        .await;
    Cost::of(&world, &service, alice).await.assert_one_transaction(first_at_most(store));
    assert_eq!(world.last_run().await["failures"].as_array().unwrap().len(), 40);
}

#[tokio::test]
async fn opening_session_reads_only_sessions_of_that_user() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service_with(|config| config.database.max_connections = 1).await;
    // Postgres plans for an almost empty table, and keeps that plan.
    world.sql("vacuum (analyze) entraway.sessions").await;
    let mut browser = world.sign_in(&service, alice).await;
    world
        .sql(
            "insert into entraway.sessions (token_hash, user_id, tenant_id, created_at, last_seen_at, expires_at)
             select sha256(n::text::bytea), md5(n::text)::uuid, gen_random_uuid(), now(), now(), now() + interval '1 day'
             from generate_series(1, 3000) n",
        )
        .await;
    for _ in 0..3 {
        world.sign_in(&service, alice).await;
        // This session replaces the browser's previous one.
        assert_eq!(browser.sign_in(&world.simulator, &service, alice).await.status, 303);
    }
    let mut looked_at = 0;
    until("Postgres counts the sign-ins", async || {
        // A connection reports its statistics when it is used after a second. This request finds no session to read.
        browser.cookies.insert("entraway".to_owned(), "A".repeat(43));
        assert_eq!(browser.get(service.at("/api/me")).await.status, 401);
        let sql = "select n_tup_ins, seq_tup_read + idx_tup_fetch from pg_stat_user_tables where relname = 'sessions'";
        let inserted;
        (inserted, looked_at) = sqlx::query_as::<_, (i64, i64)>(sql).fetch_one(&world.pool).await.unwrap();
        inserted == 3_007
    })
    .await;
    assert!(looked_at < 300, "seven sign-ins read {looked_at} sessions: see entraway.end_other_sessions");
}

/// Two statements more than a sign-in that changes the user: the removal and its audit events.
#[rstest]
#[tokio::test]
async fn removal_costs_two_statements_for_any_number_of_teams(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut costs = Vec::new();
    for count in [1, 30] {
        let world = World::of(store).await;
        world.grant_removal().await;
        let groups = many_assigned(&world, count + 1);
        let alice = person(&world, "Alice Arden", &groups);
        let service = world.service().await;
        world.sign_in(&service, alice).await;
        for group in &groups[..count] {
            world.simulator.edit(|directory| directory.take_out(alice, *group));
        }
        costs.push(Cost::of(&world, &service, alice).await);
        assert_eq!(world.rows().await.teams_of(alice).len(), 1);
    }
    // Read, begin, lock, read again, removal, audit events, commit; with LiteLLM's tables also its locks.
    costs[0].assert_one_transaction(first_at_most(store) - 2);
    assert_eq!(costs[0], costs[1]);
}

/// Hundreds of groups.
mod slow {
    use super::*;

    #[rstest]
    #[tokio::test]
    async fn statement_count_is_independent_of_group_count(#[values(Native, LiteLlm)] store: StoreKind) {
        let few = costs(store, 1).await;
        let [first, newcomer, again] = &few;
        // Read, begin, lock, read again, organizations, teams, the user's rows, audit events, commit; with LiteLLM's
        // tables also the proxy's team locks and the lock of the user's row.
        first.assert_one_transaction(first_at_most(store));
        // The same without organizations and teams.
        newcomer.assert_one_transaction(first_at_most(store) - 2);
        again.assert_writes_nothing();

        for groups in [50, 1_000] {
            assert_eq!(costs(store, groups).await, few, "with {groups} groups");
        }
    }
}
