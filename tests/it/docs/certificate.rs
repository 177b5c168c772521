//! The way to a certificate that docs/how-to/set-up-entra.md shows is walked, up to a configuration with it.

use std::process::Command;

use entraway::config::{self, ClientAuth};

use super::markdown::documents;
use crate::cli::program::Folder;

#[test]
fn the_commands_for_a_certificate_make_a_file_that_entraway_takes() {
    let document = documents().into_iter().find(|document| document.name == "docs/how-to/set-up-entra.md").unwrap();
    let blocks = document.blocks();
    let make = blocks.iter().find(|block| block.text.contains("openssl req")).expect("the commands are shown");
    let folder = Folder::new();
    // openssl is there wherever Postgres's packages are.
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
