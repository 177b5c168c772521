//! The settings page: access, check results, and no secrets.

use std::collections::BTreeMap;
use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::TimeDelta;
use entra_simulator::{Endpoint, Fault, FaultRule, ObjectId, TokenKind};
use entraway::config::{self, Config};
use rstest::rstest;
use tokio::time::timeout;

use crate::errors::headers::are_safe;
use crate::support::scene::{assigned, person};
use crate::support::{Answer, Browser, LiteLlm, Native, Service, StoreKind, World, join_all};

const DATABASE_PASSWORD: &str = "db-Passw0rd-S3cret";
const FLAG: &str = "litellm_settings.entra_groups_also_create_orgs";

/// A user with this app role, or none.
fn with_role(world: &World, name: &str, role: Option<&str>) -> ObjectId {
    let person = person(world, name, &[]);
    let roles = role.map(str::to_owned).into_iter().collect();
    world.simulator.edit(|directory| directory.change_person(person, |person| person.app_roles = roles)).unwrap();
    person
}

/// A browser with a signed-in administrator.
async fn administrator(world: &World, service: &Service) -> Browser {
    let person = with_role(world, "Ada Admin", Some("proxy_admin"));
    world.sign_in(service, person).await
}

/// The page, which must load.
#[track_caller]
fn load<'a>(browser: &'a mut Browser, service: &'a Service) -> impl Future<Output = Answer> + 'a {
    let caller = std::panic::Location::caller();
    async move {
        let answer = browser.get(service.at("/settings")).await;
        assert_eq!(answer.status, 200, "the page at {caller}: {answer:#?}");
        are_safe(&answer, "/settings");
        answer
    }
}

/// The visible text of a piece of HTML.
fn text(html: &str) -> String {
    let mut text: String = html.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text)).collect();
    for (escaped, plain) in [("&#60;", "<"), ("&#62;", ">"), ("&#34;", "\""), ("&#39;", "'"), ("&#38;", "&")] {
        text = text.replace(escaped, plain);
    }
    text.trim().to_owned()
}

/// The cells of the rows of the page's tables.
fn rows(page: &Answer) -> Vec<Vec<String>> {
    let rows = page.body.split("<tr><th scope=\"row\">").skip(1).filter_map(|rest| Some(rest.split_once("</tr>")?.0));
    let cell = |cell: &str| text(cell.split_once("\">").map_or(cell, |(_, cell)| cell));
    let cells = |row: &str| {
        let mut cells = row.split("<td data-label=");
        let head = cells.next().map(text);
        head.into_iter().chain(cells.map(cell)).collect()
    };
    rows.map(cells).collect()
}

/// Asserts that a step has this result, with a message that contains these texts.
#[track_caller]
fn assert_found(page: &Answer, result: &str, what: &str, words: &[&str]) {
    let rows = rows(page);
    let fits =
        |row: &&Vec<String>| row[0] == what && row[1] == result && words.iter().all(|word| row[2].contains(word));
    assert!(rows.iter().any(|row| fits(&row)), "no {result} of {what} with {words:?} in {rows:#?}");
}

/// The value and the origin of a key.
#[track_caller]
fn setting(page: &Answer, key: &str) -> (String, String) {
    let rows = rows(page);
    let row = rows.iter().find(|row| row[0] == key).unwrap_or_else(|| panic!("{key} is not among {rows:#?}"));
    (row[1].clone(), row[2].clone())
}

#[rstest]
#[tokio::test]
async fn settings_page_is_visible_to_operators_only(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let service = world.service().await;
    for (role, sees) in [
        (Some("proxy_admin"), true),
        (Some("proxy_admin_viewer"), true),
        (Some("org_admin"), false),
        (Some("internal_user"), false),
        (Some("internal_user_viewer"), false),
        (None, false),
    ] {
        let person = with_role(&world, role.unwrap_or("nobody"), role);
        let mut browser = world.sign_in(&service, person).await;
        if sees {
            let page = load(&mut browser, &service).await;
            assert!(page.body.contains("<h1>Settings</h1>"), "{role:?}: {}", page.body);
        } else {
            let answer = browser.get(service.at("/settings")).await;
            assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"), "{role:?}: {answer:#?}");
            assert!(!answer.body.contains("entra_groups_also_create_orgs"), "{role:?}: {}", answer.body);
        }
    }
    let answer = Browser::new().get(service.at("/settings")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "not_signed_in"), "{answer:#?}");
}

