//! `GET /syncs/failed`: sign-ins that failed before the user was known, recorded within limits, for operators.

use std::time::Instant;

use chrono::TimeDelta;
use entra_simulator::{Endpoint, EntraError, Fault, FaultRule, TokenKind};
use reqwest::header::ACCEPT;
use rstest::rstest;
use serde_json::{Value, json};

use super::api::validator;
use super::{Cast, text};
use crate::support::{Answer, Browser, LiteLlm, Native, Service, StoreKind, World};

/// Starts a sign-in from this client address and cancels it at Microsoft.
async fn cancel(world: &World, service: &Service, client: &str) -> Answer {
    let mut browser = Browser::new();
    let entra = browser.begin(service).await;
    let back = Browser::new().get(world.simulator.refuse_url(&entra)).await.location();
    let request = browser.request(reqwest::Method::GET, service.here(&back)).header(ACCEPT, "text/html");
    browser.send(request.header("X-Forwarded-For", client)).await
}

fn request_id(answer: &Answer) -> String {
    answer.headers["x-request-id"].to_str().unwrap().to_owned()
}

async fn recorded(world: &World) -> Vec<Value> {
    let sql = "select to_jsonb(f) - 'sign_in_id' - 'failed_at' from entraway.failed_sign_ins f order by failed_at";
    sqlx::query_scalar(sql).fetch_all(&world.pool).await.unwrap()
}

#[rstest]
#[tokio::test]
async fn failed_signin_is_recorded_without_identity(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    let before = world.traces().await;
    let refused = |error, number| Fault::Entra(EntraError::new(error, number, "Alice alice@contoso-sim.example"));
    let authorize = |fault| FaultRule::on(Endpoint::Authorize, fault);
    let token = |fault| FaultRule::on(Endpoint::Token, fault).token(TokenKind::Delegated);
    let mut expected = Vec::new();
    for (fault, code, aadsts) in [
        (authorize(refused("access_denied", 65004)), "consent_declined", json!("65004")),
        (authorize(refused("access_denied", 50105)), "not_assigned", json!("50105")),
        (authorize(refused("access_denied", 90094)), "consent_required", json!("90094")),
        (authorize(refused("access_denied", 53003)), "entra_refused", json!("53003")),
        (token(refused("invalid_grant", 54005)), "code_refused", json!("54005")),
        (token(Fault::status(503)), "entra_unavailable", json!("90033")),
    ] {
        world.simulator.clear_faults();
        world.simulator.fault(fault);
        let answer = world.try_sign_in(&service, alice).await;
        assert_eq!(answer.code(), code, "{answer:#?}");
        expected.push(json!({ "code": code, "aadsts": aadsts, "request_id": request_id(&answer) }));
    }
    world.simulator.clear_faults();
    world.simulator.next_id_token(|token| _ = token.claims.insert("nonce".to_owned(), json!("another")));
    let answer = world.try_sign_in(&service, alice).await;
    world.simulator.clear_faults();
    expected.push(json!({ "code": "id_token_nonce", "aadsts": null, "request_id": request_id(&answer) }));
    assert_eq!(recorded(&world).await, expected, "the code, Entra's number, the request ID, and nothing else");
    assert_eq!(world.traces().await, before, "and nothing else is written");

    // A callback without a login state of this browser is not a failed sign-in.
    let mut browser = Browser::new();
    assert_eq!(browser.get(service.at("/sso/callback?state=x&error=access_denied")).await.code(), "attempt_unknown");
    world.sign_in(&service, alice).await;
    assert_eq!(recorded(&world).await.len(), expected.len());

    world.clock.advance(TimeDelta::days(91));
    service.app.delete_expired().await.unwrap();
    assert_eq!(recorded(&world).await, Vec::<Value>::new(), "gone after 90 days");
}

