//! The demo and a browser.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::look::Look;
use super::pages::{PAGES, Page};
use super::webdriver::WebDriver;
use crate::cli::program::{Folder, Program};
use crate::slow::demo::demo;

const EVERYBODY: [&str; 6] = ["Alice Arden", "Bob Birch", "Carol Cheng", "Dave Diallo", "Erin Ellis", "Gil Guest"];

/// Trigger that rejects an organization with this name.
const REFUSE: &str = "
create function refuse() returns trigger language plpgsql as
$$ begin raise exception 'no customer of this name'; end $$;
create trigger refuse before insert on entraway.organizations for each row
when (new.organization_alias = 'Prompt Analysts') execute function refuse();
";

/// Moves the existing sync runs back by a day and adds sign-ins since then. They changed nothing, except for two with
/// the rejected organization.
const A_DAY_OF_SIGN_INS: &str = "
update entraway.sync_runs set started_at = started_at - interval '23 hours';
insert into entraway.sync_runs select later.*
from entraway.sync_runs r, generate_series(1, 22) hour, jsonb_populate_record(r, jsonb_build_object(
    'run_id', gen_random_uuid(), 'started_at', r.started_at + hour * interval '1 hour', 'user_created', false,
    'user_updated', false, 'failures', '[]'::jsonb, 'organizations_created', '[]'::jsonb,
    'teams_created', '[]'::jsonb,
    'organizations_joined', '[]'::jsonb, 'teams_joined', '[]'::jsonb)) later
where abs(hashtext(r.user_id || hour)) % 12 < 6 - abs(hour - 11) / 2;
update entraway.sync_runs set (failures, touched) =
    (select failures, touched from entraway.sync_runs where failures <> '[]')
where run_id in (
    (select run_id from entraway.sync_runs order by started_at offset 14 limit 1)
    union (select run_id from entraway.sync_runs order by started_at offset 30 limit 1));
insert into entraway.failed_sign_ins (failed_at, code, aadsts, request_id)
select now() - n * interval '50 minutes', code, aadsts, gen_random_uuid()
from (values (1, 'not_assigned', '50105'), (2, 'consent_declined', '65004'), (3, 'id_token_expired', null)) f (n, code, aadsts);
insert into entraway.audit_events (event_id, at, actor, action, user_id, object_id, target_kind, target_id, target_name,
                                   cause, group_id, before, after, result)
select gen_random_uuid(), now() - n * interval '3 hours', 'sign_in', action, user_id, user_id,
       case when action = 'role_changed' then 'organization' else 'team' end, team, 'Data Science', cause, team, to_jsonb(before),
       to_jsonb(after), result
from (values (1, 'team_member_removed', 'left_group', null, null, 'applied'),
             (2, 'keys_blocked', 'left_group', null, null, 'applied'),
             (3, 'role_changed', null, 'org_admin', 'internal_user', 'applied'),
             (9, 'team_member_removed', 'last_admin', null, null, 'kept'),
             (10, 'team_member_added', 'joined_group', null, null, 'applied')) e (n, action, cause, before, after, result),
     lateral (select '40000000-0000-4000-8000-000000000002' as user_id, '50000000-0000-4000-8000-000000000002' as team) ids;
";

/// A reconciliation run that held a plan, with incomplete groups, and two others. The demo's own runs, which would let the plan
/// lapse, end: the lease is taken.
const RUNS: &str = r#"
update entraway.reconciliation_state set fence = fence + 1, lease_expires_at = 'infinity';
insert into entraway.reconciliation_runs
       (run_id, trigger, started_at, finished_at, status, compared, removed, incomplete, held, held_plan, plan, error)
