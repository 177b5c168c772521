//! Graph failures: an unknown list is never treated as empty. No membership is lost or invented, and the user can sign
//! in.

mod delegated;
mod pages;
mod require_group;
mod retries;
mod retry_budget;
mod shared_fetches;
mod token;
mod unknown;

use entra_simulator::{Endpoint, GroupId, ObjectId};
use entraway::domain::StoreKind;
use serde_json::{Value, json};

use crate::support::{Browser, Service, World};

/// Alice has signed in once. Since then, she left a group, an assigned group was deleted, and she was added to a new
/// group.
struct Scene {
    world: World,
    service: Service,
    alice: ObjectId,
    /// Alice was and is a member.
    kept: GroupId,
    /// Alice was a member.
    left: GroupId,
    new: GroupId,
}

/// The list that fails.
#[derive(Clone, Copy, Debug, PartialEq)]
enum List {
    Assigned,
    MemberOf,
}

impl List {
    const BOTH: [Self; 2] = [Self::Assigned, Self::MemberOf];

    fn endpoint(self) -> Endpoint {
        match self {
            Self::Assigned => Endpoint::AssignedTo,
            Self::MemberOf => Endpoint::MemberOf,
        }
    }
}

impl Scene {
    async fn new(store: StoreKind) -> Self {
        let world = World::of(store).await;
        let (alice, kept) = world.alice();
        let (left, gone) = world.simulator.edit(|directory| {
            let (left, gone) = (directory.group("Left Behind"), directory.group("Gone"));
            directory.put(alice, left);
            directory.assign(left);
            directory.assign(gone);
            (left, gone)
        });
        world.grant_removal().await;
        let service = world.service().await;
        world.sign_in(&service, alice).await;
        let new = world.simulator.edit(|directory| {
            directory.take_out(alice, left);
            directory.remove_group(gone);
            let new = directory.group("New");
            directory.put(alice, new);
            directory.assign(new);
            new
        });
        world.simulator.clear_requests();
        Self { world, service, alice, kept, left, new }
    }

    /// Signs Alice in and asserts that the list is unknown and that the store keeps its rows.
    async fn finds_unknown(&self, list: List, said: &str, how: &str) {
        match list {
            List::Assigned => self.finds_assigned_unknown(said, how).await,
            List::MemberOf => self.finds_member_of_unknown(said, how).await,
        }
    }

    async fn finds_assigned_unknown(&self, said: &str, how: &str) {
        let mut before = self.world.traces().await;
        let mut browser = self.signs_in(how).await;
        let mut after = self.world.traces().await;
        before.take_groups(self.alice);
        let groups = after.take_groups(self.alice);
        assert_eq!(groups, Some(self.groups_of_unknown_assignment()), "{how}: the user's own groups are known");
        (after.sessions, after.runs) = (before.sessions, before.runs);
        assert_eq!(after, before, "{how}: no row may be written");

        let run = self.world.last_run().await;
        assert_eq!(run["assigned_groups"], "unknown", "{how}: {run:#}");
        assert!(text(&run, "assigned_groups_why").contains(said), "{how}: {run:#}");
        assert_eq!(run["assigned_groups_read"], Value::Null, "{how}");
        assert_eq!((&run["member_of"], &run["member_of_read"]), (&json!("known"), &json!(2)), "{how}: {run:#}");
        self.is_told(&mut browser, "which groups are assigned to this application", how).await;
    }

    /// Alice's stored groups while the assigned groups are unknown. A group that was assigned before is still marked as
    /// assigned.
    fn groups_of_unknown_assignment(&self) -> Value {
        json!({
            self.kept.to_string(): { "name": "Production LLM Evals", "assigned": true },
            self.new.to_string(): { "name": "New", "assigned": null },
        })
    }