#[rstest]
#[tokio::test]
async fn failed_signins_page_is_for_operators_and_filtered(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    let first = request_id(&cancel(&cast.world, &cast.service, "192.0.2.1").await);
    let fault = Fault::Entra(EntraError::new("access_denied", 50105, "x"));
    cast.world.simulator.fault(FaultRule::on(Endpoint::Authorize, fault));
    let second = request_id(&cast.world.try_sign_in(&cast.service, cast.bob.id).await);
    cast.world.simulator.clear_faults();
    cast.world.simulator.next_id_token(|token| _ = token.claims.insert("nonce".to_owned(), json!("another")));
    let third = request_id(&cast.world.try_sign_in(&cast.service, cast.bob.id).await);

    for (query, expected) in [
        (String::new(), vec![&third, &second, &first]),
        ("code=consent_declined".to_owned(), vec![&first]),
        ("code=id_token".to_owned(), vec![&third]),
        ("code=canceled".to_owned(), vec![]),
        (format!("request={second}"), vec![&second]),
        (format!("request={second}&code=canceled"), vec![]),
    ] {
        let body = cast.vera.json(&cast.service, &format!("/api/syncs/failed?{query}")).await;
        let ids: Vec<&str> =
            body["failed"].as_array().unwrap().iter().map(|row| row["request_id"].as_str().unwrap()).collect();
        assert_eq!(ids, expected, "{query}: {body:#}");
        let problems: Vec<String> = validator("/api/syncs/failed", 200, "application/json")
            .iter_errors(&body)
            .map(|error| format!("{} {error}", error.instance_path()))
            .collect();
        assert!(problems.is_empty(), "does not conform to openapi.json: {problems:?}");
        let page = cast.vera.page(&cast.service, &format!("/syncs/failed?{query}")).await;
        for id in [&first, &second, &third] {
            assert_eq!(
                page.contains(&format!("<td data-label=\"Request ID\"><code>{id}")),
                expected.contains(&id),
                "{query}"
            );
        }
    }
    let page = cast.ada.page(&cast.service, "/syncs/failed").await;
    assert!(page.contains("href=\"https://login.microsoftonline.com/error?code=50105\""), "{page}");
    assert!(text(&page).contains("Assign the user or one of their groups"), "{page}");
    let syncs = text(&cast.ada.page(&cast.service, "/syncs").await);
    assert!(syncs.contains("3 in the last 24 hours"), "{syncs}");
    for query in ["code=unheard-of", "after=x"] {
        assert_eq!(cast.ada.get(&cast.service, &format!("/syncs/failed?{query}")).await.code(), "parameter_value");
    }

    for path in ["/syncs/failed", "/api/syncs/failed", "/syncs/failed?code=canceled"] {
        for actor in [&mut cast.alice, &mut cast.olga] {
            let answer = actor.get(&cast.service, path).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"), "{path}");
        }
    }
    let syncs = text(&cast.alice.page(&cast.service, "/syncs").await);
    assert!(!syncs.contains("Failed sign-ins"), "what users see stays simple: {syncs}");
}

#[tokio::test]
async fn failed_signins_are_listed_page_by_page() {
    let mut cast = Cast::of(Native).await;
    sqlx::raw_sql(
        "insert into entraway.failed_sign_ins (failed_at, code, request_id)
         select now() - n * interval '1 minute', 'canceled', 'request-' || n from generate_series(1, 120) n",
    )
    .execute(&cast.world.pool)
    .await
    .unwrap();
    let mut seen = Vec::new();
    let mut query = String::new();
    loop {
        let body = cast.ada.json(&cast.service, &format!("/api/syncs/failed{query}")).await;
        let rows = body["failed"].as_array().unwrap();
        seen.extend(rows.iter().map(|row| row["request_id"].as_str().unwrap().to_owned()));
        let Some(next) = body["next"].as_str() else { break };
        query = format!("?after={next}");
    }
    assert_eq!(seen, (1..=120).map(|n| format!("request-{n}")).collect::<Vec<_>>());
}

/// Hundreds of sign-ins.
mod slow {
    use super::*;

    #[tokio::test]
    async fn failed_signins_are_recorded_within_limits() {
        let world = World::new().await;
        let service =
            world.service_with(|config| config.server.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()]).await;
        let begin = Instant::now();
        for _ in 0..15 {
            assert_eq!(cancel(&world, &service, "192.0.2.1").await.code(), "consent_declined");
        }
        assert_eq!(recorded(&world).await.len(), 10, "the hourly limit of one address");
        for network in 0..25 {
            for _ in 0..10 {
                cancel(&world, &service, &format!("198.51.100.{network}")).await;
            }
        }
        let in_total = recorded(&world).await.len();
        // On a slow machine, one more becomes available every 18 seconds.
        let allowed = 200..=200 + usize::try_from(begin.elapsed().as_secs() / 18).unwrap();
        assert!(allowed.contains(&in_total), "the hourly limit of all addresses: {in_total}, not {allowed:?}");
        world.clock.advance(TimeDelta::hours(1));
        cancel(&world, &service, "192.0.2.1").await;
        assert_eq!(recorded(&world).await.len(), in_total + 1);
    }
}