select cast(id as uuid), trigger, now() - ago, now() - ago + interval '12 seconds', status, 40, removed, incomplete, held,
       case when held > 0 then repeat('a', 64) end, case when held > 0 then cast($$ {
    "changes": [
      {"kind": "team", "id": "50000000-0000-4000-8000-000000000002", "name": "Data Science", "is_admin": true, "held": true,
       "user": "40000000-0000-4000-8000-000000000002", "user_name": "Bob Birch", "cause": "left_group",
       "group": "50000000-0000-4000-8000-000000000002", "evidence": {"what": "member_list", "members": 4}},
      {"kind": "organization", "id": "gone", "name": null, "is_admin": false, "held": true,
       "user": "40000000-0000-4000-8000-000000000009", "user_name": null, "cause": "last_team_left",
       "group": "50000000-0000-4000-8000-000000000009", "evidence": {"what": "organization"}}],
    "kept": [{"kind": "team", "id": "50000000-0000-4000-8000-000000000002", "name": "Data Science",
       "user": "40000000-0000-4000-8000-000000000003", "user_name": "Carol Cheng", "reason": "last_admin",
       "group": null, "cause": "left_group"}],
    "incomplete": [{"group": "50000000-0000-4000-8000-000000000001", "name": "Production LLM Evals",
       "code": "graph_forbidden", "message": "member list: Graph answered 403 Authorization_RequestDenied",
       "fix": "Add the application permission GroupMember.Read.All and grant admin consent"}],
    "tripped": [{"limit": "run", "removals": 12, "memberships": 40}], "compared": 40} $$ as jsonb) end, error
from (values
    ('0193a5b0-0000-7000-8000-00000000000a', 'interval', interval '5 minutes', 'held', 1, 1, 2, null),
    ('0193a5b0-0000-7000-8000-00000000000b', 'request', interval '15 minutes', 'done', 3, 0, 0, null),
    ('0193a5b0-0000-7000-8000-00000000000c', 'command', interval '2 days', 'failed', 0, 0, 0,
     'failed to read Entra''s discovery document')) r (id, trigger, ago, status, removed, incomplete, held, error);
insert into entraway.held_plans (plan_hash, run_id, held_at, status, changes)
values (repeat('a', 64), '0193a5b0-0000-7000-8000-00000000000a', now() - interval '5 minutes', 'held', 2);
"#;

pub(super) struct Scene {
    pub(super) browser: WebDriver,
    /// URL of the front page, with a trailing slash.
    pub(super) service: String,
    /// URL of the simulated Entra's admin page.
    desk: String,
    /// The psql command that the demo prints.
    psql: String,
    program: Program,
    _folder: Folder,
}

impl Scene {
    pub(super) async fn begin(demo_with: &[&str]) -> Self {
        let folder = Folder::new();
        let (program, service, said) = demo(&folder, demo_with).await;
        let (_, rest) = said.split_once("assign them:  ").expect("the demo prints the URL of the simulated Entra");
        let desk = rest.split_whitespace().next().unwrap().to_owned();
        let (_, rest) = said.split_once("Connect to the database").expect("the demo prints a psql command");
        let psql = rest.lines().map(str::trim).find(|line| line.contains(" -d ")).expect("a command line").to_owned();
        Self { browser: WebDriver::start().await, service: service.to_string(), desk, psql, program, _folder: folder }
    }

    pub(super) async fn end(self) {
        self.browser.quit().await;
        self.program.terminate().await;
    }

    /// Signs a user in from the front page and waits for the user's page.
    pub(super) async fn sign_in(&self, name: &str) {
        self.sign_in_with(&self.browser, name).await;
    }

    /// The same in another browser.
    pub(super) async fn sign_in_with(&self, browser: &WebDriver, name: &str) {
        browser.go(&self.service).await;
        if browser.text().await.contains("Sign out") {
            browser.click("//button[normalize-space()='Sign out']").await;
            browser.until_text("You are signed out").await;
        }
        browser.click("//a[contains(., 'Sign in with Microsoft')]").await;
        pick(browser, name).await;
        browser.until_text("Last sync").await;
    }

    /// Picks an account at the simulated Entra and waits for the user's page.
    pub(super) async fn pick(&self, name: &str) {
        pick(&self.browser, name).await;
        self.browser.until_text("Last sync").await;
    }

    /// Opens a page of the service by path.
    pub(super) async fn visit(&self, path: &str) {
        self.browser.go(&format!("{}{path}", self.service.trim_end_matches('/'))).await;
    }

    /// Clicks a navigation entry other than "Me" and waits for its page.
    pub(super) async fn navigate(&self, place: &str) {
        self.browser.click(&format!("//nav[@aria-label='Main']//a[normalize-space()='{place}']")).await;
        self.browser.until_title(place).await;
    }

