//! Forged responses from Graph and Entra: tokens are sent nowhere else, and a malformed list counts as unknown.

use entra_simulator::{Endpoint, Fault, FaultRule, ObjectId, TokenKind};
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use uuid::Uuid;

use super::Siege;

/// A response in place of a list, and the reason that the sync record must contain.
type Lie = (String, &'static str, Fault);

const NO_LIST: &str = "response is invalid";

fn answer(status: u16, headers: &[(&'static str, &str)], body: impl Into<Vec<u8>>) -> Fault {
    let header =
        |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    Fault::Answer { status, headers: headers.iter().map(header).collect(), body: body.into() }
}

/// Alice is in her teams already and signs in while Graph returns each of these responses in place of a list. The
/// sign-in succeeds, the list is unknown, and no row is written.
async fn believes_none(mut siege: Siege, at_least: usize, lists: &[Endpoint], lies: impl Fn(&Siege) -> Vec<Lie>) {
    siege.world.sign_in(&siege.service, siege.alice).await;
    let before = siege.world.traces().await;
    for &list in lists {
        let part = if list == Endpoint::AssignedTo { "assigned_groups" } else { "member_of" };
        for (how, said, lie) in lies(&siege) {
            let how = format!("{list:?}: {how}");
            siege.names(&how);
            siege.world.simulator.clear_requests();
            siege.world.simulator.fault(FaultRule::on(list, lie));
            let kept = siege.world.readings().await;
            let (mut browser, callback) = siege.comes_back(siege.alice).await;
            let answer = browser.get(callback).await;
            assert_eq!(answer.status, 303, "{how}: {answer:#?}");
            siege.leaks_nothing(&how, &answer);
            let run = siege.world.last_run().await;
            assert_eq!(run[part], "unknown", "{how}: {run:#}");
            let why = &run[format!("{part}_why")];
            assert!(why.as_str().unwrap().contains(said), "{how}: {why}");
            let mut after = siege.world.traces().await;
            if list == Endpoint::AssignedTo {
                let groups = after.take_groups(siege.alice).unwrap();
                let groups: Vec<&Value> = groups.as_object().unwrap().values().collect();
                let known = json!({ "name": "Production LLM Evals", "assigned": true });
                assert_eq!(groups, [&known], "{how}: her group, which was known to be assigned");
            } else {
                assert_eq!(after.readings, kept, "{how}: the stored groups are those of the last known list");
            }
            after.readings.clone_from(&before.readings);
            (after.sessions, after.runs) = (before.sessions, before.runs);
            assert_eq!(after, before, "{how}: the database");
            siege.world.simulator.clear_faults();
        }
    }
    siege.world.sign_in(&siege.service, siege.alice).await;
    let run = siege.world.last_run().await;
    assert_eq!(
        (&run["assigned_groups"], &run["member_of"]),
        (&json!("known"), &json!("known")),
        "the correct lists are known again"
    );
    siege.stands(at_least).await;
}

const LISTS: [Endpoint; 2] = [Endpoint::AssignedTo, Endpoint::MemberOf];

#[tokio::test]
async fn graph_token_is_never_sent_to_another_host() {
    believes_none(Siege::new().await, 38, &LISTS, |siege| {
        let lure = &siege.lure.origin;
        let host = lure.strip_prefix("http://").unwrap();
        let port = siege.world.simulator.graph_url().port().unwrap();
        let links = [
            format!("{lure}/v1.0/me/memberOf?$skiptoken=x"),
            format!("//{host}/v1.0/me/memberOf"),
            format!("http://127.0.0.1:{port}@{host}/v1.0/me/memberOf"),
            format!("http://localhost:{port}/v1.0/me/memberOf"),
            format!("https://127.0.0.1:{port}/v1.0/me/memberOf"),
            format!("http://user:password@127.0.0.1:{port}/v1.0/me/memberOf"),
            format!("http://token@127.0.0.1:{port}/v1.0/me/memberOf"),
            format!("http://127.0.0.1:{port}.evil.example/v1.0/me/memberOf"),
            format!("http://127.0.0.1:{port}\\@{host}/v1.0/me/memberOf"),
            "https://graph.microsoft.com.evil.example/v1.0/me/memberOf".to_owned(),
            "file:///etc/passwd".to_owned(),
            "data:application/json,{\"value\":[]}".to_owned(),
            "javascript:alert(1)".to_owned(),
        ];
        // A URL parser like a browser's stays on Graph's own host for a link with a backslash, outside the version.
        let said = |link: &str| if link.starts_with("//") { NO_LIST } else { "Graph's" };
        let links = links.map(|link| (format!("it goes on at {link}"), said(&link), Fault::ForeignNextLink(link)));
        let redirects = [301, 302, 303, 307, 308].map(|status| {
            let elsewhere = answer(status, &[("location", &format!("{lure}/v1.0/me/memberOf"))], "");
            (format!("a redirect with {status}"), "Graph answered 30", elsewhere)
        });
        let challenge = format!("Bearer realm=\"\", authorization_uri=\"{lure}/authorize\"");
        let challenge = answer(401, &[("www-authenticate", &challenge)], "{}");
        let challenge = ("a challenge that names another login host".to_owned(), "(401)", challenge);
        links.into_iter().chain(redirects).chain([challenge]).collect()
    })
    .await;
}

#[tokio::test]
async fn hostile_graph_list_is_unknown() {
    believes_none(Siege::new().await, 30, &LISTS, |_| {
        let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
        // Valid both as an entry of `memberOf` and of `appRoleAssignedTo`.
        let entry = |id: &str| {
            format!(
                r##"{{"@odata.type":"#microsoft.graph.group","id":"{id}","displayName":"Eve's",
                "principalType":"Group","principalId":"{id}","principalDisplayName":"Eve's"}}"##
            )
        };
        let list = |entry: &str| format!(r#"{{"value":[{entry}]}}"#).into_bytes();
        let good = entry(&one.to_string());
        let twice = |from: &str, to: &str| list(&good.replace(from, to));
        let text = |text: &str| text.as_bytes().to_vec();
        let huge = format!(r#"{{"value":[{good}],"filler":"{}"}}"#, "x".repeat(17 << 20));
        let bodies: Vec<(&str, Vec<u8>)> = vec![
            ("a list of seventeen megabytes", huge.into_bytes()),
            ("lists in lists in lists", text(&format!(r#"{{"value":{}"#, "[".repeat(50_000)))),
            ("two lists in one", text(&format!(r#"{{"value":[],"value":[{good}]}}"#))),
            ("something behind the list", [list(&good), text("{}")].concat()),
            ("a mark of its byte order", [text("\u{feff}"), list(&good)].concat()),
            ("bytes that are no text", [list(&good), vec![0xff]].concat()),
            ("a script in front of it", [text(")]}',\n"), list(&good)].concat()),
            ("half of a pair of surrogates for a name", twice("Eve's", r"\ud800")),
            (
                "two types of one entry",
                twice("{", r##"{"@odata.type":"#microsoft.graph.group","principalType":"Group","##),
            ),
            ("two ids of one entry", twice("{", &format!(r#"{{"id":"{two}","principalId":"{two}","#))),
            ("SQL for an id", list(&entry("x'; drop table entraway.users; --"))),
            ("an id in braces", list(&entry(&format!("{{{one}}}")))),
            ("an id as a name of its kind", list(&entry(&format!("urn:uuid:{one}")))),
            ("an id with a NUL behind it", list(&entry(&format!("{one}\\u0000")))),
            ("an id with a path behind it", list(&entry(&format!("{one}/../{two}")))),
        ];
        bodies.into_iter().map(|(how, body)| (how.to_owned(), NO_LIST, answer(200, &[], body))).collect()
    })
    .await;
}

#[tokio::test]
async fn graph_error_text_is_not_shown_or_logged() {
    believes_none(Siege::new().await, 8, &LISTS, |_| {
        let body = json!({ "error": { "code": "eve@evil.example", "message": "<b>eve@evil.example</b>\r\nBearer x" } });
        [("request-id", "eve@evil.example"), ("request-id", "\t{\"level\":\"ERROR\"}"), ("request-id", "a%40b")]
            .map(|(name, value)| {
                (format!("an error with {name}: {value}"), "(403)", answer(403, &[(name, value)], body.to_string()))
            })
            .into_iter()
            .chain([(
                "a code with line ends".to_owned(),
                "answered 418",
                answer(418, &[], "a\r\n20:00 ERROR eve@evil.example"),
            )])
            .collect()
    })
    .await;
}

#[tokio::test]
async fn non_group_objects_grant_no_membership() {
    let mut siege = Siege::new().await;
    siege.world.sign_in(&siege.service, siege.alice).await;
    let teams = |rows: &crate::support::Rows, person: ObjectId| (rows.teams_of(person), rows.organizations_of(person));
    let group = teams(&siege.world.rows().await, siege.alice).0.remove(0);
    for kind in [
        json!("#microsoft.graph.directoryRole"),
        json!("#microsoft.graph.administrativeUnit"),
        json!("#microsoft.graph.user"),
        json!("#Microsoft.Graph.Group"),
        json!("microsoft.graph.group"),
        json!(" #microsoft.graph.group"),
        json!("#microsoft.graph.group\u{0}"),
        json!(["#microsoft.graph.group"]),
        json!(0),
        Value::Null,
    ] {
        let how = format!("an object of the type {kind} with a group's id");
        siege.names(&how);
        let entry = json!({ "@odata.type": kind, "id": group, "displayName": "Production LLM Evals" });
        let lie = answer(200, &[], json!({ "value": [entry] }).to_string());
        siege.world.simulator.fault(FaultRule::on(Endpoint::MemberOf, lie));
        siege.world.sign_in(&siege.service, siege.eve).await;
        let joined = teams(&siege.world.rows().await, siege.eve);
        assert_eq!(joined, (Vec::new(), Vec::new()), "{how} added Eve to teams or organizations");
        siege.world.simulator.clear_faults();
    }
    siege.stands(10).await;
}

#[tokio::test]
async fn token_endpoint_redirect_receives_no_code_or_secret() {
    let mut siege = Siege::new().await;
    let elsewhere = format!("{}/token", siege.lure.origin);
    for status in [301, 302, 303, 307, 308] {
        let redirect = answer(status, &[("location", &elsewhere)], "{}");
        siege.world.simulator.fault(FaultRule::on(Endpoint::Token, redirect).token(TokenKind::Delegated));
        let (mut browser, callback) = siege.comes_back(siege.alice).await;
        let how = format!("a redirect with {status}");
        siege.refuses(&how, (503, "entra_unavailable"), &mut browser, callback).await;
        siege.world.simulator.clear_faults();
    }
    siege.stands(5).await;
}
