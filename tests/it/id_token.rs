//! ID tokens: every wrong one is refused for its own reason and leaves nothing behind, every right one is taken.

mod accepted;
mod claims;
mod discovery;
mod forge;
mod keys;
mod raw;
mod signature;
mod tenants;

use entraway::domain::ObjectId;
use entraway::fake::IdToken;

use crate::support::{Browser, Service, World};

/// What makes a token wrong.
type Change = Box<dyn Fn(&mut IdToken) + Send + Sync>;

/// A wrong token: what is the matter with it, the code it is refused with, and how it is made.
type Wrong = (&'static str, &'static str, Change);

fn wrong(how: &'static str, code: &'static str, change: impl Fn(&mut IdToken) + Send + Sync + 'static) -> Wrong {
    (how, code, Box::new(change))
}

/// Tries to sign the person in with each of the wrong tokens, and at last with a right one.
async fn refuses_each(world: &World, service: &Service, person: ObjectId, all: Vec<Wrong>) {
    for (how, code, change) in all {
        world.fake.next_id_token(change);
        refuses(world, service, person, how, code).await;
    }
    // Or else something altogether different was wrong.
    world.fake.clear_faults();
    world.sign_in(service, person).await;
}

/// A sign-in as the simulator is set up now is refused with this code, and leaves no trace.
async fn refuses(world: &World, service: &Service, person: ObjectId, how: &str, code: &str) {
    let before = world.traces().await;
    let mut browser = Browser::new();
    let answer = browser.sign_in(&world.fake, service, person).await;
    assert!(answer.status.is_client_error(), "a token with {how} was answered {answer:#?}");
    assert_eq!(answer.code(), code, "why a token with {how} was refused");
    assert_eq!(browser.cookies.len(), 0, "a token with {how} left cookies: {:?}", browser.cookies);
    assert_eq!(browser.me(service).await.status, 401, "a token with {how} opened a session");
    assert_eq!(world.traces().await, before, "a token with {how} left something in the database");
}

/// Nobody was ever here.
async fn is_empty(world: &World) {
    let traces = world.traces().await;
    assert_eq!((traces.sessions, traces.runs), (0, 0), "sessions and sync records: {traces:#?}");
    assert!(traces.rows.users.is_empty() && traces.rows.teams.is_empty(), "there are rows: {traces:#?}");
}