    async fn finds_member_of_unknown(&self, said: &str, how: &str) {
        let (before, readings) = (self.world.rows().await, self.world.readings().await);
        let mut browser = self.signs_in(how).await;
        assert_eq!(self.world.readings().await, readings, "{how}: the stored groups are unchanged");
        let after = self.world.rows().await;
        assert_eq!(after.users, before.users, "{how}: users");
        assert_eq!(after.organization_members, before.organization_members, "{how}: no organization member is added");
        assert_eq!(after.team_members, before.team_members, "{how}: no team member is added");
        let id = self.new.to_string();
        for (kind, after, before) in
            [("organizations", after.organizations, before.organizations), ("teams", after.teams, before.teams)]
        {
            assert!(before.iter().all(|(id, row)| after.get(id) == Some(row)), "{how}: {kind} were changed");
            assert!(after.contains_key(&id), "{how}: assigned groups are known, so {kind} are created");
            let most = before.len() + usize::from(!before.contains_key(&id));
            assert_eq!(after.len(), most, "{how}: {kind}");
        }

        let run = self.world.last_run().await;
        assert_eq!(run["member_of"], "unknown", "{how}: {run:#}");
        assert!(text(&run, "member_of_why").contains(said), "{how}: {run:#}");
        assert_eq!(run["member_of_read"], Value::Null, "{how}");
        assert_eq!((&run["assigned_groups"], &run["assigned_groups_read"]), (&json!("known"), &json!(3)), "{how}");
        self.is_told(&mut browser, "which groups you are in", how).await;
    }

    async fn signs_in(&self, how: &str) -> Browser {
        let mut browser = Browser::new();
        let answer = browser.sign_in(&self.world.simulator, &self.service, self.alice).await;
        assert_eq!(answer.status, 303, "{how}: the user can sign in: {answer:#?}");
        browser
    }

    /// Asserts that Alice's page and `/api/me` show a warning and her existing teams.
    async fn is_told(&self, browser: &mut Browser, warning: &str, how: &str) {
        let page = browser.get(self.service.at("/")).await;
        assert_eq!(page.body.matches(WARNING).count(), 1, "{how}: {}", page.body);
        assert!(page.body.contains(&format!("{WARNING}Microsoft did not report {warning}")), "{how}: {}", page.body);
        assert!(page.body.contains(" Your teams are as of "), "{how}: the page dates the teams: {}", page.body);
        let me = browser.me(&self.service).await.json();
        assert_eq!(teams(&me), sorted([self.kept, self.left]), "{how}: {me:#}");
    }

    /// Clears the faults and asserts that the next sign-in applies all changes.
    async fn recovers(&self) {
        self.world.simulator.clear_faults();
        let mut browser = self.signs_in("after recovery").await;
        let run = self.world.last_run().await;
        assert_eq!((&run["assigned_groups"], &run["member_of"]), (&json!("known"), &json!("known")), "{run:#}");
        assert_eq!(run["assigned_groups_why"], Value::Null);
        let me = browser.me(&self.service).await.json();
        assert_eq!(teams(&me), sorted([self.kept, self.new]), "the user left the other group: {me:#}");
        let page = browser.get(self.service.at("/")).await;
        assert!(!page.body.contains("Warning"), "{}", page.body);
    }
}

/// Start of a warning on a page.
const WARNING: &str = "<div class=\"notice warn\" role=\"status\"><p><strong>Warning:</strong> ";

fn text<'a>(run: &'a Value, name: &str) -> &'a str {
    run[name].as_str().unwrap_or_default()
}

/// Team IDs in `/api/me`.
fn teams(me: &Value) -> Vec<String> {
    let mut ids: Vec<String> =
        me["teams"].as_array().unwrap().iter().map(|team| team["team_id"].as_str().unwrap().to_owned()).collect();
    ids.sort();
    ids
}

fn sorted(ids: impl IntoIterator<Item = GroupId>) -> Vec<String> {
    let mut ids: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
    ids.sort();
    ids
}
