//! How the app authenticates to Entra for the code and for its app-only token. The simulator verifies it.

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

    /// Writes the file with which the app authenticates.
    fn write(&self, content: &str) -> PathBuf {
        self.folder.file("credential", content).into()
    }

    async fn service(&self, way: fn(PathBuf) -> ClientAuth) -> Service {
        let path = self.folder.path().join("credential");
        self.world.service_with(|config| config.entra.client_auth = way(path)).await
    }

    /// Signs in, and checks that the assigned groups were read with an app-only token.
    async fn signs_in(&self, service: &Service) {
        self.world.sign_in(service, self.alice).await;
        assert_eq!(self.world.last_run().await["assigned_groups"], "known", "with the app-only token");
    }

    /// Asserts that the sign-in fails with this code and writes nothing.
    async fn refuses(&self, service: &Service, code: &str, how: &str) -> Answer {
        let before = self.world.traces().await;
        let answer = self.world.try_sign_in(service, self.alice).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, code), "{how}: {answer:#?}");
        assert!(!answer.body.contains("AADSTS") && !answer.body.contains("credential\""), "{how}: {answer:#?}");
        assert!(!answer.set_cookies().iter().any(|cookie| cookie.starts_with("entraway=")), "{how}: {answer:#?}");
        assert_eq!(self.world.traces().await, before, "{how}: nothing is written");
        answer
    }

    /// Takes the requests to token endpoints: the kind of token, the endpoint and the credentials.
    fn sent(&self) -> Vec<(TokenKind, String, Vec<AppCredential>)> {
        let seen = self.world.simulator.requests_to(Endpoint::Token);
        self.world.simulator.clear_requests();
        seen.into_iter().map(|seen| (seen.token.unwrap(), seen.path, seen.app_credentials)).collect()
    }

    /// Takes the assertions that were sent. No other credential may have been sent.
    #[track_caller]
    fn assertions(&self) -> Vec<String> {
        let only = |(_, _, credentials): (_, _, Vec<AppCredential>)| match &credentials[..] {
            [AppCredential::Assertion(token)] => token.clone(),
            other => panic!("expected only an assertion, not {other:?}"),
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
