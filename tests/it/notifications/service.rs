//! Notifications of the running service, and `entraway check`.

use entraway::config::ClientAuth;

use super::*;
use crate::cli::check::{assert_told, check};
use crate::cli::program::{CONFIG, Folder, environment};
use crate::support::{Certified, World};

#[tokio::test]
async fn replicas_send_one_id_for_an_expiring_certificate() {
    let receiver = Receiver::start().await;
    let (world, folder) = (World::new().await, Folder::new());
    let path = folder.file("certificate.pem", &Certified::for_days(20).pem());
    let service = || {
        world.service_with(|config| {
            config.entra.client_auth = ClientAuth::Certificate(path.clone().into());
            config.notifications = settings(&receiver.url);
        })
    };
    let _services = (service().await, service().await);
    let messages = receiver.until(2).await;
    assert_eq!(messages[0].id, messages[1].id);
    for message in &messages {
        assert!(message.is_signed_with(SECRET), "{message:?}");
        let body = message.json();
        assert_eq!((&body["type"], &body["data"]["days"]), (&"secret.expiring".into(), &30.into()), "{body}");
    }
}

#[tokio::test]
async fn check_names_unresolvable_receiver_and_sends_nothing() {
    let receiver = Receiver::start().await;
    let world = World::new().await;
    world.alice();
    let with = |keys: &str| format!("{CONFIG}notifications: {{webhook_secret: {SECRET}, {keys}}}\n");
    let local = with(&format!("webhook_url: '{}', allow_private_addresses: true", receiver.url));
    let ended = check(&world, &local, &environment(&world)).await;
    assert_told(&ended, "ok", "notifications", "no message was sent", "");
    assert_eq!(receiver.received().len(), 0);
    assert!(!ended.all().contains("T0KEN") && !ended.all().contains(SECRET), "{}", ended.all());

    let ended = check(&world, &with("webhook_url: 'https://hooks.invalid/T0KEN'"), &environment(&world)).await;
    let found = "https://hooks.invalid: the host name cannot be resolved";
    assert_told(&ended, "warn", "notifications", found, "Correct notifications.webhook_url");
    assert!(!ended.all().contains("T0KEN"), "{}", ended.all());
}
