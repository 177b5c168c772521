//! Names as people type them, and as nobody should: what reaches the tables is always a text that they can hold.

use entraway::domain::GroupId;
use rstest::rstest;
use serde_json::json;

use super::support::{assigned, ids, person};
use crate::support::{LiteLlm, Native, Rows, StoreKind, World};

/// A group's name as organization and as team.
fn aliases(rows: &Rows, group: GroupId) -> [&str; 2] {
    let id = group.to_string();
    [&rows.organizations[&id]["organization_alias"], &rows.teams[&id]["team_alias"]]
        .map(|alias| alias.as_str().unwrap())
}

/// What becomes of each name, in one sign-in of somebody who is in all of the groups.
async fn assert_names<const N: usize>(store: StoreKind, names: [(&str, &str); N]) {
    let world = World::of(store).await;
    let groups = assigned(&world, names.map(|(given, _)| given));
    let alice = person(&world, "Alice Arden", &groups);
    let service = world.service().await;
    let mut browser = world.sign_in(&service, alice).await;

    let rows = world.rows().await;
    for (group, (given, expected)) in groups.into_iter().zip(names) {
        assert_eq!(aliases(&rows, group), [expected; 2], "for the group {given:?}");
    }
    assert_eq!(rows.teams_of(alice), ids(&groups));
    assert_eq!(world.last_run().await["failures"], json!([]));
    let me = browser.me(&service).await.json();
    assert_eq!(me["teams"].as_array().unwrap().len(), N, "and all of them can be told again");

    let before = world.versions().await;
    world.sign_in(&service, alice).await;
    assert_eq!(world.versions().await, before, "the second sign-in knows them again");
}

#[rstest]
#[tokio::test]
async fn quotes_emoji_and_sql_in_a_name_are_kept_as_they_are(#[values(Native, LiteLlm)] store: StoreKind) {
    let names = [
        "Robert'); drop table entraway.teams; --",
        r#"O'Brien "the \ group" {braces} [brackets]"#,
        "100% %s %I $1 $$ ${HOME} :name ?",
        "Zürich 東京 Ελλάδα 🦀👩‍👩‍👧‍👦",
        "<script>alert('x')</script> & <b>",
        "a,b;c|d\u{200b}e\u{202e}f",
        "NULL",
        "{}",
        "all-org-models",
    ];
    assert_names(store, names.map(|name| (name, name))).await;
}

#[rstest]
#[tokio::test]
async fn control_characters_and_white_space_around_are_left_out(#[values(Native, LiteLlm)] store: StoreKind) {
    assert_names(
        store,
        [
            ("Fin\u{0}ance", "Finance"),
            ("\u{0}\u{1}Sales\r\n\t", "Sales"),
            ("Two\nlines", "Twolines"),
            ("  In the middle  ", "In the middle"),
            ("\u{7f}\u{85}Delete\u{9f}", "Delete"),
        ],
    )
    .await;
}

#[rstest]
#[tokio::test]
async fn a_long_name_is_cut_after_256_characters_whatever_their_size(#[values(Native, LiteLlm)] store: StoreKind) {
    let (ascii, crabs) = ("x".repeat(300), "🦀".repeat(2_000));
    let (cut_ascii, cut_crabs) = ("x".repeat(256), "🦀".repeat(256));
    assert_names(store, [(ascii.as_str(), cut_ascii.as_str()), (&crabs, &cut_crabs), (&cut_ascii, &cut_ascii)]).await;
}

#[rstest]
#[tokio::test]
async fn a_group_without_a_readable_name_is_called_by_its_id(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let groups = assigned(&world, ["", "   ", "\u{0}\u{1}"]);
    let alice = person(&world, "Alice Arden", &groups);
    world.sign_in(&world.service().await, alice).await;
    let rows = world.rows().await;
    for group in groups {
        assert_eq!(aliases(&rows, group), [group.to_string().as_str(); 2]);
    }
}

#[rstest]
#[tokio::test]
async fn groups_of_the_same_name_are_different_groups(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let groups = assigned(&world, ["Research", "Research", "research"]);
    let alice = person(&world, "Alice Arden", &groups[..2]);
    world.sign_in(&world.service().await, alice).await;
    let rows = world.rows().await;
    assert_eq!((rows.organizations.len(), rows.teams.len()), (3, 3));
    assert_eq!(rows.teams_of(alice), ids(&groups[..2]));
}

#[rstest]
#[tokio::test]
async fn where_a_persons_list_shows_no_names_those_of_the_assignments_count(
    #[values(Native, LiteLlm)] store: StoreKind,
) {
    let world = World::of(store).await;
    world.fake.edit(|directory| directory.app_permissions.delegated_group_member_read = false);
    let [hers, other] = assigned(&world, ["Hers", "Other"]);
    let alice = person(&world, "Alice Arden", &[hers]);
    world.sign_in(&world.service().await, alice).await;
    let rows = world.rows().await;
    assert_eq!(aliases(&rows, hers), ["Hers"; 2]);
    assert_eq!(aliases(&rows, other), ["Other"; 2]);
    assert_eq!(rows.teams_of(alice), ids(&[hers]));
}

#[rstest]
#[tokio::test]
async fn a_persons_own_name_is_treated_the_same(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let service = world.service().await;
    let long = "é".repeat(300);
    for (given, expected) in [
        ("Al\u{0}ice\u{1b}[31m Arden\n", "Alice[31m Arden".to_owned()),
        ("Robert'); drop table entraway.users; --", "Robert'); drop table entraway.users; --".to_owned()),
        ("👩‍🚀 Ünal", "👩‍🚀 Ünal".to_owned()),
        (&long, "é".repeat(256)),
    ] {
        let person = world.fake.edit(|directory| {
            let address = format!("person{}@contoso-sim.example", directory.people.len());
            directory.person(given, |person| {
                person.upn.clone_from(&address);
                person.email = Some(address);
            })
        });
        world.sign_in(&service, person).await;
        assert_eq!(world.rows().await.users[&person.to_string()]["user_alias"], expected, "for {given:?}");
    }
}