    /// Clicks a name in a list and waits for its page.
    pub(super) async fn open(&self, name: &str) {
        self.browser.click(&format!("//main//tbody//th//a[normalize-space()='{name}']")).await;
        self.browser.until_title(name).await;
    }

    /// Cells of the list row with this name.
    pub(super) async fn row(&self, name: &str) -> Vec<String> {
        self.browser.texts(&format!("//main//tr[th[contains(., '{name}')]]/*")).await
    }

    /// Names in a list, in order.
    pub(super) async fn names(&self) -> Vec<String> {
        self.browser.texts("//main//tbody/tr/th").await
    }

    /// Navigation entries.
    pub(super) async fn places(&self) -> Vec<String> {
        self.browser.texts("//nav[@aria-label='Main']//a").await
    }

    /// Opens the simulated Entra's admin page.
    pub(super) async fn to_the_desk(&self) {
        self.browser.go(&self.desk).await;
    }

    /// Creates a group on the admin page.
    pub(super) async fn new_group(&self, name: &str) {
        self.to_the_desk().await;
        self.browser.type_into("//input[@id='new-group']", name).await;
        self.browser.click("//form[contains(@action, '/create-group')]//button").await;
        self.browser.until_sent().await;
    }

    /// Submits a form on the card of a user or group on the admin page.
    pub(super) async fn at_the_desk(&self, card: &str, form: &str, choice: &str) {
        self.to_the_desk().await;
        let form = format!("//section[.//h3[normalize-space()='{card}']]//form[contains(@action, '/{form}')]");
        self.browser.click(&format!("{form}//option[normalize-space()='{choice}']")).await;
        self.browser.click(&format!("{form}//button")).await;
        self.browser.until_sent().await;
    }

    /// Removes a user from a group on the admin page.
    pub(super) async fn at_the_desk_remove(&self, user: &str, group: &str) {
        self.to_the_desk().await;
        self.browser.click(&format!("//button[@aria-label='Remove {user} from {group}']")).await;
        self.browser.until_sent().await;
    }

    /// Text of the section with this heading.
    pub(super) async fn table(&self, heading: &str) -> String {
        self.browser.text_of(&format!("//section[h2[normalize-space()='{heading}']]")).await
    }

    /// The demo after a day of use: lists have entries, one organization was rejected (so its team is standalone and a
    /// sign-in has failures), and the chart has data.
    pub(super) async fn after_a_day() -> Self {
        let scene = Self::begin(&[]).await;
        scene.sql(REFUSE);
        for name in EVERYBODY {
            scene.browser.forget().await;
            scene.sign_in(name).await;
            scene.sql("drop trigger if exists refuse on entraway.organizations");
        }
        scene.sql(A_DAY_OF_SIGN_INS);
        scene.sql(RUNS);
        scene
    }

    /// Runs SQL with psql.
    fn sql(&self, sql: &str) {
        let mut psql = Command::new("sh");
        psql.args(["-c", &format!("{} -q -v ON_ERROR_STOP=1", self.psql)]).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut psql = psql.spawn().unwrap();
        psql.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
        let done = psql.wait_with_output().unwrap();
        assert!(done.status.success(), "{}: {}", self.psql, String::from_utf8_lossy(&done.stderr));
    }

    /// Opens each page in each of these looks as the user in the list.
    pub(super) async fn each_page(&self, looks: &[Look], mut look_at: impl AsyncFnMut(&Page, Look)) {
        let mut who = None;
        self.browser.forget().await;
        for page in PAGES {
            if page.who != who {
                self.browser.forget().await;
                if let Some(name) = page.who {
                    self.sign_in(name).await;
                }
                who = page.who;
            }
            for look in looks {
                self.browser.look(*look).await;
                self.visit(page.path).await;
                let title = self.browser.title().await;
                let Page { name, path, .. } = page;
                assert!(title.starts_with(page.title), "{path} shows {title:?}, not the page {name:?}");
                look_at(page, *look).await;
            }
        }
    }
}

/// Picks an account at the simulated Entra.
pub(super) async fn pick(browser: &WebDriver, name: &str) {
    browser.until_text("Pick an account").await;
    browser.click(&format!("//*[self::a or self::button][contains(., '{name}')]")).await;
}
