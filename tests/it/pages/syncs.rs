//! `GET /syncs`: the record of every sign-in, filters, and the chart.

use chrono::TimeDelta;
use rstest::rstest;

use super::{Cast, text};
use crate::support::scene::assigned;
use crate::support::sql_fixtures::MAKE_TEAM;
use crate::support::{LiteLlm, Native, StoreKind};

#[rstest]
#[tokio::test]
async fn sync_record_shows_reads_writes_and_durations(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    let [night] = assigned(&cast.world, ["Night"]);
    cast.world.by_hand(MAKE_TEAM, &[&night, &"Night by hand"]).await;
    cast.world.simulator.edit(|directory| directory.put(cast.bob.id, night));
    cast.world.sign_in(&cast.service, cast.bob.id).await;
    let page = cast.vera.page(&cast.service, &format!("/syncs?person={}", cast.bob.id)).await;
    let said = text(&page);
    for words in [
        "Bob Birch signed in 3 assigned groups 2 groups of the user added to Night by hand 1 organization created",
        "Night by hand stays standalone: existing teams are not changed",
        "Entra ",
        "Graph ",
        "plan ",
        "Postgres ",
        "account created added to Data",
    ] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    assert!(page.contains(&format!("href=\"/people/{}\"", cast.bob.id)), "{page}");
}

#[rstest]
#[tokio::test]
async fn sync_records_are_filtered_by_user_group_and_trouble(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    let strict = cast.world.service_with(|config| config.policy.require_group = true).await;
    let stranger = crate::support::scene::person(&cast.world, "Sam Stranger", &[]);
    assert_eq!(cast.world.try_sign_in(&strict, stranger).await.status, 403);
    for (query, expected) in [
        (String::new(), 6),
        (format!("person={}", cast.bob.id), 1),
        (format!("person={stranger}"), 1),
        (format!("group={}", cast.data), 2),
        (format!("group={}&person={}", cast.data, cast.bob.id), 1),
        ("trouble=1".to_owned(), 1),
        ("group=nothing".to_owned(), 0),
    ] {
        let body = cast.ada.json(&cast.service, &format!("/api/syncs?{query}")).await;
        assert_eq!(body["syncs"].as_array().unwrap().len(), expected, "/api/syncs?{query}: {body:#}");
    }
    let page = text(&cast.ada.page(&cast.service, "/syncs?trouble=1").await);
    assert!(page.contains(&format!("{stranger} denied: in no assigned group")), "{page}");
    let explained = text(&cast.ada.page(&cast.service, &format!("/syncs?person={stranger}")).await);
    assert!(explained.contains("0 groups of the user"), "the lists that were read for the denied user: {explained}");
}

#[tokio::test]
async fn sync_chart_counts_signins_per_hour() {
    let mut cast = Cast::of(Native).await;
    cast.world.clock.advance(TimeDelta::hours(3));
    let strict = cast.world.service_with(|config| config.policy.require_group = true).await;
    let stranger = crate::support::scene::person(&cast.world, "Sam Stranger", &[]);
    for _ in 0..2 {
        assert_eq!(cast.world.try_sign_in(&strict, stranger).await.status, 403);
    }
    let mut ada = cast.world.sign_in(&cast.service, cast.ada.id).await;
    let page = ada.get(cast.service.at("/syncs")).await.body;
    assert!(page.contains("Sign-ins per hour in the last 24 hours: 8, 2 of them with problems."), "{page}");
    assert!(page.contains("Maximum: 5 at "), "{page}");
    assert_eq!(page.matches("class=\"bar\"").count(), 2, "two hours with successful sign-ins");
    assert_eq!(page.matches("class=\"bar bad\"").count(), 1, "one hour with failures");
    cast.world.clock.advance(TimeDelta::hours(23));
    let mut ada = cast.world.sign_in(&cast.service, cast.ada.id).await;
    let page = ada.get(cast.service.at("/syncs")).await.body;
    assert!(page.contains("in the last 24 hours: 4, 2 of them with problems."), "older ones are not counted: {page}");
    let page = cast.alice.get(&cast.service, "/syncs").await;
    assert!(!page.body.contains("class=\"chart\""), "only operators see the chart");
}
