//! The view of each role: Erin gets one role after the other.

use super::scene::Scene;

/// Expected view of a role.
struct View {
    role: &'static str,
    places: &'static [&'static str],
    teams: &'static [&'static str],
    /// Visible users, if the navigation has an entry for users.
    people: Option<&'static [&'static str]>,
    /// Which pages of `UNEQUAL` are visible.
    pages: [bool; 4],
    ends_sessions: bool,
}

/// Pages that depend on the role, with their titles: settings; Alice, in Erin's organization; Bob, in another one; and
/// Alice's explanation.
const UNEQUAL: [(&str, &str); 4] = [
    ("/settings", "Settings"),
    ("/people/40000000-0000-4000-8000-000000000001", "Alice Arden"),
    ("/people/40000000-0000-4000-8000-000000000002", "Bob Birch"),
    ("/people/40000000-0000-4000-8000-000000000001/explain", "Explain Alice Arden"),
];

const ALL_PLACES: &[&str] = &["Me", "Teams", "Organizations", "Users", "Syncs", "Changes", "Audit log", "Settings"];
const ALL_TEAMS: &[&str] =
    &["Data Science", "Future Pilots", "Platform Engineering", "Production LLM Evals", "Prompt Analysts"];
const ALL_PEOPLE: &[&str] = &["Alice Arden", "Bob Birch", "Erin Ellis"];
const MEMBER_PLACES: &[&str] = &["Me", "Teams", "Organizations", "Syncs"];

const VIEWS: [View; 5] = [
    View {
        role: "proxy_admin",
        places: ALL_PLACES,
        teams: ALL_TEAMS,
        people: Some(ALL_PEOPLE),
        pages: [true; 4],
        ends_sessions: true,
    },
    View {
        role: "proxy_admin_viewer",
        places: ALL_PLACES,
        teams: ALL_TEAMS,
        people: Some(ALL_PEOPLE),
        pages: [true; 4],
        ends_sessions: false,
    },
    View {
        role: "org_admin",
        places: &["Me", "Teams", "Organizations", "Users", "Syncs"],
        teams: &["Data Science"],
        people: Some(&["Alice Arden", "Erin Ellis"]),
        pages: [false, true, false, false],
        ends_sessions: false,
    },
    View {
        role: "internal_user",
        places: MEMBER_PLACES,
        teams: &["Data Science"],
        people: None,
        pages: [false; 4],
        ends_sessions: false,
    },
    View {
        role: "internal_user_viewer",
        places: MEMBER_PLACES,
        teams: &["Data Science"],
        people: None,
        pages: [false; 4],
        ends_sessions: false,
    },
];

#[tokio::test]
async fn role_sees_only_permitted_content_with_native_store() {
    each_role(&[]).await;
}

#[tokio::test]
async fn role_sees_only_permitted_content_with_litellm_store() {
    each_role(&super::litellm().each_ref().map(String::as_str)).await;
}

async fn each_role(demo_with: &[&str]) {
    let scene = Scene::begin(demo_with).await;
    scene.sign_in("Alice Arden").await;
    scene.browser.forget().await;
    scene.sign_in("Bob Birch").await;
    scene.at_the_desk("Erin Ellis", "put", "Data Science").await;
    for view in VIEWS {
        let role = view.role;
        scene.at_the_desk("Erin Ellis", "role", role).await;
        scene.sign_in("Erin Ellis").await;
        assert_eq!(scene.places().await, view.places, "{role}");
        scene.navigate("Teams").await;
        assert_eq!(scene.names().await, view.teams, "{role}: teams");
        if let Some(people) = view.people {
            scene.navigate("Users").await;
            assert_eq!(scene.names().await, people, "{role}: users");
        }
        for ((path, title), there) in UNEQUAL.into_iter().zip(view.pages) {
            scene.visit(path).await;
            let expected = if there { title } else { "Page not found" };
            let shown = scene.browser.title().await;
            assert!(shown.starts_with(expected), "{role}: {path} shows {shown:?}, not {expected:?}");
            if title == "Alice Arden" && there {
                let ends = scene.browser.texts("//a[starts-with(normalize-space(), 'End all sessions')]").await;
                assert_eq!(!ends.is_empty(), view.ends_sessions, "{role}: whether Alice's sessions can be ended");
            }
        }
    }
    scene.end().await;
}
