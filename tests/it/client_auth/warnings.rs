//! Warnings before a certificate expires: in `check` and in the log at startup, but not in `/readyz`, which is public.

use chrono::TimeDelta;
use entraway::config::ClientAuth;
use serde_json::json;

use super::Scene;
use crate::cli::program::{CONFIG, Folder, Program, environment, run};
use crate::support::{Browser, Certified, Service, World};

/// The warnings of the log at startup. `/readyz` reports none.
async fn warnings(service: &Service) -> Vec<String> {
    let answer = Browser::new().get(service.at("/readyz")).await;
    let expected = json!({ "ready": true, "postgres": "ok", "entra": "ok" });
    assert_eq!((answer.status.as_u16(), answer.json()), (200, expected), "a warning does not fail readiness");
    service.app.warnings().await
}

#[tokio::test]
async fn certificate_warning_starts_thirty_days_before_expiry() {
    let scene = Scene::new().await;
    let certificate = Certified::for_days(40);
    let end = certificate.last_day();
    scene.write(&certificate.pem());
    let service = scene.service(ClientAuth::Certificate).await;
    // The expiry was computed a moment ago and is truncated to seconds.
    scene.world.clock.advance(TimeDelta::hours(-1));
    assert_eq!(warnings(&service).await, [""; 0], "40 days before");
    scene.world.clock.advance(TimeDelta::days(9));
    assert_eq!(warnings(&service).await, [""; 0], "31 days before");
    scene.world.clock.advance(TimeDelta::days(2));
    let said = format!("the client certificate expires on {end}, in 29 days");
    assert_eq!(warnings(&service).await, [said], "29 days before");
    scene.world.clock.advance(TimeDelta::days(30));
    let said = format!("the client certificate expired on {end}");
    assert_eq!(warnings(&service).await, [said], "a day after");

    scene.write(&Certified::for_days(400).pem());
    assert_eq!(warnings(&service).await, [""; 0], "renewed");
}

#[tokio::test]
async fn credential_warning_names_the_problem_and_no_path() {
    let scene = Scene::new().await;
    scene.write(&Certified::for_days(40).pem());
    let service = scene.service(ClientAuth::Certificate).await;
    scene.write("S3cret");
    let said = "the file with the app's own credential contains neither a key nor a certificate in PEM format";
    assert_eq!(warnings(&service).await, [said]);
    std::fs::remove_file(scene.folder.path().join("credential")).unwrap();
    assert_eq!(warnings(&service).await, ["the file with the app's own credential cannot be read (entity not found)"]);
}

#[tokio::test]
async fn client_secrets_cause_no_expiry_warning() {
    let world = World::new().await;
    let service = world.service().await;
    world.clock.advance(TimeDelta::days(10_000));
    assert_eq!(warnings(&service).await, [""; 0]);
}

/// The programs' configuration with these keys instead of the client secret.
fn config(keys: &str) -> String {
    let secret = "  client_secret: \"${SECRET}\"\n";
    assert!(CONFIG.contains(secret));
    CONFIG.replace(secret, keys)
}

/// A world with an assigned group.
async fn world() -> World {
    let world = World::new().await;
    world.alice();
    world
}

/// The exit code and the output of `check` with these keys.
async fn check(world: &World, folder: &Folder, keys: &str) -> (i32, String) {
    let file = folder.file("entraway.yaml", &config(keys));
    let ended = run(folder, &["check", "--config", &file], &environment(world)).await;
    assert_eq!(ended.stderr, "");
    (ended.code, ended.stdout)
}

#[track_caller]
fn assert_lines(said: &str, lines: &[&str]) {
    let found: Vec<&str> = said
        .lines()
        .filter(|line| line.contains("  app authentication: ") || line.contains("  client credentials: "))
        .collect();
    assert_eq!(found.len(), lines.len(), "{said}");
    for (found, line) in found.iter().zip(lines) {
        assert!(found.starts_with(line), "{found}\nmust begin with\n{line}");
    }
}

