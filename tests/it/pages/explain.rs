//! `/people/{id}/explain`: the outcome of each group, and why a user is in a team or not.

mod permissions;
mod slow {
    mod scale;
}

use entra_simulator::{Endpoint, Fault, FaultRule, GroupId, ObjectId};
use entraway::domain::StoreKind;
use rstest::rstest;
use serde_json::Value;

use crate::support::scene::{assigned, person};
use crate::support::sql_fixtures::{MAKE_TEAM, MAKE_USER, PUT_IN_TEAM, TAKE_OUT_OF_TEAM};
use crate::support::{Browser, LiteLlm, Native, Service, World};

/// A world with a signed-in operator.
struct Scene {
    world: World,
    service: Service,
    operator: Browser,
}

impl Scene {
    async fn new(store: StoreKind) -> Self {
        Self::of(World::of(store).await).await
    }

    async fn of(world: World) -> Self {
        let service = world.service().await;
        let boss = world.simulator.edit(|directory| {
            directory.person("Olive Operator", |olive| olive.app_roles = vec!["proxy_admin_viewer".to_owned()])
        });
        let operator = world.sign_in(&service, boss).await;
        Self { world, service, operator }
    }

    /// The report for the operator, with an answer about this team, if any.
    async fn explain(&mut self, id: &dyn ToString, team: &str) -> Value {
        let url = self.service.at(&format!("/api/people/{}/explain", id.to_string()));
        let answer = self.operator.get_json(with_team(url, team)).await;
        assert_eq!(answer.status, 200, "{answer:#?}");
        let report = answer.json();
        let validator = super::api::validator("/api/people/{id}/explain", 200, "application/json");
        let problems: Vec<String> =
            validator.iter_errors(&report).map(|error| format!("{} {error}", error.instance_path())).collect();
        assert!(problems.is_empty(), "does not conform to openapi.json:\n{}\n{report:#}", problems.join("\n"));
        report
    }

    /// The visible text of the page.
    async fn page(&mut self, id: &dyn ToString, team: &str) -> String {
        let url = self.service.at(&format!("/people/{}/explain", id.to_string()));
        let answer = self.operator.get(with_team(url, team)).await;
        assert_eq!(answer.status, 200, "{answer:#?}");
        let mut text = String::new();
        for part in answer.body.split('<') {
            text.push_str(part.split_once('>').map_or(part, |(_, text)| text));
            text.push(' ');
        }
        text.split_whitespace().collect::<Vec<_>>().join(" ").replace("&#39;", "'")
    }
}

fn with_team(mut url: url::Url, team: &str) -> url::Url {
    if !team.is_empty() {
        url.query_pairs_mut().append_pair("team", team);
    }
    url
}

fn of_id<'a>(report: &'a Value, list: &str, id: &dyn ToString) -> Vec<&'a Value> {
    report[list].as_array().unwrap().iter().filter(|one| one["id"] == id.to_string().as_str()).collect()
}

/// The outcome of a group.
#[track_caller]
fn group(report: &Value, id: GroupId) -> &Value {
    let found = of_id(report, "groups", &id);
    assert_eq!(found.len(), 1, "the group once: {report:#}");
    found[0]
}

/// The reasons of the memberships with this ID, the organization's first.
fn whys<'a>(report: &'a Value, id: &dyn ToString) -> Vec<&'a str> {
    of_id(report, "memberships", id).into_iter().map(|one| one["why"]["situation"].as_str().unwrap()).collect()
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "the page does not contain {part:?}:\n{text}");
    }
}

#[rstest]
#[tokio::test]
async fn explain_distinguishes_unassigned_and_joined_groups(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut scene = Scene::new(store).await;
    let [evals] = assigned(&scene.world, ["Production LLM Evals"]);
    let staff = scene.world.simulator.edit(|directory| directory.group("All Staff"));
    let alice = person(&scene.world, "Alice Arden", &[evals, staff]);
    scene.world.sign_in(&scene.service, alice).await;

    let report = scene.explain(&alice, "All Staff").await;
    assert_eq!(group(&report, evals)["verdict"]["situation"], "joined", "{report:#}");
    assert_eq!(group(&report, evals)["organization"]["situation"], "joined", "{report:#}");
    assert_eq!(group(&report, staff)["verdict"]["situation"], "not_assigned", "{report:#}");
    assert_eq!(whys(&report, &evals), ["from_entra", "from_entra"], "{report:#}");
    assert_eq!(report["answer"]["findings"][0]["case"], "not_assigned", "{report:#}");
    assert_eq!(report["role"]["why"]["situation"], "default", "{report:#}");

    let page = scene.page(&alice, &staff.to_string()).await;
    says(
        &page,
        &[
            "Explain Alice Arden",
            "Not assigned: The group is not assigned to the app",
            "Enterprise apps → your app → Users and groups",
            "Production LLM Evals",
            "The user is in its team. The user is also in its organization.",
            "Added by Entraway at a sign-in: the user is in the group with this ID",
            "internal_user: Entra grants this user no role",
        ],
    );
    let page = scene.page(&alice, "production llm evals").await;
    says(&page, &["In it: The user is in the team."]);
    let page = scene.page(&alice, "<Unheard Of>").await;
    says(&page, &["Why not in “&#60;Unheard Of&#62;”?", "no team with it is known"]);
    assert_eq!(scene.explain(&alice, "").await["answer"], Value::Null);
}

