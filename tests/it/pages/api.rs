//! `/api`: every response conforms to `/api/openapi.json`.

use jsonschema::Validator;
use rstest::rstest;
use serde_json::{Value, json};

use super::{Actor, Cast};
use crate::support::sql_fixtures::{MAKE_TEAM, PUT_IN_TEAM};
use crate::support::{Browser, LiteLlm, Native, Service, StoreKind, World};

const DOCUMENT: &str = include_str!("../../../assets/openapi.json");

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

/// Resolves a reference to a component, such as `#/components/responses/NoSession`.
fn resolve<'d>(document: &'d Value, value: &'d Value) -> &'d Value {
    value["$ref"].as_str().map_or(value, |path| document.pointer(path.trim_start_matches('#')).unwrap())
}

/// The schema of a response of this route with this status. A route has one method.
pub(super) fn validator(route: &str, status: u16, media_type: &str) -> Validator {
    let document = document();
    let method = if document["paths"][route]["get"].is_null() { "post" } else { "get" };
    let response = resolve(&document, &document["paths"][route][method]["responses"][status.to_string()]);
    let schema = response["content"][media_type]["schema"].clone();
    assert!(!schema.is_null(), "openapi.json has no {media_type} with status {status} at {route}");
    let whole = json!({ "allOf": [schema], "components": document["components"] });
    jsonschema::draft202012::options().should_validate_formats(true).build(&whole).unwrap()
}

/// Sends a request, validates the response, and returns it.
pub(super) async fn ask(actor: &mut Actor, service: &Service, route: &str, path: &str, status: u16) -> Value {
    let is_post = document()["paths"][route]["get"].is_null();
    let answer = if is_post {
        actor.browser.post_json(service.at(path)).await
    } else {
        actor.browser.get_json(service.at(path)).await
    };
    assert_eq!(answer.status, status, "{path}: {answer:#?}");
    let media_type = if status < 300 { "application/json" } else { "application/problem+json" };
    assert_eq!(answer.headers["content-type"], media_type, "{path}");
    let body = answer.json();
    let problems: Vec<String> = validator(route, status, media_type)
        .iter_errors(&body)
        .map(|error| format!("{} {error}", error.instance_path()))
        .collect();
    assert!(problems.is_empty(), "{path} does not conform to openapi.json:\n{}\n{body:#}", problems.join("\n"));
    body
}

#[rstest]
#[tokio::test]
async fn api_responses_match_openapi_document(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut cast = Cast::of(store).await;
    // All kinds of values: a standalone team, one created by hand with a manual member, failures, notes, unknown lists.
    cast.world.by_hand(MAKE_TEAM, &[&"by-hand", &"By hand"]).await;
    cast.world.by_hand(PUT_IN_TEAM, &[&cast.alice.id, &"by-hand", &"admin"]).await;
    cast.world.simulator.edit(|directory| {
        let group = directory.group("Refused");
        directory.assign(group);
        directory.put(cast.bob.id, group);
    });
    let refuse = "create function refuse() returns trigger language plpgsql as
                  $$ begin if new.organization_alias = 'Refused' then raise exception 'no'; end if; return new; end $$;
                  create trigger refuse before insert on {organizations} for each row execute function refuse()";
    cast.world.sql(refuse).await;
    cast.world.sign_in(&cast.service, cast.bob.id).await;
    let strict = cast.world.service_with(|config| config.policy.require_group = true).await;
    let refused = crate::support::scene::person(&cast.world, "Nora None", &[]);
    assert_eq!(cast.world.try_sign_in(&strict, refused).await.status, 403);
    let platform = cast.platform;
    let paths = [
        ("/api/me", "/api/me".to_owned()),
        ("/api/teams", "/api/teams".to_owned()),
        ("/api/teams", "/api/teams?sort=newest&search=by".to_owned()),
        ("/api/organizations", "/api/organizations".to_owned()),
        ("/api/people", "/api/people".to_owned()),
        ("/api/syncs", "/api/syncs".to_owned()),
        ("/api/syncs", "/api/syncs?trouble=1".to_owned()),
        ("/api/teams/{id}", format!("/api/teams/{platform}")),
        ("/api/organizations/{id}", format!("/api/organizations/{platform}")),
        ("/api/people/{id}", format!("/api/people/{}", cast.alice.id)),
        ("/api/people/{id}/explain", format!("/api/people/{}/explain?team=Platform", cast.alice.id)),
    ];
    for (route, path) in &paths {
        for actor in [&mut cast.ada, &mut cast.alice] {
            ask(actor, &cast.service, route, path, 200).await;
        }
    }
    let syncs = ask(&mut cast.ada, &cast.service, "/api/syncs", "/api/syncs?trouble=1", 200).await;
    let outcomes: Vec<&str> =
        syncs["syncs"].as_array().unwrap().iter().map(|sync| sync["outcome"].as_str().unwrap()).collect();
    assert_eq!(outcomes, ["no_group", "signed_in"], "the denied user, and the rejected organization: {syncs:#}");
    let standalone = ask(&mut cast.ada, &cast.service, "/api/teams/{id}", "/api/teams/by-hand", 200).await;
    assert_eq!((&standalone["team"]["organization_id"], &standalone["made"]), (&Value::Null, &Value::Null));
    assert_eq!(standalone["members"][0]["source"], "manual");
    for (route, path, status) in [
        ("/api/teams", "/api/teams?sort=size", 400),
        ("/api/teams/{id}", "/api/teams/nowhere", 404),
        ("/api/organizations/{id}", "/api/organizations/nowhere", 404),
        ("/api/people/{id}", "/api/people/nowhere", 404),
        ("/api/people/{id}/explain", "/api/people/nowhere/explain", 404),
    ] {
        ask(&mut cast.ada, &cast.service, route, path, status).await;
    }
    cast.ada.browser.cookies.clear();
    for (route, path) in paths {
        ask(&mut cast.ada, &cast.service, route, &path, 401).await;
    }
}

