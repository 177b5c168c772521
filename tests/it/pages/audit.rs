//! `GET /audit`, `/api/audit` and the export: which events they show, in which words, and to which users.

use chrono::{TimeDelta, Utc};
use rstest::rstest;
use serde_json::{Value, json};

use super::api::validator;
use super::{Cast, text};
use crate::support::sql_fixtures::{MAKE_ORGANIZATION, MAKE_TEAM};
use crate::support::{LiteLlm, Native, StoreKind};

const RUN: &str = "0193a5b0-0000-7000-8000-000000000001";

/// A cast and these events, oldest first, each with its name in `evidence`. Days are before today.
async fn with_events(store: StoreKind) -> Cast {
    let cast = Cast::of(store).await;
    let world = &cast.world;
    sqlx::query("delete from entraway.audit_events").execute(&world.pool).await.unwrap();
    world.by_hand(MAKE_TEAM, &[&"ops", &"Operations"]).await;
    world.by_hand(MAKE_ORGANIZATION, &[&"ops", &"Operations org"]).await;
    let at = |days: i64, hour: u32| {
        let day = world.clock.now().date_naive() - TimeDelta::days(days);
        day.and_hms_opt(hour, 0, 0).unwrap().and_utc()
    };
    let (alice, bob) = (cast.alice.id, cast.bob.id);
    let event = |name: &str, at: chrono::DateTime<Utc>, own: Value| {
        let mut event = json!({ "at": at, "evidence": { "name": name }, "user_id": alice, "object_id": alice });
        event.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        event
    };
    let ops = json!({ "target_kind": "team", "target_id": "ops", "target_name": "Ops" });
    let of_ops = |own: Value| {
        let mut all = ops.clone();
        all.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        all
    };
    let events = vec![
        event("created", at(3, 8), json!({ "action": "account_created", "target_kind": "account", "run_id": RUN })),
        event("added", at(3, 9), of_ops(json!({ "action": "team_member_added", "run_id": RUN }))),
        event(
            "org",
            at(2, 9),
            json!({ "action": "organization_member_added", "target_kind": "organization", "target_id": "ops" }),
        ),
        event(
            "role",
            at(2, 10),
            json!({ "action": "role_changed", "target_kind": "organization", "target_id": "ops", "before": "org_admin",
                    "after": "internal_user", "user_id": bob, "object_id": bob }),
        ),
        event(
            "removed",
            at(1, 0),
            of_ops(json!({ "action": "team_member_removed", "cause": "left_group", "group_id": cast.platform })),
        ),
        event("keys", at(1, 23), of_ops(json!({ "action": "keys_blocked", "cause": "left_group" }))),
        event(
            "kept",
            at(0, 0),
            of_ops(json!({ "action": "team_member_removed", "result": "kept", "cause": "last_admin",
            "user_id": bob, "object_id": bob })),
        ),
        event(
            "gone",
            at(0, 0) + TimeDelta::seconds(1),
            json!({ "action": "team_member_removed", "target_kind": "team", "target_id": "deleted",
            "target_name": "Deleted team", "user_id": "no-row", "object_id": null, "actor": "operator", "actor_id": cast.ada.id }),
        ),
    ];
    world.insert_audit_events(events).await;
    cast
}

/// The names of the events in a response, oldest first.
fn names(body: &Value) -> Vec<&str> {
    body["events"].as_array().unwrap().iter().rev().map(|event| event["evidence"]["name"].as_str().unwrap()).collect()
}

