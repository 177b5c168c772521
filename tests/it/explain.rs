//! Explanations of a user's memberships: each case, from facts built by hand.

mod answers;
mod groups;
mod users;

use std::collections::BTreeSet;

use entraway::domain::StoreKind;
use entraway::explain::{
    Answer, Case, Explanation, Facts, GroupReport, Kind, KnownTeam, MembershipReport, Message, Places, Rules, RunFacts,
    explain, explain_team,
};
use entraway::policy::Policy;
use serde_json::{Value, json};

const GROUP: &str = "00000000-0000-0000-0000-00000000000a";
const OTHER: &str = "00000000-0000-0000-0000-00000000000b";
const TENANT: &str = "11111111-1111-4111-8111-111111111111";
const ALICE: &str = "00000000-0000-0000-0000-0000000000a1";
const THEN: &str = "2026-11-20T10:00:00Z";
const NOW: &str = "2026-11-26T10:00:00Z";

/// The facts of a test. The defaults are those after a successful sign-in.
struct Scene {
    facts: Facts,
    policy: Policy,
    store: StoreKind,
    for_operator: bool,
}

fn read<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn run(at: &str, outcome: &str, lists: [&str; 2]) -> RunFacts {
    read(json!({
        "started_at": at, "outcome": outcome, "assigned_groups": lists[0], "member_of": lists[1],
        "assigned_groups_why": (lists[0] == "unknown").then_some("Graph answered 503"),
        "member_of_why": (lists[1] == "unknown").then_some("Graph answered 429"), "failures": [],
    }))
}

impl Scene {
    /// Alice is in the assigned group, and in its organization and team.
    fn new() -> Self {
        let group = json!({ GROUP: { "name": "Evals", "assigned": true } });
        let facts = Facts {
            user: read(json!({
                "user_id": ALICE, "object_id": ALICE, "tenant_id": TENANT, "email": "alice@contoso.example",
                "name": "Alice Arden", "role": "internal_user_viewer", "sso_role": null, "offered_roles": [],
                "withheld_role": null, "has_row": true, "from_here": true,
            })),
            reading: Some(read(json!({ "assigned_groups": "known", "groups": group }))),
            assigned_groups: read(json!({ "as_of": NOW, "unknown_since": null })),
            member_of: read(json!({ "as_of": NOW, "unknown_since": null })),
            newest: Some(run(NOW, "signed_in", ["known", "known"])),
            complete: Some(run(NOW, "signed_in", ["known", "known"])),
            teams: read(json!([team(GROUP, Some(GROUP), None)])),
            organizations: read(json!([{ "id": GROUP, "name": "Evals" }])),
            team_members: read(json!([{ "team_id": GROUP, "role": "user", "source": "entra", "places": null }])),
            organization_members: read(json!([{ "organization_id": GROUP, "role": null, "source": "entra" }])),
            removals: vec![],
            disabled: None,
        };
        let policy = Policy { also_create_orgs: true, ..Policy::default() };
        Self { facts, policy, store: StoreKind::Native, for_operator: true }
    }

    fn with(change: impl FnOnce(&mut Self)) -> Self {
        let mut scene = Self::new();
        change(&mut scene);
        scene
    }

    fn explain(&self) -> Explanation {
        let rules =
            Rules { policy: &self.policy, store: self.store, nested_groups: false, for_operator: self.for_operator };
        explain(&self.facts, rules)
    }

    fn group(&self) -> GroupReport {
        let groups = self.explain().groups;
        assert_eq!(groups.len(), 1, "one report for the one group: {groups:#?}");
        groups[0].clone()
    }

    fn membership(&self) -> MembershipReport {
        self.explain().memberships.into_iter().find(|one| one.kind == Kind::Team).unwrap()
    }

    fn groups(&mut self, assigned_groups: &str, groups: &Value) {
        self.facts.reading = Some(read(json!({ "assigned_groups": assigned_groups, "groups": groups })));
    }

