//! The front page of a signed-in user.

use chrono::TimeDelta;
use entra_simulator::{Endpoint, Fault, FaultRule};
use rstest::rstest;

use super::{Cast, text};
use crate::support::{LiteLlm, Native, StoreKind};

#[rstest]
#[tokio::test]
async fn home_page_shows_user_memberships_and_last_sync(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    let page = text(&cast.alice.page(&cast.service, "/").await);
    // LiteLLM has no value for "the organization's models", so the team lists them.
    let inherited = if store == Native { " (inherited from its organization)" } else { "" };
    let team = format!("Platform Platform user From Entra gpt-4, gpt-3.5-turbo{inherited} $100 per 30 days");
    for said in [
        "Alice Arden",
        "internal_user",
        "$10 per 30 days, next reset 20",
        "just now : account created; added to Platform; 1 organization created; 1 team created.",
        "Platform internal_user From Entra gpt-4, gpt-3.5-turbo $100 per 30 days",
        &team,
        "this browser",
    ] {
        assert!(page.contains(said), "no {said:?} in {page}");
    }
    cast.alice.browser.sign_in(&cast.world.simulator, &cast.service, cast.alice.id).await;
    let page = text(&cast.alice.page(&cast.service, "/").await);
    assert!(page.contains("no changes, 1 team unchanged."), "{page}");
}

#[rstest]
#[tokio::test]
async fn home_page_shows_age_of_teams_when_graph_fails(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    cast.world.clock.advance(TimeDelta::hours(2));
    cast.world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::status(403)));
    cast.alice.browser.sign_in(&cast.world.simulator, &cast.service, cast.alice.id).await;
    let page = text(&cast.alice.page(&cast.service, "/").await);
    assert!(page.contains("Microsoft did not report which groups you are in. Your teams are as of "), "{page}");
    assert!(page.contains("keep the teams that you had"), "{page}");
    assert!(page.contains("Platform"), "{page}");
}

#[rstest]
#[tokio::test]
async fn home_page_hides_names_of_other_failed_groups(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    let [_] = crate::support::scene::assigned(&cast.world, ["Top Secret"]);
    let refuse = "create function refuse() returns trigger language plpgsql as
                  $$ begin raise exception 'not %', new.organization_alias; end $$;
                  create trigger refuse before insert on {organizations} for each row execute function refuse()";
    cast.world.sql(refuse).await;
    cast.alice.browser.sign_in(&cast.world.simulator, &cast.service, cast.alice.id).await;
    for path in ["/", "/syncs", "/api/syncs", "/api/me"] {
        let body = cast.alice.page(&cast.service, path).await;
        assert!(!body.contains("Top Secret") && !body.contains("P0001"), "{path} reveals too much: {body}");
    }
    let page = text(&cast.alice.page(&cast.service, "/").await);
    assert!(page.contains("Some groups could not be set up completely. Your administrator sees why."), "{page}");
    assert!(cast.ada.page(&cast.service, "/syncs").await.contains("P0001: not Top Secret"));
}

#[tokio::test]
async fn custom_name_and_logo_are_on_every_page() {
    let cast = Cast::of(Native).await;
    let svg: &[u8] = b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>";
    let service = cast
        .world
        .service_with(|config| {
            config.pages.name = Some("Contoso <Sign-in>".to_owned());
            config.pages.logo =
                Some(entraway::config::Logo { kind: entraway::config::LogoKind::Svg, bytes: svg.into() });
        })
        .await;
    let mut browser = crate::support::Browser::new();
    let mut versioned = String::new();
    for path in ["/", "/signed-out", "/nothing"] {
        let page = browser.get(service.at(path)).await.body;
        assert!(page.contains("Contoso &#60;Sign-in&#62;</title>"), "the title at {path}: {page}");
        let (_, rest) = page.split_once("<img src=\"").unwrap();
        versioned = rest.split('"').next().unwrap().to_owned();
        assert!(versioned.starts_with("/assets/") && versioned.ends_with("/logo"), "{path}: {versioned}");
    }
    for path in [versioned.as_str(), "/assets/logo"] {
        let logo = browser.get(service.at(path)).await;
        assert_eq!((logo.status.as_u16(), logo.body.as_bytes()), (200, svg));
        assert_eq!(logo.headers["content-type"], "image/svg+xml");
        let policy = logo.headers["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && !policy.contains("script-src"), "no script runs: {policy}");
    }
    let none = browser.get(cast.service.at("/assets/logo")).await;
    assert_eq!(none.status, 404, "without a configured logo");
}
