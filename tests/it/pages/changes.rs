//! `/changes` and `/api/reconciliation`: runs, the held plan, and decisions about it.

mod decisions;

use std::time::Duration;

use chrono::TimeDelta;
use rstest::rstest;
use serde_json::{Value, json};

use super::api::ask;
use super::{Cast, text};
use crate::support::sql_fixtures::TAKE_OUT_OF_TEAM;
use crate::support::{LiteLlm, Native, Service, StoreKind, World};

const HELD: &str = "0193a5b0-0000-7000-8000-00000000000a";
const DONE: &str = "0193a5b0-0000-7000-8000-00000000000b";

/// The hash of the held plan.
fn hash() -> String {
    "5a".repeat(32)
}

/// A cast, and two runs: one that is done, and a later one that held the removal of Alice and of a user without a name
/// from "Platform", and could not compare "Data".
async fn with_held_plan(store: StoreKind) -> Cast {
    let cast = Cast::of(store).await;
    let now = cast.world.clock.now();
    let (platform, data) = (cast.platform, cast.data);
    let change = |user: &str, name: Option<&str>, held: bool| {
        json!({ "kind": "team", "id": platform, "name": "Platform", "user": user, "user_name": name, "is_admin": !held,
                "cause": "left_group", "group": platform, "evidence": { "what": "member_list", "members": 7 },
                "held": held })
    };
    let plan = json!({
        "changes": [change(&cast.olga.id.to_string(), Some("Olga Orr"), false),
                    change(&cast.alice.id.to_string(), Some("Alice Arden"), true), change("no-row", None, true)],
        "kept": [{ "kind": "organization", "id": platform, "name": "Platform", "user": cast.olga.id,
                   "user_name": "Olga Orr", "reason": "last_admin", "group": platform, "cause": "last_team_left" }],
        "incomplete": [{ "group": data, "name": "Data", "code": "graph_forbidden", "message": "member list: 403",
                         "fix": "Grant GroupMember.Read.All" }],
        "tripped": [{ "limit": "group", "group": platform, "removals": 2, "memberships": 3 }],
        "limits": { "group_percent": 50, "group_minimum": 5, "emptied_minimum": 3, "run_percent": 20, "run_minimum": 10,
                    "day_percent": 30 },
        "accounts": [{ "tenant_id": "00000000-0000-0000-0000-000000000001", "object_id": cast.bob.id,
                       "user_name": "Bob Birch", "action": "disable", "cause": "soft_deleted" }],
        "compared": 3, "later": { "field": 1 },
    });
    cast.world
        .insert_run(json!({ "run_id": DONE, "trigger": "command", "started_at": now - TimeDelta::hours(2),
            "finished_at": now - TimeDelta::hours(2) + TimeDelta::milliseconds(2_500), "compared": 5, "removed": 1,
            "skipped": 1, "plan": { "changes": [], "compared": 5 } }))
        .await;
    cast.world
        .insert_run(json!({ "run_id": HELD, "started_at": now - TimeDelta::minutes(5),
            "finished_at": now - TimeDelta::minutes(4), "status": "held", "compared": 3, "removed": 1, "incomplete": 1,
            "held": 2, "held_plan": hash(), "plan": plan }))
        .await;
    cast.world
        .insert_held_plan(
            json!({ "plan_hash": hash(), "run_id": HELD, "held_at": now - TimeDelta::minutes(4), "changes": 2 }),
        )
        .await;
    cast
}

/// An instance that runs at intervals, but never gets the lease.
async fn with_runs(world: &World) -> Service {
    let sql = "update entraway.reconciliation_state set lease_expires_at = 'infinity'";
    sqlx::query(sql).execute(&world.pool).await.unwrap();
    world.service_with(|config| config.sync.reconcile_interval = Some(Duration::from_hours(1))).await
}

/// Panics unless the text contains all of these in this order.
#[track_caller]
fn assert_contains(text: &str, expected: &[&str]) {
    let mut rest = text;
    for words in expected {
        let (_, after) = rest.split_once(words).unwrap_or_else(|| panic!("no {words:?} in {rest:?} of {text}"));
        rest = after;
    }
}

