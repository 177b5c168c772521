//! Ending sessions from a page: users their own, administrators those of any user.

use rstest::rstest;

use super::{Cast, text};
use crate::support::{LiteLlm, Native, StoreKind};

/// The targets of the forms that end a session, in page order.
fn ends(page: &str) -> Vec<String> {
    let forms = page.split("<form method=\"post\" action=\"").skip(1);
    forms.map(|rest| rest.split('"').next().unwrap().to_owned()).filter(|path| path.ends_with("/end")).collect()
}

#[rstest]
#[tokio::test]
async fn own_sessions_are_listed_and_can_be_ended(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    let mut elsewhere = cast.world.sign_in(&cast.service, cast.alice.id).await;
    let page = cast.alice.page(&cast.service, "/").await;
    let listed = ends(&page);
    assert_eq!(listed.len(), 2, "{}", text(&page));
    assert_eq!(text(&page).matches("this browser").count(), 1, "{}", text(&page));
    let (before, _) = page.split_once("this browser").unwrap();
    // The newest comes first, which is the other browser's.
    assert_eq!(ends(before).len(), 1, "the second of the two is this browser's");

    let answer = cast.alice.browser.post(cast.service.at(&listed[0])).await;
    assert_eq!((answer.status.as_u16(), answer.location().path()), (303, "/"));
    assert_eq!(answer.location().query(), Some("ended=1"));
    let page = cast.alice.page(&cast.service, "/?ended=1").await;
    assert!(text(&page).contains("1 session ended."), "{}", text(&page));
    assert_eq!(elsewhere.me(&cast.service).await.status, 401, "the session of the other browser has ended");
    assert_eq!(ends(&cast.alice.page(&cast.service, "/").await).len(), 1);

    let answer = cast.alice.browser.post(cast.service.at(&listed[1])).await;
    assert_eq!((answer.status.as_u16(), answer.location().path()), (303, "/signed-out"));
    assert_eq!(cast.alice.browser.me(&cast.service).await.status, 401);
    assert!(cast.alice.browser.cookies.is_empty(), "the cookie of a session that has ended is deleted");
}

#[rstest]
#[tokio::test]
async fn only_admins_can_revoke_other_sessions(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    let path = format!("/people/{}", cast.alice.id);
    let mut forms = ends(&cast.ada.page(&cast.service, &path).await);
    assert_eq!(forms.len(), 1, "one for the one session: {forms:?}");
    forms.push(format!("{path}/sessions/end"));
    assert_eq!(ends(&cast.vera.page(&cast.service, &path).await), Vec::<String>::new(), "a viewer cannot end sessions");
    let own = ends(&cast.alice.page(&cast.service, "/").await).remove(0);
    for actor in [&mut cast.vera, &mut cast.olga, &mut cast.bob] {
        for form in forms.iter().chain([&own]) {
            let answer = actor.browser.post(cast.service.at(form)).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"), "{form}");
        }
    }
    assert_eq!(cast.alice.browser.me(&cast.service).await.status, 200, "Alice is still signed in");

    let one = forms.iter().find(|form| !form.ends_with("/sessions/end")).unwrap();
    let request = cast.ada.browser.request(reqwest::Method::POST, cast.service.at(one));
    let answer = cast.ada.browser.send(request.header("Sec-Fetch-Site", "cross-site")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (403, "cross_origin"), "from another site");
    let answer = cast.ada.browser.post(cast.service.at(one)).await;
    assert_eq!((answer.status.as_u16(), answer.location().path()), (303, path.as_str()));
    assert_eq!(cast.alice.browser.me(&cast.service).await.status, 401);
    assert_eq!(cast.ada.browser.post(cast.service.at(one)).await.status, 404, "it has ended already");

    let mut again = [
        cast.world.sign_in(&cast.service, cast.alice.id).await,
        cast.world.sign_in(&cast.service, cast.alice.id).await,
    ];
    let all = format!("{path}/sessions/end");
    let asked = cast.ada.page(&cast.service, &all).await;
    assert!(text(&asked).contains("2 sessions will end"), "{}", text(&asked));
    assert_eq!(ends(&asked), [all.as_str()], "the confirmation posts to the same path");
    assert_eq!(again[0].me(&cast.service).await.status, 200, "the confirmation page ends nothing");
    for actor in [&mut cast.vera, &mut cast.olga, &mut cast.bob] {
        assert_eq!(actor.get(&cast.service, &all).await.status, 404, "only administrators see the confirmation");
    }
    let answer = cast.ada.browser.post(cast.service.at(&all)).await;
    assert_eq!((answer.status.as_u16(), answer.location().query()), (303, Some("ended=2")));
    let page = cast.ada.page(&cast.service, &format!("{path}?ended=2")).await;
    assert!(text(&page).contains("2 sessions ended."), "{}", text(&page));
    let asked = cast.ada.page(&cast.service, &all).await;
    assert!(text(&asked).contains("no sessions to end") && ends(&asked).is_empty(), "{}", text(&asked));
    for browser in &mut again {
        assert_eq!(browser.me(&cast.service).await.status, 401, "all of Alice's sessions have ended");
    }
    assert_eq!(cast.bob.browser.me(&cast.service).await.status, 200, "Bob's session is still valid");
}

#[tokio::test]
async fn admin_ending_own_sessions_is_signed_out() {
    let mut cast = Cast::of(Native).await;
    let mut elsewhere = cast.world.sign_in(&cast.service, cast.ada.id).await;
    let all = format!("/people/{}/sessions/end", cast.ada.id);
    let asked = text(&cast.ada.page(&cast.service, &all).await);
    assert!(asked.contains("2 sessions will end") && asked.contains("These are your own sessions"), "{asked}");
    let answer = cast.ada.browser.post(cast.service.at(&all)).await;
    assert_eq!((answer.status.as_u16(), answer.location().path()), (303, "/signed-out"));
    assert!(cast.ada.browser.cookies.is_empty(), "the cookie is removed");
    assert_eq!(elsewhere.me(&cast.service).await.status, 401);
}

#[tokio::test]
async fn ended_notice_accepts_only_a_number() {
    let mut cast = Cast::of(Native).await;
    for query in ["ended=<b>all</b>", "ended=-1", "ended=1&ended=2", "ended=99999999999"] {
        let answer = cast.alice.get(&cast.service, &format!("/?{query}")).await;
        assert_eq!(answer.status, 400, "{query}");
    }
    assert!(!text(&cast.alice.page(&cast.service, "/").await).contains("ended."));
}
