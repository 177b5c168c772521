//! Permissions: the same on pages and in `/api`. Inaccessible objects are reported as not found.

use rstest::rstest;
use serde_json::Value;

use super::{Actor, Cast, text};
use crate::support::sql_fixtures::{MAKE_TEAM, PUT_IN_TEAM};
use crate::support::{Browser, LiteLlm, Native, Service, StoreKind};

/// The status of a page and of its JSON, which must be equal.
async fn status(actor: &mut Actor, service: &Service, path: &str) -> u16 {
    let page = actor.get(service, path).await.status.as_u16();
    let json = actor.browser.get_json(service.at(&format!("/api{path}"))).await.status.as_u16();
    assert_eq!(page, json, "left: the page {path}; right: /api{path}");
    page
}

#[rstest]
#[tokio::test]
async fn detail_pages_are_visible_by_role(#[values(Native, LiteLlm)] store: StoreKind) {
    let Cast { world: _world, service, platform, data, mut alice, mut bob, mut olga, mut vera, mut ada } =
        Cast::of(store).await;
    let nowhere = "00000000-0000-4000-8000-000000000000";
    let paths = [
        format!("/teams/{platform}"),
        format!("/organizations/{platform}"),
        format!("/teams/{data}"),
        format!("/organizations/{data}"),
        format!("/people/{}", alice.id),
        format!("/people/{}", bob.id),
        format!("/people/{}", olga.id),
        format!("/people/{}", ada.id),
        format!("/teams/{nowhere}"),
        format!("/organizations/{nowhere}"),
        format!("/people/{nowhere}"),
        "/people/..%2Fme".to_owned(),
        "/teams/a%00b".to_owned(),
    ];
    let alices = [200, 200, 404, 404, 200, 404, 404, 404, 404, 404, 404, 404, 404];
    let bobs = [404, 404, 200, 200, 404, 200, 404, 404, 404, 404, 404, 404, 404];
    let olgas = [200, 200, 404, 404, 200, 404, 200, 404, 404, 404, 404, 404, 404];
    let all = [200, 200, 200, 200, 200, 200, 200, 200, 404, 404, 404, 404, 404];
    for (name, actor, expected) in [
        ("Alice", &mut alice, alices),
        ("Bob", &mut bob, bobs),
        ("Olga", &mut olga, olgas),
        ("Vera", &mut vera, all),
        ("Ada", &mut ada, all),
    ] {
        let mut found = Vec::new();
        for path in &paths {
            found.push(status(actor, &service, path).await);
        }
        assert_eq!(found, expected, "{name} at {paths:#?}");
    }
}

