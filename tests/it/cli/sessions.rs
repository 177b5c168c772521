//! `entraway sessions`: lists and revokes sessions.

use entraway::domain::StoreKind;
use rstest::rstest;
use serde_json::json;

use super::program::{CONFIG, Folder, environment, run};
use crate::support::{LiteLlm, Native, World};

#[rstest]
#[tokio::test]
async fn sessions_command_lists_and_revokes_sessions(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, _) = world.alice();
    let bob = world.simulator.edit(|directory| directory.person("Bob Builder", |_| {}));
    let service = world.service().await;
    let mut hers = [world.sign_in(&service, alice).await, world.sign_in(&service, alice).await];
    let mut his = world.sign_in(&service, bob).await;
    let folder = Folder::new();
    let kind = if store == LiteLlm { "store: litellm\n" } else { "" };
    let config = folder.file("entraway.yaml", &format!("{CONFIG}{kind}"));
    let env = environment(&world);
    let entraway = async |words: &[&str]| {
        let words: Vec<&str> = [&["sessions"], words, &["--config", &config]].concat();
        run(&folder, &words, &env).await
    };
    let (alice, bob) = (alice.to_string(), bob.to_string());

    let listed = entraway(&["list", "--all"]).await;
    assert_eq!((listed.code, listed.stderr.as_str()), (0, ""), "{listed:?}");
    assert_eq!(listed.stdout.lines().count(), 4, "a heading and three sessions: {}", listed.stdout);
    assert_eq!((listed.stdout.matches(&alice).count(), listed.stdout.matches(&bob).count()), (2, 1));
    assert!(!listed.stdout.contains('@'), "no address is printed: {}", listed.stdout);
    let listed = entraway(&["list", "--user", &bob]).await;
    assert_eq!(listed.stdout.matches(&bob).count(), 1, "{listed:?}");
    assert!(!listed.stdout.contains(&alice), "{listed:?}");

    let unknown = "00000000-0000-0000-0000-000000000001";
    assert_eq!(entraway(&["revoke", "--user", unknown]).await.stdout, "0 sessions revoked\n");
    let ended = entraway(&["revoke", "--user", &alice.to_uppercase()]).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "2 sessions revoked\n"), "{ended:?}");
    for browser in &mut hers {
        assert_eq!(browser.me(&service).await.status, 401, "Alice has to sign in again");
    }
    assert_eq!(his.me(&service).await.status, 200, "Bob does not");
    assert_eq!(entraway(&["revoke", "--all"]).await.stdout, "1 session revoked\n");
    assert_eq!(his.me(&service).await.status, 401, "now he does");
    let events = world.audit_events(&["sessions_revoked"]).await;
    let events: Vec<_> =
        events.iter().map(|event| [&event["actor"], &event["object_id"], &event["before"]["sessions"]]).collect();
    assert_eq!(events, [[&json!("command"), &json!(alice), &json!(2)], [&json!("command"), &json!(bob), &json!(1)]]);
}

#[tokio::test]
async fn sessions_command_requires_exactly_one_selection() {
    let folder = Folder::new();
    for words in [
        &["revoke"][..],
        &["list"],
        &["revoke", "--all", "--user", "00000000-0000-0000-0000-000000000001"],
        &["revoke", "--user", "alice@example.com"],
        &["revoke", "--user", ""],
    ] {
        let refused = run(&folder, &[&["sessions"], words].concat(), &[]).await;
        assert_eq!(refused.code, 2, "{words:?}: {refused:?}");
    }
}