#[rstest]
#[tokio::test]
async fn settings_page_shows_result_of_each_check(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    world.grant_removal().await;
    let _groups = assigned(&world, ["Production LLM Evals", "Research"]);
    let service = world.service().await;
    let mut browser = administrator(&world, &service).await;
    world.statements().await;
    let page = load(&mut browser, &service).await;
    for (what, words) in [
        ("groups", "each assigned group becomes an organization and a team in it"),
        ("default_team_params", "budget $100 per 30d, next reset "),
        ("database", "Postgres "),
        ("tables", "the schema entraway exists"),
        ("Entra", "1 signing key"),
        ("client credentials", "Entra issues a token for tenant"),
        ("assigned groups", "2 can be read with the app"),
    ] {
        assert_found(&page, "ok", what, &[words]);
    }
    if store == LiteLlm {
        assert_found(&page, "ok", "LiteLLM's tables", &["all required columns and grants"]);
    }
    assert!(text(&page.body).contains("All checks passed: users can sign in."), "{}", page.body);

    let statements = world.statements().await;
    assert!(statements.iter().any(|(sql, _)| sql.contains("current_setting")), "the check ran: {statements:#?}");
    let writes = |sql: &str| ["_sqlx_migrations", "create ", "insert "].iter().any(|word| sql.contains(word));
    let written: Vec<_> = statements.iter().filter(|(sql, _)| writes(&sql.to_lowercase())).collect();
    assert!(written.is_empty(), "viewing the page runs no migration: {written:#?}");
}

#[tokio::test]
async fn settings_page_shows_orgs_setting_and_its_origin() {
    let world = World::new().await;
    let on = world.service().await;
    let mut browser = administrator(&world, &on).await;
    let page = load(&mut browser, &on).await;
    let (value, origin) = setting(&page, FLAG);
    assert!(value == "true" && origin.starts_with("file, line "), "{value}, {origin}");
    let said = text(&page.body);
    for words in [
        &*format!(
            "{FLAG} ({origin}) is true: at a sign-in, each assigned group that has none yet gets an organization"
        ),
        "a team that was created before organizations were enabled stays standalone",
        "A team whose organization the database rejected is standalone, too",
        "A new team or organization gets a budget of $100 per 30 days: \
         litellm_settings.default_team_params.max_budget (file, line ",
        "Existing organizations, teams and users keep their budgets",
        "A new user gets a budget of $10 per 30 days",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }

    let off = world.service_of(world.config_of("  default_team_params: {models: [gpt-4]}\n")).await;
    let page = load(&mut browser, &off).await;
    assert_eq!(setting(&page, FLAG), ("false".to_owned(), "default".to_owned()));
    assert_found(&page, "ok", "groups", &["entra_groups_also_create_orgs is off"]);
    let said = text(&page.body);
    for words in [
        &*format!(
            "{FLAG} (default) is false: organizations are not created, and each assigned group becomes a standalone"
        ),
        &format!("{FLAG} (default) is false, so new teams are standalone. They stay standalone if it is enabled later"),
        "A new team gets no budget: litellm_settings.default_team_params.max_budget (default).",
    ] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    assert!(!said.contains("is true: at a sign-in"), "{said}");
}

#[tokio::test]
async fn settings_page_shows_missing_principal_and_default_org() {
    let world = World::of(LiteLlm).await;
    let principal = |config: &mut Config| config.entra.service_principal_id = None;
    let service = world.service_with(principal).await;
    let mut browser = administrator(&world, &service).await;
    let page = load(&mut browser, &service).await;
    assert!(text(&page.body).contains("is not set: nothing is created, and users are only added to existing teams."));
    assert_found(&page, "warning", "assigned groups", &["service_principal_id is not set", "Set entra.service_princ"]);

    let service = world.service_of(world.config_of("  default_team_params: {organization_id: acme}\n")).await;
    let page = load(&mut browser, &service).await;
    let said = text(&page.body);
    let words = "so new teams are created in the organization acme, as set by \
                 litellm_settings.default_team_params.organization_id (file, line ";
    assert!(said.contains(words), "{said}");
    assert_found(&page, "failed", "default organization", &["there is no organization acme"]);
    assert!(said.contains("1 check failed."), "{said}");
}

#[rstest]
#[tokio::test]
async fn settings_page_contains_no_secret(#[values(Native, LiteLlm)] store: StoreKind) {
    let world = World::of(store).await;
    let directory = world.simulator.edit(|directory| directory.clone());
    let key = STANDARD.encode([7; 64]);
    let database = world.database.replacen('@', &format!(":{DATABASE_PASSWORD}@"), 1);
    assert!(database.contains(DATABASE_PASSWORD), "{database}");
    let yaml = format!(
        "server: {{public_url: 'http://127.0.0.1:1', listen: '127.0.0.1:0'}}\n\
         database: {{url: '{database}', max_connections: 5}}\nstore: {kind}\n\
         entra: {{tenant: {tenant}, client_id: {client}, client_secret: '${{SECRET}}', \
         service_principal_id: {principal}, authority_url: '{authority}', graph_url: '{graph}'}}\n\
         session: {{cookie_keys: ['{key}']}}\n\
         litellm: {{redis_url: 'redis://:redis-S3cret@127.0.0.1:1'}}\n\
         litellm_settings: {{default_team_params: {{metadata: {{langfuse: team-S3cret}}}}}}\n",
        kind = if store == Native { "native" } else { "litellm" },
        tenant = directory.tenant_id,
        client = directory.client_id,
        principal = directory.service_principal_id,
        authority = world.simulator.authority_url(),
        graph = world.simulator.graph_url(),
    );
    let env = BTreeMap::from([("SECRET".to_owned(), directory.client_secret.clone())]);
    let config = config::parse(Some(&yaml), Path::new("test.yaml"), &env).unwrap().config;
    let service = world.service_of(config).await;
    let mut browser = administrator(&world, &service).await;
    let page = load(&mut browser, &service).await;
    for secret in [DATABASE_PASSWORD, "redis-S3cret", "team-S3cret", &key, &directory.client_secret, &database] {
        assert!(!page.body.contains(secret), "{secret} is on the page: {}", page.body);
    }
    assert_eq!(setting(&page, "database.url"), ("set".to_owned(), "file, line 2".to_owned()));
    let with_name = "file, line 4, with SECRET of the environment";
    assert_eq!(setting(&page, "entra.client_secret"), ("set".to_owned(), with_name.to_owned()));
    assert_eq!(setting(&page, "session.cookie_keys"), ("set".to_owned(), "file, line 5".to_owned()));
    assert_eq!(setting(&page, "litellm.redis_url"), ("set".to_owned(), "file, line 6".to_owned()));
    if store == LiteLlm {
        assert_found(&page, "warning", "LiteLLM's caches", &["Redis cannot be reached"]);
    }
}

