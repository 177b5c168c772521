//! `entraway approve` and `entraway reject`, and what becomes of held plans.

use chrono::{DateTime, TimeDelta, Utc};
use entraway::audit::AuditActor;
use entraway::db::{Db, Decided, Decision, LEASE_DURATION, Lease};
use entraway::reconciliation::PlanHash;
use entraway::util::clock::Clock;
use rstest::rstest;
use sqlx::PgPool;
use uuid::Uuid;

use super::program::{CONFIG, Ended, Folder, environment, run};
use crate::support::{Native, World};

/// A run's view: the database, and the lease.
struct Run {
    world: World,
    db: Db,
    lease: Lease,
}

impl Run {
    async fn new() -> Self {
        let world = World::of(Native).await;
        let db = Db::new(world.kind, &world.database.clone().into(), 4).unwrap();
        let lease = db.take_lease(Uuid::from_u128(9), LEASE_DURATION).await.unwrap().unwrap();
        Self { world, db, lease }
    }

    /// Ends a run that held this plan, or none. Returns whether it is new.
    async fn hold(&self, plan: Option<&PlanHash>) -> bool {
        self.hold_at(plan, now()).await
    }

    async fn hold_at(&self, plan: Option<&PlanHash>, now: DateTime<Utc>) -> bool {
        let held = plan.map(|plan| (plan, 3));
        self.db.hold_plan(self.lease, Uuid::from_u128(1), now, held).await.unwrap()
    }

    async fn decide(&self, plan: &PlanHash, decision: Decision, now: DateTime<Utc>) -> Decided {
        self.db.decide_plan(plan.as_str(), decision, AuditActor::Command, now).await.unwrap()
    }

    /// Whether the approval is valid.
    async fn is_approved(&self, plan: &PlanHash) -> bool {
        self.db.approved_plans(now()).await.unwrap().contains(plan)
    }

    /// Status and decider of the plan.
    async fn status(&self, plan: &PlanHash) -> (String, Option<String>) {
        sqlx::query_as("select status, decided_by from entraway.held_plans where plan_hash = $1")
            .bind(plan.as_str())
            .fetch_one(&self.world.pool)
            .await
            .unwrap()
    }

    async fn command(&self, words: &[&str]) -> Ended {
        let folder = Folder::new();
        let config = folder.file("entraway.yaml", CONFIG);
        run(&folder, &[words, &["--config", &config]].concat(), &environment(&self.world)).await
    }
}

fn now() -> DateTime<Utc> {
    Clock::system().now()
}

fn plan(digits: &str) -> PlanHash {
    digits.repeat(32).parse().unwrap()
}

/// When an operator last asked for a run.
async fn requested(pool: &PgPool) -> bool {
    let sql = "select requested_at > now() - interval '1 minute' from entraway.reconciliation_state";
    sqlx::query_scalar(sql).fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn commands_decide_about_the_held_plan() {
    let run = Run::new().await;
    let held = plan("ab");
    run.hold(Some(&held)).await;
    let rejected = run.command(&["reject", held.as_str()]).await;
    assert_eq!((rejected.code, rejected.stderr.as_str()), (0, ""), "{rejected:?}");
    assert!(rejected.stdout.contains(&format!("plan {held}: rejected.")), "{rejected:?}");
    assert_eq!(run.status(&held).await, ("rejected".to_owned(), Some("command".to_owned())));
    assert!(!requested(&run.world.pool).await && !run.is_approved(&held).await);

    let approved = run.command(&["approve", "ABABABAB"]).await;
    assert_eq!((approved.code, approved.stderr.as_str()), (0, ""), "{approved:?}");
    assert!(approved.stdout.contains(&format!("plan {held}: approved for 24 hours.")), "{approved:?}");
    assert_eq!(run.status(&held).await, ("approved".to_owned(), Some("command".to_owned())));
    assert!(requested(&run.world.pool).await && run.is_approved(&held).await);

    let events: Vec<(String, String, String)> = sqlx::query_as(
        "select action, actor, target_id from entraway.audit_events where action like 'plan_%' order by at, event_id",
    )
    .fetch_all(&run.world.pool)
    .await
    .unwrap();
    let event = |action: &str, actor: &str| (action.to_owned(), actor.to_owned(), held.to_string());
    let expected = [event("plan_held", "job"), event("plan_rejected", "command"), event("plan_approved", "command")];
    assert_eq!(events, expected);
}

#[tokio::test]
async fn commands_say_why_a_plan_cannot_be_decided() {
    let run = Run::new().await;
    let [lapsed, applied, other] = ["ab", "cd", "ef"].map(plan);
    run.hold(Some(&lapsed)).await;
    run.hold(Some(&applied)).await;
    run.decide(&applied, Decision::Approve, now()).await;
    run.db.plan_applied(run.lease, &applied).await.unwrap();
    for (hash, problem) in [
        (&lapsed, "has lapsed, because a later run had other changes"),
        (&applied, "was already applied"),
        (&other, "no held plan has a hash that begins so"),
    ] {
        for command in ["approve", "reject"] {
            let ended = run.command(&[command, hash.as_str()]).await;
            assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:?}");
            assert!(ended.stderr.contains(&format!("plan {hash}: {problem}")), "{ended:?}");
        }
    }
    assert_eq!([run.status(&lapsed).await.0, run.status(&applied).await.0], ["lapsed", "applied"]);
    for wrong in ["abababa", "ghghghgh", ""] {
        let ended = run.command(&["approve", wrong]).await;
        assert_eq!(ended.code, 2, "{ended:?}");
    }
    let ended = run.command(&["approve", &"a".repeat(65)]).await;
    assert!(ended.code == 2 && ended.stderr.contains("8 to 64 hexadecimal digits"), "{ended:?}");
}