#[tokio::test]
async fn check_names_certificate_and_warns_of_expiry() {
    let world = world().await;
    let folder = Folder::new();
    let tenant = world.simulator.edit(|directory| directory.tenant_id);
    let taken = format!("ok    client credentials: Entra issues a token for tenant {tenant}");
    let keys = "  certificate_file: app.pem\n";
    for (days, warning) in [(60, None), (29, Some("expires on")), (-2, Some("expired on"))] {
        let certificate = Certified::for_days(days);
        folder.file("app.pem", &certificate.pem());
        world.simulator.edit(|directory| directory.certificates = vec![certificate.der.clone()]);
        let (code, said) = check(&world, &folder, keys).await;
        let first = format!(
            "ok    app authentication: with the certificate {}, which expires on {}",
            thumbprint(&certificate),
            certificate.last_day()
        );
        let warn = warning
            .map(|word| format!("warn  app authentication: the client certificate {word} {}", certificate.last_day()));
        let last = if days > 0 {
            taken.as_str()
        } else {
            "FAIL  client credentials: Entra refused: invalid_client (AADSTS700027)"
        };
        let lines: Vec<&str> = [first.as_str()].into_iter().chain(warn.as_deref()).chain([last]).collect();
        assert_lines(&said, &lines);
        assert_eq!(code, i32::from(days < 0), "{said}");
        assert!(
            days > 0
                || said
                    .contains("      → entra.certificate_file: upload this certificate under Certificates & secrets"),
            "{said}"
        );
        assert!(warning.is_none() || said.contains("      → Create a new one, upload it"), "{said}");
        for secret in certificate.secrets() {
            assert!(!said.contains(&secret), "{said}");
        }
    }
}

/// As in the Azure portal.
fn thumbprint(certificate: &Certified) -> String {
    use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
    let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate.der);
    sha1.as_ref().iter().fold(String::new(), |text, byte| text + &format!("{byte:02X}"))
}

#[tokio::test]
async fn check_names_which_of_two_secrets_is_rejected() {
    let world = world().await;
    let folder = Folder::new();
    let good = world.simulator.edit(|directory| directory.client_secret.clone());
    let tenant = world.simulator.edit(|directory| directory.tenant_id);
    let taken = format!("ok    client credentials: Entra issues a token for tenant {tenant}");
    let way = "ok    app authentication: with one of two client secrets";
    for (keys, which) in [
        ("  client_secret: [\"${SECRET}\", \"wr0ng~secret\"]\n", "second"),
        ("  client_secret: [\"wr0ng~secret\", \"${SECRET}\"]\n", "first"),
    ] {
        let (code, said) = check(&world, &folder, keys).await;
        let refused = format!(
            "warn  client credentials: the {which} of the two client secrets: Entra refused: invalid_client (AADSTS7000215)"
        );
        assert_lines(&said, &[way, &refused, &taken]);
        assert_eq!(code, 0, "users can sign in: {said}");
        assert!(!said.contains("wr0ng~") && !said.contains(&good), "{said}");
    }
    world.simulator.edit(|directory| directory.second_client_secret = Some("an0ther~secret".to_owned()));
    let (_, said) = check(&world, &folder, "  client_secret: [\"an0ther~secret\", \"${SECRET}\"]\n").await;
    assert_lines(&said, &[way, &taken]);

    let (code, said) = check(&world, &folder, "  client_secret: [\"wr0ng~secret\", \"wr0ng~too\"]\n").await;
    let refused = |what: &str| format!("{what}: Entra refused: invalid_client (AADSTS7000215)");
    let each = ["first", "second"]
        .map(|which| refused(&format!("warn  client credentials: the {which} of the two client secrets")));
    assert_lines(&said, &[way, &each[0], &each[1], &refused("FAIL  client credentials")]);
    assert_eq!(code, 1, "{said}");
}

#[tokio::test]
async fn check_explains_missing_federated_credential() {
    let world = world().await;
    let folder = Folder::new();
    let cluster = entra_simulator::Issuer::new("https://oidc.cluster.example/");
    let token = cluster.token("the subject", entra_simulator::Issuer::AUDIENCE, world.clock.now().timestamp());
    folder.file("token", &token);
    let way = "ok    app authentication: with a federated token, read from its file at each use";
    let (code, said) = check(&world, &folder, "  federated_token_file: token\n").await;
    assert_lines(&said, &[way, "FAIL  client credentials: Entra refused: invalid_request (AADSTS70021)"]);
    assert!(
        said.contains("      → entra.federated_token_file: the app registration needs a federated credential with the token's issuer"),
        "{said}"
    );
    assert_eq!(code, 1);

    world.simulator.edit(|directory| directory.federated_credentials.push(cluster.credential("the subject")));
    let (code, said) = check(&world, &folder, "  federated_token_file: token\n").await;
    assert_eq!(code, 0, "{said}");
    assert!(!said.contains(&token), "{said}");
}

#[tokio::test]
async fn log_warns_of_certificate_expiry_once_at_startup() {
    let world = world().await;
    let folder = Folder::new();
    for (days, expected) in [(29, 1), (60, 0)] {
        folder.file("app.pem", &Certified::for_days(days).pem());
        let file = folder.file("entraway.yaml", &config("  certificate_file: app.pem\n"));
        let mut program = Program::start(&folder, &["serve", "--config", &file], &environment(&world));
        program.ready().await;
        let ended = program.terminate().await;
        let told = ended.log().iter().filter(|line| line.to_string().contains("the client certificate")).count();
        assert_eq!(told, expected, "{days} days before the end: {}", ended.stderr);
    }
}
