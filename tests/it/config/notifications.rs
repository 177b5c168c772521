//! The section `notifications`.

use entraway::config::{NotificationType, Notifications, Webhook};

use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER_SECRET: &str = "whsec_b2xkLXNlY3JldC1vZi10aGUtdGVzdHMtMDAx";

/// A section with these further keys.
fn section(keys: &str) -> String {
    format!("notifications:\n  webhook_secret: {SECRET}\n{keys}")
}

#[track_caller]
fn webhook(yaml: &str) -> Webhook {
    *good(yaml).notifications.webhook.expect("a webhook is configured")
}

#[test]
fn webhook_has_defaults() {
    assert!(good("").notifications.webhook.is_none());
    let webhook = webhook(&section("  webhook_url: https://hooks.example.com/a/T0KEN?t=T0KEN\n"));
    assert_eq!(webhook.url.as_str(), "https://hooks.example.com/a/T0KEN?t=T0KEN");
    assert_eq!((webhook.secrets.len(), webhook.secrets[0].as_bytes().len()), (1, 24));
    assert!(!webhook.allow_private_addresses);
    assert_eq!(webhook.events, NotificationType::ALL.into());
}

#[test]
fn webhook_settings_are_read() {
    let keys = "  webhook_url: http://127.0.0.1:9000/\n  allow_private_addresses: true\n  events: [run.held, secret.expiring]\n";
    let local = webhook(&section(keys));
    assert!(local.allow_private_addresses);
    assert_eq!(local.events, [NotificationType::RunHeld, NotificationType::SecretExpiring].into());
    let yaml = "notifications: {webhook_url: 'https://hooks.example.com', webhook_secret: [\"${A}\", \"${B}\"]}";
    let env = and(and(least(), "A", SECRET), "B", OTHER_SECRET);
    let secrets = read(yaml, &env).unwrap().config.notifications.webhook.unwrap().secrets;
    assert_eq!(secrets.iter().map(|secret| secret.as_bytes().len()).collect::<Vec<_>>(), [24, 27]);
}

#[test]
fn settings_and_debug_hide_secret_and_path() {
    let config = good(&section("  webhook_url: https://hooks.example.com/T0KEN?t=T0KEN\n"));
    let rows: Vec<_> = config.settings.iter().filter(|setting| setting.section() == "notifications").collect();
    let shown: Vec<_> = rows.iter().map(|row| row.value.as_str()).collect();
    let all = "run.held, run.failed, permission.missing, accounts.disabled, secret.expiring";
    assert_eq!(shown, ["https://hooks.example.com/…", "set", "false", all]);
    let Notifications { webhook } = &config.notifications;
    let text = format!("{webhook:?} {rows:?}");
    assert!(!text.contains("T0KEN") && !text.contains(&SECRET[6..]), "{text}");
}

#[test]
fn invalid_webhook_settings_are_rejected() {
    let urls = [
        "hooks.example.com",
        "ftp://hooks.example.com",
        "http://hooks.example.com",
        "https://user:S3cret@hooks.example.com",
        "https://hooks.example.com/#a",
        "https://localhost",
        "https://10.1.2.3/",
        "https://[fd00::1]/",
        "https://169.254.169.254/",
        "http://127.0.0.1:9000/",
    ];
    let urls = urls.map(|url| section(&format!("  webhook_url: \"{url}\"\n")));
    let secret =
        |text: &str| format!("notifications:\n  webhook_url: https://hooks.example.com\n  webhook_secret: {text}\n");
    let secrets = [
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_MfKQ9r8G%%%",
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaQ",
        "[]",
        "[whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw, x]",
        "[a, b, c]",
    ];
    let others = [
        "notifications: {webhook_url: 'https://hooks.example.com'}".to_owned(),
        section("  webhook_url: https://hooks.example.com\n  events: []\n"),
        section("  webhook_url: https://hooks.example.com\n  events: [run.hold]\n"),
        section("  webhook_url: https://hooks.example.com\n  events: run.held\n"),
        section("  webhook_url: https://hooks.example.com\n  allow_private_addresses: maybe\n"),
    ];
    let files = urls.into_iter().chain(secrets[..5].iter().map(|text| secret(text))).chain(others);
    insta::assert_snapshot!(problems_of(files));
    assert_eq!(said(&secret(secrets[5])).len(), 4, "each of the three, and their number");
}

#[test]
fn secret_without_url_is_a_warning() {
    let expected = ["notifications.webhook_secret: has no effect without notifications.webhook_url"];
    assert_eq!(notes(&section(""), NoteLevel::Warning), expected);
}
