//! Pages of one team, organization or user.

use rstest::rstest;

use super::{Cast, text};
use crate::support::scene::{assigned, person};
use crate::support::sql_fixtures::{LIMIT_ORGANIZATION, MAKE_TEAM, PUT_IN_TEAM};
use crate::support::{LiteLlm, Native, StoreKind};

#[rstest]
#[tokio::test]
async fn team_page_shows_limits_models_and_members(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    let page = text(&cast.ada.page(&cast.service, &format!("/teams/{}", cast.platform)).await);
    let inherited = if store == Native { "(inherited from its organization)" } else { "Budget" };
    let models = format!("Platform Organization Platform Models gpt-4, gpt-3.5-turbo {inherited}");
    for said in [
        models.as_str(),
        "Budget $100 per 30 days, next reset 20",
        "Limits 10,000 tokens and 1,000 requests per minute",
        "Alice Arden user From Entra",
    ] {
        assert!(page.contains(said), "no {said:?} in {page}");
    }
    assert!(!page.contains("standalone") && !page.contains("Standalone"), "{page}");
    let page = text(&cast.ada.page(&cast.service, &format!("/organizations/{}", cast.platform)).await);
    for said in ["Models gpt-4, gpt-3.5-turbo Budget $100 per 30 days", "Olga Orr org_admin From Entra"] {
        assert!(page.contains(said), "no {said:?} in {page}");
    }
}

#[rstest]
#[tokio::test]
async fn manually_changed_limits_are_shown(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    cast.world.by_hand(LIMIT_ORGANIZATION, &[&cast.platform, &"12.5"]).await;
    cast.world
        .by_hand(
            "update {teams} set models = '{}', max_budget = null, rpm_limit = null where team_id = $1",
            &[&cast.platform],
        )
        .await;
    let page = text(&cast.alice.page(&cast.service, &format!("/organizations/{}", cast.platform)).await);
    assert!(page.contains("Budget $12.5 per 30 days"), "{page}");
    let page = text(&cast.alice.page(&cast.service, &format!("/teams/{}", cast.platform)).await);
    assert!(page.contains("Models all models Budget no budget Limits 10,000 tokens per minute"), "{page}");
}

#[rstest]
#[tokio::test]
async fn standalone_team_page_explains_why(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    // Created by hand; before the flag; rejected by the database.
    cast.world.by_hand(MAKE_TEAM, &[&"by-hand", &"By hand"]).await;
    let [before] = assigned(&cast.world, ["Before"]);
    let off = cast.world.service_with(|config| config.policy.also_create_orgs = false).await;
    cast.world.sign_in(&off, cast.bob.id).await;
    let [refused] = assigned(&cast.world, ["Refused"]);
    let refuse = "create function refuse() returns trigger language plpgsql as
                  $$ begin if new.organization_alias = 'Refused' then raise exception 'not this one'; end if;
                  return new; end $$;
                  create trigger refuse before insert on {organizations} for each row execute function refuse()";
    cast.world.sql(refuse).await;
    cast.world.sign_in(&cast.service, cast.bob.id).await;
    for (id, said) in [
        ("by-hand".to_owned(), "it was created by hand"),
        (before.to_string(), ", when organizations were off."),
        (refused.to_string(), "The team is standalone: when it was created at 20"),
        (refused.to_string(), "P0001: not this one"),
    ] {
        let page = text(&cast.ada.page(&cast.service, &format!("/teams/{id}")).await);
        assert!(page.contains("Standalone:") && page.contains(said), "no {said:?} in {page}");
    }
    // The same with organizations off.
    let page = cast.ada.browser.get(off.at(&format!("/teams/{before}"))).await.body;
    assert!(text(&page).contains("The team is standalone: groups do not become organizations"), "{}", text(&page));
    // Removed from its organization by hand.
    cast.world.by_hand("update {teams} set organization_id = null where team_id = $1", &[&cast.platform]).await;
    let page = text(&cast.ada.page(&cast.service, &format!("/teams/{}", cast.platform)).await);
    assert!(page.contains("in an organization; since then, it was removed"), "{page}");
    let list = text(&cast.ada.page(&cast.service, "/teams").await);
    assert_eq!(list.matches("standalone").count(), 4, "{list}");
}

