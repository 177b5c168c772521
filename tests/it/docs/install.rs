//! Runs the install commands of the README.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::markdown::document;
use crate::cli::program::Folder;

/// Replaces cargo, which would build for minutes: it installs a link to the program of this test run.
const CARGO: &str = r#"#!/bin/sh
[ "$*" = 'install --path . --locked' ] || { echo "cargo $* is not part of this test" >&2; exit 1; }
mkdir -p "$HOME/.cargo/bin"
exec ln -s "$PROGRAM" "$HOME/.cargo/bin/entraway"
"#;

#[test]
fn readme_install_puts_binary_into_path() {
    let blocks = document("README.md").blocks();
    let block = blocks.iter().find(|block| block.headings.last().is_some_and(|heading| heading == "Install"));
    let block = block.expect("README.md has an install command");
    let folder = Folder::new();
    let cargo = folder.file("cargo", CARGO);
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let home = folder.path().display();
    let path = format!("{home}:{home}/.cargo/bin:/usr/bin:/bin");
    let mut command = Command::new("sh");
    command.args(["-euc", &block.text]).env_clear().env("PATH", path).env("HOME", folder.path());
    let ended = command.env("PROGRAM", env!("CARGO_BIN_EXE_entraway")).output().unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && said.starts_with("entraway "), "README.md:{}: {ended:?}", block.line);
}