#[rstest]
#[tokio::test]
async fn audit_filters_select_events(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = with_events(store).await;
    let (alice, bob) = (cast.alice.id.to_string(), cast.bob.id.to_string());
    let day = |days| (cast.world.clock.now().date_naive() - TimeDelta::days(days)).to_string();
    let all = ["created", "added", "org", "role", "removed", "keys", "kept", "gone"];
    for (query, expected) in [
        (String::new(), &all[..]),
        (format!("user={bob}"), &["role", "kept"]),
        (format!("user={}", bob.to_uppercase()), &["role", "kept"]),
        ("user=bir".to_owned(), &["role", "kept"]),
        ("user=birch+bob".to_owned(), &["role", "kept"]),
        (format!("user={alice}&action=keys_blocked"), &["keys"]),
        ("user=no-row".to_owned(), &["gone"]),
        ("user=unheard-of".to_owned(), &[]),
        ("team=ops".to_owned(), &["added", "removed", "keys", "kept"]),
        ("organization=ops".to_owned(), &["org", "role"]),
        ("action=team_member_removed".to_owned(), &["removed", "kept", "gone"]),
        ("action=access_lost".to_owned(), &["removed", "keys", "gone"]),
        ("action=access_lost&team=ops".to_owned(), &["removed", "keys"]),
        (format!("from={0}&to={0}", day(1)), &["removed", "keys"]),
        (format!("to={}", day(3)), &["created", "added"]),
        (format!("from={}", day(0)), &["kept", "gone"]),
        ("from=9999-12-31".to_owned(), &[]),
        ("to=9999-12-31".to_owned(), &all),
        (format!("run={RUN}"), &["created", "added"]),
        ("user=&team=&organization=&action=&from=&to=".to_owned(), &all),
    ] {
        let body = cast.vera.json(&cast.service, &format!("/api/audit?{query}")).await;
        assert_eq!(names(&body), expected, "{query}: {body:#}");
        let problems: Vec<String> = validator("/api/audit", 200, "application/json")
            .iter_errors(&body)
            .map(|error| format!("{} {error}", error.instance_path()))
            .collect();
        assert!(problems.is_empty(), "does not conform to openapi.json: {problems:?}");
        let page = cast.vera.page(&cast.service, &format!("/audit?{query}")).await;
        assert_eq!(page.matches("<tr><th scope=\"row\">").count(), expected.len(), "{query}: {}", text(&page));
        let exported = cast.vera.get(&cast.service, &format!("/api/audit/export?{query}")).await.body;
        assert_eq!(exported.lines().count(), expected.len(), "{query}: {exported}");
    }
    for query in [
        "action=x",
        "from=yesterday",
        "to=2026-13-01",
        "from=%2B2026-01-01",
        "run=1",
        "after=x",
        "team=ops&organization=ops",
        "user=a%00b",
    ] {
        assert_eq!(cast.ada.get(&cast.service, &format!("/audit?{query}")).await.code(), "parameter_value", "{query}");
    }
    assert_eq!(cast.ada.get(&cast.service, "/api/audit/export?format=xml").await.code(), "parameter_value");
}

