//! Metrics of sign-ins and of the rows that their syncs write.

use entra_simulator::{Endpoint, EntraError, Fault, FaultRule, TokenKind};
use entraway::db::{SessionFilter, SessionOwner};
use entraway::observability::metrics::SessionEnd;
use rstest::rstest;

use super::{Watch, moved};
use crate::support::scene::{assigned, person};
use crate::support::{Browser, LiteLlm, Native, StoreKind, World};

#[rstest]
#[tokio::test]
async fn signin_and_its_written_rows_are_counted_once(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [one, two, _] = assigned(&world, ["One", "Two", "Nobody's"]);
    let alice = person(&world, "Alice Arden", &[one, two]);
    let service = world.service().await;
    let watch = Watch::new(&service).await;

    let before = watch.read().await;
    world.sign_in(&service, alice).await;
    let first = watch.read().await;
    let always = [
        (r#"entraway_requests_total{route="login",status="3xx"}"#, 1),
        (r#"entraway_requests_total{route="callback",status="3xx"}"#, 1),
        ("entraway_sign_ins_begun_total", 1),
        (r#"entraway_sign_ins_total{outcome="signed_in"}"#, 1),
        ("entraway_sign_in_seconds_count", 1),
        (r#"entraway_sign_in_part_seconds_count{part="entra"}"#, 1),
        (r#"entraway_sign_in_part_seconds_count{part="graph"}"#, 1),
        (r#"entraway_sign_in_part_seconds_count{part="plan"}"#, 1),
        (r#"entraway_sign_in_part_seconds_count{part="postgres"}"#, 1),
        (r#"entraway_entra_calls_total{call="code",outcome="ok"}"#, 1),
        (r#"entraway_graph_calls_total{list="assigned_groups",outcome="ok"}"#, 1),
        (r#"entraway_graph_calls_total{list="member_of",outcome="ok"}"#, 1),
        ("entraway_sessions_opened_total", 1),
    ];
    let mut expected = moved(always);
    expected.extend([
        (r#"entraway_entra_calls_total{call="discovery",outcome="ok"}"#, 1),
        (r#"entraway_entra_calls_total{call="app_token",outcome="ok"}"#, 1),
        (r#"entraway_rows_written_total{kind="organization"}"#, 3),
        (r#"entraway_rows_written_total{kind="team"}"#, 3),
        (r#"entraway_rows_written_total{kind="organization_member"}"#, 2),
        (r#"entraway_rows_written_total{kind="team_member"}"#, 2),
        (r#"entraway_rows_written_total{kind="person"}"#, 1),
    ]);
    assert_eq!(first.since(&before), expected, "the first sign-in");

    world.sign_in(&service, alice).await;
    let repeat = watch.read().await;
    assert_eq!(repeat.since(&first), moved(always), "a repeated sign-in, which writes nothing");
    assert!(repeat.of("entraway_postgres_seconds_count") > first.of("entraway_postgres_seconds_count"));
    let spent = repeat.real("entraway_sign_in_seconds_sum");
    let parts: f64 = ["entra", "graph", "plan", "postgres"]
        .map(|part| repeat.real(&format!("entraway_sign_in_part_seconds_sum{{part=\"{part}\"}}")))
        .iter()
        .sum();
    assert!(0.0 < parts && parts < spent, "two sign-ins took {spent} s, and their parts {parts} s");

    world.simulator.edit(|directory| {
        directory.change_person(alice, |alice| "beech@contoso-sim.example".clone_into(&mut alice.upn))
    });
    world.sign_in(&service, alice).await;
    let changed =
        watch.read().await.since(&repeat).get(r#"entraway_rows_written_total{kind="person_change"}"#).copied();
    assert_eq!(changed, Some(1), "a new address changes a row");
}

#[rstest]
#[tokio::test]
async fn rejected_organization_is_counted_at_each_signin(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let [refused, _] = assigned(&world, ["Refused", "Good"]);
    let alice = person(&world, "Alice Arden", &[refused]);
    let refuse = "create function refuse() returns trigger language plpgsql as
                  $$ begin if new.organization_alias = 'Refused' then raise exception 'no'; end if; return new; end $$;
                  create trigger refuse before insert on {organizations} for each row execute function refuse()";
    world.sql(refuse).await;
    let service = world.service().await;
    let watch = Watch::new(&service).await;
    for times in [1, 2] {
        world.sign_in(&service, alice).await;
        let numbers = watch.read().await;
        assert_eq!(numbers.of(r#"entraway_groups_refused_total{kind="organization"}"#), times);
        assert_eq!(numbers.of(r#"entraway_groups_refused_total{kind="team"}"#), 0);
        assert_eq!(numbers.of(r#"entraway_rows_written_total{kind="organization"}"#), 1, "the accepted one, once");
    }
}

#[tokio::test]
async fn failed_signins_are_counted_under_the_shown_code() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let nora = person(&world, "Nora None", &[]);
    let service = world.service_with(|config| config.policy.require_group = true).await;
    let watch = Watch::new(&service).await;
    world.sign_in(&service, alice).await;

    let token = |fault| FaultRule::on(Endpoint::Token, fault).token(TokenKind::Delegated);
    let refused = |code, number| Fault::Entra(EntraError::new(code, number, "No."));
    let authorize = |fault| FaultRule::on(Endpoint::Authorize, fault);
    for (fault, person, outcome) in [
        (None, nora, "no_group"),
        (Some(token(Fault::status(503))), alice, "entra_unavailable"),
        (Some(token(refused("invalid_client", 7_000_215))), alice, "app_refused"),
        (Some(authorize(refused("access_denied", 65_004))), alice, "consent_declined"),
        (Some(authorize(refused("access_denied", 50_105))), alice, "not_assigned"),
        (Some(FaultRule::on(Endpoint::MemberOf, Fault::status(403))), alice, "groups_unknown"),
    ] {
        if let Some(fault) = fault {
            world.simulator.fault(fault);
        }
        let before = watch.read().await;
        let answer = world.try_sign_in(&service, person).await;
        assert_eq!(answer.code(), outcome, "{answer:#?}");
        let after = watch.read().await;
        let sign_ins: Vec<_> =
            after.since(&before).into_iter().filter(|(name, _)| name.starts_with("entraway_sign_ins_total")).collect();
        assert_eq!(sign_ins, [(format!("entraway_sign_ins_total{{outcome=\"{outcome}\"}}").as_str(), 1)]);
        world.simulator.clear_faults();
    }

    // A callback without a sign-in.
    let before = watch.read().await;
    let answer = Browser::new().get(service.at("/sso/callback?state=x&code=y")).await;
    assert_eq!(answer.code(), "attempt_unknown", "{answer:#?}");
    assert_eq!(
        watch.read().await.since(&before),
        moved([
            (r#"entraway_requests_total{route="callback",status="4xx"}"#, 1),
            (r#"entraway_sign_ins_total{outcome="attempt_unknown"}"#, 1),
        ])
    );
}

#[tokio::test]
async fn ended_sessions_are_counted_by_reason() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service_with(|config| config.session.max_per_user = 3).await;
    let watch = Watch::new(&service).await;
    let ended = async |why: &str| watch.read().await.of(&format!("entraway_sessions_ended_total{{why=\"{why}\"}}"));

    let mut browser = world.sign_in(&service, alice).await;
    browser.post(service.at("/sso/logout")).await;
    assert_eq!(ended("signed_out").await, 1);
    assert_eq!(ended("new_sign_in").await, 0, "there was no other session");

    for _ in 0..4 {
        world.sign_in(&service, alice).await;
    }
    assert_eq!(ended("new_sign_in").await, 1, "a user may have three sessions");
    let name: String = sqlx::query_scalar("select encode(substring(token_hash for 16), 'hex') from entraway.sessions")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    let end = async |which, why| service.app.sessions().end(which, why).await.unwrap();
    let alice = alice.as_uuid().into();
    assert_eq!(end(SessionFilter::Named(alice, &name), SessionEnd::One).await, 1);
    assert_eq!(ended("one_ended").await, 1);
    let sid: String = sqlx::query_scalar("select sid from entraway.sessions where sid is not null")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(Browser::new().get(service.at(&format!("/sso/frontchannel-logout?sid={sid}"))).await.status, 200);
    assert_eq!(ended("entra_signed_out").await, 1);
    assert_eq!(end(SessionFilter::Of(SessionOwner::One(alice)), SessionEnd::All).await, 1);
    assert_eq!(ended("all_ended").await, 1);
    assert_eq!(watch.read().await.of("entraway_sessions_opened_total"), 5);
}
