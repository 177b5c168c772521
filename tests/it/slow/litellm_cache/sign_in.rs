//! Sign-ins over the proxies' tables: what their workers hear of them, when, and what it costs where nobody listens.

use entra_simulator::{GroupId, ObjectId};
use entraway::domain::StoreKind;
use entraway::litellm_cache::TIMEOUT;
use tokio::net::TcpListener;

use super::*;
use crate::support::redis::free_port;
use crate::support::{Service, World};

struct Scene {
    world: World,
    /// Assigned, and a team and an organization already, as Bob has signed in. Alice is in the first.
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

    /// The keys of the person, and of a team and organization that they joined.
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

/// The keys that a listener heard of since it last listened.
async fn told(listener: &mut RedisConnection, count: usize) -> BTreeSet<String> {
    let messages = heard(listener, CHANNEL, count).await;
    let keys: BTreeSet<String> =
        messages.iter().map(|message| message["cache_key"].as_str().unwrap().to_owned()).collect();
    assert_eq!(keys.len(), count, "each key once: {messages:?}");
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
    assert_eq!(redis.ask(&format!("EXISTS {}", scene.alice)).await, [":0"], "the person's copy in Redis");
    assert_eq!(redis.ask(&format!("EXISTS team_id:{}", scene.groups[1])).await, [":1"], "a team's that was not joined");

    scene.world.sign_in(&service, scene.alice).await;
    assert!(worker.is_silent().await, "a second sign-in wrote nothing, but the workers were told");

    // A name of JSON's and Postgres' quotes, as the table has it.
    scene.world.simulator.edit(|directory| directory.put(scene.alice, scene.groups[1]));
    scene.world.sign_in(&service, scene.alice).await;
    assert_eq!(told(&mut worker, 7).await, scene.keys(scene.groups[1], "Data: \"Ä\""), "one more group");

    let update = r#"update public."LiteLLM_UserTable" set user_email = 'old@contoso.example' where user_id = $1"#;
    sqlx::query(update).bind(scene.alice.to_string()).execute(&scene.world.pool).await.unwrap();
    scene.world.sign_in(&service, scene.alice).await;
    assert_eq!(told(&mut worker, 1).await, BTreeSet::from([scene.alice.to_string()]), "the person's row alone");
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
        // Under this one a proxy holds whom its own sign-in looked for.
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
    // The commit itself takes its time: a message that came before it would find nothing.
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
    assert!(there, "the workers were told before the transaction was committed, and would keep the old rows");
}

#[tokio::test]
async fn workers_are_not_notified_of_failed_transaction() {
    let server = Redis::start(&[]);
    let scene = scene().await;
    let service = scene.service(server.url("")).await;
    let mut worker = listener(&server).await;
    // When all is written, and only the commit is left.
    scene
        .world
        .sql(
            "create function refuse() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
             create constraint trigger refuse after insert on entraway.litellm_users
             deferrable initially deferred for each row execute function refuse()",
        )
        .await;
    let answer = scene.world.try_sign_in(&service, scene.alice).await;
    assert!(answer.status.is_server_error(), "the database refuses the commit: {answer:#?}");
    assert!(!scene.is_member().await, "nothing is written");
    assert!(worker.is_silent().await, "the workers were told of what is not there");

    scene.world.sql("drop trigger refuse on entraway.litellm_users").await;
    scene.world.sign_in(&service, scene.alice).await;
    assert_eq!(told(&mut worker, 7).await, scene.keys(scene.groups[0], "Research"), "once it succeeds");
}

#[tokio::test]
async fn unreachable_redis_delays_signin_by_its_timeout_at_most() {
    // The system takes connections for it, and nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("127.0.0.1:{}", free_port());
    for address in [gone, silent.local_addr().unwrap().to_string()] {
        let url = format!("redis://{address}");
        let scene = scene().await;
        let service = scene.service(url.clone()).await;
        let sign_in = scene.world.sign_in(&service, scene.alice);
        // Far more than a busy machine needs for the rest.
        let browser = tokio::time::timeout(TIMEOUT * 20, sign_in).await;
        assert!(browser.is_ok(), "the sign-in waits for {url}");
        assert!(scene.is_member().await, "the rows are written although {url} could not be told");
        let me = browser.unwrap().me(&service).await;
        assert_eq!(me.status, 200, "and the person is signed in: {me:#?}");
    }
}