#[rstest]
#[tokio::test]
async fn changes_page_shows_held_plan_groups_and_runs(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = with_held_plan(store).await;
    let page = cast.ada.page(&cast.service, "/changes").await;
    let approve = format!("entraway approve {}", hash());
    let expected = [
        "2 removals held since",
        "Group Platform: 2 of 3 memberships would end. The limit is 50 %, from 5 on.",
        "Approve … Reject …",
        "Entra was read 5 minutes ago",
        "Team Platform",
        "Alice Arden left the group Platform complete list of 7 members, without this one",
        "no-row left the group",
        &approve,
        "Groups that could not be compared",
        "Nothing is removed from 1 group",
        "Data member list: 403 Grant GroupMember.Read.All",
        "scheduled held 1 membership removed, 2 changes held, 1 group not compared 3 1 min 0 s",
        "command line done 1 membership removed, 1 membership changed meanwhile and left alone 5 2.5 s",
    ];
    assert_contains(&text(&page), &expected);
    assert!(
        !text(&page).contains("Olga Orr"),
        "a change that is not held is not part of the held plan: {}",
        text(&page)
    );
    assert!(!page.contains('@'), "no e-mail address: {page}");
    for link in [format!("/people/{}", cast.alice.id), format!("/changes/{HELD}"), format!("/teams/{}", cast.platform)]
    {
        assert!(page.contains(&format!("href=\"{link}\"")), "no link to {link}");
    }
    let viewed = text(&cast.vera.page(&cast.service, "/changes").await);
    assert_contains(&viewed, &["2 removals held", "Only administrators can approve or reject it.", "Alice Arden"]);
    assert!(!viewed.contains("Approve …"), "{viewed}");
}

#[rstest]
#[tokio::test]
async fn run_page_shows_whole_plan(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = with_held_plan(store).await;
    let page = cast.vera.page(&cast.service, &format!("/changes/{HELD}")).await;
    let expected = [
        "held",
        "Why scheduled",
        "Compared 3 managed team memberships",
        "Held plan held",
        &hash(),
        "Plan: 3 removals",
        "Exceeded limits Group Platform",
        "Olga Orr administrator left the group",
        "Alice Arden held left the group",
        "Kept",
        "Olga Orr organization Platform its last administrator",
        "in no other team of the organization",
        "Accounts",
        "Bob Birch disable among the deleted items in Entra",
        "Groups that could not be compared: 1",
    ];
    assert_contains(&text(&page), &expected);
    assert!(page.contains(&format!("href=\"/audit?run={HELD}\"")), "{page}");
    let done = text(&cast.vera.page(&cast.service, &format!("/changes/{DONE}")).await);
    assert_contains(&done, &["Why command line", "Duration 2.5 s", "Plan: 0 removals", "Nothing."]);
    for path in ["/changes/x", "/changes/0193a5b0-0000-7000-8000-0000000000ff"] {
        assert_eq!(cast.ada.get(&cast.service, path).await.code(), "not_found", "{path}");
        assert_eq!(
            cast.ada.get(&cast.service, &path.replace("/changes", "/api/reconciliation/runs")).await.status,
            404
        );
    }
}

#[tokio::test]
async fn failed_and_running_runs_have_no_plan() {
    let mut cast = Cast::of(Native).await;
    let now = cast.world.clock.now();
    let failed = json!({ "run_id": DONE, "started_at": now - TimeDelta::hours(1), "finished_at": now, "status": "failed",
                         "error": "failed to read Entra's discovery document" });
    cast.world.insert_run(failed).await;
    cast.world
        .insert_run(json!({ "run_id": HELD, "started_at": now, "status": "running", "trigger": "request" }))
        .await;
    let page = text(&cast.ada.page(&cast.service, "/changes").await);
    assert_contains(
        &page,
        &["requested running in progress 0 –", "failed no changes failed to read Entra's discovery"],
    );
    assert!(!page.contains("Held plan") && !page.contains("could not be compared"), "{page}");
    let page = text(&cast.ada.page(&cast.service, &format!("/changes/{DONE}")).await);
    assert_contains(&page, &["failed to read Entra's discovery document", "This run made no plan."]);
    let page = text(&cast.ada.page(&cast.service, &format!("/changes/{HELD}")).await);
    assert_contains(&page, &["Duration not finished", "This run made no plan yet."]);
}