#[rstest]
#[tokio::test]
async fn explain_covers_left_groups_and_removed_memberships(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut scene = Scene::new(store).await;
    scene.world.grant_removal().await;
    let [left, gone, taken] = assigned(&scene.world, ["Left", "Gone", "Taken"]);
    let alice = person(&scene.world, "Alice Arden", &[left, gone, taken]);
    scene.world.sign_in(&scene.service, alice).await;
    scene.world.simulator.edit(|directory| {
        directory.take_out(alice, left);
        directory.unassign(gone);
    });
    scene.world.sign_in(&scene.service, alice).await;
    scene.world.by_hand(TAKE_OUT_OF_TEAM, &[&alice, &taken]).await;

    let report = scene.explain(&alice, "left").await;
    assert_eq!(of_id(&report, "groups", &left), [&Value::Null; 0], "Entra does not report it: {report:#}");
    assert_eq!(whys(&report, &left), [""; 0], "{report:#}");
    assert_eq!(whys(&report, &gone), ["group_not_assigned", "group_not_assigned"], "{report:#}");
    assert_eq!(group(&report, gone)["verdict"]["in_team"], true, "{report:#}");
    assert_eq!(group(&report, taken)["verdict"]["situation"], "not_in_team", "{report:#}");
    let finding = &report["answer"]["findings"][0];
    assert_eq!(finding["case"], "not_among_groups", "{report:#}");
    assert!(finding["what"].as_str().unwrap().contains("Removed from the team"), "when and why: {report:#}");
    says(&scene.page(&alice, "taken").await, &["Not in it: Its team exists, but the user is not in it"]);

    scene.world.sign_in(&scene.service, alice).await;
    let report = scene.explain(&alice, "").await;
    assert_eq!(group(&report, taken)["verdict"]["situation"], "joined", "as the page announced: {report:#}");
}

#[rstest]
#[tokio::test]
async fn explain_shows_age_of_data_when_graph_fails(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut scene = Scene::new(store).await;
    let [evals, new] = assigned(&scene.world, ["Evals", "New"]);
    let alice = person(&scene.world, "Alice Arden", &[evals]);
    scene.world.sign_in(&scene.service, alice).await;
    let first = scene.explain(&alice, "").await["readings"]["member_of"]["as_of"].clone();
    scene.world.simulator.edit(|directory| directory.put(alice, new));

    scene.world.simulator.fault(FaultRule::on(Endpoint::MemberOf, Fault::status(403)));
    scene.world.sign_in(&scene.service, alice).await;
    scene.world.simulator.clear_faults();
    let report = scene.explain(&alice, "New").await;
    let reading = &report["readings"]["member_of"];
    assert_eq!((&reading["state"], &reading["as_of"]), (&"unknown".into(), &first), "{report:#}");
    assert_eq!(group(&report, evals)["verdict"]["situation"], "joined", "nothing was removed: {report:#}");
    assert_eq!(report["answer"]["findings"][0]["case"], "not_among_groups", "{report:#}");
    says(
        report["answer"]["notes"][0].as_str().unwrap(),
        &["The user's groups are unknown since", "403", "Those shown are as of"],
    );
    says(&scene.page(&alice, "New").await, &["Note: The user's groups are unknown since", "unknown"]);

    scene.world.simulator.fault(FaultRule::on(Endpoint::AssignedTo, Fault::status(403)));
    scene.world.sign_in(&scene.service, alice).await;
    scene.world.simulator.clear_faults();
    let report = scene.explain(&alice, "New").await;
    assert_eq!(report["readings"]["member_of"]["state"], "known", "{report:#}");
    assert_eq!(report["readings"]["assigned_groups"]["state"], "unknown", "{report:#}");
    assert_eq!(group(&report, new)["verdict"]["situation"], "assignment_unknown", "{report:#}");
    let why = "it was known to be assigned, and still counts";
    assert_eq!(whys(&report, &evals), ["from_entra", "from_entra"], "{why}: {report:#}");

    scene.world.sign_in(&scene.service, alice).await;
    let report = scene.explain(&alice, "New").await;
    assert_eq!(report["answer"]["findings"][0]["case"], "in_it", "{report:#}");
    assert_eq!(report["readings"]["assigned_groups"]["unknown_since"], Value::Null, "{report:#}");
}