#[rstest]
#[tokio::test]
async fn lists_contain_only_visible_rows(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    let names = |body: &Value, list: &str, name: &str| {
        let rows = body[list].as_array().unwrap();
        rows.iter().map(|row| row[name].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let everybody = ["Ada Min", "Alice Arden", "Bob Birch", "Olga Orr", "Vera View"];
    for (who, actor, groups, people) in [
        ("Alice", &mut cast.alice, &["Platform"][..], &["Alice Arden"][..]),
        ("Bob", &mut cast.bob, &["Data"], &["Bob Birch"]),
        ("Olga", &mut cast.olga, &["Platform"], &["Alice Arden", "Olga Orr"]),
        ("Vera", &mut cast.vera, &["Data", "Platform"], &everybody),
        ("Ada", &mut cast.ada, &["Data", "Platform"], &everybody),
    ] {
        let service = &cast.service;
        let teams = actor.json(service, "/api/teams").await;
        assert_eq!(names(&teams, "teams", "team_alias"), groups, "the teams that {who} sees");
        let organizations = actor.json(service, "/api/organizations").await;
        assert_eq!(
            names(&organizations, "organizations", "organization_alias"),
            groups,
            "the organizations that {who} sees"
        );
        let seen = actor.json(service, "/api/people").await;
        assert_eq!(names(&seen, "people", "display_name"), people, "the users that {who} sees");
        for (path, column, expected) in
            [("/teams", "teams", groups), ("/organizations", "organizations", groups), ("/people", "people", people)]
        {
            let page = actor.page(service, path).await;
            assert_eq!(super::row_ids(&page, column).len(), expected.len(), "{who} at {path}: {}", text(&page));
        }
    }
}

#[rstest]
#[tokio::test]
async fn other_members_are_shown_to_their_admins_only(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    for path in [format!("/api/teams/{}", cast.platform), format!("/api/organizations/{}", cast.platform)] {
        for (who, actor, expected) in [
            ("Alice", &mut cast.alice, &["Alice Arden"][..]),
            ("Olga", &mut cast.olga, &["Alice Arden", "Olga Orr"]),
            ("Vera", &mut cast.vera, &["Alice Arden", "Olga Orr"]),
        ] {
            let body = actor.json(&cast.service, &path).await;
            let members = body["members"].as_array().unwrap();
            let mut names: Vec<&str> = members.iter().map(|member| member["display_name"].as_str().unwrap()).collect();
            names.sort_unstable();
            assert_eq!(names, expected, "{who} at {path}");
            assert!(members.iter().all(|member| member["source"] == "entra"), "{members:?}");
        }
    }
}

#[rstest]
#[tokio::test]
async fn org_admin_sees_only_memberships_of_own_organization(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    cast.world.by_hand(MAKE_TEAM, &[&"secret-team", &"Secret"]).await;
    cast.world.by_hand(PUT_IN_TEAM, &[&cast.alice.id, &"secret-team", &"user"]).await;
    let path = format!("/people/{}", cast.alice.id);
    for (who, actor, seen) in
        [("Alice", &mut cast.alice, true), ("Olga", &mut cast.olga, false), ("Ada", &mut cast.ada, true)]
    {
        let page = actor.page(&cast.service, &path).await;
        assert_eq!(text(&page).contains("Secret"), seen, "{who}: {}", text(&page));
        assert!(text(&page).contains("Platform"), "{who}: {}", text(&page));
        let body = actor.json(&cast.service, &format!("/api{path}")).await;
        assert_eq!(body["teams"].as_array().unwrap().len(), if seen { 2 } else { 1 }, "{who}: {body:#}");
        let sessions = page.contains("id=\"sessions\"");
        assert_eq!(sessions, who != "Olga", "sessions and syncs are not visible to an org_admin: {who}");
    }
}

#[rstest]
#[tokio::test]
async fn users_see_own_syncs_and_operators_see_all(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    let [alice, bob, olga] = [&cast.alice, &cast.bob, &cast.olga].map(|actor| actor.id.to_string());
    for (who, path, expected) in [
        ("Alice", "/api/syncs".to_owned(), [&alice]),
        ("Alice", format!("/api/syncs?person={bob}"), [&alice]),
        ("Olga", format!("/api/syncs?person={alice}"), [&olga]),
        ("Vera", format!("/api/syncs?person={bob}"), [&bob]),
    ] {
        let actor = match who {
            "Alice" => &mut cast.alice,
            "Olga" => &mut cast.olga,
            _ => &mut cast.vera,
        };
        let body = actor.json(&cast.service, &path).await;
        let of: Vec<&str> =
            body["syncs"].as_array().unwrap().iter().map(|sync| sync["object_id"].as_str().unwrap()).collect();
        assert_eq!(of, expected, "{who} at {path}");
    }
    assert_eq!(cast.ada.json(&cast.service, "/api/syncs").await["syncs"].as_array().unwrap().len(), 5);
}

#[rstest]
#[tokio::test]
async fn signed_out_page_links_to_signin_and_api_returns_401(
    #[values("/teams", "/teams/x", "/organizations?search=a%26b", "/people", "/people/x", "/syncs", "/audit")]
    path: &str,
) {
    let world = crate::support::World::new().await;
    let service = world.service().await;
    let answer = Browser::new().get(service.at(path)).await;
    assert_eq!((answer.status.as_u16(), answer.code()), (401, "not_signed_in".to_owned()));
    let back: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
    let link = format!("/sso/login?return_to={back}\"");
    assert!(answer.body.contains(&link), "no {link} in {}", answer.body);
    let json = Browser::new().get_json(service.at(&format!("/api{path}"))).await;
    assert_eq!((json.status.as_u16(), json.code()), (401, "not_signed_in".to_owned()));
}

#[tokio::test]
async fn navigation_shows_only_permitted_pages() {
    let mut cast = Cast::of(Native).await;
    let own = ["/", "/teams", "/organizations", "/syncs"];
    let others = ["/", "/teams", "/organizations", "/people", "/syncs"];
    let all = ["/", "/teams", "/organizations", "/people", "/syncs", "/changes", "/audit", "/settings"];
    for (who, actor, expected) in [
        ("Alice", &mut cast.alice, &own[..]),
        ("Olga", &mut cast.olga, &others),
        ("Vera", &mut cast.vera, &all),
        ("Ada", &mut cast.ada, &all),
    ] {
        let page = actor.page(&cast.service, "/teams").await;
        let (_, rest) = page.split_once("<nav aria-label=\"Main\">").expect("a navigation");
        let (navigation, _) = rest.split_once("</nav>").unwrap();
        let links: Vec<&str> =
            navigation.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert_eq!(links, expected, "{who}");
        assert!(navigation.contains("href=\"/teams\" aria-current=\"page\""), "{navigation}");
    }
}

#[rstest]
#[tokio::test]
async fn removed_role_loses_its_view_at_once(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    let path = format!("/teams/{}", cast.data);
    assert_eq!(cast.ada.get(&cast.service, &path).await.status, 200);
    cast.world.by_hand("update {users} set user_role = 'internal_user' where user_id = $1", &[&cast.ada.id]).await;
    assert_eq!(cast.ada.get(&cast.service, &path).await.status, 404);
    let demote = "update {organization_members} set user_role = 'internal_user' where user_id = $1";
    assert_eq!(cast.olga.get(&cast.service, &format!("/people/{}", cast.alice.id)).await.status, 200);
    cast.world.by_hand(demote, &[&cast.olga.id]).await;
    assert_eq!(cast.olga.get(&cast.service, &format!("/people/{}", cast.alice.id)).await.status, 404);
}
