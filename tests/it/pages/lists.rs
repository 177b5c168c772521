//! Long lists: a page at a time, in one order, found by the beginnings of words.

use std::collections::BTreeSet;

use rstest::rstest;
use serde_json::Value;

use super::Cast;
use crate::support::{LiteLlm, Native, StoreKind};

/// Names in which case, accents, marks and equal names matter; most are far from the first page.
const MAKE_TEAMS: &str = "insert into {teams} (team_id, team_alias, created_at)
    select 'made-' || n, (array['Team', 'team', 'Évaluation', 'Zebra/One', 'Ops & \"Co\"', 'Same'])[n % 6 + 1]
                         || case when n % 6 = 5 then '' else ' ' || lpad(n::text, 3, '0') end,
           timestamp '2026-01-01' + n / 3 * interval '1 minute'
    from generate_series(1, 171) n where $1 = ''";

/// All rows of a list, page after page, forward; and then the whole way back.
async fn walk(cast: &mut Cast, list: &str, query: &str) -> Vec<String> {
    let id = |row: &Value| ["team_id", "user_id"].iter().find_map(|key| row[key].as_str().map(str::to_owned)).unwrap();
    let mut pages: Vec<Vec<String>> = Vec::new();
    let mut turn = String::new();
    loop {
        let body = cast.ada.json(&cast.service, &format!("/api/{list}?{query}{turn}")).await;
        pages.push(body[list].as_array().unwrap().iter().map(id).collect());
        let Some(next) = body["next"].as_str() else { break };
        turn = format!("&after={next}");
        assert!(pages.len() < 20, "the list does not end");
    }
    let mut back = Vec::new();
    let body = cast.ada.json(&cast.service, &format!("/api/{list}?{query}{turn}")).await;
    let mut previous = body["previous"].as_str().map(str::to_owned);
    while let Some(before) = previous {
        let body = cast.ada.json(&cast.service, &format!("/api/{list}?{query}&before={before}")).await;
        back.push(body[list].as_array().unwrap().iter().map(id).collect::<Vec<_>>());
        previous = body["previous"].as_str().map(str::to_owned);
    }
    back.reverse();
    assert_eq!(back.concat(), pages[..pages.len() - 1].concat(), "backward is forward turned around: {query}");
    pages.concat()
}

#[rstest]
#[tokio::test]
async fn every_row_comes_once_forward_and_backward_in_the_order_that_was_asked_for(
    #[values(Native, LiteLlm)] store: StoreKind,
) {
    let mut cast = Cast::of(store).await;
    cast.world.by_hand(MAKE_TEAMS, &[&""]).await;
    let by_name: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(
        cast.world.statement("select team_id from {teams} order by lower(team_alias), team_id"),
    ))
    .fetch_all(&cast.world.pool)
    .await
    .unwrap();
    let newest: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(
        cast.world.statement("select team_id from {teams} order by created_at desc, team_id desc"),
    ))
    .fetch_all(&cast.world.pool)
    .await
    .unwrap();
    assert_eq!(by_name.len(), 173);
    assert_eq!(walk(&mut cast, "teams", "sort=name").await, by_name);
    assert_eq!(walk(&mut cast, "teams", "sort=newest").await, newest);
    let same = walk(&mut cast, "teams", "search=same").await;
    let expected: BTreeSet<String> = (1..=171).filter(|n| n % 6 == 5).map(|n| format!("made-{n}")).collect();
    assert_eq!(same.into_iter().collect::<BTreeSet<_>>(), expected, "rows of one name are not lost between two pages");
}

#[rstest]
#[tokio::test]
async fn a_search_finds_the_beginnings_of_words_and_whole_ids(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    cast.world.by_hand(MAKE_TEAMS, &[&""]).await;
    let platform = cast.platform.to_string();
    for (search, expected) in [
        ("plat", 1),
        ("PLATFORM", 1),
        ("form", 0),
        (platform.as_str(), 1),
        ("made-17", 1),
        ("%C3%89valuation", 29),
        ("%C3%89VAL%20020", 1),
        ("one%20zebra", 29),
        ("zebra%2Fone", 29),
        ("%22Co%22", 28),
        ("o'x:*%20%7C%20!a", 0),
        ("%27%27", 0),
        ("-", 0),
        ("&", 173),
        ("%20", 173),
    ] {
        let found = walk(&mut cast, "teams", &format!("search={search}")).await.len();
        assert_eq!(found, expected, "teams that {search:?} finds");
    }
    let vera = cast.vera.id.to_string();
    for (search, expected) in
        [("min", 1), ("a", 2), ("ada.min", 1), ("ada.min@contoso", 1), (vera.as_str(), 1), ("contoso", 5)]
    {
        let found = walk(&mut cast, "people", &format!("search={search}")).await.len();
        assert_eq!(found, expected, "people that {search:?} finds, by name, address or id");
    }
}

#[tokio::test]
async fn what_means_nothing_in_a_query_is_said() {
    let mut cast = Cast::of(Native).await;
    let body = cast.ada.json(&cast.service, "/api/syncs?trouble=").await;
    assert_eq!(body["syncs"].as_array().unwrap().len(), 5, "an empty filter is none");
    let long = format!("search={}", "x".repeat(301));
    for (path, query, code) in [
        ("/teams", "sort=size", "parameter_value"),
        ("/teams", "after=x", "parameter_value"),
        ("/teams", "after=&before=", "parameter_value"),
        ("/teams", "search=a&search=b", "duplicate_parameter"),
        ("/teams", long.as_str(), "parameter_value"),
        ("/teams", "search=a%00b", "parameter_value"),
        // A place in a list by name, where the order is by age.
        ("/teams", "sort=newest&after=eyJuIjpbImEiLCJiIl19", "parameter_value"),
        ("/syncs", "after=eyJ0IjpbIjIwMjYtMDEtMDFUMDA6MDA6MDBaIiwibm8gdXVpZCJdfQ", "parameter_value"),
        ("/syncs", "group=a%00b", "parameter_value"),
    ] {
        for path in [format!("{path}?{query}"), format!("/api{path}?{query}")] {
            let answer = cast.ada.get(&cast.service, &path).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, code), "{path}");
        }
    }
}

#[tokio::test]
async fn the_next_page_keeps_what_was_searched_for_and_a_name_is_text() {
    let mut cast = Cast::of(Native).await;
    cast.world.by_hand(MAKE_TEAMS, &[&""]).await;
    let page = cast.ada.page(&cast.service, "/teams?search=t%26m&sort=newest").await;
    assert!(page.contains("value=\"t&#38;m\""), "the search stands in its field: {page}");
    let page = cast.ada.page(&cast.service, "/teams?search=team&sort=newest").await;
    let (_, rest) = page.split_once("rel=\"next\" href=\"").expect("a next page");
    let next = rest.split('"').next().unwrap().replace("&#38;", "&");
    assert!(next.starts_with("?search=team&sort=newest&after="), "{next}");
    let page = cast.ada.page(&cast.service, &format!("/teams{next}")).await;
    assert_eq!(super::row_ids(&page, "teams").len(), 7, "57 teams, 50 of them on the first page");
    assert!(cast.ada.page(&cast.service, "/teams?search=ops").await.contains("Ops &#38; &#34;Co&#34;"));
}