#[tokio::test]
async fn settings_page_shows_graph_error_with_remedy() {
    let world = World::new().await;
    let service = world.service().await;
    let mut browser = administrator(&world, &service).await;
    world.simulator.fault(FaultRule::on(Endpoint::AssignedTo, Fault::status(403)).token(TokenKind::AppOnly));
    let page = load(&mut browser, &service).await;
    let remedy = "Add the application permission Application.Read.All and grant admin consent";
    assert_found(&page, "failed", "assigned groups", &["(403)", remedy]);
    assert_found(&page, "ok", "client credentials", &["Entra issues a token"]);
    assert!(text(&page.body).contains("1 check failed."), "{}", page.body);
}

#[tokio::test]
async fn hanging_settings_check_does_not_block_login() {
    let world = World::new().await;
    let service = world.service().await;
    let mut browser = administrator(&world, &service).await;
    world.simulator.fault(FaultRule::on(Endpoint::Discovery, Fault::Hang(Duration::from_mins(1))));
    // The check times out after four seconds, possibly before a busy machine reaches the sign-in.
    for _ in 0..5 {
        world.clock.advance(TimeDelta::seconds(16));
        let before = world.simulator.requests_to(Endpoint::Discovery).len();
        let begin = async {
            while world.simulator.requests_to(Endpoint::Discovery).len() == before {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            Browser::new().begin(&service).await;
        };
        let mut page = pin!(load(&mut browser, &service));
        tokio::select! {
            _ = &mut page => continue,
            () = begin => {}
        }
        // If the sign-in had waited for the check, the page would be loaded by now.
        if timeout(Duration::from_secs(1), page).await.is_err() {
            return;
        }
    }
    panic!("no sign-in started before the check ended: does it wait for the check?");
}

#[tokio::test]
async fn settings_checks_are_shared_for_fifteen_seconds() {
    let world = World::new().await;
    let service = world.service().await;
    let mut browser = administrator(&world, &service).await;
    let asked = || world.simulator.requests_to(Endpoint::Discovery).len();
    let before = asked();
    let mut browsers = [browser.clone(), browser.clone(), browser.clone()];
    for page in join_all(browsers.iter_mut().map(|browser| browser.get(service.at("/settings")))).await {
        assert_eq!(page.status, 200, "{page:#?}");
    }
    assert_eq!(asked(), before + 1, "three at the same moment");
    world.clock.advance(TimeDelta::seconds(3));
    load(&mut browser, &service).await;
    assert_eq!(asked(), before + 1, "three seconds later");
    world.clock.advance(TimeDelta::seconds(13));
    load(&mut browser, &service).await;
    assert_eq!(asked(), before + 2, "sixteen seconds later");
}

/// Waits for time limits.
mod slow {
    use super::*;

    #[tokio::test]
    async fn settings_page_shows_checks_that_time_out() {
        let world = World::new().await;
        let _groups = assigned(&world, ["Research"]);
        let service = world.service().await;
        let mut browser = administrator(&world, &service).await;
        let hang = Fault::Hang(Duration::from_mins(1));
        for (endpoint, what, before) in [
            (Endpoint::Discovery, "Entra", None),
            (Endpoint::Token, "client credentials", Some("Entra")),
            (Endpoint::AssignedTo, "assigned groups", Some("client credentials")),
        ] {
            world.simulator.fault(FaultRule::on(endpoint, hang.clone()));
            world.clock.advance(TimeDelta::seconds(16));
            let page = load(&mut browser, &service).await;
            assert_found(&page, "warning", what, &["no answer within 4 seconds", "Try again later"]);
            let said = text(&page.body);
            assert!(said.contains("No checks failed. ") && !said.contains("users can sign in."), "{said}");
            assert_found(&page, "ok", "tables", &["the schema entraway exists"]);
            if let Some(before) = before {
                assert_found(&page, "ok", before, &[]);
            }
            world.simulator.clear_faults();
        }
    }
}
