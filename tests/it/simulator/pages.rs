//! The simulator's pages, as the demo uses them.

use entra_simulator::{Directory, Member};
use reqwest::Response;
use url::Url;

use super::support::{World, value};

async fn admin_post(world: &World, form: &str, fields: &[(&str, &str)]) -> Response {
    world.client.post(world.url(&format!("/simulator/admin/{form}"))).form(fields).send().await.unwrap()
}

#[tokio::test]
async fn account_picker_redirects_to_the_product() {
    let mut directory = Directory::sample();
    directory.people[1].name = "Bob <Birch>".to_owned();
    let world = World::start(directory).await;
    let mut url = world.authorize_url(&world.tenant());
    url.query_pairs_mut().append_pair("login_hint", "dave.diallo@fabrikam-sim.example");
    let response = world.client.get(url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let page = response.text().await.unwrap();
    assert!(page.contains("Pick an account") && page.contains("not Microsoft"));
    assert!(page.contains("Bob &#60;Birch&#62;") && !page.contains("<Birch>"));
    assert!(page.find("Dave Diallo").unwrap() < page.find("Alice Arden").unwrap());

    let links: Vec<String> = page
        .split("href=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().replace("&amp;", "&").replace("&#38;", "&"))
        .collect();
    assert_eq!(links.len(), 8);
    let back = super::support::answer(&world.get(&links[0]).await);
    assert_eq!(value(&back, "state"), "the state");
    let (status, _) = world.redeem(&world.tenant(), value(&back, "code"), &[]).await;
    assert_eq!(status, 200);
    let back = super::support::answer(&world.get(&links[6]).await);
    assert_eq!((value(&back, "error"), value(&back, "error_subcode")), ("access_denied", "cancel"));
}

#[tokio::test]
async fn form_post_and_signout_are_supported() {
    let world = World::start(Directory::sample()).await;
    let mut url = world.authorize_url("common");
    url.query_pairs_mut().append_pair("response_mode", "form_post");
    let person = world.simulator.edit(|directory| directory.people[0].id);
    let page = world.client.get(world.simulator.pick_url(&url, person)).send().await.unwrap().text().await.unwrap();
    assert!(page.contains("method=\"post\" action=\"http://localhost:4180/auth/callback\""));
    assert!(page.contains("name=\"code\"") && page.contains("value=\"the state\""));

    let logout = format!("/{}/oauth2/v2.0/logout", world.tenant());
    assert!(world.get(&logout).await.text().await.unwrap().contains("You signed out"));
    let to = format!("{logout}?post_logout_redirect_uri=http%3A%2F%2Flocalhost%3A4180%2Fbye&state=s");
    assert_eq!(world.get(&to).await.headers()["location"], "http://localhost:4180/bye?state=s");
    world.simulator.edit(|directory| directory.redirect_uris = vec!["http://localhost:4180/other".to_owned()]);
    assert_eq!(world.get(&to).await.status(), 200);
}

#[tokio::test]
async fn admin_page_changes_directory() {
    let world =
        World::with(Directory::sample(), |options| options.product_url = Url::parse("http://localhost:4180/").ok())
            .await;
    let page = world.get("/").await.text().await.unwrap();
    for text in [
        "Alice Arden",
        "Production LLM Evals",
        "through a nested group",
        "User Administrator",
        "http://localhost:4180/",
    ] {
        assert!(page.contains(text), "{text}");
    }
    let (erin, pilots) = world.simulator.edit(|directory| (directory.people[4].id, directory.groups[5].id));
    let (person, group) = (erin.to_string(), pilots.to_string());
    let members = || world.simulator.edit(|directory| directory.groups[5].members.clone());
    let both = [("person", person.as_str()), ("group", group.as_str())];

    let response = admin_post(&world, "put", &both).await;
    assert_eq!(
        (response.status().as_u16(), response.headers()["location"].to_str().unwrap()),
        (303, &*format!("/#{person}"))
    );
    assert_eq!(members(), [Member::User(erin)]);
    admin_post(&world, "take-out", &both).await;
    assert!(members().is_empty());

    let assigned = || world.simulator.edit(|directory| directory.assignments.len());
    let before = assigned();
    admin_post(&world, "assign", &[("group", &group), ("role", "org_admin")]).await;
    assert_eq!(assigned(), before + 1);
    admin_post(&world, "unassign", &[("group", &group)]).await;
    assert_eq!(assigned(), before - 1);

    admin_post(&world, "role", &[("person", &person), ("role", "internal_user")]).await;
    assert_eq!(world.simulator.edit(|directory| directory.people[4].app_roles.clone()), ["internal_user"]);
    admin_post(&world, "create-group", &[("name", " <b>Night</b> ")]).await;
    assert!(world.simulator.edit(|directory| directory.groups.iter().any(|group| group.name == "<b>Night</b>")));
    assert!(!world.get("/").await.text().await.unwrap().contains("<b>Night"));
    assert_eq!(admin_post(&world, "create-group", &[("name", " ")]).await.status(), 400);

    let foreign = world
        .client
        .post(world.url("/simulator/admin/put"))
        .header("origin", "https://evil.example")
        .header("sec-fetch-site", "cross-site")
        .form(&both)
        .send()
        .await
        .unwrap();
    assert_eq!(foreign.status(), 403);
    assert!(members().is_empty());
}

#[tokio::test]
async fn admin_page_disables_deletes_and_restores_accounts() {
    let world = World::start(Directory::sample()).await;
    let alice = world.simulator.edit(|directory| directory.people[0].id);
    let person = alice.to_string();
    let sign_in = async || {
        let url = world.simulator.pick_url(&world.authorize_url(&world.tenant()), alice);
        world.client.get(url).send().await.unwrap()
    };
    let groups =
        || world.simulator.edit(|d| d.groups.iter().filter(|g| g.members.contains(&Member::User(alice))).count());
    let memberships = groups();

    admin_post(&world, "account", &[("person", &person), ("enabled", "false")]).await;
    assert!(sign_in().await.text().await.unwrap().contains("AADSTS50057"));
    assert!(world.get("/").await.text().await.unwrap().contains("Enable the account of Alice Arden"));
    admin_post(&world, "account", &[("person", &person), ("enabled", "true")]).await;
    assert_eq!(sign_in().await.status(), 302);

    admin_post(&world, "delete-user", &[("person", &person)]).await;
    assert!(sign_in().await.text().await.unwrap().contains("AADSTS50034"));
    let page = world.get("/").await.text().await.unwrap();
    assert!(page.contains("Deleted users") && page.contains("Restore Alice Arden"));
    admin_post(&world, "restore-user", &[("person", &person)]).await;
    assert_eq!((sign_in().await.status().as_u16(), groups()), (302, memberships), "with all memberships");

    admin_post(&world, "delete-user", &[("person", &person)]).await;
    admin_post(&world, "purge-user", &[("person", &person)]).await;
    assert!(!world.get("/").await.text().await.unwrap().contains("Alice Arden"));
    assert_eq!(groups(), 0);
}

#[tokio::test]
async fn admin_page_renames_empties_and_deletes_groups() {
    let world = World::start(Directory::sample()).await;
    let group = world.simulator.edit(|directory| directory.groups[0].id).to_string();
    let first = || world.simulator.edit(|directory| directory.groups[0].clone());
    admin_post(&world, "rename-group", &[("group", &group), ("name", " Evals ")]).await;
    assert_eq!(first().name, "Evals");
    assert_eq!(admin_post(&world, "rename-group", &[("group", &group), ("name", " ")]).await.status(), 400);
    admin_post(&world, "empty-group", &[("group", &group)]).await;
    assert!(first().members.is_empty());
    admin_post(&world, "delete-group", &[("group", &group)]).await;
    assert_ne!(first().id.to_string(), group);
}
