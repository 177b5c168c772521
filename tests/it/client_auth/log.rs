//! The log at its most verbose level while the app's credential files change.

use std::time::Duration;

use entra_simulator::{AppCredential, Endpoint, Issuer};
use url::Url;

use super::Scene;
use crate::cli::program::{CONFIG, Journey, Program, environment};
use crate::support::Certified;

/// Runs the program with this credential file and signs users in; returns the log.
async fn log_of(scene: &Scene, key: &str, good: &str, bad: &[&str]) -> String {
    scene.write(good);
    let yaml = CONFIG.replace("client_secret: \"${SECRET}\"", &format!("{key}: credential"));
    assert_ne!(yaml, CONFIG);
    let file = scene.folder.file("entraway.yaml", &yaml);
    let args = ["serve", "--config", &file, "--log-level", "trace"];
    let mut program = Program::start(&scene.folder, &args, &environment(&scene.world));
    let base = program.ready().await;
    sign_in(scene, &base, 303).await;
    for content in bad {
        scene.write(content);
        sign_in(scene, &base, 503).await;
    }
    program.signal("TERM");
    program.end_within(Duration::from_secs(10)).await.stderr
}

async fn sign_in(scene: &Scene, base: &Url, status: u16) {
    let (_, answer) = Journey::whole(&scene.world, base, scene.alice).await;
    assert_eq!(answer.status, status, "{answer:#?}");
}

/// The signatures and claims of the assertions that were sent.
fn parts_sent(scene: &Scene) -> Vec<String> {
    let mut parts = Vec::new();
    for seen in scene.world.simulator.requests_to(Endpoint::Token) {
        for credential in seen.app_credentials {
            let AppCredential::Assertion(token) = credential else { panic!("a client secret was sent") };
            parts.extend(token.split('.').skip(1).map(str::to_owned));
        }
    }
    assert!(parts.len() >= 4, "requests for the code and for the app-only token");
    parts
}

/// The ERROR lines of a log, each with its message and error.
fn errors(log: &str) -> Vec<String> {
    let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    lines.filter(|line| line["level"] == "ERROR").map(|line| format!("{} {}", line["message"], line["error"])).collect()
}

#[tokio::test]
async fn wrong_client_secret_is_logged_once_with_its_remedy() {
    let scene = Scene::new().await;
    let file = scene.folder.file("entraway.yaml", CONFIG);
    let env = environment(&scene.world);
    for (secrets, number, remedy) in [
        (("another~secret", vec![]), "AADSTS7000215", "Copy the secret's value, not its ID"),
        (("another~secret", vec!["ended"]), "AADSTS7000222", "the client secret has expired. Create a new one"),
    ] {
        let (now, ended) = secrets;
        let configured = scene.world.simulator.edit(|directory| {
            let configured = std::mem::replace(&mut directory.client_secret, now.to_owned());
            directory.ended_client_secrets = ended.iter().map(|_| configured.clone()).collect();
            configured
        });
        let mut program = Program::start(&scene.folder, &["serve", "--config", &file], &env);
        let base = program.ready().await;
        let (_, answer) = Journey::whole(&scene.world, &base, scene.alice).await;
        assert_eq!(answer.status, 503, "{answer:#?}");
        assert!(answer.body.contains("Sign-in is not available"), "{answer:#?}");
        assert!(answer.body.contains("operator has to fix the configuration"), "{answer:#?}");
        let ended = program.terminate().await;
        let errors = errors(&ended.stderr);
        assert_eq!(errors.len(), 1, "one line for one failure: {errors:#?}");
        assert!(errors[0].contains(number) && errors[0].contains(remedy), "{errors:#?}");
        assert!(errors[0].contains("entra.client_secret: "), "the setting to change: {errors:#?}");
        scene.world.simulator.edit(|directory| {
            directory.client_secret = configured;
            directory.ended_client_secrets.clear();
        });
    }
}

#[tokio::test]
async fn private_key_and_assertions_are_never_logged() {
    let scene = Scene::new().await;
    let (good, unknown) = (Certified::for_days(90), Certified::for_days(90));
    scene.world.simulator.edit(|directory| directory.certificates.push(good.der.clone()));
    let half = &good.pem()[..good.pem().len() / 2];
    let log = log_of(&scene, "certificate_file", &good.pem(), &[&unknown.pem(), half]).await;
    for secret in [parts_sent(&scene), good.secrets(), unknown.secrets()].concat() {
        assert!(!log.contains(&secret), "{secret} is in the log:\n{log}");
    }
    assert!(log.contains("AADSTS700027"), "Entra's message for the operator:\n{log}");
    let reason = "the app cannot authenticate: ";
    assert!(
        log.contains(reason) && log.contains("credential\\\" contains neither"),
        "the file and its problem:\n{log}"
    );
}

#[tokio::test]
async fn federated_token_is_never_logged() {
    let scene = Scene::new().await;
    let cluster = Issuer::new("https://oidc.cluster.example/");
    scene.world.simulator.edit(|directory| directory.federated_credentials.push(cluster.credential("the subject")));
    let now = scene.world.clock.now().timestamp();
    let good = cluster.token("the subject", Issuer::AUDIENCE, now);
    let other = cluster.token("another subject", Issuer::AUDIENCE, now);
    let log = log_of(&scene, "federated_token_file", &good, &[&other, "S3cret no token"]).await;
    let mut secrets = parts_sent(&scene);
    secrets.push("S3cret".to_owned());
    for secret in secrets {
        assert!(!log.contains(&secret), "{secret} is in the log:\n{log}");
    }
    assert!(log.contains("AADSTS70021"), "Entra's message for the operator:\n{log}");
    assert!(log.contains("contains no token"), "the file and its problem:\n{log}");
}