#[tokio::test]
async fn openapi_document_is_public_and_lists_every_route() {
    let world = World::new().await;
    let service = world.service().await;
    let answer = Browser::new().get_json(service.at("/api/openapi.json")).await;
    assert_eq!((answer.status.as_u16(), answer.json()), (200, document()));
    let mut documented: Vec<String> = document()["paths"].as_object().unwrap().keys().cloned().collect();
    documented.sort();
    let source = include_str!("../../../src/http/router.rs");
    let paths = source.split(".route(\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    let mut answered: Vec<&str> =
        paths.filter(|path| path.starts_with("/api/") && *path != "/api/openapi.json").collect();
    answered.sort_unstable();
    assert_eq!(documented, answered, "left: assets/openapi.json; right: the routes in src/http/router.rs");
}

/// Documented parameters are accepted, and no others: the error for an unknown one lists the same names.
#[tokio::test]
async fn routes_accept_only_documented_parameters() {
    let mut cast = Cast::of(Native).await;
    let document = document();
    for (route, item) in document["paths"].as_object().unwrap() {
        let id = if route.starts_with("/api/people") { cast.alice.id.to_string() } else { cast.platform.to_string() };
        let path = route.replace("{id}", &id);
        let problem = ask(&mut cast.ada, &cast.service, route, &format!("{path}?nonsense=1"), 400).await;
        let method = if item["get"].is_null() { "post" } else { "get" };
        let parameters = item[method]["parameters"].as_array().unwrap().iter();
        let parameters = parameters.map(|parameter| resolve(&document, parameter));
        let documented: Vec<&str> = parameters
            .filter(|parameter| parameter["in"] == "query")
            .map(|parameter| parameter["name"].as_str().unwrap())
            .collect();
        let expected = match &documented[..] {
            [] => "No parameters are allowed.".to_owned(),
            names => format!("Allowed parameters: {}.", names.join(", ")),
        };
        assert_eq!(problem["remedy"], expected, "{route}");
    }
}

/// A schema that accepts everything would make the test above meaningless.
#[test]
fn openapi_schemas_reject_missing_and_unknown_keys() {
    let good = json!({ "type": "t", "code": "c", "title": "t", "status": 401, "detail": "d", "remedy": "r", "request_id": "i" });
    let validator = validator("/api/me", 401, "application/problem+json");
    assert!(validator.is_valid(&good));
    for key in ["code", "status"] {
        let mut bad = good.clone();
        bad.as_object_mut().unwrap().remove(key);
        assert!(!validator.is_valid(&bad), "without {key}");
    }
    let mut bad = good.clone();
    bad["more"] = json!(1);
    assert!(!validator.is_valid(&bad), "with an unknown key");
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert_eq!(schema["additionalProperties"], false, "{name} accepts unknown keys");
    }
}
