//! How the app proves to Entra that it is the app, for the code and for its own token; the simulator checks it all.

mod certificate;
mod federated;
mod log;
mod secrets;
mod warnings;

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use entra_simulator::{AppCredential, Endpoint, ObjectId, TokenKind};
use entraway::config::ClientAuth;
use serde_json::Value;

use crate::cli::program::Folder;
use crate::support::{Answer, Service, World};

/// A world in which the app authenticates with a file.
struct Scene {
    world: World,
    alice: ObjectId,
    folder: Folder,
}

impl Scene {
    async fn new() -> Self {
        let world = World::new().await;
        let (alice, _) = world.alice();
        Self { world, alice, folder: Folder::new() }
    }

    /// Writes the file that the app authenticates with.
    fn write(&self, content: &str) -> PathBuf {
        self.folder.file("credential", content).into()
    }

    async fn service(&self, way: fn(PathBuf) -> ClientAuth) -> Service {
        let path = self.folder.path().join("credential");
        self.world.service_with(|config| config.entra.client_auth = way(path)).await
    }

    /// Signs in, and has the app read what is assigned with a token of its own.
    async fn signs_in(&self, service: &Service) {
        self.world.sign_in(service, self.alice).await;
        assert_eq!(self.world.last_run().await["assigned_groups"], "known", "with the app's own token");
    }

    /// That the sign-in ends so, and that nothing is left of it.
    async fn refuses(&self, service: &Service, code: &str, how: &str) -> Answer {
        let before = self.world.traces().await;
        let answer = self.world.try_sign_in(service, self.alice).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, code), "{how}: {answer:#?}");
        assert!(!answer.body.contains("AADSTS") && !answer.body.contains("credential\""), "{how}: {answer:#?}");
        assert!(!answer.set_cookies().iter().any(|cookie| cookie.starts_with("entraway=")), "{how}: {answer:#?}");
        assert_eq!(self.world.traces().await, before, "{how}: nothing is written");
        answer
    }

    /// What was sent to token endpoints, and to which; then forgotten.
    fn sent(&self) -> Vec<(TokenKind, String, Vec<AppCredential>)> {
        let seen = self.world.simulator.requests_to(Endpoint::Token);
        self.world.simulator.clear_requests();
        seen.into_iter().map(|seen| (seen.token.unwrap(), seen.path, seen.app_credentials)).collect()
    }

    /// The assertions that were sent; nothing else may have been.
    #[track_caller]
    fn assertions(&self) -> Vec<String> {
        let only = |(_, _, credentials): (_, _, Vec<AppCredential>)| match &credentials[..] {
            [AppCredential::Assertion(token)] => token.clone(),
            other => panic!("an assertion and no secret has to be sent, and was: {other:?}"),
        };
        self.sent().into_iter().map(only).collect()
    }
}

/// Header and claims of a token.
fn decoded(token: &str) -> (Value, Value) {
    let part = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    assert_eq!(parts.len(), 3, "{token}");
    (part(parts[0]), part(parts[1]))
}
