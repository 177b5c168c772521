//! Runs the commands of docs/how-to/notifications.md: the key is accepted, and signatures are verified.

use std::process::{Command, Output};

use entraway::config::WebhookSecret;
use entraway::notifications::Signer;

use super::markdown::{Block, document};
use crate::cli::program::Folder;

fn shell(block: &Block, folder: &Folder, env: &[(&str, &str)]) -> Output {
    // openssl is installed together with Postgres's packages.
    let mut command = Command::new("sh");
    command.args(["-euc", &block.text]).current_dir(folder.path()).envs(env.iter().copied());
    command.output().unwrap()
}

#[test]
fn notification_commands_create_a_key_and_verify_signatures() {
    let document = document("docs/how-to/notifications.md");
    let blocks = document.blocks();
    let block = |text: &str| blocks.iter().find(|block| block.language == "sh" && block.text.contains(text)).unwrap();
    let folder = Folder::new();
    let key = String::from_utf8(shell(block("openssl rand"), &folder, &[]).stdout).unwrap();
    let key = key.trim();
    let secret: WebhookSecret = key.parse().unwrap();
    assert_eq!(secret.as_bytes().len(), 32);

    let body = "{\"type\":\"run.held\",\n\"data\":{}}\n";
    folder.file("body.json", body);
    let signature = Signer::new(&[secret]).signature("msg_1", 1_800_000_000, body.as_bytes());
    let both = format!("v1,c29tZSBvdGhlcg== {signature}");
    for (signature, timestamp, valid) in [
        (&signature, "1800000000", true),
        (&both, "1800000000", true),
        (&signature, "1800000001", false),
        (&signature.replace("v1,", "v1,A"), "1800000000", false),
    ] {
        let env = [("WEBHOOK_SECRET", key), ("id", "msg_1"), ("timestamp", timestamp), ("signature", signature)];
        let ended = shell(block("openssl dgst"), &folder, &env);
        assert_eq!(ended.status.success(), valid, "{signature} {timestamp}: {ended:?}");
        assert_eq!(ended.stdout, if valid { &b"valid\n"[..] } else { b"invalid\n" });
    }
}
