//! Pages and `/api` over HTTP: what they show, and to which users.

mod api;
mod audit;
mod changes;
mod details;
mod explain;
mod failed_sign_ins;
mod home;
mod lists;
mod permissions;
mod sessions;
mod settings;
mod slow {
    mod query_plans;
}
mod syncs;
mod upgrade;

use entra_simulator::{GroupId, ObjectId};

use crate::support::scene::{assigned, person};
use crate::support::{Answer, Browser, Service, StoreKind, World};

/// Two groups and users of each kind. All have signed in: Alice and Olga in "Platform", Bob in "Data"; Olga is
/// `org_admin`, Vera `proxy_admin_viewer` and Ada `proxy_admin`, both in no group.
struct Cast {
    world: World,
    service: Service,
    platform: GroupId,
    data: GroupId,
    alice: Actor,
    bob: Actor,
    olga: Actor,
    vera: Actor,
    ada: Actor,
}

/// A user with a signed-in browser.
struct Actor {
    id: ObjectId,
    browser: Browser,
}

impl Cast {
    async fn of(kind: StoreKind) -> Self {
        let world = World::of(kind).await;
        let [platform, data] = assigned(&world, ["Platform", "Data"]);
        let service = world.service().await;
        let mut actors = Vec::new();
        for (name, groups, role) in [
            ("Alice Arden", &[platform][..], "internal_user"),
            ("Bob Birch", &[data], "internal_user_viewer"),
            ("Olga Orr", &[platform], "org_admin"),
            ("Vera View", &[], "proxy_admin_viewer"),
            ("Ada Min", &[], "proxy_admin"),
        ] {
            let id = person(&world, name, groups);
            let role = vec![role.to_owned()];
            world.simulator.edit(|directory| directory.change_person(id, |person| person.app_roles = role)).unwrap();
            actors.push(Actor { id, browser: world.sign_in(&service, id).await });
        }
        let [alice, bob, olga, vera, ada] = actors.try_into().unwrap_or_else(|_| panic!("five actors"));
        Self { world, service, platform, data, alice, bob, olga, vera, ada }
    }
}

impl Actor {
    /// Requests a page.
    async fn get(&mut self, service: &Service, path: &str) -> Answer {
        self.browser.get(service.at(path)).await
    }

    /// Requests a page, which must exist.
    #[track_caller]
    fn page<'a>(&'a mut self, service: &'a Service, path: &'a str) -> impl Future<Output = String> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.get(service, path).await;
            assert_eq!(answer.status, 200, "{path} at {caller}: {answer:#?}");
            answer.body
        }
    }

    /// Requests JSON, which must exist.
    #[track_caller]
    fn json<'a>(&'a mut self, service: &'a Service, path: &'a str) -> impl Future<Output = serde_json::Value> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.browser.get_json(service.at(path)).await;
            assert_eq!(answer.status, 200, "{path} at {caller}: {answer:#?}");
            answer.json()
        }
    }
}

/// The visible text of a page, on one line.
fn text(html: &str) -> String {
    let (_, main) = html.split_once("<main").expect("a page has a main part");
    let mut text = String::new();
    let mut inside = true;
    for c in main.chars() {
        match c {
            '<' => inside = true,
            '>' => {
                inside = false;
                text.push(' ');
            }
            c if !inside => text.push(c),
            _ => {}
        }
    }
    let text = text.replace("&#39;", "'").replace("&#34;", "\"").replace("&#38;", "&");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The links in a table's first column, which identify the rows.
fn row_ids(html: &str, place: &str) -> Vec<String> {
    let marker = format!("<th scope=\"row\"><a href=\"/{place}/");
    html.split(&marker).skip(1).map(|rest| rest.split('"').next().unwrap_or_default().to_owned()).collect()
}
