//! Access requirements: `?group=…&team=…&organization=…&role=…`, of which one has to match.

use super::{alice, tells_nobody, verify};
use crate::support::sql_fixtures::{MAKE_ORGANIZATION, MAKE_TEAM};
use crate::support::{Browser, World};

#[tokio::test]
async fn access_requirement_any_match_passes_and_none_is_403() {
    let world = World::new().await;
    let (person, group) = world.alice();
    let service = world.service().await;
    let mut browser = world.sign_in(&service, person).await;
    let other = "00000000-0000-0000-0000-000000000001";
    for (expected, query) in [
        (200, format!("group={group}")),
        (200, format!("team={group}")),
        (200, format!("organization={group}")),
        (200, "role=internal_user".to_owned()),
        (200, format!("group={other}&group={group}")),
        (200, format!("role=proxy_admin&team={group}")),
        (200, format!("team={other}&role=Internal_User")),
        (200, format!("te%61m={group}")),
        (403, format!("group={other}")),
        (403, format!("team={other}&organization={other}")),
        (403, "role=proxy_admin&role=proxy_admin_viewer".to_owned()),
        // IDs are compared exactly.
        (403, format!("team={}", group.to_string().to_uppercase())),
        (403, format!("team={group}%20")),
        (403, "team=%27%20or%201=1--".to_owned()),
    ] {
        let answer = verify(&mut browser, &service, &format!("/auth/verify?{query}"), &[]).await;
        assert_eq!(answer.status, expected, "{query}: {answer:#?}");
        if expected == 403 {
            assert_eq!(answer.code(), "not_in_any");
            tells_nobody(&answer);
        }
        let anonymous = verify(&mut Browser::new(), &service, &format!("/auth/verify?{query}"), &[]).await;
        assert_eq!(anonymous.status, 401, "{query}, without a session");
    }
}

#[tokio::test]
async fn access_requirement_with_invalid_parameter_is_400() {
    let world = World::new().await;
    let service = world.service().await;
    let mut browser = alice(&world, &service).await;
    for (code, query) in [
        ("unknown_parameter", "groups=a"),
        ("unknown_parameter", "Group=a"),
        ("unknown_parameter", "role[]=internal_user"),
        ("unknown_parameter", "team=a&x=y"),
        ("unknown_parameter", "=a"),
        ("parameter_value", "team="),
        ("parameter_value", "team"),
        ("parameter_value", "group=&role=internal_user"),
        ("parameter_value", "role=admin"),
        ("parameter_value", "role="),
    ] {
        let answer = verify(&mut browser, &service, &format!("/auth/verify?{query}"), &[]).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, code), "{query}: {answer:#?}");
        tells_nobody(&answer);
    }
}

#[tokio::test]
async fn access_requirement_denies_teams_of_other_users() {
    let world = World::new().await;
    let service = world.service().await;
    let mut browser = alice(&world, &service).await;
    world.by_hand(MAKE_TEAM, &[&"t-1", &"Others"]).await;
    world.by_hand(MAKE_ORGANIZATION, &[&"o-1", &"Others"]).await;
    for query in ["team=t-1", "organization=o-1", "group=t-1", "group=o-1"] {
        let answer = verify(&mut browser, &service, &format!("/auth/verify?{query}"), &[]).await;
        assert_eq!(answer.status, 403, "{query}: {answer:#?}");
    }
}

#[tokio::test]
async fn verify_path_with_extra_slash_is_not_found() {
    let world = World::new().await;
    let service = world.service_with(super::trusting).await;
    let mut browser = alice(&world, &service).await;
    let asked = [("x-original-url", "http://127.0.0.1:1/x")];
    for path in [
        "/auth/verify/?team=another",
        "/auth/verify/x?team=another",
        "/auth/verify//?team=another",
        "/auth/verify/envoy?team=another",
    ] {
        let answer = verify(&mut browser, &service, path, &asked).await;
        assert_eq!(answer.status, 404, "{path}: {answer:#?}");
        tells_nobody(&answer);
    }
}