#[rstest]
#[tokio::test]
async fn memberships_are_shown_as_managed_or_manual(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    cast.world.by_hand(MAKE_TEAM, &[&"by-hand", &"By hand"]).await;
    cast.world.by_hand(PUT_IN_TEAM, &[&cast.alice.id, &"by-hand", &"admin"]).await;
    let page = text(&cast.ada.page(&cast.service, "/teams/by-hand").await);
    assert!(page.contains("Alice Arden admin Manual"), "{page}");
    let page = cast.ada.page(&cast.service, &format!("/people/{}", cast.alice.id)).await;
    let (_, teams) = page.split_once("id=\"teams\"").unwrap();
    let teams = text(&format!("<main{teams}"));
    assert_eq!((teams.matches("Manual").count(), teams.matches("From Entra").count()), (1, 1), "{teams}");
}

#[rstest]
#[tokio::test]
async fn user_page_links_to_explain_and_syncs_for_operators(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    let path = format!("/people/{}", cast.bob.id);
    let page = cast.vera.page(&cast.service, &path).await;
    for link in [format!("{path}/explain"), format!("/syncs?person={}", cast.bob.id)] {
        assert!(page.contains(&format!("href=\"{link}\"")), "no link to {link}: {page}");
    }
    let said = text(&page);
    for words in ["bob.birch@contoso-sim.example", "internal_user_viewer", "signed in; account created; added to Data"]
    {
        assert!(said.contains(words), "no {words:?} in {said}");
    }
}

#[rstest]
#[tokio::test]
async fn standalone_team_with_all_org_models_shows_no_models(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    let make = "insert into {teams} (team_id, team_alias, models) values ($1, 'Standalone', array['all-org-models'])";
    cast.world.by_hand(make, &[&"standalone"]).await;
    for path in ["/teams", "/teams/standalone"] {
        let page = text(&cast.ada.page(&cast.service, path).await);
        assert!(page.contains("none: all-org-models means the models of the team's organization"), "{path}: {page}");
    }
}

#[tokio::test]
async fn role_is_named_once_with_its_reason() {
    let mut cast = Cast::of(Native).await;
    let of_ada = format!("/people/{}", cast.ada.id);
    for path in ["/", of_ada.as_str()] {
        let page = text(&cast.ada.page(&cast.service, path).await);
        assert_eq!(page.matches("proxy_admin").count(), 1, "{path}: {page}");
        assert!(page.contains("Role proxy_admin: an app role from Entra."), "{path}: {page}");
    }
}

/// Thousands of rows.
mod slow {
    use super::*;

    #[rstest]
    #[tokio::test]
    async fn long_member_list_is_paginated(#[values(Native, LiteLlm)] store: StoreKind) {
        let mut cast = Cast::of(store).await;
        let members: Vec<_> = (0..60).map(|n| person(&cast.world, &format!("Member {n:02}"), &[cast.data])).collect();
        for member in &members {
            cast.world.sign_in(&cast.service, *member).await;
        }
        for place in ["teams", "organizations"] {
            let path = format!("/api/{place}/{}", cast.data);
            let first = cast.ada.json(&cast.service, &path).await;
            let second =
                cast.ada.json(&cast.service, &format!("{path}?after={}", first["next"].as_str().unwrap())).await;
            let names = |body: &serde_json::Value| {
                let members = body["members"].as_array().unwrap();
                members.iter().map(|member| member["display_name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
            };
            let (first_names, second_names) = (names(&first), names(&second));
            assert_eq!((first_names.len(), second_names.len()), (50, 11), "{place}");
            assert_eq!(
                (first_names[0].as_str(), second_names[10].as_str()),
                ("Member 59", "Bob Birch"),
                "the newest first"
            );
            let back =
                cast.ada.json(&cast.service, &format!("{path}?before={}", second["previous"].as_str().unwrap())).await;
            assert_eq!(names(&back), first_names);
            let found = cast.ada.json(&cast.service, &format!("{path}?search=member%2007")).await;
            assert_eq!(names(&found), ["Member 07"]);
        }
    }
}
