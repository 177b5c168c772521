//! Paged lists: a list is known only if all pages were read.

use entra_simulator::{Endpoint, Fault, FaultRule, Group, GroupId, GroupKind, Member, ObjectId};
use rstest::rstest;
use serde_json::json;
use uuid::Uuid;

use super::List;
use crate::support::{Browser, LiteLlm, Native, StoreKind, World};

/// Two full pages of 999 and a third page.
const MANY: usize = 2_003;

/// Creates many assigned groups with Alice as their member.
fn many(world: &World) -> (ObjectId, Vec<GroupId>) {
    world.simulator.edit(|directory| {
        let alice = directory.person("Alice Arden", |_| {});
        let ids: Vec<GroupId> = (0..MANY).map(|_| GroupId::from(Uuid::new_v4())).collect();
        for (number, &id) in ids.iter().enumerate() {
            let name = format!("Group {number}");
            let members = vec![Member::User(alice)];
            let kind = GroupKind::Security;
            directory.groups.push(Group { id, name, kind, members, hidden_membership: false });
            directory.assign(id);
        }
        (alice, ids)
    })
}

#[rstest]
#[tokio::test]
async fn all_pages_are_read_and_a_failed_page_discards_all(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, ids) = many(&world);
    let service = world.service().await;
    world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    for (what, count) in [
        ("organizations", rows.organizations.len()),
        ("teams", rows.teams.len()),
        ("teams of Alice", rows.teams_of(alice).len()),
        ("organizations of Alice", rows.organizations_of(alice).len()),
    ] {
        assert_eq!(count, MANY, "{what}");
    }
    assert!(ids.iter().all(|id| rows.teams.contains_key(&id.to_string())), "each group has its team");
    for list in List::BOTH {
        let pages: Vec<usize> = world.simulator.requests_to(list.endpoint()).iter().map(|seen| seen.page).collect();
        assert_eq!(pages, [1, 2, 3], "{list:?}");
        let first = world.simulator.requests_to(list.endpoint()).remove(0).path;
        assert!(first.contains("top=999"), "{list:?}: maximum page size: {first}");
    }

    // The first page has a new group and is read; the second or third page fails.
    world.simulator.edit(|directory| {
        let new = directory.group("New");
        directory.put(alice, new);
        directory.groups.rotate_right(1);
        directory.assign(new);
        directory.assignments.rotate_right(1);
    });
    let before = world.traces().await;
    for (page, fault) in [(2, Fault::throttled(60)), (3, Fault::MalformedJson)] {
        for list in List::BOTH {
            world.simulator.fault(FaultRule::on(list.endpoint(), fault.clone()).page(page));
        }
        let mut browser = Browser::new();
        let answer = browser.sign_in(&world.simulator, &service, alice).await;
        assert_eq!(answer.status, 303, "page {page}: {answer:#?}");
        let run = world.last_run().await;
        assert_eq!((&run["assigned_groups"], &run["member_of"]), (&json!("unknown"), &json!("unknown")), "{run:#}");
        let mut after = world.traces().await;
        (after.sessions, after.runs) = (before.sessions, before.runs);
        // Neither list was read completely, so nothing of it is stored.
        assert!(after == before, "page {page} with {fault:?}: no row may be written");
        assert_eq!(browser.me(&service).await.json()["teams"].as_array().unwrap().len(), MANY, "page {page}");
        world.simulator.clear_faults();
    }

    // A single failure of the second page is retried for that page only.
    world.simulator.clear_requests();
    world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::status(500)).page(2).times(1));
    world.sign_in(&service, alice).await;
    let pages: Vec<usize> = world.simulator.requests_to(Endpoint::MemberOf).iter().map(|seen| seen.page).collect();
    assert_eq!(pages, [1, 2, 2, 3]);
    assert_eq!(world.rows().await.teams_of(alice).len(), MANY + 1, "including the new group");
}

#[rstest]
#[tokio::test]
async fn empty_page_with_next_link_is_followed(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let (alice, group) = world.alice();
    let service = world.service().await;
    for list in List::BOTH {
        for page in 1..=3 {
            world.simulator.fault(FaultRule::on(list.endpoint(), Fault::EmptyPageWithNextLink).page(page));
        }
    }
    world.sign_in(&service, alice).await;
    assert_eq!(world.rows().await.teams_of(alice), [group.to_string()]);
    for list in List::BOTH {
        assert_eq!(
            world.simulator.requests_to(list.endpoint()).len(),
            4,
            "{list:?}: three empty pages and the full one"
        );
    }
}

#[rstest]
#[tokio::test]
async fn empty_list_is_known(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let bob = world.simulator.edit(|directory| directory.person("Bob Baker", |_| {}));
    let service = world.service().await;
    let mut browser = world.sign_in(&service, bob).await;
    let run = world.last_run().await;
    assert_eq!((&run["assigned_groups"], &run["assigned_groups_read"]), (&json!("known"), &json!(0)));
    assert_eq!((&run["member_of"], &run["member_of_read"]), (&json!("known"), &json!(0)));
    let page = browser.get(service.at("/")).await;
    assert!(!page.body.contains("class=\"warning\""), "no warning: {}", page.body);
}
