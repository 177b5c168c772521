//! Invalid ID tokens: each is rejected with its own code.

mod claims;
mod encoding;
mod forge;
mod keys;
mod signature;
mod tenants;

use std::sync::Arc;

use entra_simulator::IdToken;

use super::Siege;

/// Makes a token invalid.
type Change = Arc<dyn Fn(&mut IdToken) + Send + Sync>;

/// An invalid token: the defect, the expected error code, and the change that causes it.
type Wrong = (&'static str, &'static str, Change);

fn wrong(how: &'static str, code: &'static str, change: impl Fn(&mut IdToken) + Send + Sync + 'static) -> Wrong {
    (how, code, Arc::new(change))
}

/// Tries to sign Alice in with each invalid token, then with a valid one.
async fn refuses_each(mut siege: Siege, at_least: usize, all: Vec<Wrong>) {
    for (how, code, change) in all {
        siege.world.simulator.next_id_token(move |token| change(token));
        refuses(&mut siege, how, code).await;
    }
    siege.stands(at_least).await;
}

/// Alice's sign-in with the current simulator state is rejected with this code.
async fn refuses(siege: &mut Siege, how: &str, code: &str) {
    let (mut browser, callback) = siege.comes_back(siege.alice).await;
    siege.refuses(how, (403, code), &mut browser, callback).await;
    // The consumed login state stays, so that its destination is not lost.
    let session = browser.cookies.keys().find(|name| !name.contains("-attempt-"));
    assert_eq!(session, None, "a token with {how} left a cookie");
}
