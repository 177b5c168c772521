//! Approving and rejecting a held plan, and asking for a run: who may, and what is recorded.

use reqwest::Method;
use rstest::rstest;
use serde_json::json;

use super::super::api::ask;
use super::super::{Cast, text};
use super::{assert_contains, hash, with_held_plan, with_runs};
use crate::support::{Browser, LiteLlm, Native, StoreKind};

const DECISIONS: [&str; 3] = ["plan_held", "plan_approved", "plan_rejected"];

/// The targets of the forms of a page, except for the sign-out.
fn forms(page: &str) -> Vec<String> {
    let forms = page.split("<form method=\"post\" action=\"").skip(1);
    let forms = forms.map(|rest| rest.split('"').next().unwrap().to_owned());
    forms.filter(|path| path != "/sso/logout").collect()
}

#[rstest]
#[tokio::test]
async fn administrator_approves_and_rejects_after_confirmation(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = with_held_plan(store).await;
    let ada = cast.ada.id.to_string();
    for (verb, status, said, requested) in [
        ("reject", "rejected", "Rejected by Ada Min just now", false),
        ("approve", "approved", "Approved by Ada Min just now", true),
    ] {
        let path = format!("/changes/plans/{}/{verb}", hash());
        let page = cast.ada.page(&cast.service, "/changes").await;
        assert!(page.contains(&format!("href=\"{path}\"")), "{page}");
        let confirmation = cast.ada.page(&cast.service, &path).await;
        assert_contains(&text(&confirmation), &["2 removals?", "Cancel", &hash(), "Alice Arden"]);
        assert_eq!(forms(&confirmation), [path.as_str()], "the confirmation posts to the same path");
        let answer = cast.ada.browser.post(cast.service.at(&path)).await;
        assert_eq!((answer.status.as_u16(), answer.location().path()), (303, "/changes"));
        let (found, by, run) = cast.world.plan_decision(&hash()).await;
        assert_eq!((found.as_str(), by.as_deref(), run), (status, Some(ada.as_str()), requested));
        let page = cast.ada.page(&cast.service, "/changes").await;
        assert!(text(&page).contains(said), "no {said:?} in {}", text(&page));
        assert!(!page.contains(&format!("/{verb}\"")), "the same decision is not offered again");
    }
    let events = cast.world.audit_events(&DECISIONS).await;
    let event = |action: &str| {
        json!({ "actor": "operator", "actor_id": ada, "action": action, "target_kind": "plan", "target_id": hash(),
                "result": "applied" })
    };
    assert_eq!(events, [event("plan_rejected"), event("plan_approved")]);
    let audit = cast.vera.page(&cast.service, "/audit?action=plan_approved").await;
    assert_contains(&text(&audit), &["plan approved", &hash()[..12], "Ada Min"]);
    ask(&mut cast.vera, &cast.service, "/api/audit", "/api/audit?action=plan_approved", 200).await;
}

#[rstest]
#[tokio::test]
async fn api_decides_about_exactly_one_plan(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = with_held_plan(store).await;
    for (verb, status) in [("approve", "approved"), ("reject", "rejected")] {
        let route = format!("/api/reconciliation/plans/{{hash}}/{verb}");
        let at = |hash: &str| format!("/api/reconciliation/plans/{hash}/{verb}");
        let body = ask(&mut cast.ada, &cast.service, &route, &at(&hash()), 200).await;
        assert_eq!(body, json!({ "plan_hash": hash(), "status": status }));
        assert_eq!(cast.world.plan_decision(&hash()).await.0, status);
        // The beginning of the hash is not enough, and no other plan is decided.
        for unknown in [&hash()[..8], &"0".repeat(64), "x", "%00"] {
            let problem = ask(&mut cast.ada, &cast.service, &route, &at(unknown), 404).await;
            assert_eq!(problem["code"], "plan_not_found", "{unknown}");
        }
        ask(&mut cast.vera, &cast.service, &route, &at(&hash()), 403).await;
    }
    for (status, said) in [("applied", "its changes were made"), ("lapsed", "a later run found other changes")] {
        sqlx::query("update entraway.held_plans set status = $1").bind(status).execute(&cast.world.pool).await.unwrap();
        let route = "/api/reconciliation/plans/{hash}/approve";
        let problem = ask(&mut cast.ada, &cast.service, route, &route.replace("{hash}", &hash()), 409).await;
        assert_eq!(problem["code"], "plan_not_held");
        assert!(problem["detail"].as_str().unwrap().contains(said), "{problem}");
        let path = format!("/changes/plans/{}/approve", hash());
        assert_eq!(cast.ada.get(&cast.service, &path).await.code(), "plan_not_held");
        assert_eq!(cast.ada.browser.post(cast.service.at(&path)).await.code(), "plan_not_held");
        assert_eq!(cast.world.plan_decision(&hash()).await.0, status);
        assert!(!text(&cast.ada.page(&cast.service, "/changes").await).contains("Held plan"));
        let run = text(&cast.ada.page(&cast.service, &format!("/changes/{}", super::HELD)).await);
        assert!(run.contains(&format!("Held plan {status}")), "{run}");
    }
}