#[rstest]
#[tokio::test]
async fn explain_quotes_database_error_for_operators_only(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut scene = Scene::new(store).await;
    let [refused, teamless] = assigned(&scene.world, ["Refused", "Teamless"]);
    let alice = person(&scene.world, "Alice Arden", &[refused, teamless]);
    let refuse = "create function refuse() returns trigger language plpgsql as
        $$ begin raise exception 'this customer is not billable'; end $$;
        create trigger refuse before insert on {organizations} for each row
        when (new.organization_alias = 'Refused') execute function refuse();
        create trigger refuse before insert on {teams} for each row
        when (new.team_alias = 'Teamless') execute function refuse()";
    scene.world.sql(refuse).await;
    let mut browser = scene.world.sign_in(&scene.service, alice).await;

    let report = scene.explain(&alice, "").await;
    let one = group(&report, refused);
    assert_eq!(one["verdict"]["situation"], "joined", "{report:#}");
    assert_eq!(one["organization"]["situation"], "refused", "{report:#}");
    assert_eq!(one["organization"]["why"], "P0001: this customer is not billable", "{report:#}");
    assert_eq!(one["standalone"]["situation"], "organization_refused", "{report:#}");
    assert_eq!(group(&report, teamless)["verdict"]["situation"], "team_refused", "{report:#}");
    says(
        &scene.page(&alice, "Refused").await,
        &[
            "The database rejected its organization at",
            "“P0001: this customer is not billable”",
            "The team is standalone",
        ],
    );

    let hers = browser.get(scene.service.at(&format!("/people/{alice}/explain"))).await;
    assert_eq!(hers.status, 200, "{hers:#?}");
    says(&hers.body, &["The database rejected its organization at"]);
    assert!(!hers.body.contains("billable"), "the database's message is for operators: {}", hers.body);

    scene.world.sql("drop trigger refuse on {organizations}").await;
    scene.world.sign_in(&scene.service, alice).await;
    let report = scene.explain(&alice, "").await;
    assert_eq!(group(&report, refused)["organization"]["situation"], "joined", "{report:#}");
    assert_eq!(
        group(&report, refused)["standalone"]["situation"],
        "organization_refused",
        "why it stays standalone: {report:#}"
    );
}

#[rstest]
#[tokio::test]
async fn explain_shows_if_sync_created_the_standalone_team(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut scene = Scene::new(store).await;
    let [made, by_hand] = assigned(&scene.world, ["Made", "By hand"]);
    scene.world.by_hand(MAKE_TEAM, &[&by_hand, &"By hand"]).await;
    let alice = person(&scene.world, "Alice Arden", &[made, by_hand]);
    let off = scene.world.service_with(|config| config.policy.also_create_orgs = false).await;
    scene.world.sign_in(&off, alice).await;
    scene.world.sign_in(&scene.service, alice).await;

    let report = scene.explain(&alice, "").await;
    assert_eq!(group(&report, made)["standalone"]["situation"], "organizations_were_off", "{report:#}");
    assert_eq!(group(&report, by_hand)["standalone"]["situation"], "not_ours", "{report:#}");
    assert_eq!(group(&report, made)["organization"]["situation"], "joined", "{report:#}");
}

#[rstest]
#[tokio::test]
async fn explain_distinguishes_manual_and_managed_memberships(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut scene = Scene::new(store).await;
    let [evals] = assigned(&scene.world, ["Evals"]);
    let alice = person(&scene.world, "Alice Arden", &[]);
    scene.world.sign_in(&scene.service, alice).await;
    scene.world.by_hand(MAKE_TEAM, &[&"skunkworks", &"Skunk Works"]).await;
    for team in [&"skunkworks" as &dyn ToString, &evals] {
        scene.world.by_hand(PUT_IN_TEAM, &[&alice, team, &"admin"]).await;
    }
    scene.world.simulator.edit(|directory| directory.put(alice, evals));
    scene.world.sign_in(&scene.service, alice).await;

    let report = scene.explain(&alice, "skunkworks").await;
    let [by_hand] = of_id(&report, "memberships", &"skunkworks")[..] else { panic!("{report:#}") };
    assert_eq!((&by_hand["source"], &by_hand["role"]), (&"manual".into(), &"admin".into()), "{report:#}");
    assert_eq!(by_hand["why"]["of_their_group"], false, "{report:#}");
    let team = of_id(&report, "memberships", &evals)[1];
    assert_eq!(team["why"]["of_their_group"], true, "it existed before Entra reported it: {report:#}");
    assert_eq!(whys(&report, &evals), ["from_entra", "by_hand"], "{report:#}");
    let page = scene.page(&alice, "Skunk Works").await;
    says(&page, &["In it: The user is in the team. Added by hand", "A membership added by hand is left as it is."]);
}

