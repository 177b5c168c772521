//! Sessions: their data, lifetime and end.

mod cookies;
mod denied_signin;
mod lifetime;
mod logout;

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rstest::rstest;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use sqlx::AssertSqlSafe;

use crate::support::sql_fixtures::DELETE_USER;
use crate::support::{Browser, LiteLlm, Native, StoreKind, World};

/// The hashes of the tokens of all sessions.
async fn hashes(world: &World) -> BTreeSet<Vec<u8>> {
    let all: Vec<Vec<u8>> =
        sqlx::query_scalar("select token_hash from entraway.sessions").fetch_all(&world.pool).await.unwrap();
    all.into_iter().collect()
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[rstest]
#[tokio::test]
async fn api_me_has_exactly_the_specified_fields(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    let answer = browser.me(&service).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    let me = answer.json();
    assert_eq!(keys(&me), ["last_sync", "organizations", "session", "teams", "user"]);
    let tenant = world.simulator.edit(|directory| directory.tenant_id);
    assert_eq!(
        me["user"],
        json!({ "user_id": alice, "tenant_id": tenant, "email": "alice.arden@contoso-sim.example",
            "display_name": "Alice Arden", "user_role": "internal_user" })
    );
    let name = "Production LLM Evals";
    assert_eq!(
        me["organizations"],
        json!([{ "organization_id": group, "organization_alias": name, "user_role": "internal_user" }])
    );
    assert_eq!(
        me["teams"],
        json!([{ "team_id": group, "team_alias": name, "organization_id": group, "role": "user" }])
    );
    assert_eq!(keys(&me["session"]), ["created_at", "expires_at"]);
    assert_eq!(
        keys(&me["last_sync"]),
        [
            "assigned_groups",
            "failures",
            "member_of",
            "organizations_created",
            "organizations_joined",
            "removed_from_organizations",
            "removed_from_teams",
            "started_at",
            "teams_created",
            "teams_joined",
            "user_created",
            "user_updated"
        ]
    );
    assert_eq!(me["last_sync"]["teams_joined"], json!([group]));
    let time = |name: &str| me["session"][name].as_str().unwrap().parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!(time("expires_at") - time("created_at"), chrono::TimeDelta::hours(24));
}

#[tokio::test]
async fn api_me_without_session_is_401_problem_json() {
    let world = World::new().await;
    let service = world.service().await;
    let mut browser = Browser::new();
    for answer in [browser.me(&service).await, browser.get_json(service.at("/api/me")).await] {
        assert_eq!(answer.status, 401);
        assert_eq!(answer.headers["content-type"], "application/problem+json");
        let problem = answer.json();
        assert_eq!(keys(&problem), ["code", "detail", "remedy", "request_id", "status", "title", "type"]);
        assert_eq!((&problem["code"], &problem["status"]), (&json!("not_signed_in"), &json!(401)));
        assert_eq!(problem["request_id"], answer.headers["x-request-id"].to_str().unwrap());
        assert!(answer.set_cookies().is_empty());
    }
    let page = browser.get(service.at("/")).await;
    assert_eq!(page.status, 200, "the front page is the way in");
    assert!(page.body.contains("href=\"/sso/login\""), "{}", page.body);
}

#[rstest]
#[tokio::test]
async fn session_token_is_stored_only_as_hash(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let browser = world.sign_in(&service, alice).await;
    let token = &browser.cookies["entraway"];
    assert_eq!(token.len(), 43);
    assert_eq!(URL_SAFE_NO_PAD.decode(token).unwrap().len(), 32, "256 bits in base64url: {token}");
    assert_eq!(hashes(&world).await, [Sha256::digest(token.as_bytes()).to_vec()].into());

    let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(world.statement(
        "select to_jsonb(t)::text from entraway.sessions t union all select to_jsonb(t)::text from entraway.sync_runs t
         union all select to_jsonb(t)::text from entraway.used_attempts t
         union all select to_jsonb(t)::text from {users} t",
    )))
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert!(rows.len() >= 4, "{rows:#?}");
    assert!(rows.iter().all(|row| !row.contains(token.as_str())), "the token itself is in the database: {rows:#?}");
}

#[rstest]
#[tokio::test]
async fn signin_issues_new_token_and_ends_old_session(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let bob = world.simulator.edit(|directory| directory.person("Bob Baker", |_| {}));
    let service = world.service().await;
    let elsewhere = world.sign_in(&service, alice).await;
    let mut browser = world.sign_in(&service, alice).await;
    let mut tokens = BTreeSet::from([elsewhere.cookies["entraway"].clone(), browser.cookies["entraway"].clone()]);
    // The same user again, and then another one.
    for person in [alice, bob] {
        let mut old = browser.clone();
        assert_eq!(browser.sign_in(&world.simulator, &service, person).await.status, 303);
        assert_eq!(old.me(&service).await.status, 401, "the browser's old token is worth nothing");
        assert_eq!(browser.me(&service).await.json()["user"]["user_id"], json!(person));
        assert!(tokens.insert(browser.cookies["entraway"].clone()), "a token came twice");
        assert_eq!(world.traces().await.sessions, 2, "this browser's and the other one's");
    }
    assert_eq!(elsewhere.clone().me(&service).await.status, 200, "another browser's session goes on");
}

#[tokio::test]
async fn planted_session_token_is_not_adopted() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let planted = URL_SAFE_NO_PAD.encode([7; 32]);
    let mut browser = Browser::new();
    browser.cookies.insert("entraway".into(), planted.clone());
    assert_eq!(browser.sign_in(&world.simulator, &service, alice).await.status, 303);
    assert_ne!(browser.cookies["entraway"], planted);
    assert!(!hashes(&world).await.contains(&Sha256::digest(planted.as_bytes()).to_vec()));
}

#[rstest]
#[tokio::test]
async fn session_ends_when_user_row_is_deleted(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;
    world.by_hand(DELETE_USER, &[&alice]).await;
    assert_eq!(browser.me(&service).await.status, 401);
    assert_eq!(browser.get(service.at("/")).await.status, 200);
    // The same object ID in another tenant is another user.
    let mut browser = world.sign_in(&service, alice).await;
    world.sql("update {identities} set tenant_id = gen_random_uuid()").await;
    assert_eq!(browser.me(&service).await.status, 401);
}