    fn no_membership(&mut self) {
        self.facts.team_members.clear();
        self.facts.organization_members.clear();
    }

    fn nothing_there(&mut self) {
        self.no_membership();
        self.facts.teams.clear();
        self.facts.organizations.clear();
    }

    fn failure(&mut self, kind: &str) {
        let failure = json!([{ "kind": kind, "id": GROUP, "alias": "Evals", "why": "P0001: not billable" }]);
        self.facts.complete = Some(RunFacts { failures: read(failure), ..run(NOW, "signed_in", ["known", "known"]) });
    }

    fn standalone(&mut self, made: Option<&Value>) {
        self.facts.teams = read(json!([team(GROUP, None, made)]));
    }

    fn ask(&self, wanted: &str, teams: &[(&str, &str)]) -> Answer {
        let team = |(id, name): &(&str, &str)| KnownTeam { id: (*id).to_owned(), name: Some((*name).to_owned()) };
        let teams: Vec<KnownTeam> = teams.iter().map(team).collect();
        explain_team(&self.explain(), wanted, self.for_operator.then_some(&teams), false)
    }
}

fn team(id: &str, organization: Option<&str>, made: Option<&Value>) -> Value {
    json!({
        "id": id, "name": "Evals", "organization_id": organization, "organization_name": organization.map(|_| "Evals"),
        "made": made,
    })
}

#[track_caller]
fn says(words: &Message, parts: &[&str]) {
    let text = format!("{}|{}|{}", words.what, words.rule, words.remedy.as_deref().unwrap_or("no remedy"));
    for part in parts {
        assert!(text.contains(part), "the text does not contain {part:?}: {text}");
    }
    assert!(!text.contains("  ") && !text.contains(" ."), "the sentences are joined badly: {text}");
}

/// All combinations of existing rows and known lists.
#[test]
fn every_group_has_exactly_one_verdict() {
    let mut seen = BTreeSet::new();
    for bits in 0..1_u32 << 11 {
        let bit = |n: u32| bits >> n & 1 == 1;
        let scene = Scene::with(|scene| {
            let known = ["known", "unknown", "not_configured"][(bits as usize & 3) % 3];
            let assigned = if known == "known" { json!(bit(2)) } else { Value::Null };
            let groups = json!({
                GROUP: { "name": "Evals", "assigned": assigned }, OTHER: { "name": null, "assigned": assigned },
            });
            scene.groups(known, &groups);
            if bit(3) {
                scene.no_membership();
            }
            if bit(4) {
                scene.nothing_there();
            }
            if bit(5) {
                scene.failure(if bit(6) { "team" } else { "organization" });
            }
            if bit(7) {
                scene.facts.complete = Some(run(THEN, "no_group", ["known", "known"]));
            }
            if bit(8) {
                (scene.facts.newest, scene.facts.complete) = (None, None);
            }
            if bit(9) {
                scene.store = StoreKind::LiteLlm;
                let places = Places { roster: bit(2), person: bit(5), membership: bit(6) };
                scene.facts.team_members.iter_mut().for_each(|member| member.places = Some(places));
            }
            scene.policy.also_create_orgs = bit(10);
        });
        let explanation = scene.explain();
        let ids: BTreeSet<&str> = explanation.groups.iter().map(|group| &*group.id).collect();
        assert_eq!((explanation.groups.len(), ids), (2, BTreeSet::from([GROUP, OTHER])), "of {bits:b}");
        for group in &explanation.groups {
            says(&group.message, &["."]);
            seen.insert(serde_json::to_value(&group.verdict).unwrap()["situation"].as_str().unwrap().to_owned());
            let answer = scene.ask(&group.id, &[]);
            let in_it = answer.findings[0].case == Case::InIt;
            let member =
                scene.facts.team_members.iter().any(|member| member.id == group.id && member.partial().is_none());
            assert_eq!(in_it, member, "of {bits:b}: {answer:#?}");
        }
    }
    assert_eq!(seen.len(), 9, "the situations that came up: {seen:?}");
}
