//! Tests in a real browser: the steps of docs/tutorial.md on the demo, accessibility, and layout.

mod axe;
mod cookies;
mod keyboard;
mod layout;
mod look;
mod overflow;
mod pages;
mod roles;
mod scene;
mod screenshots;
mod scripts;
mod sessions;
mod sign_in;
mod tabs;
mod webdriver;

use pg_sandbox::litellm_migrations;

use crate::support::scene::until;
use scene::Scene;

#[tokio::test]
async fn tutorial_works_with_native_store() {
    tutorial(&[]).await;
}

#[tokio::test]
async fn tutorial_works_with_litellm_store() {
    tutorial(&litellm().each_ref().map(String::as_str)).await;
}

#[tokio::test]
async fn tutorial_creates_standalone_teams_with_native_store() {
    without_organizations(&[]).await;
}

#[tokio::test]
async fn tutorial_creates_standalone_teams_with_litellm_store() {
    without_organizations(&litellm().each_ref().map(String::as_str)).await;
}

/// Arguments to start the demo with LiteLLM's tables.
fn litellm() -> [String; 4] {
    let migrations = std::path::absolute(litellm_migrations()).unwrap();
    ["--store", "litellm", "--litellm-migrations", migrations.to_str().unwrap()].map(ToOwned::to_owned)
}

/// The latest record on `/syncs`.
const LATEST_SYNC: &str = "//table[.//th[normalize-space()='Changes']]/tbody/tr[1]";

