//! Runs the certificate commands of docs/how-to/set-up-entra.md, and loads the configuration with their result.

use std::process::Command;

use entraway::config::{self, ClientAuth};

use super::markdown::document;
use crate::cli::program::Folder;

#[test]
fn certificate_commands_create_a_usable_file() {
    let document = document("docs/how-to/set-up-entra.md");
    let blocks = document.blocks();
    let make = blocks.iter().find(|block| block.text.contains("openssl req")).expect("the commands are shown");
    let folder = Folder::new();
    // openssl is installed together with Postgres's packages.
    let ended = Command::new("sh").args(["-euc", &make.text]).current_dir(folder.path()).output().unwrap();
    assert!(ended.status.success(), "docs/how-to/set-up-entra.md:{}: {ended:?}", make.line);

    let shown = blocks.iter().find(|block| block.text.contains("certificate_file:")).expect("the key is shown");
    let rest = "  tenant: contoso.com\n  client_id: 11111111-2222-4333-8444-555555555555\n\
                server: {public_url: 'https://sso.example.com'}\ndatabase: {url: 'postgres://db/entraway'}\n";
    let yaml = format!("{}\n{rest}", shown.text.trim_end());
    let loaded = config::parse(Some(&yaml), &folder.path().join("config.yaml"), &config::Env::new());
    let config = loaded.unwrap_or_else(|error| panic!("{yaml}\n{error}")).config;
    assert!(matches!(config.entra.client_auth, ClientAuth::Certificate(_)), "{:?}", config.entra);
}
