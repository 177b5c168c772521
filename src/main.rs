//! The program: installs the TLS provider, parses the command line and runs the subcommand.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser as _;
use entraway::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    // Fails only if a provider is already installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::parse();
    let env =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let program = std::env::args_os().next().map_or_else(|| PathBuf::from("entraway"), PathBuf::from);
    cli.run(&program, &env.collect()).await
}