#[tokio::test]
async fn long_plan_shows_first_200_and_api_has_all() {
    let mut cast = Cast::of(Native).await;
    let now = cast.world.clock.now();
    let change = |n: usize| {
        json!({ "kind": "team", "id": format!("t{}", n / 150), "name": null, "user": format!("u{n:04}"), "user_name": null,
                "is_admin": false, "cause": "group_deleted", "group": "g", "evidence": { "what": "assignments", "assigned": 1 },
                "held": n >= 900 })
    };
    let incomplete = |n: usize| json!({ "group": format!("g{n:03}"), "message": "m", "fix": "f" });
    let plan = json!({ "changes": (0..1_300).map(change).collect::<Vec<_>>(),
                       "incomplete": (0..250).map(incomplete).collect::<Vec<_>>() });
    cast.world
        .insert_run(json!({ "run_id": HELD, "started_at": now, "status": "held", "held_plan": hash(), "plan": plan }))
        .await;
    cast.world.insert_held_plan(json!({ "plan_hash": hash(), "run_id": HELD, "held_at": now, "changes": 400 })).await;
    let page = text(&cast.ada.page(&cast.service, &format!("/changes/{HELD}")).await);
    assert_contains(&page, &["Plan: 1300 removals", "Team t0", "u0000", "Team t1", "u0199", "1100 more."]);
    assert_contains(&page, &["could not be compared: 250", "g199", "50 more."]);
    assert!(!page.contains("u0200") && !page.contains("g200"), "{page}");
    let page = text(&cast.ada.page(&cast.service, "/changes").await);
    assert_contains(&page, &["400 removals held", "u0900", "u1099", "200 more.", "Nothing is removed from 250 groups"]);
    assert!(!page.contains("u0899") && !page.contains("u1100"), "{page}");
    let run = cast.ada.json(&cast.service, &format!("/api/reconciliation/runs/{HELD}")).await;
    assert_eq!(run["plan"], plan, "the API has the whole plan");
    let held = cast.ada.json(&cast.service, "/api/reconciliation/plan").await;
    assert_eq!(held["plan"]["changes"].as_array().unwrap().len(), 400);
}

#[tokio::test]
async fn runs_are_listed_page_by_page() {
    let mut cast = Cast::of(Native).await;
    let now = cast.world.clock.now();
    for n in 0..5 {
        let run =
            json!({ "run_id": format!("0193a5b0-0000-7000-8000-{n:012}"), "started_at": now - TimeDelta::hours(n) });
        cast.world.insert_run(run).await;
    }
    let mut found = Vec::new();
    let mut path = "/api/reconciliation/runs?limit=2".to_owned();
    loop {
        let body = ask(&mut cast.vera, &cast.service, "/api/reconciliation/runs", &path, 200).await;
        found.extend(body["runs"].as_array().unwrap().iter().map(|run| run["run_id"].as_str().unwrap().to_owned()));
        let Some(next) = body["next"].as_str() else { break };
        path = format!("/api/reconciliation/runs?limit=2&after={next}");
        let page = cast.vera.page(&cast.service, &format!("/changes?limit=2&after={next}")).await;
        assert!(!text(&page).contains("Run now"), "only the first page has more than the list");
    }
    let expected: Vec<String> = (0..5).map(|n| format!("0193a5b0-0000-7000-8000-{n:012}")).collect();
    assert_eq!(found, expected);
    assert_eq!(cast.ada.get(&cast.service, "/changes?after=x").await.code(), "parameter_value");
}

#[tokio::test]
async fn changes_page_says_why_nothing_is_removed() {
    let mut cast = Cast::of(Native).await;
    let page = text(&cast.ada.page(&cast.service, "/changes").await);
    assert_contains(
        &page,
        &[
            "This service begins no runs: sync.reconcile.interval is 0s .",
            "entraway reconcile",
            "There was no run yet.",
        ],
    );
    let follow = with_runs(&cast.world).await;
    let page = text(&cast.ada.page(&follow, "/changes").await);
    assert!(!page.contains("begins no runs"), "{page}");
    assert_contains(&page, &["There was no run yet.", "waits for approval", "Run now", "No runs."]);
    let additive =
        cast.world.service_with(|config| config.policy.memberships = entraway::policy::MembershipSync::Additive).await;
    let page = text(&cast.ada.page(&additive, "/changes").await);
    assert_contains(
        &page,
        &["No membership is removed:", "sync.memberships is additive", "set sync.memberships: follow"],
    );
    let run = json!({ "run_id": DONE, "started_at": cast.world.clock.now(), "plan": { "memberships": "additive" } });
    cast.world.insert_run(run).await;
    let page = text(&cast.ada.page(&additive, &format!("/changes/{DONE}")).await);
    assert_contains(&page, &["Nothing was removed:", "what follow would remove"]);
    let approved = json!({ "run_id": HELD, "started_at": cast.world.clock.now(), "plan": { "approved": hash() } });
    cast.world.insert_run(approved).await;
    let page = text(&cast.ada.page(&additive, &format!("/changes/{HELD}")).await);
    assert_contains(&page, &["An administrator approved them as plan 5a5a"]);
}