async fn tutorial(demo_with: &[&str]) {
    let scene = Scene::begin(demo_with).await;
    let browser = &scene.browser;

    // 1. Alice's teams are those of the assigned groups.
    scene.sign_in("Alice Arden").await;
    let teams = scene.table("Teams").await;
    for name in ["Data Science", "Platform Engineering", "Production LLM Evals"] {
        assert!(teams.contains(name), "Alice's teams lack {name}: {teams}");
        assert!(scene.table("Organizations").await.contains(name), "Alice's organizations lack {name}");
    }
    assert!(!teams.contains("All Staff"), "a group that is not assigned became a team: {teams}");
    assert!(browser.text().await.contains("proxy_admin"), "the app role is shown");
    browser.click("//a[contains(., 'and not in others?')]").await;
    browser.until_title("Explain Alice Arden").await;
    browser.type_into("//input[@id='team']", "All Staff").await;
    browser.click("//button[normalize-space()='Explain']").await;
    let answer = scene.table("Why not in “All Staff”?").await;
    assert!(answer.contains("Not assigned: ") && answer.contains("Users and groups"), "{answer}");

    // 4. The organization has the defaults. Its team inherits the organization's models.
    scene.navigate("Organizations").await;
    scene.open("Data Science").await;
    let page = browser.text().await;
    for said in ["$100 per 30 days, next reset", "10,000 tokens and 1,000 requests per minute", "gpt-4, gpt-3.5-turbo"]
    {
        assert!(page.contains(said), "default {said:?} is missing in the organization: {page}");
    }
    let team = scene.table("Teams").await;
    // LiteLLM cannot express inheritance, so there the team lists the models.
    let inherited = team.contains("gpt-4, gpt-3.5-turbo (inherited from its organization)");
    assert!(team.contains("gpt-4, gpt-3.5-turbo") && inherited == demo_with.is_empty(), "{team}");
    scene.navigate("Teams").await;
    assert_eq!(scene.row("Data Science").await[1], "Data Science", "organization of the team");
    assert!(!scene.names().await.contains(&"All Staff".to_owned()), "{:?}", scene.names().await);

    // 2. A new assigned group with Bob as its member.
    scene.new_group("Night Shift").await;
    scene.at_the_desk("Night Shift", "assign", "default access").await;
    scene.at_the_desk("Bob Birch", "put", "Night Shift").await;
    scene.sign_in("Bob Birch").await;
    assert!(scene.table("Teams").await.contains("Night Shift"), "{}", scene.table("Teams").await);
    assert!(scene.table("Last sync").await.contains("1 organization created; 1 team created"));
    scene.navigate("Teams").await;
    assert_eq!(scene.row("Night Shift").await[1], "Night Shift", "organization of the new team");
    scene.open("Night Shift").await;
    assert!(scene.table("Members").await.contains("Bob Birch"), "{}", scene.table("Members").await);
    scene.navigate("Syncs").await;
    let sync = browser.text_of(LATEST_SYNC).await;
    for said in ["signed in", "added to", "Night Shift", "1 organization created", "1 team created"] {
        assert!(sync.contains(said), "{said:?} is missing in the sync record of Bob: {sync}");
    }

    // 3. A new member. 5. An app role is assigned and removed.
    scene.at_the_desk("Erin Ellis", "put", "Data Science").await;
    scene.sign_in("Erin Ellis").await;
    assert!(scene.table("Last sync").await.contains("added to Data Science"));
    scene.at_the_desk("Erin Ellis", "role", "org_admin").await;
    scene.sign_in("Erin Ellis").await;
    assert!(scene.table("Organizations").await.contains("org_admin"), "{}", scene.table("Organizations").await);
    scene.at_the_desk("Erin Ellis", "role", "none").await;
    scene.sign_in("Erin Ellis").await;
    assert!(!scene.table("Organizations").await.contains("org_admin"), "{}", scene.table("Organizations").await);
    assert!(scene.table("Last sync").await.contains("role: org_admin → internal_user"));

    // Alice sees the changes of the other users.
    scene.sign_in("Alice Arden").await;
    scene.navigate("Teams").await;
    scene.open("Data Science").await;
    assert!(scene.table("Members").await.contains("Erin Ellis"), "{}", scene.table("Members").await);
    scene.navigate("Users").await;
    assert_eq!(scene.names().await, ["Alice Arden", "Bob Birch", "Erin Ellis"], "all users who have signed in");
    scene.open("Erin Ellis").await;
    assert!(scene.table("Latest syncs").await.contains("added to Data Science"), "{}", browser.text().await);
    scene.navigate("Syncs").await;
    let signed_in = browser.texts("//tbody/tr/th//a").await;
    let by = ["Alice Arden", "Erin Ellis", "Erin Ellis", "Erin Ellis", "Bob Birch", "Alice Arden"];
    assert_eq!(signed_in, by, "one record per sign-in, latest first");
    browser.click("//summary[normalize-space()='Show data']").await;
    assert!(browser.text().await.contains("Sign-ins per hour"), "{}", browser.text().await);

    // 6. Erin leaves a group, and a run removes her without a sign-in.
    scene.at_the_desk_remove("Erin Ellis", "Data Science").await;
    scene.sign_in("Alice Arden").await;
    until("a run removes Erin", async || {
        scene.navigate("Audit log").await;
        let page = browser.text().await;
        page.contains("removed from team Data Science") && page.contains("left group")
    })
    .await;
    scene.sign_in("Erin Ellis").await;
    assert!(scene.table("Teams").await.contains("None."), "{}", scene.table("Teams").await);
    scene.sign_in("Alice Arden").await;
    scene.navigate("Users").await;
    scene.open("Erin Ellis").await;
    browser.click("//a[normalize-space()='Explain memberships']").await;
    browser.until_title("Explain Erin Ellis").await;
    let removed = scene.table("Removed memberships").await;
    assert!(removed.contains("Data Science") && removed.contains("Add the user to the group in Entra"), "{removed}");

    // A canceled sign-in shows a page from which it can be repeated.
    browser.click("//button[normalize-space()='Sign out']").await;
    browser.until_text("You are signed out").await;
    browser.click("//a[contains(., 'Sign in with Microsoft')]").await;
    browser.click("//*[self::a or self::button][contains(., 'Refuse consent')]").await;
    browser.until_text("You canceled the sign-in").await;
    browser.click("//a[normalize-space()='Sign in again']").await;
    browser.until_text("Pick an account").await;

    assert_eq!(browser.complaints().await, Vec::<String>::new(), "console messages, such as policy violations");
    scene.end().await;
}

async fn without_organizations(demo_with: &[&str]) {
    let scene = Scene::begin(&[&["--without-orgs"], demo_with].concat()).await;
    scene.sign_in("Alice Arden").await;
    scene.navigate("Organizations").await;
    let page = scene.browser.text().await;
    assert!(page.contains("groups do not become organizations") && page.contains("None yet."), "{page}");
    scene.navigate("Teams").await;
    assert_eq!(scene.row("Data Science").await[1], "standalone");
    scene.open("Data Science").await;
    let page = scene.browser.text().await;
    assert!(
        page.contains("Standalone: The team is standalone: groups do not become organizations"),
        "no reason: {page}"
    );
    assert!(page.contains("$100 per 30 days"), "the defaults are missing in the team: {page}");
    scene.end().await;
}
