//! Sign-ins with the LiteLLM store: which messages the proxies' workers get and when, and the cost of an unreachable
//! Redis.

use entra_simulator::{GroupId, ObjectId};
use entraway::domain::StoreKind;
use entraway::litellm_cache::TIMEOUT;
use tokio::net::TcpListener;

use super::*;
use crate::support::redis::free_port;
use crate::support::{Service, World};

struct Scene {
    world: World,
    /// Assigned groups whose teams and organizations exist, because Bob has signed in. Alice is in the first.
    groups: [GroupId; 2],
    alice: ObjectId,
}

async fn scene() -> Scene {
    let world = World::of(StoreKind::LiteLlm).await;
    let (groups, alice, bob) = world.simulator.edit(|directory| {
        let groups = ["Research", "Data: \"Ä\""].map(|name| directory.group(name));
        for group in groups {
            directory.assign(group);
        }
        let [alice, bob] = ["Alice Arden", "Bob Birch"].map(|name| directory.person(name, |_| {}));
        directory.put(alice, groups[0]);
        (groups, alice, bob)
    });
    let service = world.service().await;
    world.sign_in(&service, bob).await;
    Scene { world, groups, alice }
}

impl Scene {
    async fn service(&self, redis_url: String) -> Service {
        self.world.service_with(|config| config.litellm.redis_url = Some(redis_url.into())).await
    }

    /// Cache keys of Alice and of a team and organization she was added to.
    fn keys(&self, group: GroupId, alias: &str) -> BTreeSet<String> {
        let user = self.alice;
        let team = [
            format!("team_id:{group}"),
            format!("team_alias:{alias}"),
            format!("{group}_{user}"),
            format!("team_membership:{user}:{group}"),
        ];
        let organization = [format!("org_id:{group}"), format!("org_id:{group}:with_budget")];
        team.into_iter().chain(organization).chain([user.to_string()]).collect()
    }

    async fn is_member(&self) -> bool {
        let sql = r#"select exists (select from public."LiteLLM_TeamMembership" where user_id = $1)"#;
        sqlx::query_scalar(sql).bind(self.alice.to_string()).fetch_one(&self.world.pool).await.unwrap()
    }
}

async fn listener(server: &Redis) -> RedisConnection {
    let mut listener = server.connect().await;
    assert_eq!(listener.ask(&format!("SUBSCRIBE {CHANNEL}")).await[0], "subscribe");
    listener
}