#[rstest]
#[tokio::test]
async fn reconciliation_api_conforms_to_openapi(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    let empty = ask(&mut cast.vera, &cast.service, "/api/reconciliation/plan", "/api/reconciliation/plan", 200).await;
    assert_eq!(empty, json!({ "plan": Value::Null }));
    let mut cast = with_held_plan(store).await;
    let run = format!("/api/reconciliation/runs/{HELD}");
    let (service, vera) = (&cast.service, &mut cast.vera);
    ask(vera, service, "/api/reconciliation/runs", "/api/reconciliation/runs", 200).await;
    let run = ask(vera, service, "/api/reconciliation/runs/{run_id}", &run, 200).await;
    assert_eq!((&run["plan"]["later"]["field"], run["plan"]["changes"].as_array().unwrap().len()), (&json!(1), 3));
    let held = ask(vera, service, "/api/reconciliation/plan", "/api/reconciliation/plan", 200).await;
    let users: Vec<&Value> = held["plan"]["changes"].as_array().unwrap().iter().map(|change| &change["user"]).collect();
    assert_eq!(users, [&json!(cast.alice.id), &json!("no-row")]);
    ask(vera, service, "/api/reconciliation/runs/{run_id}", "/api/reconciliation/runs/x", 404).await;
}

#[rstest]
#[tokio::test]
async fn user_pages_name_run_that_removed_membership(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = with_held_plan(store).await;
    let (alice, platform) = (cast.alice.id.to_string(), cast.platform.to_string());
    cast.world.by_hand(TAKE_OUT_OF_TEAM, &[&alice, &platform]).await;
    let removed = json!({
        "at": cast.world.clock.now(), "actor": "job", "run_id": DONE, "action": "team_member_removed", "user_id": alice,
        "object_id": alice, "target_kind": "team", "target_id": platform, "target_name": "Platform",
        "cause": "group_unassigned", "group_id": platform,
    });
    cast.world.insert_audit_events(vec![removed]).await;
    let why = "the group that gave the membership was no longer assigned to the app";
    let explain = format!("/people/{alice}/explain");
    let path = format!("/api{explain}?team=Platform");
    let report = ask(&mut cast.alice, &cast.service, "/api/people/{id}/explain", &path, 200).await;
    assert_eq!(report["removals"][0]["reconciliation_run"], DONE, "{report:#}");
    let answer = report["answer"]["findings"][0]["what"].as_str().unwrap();
    assert_contains(answer, &["Removed from the team by the reconciliation of", why]);
    let link = format!("href=\"/changes/{DONE}\"");
    let page = cast.vera.page(&cast.service, &explain).await;
    assert_contains(&text(&page), &["Removed memberships", "by the reconciliation of", why]);
    assert!(page.contains(&link), "{page}");
    assert!(!cast.alice.page(&cast.service, &explain).await.contains(&link), "a user cannot open the run");
    let page = cast.vera.page(&cast.service, &format!("/people/{alice}")).await;
    let expected =
        ["Lost access", "just now : removed from team Platform : group unassigned; by background job, this run"];
    assert_contains(&text(&page), &expected);
    assert!(page.contains(&link), "{page}");
    assert!(!cast.alice.page(&cast.service, &format!("/people/{alice}")).await.contains("Lost access"));
    let audit = cast.vera.page(&cast.service, &format!("/audit?run={DONE}")).await;
    assert!(audit.contains(&link) && text(&audit).contains("this run"), "{audit}");
}