#[tokio::test]
async fn only_administrators_decide_and_start_runs() {
    let mut cast = with_held_plan(Native).await;
    let hash = hash();
    let changing = [
        format!("/changes/plans/{hash}/approve"),
        format!("/changes/plans/{hash}/reject"),
        "/changes/run".to_owned(),
        format!("/api/reconciliation/plans/{hash}/approve"),
        format!("/api/reconciliation/plans/{hash}/reject"),
        "/api/reconciliation/run".to_owned(),
    ];
    for path in &changing {
        let url = cast.service.at(path);
        for (browser, status, code) in [
            (&mut cast.vera.browser, 403, "administrator_only"),
            (&mut cast.olga.browser, 404, "not_found"),
            (&mut cast.alice.browser, 404, "not_found"),
            (&mut Browser::new(), 401, "not_signed_in"),
        ] {
            let answer = browser.post(url.clone()).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code), "{path}");
        }
        for (header, value) in [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")] {
            let request = cast.ada.browser.request(Method::POST, url.clone()).header(header, value);
            let answer = cast.ada.browser.send(request).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "cross_origin"), "{path}");
        }
    }
    let reading =
        ["/changes", &format!("/changes/{}", super::HELD), "/api/reconciliation/runs", "/api/reconciliation/plan"];
    for path in reading {
        for actor in [&mut cast.olga, &mut cast.alice] {
            assert_eq!(actor.get(&cast.service, path).await.code(), "not_found", "{path}");
        }
        assert_eq!(Browser::new().get(cast.service.at(path)).await.code(), "not_signed_in", "{path}");
        assert_eq!(cast.vera.get(&cast.service, path).await.status, 200, "{path}");
    }
    for path in &changing[..2] {
        assert_eq!(cast.vera.get(&cast.service, path).await.code(), "administrator_only", "{path}");
    }
    assert_eq!(cast.world.plan_decision(&hash).await, ("held".to_owned(), None, false), "nothing was decided");
    assert!(cast.world.audit_events(&DECISIONS).await.is_empty());
}

#[tokio::test]
async fn run_now_requests_a_run() {
    let mut cast = Cast::of(Native).await;
    let route = "/api/reconciliation/run";
    let service = with_runs(&cast.world).await;
    assert_eq!(forms(&cast.vera.page(&service, "/changes").await), [""; 0], "a viewer cannot start a run");
    let page = cast.ada.page(&service, "/changes").await;
    assert_eq!(forms(&page), ["/changes/run"]);
    let answer = cast.ada.browser.post(service.at("/changes/run")).await;
    assert_eq!((answer.status.as_u16(), answer.location().path()), (303, "/changes"));
    let page = text(&cast.ada.page(&service, "/changes").await);
    assert!(page.contains("A run was requested just now and has not begun yet."), "{page}");
    let body = ask(&mut cast.ada, &service, route, route, 202).await;
    let now = cast.world.clock.now();
    cast.world.insert_run(json!({ "run_id": super::DONE, "started_at": now, "trigger": "request" })).await;
    assert!(body["requested_at"].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap() <= now);
    let page = text(&cast.ada.page(&service, "/changes").await);
    assert!(!page.contains("A run was requested"), "it has begun: {page}");
}
