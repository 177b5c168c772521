//! Long lists: pages in one order, searched by the beginnings of words.

use std::collections::BTreeSet;

use rstest::rstest;
use serde_json::{Value, json};

use super::{Cast, text};
use crate::support::{LiteLlm, Native, StoreKind};

/// Names with differing case, accents, marks and duplicates; most are far from the first page.
const MAKE_TEAMS: &str = "insert into {teams} (team_id, team_alias, created_at)
    select 'made-' || n, (array['Team', 'team', 'Évaluation', 'Zebra/One', 'Ops & \"Co\"', 'Same'])[n % 6 + 1]
                         || case when n % 6 = 5 then '' else ' ' || lpad(n::text, 3, '0') end,
           timestamp '2026-01-01' + n / 3 * interval '1 minute'
    from generate_series(1, 171) n where $1 = ''";

/// Collects all rows of a list, page by page, forward and then backward.
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
    assert_eq!(back.concat(), pages[..pages.len() - 1].concat(), "backward is the reverse of forward: {query}");
    pages.concat()
}

#[rstest]
#[tokio::test]
async fn list_returns_each_row_once_in_both_directions(#[values(Native, LiteLlm)] store: StoreKind) {
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
async fn search_matches_word_prefixes_and_whole_ids(#[values(Native, LiteLlm)] store: StoreKind) {
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
        assert_eq!(found, expected, "users that {search:?} finds, by name, address or ID");
    }
}

#[tokio::test]
async fn invalid_parameters_are_named_with_allowed_values() {
    let mut cast = Cast::of(Native).await;
    let long = format!("search={}", "x".repeat(301));
    let team = format!("/teams/{}", cast.platform);
    let person = format!("/people/{}", cast.alice.id);
    let explain = format!("{person}/explain");
    for (path, query, code, parameter, allowed) in [
        ("/teams", "sort=size", "parameter_value", "sort", "name, newest"),
        ("/teams", "limit=0", "parameter_value", "limit", "from 1 to 100"),
        ("/teams", "limit=101", "parameter_value", "limit", "from 1 to 100"),
        ("/teams", "limit=ten", "parameter_value", "limit", "from 1 to 100"),
        ("/teams", "Limit=10", "unknown_parameter", "Limit", "search, sort, after, before, limit"),
        ("/teams", "page=2", "unknown_parameter", "page", "search, sort, after, before, limit"),
        ("/teams", "search=a&utm_source=x", "unknown_parameter", "utm_source", "search, sort, after, before, limit"),
        ("/teams", "after=x", "parameter_value", "after", "next"),
        ("/teams", "before=x", "parameter_value", "before", "previous"),
        ("/teams", "after=x&before=y", "parameter_value", "before", "only one of them"),
        ("/teams", "search=a&search=b", "duplicate_parameter", "search", "once"),
        ("/teams", long.as_str(), "parameter_value", "search", "300 bytes"),
        ("/teams", "search=a%00b", "parameter_value", "search", "without NUL"),
        // A cursor of the order by name, in the order by age.
        ("/teams", "sort=newest&after=eyJuIjpbImEiLCJiIl19", "parameter_value", "after", "same order"),
        ("/syncs", "after=eyJ0IjpbIjIwMjYtMDEtMDFUMDA6MDA6MDBaIiwibm8gdXVpZCJdfQ", "parameter_value", "after", "next"),
        ("/syncs", "group=a%00b", "parameter_value", "group", "without NUL"),
        ("/syncs", "trouble=yes", "parameter_value", "trouble", "1"),
        ("/syncs", "search=a", "unknown_parameter", "search", "person, group, trouble, after, before, limit"),
        (&team, "sort=name", "unknown_parameter", "sort", "search, after, before, limit"),
        (&person, "team=x", "unknown_parameter", "team", ""),
        (&explain, "teams=x", "unknown_parameter", "teams", "team"),
        (&explain, "team=a%00b", "parameter_value", "team", "without NUL"),
    ] {
        let path = format!("{path}?{query}");
        let answer = cast.ada.browser.get_json(cast.service.at(&format!("/api{path}"))).await;
        let problem = answer.json();
        assert_eq!((answer.status.as_u16(), &problem["code"]), (400, &json!(code)), "/api{path}: {problem:#}");
        assert_eq!(problem["parameter"], parameter, "/api{path}: {problem:#}");
        assert!(problem["remedy"].as_str().unwrap().contains(allowed), "/api{path}: {problem:#}");

        let answer = cast.ada.get(&cast.service, &path).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, code), "{path}");
        let page = text(&answer.body);
        assert!(page.contains(&format!("“{parameter}”")) && page.contains(allowed), "{path}: {page}");
        assert!(answer.body.contains("<a class=\"button\" href=\"?\">"), "a link to the list: {}", answer.body);
    }
    for path in ["/", "/settings", "/api/me", "/api/openapi.json"] {
        let answer = cast.ada.get(&cast.service, &format!("{path}?x=1")).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "unknown_parameter"), "{path}");
    }
}

