//! Valid tokens, including edge cases.

use serde_json::json;

use crate::support::World;

#[tokio::test]
async fn id_token_within_clock_skew_leeway_is_accepted() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    for (name, seconds) in [("exp", -240), ("nbf", 290), ("iat", 290)] {
        let clock = world.clock.clone();
        world.simulator.next_id_token(move |token| {
            token.claims.insert(name.to_owned(), json!(clock.now().timestamp() + seconds));
        });
        let answer = world.try_sign_in(&service, alice).await;
        assert_eq!(answer.status, 303, "{name} {seconds} seconds from now is within the leeway: {answer:#?}");
    }
}

#[tokio::test]
async fn object_id_in_upper_case_is_the_same_user() {
    let world = World::new().await;
    let (alice, _) = world.alice();
    let service = world.service().await;
    world.sign_in(&service, alice).await;
    let before = world.rows().await;
    world.simulator.next_id_token(|token| {
        let oid = token.claims["oid"].as_str().unwrap().to_uppercase();
        token.claims.insert("oid".into(), json!(oid));
    });
    let mut browser = world.sign_in(&service, alice).await;
    assert_eq!(browser.me(&service).await.json()["user"]["user_id"], json!(alice));
    assert_eq!(world.rows().await, before, "no new rows for the same user");
}

#[tokio::test]
async fn id_token_needs_only_the_required_claims() {
    let world = World::new().await;
    let (alice, group) = world.alice();
    let service = world.service().await;
    world.simulator.next_id_token(|token| {
        for name in ["name", "preferred_username", "email", "sid", "nbf", "rh", "uti"] {
            token.claims.remove(name);
        }
        let ours = token.claims["aud"].clone();
        token.claims.insert("aud".into(), json!([ours]));
        token.claims.insert("a claim that nobody knows".into(), json!({ "tid": [1, 2, 3] }));
        token.header.insert("x5t".into(), token.header["kid"].clone());
    });
    let mut browser = world.sign_in(&service, alice).await;
    let me = browser.me(&service).await.json();
    assert_eq!(me["user"]["email"], json!(null));
    assert_eq!(me["teams"][0]["team_id"], json!(group));
}