#[rstest]
#[tokio::test]
async fn audit_page_describes_events_in_words(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = with_events(store).await;
    let page = cast.ada.page(&cast.service, "/audit").await;
    let said = text(&page);
    for words in [
        "Alice Arden account created – sign-in this sync",
        "Alice Arden added to team Ops – sign-in this sync",
        "Alice Arden added to organization Operations org",
        "Bob Birch role changed from org_admin to internal_user in organization Operations org",
        "Alice Arden removed from team Ops left group: Platform sign-in",
        "Alice Arden keys of team Ops blocked left group sign-in",
        "Bob Birch kept in team Ops guard last admin",
        "no-row removed from team Deleted team – Ada Min",
    ] {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
    for (link, exists) in [
        (format!("/people/{}", cast.bob.id), true),
        ("/teams/ops".to_owned(), true),
        ("/organizations/ops".to_owned(), true),
        (format!("/teams/{}", cast.platform), true),
        (format!("/audit?run={RUN}"), true),
        ("/teams/deleted".to_owned(), false),
        ("/people/no-row".to_owned(), false),
    ] {
        assert_eq!(page.contains(&format!("href=\"{link}\"")), exists, "{link}");
    }
    let page = cast.ada.page(&cast.service, &format!("/audit?run={RUN}")).await;
    assert!(text(&page).contains("Only events of one sync or run."), "{}", text(&page));
    assert!(text(&cast.ada.page(&cast.service, "/audit?team=x").await).contains("No results."));
    sqlx::query("delete from entraway.audit_events").execute(&cast.world.pool).await.unwrap();
    assert!(text(&cast.ada.page(&cast.service, "/audit").await).contains("No events yet."));
}

/// Targets of links, with `&` as in the browser.
fn links(page: &str) -> Vec<String> {
    page.split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&"))
        .collect()
}

#[tokio::test]
async fn audit_views_are_one_click_away() {
    let mut cast = with_events(Native).await;
    let yesterday = (cast.world.clock.now().date_naive() - TimeDelta::days(1)).to_string();
    // Who lost access to the team? From its page.
    let team = links(&cast.ada.page(&cast.service, "/teams/ops").await);
    assert!(team.contains(&"/audit?team=ops".to_owned()), "{team:?}");
    let lost = "/audit?team=ops&action=access_lost";
    assert!(team.contains(&lost.to_owned()), "{team:?}");
    let page = cast.ada.page(&cast.service, lost).await;
    assert!(text(&page).contains("Alice Arden removed from team Ops"), "{}", text(&page));
    // What changed yesterday? From the log, and still for this team.
    let link = format!("/audit?team=ops&action=access_lost&from={yesterday}&to={yesterday}");
    assert!(links(&page).contains(&link), "{:?}", links(&page));
    let link = format!("/audit?from={yesterday}&to={yesterday}");
    assert!(links(&cast.ada.page(&cast.service, "/audit").await).contains(&link));
    let page = cast.ada.page(&cast.service, &link).await;
    assert!(page.contains("aria-current=\"true\">Yesterday<"), "{page}");
    assert!(links(&page).contains(&format!("/api/audit/export?from={yesterday}&to={yesterday}&format=csv")));
    let organization = links(&cast.ada.page(&cast.service, "/organizations/ops").await);
    assert!(organization.contains(&"/audit?organization=ops".to_owned()), "{organization:?}");
    let user = cast.alice.id;
    let of_user = links(&cast.ada.page(&cast.service, &format!("/people/{user}")).await);
    assert!(of_user.contains(&format!("/audit?user={user}")), "{of_user:?}");
    // Other users do not see the links.
    for path in
        [format!("/people/{user}"), format!("/teams/{}", cast.platform), format!("/organizations/{}", cast.platform)]
    {
        let page = cast.alice.page(&cast.service, &path).await;
        assert!(!page.contains("/audit"), "{path}: {page}");
    }
}

#[tokio::test]
async fn audit_is_for_operators() {
    let mut cast = Cast::of(Native).await;
    for path in ["/audit", "/api/audit", "/api/audit/export", "/audit?action=access_lost"] {
        for actor in [&mut cast.alice, &mut cast.olga] {
            let answer = actor.get(&cast.service, path).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"), "{path}");
        }
        assert_eq!(cast.vera.get(&cast.service, path).await.status, 200, "{path}");
        cast.bob.browser.cookies.clear();
        assert_eq!(cast.bob.get(&cast.service, path).await.code(), "not_signed_in", "{path}");
    }
}

#[tokio::test]
async fn audit_events_are_listed_and_exported_page_by_page() {
    let mut cast = Cast::of(Native).await;
    let world = &cast.world;
    let events = (0..2_500).map(|n| {
        // Several events have the same time.
        let at = world.clock.now() - TimeDelta::minutes(n / 3 + 1);
        json!({ "at": at, "action": "team_member_added", "target_kind": "team", "target_id": "paged", "target_name": n.to_string() })
    });
    world.insert_audit_events(events.collect()).await;
    let mut seen = Vec::new();
    let mut query = String::new();
    for _ in 0..25 {
        let body = cast.ada.json(&cast.service, &format!("/api/audit?team=paged&limit=100{query}")).await;
        seen.extend(
            body["events"].as_array().unwrap().iter().map(|event| event["event_id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = body["next"].as_str() else { break };
        query = format!("&after={next}");
    }
    let sql =
        "select event_id::text from entraway.audit_events where target_id = 'paged' order by at desc, event_id desc";
    let expected: Vec<String> = sqlx::query_scalar(sql).fetch_all(&cast.world.pool).await.unwrap();
    assert_eq!(expected.len(), 2_500);
    assert_eq!(seen, expected);

    let answer = cast.ada.get(&cast.service, "/api/audit/export?format=jsonl&team=paged").await;
    assert_eq!(answer.headers["content-type"], "application/x-ndjson");
    assert_eq!(answer.headers["content-disposition"], "attachment; filename=\"audit-log.jsonl\"");
    let lines: Vec<Value> = answer.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<&str> = lines.iter().map(|event| event["event_id"].as_str().unwrap()).collect();
    assert_eq!(ids, expected, "the export has all pages");
    assert!(validator("/api/audit/export", 200, "application/x-ndjson").is_valid(&lines[0]), "{:#}", lines[0]);
}

#[tokio::test]
async fn audit_csv_is_quoted_and_guards_formulas() {
    let mut cast = Cast::of(Native).await;
    let name = "=HYPERLINK(\"https://example.com\"), \"x\"";
    let event = json!({ "at": cast.world.clock.now(), "action": "team_member_removed", "target_kind": "team",
        "target_id": "csv", "target_name": name, "before": { "a": 1 }, "run_id": RUN });
    cast.world.insert_audit_events(vec![event]).await;
    let answer = cast.ada.get(&cast.service, "/api/audit/export?format=csv&team=csv").await;
    assert_eq!(answer.headers["content-type"], "text/csv; charset=utf-8; header=present");
    assert_eq!(answer.headers["content-disposition"], "attachment; filename=\"audit-log.csv\"");
    let (head, row) = answer.body.split_once("\r\n").unwrap();
    let body = cast.ada.json(&cast.service, "/api/audit?team=csv").await;
    let mut columns: Vec<&str> = head.split(',').collect();
    columns.sort_unstable();
    let keys: Vec<&String> = body["events"][0].as_object().unwrap().keys().collect();
    assert_eq!(columns, keys, "the columns are the keys of the JSON events");
    let field = ",\"'=HYPERLINK(\"\"https://example.com\"\"), \"\"x\"\"\",";
    assert!(row.contains(field) && row.ends_with(",\"{\"\"a\"\":1}\",,\r\n"), "{row}");
}

/// Events of a hundred thousand users are not one list: a filter that matches too many is an error, not a part of them.
#[tokio::test]
async fn audit_user_filter_rejects_words_of_many_users() {
    let mut cast = Cast::of(Native).await;
    let sql = "insert into entraway.users (user_id, tenant_id, object_id, user_alias)
               select id, id, id, 'Many ' || n from generate_series(1, 101) n, cast(md5(n::text) as uuid) id";
    sqlx::query(sql).execute(&cast.world.pool).await.unwrap();
    let answer = cast.ada.get(&cast.service, "/audit?user=many").await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "parameter_value"));
    assert!(text(&answer.body).contains("words that match at most 100 users"), "{}", text(&answer.body));
    assert_eq!(cast.ada.get(&cast.service, "/audit?user=many+7").await.status, 200);
}

/// In a LiteLLM database, the key of a row can differ from the object ID. Either finds the events of the user.
#[tokio::test]
async fn audit_finds_litellm_user_by_row_key_and_object_id() {
    let mut cast = Cast::of(LiteLlm).await;
    let carol = crate::support::scene::person(&cast.world, "Carol Cole", &[]);
    let sql = r#"insert into public."LiteLLM_UserTable" (user_id, sso_user_id, user_role) values ('carols-key', $1, 'internal_user')"#;
    sqlx::query(sql).bind(carol.to_string()).execute(&cast.world.pool).await.unwrap();
    cast.world.sign_in(&cast.service, carol).await;
    assert_eq!(cast.ada.browser.post(cast.service.at("/people/carols-key/sessions/end")).await.status, 303);
    for user in ["carols-key", &carol.to_string(), "carol"] {
        let body = cast.ada.json(&cast.service, &format!("/api/audit?action=sessions_revoked&user={user}")).await;
        let events = body["events"].as_array().unwrap();
        assert_eq!(events.len(), 1, "{user}: {body:#}");
        let keys = ["user_id", "object_id", "user_name"].map(|key| events[0][key].as_str().unwrap());
        assert_eq!(keys, ["carols-key", &carol.to_string(), "Carol Cole"], "{user}");
    }
}