#[tokio::test]
async fn empty_parameters_count_as_absent() {
    let mut cast = Cast::of(Native).await;
    let all = cast.ada.json(&cast.service, "/api/teams").await;
    for query in ["after=", "after=&before=", "sort=&search=&limit=", "limit", "&&"] {
        assert_eq!(cast.ada.json(&cast.service, &format!("/api/teams?{query}")).await, all, "{query}");
    }
    let body = cast.ada.json(&cast.service, "/api/syncs?trouble=&person=&group=").await;
    assert_eq!(body["syncs"].as_array().unwrap().len(), 5, "{body:#}");
}

#[tokio::test]
async fn limit_sets_page_size_and_is_kept_in_links() {
    let mut cast = Cast::of(Native).await;
    cast.world.by_hand(MAKE_TEAMS, &[&""]).await;
    for (query, rows) in [("limit=1", 1), ("limit=100", 100), ("", 50)] {
        let body = cast.ada.json(&cast.service, &format!("/api/teams?{query}")).await;
        assert_eq!(body["teams"].as_array().unwrap().len(), rows, "{query}");
    }
    let all = walk(&mut cast, "teams", "").await;
    assert_eq!(walk(&mut cast, "teams", "limit=70").await, all, "pages of 70 hold the same rows in the same order");
    let page = cast.ada.page(&cast.service, "/teams?search=team&limit=10").await;
    assert_eq!(super::row_ids(&page, "teams").len(), 10);
    assert!(text(&page).contains("10 per page"), "{}", text(&page));
    assert!(page.contains("name=\"limit\" value=\"10\""), "another search keeps the limit");
    let (_, rest) = page.split_once("rel=\"next\" href=\"").expect("a next page");
    let next = rest.split('"').next().unwrap().replace("&#38;", "&");
    assert!(next.starts_with("?search=team&limit=10&after="), "{next}");
}

/// Client input does not become part of a page unless it is an identifier.
#[tokio::test]
async fn unsafe_parameter_names_are_not_echoed() {
    let mut cast = Cast::of(Native).await;
    for name in ["call+0800+123", "%3Cb%3E", "", &"x".repeat(41), "a%00b", "%F0%9F%98%80"] {
        let answer = cast.ada.browser.get_json(cast.service.at(&format!("/api/teams?{name}=1"))).await;
        let problem = answer.json();
        assert_eq!((answer.status.as_u16(), &problem["code"]), (400, &json!("unknown_parameter")), "{problem:#}");
        assert_eq!(problem["parameter"], Value::Null, "{problem:#}");
        assert_eq!(problem["detail"], "The address has an unknown parameter.");
    }
}

#[tokio::test]
async fn next_link_keeps_search_and_names_are_escaped() {
    let mut cast = Cast::of(Native).await;
    cast.world.by_hand(MAKE_TEAMS, &[&""]).await;
    let page = cast.ada.page(&cast.service, "/teams?search=t%26m&sort=newest").await;
    assert!(page.contains("value=\"t&#38;m\""), "the search field keeps its text: {page}");
    let page = cast.ada.page(&cast.service, "/teams?search=team&sort=newest").await;
    let (_, rest) = page.split_once("rel=\"next\" href=\"").expect("a next page");
    let next = rest.split('"').next().unwrap().replace("&#38;", "&");
    assert!(next.starts_with("?search=team&sort=newest&after="), "{next}");
    let page = cast.ada.page(&cast.service, &format!("/teams{next}")).await;
    assert_eq!(super::row_ids(&page, "teams").len(), 7, "57 teams, 50 of them on the first page");
    assert!(cast.ada.page(&cast.service, "/teams?search=ops").await.contains("Ops &#38; &#34;Co&#34;"));
}