#[tokio::test]
async fn explain_shows_partial_litellm_membership() {
    let mut scene = Scene::new(LiteLlm).await;
    let [evals] = assigned(&scene.world, ["Evals"]);
    let alice = person(&scene.world, "Alice Arden", &[evals]);
    scene.world.sign_in(&scene.service, alice).await;
    scene.world.by_hand("update {users} set teams = '{}' where user_id = $1", &[&alice]).await;

    let report = scene.explain(&alice, "evals").await;
    let places = serde_json::json!({ "roster": true, "person": false, "membership": true });
    assert_eq!(group(&report, evals)["verdict"]["places"], places, "{report:#}");
    assert_eq!(whys(&report, &evals), ["from_entra", "half"], "{report:#}");
    assert_eq!(report["answer"]["findings"][0]["case"], "in_the_way", "{report:#}");
    says(
        &scene.page(&alice, "").await,
        &["The user is only partially in its team: the membership is missing in the user's own teams."],
    );

    let rest = "update {teams} set members_with_roles = '[]' where team_id = $1";
    scene.world.by_hand(rest, &[&evals]).await;
    let report = scene.explain(&alice, "").await;
    assert_eq!(group(&report, evals)["verdict"]["places"]["roster"], false, "{report:#}");

    scene.world.sign_in(&scene.service, alice).await;
    assert_eq!(group(&scene.explain(&alice, "").await, evals)["verdict"]["situation"], "joined");
}

#[tokio::test]
async fn explain_finds_litellm_row_by_either_id() {
    let mut scene = Scene::new(LiteLlm).await;
    let [evals] = assigned(&scene.world, ["Evals"]);
    let alice = person(&scene.world, "Alice Arden", &[evals]);
    let make = "insert into {users} (user_id, sso_user_id, updated_at) values ('alice/key', $1, '2026-01-01')";
    scene.world.by_hand(make, &[&alice]).await;
    let before = scene.explain(&"alice%2Fkey", "").await;
    assert_eq!(before["sign_in"]["state"]["situation"], "never", "{before:#}");
    scene.world.sign_in(&scene.service, alice).await;

    for id in ["alice%2Fkey", &alice.to_string()] {
        let report = scene.explain(&id, "").await;
        assert_eq!(report["person"]["user_id"], "alice/key", "{report:#}");
        assert_eq!(report["person"]["object_id"], alice.to_string().as_str(), "{report:#}");
        assert_eq!(whys(&report, &evals), ["from_entra", "from_entra"], "{report:#}");
        assert_eq!(report["sign_in"]["state"]["situation"], "signed_in", "{report:#}");
    }
}

#[rstest]
#[tokio::test]
async fn explain_covers_denied_and_never_signed_in_users(#[values(Native, LiteLlm)] store: StoreKind) {
    let mut scene = Scene::new(store).await;
    let staff = scene.world.simulator.edit(|directory| directory.group("All Staff"));
    let eve = person(&scene.world, "Eve", &[staff]);
    let strict = scene.world.service_with(|config| config.policy.require_group = true).await;
    assert_eq!(scene.world.try_sign_in(&strict, eve).await.status, 403, "the scene: a group is required");

    let report = scene.explain(&eve, "All Staff").await;
    assert_eq!(report["sign_in"]["state"]["outcome"], "no_group", "{report:#}");
    assert_eq!(report["role"]["why"]["situation"], "no_row", "{report:#}");
    assert_eq!(group(&report, staff)["verdict"]["situation"], "not_assigned", "{report:#}");
    says(&scene.page(&eve, "All Staff").await, &["access.require_group", "Note: Denied at"]);

    let tenant = scene.world.simulator.edit(|directory| directory.tenant_id);
    let nemo: ObjectId = "00000000-0000-0000-0000-00000000dead".parse().unwrap();
    let role = "internal_user";
    scene.world.by_hand(MAKE_USER, &[&nemo, &tenant, &role, &"nemo@contoso-sim.example"]).await;
    let report = scene.explain(&nemo, "All Staff").await;
    assert_eq!(report["sign_in"]["state"]["situation"], "never", "{report:#}");
    assert_eq!(report["answer"]["findings"][0]["case"], "never_signed_in", "{report:#}");
}