#[tokio::test]
async fn ambiguous_prefix_decides_nothing() {
    let run = Run::new().await;
    let [one, two]: [PlanHash; 2] = ["00", "11"].map(|end| format!("{}{end}", "ab".repeat(31)).parse().unwrap());
    run.hold(Some(&one)).await;
    run.hold(Some(&two)).await;
    let ended = run.command(&["approve", "abababab"]).await;
    assert!(ended.code == 1 && ended.stderr.contains("or several do"), "{ended:?}");
    assert!(!requested(&run.world.pool).await, "nothing is written");
    assert_eq!(run.command(&["approve", two.as_str()]).await.code, 0);
}

#[tokio::test]
async fn approval_while_a_run_reads_is_not_lost() {
    let run = Run::new().await;
    let held = plan("ab");
    assert!(run.hold(Some(&held)).await);
    assert!(!run.hold(Some(&held)).await, "held before");
    run.decide(&held, Decision::Approve, now()).await;
    assert!(!run.hold(Some(&held)).await, "a run that read the approvals before");
    assert!(run.is_approved(&held).await);
}

#[tokio::test]
async fn rejected_plan_stays_rejected_until_it_lapses() {
    let run = Run::new().await;
    let held = plan("ab");
    run.hold(Some(&held)).await;
    run.decide(&held, Decision::Reject, now()).await;
    assert!(!run.hold(Some(&held)).await);
    assert_eq!(run.status(&held).await.0, "rejected");
    assert!(!run.hold(None).await);
    assert_eq!(run.status(&held).await.0, "lapsed");
    assert!(run.hold(Some(&held)).await, "the same changes later are decided anew");
    assert_eq!(run.status(&held).await, ("held".to_owned(), None));
}

#[tokio::test]
async fn expired_approval_is_held_anew() {
    let run = Run::new().await;
    let held = plan("ab");
    let later = now();
    run.hold(Some(&held)).await;
    run.decide(&held, Decision::Approve, later - TimeDelta::hours(25)).await;
    assert!(!run.is_approved(&held).await);
    assert!(run.hold_at(Some(&held), later).await, "it is reported again");
    assert_eq!(run.status(&held).await, ("held".to_owned(), None));
    assert!(matches!(run.decide(&held, Decision::Approve, later).await, Decided::Done(_)));
    assert!(run.is_approved(&held).await);
}

#[rstest]
#[case::rejected(Some(Decision::Reject))]
#[case::lapsed(None)]
#[tokio::test]
async fn applied_plan_is_recorded_in_any_case(#[case] meanwhile: Option<Decision>) {
    let run = Run::new().await;
    let held = plan("ab");
    run.hold(Some(&held)).await;
    run.decide(&held, Decision::Approve, now()).await;
    match meanwhile {
        Some(decision) => drop(run.decide(&held, decision, now()).await),
        None => drop(run.hold(None).await),
    }
    run.db.plan_applied(run.lease, &held).await.unwrap();
    assert_eq!(run.status(&held).await.0, "applied");
}

#[tokio::test]
async fn concurrent_decisions_and_runs_do_not_deadlock() {
    let run = Run::new().await;
    let [one, two] = ["ab", "cd"].map(plan);
    run.hold(Some(&one)).await;
    let decide = async {
        for _ in 0..100 {
            run.decide(&one, Decision::Approve, now()).await;
        }
    };
    let hold = async {
        for _ in 0..50 {
            run.hold(Some(&one)).await;
            run.hold(Some(&two)).await;
        }
    };
    tokio::join!(decide, hold);
}
