//! Graph in every kind of trouble. Unknown is never empty: nothing is lost, nothing is made up, and the person gets in.

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

/// Alice signed in well, and much has changed in Entra since: she left a group, another is not assigned any more, and
/// there is a new one, with her in it.
struct Scene {
    world: World,
    service: Service,
    alice: ObjectId,
    /// Alice was and is in it.
    kept: GroupId,
    /// Alice was in it.
    left: GroupId,
    new: GroupId,
}

/// Which list is in trouble.
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

    /// Signs Alice in, who finds out that the list is unknown, while the store holds all that it held.
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
        assert_eq!(groups, Some(self.groups_of_unknown_assignment()), "{how}: her own groups, which are known");
        (after.sessions, after.runs) = (before.sessions, before.runs);
        assert_eq!(after, before, "{how}: not a row may be written");

        let run = self.world.last_run().await;
        assert_eq!(run["assigned_groups"], "unknown", "{how}: {run:#}");
        assert!(text(&run, "assigned_groups_why").contains(said), "{how}: {run:#}");
        assert_eq!(run["assigned_groups_read"], Value::Null, "{how}");
        assert_eq!((&run["member_of"], &run["member_of_read"]), (&json!("known"), &json!(2)), "{how}: {run:#}");
        self.is_told(&mut browser, "which groups are assigned to this application", how).await;
    }

    /// What is kept of Alice's groups while nobody knows which groups are assigned: of the one that was assigned before, that
    /// it was.
    fn groups_of_unknown_assignment(&self) -> Value {
        json!({
            self.kept.to_string(): { "name": "Production LLM Evals", "assigned": true },
            self.new.to_string(): { "name": "New", "assigned": null },
        })
    }

    async fn finds_member_of_unknown(&self, said: &str, how: &str) {
        let (before, readings) = (self.world.rows().await, self.world.readings().await);
        let mut browser = self.signs_in(how).await;
        assert_eq!(self.world.readings().await, readings, "{how}: what is kept of her groups is what was told before");
        let after = self.world.rows().await;
        assert_eq!(after.users, before.users, "{how}: people");
        assert_eq!(after.organization_members, before.organization_members, "{how}: nobody joins an organization");
        assert_eq!(after.team_members, before.team_members, "{how}: nobody joins a team");
        let id = self.new.to_string();
        for (kind, after, before) in
            [("organizations", after.organizations, before.organizations), ("teams", after.teams, before.teams)]
        {
            assert!(before.iter().all(|(id, row)| after.get(id) == Some(row)), "{how}: {kind} were changed");
            assert!(after.contains_key(&id), "{how}: what is assigned is known, so {kind} are created");
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
        assert_eq!(answer.status, 303, "{how}: the person gets in: {answer:#?}");
        browser
    }

    /// Alice's page and `/api/me` tell of the trouble, and of the teams that she has all the same.
    async fn is_told(&self, browser: &mut Browser, warning: &str, how: &str) {
        let page = browser.get(self.service.at("/")).await;
        assert_eq!(page.body.matches(WARNING).count(), 1, "{how}: {}", page.body);
        assert!(page.body.contains(&format!("{WARNING}Microsoft did not report {warning}")), "{how}: {}", page.body);
        assert!(page.body.contains(" Your teams are as of "), "{how}: all was known before: {}", page.body);
        let me = browser.me(&self.service).await.json();
        assert_eq!(teams(&me), sorted([self.kept, self.left]), "{how}: {me:#}");
    }

    /// Everything works again, so the next sign-in makes up for what this one could not do.
    async fn recovers(&self) {
        self.world.simulator.clear_faults();
        let mut browser = self.signs_in("after the trouble").await;
        let run = self.world.last_run().await;
        assert_eq!((&run["assigned_groups"], &run["member_of"]), (&json!("known"), &json!("known")), "{run:#}");
        assert_eq!(run["assigned_groups_why"], Value::Null);
        let me = browser.me(&self.service).await.json();
        assert_eq!(teams(&me), sorted([self.kept, self.left, self.new]), "{me:#}");
        let page = browser.get(self.service.at("/")).await;
        assert!(!page.body.contains("Warning"), "{}", page.body);
    }
}

/// How a warning begins on a page.
const WARNING: &str = "<div class=\"notice warn\" role=\"status\"><p><strong>Warning:</strong> ";

fn text<'a>(run: &'a Value, name: &str) -> &'a str {
    run[name].as_str().unwrap_or_default()
}

/// The ids of the teams in `/api/me`.
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