/// Keys in the next `count` messages.
async fn told(listener: &mut RedisConnection, count: usize) -> BTreeSet<String> {
    let messages = heard(listener, CHANNEL, count).await;
    let keys: BTreeSet<String> =
        messages.iter().map(|message| message["cache_key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys.len(), count, "duplicate keys: {messages:?}");
    keys
}

#[tokio::test]
async fn workers_are_notified_of_exactly_the_written_rows() {
    let server = Redis::start(&[]);
    let scene = scene().await;
    let service = scene.service(server.url("")).await;
    let mut worker = listener(&server).await;
    let mut redis = server.connect().await;
    redis.ask(&format!("SET {} old", scene.alice)).await;
    redis.ask(&format!("SET team_id:{} other", scene.groups[1])).await;

    scene.world.sign_in(&service, scene.alice).await;
    assert_eq!(told(&mut worker, 7).await, scene.keys(scene.groups[0], "Research"), "the first sign-in");
    assert_eq!(redis.ask(&format!("EXISTS {}", scene.alice)).await, [":0"], "Alice's copy in Redis");
    assert_eq!(
        redis.ask(&format!("EXISTS team_id:{}", scene.groups[1])).await,
        [":1"],
        "the other team's copy in Redis"
    );

    scene.world.sign_in(&service, scene.alice).await;
    assert!(worker.is_silent().await, "a second sign-in writes nothing, but workers were notified");

    // The second group's name contains characters that JSON and Postgres quote.
    scene.world.simulator.edit(|directory| directory.put(scene.alice, scene.groups[1]));
    scene.world.sign_in(&service, scene.alice).await;
    assert_eq!(told(&mut worker, 7).await, scene.keys(scene.groups[1], "Data: \"Ä\""), "after adding a group");

    let update = r#"update public."LiteLLM_UserTable" set user_email = 'old@contoso.example' where user_id = $1"#;
    sqlx::query(update).bind(scene.alice.to_string()).execute(&scene.world.pool).await.unwrap();
    scene.world.sign_in(&service, scene.alice).await;
    assert_eq!(told(&mut worker, 1).await, BTreeSet::from([scene.alice.to_string()]), "only the user's row");
}

/// Also of the blocked key: workers cache it under its hash.
#[tokio::test]
async fn workers_are_notified_of_removed_members_and_keys() {
    let server = Redis::start(&[]);
    let scene = scene().await;
    scene.world.grant_removal().await;
    let service = scene.service(server.url("")).await;
    scene.world.sign_in(&service, scene.alice).await;
    let key = r#"insert into public."LiteLLM_VerificationToken" (token, user_id, team_id) values ('hash', $1, $2)"#;
    let values = [scene.alice.to_string(), scene.groups[0].to_string()];
    sqlx::query(key).bind(&values[0]).bind(&values[1]).execute(&scene.world.pool).await.unwrap();
    scene.world.simulator.edit(|directory| directory.take_out(scene.alice, scene.groups[0]));
    let mut worker = listener(&server).await;
    scene.world.sign_in(&service, scene.alice).await;
    let mut expected = scene.keys(scene.groups[0], "Research");
    expected.insert("hash".to_owned());
    assert_eq!(told(&mut worker, 8).await, expected);
}

#[tokio::test]
async fn workers_are_notified_of_changed_team_models() {
    let server = Redis::start(&[]);
    let scene = scene().await;
    let service = scene.service(server.url("")).await;
    scene.world.sign_in(&service, scene.alice).await;
    let mut worker = listener(&server).await;
    let other = scene.groups[1];
    let update = r#"update public."LiteLLM_OrganizationTable" set models = '{gpt-5}' where organization_id = $1"#;
    sqlx::query(update).bind(other.to_string()).execute(&scene.world.pool).await.unwrap();
    scene.world.sign_in(&service, scene.alice).await;
    let keys = told(&mut worker, 5).await;
    for key in [format!("team_id:{other}"), "team_alias:Data: \"Ä\"".to_owned()] {
        assert!(keys.contains(&key), "{key} is not among {keys:?}");
    }
}

#[tokio::test]
async fn workers_are_notified_of_both_keys_of_a_user() {
    let server = Redis::start(&[]);
    let scene = scene().await;
    let made = r#"insert into public."LiteLLM_UserTable" (user_id, sso_user_id) values ('of the proxy', $1)"#;
    sqlx::query(made).bind(scene.alice.to_string()).execute(&scene.world.pool).await.unwrap();
    let service = scene.service(server.url("")).await;
    let mut worker = listener(&server).await;
    scene.world.sign_in(&service, scene.alice).await;

    let group = scene.groups[0];
    let expected = [
        "of the proxy".to_owned(),
        // The proxy caches a user of its own SSO under this key, too.
        scene.alice.to_string(),
        format!("team_id:{group}"),
        "team_alias:Research".to_owned(),
        format!("{group}_of the proxy"),
        format!("team_membership:of the proxy:{group}"),
        format!("org_id:{group}"),
        format!("org_id:{group}:with_budget"),
    ];
    assert_eq!(told(&mut worker, 8).await, BTreeSet::from(expected), "src/sync.rs, forget");
}

#[tokio::test]
async fn workers_are_notified_after_the_commit() {
    let server = Redis::start(&[]);
    let scene = scene().await;
    let service = scene.service(server.url("")).await;
    let mut worker = listener(&server).await;
    // Delays the commit, so that a message sent before it would find the old rows.
    scene
        .world
        .sql(
            "create function linger() returns trigger language plpgsql
             as $$ begin perform pg_sleep(0.5); return null; end $$;
             create constraint trigger linger after insert on entraway.litellm_users
             deferrable initially deferred for each row execute function linger()",
        )
        .await;
    let hearing = async {
        assert_eq!(worker.answer().await[0], "message");
        scene.is_member().await
    };
    let (there, _browser) = tokio::join!(hearing, scene.world.sign_in(&service, scene.alice));
    assert!(there, "workers were notified before the commit and would cache the old rows");
}

#[tokio::test]
async fn workers_are_not_notified_of_failed_transaction() {
    let server = Redis::start(&[]);
    let scene = scene().await;
    let service = scene.service(server.url("")).await;
    let mut worker = listener(&server).await;
    // Fails the transaction at the commit, after all writes.
    scene
        .world
        .sql(
            "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
             create constraint trigger refuse after insert on entraway.litellm_users
             deferrable initially deferred for each row execute function refuse()",
        )
        .await;
    let answer = scene.world.try_sign_in(&service, scene.alice).await;
    assert!(answer.status.is_server_error(), "the commit fails: {answer:#?}");
    assert!(!scene.is_member().await, "nothing is written");
    assert!(worker.is_silent().await, "workers were notified of rolled back changes");

    scene.world.sql("drop trigger refuse on entraway.litellm_users").await;
    scene.world.sign_in(&service, scene.alice).await;
    assert_eq!(told(&mut worker, 7).await, scene.keys(scene.groups[0], "Research"), "after a successful sign-in");
}

#[tokio::test]
async fn unreachable_redis_delays_signin_by_its_timeout_at_most() {
    // The kernel accepts connections to this listener, but it never replies.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("127.0.0.1:{}", free_port());
    for address in [gone, silent.local_addr().unwrap().to_string()] {
        let url = format!("redis://{address}");
        let scene = scene().await;
        let service = scene.service(url.clone()).await;
        let sign_in = scene.world.sign_in(&service, scene.alice);
        // Far more than the rest of the sign-in takes on a busy machine.
        let browser = tokio::time::timeout(TIMEOUT * 20, sign_in).await;
        assert!(browser.is_ok(), "the sign-in waits for {url}");
        assert!(scene.is_member().await, "the rows are written although {url} is unreachable");
        let me = browser.unwrap().me(&service).await;
        assert_eq!(me.status, 200, "the user is signed in: {me:#?}");
    }
}
